#include <rondo/ops/roll_slices.h>

#include <algorithm>
#include <optional>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/shape.h>

namespace rondo::roll_internal {
namespace {

constexpr int kMostShifts = 3;

// A value that is one slice of another along an axis, the axis gone: reshape(slice(x, axis, i,
// i+1)), a result of unstack, or what that is lowered to, reshape(split(x, axis)).
struct Cut {
  Value of;
  int64_t axis = 0, at = 0;
};
std::optional<Cut> cut_of(const LiveGraph& g, Value v) {
  const Node& n = g.node(v.node);
  const bool whole = n.op->name == "unstack";
  if (!whole && n.op->name != "reshape") return std::nullopt;
  const Value part = whole ? v : n.inputs[0];
  const Node& cut = g.node(part.node);
  if (!whole && cut.op->name != "slice" && cut.op->name != "split") return std::nullopt;
  const Shape& of = g.type(cut.inputs[0]).shape;
  const size_t axis = axis_index(cut.attributes.integer("axis"), of.size());
  int64_t at = part.slot;
  if (cut.op->name == "slice") {
    const Shape& bounds = cut.attributes.shape("bounds");
    if (!bounds[0].is_constant()) return std::nullopt;
    at = bounds[0].constant();
  }
  if (!whole && g.type(part).shape[axis] != Dim(1)) return std::nullopt;
  Shape rest = of;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(axis));
  if (rest != g.type(v).shape || g.stays(n.id) || g.stays(cut.id)) return std::nullopt;
  return Cut{cut.inputs[0], static_cast<int64_t>(axis), at};
}

}  // namespace

LiveGraph::LiveGraph(const Subgraph& s, size_t whole)
    : s_(s), ids_(live_nodes(s)), stays_(static_cast<size_t>(s.graph.size())) {
  for (int32_t i = 0; i < s.graph.size(); ++i) {
    first_.push_back(values_);
    values_ += s.graph.node(i).outputs.size();
  }
  if (whole >= s.outputs.size()) return;
  reached_.resize(stays_.size());
  for (size_t k = whole; k < s.outputs.size(); ++k) {
    const auto id = static_cast<size_t>(s.outputs[k].node);
    reached_[id] = true;
    stays_[id] = !is_leaf(s.graph.node(s.outputs[k].node));
  }
  for (const int32_t id : ids_) {
    for (const Value v : node(id).inputs) {
      if (v && reached_[static_cast<size_t>(v.node)]) reached_[static_cast<size_t>(id)] = true;
    }
  }
}

Slices::Slices(const LiveGraph& g, Tuple chain) : g_(&g), chain_(std::move(chain)) {}

bool Slices::match() {
  const ValueType& t = g_->type(chain_[0]);
  if (t.shape.empty() || t != g_->type(chain_[1])) return fail("its carried value has no row axis");
  find_levels(chain_.back().node);
  const Tuple before(chain_.begin(), chain_.end() - 1), after(chain_.begin() + 1, chain_.end());
  states_.push_back({chain_[0], after});
  known_[before] = {Inner::Kind::kState, 0};
  return follow_states(0);
}

// States that are met on the way are followed once all whole tuples are known.
bool Slices::follow_states(size_t from) {
  for (size_t s = from; s < states_.size(); ++s) {
    Inner inner;
    const Tuple next = states_[s].next;
    if (!(s == 0 ? unify_nodes(next, &inner) : unify(next, &inner))) return false;
    states_[s].next_inner = known_[next] = inner;
  }
  return true;
}

void Slices::find_levels(int32_t last) {
  level_.assign(g_->values(), -1);
  std::map<Value, int32_t> place;
  for (size_t k = 0; k < chain_.size(); ++k) place[chain_[k]] = static_cast<int32_t>(k);
  // What was made before v_0 does not need it.
  const auto& ids = g_->ids();
  for (auto it = std::lower_bound(ids.begin(), ids.end(), chain_.front().node);
       it != ids.end() && *it <= last; ++it) {
    const int32_t id = *it;
    const Node& n = g_->node(id);
    int32_t level = -1;
    for (const Value v : n.inputs) {
      if (v) level = std::max(level, level_[g_->index(v)]);
    }
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const Value v{id, static_cast<int32_t>(k)};
      const auto at = place.find(v);
      level_[g_->index(v)] = at == place.end() ? level : at->second;
    }
  }
}

