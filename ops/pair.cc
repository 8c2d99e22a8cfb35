#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

// Ops that mean the same on [T,B,...] as on [B,...] at each step.
bool over_time(const Node& n) {
  if (n.op->name == "matmul") return !n.attributes.flag("transpose_a");
  return !n.op->formula.empty() || n.op->name == "split" || n.op->name == "concat";
}

bool commutes(const Node& n) { return n.op->name == "add" || n.op->name == "mul"; }

// A loop, and which of its step's values a value of the graph around it holds over time.
class Loop {
 public:
  Loop(const Subgraph& s, const Node& n) : g_(s.graph), n_(n), body_(*n.body), l_(n) {
    for (size_t i = 0; i < l_.states; ++i)
      inner_[{n.id, static_cast<int32_t>(l_.trajectory_of(i))}] = body_.inputs[i];
    for (size_t i = 0; i < l_.xs; ++i)
      inner_[n.inputs[l_.first_x() + i]] = body_.inputs[l_.first_x() + i];
    for (size_t i = 0; i < l_.ys; ++i)
      inner_[{n.id, static_cast<int32_t>(i)}] = body_.outputs[l_.states + i];
    for (size_t i = 0; i < l_.shared; ++i)
      shared_[n.inputs[l_.first_shared() + i]] = body_.inputs[l_.first_shared() + i];
    for (const int32_t id : live_nodes(body_)) {
      const Node& in = body_.graph.node(id);
      if (in.inputs.empty() || !over_time(in)) continue;
      const auto key = key_of(in, [&](Value v) { return std::optional(v); }, body_.graph);
      if (key) steps_.emplace(*key, id);
    }
  }

  const RecurrenceLayout& layout() const { return l_; }
  bool has_windows() const { return n_.inputs[l_.begin()] || n_.inputs[l_.end()]; }

  // Notes the node when each step of the loop computes just that.
  bool takes(const Node& n) {
    if (n.inputs.empty() || !over_time(n)) return false;
    const auto same = [&](Value v) -> std::optional<Value> {
      if (const auto it = inner_.find(v); it != inner_.end()) return it->second;
      if (const auto it = shared_.find(v); it != shared_.end()) return it->second;
      return std::nullopt;
    };
    if (std::none_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return inner_.count(v); }))
      return false;
    auto key = key_of(n, same, g_);
    if (!key) return false;
    const Node* found = step_like(n, *key);
    if (found == nullptr && commutes(n)) {
      std::swap(key->second[0], key->second[1]);
      found = step_like(n, *key);
    }
    if (found == nullptr) return false;
    for (size_t k = 0; k < n.outputs.size(); ++k)
      inner_[{n.id, static_cast<int32_t>(k)}] = {found->id, static_cast<int32_t>(k)};
    return true;
  }
  Value inner(Value v) const { return inner_.at(v); }

 private:
  struct Operand {
    Value value;
    double number = 0;
    auto operator<=>(const Operand&) const = default;
  };
  using Key = std::pair<std::string_view, std::vector<Operand>>;

  template <class Same>
  static std::optional<Key> key_of(const Node& n, const Same& same, const Graph& g) {
    Key k{n.op->name, {}};
    for (const Value v : n.inputs) {
      if (!v) return std::nullopt;
      const auto number = literal_value(g.var(v));
      const std::optional<Value> known = number ? std::nullopt : same(v);
      if ((!number && !known) || (number && std::isnan(*number))) return std::nullopt;
      k.second.push_back(number ? Operand{{}, *number} : Operand{*known});
    }
    return k;
  }

  const Node* step_like(const Node& n, const Key& key) const {
    const auto [first, last] = steps_.equal_range(key);
    for (auto it = first; it != last; ++it) {
      const Node& step = body_.graph.node(it->second);
      if (alike(step, n)) return &step;
    }
    return nullptr;
  }

  // The same op with a time axis in front.
  bool alike(const Node& step, const Node& n) const {
    Attributes a = step.attributes;
    if (n.op->formula.empty() && a.has("axis")) {
      const size_t rank = step.outputs[0].shape.size();
      const size_t at = axis_index(a.integer("axis"), rank) + 1;
      if (axis_index(n.attributes.integer("axis"), rank + 1) != at) return false;
      a.set("axis", n.attributes.integer("axis"));
    }
    if (a != n.attributes || step.outputs.size() != n.outputs.size()) return false;
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      if (step.outputs[k].dtype != n.outputs[k].dtype ||
          step.outputs[k].shape.size() + 1 != n.outputs[k].shape.size() ||
          !(step.outputs[k].shape[0] == Dim::symbol(n_.attributes.text("row_symbol"))))
        return false;
    }
    return true;
  }

  const Graph& g_;
  const Node& n_;
  const Subgraph& body_;
  RecurrenceLayout l_;
  std::map<Value, Value> inner_;   // values over time
  std::map<Value, Value> shared_;  // values that are the same at each step
  std::multimap<Key, int32_t> steps_;
};

