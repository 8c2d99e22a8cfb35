// Reductions over any axes, in an order that shape alone fixes.
#pragma once

#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// Which axes are reduced (none given = all; negative ones count from the end), and whether they
/// stay as 1.
struct ReduceOptions {
  std::vector<int64_t> axes = {};
  bool keep_dims = false;
};

/// y = sum of x over the axes; over nothing: 0.
template <Operable V>
V sum(V x, ReduceOptions options = {}, Site at = Site::here());
/// y = mean of x over the axes; over nothing: NaN.
template <Operable V>
V mean(V x, ReduceOptions options = {}, Site at = Site::here());
/// y = the largest value over the axes; NaN passes through; over nothing: -infinity. Ties share no
/// gradient: the first takes it.
template <Operable V>
V reduce_max(V x, ReduceOptions options = {}, Site at = Site::here());
/// The index (i64) of the largest value along one axis; the first of ties.
template <Operable V>
V argmax(V x, int64_t axis = -1, Site at = Site::here());

}  // namespace rondo