// The first step's value may be a first state, so the others decide. What reads the value that a
// step carries on belongs to that step.
Slices::Place Slices::place_of(const Tuple& t) const {
  bool here = true, after = true, before = true, outside = true;
  for (size_t k = 1; k < t.size(); ++k) {
    if (!t[k]) continue;
    const int32_t l = level(t[k]), step = static_cast<int32_t>(k);
    here = here && l == step;
    after = after && l == step + 1;
    before = before && l == step - 1;
    outside = outside && l <= 0;
  }
  if (here || after) return Place::kHere;
  return before ? Place::kBefore : outside ? Place::kOutside : Place::kMixed;
}

bool Slices::unify(const Tuple& t, Inner* inner) {
  if (const auto it = known_.find(t); it != known_.end()) {
    *inner = it->second;
    return true;
  }
  const Value first = t[0];
  const bool same = std::all_of(t.begin(), t.end(), [&](Value v) { return !v || v == first; });
  bool ok = true;
  if (same) {
    *inner = {Inner::Kind::kShared, 0, 0, first};
  } else {
    switch (place_of(t)) {
      case Place::kHere:
        ok = unify_nodes(t, inner);
        break;
      case Place::kBefore:
        return unify_state(t, inner);  // remembers by itself
      case Place::kOutside:
        ok = unify_sequence(t, inner);
        break;
      case Place::kMixed:
        return fail(
            cat("its steps use each other's ", g_->node(t[1].node).op->name, " in different ways"));
    }
  }
  if (ok) known_[t] = *inner;
  return ok;
}

bool Slices::unify_state(const Tuple& t, Inner* inner) {
  const Value present = t[1];
  if (!present || g_->type(t[0]) != g_->type(present))
    return fail("a state changes its shape from step to step");
  State s{t[0], Tuple(t.begin() + 1, t.end())};
  s.next.emplace_back();
  if (!s.next[1]) return fail("it has too few steps");
  *inner = {Inner::Kind::kState, states_.size()};
  states_.push_back(std::move(s));
  known_[t] = *inner;
  return true;
}

bool Slices::same_kind(const Tuple& t) {
  const Node& a = g_->node(t[0].node);
  for (const Value v : t) {
    if (v && g_->stays(v.node)) return fail("a gradient by a value inside of it is asked for");
  }
  for (const Value v : t) {
    if (!v) continue;
    const Node& b = g_->node(v.node);
    if (v.slot != t[0].slot || a.op != b.op || is_leaf(b))
      return fail(cat("steps differ: ", a.op->name, " in one, ", b.op->name, " in another"));
    if (a.op->opaque)
      return fail(
          cat(a.op->name, " draws numbers of its own at each step; inside of rnn::layer it may"));
    if (a.body || b.body) return fail(cat("a step holds a ", a.op->name, " of its own"));
    bool equal = a.attributes == b.attributes && a.outputs == b.outputs &&
                 a.inputs.size() == b.inputs.size();
    for (size_t i = 0; equal && i < a.inputs.size(); ++i) equal = !a.inputs[i] == !b.inputs[i];
    if (!equal) return fail(cat(a.op->name, " has other attributes or shapes in different steps"));
  }
  return true;
}

