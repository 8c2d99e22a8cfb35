// Every kernel of every backend against the reference backend: on the samples of its op, and on
// those stretched to sizes of 0, 1 and 17, and enlarged, in f64 and f32.
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
double allowed(DType t) { return t == f64 ? 1e-12 : 1e-5; }

std::string difference(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) return "another type or shape";
  double largest = 1;
  for (int64_t i = 0; i < want.size(); ++i) {
    if (std::isfinite(want.at(i))) largest = std::max(largest, std::abs(want.at(i)));
  }
  for (int64_t i = 0; i < want.size(); ++i) {
    const double a = got.at(i), b = want.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!is_float(want.dtype()) || !(std::abs(a - b) <= allowed(want.dtype()) * largest))
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
std::optional<Oracle> ask_reference(const NamedSample& s, DType t, Run&& run) {
  for (const Sample& sample : {s.sample, with_zero_integers(s.sample)}) {
    const std::vector<Tensor> inputs = draw(sample, t);
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

struct Counts {
  size_t kernels = 0, calls = 0, unsupported = 0, meaningless = 0;
};

// An op's kernels, called directly between guard bytes.
void compare_with_reference(const Backend& b, const Kernel& k, const OpDef& op, Counts& counts,
                            size_t& calls) {
  for (const NamedSample& s : sized_samples(op)) {
    for (const DType t : {f64, f32}) {
      for (const bool training : {false, true}) {
        if (training && !op.opaque) continue;
        INFO(s.name << " in " << t << (training ? " in training" : ""));
        KernelRun run{.training = training, .seed = 5, .step = 2};
        const auto oracle = ask_reference(
            s, t, [&](const std::vector<Tensor>& inputs) { return run_reference(s, inputs, run); });
        if (!oracle) {
          ++counts.meaningless;
          continue;
        }
        run.kernel = k.name;
        std::vector<Tensor> got;
        try {
          got = run_kernel(b, op.name, oracle->inputs, s.sample.attributes, run);
        } catch (const Error& e) {
          if (e.code() != "harness.kernel.none") throw;
          ++counts.unsupported;
          continue;
        }
        for (size_t i = 0; i < got.size(); ++i) {
          CAPTURE(i);
          CHECK(difference(got[i], oracle->results[i]) == "");
        }
        ++calls;
      }
    }
  }
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

// A kernel for nodes that no sample makes directly (a recurrence): on ops that are lowered to such
// nodes, forward and backward, through a session that is made to use it.
void compare_in_sessions(const Backend& b, const Kernel& k, const OpDef& op, Counts& counts,
                         size_t& calls) {
  for (const NamedSample& s : sized_samples(op)) {
    for (const DType t : {f64, f32}) {
      INFO(s.name << " in " << t);
      const auto oracle = ask_reference(s, t, [&](const std::vector<Tensor>& inputs) {
        const Whole w = with_gradients(s, inputs);
        return Session(w.g.graph, {.backend = "reference", .optimize = false}, one_thread())
            .run(w.fetches, w.g.feeds);
      });
      if (!oracle) {
        ++counts.meaningless;
        continue;
      }
      const Whole w = with_gradients(s, oracle->inputs);
      Session forced(w.g.graph, {.backend = std::string(b.name()), .kernel = k.name}, one_thread());
      if (!forced.plan(w.fetches)->bind({})->uses_kernel(k.name)) {
        ++counts.unsupported;
        continue;
      }
      const std::vector<Tensor> got = forced.run(w.fetches, w.g.feeds);
      for (size_t i = 0; i < got.size(); ++i) {
        CAPTURE(i);
        CHECK(difference(got[i], oracle->results[i]) == "");
      }
      ++calls;
    }
  }
}

}  // namespace

TEST_CASE("every kernel of every backend agrees with the reference", "[registry][kernel]") {
  Counts counts;
  for (const Backend* b : linked_backends()) {
    if (b->name() == "reference") continue;
    for (const Kernel& k : b->kernels()) {
      INFO("kernel " << k.name);
      size_t calls = 0;
      for (const OpDef* op : registry().all()) {
        if (serves(k, *op) && !op->samples.empty())
          compare_with_reference(*b, k, *op, counts, calls);
      }
      for (const OpDef* op : registry().all()) {
        if (!k.op.empty() && registry().at(k.op).samples.empty() && op->lower)
          compare_in_sessions(*b, k, *op, counts, calls);
      }
      CHECK(calls > 0);
      counts.calls += calls;
      ++counts.kernels;
    }
  }
  WARN(counts.kernels << " kernels, " << counts.calls << " calls compared, " << counts.unsupported
                      << " not supported, " << counts.meaningless << " without a result");
  CHECK(counts.kernels > 0);
  CHECK(counts.calls > 100);
}
