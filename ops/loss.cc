#include <rondo/ops/loss.h>

#include <numbers>
#include <utility>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/loss_common.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

constexpr std::string_view kLogits = "logits[...], labels[...], weights[...]:any? -> y[...]";
constexpr std::string_view kPredictions =
    "predictions[...], labels[...], weights[...]:any? -> y[...]";

const Difference kOrder{"SameDiff, Keras",
                        "labels come first there; here predictions do, as in PyTorch"};

AttributeDef smoothing(std::string_view how) {
  return {"label_smoothing", 0.0, cat("s: ", how), {}, 0, 1};
}
AttributeDef epsilon(double value) {
  return {"epsilon", value, "keeps the logarithm of 0 finite", {}, 0};
}
const AttributeDef kAxis{"axis", -1, "the axis along which a row lies"};

const Sample::Input kAnywhere{{}, -2, 2}, kProbability{{}, 0.1, 0.9}, kIndex{{}, 0, 1, i32};

ReduceOptions over(int64_t axis) { return {.axes = {axis}}; }

void check_delta(const InferContext& c) {
  if (c.attributes().number("delta") == 0)
    c.refuse("delta", "zero", "delta is 0, but must be above: every loss would be 0");
}

Var smoothed(const Call& c, const Var& log_p, const Var& of_label) {
  const double s = c.number("label_smoothing");
  return s == 0 ? -of_label : -((1 - s) * of_label + s * mean(log_p, over(-1)));
}

Var sparse_cross_entropy(const Call& c, const Var& logits, const Var& labels) {
  const Var log_p = nn::log_softmax(logits);
  const Var known = nn::check_range(labels, 0, logits.dim(-1) - 1, "softmax_cross_entropy.labels",
                                    "the last class");
  return smoothed(c, log_p, nn::pick(log_p, known));
}

Var dense_cross_entropy(const Call& c, const Var& logits, const Var& labels) {
  const Var log_p = nn::log_softmax(logits);
  return smoothed(c, log_p, sum(labels * log_p, over(-1)));
}

// Both sides by themselves, so that each is accurate where it is small.
Var binary_cross_entropy(const Call& c, const Var& logits, const Var& labels) {
  const double s = c.number("label_smoothing");
  const Var z = s == 0 ? labels : labels * (1 - s) + 0.5 * s;
  return z * softplus(-logits) + (1 - z) * softplus(logits);
}

Var huber_loss(const Call& c, const Var& predictions, const Var& labels) {
  const Var d = abs(predictions - labels);
  const Var q = minimum(d, c.number("delta"));
  return q * (d - 0.5 * q);
}

Var logarithmic_loss(const Call& c, const Var& p, const Var& z) {
  const double e = c.number("epsilon");
  return -(z * log(p + e) + (1 - z) * log(1 - p + e));
}

Var poisson_loss(const Call& c, const Var& p, const Var& z) {
  Var l = c.flag("log_input") ? exp(p) - z * p : p - z * log(p + c.number("epsilon"));
  if (!c.flag("full")) return l;
  const Var large = z > 1, n = where(large, z, 1);
  return l + where(large, n * log(n) - n + 0.5 * log(2 * std::numbers::pi * n), 0);
}

// Where a label is 0 nothing is added, whatever the prediction is.
Var divergence(const Call& c, const Var& p, const Var& z) {
  const Var some = not_equal(z, 0);
  const Var log_p = c.flag("log_input") ? where(some, p, 0) : log(where(some, p, 1));
  return sum(z * (log(where(some, z, 1)) - log_p), over(c.integer("axis")));
}

}  // namespace

