#include <rondo/runtime/explain.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <functional>
#include <map>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/fuse.h>
#include <rondo/ops/recurrence.h>

namespace rondo {
namespace {

std::string padded(std::string s, size_t width) {
  if (s.size() < width) s.resize(width, ' ');
  return s;
}

std::string results(const std::vector<TensorType>& types) {
  std::string s;
  for (const TensorType& t : types) {
    if (t.present) s += cat(s.empty() ? "" : ", ", t.dtype, to_string(t.dims));
  }
  return s;
}

// A text of what a body computes, whatever the order in which its nodes were made, its operands are
// given, or its sums: values are named as they are met from the outputs on.
class BodyText {
 public:
  explicit BodyText(const Node& recurrence) : body_(*recurrence.body), layout_(recurrence) {}

  std::string text() {
    std::string text;
    const auto& outputs = body_.outputs;
    const auto first_sum =
        outputs.begin() + static_cast<std::ptrdiff_t>(layout_.states + layout_.ys);
    std::for_each(outputs.begin(), first_sum, [&](Value v) { text += result(v); });
    std::multiset<std::string> sums;
    const std::map<int32_t, size_t> met = met_;
    std::for_each(first_sum, outputs.end(), [&](Value v) {
      met_ = met;
      sums.insert(result(v));
    });
    for (const std::string& s : sums) text += s;
    return text;
  }

 private:
  std::string result(Value v) {
    if (!v) return "-> none\n";
    std::string text;
    meet(v.node, text);
    return text + cat("-> ", met_.at(v.node), ".", v.slot, "\n");
  }

  void meet(int32_t id, std::string& text) {
    if (met_.count(id) != 0) return;
    const Node& n = body_.graph.node(id);
    for (const Value v : n.inputs) {
      if (v) meet(v.node, text);
    }
    text += n.op->name;
    const auto input = std::find(body_.inputs.begin(), body_.inputs.end(), Value{id, 0});
    if (const auto at = static_cast<size_t>(input - body_.inputs.begin());
        at < layout_.body_inputs())
      text += at < layout_.states            ? cat(" state ", at)
              : at < layout_.first_per_row() ? " x"
              : at < layout_.first_shared()  ? " row"
                                             : " shared";
    for (const auto& [name, value] : n.attributes.items()) {
      text += cat(" ", name, "=", value.str());
      const auto* t = value.get<Tensor>();  // long ones are printed without their elements
      if (t != nullptr && *t) text.append(reinterpret_cast<const char*>(t->raw()), t->bytes());
    }
    for (const Value v : n.inputs) text += v ? cat(" ", met_.at(v.node), ".", v.slot) : " -";
    for (const ValueType& t : n.outputs) text += cat(" ", t.str());
    const size_t number = met_.size();
    met_[id] = number;
    if (n.body) text += cat(" ", BodyText(n).text());
    text += "\n";
  }

