// The codes of errors for people: on a terminal and as the page docs/errors.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo::tool {

/// One line for each code: the table's, then those of ops.
std::string list_errors(const OpRegistry& registry);
/// All of these codes; those of the table may hold segments that stand for anything.
std::vector<std::string> codes_of_errors(const OpRegistry& registry);
/// What `code` means and what to do; empty when no row fits it.
std::string explain_error(const OpRegistry& registry, std::string_view code);
/// The reference page. Equal registries give equal text.
std::string errors_markdown(const OpRegistry& registry);

}  // namespace rondo::tool
