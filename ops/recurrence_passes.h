// Passes on recurrences: work that need not be done step by step leaves the loop.
//
// `hoist`: what does not depend on the carried state is computed for all steps at once, before the
// loop: x_t W becomes one product over T*B rows. `sink`: sums over time of products (dW += x_t'
// dg_t), and outputs that are products with a shared matrix, become one product after the loop.
// `pair_loops`: what a gradient computes again for all steps, the loop gives as results.
// `recompute`, where memory matters more than time: a gradient runs its loop again, segment by
// segment, so that these are kept for one segment only.
// `absorb`: elementwise work for all steps that only the loop reads is done in its steps, where its
// operands are read anyway and its results stay in the cache.
// `unite`: two loops that carry the same states on are one with the results of both: that of the
// values and that of a gradient, where more is made of one than of the other.
// `prune`: operands and outputs that nothing uses go.
#pragma once

#include <rondo/graph/rewrite.h>

namespace rondo {

/// `log`: the ops that moved, by name, and how many of each.
Subgraph hoist(const Subgraph& s, RewriteLog* log = nullptr);
/// Only what is the same at each step.
Subgraph hoist_shared(const Subgraph& s);
Subgraph sink(const Subgraph& s, RewriteLog* log = nullptr);
Subgraph pair_loops(const Subgraph& s, RewriteLog* log = nullptr);
/// The log: of what op each loop is that a gradient runs again.
Subgraph recompute(const Subgraph& s, RewriteLog* log = nullptr);
Subgraph absorb(const Subgraph& s, RewriteLog* log = nullptr);
Subgraph unite(const Subgraph& s, RewriteLog* log = nullptr);
Subgraph prune_recurrences(const Subgraph& s);

}  // namespace rondo
