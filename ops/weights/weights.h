// Weights of a recurrent network from one system's layout to another's: ND4J, MXNet and cuDNN,
// PyTorch, ONNX, Keras, oneDNN.
//
// The systems order the gates differently, transpose, add biases up or keep two, and stack
// directions or not. Each layout is a row of one table (layouts.cc); a conversion reads
// into one form in between and writes from it. What a layout cannot hold is refused with the
// reason. Names, shapes and refusals: docs/weights.md.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/ops/rnn.h>

namespace rondo::weights {

/// Tensors by the names that a system gives them; what SafeTensors holds.
using Tensors = std::map<std::string, Tensor>;

/// Whose layout. Tensors of layer k are named "lk.NAME", those of PyTorch "NAME_lk".
enum class Format {
  kNd4j,           ///< lstmLayer; for a GRU, gru: rnn::lstm_layer, rnn::gru_layer
  kNd4jCell,       ///< SameDiff's lstmCell and lstmblock; for a GRU, gru: rnn::lstm_block, rnn::gru
  kNd4jProjected,  ///< libnd4j's lstmCell and lstm: rnn::lstmp
  kPacked,         ///< MXNet and cuDNN, one vector "parameters": rnn::rnn
  kPyTorch,        ///< the state_dict of nn.RNN, nn.LSTM, nn.GRU
  kOnnx,           ///< W, R, B, P of one node a layer
  kKeras,          ///< kernel, recurrent_kernel, bias of each layer and direction
  kOneDnn,         ///< ldigo: one primitive a layer, L = 1
  kOneDnnLdgoi,    ///< the same with weights in ldgoi
  kMxnet = kPacked,
  kCudnn = kPacked,
};
inline constexpr std::array kFormats{Format::kNd4j,   Format::kNd4jCell, Format::kNd4jProjected,
                                     Format::kPacked, Format::kPyTorch,  Format::kOnnx,
                                     Format::kKeras,  Format::kOneDnn,   Format::kOneDnnLdgoi};

/// "nd4j", "nd4j_cell", "nd4j_projected", "packed", "pytorch", "onnx", "keras", "onednn",
/// "onednn_ldgoi". Error weights.format.enum for a number that is no Format.
std::string_view name_of(Format format);
/// The inverse; "mxnet", "cudnn" and "torch" are known too. Error weights.format.name lists all.
Format format_from_name(std::string_view name);

/// The network whose weights are converted. Layer l > 0 reads all directions of the layer before.
struct Network {
  rnn::RnnMode mode = rnn::RnnMode::lstm;
  int64_t input_size = 0;   ///< I
  int64_t hidden_size = 0;  ///< H
  int64_t layers = 1;       ///< at most 4096
  bool bidirectional = false;
  int64_t projection_size = 0;  ///< P, lstm only; 0 = none
  bool peepholes = false;       ///< lstm only
  /// gru only, the place of the reset gate. After the product: n = tanh(Wx x + bx + r (Wh h + bh)),
  /// as in MXNet, cuDNN and PyTorch, in Keras by default, in ONNX with linear_before_reset = 1, in
  /// oneDNN's lbr_gru. Else n = tanh(Wx x + Wh (r h) + b), as in ND4J, in ONNX by default, in
  /// oneDNN's gru.
  bool reset_after = true;

  bool operator==(const Network&) const = default;
};

/// The tensors of a network in another layout, in their dtype (f32, f64, bf16 or f16, one for all).
///
/// Numbers are moved, never computed, with one exception: where a layout has one bias for two it
/// holds bx + bh, rounded once. Back from there bx = b and bh = 0, which is the same network. A
/// bias that may be absent and is absent reads as 0; biases are always written. So a way there and
/// back gives the same bits, unless a sum is on it.
///
/// Errors: weights.format.cell, .reset, .direction, .projection, .peepholes, .bias: what `from` or
/// `to` cannot hold, and why; weights.tensors.missing, .unknown, .shape, .dtype;
/// weights.FIELD.range and weights.FIELD.mode for the fields of `network`.
Tensors convert(Format from, Format to, const Network& network, const Tensors& tensors);

/// Why the layout cannot hold such a network; empty when it can. Weights may yet refuse: one layout
/// (kNd4j, a GRU with reset_after) has no place for bh of the candidate, which must be 0.
std::string refusal(Format format, const Network& network);

/// How a tensor holds biases: not at all, bx and bh apart, or (some of them) as their sum.
enum class Biases { kNone, kApart, kSummed };

/// A tensor that a layout wants.
struct TensorLayout {
  std::string name;
  Dims dims;
  std::string axes;       ///< the same in letters, "[D,4*H,I]"; R = P or H
  bool optional = false;  ///< absent = 0
  Biases biases = Biases::kNone;
};
/// All tensors of a network in a layout, layer by layer. Errors as of convert.
std::vector<TensorLayout> layout(Format format, const Network& network);

/// The network that tensors of a layout describe, read off their names and shapes. `mode` is needed
/// because the two plain cells look alike, `reset_after` where no bias tells (PyTorch: always
/// true). Errors: weights.format.packed for the packed vector, which does not say; those of convert
/// for tensors that fit no network.
Network network_of(Format format, const Tensors& tensors, rnn::RnnMode mode,
                   bool reset_after = true);

/// The tensors whose names begin with `prefix`, without it: under(file.tensors, "encoder.lstm.").
Tensors under(const Tensors& tensors, std::string_view prefix);

/// For rnn::rnn on the packed vector: sizes, mode and directions.
rnn::RnnConfig rnn_config(const Network& network);

/// Layer `layer` of a layout of ND4J as what its op takes. Struct is LSTMLayerWeights<Tensor> or
/// GRULayerWeights<Tensor> (kNd4j), LSTMWeights<Tensor> or GRUWeights<Tensor> (kNd4jCell),
/// LSTMPWeights<Tensor> (kNd4jProjected). Error weights.tensors.missing.
template <class Struct>
Struct layer_of(const Tensors& tensors, int64_t layer = 0);
/// And back: named tensors, for convert. Absent members are left out.
template <class Struct>
Tensors tensors_of(const Struct& weights, int64_t layer = 0);

}  // namespace rondo::weights
