#include <rondo/ops/recurrence_passes.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

// Whether an input over time is 0 wherever the loop's windows are not, as its outputs are.
bool is_clear_outside(const Graph& g, const Node& n, const RecurrenceLayout& l, Value x) {
  const Value begin = n.inputs[l.begin()], end = n.inputs[l.end()];
  if (!begin && !end) return true;
  const Node& from = g.node(x.node);
  if (!is_recurrence(from)) return false;
  const RecurrenceLayout m(from);
  const auto slot = static_cast<size_t>(x.slot);
  return from.inputs[m.begin()] == begin && from.inputs[m.end()] == end &&
         (slot < m.ys || slot >= m.trajectory_of(0));
}

}  // namespace

bool recurrence_internal::is_sum_of_rows(const Graph& body, Value v) {
  const Node& n = body.node(v.node);
  if (n.op->name != "sum" || n.attributes.flag("keep_dims")) return false;
  const auto& axes = n.attributes.integers("axes");
  return body.type(n.inputs[0]).shape.size() == 2 && axes.size() == 1 &&
         axis_index(axes[0], 2) == 0;
}

bool recurrence_internal::is_outer_sum(const Graph& body, Value v, const std::string& row_symbol) {
  const auto rows = [&](Value in) {
    const Shape& s = body.type(in).shape;
    return s.size() == 2 && s[0] == Dim::symbol(row_symbol) && s[1].is_constant();
  };
  std::set<Value> seen{v};
  std::vector<Value> todo{v};
  while (!todo.empty()) {
    const Node& n = body.node(todo.back().node);
    const ValueType& type = body.type(todo.back());
    todo.pop_back();
    if (n.op->name == "matmul") {
      if (!n.attributes.flag("transpose_a") || n.attributes.flag("transpose_b") ||
          !rows(n.inputs[0]) || !rows(n.inputs[1]))
        return false;
    } else if (n.op->name == "add") {
      for (const Value in : n.inputs) {
        if (body.type(in) != type) return false;
        if (seen.insert(in).second) todo.push_back(in);
      }
    } else {
      return false;
    }
  }
  return true;
}

bool recurrence_internal::fits_program(const Node& n) {
  static const std::set<std::string_view> kHeld{"matmul", "concat", "fill",       "split",
                                                "slice",  "sum",    "reduce_max", "reduce_min"};
  for (const ValueType& t : n.outputs) {
    if (t.shape.size() > 2 || (!is_float(t.dtype) && t.dtype != boolean)) return false;
  }
  if (n.op == &placeholder_op()) return true;
  if (n.op == &constant_op()) return n.outputs[0].shape.size() < 2;
  return !n.op->formula.empty() || kHeld.count(n.op->name) != 0;
}

bool recurrence_internal::is_program(const Subgraph& body) {
  const std::set<Value> inputs(body.inputs.begin(), body.inputs.end());
  const std::vector<int32_t> live = live_nodes(body);
  return std::all_of(live.begin(), live.end(), [&](int32_t id) {
    const Node& n = body.graph.node(id);
    const bool product = n.op->name == "matmul" && !n.attributes.flag("transpose_a");
    return fits_program(n) && (!product || inputs.count(n.inputs[1]) != 0);
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
    Vars results(n.outputs.size());
    const auto used = [&](size_t result) {
      return r.uses({n.id, static_cast<int32_t>(result)}) != 0;
    };
    for (size_t i = 0; i < l.ys; ++i) {
      if (!used(i)) continue;
      // What only passes through need not be copied.
      const Value y = n.body->outputs[l.states + i];
      const auto x = std::find(n.body->inputs.begin(), n.body->inputs.end(), y);
      const auto at = static_cast<size_t>(x - n.body->inputs.begin());
      if (at >= l.first_x() && at < l.first_per_row() &&
          is_clear_outside(s.graph, n, l, n.inputs[at])) {
        results[i] = r[n.inputs[at]];
        continue;
      }
      body.outputs.push_back(y);
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
    for (size_t k = 0; k < from.size(); ++k) results[from[k]] = made[k];
    return results;
  });
}

}  // namespace rondo
