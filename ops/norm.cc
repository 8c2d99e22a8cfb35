#include <rondo/ops/norm.h>

#include <numeric>
#include <utility>

#include <rondo/ops/half_math.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/random.h>
#include <rondo/ops/reduce_common.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using rnn_internal::absent;
using Types = std::vector<ValueType>;

// Refuses an operand that is not a vector along the last axis of x.
void check_vector(const InferContext& c, std::string_view name) {
  const auto i = static_cast<size_t>(c.signature().input(name));
  const Shape& x = c[0].shape;
  if (!c.has(i)) return;
  const Shape& s = c[i].shape;
  if (s.size() != 1 || !c.equal(s[0], x.back()))
    c.refuse(name, "dim", name, " has shape ", to_string(s), ", but must be [", x.back(),
             "], the last axis of x", to_string(x));
}

// What works on each row of the last axis: y is like x.
Types infer_rows(const InferContext& c, std::initializer_list<std::string_view> vectors) {
  Types r = infer_by_signature(c, false);
  if (c[0].shape.empty())
    c.refuse("x", "rank", "x is a scalar, but must have a last axis to normalise");
  for (const std::string_view name : vectors) check_vector(c, name);
  r[0].shape = c[0].shape;
  return r;
}

ReduceOptions of_row() { return {.axes = {-1}, .keep_dims = true}; }

// x times gain plus biases, as far as they are given, in the dtype of the call.
Var scaled(const Call& c, Var y) {
  if (c.has("gain")) y = y * widened(c["gain"]);
  if (c.signature().input("biases") >= 0 && c.has("biases")) y = y + widened(c["biases"]);
  return y;
}

Vars lower_layer_norm(const Call& c) {
  const Var x = widened(c["x"]);
  const Var centred = x - mean(x, of_row());
  const Var y = centred * rsqrt(mean(centred * centred, of_row()) + c.number("epsilon"));
  return {narrowed(scaled(c, y), c["x"].dtype())};
}

Vars lower_rms_norm(const Call& c) {
  const Var x = widened(c["x"]);
  const Var y = x * rsqrt(mean(x * x, of_row()) + c.number("epsilon"));
  return {narrowed(scaled(c, y), c["x"].dtype())};
}

Vars lower_l2_normalize(const Call& c) {
  const ReduceOptions o{.axes = c.attributes().integers("axes"), .keep_dims = true};
  // Large numbers alone are scaled, since epsilon is beside the squares of small ones.
  const Var x = widened(c["x"]), m = maximum(reduce_internal::magnitude_over(x, o.axes), 1);
  const Var scaled = x / m, least = c.number("epsilon") / m / m;
  return {narrowed(scaled * rsqrt(maximum(sum(square(scaled), o), least)), c["x"].dtype())};
}

Types infer_l2_normalize(const InferContext& c) {
  std::vector<bool> seen(c[0].shape.size(), false);
  for (const int64_t a : c.attributes().integers("axes")) {
    const auto i = static_cast<size_t>(c.axis(a, seen.size(), "axes"));
    if (seen[i]) c.refuse("axes", "twice", "axis ", a, " is named twice");
    seen[i] = true;
  }
  return {c[0]};
}

Types infer_batch_norm(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape& x = c[0].shape;
  if (x.size() < 2)
    c.refuse("x", "rank", "x has shape ", to_string(x),
             ", but must have rank 2 or more: rows, and channels last");
  for (const char* const name : {"running_mean", "running_variance", "gain", "biases"})
    check_vector(c, name);
  const auto mask = static_cast<size_t>(c.signature().input("mask"));
  if (c.has(mask)) {
    const Shape& m = c[mask].shape;
    bool fits = m.size() + 1 == x.size();
    for (size_t i = 0; fits && i < m.size(); ++i) fits = c.equal(m[i], x[i]);
    if (!fits)
      c.refuse("mask", "dim", "mask has shape ", to_string(m), ", but must be x", to_string(x),
               " without its last axis");
  }
  r[0].shape = x;
  r[1].shape = r[2].shape = {x.back()};
  return r;
}

