#include <map>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

enum class Kind { kLoop, kShared, kConstant, kX, kHoisted };

// Ops that mean the same on [T,B,...] as on [B,...] at each step, once a non-negative axis is moved
// by one.
bool moves_over_time(const Node& n) {
  return !n.op->formula.empty() || n.op->name == "split" || n.op->name == "concat";
}

class Hoister {
 public:
  Hoister(const Node& n, const Subgraph& body, Graph outer, Parts& parts, bool steps_too,
          RewriteLog* log)
      : symbol_(n.attributes.text("row_symbol")),
        body_(body),
        outer_(std::move(outer)),
        parts_(parts),
        steps_too_(steps_too),
        log_(log) {}

  // The new body, its hoisted values replaced by new inputs; none when nothing can leave.
  std::optional<Subgraph> run() {
    classify();
    const std::set<Value> frontier = find_frontier();
    if (frontier.empty()) return std::nullopt;
    Rebuilder r(body_);
    std::vector<std::pair<Value, Value>> replaced;  // old value, new placeholder
    for (const int32_t id : r.live()) {
      const Node& n = r.node(id);
      Vars now(n.outputs.size());
      for (size_t k = 0; k < now.size(); ++k) {
        const Value v{id, static_cast<int32_t>(k)};
        if (frontier.count(v) == 0) continue;
        Graph g = r.graph();
        now[k] = g.call(placeholder_op(), {},
                        {{"dtype", n.outputs[k].dtype}, {"shape", n.outputs[k].shape}})[0];
        replaced.emplace_back(v, now[k].value());
      }
      const Kind k = kind_.at({id, 0});
      if (n.op != &placeholder_op() && (k == Kind::kHoisted || k == Kind::kShared)) {
        r.set(n, now);  // null where only other values that leave read it
      } else {
        r.copy(n);
      }
    }
    Subgraph made = r.finish();
    parts_.body = made;
    lift_all(frontier);
    for (const auto& [old, placeholder] : replaced) {
      if (kind_.at(old) == Kind::kShared) {
        parts_.add_shared(operand_.at(old), placeholder);
      } else {
        parts_.add_x(operand_.at(old), placeholder);
      }
    }
    return parts_.body;
  }

 private:
  void classify() {
    for (size_t i = 0; i < body_.inputs.size(); ++i) {
      const bool x = i >= parts_.first_x() && i < parts_.first_x() + parts_.xs.size();
      kind_[body_.inputs[i]] = x                            ? Kind::kX
                               : i >= parts_.first_shared() ? Kind::kShared
                                                            : Kind::kLoop;
      operand_[body_.inputs[i]] = x ? parts_.xs[i - parts_.first_x()]
                                  : i >= parts_.first_shared()
                                      ? parts_.shared[i - parts_.first_shared()]
                                      : Var();
    }
    for (const int32_t id : live_nodes(body_)) {
      const Node& n = body_.graph.node(id);
      if (n.op == &placeholder_op()) continue;
      const Kind k = kind_of(n);
      for (size_t o = 0; o < n.outputs.size(); ++o) kind_[{id, static_cast<int32_t>(o)}] = k;
      if (n.outputs.empty()) kind_[{id, 0}] = Kind::kLoop;
    }
  }

  Kind kind_of(const Node& n) const {
    if (n.op->opaque || n.body != nullptr) return Kind::kLoop;
    bool constant = true, shared = true, hoistable = true, hoisted = false;
    for (const Value v : n.inputs) {
      if (!v) continue;
      const Kind k = kind_.at(v);
      constant = constant && k == Kind::kConstant;
      shared = shared && (k == Kind::kConstant || k == Kind::kShared);
      hoistable = hoistable && k != Kind::kLoop;
      hoisted = hoisted || k == Kind::kHoisted;
    }
    for (const auto& [name, value] : n.attributes.items()) {
      if (const auto* s = value.get<Shape>(); s != nullptr && has_symbol(*s, symbol_))
        return Kind::kLoop;
    }
    if (constant) return Kind::kConstant;
    if (shared) return Kind::kShared;
    if (!hoistable || !steps_too_) return Kind::kLoop;
    if (n.op->name == "matmul" && !n.attributes.flag("transpose_a") &&
        body_.graph.type(n.inputs[0]).shape.size() == 2) {
      const Kind a = kind_.at(n.inputs[0]), b = kind_.at(n.inputs[1]);
      if ((a == Kind::kX || a == Kind::kHoisted) && (b == Kind::kShared || b == Kind::kConstant))
        return Kind::kHoisted;
    }
    return hoisted && moves_over_time(n) && rows_lead(n) ? Kind::kHoisted : Kind::kLoop;
  }

