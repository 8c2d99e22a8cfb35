// LSTM layers of the contract: `lstm_layer` (all formats, directions, activations, lengths,
// peepholes, clipping) and its single step. Gate order in every weight: i, f, g, o.  Sources:
// Hochreiter and Schmidhuber (1997); peepholes: Gers, Schraudolph and Schmidhuber (2002);
// conventions: libnd4j's lstmLayer.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// H hidden, I input. In the BIDIR modes each has a leading axis of 2: forward, backward.
template <Operable V>
struct LSTMLayerWeights {
  V input_weights;          ///< [I,4*H]
  V recurrent_weights;      ///< [H,4*H]
  V biases = {};            ///< [4*H], optional
  V peephole_weights = {};  ///< [3*H], blocks i, f, o; optional
};

/// What a layer takes beside x and weights; absent = all T steps, zeros.
template <Operable V>
struct LSTMLayerInputs {
  V max_ts_length = {};  ///< [B]:int, steps of each row, in [0, T]
  V c_last = {};         ///< [B,H] ([2,B,H] in the BIDIR modes), first cell state
  V y_last = {};         ///< the same, first output
};

/// What lstm_layer gives.
template <Operable V>
struct LSTMLayerResult {
  V y;  ///< [T,B,H] in the layout of x ([.., 2*H] for BIDIR_CONCAT, [T,2,B,H] for BIDIR_EXTRA_DIM);
        ///< if asked for
  V last_h;  ///< [B,H], in every BIDIR mode [2,B,H]: output of the last step that each row ran; if
             ///< asked for
  V last_c;  ///< the same of the cell state
};

/// For each row, over its steps, from y_last and c_last:
///     z = x_t Wx + h Wr + b;  i, f, o = gate(z_i + c Wp_i, z_f + c Wp_f, z_o + c' Wp_o);  g =
///     cell(z_g) c' = clip(f c + i g, cell_clip);  h' = o out(c')
/// x: [T,B,I] (TNS, T2NS), [B,T,I] (NTS) or [B,I,T] (NST). Past the end of a row y is 0 and x is
/// never read; a row of length 0 gives 0 everywhere, and no gradient. T2NS and BIDIR_EXTRA_DIM go
/// together. Gradients: all but lengths.
template <Operable V>
LSTMLayerResult<V> lstm_layer(V x, std::type_identity_t<LSTMLayerInputs<V>> inputs,
                              std::type_identity_t<LSTMLayerWeights<V>> weights,
                              LSTMLayerConfig config = {}, std::string_view name = {},
                              Site at = Site::here());

/// What a step of lstm_layer gives: its output and its cell state.
template <Operable V>
struct LSTMCellResult {
  V h, c;
};

/// One step of lstm_layer: x [B,I] or [I], y_last and c_last [B,H] or [H] (absent = zeros) -> h, c.
/// Formats, directions and return flags of the configuration are not used.
template <Operable V>
LSTMCellResult<V> lstm_layer_cell(V x, std::type_identity_t<LSTMLayerInputs<V>> inputs,
                                  std::type_identity_t<LSTMLayerWeights<V>> weights,
                                  LSTMLayerConfig config = {}, std::string_view name = {},
                                  Site at = Site::here());

/// Weights as variables of `g` under `name`/: input weights Glorot uniform, recurrent weights
/// orthogonal, biases 0 with 1 for the forget gate (Jozefowicz et al., 2015), peepholes (when asked
/// for) 0.
LSTMLayerWeights<Var> lstm_layer_weights(Graph g, std::string_view name, int64_t input_size,
                                         int64_t hidden_size, LSTMDirectionMode direction = FWD,
                                         DType dtype = f32, bool peepholes = false,
                                         Site at = Site::here());

/// The two directions of a last state side by side: [2,B,H] -> [B,2*H].
template <Operable V>
V join_directions(V last, Site at = Site::here());

}  // namespace rondo::rnn
