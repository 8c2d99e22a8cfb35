// The examples of the op definitions as a program of tests: what the reference shows is compiled
// and run by the suite.
//
// In an example, a comment `// y: [T,B,4]` states the shape of the expression y, and
// `// y: {1, 2}` its values; several stand apart by "; ". Each becomes a check behind its line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo::tool {

/// What a comment says of an expression: its shape "[T,B,4]", or its values "{1, 2}".
struct Statement {
  std::string expression, claim;
};
/// The statements in a line's comment; none when it is another comment.
std::vector<Statement> statements_of(std::string_view line);

/// A C++ file with a test case `op_example: NAME` for each op that has an example.
std::string op_examples(const OpRegistry& registry);

}  // namespace rondo::tool
