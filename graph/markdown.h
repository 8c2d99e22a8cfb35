// Pieces of the pages that are made of definitions: docs/ops.md, docs/errors.md, a program's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rondo::markdown {

/// A cell of a table: what would end it is escaped.
std::string cell(std::string_view text);
/// The same, as code; nothing for nothing.
std::string code(std::string_view text);
/// A table; columns that say nothing are left out.
std::string table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows);

}  // namespace rondo::markdown
