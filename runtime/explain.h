// What became of a graph and why, for people: which loops were rolled, which layers lowered, what
// left the loops, which kernel runs each step and what stood against the others.
#pragma once

#include <string>

#include <rondo/runtime/plan.h>

namespace rondo {

/// A line for each pass that did something, then one for each step: op, kernel, result types, and
/// why this kernel where there is a choice. A recurrence is followed by what it is: states, inputs,
/// the ops of one step, and a number that two recurrences share when their steps are the same ops
/// in the same order on operands of the same role.
/// Behind it, in brackets, stand the scopes of the variables that it reads and the names of what it
/// gives. A kernel that was asked for (CompileOptions::kernel) and runs nothing is told of first.
std::string explain(const BoundPlan& plan);

/// The same for what runs under these sizes. Where there is a memory budget, first how many bytes a
/// run takes, and whether gradients compute again what they need because of it; also where neither
/// fits, so that a run is refused.
std::string explain(const Plan& plan, const Binding& sizes);

}  // namespace rondo
