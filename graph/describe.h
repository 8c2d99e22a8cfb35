// What an op's definition says, for people: on a terminal and as a section of a page. `rondo ops`
// and docs/ops.md are made of it, and a program has it for the ops that it registers itself.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo {

/// All of an op as text for a terminal: signature, meaning, operands, attributes, gradient, source,
/// example, how it differs elsewhere.
std::string describe_op(const OpDef& op);
/// The same as Markdown: a section that begins with "### " and the name.
std::string op_markdown(const OpDef& op);
/// The rules that an op states by itself, each once: its code, and when it is broken.
std::vector<std::pair<std::string, std::string>> rules_of(const OpDef& op);

}  // namespace rondo
