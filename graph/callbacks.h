// What an op's definition says is held to what it is: its signature when it is registered, its
// functions (lower, vjp, infer, ...) when they are called. A mistake there is the definition's, so
// the Error names op and function. Internal to graph/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo {

/// "; did you mean 'x'?" for the name closest to one that there is not, or nothing.
std::string closest(std::string_view name, const std::vector<std::string>& names);

/// The same for names of parts, cpu.recurrence.engine: where none is spelled alike, up to four that
/// share the rarest of its parts.
std::string closest_parts(std::string_view name, const std::vector<std::string>& names);

/// Parses the signature and checks all that names something of it. Errors: `OP.signature.*`,
/// `OP.states.name`, `OP.aliases.name`.
void check_definition(OpDef& def);

}  // namespace rondo
