// The LSTM of SameDiff's `lstmCell` and `lstmblock` (TensorFlow's LSTMBlockCell and BlockLSTM): it
// gives all seven values of each step, and the order of its gates is i, z, f, o, with z what other
// LSTMs call g.
//
// For lengths, directions and choice of activations see lstm.h.
// Sources: Zaremba, Sutskever and Vinyals (2014); peepholes: Gers, Schraudolph and Schmidhuber
// (2002); conventions: libnd4j's lstmBlockCell and lstmBlock.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// Weights of lstm_cell and lstm_block, for I inputs and H hidden units.
template <Operable V>
struct LSTMWeights {
  V ru_weight;                     ///< [I+H,4*H], rows x, then y; columns i, z, f, o
  V input_peephole_weights = {};   ///< [H]; these three only where the configuration sets peep_hole
  V forget_peephole_weights = {};  ///< [H]
  V output_peephole_weights = {};  ///< [H]
  V bias = {};                     ///< [4*H]; absent = 0
};

/// The optional operands of lstm_block.
template <Operable V>
struct LSTMBlockInputs {
  V max_ts_length = {};  ///< []:int, how many steps all rows run, in [0, T]; absent = T
  V c_last = {};         ///< [B,H], first cell state; absent = 0
  V y_last = {};         ///< [B,H], first output; absent = 0
};

/// Gates after their activations, cell state after the clip, h = tanh(c), y = o h. Each [B,H]; of
/// lstm_block with a time axis, in the layout of x.
template <Operable V>
struct LSTMBlockResult {
  V i, c, f, o, z, h, y;
};

/// One step, peephole weights only with peep_hole:
///     m = [x, y_last] ru_weight + bias
///     i = sigmoid(m_i + c_last wi);  f = sigmoid(m_f + c_last wf + forget_bias);  z = tanh(m_z)
///     c = clip(i z + f c_last);  o = sigmoid(m_o + c wo);  h = tanh(c);  y = o h
/// x [B,I], c_last and y_last [B,H], floats of one dtype. data_format is not used. Errors:
/// lstm_cell.ARGUMENT.rank, .dim, .dtype, .missing. Gradients: all operands that are used.
template <Operable V>
LSTMBlockResult<V> lstm_cell(V x, std::type_identity_t<V> c_last, std::type_identity_t<V> y_last,
                             std::type_identity_t<LSTMWeights<V>> weights,
                             LSTMConfiguration config = {}, std::string_view name = {},
                             Site at = Site::here());

/// lstm_cell over time: x [T,B,I] (TNS), [B,I,T] (NST) or [B,T,I] (NTS). Steps from max_ts_length
/// on are not computed: all seven results are 0 there, and x is never read. Errors: those of
/// lstm_cell, and lstm_block.max_ts_length.range when it runs.
template <Operable V>
LSTMBlockResult<V> lstm_block(V x, std::type_identity_t<LSTMBlockInputs<V>> inputs,
                              std::type_identity_t<LSTMWeights<V>> weights,
                              LSTMConfiguration config = {}, std::string_view name = {},
                              Site at = Site::here());

/// Weights as variables of `g` under `name`/, for both ops: rows for x Glorot uniform, rows for y
/// orthogonal, for each gate; bias 0 with 1 for the forget gate (Jozefowicz et al., 2015), so
/// forget_bias can stay 0; peepholes (when asked for) 0.
LSTMWeights<Var> lstm_block_weights(Graph g, std::string_view name, int64_t input_size,
                                    int64_t hidden_size, DType dtype = f32, bool peepholes = false,
                                    Site at = Site::here());

}  // namespace rondo::rnn
