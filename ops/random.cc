#include <rondo/ops/random.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

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
  const Block block = block_at(seed, stream, step, element / 2);
  const size_t pair = element % 2 * 2;
  // Half a step away from 0 and 1, so that the logarithm is finite and not 0.
  const double radius = std::sqrt(-2 * std::log((block[pair] + 0.5) * 0x1p-32));
  return radius * std::cos(2 * std::numbers::pi * block[pair + 1] * 0x1p-32);
}

}  // namespace rondo

namespace rondo::init {

Tensor zeros(const Dims& dims, DType dtype) { return {dtype, dims}; }

Tensor uniform(Graph g, const Dims& dims, double low, double high, DType dtype) {
  Tensor t(f64, dims);
  const auto stream = static_cast<uint64_t>(g.next_stream());
  double* v = t.mutable_data<double>();
  for (int64_t i = 0; i < t.size(); ++i) {
    v[i] = low + (high - low) * uniform_at(g.seed(), stream, 0, static_cast<uint64_t>(i));
  }
  return t.to(dtype);
}

Tensor glorot_uniform(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out, DType dtype) {
  if (fan_in < 0 || fan_out < 0) {
    fail(Fault::kArgument, "glorot_uniform.fan.range", "[glorot_uniform] fan_in is ", fan_in,
         " and fan_out ", fan_out, ", but neither can be negative");
  }
  const double a = std::sqrt(6 / std::max(1.0, static_cast<double>(fan_in + fan_out)));
  return uniform(std::move(g), dims, -a, a, dtype);
}

Tensor orthogonal(Graph g, int64_t rows, int64_t cols, DType dtype) {
  Tensor t(f64, {rows, cols});
  const auto stream = static_cast<uint64_t>(g.next_stream());
  // The shorter side's vectors, made orthonormal one after the other; `length` is that of each.
  const auto count = static_cast<size_t>(std::min(rows, cols));
  const auto length = static_cast<size_t>(std::max(rows, cols));
  std::vector<std::vector<double>> q(count, std::vector<double>(length));
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < length; ++k) q[i][k] = normal_at(g.seed(), stream, 0, i * length + k);
    for (int pass = 0; pass < 2; ++pass) {  // the second removes what rounding left of the first
      for (size_t j = 0; j < i; ++j) {
        double dot = 0;
        for (size_t k = 0; k < length; ++k) dot += q[i][k] * q[j][k];
        for (size_t k = 0; k < length; ++k) q[i][k] -= dot * q[j][k];
      }
    }
    double squares = 0;
    for (const double v : q[i]) squares += v * v;
    for (double& v : q[i]) v /= std::sqrt(squares);
  }
  double* v = t.mutable_data<double>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const auto [vector, at] = rows < cols ? std::pair(r, c) : std::pair(c, r);
      *v++ = q[static_cast<size_t>(vector)][static_cast<size_t>(at)];
    }
  }
  return t.to(dtype);
}

}  // namespace rondo::init
