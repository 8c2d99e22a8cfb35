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
std::string explain(const BoundPlan& plan);

}  // namespace rondo
