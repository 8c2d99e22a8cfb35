#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"

#include <rondo/backends/reference/reference.h>

using namespace rondo;
using test::values;
using Numbers = std::vector<double>;
using Axes = std::vector<int64_t>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor run(std::string_view op, const Tensor& x, Attributes attributes = {}) {
  return test::run_kernel(reference_backend(), op, {x}, std::move(attributes))[0];
}
Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }
Tensor count_up(Dims dims) {
  Tensor t(f64, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<double>()[i] = static_cast<double>(i);
  return t;
}

}  // namespace

TEST_CASE("sum over any axes", "[reference][reduce]") {
  const Tensor x = count_up({2, 3, 2});
  CHECK(run("sum", x).item() == 66);
  CHECK(values(run("sum", x, {{"axes", Axes{1}}})) == Numbers{6, 9, 24, 27});
  CHECK(values(run("sum", x, {{"axes", Axes{0, -1}}})) == Numbers{14, 22, 30});
  CHECK(run("sum", x, {{"axes", Axes{-1, 0}}, {"keep_dims", true}}).dims() == Dims{1, 3, 1});
}

TEST_CASE("sum over nothing is 0", "[reference][reduce]") {
  CHECK(run("sum", Tensor(f32, {0})).item() == 0);
  CHECK(values(run("sum", Tensor(f64, {2, 0}), {{"axes", Axes{1}}})) == Numbers{0, 0});
  CHECK(run("sum", Tensor(f64, {2, 0}), {{"axes", Axes{0}}}).dims() == Dims{0});
}

TEST_CASE("sum of f32 is kept in f64, that of integers wraps", "[reference][reduce]") {
  CHECK(run("sum", Tensor::of<float>({3}, {1e8F, 1, -1e8F})).item() == 1);
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  CHECK(run("sum", Tensor::of<int32_t>({2}, {kMax, 1})).item() == -2147483648.0);
  CHECK(run("sum", Tensor::of<int64_t>({3}, {-5, 2, 1})).item() == -2);
}

TEST_CASE("NaN passes through reduce_max wherever it stands", "[reference][reduce]") {
  const Tensor y = run("reduce_max", doubles({4, 2}, {kNaN, 1, 1, kNaN, -3, -2, -kInf, -kInf}),
                       {{"axes", Axes{1}}});
  CHECK(std::isnan(y.at(0)));
  CHECK(std::isnan(y.at(1)));
  CHECK(y.at(2) == -2);
  CHECK(y.at(3) == -kInf);
}

TEST_CASE("reduce_max over nothing is -infinity", "[reference][reduce]") {
  CHECK(run("reduce_max", Tensor(f32, {0})).item() == -kInf);
}

TEST_CASE("first_true keeps the first of each group", "[reference][reduce]") {
  const Tensor x = Tensor::of<bool>({2, 3}, {false, true, true, true, false, true});
  CHECK(values(run("first_true", x)) == Numbers{0, 1, 0, 0, 0, 0});
  CHECK(values(run("first_true", x, {{"axes", Axes{1}}})) == Numbers{0, 1, 0, 1, 0, 0});
  CHECK(values(run("first_true", x, {{"axes", Axes{0}}})) == Numbers{0, 1, 1, 1, 0, 0});
}

TEST_CASE("argmax takes the first of ties, and NaN before all", "[reference][reduce]") {
  const Tensor x = doubles({4, 3}, {1, 5, 5, 7, kNaN, kNaN, -kInf, -kInf, -kInf, kNaN, 3, 4});
  const Tensor y = run("argmax", x);
  CHECK(y.dtype() == i64);
  CHECK(values(y) == Numbers{1, 1, 0, 0});
  CHECK(values(run("argmax", doubles({2, 2}, {1, 9, 3, 2}), {{"axis", 0}})) == Numbers{1, 0});
}

TEST_CASE("argmax of no rows is empty", "[reference][reduce]") {
  CHECK(run("argmax", Tensor(f64, {0, 3})).dims() == Dims{0});
}
