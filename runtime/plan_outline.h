// What all bindings of a plan have in common: which steps there are and what they read and write,
// where values lie that are no part of the arena, and every type that names no symbol. Made once,
// so that new sizes cost only what depends on them. Internal to runtime/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <rondo/runtime/plan.h>
#include <rondo/runtime/side_by_side.h>

namespace rondo {

/// Made once a plan.
struct PlanOutline {
  explicit PlanOutline(const Plan& plan);
  PlanOutline(const PlanOutline&) = delete;
  PlanOutline& operator=(const PlanOutline&) = delete;

  /// A node that a kernel runs.
  struct Step {
    const Node* node;
    std::vector<int64_t> in, out;       ///< the values that they lie in; -1 absent
    std::vector<size_t> in_at, out_at;  ///< and where in them, in bytes
    size_t first_view;
    bool fixed;        ///< nothing that its kernel sees names a symbol: one prepared kernel for all
    size_t group = 1;  ///< steps from here on that run together; 0: in one that began before
    int64_t leader = -1;  ///< the step that this follows
    mutable NodeMemo memo;
  };
  /// An output that is an input, a constant or another output too.
  struct Copy {
    size_t value, output;
  };

  size_t index(Value v) const {
    return first[static_cast<size_t>(v.node)] + static_cast<size_t>(v.slot);
  }

  std::vector<size_t> first;      ///< of each node's values
  std::vector<TensorType> types;  ///< by value; no dims where they name symbols
  std::vector<BoundPlan::Place> places;
  std::vector<bool> is_sized;     ///< by value: its dims name symbols
  size_t sized = 0;               ///< how many do
  std::vector<const Node*> late;  ///< those of such values, or whose rules must speak again
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Copy> copies;
  size_t views = 0;  ///< operands and results of all steps
  // Which views show value v: view_of[first_view_of[v]] up to first_view_of[v + 1].
  std::vector<uint32_t> view_of, first_view_of;
  std::vector<size_t> view_at;  ///< of each view: where it begins in its value, in bytes

 private:
  // Where a value lies: in another, from some byte on.
  struct Inside {
    size_t value, at;
  };
  Inside viewed(size_t value) const;  // of reshapes and slices
  Inside inside(size_t value) const;  // and of values that are made as parts of others
  std::optional<size_t> begins_at(const Node& n) const;
  bool takes_parts(const Node& n);
  void settle();
  void list_values(const Subgraph& unit);
  void place_values(const Subgraph& unit);
  void list_steps(const Plan& plan);
  void order_steps();
  void list_views();

  std::vector<int32_t> live_;
  std::vector<bool> used_;             // by value
  std::vector<Inside> views_, parts_;  // of each value; in itself: it has memory of its own
  std::vector<Joined> joined_;
};

/// A call with the kernel that runs it.
struct ReadyCall {
  ReadyCall(const Node& n, const Binding& binding);
  ReadyCall(const ReadyCall&) = delete;
  ReadyCall& operator=(const ReadyCall&) = delete;

  std::unique_ptr<const Attributes> bound;  ///< null where the node's own name no symbols
  KernelCall call;
  std::string_view kernel, note;  ///< of tables that outlive all plans
  std::unique_ptr<PreparedKernel> prepared;
};

/// No memory holds more. Kernels count elements, steps of work and bytes without looking for
/// overflow, and may: of values that are no larger, whatever axes of length 0 hide.
inline constexpr int64_t kLargestValue = int64_t{1} << 42;
bool is_too_large(const TensorType& t);

/// The attributes with numbers for symbols; null where they name none.
std::unique_ptr<const Attributes> bind_attributes(const Attributes& a, const Binding& binding);

}  // namespace rondo
