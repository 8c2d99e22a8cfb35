// Every kernel of every backend against the reference backend, aligned and not: on the samples of
// its op, and on those stretched to sizes of 0, 1 and 17, and enlarged, in f64 and f32; in every
// dtype, with each operand in turn holding a NaN, an infinity, zeros of both signs or denormals.
// Kernels compute halves in f32 (runtime/half.h), so every op in them stands against its f64
// values.
#include <map>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "kernel_harness.h"
#include "registry_samples.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using namespace rondo::test;

namespace {

// Rounding: relative to the largest value of the result, because sums cancel.
double allowed(DType t) {
  switch (t) {
    case f64:
      return 1e-12;
    case f32:
      return 1e-5;
    case f16:
      return 0x1p-10;
    case bf16:
      return 0x1p-7;
    default:
      return 0;
  }
}

double least(DType t) {
  switch (t) {
    case f64:
      return std::numeric_limits<double>::denorm_min();
    case f16:
      return 0x1p-24;
    case bf16:
      return 0x1p-133;
    default:
      return std::numeric_limits<float>::denorm_min();
  }
}

// What the operands of a comparison hold.
enum class Holding { kDrawn, kNaN, kInfinity, kMinusInfinity, kZeros, kDenormals };
constexpr std::pair<Holding, const char*> kSpecial[] = {{Holding::kNaN, "a NaN"},
                                                        {Holding::kInfinity, "an infinity"},
                                                        {Holding::kMinusInfinity, "-infinity"},
                                                        {Holding::kZeros, "0 and -0"},
                                                        {Holding::kDenormals, "denormals"}};

// `t` with one element that is not finite, or all of it tiny.
Tensor holding(const Tensor& t, Holding what) {
  std::vector<double> v = values(t);
  const auto inf = std::numeric_limits<double>::infinity();
  const auto one = v.begin() + static_cast<int64_t>(v.size() * 2 / 3);
  if (v.empty() || what == Holding::kDrawn) return t;
  if (what == Holding::kNaN) *one = std::nan("");
  if (what == Holding::kInfinity) *one = inf;
  if (what == Holding::kMinusInfinity) *one = -inf;
  for (size_t i = 0; i < v.size(); ++i) {
    const double sign = i % 3 == 1 ? -1 : 1;
    if (what == Holding::kZeros) v[i] = sign * 0.0;
    if (what == Holding::kDenormals)
      v[i] = sign * least(t.dtype()) * static_cast<double>(37 * i % 1000);
  }
  return Tensor::of<double>(t.dims(), v).to(t.dtype());
}

// `tiny`: all values are denormals or zeros, so what is left out or flushed must show.
std::string difference(const Tensor& got, const Tensor& want, bool tiny = false) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) return "another type or shape";
  double largest = tiny ? 0 : 1;
  for (int64_t i = 0; i < want.size(); ++i) {
    if (std::isfinite(want.at(i))) largest = std::max(largest, std::abs(want.at(i)));
  }
  // Each of the up to 17 products of a sum is rounded to a multiple of the least denormal.
  const double absolute = tiny ? 17 * least(want.dtype()) : 0;
  for (int64_t i = 0; i < want.size(); ++i) {
    const double a = got.at(i), b = want.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!is_float(want.dtype()) || !(std::abs(a - b) <= allowed(want.dtype()) * largest + absolute))
      return cat("element ", i, ": ", a, ", the reference says ", b);
  }
  return {};
}

std::string difference_of_zeros(const Tensor& got, const Tensor& want) {
  for (int64_t i = 0; i < want.size(); ++i) {
    const double a = got.at(i), b = want.at(i);
    if (a == 0 && b == 0 && std::signbit(a) != std::signbit(b))
      return cat("element ", i, ": ", a, ", the reference says ", b);
  }
  return {};
}

// All samples of an op in all sizes.
std::vector<NamedSample> sized_samples(const OpDef& op) {
  std::vector<NamedSample> r;
  for (const NamedSample& s : samples_of(op)) {
    r.push_back(s);
    for (NamedSample& more : stretched(s, {0, 1, 17})) r.push_back(std::move(more));
    for (NamedSample& more : enlarged(s, 24)) r.push_back(std::move(more));
  }
  return r;
}

