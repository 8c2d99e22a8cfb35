// Lists of all ops of a registry: for a terminal and as the page docs/ops.md. What is said of one
// comes from graph/describe.h.
#pragma once

#include <string>

#include <rondo/graph/op.h>

namespace rondo::tool {

/// One line for each op, by family: its name and what it does.
std::string list_ops(const OpRegistry& registry);
/// The reference page of all ops. Equal registries give equal text.
std::string ops_markdown(const OpRegistry& registry);

}  // namespace rondo::tool
