#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "bench.h"

#include <rondo/ops/random.h>
#include <rondo/runtime/session.h>
#include <rondo/runtime/stream.h>

namespace rondo::tool {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Tensor noise(const Var& of, uint64_t seed) {
  Tensor t(of.dtype(), bind(of.shape(), {}));
  for (int64_t i = 0; i < t.size(); ++i) {
    const double x = uniform_at(seed, 0, 0, static_cast<uint64_t>(i)) - 0.5;
    convert_elements(f64, &x, t.dtype(),
                     t.raw_mutable() + static_cast<size_t>(i) * size_of(t.dtype()), 1);
  }
  return t;
}

// Past its end a row holds zeros, for peers that multiply them.
Tensor cleared(Tensor x, const std::vector<int32_t>& lengths) {
  const size_t row = x.bytes() / static_cast<size_t>(std::max<int64_t>(1, x.dim(0) * x.dim(1)));
  std::byte* data = x.raw_mutable();
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t b = 0; b < x.dim(1); ++b) {
      if (t >= lengths[static_cast<size_t>(b)])
        std::fill_n(data + static_cast<size_t>(t * x.dim(1) + b) * row, row, std::byte{0});
    }
  }
  return x;
}

std::string kernels_of(const BoundPlan& plan) {
  std::set<std::string> of_recurrences, of_products;
  const std::function<void(const BoundPlan&)> add = [&](const BoundPlan& p) {
    const auto steps = p.steps();
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].op == "recurrence") of_recurrences.insert(steps[i].kernel);
      if (steps[i].op == "matmul" || steps[i].op == "fused_matmul")
        of_products.insert(steps[i].kernel);
      if (steps[i].op == "segments") add(*p.body_of(i));
    }
  };
  add(plan);
  std::string r;
  for (const std::string& k : of_recurrences.empty() ? of_products : of_recurrences)
    r += (r.empty() ? "" : " ") + k;
  return r;
}

int64_t bytes_of(const BoundPlan& plan) {
  size_t n = plan.arena_bytes();
  for (const auto& types : {plan.input_types(), plan.output_types()}) {
    for (const TensorType& t : types) n += t.bytes();
  }
  return static_cast<int64_t>(n);
}

const char* mode_name(BenchMode m) {
  return m == BenchMode::infer ? "infer" : m == BenchMode::train ? "train" : "stream";
}

std::string dtype_name(const BenchModel& m) {
  return m.precision == Precision::full ? cat(m.dtype) : std::string(name_of(m.precision));
}

const char* form_name(BenchForm f) {
  return f == BenchForm::fused ? "fused" : f == BenchForm::scan ? "scan" : "unrolled";
}

// Runs that are shorter than `least_ms` are timed many at once.
template <class F>
void time_runs(const F& run, double least_ms, const BenchOptions& options, BenchResult& r) {
  for (int i = 0; i < 3; ++i) run();
  if (options.allocations) {
    const int64_t before = options.allocations();
    run();
    r.allocations = options.allocations() - before;
  }
  const auto timed = [&](int64_t times) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < times; ++i) run();
    return ms_since(start);
  };
  while (timed(r.at_once) < least_ms) r.at_once *= 2;
  std::vector<double> ms;
  const Clock::time_point start = Clock::now();
  while (ms.size() < 5 || ms_since(start) < 1000 * options.min_time)
    ms.push_back(timed(r.at_once) / static_cast<double>(r.at_once));
  std::sort(ms.begin(), ms.end());
  r.runs = static_cast<int64_t>(ms.size());
  r.ms_min = ms.front();
  r.ms_median = (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2;
}

CompileOptions compile_options(const BenchModel& model, const BenchOptions& options) {
  if (options.recompute && model.mode != BenchMode::train)
    fail(Fault::kArgument, "bench.recompute.mode", "--recompute is about gradients, and --mode ",
         mode_name(model.mode), " has none; use --mode train");
  return {.backend = options.backend,
          .kernel = options.kernel,
          .precision = model.precision,
          .recompute = options.recompute};
}

// What is timed must be what was asked for.
void check_kernel(const BoundPlan& plan, const BenchOptions& options) {
  if (options.kernel.empty() || plan.uses_kernel(options.kernel)) return;
  const std::string why = plan.why_unused(options.kernel);
  fail(Fault::kArgument, "bench.kernel.unused", "--kernel ", options.kernel,
       " runs no step of this network: ", why.empty() ? "none is of an op that it runs" : why);
}

