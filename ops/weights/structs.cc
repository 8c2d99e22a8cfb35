// The structs that ND4J's ops take, as named tensors and back; and the network that named tensors
// describe.
#include <algorithm>
#include <array>

#include <rondo/ops/gru.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/lstm_block.h>
#include <rondo/ops/lstmp.h>
#include <rondo/ops/weights/layouts.h>

namespace rondo::weights {

using namespace weights_internal;

namespace {

template <class Struct>
struct Field {
  std::string_view name;  // as in the table of layouts
  Tensor Struct::* member;
  bool needed = false;
};

template <class Struct>
struct Fields;

template <>
struct Fields<rnn::LSTMLayerWeights<Tensor>> {
  using S = rnn::LSTMLayerWeights<Tensor>;
  static constexpr std::array<Field<S>, 4> kList{{{"Wx", &S::input_weights, true},
                                                  {"Wr", &S::recurrent_weights, true},
                                                  {"b", &S::biases},
                                                  {"Wp", &S::peephole_weights}}};
};

template <>
struct Fields<rnn::GRULayerWeights<Tensor>> {
  using S = rnn::GRULayerWeights<Tensor>;
  static constexpr std::array<Field<S>, 3> kList{
      {{"Wx", &S::input_weights, true}, {"Wh", &S::recurrent_weights, true}, {"b", &S::biases}}};
};

template <>
struct Fields<rnn::LSTMWeights<Tensor>> {
  using S = rnn::LSTMWeights<Tensor>;
  static constexpr std::array<Field<S>, 5> kList{
      {{"ruWeight", &S::ru_weight, true},
       {"inputPeepholeWeights", &S::input_peephole_weights},
       {"forgetPeepholeWeights", &S::forget_peephole_weights},
       {"outputPeepholeWeights", &S::output_peephole_weights},
       {"bias", &S::bias}}};
};

template <>
struct Fields<rnn::GRUWeights<Tensor>> {
  using S = rnn::GRUWeights<Tensor>;
  static constexpr std::array<Field<S>, 4> kList{{{"ruWeight", &S::ru_weight, true},
                                                  {"cWeight", &S::c_weight, true},
                                                  {"ruBias", &S::ru_bias},
                                                  {"cBias", &S::c_bias}}};
};

template <>
struct Fields<rnn::LSTMPWeights<Tensor>> {
  using S = rnn::LSTMPWeights<Tensor>;
  static constexpr std::array<Field<S>, 5> kList{{{"Wx", &S::input_weights, true},
                                                  {"Wh", &S::recurrent_weights, true},
                                                  {"b", &S::biases, true},
                                                  {"Wc", &S::peephole_weights},
                                                  {"Wp", &S::projection_weights}}};
};

}  // namespace

template <class Struct>
Struct layer_of(const Tensors& tensors, int64_t layer) {
  Struct r;
  for (const Field<Struct>& f : Fields<Struct>::kList) {
    const std::string name = cat("l", layer, ".", f.name);
    if (const auto it = tensors.find(name); it != tensors.end()) {
      r.*f.member = it->second;
    } else if (f.needed) {
      fail(Fault::kArgument, "weights.tensors.missing", "[weights] there is no tensor '", name,
           "' for layer ", layer);
    }
  }
  return r;
}

template <class Struct>
Tensors tensors_of(const Struct& weights, int64_t layer) {
  Tensors r;
  for (const Field<Struct>& f : Fields<Struct>::kList) {
    if (const Tensor& t = weights.*f.member) r[cat("l", layer, ".", f.name)] = t;
  }
  return r;
}

template rnn::LSTMLayerWeights<Tensor> layer_of(const Tensors&, int64_t);
template rnn::GRULayerWeights<Tensor> layer_of(const Tensors&, int64_t);
template rnn::LSTMWeights<Tensor> layer_of(const Tensors&, int64_t);
template rnn::GRUWeights<Tensor> layer_of(const Tensors&, int64_t);
template rnn::LSTMPWeights<Tensor> layer_of(const Tensors&, int64_t);
template Tensors tensors_of(const rnn::LSTMLayerWeights<Tensor>&, int64_t);
template Tensors tensors_of(const rnn::GRULayerWeights<Tensor>&, int64_t);
template Tensors tensors_of(const rnn::LSTMWeights<Tensor>&, int64_t);
template Tensors tensors_of(const rnn::GRUWeights<Tensor>&, int64_t);
template Tensors tensors_of(const rnn::LSTMPWeights<Tensor>&, int64_t);

namespace {

// What can be read off the shape of one tensor; at least 1, so that what is wrong is a shape.
struct Seen {
  int64_t rows = 1, cols = 1, directions = 1;
};

Seen look(const Layout& layout, const Slot& slot, Kind kind, const Tensor& t) {
  Seen seen;
  size_t axes = 0, axis = 0;
  for_each_axis(slot.axes, [&](std::string_view) { ++axes; });
  const auto gates = static_cast<int64_t>(gates_of(layout, slot.pieces[0], kind).size());
  for_each_axis(slot.axes, [&](std::string_view letters) {
    const bool left_out = letters == "d" && t.rank() < axes;
    if (left_out || axis >= t.rank()) return;
    const int64_t n = t.dim(axis++);
    const auto has = [&](char c) { return letters.find(c) != letters.npos; };
    if (has('o')) seen.rows = has('g') ? n / gates : n;
    if (has('i')) seen.cols = n;
    if (has('D') || has('d')) seen.directions = n;
  });
  // Wx stands above Wh, which has a row for each unit.
  if (slot.pieces.size() == 2) seen.cols -= seen.rows;
  return {std::max<int64_t>(seen.rows, 1), std::max<int64_t>(seen.cols, 1), seen.directions};
}

bool fits(const Layout& layout, const Network& network, const Tensors& tensors) {
  try {
    check_holds(layout, network);
    check_tensors(layout, network, tensors);
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace

Network network_of(Format format, const Tensors& tensors, rnn::RnnMode mode, bool reset_after) {
  const Layout& layout = layout_of(format);
  if (layout.one_vector) {
    fail(Fault::kArgument, "weights.format.packed", "[weights] ", layout.title,
         " does not say which network it is of: its sizes must be given");
  }
  Network n{.mode = mode, .input_size = 1, .hidden_size = 1, .reset_after = reset_after};
  check_network(n);
  const auto find = [&](const Slot& s, int64_t layer, int64_t direction) -> const Tensor* {
    const auto it = tensors.find(expand(s.name, layer, direction));
    return it == tensors.end() || !it->second ? nullptr : &it->second;
  };
  const unsigned kinds = mode == rnn::RnnMode::gru ? kGru : unsigned{kind_of(n)};
  for (const Slot& s : layout.slots) {
    if ((s.kinds & kinds) == 0) continue;
    const Tensor* t = find(s, 0, 0);
    if (s.pieces[0].part == kWx && t == nullptr)
      fail_missing(layout, expand(s.name, 0, 0), "for any network", tensors);
    if (t == nullptr) continue;
    const Seen seen = look(layout, s, kind_of(n), *t);
    if (s.pieces[0].part == kWx) {
      n.hidden_size = seen.rows;
      n.input_size = seen.cols;
      n.bidirectional = s.each_direction() ? find(s, 0, 1) != nullptr : seen.directions == 2;
      while (n.layers < kMostLayers && find(s, n.layers, 0) != nullptr) ++n.layers;
    }
    if (s.need == Need::kProjection) n.projection_size = seen.rows;
    if (s.need == Need::kPeepholes) n.peepholes = true;
  }
  if (mode == rnn::RnnMode::gru && !fits(layout, n, tensors)) {
    n.reset_after = !reset_after;
    if (!fits(layout, n, tensors)) n.reset_after = reset_after;
  }
  check_network(n);
  check_holds(layout, n);
  check_tensors(layout, n, tensors);
  return n;
}

}  // namespace rondo::weights
