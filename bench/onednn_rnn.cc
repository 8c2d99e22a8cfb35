// oneDNN's own recurrent primitives, timed like `rondo bench`, with its command line and its JSON:
// the peer "oneDNN" of bench/compare.py.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <sched.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "onednn_network.h"

namespace {

using namespace onednn_peer;
using Clock = std::chrono::steady_clock;

// ---- what is asked ------------------------------------------------------------------------------

constexpr Cell kCells[] = {
    {"lstm", Family::lstm, 4, 4},
    {"lstm_peephole", Family::lstm, 4, 4, true},
    {"gru", Family::lbr_gru, 3, 4},
    {"gru_reset_before", Family::gru, 3, 3},
    {"rnn_tanh", Family::vanilla, 1, 1, false, dnnl_eltwise_tanh},
    {"rnn_relu", Family::vanilla, 1, 1, false, dnnl_eltwise_relu},
};

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "rondo_bench_onednn: %s\n", why.c_str());
  std::exit(2);
}

std::string runtime_name(unsigned runtime) {
  switch (runtime) {
    case DNNL_RUNTIME_SEQ:
      return "sequential";
    case DNNL_RUNTIME_OMP:
      return "OpenMP";
    case DNNL_RUNTIME_TBB:
      return "TBB";
    default:
      return runtime == DNNL_RUNTIME_SYCL ? "SYCL" : "another runtime";
  }
}

constexpr const char* kUsage =
    "usage: rondo_bench_onednn CELL --time T --batch B --input I --hidden H [--layers L]\n"
    "  [--bidirectional] [--mode infer|train|stream] [--dtype f32|bf16] [--lengths full|ragged]\n"
    "  [--threads N] [--min-time S] [--path best|inference|training] [--json]\n       "
    "rondo_bench_onednn --version\n"
    "CELL: lstm lstm_peephole gru gru_reset_before rnn_tanh rnn_relu. --lengths ragged runs the\n"
    "whole rectangle and clears what is past each row's end. --path: which forward pass infers.";

Task parse(int argc, char** argv) {
  Task t;
  const auto number = [](const std::string& s) { return std::strtoll(s.c_str(), nullptr, 10); };
  const std::pair<const char*, int64_t*> numbers[] = {
      {"--time", &t.time},     {"--batch", &t.batch},   {"--input", &t.input},
      {"--hidden", &t.hidden}, {"--layers", &t.layers}, {"--threads", &t.threads}};
  struct Choice {
    const char* name;
    std::string* to;
    std::vector<std::string> of;
  };
  std::string lengths = "full", form = "fused";
  const Choice choices[] = {{"--mode", &t.mode, {"infer", "train", "stream"}},
                            {"--dtype", &t.dtype, {"f32", "bf16"}},
                            {"--lengths", &lengths, {"full", "ragged"}},
                            {"--form", &form, {"fused"}},
                            {"--path", &t.path, {"best", "inference", "training"}}};
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--help") {
      std::puts(kUsage);
      std::exit(0);
    }
    if (a == "--version") {
      const dnnl_version_t& v = *dnnl_version();
      std::printf("%d.%d.%d (%s)\n", v.major, v.minor, v.patch,
                  runtime_name(v.cpu_runtime).c_str());
      std::exit(0);
    }
    if (a == "--json") continue;
    if (a == "--bidirectional") {
      t.directions = 2;
      continue;
    }
    if (a.rfind("--", 0) != 0) {
      const auto* c = std::find_if(std::begin(kCells), std::end(kCells),
                                   [&](const Cell& cell) { return a == cell.name; });
      if (c == std::end(kCells)) refuse("oneDNN has no cell \"" + a + "\"");
      t.cell = *c;
      continue;
    }
    if (i + 1 == argc) refuse(a + " wants a value");
    const std::string value = argv[++i];
    bool known = a == "--min-time";
    if (known) t.min_time = std::strtod(value.c_str(), nullptr);
    for (const auto& [name, to] : numbers) {
      if (a != name) continue;
      known = true;
      if ((*to = number(value)) < 1) refuse(a + " wants a number from 1, not " + value);
    }
    for (const Choice& c : choices) {
      if (a != c.name) continue;
      known = true;
      if (std::find(c.of.begin(), c.of.end(), value) == c.of.end())
        refuse(a + " is not offered with " + value);
      *c.to = value;
    }
    if (!known) refuse("there is no " + a + "; --help lists what there is");
  }
  t.ragged = lengths == "ragged";
  if (t.stream()) t.time = 1;
  if (t.cell.name == nullptr || t.time < 1 || t.batch < 1 || t.input < 1 || t.hidden < 1)
    refuse(std::string("what is to be timed?\n") + kUsage);
  if (t.ragged && t.directions == 2)
    refuse("oneDNN has no lengths: backwards through padding is another network");
  if (t.stream() && (t.directions == 2 || t.layers > 1)) refuse("one layer forwards streams");
  return t;
}

// ---- timing -------------------------------------------------------------------------------------

struct Times {
  double least = 0, median = 0;
  size_t runs = 0;
};

