// What the examples of the op definitions state is checked here; rondo ops --examples writes the
// calls.
#pragma once

#include <string_view>

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo::test {

/// `claim` is the shape, "[2,3]", or the values, "{1, 2}", of t.
void check_example(const Tensor& t, std::string_view claim);
/// The same of a value of a graph, whose shape may hold symbols. It is run, on numbers for the
/// graph's placeholders, and must come out finite and in that shape.
void check_example(const Var& v, std::string_view claim);

}  // namespace rondo::test
