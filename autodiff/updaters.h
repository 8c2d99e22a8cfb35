// Updaters as graph updates: each gives, for every variable, the node of its next value. What an
// updater remembers (moments, the step count) are variables too, so that a checkpoint has all of
// it.
//
// g is the gradient, t counts updates from 1, all operations are elementwise. Formulas are those of
// the papers, epsilon where PyTorch has it; docs/training.md says how ND4J's and Keras' differ.
// What is remembered of a weight in bf16 or f16 is f32.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <rondo/autodiff/clip.h>
#include <rondo/autodiff/schedules.h>
#include <rondo/graph/graph.h>

namespace rondo {

/// v' = momentum v + g,  w' = w - learning_rate v'.  Source: Polyak (1964).
struct SGD {
  Schedule learning_rate = 0.01;
  double momentum = 0;
};

/// v' = momentum v + g,  w' = w - learning_rate (g + momentum v').  Source: Nesterov (1983), in the
/// form of Sutskever et al. (2013).
struct Nesterov {
  Schedule learning_rate = 0.01;
  double momentum = 0.9;
};

/// s' = s + g^2,  w' = w - learning_rate g / (sqrt(s') + epsilon); s starts as `initial`.
/// Source: Duchi, Hazan and Singer (2011).
struct AdaGrad {
  Schedule learning_rate = 0.01;
  double initial = 0;
  double epsilon = 1e-10;
};

/// s' = decay s + (1 - decay) g^2,  d = g / (sqrt(s') + epsilon),  w' = w - learning_rate d.
/// Centred: s' - m'^2 in the place of s', m' = decay m + (1 - decay) g. With momentum:
/// v' = momentum v + d in the place of d. Source: Tieleman and Hinton (2012); Graves (2013).
struct RMSProp {
  Schedule learning_rate = 0.01;
  double decay = 0.99;
  double momentum = 0;
  bool centered = false;
  double epsilon = 1e-8;
};

/// s' = decay s + (1 - decay) g^2,  d = sqrt(u + epsilon) / sqrt(s' + epsilon) g,
/// u' = decay u + (1 - decay) d^2,  w' = w - learning_rate d.  Source: Zeiler (2012).
struct AdaDelta {
  Schedule learning_rate = 1;
  double decay = 0.9;
  double epsilon = 1e-6;
};

/// m' = beta1 m + (1 - beta1) g,  v' = beta2 v + (1 - beta2) g^2,
/// w' = w - learning_rate m' / (1 - beta1^t) / (sqrt(v' / (1 - beta2^t)) + epsilon).
/// Source: Kingma and Ba (2015), algorithm 1.
struct Adam {
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// m' as Adam,  u' = max(beta2 u, |g| + epsilon),
/// w' = w - learning_rate m' / (1 - beta1^t) / u'.  Source: Kingma and Ba (2015), algorithm 2.
struct AdaMax {
  Schedule learning_rate = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// Adam with x' = max(x, v') in the place of v'.  Source: Reddi, Kale and Kumar (2018).
struct AMSGrad {
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// m', v' as Adam,  b_t = beta1 (1 - 0.96^(t momentum_decay) / 2),  p_t = b_1 ... b_t,
/// w' = w - learning_rate (b_{t+1} m' / (1 - p_{t+1}) + (1 - b_t) g / (1 - p_t))
///          / (sqrt(v' / (1 - beta2^t)) + epsilon).  Source: Dozat (2016).
struct Nadam {
  Schedule learning_rate = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double momentum_decay = 4e-3;
  double epsilon = 1e-8;
};

/// Adam, and w' lower by learning_rate weight_decay w beside.  Source: Loshchilov and Hutter
/// (2019).
struct AdamW {
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0.01;
  double epsilon = 1e-8;
};

/// Adam with s' = beta2 s + (1 - beta2) (g - m')^2 + epsilon in the place of v'.
/// Source: Zhuang et al. (2020).
struct AdaBelief {
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-16;
};

/// Any updater.
using Updater = std::variant<SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdaMax, AMSGrad,
                             Nadam, AdamW, AdaBelief>;

/// What pulls weights towards zero.
struct Regularization {
  double l1 = 0;                         ///< g + l1 sign(w) in the place of g
  double l2 = 0;                         ///< g + l2 w: the gradient of l2 / 2 * |w|^2
  double weight_decay = 0;               ///< w' lower by learning_rate weight_decay w
  std::vector<std::string> except = {};  ///< names of variables that are left alone: biases, say
};

/// A variable and the node of its value after the step.
struct Update {
  Var variable;
  Var value;
};
using Updates = std::vector<Update>;

struct UpdateOptions {
  Var loss = {};  ///< a float scalar, for schedules that depend on it
  Regularization regularization = {};
  /// What the updater's own step count is called, "NAME/step"; none: the updater's name. Several
  /// updaters of one kind in one graph need a name each.
  std::string name = {};
};

/// Updates for `variables` from their `gradients`, with those of the updater's own variables.
/// Errors: a count mismatch, a number out of range (`adam.beta1.range`), an unknown name among the
/// exceptions (`regularization.except.unknown`), a schedule that needs a loss.
Updates updates_for(const Updater& updater, const Vars& variables, const Vars& gradients,
                    const UpdateOptions& options = {});

/// The name under which a file keeps an updater, "sgd" or "adam", and its numbers.
Attributes attributes_of(const Updater& updater);
/// The inverse. Errors `settings.attribute.missing`, `updater.name.unknown`,
/// `schedule.name.unknown`.
Updater updater_from(const Attributes& attributes);

}  // namespace rondo
