// The table of loops that tile programs are made of, one for each instruction set; Highway chooses
// at run time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <rondo/backends/cpu/tile_program.h>

namespace rondo::cpu {

inline constexpr size_t kFnCount = static_cast<size_t>(Fn::kSelect) + 1;

/// Two simple steps in one, which reads and writes memory once: y = (a inner b) outer c, each
/// rounded as it is alone.
enum class Inner : uint8_t { kAdd, kSub, kMul };
enum class Outer : uint8_t { kAdd, kSub, kMul, kFrom };  ///< kFrom: c - (a inner b)
using PairTable = std::array<std::array<TileFn, 4>, 3>;

/// Null where no vector code exists: then the scalar meaning of ops/formula.h is used.
struct TileOps {
  std::array<TileFn, kFnCount> f32{}, f64{};
  PairTable f32_pairs{}, f64_pairs{};
  TileFn bool_to_f32, bool_to_f64;  ///< bytes 0 or 1 to numbers
  TileFn f32_to_bool, f64_to_bool;  ///< numbers 0 or 1 to bytes
};

/// The table for the best instruction set that Highway finds now.
const TileOps& tile_ops();

}  // namespace rondo::cpu
