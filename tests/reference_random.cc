#include <cmath>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"

#include <rondo/ops/initializers.h>
#include <rondo/ops/random.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using Words = std::array<uint32_t, 4>;

TEST_CASE("philox gives the published vectors", "[random]") {
  // Random123's kat_vectors, philox4x32 10.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the counter is packed as documented", "[random]") {
  const uint64_t seed = 0x1111222233334444, stream = 0x55555555, step = 0x666677777777;
  const uint64_t element = (0x888899999999ULL << 2) + 1;
  const Words block =
      philox({0x99999999, 0x77777777, 0x55555555, 0x66668888}, {0x33334444, 0x11112222});
  CHECK(uniform_at(seed, stream, step, element) == (block[1] >> 8) * 0x1p-24);
}

TEST_CASE("a draw depends on seed, stream, step and element, in all their bits", "[random]") {
  std::set<double> seen{uniform_at(0, 0, 0, 0)};
  for (int bit = 0; bit < 64; ++bit) seen.insert(uniform_at(uint64_t{1} << bit, 0, 0, 0));
  for (int bit = 0; bit < 32; ++bit) seen.insert(uniform_at(0, uint64_t{1} << bit, 0, 0));
  for (int bit = 0; bit < 48; ++bit) seen.insert(uniform_at(0, 0, uint64_t{1} << bit, 0));
  for (int bit = 0; bit < 50; ++bit) seen.insert(uniform_at(0, 0, 0, uint64_t{1} << bit));
  CHECK(seen.size() == 1 + 64 + 32 + 48 + 50);
}

TEST_CASE("uniform_fill gives the numbers of uniform_at, wherever it begins", "[random]") {
  for (uint64_t first :
       {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, (uint64_t{1} << 34) - 1}) {
    for (size_t count = 0; count < 10; ++count) {
      std::vector<float> out(count);
      uniform_fill(7, 3, 5, first, out);
      for (size_t i = 0; i < count; ++i) CHECK(out[i] == uniform_at(7, 3, 5, first + i));
    }
  }
}

TEST_CASE("uniform numbers are even between 0 and 1", "[random]") {
  constexpr int kCount = 200000;
  std::vector<float> u(kCount);
  uniform_fill(1, 0, 0, 0, u);
  std::array<int, 10> bins{};
  int outside = 0;
  double mean = 0;
  for (const float v : u) {
    outside += v >= 0 && v < 1 ? 0 : 1;
    ++bins.at(static_cast<size_t>(v * 10));
    mean += v / kCount;
  }
  CHECK(outside == 0);
  CHECK_THAT(mean, WithinAbs(0.5, 5 * 0.2887 / std::sqrt(kCount)));
  for (const int b : bins) CHECK_THAT(b, WithinAbs(kCount / 10.0, 5 * std::sqrt(kCount * 0.09)));
}

TEST_CASE("normal numbers have mean 0, variance 1 and tails", "[random]") {
  constexpr int kCount = 100000;
  double mean = 0, variance = 0, neighbours = 0, previous = 0;
  int beyond_two = 0, infinite = 0;
  for (int i = 0; i < kCount; ++i) {
    const double v = normal_at(3, 1, 0, static_cast<uint64_t>(i));
    infinite += std::isfinite(v) ? 0 : 1;
    mean += v / kCount;
    variance += v * v / kCount;
    neighbours += v * previous / kCount;
    beyond_two += std::abs(v) > 2 ? 1 : 0;
    previous = v;
  }
  CHECK(infinite == 0);
  const double tolerance = 5 / std::sqrt(kCount);
  CHECK_THAT(mean, WithinAbs(0, tolerance));
  CHECK_THAT(variance, WithinAbs(1, 1.5 * tolerance));
  CHECK_THAT(neighbours, WithinAbs(0, tolerance));
  CHECK_THAT(beyond_two, WithinAbs(0.0455 * kCount, 5 * std::sqrt(0.0455 * kCount)));
}

TEST_CASE("initial weights come from the graph's seed, a stream a call", "[random][init]") {
  Graph a, b, c;
  a.set_seed(5);
  b.set_seed(5);
  c.set_seed(6);
  const Tensor first = init::glorot_uniform(a, {20, 30}, 20, 30);
  CHECK(first.dtype() == f32);
  CHECK(first.same_bits(init::glorot_uniform(b, {20, 30}, 20, 30)));
  CHECK(!first.same_bits(init::glorot_uniform(a, {20, 30}, 20, 30)));
  CHECK(!first.same_bits(init::glorot_uniform(c, {20, 30}, 20, 30)));
  const double limit = std::sqrt(6.0 / 50);
  double largest = 0;
  for (int64_t i = 0; i < first.size(); ++i) largest = std::max(largest, std::abs(first.at(i)));
  CHECK(largest <= static_cast<float>(limit));
  CHECK(largest > 0.95 * limit);
  CHECK(init::uniform(a, {0, 3}, -1, 1, f64).dims() == Dims{0, 3});
  CHECK(init::zeros({2}, bf16).same_bits(Tensor(bf16, {2})));
}

TEST_CASE("orthogonal weights are orthonormal along the shorter side", "[random][init]") {
  for (const Dims& d : {Dims{6, 6}, Dims{9, 4}, Dims{4, 9}, Dims{1, 1}, Dims{0, 3}}) {
    Graph g;
    const Tensor q = init::orthogonal(g, d[0], d[1], f64);
    CHECK(q.dims() == d);
    const int64_t count = std::min(d[0], d[1]), length = std::max(d[0], d[1]);
    const auto at = [&](int64_t vector, int64_t k) {
      return d[0] < d[1] ? q.at(vector * d[1] + k) : q.at(k * d[1] + vector);
    };
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < count; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < length; ++k) dot += at(i, k) * at(j, k);
        CHECK_THAT(dot, WithinAbs(i == j ? 1 : 0, 1e-14));
      }
    }
  }
}
