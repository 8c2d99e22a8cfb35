// Runs a recurrence step by step from its body's own plan: the path for every cell that no kernel
// knows.
#pragma once

#include <memory>

#include <rondo/runtime/plan.h>

namespace rondo {

inline constexpr const char* kRecurrenceSteps = "runtime.recurrence.steps";

/// `binding`: of the plan that holds the node; the body's own rows are bound when it runs.
std::unique_ptr<PreparedKernel> make_recurrence_steps(const KernelCall& call, const Plan& body,
                                                      const Binding& binding);

}  // namespace rondo
