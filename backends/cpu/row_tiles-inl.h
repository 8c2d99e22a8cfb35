// How products of rows are cut into tiles of registers, the same for all kinds of numbers. Included
// once per instruction set, like all of Highway's -inl.h headers.
#if defined(RONDO_BACKENDS_CPU_ROW_TILES_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)  // NOLINT: a guard per target
#ifdef RONDO_BACKENDS_CPU_ROW_TILES_INL_H_
#undef RONDO_BACKENDS_CPU_ROW_TILES_INL_H_
#else
#define RONDO_BACKENDS_CPU_ROW_TILES_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

// Accumulators must fit the registers: 6 x 4 of 32, or 6 x 2 of 16.
constexpr int64_t kVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
constexpr int64_t kRows = 6;

// What a tile brings nearer while it multiplies, a line with each k: its part of the block that
// comes next. Tiles share that block, as the machine keeps only some lines on their way at a time.
// (Of vectors of 16 bytes a block has no whole line each k, and nothing is brought.)
struct Ahead {
  const std::byte* line;
  int64_t step;  // 0 where there is nothing more: a line that is here is asked for again

  // The part of tile `i` in `next`, k times so many bytes; null: no block comes next.
  Ahead(const void* next, int64_t bytes, int64_t k, int64_t i, const void* here)
      : line(static_cast<const std::byte*>(here)), step(0) {
    constexpr int64_t kLine = 64;
    if (next == nullptr || i >= bytes / kLine) return;
    line = static_cast<const std::byte*>(next) + i * k * kLine;
    step = kLine;
  }
  HWY_INLINE void fetch() {
    __builtin_prefetch(line, 0, 2);
    line += step;
  }
};

// Calls t.tile<R, S>(first_row, first, ahead) for the rows of S blocks of columns, in tiles of even
// height: one of two rows alone would wait for its own sums, so that few rows take two blocks at
// once.
template <int64_t S, class Tiles>
HWY_INLINE void for_rows_of_blocks(const Tiles& t, int64_t rows, int64_t first, int64_t next) {
  constexpr int64_t kHighest = S == 1 ? kRows : 2;
  const int64_t tiles = (rows + kHighest - 1) / kHighest;
  int64_t r = 0;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t height = (rows - r + tiles - i - 1) / (tiles - i);
    const Ahead ahead = t.ahead(next, i);
    if constexpr (S == 1) {
      if (height == 6) t.template tile<6, S>(r, first, ahead);
      if (height == 5) t.template tile<5, S>(r, first, ahead);
      if (height == 4) t.template tile<4, S>(r, first, ahead);
      if (height == 3) t.template tile<3, S>(r, first, ahead);
    }
    if (height == 2) t.template tile<2, S>(r, first, ahead);
    if (height == 1) t.template tile<1, S>(r, first, ahead);
    r += height;
  }
}

// The same for all n columns. Blocks outside, rows inside: a block of W stays in the cache for all
// rows. `backwards`: the last block first, so that what was read last is read again while the cache
// still has it.
template <class Tiles>
HWY_INLINE void for_tiles(const Tiles& t, int64_t rows, int64_t n, int64_t block, bool backwards) {
  const int64_t blocks = (n + block - 1) / block;
  const int64_t wide = rows <= 2 ? 2 : 1, groups = (blocks + wide - 1) / wide;
  const int64_t turn = backwards ? -1 : 1;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t b = (backwards ? groups - 1 - g : g) * wide;
    const int64_t next = g + 1 < groups ? (b + turn * wide) * block : -1;
    if (wide == 2 && b + 1 < blocks) {
      for_rows_of_blocks<2>(t, rows, b * block, next);
    } else {
      for_rows_of_blocks<1>(t, rows, b * block, next);
    }
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