// The operands of a sample for which the reference gives results, and these. A stretched sample may
// ask for an index that is out of range: then whole numbers are 0. Nothing: there is no result (a
// maximum over nothing).
struct Oracle {
  std::vector<Tensor> inputs, results;
};
template <class Run>
std::optional<Oracle> ask_reference(const NamedSample& s, DType t, Run&& run, Holding what = {},
                                    size_t operand = 0) {
  for (const Sample& sample : {s.sample, with_zero_integers(s.sample)}) {
    std::vector<Tensor> inputs = draw(sample, t);
    if (what != Holding::kDrawn) inputs[operand] = holding(inputs[operand], what);
    try {
      return Oracle{inputs, run(inputs)};
    } catch (const Error&) {
      continue;
    }
  }
  return std::nullopt;
}

// By the reference's kernel for the op, or its kernels for what the op is lowered to.
std::vector<Tensor> run_reference(const NamedSample& s, const std::vector<Tensor>& inputs,
                                  const KernelRun& run) {
  const OpGraph g = graph_of(*s.op, s.sample.attributes, inputs);
  GraphRun r(backend("reference"), g.feeds, run);
  std::vector<Tensor> results;
  for (const Var& v : g.outputs) results.push_back(r.value(v));
  return results;
}

bool serves(const Kernel& k, const OpDef& op) {
  return k.op == op.name || (k.op.empty() && !op.formula.empty());
}

// Results of an op and gradients by all its float operands, in a session.
struct Whole {
  OpGraph g;
  Vars fetches;
};
Whole with_gradients(const NamedSample& s, const std::vector<Tensor>& inputs) {
  Whole w{graph_of(*s.op, s.sample.attributes, inputs), {}};
  w.fetches = w.g.present();
  const Vars by = float_operands(*s.op, w.g).with_gradient;
  const Var loss = weighted_sum(w.g.outputs, 4);
  if (!loss || by.empty()) return w;
  for (const Var& d : gradients(loss, by)) w.fetches.push_back(d);
  return w;
}

struct Conditions {
  DType dtype;
  bool training = false;
  bool unaligned = false;
  Holding what = {};
  size_t operand = 0;  ///< the one that holds it
};

// What a session is asked, and what another says: the same for every kernel.
struct Asked {
  std::optional<Oracle> oracle;
  Whole whole;
};
struct Counts {
  size_t kernels = 0, calls = 0, unsupported = 0, meaningless = 0;
  std::map<std::string, Asked> asked;
};
const Asked& asked(Counts& counts, const NamedSample& s, const Conditions& c,
                   const std::string& of) {
  const std::string key = cat(of, "; ", s.op->name, "; ", s.name, "; ", c.dtype, "; ",
                              static_cast<int>(c.what), "; ", c.operand);
  const auto [it, first] = counts.asked.try_emplace(key);
  if (!first) return it->second;
  const auto run = [&](const std::vector<Tensor>& inputs) {
    const Whole w = with_gradients(s, inputs);
    return Session(w.g.graph, {.backend = of, .optimize = false}, one_thread())
        .run(w.fetches, w.g.feeds);
  };
  it->second.oracle = ask_reference(s, c.dtype, run, c.what, c.operand);
  if (it->second.oracle) it->second.whole = with_gradients(s, it->second.oracle->inputs);
  return it->second;
}

