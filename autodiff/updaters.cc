#include <rondo/autodiff/updaters.h>

#include <algorithm>
#include <functional>

#include <rondo/autodiff/settings.h>
#include <rondo/autodiff/updater_state.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// One variable's update, as the formulas see it: everything in one float dtype, f32 for half
// weights.
class Step {
 public:
  Step(const Var& variable, const Var& gradient, const Var& rate_now, UpdaterState* state)
      : state_(*state),
        name_(variable.name()),
        dtype_(is_half(variable.dtype()) ? f32 : variable.dtype()),
        w(cast(variable, dtype_)),
        g(cast(gradient, dtype_)),
        rate(rate_now) {}

 private:
  UpdaterState& state_;
  std::string name_;
  DType dtype_;

 public:
  const Var w;
  Var g;
  const Var rate;         // f64, a scalar, as t
  bool penalised = true;  // weight decay acts

  Var t() { return state_.count(); }
  // A number of all variables, see UpdaterState.
  Var shared(std::string_view which, double initial, const std::function<Var(const Var&)>& next) {
    return state_.shared(which, initial, next);
  }
  // A scalar beside w.
  Var at(const Var& scalar) const { return cast(scalar, dtype_); }

  // What is remembered of this variable, "w/SLOT", after this step; `before`: before it.
  Var next(const char* slot, double initial, const std::function<Var(const Var&)>& next) {
    const Var now = before(slot, initial);
    const Var value = next(now);
    state_.set(now, value);
    return value;
  }
  Var before(const char* slot, double initial = 0) {
    return state_.variable(cat(name_, "/", slot), dtype_, w.shape(), initial);
  }
  // slot' = decay slot + (1 - decay) x.
  Var average(const char* slot, double decay, const Var& x) {
    return next(slot, 0, [&](const Var& m) { return decay * m + (1 - decay) * x; });
  }
  // v' = momentum v + x; x itself without momentum, and then nothing is remembered.
  Var momentum(double momentum, const Var& x) {
    if (momentum == 0) return x;
    return next("velocity", 0, [&](const Var& v) { return momentum * v + x; });
  }
  // 1 - beta^t.
  Var correction(double beta) { return 1 - pow(fill_like(t(), beta), t()); }
  // m' / (1 - beta1^t) / (sqrt(v' / (1 - beta2^t)) + epsilon), times the rate.
  template <class U>
  Var adam(const U& u, const Var& m, const Var& v) {
    return at(rate / correction(u.beta1)) * m / root(u, v);
  }
  template <class U>
  Var root(const U& u, const Var& v) {
    return sqrt(v) / at(sqrt(correction(u.beta2))) + u.epsilon;
  }
};

// ---- the table: an updater is its fields and w' ------------------------------

template <class U>
struct Row {
  std::string_view name;
  std::vector<Field<U>> fields;
  std::function<Var(const U&, Step&)> next;
};

template <class U>
Field<U> rate_field() {
  return {"learning_rate", &U::learning_rate};
}

