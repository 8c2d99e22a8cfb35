// `roll`: a loop over time that a user unrolled in C++, as cell nodes or as primitives, becomes the
// `recurrence` that a layer would have been: hoisted, fused and run by the same kernels, and
// differentiated as one node.
//
// A loop is found by its carried value: a chain v_0, v_1, ..., v_T where the same computation leads
// from each to the next. The slices between them must be isomorphic: each operand is a value of the
// slice, of the slice before (a state), the same for all steps, or the t-th slice of one sequence.
// What every step does beside the chain, with its inputs or its results, becomes part of the body.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo {

/// What `roll` did, and what looked like a loop, or like work of one, but could not be rolled, a
/// sentence each.
struct RollLog {
  std::vector<std::string> rolled, left;
};

/// Loops of fewer steps stay as they are.
inline constexpr size_t kFewestRolledSteps = 4;

/// The subgraph with its unrolled loops as recurrences; none when it has none. Outputs from number
/// `whole` on are values by which the others are differentiated: they and the way through them
/// stay, and so does a loop that they need or that needs none of them. A function of the subgraph's
/// structure alone.
std::optional<Subgraph> roll(const Subgraph& s, RollLog* log = nullptr,
                             size_t whole = static_cast<size_t>(-1));

}  // namespace rondo
