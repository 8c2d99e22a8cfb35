#include <rondo/autodiff/updater_state.h>

#include <rondo/graph/op.h>
#include <rondo/ops/elementwise.h>

namespace rondo {

Var UpdaterState::variable(const std::string& name, DType dtype, const Shape& shape,
                           double initial) {
  const ValueType type{dtype, shape, true};
  if (graph_.has(name)) {
    const Var v = graph_.find(name);
    if (v.node().op != &variable_op() || v.type() != type) {
      fail(Fault::kArgument, "updater.state.type", "[updater] keeps a variable \"", name,
           "\" of type ", type.str(), ", but the graph has a ", v.node().op->name,
           " of that name, of type ", v.type().str());
    }
    return v;
  }
  const auto dims = constant_dims(shape);
  if (!dims) fail_internal("variable ", name, " has a symbolic shape");
  return graph_.variable(name, Tensor::full(dtype, *dims, initial), false);
}

Var UpdaterState::shared(std::string_view which, double initial,
                         const std::function<Var(const Var&)>& next) {
  const auto it = shared_.find(which);
  if (it != shared_.end()) return it->second;
  const Var now = shared_variable(which, initial);
  const Var value = next(now);
  set(now, value);
  return shared_.emplace(which, value).first->second;
}

Var UpdaterState::count() {
  return shared("step", 0, [](const Var& n) { return n + 1; });
}

Var UpdaterState::count_before() {
  count();
  return shared_variable("step", 0);
}

}  // namespace rondo
