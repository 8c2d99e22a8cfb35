// First values of weights: their spread, by fans, and the matrices.
#include <rondo/ops/initializers.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"

#include <rondo/ops/random.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using test::refusal_of;
using test::values;

namespace {

struct Moments {
  double mean = 0, variance = 0, largest = 0;
};
Moments moments_of(const Tensor& t) {
  Moments m;
  const auto n = static_cast<double>(t.size());
  for (const double v : values(t)) m.mean += v / n;
  for (const double v : values(t)) {
    m.variance += (v - m.mean) * (v - m.mean) / n;
    m.largest = std::max(m.largest, std::abs(v));
  }
  return m;
}

}  // namespace

TEST_CASE("weights are spread by their fans, evenly or normally", "[init]") {
  const Dims dims{120, 380};
  struct Row {
    const char* name;
    std::function<Tensor(Graph)> draw;
    double variance;
    bool even;
  };
  const std::vector<Row> rows{
      {"glorot_uniform", [&](const Graph& g) { return init::glorot_uniform(g, dims); }, 2.0 / 500,
       true},
      {"glorot_normal", [&](const Graph& g) { return init::glorot_normal(g, dims); }, 2.0 / 500,
       false},
      {"he_uniform", [&](const Graph& g) { return init::he_uniform(g, dims); }, 2.0 / 120, true},
      {"he_normal", [&](const Graph& g) { return init::he_normal(g, dims); }, 2.0 / 120, false},
      {"lecun_uniform", [&](const Graph& g) { return init::lecun_uniform(g, dims); }, 1.0 / 120,
       true},
      {"lecun_normal", [&](const Graph& g) { return init::lecun_normal(g, dims); }, 1.0 / 120,
       false},
      {"given fan", [&](const Graph& g) { return init::he_normal(g, dims, 30, f64); }, 2.0 / 30,
       false},
      {"given fans", [&](const Graph& g) { return init::glorot_normal(g, dims, 30, 10, f64); },
       2.0 / 40, false}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Graph g;
    g.set_seed(4);
    const Tensor w = row.draw(g);
    CHECK(w.dims() == dims);
    CHECK(g.streams() == 1);
    const Moments m = moments_of(w);
    CHECK_THAT(m.mean, WithinAbs(0, 4 * std::sqrt(row.variance / 45600)));
    CHECK_THAT(m.variance, WithinAbs(row.variance, 0.03 * row.variance));
    const double bound = std::sqrt(3 * row.variance);
    CHECK((m.largest <= bound * (1 + 1e-6)) == row.even);
    CHECK(m.largest > 0.99 * bound);
  }
}

TEST_CASE("fans of convolutions count their field", "[init]") {
  const auto fans = [](const Dims& d) {
    const init::Fans f = init::fans_of(d);
    return Dims{f.in, f.out};
  };
  CHECK(fans({}) == Dims{1, 1});
  CHECK(fans({7}) == Dims{7, 7});
  CHECK(fans({12, 64}) == Dims{12, 64});
  CHECK(fans({3, 5, 12, 64}) == Dims{180, 960});
  CHECK(refusal_of([] { init::fans_of({int64_t{1} << 40, int64_t{1} << 40, 1}); }).code ==
        "shape.size.overflow");
  Graph g;
  CHECK(refusal_of([&] { init::he_normal(g, {2, 2}, -1); }).code == "he_normal.fan.range");
  CHECK(refusal_of([&] { init::lecun_uniform(g, {2, 2}, -1); }).code == "lecun_uniform.fan.range");
  CHECK(init::he_uniform(g, {0, 3}).dims() == Dims{0, 3});
}

TEST_CASE("normal first values are those of the generator, in their dtype", "[init]") {
  Graph g;
  g.set_seed(9);
  const Tensor n = init::normal(g, {3, 4}, 1, 0.5, f64), t = init::truncated_normal(g, {50}, 1, 2);
  for (uint64_t i = 0; i < 12; ++i)
    CHECK(n.at(static_cast<int64_t>(i)) == 1 + 0.5 * normal_at(9, 0, 0, i));
  CHECK(t.dtype() == f32);
  for (uint64_t i = 0; i < 50; ++i)
    CHECK(t.at(static_cast<int64_t>(i)) ==
          static_cast<float>(1 + 2 * truncated_normal_at(9, 1, 0, i)));
  CHECK(refusal_of([&] { init::normal(g, {2}, 0, -1); }).code == "normal.standard_deviation.range");
  CHECK(refusal_of([&] { init::truncated_normal(g, {2}, 0, -1); }).code ==
        "truncated_normal.standard_deviation.range");
}

TEST_CASE("constant and identity first values, and orthogonal ones with a gain", "[init]") {
  CHECK(values(init::ones({2}, i32)) == std::vector<double>{1, 1});
  CHECK(values(init::constant({1, 2}, 2.5, bf16)) == std::vector<double>{2.5, 2.5});
  CHECK(values(init::identity(2, 3)) == std::vector<double>{1, 0, 0, 0, 1, 0});
  CHECK(values(init::identity(3, 2, f64, 0.5)) == std::vector<double>{0.5, 0, 0, 0.5, 0, 0});
  Graph a, b;
  const Tensor q = init::orthogonal(a, 4, 3, f64), wide = init::orthogonal(b, 4, 3, f64, 3);
  for (int64_t i = 0; i < 12; ++i) CHECK(wide.at(i) == 3 * q.at(i));
}
