#include <rondo/ops/random.h>

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include <Random123/philox.h>

namespace rondo {
namespace {

using Block = std::array<uint32_t, 4>;

Block block_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t block) {
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  const auto high16 = [](uint64_t v) { return static_cast<uint32_t>(v >> 32) & 0xffffU; };
  return philox({low(block), low(step), low(stream), high16(block) | high16(step) << 16},
                {low(seed), low(seed >> 32)});
}

// 24 bits, so that the number is the same in f32 and f64 and never rounds up to 1.
float unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

// Half a step away from 0 and 1, so that the logarithm is finite and not 0.
double inside_unit(uint32_t word) { return (word + 0.5) * 0x1p-32; }

double box_muller(const Block& block, size_t pair) {
  const double radius = std::sqrt(-2 * std::log(inside_unit(block[pair])));
  return radius * std::cos(2 * std::numbers::pi * block[pair + 1] * 0x1p-32);
}

double gumbel_of(uint32_t word) { return -std::log(-std::log(inside_unit(word))); }

// Where the values of normal numbers that were drawn in vain begin again.
constexpr uint64_t kNextAttempt = uint64_t{1} << 44;
constexpr uint64_t kAttempts = 32;  // all in vain: once in 10^43 draws
constexpr double kCut = 2;

}  // namespace

Block philox(const Block& counter, const std::array<uint32_t, 2>& key) {
  const r123::Philox4x32_R<10>::ctr_type c{{counter[0], counter[1], counter[2], counter[3]}};
  const r123::Philox4x32_R<10>::key_type k{{key[0], key[1]}};
  const auto r = r123::Philox4x32_R<10>()(c, k);
  return {r[0], r[1], r[2], r[3]};
}

double uniform_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  return static_cast<double>(unit(block_at(seed, stream, step, element / 4)[element % 4]));
}

void uniform_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                  std::span<float> out) {
  uint64_t element = first_element;
  for (size_t i = 0; i < out.size();) {
    const Block block = block_at(seed, stream, step, element / 4);
    for (size_t word = element % 4; word < 4 && i < out.size(); ++word, ++element) {
      out[i++] = unit(block[word]);
    }
  }
}

double normal_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  return box_muller(block_at(seed, stream, step, element / 2), element % 2 * 2);
}

double truncated_normal_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  for (uint64_t k = 0; k < kAttempts; ++k) {
    const double v = normal_at(seed, stream, step, element + k * kNextAttempt);
    if (std::abs(v) <= kCut) return v;
  }
  return 0;
}

double gumbel_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
  return gumbel_of(block_at(seed, stream, step, element / 4)[element % 4]);
}

void normal_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                 std::span<double> out) {
  uint64_t element = first_element;
  for (size_t i = 0; i < out.size();) {
    const Block block = block_at(seed, stream, step, element / 2);
    for (size_t half = element % 2; half < 2 && i < out.size(); ++half, ++element)
      out[i++] = box_muller(block, 2 * half);
  }
}

void truncated_normal_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                           std::span<double> out) {
  normal_fill(seed, stream, step, first_element, out);
  for (size_t i = 0; i < out.size(); ++i) {
    if (std::abs(out[i]) > kCut)
      out[i] = truncated_normal_at(seed, stream, step, first_element + i);
  }
}

void gumbel_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                 std::span<double> out) {
  uint64_t element = first_element;
  for (size_t i = 0; i < out.size();) {
    const Block block = block_at(seed, stream, step, element / 4);
    for (size_t word = element % 4; word < 4 && i < out.size(); ++word, ++element)
      out[i++] = gumbel_of(block[word]);
  }
}

std::vector<int64_t> permutation_of(uint64_t seed, uint64_t stream, uint64_t step, int64_t n) {
  std::vector<int64_t> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  for (size_t k = p.size(); k > 1; --k) {
    const Block block = block_at(seed, stream, step, k - 1);
    const uint64_t bits = uint64_t{block[0]} << 32 | block[1];
    // Even in [0, k): 53 bits are exact, and the product never rounds up to k.
    const double at = static_cast<double>(bits >> 11) * 0x1p-53 * static_cast<double>(k);
    std::swap(p[k - 1], p[static_cast<size_t>(at)]);
  }
  return p;
}

}  // namespace rondo
