// What `rondo bench` times: that its networks are what they are called, and its figures what they
// say. Never how long something takes.
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "../cli/bench.h"

#include <rondo/runtime/session.h>

namespace rondo::tool {
namespace {

BenchModel small(const std::string& cell) {
  return {.cell = cell, .time = 5, .batch = 3, .input = 4, .hidden = 4};
}

constexpr BenchForm kForms[] = {BenchForm::fused, BenchForm::scan, BenchForm::unrolled};

std::string kernel_of(const BenchModel& m) { return bench(m, {.min_time = 0}).kernel; }

size_t steps_of(const BenchModel& m) {
  const BenchNetwork n = bench_network(m);
  return Session(n.graph).plan(n.fetches)->bind({})->steps().size();
}

std::string refused(const BenchModel& m) {
  try {
    bench_network(m);
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

}  // namespace

TEST_CASE("bench: every cell has every form, forward and in training, and runs", "[bench]") {
  for (const std::string& cell : bench_cells()) {
    for (const BenchForm form : kForms) {
      for (const bool train : {false, true}) {
        INFO(cell << " as form " << static_cast<int>(form) << (train ? " in training" : ""));
        BenchModel m = small(cell);
        m.layers = 2;
        m.form = form;
        m.mode = train ? BenchMode::train : BenchMode::infer;
        const BenchResult r = bench(m, {.min_time = 0});
        CHECK(r.runs >= 5);
        CHECK(r.ms_min > 0);
        CHECK(r.ms_median >= r.ms_min);
        CHECK(r.peak_bytes > 5 * 3 * 4 * 4);
        const BenchNetwork n = bench_network(m);
        CHECK(n.fetches[0].shape() == Shape{5, 3, 4});
        CHECK(n.fetches.size() == (train ? 2 + n.graph.trainable().size() : 1));
      }
    }
  }
}

TEST_CASE("bench: an own cell runs on the kernel of the library's layer", "[bench]") {
  for (const std::string& cell : bench_cells()) {
    for (const bool train : {false, true}) {
      INFO(cell << (train ? " in training" : ""));
      BenchModel m = small(cell);
      m.mode = train ? BenchMode::train : BenchMode::infer;
      const std::string kernel = kernel_of(m);
      m.form = BenchForm::scan;
      CHECK(kernel_of(m) == kernel);
      m.form = BenchForm::unrolled;
      CHECK(kernel_of(m) == kernel);
      const size_t steps = steps_of(m);
      ++m.time;
      CHECK(steps_of(m) == steps);
    }
  }
}

TEST_CASE("bench: lengths, directions and what a form does not have", "[bench]") {
  BenchModel m{.cell = "lstm", .time = 100, .batch = 4, .input = 3, .hidden = 2, .ragged = true};
  CHECK(bench_lengths(m) == std::vector<int32_t>{44, 62, 81, 100});
  // A product of x and one of h, each with 4 gates: 2 operations for each weight and step.
  CHECK(bench_flops(m) == 2.0 * (44 + 62 + 81 + 100) * (3 + 2) * (4 * 2));
  m.mode = BenchMode::train;
  CHECK(bench_flops(m) == 3 * 2.0 * (44 + 62 + 81 + 100) * (3 + 2) * (4 * 2));
  m.form = BenchForm::unrolled;
  CHECK(refused(m) == "bench.form.offered");
  for (const char* cell : {"sru", "gru_reset_before"}) {
    BenchModel one = small(cell);
    one.ragged = true;
    CHECK(refused(one) == "bench.form.offered");
    one.form = BenchForm::scan;
    CHECK(bench(one, {.min_time = 0}).runs >= 5);
  }
  for (const BenchForm form : kForms) {
    BenchModel both = small("gru");
    both.bidirectional = true;
    both.form = form;
    CHECK(bench_network(both).fetches[0].shape() == Shape{5, 3, 8});
  }
  BenchModel wide = small("sru");
  wide.input = 5;
  CHECK(refused(wide) == "bench.hidden.dim");
}

TEST_CASE("bench: one line of JSON says what was asked and what was found", "[bench]") {
  int64_t asked = 0;
  const BenchModel m = small("lstm");
  const BenchOptions o{.min_time = 0, .allocations = [&] { return 7 * asked++; }};
  const BenchResult r = bench(m, o);
  const nlohmann::json j = nlohmann::json::parse(to_json(m, o, r));
  CHECK(j["cell"] == "lstm");
  CHECK(j["mode"] == "infer");
  CHECK(j["dtype"] == "f32");
  CHECK(j["runs"] == r.runs);
  CHECK(j["kernel"] == "cpu.recurrence.engine");
  CHECK(j["allocations"] == 7);
  for (const char* key : {"ms_min", "ms_median", "gflops", "peak_bytes", "plan_ms"})
    CHECK(j[key].get<double>() > 0);
  CHECK_FALSE(
      nlohmann::json::parse(to_json(m, {}, bench(m, {.min_time = 0}))).contains("allocations"));
}

TEST_CASE("bench: a step of a stream, many at once", "[bench][stream]") {
  for (const std::string& cell : bench_cells()) {
    INFO(cell);
    BenchModel m = small(cell);
    m.time = 1;
    m.mode = BenchMode::stream;
    const BenchResult r = bench(m, {.min_time = 0});
    CHECK(r.at_once > 1);
    CHECK(r.ms_min > 0);
    CHECK_FALSE(r.kernel.empty());
    m.bidirectional = true;
    CHECK(refused(m) == "bench.form.offered");
  }
}

}  // namespace rondo::tool