// Milliseconds of one call of f, which is `steps` of what is counted; at least 5 calls.
Times times_of(const std::function<void()>& f, double seconds, double steps) {
  const auto ms = [](Clock::duration d) { return std::chrono::duration<double>(d).count() * 1e3; };
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> all;
  const Clock::time_point start = Clock::now();
  while (all.size() < 5 || ms(Clock::now() - start) < 1000 * seconds) {
    const Clock::time_point one = Clock::now();
    f();
    all.push_back(ms(Clock::now() - one) / steps);
  }
  std::sort(all.begin(), all.end());
  return {all.front(), (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2, all.size()};
}

double flops(const Task& t) {
  double rows = 0, per_row = 0;
  for (int64_t b = 0; b < t.batch; ++b) rows += static_cast<double>(t.length(b));
  for (int64_t l = 0; l < t.layers; ++l) {
    const int64_t in = l == 0 ? t.input : t.directions * t.hidden;
    per_row += static_cast<double>(t.directions * (in + t.hidden) * t.cell.gates * t.hidden);
  }
  return 2 * rows * per_row * (t.train() ? 3 : 1);
}

// Threads are counted by what the process may use, and by OpenMP's variable, which is read when
// the library is loaded: both are set, and the program starts again.
void limit_threads(int64_t n, char** argv) {
  if (std::getenv("RONDO_BENCH_ONEDNN") != nullptr) return;
  setenv("RONDO_BENCH_ONEDNN", "started", 1);
  setenv("OMP_NUM_THREADS", std::to_string(n).c_str(), 1);
  cpu_set_t may, use;
  CPU_ZERO(&use);
  if (sched_getaffinity(0, sizeof may, &may) == 0) {
    int64_t taken = 0;
    for (int c = 0; c < CPU_SETSIZE && taken < n; ++c) {
      if (CPU_ISSET(c, &may) == 0) continue;
      CPU_SET(c, &use);
      ++taken;
    }
    sched_setaffinity(0, sizeof use, &use);
  }
  execv("/proc/self/exe", argv);
}

// The network with the quickest forward pass among those asked for; "" in `path` where there is
// no choice.
std::unique_ptr<Network> best_network(Machine& on, const Task& t, std::string& path) {
  const auto network = [&](dnnl_prop_kind_t kind) {
    // Of two directions one primitive would stack each for itself and join them at the end: another
    // network, with half the inputs in its upper layers.
    if (t.layers > 1 && t.directions == 1) {
      try {
        return std::make_unique<Network>(on, t, kind, true);
      } catch (const dnnl::error&) {  // layers of different widths
      }
    }
    return std::make_unique<Network>(on, t, kind, t.layers == 1);
  };
  if (t.train()) return network(dnnl_forward_training);
  std::unique_ptr<Network> best;
  double least = 0;
  for (const auto& [name, kind] : {std::pair{"inference", dnnl_forward_inference},
                                   std::pair{"training", dnnl_forward_training}}) {
    if (t.path != "best" && t.path != name) continue;
    std::unique_ptr<Network> n = network(kind);
    const double ms = t.path == "best" ? times_of([&] { n->run(); }, t.min_time / 8, 1).median : 0;
    if (best && ms >= least) continue;
    best = std::move(n);
    least = ms;
    path = name;
  }
  return best;
}

int bench(const Task& t) {
  const dnnl_version_t& v = *dnnl_version();
  if (dnnl::engine::get_count(dnnl::engine::kind::cpu) == 0)
    refuse(
        "this oneDNN finds no CPU; one built with SYCL wants an OpenCL runtime "
        "(OCL_ICD_FILENAMES)");
  Machine on;
  std::string path;
  const std::unique_ptr<Network> n = best_network(on, t, path);
  constexpr int kPairs = 32;
  const Times r = t.stream() ? times_of(
                                   [&] {
                                     for (int i = 0; i < kPairs; ++i) n->two_steps();
                                   },
                                   t.min_time, 2 * kPairs)
                             : times_of([&] { n->run(); }, t.min_time, 1);
  std::printf(
      R"({"peer":"onednn","version":"%d.%d.%d","runtime":"%s","cell":"%s","mode":"%s",)"
      R"("time":%lld,"batch":%lld,"input":%lld,"hidden":%lld,"layers":%lld,"bidirectional":%s,)"
      R"("lengths":"%s","dtype":"%s","threads":%lld,"ms_min":%.6g,"ms_median":%.6g,"runs":%zu,)"
      R"("gflops":%.6g,"kernel":"%s%s%s"})"
      "\n",
      v.major, v.minor, v.patch, runtime_name(v.cpu_runtime).c_str(), t.cell.name, t.mode.c_str(),
      static_cast<long long>(t.time), static_cast<long long>(t.batch),
      static_cast<long long>(t.input), static_cast<long long>(t.hidden),
      static_cast<long long>(t.layers), t.directions == 2 ? "true" : "false",
      t.ragged ? "ragged" : "full", t.dtype.c_str(), static_cast<long long>(t.threads), r.least,
      r.median, r.runs, flops(t) / r.least * 1e-6, n->implementation().c_str(),
      path.empty() ? "" : ", forward_", path.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Task t = parse(argc, argv);
  limit_threads(t.threads, argv);
  try {
    return bench(t);
  } catch (const dnnl::error& e) {
    refuse(std::string(e.what()) + " (" + std::to_string(static_cast<int>(e.status)) + ")");
  }
}
