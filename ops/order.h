// Values in order: running sums and products along an axis, sorting, and the largest few.
#pragma once

#include <rondo/ops/operand.h>

namespace rondo {

/// How a running sum or product goes along its axis.
struct CumulativeOptions {
  int64_t axis = 0;
  bool exclusive = false;  ///< each result is of what stands before it, without itself
  bool reverse = false;    ///< from the last element to the first
};
/// y_t = x_0 + ... + x_t along the axis. x[...] -> y[...].
template <Operable V>
V cumsum(V x, CumulativeOptions options = {}, Site at = Site::here());
/// y_t = x_0 * ... * x_t along the axis. x[...] -> y[...]. The gradient is right at zeros too.
template <Operable V>
V cumprod(V x, CumulativeOptions options = {}, Site at = Site::here());
/// y_t = a_t y_{t-1} + b_t along the axis, y_{-1} = 0; with `reverse` y_t = a_t y_{t+1} + b_t.
/// a[...], b[...] of one shape -> y[...]. Source: Blelloch (1990).
template <Operable V>
V linear_scan(V a, std::type_identity_t<V> b, int64_t axis = 0, bool reverse = false,
              Site at = Site::here());

/// x in order along the axis, from the smallest or, `descending`, from the largest; equal elements
/// stay in their order. NaN is larger than all. x[...] -> y[...].
template <Operable V>
V sort(V x, int64_t axis = -1, bool descending = false, Site at = Site::here());
/// The indices (i64) that put x in that order. x[...] -> y[...].
template <Operable V>
V argsort(V x, int64_t axis = -1, bool descending = false, Site at = Site::here());

/// What top_k gives.
template <Operable V>
struct TopK {
  V values;   ///< [...,k], the largest first
  V indices;  ///< [...,k], i64: where they stand in x
};
/// The k largest elements of each last axis, sorted; of equal ones the first. NaN is larger than
/// all. x[...,N] -> [...,k]. Error: k > N (top_k.k.range).
template <Operable V>
TopK<V> top_k(V x, int64_t k, Site at = Site::here());

}  // namespace rondo
