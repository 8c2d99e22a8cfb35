#include <algorithm>
#include <map>
#include <utility>

#include <rondo/ops/fuse.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/register.h>

namespace rondo {
namespace {

class Followers {
 public:
  Followers(const Subgraph& s, RewriteLog* log) : r_(s), g_(s.graph), log_(log) {}

  Subgraph run() {
    for (const int32_t id : r_.live()) {
      if (const auto product = product_of(r_.node(id))) product_[id] = product->node;
    }
    std::vector<bool> taken(static_cast<size_t>(g_.size()), false);
    for (const auto& [reader, product] : product_) taken[static_cast<size_t>(product)] = true;
    for (const int32_t id : r_.live()) {
      const Node& n = r_.node(id);
      if (taken[static_cast<size_t>(id)]) {
        r_.set(n, {Var()});  // nobody else reads it
      } else if (const auto it = product_.find(id); it != product_.end()) {
        emit(n, r_.node(it->second));
      } else {
        r_.copy(n);
      }
    }
    return r_.finish();
  }

 private:
  // Of the products that this node alone reads, and whose shape it has, the one made last.
  std::optional<Value> product_of(const Node& n) const {
    const bool region = n.op->name == "fused";
    if ((!region && n.op->formula.empty()) || n.check_at_bind) return std::nullopt;
    std::optional<Value> best;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Value v = n.inputs[i];
      if (!v || (best && v.node <= best->node)) continue;
      const auto uses = std::count(n.inputs.begin(), n.inputs.end(), v);
      if (region && uses != 1) continue;
      if (r_.uses(v) == uses && can_follow(n, v) && (!region || reads_whole(*n.body, i))) best = v;
    }
    return best;
  }

  bool can_follow(const Node& n, Value product) const {
    const Node& p = g_.node(product.node);
    const ValueType& y = g_.type(product);
    if (p.op->name != "matmul" || p.check_at_bind || (y.dtype != f32 && y.dtype != f64) ||
        y.shape.size() > kMostRegionAxes)
      return false;
    const auto fits = [&](const ValueType& t) { return t.dtype == y.dtype || t.dtype == boolean; };
    return std::all_of(n.inputs.begin(), n.inputs.end(),
                       [&](Value v) { return v && fits(g_.type(v)); }) &&
           std::all_of(n.outputs.begin(), n.outputs.end(),
                       [&](const ValueType& t) { return fits(t) && t.shape == y.shape; });
  }

  // A part of each row would be read where other columns may not have been made yet.
  static bool reads_whole(const Subgraph& body, size_t input) {
    for (const int32_t id : live_nodes(body)) {
      const Node& n = body.graph.node(id);
      if (n.op->formula.empty() && std::count(n.inputs.begin(), n.inputs.end(), body.inputs[input]))
        return false;
    }
    return true;
  }

  // A single op as the region that fuse_elementwise makes of two.
  std::pair<Subgraph, Vars> region_of(const Node& n, Value product) {
    Graph body;
    Subgraph made{body, {}, {}};
    Vars operands, in;
    std::map<Value, Var> inside;
    const auto input = [&](Value v) {
      const ValueType& t = g_.type(v);
      const Var x = body.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
      made.inputs.push_back(x.value());
      if (v != product) operands.push_back(r_[v]);
      return x;
    };
    inside[product] = input(product);
    for (const Value v : n.inputs) {
      Var& x = inside[v];
      if (!x && is_inner_number(g_, v)) {
        const Node& number = g_.node(v.node);
        x = body.call(*number.op, {}, number.attributes)[static_cast<size_t>(v.slot)];
      } else if (!x) {
        x = input(v);
      }
      in.push_back(x);
    }
    made.outputs.push_back(body.call(*n.op, in, n.attributes, {.site = n.site})[0].value());
    return {std::move(made), std::move(operands)};
  }

  std::pair<Subgraph, Vars> region_of_body(const Node& n, Value product) {
    Subgraph made = *n.body;
    Vars operands;
    std::vector<Value> others;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (n.inputs[i] == product) {
        made.inputs[0] = n.body->inputs[i];
      } else {
        others.push_back(n.body->inputs[i]);
        operands.push_back(r_[n.inputs[i]]);
      }
    }
    std::copy(others.begin(), others.end(), made.inputs.begin() + 1);
    return {std::move(made), std::move(operands)};
  }

  void emit(const Node& n, const Node& product) {
    auto [body, operands] =
        n.op->name == "fused" ? region_of_body(n, {product.id, 0}) : region_of(n, {product.id, 0});
    Vars in = r_.inputs(product);
    in.insert(in.end(), operands.begin(), operands.end());
    if (log_ != nullptr) {
      for (const int32_t id : live_nodes(body)) {
        const OpDef& op = *body.graph.node(id).op;
        if (!op.formula.empty()) log_->note(op.name);
      }
    }
    Graph outer = r_.graph();
    r_.set(n,
           outer.call(registry().at("fused_matmul"), in, product.attributes,
                      {.body = std::make_shared<const Subgraph>(std::move(body)), .site = n.site}));
  }

  Rebuilder r_;
  const Graph& g_;
  RewriteLog* log_;
  std::map<int32_t, int32_t> product_;  // of what follows it
};

std::vector<ValueType> infer_fused_matmul(const InferContext& c) {
  const ValueType in[] = {c[0], c[1]};
  bool undecided = false;
  std::vector<ValueType> taken =
      infer_call(registry().at("matmul"), c.attributes(), in, "", {}, nullptr, &undecided);
  if (undecided)
    c.refuse("operands", "type", "b has shape ", to_string(in[1].shape), ", which may not fit a",
             to_string(in[0].shape));
  const Shape product = taken[0].shape;
  for (size_t i = 2; i < c.count(); ++i) taken.push_back(c[i]);
  std::vector<ValueType> out = infer_region(c, taken);
  for (const ValueType& t : out) {
    if (t.present && t.shape != product)
      c.refuse("operands", "type", "the body gives ", t.str(),
               ", but must keep the product's shape ", to_string(product));
  }
  return out;
}

}  // namespace

Subgraph fuse_epilogue(const Subgraph& s, RewriteLog* log) { return Followers(s, log).run(); }

void register_fused_matmul(OpRegistry& r) {
  r.add(
      {.name = "fused_matmul",
       .sig = "a[...], b[...], operands[...]:any* -> results[...]:any*",
       .doc =
           R"(A product and the elementwise ops that alone read it, done while it is in the cache: the body's ops, all of the product's shape,
whose first input is matmul(a, b) and whose others are the operands. Plans are made of such nodes (the pass fuse_epilogue); a program has
no need to write one.)",
       .source = "the same equations as matmul's and the body's ops",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6});
Var y = relu(nn::dense(x, 4, "hidden"));  // y: [T,B,4]
std::string how = Session(g).explain({y}, {{"T", 9}, {"B", 2}});  // one step, by cpu.fused_matmul)",
       .attributes = {{"transpose_a", false, "a is [...,K,M]"},
                      {"transpose_b", false, "b is [...,N,K]"}},
       .infer = infer_fused_matmul,
       .lower = [](const Call& c) {
         Vars in{
             matmul(c.in(0), c.in(1),
                    {.transpose_a = c.flag("transpose_a"), .transpose_b = c.flag("transpose_b")})};
         in.insert(in.end(), c.inputs().begin() + 2, c.inputs().end());
         return inline_subgraph(*c.body(), c.graph(), in);
       }});
}

}  // namespace rondo
