// What training makes small: one number, or one a row or an element, that says how far predictions
// are from labels.
//
// All losses take their weights and are reduced in the same way, that of SameDiff's LossReduce.
// Predictions come first, labels second. What has weight 0 (false, in a mask) is selected away, it
// is not multiplied away: padding may hold NaN and labels outside of any range, and no gradient
// comes from there. A mean over nothing is 0.
#pragma once

#include <array>
#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo {

/// What becomes of the losses w_i l_i of all elements or rows (w_i = 1 without weights).
enum class LossReduce {
  NONE,                         ///< they stay apart
  SUM,                          ///< sum w l
  MEAN,                         ///< sum w l / how many there are, those of weight 0 too
  MEAN_BY_WEIGHT,               ///< sum w l / sum w
  MEAN_BY_NONZERO_WEIGHT_COUNT  ///< sum w l / how many have a weight that is not 0
};
inline constexpr std::array<std::string_view, 5> kLossReduceNames{
    "NONE", "SUM", "MEAN", "MEAN_BY_WEIGHT", "MEAN_BY_NONZERO_WEIGHT_COUNT"};

/// What all losses take. `weights`, absent = 1: a mask (bool), or of the dtype of the predictions;
/// broadcast to the losses, as NumPy does: a [B,1] or a scalar to [B,I], a [T,B] to [T,B].
template <Operable V>
struct LossOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
};
template <Operable V>
struct CrossEntropyOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  double label_smoothing = 0;  ///< so much of each label is shared out evenly among all classes
};
template <Operable V>
struct HuberOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  double delta = 1;  ///< above 0: where the parabola becomes a line
};
template <Operable V>
struct LogLossOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  double epsilon = 1e-7;  ///< keeps the logarithm of 0 finite
};
template <Operable V>
struct CosineOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  int64_t axis = -1;  ///< of the vectors
};
template <Operable V>
struct DivergenceOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  int64_t axis = -1;       ///< of the distributions
  bool log_input = false;  ///< predictions are logarithms of probabilities
};
template <Operable V>
struct PoissonOptions {
  V weights = {};
  LossReduce reduction = LossReduce::MEAN_BY_NONZERO_WEIGHT_COUNT;
  bool log_input = true;  ///< predictions are logarithms of rates
  bool full = false;      ///< adds Stirling's approximation of log(label!)
  double epsilon = 1e-8;  ///< without log_input: keeps the logarithm of 0 finite
};

}  // namespace rondo

namespace rondo::loss {

/// l = -log(softmax(logits)[label]), one a row. logits[...,V], labels[...]:int, weights broadcast
/// to labels. A label outside [0, V) whose weight is not 0 is an Error when it runs
/// (`softmax_cross_entropy.labels.range`). To ignore an index: weights = not_equal(labels, index).
/// With smoothing s: l = -(1-s) log p[label] - s mean_v log p[v]. Source: Szegedy et al. (2016).
template <Operable V>
V softmax_cross_entropy(V logits, std::type_identity_t<V> labels,
                        CrossEntropyOptions<std::type_identity_t<V>> options = {},
                        Site at = Site::here());
/// l = -sum_v label_v log(softmax(logits)_v), one a row. logits[...,V], labels[...,V] of the same
/// dtype (probabilities), weights broadcast to [...]. With smoothing s: label_v (1-s) + s/V.
template <Operable V>
V softmax_cross_entropy_dense(V logits, std::type_identity_t<V> labels,
                              CrossEntropyOptions<std::type_identity_t<V>> options = {},
                              Site at = Site::here());
/// l = -z log(sigmoid(x)) - (1-z) log(1 - sigmoid(x)), x logits[...], z labels[...] in [0, 1];
/// without overflow. With smoothing s: z (1-s) + s/2.
template <Operable V>
V sigmoid_cross_entropy(V logits, std::type_identity_t<V> labels,
                        CrossEntropyOptions<std::type_identity_t<V>> options = {},
                        Site at = Site::here());

/// l = (p - z)^2. predictions[...], labels[...].
template <Operable V>
V mean_squared_error(V predictions, std::type_identity_t<V> labels,
                     LossOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = |p - z|; the derivative at 0 is 0. predictions[...], labels[...].
template <Operable V>
V mean_absolute_error(V predictions, std::type_identity_t<V> labels,
                      LossOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = d^2 / 2 where d = |p - z| <= delta, else delta (d - delta/2). predictions[...], labels[...].
/// Source: Huber (1964).
template <Operable V>
V huber(V predictions, std::type_identity_t<V> labels,
        HuberOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = log(cosh(p - z)), without overflow. predictions[...], labels[...].
template <Operable V>
V log_cosh(V predictions, std::type_identity_t<V> labels,
           LossOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = max(0, 1 - (2 z - 1) p): labels[...] are 0 and 1, predictions[...] any numbers.
template <Operable V>
V hinge(V predictions, std::type_identity_t<V> labels,
        LossOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = -z log(p + epsilon) - (1-z) log(1 - p + epsilon). predictions[...] and labels[...] are
/// probabilities.
template <Operable V>
V log_loss(V predictions, std::type_identity_t<V> labels,
           LogLossOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = e^p - z p with log_input, else p - z log(p + epsilon). predictions[...], labels[...].
template <Operable V>
V poisson(V predictions, std::type_identity_t<V> labels,
          PoissonOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());

/// l = sum over the axis of z (log z - log p), one a row; where z is 0 there is nothing to add.
/// predictions[...], labels[...]: probabilities; weights are broadcast to their shape without the
/// axis. Source: Kullback, Leibler (1951).
template <Operable V>
V kl_divergence(V predictions, std::type_identity_t<V> labels,
                DivergenceOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());
/// l = 1 - sum over the axis of p z, one a row: both are taken to have length 1 (nn::l2_normalize).
/// predictions[...], labels[...]; weights are broadcast to their shape without the axis.
template <Operable V>
V cosine_distance(V predictions, std::type_identity_t<V> labels,
                  CosineOptions<std::type_identity_t<V>> options = {}, Site at = Site::here());

}  // namespace rondo::loss
