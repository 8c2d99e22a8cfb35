#include <cmath>
#include <cstdint>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/dtype.h>
#include <rondo/graph/tensor.h>

using namespace rondo;

namespace {

template <class Half>
Half pattern(uint32_t bits) {
  Half h;
  h.bits = static_cast<uint16_t>(bits);
  return h;
}
template <class Half>
uint32_t rounded(float v) {
  return Half(v).bits;
}
// What `v` in f64 is rounded to.
template <class Half>
uint32_t rounded_double(double v) {
  return Tensor::scalar(f64, v).to(dtype_of<Half>).template data<Half>()->bits;
}

template <class Half>
void every_pattern_comes_back() {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    const auto v = static_cast<float>(pattern<Half>(b));
    if (std::isnan(v)) {
      REQUIRE(std::isnan(static_cast<float>(Half(v))));
      REQUIRE((rounded<Half>(v) & 0x8000) == (b & 0x8000));
    } else {
      REQUIRE(rounded<Half>(v) == b);
    }
  }
}

// Between two neighbours: the middle goes to the even one, all else to the nearer one, of either
// sign.
template <class Half>
void rounds_to_nearest_even(uint32_t infinity) {
  for (uint32_t b = 0; b + 1 < infinity; ++b) {
    const double low = static_cast<float>(pattern<Half>(b)),
                 high = static_cast<float>(pattern<Half>(b + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    const uint32_t even = b % 2 == 0 ? b : b + 1;
    const float below = std::nextafter(middle, 0.0F),
                above = std::nextafter(middle, std::numeric_limits<float>::infinity());
    REQUIRE(rounded<Half>(middle) == even);
    REQUIRE(rounded<Half>(below) == b);
    REQUIRE(rounded<Half>(above) == b + 1);
    REQUIRE(rounded<Half>(-middle) == (even | 0x8000));
    // An f64 so near to the middle that an f32 cannot tell.
    REQUIRE(rounded_double<Half>(std::nextafter((low + high) / 2, low)) == b);
    REQUIRE(rounded_double<Half>(std::nextafter((low + high) / 2, high)) == b + 1);
  }
}

}  // namespace

TEST_CASE("every half pattern survives f32 and back", "[graph][dtype]") {
  every_pattern_comes_back<BFloat16>();
  every_pattern_comes_back<Float16>();
}

TEST_CASE("halves round to nearest even everywhere, from f32 and from f64", "[graph][dtype]") {
  rounds_to_nearest_even<BFloat16>(0x7f80);
  rounds_to_nearest_even<Float16>(0x7c00);
}

TEST_CASE("halves overflow to infinity from half a step above the largest", "[graph][dtype]") {
  CHECK(rounded<Float16>(65519.0F) == 0x7bff);
  CHECK(rounded<Float16>(65520.0F) == 0x7c00);
  CHECK(rounded<Float16>(-1e30F) == 0xfc00);
  CHECK(rounded<BFloat16>(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(rounded<BFloat16>(std::numeric_limits<float>::infinity()) == 0x7f80);
  CHECK(rounded_double<BFloat16>(1e300) == 0x7f80);
  CHECK(rounded_double<Float16>(-1e-300) == 0x8000);
}

TEST_CASE("known halves have their known values", "[graph][dtype]") {
  CHECK(static_cast<float>(pattern<Float16>(0x3c00)) == 1.0F);
  CHECK(static_cast<float>(pattern<Float16>(0x0001)) == 0x1p-24F);
  CHECK(static_cast<float>(pattern<Float16>(0x7bff)) == 65504.0F);
  CHECK(static_cast<float>(pattern<BFloat16>(0x3f80)) == 1.0F);
  CHECK(static_cast<float>(pattern<BFloat16>(0x4049)) == 3.140625F);
}

TEST_CASE("dtypes are known by name", "[graph][dtype]") {
  for (const DType t : {f32, f64, bf16, f16, i32, i64, boolean}) {
    CHECK(dtype_from_name(name_of(t)) == t);
    CHECK(Tensor(t, {3}).bytes() == 3 * size_of(t));
    CHECK(dispatch(t, []<class T>() { return dtype_of<T>; }) == t);
    CHECK(dispatch(t, []<class T>() { return sizeof(T); }) == size_of(t));
  }
  CHECK(test::text_of([] { (void)dtype_from_name("float"); }) ==
        "unknown dtype 'float'; known: f32 f64 bf16 f16 i32 i64 bool");
}