Vars lower_batch_norm(const Call& c) {
  const Var mask = c.has("mask") ? expand_dims(c["mask"], -1) : Var();
  // Selected, not multiplied: what the mask hides may be NaN.
  const auto kept = [&](const Var& v) { return mask ? where(mask, v, 0) : v; };
  const Var x = kept(widened(c["x"]));
  const Var mean_before = widened(c["running_mean"]),
            variance_before = widened(c["running_variance"]);
  std::vector<int64_t> rows(x.rank() - 1);
  std::iota(rows.begin(), rows.end(), 0);
  Var count;  // [1]
  if (mask) {
    count = reshape(sum(cast(mask, x.dtype())), {1});
  } else {
    Dim all(1);
    for (size_t i = 0; i + 1 < x.rank(); ++i) all = all * x.shape()[i];
    count = cast(nn::dimensions(c.graph(), {all}), x.dtype());
  }
  const Var divisor = maximum(count, 1);  // a batch of nothing changes nothing
  const Var mean = sum(x, {.axes = rows}) / divisor;
  const Var centred = kept(x - mean);
  const Var variance = sum(centred * centred, {.axes = rows}) / divisor;

  const Var training = nn::training(c.graph());
  const Var learns = logical_and(training, count > 0);
  const double momentum = c.number("momentum");
  const auto next = [&](const Var& before, const Var& now, const Var& like) {
    return narrowed(where(learns, momentum * before + (1 - momentum) * now, before), like.dtype());
  };
  const Var m = where(training, mean, mean_before), v = where(training, variance, variance_before);
  const Var y = kept(scaled(c, (x - m) * rsqrt(v + c.number("epsilon"))));
  return {narrowed(y, c["x"].dtype()), next(mean_before, mean, c["running_mean"]),
          next(variance_before, variance, c["running_variance"])};
}

OpDef batch_norm_def() {
  const Sample::Input mean{{2}}, variance{{2}, 0.5, 2}, vector{{2}};
  const Sample::Input mask{{2, 3}, 0, 1, boolean, {1, 1, 0, 1, 0, 1}};
  const auto refused = [&](const char* rule, size_t operand, Dims dims, const char* means) {
    RefusedCall r{rule, {{{{2, 3, 2}}, mean, variance, vector, vector, mask}}, means};
    r.call.inputs[operand].dims = std::move(dims);
    r.call.inputs[operand].values = {};
    return r;
  };
  return {
      .name = "batch_norm",
      .sig =
          "x[...], running_mean[...]!, running_variance[...]!, gain[...]?, biases[...]?, "
          "mask[...]:bool? -> y[...], next_mean[...], next_variance[...]",
      .doc =
          R"(Each channel of x[...,C] to mean 0 and variance 1 over all axes but the last, then gain and biases, [C] each (absent: 1 and 0):
    y = (x - m) / sqrt(v + epsilon) * gain + biases
    m, v = mean and variance of this batch, in training;  running_mean, running_variance otherwise
    next_mean = momentum * running_mean + (1 - momentum) * mean of this batch, in training;  running_mean otherwise
and next_variance alike. The variance is that of the batch, divided by the number of rows. Where mask, of x's shape without its last axis, is
false x counts for nothing, NaN included, and y is 0: padding of sequences. A batch without any row changes nothing.
Training is a property of the run: RunOptions::training, which a Trainer sets and its evaluate() does not. When the running values are
variables a Trainer stores the next ones after each step by itself; a program with a loop of its own adds state_updates({loss}) to the updates
that it gives to Session::run_and_update. When one variable serves several calls, the last one's next value is stored.)",
      .source = "Ioffe and Szegedy (2015)",
      .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 8});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var mask = iota(g, i32, {"T", 1}, 0) < lengths;  // mask: [T,B]
