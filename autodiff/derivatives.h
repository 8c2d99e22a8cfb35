// What is made of reverse-mode gradients beside gradients: derivatives along a direction, products
// with second derivatives, whole Jacobians. All are ordinary nodes, differentiable again, and right
// for every op that has a gradient, recurrences among them.
#pragma once

#include <rondo/graph/graph.h>

namespace rondo {

/// sum over i of d outputs[k] / d wrt[i] . tangents[i] for each output, in its shape and dtype; a
/// null Var where nothing flows (integers among them). A null tangent is zero. Shapes: tangents[i]
/// as wrt[i]. It is the gradient of the gradient by its cotangents, in which that is linear: about
/// twice the work of a vjp. Errors: as gradients. Source: Townsend (2017).
Vars jvp(const Vars& outputs, const Vars& wrt, const Vars& tangents, Site at = Site::here());

/// sum over j of d^2 loss / (d wrt[i] d wrt[j]) . directions[j], in wrt[i]'s shape; zeros where
/// there is none. A null direction is zero. Source: Pearlmutter (1994), as the gradient of
/// gradients.
Vars hvp(const Var& loss, const Vars& wrt, const Vars& directions, Site at = Site::here());

/// Elements of y that jacobian() takes at most.
inline constexpr int64_t kLargestJacobian = 1024;

/// d y / d w for each w of `wrt`, of shape y's dimensions followed by w's. One backward pass is
/// derived and then copied for each element of y, so y's dimensions are numbers, with at most
/// kLargestJacobian elements in all; w's may hold symbols. Errors: `jacobian.y.symbolic`,
/// `jacobian.y.size`, `jacobian.y.dtype`, and those of gradients.
Vars jacobian(const Var& y, const Vars& wrt, Site at = Site::here());

}  // namespace rondo
