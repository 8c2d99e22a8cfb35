#include <algorithm>

#include <rondo/graph/rewrite.h>

namespace rondo {

std::vector<int32_t> live_nodes(const Subgraph& s) {
  std::vector<bool> needed(static_cast<size_t>(s.graph.size()));
  int32_t last = -1;
  const auto need = [&](Value v) {
    if (!v) return;
    if (v.node >= s.graph.size())
      fail_internal("value %", v.node, " of a graph of ", s.graph.size(), " nodes");
    needed[static_cast<size_t>(v.node)] = true;
    last = std::max(last, v.node);
  };
  for (const Value v : s.outputs) need(v);
  for (const Value v : s.inputs) need(v);
  for (int32_t i = last; i >= 0; --i) {
    if (!needed[static_cast<size_t>(i)]) continue;
    for (const Value v : s.graph.node(i).inputs) need(v);
  }
  std::vector<int32_t> live;
  for (int32_t i = 0; i <= last; ++i) {
    if (needed[static_cast<size_t>(i)]) live.push_back(i);
  }
  return live;
}

Rebuilder::Rebuilder(const Subgraph& from) : from_(from), live_(live_nodes(from)) {
  size_t count = 0;
  for (int32_t i = 0; i < from.graph.size(); ++i) {
    first_.push_back(count);
    count += from.graph.node(i).outputs.size();
  }
  first_.push_back(count);
  now_.resize(count);
  uses_.resize(count);
  const auto use = [this](Value v) {
    if (v) ++uses_[index(v)];
  };
  for (const Value v : from.outputs) use(v);
  for (const int32_t id : live_) {
    for (const Value v : node(id).inputs) use(v);
  }
  Graph root = from.graph;
  while (root.has_parent()) root = root.parent();
  to_.reserve_streams(root.streams());
}

size_t Rebuilder::index(Value old) const {
  const auto n = static_cast<size_t>(old.node);
  if (old.node < 0 || n + 1 >= first_.size() || old.slot < 0 ||
      first_[n] + static_cast<size_t>(old.slot) >= first_[n + 1]) {
    fail_internal("value %", old.node, ".", old.slot, " is none of the graph that is rebuilt");
  }
  return first_[n] + static_cast<size_t>(old.slot);
}

int Rebuilder::uses(Value old) const { return old ? uses_[index(old)] : 0; }

Var Rebuilder::operator[](Value old) const {
  if (!old) return {};
  const Var& v = now_[index(old)];
  if (!v) {
    fail_internal("value %", old.node, ".", old.slot, " (", node(old.node).op->name,
                  ") is used after a pass has removed it");
  }
  return v;
}

Vars Rebuilder::inputs(const Node& n) const {
  Vars r;
  r.reserve(n.inputs.size());
  for (const Value v : n.inputs) r.push_back((*this)[v]);
  return r;
}

Call Rebuilder::call(const Node& n) const {
  return {*n.op, n.op->parsed, n.attributes, inputs(n), Vars(n.outputs.size()), n.body};
}

Vars Rebuilder::copy(const Node& n, const Vars& inputs, std::shared_ptr<const Subgraph> body) {
  Vars r = to_.call(*n.op, inputs, n.attributes,
                    {.name = n.name, .body = std::move(body), .site = n.site});
  set(n, r);
  return r;
}

void Rebuilder::set(const Node& n, const Vars& results) {
  if (results.size() != n.outputs.size()) {
    fail_internal(n.op->name, " has ", n.outputs.size(), " results, a pass gives ", results.size());
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const Var& v = results[i];
    const ValueType& want = n.outputs[i];
    if (v && (!want.present || v.dtype() != want.dtype || v.rank() != want.shape.size())) {
      fail_internal("result ", i, " of ", n.op->name, " is ", want.str(), ", a pass gives ",
                    v.type().str());
    }
    now_[first_[static_cast<size_t>(n.id)] + i] = v;
  }
}

Subgraph Rebuilder::finish() {
  Subgraph s{to_, {}, {}};
  for (const Value v : from_.inputs) s.inputs.push_back((*this)[v].value());
  for (const Value v : from_.outputs) s.outputs.push_back((*this)[v].value());
  for (const auto& [name, old] : from_.graph.names()) {
    const Var& v = now_[index(old)];
    if (v && !to_.has(name)) v.named(name);
  }
  return s;
}

Subgraph rebuild(const Subgraph& s, const Replace& replace) {
  Rebuilder r(s);
  for (const int32_t id : r.live()) {
    const Node& n = r.node(id);
    const Vars results = replace(r, n);
    if (results.empty()) {
      r.copy(n);
    } else {
      r.set(n, results);
    }
  }
  return r.finish();
}

std::shared_ptr<const Subgraph> BodyPass::operator()(const std::shared_ptr<const Subgraph>& body) {
  if (body == nullptr) return nullptr;
  const auto it = done_.find(body);
  if (it != done_.end()) return it->second;
  auto result = std::make_shared<const Subgraph>(pass_(*body));
  done_.emplace(body, result);
  done_.emplace(result, result);
  return result;
}

void check_body_depth(int depth) {
  if (depth > kDeepestBody) {
    fail(Fault::kArgument, "graph.body.depth", "bodies stand more than ", kDeepestBody,
         " deep in each other");
  }
}

}  // namespace rondo
