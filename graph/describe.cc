#include <rondo/graph/describe.h>

#include <algorithm>
#include <string_view>

#include <rondo/graph/markdown.h>

namespace rondo {
namespace {

// "0 to 1", "TNS | NTS", "at least 0"; empty = any.
std::string accepted(const AttributeDef& d) {
  std::string s;
  for (const std::string& o : d.one_of) s += (s.empty() ? "" : " | ") + o;
  const auto number = [](double v) { return AttributeValue(v).str(); };
  if (d.min && d.max) return cat(number(*d.min), " to ", number(*d.max));
  if (d.min) return cat("at least ", number(*d.min));
  if (d.max) return cat("at most ", number(*d.max));
  return s;
}

std::string default_of(const AttributeDef& d) {
  return d.required ? "required" : d.optional ? "none" : d.default_value.str();
}

std::string type_of(SlotType t) {
  constexpr std::string_view kNames[] = {
      "float", "i32 or i64", "i64", "bool", "any", "any, all alike", "numbers, all alike"};
  return std::string(kNames[static_cast<size_t>(t)]);
}

std::string shape_of(const Slot& s) {
  std::string r;
  for (const std::string& axis : s.text) r += (r.empty() ? "" : ",") + axis;
  return s.any_shape ? "[...]" : "[" + r + "]";
}

bool may_be_float(const Slot& s) {
  return s.type != SlotType::kInt && s.type != SlotType::kI64 && s.type != SlotType::kBool;
}

// Asking for the gradient of this operand is an Error. (Where an op has none at all, it is zero.)
bool refuses_gradient(const OpDef& op, const Slot& s) {
  return !op.no_gradient && !s.differentiable && may_be_float(s);
}

std::string note_of(const OpDef& op, const Slot& s) {
  std::string r;
  for (const auto& [holds, what] : {std::pair(s.variadic, "any number"),
                                    {s.optional, "optional"},
                                    {refuses_gradient(op, s), "gradient refused"}}) {
    if (holds) r += cat(r.empty() ? "" : ", ", what);
  }
  return r;
}

std::string gradient_of(const OpDef& op) {
  std::string to, refused;
  bool floats = false;
  for (const Slot& s : op.parsed.inputs) {
    floats = floats || may_be_float(s);
    if (!may_be_float(s)) continue;
    std::string& list = refuses_gradient(op, s) ? refused : to;
    list += cat(list.empty() ? "" : ", ", s.name);
  }
  if (!floats) return "none: there is no float operand";
  if (op.no_gradient) return "zero; none flows";
  return cat("of any order, to ", to, op.vjp ? "; a formula of its own" : "; from the equations",
             refused.empty() ? "" : "; refused to ", refused);
}

// Names of one thing in other systems: system -> name.
std::vector<std::pair<std::string, std::string>> elsewhere(const OpDef& op, std::string_view of) {
  std::vector<std::pair<std::string, std::string>> r;
  for (const Alias& a : op.aliases) {
    if (a.of == of) r.emplace_back(a.system, a.name);
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

// The slots of `own` whose shapes are others than those of `general`.
std::string changes(const Signature& general, const Signature& own) {
  std::string s;
  for (const auto slots : {&Signature::inputs, &Signature::outputs}) {
    for (size_t i = 0; i < (own.*slots).size(); ++i) {
      const Slot& slot = (own.*slots)[i];
      if (i >= (general.*slots).size() || slot.text != (general.*slots)[i].text)
        s += cat(s.empty() ? "" : ", ", slot.name, shape_of(slot));
    }
  }
  return s;
}

// The signature under other options: what differs from the general form, for each option that
// changes it.
std::vector<std::pair<std::string, std::string>> variants_of(const OpDef& op) {
  std::vector<std::pair<std::string, std::string>> r;
  if (!op.sig_of) return r;
  Attributes defaults;
  for (const AttributeDef& d : op.attributes) {
    const AttributeValue* shown =
        op.samples.empty() ? nullptr : op.samples[0].attributes.find(d.name);
    if (d.required && shown == nullptr) return r;
    if (!d.optional) defaults.set(d.name, d.required ? *shown : d.default_value);
  }
  for (const AttributeDef& d : op.attributes) {
    std::vector<AttributeValue> values(d.one_of.begin(), d.one_of.end());
    if (d.default_value.get<bool>() != nullptr) values = {false, true};
    std::vector<std::pair<std::string, std::string>> own;
    bool matters = false;
    for (const AttributeValue& v : values) {
      Attributes a = defaults;
      a.set(d.name, v);
      const std::string* text = v.get<std::string>();
      own.emplace_back(cat(d.name, " = ", text ? *text : v.str()),
                       changes(op.parsed, op.signature(a)));
      matters = matters || own.back().second != own.front().second;
    }
    for (auto& variant : own) {
      if (matters && !variant.second.empty()) r.push_back(std::move(variant));
    }
  }
  return r;
}

std::string indented(const std::string& text, std::string_view by) {
  std::string s;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\n' && (i == 0 || text[i - 1] == '\n')) s += by;
    s += text[i];
  }
  return s;
}

std::string slot_table(const OpDef& op, std::string_view what, const std::vector<Slot>& slots) {
  std::vector<std::vector<std::string>> rows;
  for (const Slot& s : slots) {
    rows.push_back({markdown::code(s.name), markdown::code(shape_of(s)), type_of(s.type),
                    note_of(op, s), joined(elsewhere(op, s.name), "`")});
  }
  return markdown::table({std::string(what), "shape", "type", "", "elsewhere"}, rows);
}

std::string attribute_table(const OpDef& op) {
  std::vector<std::vector<std::string>> rows;
  for (const AttributeDef& d : op.attributes) {
    rows.push_back({markdown::code(d.name), std::string(d.default_value.type_name()),
                    d.required || d.optional ? default_of(d) : markdown::code(default_of(d)),
                    markdown::cell(accepted(d)), markdown::cell(d.doc),
                    joined(elsewhere(op, d.name), "`")});
  }
  return markdown::table({"attribute", "type", "default", "accepted", "meaning", "elsewhere"},
                         rows);
}

// The doc as Markdown: indented lines are formulas, kept as they are; stars and underscores are no
// emphasis.
std::string prose(const std::string& doc) {
  std::string s, line;
  bool in_code = false;
  const auto flush = [&] {
    const bool code = line.rfind("    ", 0) == 0;
    if (in_code && line.empty()) return;  // a fence ends with an empty line anyway
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

}  // namespace

std::vector<std::pair<std::string, std::string>> rules_of(const OpDef& op) {
  std::vector<std::pair<std::string, std::string>> r;
  for (const RefusedCall& call : op.refuses) {
    const std::string code = cat(op.name, ".", call.rule);
    const auto same = [&](const auto& rule) { return rule.first == code; };
    if (const auto it = std::find_if(r.begin(), r.end(), same); it == r.end()) {
      r.emplace_back(code, call.means);
    } else if (it->second.find(call.means) == std::string::npos) {
      it->second += cat(", or ", call.means);
    }
  }
  return r;
}

std::string describe_op(const OpDef& op) {
  std::string s = cat(op.name, ": ", op.sig, "\n\n", indented(op.doc, "  "), "\n");
  if (!op.formula.empty()) s += "\nformula: " + op.formula + "\n";
  for (const auto& [title, slots] :
       {std::pair("operands", &op.parsed.inputs), {"results", &op.parsed.outputs}}) {
    if (!slots->empty()) s += cat("\n", title, "\n");
    for (const Slot& slot : *slots) {
      const std::string note = note_of(op, slot), names = joined(elsewhere(op, slot.name), "");
      s += cat("  ", slot.name, shape_of(slot), ": ", type_of(slot.type), note.empty() ? "" : "; ",
               note, names.empty() ? "" : "; ", names, "\n");
    }
  }
  if (const auto variants = variants_of(op); !variants.empty()) {
    s += "\nother shapes\n";
    for (const auto& [option, shapes] : variants) s += cat("  ", option, ": ", shapes, "\n");
  }
  if (!op.attributes.empty()) s += "\nattributes\n";
  for (const AttributeDef& d : op.attributes) {
    const std::string range = accepted(d), names = joined(elsewhere(op, d.name), "");
    s += cat("  ", d.name, ": ", d.default_value.type_name(), d.required ? ", " : " = ",
             default_of(d), "\n      ", d.doc, range.empty() ? "" : "; ", range,
             names.empty() ? "" : "; ", names, "\n");
  }
  s += "\ngradient: " + gradient_of(op) + "\n";
  for (const auto& [code, means] : rules_of(op)) s += cat("refuses: ", code, ": ", means, "\n");
  if (!op.source.empty()) s += "source: " + op.source + "\n";
  if (const auto names = elsewhere(op, ""); !names.empty())
    s += cat("elsewhere: ", joined(names, ""), "\n");
  if (!op.example.empty()) s += cat("\nexample\n", indented(op.example, "  "), "\n");
  if (!op.differs.empty()) s += "\nhow it differs\n";
  for (const Difference& d : op.differs) s += cat("  ", d.elsewhere, ": ", d.how, "\n");
  return s;
}

std::string op_markdown(const OpDef& op) {
  std::string s =
      cat("### ", op.name, "\n\n```\n", op.name, ": ", op.sig, "\n```\n\n", prose(op.doc));
  if (!op.formula.empty()) s += cat("\nFormula: `", op.formula, "`\n");
  s += slot_table(op, "operand", op.parsed.inputs);
  s += slot_table(op, "result", op.parsed.outputs);
  std::vector<std::vector<std::string>> variants;
  for (const auto& [option, shapes] : variants_of(op))
    variants.push_back({markdown::code(option), markdown::code(shapes)});
  s += markdown::table({"option", "other shapes"}, variants);
  s += attribute_table(op);
  s += cat("\nGradient: ", prose(gradient_of(op) + "."));
  if (!op.refuses.empty()) s += "\nRefuses, by rules of its own:\n";
  std::vector<std::vector<std::string>> refuses;
  for (const auto& [code, means] : rules_of(op))
    refuses.push_back({markdown::code(code), markdown::cell(means)});
  s += markdown::table({"code", "when"}, refuses);
  if (!op.source.empty()) s += cat("\nSource: ", prose(op.source + "."));
  if (const auto names = elsewhere(op, ""); !names.empty())
    s += cat("\nElsewhere: ", joined(names, "`"), ".\n");
  if (!op.example.empty()) s += cat("\n```cpp\n", op.example, "\n```\n");
  if (!op.differs.empty()) s += "\nHow it differs:\n\n";
  for (const Difference& d : op.differs)
    s += cat("- **", prose(d.elsewhere).substr(0, prose(d.elsewhere).size() - 1),
             "**: ", prose(d.how + "."));
  return s;
}

}  // namespace rondo
