// What all kernels of products share: the call as plain numbers, its division into tiles, which
// shape alone decides, and their rows of the table, for a product alone and for one whose results
// go on into a fused region (`fused_matmul`).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include <rondo/backends/cpu/epilogue.h>
#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

/// y[b] = a[b] b[b] for each batch; row-major, the leading axes of `a` folded into its rows where
/// that is the same.
struct MatmulShape {
  int64_t batches = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int64_t a_step = 0, b_step = 0, y_step = 0;  ///< elements from one batch to the next; 0 = shared

  explicit MatmulShape(const KernelCall& call);
  int64_t lda() const { return transpose_a ? m : k; }
  int64_t ldb() const { return transpose_b ? k : n; }
  int64_t ldy() const { return n; }
  /// Multiplications.
  int64_t work() const { return batches * m * n * k; }
  /// First element of the tile that begins at a row and column of y.
  int64_t a_at(int64_t batch, int64_t row) const {
    return batch * a_step + (transpose_a ? row : row * k);
  }
  int64_t b_at(int64_t batch, int64_t column) const {
    return batch * b_step + (transpose_b ? column * k : column);
  }
  int64_t y_at(int64_t batch, int64_t row, int64_t column) const {
    return batch * y_step + row * n + column;
  }
};

/// Tiles of y, each one piece for the team: `rows` x `columns`, the last ones smaller.
struct MatmulTiles {
  int64_t rows = 0, columns = 0;  ///< of a tile
  int64_t down = 0, across = 0;   ///< tiles of one batch
  int64_t count = 0;              ///< of all batches

  /// Tiles of about `work` multiplications, rows and columns in multiples of `grain`.
  MatmulTiles(const MatmulShape& s, int64_t work, int64_t grain);

  struct Tile {
    int64_t batch, row, column, rows, columns;
  };
  Tile at(const MatmulShape& s, int64_t piece) const;
};

/// The rows of y that a tile is, all batches' rows one below the other.
inline ProductBlock block_of(const MatmulShape& s, const MatmulTiles::Tile& t) {
  return {t.batch * s.m + t.row, t.rows, t.column, t.columns};
}

/// Whether what is multiplied has one of these dtypes.
bool multiplies(const KernelCall& call, std::initializer_list<DType> types);

/// Adds a kernel of `matmul` and its sister of `fused_matmul`: both cost the same for a product, so
/// that what follows it does not change who makes it, nor its bits.
void add_products(std::vector<Kernel>& rows, Kernel k);

}  // namespace rondo::cpu