void register_loss(OpRegistry& r) {
  const auto add = [&](const LossRow& row) { r.add(loss_op(row)); };
  add({.def =
           {.name = "softmax_cross_entropy",
            .sig = "logits[...], labels[...]:int, weights[...]:any? -> y[...]",
            .doc =
                R"(How improbable a label is, for each row of logits[...,V], by its index; labels[...]:
    l = -log(softmax(logits)[label])
and with smoothing s
    l = -(1-s) log(softmax(logits)[label]) - s (mean over v of log(softmax(logits)[v]))
A label outside [0, V) is an Error when it runs.)",
            .source = "label smoothing: Szegedy et al. (2016)",
            .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"T", "B", 9});
Var label = g.placeholder("label", i32, {"T", "B"});
Var loss = loss::softmax_cross_entropy(logits, label);  // loss: []
// Without the steps whose label is -1:
Var some = loss::softmax_cross_entropy(logits, label, {.weights = not_equal(label, -1)});
Tensor t = Tensor::full(f32, {2, 3}, 1);
Tensor now = loss::softmax_cross_entropy(t, Tensor::of<int32_t>({2}, {0, 2}));  // now: [])",
            .differs = {{"PyTorch CrossEntropyLoss",
                         "classes stand on the last axis, there on the second; ignore_index is "
                         "weights = not_equal(labels, index); weights are of rows, not of "
                         "classes: for those weights = gather(class_weights, labels)"},
                        {"Keras SparseCategoricalCrossentropy",
                         "takes logits always (there from_logits=True)"},
                        {"MXNet softmax_cross_entropy",
                         "that one gives the sum over the batch: LossReduce::SUM"},
                        {"SameDiff softmaxCrossEntropy",
                         "that one takes probabilities as labels: softmax_cross_entropy_dense"}},
            .attributes = {smoothing("so much of each label is shared out evenly among all V "
                                     "classes")},
            .aliases = {{"SameDiff", "sparseSoftmaxCrossEntropy", ""},
                        {"libnd4j", "sparse_softmax_cross_entropy_loss_with_logits", ""},
                        {"ONNX", "SoftmaxCrossEntropyLoss", ""},
                        {"PyTorch", "CrossEntropyLoss", ""},
                        {"Keras", "SparseCategoricalCrossentropy", ""}},
            .refuses = {{"labels.range",
                         {{{{2, 3}}, {{2}, 0, 0, i32, {0, 3}}, {{}, 0, 0, f64, {}, true}}},
                         "a label is outside [0, V), and its weight is not 0"}}},
       .over = LossOver::kLastAxis,
       .formula = sparse_cross_entropy,
       .predictions = {{}, -3, 3},
       .labels = kIndex,
       .variants = {{{"label_smoothing", 0.2}},
                    {{"label_smoothing", 1.0}, {"reduction", "NONE"}}}});
  add({.def =
           {.name = "softmax_cross_entropy_dense",
            .sig = std::string(kLogits),
            .doc =
                R"(How improbable labels are that are probabilities, for each row of logits[...,V] and labels[...,V]:
    l = -(sum over v of z_v log(softmax(logits)[v])),  z_v = label_v (1-s) + s/V with smoothing s
Rows of labels are taken to add up to 1.)",
            .source = "label smoothing: Szegedy et al. (2016)",
            .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"B", 9});
Var teacher = nn::softmax(g.placeholder("teacher", f32, {"B", 9}));
Var loss = loss::softmax_cross_entropy_dense(logits, teacher, {.label_smoothing = 0.1});
// loss: []
Tensor t = Tensor::full(f32, {2, 3}, 1);
Tensor now = loss::softmax_cross_entropy_dense(t, t, {.reduction = LossReduce::NONE});  // now: [2])",
            .differs = {kOrder,
                        {"Keras CategoricalCrossentropy",
                         "takes logits always (there from_logits=True)"}},
            .attributes = {smoothing("labels become label (1-s) + s/V")},
            .aliases = {{"SameDiff", "softmaxCrossEntropy", ""},
                        {"libnd4j", "softmax_cross_entropy_loss", ""},
                        {"PyTorch", "CrossEntropyLoss", ""},
                        {"Keras", "CategoricalCrossentropy", ""}}},
       .over = LossOver::kLastAxis,
       .formula = dense_cross_entropy,
       .predictions = {{}, -3, 3},
       .labels = kProbability,
       .variants = {{{"label_smoothing", 0.2}},
                    {{"label_smoothing", 0.5}, {"reduction", "NONE"}}}});
  add({.def = {.name = "sigmoid_cross_entropy",
               .sig = std::string(kLogits),
               .doc = R"(How improbable each label z in [0, 1] is, by its logit x:
    l = -z log(sigmoid(x)) - (1-z) log(1 - sigmoid(x)),  z = label (1-s) + s/2 with smoothing s
It does not overflow, and is accurate where it is small.)",
               .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"T", "B", 5});