Var y = nn::batch_norm(x, "norm", {}, mask);  // y: [T,B,8]

// At once, on tensors: never in training.
auto now = nn::batch_norm(Tensor::of<float>({2, 1}, {1, 5}),
                          {.running_mean = Tensor::full(f32, {1}, 1),
                           .running_variance = Tensor::full(f32, {1}, 4)},
                          {.epsilon = 0});
// now.y: {0, 2})",
      .differs =
          {{"PyTorch BatchNorm1d, BatchNorm2d",
            "momentum there is the share of the new value, 1 - ours; channels are axis 1 there and "
            "last here; its running variance is divided by n - 1, ours by n, as Keras has it"},
           {"Keras BatchNormalization",
            "the same meaning of momentum, whose default there is 0.99, and epsilon 0.001"},
           {"ONNX BatchNormalization, MXNet BatchNorm",
            "channels last here; the same momentum and epsilon; training_mode is the run's"},
           {"libnd4j batchnorm",
            "that one is given mean and variance, and never takes the batch's"}},
      .attributes = {{"momentum", 0.9, "how much of the running values stays", {}, 0, 1},
                     {"epsilon", 1e-5, "added to the variance", {}, 0}},
      .aliases = {{"ONNX", "BatchNormalization", ""},
                  {"ONNX", "scale", "gain"},
                  {"ONNX", "B", "biases"},
                  {"ONNX", "input_mean", "running_mean"},
                  {"ONNX", "input_var", "running_variance"},
                  {"PyTorch", "BatchNorm1d", ""},
                  {"PyTorch", "weight", "gain"},
                  {"PyTorch", "bias", "biases"},
                  {"Keras", "BatchNormalization", ""},
                  {"Keras", "gamma", "gain"},
                  {"Keras", "beta", "biases"},
                  {"Keras", "moving_mean", "running_mean"},
                  {"Keras", "moving_variance", "running_variance"},
                  {"MXNet", "BatchNorm", ""},
                  {"libnd4j", "batchnorm", ""}},
      .infer = infer_batch_norm,
      .lower = lower_batch_norm,
      .opaque = true,  // it depends on the run, as dropout does
      .samples = {{{{{3, 2}}, mean, variance, vector, vector, absent()}},
                  {{{{2, 3, 2}}, mean, variance, vector, vector, mask}, {}, "mask"},
                  {{{{4, 2}}, mean, variance, absent(), absent(), absent()},
                   {{"momentum", 0.5}, {"epsilon", 0.1}},
                   "neither gain nor biases"},
                  {{{{1, 3, 1, 2}}, mean, variance, vector, absent(), absent()}, {}, "an image"},
                  {{{{0, 2}}, mean, variance, vector, vector, absent()}, {}, "no rows"}},
      .refuses = {refused("x.rank", 0, {2}, "x has no rows"),
                  refused("running_mean.dim", 1, {3}, "running_mean is not [C]"),
                  refused("running_variance.dim", 2, {1}, "running_variance is not [C]"),
                  refused("gain.dim", 3, {2, 1}, "gain is not [C]"),
                  refused("biases.dim", 4, {3}, "biases are not [C]"),
                  refused("mask.dim", 5, {2, 2}, "mask has other rows than x")},
      .states = {{"running_mean", "next_mean"}, {"running_variance", "next_variance"}}};
}

}  // namespace

