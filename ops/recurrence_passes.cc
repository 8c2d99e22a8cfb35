#include <rondo/ops/recurrence_passes.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

bool is_recurrence(const Node& n) { return n.op->name == "recurrence"; }

bool has_symbol(const Shape& s, const std::string& symbol) {
  return std::any_of(s.begin(), s.end(), [&](const Dim& d) {
    const auto names = d.symbols();
    return std::find(names.begin(), names.end(), symbol) != names.end();
  });
}

// A recurrence taken apart: operands by role, and a body whose inputs are in the same order.
struct Parts {
  Vars states, xs, per_row, shared;
  Var begin, end;
  Subgraph body;  // inputs: states, xs, per_row, shared; outputs: next states, ys, sums
  size_t ys = 0;
  Attributes attributes;

  Parts(const Node& n, const Vars& operands, Subgraph b)
      : body(std::move(b)), attributes(n.attributes) {
    const RecurrenceLayout l(n);
    const auto part = [&](size_t from, size_t count) {
      return Vars(operands.begin() + static_cast<std::ptrdiff_t>(from),
                  operands.begin() + static_cast<std::ptrdiff_t>(from + count));
    };
    states = part(0, l.states);
    xs = part(l.first_x(), l.xs);
    per_row = part(l.first_per_row(), l.per_row);
    shared = part(l.first_shared(), l.shared);
    begin = operands[l.begin()];
    end = operands[l.end()];
    ys = l.ys;
  }

  size_t first_x() const { return states.size(); }
  size_t first_shared() const { return states.size() + xs.size() + per_row.size(); }
  // Adds an operand; `inner` stands for it in the body.
  void add_x(const Var& outer, Value inner) {
    body.inputs.insert(body.inputs.begin() + static_cast<std::ptrdiff_t>(states.size() + xs.size()),
                       inner);
    xs.push_back(outer);
  }
  void add_shared(const Var& outer, Value inner) {
    body.inputs.push_back(inner);
    shared.push_back(outer);
  }

  Vars make(Graph g, const Node& old) {
    attributes.set("states", states.size());
    attributes.set("xs", xs.size());
    attributes.set("per_row", per_row.size());
    attributes.set("shared", shared.size());
    attributes.set("ys", ys);
    Vars operands = states;
    for (const Vars* v : {&xs, &per_row, &shared})
      operands.insert(operands.end(), v->begin(), v->end());
    operands.push_back(begin);
    operands.push_back(end);
    return make_recurrence(std::move(g), operands, std::make_shared<Subgraph>(body), attributes,
                           {.site = old.site});
  }
};

// ---- hoist

enum class Kind { kLoop, kShared, kConstant, kX, kHoisted };

// Ops that mean the same on [T,B,...] as on [B,...] at each step, once a non-negative axis is moved
// by one.
bool moves_over_time(const Node& n) {
  return !n.op->formula.empty() || n.op->name == "split" || n.op->name == "concat";
}

class Hoister {
 public:
  Hoister(const Node& n, const Subgraph& body, Graph outer, Parts& parts, RewriteLog* log)
      : symbol_(n.attributes.text("row_symbol")),
        body_(body),
        outer_(std::move(outer)),
        parts_(parts),
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
    if (!hoistable) return Kind::kLoop;
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
  RewriteLog* log_;
  std::map<Value, Kind> kind_;
  std::map<Value, Var> operand_;
};

// ---- sink

class Sinker {
 public:
  Sinker(const Node& n, Parts& parts)
      : symbol_(n.attributes.text("row_symbol")), parts_(parts), layout_(n) {
    for (size_t i = parts.first_shared(); i < parts.body.inputs.size(); ++i)
      shared_[parts.body.inputs[i]] = parts.shared[i - parts.first_shared()];
  }

  // What an old result is made of after the loop: built once the new recurrence's results are
  // there.
  using Build = std::function<Var(const Vars& results)>;

