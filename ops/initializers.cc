#include <rondo/ops/initializers.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <rondo/graph/checked.h>
#include <rondo/ops/random.h>

namespace rondo::init {
namespace {

// offset + scale * (what is drawn for each element), from a stream of this call's own.
template <class Draw>
Tensor drawn(Graph g, const Dims& dims, double offset, double scale, DType dtype, Draw draw) {
  Tensor t(f64, dims);
  const auto stream = static_cast<uint64_t>(g.next_stream());
  double* v = t.mutable_data<double>();
  for (int64_t i = 0; i < t.size(); ++i)
    v[i] = offset + scale * draw(g.seed(), stream, 0, static_cast<uint64_t>(i));
  return t.to(dtype);
}

void check_deviation(std::string_view who, double deviation) {
  if (!(deviation >= 0))
    fail(Fault::kArgument, cat(who, ".standard_deviation.range"), "[", who,
         "] standard_deviation is ", deviation, ", but must be at least 0");
}

// sqrt(numerator / sum of fans); without any as if there were one.
double scale_by(std::string_view who, double numerator, std::initializer_list<int64_t> fans) {
  double sum = 0;
  for (const int64_t fan : fans) {
    if (fan < 0)
      fail(Fault::kArgument, cat(who, ".fan.range"), "[", who, "] a fan is ", fan,
           ", but none can be negative");
    sum += static_cast<double>(fan);
  }
  return std::sqrt(numerator / std::max(1.0, sum));
}

Tensor even(Graph g, const Dims& dims, double a, DType dtype) {
  return uniform(std::move(g), dims, -a, a, dtype);
}

}  // namespace

Fans fans_of(const Dims& dims) {
  if (dims.empty()) return {};
  if (dims.size() == 1) return {dims[0], dims[0]};
  const size_t in = dims.size() - 2;
  int64_t field = 1;
  for (size_t a = 0; a < in; ++a) field = checked_mul(field, dims[a]);
  return {checked_mul(field, dims[in]), checked_mul(field, dims[in + 1])};
}

Tensor zeros(const Dims& dims, DType dtype) { return {dtype, dims}; }
Tensor ones(const Dims& dims, DType dtype) { return Tensor::full(dtype, dims, 1); }
Tensor constant(const Dims& dims, double value, DType dtype) {
  return Tensor::full(dtype, dims, value);
}

Tensor uniform(Graph g, const Dims& dims, double low, double high, DType dtype) {
  return drawn(std::move(g), dims, low, high - low, dtype, uniform_at);
}
Tensor normal(Graph g, const Dims& dims, double mean, double standard_deviation, DType dtype) {
  check_deviation("normal", standard_deviation);
  return drawn(std::move(g), dims, mean, standard_deviation, dtype, normal_at);
}
Tensor truncated_normal(Graph g, const Dims& dims, double mean, double standard_deviation,
                        DType dtype) {
  check_deviation("truncated_normal", standard_deviation);
  return drawn(std::move(g), dims, mean, standard_deviation, dtype, truncated_normal_at);
}

Tensor glorot_uniform(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out, DType dtype) {
  return even(std::move(g), dims, scale_by("glorot_uniform", 6, {fan_in, fan_out}), dtype);
}
Tensor glorot_uniform(Graph g, const Dims& dims, DType dtype) {
  const Fans fans = fans_of(dims);
  return glorot_uniform(std::move(g), dims, fans.in, fans.out, dtype);
}
Tensor glorot_normal(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out, DType dtype) {
  return normal(std::move(g), dims, 0, scale_by("glorot_normal", 2, {fan_in, fan_out}), dtype);
}
Tensor glorot_normal(Graph g, const Dims& dims, DType dtype) {
  const Fans fans = fans_of(dims);
  return glorot_normal(std::move(g), dims, fans.in, fans.out, dtype);
}

Tensor he_uniform(Graph g, const Dims& dims, int64_t fan_in, DType dtype) {
  return even(std::move(g), dims, scale_by("he_uniform", 6, {fan_in}), dtype);
}
Tensor he_uniform(Graph g, const Dims& dims, DType dtype) {
  return he_uniform(std::move(g), dims, fans_of(dims).in, dtype);
}
Tensor he_normal(Graph g, const Dims& dims, int64_t fan_in, DType dtype) {
  return normal(std::move(g), dims, 0, scale_by("he_normal", 2, {fan_in}), dtype);
}
Tensor he_normal(Graph g, const Dims& dims, DType dtype) {
  return he_normal(std::move(g), dims, fans_of(dims).in, dtype);
}

Tensor lecun_uniform(Graph g, const Dims& dims, int64_t fan_in, DType dtype) {
  return even(std::move(g), dims, scale_by("lecun_uniform", 3, {fan_in}), dtype);
}
Tensor lecun_uniform(Graph g, const Dims& dims, DType dtype) {
  return lecun_uniform(std::move(g), dims, fans_of(dims).in, dtype);
}
Tensor lecun_normal(Graph g, const Dims& dims, int64_t fan_in, DType dtype) {
  return normal(std::move(g), dims, 0, scale_by("lecun_normal", 1, {fan_in}), dtype);
}
Tensor lecun_normal(Graph g, const Dims& dims, DType dtype) {
  return lecun_normal(std::move(g), dims, fans_of(dims).in, dtype);
}

Tensor orthogonal(Graph g, int64_t rows, int64_t cols, DType dtype, double gain) {
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
      *v++ = gain * q[static_cast<size_t>(vector)][static_cast<size_t>(at)];
    }
  }
  return t.to(dtype);
}

Tensor identity(int64_t rows, int64_t cols, DType dtype, double gain) {
  Tensor t(f64, {rows, cols});
  double* v = t.mutable_data<double>();
  for (int64_t i = 0; i < std::min(rows, cols); ++i) v[i * cols + i] = gain;
  return t.to(dtype);
}

}  // namespace rondo::init
