// Times one network on this machine: the work behind `rondo bench`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "bench_cells.h"

namespace rondo::tool {

struct BenchOptions {
  std::string backend = "cpu";
  std::string kernel = {};  ///< runs every call that it supports (CompileOptions::kernel)
  bool recompute = false;   ///< CompileOptions::recompute
  int threads = 1;
  double min_time = 1;  ///< seconds of timed runs; at least 5 runs
  /// Calls of operator new so far, where the program counts them.
  std::function<int64_t()> allocations = nullptr;
};

struct BenchResult {
  double ms_min = 0, ms_median = 0;
  int64_t runs = 0;        ///< that were timed,
  int64_t at_once = 1;     ///< so many each time, of which the figures are the mean
  double gflops = 0;       ///< of the quickest run
  std::string kernel;      ///< those that run the recurrences or, without one, the products
  int64_t peak_bytes = 0;  ///< planned: arena, inputs, outputs and variables
  double plan_ms = 0;      ///< from the graph to a plan of numbers
  std::optional<int64_t> allocations;  ///< of one run after the first
};

BenchResult bench(const BenchModel& model, const BenchOptions& options);
/// How such a run goes and why, instead of how long it takes (runtime/explain.h).
std::string explain_bench(const BenchModel& model, const BenchOptions& options);

/// One line of JSON.
std::string to_json(const BenchModel& model, const BenchOptions& options, const BenchResult& r);
/// The same for people.
std::string to_text(const BenchModel& model, const BenchOptions& options, const BenchResult& r);

}  // namespace rondo::tool