  // Moves what it can; false when nothing moves.
  bool run() {
    const Subgraph old = parts_.body;
    std::vector<std::optional<Build>> ys(layout_.ys), sums(layout_.sums);
    bool any = false;
    for (size_t i = 0; i < layout_.ys; ++i) {
      const Value v = old.outputs[layout_.states + i];
      if (v && body().node(v.node).op->name == "matmul") ys[i] = after_y(v);
      any = any || ys[i].has_value();
    }
    for (size_t i = 0; i < layout_.sums; ++i) {
      const Value v = old.outputs[layout_.states + layout_.ys + i];
      if (v && can_sink(v)) sums[i] = after_sum(v);
      any = any || sums[i].has_value();
    }
    if (!any) return false;
    // New outputs: states, the old ys that stay (null where they moved), the new ys, the old sums
    // that stay.
    std::vector<Value> outputs(old.outputs.begin(),
                               old.outputs.begin() + static_cast<std::ptrdiff_t>(layout_.states));
    for (size_t i = 0; i < layout_.ys; ++i)
      outputs.push_back(ys[i] ? Value{} : old.outputs[layout_.states + i]);
    outputs.insert(outputs.end(), lifted_.begin(), lifted_.end());
    for (size_t i = 0; i < layout_.sums; ++i)
      outputs.push_back(sums[i] ? Value{} : old.outputs[layout_.states + layout_.ys + i]);
    parts_.body.outputs = outputs;
    parts_.ys = layout_.ys + lifted_.size();
    ys_ = std::move(ys);
    sums_ = std::move(sums);
    return true;
  }

  // How many results of the loop are computed after it now.
  int moved() const {
    const auto set = [](const std::optional<Build>& b) { return b.has_value(); };
    return static_cast<int>(std::count_if(ys_.begin(), ys_.end(), set) +
                            std::count_if(sums_.begin(), sums_.end(), set));
  }

  // The old node's results from those of the new one.
  Vars results(const Vars& now) const {
    Vars r(layout_.outputs());
    const size_t extra = lifted_.size();
    for (size_t i = 0; i < layout_.ys; ++i) r[i] = ys_[i] ? (*ys_[i])(now) : now[i];
    for (size_t i = 0; i < layout_.states; ++i)
      r[layout_.final_of(i)] = now[layout_.final_of(i) + extra];
    for (size_t i = 0; i < layout_.sums; ++i)
      r[layout_.sum_of(i)] = sums_[i] ? (*sums_[i])(now) : now[layout_.sum_of(i) + extra];
    for (size_t i = 0; i < layout_.states; ++i)
      r[layout_.trajectory_of(i)] = now[layout_.trajectory_of(i) + extra];
    return r;
  }

 private:
  const Graph& body() const { return parts_.body.graph; }
  bool per_row(Value v) const {
    const Shape& s = body().type(v).shape;
    return !s.empty() && s[0] == Dim::symbol(symbol_);
  }

  // The value over all steps, as one of the new recurrence's results: padding is 0 there.
  Build lift(Value v) {
    auto at = std::find(lifted_.begin(), lifted_.end(), v);
    if (at == lifted_.end()) at = lifted_.insert(lifted_.end(), v);
    const size_t index = layout_.ys + static_cast<size_t>(at - lifted_.begin());
    return [index](const Vars& results) { return results[index]; };
  }

  static Var rows_of(const Var& x) {
    Shape s{x.dim(0) * x.dim(1)};
    s.insert(s.end(), x.shape().begin() + 2, x.shape().end());
    return reshape(x, s);
  }

  std::optional<Build> after_y(Value v) {
    const Node& n = body().node(v.node);
    const auto w = shared_.find(n.inputs[1]);
    if (n.attributes.flag("transpose_a") || w == shared_.end() || !per_row(n.inputs[0]) ||
        body().type(n.inputs[0]).shape.size() != 2)
      return std::nullopt;
    return [this, u = lift(n.inputs[0]), w = w->second, tb = n.attributes.flag("transpose_b")](
               const Vars& r) { return masked(matmul(u(r), w, {.transpose_b = tb})); };
  }

