// How operands of different shapes meet in an elementwise loop: axes that all operands step through
// alike become one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <rondo/graph/dim.h>

namespace rondo::cpu {

/// Most axes left after merging; calls with more go to the reference backend.
inline constexpr size_t kMaxAxes = 8;

/// The result's axes, merged, and each operand's stride along them in elements; 0 where it is
/// broadcast.
struct BroadcastPlan {
  struct Operand {
    std::array<int64_t, kMaxAxes> strides{};
    bool direct = false;  ///< laid out as the result
    bool scalar = false;  ///< one element
    bool rows = false;    ///< the same row for all rows: strides are 0 but for the last
  };
  size_t axes = 0;
  std::array<int64_t, kMaxAxes> lengths{};
  int64_t row = 1;    ///< length of the last axis
  int64_t count = 0;  ///< rows
  std::vector<Operand> operands;
};

/// An operand as it lies in memory.
struct BroadcastOperand {
  Dims dims;
  int64_t pitch = 0;  ///< elements from row to row of the last axis; 0 = the axis' own length
};

/// None when too many axes are left, which is never so where the result has at most kMaxAxes.
std::optional<BroadcastPlan> plan_broadcast(const Dims& result,
                                            std::span<const BroadcastOperand> operands);

/// A position in the axes but the last, stepped row by row.
class RowCursor {
 public:
  RowCursor(const BroadcastPlan& plan, int64_t row);
  void next();
  /// First element of the present row of an operand.
  int64_t offset(const BroadcastPlan::Operand& o) const;

 private:
  const BroadcastPlan& plan_;
  std::array<int64_t, kMaxAxes> at_{};
};

}  // namespace rondo::cpu
