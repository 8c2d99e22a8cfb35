// The registry of all built-in ops, and where each family adds its own. A user's program may add
// ops of its own.
#pragma once

#include <rondo/graph/op.h>

namespace rondo {

/// All ops that this program knows; built in ones are there from the first call.
OpRegistry& registry();

/// Adds the ops of a family.
void register_elementwise(OpRegistry& r);
void register_fused(OpRegistry& r);
void register_segments(OpRegistry& r);
void register_fused_matmul(OpRegistry& r);
void register_product_over_time(OpRegistry& r);
void register_linear(OpRegistry& r);
void register_einsum(OpRegistry& r);
void register_reduce(OpRegistry& r);
void register_statistics(OpRegistry& r);
void register_order(OpRegistry& r);
void register_shape(OpRegistry& r);
void register_arrange(OpRegistry& r);
void register_strided_slice(OpRegistry& r);
void register_index(OpRegistry& r);
void register_ranges(OpRegistry& r);
void register_nn(OpRegistry& r);
void register_convolution(OpRegistry& r);
void register_pooling(OpRegistry& r);
void register_patches(OpRegistry& r);
void register_norm(OpRegistry& r);
void register_loss(OpRegistry& r);
void register_random(OpRegistry& r);
void register_attention(OpRegistry& r);
void register_recurrence(OpRegistry& r);
void register_lstm(OpRegistry& r);
void register_rnn(OpRegistry& r);
void register_lstm_block(OpRegistry& r);
void register_lstmp(OpRegistry& r);
void register_gru(OpRegistry& r);
void register_sru(OpRegistry& r);
void register_cell_layers(OpRegistry& r);

}  // namespace rondo