Var labels = g.placeholder("labels", f32, {"T", "B", 5});
Var mask = g.placeholder("mask", boolean, {"T", "B"});
Var loss = loss::sigmoid_cross_entropy(logits, labels, {.weights = expand_dims(mask, -1)});
// loss: []
Tensor t = Tensor::of<float>({2}, {100, -200});
Tensor now = loss::sigmoid_cross_entropy(t, Tensor::of<float>({2}, {0, 1}));  // now: {150})",
               .differs = {kOrder,
                           {"Keras BinaryCrossentropy",
                            "takes logits always (there from_logits=True); of probabilities: "
                            "log_loss"}},
               .attributes = {smoothing("labels become label (1-s) + s/2")},
               .aliases = {{"SameDiff", "sigmoidCrossEntropy", ""},
                           {"libnd4j", "sigm_cross_entropy_loss", ""},
                           {"PyTorch", "BCEWithLogitsLoss", ""},
                           {"Keras", "BinaryCrossentropy", ""}}},
       .formula = binary_cross_entropy,
       .predictions = {{}, -3, 3},
       .labels = kProbability,
       .variants = {{{"label_smoothing", 0.2}}}});
  add({.def = {.name = "mean_squared_error",
               .sig = std::string(kPredictions),
               .doc = R"(The square of the error, of each element:
    l = (prediction - label)^2)",
               .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"T", "B", 3});
Var label = g.placeholder("label", f32, {"T", "B", 3});
Var loss = loss::mean_squared_error(y, label);  // loss: []
Tensor t = Tensor::of<float>({2}, {1, 2});
Tensor now = loss::mean_squared_error(t, Tensor::of<float>({2}, {1, 5}));  // now: {4.5})",
               .differs = {kOrder},
               .aliases = {{"SameDiff", "meanSquaredError", ""},
                           {"libnd4j", "mean_sqerr_loss", ""},
                           {"PyTorch", "MSELoss", ""},
                           {"Keras", "MeanSquaredError", ""}}},
       .formula = [](const Call&, const Var& p, const Var& z) { return square(p - z); },
       .predictions = kAnywhere,
       .labels = kAnywhere});
  add({.def = {.name = "mean_absolute_error",
               .sig = std::string(kPredictions),
               .doc = R"(The size of the error, of each element; its derivative at 0 is 0:
    l = |prediction - label|)",
               .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"T", "B", 3});
Var label = g.placeholder("label", f32, {"T", "B", 3});
Var loss = loss::mean_absolute_error(y, label, {.reduction = LossReduce::SUM});  // loss: []
Tensor t = Tensor::of<float>({2}, {1, 2});
Tensor now = loss::mean_absolute_error(t, Tensor::of<float>({2}, {1, 5}));  // now: {1.5})",
               .differs = {kOrder},
               .aliases = {{"SameDiff", "absoluteDifference", ""},
                           {"libnd4j", "absolute_difference_loss", ""},
                           {"PyTorch", "L1Loss", ""},
                           {"Keras", "MeanAbsoluteError", ""}}},
       .formula = [](const Call&, const Var& p, const Var& z) { return abs(p - z); },
       .predictions = kAnywhere,
       .labels = kAnywhere});
  add({.def =
           {.name = "huber",
            .sig = std::string(kPredictions),
            .doc =
                R"(A parabola near 0, lines beyond delta, of each element; with d = |prediction - label|:
    l = d^2 / 2 where d <= delta, else delta (d - delta/2))",
            .source = "Huber (1964)",
            .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"T", "B", 3});
Var label = g.placeholder("label", f32, {"T", "B", 3});
Var loss = loss::huber(y, label, {.delta = 0.5});  // loss: []
Tensor t = Tensor::of<float>({2}, {1, 2});
Tensor now = loss::huber(t, Tensor::of<float>({2}, {2, 5}));  // now: {1.5})",
            .differs = {kOrder, {"PyTorch SmoothL1Loss", "this one divided by delta (beta)"}},
            .attributes = {{"delta", 1.0, "above 0", {}, 0}},
            .aliases = {{"SameDiff", "huberLoss", ""},
                        {"libnd4j", "huber_loss", ""},
                        {"PyTorch", "HuberLoss", ""},
                        {"Keras", "Huber", ""}},
            .check = check_delta,
            .refuses = {{"delta.zero",
                         {{{{2}}, {{2}}, {{}, 0, 0, f64, {}, true}}, {{"delta", 0.0}}},
                         "delta is 0"}}},
       .formula = huber_loss,
       .predictions = kAnywhere,
       .labels = kAnywhere,
       .variants = {{{"delta", 0.7}}}});
  add({.def =
           {.name = "log_cosh",
            .sig = std::string(kPredictions),
            .doc =
                R"(Near 0 half the square of the error, far away its size, of each element; without overflow up to half of the largest number:
    l = log(cosh(prediction - label)))",
            .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"T", "B", 3});
