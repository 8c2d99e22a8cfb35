// The table behind ops/weights/weights.h: what each layout calls its tensors, their axes, and which
// gates of which matrix they hold in which order.
//
// Internal to ops/. In between, a cell's parts are matrices [gates * rows, cols] with the gates in
// the packed order (lstm i f g o, gru r z n) and the rows of a gate together.
#pragma once

#include <span>

#include <rondo/ops/weights/weights.h>

namespace rondo::weights_internal {

using weights::Biases;
using weights::Format;
using weights::Network;
using weights::Tensors;

/// Parts of a cell in between. kBias stands for bx + bh, and is read as bx alone.
enum Part : uint8_t { kWx, kWh, kWr, kPeephole, kBx, kBh, kParts, kBias = kParts };

/// Kinds of cell that a tensor belongs to; a set.
enum Kind : uint8_t { kPlain = 1, kLstm = 2, kGruAfter = 4, kGruBefore = 8 };
inline constexpr unsigned kGru = kGruAfter | kGruBefore;
inline constexpr unsigned kAll = kPlain | kLstm | kGru;

/// Some gates of a part, in the order of the tensor. No gates named: all, in the layout's order.
struct Piece {
  Part part;
  std::string_view gates = {};
};

enum class Need : uint8_t {
  kAlways,
  kOptional,    ///< absent = 0
  kTogether,    ///< all such tensors of the network, or none
  kProjection,  ///< with a projection only
  kPeepholes,   ///< with peepholes only
};

/// A tensor. Name: {l} the layer; {r} "" or "_reverse", {way} "forward" or "backward", where each
/// direction has its own. Axes, outermost first, apart by commas: g gate, o row of a gate, i
/// column, 1 an axis of one, D direction, d direction if there are two, + one piece after the
/// other; letters together are one axis, counted row-major.
struct Slot {
  std::string_view name, axes;
  std::vector<Piece> pieces;
  unsigned kinds;
  Need need = Need::kAlways;

  bool each_direction() const {
    return name.find("{r}") != name.npos || name.find("{way}") != name.npos;
  }
  bool stacks_directions() const { return axes.find_first_of("dD") != axes.npos; }
};

struct Layout {
  Format format;
  std::string_view name, title;  ///< for code, and for people
  std::vector<std::string_view> aliases;
  std::string_view lstm, gru, peephole;  ///< orders of gates, in letters of the packed order
  std::vector<Slot> slots;
  /// Why a kind of cell has no slot.
  std::vector<std::pair<unsigned, std::string_view>> lacks;
  bool one_vector = false;         ///< the tensors lie in one, in the order of rnn_parameter_blocks
  bool narrow_projection = false;  ///< wants P < H
};

std::span<const Layout> layouts();
const Layout& layout_of(Format format);

Kind kind_of(const Network& network);
/// Gates of a part in between, one letter each.
std::string_view gates_of(Part part, Kind kind);
/// Gates of a piece, in the order of the tensor.
std::string_view gates_of(const Layout& layout, const Piece& piece, Kind kind);

/// Rows of a gate and columns of a part.
struct PartSize {
  int64_t rows, cols;
  std::string_view row_name, col_name;
};
PartSize size_of(Part part, const Network& network, int64_t layer);

/// One tensor of a network in a layout.
struct Place {
  const Slot* slot;
  int64_t layer;
  int64_t direction;  ///< the first that it holds
  std::string name;
  Dims dims;
  std::string axes;
};
/// All of them, layer by layer. The network is one that the layout holds.
std::vector<Place> places(const Layout& layout, const Network& network);

/// The name of a slot's tensor.
std::string expand(std::string_view name, int64_t layer, int64_t direction);
/// Calls f(group of letters) for each axis.
template <class F>
void for_each_axis(std::string_view axes, F&& f) {
  while (!axes.empty()) {
    const size_t comma = axes.find(',');
    f(axes.substr(0, comma));
    axes = comma == axes.npos ? "" : axes.substr(comma + 1);
  }
}

/// As of the op rnn.
inline constexpr int64_t kMostLayers = 4096;

/// Refuses what is no network, and what the layout cannot hold.
void check_network(const Network& network);
void check_holds(const Layout& layout, const Network& network);
/// Refuses tensors that are missing, unknown, or of another shape or dtype than the others. Gives
/// their dtype.
DType check_tensors(const Layout& layout, const Network& network, const Tensors& tensors);
[[noreturn]] void fail_missing(const Layout& layout, std::string_view wanted, std::string_view why,
                               const Tensors& tensors);

}  // namespace rondo::weights_internal
