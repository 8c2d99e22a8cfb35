// Runs a `segments` node: its body's own plan, for one segment of time after the other.
#pragma once

#include <memory>

#include <rondo/runtime/plan.h>

namespace rondo {

inline constexpr const char* kSegments = "runtime.segments";

/// The binding of the body for all segments but the last.
Binding binding_of_segment(const KernelCall& call, Binding binding);

/// `binding`: of the plan that holds the node. Error segments.operands.type: operands that the body
/// does not take under it.
std::unique_ptr<PreparedKernel> make_segments(const KernelCall& call, const Plan& body,
                                              const Binding& binding);

}  // namespace rondo