  // 0 outside the windows, whatever w holds: padding is selected away, never multiplied away.
  Var masked(const Var& y) const {
    Var inside;
    for (const bool first : {true, false}) {
      const Var& bound = first ? parts_.begin : parts_.end;
      if (!bound) continue;
      const Var t = iota(y.graph(), bound.dtype(), {y.dim(0), y.dim(1)}, 0);
      const Var half = first ? greater_equal(t, bound) : less(t, bound);
      inside = inside ? logical_and(inside, half) : half;
    }
    return inside ? where(expand_dims(inside, 2), y, 0) : y;
  }

  // Linear ops that commute with a sum over time, when each of their operands can be summed after
  // the loop.
  bool is_linear(const Node& n) const {
    static const std::set<std::string> kLinear{"add",     "sub",       "neg",   "concat",
                                               "reshape", "transpose", "slice", "pad"};
    if (kLinear.count(n.op->name) == 0) return false;
    for (const auto& [name, value] : n.attributes.items()) {
      if (const auto* s = value.get<Shape>(); s != nullptr && has_symbol(*s, symbol_)) return false;
    }
    return true;
  }
  bool sums_rows(const Node& n) const {
    if (n.op->name == "matmul") {
      return n.attributes.flag("transpose_a") && !n.attributes.flag("transpose_b") &&
             per_row(n.inputs[0]) && per_row(n.inputs[1]) &&
             body().type(n.inputs[0]).shape.size() == 2 &&
             body().type(n.inputs[1]).shape.size() == 2;
    }
    if (n.op->name != "sum" || !per_row(n.inputs[0]) || n.attributes.flag("keep_dims"))
      return false;
    const auto& axes = n.attributes.integers("axes");
    return axes.empty() || std::find(axes.begin(), axes.end(), 0) != axes.end();
  }
  // Both remember their answers: a value that is used twice must not be walked twice.
  bool can_sink(Value v) {
    if (const auto it = can_sink_.find(v); it != can_sink_.end()) return it->second;
    const Node& n = body().node(v.node);
    bool can = sums_rows(n);
    if (!can && is_linear(n))
      can = std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value i) { return can_sink(i); });
    return can_sink_[v] = can;
  }
  Build after_sum(Value v) {
    if (const auto it = after_sum_.find(v); it != after_sum_.end()) return it->second;
    return after_sum_[v] = [build = build_after_sum(v),
                            made = std::make_shared<Var>()](const Vars& r) {
      if (!*made) *made = build(r);
      return *made;
    };
  }
  Build build_after_sum(Value v) {
    const Node& n = body().node(v.node);
    if (n.op->name == "matmul") {
      return [a = lift(n.inputs[0]), b = lift(n.inputs[1])](const Vars& r) {
        return matmul(rows_of(a(r)), rows_of(b(r)), {.transpose_a = true});
      };
    }
    if (n.op->name == "sum") {
      std::vector<int64_t> axes;
      const size_t rank = body().type(n.inputs[0]).shape.size();
      for (const int64_t a : n.attributes.integers("axes"))
        axes.push_back(static_cast<int64_t>(axis_index(a, rank)) + 1);
      if (!axes.empty()) axes.push_back(0);
      return [x = lift(n.inputs[0]), axes](const Vars& r) { return sum(x(r), {.axes = axes}); };
    }
    std::vector<Build> in;
    for (const Value i : n.inputs) in.push_back(after_sum(i));
    return [in, op = n.op, a = n.attributes](const Vars& r) {
      Vars operands;
      for (const Build& b : in) operands.push_back(b(r));
      return graph_of(operands, op->name).call(*op, operands, a)[0];
    };
  }

  std::string symbol_;
  Parts& parts_;
  RecurrenceLayout layout_;
  std::map<Value, Var> shared_;
  std::map<Value, bool> can_sink_;
  std::map<Value, Build> after_sum_;
  std::vector<Value> lifted_;
  std::vector<std::optional<Build>> ys_, sums_;
};

}  // namespace

Subgraph hoist(const Subgraph& s, RewriteLog* log) {
  BodyPass bodies([log](const Subgraph& b) { return hoist(b, log); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.body == nullptr) return {};
    const auto body = bodies(n.body);
    if (!is_recurrence(n)) return r.copy(n, r.inputs(n), body);
    Parts parts(n, r.inputs(n), *body);
    Hoister h(n, *body, r.graph(), parts, log);
    if (!h.run()) return r.copy(n, r.inputs(n), body);
    return parts.make(r.graph(), n);
  });
}