class Pairer {
 public:
  explicit Pairer(const Subgraph& s) : s_(s), ids_(live_nodes(s)) {
    users_.resize(static_cast<size_t>(s.graph.size()));
    for (const int32_t id : ids_) {
      for (const Value v : s.graph.node(id).inputs) {
        if (v) users_[static_cast<size_t>(v.node)].push_back(id);
      }
    }
    for (const Value v : s.outputs) {
      if (v) is_output_.insert(v);
    }
  }

  // What is computed a second time: the nodes, and in the place of which of their results which
  // value of the loop's step is to be a result.
  struct Found {
    std::set<int32_t> nodes;
    std::map<Value, Value> results;
  };
  Found find(const Node& n, const std::set<int32_t>& gone) const {
    Loop loop(s_, n);
    Found f;
    if (!keeps_states(n, loop.layout())) return f;
    for (auto it = std::upper_bound(ids_.begin(), ids_.end(), n.id); it != ids_.end(); ++it) {
      const Node& at = s_.graph.node(*it);
      if (gone.count(at.id) == 0 && loop.takes(at)) f.nodes.insert(at.id);
    }
    // Past its end a row has 0 in the loop's results and something else out here.
    const std::vector<int32_t> taken(f.nodes.rbegin(), f.nodes.rend());
    for (const int32_t id : taken) {
      if (loop.has_windows() && !read_within(id, n, f.nodes)) f.nodes.erase(id);
    }
    leave_what_is_cheap(f, n, loop.layout());
    for (const Value v : read_of(f.nodes)) f.results[v] = loop.inner(v);
    return f;
  }

 private:
  bool keeps_states(const Node& n, const RecurrenceLayout& l) const {
    for (const int32_t id : users_[static_cast<size_t>(n.id)]) {
      for (const Value v : s_.graph.node(id).inputs) {
        if (v && v.node == n.id && v.slot >= static_cast<int32_t>(l.trajectory_of(0))) return true;
      }
    }
    return false;
  }

  // The values of these nodes that others want.
  std::set<Value> read_of(const std::set<int32_t>& nodes) const {
    std::set<Value> r;
    for (const int32_t id : nodes) {
      for (size_t k = 0; k < s_.graph.node(id).outputs.size(); ++k) {
        const Value v{id, static_cast<int32_t>(k)};
        if (is_read(v, nodes)) r.insert(v);
      }
    }
    return r;
  }

  // What a few elementwise ops make of the other results, and of the states, costs less to compute
  // again than to keep: tanh(c) of an LSTM.
  void leave_what_is_cheap(Found& f, const Node& loop, const RecurrenceLayout& l) const {
    constexpr size_t kMostOps = 8;
    const std::set<Value> read = read_of(f.nodes);
    for (auto v = read.rbegin(); v != read.rend(); ++v) {
      std::set<int32_t> again;
      const std::function<bool(Value)> derive = [&](Value x) {
        if (x.node == loop.id) return x.slot >= static_cast<int32_t>(l.trajectory_of(0));
        if (literal_value(s_.graph.var(x))) return true;
        const Node& n = s_.graph.node(x.node);
        const bool kept = f.nodes.count(n.id) != 0;
        if (x != *v && (kept ? read.count(x) != 0 : again.count(n.id) != 0)) return true;
        if (!kept || n.op->formula.empty() || again.size() == kMostOps) return false;
        again.insert(n.id);
        return std::all_of(n.inputs.begin(), n.inputs.end(), derive);
      };
      if (!derive(*v)) continue;
      for (const int32_t id : again) f.nodes.erase(id);
    }
  }

  // Whether others than these nodes want the value.
  bool is_read(Value v, const std::set<int32_t>& but) const {
    if (is_output_.count(v) != 0) return true;
    const auto& users = users_[static_cast<size_t>(v.node)];
    return std::any_of(users.begin(), users.end(), [&](int32_t id) {
      const auto& in = s_.graph.node(id).inputs;
      return but.count(id) == 0 && std::find(in.begin(), in.end(), v) != in.end();
    });
  }

