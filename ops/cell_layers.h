// Layers beside the contract's that users of today expect: an LSTM and a GRU with layer
// normalisation, minGRU, minLSTM and IndRNN, each with lengths, formats and directions.
//
// Each is a row of a table (cell_layers.cc): its weights, its states and its step. What the rows
// share: x [T,B,I] in a data_format, lengths [B], first states [B,H] (absent = zeros); in the BIDIR
// modes weights, first and last states have a leading axis of 2: forward, backward. A row of length
// 0 keeps its first state and has y 0; BWD starts at each row's own last step.
#pragma once

#include <array>
#include <string_view>

#include <rondo/ops/operand.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// What a layer takes beside x and weights; absent = all T steps, zeros.
template <Operable V>
struct CellLayerInputs {
  V lengths = {};  ///< [B]:int, steps of each row, in [0, T]
  V h_last = {};   ///< [B,H], first state
  V c_last = {};   ///< [B,H], first cell state, where the layer has one
};

/// What a layer of cells gives.
template <Operable V>
struct CellLayerOutputs {
  V y;       ///< [T,B,H] in the layout of x ([..,2*H] for BIDIR_CONCAT, [T,2,B,H] for
             ///< BIDIR_EXTRA_DIM)
  V last_h;  ///< [B,H], [2,B,H] in the BIDIR modes
  V last_c;  ///< the same; empty where the layer has no cell state
};

/// Configuration of min_gru and min_lstm.
struct CellLayerConfig {
  RnnDataFormat data_format = RnnDataFormat::TNS;
  LSTMDirectionMode direction_mode = FWD;
};

/// Configuration of lstm_layer_norm and gru_layer_norm.
struct LayerNormConfig {
  RnnDataFormat data_format = RnnDataFormat::TNS;
  LSTMDirectionMode direction_mode = FWD;
  double epsilon = 1e-5;  ///< added to the variance
};

/// The units of an IndRNN layer.
enum class IndRNNActivation { RELU, TANH };
inline constexpr std::array<std::string_view, 2> kIndRNNActivationNames{"RELU", "TANH"};

/// Configuration of ind_rnn.
struct IndRNNConfig {
  RnnDataFormat data_format = RnnDataFormat::TNS;
  LSTMDirectionMode direction_mode = FWD;
  IndRNNActivation activation = IndRNNActivation::RELU;
};

/// Weights of lstm_layer_norm; columns i, f, g, o.
template <Operable V>
struct LSTMLayerNormWeights {
  V input_weights;      ///< [I,4*H]
  V recurrent_weights;  ///< [H,4*H]
  V gain = {};          ///< [4*H]; absent = 1
  V biases = {};        ///< [4*H], added after the normalisation; absent = 0
};

/// An LSTM whose pre-activations are normalised, all four gates of a row together:
///     z = layer_norm(x_t Wx + h Wr) gain + b;  i, f, o = sigmoid(z_i, z_f, z_o);  g = tanh(z_g)
///     c' = f c + i g;  h' = o tanh(c')
/// Gradients: all but lengths. Source: Ba, Kiros and Hinton (2016).
template <Operable V>
CellLayerOutputs<V> lstm_layer_norm(V x, std::type_identity_t<CellLayerInputs<V>> inputs,
                                    std::type_identity_t<LSTMLayerNormWeights<V>> weights,
                                    LayerNormConfig config = {}, std::string_view name = {},
                                    Site at = Site::here());

/// Weights of gru_layer_norm; columns r, u, c.
template <Operable V>
struct GRULayerNormWeights {
  V input_weights;          ///< [I,3*H]
  V recurrent_weights;      ///< [H,3*H]
  V input_gain = {};        ///< [3*H]; absent = 1
  V recurrent_gain = {};    ///< [3*H]; absent = 1
  V biases = {};            ///< [3*H], of the input's part; absent = 0
  V recurrent_biases = {};  ///< [3*H], of the state's part; absent = 0
};

