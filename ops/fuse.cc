#include <rondo/ops/fuse.h>

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <vector>

#include <rondo/ops/formula.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// What a backend's tile program holds: more than that becomes several nodes.
constexpr size_t kMostOperands = 16, kMostResults = 16, kMostInstructions = 64;
// A result of a slice or split along the last axis, which can be read where the whole lies.
bool is_part(const Graph& g, Value v) {
  const Node& n = g.node(v.node);
  if (n.op->name != "slice" && n.op->name != "split") return false;
  const Shape& whole = g.type(n.inputs[0]).shape;
  if (axis_index(n.attributes.integer("axis"), whole.size()) + 1 != whole.size()) return false;
  return whole.back().is_constant() && g.type(v).shape.back().is_constant() &&
         (n.op->name == "split" || n.attributes.shape("bounds")[0].is_constant());
}

class Fuser {
 public:
  Fuser(const Subgraph& s, bool halves, RewriteLog* log)
      : s_(s), g_(s.graph), halves_(halves), log_(log), ids_(live_nodes(s)) {}

  std::optional<Subgraph> run() {
    find_depths();
    find_regions();
    if (regions_.empty()) return std::nullopt;
    Rebuilder r(s_);
    for (const size_t item : in_order()) {
      if (item < regions_.size()) {
        emit(r, regions_[item]);
      } else {
        r.copy(r.node(static_cast<int32_t>(item - regions_.size())));
      }
    }
    return r.finish();
  }

 private:
  // The dtype of the numbers that an op computes with; none where it cannot be fused.
  std::optional<DType> dtype_of(const Node& n) const {
    if (n.op->formula.empty() || n.outputs.size() != 1 || n.inputs.empty() ||
        n.outputs[0].shape.size() > kMostRegionAxes)
      return std::nullopt;
    std::optional<DType> r;
    const auto take = [&](DType t) {
      if (t == boolean) return true;
      if (!is_float(t) || (size_of(t) == 2 && !halves_) || (r && *r != t)) return false;
      r = t;
      return true;
    };
    bool fits = take(n.outputs[0].dtype);
    bool reads = false;  // more than numbers
    for (const Value v : n.inputs) {
      fits = fits && v && take(g_.type(v).dtype);
      reads = reads || (v && !is_inner_number(g_, v));
    }
    return fits && reads ? r : std::nullopt;
  }

  // Nodes of equal depth, shape and dtype can be one: whatever leads from one of them to another
  // around the region makes the other one deeper.
  void find_depths() {
    depth_.assign(static_cast<size_t>(g_.size()), 0);
    dtype_.resize(depth_.size());
    for (const int32_t id : ids_) {
      const Node& n = g_.node(id);
      const auto at = static_cast<size_t>(id);
      dtype_[at] = dtype_of(n);
      for (const Value v : n.inputs) {
        if (!v) continue;
        const auto from = static_cast<size_t>(v.node);
        const bool together =
            dtype_[at] && dtype_[from] == dtype_[at] && g_.type(v).shape == n.outputs[0].shape;
        const bool leaves = dtype_[from].has_value() != dtype_[at].has_value() || dtype_[at];
        depth_[at] = std::max(depth_[at], depth_[from] + (!together && leaves ? 1 : 0));
      }
    }
  }

  struct Region {
    std::vector<int32_t> members;  // in order
    size_t instructions = 0;
  };

  void find_regions() {
    // Those that share what they read, or read each other, belong together.
    std::map<int32_t, int32_t> leader;
    const auto root = [&](int32_t id) {
      while (leader.at(id) != id) id = leader[id] = leader.at(leader.at(id));
      return id;
    };
    std::map<std::pair<int32_t, Value>, int32_t> reader;  // of a value, at a depth
    for (const int32_t id : ids_) {
      if (!dtype_[static_cast<size_t>(id)]) continue;
      leader[id] = id;
      const auto join = [&](int32_t other) {
        if (alike(id, other)) leader[root(id)] = root(other);
      };
      for (const Value v : g_.node(id).inputs) {
        if (dtype_[static_cast<size_t>(v.node)]) join(v.node);
        if (is_inner_number(g_, v) || g_.type(v).shape != g_.node(id).outputs[0].shape) continue;
        const auto [it, first] = reader.emplace(std::pair(depth_[static_cast<size_t>(id)], v), id);
        if (!first) join(it->second);
      }
    }
    std::map<int32_t, std::vector<int32_t>> groups;
    for (const auto& [id, unused] : leader) groups[root(id)].push_back(id);
    region_.assign(depth_.size(), -1);
    for (const auto& [unused, members] : groups) divide(members);
  }

