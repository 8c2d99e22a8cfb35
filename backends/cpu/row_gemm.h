// Products of a few rows with a resident matrix: y_i = a_i W, the heart of a recurrent step. W is
// packed once a run.
//
// Each element is a chain of fused multiply-adds in the order of k, so its bits depend neither on
// how many rows are worked on together nor on who works on them.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rondo/graph/dtype.h>

namespace rondo::cpu {

/// The code of one instruction set for f32 or f64.
struct RowGemm {
  /// Columns of a packed block.
  int64_t block;
  /// Packs w [k,n] (or, when transposed, w [n,k]) into packed_bytes(k, n) of 64-byte aligned
  /// memory.
  void (*pack)(const void* w, int64_t k, int64_t n, bool transposed, void* packed);
  /// y[i][0..n) = a[i][0..k) W for each i < rows.
  void (*run)(const void* const* a, int64_t rows, int64_t k, const void* packed, int64_t n,
              void* const* y);

  size_t packed_bytes(int64_t k, int64_t n, DType t) const {
    return static_cast<size_t>((n + block - 1) / block * block * k) * size_of(t);
  }
};

/// For the best instruction set that Highway finds now; `t` is f32 or f64.
const RowGemm& row_gemm(DType t);

}  // namespace rondo::cpu