void register_norm(OpRegistry& r) {
  r.add(
      {.name = "layer_norm",
       .sig = "x[...], gain[...]?, biases[...]? -> y[...]",
       .doc =
           R"(Each row of the last axis of x[...,N] to mean 0 and variance 1, then gain and biases, [N] each; an absent gain is 1, absent
biases are 0:
    m = mean of x;  v = mean of (x - m)^2;  y = (x - m) / sqrt(v + epsilon) * gain + biases)",
       .source = "Ba, Kiros and Hinton (2016)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 64});
Var gain = g.variable("gain", Tensor::full(f32, {64}, 1));
Var y = nn::layer_norm(x, gain, {});  // y: [T,B,64]
Tensor now = nn::layer_norm(Tensor::of<double>({2}, {1, 3}), {}, {}, 0);  // now: {-1, 1})",
       .attributes = {{"epsilon", 1e-5, "added to the variance", {}, 0}},
       .infer = [](const InferContext& c) { return infer_rows(c, {"gain", "biases"}); },
       .lower = lower_layer_norm,
       .samples = {{{{{3, 4}}, {{4}}, {{4}}}},
                   {{{{2, 3, 5}}, absent(), {{5}}}, {{"epsilon", 0.1}}, "no gain"},
                   {{{{4}}, {{4}}, absent()}, {}, "a vector, no biases"}},
       .refuses = {{"x.rank", {{{{}}, absent(), absent()}}, "x has no last axis"},
                   {"gain.dim", {{{{2, 3}}, {{2}}, absent()}}, "gain is not [N]"},
                   {"biases.dim", {{{{2, 3}}, absent(), {{1, 3}}}}, "biases are not [N]"}}});
  r.add(
      {.name = "rms_norm",
       .sig = "x[...], gain[...]? -> y[...]",
       .doc =
           R"(Each row of the last axis of x[...,N] by its root mean square, then gain[N] (absent: 1):
    y = x / sqrt(mean of x^2 + epsilon) * gain)",
       .source = "Zhang and Sennrich (2019)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 64});
Var gain = g.variable("gain", Tensor::full(f32, {64}, 1));
Var y = nn::rms_norm(x, gain);  // y: [T,B,64]
Tensor now = nn::rms_norm(Tensor::of<double>({4}, {2, -2, 2, 2}), {}, 0);  // now: {1, -1, 1, 1})",
       .differs = {{"PyTorch RMSNorm",
                    "its eps is that of the dtype where none is given; it can normalise several "
                    "axes"}},
       .attributes = {{"epsilon", 1e-6, "added to the mean square", {}, 0}},
       .aliases = {{"PyTorch", "RMSNorm", ""},
                   {"PyTorch", "weight", "gain"},
                   {"ONNX", "RMSNormalization", ""}},
       .infer = [](const InferContext& c) { return infer_rows(c, {"gain"}); },
       .lower = lower_rms_norm,
       .samples = {{{{{3, 4}}, {{4}}}},
                   {{{{2, 1, 5}}, absent()}, {{"epsilon", 0.1}}, "no gain"},
                   {{{{4}}, {{4}}}, {}, "a vector"},
                   {{{{0, 2}}, {{2}}}, {}, "no rows"}},
       .refuses = {{"x.rank", {{{{}}, absent()}}, "x has no last axis"},
                   {"gain.dim", {{{{2, 3}}, {{2}}}}, "gain is not [N]"}}});
  r.add(
      {.name = "l2_normalize",
       .sig = "x[...] -> y[...]",
       .doc = R"(To length 1 over the axes; no axes = all:
    y = x / sqrt(max(sum of x^2 over the axes, epsilon))
Squares do not overflow. A vector of zeros stays one, unless epsilon is 0: then a vector whose squares vanish is not finite. Where the sum is
below epsilon y is x / sqrt(epsilon).)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 64});
Var y = nn::l2_normalize(x);  // y: [T,B,64]
Tensor now = nn::l2_normalize(Tensor::of<double>({4}, {2, 2, 2, 2}));  // now: {0.5, 0.5, 0.5, 0.5})",
       .differs = {{"PyTorch normalize",
                    "divides by max(length, eps): epsilon here is the square of that eps"},
                   {"ONNX LpNormalization", "p is 2; there a vector of zeros gives NaN or zeros"}},
       .attributes = {{"axes", std::vector<int64_t>{-1}, "axes of a vector; none = all"},
                      {"epsilon", 1e-12, "the least sum of squares", {}, 0}},
       .aliases = {{"Keras", "UnitNormalization", ""}, {"MXNet", "L2Normalization", ""}},
       .infer = infer_l2_normalize,
       .lower = lower_l2_normalize,
       .samples = {{{{{3, 4}}}},
                   {{{{2, 3, 2}}}, {{"axes", std::vector<int64_t>{0, 2}}}},
                   {{{{2, 2}}}, {{"axes", std::vector<int64_t>{}}}, "all"},
                   {{{{5}, 0.1, 0.2}}, {{"epsilon", 4.0}}, "short"}},
       .refuses = {{"axes.twice",
                    {{{{2, 3}}}, {{"axes", std::vector<int64_t>{1, -1}}}},
                    "an axis is named twice"},
                   {"axes.range",
                    {{{{2, 3}}}, {{"axes", std::vector<int64_t>{2}}}},
                    "x has no such axis"}}});
  r.add(batch_norm_def());
}

