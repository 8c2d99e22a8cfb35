// `fuse_elementwise`: elementwise ops that meet without leaving the shape become one node, `fused`,
// whose body is these ops. A backend runs it in one pass over memory, so that what stands between
// the ops never leaves the cache. `fuse_epilogue`: such a region that alone reads a product becomes
// one node with it, `fused_matmul`, so that the product too is still in the cache.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {

/// The subgraph with its elementwise regions as `fused` nodes, each of two ops or more. A region
/// has one shape, and numbers of one dtype beside booleans; what it reads may be broadcast to that
/// shape, and may be a slice or a part of a split along the last axis, which then is read where it
/// lies. `halves`: also bf16 and f16, where intermediate values then keep f32's precision.
Subgraph fuse_elementwise(const Subgraph& s, bool halves, RewriteLog* log = nullptr);

/// The subgraph with each product (`matmul` of f32 or f64) that one region of its shape, or one
/// elementwise op, alone reads as a `fused_matmul` with it. Of several products that a region reads
/// the one made last. The product's sums are what they are without it, and then go through the same
/// ops, so that no bit changes where the same kernel makes the product.
Subgraph fuse_epilogue(const Subgraph& s, RewriteLog* log = nullptr);

/// What a kernel's loops over axes that are not laid out alike can have.
inline constexpr size_t kMostRegionAxes = 6;
/// A floating-point number that a region holds itself, rather than reads.
bool is_inner_number(const Graph& g, Value v);

/// Whether the node's body is a region, which is run as a whole.
inline bool is_region(const Node& n) {
  return n.op->name == "fused" || n.op->name == "fused_matmul";
}

/// The results of a region whose inputs are `taken`. Errors: OP.body.missing, OP.operands.arity,
/// OP.operands.type.
std::vector<ValueType> infer_region(const InferContext& c, std::span<const ValueType> taken);

/// What a value of the body reads: `width` elements of each row of an operand, from `offset` on.
struct FusedView {
  size_t operand = 0;
  int64_t offset = 0, width = 0;  ///< width 0: whole rows
};
/// That of an input, or of a slice or split of one; none for other values.
std::optional<FusedView> fused_view(const Subgraph& body, Value v);

}  // namespace rondo
