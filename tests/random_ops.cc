// Random ops: their distributions, what decides a number, and bodies of recurrences.
#include <rondo/ops/random_ops.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using test::refusal_of;
using test::values;

namespace {

constexpr int64_t kCount = 40000;

struct Distribution {
  std::string op;
  Attributes attributes;
  std::function<double(double)> cumulative;
  double mean, variance;
};

double normal_below(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The cut normal distribution loses what is outside, on both sides alike.
const double kInside = normal_below(2) - normal_below(-2);
const double kCutVariance = 1 - 2 * 2 * std::exp(-2.0) / std::sqrt(2 * std::numbers::pi) / kInside;

std::vector<Distribution> distributions() {
  return {{"uniform",
           {{"low", -1.0}, {"high", 3.0}},
           [](double v) { return std::clamp((v + 1) / 4, 0.0, 1.0); },
           1,
           16.0 / 12},
          {"normal",
           {{"mean", 2.0}, {"standard_deviation", 0.5}},
           [](double v) { return normal_below((v - 2) / 0.5); },
           2,
           0.25},
          {"truncated_normal",
           {{"mean", -1.0}, {"standard_deviation", 3.0}},
           [](double v) {
             return std::clamp((normal_below((v + 1) / 3) - normal_below(-2)) / kInside, 0.0, 1.0);
           },
           -1,
           9 * kCutVariance},
          {"gumbel",
           {},
           [](double v) { return std::exp(-std::exp(-v)); },
           std::numbers::egamma,
           std::numbers::pi * std::numbers::pi / 6}};
}

Tensor draw(const std::string& op, Attributes a, test::KernelRun how = {},
            std::string_view backend_name = "cpu") {
  return test::run_kernel(backend(backend_name), op, {}, std::move(a), how)[0];
}

Tensor draw(const Distribution& d, DType t, int64_t count, test::KernelRun how,
            std::string_view backend_name = "cpu") {
  Attributes a = d.attributes;
  a.set("dtype", t);
  a.set("shape", Shape{count});
  return draw(d.op, a, std::move(how), backend_name);
}

}  // namespace

TEST_CASE("random numbers have their distribution, by Kolmogorov and Smirnov", "[random]") {
  for (const Distribution& d : distributions()) {
    for (const uint64_t seed : {1, 2, 3}) {
      CAPTURE(d.op, seed);
      std::vector<double> v = values(draw(d, f64, kCount, {.seed = seed}));
      double mean = 0, variance = 0;
      for (const double x : v) mean += x / kCount;
      for (const double x : v) variance += (x - mean) * (x - mean) / kCount;
      const double deviation = std::sqrt(d.variance);
      CHECK_THAT(mean, WithinAbs(d.mean, 4 * deviation / std::sqrt(kCount)));
      CHECK_THAT(variance, WithinAbs(d.variance, 0.05 * d.variance));
      std::sort(v.begin(), v.end());
      double largest = 0;
      for (size_t i = 0; i < v.size(); ++i) {
        const double below = d.cumulative(v[i]);
        largest = std::max({largest, std::abs(below - static_cast<double>(i) / kCount),
                            std::abs(below - static_cast<double>(i + 1) / kCount)});
      }
      CHECK(largest * std::sqrt(kCount) < 1.95);  // exceeded once in 1000 samples
      CHECK(largest > 0);
    }
  }
}

TEST_CASE("truncated normal numbers stay within two deviations, and reach them", "[random]") {
  double largest = 0;
  for (int64_t i = 0; i < kCount; ++i)
    largest = std::max(largest, std::abs(truncated_normal_at(1, 2, 3, static_cast<uint64_t>(i))));
  CHECK(largest <= 2);
  CHECK(largest > 1.99);
}

TEST_CASE("f32 and bf16 are the f64 draw, rounded, on any number of threads", "[random]") {
  for (const Distribution& d : distributions()) {
    CAPTURE(d.op);
    const Tensor wide = draw(d, f64, kCount, {.seed = 4, .step = 2});
    const Tensor narrow = draw(d, f32, kCount, {.seed = 4, .step = 2});
    CHECK(narrow.same_bits(wide.to(f32)));
    CHECK(narrow.same_bits(draw(d, f32, kCount, {.seed = 4, .step = 2, .threads = 4})));
    CHECK(narrow.same_bits(draw(d, f32, kCount, {.seed = 4, .step = 2}, "reference")));
  }
  Rng one(3), two(3);
  CHECK(random::normal(one, {100}, 0, 1, bf16).same_bits(random::normal(two, {100}).to(bf16)));
}

TEST_CASE("seed, stream and step each give other numbers, the same ones the same", "[random]") {
  for (const Distribution& d : distributions()) {
    CAPTURE(d.op);
    const auto at = [&](uint64_t seed, int64_t stream, int64_t step) {
      Distribution other = d;
      other.attributes.set("stream", stream);
      return draw(other, f32, 1000, {.seed = seed, .step = step});
    };
    const Tensor y = at(1, 0, 0);
    CHECK(y.same_bits(at(1, 0, 0)));
    for (const Tensor& z : {at(2, 0, 0), at(1, 1, 0), at(1, 0, 1)}) {
      int equal = 0;
      for (int64_t i = 0; i < 1000; ++i) equal += y.at(i) == z.at(i) ? 1 : 0;
      CHECK(equal < 3);
    }
  }
}

TEST_CASE("uniform numbers never reach high, not by rounding either", "[random]") {
  const double next = std::nextafter(1.0F, 2.0F);
  for (const char* b : {"cpu", "reference"}) {
    const Tensor y = draw("uniform", {{"shape", Shape{64}}, {"low", 1.0}, {"high", next}}, {}, b);
    CHECK(values(y) == std::vector<double>(64, 1.0));
  }
}

TEST_CASE("bernoulli draws as many ones as its probability says, alike in each dtype", "[random]") {
  for (const double p : {0.0, 0.1, 0.5, 1.0}) {
    Attributes a{{"shape", Shape{kCount}}, {"probability", p}};
    const Tensor y = draw("bernoulli", a, {.seed = 6});
    CHECK(y.dtype() == boolean);
    double ones = 0;
    for (int64_t i = 0; i < kCount; ++i) ones += y.at(i);
    CHECK_THAT(ones, WithinAbs(p * kCount, 4 * std::sqrt(p * (1 - p) * kCount)));
    for (const DType t : {f32, f64, i32, i64}) {
      a.set("dtype", t);
      CHECK(draw("bernoulli", a, {.seed = 6}, t == i32 || t == i64 ? "reference" : "cpu")
                .same_bits(y.to(t)));
    }
  }
}

TEST_CASE("a permutation has every number once, and all orders alike", "[random]") {
  for (const int64_t n : {0, 1, 2, 1000}) {
    Rng rng(8);
    const Tensor p = random::permutation(rng, n);
    CHECK(p.dtype() == i64);
    std::vector<double> sorted = values(p);
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < n; ++i) CHECK(sorted[static_cast<size_t>(i)] == static_cast<double>(i));
  }
  constexpr int kDraws = 24000;
  std::map<std::vector<int64_t>, int> seen;
  for (uint64_t step = 0; step < kDraws; ++step) ++seen[permutation_of(1, 0, step, 4)];
  CHECK(seen.size() == 24);
  double chi_squared = 0;
  for (const auto& [order, count] : seen) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000;
  CHECK(chi_squared < 49.7);  // 23 degrees of freedom: exceeded once in 1000
  CHECK(permutation_of(1, 0, 0, 50) != permutation_of(2, 0, 0, 50));
  CHECK(permutation_of(1, 0, 0, 50) != permutation_of(1, 1, 0, 50));
  CHECK(permutation_of(1, 0, 0, 50) != permutation_of(1, 0, 1, 50));
}

