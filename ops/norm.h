// Normalisations: of each row of the last axis by itself (layer_norm, rms_norm, l2_normalize), and
// of each channel over all rows of a batch (batch_norm), which remembers what it saw.
#pragma once

#include <string_view>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo::nn {

/// y = (x - m) / sqrt(v + epsilon) * gain + biases; m and v are the mean and the variance of each
/// row of x's last axis. x[...,N]; gain[N] and biases[N], absent = 1 and 0. Source: Ba, Kiros and
/// Hinton (2016).
template <Operable V>
V layer_norm(V x, std::type_identity_t<V> gain, std::type_identity_t<V> biases,
             double epsilon = 1e-5, Site at = Site::here());

/// y = x / sqrt(mean of x^2 + epsilon) * gain, for each row of x's last axis. x[...,N], gain[N]
/// (absent = 1). Source: Zhang and Sennrich (2019).
template <Operable V>
V rms_norm(V x, std::type_identity_t<V> gain, double epsilon = 1e-6, Site at = Site::here());

/// y = x / sqrt(max(sum of x^2 over the axes, epsilon)): length 1, and 0 for a vector of zeros.
/// x[...] -> y[...]; no axes = all.
template <Operable V>
V l2_normalize(V x, std::vector<int64_t> axes = {-1}, double epsilon = 1e-12,
               Site at = Site::here());

template <Operable V>
struct BatchNormInputs {
  V running_mean;      ///< [C], what runs that are not of training take
  V running_variance;  ///< [C]
  V gain = {};         ///< [C], absent = 1
  V biases = {};       ///< [C], absent = 0
  V mask = {};         ///< x's shape without its last axis, bool: what counts; absent = all
};

struct BatchNormConfig {
  double momentum = 0.9;  ///< how much of the running values stays at a step
  double epsilon = 1e-5;
};

template <Operable V>
struct BatchNormResult {
  V y;              ///< like x
  V next_mean;      ///< [C], running_mean after this run: changed in training alone
  V next_variance;  ///< [C]
};

/// Each channel of x[...,C] to mean 0 and variance 1 over all axes but the last:
///     y = (x - m) / sqrt(v + epsilon) * gain + biases
/// In training (RunOptions::training) m and v are those of this batch, otherwise running_mean and
/// running_variance. next = momentum running + (1 - momentum) batch's. Where the mask is false x
/// (NaN included) counts for nothing and y is 0. Gradients: all but the running values. When those
/// are variables a Trainer keeps the next ones by itself; another loop adds state_updates({loss})
/// to its updates. Errors: batch_norm.ARGUMENT.rank, .dim, .dtype. Source: Ioffe and Szegedy
/// (2015).
template <Operable V>
BatchNormResult<V> batch_norm(V x, std::type_identity_t<BatchNormInputs<V>> inputs,
                              BatchNormConfig config = {}, Site at = Site::here());
/// y, on variables of its own: name/gain, name/biases, and name/running_mean (0) and
/// name/running_variance (1), which are not trained. Error: within the body of a recurrence.
Var batch_norm(Var x, std::string_view name, BatchNormConfig config = {}, Var mask = {},
               Site at = Site::here());

}  // namespace rondo::nn
