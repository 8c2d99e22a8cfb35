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

/// Rows of one step's operands and result.
struct TileRows {
  /// Data, and bytes from one row to the next.
  struct Side {
    void* data;
    size_t step;
  };
  Side y, a, b, c;
  size_t n;  ///< elements in a row
  size_t rows;
};

/// y[r][i] = fn(a[r][i], b[r][i], c[r][i]) for r < rows, i < n. `y` may be one of the operands.
using TileFn = void (*)(Fn fn, const TileRows& rows);

/// Calls f(y, a, b, c, n) for each row, or once where rows follow each other without a gap.
template <class Y, class X, class F>
inline void for_rows(const TileRows& t, int arity, const F& f) {
  auto* y = static_cast<std::byte*>(t.y.data);
  const auto* a = static_cast<const std::byte*>(t.a.data);
  const auto* b = static_cast<const std::byte*>(t.b.data);
  const auto* c = static_cast<const std::byte*>(t.c.data);
  const auto row = [&](size_t n) {
    f(reinterpret_cast<Y*>(y), reinterpret_cast<const X*>(a), reinterpret_cast<const X*>(b),
      reinterpret_cast<const X*>(c), n);
  };
  const size_t whole = t.n * sizeof(X);
  if (t.rows == 1 || (t.y.step == t.n * sizeof(Y) && t.a.step == whole &&
                      (arity < 2 || t.b.step == whole) && (arity < 3 || t.c.step == whole)))
    return row(t.n * t.rows);
  for (size_t r = 0; r < t.rows; ++r) {
    row(t.n);
    y += t.y.step;
    a += t.a.step;
    b += t.b.step;
    c += t.c.step;
  }
}

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
    /// `step`: bytes from one row to the next, where there are several.
    void input(size_t i, const void* data, size_t step = 0) {
      at_[i] = {const_cast<void*>(data), step};  // NOLINT: never written through
    }
    void output(size_t i, void* data, size_t step = 0) { at_[outputs_at_ + i] = {data, step}; }

   private:
    friend class TileProgram;
    size_t outputs_at_;
    std::array<TileRows::Side, kMaxPlaces> at_;
  };

  /// Runs the first n elements of some rows, all together at most tile(). A result must not lie
  /// over an operand, except that the last step's may lie exactly on one.
  void run(Frame& frame, int64_t n, int64_t rows = 1) const;

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
  size_t inputs_ = 0, outputs_ = 0, slots_ = 0, slot_bytes_ = 0, element_ = 0;
  std::vector<DType> input_types_;
  std::vector<Step> steps_;
  std::shared_ptr<std::byte> constants_;  // one tile each
  size_t constant_count_ = 0;
};

}  // namespace rondo::cpu
