// The one upcall of the library: builders on `Tensor` reach execution through this function, which
// `runtime` defines.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo {

/// Which numbers random ops draw now: those of this step of a run with this seed.
struct EagerKey {
  uint64_t seed = 0;
  int64_t step = 0;
};

/// Runs one op now, on the same kernels that a plan would use. Null tensors are absent operands;
/// results that were not asked for are null. Errors: those of the op, as in a graph.
std::vector<Tensor> eager_call(const OpDef& op, const std::vector<Tensor>& inputs,
                               const Attributes& attributes, CallOptions options,
                               EagerKey key = {});

}  // namespace rondo