  // Whether the node's results lead to nothing but steps of loops over the same windows.
  bool read_within(int32_t id, const Node& loop, const std::set<int32_t>& but) const {
    std::set<int32_t> seen{id};
    std::vector<int32_t> todo{id};
    const RecurrenceLayout l(loop);
    while (!todo.empty()) {
      const int32_t from = todo.back();
      todo.pop_back();
      for (size_t k = 0; k < s_.graph.node(from).outputs.size(); ++k) {
        if (is_output_.count({from, static_cast<int32_t>(k)}) != 0) return false;
      }
      for (const int32_t user : users_[static_cast<size_t>(from)]) {
        const Node& n = s_.graph.node(user);
        if (from == id && but.count(user) != 0) continue;
        if (is_recurrence(n)) {
          const RecurrenceLayout m(n);
          for (size_t i = 0; i < n.inputs.size(); ++i) {
            const bool x = i >= m.first_x() && i < m.first_per_row();
            if (n.inputs[i] && n.inputs[i].node == from && !x) return false;
          }
          if (n.inputs[m.begin()] != loop.inputs[l.begin()] ||
              n.inputs[m.end()] != loop.inputs[l.end()])
            return false;
        } else if (!over_time(n) || n.op->name == "matmul") {
          return false;
        } else if (seen.insert(user).second) {
          todo.push_back(user);
        }
      }
    }
    return true;
  }

  const Subgraph& s_;
  std::vector<int32_t> ids_;
  std::vector<std::vector<int32_t>> users_;
  std::set<Value> is_output_;
};

// The loop with more results over time; -> its old results, then the new ones.
Vars with_results(Rebuilder& r, const Node& n, const std::vector<Value>& inner) {
  const RecurrenceLayout l(n);
  Parts parts(n, r.inputs(n), *n.body);
  parts.body.outputs.insert(
      parts.body.outputs.begin() + static_cast<std::ptrdiff_t>(l.states + l.ys), inner.begin(),
      inner.end());
  parts.ys += inner.size();
  Vars now = parts.make(r.graph(), n);
  const auto first = now.begin() + static_cast<std::ptrdiff_t>(l.ys);
  std::rotate(first, first + static_cast<std::ptrdiff_t>(inner.size()), now.end());
  return now;
}

// What loops and others both compute, and what of it the loops would have to give.
struct Pairs {
  std::map<int32_t, std::vector<Value>> inner;       // by loop: new results
  std::map<Value, std::pair<int32_t, size_t>> from;  // value -> loop, which of them
  std::set<int32_t> gone;
};
Pairs pairs_of(const Subgraph& s, RewriteLog* log) {
  const Pairer pairer(s);
  Pairs p;
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (!is_recurrence(n) || is_branch(n) || p.gone.count(id) != 0) continue;
    const Pairer::Found f = pairer.find(n, p.gone);
    for (const auto& [outer, step] : f.results) {
      std::vector<Value>& list = p.inner[id];
      auto at = std::find(list.begin(), list.end(), step);
      if (at == list.end()) at = list.insert(list.end(), step);
      p.from[outer] = {id, static_cast<size_t>(at - list.begin())};
    }
    p.gone.insert(f.nodes.begin(), f.nodes.end());
    if (log == nullptr) continue;
    for (const int32_t g : f.nodes) log->note(s.graph.node(g).op->name);
  }
  return p;
}

}  // namespace

Subgraph pair_loops(const Subgraph& s, RewriteLog* log) {
  const auto [inner, from, gone] = pairs_of(s, log);
  if (gone.empty()) return s;
  std::map<int32_t, Vars> made;
  return rebuild(
      s, [&, &inner = inner, &from = from, &gone = gone](Rebuilder& r, const Node& n) -> Vars {
        if (const auto it = inner.find(n.id); it != inner.end()) {
          Vars now = with_results(r, n, it->second);
          const auto first = now.begin() + static_cast<std::ptrdiff_t>(n.outputs.size());
          made[n.id] = Vars(first, now.end());
          now.erase(first, now.end());
          return now;
        }
        if (gone.count(n.id) == 0) return {};
        Vars results(n.outputs.size());
        for (size_t k = 0; k < results.size(); ++k) {
          const auto it = from.find({n.id, static_cast<int32_t>(k)});
          if (it != from.end()) results[k] = made.at(it->second.first)[it->second.second];
        }
        return results;
      });
}

}  // namespace rondo