/// A GRU, reset after the product, whose two products are normalised, each row of each together:
///     a = layer_norm(x_t Wx) gain_x + b;  s = layer_norm(h Wr) gain_h + b_h
///     r, u = sigmoid(a_r + s_r, a_u + s_u);  c = tanh(a_c + r s_c);  h' = u h + (1 - u) c
/// Gradients: all but lengths. Source: Ba, Kiros and Hinton (2016).
template <Operable V>
CellLayerOutputs<V> gru_layer_norm(V x, std::type_identity_t<CellLayerInputs<V>> inputs,
                                   std::type_identity_t<GRULayerNormWeights<V>> weights,
                                   LayerNormConfig config = {}, std::string_view name = {},
                                   Site at = Site::here());

/// Weights of min_gru (columns z, h) and min_lstm (columns f, i, h).
template <Operable V>
struct MinWeights {
  V input_weights;  ///< [I,2*H] or [I,3*H]
  V biases = {};    ///< [2*H] or [3*H]; absent = 0
};

/// A GRU whose gates do not see the state:
///     z, n = x_t W + b;  h' = (1 - sigmoid(z)) h + sigmoid(z) n
/// Gradients: all but lengths. Source: Feng et al., Were RNNs all we needed? (2024).
template <Operable V>
CellLayerOutputs<V> min_gru(V x, std::type_identity_t<CellLayerInputs<V>> inputs,
                            std::type_identity_t<MinWeights<V>> weights,
                            CellLayerConfig config = {}, std::string_view name = {},
                            Site at = Site::here());

/// An LSTM whose gates do not see the state, and whose two gates add up to 1:
///     f, i, n = x_t W + b;  f = sigmoid(f), i = sigmoid(i);  h' = (f h + i n) / (f + i)
/// Gradients: all but lengths. Source: Feng et al., Were RNNs all we needed? (2024).
template <Operable V>
CellLayerOutputs<V> min_lstm(V x, std::type_identity_t<CellLayerInputs<V>> inputs,
                             std::type_identity_t<MinWeights<V>> weights,
                             CellLayerConfig config = {}, std::string_view name = {},
                             Site at = Site::here());

/// The weights of an IndRNN layer.
template <Operable V>
struct IndRNNWeights {
  V input_weights;      ///< [I,H]
  V recurrent_weights;  ///< [H]
  V biases = {};        ///< [H]; absent = 0
};

/// Units that each see their own state alone:
///     h' = act(x_t W + u h + b), act relu or tanh
/// Gradients: all but lengths. Source: Li et al., Independently recurrent neural network (2018).
template <Operable V>
CellLayerOutputs<V> ind_rnn(V x, std::type_identity_t<CellLayerInputs<V>> inputs,
                            std::type_identity_t<IndRNNWeights<V>> weights,
                            IndRNNConfig config = {}, std::string_view name = {},
                            Site at = Site::here());

/// Weights as variables of `g` under `name`/: what x is multiplied with Glorot uniform, what the
/// state is orthogonal (IndRNN: even in [0, 1]), for each gate; gains 1; biases 0, and 1 for an
/// LSTM's forget gate.
LSTMLayerNormWeights<Var> lstm_layer_norm_weights(Graph g, std::string_view name,
                                                  int64_t input_size, int64_t hidden_size,
                                                  LSTMDirectionMode direction = FWD,
                                                  DType dtype = f32, Site at = Site::here());
GRULayerNormWeights<Var> gru_layer_norm_weights(Graph g, std::string_view name, int64_t input_size,
                                                int64_t hidden_size,
                                                LSTMDirectionMode direction = FWD,
                                                DType dtype = f32, Site at = Site::here());
MinWeights<Var> min_gru_weights(Graph g, std::string_view name, int64_t input_size,
                                int64_t hidden_size, LSTMDirectionMode direction = FWD,
                                DType dtype = f32, Site at = Site::here());
MinWeights<Var> min_lstm_weights(Graph g, std::string_view name, int64_t input_size,
                                 int64_t hidden_size, LSTMDirectionMode direction = FWD,
                                 DType dtype = f32, Site at = Site::here());
IndRNNWeights<Var> ind_rnn_weights(Graph g, std::string_view name, int64_t input_size,
                                   int64_t hidden_size, LSTMDirectionMode direction = FWD,
                                   DType dtype = f32, Site at = Site::here());

}  // namespace rondo::rnn
