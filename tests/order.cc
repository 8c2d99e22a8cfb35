// Running sums and products, sorting and the largest few: what the generated tests do not reach,
// ties, NaN, zeros, long and wide operands.
#include <rondo/ops/order.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cpu_check.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/runtime/session.h>

namespace rondo::test {
namespace {

using Numbers = std::vector<double>;

constexpr double kInf = HUGE_VAL;
const double kNaN = std::nan("");

Tensor doubles(const Numbers& v) { return Tensor::of<double>({static_cast<int64_t>(v.size())}, v); }

template <class F>
void on_each_backend(F&& f) {
  for (const Backend* b : {&reference_backend(), &cpu_backend()}) {
    INFO(b->name());
    const EagerScope scope({.backend = std::string(b->name())});
    f();
  }
}

TEST_CASE("running sums and products in all four ways", "[order]") {
  const Tensor x = doubles({1, 2, 3, 4});
  on_each_backend([&] {
    CHECK(values(cumsum(x)) == Numbers{1, 3, 6, 10});
    CHECK(values(cumsum(x, {.exclusive = true})) == Numbers{0, 1, 3, 6});
    CHECK(values(cumsum(x, {.reverse = true})) == Numbers{10, 9, 7, 4});
    CHECK(values(cumsum(x, {.exclusive = true, .reverse = true})) == Numbers{9, 7, 4, 0});
    CHECK(values(cumprod(x)) == Numbers{1, 2, 6, 24});
    CHECK(values(cumprod(x, {.exclusive = true})) == Numbers{1, 1, 2, 6});
    CHECK(values(cumprod(x, {.reverse = true})) == Numbers{24, 24, 12, 4});
    CHECK(values(cumprod(x, {.exclusive = true, .reverse = true})) == Numbers{24, 12, 4, 1});
    const Tensor m = x.reshaped({2, 2});
    CHECK(values(cumsum(m)) == Numbers{1, 2, 4, 6});
    CHECK(values(cumsum(m, {.axis = -1})) == Numbers{1, 3, 3, 7});
    CHECK(values(cumsum(m.to(i32), {.axis = 1})) == Numbers{1, 3, 3, 7});
    const Tensor half = Tensor::full(f64, {4}, 0.5);
    CHECK(values(linear_scan(half, x)) == Numbers{1, 2.5, 4.25, 6.125});
    CHECK(values(linear_scan(half, x, 0, true)) == Numbers{3.25, 4.5, 5, 4});
  });
}

// A running sum of f32 is kept in f64: many small terms must not vanish beside the sum.
TEST_CASE("a long running sum of f32 does not lose small terms", "[order]") {
  on_each_backend([&] {
    const Tensor y = cumsum(Tensor::full(f32, {1 << 20}, 0.1));
    const double want = static_cast<double>(0.1F) * (1 << 20);
    CHECK(std::abs(y.at((1 << 20) - 1) - want) < 1e-6 * want);
  });
}

TEST_CASE("the gradient of a running product is that of its factors, however many are 0",
          "[order]") {
  const std::vector<Numbers> lines{{2, 3, 4, 5}, {2, 0, 4, 5}, {0, 3, 0, 5}, {0, 0, 0, 0}, {7}};
  for (const Numbers& line : lines) {
    for (const bool exclusive : {false, true}) {
      for (const bool reverse : {false, true}) {
        CAPTURE(line, exclusive, reverse);
        const auto n = static_cast<int64_t>(line.size());
        Graph g;
        const Var x = g.placeholder("x", f64, {n});
        const Var y = cumprod(x, {.exclusive = exclusive, .reverse = reverse});
        const Var d = gradients(sum(y), {x})[0];
        // sum over the y_j that hold x_i of the product of their other factors.
        Numbers want(line.size(), 0);
        for (int64_t j = 0; j < n; ++j) {
          const auto holds = [&](int64_t i) {
            return exclusive ? (reverse ? i > j : i < j) : (reverse ? i >= j : i <= j);
          };
          for (int64_t i = 0; i < n; ++i) {
            double others = holds(i) ? 1 : 0;
            for (int64_t k = 0; k < n; ++k) {
              if (holds(k) && k != i) others *= line[static_cast<size_t>(k)];
            }
            want[static_cast<size_t>(i)] += others;
          }
        }
        CHECK(values(Session(g).run(d, {{x, doubles(line)}})) == want);
      }
    }
  }
}

TEST_CASE("sorting is stable both ways, takes zeros as equal and NaN as the largest", "[order]") {
  const Tensor x = doubles({kNaN, 1, -0.0, kInf, 0.0, -kInf, 1, kNaN, -0.0});
  on_each_backend([&] {
    for (const DType t : {f64, f32, bf16}) {
      const Tensor v = x.to(t);
      CHECK(values(argsort(v)) == Numbers{5, 2, 4, 8, 1, 6, 3, 0, 7});
      CHECK(values(argsort(v, 0, true)) == Numbers{0, 7, 3, 1, 6, 2, 4, 8, 5});
      const Tensor y = sort(v);
      CHECK(y.at(0) == -kInf);
      CHECK((std::signbit(y.at(1)) && !std::signbit(y.at(2)) && std::signbit(y.at(3))));
      CHECK(std::isnan(y.at(8)));
      const TopK<Tensor> top = top_k(v, 4);
      CHECK(values(top.indices) == Numbers{0, 7, 3, 1});
      CHECK(top.values.at(2) == kInf);
      CHECK(top.values.dtype() == t);
    }
    const Tensor whole = Tensor::of<int64_t>({4}, {0, INT64_MAX, INT64_MIN, -1});
    CHECK(values(argsort(whole)) == Numbers{2, 3, 0, 1});
    CHECK(values(argsort(Tensor::of<int32_t>({3}, {0, INT32_MAX, INT32_MIN}))) == Numbers{2, 0, 1});
    CHECK(values(argsort(Tensor::of<bool>({4}, {true, false, true, false}))) ==
          Numbers{1, 3, 0, 2});
  });
}

TEST_CASE("a gradient goes back to where each element came from", "[order]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 4});
  const Tensor t = Tensor::of<double>({1, 4}, {3, 1, 4, 2});
  const Tensor w = Tensor::of<double>({4}, {10, 20, 30, 40});
  const Var by_sort = gradients(sum(sort(x) * g.constant(w)), {x})[0];
  CHECK(values(Session(g).run(by_sort, {{x, t}})) == Numbers{30, 10, 40, 20});
  const Var by_top = gradients(sum(top_k(x, 2).values), {x})[0];
  CHECK(values(Session(g).run(by_top, {{x, t}})) == Numbers{1, 0, 1, 0});
}

TEST_CASE("top_k of more than a symbol turns out to be is refused when it is bound", "[order]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", "N"});
  const Var y = top_k(x, 3).values;
  Session s(g);
  CHECK(s.run(y, {{x, Tensor(f32, {2, 3})}}).dims() == Dims{2, 3});
  CHECK(refusal_of([&] { s.run(y, {{x, Tensor(f32, {2, 2})}}); }).code == "top_k.k.range");
}

