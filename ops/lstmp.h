// The LSTM with a projection of libnd4j's `lstmCell` and `lstm`: the output, and so the recurrent
// product, may be narrower than the cell state. Gate order i, f, g, o.
//
// SameDiff has no name for it: its lstmCell is rnn::lstm_cell.
// Sources: Sak, Senior and Beaufays (2014); peepholes: Gers, Schraudolph and Schmidhuber (2002);
// conventions: libnd4j's lstmCell and lstm.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// I inputs, H cells, outputs of width P; P = H without a projection. Columns i, f, g, o.
template <Operable V>
struct LSTMPWeights {
  V input_weights;            ///< [I,4*H]
  V recurrent_weights;        ///< [P,4*H]
  V biases;                   ///< [4*H]
  V peephole_weights = {};    ///< [3*H], blocks i, f, o; needed with peep_hole only
  V projection_weights = {};  ///< [H,P]; needed with projection only
};

/// What an LSTM with a projection gives.
template <Operable V>
struct LSTMPResult {
  V h;  ///< [B,P], of lstmp [T,B,P]: output
  V c;  ///< [B,H], of lstmp [T,B,H]: cell state after the clip
};

/// One step:
///     z = x Wx + h Wr + b
///     c' = clip(sigmoid(z_f + c wc_f + forget_bias) c + sigmoid(z_i + c wc_i) tanh(z_g))
///     m = sigmoid(z_o + c' wc_o) tanh(c');  h' = clip_proj(m Wp) with projection, else m
/// x [B,I], h_last [B,P], c_last [B,H], floats of one dtype. The wc only with peep_hole;
/// clipping_proj_value acts only with projection. Errors: lstmp_cell.ARGUMENT.rank, .dim, .dtype,
/// .missing. Gradients: all operands that are used.
template <Operable V>
LSTMPResult<V> lstmp_cell(V x, std::type_identity_t<V> h_last, std::type_identity_t<V> c_last,
                          std::type_identity_t<LSTMPWeights<V>> weights, LSTMPConfig config = {},
                          std::string_view name = {}, Site at = Site::here());

/// lstmp_cell over time: x [T,B,I].
template <Operable V>
LSTMPResult<V> lstmp(V x, std::type_identity_t<V> h_last, std::type_identity_t<V> c_last,
                     std::type_identity_t<LSTMPWeights<V>> weights, LSTMPConfig config = {},
                     std::string_view name = {}, Site at = Site::here());

/// Which weights beside the always needed ones; their first values as for those of lstm_layer.
struct LSTMPSizes {
  int64_t inputs, hidden;
  int64_t projection = 0;  ///< P; 0 = no projection
  bool peepholes = false;
};
/// Weights as variables of `g` under `name`/: input and projection weights Glorot uniform,
/// recurrent weights orthogonal, for each gate; biases 0 with 1 for the forget gate (Jozefowicz et
/// al., 2015), so forget_bias can stay 0; peepholes 0.
LSTMPWeights<Var> lstmp_weights(Graph g, std::string_view name, LSTMPSizes sizes, DType dtype = f32,
                                Site at = Site::here());

}  // namespace rondo::rnn
