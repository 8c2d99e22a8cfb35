// What the registry says of its ops, for people: on a terminal and as the page docs/ops.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo::tool {

/// One line for each op, by family: its name and what it does.
std::string list_ops(const OpRegistry& registry);
/// All of an op: signature, meaning, operands, attributes, source, example, how it differs
/// elsewhere.
std::string describe_op(const OpDef& op);
/// The rules that an op states by itself, each once: its code, and when it is broken.
std::vector<std::pair<std::string, std::string>> rules_of(const OpDef& op);
/// The reference page of all ops. Equal registries give equal text.
std::string ops_markdown(const OpRegistry& registry);

}  // namespace rondo::tool
