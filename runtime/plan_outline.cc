#include <rondo/runtime/plan_outline.h>

#include <algorithm>
#include <numeric>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/shape.h>
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

// Whether parts along that axis follow each other in memory.
bool is_one_block(const Dims& d, size_t axis) {
  return std::all_of(d.begin(), d.begin() + static_cast<std::ptrdiff_t>(axis),
                     [](int64_t n) { return n == 1; });
}
size_t bytes_behind(const TensorType& t, size_t axis) {
  size_t n = size_of(t.dtype);
  for (size_t a = axis + 1; a < t.dims.size(); ++a) n *= static_cast<size_t>(t.dims[a]);
  return n;
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
  settle();
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
  for (size_t v = 0; v < places.size(); ++v) views_.push_back({v, 0});
  parts_ = views_;
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

PlanOutline::Inside PlanOutline::viewed(size_t value) const {
  Inside i{value, 0};
  while (views_[i.value].value != i.value) i = {views_[i.value].value, i.at + views_[i.value].at};
  return i;
}
PlanOutline::Inside PlanOutline::inside(size_t value) const {
  Inside i = viewed(value);
  while (parts_[i.value].value != i.value) i = {parts_[i.value].value, i.at + parts_[i.value].at};
  return i;
}

// Where in its operand the result of a reshape or of a slice of whole blocks lies; none for others.
std::optional<size_t> PlanOutline::begins_at(const Node& n) const {
  if (n.op->name == "reshape") return 0;
  if (n.op->name != "slice" || is_sized[index(n.inputs[0])]) return std::nullopt;
  const Dims& whole = types[index(n.inputs[0])].dims;
  const Dim& begin = n.attributes.shape("bounds")[0];
  const size_t axis = axis_index(n.attributes.integer("axis"), whole.size());
  if (!begin.is_constant() || !is_one_block(whole, axis)) return std::nullopt;
  return bytes_behind(types[index(n.inputs[0])], axis) * static_cast<size_t>(begin.constant());
}

// Whether what is put together was made in its place: operands of memory of their own are given
// theirs in the result, if that can be done for all.
bool PlanOutline::takes_parts(const Node& n) {
  using Home = BoundPlan::Home;
  if (n.op->name != "concat") return false;
  const size_t y = index({n.id, 0});
  if (is_sized[y] || !used_[y]) return false;
  const size_t axis = axis_index(n.attributes.integer("axis"), types[y].dims.size());
  if (!is_one_block(types[y].dims, axis)) return false;
  std::vector<std::pair<size_t, size_t>> parts;  // value, where
  size_t at = 0;
  for (const Value v : n.inputs) {
    const Inside i = viewed(index(v));
    const bool own = places[i.value].home == Home::kArena && !is_sized[i.value] && i.at == 0 &&
                     types[i.value].bytes() == types[index(v)].bytes();
    if (!own || is_sized[index(v)]) return false;
    for (const auto& [other, where] : parts) {
      if (other == i.value) return false;
    }
    parts.emplace_back(i.value, at);
    at += types[i.value].bytes();
  }
  Joined& joined = joined_.emplace_back();
  joined.whole = static_cast<int64_t>(y);
  for (const auto& [value, where] : parts) {
    joined.parts.push_back(static_cast<int64_t>(value));
    parts_[value] = {y, where};
    places[value].home = Home::kNone;
  }
  if (places[y].home == Home::kNone) places[y].home = Home::kArena;
  return true;
}

// From values to the memory that they lie in.
void PlanOutline::settle() {
  const auto where = [&](std::vector<int64_t>& values, std::vector<size_t>& at) {
    at.assign(values.size(), 0);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] < 0) continue;
      const Inside in = inside(static_cast<size_t>(values[i]));
      values[i] = static_cast<int64_t>(in.value);
      at[i] = in.at;
    }
  };
  for (const auto& s : steps) where(s->in, s->in_at), where(s->out, s->out_at);
}

void PlanOutline::list_steps(const Plan& plan) {
  const Graph& g = plan.unit().graph;
  const CompileOptions& options = plan.options();
  const bool views = options.optimize && options.kernel.empty();
  for (const int32_t id : live_) {
    const Node& n = g.node(id);
    if (is_leaf(n) || n.op == &constant_op()) continue;
    if (views && places[index({id, 0})].home == BoundPlan::Home::kNone) {
      if (const auto at = begins_at(n)) {  // the same bytes, where they lie
        views_[index({id, 0})] = {index(n.inputs[0]), *at};
        continue;
      }
    }
    if (views && takes_parts(n)) continue;
    auto s = std::make_unique<Step>();
    s->node = &n;
    // A body's own plan sees the binding too.
    s->fixed = names_no_symbol(n.attributes) && plan.body_of(id) == nullptr;
    for (const Value v : n.inputs) {
      s->in.push_back(v ? static_cast<int64_t>(index(v)) : -1);
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
  for (const auto& s : steps) {
    Work& w = work.emplace_back();
    w.node = s->node;
    for (const int64_t v : s->in) {
      w.in.push_back(v < 0 ? v : static_cast<int64_t>(viewed(static_cast<size_t>(v)).value));
      w.viewed.push_back(w.in.back() != v);
    }
    w.out = s->out;
  }
  std::vector<std::unique_ptr<Step>> ordered;
  for (const Schedule::Place& p : schedule(work, joined_).places) {
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
    view_at.insert(view_at.end(), s->in_at.begin(), s->in_at.end());
    view_at.insert(view_at.end(), s->out_at.begin(), s->out_at.end());
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
