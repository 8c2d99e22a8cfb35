// What all losses share: shapes, weights, what is left out, and the reduction. A loss itself is a
// formula.
#pragma once

#include <functional>
#include <vector>

#include <rondo/graph/op.h>

namespace rondo {

/// What one loss is of.
enum class LossOver {
  kElement,   ///< an element of the predictions
  kLastAxis,  ///< a row of their last axis
  kAxis       ///< a row of the axis that the attribute `axis` names
};

/// A loss as a row: what weights and reductions are put around.
struct LossRow {
  OpDef def;  ///< operands predictions (or logits), labels, weights?; own attributes only
  LossOver over = LossOver::kElement;
  /// The losses of predictions and labels, which are finite wherever something is left out.
  std::function<Var(const Call& c, const Var& predictions, const Var& labels)> formula;
  Sample::Input predictions, labels;      ///< from where samples are drawn; whole: below `high`
  std::vector<Attributes> variants = {};  ///< samples of the own attributes
};

/// The whole definition: with the attribute `reduction`, inference, lowering, samples and refusals.
OpDef loss_op(const LossRow& row);

}  // namespace rondo