Var label = g.placeholder("label", f32, {"T", "B", 3});
Var loss = loss::log_cosh(y, label);  // loss: []
Tensor t = Tensor::of<float>({2}, {1, 2});
Tensor now = loss::log_cosh(t, t);  // now: {0})",
            .differs = {kOrder},
            .aliases = {{"Keras", "LogCosh", ""}}},
       .formula =
           [](const Call&, const Var& p, const Var& z) {
             const Var twice = 2 * (p - z);  // from both sides, so that no infinity meets another
             return 0.5 * (softplus(twice) + softplus(-twice)) - std::numbers::ln2;
           },
       .predictions = kAnywhere,
       .labels = kAnywhere});
  add({.def =
           {.name = "hinge",
            .sig = std::string(kPredictions),
            .doc =
                R"(0 where a prediction is on its label's side by 1 or more, of each element; labels are 0 and 1, which stand for -1 and 1:
    l = max(0, 1 - (2 label - 1) prediction))",
            .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"B", 3});
Var label = g.placeholder("label", f32, {"B", 3});
Var loss = loss::hinge(y, label);  // loss: []
Tensor t = Tensor::of<float>({3}, {2, 0.5, -1});
Tensor now = loss::hinge(t, Tensor::of<float>({3}, {1, 1, 1}), {.reduction = LossReduce::NONE});
// now: {0, 0.5, 2})",
            .differs = {kOrder,
                        {"Keras Hinge",
                         "labels -1 and 1 are taken there too; here, as in SameDiff, they are "
                         "0 and 1"}},
            .aliases = {{"SameDiff", "hingeLoss", ""},
                        {"libnd4j", "hinge_loss", ""},
                        {"Keras", "Hinge", ""}}},
       .formula = [](const Call&, const Var& p, const Var& z) { return relu(1 - (2 * z - 1) * p); },
       .predictions = kAnywhere,
       .labels = kProbability});
  add({.def = {.name = "log_loss",
               .sig = std::string(kPredictions),
               .doc = R"(How improbable each label z in [0, 1] is, by the probability p of a 1:
    l = -z log(p + epsilon) - (1-z) log(1 - p + epsilon)
Of logits: sigmoid_cross_entropy, which is more accurate.)",
               .example = R"(Graph g;
Var p = sigmoid(g.placeholder("x", f32, {"B", 3}));
Var label = g.placeholder("label", f32, {"B", 3});
Var loss = loss::log_loss(p, label);  // loss: []
Tensor t = Tensor::of<float>({2}, {0, 1});
Tensor now = loss::log_loss(t, t, {.epsilon = 0.5});  // now: [])",
               .differs = {kOrder,
                           {"PyTorch BCELoss, Keras BinaryCrossentropy",
                            "they clip logarithms or probabilities, where epsilon is added here, "
                            "as in SameDiff"}},
               .attributes = {epsilon(1e-7)},
               .aliases = {{"SameDiff", "logLoss", ""},
                           {"libnd4j", "log_loss", ""},
                           {"PyTorch", "BCELoss", ""},
                           {"Keras", "BinaryCrossentropy", ""}}},
       .formula = logarithmic_loss,
       .predictions = kProbability,
       .labels = kProbability,
       .variants = {{{"epsilon", 0.1}}}});
  add({.def =
           {.name = "poisson",
            .sig = std::string(kPredictions),
            .doc =
                R"(How improbable a count z is, of each element, by the logarithm p of its rate (log_input) or by the rate p:
    l = e^p - z p   or   l = p - z log(p + epsilon)
without what depends on the label alone; full adds Stirling's approximation of that where z > 1:
    z log z - z + log(2 pi z) / 2)",
            .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"B", 3});
