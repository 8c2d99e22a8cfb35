#include <rondo/ops/operand.h>

#include <algorithm>

#include <rondo/graph/eager.h>
#include <rondo/ops/register.h>

namespace rondo {

template <>
Var Operand<Var>::beside(const Operand& like) const {
  if (value_ || !like.value_) return value_;
  return like.value_.graph().constant(Tensor::scalar(like.value_.dtype(), literal_), at_);
}

template <>
Tensor Operand<Tensor>::beside(const Operand& like) const {
  if (value_ || !like.value_) return value_;
  return Tensor::scalar(like.value_.dtype(), literal_);
}

namespace {

thread_local std::vector<std::pair<std::string, Graph>> bodies;  // outermost first

// The graph of the operands, or the innermost body whose rows the attributes name.
Graph home_of(std::string_view op, const Vars& inputs, const Attributes& attributes) {
  for (size_t k = bodies.size(); k-- > 0;) {
    for (const auto& [name, value] : attributes.items()) {
      const auto* shape = value.get<Shape>();
      for (size_t a = 0; shape != nullptr && a < shape->size(); ++a) {
        const std::vector<std::string> symbols = (*shape)[a].symbols();
        if (std::find(symbols.begin(), symbols.end(), bodies[k].first) != symbols.end())
          return bodies[k].second;
      }
    }
  }
  return graph_of(inputs, op);
}

}  // namespace

BodyScope::BodyScope(std::string symbol, Graph body) {
  bodies.emplace_back(std::move(symbol), std::move(body));
}
BodyScope::~BodyScope() { bodies.pop_back(); }

Vars apply(std::string_view op, const Vars& inputs, Attributes attributes, CallOptions options) {
  return home_of(op, inputs, attributes)
      .call(registry().at(op), inputs, std::move(attributes), std::move(options));
}

std::vector<Tensor> apply(std::string_view op, const std::vector<Tensor>& inputs,
                          Attributes attributes, CallOptions options) {
  return eager_call(registry().at(op), inputs, attributes, std::move(options));
}

}  // namespace rondo