// A kernel, called directly between guard bytes; whether it could be.
bool compare_call(const Backend& b, const Kernel& k, const NamedSample& s, const Conditions& c,
                  Counts& counts) {
  KernelRun run{.training = c.training, .seed = 5, .step = 2, .unaligned = c.unaligned};
  const auto reference = [&](const std::vector<Tensor>& inputs) {
    return run_reference(s, inputs, run);
  };
  const auto oracle = ask_reference(s, c.dtype, reference, c.what, c.operand);
  if (!oracle) {
    ++counts.meaningless;
    return false;
  }
  run.kernel = k.name;
  std::vector<Tensor> got;
  try {
    got = run_kernel(b, s.op->name, oracle->inputs, s.sample.attributes, run);
  } catch (const Error& e) {
    if (e.code() != "harness.kernel.none") throw;
    ++counts.unsupported;
    return false;
  }
  const bool tiny = c.what == Holding::kZeros || c.what == Holding::kDenormals;
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(got[i], oracle->results[i], tiny) == "");
    // The sign of a sum of products of zeros depends on whether the sum begins with 0.
    if (c.what == Holding::kZeros && k.op != "matmul")
      CHECK(difference_of_zeros(got[i], oracle->results[i]) == "");
  }
  ++counts.calls;
  return true;
}

bool compare_sizes(const Backend& b, const Kernel& k, const OpDef& op, Counts& counts) {
  bool called = false;
  for (const NamedSample& s : sized_samples(op)) {
    for (const DType t : {f64, f32}) {
      for (const bool training : {false, true}) {
        if (training && !op.opaque) continue;
        INFO(s.name << " in " << t << (training ? " in training" : ""));
        called |= compare_call(b, k, s, {t, training, t == f32}, counts);
      }
    }
  }
  return called;
}

bool has_floats(const OpDef& op) {
  return std::any_of(op.samples.begin(), op.samples.end(), [](const Sample& s) {
    return std::any_of(s.inputs.begin(), s.inputs.end(),
                       [](const Sample::Input& in) { return !in.absent && is_float(in.dtype); });
  });
}

std::vector<NamedSample> odd_samples(const OpDef& op) {
  std::vector<NamedSample> r;
  for (const NamedSample& s : samples_of(op)) {
    r.push_back(s);
    for (NamedSample& more : stretched(s, {17})) r.push_back(std::move(more));
  }
  return r;
}

bool compare_specials(const Backend& b, const Kernel& k, const OpDef& op, Counts& counts) {
  bool called = false;
  for (const NamedSample& s : odd_samples(op)) {
    for (const DType t : {f64, f32, bf16, f16}) {
      INFO(s.name << " in " << t);
      const auto drawn = compare_call(b, k, s, {t, false, true}, counts);
      for (size_t i = 0; drawn && i < s.sample.inputs.size(); ++i) {
        if (s.sample.inputs[i].absent || !is_float(s.sample.inputs[i].dtype)) continue;
        for (const auto& [what, name] : kSpecial) {
          INFO("operand " << i << " holds " << name);
          called |= compare_call(b, k, s, {t, false, true, what, i}, counts);
        }
      }
    }
  }
  return called;
}

// A kernel for nodes that no sample makes directly (a recurrence): on ops that are lowered to such
// nodes, forward and where it can backward, through a session that is made to use it; whether it
// was.
bool compare_session(const Backend& b, const Kernel& k, const NamedSample& s, const Conditions& c,
                     Counts& counts) {
  // A region is held to its ops one by one, each of which is held to the reference.
  const auto& [oracle, whole] =
      asked(counts, s, c, k.op.starts_with("fused") ? std::string(b.name()) : "reference");
  if (!oracle) {
    ++counts.meaningless;
    return false;
  }
  Whole w = whole;
  Session forced(w.g.graph, {.backend = std::string(b.name()), .kernel = k.name}, one_thread());
  const auto is_used = [&] { return forced.plan(w.fetches)->bind({})->uses_kernel(k.name); };
  const bool for_inference = k.name == "cpu.recurrence.onednn";
  if (!is_used() && for_inference) w.fetches = w.g.present();
  if (!is_used()) {
    ++counts.unsupported;
    return false;
  }
  const std::vector<Tensor> got = forced.run(w.fetches, w.g.feeds);
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(got[i], oracle->results[i]) == "");
  }
  ++counts.calls;
  return true;
}

