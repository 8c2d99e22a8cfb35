// The builders of ops/lstm.h, for Var and Tensor, and first values of their weights.
#include <functional>

#include <rondo/ops/lstm.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

Attributes attributes_of(const LSTMLayerConfig& c, bool layer) {
  const auto name_of = [](std::span<const std::string_view> names, auto value) {
    return rnn_internal::name_of(names, static_cast<int>(value), "lstm_layer");
  };
  Attributes a{{"gate_act", name_of(kActivationNames, c.gate_act)},
               {"cell_act", name_of(kActivationNames, c.cell_act)},
               {"out_act", name_of(kActivationNames, c.out_act)},
               {"cell_clip", c.cell_clip},
               {"gate_alpha", c.gate_alpha},
               {"gate_beta", c.gate_beta},
               {"cell_alpha", c.cell_alpha},
               {"cell_beta", c.cell_beta},
               {"out_alpha", c.out_alpha},
               {"out_beta", c.out_beta}};
  if (!layer) return a;
  a.set("data_format", name_of(kDataFormatNames, c.data_format));
  a.set("direction_mode", name_of(kDirectionNames, c.direction_mode));
  a.set("ret_full_sequence", c.ret_full_sequence);
  a.set("ret_last_h", c.ret_last_h);
  a.set("ret_last_c", c.ret_last_c);
  return a;
}

}  // namespace

namespace rnn {

template <Operable V>
LSTMLayerResult<V> lstm_layer(V x, std::type_identity_t<LSTMLayerInputs<V>> in,
                              std::type_identity_t<LSTMLayerWeights<V>> w, LSTMLayerConfig config,
                              std::string_view name, Site at) {
  auto r = apply("lstm_layer",
                 std::vector<V>{x, w.input_weights, w.recurrent_weights, w.biases, in.max_ts_length,
                                in.y_last, in.c_last, w.peephole_weights},
                 attributes_of(config, true), {.name = std::string(name), .site = at});
  return {r[0], r[1], r[2]};
}

template <Operable V>
LSTMCellResult<V> lstm_layer_cell(V x, std::type_identity_t<LSTMLayerInputs<V>> in,
                                  std::type_identity_t<LSTMLayerWeights<V>> w,
                                  LSTMLayerConfig config, std::string_view name, Site at) {
  auto r = apply("lstm_layer_cell",
                 std::vector<V>{x, w.input_weights, w.recurrent_weights, w.biases, in.y_last,
                                in.c_last, w.peephole_weights},
                 attributes_of(config, false), {.name = std::string(name), .site = at});
  return {r[0], r[1]};
}

LSTMLayerWeights<Var> lstm_layer_weights(Graph g, std::string_view name, int64_t input_size,
                                         int64_t hidden_size, LSTMDirectionMode direction,
                                         DType dtype, bool peepholes, Site at) {
  const auto scope = g.scope(name);
  const auto both = [&](const std::function<Tensor()>& one) {
    return each_direction(direction, one);
  };
  constexpr int64_t kForget = 1, kNone = -1;
  LSTMLayerWeights<Var> w;
  w.input_weights = g.variable(
      "input_weights", both([&] { return glorot_gates(g, input_size, hidden_size, 4, dtype); }),
      true, at);
  w.recurrent_weights = g.variable(
      "recurrent_weights",
      both([&] { return orthogonal_gates(g, hidden_size, hidden_size, 4, dtype); }), true, at);
  w.biases = g.variable("biases", both([&] { return gate_biases(hidden_size, 4, kForget, dtype); }),
                        true, at);
  if (peepholes)
    w.peephole_weights =
        g.variable("peephole_weights",
                   both([&] { return gate_biases(hidden_size, 3, kNone, dtype); }), true, at);
  return w;
}

template <Operable V>
V join_directions(V last, Site at) {
  Shape s;
  if constexpr (std::same_as<V, Var>) {
    s = last.shape();
  } else {
    s = to_shape(last.dims());
  }
  if (s.size() != 3 || !(s[0] == Dim(2))) {
    fail(Fault::kArgument, "join_directions.last.rank",
         "[join_directions] last must be [2,B,H], the last state of a bidirectional layer, got ",
         to_string(s), built_at(at));
  }
  return reshape(transpose(last, {1, 0, 2}, at), {s[1], 2 * s[2]}, at);
}

#define RONDO_INSTANTIATE(V)                                                             \
  template LSTMLayerResult<V> lstm_layer(V, LSTMLayerInputs<V>, LSTMLayerWeights<V>,     \
                                         LSTMLayerConfig, std::string_view, Site);       \
  template LSTMCellResult<V> lstm_layer_cell(V, LSTMLayerInputs<V>, LSTMLayerWeights<V>, \
                                             LSTMLayerConfig, std::string_view, Site);   \
  template V join_directions(V, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rnn
}  // namespace rondo