bool Slices::unify_nodes(const Tuple& t, Inner* inner) {
  const std::pair<int32_t, int32_t> key{t[0].node, t[1].node};
  const auto known = known_nodes_.find(key);
  if (known != known_nodes_.end()) {
    const std::vector<int32_t>& ids = nodes_[known->second.index].ids;
    for (size_t k = 0; k < t.size(); ++k) {
      if (t[k] && (ids[k] != t[k].node || t[k].slot != t[0].slot))
        return fail("its steps are not laid out alike");
    }
    *inner = known->second;
    inner->slot = t[0].slot;
    return true;
  }
  if (!same_kind(t)) return false;
  *inner = {Inner::Kind::kNode, nodes_.size(), t[0].slot};
  StepNode made;
  // A value of another loop leads to that of the step before, and so on to its beginning.
  const auto later = known_nodes_.find({t[1].node, t[2].node});
  if (later != known_nodes_.end()) made.shifts = nodes_[later->second.index].shifts + 1;
  if (made.shifts > kMostShifts)
    return fail(cat("its steps read the ", g_->node(t[0].node).op->name, " of another loop"));
  for (const Value v : t) made.ids.push_back(v ? v.node : -1);
  nodes_.push_back(std::move(made));
  known_nodes_[key] = *inner;
  const size_t index = inner->index;
  std::vector<Inner> operands;
  const size_t count = g_->node(t[0].node).inputs.size();
  for (size_t i = 0; i < count; ++i) {
    operands.emplace_back();
    if (!g_->node(t[0].node).inputs[i]) continue;
    Tuple of;
    for (const Value v : t) of.push_back(v ? g_->node(v.node).inputs[i] : Value{});
    if (!unify(of, &operands.back())) return false;
  }
  nodes_[index].operands = std::move(operands);
  return true;
}

bool Slices::unify_sequence(const Tuple& t, Inner* inner) {
  // Slices of one value, one after the other.
  Sequence s{t};
  std::optional<Cut> first = cut_of(*g_, t[0]), second = t[1] ? cut_of(*g_, t[1]) : std::nullopt;
  bool cut = first && second && std::abs(second->at - first->at) == 1;
  if (cut) {
    s.of = first->of;
    s.axis = first->axis;
    s.begin = first->at;
    s.stride = second->at - first->at;
    cut = stride_ == 0 || stride_ == s.stride;
    const Dim& length = g_->type(s.of).shape[static_cast<size_t>(s.axis)];
    for (size_t k = 1; cut && k < t.size(); ++k) {
      const int64_t at = s.begin + static_cast<int64_t>(k) * s.stride;
      if (!t[k]) {
        cut = at >= 0 && length.is_constant() && at < length.constant();
        continue;
      }
      const auto c = cut_of(*g_, t[k]);
      cut = c && c->of == s.of && c->axis == s.axis && c->at == at;
    }
  }
  if (cut) {
    stride_ = s.stride;
    *inner = {Inner::Kind::kSequence, sequences_.size()};
    sequences_.push_back(std::move(s));
    return true;
  }
  const auto all = [&](const auto& holds) { return std::all_of(t.begin(), t.end(), holds); };
  const bool leaves = all([&](Value v) { return v && is_leaf(g_->node(v.node)); });
  const bool whole = all([](Value v) { return static_cast<bool>(v); });
  const bool staying = !all([&](Value v) { return !v || !g_->stays(v.node); });
  if (leaves || (whole && staying)) {
    const Dim difference =
        g_->type(t[0]).shape.empty() ? Dim(-1) : g_->type(t[0]).shape[0] - rows();
    if (difference.is_constant() && difference.constant() != 0)
      return fail(cat("each step has a ", g_->type(t[0]).str(),
                      " of its own, which does not hold a row for each of its sequences"));
    for (size_t k = 1; k < t.size(); ++k) {
      if (g_->type(t[k]) != g_->type(t[0])) return fail("the inputs of its steps differ in shape");
      if (t[k] == t[k - 1]) return fail("some of its steps share an input, others do not");
    }
    *inner = {Inner::Kind::kSequence, sequences_.size()};
    sequences_.push_back({t});
    return true;
  }
  if (!unify_nodes(t, inner)) return false;
  // The same computation on the same values at each step: once is enough.
  const StepNode& n = nodes_[inner->index];
  const bool shared = std::all_of(n.operands.begin(), n.operands.end(),
                                  [](const Inner& i) { return i.kind == Inner::Kind::kShared; });
  if (shared) *inner = {Inner::Kind::kShared, 0, 0, t[0]};
  return true;
}

}  // namespace rondo::roll_internal
