// A tile program over whole tensors: one op with a formula, or a fused region.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <rondo/backends/cpu/broadcast.h>
#include <rondo/backends/cpu/tile_program.h>
#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

/// What an input of the program reads: an operand, from this element of each of its rows on.
struct ElementwiseInput {
  size_t operand = 0;
  int64_t offset = 0;
};

/// Tiles of whole rows when rows are short, parts of a row when they are long; operands that are
/// not laid out as the results are copied into tiles of their own first.
class Elementwise final : public PreparedKernel {
 public:
  static constexpr size_t kMaxInputs = 24;

  /// `results`: which result of the call each output of the program is. All have the plan's shape.
  Elementwise(TileProgram program, BroadcastPlan plan, std::vector<ElementwiseInput> inputs,
              std::vector<size_t> results);

  void run(const KernelArgs& args) const override;

 private:
  void run_piece(const KernelArgs& args, int64_t piece) const;
  const std::byte* gather(const BroadcastPlan::Operand& o, const std::byte* data, size_t element,
                          std::byte* fill, int64_t first_row, int64_t rows, int64_t column,
                          int64_t n) const;

  TileProgram program_;
  BroadcastPlan plan_;
  std::vector<ElementwiseInput> inputs_;
  std::vector<size_t> results_;
  bool long_rows_;
  int64_t tile_, rows_per_tile_, tiles_per_row_, tiles_, tiles_per_piece_;
  std::array<size_t, kMaxInputs> fill_at_{};
};

}  // namespace rondo::cpu
