// Everything that a user of Rondo needs: build a graph, train it, keep it, run it; or run
// operations at once on tensors.
//
// A program that wants less includes the headers it needs by themselves.
#pragma once

/// @namespace rondo
/// Recurrent networks as symbolic graphs.
/// @namespace rondo::check
/// What a test of an op asks of it.
/// @namespace rondo::init
/// First values of weights.
/// @namespace rondo::loss
/// What training makes small.
/// @namespace rondo::markdown
/// Pieces of generated pages.
/// @namespace rondo::nn
/// Layers around recurrent ones.
/// @namespace rondo::rnn
/// Recurrent layers and their cells.
/// @namespace rondo::weights
/// Weights of other systems, in their own layouts.

#include <rondo/autodiff/clip.h>
#include <rondo/autodiff/derivatives.h>
#include <rondo/autodiff/gradients.h>
#include <rondo/autodiff/schedules.h>
#include <rondo/autodiff/state_updates.h>
#include <rondo/autodiff/updaters.h>
#include <rondo/graph/describe.h>
#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>
#include <rondo/graph/print.h>
#include <rondo/graph/tensor.h>
#include <rondo/ops/arrange.h>
#include <rondo/ops/attention.h>
#include <rondo/ops/cell_layers.h>
#include <rondo/ops/control.h>
#include <rondo/ops/convolution.h>
#include <rondo/ops/einsum.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/embedding.h>
#include <rondo/ops/gru.h>
#include <rondo/ops/index.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/layer.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/loss.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/lstm_block.h>
#include <rondo/ops/lstmp.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/norm.h>
#include <rondo/ops/order.h>
#include <rondo/ops/patches.h>
#include <rondo/ops/pooling.h>
#include <rondo/ops/random.h>
#include <rondo/ops/random_ops.h>
#include <rondo/ops/ranges.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn.h>
#include <rondo/ops/shape.h>
#include <rondo/ops/sru.h>
#include <rondo/ops/stacked.h>
#include <rondo/ops/statistics.h>
#include <rondo/ops/weights/weights.h>
#include <rondo/proto/bundle.h>
#include <rondo/proto/safetensors.h>
#include <rondo/runtime/check_gradients.h>
#include <rondo/runtime/check_op.h>
#include <rondo/runtime/checkpoint.h>
#include <rondo/runtime/data.h>
#include <rondo/runtime/eager_gradients.h>
#include <rondo/runtime/explain.h>
#include <rondo/runtime/model.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/progress.h>
#include <rondo/runtime/session.h>
#include <rondo/runtime/stream.h>
#include <rondo/runtime/trainer.h>
#include <rondo/runtime/ts_format.h>
#include <rondo/runtime/variable_store.h>
