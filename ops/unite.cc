#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/graph/passes.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

// One loop for two: its body, the operands of each kind, and which of its results those of the two
// are.
struct United {
  Subgraph body{Graph(nullptr), {}, {}};
  std::vector<Value> xs, per_row, shared;  // of the graph around
  size_t ys = 0, sums = 0;
  std::vector<size_t> y_of[2], sum_of[2];
};

bool same_loop(const Node& a, const Node& b) {
  const RecurrenceLayout l(a), m(b);
  if (l.states == 0 || l.states != m.states || is_branch(a)) return false;
  if (a.inputs[l.begin()] != b.inputs[m.begin()] || a.inputs[l.end()] != b.inputs[m.end()])
    return false;
  Attributes rest[2] = {a.attributes, b.attributes};
  for (Attributes& r : rest) {
    for (const char* count : {"xs", "per_row", "shared", "ys"}) r.set(count, 0);
  }
  return rest[0] == rest[1] &&
         std::equal(a.inputs.begin(), a.inputs.begin() + static_cast<std::ptrdiff_t>(l.states),
                    b.inputs.begin());
}

// None when the two do not carry the same states on.
std::optional<United> unite_bodies(const Node& a, const Node& b) {
  United u;
  Graph g;
  const size_t states = RecurrenceLayout(a).states;
  std::vector<Value> first;                   // the states in the new body
  std::map<std::pair<int, Value>, Value> of;  // what stands for an operand there
  std::vector<Value> inputs[3], results[2];
  for (const Node* n : {&a, &b}) {
    const RecurrenceLayout l(*n);
    const Subgraph& body = *n->body;
    std::map<Value, Var> now;
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      const ValueType& t = body.graph.type(body.inputs[i]);
      const auto add = [&] { return g.placeholder("", t.dtype, t.shape).value(); };
      Value in;
      if (i < states) {
        if (first.size() == i) first.push_back(add());
        in = first[i];
      } else {
        const int kind = i < l.first_per_row() ? 0 : i < l.first_shared() ? 1 : 2;
        const auto [at, is_new] = of.try_emplace({kind, n->inputs[i]});
        if (is_new) {
          at->second = add();
          inputs[kind].push_back(at->second);
          (kind == 0 ? u.xs : kind == 1 ? u.per_row : u.shared).push_back(n->inputs[i]);
        }
        in = at->second;
      }
      now[body.inputs[i]] = g.var(in);
    }
    for (const int32_t id : live_nodes(body)) {
      if (now.count({id, 0}) != 0) continue;
      const Node& m = body.graph.node(id);
      Vars operands;
      for (const Value v : m.inputs) operands.push_back(v ? now.at(v) : Var());
      const Vars made = g.call(*m.op, operands, m.attributes, {.body = m.body, .site = m.site});
      for (size_t k = 0; k < made.size(); ++k) now[{id, static_cast<int32_t>(k)}] = made[k];
    }
    for (const Value v : body.outputs) results[n == &b].push_back(v ? now.at(v).value() : Value{});
  }
  Subgraph both{g, first, results[0]};
  for (const auto& list : inputs) both.inputs.insert(both.inputs.end(), list.begin(), list.end());
  both.outputs.insert(both.outputs.end(), results[1].begin(), results[1].end());
  both = common_subexpressions(both);

  const auto second = both.outputs.begin() + static_cast<std::ptrdiff_t>(results[0].size());
  if (!std::equal(both.outputs.begin(), both.outputs.begin() + static_cast<std::ptrdiff_t>(states),
                  second))
    return std::nullopt;
  u.body = both;
  u.body.outputs.resize(states);
  const auto take = [&](bool sums, size_t* count, std::vector<size_t>(&to)[2]) {
    const size_t begin = u.body.outputs.size();
    for (const bool is_b : {false, true}) {
      const RecurrenceLayout l(is_b ? b : a);
      const size_t from = (is_b ? results[0].size() : 0) + states + (sums ? l.ys : 0);
      for (size_t k = 0; k < (sums ? l.sums : l.ys); ++k) {
        const Value v = both.outputs[from + k];
        auto at = std::find(u.body.outputs.begin() + static_cast<std::ptrdiff_t>(begin),
                            u.body.outputs.end(), v);
        if (at == u.body.outputs.end()) at = u.body.outputs.insert(at, v);
        to[is_b].push_back(static_cast<size_t>(at - u.body.outputs.begin()) - begin);
      }
    }
    *count = u.body.outputs.size() - begin;
  };
  take(false, &u.ys, u.y_of);
  take(true, &u.sums, u.sum_of);
  return u;
}