namespace nn {

template <Operable V>
V layer_norm(V x, std::type_identity_t<V> gain, std::type_identity_t<V> biases, double epsilon,
             Site at) {
  return apply("layer_norm", std::vector<V>{x, gain, biases}, {{"epsilon", epsilon}},
               {.site = at})[0];
}
template <Operable V>
V rms_norm(V x, std::type_identity_t<V> gain, double epsilon, Site at) {
  return apply("rms_norm", std::vector<V>{x, gain}, {{"epsilon", epsilon}}, {.site = at})[0];
}
template <Operable V>
V l2_normalize(V x, std::vector<int64_t> axes, double epsilon, Site at) {
  return apply("l2_normalize", {x}, {{"axes", std::move(axes)}, {"epsilon", epsilon}},
               {.site = at})[0];
}
template <Operable V>
BatchNormResult<V> batch_norm(V x, std::type_identity_t<BatchNormInputs<V>> in,
                              BatchNormConfig config, Site at) {
  auto r =
      apply("batch_norm",
            std::vector<V>{x, in.running_mean, in.running_variance, in.gain, in.biases, in.mask},
            {{"momentum", config.momentum}, {"epsilon", config.epsilon}}, {.site = at});
  return {r[0], r[1], r[2]};
}

Var batch_norm(Var x, std::string_view name, BatchNormConfig config, Var mask, Site at) {
  const auto refuse = [&](Fault fault, std::string_view rule, const std::string& why) {
    fail(fault, cat("batch_norm.x.", rule), "[batch_norm \"", name, "\"] ", why);
  };
  Graph g = x.graph();
  if (g.has_parent())
    refuse(Fault::kUnsupported, "body",
           "cannot be used in the body of a recurrence, where each row is by itself; normalise its "
           "inputs or outputs, or take layer_norm");
  if (x.rank() < 2 || !x.dim(-1).is_constant())
    refuse(Fault::kArgument, "dim",
           cat("x has shape ", to_string(x.shape()), ", but must be [...,C] with a number C"));
  const Dims channels{x.dim(-1).constant()};
  const Graph::Scope scope = g.scope(name);
  const auto variable = [&](std::string_view what, double first, bool trainable) {
    return g.variable(what, Tensor::full(x.dtype(), channels, first), trainable, at);
  };
  const Var gain = variable("gain", 1, true), biases = variable("biases", 0, true);
  return batch_norm(x,
                    {.running_mean = variable("running_mean", 0, false),
                     .running_variance = variable("running_variance", 1, false),
                     .gain = gain,
                     .biases = biases,
                     .mask = std::move(mask)},
                    config, at)
      .y;
}

#define RONDO_INSTANTIATE(V)                                      \
  template V layer_norm(V, V, V, double, Site);                   \
  template V rms_norm(V, V, double, Site);                        \
  template V l2_normalize(V, std::vector<int64_t>, double, Site); \
  template BatchNormResult<V> batch_norm(V, BatchNormInputs<V>, BatchNormConfig, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace nn
}  // namespace rondo
