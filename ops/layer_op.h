// rnn::layer as the meaning of an op: the loop carries the op's name. Internal to ops/.
#pragma once

#include <string_view>

#include <rondo/ops/layer.h>

namespace rondo::rnn_internal {

/// rnn::layer for the op called `op`: the recurrence's origin, and `op`.lengths.range.
rnn::LayerResult run_layer(std::string_view op, const Var& x, const Vars& init,
                           const rnn::Cell& cell, const rnn::LayerOptions& options, Site at);

}  // namespace rondo::rnn_internal