  bool alike(int32_t a, int32_t b) const {
    const auto at = static_cast<size_t>(a), bt = static_cast<size_t>(b);
    return depth_[at] == depth_[bt] && dtype_[at] == dtype_[bt] &&
           g_.node(a).outputs[0].shape == g_.node(b).outputs[0].shape;
  }

  // In pieces that a kernel can hold; a piece reads only earlier ones.
  void divide(const std::vector<int32_t>& members) {
    Region now;
    const auto close = [&] {
      if (now.members.size() > 1) {
        for (const int32_t id : now.members)
          region_[static_cast<size_t>(id)] = static_cast<int64_t>(regions_.size());
        regions_.push_back(std::move(now));
      }
      now = {};
    };
    for (const int32_t id : members) {
      const Node& n = g_.node(id);
      const size_t steps = program_of(*n.op, n.attributes).code.size();
      std::vector<int32_t> with = now.members;
      with.push_back(id);
      if (now.instructions + steps > kMostInstructions || reads_of(with).size() > kMostOperands ||
          results_of(with).size() > kMostResults)
        close();
      now.members.push_back(id);
      now.instructions += steps;
    }
    close();
  }

  std::set<Value> reads_of(const std::vector<int32_t>& members) const {
    const std::set<int32_t> inside(members.begin(), members.end());
    std::set<Value> r;
    for (const int32_t id : members) {
      for (const Value v : g_.node(id).inputs) {
        if (inside.count(v.node) == 0 && !is_inner_number(g_, v)) r.insert(v);
      }
    }
    return r;
  }

  std::vector<int32_t> results_of(const std::vector<int32_t>& members) {
    if (users_.empty()) {
      users_.resize(depth_.size());
      for (const int32_t id : ids_) {
        for (const Value v : g_.node(id).inputs) {
          if (v) users_[static_cast<size_t>(v.node)].push_back(id);
        }
      }
      for (const Value v : s_.outputs) {
        if (v) users_[static_cast<size_t>(v.node)].push_back(-1);
      }
    }
    const std::set<int32_t> inside(members.begin(), members.end());
    std::vector<int32_t> r;
    for (const int32_t id : members) {
      const std::vector<int32_t>& users = users_[static_cast<size_t>(id)];
      const auto outside = [&](int32_t user) { return inside.count(user) == 0; };
      if (std::any_of(users.begin(), users.end(), outside)) r.push_back(id);
    }
    return r;
  }

  // Regions, then nodes by id, so that each stands behind what it reads; as close to the order in
  // which the nodes stood as that allows.
  std::vector<size_t> in_order() {
    const size_t regions = regions_.size();
    const auto item_of = [&](int32_t id) {
      const int64_t region = region_[static_cast<size_t>(id)];
      return region >= 0 ? static_cast<size_t>(region) : regions + static_cast<size_t>(id);
    };
    std::map<size_t, std::set<size_t>> readers;
    std::map<size_t, size_t> waits;
    std::map<size_t, int32_t> place;
    for (const int32_t id : ids_) {
      const size_t item = item_of(id);
      place[item] = id;
      waits[item];
      for (const Value v : g_.node(id).inputs) {
        if (!v || item_of(v.node) == item) continue;
        if (readers[item_of(v.node)].insert(item).second) ++waits[item];
      }
    }
    using Ready = std::pair<int32_t, size_t>;
    std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready;
    for (const auto& [item, count] : waits) {
      if (count == 0) ready.emplace(place[item], item);
    }
    std::vector<size_t> order;
    while (!ready.empty()) {
      const size_t item = ready.top().second;
      ready.pop();
      order.push_back(item);
      for (const size_t reader : readers[item]) {
        if (--waits[reader] == 0) ready.emplace(place[reader], reader);
      }
    }
    if (order.size() != waits.size()) fail_internal("a fused region reads what it makes");
    return order;
  }

