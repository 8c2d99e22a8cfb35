// Whether the body of a recurrence is, as a formula, one of the cells that vendors have primitives
// for. Found by walking the body from its results to its operands, never by the name of the op it
// comes from: a user's own cell that is an LSTM is one. Which operand is what, and which columns
// belong to which gate, is read off the graph too, so gates may lie in any order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo::cpu {

/// In the words of one step, s(.) the sigmoid:
///
///   LSTM:     c' = s(F) c + s(I) tanh(G);  h' = s(O) tanh(c')
///   GRU:      h' = s(U) h + (1 - s(U)) tanh(N), N with (s(R) h) Wr in the place of h Wr
///   GRU, lbr: the same, N with s(R) (h Wr + b') in its place
///   tanh:     h' = tanh(Z)
///
/// Each capital letter is x Wx + h Wr + b, a sum in any order; b is any number of vectors. No relu:
/// oneDNN's makes 0 of NaN.
struct PlainCell {
  enum class Kind : uint8_t { kLstm, kGru, kLbrGru, kTanh };
  /// As many columns of an operand of the recurrence as a state has: a part of a matrix, or of a
  /// vector.
  struct Columns {
    size_t operand = 0;
    int64_t first = 0;
    bool transposed = false;  ///< they are its rows
  };
  struct Gate {
    Columns x, h;
    std::vector<Columns> bias;
  };

  Kind kind = Kind::kLstm;
  int64_t input = 0, hidden = 0;    ///< columns of x and of a state
  size_t h = 0, c = 0;              ///< which states they are; of an LSTM two
  std::vector<Gate> gates;          ///< LSTM: I, F, G, O; GRU: U, R, N; tanh: Z
  std::vector<Columns> inner_bias;  ///< b' of a GRU

  /// The cell that the recurrence's body is; none, and `why`, where it is no such cell.
  static std::optional<PlainCell> match(const Node& recurrence, std::string* why = nullptr);
};

/// "LSTM", "GRU", "GRU with the reset after the product", "tanh".
std::string_view name_of(PlainCell::Kind kind);

}  // namespace rondo::cpu
