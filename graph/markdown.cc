#include <rondo/graph/markdown.h>

#include <algorithm>

#include <rondo/graph/error.h>

namespace rondo::markdown {

std::string cell(std::string_view text) {
  std::string s;
  for (const char c : text) {
    if (c == '|') s += '\\';
    s += c;
  }
  return s;
}

std::string code(std::string_view text) { return text.empty() ? "" : "`" + cell(text) + "`"; }

std::string table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  std::vector<size_t> columns;
  for (size_t i = 0; i < head.size(); ++i) {
    const auto says = [&](const auto& row) { return !row[i].empty(); };
    if (std::any_of(rows.begin(), rows.end(), says)) columns.push_back(i);
  }
  std::string s = "\n|", line = "|";
  for (const size_t i : columns) {
    s += cat(' ', head[i], " |");
    line += "---|";
  }
  s += "\n" + line + "\n";
  for (const auto& row : rows) {
    s += "|";
    for (const size_t i : columns) s += cat(' ', row[i], row[i].empty() ? "|" : " |");
    s += "\n";
  }
  return s;
}

}  // namespace rondo::markdown
