// Products on registers that hold whole tiles, 16 rows of 64 bytes each (AMX): how a block of
// results is cut into tiles, written once for the machine's unit (amx.cc) and for the model of it
// that proves the algorithm where no machine has one (tests/tile_model.h).
//
// Of 8 registers four hold sums, two rows of a, two columns of W: each tile loaded is used twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace rondo::cpu {

/// The shapes of all tiles of one product: sums are height x width, a's height x depth, W's
/// depth x width, in words of 4 bytes; at most 16 each.
struct TileShape {
  int64_t height, depth, width;
};

/// One block of a product: sums[i][j] = the sum over groups of k of a[i][k] . w[k][j]. What a group
/// of 4 bytes is, pairs of bf16 or quads of integers, the unit's instruction knows. The strides are
/// in words.
struct TileBlock {
  TileShape shape;
  /// Rows of tile_steps(groups, depth) times depth groups. Where depth does not divide `groups`,
  /// the last tile takes the last depth rows of w, so that it reads none beyond; those that the
  /// tile before had meet zeros in a (and an infinity there makes NaN of its column).
  const int32_t* a;
  int64_t a_stride;
  const int32_t* w;
  int64_t w_stride, groups;
  int64_t high, wide;  ///< tiles: 1 or 2, 1 to 4
  int32_t* sums;
  int64_t sums_stride;
};

/// What multiplies tiles. Its registers belong to a thread: configure, multiply, release.
struct TileUnit {
  void (*configure)(const TileShape&);
  void (*multiply_bf16)(const TileBlock&);  ///< sums are f32
  void (*multiply_int8)(const TileBlock&);  ///< a without a sign, w with; sums are i32
  void (*release)();
};

constexpr int64_t kTileSide = 16;

constexpr int64_t tile_steps(int64_t groups, int64_t depth) { return (groups + depth - 1) / depth; }

/// Which register: a number that instructions can hold.
template <int N>
using TileNumber = std::integral_constant<int, N>;

/// What `ldtilecfg` reads.
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

constexpr int kSums = 0, kTilesOfA = 4, kTilesOfW = 6;  // the first registers of each

inline TileConfig config_of(const TileShape& s) {
  TileConfig c;
  for (int t = 0; t < 8; ++t) {
    c.rows[t] = static_cast<uint8_t>(t < kTilesOfW ? s.height : s.depth);
    c.row_bytes[t] =
        static_cast<uint16_t>(4 * (t < kTilesOfA || t >= kTilesOfW ? s.width : s.depth));
  }
  return c;
}

/// The tile of W there, of column tile C, with each of High tiles of a. Unit: load, store, zero and
/// Dot of TileNumbers; Dot: add, its instruction.
template <class Unit, class Dot, int High, int Wide, int C>
void multiply_column(const int32_t* w, int64_t stride) {
  constexpr TileNumber<kTilesOfW + C % 2> column;
  Unit::load(column, w, stride);
  Dot::add(TileNumber<kSums + C>(), TileNumber<kTilesOfA>(), column);
  if constexpr (High == 2)
    Dot::add(TileNumber<kSums + Wide + C>(), TileNumber<kTilesOfA + 1>(), column);
}

/// High tiles by as many as there are C, from column tile `first` on. Each sum is added up in the
/// order of k, whichever tile it lies in.
template <class Unit, class Dot, int High, int... C>
void multiply_tiles(const TileBlock& b, int64_t first, std::integer_sequence<int, C...>) {
  constexpr int kWide = sizeof...(C);
  static_assert(High <= 2 && High * kWide <= kTilesOfA);
  const int64_t depth = b.shape.depth, width = b.shape.width;
  const int64_t a_stride = b.a_stride * 4, w_stride = b.w_stride * 4, y_stride = b.sums_stride * 4;
  const int32_t *a = b.a, *below = a + b.shape.height * b.a_stride;
  (Unit::zero(TileNumber<kSums + C>()), ...);
  if constexpr (High == 2) (Unit::zero(TileNumber<kSums + kWide + C>()), ...);
  for (int64_t k = 0; k < b.groups; k += depth, a += depth, below += depth) {
    const int32_t* const w = b.w + std::min(k, b.groups - depth) * b.w_stride + first * width;
    Unit::load(TileNumber<kTilesOfA>(), a, a_stride);
    if constexpr (High == 2) Unit::load(TileNumber<kTilesOfA + 1>(), below, a_stride);
    (multiply_column<Unit, Dot, High, kWide, C>(w + C * width, w_stride), ...);
  }
  int32_t* const y = b.sums + first * width;
  (Unit::store(TileNumber<kSums + C>(), y + C * width, y_stride), ...);
  if constexpr (High == 2) {
    int32_t* const under = y + b.shape.height * b.sums_stride;
    (Unit::store(TileNumber<kSums + kWide + C>(), under + C * width, y_stride), ...);
  }
}
template <class Unit, class Dot, int High, int Wide>
void multiply_tiles(const TileBlock& b, int64_t first) {
  multiply_tiles<Unit, Dot, High>(b, first, std::make_integer_sequence<int, Wide>());
}

/// A whole block: two rows of tiles by two, or one by four.
template <class Unit, class Dot>
void multiply_block(const TileBlock& b) {
  if (b.high == 2) {
    for (int64_t c = 0; c < b.wide; c += 2)
      b.wide - c > 1 ? multiply_tiles<Unit, Dot, 2, 2>(b, c)
                     : multiply_tiles<Unit, Dot, 2, 1>(b, c);
    return;
  }
  if (b.wide == 1) multiply_tiles<Unit, Dot, 1, 1>(b, 0);
  if (b.wide == 2) multiply_tiles<Unit, Dot, 1, 2>(b, 0);
  if (b.wide == 3) multiply_tiles<Unit, Dot, 1, 3>(b, 0);
  if (b.wide == 4) multiply_tiles<Unit, Dot, 1, 4>(b, 0);
}

/// The unit whose registers and instructions are static functions of `Unit`.
template <class Unit>
inline constexpr TileUnit kTileUnit{
    [](const TileShape& s) { Unit::configure(config_of(s)); },
    multiply_block<Unit, typename Unit::Bf16>,
    multiply_block<Unit, typename Unit::Int8>,
    [] { Unit::release(); },
};

}  // namespace rondo::cpu
