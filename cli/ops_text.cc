#include <algorithm>
#include <map>
#include <vector>

#include "ops_text.h"

namespace rondo::tool {
namespace {

// "0 ... 1", "TNS | NTS", "at least 0"; empty = any.
std::string accepted(const AttributeDef& d) {
  std::string s;
  for (const std::string& o : d.one_of) s += (s.empty() ? "" : " | ") + o;
  if (d.min && d.max) return cat(*d.min, " to ", *d.max);
  if (d.min) return cat("at least ", *d.min);
  if (d.max) return cat("at most ", *d.max);
  return s;
}

std::string default_of(const AttributeDef& d) {
  return d.required ? "required" : d.default_value.str();
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string gradient_of(const OpDef& op) {
  if (op.no_gradient) return "none: zero almost everywhere, or refused";
  return op.vjp ? "its own formula" : "through its lowering";
}

// Names of one thing in other systems: system -> name.
std::vector<std::pair<std::string, std::string>> elsewhere(const OpDef& op, std::string_view of) {
  std::vector<std::pair<std::string, std::string>> r;
  for (const Alias& a : op.aliases) {
    if (a.of == of) r.emplace_back(a.system, a.name);
  }
  return r;
}

// Operands, results and attributes that have other names, in the order of the definition.
std::vector<std::string> renamed(const OpDef& op) {
  std::vector<std::string> r;
  for (const Alias& a : op.aliases) {
    if (!a.of.empty() && std::find(r.begin(), r.end(), a.of) == r.end()) r.push_back(a.of);
  }
  return r;
}

std::string joined(const std::vector<std::pair<std::string, std::string>>& names,
                   std::string_view quote) {
  std::string s;
  for (const auto& [system, name] : names)
    s += cat(s.empty() ? "" : ", ", system, ' ', quote, name, quote);
  return s;
}

std::string indented(const std::string& text, std::string_view by) {
  std::string s(by);
  for (const char c : text) {
    s += c;
    if (c == '\n') s += by;
  }
  return s;
}

// A cell of a table: what would end it is escaped.
std::string cell(const std::string& text) {
  std::string s;
  for (const char c : text) {
    if (c == '|') s += '\\';
    s += c;
  }
  return s;
}

// The doc as Markdown: indented lines are formulas, kept as they are; stars and underscores are no
// emphasis.
std::string prose(const std::string& doc) {
  std::string s, line;
  bool in_code = false;
  const auto flush = [&] {
    const bool code = line.rfind("    ", 0) == 0;
    if (code != in_code) s += code ? "\n```\n" : "```\n\n";
    in_code = code;
    if (code) {
      s += line.substr(4);
    } else {
      for (const char c : line) {
        if (std::string_view("*_<>|").find(c) != std::string_view::npos) s += '\\';
        s += c;
      }
    }
    s += '\n';
    line.clear();
  };
  for (const char c : doc) {
    if (c == '\n') {
      flush();
    } else {
      line += c;
    }
  }
  if (!line.empty()) flush();
  if (in_code) s += "```\n";
  return s;
}

void add_section(const OpDef& op, std::string& s) {
  s += cat("## ", op.name, "\n\n```\n", op.name, ": ", op.sig, "\n```\n\n", prose(op.doc));
  if (!op.attributes.empty()) {
    s += "\n| attribute | type | default | accepted | meaning |\n|---|---|---|---|---|\n";
    for (const AttributeDef& d : op.attributes) {
      s += cat("| `", d.name, "` | ", d.default_value.type_name(), " | ",
               d.required ? "required" : "`" + cell(default_of(d)) + "`", " | ", cell(accepted(d)),
               " | ", cell(d.doc), " |\n");
    }
  }
  if (!op.formula.empty()) s += cat("\nFormula: `", op.formula, "`\n");
  s += cat("\nGradient: ", gradient_of(op), ".\n");
  if (op.aliases.empty()) return;
  s += "\n| here | elsewhere |\n|---|---|\n";
  if (const auto names = elsewhere(op, ""); !names.empty())
    s += cat("| `", op.name, "` | ", joined(names, "`"), " |\n");
  for (const std::string& name : renamed(op))
    s += cat("| `", name, "` | ", joined(elsewhere(op, name), "`"), " |\n");
}

}  // namespace

std::string list_ops(const OpRegistry& registry) {
  const auto ops = registry.all();
  size_t width = 0;
  for (const OpDef* op : ops) width = std::max(width, op->name.size());
  std::string s;
  for (const OpDef* op : ops)
    s += op->name + std::string(width + 2 - op->name.size(), ' ') + first_line(op->doc) + "\n";
  return s;
}

std::string describe_op(const OpDef& op) {
  std::string s = cat(op.name, ": ", op.sig, "\n\n", indented(op.doc, "  "), "\n");
  if (!op.attributes.empty()) s += "\nattributes\n";
  for (const AttributeDef& d : op.attributes) {
    const std::string range = accepted(d);
    s += cat("  ", d.name, ": ", d.default_value.type_name(),
             d.required ? ", required" : " = " + d.default_value.str(), "\n      ", d.doc,
             range.empty() ? "" : "; " + range, "\n");
  }
  if (!op.formula.empty()) s += "\nformula: " + op.formula + "\n";
  s += "\ngradient: " + gradient_of(op) + "\n";
  if (!op.aliases.empty()) s += "\nelsewhere\n";
  if (const auto names = elsewhere(op, ""); !names.empty())
    s += cat("  ", op.name, ": ", joined(names, ""), "\n");
  for (const std::string& name : renamed(op))
    s += cat("  ", name, ": ", joined(elsewhere(op, name), ""), "\n");
  return s;
}

std::string ops_markdown(const OpRegistry& registry) {
  const auto ops = registry.all();
  std::string s =
      "# Operations\n\n"
      "Made by `rondo ops --markdown` from the definitions in `ops/`; do not edit.\n\n"
      "In a signature `[...]` is any shape, a letter binds a dimension, `?` marks an optional "
      "operand\n"
      "and `!` one that gets no gradient; `:int` is i32 or i64, `:same` any type, the same for all "
      "that\n"
      "say so; no type is a float.\n\n";
  for (const OpDef* op : ops)
    s += cat(s.back() == '\n' ? "" : " ", "[", op->name, "](#", op->name, ")");
  s += "\n";
  for (const OpDef* op : ops) {
    s += "\n";
    add_section(*op, s);
  }
  return s;
}

}  // namespace rondo::tool
