// Updaters as graph updates: each gives, for every variable, the node of its next value. What an
// updater remembers (moments, the step count) are variables too, so that a checkpoint has all of
// it.
#pragma once

#include <variant>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo {

/// w' = w - learning_rate * v',  v' = momentum * v + g.  Source: Polyak (1964).
struct SGD {
  double learning_rate = 0.01;
  double momentum = 0;
};

/// m' = beta1 m + (1 - beta1) g,  v' = beta2 v + (1 - beta2) g^2,
/// w' = w - learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m' / (sqrt(v') + epsilon).  Source:
/// Kingma and Ba (2015).
struct Adam {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// Any updater.
using Updater = std::variant<SGD, Adam>;

/// A variable and the node of its value after the step.
struct Update {
  Var variable;
  Var value;
};
using Updates = std::vector<Update>;

/// Updates for `variables` from their `gradients`, with those of the updater's own variables.
/// Errors: a count mismatch, a number out of range.
Updates updates_for(const Updater& updater, const Vars& variables, const Vars& gradients);

/// All gradients scaled by min(1, norm / ||all||_2).  Source: Pascanu et al. (2013).
Vars clip_by_global_norm(const Vars& gradients, double norm);

/// The name under which a file keeps an updater, "sgd" or "adam", and its numbers.
Attributes attributes_of(const Updater& updater);
Updater updater_from(const Attributes& attributes);

}  // namespace rondo