TEST_CASE("an Rng draws what a run of its seed draws, a step a call", "[random]") {
  Graph g;
  const Var u = random::uniform(g, {"B", 3}, -2, 5), n = random::normal(g, {"B", 3}),
            t = random::truncated_normal(g, {4}, 1, 2, f64), m = random::gumbel(g, {4}),
            b = random::bernoulli(g, {20}, 0.5), p = random::permutation(g, 9, i32);
  const Var x = g.placeholder("x", f32, {"B"});
  Session s(g);
  std::set<int64_t> streams;
  for (const Var& v : {u, n, t, m, b, p}) streams.insert(v.node().attributes.integer("stream"));
  CHECK(streams.size() == 6);
  for (int64_t step = 0; step < 3; ++step) {
    const auto rng = [&](const Var& v) {
      Rng r(77, v.node().attributes.integer("stream"));
      while (r.step() < step) r.advance();
      return r;
    };
    const auto is = [&](const Var& v, auto&& eager) {
      Rng r = rng(v);
      const Tensor want =
          s.run({v, sum(x)}, {{x, Tensor(f32, {2})}}, {.seed = 77, .step = step})[0];
      CHECK(want.same_bits(eager(r)));
      CHECK(r.step() == step + 1);
    };
    is(u, [](Rng& r) { return random::uniform(r, {2, 3}, -2, 5); });
    is(n, [](Rng& r) { return random::normal(r, {2, 3}); });
    is(t, [](Rng& r) { return random::truncated_normal(r, {4}, 1, 2, f64); });
    is(m, [](Rng& r) { return random::gumbel(r, {4}); });
    is(b, [](Rng& r) { return random::bernoulli(r, {20}, 0.5); });
    is(p, [](Rng& r) { return random::permutation(r, 9, i32); });
  }
  Rng again(77);
  CHECK(!random::normal(again, {5}).same_bits(random::normal(again, {5})));
}

