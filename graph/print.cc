#include <rondo/graph/print.h>

#include <algorithm>
#include <map>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {
namespace {

// What is printed of a graph beside its nodes.
class Labels {
 public:
  explicit Labels(const Graph& g) : g_(g) {
    for (const auto& [name, v] : g.names()) names_[v].push_back(name);
  }

  /// "%7", or "%7.1" where a node has several results; "none" for null.
  std::string value(Value v) const {
    if (!v) return "none";
    const bool several = v.node < g_.size() && g_.node(v.node).outputs.size() > 1;
    return several ? cat('%', v.node, '.', v.slot) : cat('%', v.node);
  }
  std::string values(const std::vector<Value>& list) const {
    std::string s;
    for (const Value v : list) s += (s.empty() ? "" : ", ") + value(v);
    return s;
  }
  /// Names of one result, without the node's own.
  std::vector<std::string> others(const Node& n, size_t slot) const {
    const auto it = names_.find({n.id, static_cast<int32_t>(slot)});
    std::vector<std::string> r = it == names_.end() ? std::vector<std::string>{} : it->second;
    r.erase(std::remove(r.begin(), r.end(), n.name), r.end());
    return r;
  }
  /// Names that stand for the node: its own, and all of an only result.
  std::vector<std::string> of_node(const Node& n) const {
    std::vector<std::string> r = n.outputs.size() == 1 ? others(n, 0) : std::vector<std::string>{};
    if (!n.name.empty()) r.insert(r.begin(), n.name);
    return r;
  }

 private:
  const Graph& g_;
  std::map<Value, std::vector<std::string>> names_;
};

bool labels_operands(const Node& n) {
  const std::vector<Slot>& slots = n.op->parsed.inputs;
  const bool variadic = !slots.empty() && slots.back().variadic;
  return !variadic && (slots.size() > 2 || std::any_of(slots.begin(), slots.end(),
                                                       [](const Slot& s) { return s.optional; }));
}

std::string operands(const Node& n, const Labels& labels) {
  if (!labels_operands(n)) return labels.values(n.inputs);
  std::string s;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.inputs[i])
      s += cat(s.empty() ? "" : ", ", n.op->parsed.slot_of(i).name, '=', labels.value(n.inputs[i]));
  }
  return s;
}

// The attributes that say something: others than defaults, and not what the type says already.
std::vector<std::pair<std::string, std::string>> telling_attributes(const Node& n) {
  std::vector<std::pair<std::string, std::string>> r;
  if (n.op == &placeholder_op()) return r;
  for (const auto& [name, value] : n.attributes.items()) {
    const auto& defs = n.op->attributes;
    const auto def = std::find_if(defs.begin(), defs.end(),
                                  [&name = name](const AttributeDef& d) { return d.name == name; });
    if (def == defs.end() || def->required || def->optional || !(def->default_value == value))
      r.emplace_back(name, value.str());
  }
  return r;
}

class TextPrinter {
 public:
  std::string text;

  void graph(const Graph& g, int depth) {
    const Labels labels(g);
    for (int32_t i = 0; i < g.size(); ++i) node(g.node(i), labels, depth);
  }
  void subgraph(const Subgraph& s, std::string_view what, int depth) {
    check_body_depth(depth / 2);
    const Labels labels(s.graph);
    line(depth, cat(what, '(', labels.values(s.inputs), ')'));
    graph(s.graph, depth + 1);
    line(depth + 1, cat("return ", labels.values(s.outputs)));
  }

 private:
  void line(int depth, std::string_view s) {
    text.append(static_cast<size_t>(depth) * 2, ' ').append(s).append("\n");
  }
  void node(const Node& n, const Labels& labels, int depth) {
    std::string s = cat('%', n.id);
    for (const std::string& name : labels.of_node(n)) s += " " + quoted(name);
    s += " = " + n.op->name;
    if (!n.inputs.empty()) s += "(" + operands(n, labels) + ")";
    std::string attributes;
    for (const auto& [name, value] : telling_attributes(n))
      attributes += cat(attributes.empty() ? "" : ", ", name, '=', value);
    if (!attributes.empty()) s += " {" + attributes + "}";
    s += " ->";
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      s += (i == 0 ? " " : ", ") + n.outputs[i].str();
      if (n.outputs.size() == 1) continue;
      for (const std::string& name : labels.others(n, i)) s += " " + quoted(name);
    }
    line(depth, s);
    if (n.body != nullptr) subgraph(*n.body, "body", depth + 1);
  }
};