Var count = g.placeholder("count", f32, {"B", 3});
Var loss = loss::poisson(y, count);  // loss: []
Tensor t = Tensor::of<float>({2}, {0, 0});
Tensor now = loss::poisson(t, Tensor::of<float>({2}, {1, 5}));  // now: {1})",
            .differs = {kOrder, {"Keras Poisson", "that one takes rates: log_input = false"}},
            .attributes = {{"log_input", true, "predictions are logarithms of rates"},
                           {"full", false, "with Stirling's approximation of log(z!)"},
                           epsilon(1e-8)},
            .aliases = {{"SameDiff", "logPoisson", ""},
                        {"libnd4j", "log_poisson_loss", ""},
                        {"PyTorch", "PoissonNLLLoss", ""},
                        {"Keras", "Poisson", ""}}},
       .formula = poisson_loss,
       .predictions = {{}, 0.3, 2},
       .labels = {{}, 0.1, 3},
       .variants = {{{"log_input", false}},
                    {{"log_input", false}, {"epsilon", 0.1}, {"full", true}},
                    {{"full", true}}}});
  add({.def =
           {.name = "kl_divergence",
            .sig = std::string(kPredictions),
            .doc =
                R"(The divergence of predictions p from labels z, both distributions along an axis, for each row of that axis:
    l = sum over the axis of z (log z - log p)
log p is the prediction itself with log_input. Where z is 0 nothing is added, whatever p is.)",
            .source = "Kullback and Leibler (1951)",
            .example = R"(Graph g;
Var log_p = nn::log_softmax(g.placeholder("logits", f32, {"B", 9}));
Var teacher = nn::softmax(g.placeholder("teacher", f32, {"B", 9}));
Var loss = loss::kl_divergence(log_p, teacher, {.log_input = true});  // loss: []
Tensor t = Tensor::of<float>({2, 2}, {0.5, 0.5, 1, 0});
Tensor now = loss::kl_divergence(t, t, {.reduction = LossReduce::NONE});  // now: {0, 0})",
            .differs = {kOrder,
                        {"PyTorch KLDivLoss",
                         "rows are summed before anything else, so that the mean is its "
                         "\"batchmean\"; predictions are probabilities unless log_input"},
                        {"Keras KLDivergence",
                         "that one clips both to [1e-7, 1]; here nothing is clipped"}},
            .attributes = {kAxis,
                           {"log_input", false, "predictions are logarithms of probabilities"}},
            .aliases = {{"PyTorch", "KLDivLoss", ""}, {"Keras", "KLDivergence", ""}}},
       .over = LossOver::kAxis,
       .formula = divergence,
       .predictions = kProbability,
       .labels = kProbability,
       .variants = {{{"axis", 0}}, {{"log_input", true}, {"reduction", "NONE"}}}});
  add({.def =
           {.name = "cosine_distance",
            .sig = std::string(kPredictions),
            .doc =
                R"(How far directions are apart, for each row of an axis; predictions and labels are taken to have length 1 along it:
    l = 1 - (sum over the axis of prediction * label))",
            .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"B", 3});
Var label = g.placeholder("label", f32, {"B", 3});
Var loss = loss::cosine_distance(nn::l2_normalize(y), label);  // loss: []
Tensor t = Tensor::of<float>({2, 2}, {1, 0, 0, 1});
Tensor now = loss::cosine_distance(t, t);  // now: {0})",
            .differs = {kOrder,
                        {"SameDiff cosineDistance",
                         "the axis is gone in what is not reduced, there it stays with length "
                         "1, also of the weights"},
                        {"PyTorch CosineEmbeddingLoss, Keras CosineSimilarity",
                         "they divide by the lengths; here vectors are of length 1 already: "
                         "nn::l2_normalize"}},
            .attributes = {kAxis},
            .aliases = {{"SameDiff", "cosineDistance", ""},
                        {"SameDiff", "dimension", "axis"},
                        {"libnd4j", "cosine_distance_loss", ""}}},
       .over = LossOver::kAxis,
       .formula = [](const Call& c, const Var& p,
                     const Var& z) { return 1 - sum(p * z, over(c.integer("axis"))); },
       .predictions = kAnywhere,
       .labels = kAnywhere,
       .variants = {{{"axis", 0}}}});
}