  // Every operand that has the row axis has it first and as many axes as the result; the others are
  // broadcast over rows.
  bool rows_lead(const Node& n) const {
    const size_t rank = n.outputs[0].shape.size();
    for (const Value v : n.inputs) {
      const Kind k = kind_.at(v);
      const Shape& s = body_.graph.type(v).shape;
      if ((k == Kind::kX || k == Kind::kHoisted) && s.size() != rank) return false;
      if ((k == Kind::kShared || k == Kind::kConstant) &&
          (s.size() >= rank || n.op->formula.empty()))
        return false;
    }
    if (const AttributeValue* axis = n.attributes.find("axis");
        axis != nullptr && n.op->formula.empty()) {
      const int64_t a = *axis->get<int64_t>();
      return axis_index(a, rank) != 0;
    }
    return true;
  }

  // Values that leave the loop and that something in the loop, or an output, still reads.
  std::set<Value> find_frontier() const {
    std::set<Value> r;
    const auto leaves = [&](Value v) {
      const Kind k = kind_.at(v);
      return (k == Kind::kHoisted || k == Kind::kShared) &&
             body_.graph.node(v.node).op != &placeholder_op();
    };
    for (const int32_t id : live_nodes(body_)) {
      const Node& n = body_.graph.node(id);
      if (n.op == &placeholder_op() || kind_.at({id, 0}) == Kind::kHoisted ||
          kind_.at({id, 0}) == Kind::kShared)
        continue;
      for (const Value v : n.inputs) {
        if (v && leaves(v)) r.insert(v);
      }
    }
    for (const Value v : body_.outputs) {
      if (v && leaves(v)) r.insert(v);
    }
    return r;
  }

  // The values in the outer graph, with a time axis in front where they depend on x: every node
  // that the frontier needs, in order.
  void lift_all(const std::set<Value>& frontier) {
    std::set<int32_t> needed;
    for (const Value v : frontier) needed.insert(v.node);
    for (auto it = needed.rbegin(); it != needed.rend(); ++it) {
      for (const Value v : body_.graph.node(*it).inputs) {
        if (v) needed.insert(v.node);  // always before *it, so still to come
      }
    }
    for (const int32_t id : needed) {
      const Node& n = body_.graph.node(id);
      if (n.op == &placeholder_op()) continue;
      Vars in;
      for (const Value i : n.inputs) in.push_back(i ? operand_.at(i) : Var());
      Attributes a = n.attributes;
      if (kind_.at({id, 0}) == Kind::kHoisted && a.has("axis") && n.op->formula.empty() &&
          a.integer("axis") >= 0)
        a.set("axis", a.integer("axis") + 1);
      if (log_ != nullptr) log_->note(n.op->name);
      const Vars out = outer_.call(*n.op, in, a, {.site = n.site});
      for (size_t k = 0; k < out.size(); ++k) operand_[{id, static_cast<int32_t>(k)}] = out[k];
    }
  }

  std::string symbol_;
  const Subgraph& body_;
  Graph outer_;
  Parts& parts_;
  bool steps_too_;  // also what is another value at each step, but follows from x alone
  RewriteLog* log_;
  std::map<Value, Kind> kind_;
  std::map<Value, Var> operand_;
};

Subgraph hoist(const Subgraph& s, bool steps_too, RewriteLog* log) {
  BodyPass bodies([&](const Subgraph& b) { return hoist(b, steps_too, log); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.body == nullptr) return {};
    const auto body = bodies(n.body);
    if (!is_recurrence(n) || is_branch(n)) return r.copy(n, r.inputs(n), body);
    Parts parts(n, r.inputs(n), *body);
    Hoister h(n, *body, r.graph(), parts, steps_too, log);
    if (!h.run()) return r.copy(n, r.inputs(n), body);
    return parts.make(r.graph(), n);
  });
}

}  // namespace

Subgraph hoist(const Subgraph& s, RewriteLog* log) { return hoist(s, true, log); }
Subgraph hoist_shared(const Subgraph& s) { return hoist(s, false, nullptr); }

}  // namespace rondo
