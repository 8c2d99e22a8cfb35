#include <rondo/ops/operand.h>

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

Vars apply(std::string_view op, const Vars& inputs, Attributes attributes, CallOptions options) {
  return graph_of(inputs, op)
      .call(registry().at(op), inputs, std::move(attributes), std::move(options));
}

std::vector<Tensor> apply(std::string_view op, const std::vector<Tensor>& inputs,
                          Attributes attributes, CallOptions options) {
  return eager_call(registry().at(op), inputs, attributes, std::move(options));
}

}  // namespace rondo
