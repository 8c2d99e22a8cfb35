#include <algorithm>
#include <map>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

bool is_view(const Node& n) { return n.op->name == "split" || n.op->name == "slice"; }

class Absorber {
 public:
  explicit Absorber(const Subgraph& s) : s_(s) {
    for (const int32_t id : live_nodes(s)) {
      for (const Value v : s.graph.node(id).inputs) {
        if (v) users_[v.node].push_back(id);
      }
    }
    for (const Value v : s.outputs) {
      if (v) is_output_.insert(v.node);
    }
  }

  // The nodes whose results only this loop reads, step by step, the last first.
  std::vector<int32_t> find(const Node& loop) const {
    const RecurrenceLayout l(loop);
    std::vector<int32_t> found;
    std::set<int32_t> inside;
    const std::set<int32_t, std::greater<>> candidates = before(loop, l);
    // Readers come later, so they are decided before what they read.
    for (const int32_t id : candidates) {
      const Node& n = s_.graph.node(id);
      if (is_output_.count(id) != 0 || !fits(n, loop, l)) continue;
      const auto& users = users_.at(id);
      const bool can = std::all_of(users.begin(), users.end(), [&](int32_t user) {
        return user == loop.id ? reads_by_step(loop, l, id) : inside.count(user) != 0;
      });
      if (!can) continue;
      inside.insert(id);
      found.push_back(id);
    }
    return found;
  }

  // Whether loops can take steps of such work.
  static bool takes(const Node& n) {
    return is_recurrence(n) && !is_branch(n) && is_program(*n.body);
  }

 private:
  // All that leads to the loop's inputs over time through ops that could be absorbed.
  std::set<int32_t, std::greater<>> before(const Node& loop, const RecurrenceLayout& l) const {
    std::set<int32_t, std::greater<>> seen;
    std::vector<int32_t> todo;
    const auto add = [&](Value v) {
      if (v && fits(s_.graph.node(v.node), loop, l) && seen.insert(v.node).second)
        todo.push_back(v.node);
    };
    for (size_t i = 0; i < l.xs; ++i) add(loop.inputs[l.first_x() + i]);
    while (!todo.empty()) {
      const Node& n = s_.graph.node(todo.back());
      todo.pop_back();
      for (const Value v : n.inputs) add(v);
    }
    return seen;
  }

  bool reads_by_step(const Node& loop, const RecurrenceLayout& l, int32_t id) const {
    for (size_t i = 0; i < loop.inputs.size(); ++i) {
      if (loop.inputs[i] && loop.inputs[i].node == id &&
          (i < l.first_x() || i >= l.first_per_row()))
        return false;
    }
    return true;
  }

  // Whether the op means the same step by step, on operands that can be had there.
  bool fits(const Node& n, const Node& loop, const RecurrenceLayout& l) const {
    const Shape& extent = loop.attributes.shape("extent");
    const DType dtype = s_.graph.type(loop.inputs[0]).dtype;
    const auto over_time = [&](const ValueType& t) {
      return t.dtype == dtype && t.shape.size() == 3 && t.shape[0] == extent[0] &&
             t.shape[1] == extent[1] && t.shape[2].is_constant();
    };
    if (n.inputs.empty() || n.body != nullptr || l.states == 0) return false;
    for (const ValueType& t : n.outputs) {
      if (!over_time(t)) return false;
    }
    if (is_view(n)) {
      return axis_index(n.attributes.integer("axis"), 3) == 2 &&
             over_time(s_.graph.type(n.inputs[0])) &&
             (n.op->name == "split" || n.attributes.shape("bounds")[0].is_constant());
    }
    if (n.op->name == "matmul") {
      return !n.attributes.flag("transpose_a") && over_time(s_.graph.type(n.inputs[0])) &&
             s_.graph.type(n.inputs[1]).shape.size() == 2;
    }
    if (n.op->formula.empty()) return false;
    return std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value v) {
      if (!v) return false;
      const ValueType& t = s_.graph.type(v);
      return t == n.outputs[0] || is_vector(t, n.outputs[0]) || is_number(v, dtype);
    });
  }
  static bool is_vector(const ValueType& t, const ValueType& whole) {
    return t.dtype == whole.dtype && t.shape.size() == 1 && t.shape[0] == whole.shape[2];
  }
  bool is_number(Value v, DType dtype) const {
    const ValueType& t = s_.graph.type(v);
    return t.dtype == dtype && t.shape.empty() && literal_value(s_.graph.var(v)).has_value();
  }

  const Subgraph& s_;
  std::map<int32_t, std::vector<int32_t>> users_;
  std::set<int32_t> is_output_;
};