  const Subgraph& body_;
  RecurrenceLayout layout_;
  std::map<int32_t, size_t> met_;  // by node
};

uint64_t fingerprint(const Node& recurrence) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : BodyText(recurrence).text())
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string counted(size_t n, std::string_view what) {
  return cat(n, " ", what, n == 1 ? "" : "s");
}

// " add x3 matmul tanh", in alphabetical order.
std::string ops_of(const Subgraph& body) {
  std::map<std::string, int> ops;
  for (const int32_t id : live_nodes(body)) {
    const Node& n = body.graph.node(id);
    if (!n.inputs.empty()) ++ops[n.op->name];
  }
  std::string s;
  for (const auto& [name, count] : ops)
    s += count == 1 ? cat(" ", name) : cat(" ", name, " x", count);
  return s;
}

// "2 states, 1 input, 2 shared; from lstm_layer", and the step as a list of ops and a number.
std::string describe_recurrence(const Node& n, const std::string& indent) {
  const RecurrenceLayout l(n);
  const std::string& origin = n.attributes.text("origin");
  std::string s =
      cat(indent, counted(l.states, "state"), ", ", counted(l.xs, "input"), ", ",
          counted(l.ys, "output"), " over time", n.attributes.flag("reverse") ? ", backwards" : "",
          origin.empty()     ? ""
          : origin[0] == '.' ? "; a gradient"
                             : cat("; from ", origin),
          "\n");
  char number[20];
  std::snprintf(number, sizeof number, "%016" PRIx64, fingerprint(n));
  return s + cat(indent, "step #", number, ":", ops_of(*n.body), "\n");
}

// "  [lstm, classes -> logits]": the layers whose variables a step reads, by their scopes, and what
// it gives by name.
std::string names_of(const Graph& g, const Node& n) {
  std::vector<std::string> reads, gives;
  const auto add = [](std::vector<std::string>& to, const std::string& name) {
    if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
  };
  for (const Value v : n.inputs) {
    if (!v || g.node(v.node).op != &variable_op()) continue;
    const std::string& name = g.node(v.node).name;
    add(reads, name.substr(0, name.rfind('/')));
  }
  for (size_t k = 0; k < n.outputs.size(); ++k) {
    if (!n.outputs[k].present) continue;
    const std::string name = g.var({n.id, static_cast<int32_t>(k)}).name();
    if (name[0] != '%') add(gives, name);
  }
  if (!n.name.empty()) add(gives, n.name);
  if (reads.empty() && gives.empty()) return "";
  const auto joined = [](const std::vector<std::string>& names) {
    constexpr size_t kMost = 3;  // an updater's step reads them all
    std::string s;
    for (size_t i = 0; i < std::min(kMost, names.size()); ++i)
      s += cat(i == 0 ? "" : ", ", names[i]);
    return names.size() > kMost ? cat(s, " and ", names.size() - kMost, " more") : s;
  };
  return cat("  [", joined(reads), reads.empty() || gives.empty() ? "" : " ",
             gives.empty() ? "" : "-> ", joined(gives), "]");
}

// Why the kernel that was asked for runs no step, or nothing.
std::string unused_kernel(const BoundPlan& plan) {
  const std::string& asked = plan.plan().options().kernel;
  if (asked.empty() || plan.uses_kernel(asked)) return "";
  const std::string why = plan.why_unused(asked);
  return cat("kernel ", asked, " was asked for, but runs no step: ",
             why.empty() ? "no step is of an op that it runs" : why, "\n");
}

void add_steps(const BoundPlan& plan, const std::string& indent, std::string& s) {
  const std::vector<StepInfo> steps = plan.steps();
  size_t op = 0, kernel = 0;
  for (const StepInfo& i : steps) {
    op = std::max(op, i.op.size());
    kernel = std::max(kernel, i.kernel.size());
  }
  for (size_t k = 0; k < steps.size(); ++k) {
    const StepInfo& i = steps[k];
    s += cat(indent, padded(i.op, op), "  ", padded(i.kernel, kernel), "  ", results(i.out),
             i.why.empty() ? "" : cat("  (", i.why, ")"),
             names_of(plan.plan().unit().graph, plan.plan().unit().graph.node(i.node)), "\n");
    const Node& n = plan.plan().unit().graph.node(i.node);
    if (n.op->name == "recurrence") s += describe_recurrence(n, indent + "    ");
    if (is_region(n)) s += cat(indent, "   ", ops_of(*n.body), "\n");
    if (const auto body = plan.body_of(k)) add_steps(*body, indent + "    ", s);
  }
}

}  // namespace

std::string explain(const Plan& plan, const Binding& sizes) {
  const Plan::Fit f = plan.fit(sizes);
  const auto& runs = f.runs();
  const std::string again =
      f.again == nullptr
          ? ""
          : cat(", ", f.again->arena_bytes(), " where gradients compute again what they need");
  std::string s;
  if (f.budget != 0 && runs == f.kept) {
    s = cat("memory: ", f.kept->arena_bytes(), " bytes, within the budget of ", f.budget, "\n");
  } else if (f.budget != 0 && runs != nullptr) {
    s = cat("memory: ", f.kept->arena_bytes(), " bytes are over the budget of ", f.budget,
            ", so gradients compute again what they need: ", runs->arena_bytes(), " bytes\n");
  } else if (f.budget != 0) {
    s = cat("memory: ", f.kept->arena_bytes(), " bytes", again, ": over the budget of ", f.budget,
            ", so that a run is refused; make the batch or the sequences smaller, or the budget "
            "larger\n");
  }
  const bool less = f.again != nullptr && f.again->arena_bytes() < f.kept->arena_bytes();
  return s + explain(runs != nullptr ? *runs : less ? *f.again : *f.kept);
}

std::string explain(const BoundPlan& plan) {
  std::string s = unused_kernel(plan) + "passes\n";
  size_t width = 0;
  for (const PassReport& r : plan.plan().report()) width = std::max(width, r.pass.size());
  for (const PassReport& r : plan.plan().report()) {
    if (r.note.empty() && r.nodes_before == r.nodes_after) continue;
    s += cat("  ", padded(r.pass, width), "  ", r.nodes_before, " -> ", r.nodes_after, " nodes",
             r.note.empty() ? "" : cat("; ", r.meaning, ": ", r.note), "\n");
  }
  s += "steps\n";
  add_steps(plan, "  ", s);
  return s;
}

}  // namespace rondo
