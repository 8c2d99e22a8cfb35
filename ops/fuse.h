// `fuse_elementwise`: elementwise ops that meet without leaving the shape become one node, `fused`,
// whose body is these ops. A backend runs it in one pass over memory, so that what stands between
// the ops never leaves the cache.
#pragma once

#include <optional>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {

/// The subgraph with its elementwise regions as `fused` nodes, each of two ops or more. A region
/// has one shape, and numbers of one dtype beside booleans; what it reads may be broadcast to that
/// shape, and may be a slice or a part of a split along the last axis, which then is read where it
/// lies. `halves`: also bf16 and f16, where intermediate values then keep f32's precision.
Subgraph fuse_elementwise(const Subgraph& s, bool halves, RewriteLog* log = nullptr);

/// What a value of the body reads: `width` elements of each row of an operand, from `offset` on.
struct FusedView {
  size_t operand = 0;
  int64_t offset = 0, width = 0;  ///< width 0: whole rows
};
/// That of an input, or of a slice or split of one; none for other values.
std::optional<FusedView> fused_view(const Subgraph& body, Value v);

}  // namespace rondo
