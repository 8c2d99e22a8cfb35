// Products of a few rows with a resident matrix: y_i = c_i + bias + a_i W, the heart of a recurrent
// step. W is packed once a version.
//
// Each element is a chain of fused multiply-adds in the order of k (in fewer bits: of a dot product
// a step, in an order that k alone decides), so its bits depend neither on how many rows are worked
// on together nor on who works on them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <rondo/graph/dtype.h>
#include <rondo/runtime/precision.h>

namespace rondo::cpu {

/// The rows of one product.
struct GemmRows {
  const void* const* a;  ///< [rows] of k elements,
  int64_t a_step;        ///< which lie so many elements apart
  void* const* y;        ///< [rows] of n elements
  const void* const* c;  ///< [rows] of n elements to begin with; null: zeros
  const void* bias;      ///< n elements, the same for all rows; null: none
  int64_t rows;
  void* scratch = nullptr;  ///< as much as the code asks for, 64-byte aligned
  bool backwards = false;   ///< reads the last columns of W first: no bits depend on it
  /// Instead of `a`, for f32 and f64: [k], where the elements of all rows follow each other, and
  /// which of them is the first row's.
  const void* const* a_of_k = nullptr;
  int64_t a_first = 0;
  /// A product that goes before, for f32 and f64: rows of first_k elements that follow each other,
  /// and their matrix. Null: none.
  const void* const* first = nullptr;
  int64_t first_k = 0;
  const void* first_packed = nullptr;
};

/// The code of one instruction set for f32 or f64, or for f32 with weights in fewer bits.
struct RowGemm {
  Precision precision;
  /// Columns of a packed block.
  int64_t block;
  size_t (*packed_bytes)(int64_t k, int64_t n);
  /// Packs w [k,n] (or, when transposed, w [n,k]), whose rows lie `stride` elements apart, into
  /// packed_bytes(k, n) of 64-byte aligned memory.
  void (*pack)(const void* w, int64_t stride, int64_t k, int64_t n, bool transposed, void* packed);
  /// The same of rows that lie anywhere, from `column` on; null where there is no `a_of_k`.
  void (*pack_rows)(const void* const* rows, int64_t column, int64_t k, int64_t n, void* packed);
  /// y[i][0..n) = c[i][0..n) + bias[0..n) + a[i][0..k) W for each i < rows. y may be c.
  void (*run)(const GemmRows& rows, int64_t k, const void* packed, int64_t n);
  /// What a run of so many rows needs.
  size_t (*scratch_bytes)(int64_t rows, int64_t k);
};

/// How many parts of at most so much there are, and where part `i` of them begins, in multiples of
/// `grain`.
inline int64_t parts_of(int64_t length, int64_t most) { return (length + most - 1) / most; }
inline int64_t begin_of(int64_t i, int64_t parts, int64_t length, int64_t grain) {
  return std::min(length, (length * i / parts + grain - 1) / grain * grain);
}

/// For the best instruction set that Highway finds now; `t` is f32 or f64.
const RowGemm& row_gemm(DType t);
/// The same for f32 with weights in bf16 or int8.
const RowGemm& row_gemm_low(Precision p);

}  // namespace rondo::cpu