const auto& rows() {
  static const std::tuple table{
      Row<SGD>{
          "sgd",
          {rate_field<SGD>(), {"momentum", &SGD::momentum, kBelowOne}},
          [](const SGD& u, Step& s) { return s.w - s.at(s.rate) * s.momentum(u.momentum, s.g); }},
      Row<Nesterov>{"nesterov",
                    {rate_field<Nesterov>(), {"momentum", &Nesterov::momentum, kBelowOne}},
                    [](const Nesterov& u, Step& s) {
                      const Var v = s.momentum(u.momentum, s.g);
                      return s.w - s.at(s.rate) * (s.g + u.momentum * v);
                    }},
      Row<AdaGrad>{"adagrad",
                   {rate_field<AdaGrad>(),
                    {"initial", &AdaGrad::initial},
                    {"epsilon", &AdaGrad::epsilon, kPositive}},
                   [](const AdaGrad& u, Step& s) {
                     const Var sum = s.next("adagrad_sum", u.initial,
                                            [&](const Var& v) { return v + square(s.g); });
                     return s.w - s.at(s.rate) * s.g / (sqrt(sum) + u.epsilon);
                   }},
      Row<RMSProp>{"rmsprop",
                   {rate_field<RMSProp>(),
                    {"decay", &RMSProp::decay, kBelowOne},
                    {"momentum", &RMSProp::momentum, kBelowOne},
                    {"centered", &RMSProp::centered},
                    {"epsilon", &RMSProp::epsilon, kPositive}},
                   [](const RMSProp& u, Step& s) {
                     Var v = s.average("rmsprop_square", u.decay, square(s.g));
                     // Rounding may leave less than nothing.
                     if (u.centered)
                       v = maximum(v - square(s.average("rmsprop_mean", u.decay, s.g)), 0);
                     return s.w -
                            s.at(s.rate) * s.momentum(u.momentum, s.g / (sqrt(v) + u.epsilon));
                   }},
      Row<AdaDelta>{"adadelta",
                    {rate_field<AdaDelta>(),
                     {"decay", &AdaDelta::decay, kBelowOne},
                     {"epsilon", &AdaDelta::epsilon, kPositive}},
                    [](const AdaDelta& u, Step& s) {
                      const Var v = s.average("adadelta_square", u.decay, square(s.g));
                      const Var past = s.before("adadelta_step");
                      const Var d = sqrt(past + u.epsilon) / sqrt(v + u.epsilon) * s.g;
                      s.average("adadelta_step", u.decay, square(d));
                      return s.w - s.at(s.rate) * d;
                    }},
      Row<Adam>{"adam",
                {rate_field<Adam>(),
                 {"beta1", &Adam::beta1, kBelowOne},
                 {"beta2", &Adam::beta2, kBelowOne},
                 {"epsilon", &Adam::epsilon, kPositive}},
                [](const Adam& u, Step& s) {
                  const Var m = s.average("adam_m", u.beta1, s.g);
                  const Var v = s.average("adam_v", u.beta2, square(s.g));
                  return s.w - s.adam(u, m, v);
                }},
      Row<AdaMax>{"adamax",
                  {rate_field<AdaMax>(),
                   {"beta1", &AdaMax::beta1, kBelowOne},
                   {"beta2", &AdaMax::beta2, kBelowOne},
                   {"epsilon", &AdaMax::epsilon, kPositive}},
                  [](const AdaMax& u, Step& s) {
                    const Var m = s.average("adamax_m", u.beta1, s.g);
                    const Var norm = s.next("adamax_u", 0, [&](const Var& v) {
                      return maximum(u.beta2 * v, abs(s.g) + u.epsilon);
                    });
                    return s.w - s.at(s.rate / s.correction(u.beta1)) * m / norm;
                  }},
      Row<AMSGrad>{"amsgrad",
                   {rate_field<AMSGrad>(),
                    {"beta1", &AMSGrad::beta1, kBelowOne},
                    {"beta2", &AMSGrad::beta2, kBelowOne},
                    {"epsilon", &AMSGrad::epsilon, kPositive}},
                   [](const AMSGrad& u, Step& s) {
                     const Var m = s.average("amsgrad_m", u.beta1, s.g);
                     const Var v = s.average("amsgrad_v", u.beta2, square(s.g));
                     const Var most =
                         s.next("amsgrad_max", 0, [&](const Var& x) { return maximum(x, v); });
                     return s.w - s.adam(u, m, most);
                   }},
      Row<Nadam>{"nadam",
                 {rate_field<Nadam>(),
                  {"beta1", &Nadam::beta1, kBelowOne},
                  {"beta2", &Nadam::beta2, kBelowOne},
                  {"momentum_decay", &Nadam::momentum_decay},
                  {"epsilon", &Nadam::epsilon, kPositive}},
                 [](const Nadam& u, Step& s) {
                   const auto b = [&](const Var& t) {
                     return u.beta1 * (1 - 0.5 * pow(fill_like(t, 0.96), t * u.momentum_decay));
                   };
                   const Var now = b(s.t()), then = b(s.t() + 1);
                   const Var p = s.shared("momenta", 1, [&](const Var& v) { return v * now; });
                   const Var m = s.average("nadam_m", u.beta1, s.g);
                   const Var v = s.average("nadam_v", u.beta2, square(s.g));
                   const Var step = s.at(s.rate * then / (1 - p * then)) * m +
                                    s.at(s.rate * (1 - now) / (1 - p)) * s.g;
                   return s.w - step / s.root(u, v);
                 }},
      Row<AdamW>{"adamw",
                 {rate_field<AdamW>(),
                  {"beta1", &AdamW::beta1, kBelowOne},
                  {"beta2", &AdamW::beta2, kBelowOne},
                  {"weight_decay", &AdamW::weight_decay},
                  {"epsilon", &AdamW::epsilon, kPositive}},
                 [](const AdamW& u, Step& s) {
                   const Var m = s.average("adamw_m", u.beta1, s.g);
                   const Var v = s.average("adamw_v", u.beta2, square(s.g));
                   const Var w = s.penalised ? s.w - s.at(s.rate * u.weight_decay) * s.w : s.w;
                   return w - s.adam(u, m, v);
                 }},
      Row<AdaBelief>{"adabelief",
                     {rate_field<AdaBelief>(),
                      {"beta1", &AdaBelief::beta1, kBelowOne},
                      {"beta2", &AdaBelief::beta2, kBelowOne},
                      {"epsilon", &AdaBelief::epsilon, kPositive}},
                     [](const AdaBelief& u, Step& s) {
                       const Var m = s.average("adabelief_m", u.beta1, s.g);
                       const Var v = s.next("adabelief_s", 0, [&](const Var& x) {
                         return u.beta2 * x + (1 - u.beta2) * square(s.g - m) + u.epsilon;
                       });
                       return s.w - s.adam(u, m, v);
                     }},
  };
  return table;
}

