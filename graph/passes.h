// Passes that need to know nothing of any op: what is not reached goes, what is computed twice is
// computed once. Both work in bodies too, keep names of what survives, and are linear in the number
// of nodes.
#pragma once

#include <cstddef>

#include <rondo/graph/graph.h>

namespace rondo {

/// Only the nodes that the outputs need, and the inputs.
Subgraph dead_code(const Subgraph& s);

/// One node for all that have equal op, attributes, operands and body. Opaque ops are kept apart
/// (leaves are themselves, not what they look like), but a random op says by its attribute `stream`
/// which numbers it draws: equal streams are equal numbers. Names of all merged values lead to the
/// one that is left.
Subgraph common_subexpressions(const Subgraph& s);

/// Whether two subgraphs compute the same in the same order: ops, attributes, operands and bodies
/// of their live nodes are equal, placeholders by their position among the inputs. Names and sites
/// do not count.
bool same_structure(const Subgraph& a, const Subgraph& b);

/// Equal for subgraphs of the same structure; deterministic within a build.
size_t structure_hash(const Subgraph& s);

}  // namespace rondo