// The loop with those nodes, the last first, in its step.
Vars with_work(Rebuilder& r, const Node& loop, const std::vector<int32_t>& nodes) {
  const RecurrenceLayout l(loop);
  const Subgraph& outer = r.from();
  const std::string& row = loop.attributes.text("row_symbol");
  Rebuilder body(*loop.body);
  Graph g = body.graph();
  const std::set<int32_t> inside(nodes.begin(), nodes.end());
  std::map<Value, Var> now;  // values of the outer graph in the step
  std::set<int32_t> gone;    // placeholders of the old body

  for (const int32_t id : body.live()) {
    if (body.node(id).op == &placeholder_op()) body.copy(body.node(id));
  }
  for (size_t i = 0; i < l.xs; ++i) {
    const Value v = loop.inputs[l.first_x() + i], inner = loop.body->inputs[l.first_x() + i];
    if (inside.count(v.node) != 0) {
      gone.insert(inner.node);
    } else {
      now[v] = body[inner];
    }
  }
  for (size_t i = 0; i < l.shared; ++i)
    now[loop.inputs[l.first_shared() + i]] = body[loop.body->inputs[l.first_shared() + i]];

  std::vector<std::pair<Value, Value>> new_xs, new_shared;  // of the outer graph, placeholder
  const auto operand = [&](Value v) -> Var {
    if (const auto it = now.find(v); it != now.end()) return it->second;
    const ValueType& t = outer.graph.type(v);
    if (const auto number = literal_value(outer.graph.var(v)); number && t.shape.empty())
      return now[v] = g.constant(Tensor::full(t.dtype, {}, *number));
    const bool x = t.shape.size() == 3;
    const Shape shape = x ? Shape{Dim::symbol(row), t.shape[2]} : t.shape;
    const Var p = g.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", shape}})[0];
    (x ? new_xs : new_shared).emplace_back(v, p.value());
    return now[v] = p;
  };
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    const Node& n = outer.graph.node(*it);
    Vars in;
    for (const Value v : n.inputs) in.push_back(operand(v));
    Attributes a = n.attributes;
    if (is_view(n)) a.set("axis", int64_t{1});
    const Vars out = g.call(*n.op, in, a, {.site = n.site});
    for (size_t k = 0; k < out.size(); ++k) now[{n.id, static_cast<int32_t>(k)}] = out[k];
  }
  for (size_t i = 0; i < l.xs; ++i) {
    const Value inner = loop.body->inputs[l.first_x() + i];
    if (gone.count(inner.node) != 0)
      body.set(body.node(inner.node), {now.at(loop.inputs[l.first_x() + i])});
  }
  for (const int32_t id : body.live()) {
    if (body.node(id).op != &placeholder_op()) body.copy(body.node(id));
  }
  Vars operands;
  for (const Value v : loop.inputs)
    operands.push_back(v && inside.count(v.node) == 0 ? r[v] : Var());
  Parts parts(loop, operands, body.finish());
  for (size_t i = l.xs; i-- > 0;) {
    if (gone.count(loop.body->inputs[l.first_x() + i].node) == 0) continue;
    const auto at = static_cast<std::ptrdiff_t>(i);
    parts.body.inputs.erase(parts.body.inputs.begin() + static_cast<std::ptrdiff_t>(l.first_x()) +
                            at);
    parts.xs.erase(parts.xs.begin() + at);
  }
  for (const auto& [v, p] : new_xs) parts.add_x(r[v], p);
  for (const auto& [v, p] : new_shared) parts.add_shared(r[v], p);
  return parts.make(r.graph(), loop);
}

}  // namespace

Subgraph absorb(const Subgraph& s, RewriteLog* log) {
  const Absorber absorber(s);
  std::map<int32_t, std::vector<int32_t>> inside;  // by loop
  std::set<int32_t> gone;
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (!Absorber::takes(n)) continue;
    std::vector<int32_t> found = absorber.find(n);
    if (found.empty()) continue;
    gone.insert(found.begin(), found.end());
    for (const int32_t f : found) {
      if (log != nullptr) log->note(s.graph.node(f).op->name);
    }
    inside[id] = std::move(found);
  }
  if (inside.empty()) return s;
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (const auto it = inside.find(n.id); it != inside.end()) return with_work(r, n, it->second);
    return gone.count(n.id) != 0 ? Vars(n.outputs.size()) : Vars{};
  });
}

}  // namespace rondo
