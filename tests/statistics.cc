// Reductions beside sum, mean and reduce_max: values over nothing and over what is not finite, and
// gradients where a formula would divide by 0.
#include <rondo/ops/statistics.h>

#include <cmath>

#include "cpu_check.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/index.h>
#include <rondo/ops/order.h>
#include <rondo/ops/ranges.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

namespace rondo::test {
namespace {

using Numbers = std::vector<double>;

constexpr double kInf = HUGE_VAL;
const double kNaN = std::nan("");

Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }
Tensor doubles(const Numbers& v) { return doubles({static_cast<int64_t>(v.size())}, v); }

// d sum(f(x) * f(x)) / dx and what its own gradient's sum gives: first and second order at x.
template <class F>
std::pair<Numbers, Numbers> gradients_at(const Tensor& x, F&& f) {
  Graph g;
  const Var v = g.placeholder("x", x.dtype(), to_shape(x.dims()));
  const Var first = gradients(sum(f(v)), {v})[0];
  const Var second = gradients(sum(first), {v})[0];
  const auto r = Session(g).run(Vars{first, second}, {{v, x}});
  return {values(r[0]), values(r[1])};
}

TEST_CASE("reduce_min passes NaN, is infinity over nothing, and gives its gradient to the first",
          "[statistics]") {
  for (const Backend* b : {&reference_backend(), &cpu_backend()}) {
    const EagerScope scope({.backend = std::string(b->name())});
    CHECK(std::isnan(reduce_min(doubles({1, kNaN, -kInf})).item()));
    CHECK(reduce_min(doubles({3, -2, 5})).item() == -2);
    CHECK(reduce_min(Tensor(f32, {0})).item() == kInf);
    CHECK(values(reduce_min(Tensor(f64, {2, 0}), {.axes = {1}})) == Numbers{kInf, kInf});
  }
  CHECK(gradients_at(doubles({3, 1, 1}), [](const Var& x) { return reduce_min(x); }).first ==
        Numbers{0, 1, 0});
}

TEST_CASE("prod is 1 over nothing, and its gradient is the product of the others, zeros or not",
          "[statistics]") {
  for (const Backend* b : {&reference_backend(), &cpu_backend()}) {
    const EagerScope scope({.backend = std::string(b->name())});
    CHECK(prod(Tensor(f32, {0})).item() == 1);
    CHECK(values(prod(Tensor(f64, {2, 0}), {.axes = {1}})) == Numbers{1, 1});
    CHECK(prod(Tensor::of<int32_t>({3}, {1 << 20, 1 << 12, 3})).item() == 0);  // it wraps
  }
  const auto all = [](const Var& x) { return prod(x); };
  CHECK(gradients_at(doubles({2, 0, 3}), all).first == Numbers{0, 6, 0});
  CHECK(gradients_at(doubles({0, 0, 3}), all).first == Numbers{0, 0, 0});
  CHECK(gradients_at(doubles({0, 0, 3}), all).second == Numbers{3, 3, 0});
  // Axes that stand apart: [2,2,2] over the first and the last.
  const Tensor x = doubles({2, 2, 2}, {1, 2, 0, 4, 5, 6, 7, 8});
  const auto apart = [](const Var& v) { return prod(v, {.axes = {0, -1}}); };
  CHECK(gradients_at(x, apart).first == Numbers{60, 30, 4 * 7 * 8, 0, 12, 10, 0, 0});
}

TEST_CASE("variance keeps its digits far from 0, and half floats do not overflow in its squares",
          "[statistics]") {
  Tensor x(f32, {1000});
  for (int i = 0; i < 1000; ++i) x.mutable_data<float>()[i] = 10000.0F + static_cast<float>(i % 3);
  double m = 0, want = 0;
  for (int i = 0; i < 1000; ++i) m += i % 3 / 1000.0;
  for (int i = 0; i < 1000; ++i) want += (i % 3 - m) * (i % 3 - m) / 1000;
  CHECK(std::abs(variance(x).item() - want) < 1e-5);
  CHECK(std::abs(standard_deviation(x).item() - std::sqrt(want)) < 1e-5);

  const Tensor four = doubles({1, 2, 3, 6});
  CHECK(variance(four).item() == 3.5);
  CHECK(variance(four, {.correction = 1}).item() == 14.0 / 3);
  CHECK(std::isnan(variance(doubles({7}), {.correction = 1}).item()));
  CHECK(std::isnan(variance(Tensor(f64, {0})).item()));

  const Tensor wide = Tensor::of<double>({2}, {-400, 400}).to(f16);
  CHECK(standard_deviation(wide).item() == 400);  // 400^2 is beyond f16
  CHECK(norm(Tensor::of<double>({2}, {300, 400}).to(f16)).item() == 500);
  CHECK(logsumexp(Tensor::full(f16, {4096}, 0)).item() ==
        Tensor::scalar(f16, std::log(4096)).item());
}

TEST_CASE("gradients of a norm at 0 and of a standard deviation of equals are 0, not NaN",
          "[statistics]") {
  for (const double order : {1.0, 2.0, kInf}) {
    CAPTURE(order);
    const auto f = [order](const Var& x) { return norm(x, order); };
    const auto [first, second] = gradients_at(doubles({0, 0}), f);
    CHECK(first == Numbers{0, 0});
    for (const double v : second) CHECK(std::isfinite(v));
    CHECK(norm(Tensor(f64, {0}), order).item() == 0);
    CHECK(std::isnan(norm(doubles({1, kNaN}), order).item()));
    CHECK(norm(doubles({1, -kInf}), order).item() == kInf);
  }
  const auto [first, second] =
      gradients_at(doubles({3, 3, 3}), [](const Var& x) { return standard_deviation(x); });
  CHECK(first == Numbers{0, 0, 0});
  for (const double v : second) CHECK(std::isfinite(v));
  CHECK(std::isnan(standard_deviation(doubles({kNaN, 1})).item()));
}

// A square of f32 overflows above 1.8e19, and is 0 below 1e-23.
TEST_CASE("a norm of large or small numbers in f32 is a number, and so is its gradient",
          "[statistics]") {
  for (const double size : {1e30, 1e-30, 1e38}) {
    CAPTURE(size);
    const auto [first, second] =
        gradients_at(doubles({3 * size / 4, size}).to(f32), [](const Var& x) { return norm(x); });
    CHECK(std::abs(first[0] - 0.6) < 1e-6);
    CHECK(std::abs(first[1] - 0.8) < 1e-6);
    for (const double v : second) CHECK(std::isfinite(v));
    for (const char* backend : {"reference", "cpu"}) {
      const EagerScope scope({.backend = backend});
      const double got = norm(doubles({3 * size / 4, size}).to(f32)).item();
      CHECK(std::abs(got / size - 1.25) < 1e-6);
    }
  }
}

TEST_CASE("logsumexp neither overflows nor loses what is not finite", "[statistics]") {
  for (const double v : {1000.0, -1000.0})
    CHECK(std::abs(logsumexp(doubles({v, v})).item() - v - std::log(2.0)) < 1e-12);
  CHECK(logsumexp(doubles({-kInf, -kInf})).item() == -kInf);
  CHECK(logsumexp(Tensor(f64, {0})).item() == -kInf);
  CHECK(logsumexp(doubles({kInf, 1})).item() == kInf);
  CHECK(std::isnan(logsumexp(doubles({kNaN, 1})).item()));
  const auto f = [](const Var& x) { return logsumexp(x); };
  CHECK(gradients_at(doubles({-kInf, -kInf}), f).first == Numbers{0, 0});
  CHECK(gradients_at(doubles({-kInf, 2}), f).first == Numbers{0, 1});
}

TEST_CASE("reduce_any and reduce_all over nothing, and over one that differs", "[statistics]") {
  const Tensor none(boolean, {2, 0});
  CHECK(values(reduce_any(none, {.axes = {1}})) == Numbers{0, 0});
  CHECK(values(reduce_all(none, {.axes = {1}})) == Numbers{1, 1});
  const Tensor x = Tensor::of<bool>({3, 2}, {false, false, true, false, true, true});
  CHECK(values(reduce_any(x, {.axes = {1}})) == Numbers{0, 1, 1});
  CHECK(values(reduce_all(x, {.axes = {1}})) == Numbers{0, 0, 1});
  CHECK(reduce_all(x, {.keep_dims = true}).dims() == Dims{1, 1});
}

TEST_CASE("what adds up or multiplies refuses bools when it is called, and names the cast",
          "[statistics]") {
  const auto refused = [](const std::string& op, const std::string& argument, const auto& call) {
    CAPTURE(op);
    Graph g;
    const Var x = g.placeholder("x", boolean, {"T", 3}), at = g.placeholder("at", i32, {"T", 3});
    const Refusal in_graph = refusal_of([&] { call(x, at); });
    CHECK(in_graph.code == cat(op, ".", argument, ".dtype"));
    CHECK(in_graph.message.find(cat("cast(", argument, ", i32)")) != std::string::npos);
    CHECK(refusal_of([&] { call(Tensor(boolean, {2, 3}), Tensor(i32, {2, 3})); }).code ==
          in_graph.code);
  };
  refused("sum", "x", [](const auto& x, const auto&) { sum(x); });
  refused("prod", "x", [](const auto& x, const auto&) { prod(x); });
  refused("cumsum", "x", [](const auto& x, const auto&) { cumsum(x); });
  refused("cumprod", "x", [](const auto& x, const auto&) { cumprod(x); });
  refused("add_along", "updates", [](const auto& x, const auto& at) { add_along(at, x, 0, 3); });
  refused("scatter_add", "updates", [](const auto& x, const auto& at) {
    apply("scatter_add", std::vector<std::decay_t<decltype(x)>>{at, x}, {{"rows", Shape{9}}});
  });
}

TEST_CASE(
    "argmin takes the first of ties, and NaN before all; an empty axis is refused by its name",
    "[statistics]") {
  const Tensor x = doubles({3, 3}, {5, 1, 1, 7, kNaN, kNaN, kInf, kInf, kInf});
  CHECK(values(argmin(x)) == Numbers{1, 1, 0});
  CHECK(values(argmin(x, 0)) == Numbers{0, 1, 1});
  Graph g;
  const Var v = g.placeholder("x", f32, {"B", "N"});
  const Var y = argmin(v);
  Session s(g);
  CHECK(s.run(y, {{v, Tensor(f32, {2, 3})}}).dims() == Dims{2});
  CHECK(refusal_of([&] { s.run(y, {{v, Tensor(f32, {2, 0})}}); }).code == "argmin.x.empty");
}

TEST_CASE("cpu_prod_and_min_over_all_axes_and_shapes") {
  on_each_isa([&] {
    for (const DType t : {f32, f64}) {
      for (const Dims& d : {Dims{}, Dims{0}, Dims{1}, Dims{7, 9}, Dims{33, 5}, Dims{2, 70000},
                            Dims{70000, 3}, Dims{3, 4, 5}}) {
        for (const auto& axes : {std::vector<int64_t>{}, {0}, {-1}, {0, -1}}) {
          if (axes.size() > d.size() || (axes.size() == 2 && d.size() == 2)) continue;
          if (d.empty() && !axes.empty()) continue;
          const Attributes a{{"axes", axes}};
          agrees("reduce_min", {drawn(t, d, 1)}, a);
          // Near 1, so that long products neither vanish nor overflow.
          const double each = t == f64 ? 2.3e-16 : 1.2e-7;  // rounding of one product
          agrees("prod", {drawn(t, d, 2, 0.9999, 1.0001)}, a,
                 {"", each * static_cast<double>(element_count(d) + 1)});
        }
      }
    }
    for (const double v : {kInf, -kInf, kNaN}) {
      for (const size_t at : {0U, 17U, 80U}) {
        std::vector<double> x(81, -1.0);
        x[at] = v;
        agrees("reduce_min", {doubles({9, 9}, x).to(f32)}, {{"axes", std::vector<int64_t>{0}}});
        agrees("reduce_min", {doubles(x).to(f32)});
        agrees("prod", {doubles(x).to(f32)});
      }
    }
  });
}

}  // namespace
}  // namespace rondo::test
