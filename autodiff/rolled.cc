#include <rondo/autodiff/rolled.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include <rondo/graph/op.h>
#include <rondo/graph/passes.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/roll.h>

namespace rondo {
namespace {

// The nodes of a graph by what they compute. Each stands for one node only: two that compute the
// same stay two, for a gradient may be asked for by either.
class Nodes {
 public:
  Nodes(Graph g, const std::vector<int32_t>& live) : g_(std::move(g)) {
    std::vector<bool> is_live(static_cast<size_t>(g_.size()));
    for (const int32_t id : live) is_live[static_cast<size_t>(id)] = true;
    for (const bool wanted : {true, false}) {
      for (int32_t id = 0; id < g_.size(); ++id) {
        const Node& n = g_.node(id);
        if (is_live[static_cast<size_t>(id)] == wanted) by_key_[key(n, n.inputs)].push_back(id);
      }
    }
  }

  // Takes the next node that computes what n does on these operands; -1: none is left.
  int32_t take(const Node& n, const std::vector<Value>& inputs) {
    const auto alike = by_key_.find(key(n, inputs));
    if (alike == by_key_.end()) return -1;
    for (int32_t& id : alike->second) {
      if (id < 0) continue;
      const Node& m = g_.node(id);
      const bool body = n.body == nullptr ? m.body == nullptr
                                          : m.body != nullptr && same_structure(*m.body, *n.body);
      if (body && m.attributes == n.attributes) return std::exchange(id, -1);
    }
    return -1;
  }

 private:
  using Key = std::tuple<const OpDef*, std::vector<Value>, std::string>;
  // Without operands only the attributes tell nodes apart.
  static Key key(const Node& n, const std::vector<Value>& inputs) {
    std::string text;
    if (inputs.empty()) {
      for (const auto& [name, value] : n.attributes.items()) text += value.str();
    }
    return {n.op, inputs, text};
  }

  Graph g_;
  std::map<Key, std::vector<int32_t>> by_key_;
};

std::vector<Value> values_of(const Vars& vars) {
  std::vector<Value> r;
  for (const Var& v : vars) r.push_back(v ? v.value() : Value{});
  return r;
}

}  // namespace

void roll_between(Graph g, Vars* wrt, Vars* outputs) {
  Subgraph s{g, {}, values_of(*outputs)};
  for (const Value v : values_of(*wrt)) s.outputs.push_back(v);
  const auto is_leaf = [](const Node& n) {
    return n.op == &placeholder_op() || n.op == &variable_op();
  };
  const std::vector<int32_t> live = live_nodes(s);
  for (const int32_t id : live) {
    if (is_leaf(g.node(id))) s.inputs.push_back({id, 0});
  }
  const auto rolled = roll(s, nullptr, outputs->size());
  if (!rolled) return;

  Nodes nodes(g, live);
  Graph::StandIn stand_in{g.size(), g.size(), std::vector<bool>(static_cast<size_t>(g.size()))};
  for (const int32_t id : live) stand_in.of[static_cast<size_t>(id)] = !is_leaf(g.node(id));
  std::map<Value, Var> now;
  for (size_t i = 0; i < s.inputs.size(); ++i) now[rolled->inputs[i]] = g.var(s.inputs[i]);
  for (const int32_t id : live_nodes(*rolled)) {
    if (now.count({id, 0}) != 0) continue;
    const Node& n = rolled->graph.node(id);
    Vars in;
    for (const Value v : n.inputs) in.push_back(v ? now.at(v) : Var());
    const int32_t same = nodes.take(n, values_of(in));
    if (same >= 0) stand_in.of[static_cast<size_t>(same)] = false;
    const Vars out = same >= 0 ? g.vars_of(same)
                               : g.call(*n.op, in, n.attributes, {.body = n.body, .site = n.site});
    for (size_t k = 0; k < out.size(); ++k) now[{id, static_cast<int32_t>(k)}] = out[k];
  }
  stand_in.end = g.size();
  g.add_stand_in(std::move(stand_in));
  size_t at = 0;
  for (Vars* list : {outputs, wrt}) {
    for (Var& v : *list) v = now.at(rolled->outputs[at++]);
  }
}

void refuse_rolled(Graph g, const Vars& wrt, const Vars& outputs) {
  if (g.stand_ins().empty()) return;
  const std::vector<int32_t> live = live_nodes({g, {}, values_of(outputs)});
  for (const Graph::StandIn& s : g.stand_ins()) {
    const auto first = std::lower_bound(live.begin(), live.end(), s.begin);
    if (first == live.end() || *first >= s.end) continue;
    for (const Var& w : wrt) {
      const auto id = static_cast<size_t>(w.value().node);
      if (id >= s.of.size() || !s.of[id]) continue;
      const Node& n = w.node();
      fail(Fault::kUnsupported, "gradients.wrt.rolled", "[gradients] ", w.name(), ", a result of ",
           n.op->name, n.site.file == nullptr ? "" : cat(" at ", n.site.file, ":", n.site.line),
           ", stands in or behind a loop that an earlier gradient was taken of as a whole, so what "
           "is differentiated does not pass through it; name it among the values of that earlier "
           "gradient too, which keeps the loop as it is");
    }
  }
}

}  // namespace rondo
