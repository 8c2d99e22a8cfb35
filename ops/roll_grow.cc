// What each step of a loop does beside its cycle, an SRU's highway say: it becomes work of the
// loop's step too, and its results are outputs over time.
//
// It is found from the loop's values on, reader by reader: the same reader at each step, laid upon
// each other as the steps themselves are. What it needs of the step's inputs comes with it.
#include <algorithm>
#include <set>
#include <string_view>

#include <rondo/graph/op.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/roll_slices.h>

namespace rondo::roll_internal {
namespace {

using Users = std::vector<std::vector<int32_t>>;  // of each node, each once, in order

Users users_of(const LiveGraph& g) {
  Users users(static_cast<size_t>(g.subgraph().graph.size()));
  for (const int32_t id : g.ids()) {
    for (const Value v : g.node(id).inputs) {
      if (!v) continue;
      std::vector<int32_t>& list = users[static_cast<size_t>(v.node)];
      if (list.empty() || list.back() != id) list.push_back(id);
    }
  }
  return users;
}

// Composite ops that become part of a program: no backend has a kernel for them.
const std::set<std::string_view> kLowered{"layer_norm", "rms_norm"};

// Where a node reads a result of another.
std::pair<size_t, int32_t> reading(const Node& user, int32_t of) {
  size_t k = 0;
  while (!user.inputs[k] || user.inputs[k].node != of) ++k;
  return {k, user.inputs[k].slot};
}

}  // namespace

// These nodes of the step and all that they need of it.
std::vector<size_t> Slices::needs(std::vector<size_t> nodes) const {
  std::vector<bool> seen(nodes_.size());
  for (const size_t n : nodes) seen[n] = true;
  for (size_t at = 0; at < nodes.size(); ++at) {
    for (const Inner& i : nodes_[nodes[at]].operands) {
      if (i.kind != Inner::Kind::kNode || seen[i.index]) continue;
      seen[i.index] = true;
      nodes.push_back(i.index);
    }
  }
  return nodes;
}

// The nodes that steps of other loops need, and not only once the steps are put side by side.
std::vector<bool> Slices::of_other_loops(const std::vector<Tuple>& chains,
                                         const std::vector<bool>& inside) const {
  std::vector<bool> r(inside.size());
  for (const Tuple& c : chains) {
    const auto id = static_cast<size_t>(c.back().node);
    r[id] = r[id] || !inside[id];
  }
  for (auto id = g_->ids().rbegin(); id != g_->ids().rend(); ++id) {
    if (!r[static_cast<size_t>(*id)]) continue;
    int32_t least = static_cast<int32_t>(steps()), most = 1;  // of the steps that it reads
    for (const Value v : g_->node(*id).inputs) {
      if (!v || level(v) < 1) continue;
      least = std::min(least, level(v));
      most = std::max(most, level(v));
    }
    if (most - least > 1) continue;
    for (const Value v : g_->node(*id).inputs) {
      if (v) r[static_cast<size_t>(v.node)] = true;
    }
  }
  return r;
}

// What reads a node of the step in the same way at each step, from outside.
std::vector<Tuple> Slices::readers(size_t node, const Users& users,
                                   const std::vector<bool>& inside) const {
  const std::vector<int32_t>& ids = nodes_[node].ids;
  if (std::find(ids.begin(), ids.end(), -1) != ids.end()) return {};
  std::vector<Tuple> r;
  // A reshape puts results side by side again.
  const auto outside = [&](int32_t id) {
    return !inside[static_cast<size_t>(id)] && g_->node(id).op->name != "reshape";
  };
  for (const int32_t first : users[static_cast<size_t>(ids[0])]) {
    if (!outside(first)) continue;
    const Node& a = g_->node(first);
    const auto alike = [&](int32_t id, int32_t of) {
      const Node& b = g_->node(id);
      return a.op == b.op && a.attributes == b.attributes && a.inputs.size() == b.inputs.size() &&
             reading(a, ids[0]) == reading(b, of);
    };
    const auto earlier =
        std::count_if(r.begin(), r.end(), [&](const Tuple& t) { return alike(t[0].node, ids[0]); });
    Tuple t;
    for (const int32_t of : ids) {
      auto skip = earlier;
      for (const int32_t user : users[static_cast<size_t>(of)]) {
        if (!outside(user) || !alike(user, of) || skip-- > 0) continue;
        t.push_back({user, 0});
        break;
      }
    }
    if (t.size() == ids.size()) r.push_back(std::move(t));
  }
  return r;
}

// A product of one loop's values that another loop's steps read is work of that one's inputs: done
// over all steps between them.
bool Slices::fits_in(const Node& n, bool of_another) {
  const auto has_rows = [&](const ValueType& t) {
    return !t.shape.empty() && t.shape[0] == rows();
  };
  if (!std::all_of(n.outputs.begin(), n.outputs.end(), has_rows))
    return fail(cat(n.op->name, " does not give a row for each sequence"));
  if (!recurrence_internal::fits_program(n) && kLowered.count(n.op->name) == 0)
    return fail(cat("steps with ", n.op->name, " do not run as one program"));
  return n.op->name != "matmul" || !of_another;
}

bool Slices::reads_only_what_is_before() {
  std::vector<bool> behind(static_cast<size_t>(g_->subgraph().graph.size()));
  std::vector<size_t> all = grown_;
  for (const State& s : states_) {
    if (s.next_inner.kind == Inner::Kind::kNode) all.push_back(s.next_inner.index);
  }
  all = needs(std::move(all));
  for (const size_t n : all) {
    for (const int32_t id : nodes_[n].ids) {
      if (id >= 0 && is_of_steps(n)) behind[static_cast<size_t>(id)] = true;
    }
  }
  for (const int32_t id : g_->ids()) {
    for (const Value v : g_->node(id).inputs) {
      if (v && behind[static_cast<size_t>(v.node)]) behind[static_cast<size_t>(id)] = true;
    }
  }
  const auto before = [&](Value v) { return !v || !behind[static_cast<size_t>(v.node)]; };
  bool ok = true;
  for (const State& s : states_) ok = ok && before(s.first);
  for (const Sequence& s : sequences_)
    ok = ok && (s.of ? before(s.of) : std::all_of(s.each.begin(), s.each.end(), before));
  for (const size_t n : all) {
    for (const Inner& i : nodes_[n].operands)
      ok = ok && (i.kind != Inner::Kind::kShared || before(i.outer));
  }
  return ok || fail("what it takes from outside depends on other steps");
}

// Whether the same work at each step can be part of the step; takes it in then. What it leaves
// behind when it cannot is of no use.
bool Slices::take_in(const Tuple& t, const std::vector<bool>& others, const Refused& refused) {
  const size_t nodes = nodes_.size(), states = states_.size();
  Inner inner;
  if (!unify_nodes(t, &inner) || !follow_states(states)) return false;
  grown_.push_back(inner.index);
  std::vector<size_t> taken{inner.index};
  for (size_t s = states; s < states_.size(); ++s) {
    if (states_[s].next_inner.kind == Inner::Kind::kNode)
      taken.push_back(states_[s].next_inner.index);
  }
  for (const size_t n : needs(std::move(taken))) {
    if (n < nodes) continue;
    const int32_t id = nodes_[n].ids[1];
    if (const auto it = refused.find(id); it != refused.end()) return fail(it->second);
    if (!fits_in(g_->node(id), is_of_steps(n) && others[static_cast<size_t>(id)])) return false;
  }
  return reads_only_what_is_before();
}

void Slices::grow(const std::vector<Tuple>& chains, const Refused& refused,
                  std::vector<std::string>* left) {
  find_levels(g_->ids().back());
  const Users users = users_of(*g_);
  std::vector<bool> inside(users.size());
  std::vector<size_t> todo;
  const auto take = [&](const std::vector<size_t>& nodes) {
    for (const size_t n : nodes) {
      if (!is_of_steps(n)) continue;
      bool is_new = false;
      for (const int32_t id : nodes_[n].ids) {
        if (id < 0) continue;
        is_new = is_new || !inside[static_cast<size_t>(id)];
        inside[static_cast<size_t>(id)] = true;
      }
      if (is_new) todo.push_back(n);
    }
  };
  std::vector<size_t> cycle;
  for (const State& s : states_) {
    if (s.next_inner.kind == Inner::Kind::kNode) cycle.push_back(s.next_inner.index);
  }
  take(needs(cycle));
  const std::vector<bool> others = of_other_loops(chains, inside);
  for (size_t at = 0; at < todo.size(); ++at) {
    for (const Tuple& t : readers(todo[at], users, inside)) {
      if (inside[static_cast<size_t>(t[1].node)]) continue;
      Slices with = *this;
      if (with.take_in(t, others, refused)) {
        *this = std::move(with);
        take(needs({grown_.back()}));
      } else if (!others[static_cast<size_t>(t[1].node)]) {
        const Node& n = g_->node(t[1].node);
        left->push_back(cat(steps(), " steps of ", n.op->name, where(n.site),
                            " beside their loop: ", with.why()));
      }
    }
  }
}

}  // namespace rondo::roll_internal
