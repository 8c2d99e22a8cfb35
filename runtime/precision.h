// In how many bits the products of recurrences read their weights: a choice of the run, not of the
// graph.
#pragma once

#include <cstdint>
#include <string_view>

namespace rondo {

/// How the products of recurrences in f32 are computed, where a kernel offers it. Weights as users
/// see them, sums, states and all else stay f32. docs/performance.md states the errors.
enum class Precision : uint8_t {
  full,  ///< f32
  bf16,  ///< operands rounded to bf16 (8 bits of mantissa)
  int8,  ///< weights in 8 bits with a scale for each column, their operands with one for each row;
         ///< gradients stay f32
};

/// "full", "bf16" or "int8".
constexpr std::string_view name_of(Precision p) {
  return p == Precision::full ? "full" : p == Precision::bf16 ? "bf16" : "int8";
}

}  // namespace rondo
