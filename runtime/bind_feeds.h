// Values of symbols from the tensors that are fed: each placeholder's shape is an equation.
#pragma once

#include <span>

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo {

/// Checks that each tensor fits its placeholder and solves for the symbols. Errors name the
/// placeholder, what it got and which placeholder fixed a symbol before.
Binding bind_feeds(const Vars& placeholders, std::span<const Tensor> tensors);

}  // namespace rondo