BenchResult bench_stream(const BenchModel& model, const BenchOptions& options) {
  constexpr double kLeastMs = 0.1;
  const BenchNetwork n = bench_network(model);
  Session session(n.graph, compile_options(model, options), std::make_shared<ThreadTeam>(1));
  BenchResult r;
  const Clock::time_point planning = Clock::now();
  Stream stream(session, n.fetches, {.threads = options.threads});
  r.plan_ms = ms_since(planning);
  check_kernel(stream.plan(), options);
  r.kernel = kernels_of(stream.plan());
  r.peak_bytes = bytes_of(stream.plan());
  time_runs([&] { stream.step(); }, kLeastMs, options, r);
  r.gflops = bench_flops(model) / r.ms_min * 1e-6;
  return r;
}

}  // namespace

BenchResult bench(const BenchModel& model, const BenchOptions& options) {
  if (model.mode == BenchMode::stream) return bench_stream(model, options);
  const BenchNetwork n = bench_network(model);
  const std::vector<int32_t> lengths = bench_lengths(model);
  std::vector<Feed> feeds{{n.x, cleared(noise(n.x, 1), lengths)}};
  if (n.lengths) feeds.emplace_back(n.lengths, Tensor::of<int32_t>({model.batch}, lengths));
  if (n.dy) feeds.emplace_back(n.dy, cleared(noise(n.dy, 2), lengths));

  Session session(n.graph, compile_options(model, options),
                  std::make_shared<ThreadTeam>(options.threads));
  BenchResult r;
  const Clock::time_point planning = Clock::now();
  const std::shared_ptr<const BoundPlan> plan = session.plan(n.fetches)->bind({});
  r.plan_ms = ms_since(planning);
  check_kernel(*plan, options);
  r.kernel = kernels_of(*plan);
  r.peak_bytes = bytes_of(*plan);

  const RunOptions run{.training = model.mode == BenchMode::train};
  time_runs([&] { session.run(n.fetches, feeds, run); }, 0, options, r);
  r.gflops = bench_flops(model) / r.ms_min * 1e-6;
  return r;
}

std::string explain_bench(const BenchModel& model, const BenchOptions& options) {
  const BenchNetwork n = bench_network(model);
  Session session(n.graph, compile_options(model, options));
  if (model.mode == BenchMode::stream) return Stream(session, n.fetches).explain();
  return session.explain(n.fetches);
}

std::string to_json(const BenchModel& m, const BenchOptions& o, const BenchResult& r) {
  nlohmann::ordered_json j{{"cell", m.cell},
                           {"mode", mode_name(m.mode)},
                           {"form", form_name(m.form)},
                           {"time", m.time},
                           {"batch", m.batch},
                           {"input", m.input},
                           {"hidden", m.hidden},
                           {"layers", m.layers},
                           {"bidirectional", m.bidirectional},
                           {"lengths", m.ragged ? "ragged" : "full"},
                           {"dtype", dtype_name(m)},
                           {"threads", o.threads},
                           {"backend", o.backend},
                           {"recompute", o.recompute},
                           {"kernel_asked", o.kernel},
                           {"ms_min", r.ms_min},
                           {"ms_median", r.ms_median},
                           {"runs", r.runs},
                           {"at_once", r.at_once},
                           {"gflops", r.gflops},
                           {"kernel", r.kernel},
                           {"peak_bytes", r.peak_bytes},
                           {"plan_ms", r.plan_ms}};
  if (r.allocations) j["allocations"] = *r.allocations;
  return j.dump() + "\n";
}

std::string to_text(const BenchModel& m, const BenchOptions& o, const BenchResult& r) {
  std::string s =
      fmt::format("{} {} ({}): T {} B {} I {} H {}, {} layer{}{}{}, {}, {} thread{}\n", m.cell,
                  mode_name(m.mode), form_name(m.form), m.time, m.batch, m.input, m.hidden,
                  m.layers, m.layers == 1 ? "" : "s", m.bidirectional ? " both ways" : "",
                  m.ragged ? ", ragged" : "", dtype_name(m), o.threads, o.threads == 1 ? "" : "s");
  if (r.at_once == 1) {
    s += fmt::format("  {:.3f} ms at best, {:.3f} ms median of {} runs; {:.1f} GFLOP/s\n", r.ms_min,
                     r.ms_median, r.runs, r.gflops);
  } else {
    s += fmt::format("  {:.3f} us at best, {:.3f} us median of {} times {}; {:.1f} GFLOP/s\n",
                     1000 * r.ms_min, 1000 * r.ms_median, r.runs, r.at_once, r.gflops);
  }
  s += fmt::format("  kernel {}; {:.1f} MiB planned; plan made in {:.1f} ms", r.kernel,
                   static_cast<double>(r.peak_bytes) / 1048576.0, r.plan_ms);
  if (r.allocations) s += fmt::format("; {} allocations a run", *r.allocations);
  return s + "\n";
}

}  // namespace rondo::tool