  void emit(Rebuilder& r, const Region& region) {
    Graph body;
    Subgraph made{body, {}, {}};
    Vars operands;
    std::map<Value, Var> inside;
    const auto input = [&](Value v) {
      const auto [it, first] = inside.emplace(v, Var());
      if (first) {
        const ValueType& t = g_.type(v);
        it->second = body.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
        made.inputs.push_back(it->second.value());
        operands.push_back(r[v]);
      }
      return it->second;
    };
    const auto copied = [&](const Node& n, const Vars& in) {
      const Vars out = body.call(*n.op, in, n.attributes, {.site = n.site});
      for (size_t k = 0; k < out.size(); ++k) inside[{n.id, static_cast<int32_t>(k)}] = out[k];
    };
    for (const int32_t id : region.members) {
      const Node& n = g_.node(id);
      Vars in;
      for (const Value v : n.inputs) {
        if (inside.count(v) == 0 && is_inner_number(g_, v)) {
          copied(g_.node(v.node), {});
        } else if (inside.count(v) == 0 && is_part(g_, v)) {
          copied(g_.node(v.node), {input(g_.node(v.node).inputs[0])});
        }
        in.push_back(inside.count(v) != 0 ? inside.at(v) : input(v));
      }
      copied(n, in);
      if (log_ != nullptr) log_->note(n.op->name);
    }
    const std::vector<int32_t> results = results_of(region.members);
    for (const int32_t id : results) made.outputs.push_back(inside.at({id, 0}).value());
    Graph outer = r.graph();
    const Vars out = outer.call(registry().at("fused"), operands, {},
                                {.body = std::make_shared<const Subgraph>(std::move(made)),
                                 .site = g_.node(region.members.back()).site});
    for (const int32_t id : region.members) {
      const auto it = std::find(results.begin(), results.end(), id);
      r.set(g_.node(id),
            {it == results.end() ? Var() : out[static_cast<size_t>(it - results.begin())]});
    }
  }

  const Subgraph& s_;
  const Graph& g_;
  bool halves_;
  RewriteLog* log_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> depth_;
  std::vector<std::optional<DType>> dtype_;  // of what can be fused
  std::vector<Region> regions_;
  std::vector<int64_t> region_;  // of each node; -1 none
  std::vector<std::vector<int32_t>> users_;
};

std::vector<ValueType> infer_fused(const InferContext& c) {
  std::vector<ValueType> taken;
  for (size_t i = 0; i < c.count(); ++i) taken.push_back(c[i]);
  return infer_region(c, taken);
}

}  // namespace

bool is_inner_number(const Graph& g, Value v) {
  return is_float(g.type(v).dtype) && literal_value(g.var(v)).has_value();
}

Subgraph fuse_elementwise(const Subgraph& s, bool halves, RewriteLog* log) {
  return Fuser(s, halves, log).run().value_or(s);
}

std::vector<ValueType> infer_region(const InferContext& c, std::span<const ValueType> taken) {
  if (c.body() == nullptr) c.refuse("body", "missing", "needs a body");
  const Subgraph& body = *c.body();
  if (taken.size() != body.inputs.size())
    c.refuse("operands", "arity", "takes ", body.inputs.size() + c.count() - taken.size(),
             " operands, as its body does, got ", c.count());
  for (size_t i = 0; i < taken.size(); ++i) {
    const ValueType& want = body.graph.type(body.inputs[i]);
    const ValueType& got = taken[i];
    bool same = got.present && got.dtype == want.dtype && got.shape.size() == want.shape.size();
    for (size_t a = 0; same && a < want.shape.size(); ++a)
      same = c.equal(got.shape[a], want.shape[a]);
    if (!same)
      c.refuse("operands", "type", "input ", i, " of its body is ",
               got.present ? got.str() : "absent", ", but it takes ", want.str());
  }
  std::vector<ValueType> out;
  for (const Value v : body.outputs) out.push_back(body.graph.type(v));
  return out;
}

std::optional<FusedView> fused_view(const Subgraph& body, Value v) {
  const auto input = [&](Value of) -> std::optional<size_t> {
    const auto it = std::find(body.inputs.begin(), body.inputs.end(), of);
    if (it == body.inputs.end()) return std::nullopt;
    return static_cast<size_t>(it - body.inputs.begin());
  };
  if (const auto whole = input(v)) return FusedView{*whole};
  if (!is_part(body.graph, v)) return std::nullopt;
  const Node& n = body.graph.node(v.node);
  const auto of = input(n.inputs[0]);
  if (!of) return std::nullopt;
  const int64_t width = body.graph.type(v).shape.back().constant();
  const int64_t at =
      n.op->name == "split" ? v.slot * width : n.attributes.shape("bounds")[0].constant();
  return FusedView{*of, at, width};
}

void register_fused(OpRegistry& r) {
  r.add(
      {.name = "fused",
       .sig = "operands[...]:any* -> results[...]:any*",
       .doc =
           R"(Elementwise ops in one pass over memory: the body's ops, all of one shape, to which the operands are broadcast. Plans are made of
such nodes (the pass fuse_elementwise); a program has no need to write one.)",
       .source = "the same equations as the body's ops",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6});
Var y = tanh(x) * sigmoid(x) + 1;  // y: [T,B,6]
std::string how = Session(g).explain({y}, {{"T", 9}, {"B", 2}});  // one step, by cpu.fused)",
       .infer = infer_fused,
       .lower = [](const Call& c) { return inline_subgraph(*c.body(), c.graph(), c.inputs()); }});
}

}  // namespace rondo
