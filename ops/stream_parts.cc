// A streamed unit cut into what is the same at each step and the step, and loops of one step
// replaced by their bodies.
#include <algorithm>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/shape.h>
#include <rondo/ops/streamify.h>

namespace rondo {
namespace {

// What costs nothing where it is used: kernels fold numbers into what they compute.
bool is_number(const Node& n) { return n.op == &constant_op() || n.op->name == "fill"; }

// The body on these many rows.
Subgraph with_rows(const Subgraph& body, const std::string& symbol, const Dim& rows) {
  return rebuild(body, [&](Rebuilder& r, const Node& n) -> Vars {
    Attributes a = n.attributes;
    for (const auto& [name, value] : n.attributes.items()) {
      const auto* shape = value.get<Shape>();
      if (shape == nullptr) continue;
      Shape bound;
      for (const Dim& d : *shape) bound.push_back(d.substitute({{symbol, rows}}));
      a.set(name, bound);
    }
    auto inner = n.body == nullptr
                     ? nullptr
                     : std::make_shared<const Subgraph>(with_rows(*n.body, symbol, rows));
    return Graph(r.graph()).call(*n.op, r.inputs(n), a,
                                 {.name = n.name, .body = inner, .site = n.site});
  });
}

}  // namespace

StepParts split_fixed(const Subgraph& unit, const std::vector<bool>& changes, size_t outputs) {
  const Graph& g = unit.graph;
  std::vector<bool> changing(static_cast<size_t>(g.size()));
  for (size_t i = 0; i < unit.inputs.size(); ++i)
    changing[static_cast<size_t>(unit.inputs[i].node)] = changes[i];
  Subgraph step{g, {}, {unit.outputs.begin(), unit.outputs.begin() + static_cast<long>(outputs)}};
  StepParts parts{{g, {}, {}}, {}, {}};
  for (size_t i = 0; i < unit.inputs.size(); ++i)
    (changes[i] ? step : parts.fixed).inputs.push_back(unit.inputs[i]);
  std::set<Value> kept;
  const auto changed = [&](Value v) { return changing[static_cast<size_t>(v.node)]; };
  const auto keep = [&](Value v) {
    if (v && !changed(v) && !is_number(g.node(v.node))) kept.insert(v);
  };
  for (const int32_t id : live_nodes(step)) {
    const Node& n = g.node(id);
    const bool any =
        std::any_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return v && changed(v); });
    if (any) changing[static_cast<size_t>(id)] = true;
    if (!any) continue;
    for (const Value v : n.inputs) keep(v);
  }
  for (const Value v : step.outputs) keep(v);

  Rebuilder r(step);
  Vars placeholders;
  std::map<Value, Var> stand_in;
  for (const Value v : kept) {
    const ValueType& t = g.type(v);
    const Var p =
        Graph(r.graph()).call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
    stand_in[v] = p;
    placeholders.push_back(p);
  }
  for (const int32_t id : r.live()) {
    const Node& n = r.node(id);
    if (changing[static_cast<size_t>(id)] || is_number(n)) {
      r.copy(n);
      continue;
    }
    Vars results(n.outputs.size());
    for (size_t k = 0; k < results.size(); ++k) {
      const auto at = stand_in.find({id, static_cast<int32_t>(k)});
      if (at != stand_in.end()) results[k] = at->second;
    }
    r.set(n, results);
  }
  parts.step = r.finish();
  for (const Var& p : placeholders) parts.step.inputs.push_back(p.value());
  parts.kept.assign(kept.begin(), kept.end());
  parts.fixed.outputs = parts.kept;
  for (size_t o = outputs; o < unit.outputs.size(); ++o) {
    if (changed(unit.outputs[o])) fail_internal("a first state depends on what is streamed");
    parts.fixed.outputs.push_back(unit.outputs[o]);
  }
  return parts;
}

Subgraph inline_steps(const Subgraph& unit, const std::set<int32_t>& nodes) {
  return rebuild(unit, [&](Rebuilder& r, const Node& n) -> Vars {
    if (nodes.count(n.id) == 0) return {};
    const RecurrenceLayout l(n);
    const SiteScope site(n.site);
    const Dim& rows = n.attributes.shape("extent")[1];
    const Subgraph body = with_rows(*n.body, n.attributes.text("row_symbol"), rows);
    const Vars in = r.inputs(n);
    Vars inner(in.begin(), in.begin() + static_cast<long>(l.body_inputs()));
    for (size_t i = l.first_x(); i < l.first_per_row(); ++i) inner[i] = squeeze(inner[i], 0);
    const Vars out = inline_subgraph(body, r.graph(), inner);
    Vars results;
    for (size_t i = 0; i < l.ys; ++i)
      results.push_back(out[l.states + i] ? expand_dims(out[l.states + i], 0) : Var());
    for (size_t i = 0; i < l.states; ++i) results.push_back(out[i]);
    for (size_t i = 0; i < l.sums; ++i) results.push_back(out[l.states + l.ys + i]);
    for (size_t i = 0; i < l.states; ++i) results.push_back(expand_dims(in[i], 0));
    return results;
  });
}

}  // namespace rondo
