// Vector loops of the reductions and of softmax, one table for each instruction set.
//
// The order of every sum is fixed by its length and the instruction set, never by the address or
// the thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace rondo::cpu {

/// Loops over elements of T, for one reduction.
template <class T>
struct ReduceOps {
  /// x[n] reduced to one number; over nothing the identity.
  T (*row)(const T* x, int64_t n);
  /// y[c] = x[0][c], x[1][c], ... reduced; rows of x are `stride` elements apart.
  void (*columns)(const T* x, int64_t rows, int64_t stride, int64_t columns, T* y);
  T (*join)(T a, T b);  ///< two results into one
  T identity;
};

/// A row in stretches, so that few roundings stand in a row.
template <class T>
T reduce_row(const ReduceOps<T>& ops, const T* x, int64_t n) {
  constexpr int64_t kStretch = 4096;
  T total = ops.row(x, std::min(n, kStretch));
  for (int64_t i = kStretch; i < n; i += kStretch)
    total = ops.join(total, ops.row(x + i, std::min(n - i, kStretch)));
  return total;
}

template <class T>
struct RowOps {
  ReduceOps<T> sum, prod, max, min;
  /// y[n] = softmax of x[n], or its logarithm.
  void (*softmax)(const T* x, T* y, int64_t n, bool logarithm);
};

/// The table for the best instruction set that Highway finds now; T = float or double.
template <class T>
const RowOps<T>& row_ops();

}  // namespace rondo::cpu
