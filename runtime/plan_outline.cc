#include <rondo/runtime/plan_outline.h>

#include <algorithm>
#include <numeric>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/runtime/side_by_side.h>

namespace rondo {
namespace {

bool is_leaf(const Node& n) { return n.op == &placeholder_op() || n.op == &variable_op(); }

bool names_no_symbol(const Shape& s) {
  return std::all_of(s.begin(), s.end(), [](const Dim& d) { return d.is_constant(); });
}
bool names_no_symbol(const Attributes& a) {
  return std::all_of(a.items().begin(), a.items().end(), [](const Attributes::Item& i) {
    const auto* shape = i.second.get<Shape>();
    return shape == nullptr || names_no_symbol(*shape);
  });
}

}  // namespace

bool is_too_large(const TensorType& t) {
  int64_t bytes = static_cast<int64_t>(size_of(t.dtype));
  for (const int64_t d : t.dims) {
    if (d > 1 && __builtin_mul_overflow(bytes, d, &bytes)) bytes = INT64_MAX;
    if (bytes > kLargestValue) return true;
  }
  return false;
}

std::unique_ptr<const Attributes> bind_attributes(const Attributes& a, const Binding& binding) {
  if (names_no_symbol(a)) return nullptr;
  auto r = std::make_unique<Attributes>(a);
  for (const auto& [name, value] : a.items()) {
    const auto* shape = value.get<Shape>();
    if (shape == nullptr || names_no_symbol(*shape)) continue;
    Shape bound;
    for (const Dim& d : *shape) bound.push_back(d.bind(binding));
    r->set(name, bound);
  }
  return r;
}

ReadyCall::ReadyCall(const Node& n, const Binding& binding)
    : bound(bind_attributes(n.attributes, binding)),
      call{n, bound != nullptr ? *bound : n.attributes, {}, {}} {}

PlanOutline::PlanOutline(const Plan& plan) : live_(live_nodes(plan.unit())) {
  list_values(plan.unit());
  place_values(plan.unit());
  list_steps(plan);
  if (plan.options().optimize && !plan.options().one_step) order_steps();
  list_views();
}

void PlanOutline::list_values(const Subgraph& unit) {
  for (int32_t i = 0; i < unit.graph.size(); ++i) {
    first.push_back(types.size());
    for (const ValueType& t : unit.graph.node(i).outputs) types.push_back({t.dtype, {}, t.present});
  }
  for (const TensorType& t : types) places.push_back({.type = &t});
  used_.resize(places.size());
  is_sized.resize(places.size());
  lies_in_.assign(places.size(), kItself);
  for (const int32_t i : live_) {
    const Node& n = unit.graph.node(i);
    bool is_late = n.check_at_bind;
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const ValueType& t = n.outputs[k];
      if (!t.present) continue;
      const size_t v = first[static_cast<size_t>(i)] + k;
      const auto dims = constant_dims(t.shape);
      const bool fits = dims &&
                        std::all_of(dims->begin(), dims->end(), [](int64_t d) { return d >= 0; }) &&
                        !is_too_large({t.dtype, *dims});
      if (fits) {
        types[v].dims = *dims;
      } else {  // binding says what is wrong with it
        is_sized[v] = is_late = true;
        ++sized;
      }
    }
    for (const Value v : n.inputs) {
      if (v) used_[index(v)] = true;
    }
    if (is_late) late.push_back(&n);
  }
}

void PlanOutline::place_values(const Subgraph& unit) {
  using Home = BoundPlan::Home;
  for (size_t i = 0; i < unit.inputs.size(); ++i) {
    BoundPlan::Place& p = places[index(unit.inputs[i])];
    p.home = Home::kInput;
    p.at = i;
  }
  for (const int32_t id : live_) {
    const Node& n = unit.graph.node(id);
    if (n.op != &constant_op()) continue;
    BoundPlan::Place& p = places[index({id, 0})];
    p.home = Home::kConstant;
    p.constant = n.attributes.tensor("value").raw();
  }
  for (size_t o = 0; o < unit.outputs.size(); ++o) {
    if (!unit.outputs[o]) continue;
    const size_t v = index(unit.outputs[o]);
    used_[v] = true;
    if (places[v].home == Home::kNone) {
      places[v].home = Home::kOutput;
      places[v].at = o;
    } else {
      copies.push_back({v, o});
    }
  }
}

void PlanOutline::list_steps(const Plan& plan) {
  const Graph& g = plan.unit().graph;
  const CompileOptions& options = plan.options();
  for (const int32_t id : live_) {
    const Node& n = g.node(id);
    if (is_leaf(n) || n.op == &constant_op()) continue;
    if (n.op->name == "reshape" && options.optimize && options.kernel.empty()) {
      const size_t v = index({id, 0});
      if (places[v].home == BoundPlan::Home::kNone) {  // the same bytes, where they lie
        lies_in_[v] = root(index(n.inputs[0]));
        continue;
      }
    }
    auto s = std::make_unique<Step>();
    s->node = &n;
    // A body's own plan sees the binding too.
    s->fixed = names_no_symbol(n.attributes) && plan.body_of(id) == nullptr;
    for (const Value v : n.inputs) {
      s->in.push_back(v ? static_cast<int64_t>(root(index(v))) : -1);
      if (v && is_sized[index(v)]) s->fixed = false;
    }
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const size_t v = first[static_cast<size_t>(id)] + k;
      const bool wanted = n.outputs[k].present && used_[v];
      if (wanted && places[v].home == BoundPlan::Home::kNone)
        places[v].home = BoundPlan::Home::kArena;
      s->out.push_back(wanted ? static_cast<int64_t>(v) : -1);
      if (is_sized[v]) s->fixed = false;
    }
    steps.push_back(std::move(s));
  }
}

void PlanOutline::order_steps() {
  std::vector<Work> work;
  for (const auto& s : steps) work.push_back({s->node, &s->in, &s->out});
  std::vector<std::unique_ptr<Step>> ordered;
  for (const Schedule::Place& p : schedule(work).places) {
    ordered.push_back(std::move(steps[p.step]));
    ordered.back()->group = p.group;
    ordered.back()->leader = p.leader;
  }
  steps = std::move(ordered);
}

void PlanOutline::list_views() {
  std::vector<int64_t> value_of;  // by view
  for (const auto& s : steps) {
    s->first_view = value_of.size();
    value_of.insert(value_of.end(), s->in.begin(), s->in.end());
    value_of.insert(value_of.end(), s->out.begin(), s->out.end());
  }
  views = value_of.size();
  first_view_of.assign(places.size() + 1, 0);
  for (const int64_t v : value_of) {
    if (v >= 0) ++first_view_of[static_cast<size_t>(v) + 1];
  }
  std::partial_sum(first_view_of.begin(), first_view_of.end(), first_view_of.begin());
  view_of.resize(first_view_of.back());
  std::vector<uint32_t> next(first_view_of.begin(), first_view_of.end() - 1);
  for (size_t i = 0; i < value_of.size(); ++i) {
    if (value_of[i] >= 0)
      view_of[next[static_cast<size_t>(value_of[i])]++] = static_cast<uint32_t>(i);
  }
}

}  // namespace rondo
