#include <rondo/ops/weights/weights.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include <rondo/graph/checked.h>
#include <rondo/ops/weights/layouts.h>

namespace rondo::weights {

using namespace weights_internal;

namespace {

// A cell in between: matrices [gates * rows, cols], gates in the packed order. Null: there is none.
using Parts = std::array<Tensor, kParts>;

struct Cells {
  DType dtype = f32;
  std::vector<Parts> parts;  // layer * directions + direction
};

int64_t directions_of(const Network& n) { return n.bidirectional ? 2 : 1; }

// A piece of a tensor and the part that it comes from.
struct Region {
  std::string_view from, to;  // gates of the part, gates of the piece
  PartSize size;
  bool transposed;
  int64_t offset;  // in the tensor

  // f(element of the part, element of the tensor)
  template <class F>
  void for_each(F&& f) const {
    const auto gates = static_cast<int64_t>(to.size());
    for (int64_t k = 0; k < gates; ++k) {
      const auto g = static_cast<int64_t>(from.find(to[static_cast<size_t>(k)]));
      for (int64_t o = 0; o < size.rows; ++o) {
        const int64_t theirs = k * size.rows + o, ours = g * size.rows + o;
        for (int64_t i = 0; i < size.cols; ++i) {
          f(ours * size.cols + i,
            offset + (transposed ? i * gates * size.rows + theirs : theirs * size.cols + i));
        }
      }
    }
  }
};

// Calls f(piece, region, index of the cell) for all that a tensor holds, in its order.
template <class F>
void for_each_region(const Layout& layout, const Network& n, const Place& p, F&& f) {
  const std::string_view axes = p.slot->axes;
  const Kind kind = kind_of(n);
  const bool stacked = p.slot->stacks_directions();
  int64_t offset = 0;
  for (int64_t d = p.direction; d <= (stacked ? directions_of(n) - 1 : p.direction); ++d) {
    for (const Piece& piece : p.slot->pieces) {
      const Region r{gates_of(piece.part == kBias ? kBx : piece.part, kind),
                     gates_of(layout, piece, kind), size_of(piece.part, n, p.layer),
                     axes.find('i') < axes.find('o'), offset};
      f(piece, r, static_cast<size_t>(p.layer * directions_of(n) + d));
      offset += static_cast<int64_t>(r.to.size()) * r.size.rows * r.size.cols;
    }
  }
}

// x + 0 is x, also for -0.
template <class T>
T sum_of(T a, T b) {
  if constexpr (std::is_arithmetic_v<T>) {
    return b == T{} ? a : static_cast<T>(a + b);
  } else {
    const auto y = static_cast<float>(b);
    return y == 0 ? a : T(static_cast<float>(a) + y);
  }
}

// The packed vector as tensors named by the table, which look into it; and back.
template <class F>
void for_each_block(const Network& n, F&& f) {
  for (const rnn::RnnBlock& b : rnn::rnn_parameter_blocks(rnn_config(n), n.input_size))
    f(b, expand(cat(b.name, "_l{l}{r}"), b.layer, b.direction));
}

Tensors split(const Network& n, const Tensor& vector) {
  const auto owner = std::make_shared<Tensor>(vector);
  Tensors r;
  for_each_block(n, [&](const rnn::RnnBlock& b, const std::string& name) {
    const auto at = static_cast<size_t>(b.offset) * size_of(owner->dtype());
    r[name] = Tensor::view(owner->dtype(), b.dims, owner->raw() + at, owner);
  });
  return r;
}

Tensor join(const Network& n, const Tensors& parts, DType dtype) {
  Tensor r(dtype, {rnn::rnn_parameter_count(rnn_config(n), n.input_size)});
  std::byte* to = r.raw_mutable();
  for_each_block(n, [&](const rnn::RnnBlock& b, const std::string& name) {
    const Tensor& t = parts.at(name);
    std::memcpy(to + static_cast<size_t>(b.offset) * size_of(dtype), t.raw(), t.bytes());
  });
  return r;
}

Cells read(const Layout& layout, const Network& n, const Tensors& tensors) {
  Cells cells;
  cells.dtype = check_tensors(layout, n, tensors);
  const Tensors parts = layout.one_vector ? split(n, tensors.at("parameters")) : Tensors{};
  const Tensors& named = layout.one_vector ? parts : tensors;
  const Kind kind = kind_of(n);
  cells.parts.resize(static_cast<size_t>(n.layers * directions_of(n)));
  const auto part_of = [&](size_t cell, Part part, const PartSize& size) -> Tensor& {
    Tensor& t = cells.parts[cell][part];
    if (!t) {
      const auto gates = static_cast<int64_t>(gates_of(part, kind).size());
      t = Tensor(cells.dtype, {checked_mul(gates, size.rows), size.cols});
    }
    return t;
  };
  for (const Place& p : places(layout, n)) {
    for_each_region(layout, n, p, [&](const Piece& piece, const Region& region, size_t cell) {
      Tensor& part = part_of(cell, piece.part == kBias ? kBx : piece.part, region.size);
      if (piece.part == kBias) part_of(cell, kBh, region.size);
      const auto it = named.find(p.name);
      if (it == named.end() || !it->second) return;  // absent = 0
      dispatch(cells.dtype, [&]<class T>() {
        T* to = part.mutable_data<T>();
        const T* from = it->second.data<T>();
        region.for_each([&](int64_t ours, int64_t theirs) { to[ours] = from[theirs]; });
      });
    });
  }
  return cells;
}

// Refuses biases that the layout has no place for and that are not 0.
void check_biases(const Layout& layout, const Network& n, const Cells& cells) {
  const Kind kind = kind_of(n);
  std::array<std::string, kParts> held;
  for (const Slot& s : layout.slots) {
    if ((s.kinds & kind) == 0) continue;
    for (const Piece& p : s.pieces) {
      if (p.part == kBias || p.part == kBx) held[kBx] += gates_of(layout, p, kind);
      if (p.part == kBias || p.part == kBh) held[kBh] += gates_of(layout, p, kind);
    }
  }
  for (const Part part : {kBx, kBh}) {
    const std::string_view gates = gates_of(part, kind);
    for (size_t g = 0; g < gates.size(); ++g) {
      if (held[part].find(gates[g]) != std::string::npos) continue;
      for (size_t cell = 0; cell < cells.parts.size(); ++cell) {
        const Tensor& t = cells.parts[cell][part];
        const auto first = static_cast<int64_t>(g) * n.hidden_size;
        for (int64_t i = first; i < first + n.hidden_size; ++i) {
          if (t.at(i) == 0) continue;
          fail(Fault::kArgument, "weights.format.bias", "[weights] ", layout.title,
               " cannot hold this network: its GRU has no recurrent bias of the candidate inside "
               "of the reset (bh of gate ",
               gates[g], "), which a single bias cannot stand for; that of layer ",
               static_cast<int64_t>(cell) / directions_of(n), " is not 0");
        }
      }
    }
  }
}

Tensors write(const Layout& layout, const Network& n, const Cells& cells) {
  check_biases(layout, n, cells);
  Tensors r;
  for (const Place& p : places(layout, n)) {
    Tensor t(cells.dtype, p.dims);
    dispatch(cells.dtype, [&]<class T>() {
      T* to = t.mutable_data<T>();
      for_each_region(layout, n, p, [&](const Piece& piece, const Region& region, size_t cell) {
        const Parts& parts = cells.parts[cell];
        const bool sum = piece.part == kBias;
        const T* from = parts[sum ? kBx : piece.part].data<T>();
        const T* other = sum ? parts[kBh].data<T>() : nullptr;
        region.for_each([&](int64_t ours, int64_t theirs) {
          to[theirs] = sum ? sum_of(from[ours], other[ours]) : from[ours];
        });
      });
    });
    r[p.name] = t;
  }
  if (layout.one_vector) return {{"parameters", join(n, r, cells.dtype)}};
  return r;
}

Biases biases_of(const Slot& s) {
  Biases r = Biases::kNone;
  for (const Piece& p : s.pieces) {
    if (p.part == kBias) return Biases::kSummed;
    if (p.part == kBx || p.part == kBh) r = Biases::kApart;
  }
  return r;
}

}  // namespace

std::string_view name_of(Format format) { return layout_of(format).name; }

Format format_from_name(std::string_view name) {
  std::string known;
  for (const Layout& l : layouts()) {
    if (l.name == name || std::find(l.aliases.begin(), l.aliases.end(), name) != l.aliases.end())
      return l.format;
    known += cat(known.empty() ? "" : ", ", l.name);
  }
  fail(Fault::kArgument, "weights.format.name", "[weights] there is no layout '", name,
       "'; there are ", known);
}

Tensors convert(Format from, Format to, const Network& network, const Tensors& tensors) {
  check_network(network);
  const Layout &source = layout_of(from), &target = layout_of(to);
  check_holds(source, network);
  check_holds(target, network);
  return write(target, network, read(source, network, tensors));
}

std::vector<TensorLayout> layout(Format format, const Network& network) {
  check_network(network);
  const Layout& l = layout_of(format);
  check_holds(l, network);
  if (l.one_vector) {
    return {{"parameters",
             {rnn::rnn_parameter_count(rnn_config(network), network.input_size)},
             "[N]",
             false,
             Biases::kApart}};
  }
  std::vector<TensorLayout> r;
  for (const Place& p : places(l, network)) {
    const bool optional = p.slot->need == Need::kOptional || p.slot->need == Need::kTogether;
    r.push_back({p.name, p.dims, p.axes, optional, biases_of(*p.slot)});
  }
  return r;
}

Tensors under(const Tensors& tensors, std::string_view prefix) {
  Tensors r;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) r[name.substr(prefix.size())] = tensor;
  }
  return r;
}

rnn::RnnConfig rnn_config(const Network& n) {
  return {.state_size = n.hidden_size,
          .num_layers = n.layers,
          .mode = n.mode,
          .bidirectional = n.bidirectional,
          .projection_size = n.projection_size};
}

}  // namespace rondo::weights