TEST_CASE("two random ops draw different numbers, also where passes look for equals", "[random]") {
  Graph g;
  const Var a = random::normal(g, {50}), b = random::normal(g, {50});
  const Tensor d = Session(g).run(a - b, {}, {.seed = 1});
  CHECK(values(abs(d)) != std::vector<double>(50, 0));
  const Var same = g.call(a.node().op[0], {}, a.node().attributes)[0];
  CHECK(values(Session(g).run(a - same, {}, {.seed = 1})) == std::vector<double>(50, 0));
}

TEST_CASE("argmax of logits and gumbel noise draws classes by their softmax", "[random]") {
  const std::vector<double> p{0.5, 0.3, 0.2};
  Tensor logits(f64, {1, 3});
  for (int64_t v = 0; v < 3; ++v)
    logits.mutable_data<double>()[v] = std::log(p[static_cast<size_t>(v)]);
  Rng rng(5);
  const Tensor drawn = argmax(logits + random::gumbel(rng, {kCount, 3}, f64));
  std::array<double, 3> count{};
  for (int64_t i = 0; i < kCount; ++i) ++count.at(static_cast<size_t>(drawn.at(i)));
  for (size_t v = 0; v < 3; ++v)
    CHECK_THAT(count.at(v), WithinAbs(p[v] * kCount, 4 * std::sqrt(p[v] * (1 - p[v]) * kCount)));
}

TEST_CASE("inside of a body each step and row draws its own numbers, before the loop", "[random]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 2});
  const RecurrenceResult r =
      recurrence({.states = {fill(g, f64, {"B", 2}, 0)}, .xs = {x}},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var z = random::normal(xs[0].graph(), xs[0].shape(), 0, 1, f64);
                   return {.states = {s[0] * 0.5 + xs[0] * z}, .ys = {z}};
                 });
  CHECK(r.ys[0].shape() == Shape{"T", "B", 2});
  Session s(g);
  const Tensor ones = Tensor::full(f64, {4, 3, 2}, 1);
  const Tensor z = s.run(r.ys[0], {{x, ones}}, {.seed = 2});
  const std::vector<double> v = values(z);
  CHECK(std::set<double>(v.begin(), v.end()).size() == 24);
  for (size_t i = 0; i < v.size(); ++i) CHECK(v[i] == normal_at(2, 0, 0, i));
  // The backward pass sees the same ones: the last state is linear in x.
  const Tensor d = s.run(gradients(sum(r.finals[0]), {x})[0], {{x, ones}}, {.seed = 2});
  for (int64_t t = 0; t < 4; ++t) {
    for (int64_t i = 0; i < 6; ++i)
      CHECK_THAT(d.at(t * 6 + i),
                 WithinAbs(z.at(t * 6 + i) * std::pow(0.5, static_cast<double>(3 - t)), 1e-14));
  }
}

TEST_CASE("inside of a body draws without rows, and permutations, are refused", "[random]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 2});
  const auto code = [&](const std::function<Var(const Var&)>& y) {
    return refusal_of([&] {
             recurrence({.xs = {x}}, [&](const Vars&, const Vars& xs, const Vars&) {
               return RecurrenceStep{.states = {}, .ys = {y(xs[0])}};
             });
           })
        .code;
  };
  CHECK(code([](const Var& v) { return v * random::normal(v.graph(), {2}); }) ==
        "normal.shape.rows");
  CHECK(code([](const Var& v) { return v * random::normal(v.graph(), {2, v.dim(0)}); }) ==
        "normal.shape.rows");
  CHECK(code([](const Var& v) { return gather(v, random::permutation(v.graph(), v.dim(0))); }) ==
        "permutation.n.body");
  CHECK(code([&](const Var& v) { return v * random::normal(g, {v.dim(0), 1}); }).empty());
  CHECK(code([&](const Var& v) {
          return recurrence({.states = {v}, .steps = 3},
                            [](const Vars& s, const Vars&, const Vars&) {
                              const Var z = random::normal(s[0].graph(), s[0].shape());
                              return RecurrenceStep{.states = {s[0] + z}};
                            })
              .finals[0];
        }) == "normal.shape.body");
  // Of the graph around it: one draw, the same at each step.
  CHECK(code([&](const Var& v) { return v * random::normal(g, {2}); }).empty());
}
