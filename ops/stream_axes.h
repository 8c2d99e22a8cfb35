// Where an axis goes through a node, if the node acts on each index of it by itself. A row for each
// op that can; an op that has none takes whatever it reads together. Internal to ops/.
#pragma once

#include <cstddef>
#include <optional>

#include <rondo/graph/graph.h>

namespace rondo {

/// The axis of the node's results in which index i depends on index i of `axis` of that operand and
/// no other; none: the node takes several together. Not for reshape, which may merge axes.
std::optional<size_t> axis_through(const Graph& g, const Node& n, size_t operand, size_t axis);

}  // namespace rondo
