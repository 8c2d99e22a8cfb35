// A formula made ready for SIMD: its steps run one after another over a tile of elements that stays
// in L1, so that one interpreter serves every elementwise op, every fused chain and the gates of
// the recurrent engine at vector speed.
//
// An element's bits depend on its operands alone: not on its place in the tile, the tile's length
// or the alignment.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <rondo/graph/dtype.h>
#include <rondo/ops/formula.h>

namespace rondo::cpu {

/// y[i] = fn(a[i], b[i], c[i]) for i < n. `y` may be one of the operands.
using TileFn = void (*)(Fn fn, void* y, const void* a, const void* b, const void* c, size_t n);

class TileProgram {
 public:
  /// Longest tile; programs with many live values take a shorter one.
  static constexpr int64_t kLongestTile = 1024;
  static constexpr int64_t kShortestTile = 64;
  /// What the values between the steps may take, so that they stay in L1.
  static constexpr size_t kScratchBytes = 32 << 10;
  static constexpr size_t kMaxPlaces = 160;

  /// Operands are stored as `inputs`, results (steps of the program, by index) as `outputs`. All
  /// numbers have one dtype, booleans may stand beside them; halves compute in f32. Takes the best
  /// instruction set that Highway finds now.
  TileProgram(const Program& program, std::span<const int32_t> results,
              std::span<const DType> inputs, std::span<const DType> outputs);
  /// With the last step as the only result.
  TileProgram(const Program& program, std::span<const DType> inputs, DType output);

  /// Whether the program is small enough to run; all else may be called only then.
  bool fits() const { return fits_; }
  /// Elements per tile, a multiple of 64.
  int64_t tile() const { return tile_; }
  /// 64-byte aligned memory that a Frame needs, at most kScratchBytes.
  size_t scratch_bytes() const { return slots_ * slot_bytes_; }
  /// About how long an element takes, in picoseconds.
  int64_t cost() const { return cost_; }
  size_t inputs() const { return inputs_; }
  size_t outputs() const { return outputs_; }
  /// The dtype of operand `i` as it is stored.
  DType input_type(size_t i) const { return input_types_[i]; }

  /// Where one thread's operands, results and values between the steps are.
  class Frame {
   public:
    Frame(const TileProgram& program, std::byte* scratch);
    void input(size_t i, const void* data) {
      at_[i] = const_cast<void*>(data);
    }  // NOLINT: never written through
    void output(size_t i, void* data) { at_[outputs_at_ + i] = data; }

   private:
    friend class TileProgram;
    size_t outputs_at_;
    std::array<void*, kMaxPlaces> at_;
  };

  /// Runs the first n <= tile() elements. A result must not lie over an operand, except that the
  /// last step's may lie exactly on one.
  void run(const Frame& frame, int64_t n) const;

 private:
  struct Step {
    TileFn run;
    Fn fn;
    uint8_t y, a, b, c;  // places in a frame
  };
  void build(const Program& program, std::span<const int32_t> results,
             std::span<const DType> inputs, std::span<const DType> outputs);

  bool fits_ = true;
  int64_t tile_ = kLongestTile;
  int64_t cost_ = 0;
  size_t inputs_ = 0, outputs_ = 0, slots_ = 0, slot_bytes_ = 0;
  std::vector<DType> input_types_;
  std::vector<Step> steps_;
  std::shared_ptr<std::byte> constants_;  // one tile each
  size_t constant_count_ = 0;
};

}  // namespace rondo::cpu