Subgraph sink(const Subgraph& s, RewriteLog* log) {
  BodyPass bodies([log](const Subgraph& b) { return sink(b, log); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.body == nullptr) return {};
    const auto body = bodies(n.body);
    if (!is_recurrence(n)) return r.copy(n, r.inputs(n), body);
    Parts parts(n, r.inputs(n), *body);
    Sinker k(n, parts);
    if (!k.run()) return r.copy(n, r.inputs(n), body);
    if (log != nullptr) log->note("sum or product", k.moved());
    return k.results(parts.make(r.graph(), n));
  });
}

Subgraph prune_recurrences(const Subgraph& s) {
  BodyPass bodies(prune_recurrences);
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.body == nullptr) return {};
    if (!is_recurrence(n)) return r.copy(n, r.inputs(n), bodies(n.body));
    const RecurrenceLayout l(n);
    // Outputs of the body that nothing reads any more go; `from`: which old result a new one is.
    Subgraph body = *n.body;
    body.outputs.resize(l.states);
    std::vector<size_t> from;
    size_t ys = 0;
    const auto used = [&](size_t result) {
      return r.uses({n.id, static_cast<int32_t>(result)}) != 0;
    };
    for (size_t i = 0; i < l.ys; ++i) {
      if (!used(i)) continue;
      body.outputs.push_back(n.body->outputs[l.states + i]);
      from.push_back(i);
      ++ys;
    }
    for (size_t i = 0; i < l.states; ++i) from.push_back(l.final_of(i));
    for (size_t i = 0; i < l.sums; ++i) {
      if (!used(l.sum_of(i))) continue;
      body.outputs.push_back(n.body->outputs[l.states + l.ys + i]);
      from.push_back(l.sum_of(i));
    }
    for (size_t i = 0; i < l.states; ++i) from.push_back(l.trajectory_of(i));
    body = *bodies(std::make_shared<Subgraph>(body));
    std::set<Value> read(body.outputs.begin(), body.outputs.end());
    for (const int32_t id : live_nodes(body)) {
      for (const Value v : body.graph.node(id).inputs) read.insert(v);
    }
    Parts parts(n, r.inputs(n), body);
    const auto drop = [&](Vars& list, size_t first) {
      for (size_t i = list.size(); i-- > 0;) {
        const auto at = parts.body.inputs.begin() + static_cast<std::ptrdiff_t>(first + i);
        if (read.count(*at) != 0) continue;
        parts.body.inputs.erase(at);
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      }
    };
    drop(parts.shared, parts.first_shared());
    drop(parts.per_row, parts.first_x() + parts.xs.size());
    drop(parts.xs, parts.first_x());
    // A number from outside becomes one of the body, where kernels fold it into what they compute.
    std::map<int32_t, Tensor> numbers;  // by placeholder
    for (size_t i = parts.shared.size(); i-- > 0;) {
      const Node& outer = parts.shared[i].node();
      if (outer.op != &constant_op() || parts.shared[i].rank() != 0) continue;
      const auto at =
          parts.body.inputs.begin() + static_cast<std::ptrdiff_t>(parts.first_shared() + i);
      numbers[at->node] = outer.attributes.tensor("value");
      parts.body.inputs.erase(at);
      parts.shared.erase(parts.shared.begin() + static_cast<std::ptrdiff_t>(i));
    }
    // The body is copied once more, so that what was dropped is gone from its graph too.
    Rebuilder clean(parts.body);
    for (const int32_t id : clean.live()) {
      const auto number = numbers.find(id);
      if (number == numbers.end()) {
        clean.copy(clean.node(id));
      } else {
        clean.set(clean.node(id), {Graph(clean.graph()).constant(number->second)});
      }
    }
    parts.body = clean.finish();
    parts.ys = ys;
    const Vars made = parts.make(r.graph(), n);
    Vars results(n.outputs.size());
    for (size_t k = 0; k < from.size(); ++k) results[from[k]] = made[k];
    return results;
  });
}

}  // namespace rondo
