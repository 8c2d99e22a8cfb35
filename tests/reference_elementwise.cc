#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"

#include <rondo/backends/reference/reference.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using test::values;
using Numbers = std::vector<double>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor run(std::string_view op, const std::vector<Tensor>& inputs, Attributes attributes = {}) {
  return test::run_kernel(reference_backend(), op, inputs, std::move(attributes))[0];
}
Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }
Tensor bools(Dims dims, std::initializer_list<bool> v) {
  return Tensor::of<bool>(std::move(dims), v);
}

}  // namespace

TEST_CASE("operands broadcast in both directions", "[reference][elementwise]") {
  const Tensor column = doubles({2, 1}, {10, 20});
  const Tensor row = doubles({1, 3}, {1, 2, 3});
  const Tensor matrix = doubles({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor tail = doubles({3}, {100, 200, 300});
  CHECK(values(run("add", {column, row})) == Numbers{11, 12, 13, 21, 22, 23});
  CHECK(values(run("sub", {row, column})) == Numbers{-9, -8, -7, -19, -18, -17});
  CHECK(values(run("add", {matrix, tail})) == Numbers{101, 202, 303, 104, 205, 306});
  CHECK(values(run("sub", {tail, matrix})) == Numbers{99, 198, 297, 96, 195, 294});
  CHECK(values(run("mul", {Tensor::scalar(f64, 2), matrix})) == Numbers{2, 4, 6, 8, 10, 12});
  CHECK(run("add", {column, row}).dims() == Dims{2, 3});
}

TEST_CASE("operands of rank 4 broadcast along inner axes", "[reference][elementwise]") {
  const Tensor a = doubles({2, 1, 2, 1}, {0, 10, 20, 30});
  const Tensor b = doubles({3, 1, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor y = run("add", {a, b});
  CHECK(y.dims() == Dims{2, 3, 2, 2});
  CHECK(values(y) == Numbers{1,  2,  11, 12, 3,  4,  13, 14, 5,  6,  15, 16,
                             21, 22, 31, 32, 23, 24, 33, 34, 25, 26, 35, 36});
}

TEST_CASE("empty operands give empty results", "[reference][elementwise]") {
  CHECK(run("tanh", {Tensor(f32, {0, 2})}).dims() == Dims{0, 2});
  CHECK(run("add", {Tensor(f64, {0, 3}), Tensor(f64, {3})}).dims() == Dims{0, 3});
  CHECK(run("add", {Tensor(f64, {2, 0}), Tensor(f64, {1, 1})}).dims() == Dims{2, 0});
}

TEST_CASE("comparisons give bool, and NaN is unequal to all", "[reference][elementwise]") {
  const Tensor a = doubles({4}, {1, 2, kNaN, kNaN});
  const Tensor b = doubles({4}, {2, 2, 2, kNaN});
  CHECK(run("less", {a, b}).dtype() == boolean);
  CHECK(values(run("less", {a, b})) == Numbers{1, 0, 0, 0});
  CHECK(values(run("less_equal", {a, b})) == Numbers{1, 1, 0, 0});
  CHECK(values(run("greater_equal", {a, b})) == Numbers{0, 1, 0, 0});
  CHECK(values(run("equal", {a, b})) == Numbers{0, 1, 0, 0});
  CHECK(values(run("not_equal", {a, b})) == Numbers{1, 0, 1, 1});
  const int64_t big = int64_t{1} << 53;  // i64 is not compared through f64
  CHECK(values(run("equal", {Tensor::of<int64_t>({1}, {big}),
                             Tensor::of<int64_t>({1}, {big + 1})})) == Numbers{0});
  CHECK(values(run("equal", {bools({2}, {true, false}), bools({2}, {true, true})})) ==
        Numbers{1, 0});
}

TEST_CASE("logic works on bool", "[reference][elementwise]") {
  const Tensor a = bools({4}, {false, false, true, true});
  const Tensor b = bools({4}, {false, true, false, true});
  CHECK(values(run("logical_and", {a, b})) == Numbers{0, 0, 0, 1});
  CHECK(values(run("logical_or", {a, b})) == Numbers{0, 1, 1, 1});
  CHECK(values(run("logical_not", {a})) == Numbers{1, 1, 0, 0});
}

TEST_CASE("where selects values of any dtype and drops what is not selected",
          "[reference][elementwise]") {
  const Tensor c = bools({2, 1}, {true, false});
  CHECK(values(run("where", {c, doubles({2}, {1, 2}), doubles({2, 2}, {kNaN, kNaN, 3, 4})})) ==
        Numbers{1, 2, 3, 4});
  const int64_t big = (int64_t{1} << 53) + 1;
  const Tensor longs =
      run("where", {c, Tensor::of<int64_t>({1}, {big}), Tensor::of<int64_t>({1}, {-big})});
  CHECK(longs.data<int64_t>()[0] == big);
  CHECK(longs.data<int64_t>()[1] == -big);
  const Tensor b = run("where", {c, bools({1}, {true}), bools({1}, {false})});
  CHECK(b.dtype() == boolean);
  CHECK(values(b) == Numbers{1, 0});
}

TEST_CASE("integers wrap, truncate and survive a division by zero", "[reference][elementwise]") {
  constexpr int32_t kMin = std::numeric_limits<int32_t>::min();
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const Tensor a = Tensor::of<int32_t>({4}, {kMax, kMin, -7, 5});
  const Tensor b = Tensor::of<int32_t>({4}, {1, -1, 2, 0});
  CHECK(values(run("add", {a, b})) == Numbers{kMin, kMax, -5, 5});
  CHECK(values(run("div", {a, b})) == Numbers{kMax, kMin, -3, 0});
  CHECK(run("add", {a, b}).dtype() == i32);
}

TEST_CASE("NaN passes through minimum and maximum from either side", "[reference][elementwise]") {
  for (const auto* op : {"minimum", "maximum"}) {
    const Tensor y = run(op, {doubles({2}, {kNaN, 1}), doubles({2}, {1, kNaN})});
    CHECK(std::isnan(y.at(0)));
    CHECK(std::isnan(y.at(1)));
  }
}

TEST_CASE("formulas have the values of their definitions", "[reference][elementwise]") {
  struct Row {
    const char* op;
    Attributes attributes;
    double x, y;
  };
  const Row rows[] = {
      {"softplus", {}, 1000, 1000},
      {"softplus", {}, 0, std::log(2.0)},
      {"sigmoid", {}, -1000, 0},
      {"sigmoid", {}, 0, 0.5},
      {"relu", {}, -3, 0},
      {"hard_sigmoid", {}, 1, 0.7},
      {"hard_sigmoid", {}, 10, 1},
      {"elu", {{"alpha", 2.0}}, -1, 2 * std::expm1(-1.0)},
      {"elu", {{"alpha", 2.0}}, 1000, 1000},
      {"leaky_relu", {{"alpha", 0.1}}, -2, -0.2},
      {"thresholded_relu", {{"alpha", 1.0}}, 1, 0},
      {"affine", {{"alpha", 2.0}, {"beta", 3.0}}, 5, 13},
      {"scaled_tanh", {{"alpha", 2.0}, {"beta", 3.0}}, 0.5, 2 * std::tanh(1.5)},
      {"softsign", {}, -3, -0.75},
      {"clip", {{"low", -1.0}, {"high", 2.0}}, 9, 2},
      {"rsqrt", {}, 4, 0.5},
      {"square", {}, -3, 9},
      {"log2", {}, 8, 3},
      {"cbrt", {}, -27, -3},
      {"asin", {}, 1, std::asin(1.0)},
      {"acos", {}, -1, std::acos(-1.0)},
      {"acos", {}, 1, 0},
      {"atan", {}, -2, std::atan(-2.0)},
      {"log1p", {}, 1e-20, 1e-20},
  };
  for (const Row& r : rows) {
    INFO(r.op << "(" << r.x << ")");
    CHECK_THAT(run(r.op, {Tensor::scalar(f64, r.x)}, r.attributes).item(), WithinAbs(r.y, 1e-15));
  }
  CHECK_THAT(run("atan2", {Tensor::scalar(f64, 1), Tensor::scalar(f64, -1)}).item(),
             WithinAbs(3 * std::atan(1.0), 1e-15));
}

TEST_CASE("rounding takes halves to the even number, and remainders have the divisor's sign",
          "[reference][elementwise]") {
  CHECK(values(run("round", {doubles({6}, {0.5, 1.5, 2.5, -0.5, -1.5, 2.4999})})) ==
        Numbers{0, 2, 2, 0, -2, 2});
  // Python's: -7.5 // 2, 7.5 // -2, 1 // 0.1 (9, for 0.1 is above a tenth), and their remainders.
  const Tensor a = doubles({4}, {-7.5, 7.5, 1, 6}), b = doubles({4}, {2, -2, 0.1, 0});
  const Numbers whole = values(run("floor_div", {a, b})), rest = values(run("mod", {a, b}));
  CHECK((whole[0] == -4 && whole[1] == -4 && whole[2] == 9 && whole[3] == kInf));
  CHECK((rest[0] == 0.5 && rest[1] == -0.5 && rest[2] == std::fmod(1, 0.1) && std::isnan(rest[3])));
  const Tensor i = Tensor::of<int32_t>({4}, {-7, 7, -7, 5}),
               j = Tensor::of<int32_t>({4}, {2, -2, -1, 0});
  CHECK(values(run("floor_div", {i, j})) == Numbers{-4, -4, 7, 0});
  CHECK(values(run("mod", {i, j})) == Numbers{1, -1, 0, 0});
  constexpr int32_t kMin = std::numeric_limits<int32_t>::min(), kMax = -(kMin + 1);
  const Tensor far = Tensor::of<int32_t>({3}, {kMin, kMax, kMin}),
               by = Tensor::of<int32_t>({3}, {3, -2, -1});
  CHECK(values(run("floor_div", {far, by})) == Numbers{-715827883, -1073741824, kMin});
}

TEST_CASE("NaN, infinities and finite numbers are told apart", "[reference][elementwise]") {
  const Tensor x = doubles({5}, {kNaN, kInf, -kInf, 1e308, 0});
  CHECK(values(run("is_nan", {x})) == Numbers{1, 0, 0, 0, 0});
  CHECK(values(run("is_inf", {x})) == Numbers{0, 1, 1, 0, 0});
  CHECK(values(run("is_finite", {x})) == Numbers{0, 0, 0, 1, 1});
}

TEST_CASE("f32 is computed in f32", "[reference][elementwise]") {
  const float x = 0.1F;
  const Tensor y = run("exp", {Tensor::of<float>({1}, {x})});
  CHECK(y.dtype() == f32);
  CHECK(y.data<float>()[0] == std::exp(x));
}

TEST_CASE("halves are left to the runtime", "[reference][elementwise]") {
  const auto r = test::refusal_of([] { run("tanh", {Tensor(bf16, {2})}); });
  CHECK(r.code == "harness.kernel.none");
}

TEST_CASE("cast rounds once, truncates, saturates", "[reference][elementwise]") {
  const Tensor x = doubles({6}, {1.9, -1.9, kNaN, kInf, -kInf, 3e9});
  CHECK(values(run("cast", {x}, {{"dtype", i32}})) ==
        Numbers{1, -1, 0, 2147483647, -2147483648.0, 2147483647});
  // Above the middle of two bf16 numbers by less than f32 shows: through f32 it would become a tie.
  const Tensor near = doubles({1}, {1 + 0x1p-8 + 0x1p-40});
  CHECK(run("cast", {near}, {{"dtype", bf16}}).item() == 1 + 0x1p-7);
  CHECK(values(run("cast", {bools({2}, {true, false})}, {{"dtype", f32}})) == Numbers{1, 0});
  CHECK(run("cast", {Tensor(f16, {3})}, {{"dtype", i64}}).dtype() == i64);
}

TEST_CASE("stop_gradient copies", "[reference][elementwise]") {
  const Tensor x = doubles({3}, {1, -0.0, kNaN});
  CHECK(run("stop_gradient", {x}).same_bits(x));
}