// Whether b's operands do without a.
bool apart(const Subgraph& s, const std::vector<int32_t>& live, const Node& a, const Node& b) {
  std::vector<bool> behind(static_cast<size_t>(s.graph.size()));
  behind[static_cast<size_t>(a.id)] = true;
  for (auto id = std::upper_bound(live.begin(), live.end(), a.id); *id <= b.id; ++id) {
    for (const Value v : s.graph.node(*id).inputs) {
      if (v && behind[static_cast<size_t>(v.node)]) behind[static_cast<size_t>(*id)] = true;
    }
    if (*id == b.id) break;
  }
  return !behind[static_cast<size_t>(b.id)];
}

Subgraph replace(const Subgraph& s, const Node& a, const Node& b, const United& u) {
  // What b needs comes before a.
  std::vector<bool> early(static_cast<size_t>(s.graph.size()));
  early[static_cast<size_t>(b.id)] = true;
  for (int32_t id = b.id; id > a.id; --id) {
    for (const Value v : s.graph.node(id).inputs) {
      if (v && early[static_cast<size_t>(id)]) early[static_cast<size_t>(v.node)] = true;
    }
  }
  Rebuilder r(s);
  const auto make = [&] {
    Parts parts(a, r.inputs(a), u.body);
    const auto operands = [&](const std::vector<Value>& of) {
      Vars v;
      for (const Value x : of) v.push_back(r[x]);
      return v;
    };
    parts.xs = operands(u.xs);
    parts.per_row = operands(u.per_row);
    parts.shared = operands(u.shared);
    parts.ys = u.ys;
    const Vars made = parts.make(r.graph(), a);
    for (const Node* n : {&a, &b}) {
      const RecurrenceLayout l(*n);
      Vars results;
      for (const size_t k : u.y_of[n == &b]) results.push_back(made[k]);
      for (size_t k = 0; k < l.states; ++k) results.push_back(made[u.ys + k]);
      for (const size_t k : u.sum_of[n == &b]) results.push_back(made[u.ys + l.states + k]);
      for (size_t k = 0; k < l.states; ++k) results.push_back(made[u.ys + l.states + u.sums + k]);
      r.set(*n, results);
    }
  };
  for (const int32_t id : r.live()) {
    if (id == a.id) {
      for (const int32_t other : r.live()) {
        if (other > a.id && other < b.id && early[static_cast<size_t>(other)])
          r.copy(r.node(other));
      }
      make();
    } else if (id != b.id && (id < a.id || id > b.id || !early[static_cast<size_t>(id)])) {
      r.copy(r.node(id));
    }
  }
  return r.finish();
}

std::optional<Subgraph> unite_two(const Subgraph& s) {
  const std::vector<int32_t> live = live_nodes(s);
  std::vector<int32_t> loops;
  for (const int32_t id : live) {
    const Node& b = s.graph.node(id);
    if (!is_recurrence(b)) continue;
    for (const int32_t earlier : loops) {
      const Node& a = s.graph.node(earlier);
      if (!same_loop(a, b) || !apart(s, live, a, b)) continue;
      if (const auto u = unite_bodies(a, b)) return replace(s, a, b, *u);
    }
    loops.push_back(id);
  }
  return std::nullopt;
}

}  // namespace

Subgraph unite(const Subgraph& s, RewriteLog* log) {
  Subgraph now = s;
  while (const auto next = unite_two(now)) {
    now = *next;
    if (log != nullptr) log->note("recurrence");
  }
  return now;
}

}  // namespace rondo
