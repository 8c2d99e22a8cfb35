// Sums over rows of outer products, y += a' b: the gradients of matrices. On the recurrent engine's
// own code (row_gemm.h), with rows of a and b that lie anywhere; those of b are packed once for all
// terms.
//
// Each element is one chain of fused multiply-adds in the order of rows, wherever the work is cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <rondo/backends/cpu/row_gemm.h>

namespace rondo::cpu {

/// A term y [rows of y, n] += a' b.
struct OuterTerm {
  const void* const* a;  ///< rows,
  int64_t first, count;  ///< of which these columns are multiplied: as many rows of y
  std::byte* y;          ///< the first of these
  bool add;              ///< to what it holds; else to 0
};

struct OuterProducts {
  DType type;
  const void* const* b;  ///< rows
  int64_t n;             ///< columns of b and of y
  int64_t rows;          ///< of a and b

  /// Columns that can be worked on apart are multiples of this.
  static int64_t grain(DType type) { return row_gemm(type).block; }
  /// What work on at most so many rows and columns needs, 64-byte aligned.
  static size_t scratch_bytes(DType type, int64_t rows, int64_t columns);
  /// All terms, for the columns [column, column + columns).
  void run(std::span<const OuterTerm> terms, int64_t column, int64_t columns,
           std::byte* scratch) const;

 private:
  void fetch(const OuterTerm& t, int64_t row, int64_t depth) const;
};

}  // namespace rondo::cpu
