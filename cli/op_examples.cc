#include <sstream>

#include "op_examples.h"

namespace rondo::tool {

std::vector<Statement> statements_of(std::string_view line) {
  std::vector<Statement> r;
  const size_t comment = line.rfind("// ");
  if (comment == std::string_view::npos) return r;
  std::string_view rest = line.substr(comment + 3);
  while (!rest.empty()) {
    const size_t end = rest.find("; ");
    const std::string_view one = rest.substr(0, end);
    const size_t colon = one.find(": ");
    if (colon == std::string_view::npos) return {};
    const std::string_view claim = one.substr(colon + 2);
    const bool whole = (claim.starts_with('[') && claim.ends_with(']')) ||
                       (claim.starts_with('{') && claim.ends_with('}'));
    if (!whole) return {};
    r.push_back({std::string(one.substr(0, colon)), std::string(claim)});
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 2);
  }
  return r;
}

std::string op_examples(const OpRegistry& registry) {
  std::string s =
      "// Made by `rondo ops --examples` from the op definitions; do not edit.\n"
      "#include <catch2/catch_test_macros.hpp>\n\n"
      "#include \"op_example.h\"\n\n"
      "#include <rondo/rondo.h>\n\n"
      "using namespace rondo;\n";
  for (const OpDef* op : registry.all()) {
    if (op->example.empty()) continue;
    s += cat("\nTEST_CASE(\"op_example: ", op->name, "\", \"[docs]\") {\n");
    std::istringstream lines(op->example);
    for (std::string line; std::getline(lines, line);) {
      s += cat(line.empty() ? "" : "  ", line, "\n");
      for (const Statement& t : statements_of(line))
        s += cat("  test::check_example(", t.expression, ", \"", t.claim, "\");\n");
    }
    s += "}\n";
  }
  return s;
}

}  // namespace rondo::tool
