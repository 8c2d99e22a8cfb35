// Runs a recurrence step by step from its body's own plan: the path for every cell that no kernel
// knows.
#pragma once

#include <memory>
#include <vector>

#include <rondo/runtime/plan.h>

namespace rondo {

inline constexpr const char* kRecurrenceSteps = "runtime.recurrence.steps";

/// Holds a recurrence's operands `in`, whose shapes are numbers now, to what its body takes and
/// gives under the binding. Error recurrence.operands.dim or recurrence.body.state.
void check_body(const Node& n, const std::vector<ValueType>& in, const Binding& binding);

/// `binding`: of the plan that holds the node; the body's own rows are bound when it runs.
std::unique_ptr<PreparedKernel> make_recurrence_steps(const KernelCall& call, const Plan& body,
                                                      const Binding& binding);

}  // namespace rondo