bool compare_sizes_in_sessions(const Backend& b, const Kernel& k, const OpDef& op, Counts& counts) {
  bool called = false;
  for (const NamedSample& s : sized_samples(op)) {
    for (const DType t : {f64, f32}) {
      INFO(s.name << " in " << t);
      called |= compare_session(b, k, s, {t}, counts);
    }
  }
  return called;
}

bool compare_specials_in_sessions(const Backend& b, const Kernel& k, const OpDef& op,
                                  Counts& counts) {
  bool called = false;
  for (const NamedSample& s : samples_of(op)) {
    for (const DType t : {f64, f32}) {
      for (size_t i = 0; i < s.sample.inputs.size(); ++i) {
        if (s.sample.inputs[i].absent || !is_float(s.sample.inputs[i].dtype)) continue;
        for (const auto& [what, name] : kSpecial) {
          INFO(s.name << " in " << t << ", operand " << i << " holds " << name);
          called |= compare_session(b, k, s, {t, false, false, what, i}, counts);
        }
      }
    }
  }
  return called;
}

// Each kernel on each op that it serves: by itself, or in sessions for a kernel of nodes that no
// sample makes. `meant_for`: the ops on which a kernel must have been called at least once.
template <class Alone, class InSession, class MeantFor>
void compare_all(Alone&& alone, InSession&& in_session, MeantFor&& meant_for) {
  Counts counts;
  for (const Backend* b : linked_backends()) {
    if (b->name() == "reference") continue;
    for (const Kernel& k : b->kernels()) {
      INFO("kernel " << k.name);
      const bool in_body = !k.op.empty() && registry().at(k.op).samples.empty();
      bool called = false, meant = false;
      for (const OpDef* op : registry().all()) {
        if (op->samples.empty() || !(in_body ? static_cast<bool>(op->lower) : serves(k, *op)))
          continue;
        meant |= meant_for(*op);
        called |= in_body ? in_session(*b, k, *op, counts) : alone(*b, k, *op, counts);
      }
      CHECK(called == meant);
      ++counts.kernels;
    }
  }
  WARN(counts.kernels << " kernels, " << counts.calls << " calls compared, " << counts.unsupported
                      << " not supported, " << counts.meaningless << " without a result");
  CHECK(counts.kernels > 0);
  CHECK(counts.calls > 100);
}

}  // namespace

TEST_CASE("every kernel of every backend agrees with the reference", "[registry][kernel]") {
  compare_all(compare_sizes, compare_sizes_in_sessions, [](const OpDef&) { return true; });
}

TEST_CASE("every kernel passes NaN, infinities, zeros and denormals on as the reference does",
          "[registry][kernel]") {
  compare_all(compare_specials, compare_specials_in_sessions, has_floats);
}

TEST_CASE("every op in bf16 and f16 is its f64 values, rounded, on every backend",
          "[registry][kernel]") {
  const auto cast = [](const Tensor& t, DType to) { return is_float(t.dtype()) ? t.to(to) : t; };
  size_t calls = 0;
  for (const OpDef* op : registry().all()) {
    for (const NamedSample& s : samples_of(*op)) {
      for (const DType t : {bf16, f16}) {
        INFO(s.name << " in " << t);
        const std::vector<Tensor> inputs = draw(s.sample, t);
        std::vector<Tensor> wide;
        for (const Tensor& in : inputs) wide.push_back(in ? cast(in, f64) : in);
        const auto run = [&](const std::vector<Tensor>& in, std::string_view backend) {
          const OpGraph g = graph_of(*op, s.sample.attributes, in);
          return Session(g.graph, {.backend = std::string(backend)}, one_thread())
              .run(g.present(), g.feeds);
        };
        const std::vector<Tensor> want = run(wide, "reference");
        for (const Backend* b : linked_backends()) {
          const std::vector<Tensor> got = run(inputs, b->name());
          for (size_t i = 0; i < got.size(); ++i) {
            INFO("result " << i << " of " << b->name());
            CHECK(difference(got[i], cast(want[i], got[i].dtype())) == "");
          }
          ++calls;
        }
      }
    }
  }
  WARN(calls << " calls in half precision");
  CHECK(calls >= 4 * (registry().all().size() - 10));
}
