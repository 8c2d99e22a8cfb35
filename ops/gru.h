// The gated recurrent unit: SameDiff's single step `gru`, and the sequence op `gru_layer` with both
// places of the reset gate.
//
// Frameworks differ in that place, in the order of the gates, and in whether u keeps the old state
// or the new one: here the order is r, u, c, and u keeps the old one.
// Sources: Cho et al. (2014); reset after the product: cuDNN 5, ONNX's linear_before_reset;
// conventions: libnd4j's gruCell and gru.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// Weights of gru, for I inputs and H hidden units. Rows: first I for x, then H for the state.
template <Operable V>
struct GRUWeights {
  V ru_weight;     ///< [I+H,2*H], columns r, u
  V c_weight;      ///< [I+H,H]
  V ru_bias = {};  ///< [2*H], columns r, u; absent = 0
  V c_bias = {};   ///< [H]; absent = 0
};

/// What a GRU's step gives.
template <Operable V>
struct GRUResult {
  V r, u, c, h;  ///< each [B,H]: reset gate, update gate, candidate, new state
};

/// One step, with the reset gate before the product:
///     r, u = sigmoid([x, h] ru_weight + ru_bias)
///     c = tanh([x, r h] c_weight + c_bias);  h' = u h + (1 - u) c
/// x [B,I], h_last [B,H], floats of one dtype. Errors: gru.ARGUMENT.rank, .dim, .dtype, .missing.
/// Gradients: all operands.
template <Operable V>
GRUResult<V> gru(V x, std::type_identity_t<V> h_last, std::type_identity_t<GRUWeights<V>> weights,
                 std::string_view name = {}, Site at = Site::here());

/// Weights of gru_layer. Columns r, u, c.
template <Operable V>
struct GRULayerWeights {
  V input_weights;      ///< [I,3*H]
  V recurrent_weights;  ///< [H,3*H]
  V biases = {};        ///< [3*H]; absent = 0
};

/// A GRU over time: x [T,B,I], first state h_last [B,H] -> the states h [T,B,H]. Each step:
///     r, u = sigmoid(x_t Wx_ru + h Wr_ru + b_ru)
///     c = tanh(x_t Wx_c + (r h) Wr_c + b_c);  h' = u h + (1 - u) c
/// With linear_before_reset, r acts after the product: c = tanh(x_t Wx_c + r (h Wr_c) + b_c).
/// Errors: gru_layer.ARGUMENT.rank, .dim, .dtype, .missing. Gradients: all operands.
template <Operable V>
V gru_layer(V x, std::type_identity_t<V> h_last, std::type_identity_t<GRULayerWeights<V>> weights,
            GRULayerConfig config = {}, std::string_view name = {}, Site at = Site::here());

/// Weights as variables of `g` under `name`/: what x is multiplied with Glorot uniform, what the
/// state is orthogonal, for each gate; biases 0.
GRUWeights<Var> gru_weights(Graph g, std::string_view name, int64_t input_size, int64_t hidden_size,
                            DType dtype = f32, Site at = Site::here());
GRULayerWeights<Var> gru_layer_weights(Graph g, std::string_view name, int64_t input_size,
                                       int64_t hidden_size, DType dtype = f32,
                                       Site at = Site::here());

}  // namespace rondo::rnn
