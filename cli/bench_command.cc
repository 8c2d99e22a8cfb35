// `rondo bench`: how fast one network runs here. This program counts what it allocates.
#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <new>

#include <fmt/core.h>

#include "bench.h"
#include "commands.h"

#include <rondo/runtime/backend.h>

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> allocated{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocated.fetch_add(1, std::memory_order_relaxed);
  if (bytes > std::numeric_limits<std::size_t>::max() - alignment) throw std::bad_alloc();
  const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace

void* operator new(std::size_t n) { return counted(n, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t n, std::align_val_t a) {
  return counted(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace rondo::tool {

void add_bench(CLI::App& app, Run& run) {
  struct Arguments {
    BenchModel model;
    BenchOptions options;
    bool json = false, explain = false;
  };
  auto a = std::make_shared<Arguments>();
  a->options.allocations = [] { return allocated.load(std::memory_order_relaxed); };
  BenchModel& m = a->model;
  CLI::App* c = app.add_subcommand("bench", "Time a recurrent network on this machine");
  c->add_option("cell", m.cell,
                "What is recurrent: gru resets after the product (rnn), gru_reset_before before it "
                "(gru_layer)")
      ->required()
      ->check(CLI::IsMember(bench_cells()));
  const auto size = [&](const char* name, int64_t& to, const char* what) {
    return c->add_option(name, to, what)->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  };
  CLI::Option* time =
      size("--time", m.time,
           "Steps T: needed but in a stream, which runs one at a time and has no use for it");
  size("--batch", m.batch, "Rows B")->required();
  size("--input", m.input, "Features of x, I")->required();
  size("--hidden", m.hidden, "Hidden units H")->required();
  size("--layers", m.layers, "Layers upon each other")->capture_default_str();
  c->add_flag("--bidirectional", m.bidirectional, "Both directions, side by side");
  const auto choice = [&](const char* name, auto& to, const auto& values, const char* what,
                          const char* standard) {
    c->add_option_function<std::string>(
         name, [&to, values](const std::string& s) { to = values.at(s); }, what)
        ->check(CLI::IsMember(values))
        ->default_str(standard);
  };
  choice(
      "--mode", m.mode,
      std::map<std::string, BenchMode>{
          {"infer", BenchMode::infer}, {"train", BenchMode::train}, {"stream", BenchMode::stream}},
      "train: forward, and the gradients of x and of every weight; stream: one step of a Stream",
      "infer");
  struct Numbers {
    DType dtype;
    Precision precision;
  };
  const std::map<std::string, Numbers> numbers{{"f32", {f32, Precision::full}},
                                               {"f64", {f64, Precision::full}},
                                               {"bf16", {f32, Precision::bf16}},
                                               {"int8", {f32, Precision::int8}}};
  c->add_option_function<std::string>(
       "--dtype",
       [&m, numbers](const std::string& s) {
         m.dtype = numbers.at(s).dtype;
         m.precision = numbers.at(s).precision;
       },
       "Of x, weights and y; bf16 and int8: f32 with weights in fewer bits in products, which pays "
       "where steps wait for weights (few rows, wide layers)")
      ->check(CLI::IsMember(numbers))
      ->default_str("f32");
  choice("--lengths", m.ragged, std::map<std::string, bool>{{"full", false}, {"ragged", true}},
         "ragged: spread evenly over (0.25 T, T]", "full");
  choice("--form", m.form,
         std::map<std::string, BenchForm>{{"fused", BenchForm::fused},
                                          {"scan", BenchForm::scan},
                                          {"unrolled", BenchForm::unrolled}},
         "fused: the library's layer; scan: a cell of primitives in rnn::layer; unrolled: that "
         "cell, step by step",
         "fused");
  c->add_option("--threads", a->options.threads, "Threads of the team")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  std::vector<std::string> backends;
  for (const Backend* b : linked_backends()) backends.emplace_back(b->name());
  c->add_option("--backend", a->options.backend, "Where it runs")
      ->check(CLI::IsMember(backends))
      ->capture_default_str();
  c->add_flag(
      "--recompute", a->options.recompute,
      "with --mode train: gradients run their loops again, in segments of time; less memory where "
      "there are many steps and rows, more time");
  c->add_option("--kernel", a->options.kernel,
                "Runs every call that it supports, cpu.recurrence.onednn say; refused where there "
                "is none");
  c->add_option("--min-time", a->options.min_time, "Seconds of timed runs; at least 5 runs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI::Option* json = c->add_flag("--json", a->json, "One line of JSON");
  c->add_flag("--explain", a->explain, "What was rolled, lowered and chosen, instead of the time")
      ->excludes(json);
  c->callback([a, time, &run] {
    if (a->model.mode == BenchMode::stream) {
      a->model.time = 1;
    } else if (time->count() == 0) {
      throw CLI::RequiredError("--time");
    }
    run = [a] {
      try {
        if (a->explain) {
          fmt::print("{}", explain_bench(a->model, a->options));
          return 0;
        }
        counting = true;
        const BenchResult r = bench(a->model, a->options);
        counting = false;
        fmt::print("{}",
                   a->json ? to_json(a->model, a->options, r) : to_text(a->model, a->options, r));
      } catch (const Error& e) {
        if (e.code().rfind("bench.", 0) == 0 || e.code() == "plan.kernel.unknown")
          throw UsageError(e.what());
        throw;
      }
      return 0;
    };
  });
}

}  // namespace rondo::tool
