#include <rondo/autodiff/updaters.h>

#include <cmath>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// A variable of the updater: found again in a graph that was loaded, else made.
Var own_variable(Graph g, const std::string& name, DType dtype, const Shape& shape) {
  if (g.has(name)) return g.find(name);
  const auto dims = constant_dims(shape);
  if (!dims) fail_internal("variable ", name, " has a symbolic shape");
  return g.variable(name, Tensor(dtype, *dims), false);
}

void require(bool ok, std::string_view updater, std::string_view name, double value,
             std::string_view want) {
  if (!ok)
    fail(Fault::kArgument, cat(updater, ".", name, ".range"), "[", updater, "] ", name, " is ",
         value, ", but must be ", want);
}

Updates apply_updater(const SGD& u, const Vars& w, const Vars& g) {
  require(std::isfinite(u.learning_rate) && u.learning_rate >= 0, "sgd", "learning_rate",
          u.learning_rate, "finite and not negative");
  require(u.momentum >= 0 && u.momentum < 1, "sgd", "momentum", u.momentum, "in [0, 1)");
  Updates r;
  for (size_t i = 0; i < w.size(); ++i) {
    Var step = g[i];
    if (u.momentum != 0) {
      const Var v =
          own_variable(w[i].graph(), w[i].name() + "/velocity", w[i].dtype(), w[i].shape());
      step = u.momentum * v + g[i];
      r.push_back({v, step});
    }
    r.push_back({w[i], w[i] - u.learning_rate * step});
  }
  return r;
}

Updates apply_updater(const Adam& u, const Vars& w, const Vars& g) {
  require(std::isfinite(u.learning_rate) && u.learning_rate >= 0, "adam", "learning_rate",
          u.learning_rate, "finite and not negative");
  require(u.beta1 >= 0 && u.beta1 < 1, "adam", "beta1", u.beta1, "in [0, 1)");
  require(u.beta2 >= 0 && u.beta2 < 1, "adam", "beta2", u.beta2, "in [0, 1)");
  require(u.epsilon > 0, "adam", "epsilon", u.epsilon, "positive");
  Updates r;
  if (w.empty()) return r;
  // The step count is f64: exact for longer than any training.
  const Var count = own_variable(w[0].graph(), "adam/step", f64, {});
  const Var t = count + 1;
  const Var one = fill_like(count, 1);
  const Var rate =
      u.learning_rate * sqrt(one - pow(u.beta2 * one, t)) / (one - pow(u.beta1 * one, t));
  r.push_back({count, t});
  for (size_t i = 0; i < w.size(); ++i) {
    Graph graph = w[i].graph();
    const Var m = own_variable(graph, w[i].name() + "/adam_m", w[i].dtype(), w[i].shape());
    const Var v = own_variable(graph, w[i].name() + "/adam_v", w[i].dtype(), w[i].shape());
    const Var m1 = u.beta1 * m + (1 - u.beta1) * g[i];
    const Var v1 = u.beta2 * v + (1 - u.beta2) * square(g[i]);
    r.push_back({m, m1});
    r.push_back({v, v1});
    r.push_back({w[i], w[i] - cast(rate, w[i].dtype()) * m1 / (sqrt(v1) + u.epsilon)});
  }
  return r;
}

}  // namespace

Updates updates_for(const Updater& updater, const Vars& variables, const Vars& gradients) {
  if (variables.size() != gradients.size()) {
    fail(Fault::kArgument, "updater.gradients.count", "[updater] got ", variables.size(),
         " variables and ", gradients.size(), " gradients");
  }
  return std::visit([&](const auto& u) { return apply_updater(u, variables, gradients); }, updater);
}

Vars clip_by_global_norm(const Vars& gradients, double norm) {
  require(norm > 0, "clip_by_global_norm", "norm", norm, "positive");
  Var total;
  for (const Var& g : gradients) {
    const Var s = sum(square(cast(g, f64)));
    total = total ? total + s : s;
  }
  Vars r;
  if (!total) return r;
  const Var length = sqrt(total);
  const Var scale = where(length > norm, norm / length, 1);
  for (const Var& g : gradients) r.push_back(g * cast(scale, g.dtype()));
  return r;
}

Attributes attributes_of(const Updater& updater) {
  if (const auto* s = std::get_if<SGD>(&updater))
    return {{"updater", "sgd"}, {"learning_rate", s->learning_rate}, {"momentum", s->momentum}};
  const auto& a = std::get<Adam>(updater);
  return {{"updater", "adam"},
          {"learning_rate", a.learning_rate},
          {"beta1", a.beta1},
          {"beta2", a.beta2},
          {"epsilon", a.epsilon}};
}

Updater updater_from(const Attributes& a) {
  const std::string& name = a.text("updater");
  if (name == "sgd") return SGD{a.number("learning_rate"), a.number("momentum")};
  if (name == "adam")
    return Adam{a.number("learning_rate"), a.number("beta1"), a.number("beta2"),
                a.number("epsilon")};
  fail(Fault::kArgument, "updater.name.unknown", "unknown updater '", name, "'; known: sgd, adam");
}

}  // namespace rondo