namespace {

template <Operable V, class Options>
V make(std::string_view op, V predictions, V labels, const Options& o, Attributes attributes,
       Site at) {
  attributes.set("reduction", kLossReduceNames.at(static_cast<size_t>(o.reduction)));
  return apply(op, std::vector<V>{std::move(predictions), std::move(labels), o.weights},
               std::move(attributes), {.site = at})[0];
}

}  // namespace

namespace loss {

template <Operable V>
V softmax_cross_entropy(V logits, std::type_identity_t<V> labels,
                        CrossEntropyOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("softmax_cross_entropy", logits, labels, o,
                 {{"label_smoothing", o.label_smoothing}}, at);
}
template <Operable V>
V softmax_cross_entropy_dense(V logits, std::type_identity_t<V> labels,
                              CrossEntropyOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("softmax_cross_entropy_dense", logits, labels, o,
                 {{"label_smoothing", o.label_smoothing}}, at);
}
template <Operable V>
V sigmoid_cross_entropy(V logits, std::type_identity_t<V> labels,
                        CrossEntropyOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("sigmoid_cross_entropy", logits, labels, o,
                 {{"label_smoothing", o.label_smoothing}}, at);
}
template <Operable V>
V mean_squared_error(V predictions, std::type_identity_t<V> labels,
                     LossOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("mean_squared_error", predictions, labels, o, {}, at);
}
template <Operable V>
V mean_absolute_error(V predictions, std::type_identity_t<V> labels,
                      LossOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("mean_absolute_error", predictions, labels, o, {}, at);
}
template <Operable V>
V huber(V predictions, std::type_identity_t<V> labels, HuberOptions<std::type_identity_t<V>> o,
        Site at) {
  return make<V>("huber", predictions, labels, o, {{"delta", o.delta}}, at);
}
template <Operable V>
V log_cosh(V predictions, std::type_identity_t<V> labels, LossOptions<std::type_identity_t<V>> o,
           Site at) {
  return make<V>("log_cosh", predictions, labels, o, {}, at);
}
template <Operable V>
V hinge(V predictions, std::type_identity_t<V> labels, LossOptions<std::type_identity_t<V>> o,
        Site at) {
  return make<V>("hinge", predictions, labels, o, {}, at);
}
template <Operable V>
V log_loss(V predictions, std::type_identity_t<V> labels, LogLossOptions<std::type_identity_t<V>> o,
           Site at) {
  return make<V>("log_loss", predictions, labels, o, {{"epsilon", o.epsilon}}, at);
}
template <Operable V>
V poisson(V predictions, std::type_identity_t<V> labels, PoissonOptions<std::type_identity_t<V>> o,
          Site at) {
  return make<V>("poisson", predictions, labels, o,
                 {{"log_input", o.log_input}, {"full", o.full}, {"epsilon", o.epsilon}}, at);
}
template <Operable V>
V kl_divergence(V predictions, std::type_identity_t<V> labels,
                DivergenceOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("kl_divergence", predictions, labels, o,
                 {{"axis", o.axis}, {"log_input", o.log_input}}, at);
}
template <Operable V>
V cosine_distance(V predictions, std::type_identity_t<V> labels,
                  CosineOptions<std::type_identity_t<V>> o, Site at) {
  return make<V>("cosine_distance", predictions, labels, o, {{"axis", o.axis}}, at);
}

#define RONDO_INSTANTIATE(V)                                                  \
  template V softmax_cross_entropy(V, V, CrossEntropyOptions<V>, Site);       \
  template V softmax_cross_entropy_dense(V, V, CrossEntropyOptions<V>, Site); \
  template V sigmoid_cross_entropy(V, V, CrossEntropyOptions<V>, Site);       \
  template V mean_squared_error(V, V, LossOptions<V>, Site);                  \
  template V mean_absolute_error(V, V, LossOptions<V>, Site);                 \
  template V huber(V, V, HuberOptions<V>, Site);                              \
  template V log_cosh(V, V, LossOptions<V>, Site);                            \
  template V hinge(V, V, LossOptions<V>, Site);                               \
  template V log_loss(V, V, LogLossOptions<V>, Site);                         \
  template V poisson(V, V, PoissonOptions<V>, Site);                          \
  template V kl_divergence(V, V, DivergenceOptions<V>, Site);                 \
  template V cosine_distance(V, V, CosineOptions<V>, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace loss
}  // namespace rondo
