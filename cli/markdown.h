// Pieces of the generated pages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rondo::tool {

/// A cell of a table: what would end it is escaped.
std::string table_cell(std::string_view text);
/// The same, as code; nothing for nothing.
std::string code_span(std::string_view text);
/// A table; columns that say nothing are left out.
std::string markdown_table(const std::vector<std::string>& head,
                           const std::vector<std::vector<std::string>>& rows);

}  // namespace rondo::tool