TEST_CASE("cpu_order_kernels_on_long_and_wide_operands") {
  for (const DType t : {f32, f64, i32, i64}) {
    for (const Dims& d : {Dims{0, 3}, Dims{3, 0}, Dims{1, 1}, Dims{70000}, Dims{3, 40000},
                          Dims{40000, 3}, Dims{5, 300, 7}, Dims{2, 9, 700}}) {
      for (const int64_t axis : {0, -1}) {
        for (const bool flag : {false, true}) {
          const double least = is_float(t) ? 0.999 : -2, most = is_float(t) ? 1.001 : 3;
          const Tensor x = drawn(t, d, 1, least, most);
          const Attributes a{{"axis", axis}, {"exclusive", flag}, {"reverse", !flag}};
          agrees("cumsum", {x}, a, {"cpu.cumsum"});
          agrees("cumprod", {x}, a, {"cpu.cumprod"});
          if (is_float(t))
            agrees("linear_scan", {drawn(t, d, 2, -1, 1), x}, {{"axis", axis}, {"reverse", flag}},
                   {"cpu.linear_scan"});
          agrees("argsort", {drawn(t, d, 3, -50, 50)}, {{"axis", axis}, {"descending", flag}},
                 {"cpu.argsort"});
        }
      }
      const int64_t last = d.back();
      for (const int64_t k : {int64_t{0}, std::min<int64_t>(last, 5), last}) {
        agrees("top_k", {drawn(t, d, 4, -50, 50)}, {{"k", k}}, {"cpu.top_k"});
        agrees("top_k", {drawn(t, d, 4, -50, 50)}, {{"k", k}},
               {.kernel = "cpu.top_k", .wanted = {false, true}});
      }
    }
  }
}

}  // namespace
}  // namespace rondo::test