template <class U>
const Row<U>& row_of(const U&) {
  return std::get<Row<U>>(rows());
}

void check_regularization(const Regularization& r, const Vars& variables) {
  check_range(r.l1, kNotNegative, "regularization.l1");
  check_range(r.l2, kNotNegative, "regularization.l2");
  check_range(r.weight_decay, kNotNegative, "regularization.weight_decay");
  for (const std::string& name : r.except) {
    if (std::none_of(variables.begin(), variables.end(),
                     [&](const Var& v) { return v.name() == name; })) {
      fail(Fault::kArgument, "regularization.except.unknown", "[regularization] there is no \"",
           name, "\" among the variables that are updated");
    }
  }
}

template <class U>
Updates updates_of(const U& u, const Vars& variables, const Vars& gradients,
                   const UpdateOptions& options) {
  const Row<U>& row = row_of(u);
  check_settings(std::string(row.name), row.fields, u);
  const Regularization& r = options.regularization;
  check_regularization(r, variables);
  if (variables.empty()) return {};
  Graph graph = variables[0].graph();
  UpdaterState state(graph, options.name.empty() ? std::string(row.name) : options.name,
                     options.loss);
  // A plain number needs no count.
  const Var t = is_constant(u.learning_rate) ? fill(graph, f64, {}, 0) : state.count_before();
  const Var rate = rate_of(u.learning_rate, t, &state);
  for (size_t i = 0; i < variables.size(); ++i) {
    Step s(variables[i], gradients[i], rate, &state);
    s.penalised =
        std::find(r.except.begin(), r.except.end(), variables[i].name()) == r.except.end();
    if (s.penalised && r.l1 != 0) s.g = s.g + r.l1 * sign(s.w);
    if (s.penalised && r.l2 != 0) s.g = s.g + r.l2 * s.w;
    Var next = row.next(u, s);
    if (s.penalised && r.weight_decay != 0) next = next - s.at(rate * r.weight_decay) * s.w;
    state.set(variables[i], cast(next, variables[i].dtype()));
  }
  return std::move(state.updates());
}

}  // namespace

Updates updates_for(const Updater& updater, const Vars& variables, const Vars& gradients,
                    const UpdateOptions& options) {
  if (variables.size() != gradients.size()) {
    fail(Fault::kArgument, "updater.gradients.count", "[updater] got ", variables.size(),
         " variables and ", gradients.size(), " gradients");
  }
  return std::visit([&](const auto& u) { return updates_of(u, variables, gradients, options); },
                    updater);
}

Attributes attributes_of(const Updater& updater) {
  return std::visit(
      [](const auto& u) {
        const auto& row = row_of(u);
        Attributes a{{"updater", row.name}};
        write_settings(row.fields, u, "", &a);
        return a;
      },
      updater);
}

Updater updater_from(const Attributes& a) {
  const auto& name = setting<std::string>(a, "updater");
  Updater r;
  const bool known =
      with_row(rows(), name, [&](const auto& row) { r = read_settings(row.fields, a, ""); });
  if (!known)
    fail(Fault::kArgument, "updater.name.unknown", "unknown updater '", name,
         "'; known: ", names_of(rows()));
  return r;
}

}  // namespace rondo