// Length of the character of UTF-8 at the front of `text`; 0 when it is none.
size_t utf8_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t n = first < 0x80                    ? 1
                   : first >= 0xc2 && first < 0xe0 ? 2
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xf0 && first < 0xf5 ? 4
                                                   : 0;
  if (n > text.size()) return 0;
  for (size_t i = 1; i < n; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return n;
}

// Text within an HTML-like label of Graphviz, whose XML parser takes neither control bytes nor
// broken UTF-8.
std::string html(std::string_view text) {
  static const std::map<char, std::string_view> kEntities{
      {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}};
  std::string s;
  while (!text.empty()) {
    const auto entity = kEntities.find(text[0]);
    const size_t n = utf8_length(text);
    if (entity != kEntities.end()) {
      s += entity->second;
    } else if (n == 0 || static_cast<unsigned char>(text[0]) < 0x20 || text[0] == 0x7f) {
      s += n == 0 ? '?' : ' ';
    } else {
      s += text.substr(0, n);
    }
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return s;
}

// How each kind of node looks.
struct Look {
  std::string_view shape, style, fill, line;
};
constexpr Look kPlaceholder{"box", "filled,rounded", "#dbeafe", "#3b82f6"};
constexpr Look kVariable{"cylinder", "filled", "#fef3c7", "#d97706"};
constexpr Look kFrozen{"cylinder", "filled,dashed", "#fffbeb", "#d97706"};
constexpr Look kConstant{"box", "filled", "#f3f4f6", "#9ca3af"};
constexpr Look kOp{"box", "filled,rounded", "#ffffff", "#374151"};
constexpr Look kWithBody{"box", "filled,rounded,bold", "#ede9fe", "#7c3aed"};

const Look& look_of(const Node& n) {
  if (n.op == &placeholder_op()) return kPlaceholder;
  if (n.op == &variable_op()) return n.attributes.flag("trainable") ? kVariable : kFrozen;
  if (n.op == &constant_op()) return kConstant;
  return n.body != nullptr ? kWithBody : kOp;
}

class DotPrinter {
 public:
  std::string text;

  void whole(const Graph& g) {
    text =
        "digraph rondo {\n"
        "  compound=true; nodesep=0.3; ranksep=0.45; bgcolor=\"white\"; fontname=\"Helvetica\";\n"
        "  node [fontname=\"Helvetica\", fontsize=11, margin=\"0.14,0.07\", penwidth=1.2];\n"
        "  edge [fontname=\"Helvetica\", fontsize=9, fontcolor=\"#6b7280\", color=\"#9ca3af\", "
        "arrowsize=0.7];\n";
    graph(g, {}, "n", 1);
    text += "}\n";
  }

 private:
  void line(int depth, std::string_view s) {
    text.append(static_cast<size_t>(depth) * 2, ' ').append(s).append("\n");
  }

  // `path` makes identifiers unique: "n7", and "n7_2" for node 2 of its body.
  void graph(const Graph& g, const std::vector<Value>& inputs, const std::string& path, int depth) {
    const Labels labels(g);
    std::map<int32_t, std::string> titles;
    for (size_t i = 0; i < inputs.size(); ++i) titles[inputs[i].node] = cat("in ", i);
    for (int32_t i = 0; i < g.size(); ++i) node(g.node(i), titles[i], labels, path, depth);
    for (int32_t i = 0; i < g.size(); ++i) edges(g, g.node(i), path, depth);
  }

  void node(const Node& n, const std::string& title, const Labels& labels, const std::string& path,
            int depth) {
    const Look& look = look_of(n);
    line(depth,
         cat(path, n.id, " [shape=", look.shape, ", style=\"", look.style, "\", fillcolor=\"",
             look.fill, "\", color=\"", look.line, "\", label=<", label(n, title, labels), ">];"));
    if (n.body != nullptr) body(*n.body, n, path, depth);
  }

  // What stands in bold; "" = the op.
  static std::string title_of(const Node& n, const std::string& names) {
    if (n.op == &constant_op()) {
      const Tensor& t = n.attributes.tensor("value");
      if (t.size() == 1) return AttributeValue(t.at(0)).str();
    }
    return n.inputs.empty() ? names : "";
  }

  static std::string label(const Node& n, std::string title, const Labels& labels) {
    std::string names;
    for (const std::string& name : labels.of_node(n)) names += (names.empty() ? "" : ", ") + name;
    if (title.empty()) title = title_of(n, names);
    std::string s = "<B>" + html(title.empty() ? n.op->name : title) + "</B>";
    if (!names.empty() && title != names) s += cat("<BR/><I>", html(names), "</I>");
    const auto add = [&](std::string_view t) {
      s += cat("<BR/><FONT POINT-SIZE=\"9\" COLOR=\"#6b7280\">", html(t), "</FONT>");
    };
    const bool leaf = n.op == &variable_op() || n.op == &constant_op();  // colour and type say it
    for (const auto& [name, value] : telling_attributes(n)) {
      if (!leaf) add(name + " = " + shortened(value));
    }
    if (n.inputs.empty() && !n.outputs.empty()) add(n.outputs[0].str());
    return s;
  }

  static std::string shortened(const std::string& s) {
    constexpr size_t kMost = 40;
    if (s.size() <= kMost) return s;
    size_t end = kMost - 3;
    while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xc0) == 0x80)
      --end;  // not within a character of UTF-8
    return s.substr(0, end) + "...";
  }

  void body(const Subgraph& s, const Node& n, const std::string& path, int depth) {
    check_body_depth(depth);
    const std::string inner = cat(path, n.id, '_');
    line(depth, cat("subgraph cluster_", path, n.id, " {"));
    line(depth + 1,
         cat("label=<body of <B>", html(n.name.empty() ? cat(n.op->name, " %", n.id) : n.name),
             "</B>>; style=\"rounded,filled\"; fillcolor=\"#faf5ff\"; color=\"#c4b5fd\"; "
             "fontsize=10; fontcolor=\"#6d28d9\";"));
    graph(s.graph, s.inputs, inner, depth + 1);
    for (size_t i = 0; i < s.outputs.size(); ++i) {
      if (!s.outputs[i]) continue;
      line(depth + 1, cat(inner, "out", i,
                          " [shape=box, style=\"filled,rounded\", fillcolor=\"#dcfce7\", "
                          "color=\"#16a34a\", label=<<B>out ",
                          i, "</B>>];"));
      line(depth + 1, cat(inner, s.outputs[i].node, " -> ", inner, "out", i,
                          " [label=", quoted(s.graph.type(s.outputs[i]).str()), "];"));
    }
    line(depth, "}");
    if (s.graph.size() > 0) {
      line(depth, cat(path, n.id, " -> ", inner, "0 [lhead=cluster_", path, n.id,
                      ", style=dashed, color=\"#7c3aed\", arrowhead=none];"));
    }
  }

  void edges(const Graph& g, const Node& n, const std::string& path, int depth) {
    const bool labelled = labels_operands(n);
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Value v = n.inputs[i];
      if (!v) continue;
      const std::string slot = labelled ? n.op->parsed.slot_of(i).name + ": " : "";
      line(depth,
           cat(path, v.node, " -> ", path, n.id, " [label=", quoted(slot + g.type(v).str()), "];"));
    }
  }
};

}  // namespace

std::string to_text(const Graph& g) {
  TextPrinter p;
  p.graph(g, 0);
  return p.text;
}

std::string to_text(const Subgraph& s) {
  TextPrinter p;
  p.subgraph(s, "graph", 0);
  return p.text;
}

std::string to_dot(const Graph& g) {
  DotPrinter p;
  p.whole(g);
  return p.text;
}

}  // namespace rondo
