// Where a value leads to the next of its kind, again and again: what might be a loop.
#include <algorithm>
#include <unordered_map>

#include <rondo/graph/op.h>
#include <rondo/ops/roll.h>
#include <rondo/ops/roll_slices.h>

namespace rondo::roll_internal {
namespace {

class ChainFinder {
 public:
  explicit ChainFinder(const LiveGraph& g)
      : g_(g), seen_(static_cast<size_t>(g.subgraph().graph.size())), covered_(g.values()) {}

  // All chains that are long enough, the longest first, then those that end first.
  std::vector<Tuple> run() {
    std::unordered_map<size_t, std::vector<Value>> alike;
    for (const int32_t id : g_.ids()) {
      const Node& n = g_.node(id);
      if (n.inputs.empty() || n.body || !g_.reached(id)) continue;
      for (size_t k = 0; k < n.outputs.size(); ++k) {
        const Value v{id, static_cast<int32_t>(k)};
        if (n.outputs[k].present && !n.outputs[k].shape.empty()) alike[kind_of(v)].push_back(v);
      }
    }
    std::vector<Tuple> chains;
    for (const auto& [kind, values] : alike) {
      if (values.size() < kFewestRolledSteps) continue;
      for (size_t k = values.size(); k-- > kFewestRolledSteps - 1;) {
        if (covered_[g_.index(values[k])]) continue;
        Tuple chain = longest_from(values[k]);
        if (chain.size() <= kFewestRolledSteps) continue;
        for (size_t i = 1; i < chain.size(); ++i) covered_[g_.index(chain[i])] = true;
        chains.push_back(std::move(chain));
      }
    }
    std::sort(chains.begin(), chains.end(), [](const Tuple& a, const Tuple& b) {
      return a.size() != b.size() ? a.size() > b.size() : a.back() < b.back();
    });
    return chains;
  }

 private:
  struct Hop {
    const OpDef* op;
    size_t operand;
  };
  static constexpr size_t kFarthest = 400;  // nodes that are looked at around a value
  static constexpr int kTries = 16;         // of its kind that are tried as the one before

  size_t kind_of(Value v) const {
    const Node& n = g_.node(v.node);
    return std::hash<std::string>()(cat(n.op->name, v.slot, g_.type(v).str()));
  }
  bool alike(Value a, Value b) const {
    const Node &m = g_.node(a.node), &n = g_.node(b.node);
    return a.slot == b.slot && m.op == n.op && g_.type(a) == g_.type(b) &&
           m.attributes == n.attributes;
  }
  Value follow(const std::vector<Hop>& path, Value v) const {
    for (const Hop& h : path) {
      const Node& n = g_.node(v.node);
      if (n.op != h.op || h.operand >= n.inputs.size() || !n.inputs[h.operand]) return {};
      v = n.inputs[h.operand];
    }
    return v;
  }
  // v and what the path leads to from there, again and again; first value first. It ends where
  // another chain begins: else there were one of each length, and as many walks as steps.
  Tuple chain_along(const std::vector<Hop>& path, Value v) const {
    Tuple chain{v};
    for (;;) {
      const Value next = follow(path, chain.back());
      if (!next || g_.type(next) != g_.type(v)) break;
      chain.push_back(next);
      if (!alike(next, v) || covered_[g_.index(next)]) break;  // the first state
    }
    std::reverse(chain.begin(), chain.end());
    return chain;
  }
  // Breadth first over what v needs: each value of its kind might be the step before.
  Tuple longest_from(Value v) {
    struct Visit {
      Value value;
      size_t from;
      size_t operand;
    };
    ++round_;
    std::vector<Visit> visits{{v, 0, 0}};
    Tuple best;
    int tries = 0;
    for (size_t at = 0; at < visits.size() && at < kFarthest && tries < kTries; ++at) {
      const Value here = visits[at].value;
      if (at != 0 && alike(here, v)) {
        ++tries;
        std::vector<Hop> path;
        for (size_t k = at; k != 0; k = visits[k].from)
          path.push_back({g_.node(visits[visits[k].from].value.node).op, visits[k].operand});
        std::reverse(path.begin(), path.end());
        // A sum of many terms is no loop.
        if (path.size() == 1 && path[0].op->name == "add") continue;
        Tuple chain = chain_along(path, v);
        if (chain.size() > best.size()) best = std::move(chain);
      }
      const Node& n = g_.node(here.node);
      for (size_t i = 0; i < n.inputs.size(); ++i) {
        const Value of = n.inputs[i];
        // By node: two results of one node lead to the same operands, but may end chains of their
        // own.
        if (!of || is_leaf(g_.node(of.node))) continue;
        int& seen = seen_[static_cast<size_t>(of.node)];
        if (seen == round_ && !alike(of, v)) continue;
        seen = round_;
        visits.push_back({of, at, i});
      }
    }
    return best;
  }

  const LiveGraph& g_;
  std::vector<int> seen_;      // by node
  std::vector<bool> covered_;  // by value: whether a chain found before leads through it
  int round_ = 0;
};

}  // namespace

std::vector<Tuple> chains_of(const LiveGraph& g) { return ChainFinder(g).run(); }

}  // namespace rondo::roll_internal
