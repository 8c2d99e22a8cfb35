// Ops that move or make elements and compute nothing: shapes may hold symbols everywhere.
#pragma once

#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// The same elements in flat order under another shape of the same size; dimensions may be
/// symbolic.
template <Operable V>
V reshape(V x, Shape shape, Site at = Site::here());
/// y's axis i is x's axis permutation[i]; empty = reversed order.
template <Operable V>
V transpose(V x, std::vector<int64_t> permutation = {}, Site at = Site::here());
/// Broadcasts x to `shape`, as the binary ops do.
template <Operable V>
V broadcast_to(V x, Shape shape, Site at = Site::here());
/// Joins along an axis; all other dimensions must be equal.
template <Operable V>
V concat(std::vector<V> xs, int64_t axis, Site at = Site::here());
/// `parts` equal pieces along an axis.
template <Operable V>
List<V> split(V x, int64_t parts, int64_t axis, Site at = Site::here());
/// Elements [begin, end) along an axis.
template <Operable V>
V slice(V x, int64_t axis, Dim begin, Dim end, Site at = Site::here());
/// Zeros before and after along an axis.
template <Operable V>
V pad(V x, int64_t axis, Dim before, Dim after, Site at = Site::here());
/// Rows of x by index: y[i...,:] = x[indices[i...],:]. x[N,...], indices[...]:int; an index outside
/// [0, N) is an Error when it runs.
template <Operable V>
V gather(V x, V indices, Site at = Site::here());
/// y[N,...] = sums of the rows of `updates` that name it; the gradient of gather.
template <Operable V>
V scatter_add(V indices, V updates, Dim rows, Site at = Site::here());
/// x with a new axis of length 1 at `axis`.
template <Operable V>
V expand_dims(V x, int64_t axis, Site at = Site::here());
/// x without the axis of length 1 at `axis`.
template <Operable V>
V squeeze(V x, int64_t axis, Site at = Site::here());

/// A value of `shape` filled with `value`, in `g`.
Var fill(Graph g, DType dtype, Shape shape, double value, Site at = Site::here());
/// Filled like x: its graph, dtype and shape.
Var fill_like(const Var& x, double value, Site at = Site::here());
/// The index along `axis`, at every position of `shape`.
Var iota(Graph g, DType dtype, Shape shape, int64_t axis, Site at = Site::here());
/// x with its last two axes exchanged.
Var swap_last(const Var& x);

/// 2^52, the bound of attributes that count: a double tells it from its neighbours, and it has a
/// negative.
inline constexpr double kLargestCount = 4503599627370496;

/// An axis that may count from the end, as an index.
inline size_t axis_index(int64_t axis, size_t rank) {
  return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

}  // namespace rondo
