#include <rondo/ops/operand.h>

#include <algorithm>

#include <rondo/graph/eager.h>
#include <rondo/ops/register.h>

namespace rondo {

namespace {

// A literal is weak, but not so weak that it would become another number.
Tensor literal_of(double value, DType dtype) {
  Tensor t = Tensor::scalar(dtype, value);
  if (!is_float(dtype) && t.item() != value) {
    fail(Fault::kArgument, "operand.literal.dtype", "the literal ", value, " is no ", dtype,
         ", the dtype of the operand beside it; write cast(x, f32) to compute in floats");
  }
  return t;
}

[[noreturn]] void missing(const std::string& why, Site at) {
  fail(Fault::kArgument, "operand.value.missing", "an operand is empty: ", why, built_at(at));
}
[[noreturn]] void missing(const Var& v, Site at) { missing(v.why_empty(), at); }
[[noreturn]] void missing(const Tensor& /*t*/, Site at) {
  missing("a Tensor that was never set, or a result that was not asked for", at);
}

}  // namespace

template <>
Var Operand<Var>::beside(const Operand& like) const {
  if (value_) return value_;
  if (!literal_ || !like.value_) missing(literal_ ? like.value_ : value_, at_);
  return like.value_.graph().constant(literal_of(*literal_, like.value_.dtype()), at_);
}

template <>
Tensor Operand<Tensor>::beside(const Operand& like) const {
  if (value_) return value_;
  if (!literal_ || !like.value_) missing(literal_ ? like.value_ : value_, at_);
  return literal_of(*literal_, like.value_.dtype());
}

namespace {

thread_local std::vector<OpenBody*> bodies;  // outermost first

bool is_inside(Graph inner, const Graph& outer) {
  while (!(inner == outer)) {
    if (!inner.has_parent()) return false;
    inner = inner.parent();
  }
  return true;
}

bool names(const Attributes& attributes, const std::string& symbol) {
  for (const auto& [name, value] : attributes.items()) {
    const auto* shape = value.get<Shape>();
    for (size_t a = 0; shape != nullptr && a < shape->size(); ++a) {
      const std::vector<std::string> symbols = (*shape)[a].symbols();
      if (std::find(symbols.begin(), symbols.end(), symbol) != symbols.end()) return true;
    }
  }
  return false;
}

// The graph of the operands, or the innermost body within it whose rows the attributes name.
Graph home_of(std::string_view op, const Vars& inputs, const Attributes& attributes) {
  Graph home = graph_of(inputs, op);
  for (size_t k = bodies.size(); k-- > 0;) {
    if (is_inside(bodies[k]->graph, home) && names(attributes, bodies[k]->symbol))
      return bodies[k]->graph;
  }
  return home;
}

}  // namespace

BodyScope::BodyScope(OpenBody& body) { bodies.push_back(&body); }
BodyScope::~BodyScope() { bodies.pop_back(); }
OpenBody* open_body() { return bodies.empty() ? nullptr : bodies.back(); }

Graph outermost(Graph g) {
  while (g.has_parent()) g = g.parent();
  return g;
}

Vars apply(std::string_view op, const Vars& inputs, Attributes attributes, CallOptions options) {
  return home_of(op, inputs, attributes)
      .call(registry().at(op), inputs, std::move(attributes), std::move(options));
}

std::vector<Tensor> apply(std::string_view op, const std::vector<Tensor>& inputs,
                          Attributes attributes, CallOptions options) {
  return eager_call(registry().at(op), inputs, attributes, std::move(options));
}

}  // namespace rondo
