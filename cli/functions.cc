#include "functions.h"

#include <rondo/graph/error.h>

namespace rondo::tool {
namespace {

constexpr std::string_view kControl = "ops/control.h", kControlPage = "docs/control.md",
                           kLayers = "docs/layers.md", kGradients = "docs/gradients.md",
                           kDerivatives = "autodiff/derivatives.h";

constexpr Function kFunctions[] = {
    {"cond", "recurrence", kControl, kControlPage, "one of two branches, by a bool"},
    {"while_loop", "recurrence", kControl, kControlPage, "a step as long as a condition holds"},
    {"scan", "recurrence", kControl, kControlPage, "a step over the leading axis of its inputs"},
    {"layer", "recurrence", "ops/layer.h", kLayers, "rnn::layer, a cell of your own over time"},
    {"dense", "matmul", "ops/nn.h", kLayers, "nn::dense, x times weights plus biases"},
    {"multi_head_attention", "dot_product_attention", "ops/attention.h", "docs/ops.md",
     "nn::multi_head_attention, with projections of its own"},
    {"zoneout", "dropout", "ops/layer.h", kLayers, "rnn::zoneout, a state keeps its last value"},
    {"variational_dropout", "dropout", "ops/nn.h", kLayers,
     "nn::variational_dropout, one mask for all steps of a row"},
    {"stacked", "", "ops/stacked.h", kLayers, "rnn::stacked, layers upon each other"},
    {"time_distributed", "", "ops/stacked.h", kLayers,
     "rnn::time_distributed, a function at each step"},
    {"zero_state", "fill", "ops/layer.h", kLayers, "rnn::zero_state, first states of a layer"},
    {"per_row", "", "ops/recurrence.h", kLayers, "inside a cell: a value with a row each"},
    {"per_step", "", "ops/recurrence.h", kLayers, "inside a cell: a value with a slice a step"},
    {"gradients", "", "autodiff/gradients.h", kGradients, "of a loss, by some values"},
    {"vjp", "", "autodiff/gradients.h", kGradients, "gradients by cotangents of several values"},
    {"jvp", "", kDerivatives, kGradients, "derivatives along a direction"},
    {"hvp", "", kDerivatives, kGradients, "products with second derivatives"},
    {"jacobian", "", kDerivatives, kGradients, "whole Jacobians"},
};

}  // namespace

std::span<const Function> functions() { return kFunctions; }

std::string describe_function(std::string_view name) {
  for (const Function& f : kFunctions) {
    if (f.name != name) continue;
    return cat(
        name, ": ", f.means, "\n  a function, no op of its own; declared in <rondo/", f.header,
        ">, explained in ", f.page, "\n",
        f.builds.empty() ? "" : cat("  it builds ", f.builds, ": rondo ops ", f.builds, "\n"));
  }
  return "";
}

}  // namespace rondo::tool
