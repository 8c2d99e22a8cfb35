// What plans cost beside what their kernels compute: a figure of bench/compare.py each.
//   rondo_bench_plan node [--min-time S]
//   rondo_bench_plan specialise|compile --model FILE.rondo [--min-time S]
// node: one more node in a run, on a tensor of one element. specialise: a compiled plan under new T
// and B. compile: from a saved training to its plan. One line of JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <rondo/rondo.h>

using namespace rondo;

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

template <class F>
double ms_of(const F& f) {
  const Clock::time_point start = Clock::now();
  f();
  return ms_since(start);
}

double least(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
}

struct Options {
  std::string model;
  double seconds = 1;
};

// At least 5 samples, and as many as fit into the time; the first few warm up.
std::vector<double> samples(const Options& options, const std::function<double()>& sample) {
  std::vector<double> ms;
  for (int i = 0; i < 3; ++i) sample();
  const Clock::time_point start = Clock::now();
  while (ms.size() < 5 || ms_since(start) < 1000 * options.seconds) ms.push_back(sample());
  return ms;
}

struct Figure {
  double ms_min = 0, ms_median = 0;
  size_t runs = 0;
};
Figure figure(const std::vector<double>& ms) { return {least(ms), median(ms), ms.size()}; }

// `parts`: of the median, by name.
void print(const Figure& f, const std::vector<std::pair<const char*, double>>& parts = {}) {
  std::printf(R"({"ms_min":%.6g,"ms_median":%.6g,"runs":%zu)", f.ms_min, f.ms_median, f.runs);
  for (const auto& [name, ms] : parts) std::printf(R"(,"%s":%.6g)", name, ms);
  std::printf("}\n");
}

// A chain of one-element kernels, each of which waits for the one before.
struct Chain {
  std::shared_ptr<const BoundPlan> plan;
  std::shared_ptr<std::byte> arena;
  Tensor x = Tensor::full(f32, {1}, 0.5), y{f32, {1}};
  std::unique_ptr<Frame> frame;

  explicit Chain(int nodes) {
    Graph g;
    const Var first = g.placeholder("x", f32, {1});
    Var last = first;
    for (int i = 0; i < nodes; ++i) last = -last;
    plan = Plan::compile({g, {first.value()}, {last.value()}}, {.optimize = false})->bind({});
    if (plan->steps().size() != static_cast<size_t>(nodes))
      throw std::runtime_error("the chain has not one step for each node");
    arena = allocate_aligned(plan->arena_bytes());
    frame = std::make_unique<Frame>(*plan, arena.get());
    frame->set_input(0, x.raw());
    frame->set_output(0, y.raw_mutable());
  }
};

// What a run costs by itself is in both chains, and leaves with the shorter one.
void node(const Options& options) {
  constexpr int kHalf = 2000;
  Chain all(2 * kHalf), half(kHalf);
  ThreadTeam team(1);
  RunContext context{team};
  std::vector<double> of_half;
  const std::vector<double> of_all = samples(options, [&] {
    of_half.push_back(ms_of([&] { half.frame->run(context); }));
    return ms_of([&] { all.frame->run(context); });
  });
  const auto each = [](double longer, double shorter) { return (longer - shorter) / kHalf; };
  print(
      {each(least(of_all), least(of_half)), each(median(of_all), median(of_half)), of_all.size()});
}

// The lengths and batches of the demo: more of them than a plan keeps.
void specialise(const Options& options) {
  Trainer trainer = load_trainer(options.model, {.threads = 1});
  const std::shared_ptr<const Plan> plan = trainer.plan();
  int64_t steps = 7, rows = 1;
  const std::vector<double> ms = samples(options, [&] {
    const Binding sizes{{"T", steps}, {"B", rows}};
    steps = steps == 29 ? 7 : steps + 1;
    if (steps == 7) rows = rows == 16 ? 1 : rows + 1;
    return ms_of([&] { plan->bind(sizes); });
  });
  print(figure(ms));
}

void compile(const Options& options) {
  std::vector<double> loading, planning;
  const std::vector<double> all = samples(options, [&] {
    const Clock::time_point start = Clock::now();
    Trainer trainer = load_trainer(options.model, {.threads = 1});
    loading.push_back(ms_since(start));
    const std::shared_ptr<const Plan> plan = trainer.plan();
    planning.push_back(ms_since(start) - loading.back());
    plan->bind({{"T", 29}, {"B", 16}});
    return ms_since(start);
  });
  print(figure(all), {{"load_ms", median(loading)}, {"plan_ms", median(planning)}});
}

int usage() {
  std::fprintf(stderr,
               "usage: rondo_bench_plan node [--min-time S]\n"
               "       rondo_bench_plan specialise|compile --model FILE.rondo [--min-time S]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::map<std::string, void (*)(const Options&)> figures{
      {"node", node}, {"specialise", specialise}, {"compile", compile}};
  const auto figure = figures.find(argc > 1 ? argv[1] : "");
  Options options;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--model") {
      options.model = argv[i + 1];
    } else if (name == "--min-time") {
      options.seconds = std::stod(argv[i + 1]);
    } else {
      return usage();
    }
  }
  const bool needs_model = figure != figures.end() && figure->second != node;
  if (figure == figures.end() || argc % 2 != 0 || needs_model == options.model.empty())
    return usage();
  figure->second(options);
  return 0;
} catch (const std::invalid_argument&) {
  return usage();
} catch (const std::exception& e) {
  std::fprintf(stderr, "rondo_bench_plan: %s\n", e.what());
  return 1;
}
