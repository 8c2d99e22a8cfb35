// A graph for people: as text, one line a node, and as a drawing. Both are deterministic, so that
// tests can hold a pass to its words (golden before and after), and `rondo inspect` prints them.
#pragma once

#include <string>

#include <rondo/graph/graph.h>

namespace rondo {

/// One line for each node, bodies indented beneath theirs:
///
///   %7 "encoder" = lstm_layer(x=%0, input_weights=%3) {data_format="TNS"} -> f32[T,B,64], none
///
/// Operands carry the names of the signature where there are more than two, or optional ones.
/// Attributes that have their default are left out; what was not asked for is `none`; text is
/// escaped, so that a line stays a line.
std::string to_text(const Graph& g);
/// The same between a first line that names the inputs and a last line that names the outputs.
std::string to_text(const Subgraph& s);

/// A drawing for Graphviz (`dot -Tsvg`): placeholders, variables, constants and ops by shape and
/// colour, edges labelled with their types, bodies as boxes that their node points at.
std::string to_dot(const Graph& g);

}  // namespace rondo
