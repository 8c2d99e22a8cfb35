// More reductions over any axes: extremes, products, moments, norms and truth. Most are made of
// sums and maxima (ops/reduce.h) in a form that neither overflows nor cancels.
#pragma once

#include <limits>

#include <rondo/ops/reduce.h>

namespace rondo {

/// y = the smallest value over the axes; NaN passes through; over nothing: +infinity. The first of
/// ties takes the gradient.
template <Operable V>
V reduce_min(V x, ReduceOptions options = {}, Site at = Site::here());
/// y = the product of x over the axes; over nothing: 1. The gradient is right at zeros too: it
/// never divides.
template <Operable V>
V prod(V x, ReduceOptions options = {}, Site at = Site::here());

/// As ReduceOptions; the sum of squares is divided by n - correction.
struct VarianceOptions {
  std::vector<int64_t> axes = {};
  bool keep_dims = false;
  double correction = 0;  ///< 1: the unbiased estimate from a sample
};
/// y = sum of (x - m)^2 / (n - correction), m the mean of the n elements; taken in two passes. NaN
/// where n = correction.
template <Operable V>
V variance(V x, VarianceOptions options = {}, Site at = Site::here());
/// y = sqrt(variance(x)); where that is 0, so is the gradient.
template <Operable V>
V standard_deviation(V x, VarianceOptions options = {}, Site at = Site::here());

/// The order of the norm that is the largest magnitude.
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// y = the norm of x as a vector: order 1 (sum of |x|), 2 (root of the sum of squares) or kInfinity
/// (largest |x|); over nothing: 0. The gradient at 0 is 0. Error: another order (norm.order.value).
template <Operable V>
V norm(V x, double order = 2, ReduceOptions options = {}, Site at = Site::here());
/// y = log(sum of e^x over the axes), without overflow; over nothing, or only -infinity: -infinity.
template <Operable V>
V logsumexp(V x, ReduceOptions options = {}, Site at = Site::here());

/// y:bool = whether some x:bool holds over the axes; over nothing: false.
template <Operable V>
V reduce_any(V x, ReduceOptions options = {}, Site at = Site::here());
/// y:bool = whether every x:bool holds over the axes; over nothing: true.
template <Operable V>
V reduce_all(V x, ReduceOptions options = {}, Site at = Site::here());
/// The index (i64) of the smallest value along one axis; the first of ties; a NaN is smaller than
/// all. Error: an axis of length 0 (argmin.x.empty).
template <Operable V>
V argmin(V x, int64_t axis = -1, Site at = Site::here());

}  // namespace rondo
