// Layers one upon the other, and a function at each step: what stands around recurrent layers of
// any kind, built in or of one's own cells.
//
// Both are functions of functions: a layer is whatever takes [T,B,...] and gives [T,B,...], so that
// each may have its own kind, width, direction, lengths and first states.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// From the sequence below to the sequence above: a lambda around layer, lstm_layer, gru_layer...
using LayerFunction = std::function<Var(Var x)>;

/// How layers stand on each other.
struct StackedOptions {
  /// The first layer, counted from 0, whose input is added to its output; so it is for all above.
  std::optional<size_t> residual_from = {};
  double dropout = 0;        ///< rate, on the input of each layer but the first
  bool variational = false;  ///< one mask for all time steps of a run
  RnnDataFormat data_format = RnnDataFormat::TNS;  ///< where variational finds time
  std::string name = {};  ///< what layer k makes is called name/k/...; empty: no prefix
};

/// Layers upon each other, h_0 = x; the result is the last h:
///     h_{k+1} = layers_k(dropout(h_k)) [+ h_k]    no dropout at k = 0; + h_k from residual_from on
/// Dropout acts in training runs only, and never on h_k where it is added. What x holds in its
/// padding stands in the result's where residual_from is 0. Errors: stacked.x.missing,
/// stacked.layers.missing (none, or an empty function), stacked.layer.output (an empty Var),
/// stacked.residual.shape, stacked.residual_from.range, stacked.dropout.range. Gradients: x and
/// whatever the layers use. Sources: residual connections of GNMT, Wu et al. (2016); the mask of
/// variational: Gal, Ghahramani (2016).
Var stacked(const Var& x, const std::vector<LayerFunction>& layers,
            const StackedOptions& options = {}, Site at = Site::here());

/// y_t = f(x_t) for all steps at once, for an f without memory: x [T,B,...] goes through f as
/// [T*B,...], what f gives, [T*B,...], comes back as [T,B,...]. nn::dense, softmax and elementwise
/// ops need no such help: they take any rank.
/// lengths [B]:int, absent = T: f sees 0 past each row's end, and y is 0 there, so that NaN in the
/// padding reaches no result and no gradient. Errors: time_distributed.x.rank,
/// time_distributed.f.missing, time_distributed.f.rows, time_distributed.lengths.dim,
/// time_distributed.lengths.range (when it runs). Gradients: x and whatever f uses.
Var time_distributed(const Var& x, const LayerFunction& f, const Var& lengths = {},
                     Site at = Site::here());

}  // namespace rondo::rnn
