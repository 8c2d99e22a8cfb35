// The verifier: what a graph promises, checked. Graphs are whole by construction; passes, loaders
// and kernels still make mistakes, and this names the first one by rule instead of letting it
// become a wrong number.
//
// Rules (error codes `graph.verify.<rule>`, fault internal): id, op, operand, slot, attributes,
// type, name, input, output, leaf, depth.
#pragma once

#include <rondo/graph/graph.h>

namespace rondo {

/// Checks every node: its operands exist, come before it and are present, its attributes are
/// complete, its results have the types that inference gives, every name belongs to a value, and
/// bodies hold the same promises. Throws an internal Error with code `graph.verify.<rule>`. Linear
/// in the number of nodes.
void verify(const Graph& g);

/// As above, and: inputs are distinct placeholders (outside of bodies also variables) of the graph,
/// outputs are there, and every placeholder that the outputs need is an input.
void verify(const Subgraph& s);

}  // namespace rondo
