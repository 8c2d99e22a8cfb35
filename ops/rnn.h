// MXNet's fused `RNN`: stacked, one or both directions, all weights in one packed vector (cuDNN's
// canonical order).
//
// For each layer and direction, gates in blocks of H rows: weights Wx [G*H,I_l], Wh [G*H,R] and,
// with projection, Wr [P,H]; after all weights, all biases bx and bh [G*H] each. lstm: i, f, g, o;
// gru: r, z, n, reset after the product. Source: Apache MXNet 1.9.1, operator RNN; cuDNN's RNN. R =
// P with projection, else H.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo::rnn {

/// The kind of cell, MXNet's names.
enum class RnnMode { rnn_relu, rnn_tanh, lstm, gru };

/// How rnn is built.
struct RnnConfig {
  int64_t state_size = 0;  ///< H
  int64_t num_layers = 1;  ///< L
  RnnMode mode = RnnMode::lstm;
  bool bidirectional = false;   ///< D = 2
  bool state_outputs = false;   ///< gives the final states
  double p = 0;                 ///< dropout between layers, in training runs; [0, 1)
  int64_t projection_size = 0;  ///< P, lstm only; 0 = none (the op's attribute is then not given)
  /// Bounds of the cell state after each step, lstm only; both or neither.
  double lstm_state_clip_min = -kUnbounded, lstm_state_clip_max = kUnbounded;
  bool lstm_state_clip_nan = false;  ///< a NaN cell state becomes the lower bound

  static constexpr double kUnbounded = __builtin_inf();
};

/// The operands of rnn beside its data.
template <Operable V>
struct RnnInputs {
  V parameters;            ///< [N], see rnn_parameter_count
  V state;                 ///< [L*D,B,R]
  V state_cell = {};       ///< [L*D,B,H], lstm only
  V sequence_length = {};  ///< [B]:int, in [1, T]; absent = all T steps
  V dropout_mask = {};     ///< [L-1,T,B,D*R], used in the place of drawn masks; values 0 or 1/(1-p)
};

/// What rnn gives.
template <Operable V>
struct RnnResult {
  V output;            ///< [T,B,D*R], forward half first
  V state_output;      ///< [L*D,B,R], if asked for
  V statecell_output;  ///< [L*D,B,H], if asked for and lstm
};

/// data [T,B,I]. Row l*D+d of the states belongs to layer l, direction d. Past the end of a row
/// outputs are 0. Gradients: data, parameters, state, state_cell. Errors: as MXNet documents, and
/// lengths outside [1, T].
template <Operable V>
RnnResult<V> rnn(V data, std::type_identity_t<RnnInputs<V>> inputs, RnnConfig config,
                 std::string_view name = {}, Site at = Site::here());

/// Length N of the packed vector for an input of I features.
int64_t rnn_parameter_count(const RnnConfig& config, int64_t input_size);

/// A matrix or bias in the packed vector.
struct RnnBlock {
  int64_t layer, direction;  ///< direction: 0 forward, 1 backward
  std::string_view name;     ///< Wx [G*H,I_l], Wh [G*H,R], Wr [P,H], bx [G*H], bh [G*H]
  int64_t offset;            ///< of its first element
  Dims dims;
};
/// All blocks in their order, without gaps; all sizes at least 1.
std::vector<RnnBlock> rnn_parameter_blocks(const RnnConfig& config, int64_t input_size);

/// The packed vector as a variable `name`/parameters: weights uniform in +-1/sqrt(H) as in PyTorch,
/// biases 0.
Var rnn_parameters(Graph g, std::string_view name, int64_t input_size, const RnnConfig& config,
                   DType dtype = f32, Site at = Site::here());

}  // namespace rondo::rnn
