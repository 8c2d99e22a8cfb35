// Runs a recurrence step by step from its body's own plan: the path for every cell that no kernel
// knows.
#pragma once

#include <memory>
#include <vector>

#include <rondo/runtime/plan.h>

namespace rondo {

inline constexpr const char* kRecurrenceSteps = "runtime.recurrence.steps";

/// The steps [begin, end) that each row runs.
struct Windows {
  std::vector<int64_t> begin, end;
  bool full = true;  ///< every row runs every step
};
/// Those of a loop `n`, absent ends being the first and the last of its steps. Error
/// recurrence.window.range.
Windows read_windows(const View& begin, const View& end, int64_t steps, int64_t rows,
                     const Node& n);

/// sum += term, of the same type.
void add_to(const View& sum, const std::byte* term);

/// Holds a recurrence's operands `in`, whose shapes are numbers now, to what its body takes and
/// gives under the binding. Error recurrence.operands.dim or recurrence.body.state.
void check_body(const Node& n, const std::vector<ValueType>& in, const Binding& binding);

/// `binding`: of the plan that holds the node; the body's own rows are bound when it runs.
std::unique_ptr<PreparedKernel> make_recurrence_steps(const KernelCall& call, const Plan& body,
                                                      const Binding& binding);

}  // namespace rondo
