#include <rondo/autodiff/state_updates.h>

#include <algorithm>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {

Updates state_updates(const Vars& values) {
  Updates r;
  if (values.empty()) return r;
  const Graph g = graph_of(values, "state_updates");
  Subgraph unit{g, {}, {}};
  for (const Var& v : values) unit.outputs.push_back(v.value());
  for (const int32_t id : live_nodes(unit)) {
    const Node& n = g.node(id);
    for (const KeptState& s : n.op->states) {
      const Call call = call_of(g, n);
      const Var& variable = call[s.operand];
      if (!variable || variable.node().op != &variable_op()) continue;
      const auto known = std::find_if(r.begin(), r.end(),
                                      [&](const Update& u) { return u.variable.same(variable); });
      if (known != r.end()) {
        known->value = call[s.next];  // several calls share it: the last one's is kept
      } else {
        r.push_back({variable, call[s.next]});
      }
    }
  }
  return r;
}

}  // namespace rondo
