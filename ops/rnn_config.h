// The contract's configuration types for recurrent layers: names and defaults as in SameDiff's RNN
// page.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace rondo {

/// Layout of a sequence: T time, N batch, S features. T2NS: TNS, results with a direction axis
/// [T,2,N,S].
enum LSTMDataFormat { TNS, NTS, NST, T2NS };
/// Layout of a sequence of lstm_block.
enum class RnnDataFormat { TNS, NST, NTS };
/// BWD runs each row from the end of the array (padding, if any, at its front); the backward half
/// of the BIDIR modes runs from each row's own last step (padding at the end).
enum LSTMDirectionMode { FWD, BWD, BIDIR_SUM, BIDIR_CONCAT, BIDIR_EXTRA_DIM };
/// Formulas are those of the elementwise ops of the same names; SCALED_TAHN is the contract's
/// spelling of SCALED_TANH.
enum class LSTMActivations {
  TANH,
  RELU,
  SIGMOID,
  AFFINE,
  LEAKY_RELU,
  THRESHHOLD_RELU,
  SCALED_TANH,
  HARD_SIGMOID,
  ELU,
  SOFTSIGN,
  SOFTPLUS,
  THRESHOLD_RELU = THRESHHOLD_RELU,
  SCALED_TAHN = SCALED_TANH,
};

inline constexpr std::array<std::string_view, 4> kDataFormatNames{"TNS", "NTS", "NST", "T2NS"};
inline constexpr std::array<std::string_view, 3> kRnnDataFormatNames{"TNS", "NST", "NTS"};
inline constexpr std::array<std::string_view, 5> kDirectionNames{"FWD", "BWD", "BIDIR_SUM",
                                                                 "BIDIR_CONCAT", "BIDIR_EXTRA_DIM"};
inline constexpr std::array<std::string_view, 11> kActivationNames{
    "TANH",        "RELU",         "SIGMOID", "AFFINE",   "LEAKY_RELU", "THRESHHOLD_RELU",
    "SCALED_TANH", "HARD_SIGMOID", "ELU",     "SOFTSIGN", "SOFTPLUS"};

/// Whether the layer runs both ways.
inline bool is_bidirectional(LSTMDirectionMode m) { return m >= BIDIR_SUM; }

/// Configuration of lstm_layer and lstm_layer_cell.
struct LSTMLayerConfig {
  LSTMDataFormat data_format = TNS;
  LSTMDirectionMode direction_mode = FWD;
  LSTMActivations gate_act = LSTMActivations::SIGMOID;
  LSTMActivations cell_act = LSTMActivations::TANH;
  LSTMActivations out_act = LSTMActivations::TANH;
  bool ret_full_sequence = true;
  bool ret_last_h = false;
  bool ret_last_c = false;
  double cell_clip = 0;  ///< the cell state is kept in [-cell_clip, cell_clip]; 0 = off
  double gate_alpha = 0, gate_beta = 0;
  double cell_alpha = 0, cell_beta = 0;
  double out_alpha = 0, out_beta = 0;
};

/// Configuration of lstm_cell and lstm_block.
struct LSTMConfiguration {
  bool peep_hole = false;  ///< the gates see the cell state, through the peephole weights
  RnnDataFormat data_format = RnnDataFormat::TNS;  ///< of lstm_block
  double forget_bias = 0;                          ///< added to the forget gate
  double clipping_cell_value = 0;  ///< the cell state is kept in +-this; 0 or less = off
};

/// Configuration of lstmp_cell and lstmp.
struct LSTMPConfig {
  bool peep_hole = false;          ///< the gates see the cell state, through peephole_weights
  bool projection = false;         ///< the output is multiplied with projection_weights
  double forget_bias = 0;          ///< added to the forget gate
  double clipping_cell_value = 0;  ///< the cell state is kept in +-this; 0 or less = off
  double clipping_proj_value = 0;  ///< the same of the projected output
};

/// Configuration of gru_layer.
struct GRULayerConfig {
  bool linear_before_reset = false;  ///< the reset gate acts after the recurrent product
};

}  // namespace rondo
