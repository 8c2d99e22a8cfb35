// Reverse-mode differentiation, graph to graph: a gradient is made of ordinary nodes, so it can be
// differentiated again.
//
// Each op says how it differentiates (OpDef::vjp), or is differentiated through its lowering, which
// is built on the fly; when the graph is compiled, common subexpressions make that lowering one
// with the forward's own.
#pragma once

#include <rondo/graph/graph.h>

namespace rondo {

/// d loss / d w for each w of `wrt`, in w's shape and dtype; zeros where the loss does not depend
/// on w. `loss` is a float scalar. Errors: a path through an operand that refuses gradients, by
/// name; a w in or behind an unrolled loop that an earlier gradient, on which `loss` depends, took
/// as a whole (gradients.wrt.rolled). Source: reverse accumulation, Linnainmaa (1970).
Vars gradients(const Var& loss, const Vars& wrt, Site at = Site::here());

/// sum over k of cotangents[k] . d outputs[k] / d w, for each w of `wrt`; a null Var where nothing
/// flows. A null cotangent is zero. Shapes: cotangents[k] as outputs[k].
Vars vjp(const Vars& outputs, const Vars& cotangents, const Vars& wrt, Site at = Site::here());

}  // namespace rondo
