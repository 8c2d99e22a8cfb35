// The builders of ops/cell_layers.h, for Var and Tensor, and first values of their weights.
#include <functional>

#include <rondo/ops/cell_layers.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/rnn_common.h>

namespace rondo::rnn {

using namespace rnn_internal;

namespace {

template <class Config>
Attributes attributes_of(std::string_view op, const Config& c) {
  return {{"data_format", name_of(kRnnDataFormatNames, static_cast<int>(c.data_format), op)},
          {"direction_mode", name_of(kDirectionNames, static_cast<int>(c.direction_mode), op)}};
}

template <Operable V>
CellLayerOutputs<V> call(std::string_view op, const V& x, const CellLayerInputs<V>& in,
                         std::vector<V> weights, bool cell_state, const Attributes& attributes,
                         std::string_view name, Site at) {
  if (!cell_state && in.c_last)
    fail(Fault::kArgument, cat(op, ".c_last.unused"), "[", op,
         "] was given c_last, but has no cell state; give h_last", built_at(at));
  std::vector<V> operands{x};
  operands.insert(operands.end(), weights.begin(), weights.end());
  operands.push_back(in.lengths);
  operands.push_back(in.h_last);
  if (cell_state) operands.push_back(in.c_last);
  auto r = apply(op, operands, attributes, {.name = std::string(name), .site = at});
  return {r[0], r[1], cell_state ? r[2] : V()};
}

Var weight(Graph g, std::string_view name, LSTMDirectionMode direction,
           const std::function<Tensor()>& draw, Site at) {
  return g.variable(name, each_direction(direction, draw), true, at);
}

}  // namespace

template <Operable V>
CellLayerOutputs<V> lstm_layer_norm(V x, std::type_identity_t<CellLayerInputs<V>> in,
                                    std::type_identity_t<LSTMLayerNormWeights<V>> w,
                                    LayerNormConfig config, std::string_view name, Site at) {
  Attributes a = attributes_of("lstm_layer_norm", config);
  a.set("epsilon", config.epsilon);
  return call("lstm_layer_norm", x, in, {w.input_weights, w.recurrent_weights, w.gain, w.biases},
              true, a, name, at);
}

template <Operable V>
CellLayerOutputs<V> gru_layer_norm(V x, std::type_identity_t<CellLayerInputs<V>> in,
                                   std::type_identity_t<GRULayerNormWeights<V>> w,
                                   LayerNormConfig config, std::string_view name, Site at) {
  Attributes a = attributes_of("gru_layer_norm", config);
  a.set("epsilon", config.epsilon);
  return call("gru_layer_norm", x, in,
              {w.input_weights, w.recurrent_weights, w.input_gain, w.recurrent_gain, w.biases,
               w.recurrent_biases},
              false, a, name, at);
}

template <Operable V>
CellLayerOutputs<V> min_gru(V x, std::type_identity_t<CellLayerInputs<V>> in,
                            std::type_identity_t<MinWeights<V>> w, CellLayerConfig config,
                            std::string_view name, Site at) {
  return call("min_gru", x, in, {w.input_weights, w.biases}, false,
              attributes_of("min_gru", config), name, at);
}

template <Operable V>
CellLayerOutputs<V> min_lstm(V x, std::type_identity_t<CellLayerInputs<V>> in,
                             std::type_identity_t<MinWeights<V>> w, CellLayerConfig config,
                             std::string_view name, Site at) {
  return call("min_lstm", x, in, {w.input_weights, w.biases}, false,
              attributes_of("min_lstm", config), name, at);
}

template <Operable V>
CellLayerOutputs<V> ind_rnn(V x, std::type_identity_t<CellLayerInputs<V>> in,
                            std::type_identity_t<IndRNNWeights<V>> w, IndRNNConfig config,
                            std::string_view name, Site at) {
  Attributes a = attributes_of("ind_rnn", config);
  a.set("activation",
        name_of(kIndRNNActivationNames, static_cast<int>(config.activation), "ind_rnn"));
  return call("ind_rnn", x, in, {w.input_weights, w.recurrent_weights, w.biases}, false, a, name,
              at);
}

LSTMLayerNormWeights<Var> lstm_layer_norm_weights(Graph g, std::string_view name, int64_t inputs,
                                                  int64_t hidden, LSTMDirectionMode direction,
                                                  DType dtype, Site at) {
  const auto scope = g.scope(name);
  const auto make = [&](std::string_view what, const std::function<Tensor()>& draw) {
    return weight(g, what, direction, draw, at);
  };
  constexpr int64_t kForget = 1;
  return {make("input_weights", [&] { return glorot_gates(g, inputs, hidden, 4, dtype); }),
          make("recurrent_weights", [&] { return orthogonal_gates(g, hidden, hidden, 4, dtype); }),
          make("gain", [&] { return Tensor::full(dtype, {4 * hidden}, 1); }),
          make("biases", [&] { return gate_biases(hidden, 4, kForget, dtype); })};
}

GRULayerNormWeights<Var> gru_layer_norm_weights(Graph g, std::string_view name, int64_t inputs,
                                                int64_t hidden, LSTMDirectionMode direction,
                                                DType dtype, Site at) {
  const auto scope = g.scope(name);
  const auto make = [&](std::string_view what, const std::function<Tensor()>& draw) {
    return weight(g, what, direction, draw, at);
  };
  const auto all = [&](double value) {
    return [&, value] { return Tensor::full(dtype, {3 * hidden}, value); };
  };
  return {make("input_weights", [&] { return glorot_gates(g, inputs, hidden, 3, dtype); }),
          make("recurrent_weights", [&] { return orthogonal_gates(g, hidden, hidden, 3, dtype); }),
          make("input_gain", all(1)),
          make("recurrent_gain", all(1)),
          make("biases", all(0)),
          make("recurrent_biases", all(0))};
}

namespace {
MinWeights<Var> min_weights(Graph g, std::string_view name, int64_t inputs, int64_t hidden,
                            int64_t gates, LSTMDirectionMode direction, DType dtype, Site at) {
  const auto scope = g.scope(name);
  return {weight(
              g, "input_weights", direction,
              [&] { return glorot_gates(g, inputs, hidden, gates, dtype); }, at),
          weight(g, "biases", direction, [&] { return init::zeros({gates * hidden}, dtype); }, at)};
}
}  // namespace

MinWeights<Var> min_gru_weights(Graph g, std::string_view name, int64_t inputs, int64_t hidden,
                                LSTMDirectionMode direction, DType dtype, Site at) {
  return min_weights(g, name, inputs, hidden, 2, direction, dtype, at);
}

MinWeights<Var> min_lstm_weights(Graph g, std::string_view name, int64_t inputs, int64_t hidden,
                                 LSTMDirectionMode direction, DType dtype, Site at) {
  return min_weights(g, name, inputs, hidden, 3, direction, dtype, at);
}

IndRNNWeights<Var> ind_rnn_weights(Graph g, std::string_view name, int64_t inputs, int64_t hidden,
                                   LSTMDirectionMode direction, DType dtype, Site at) {
  const auto scope = g.scope(name);
  return {weight(
              g, "input_weights", direction,
              [&] { return glorot_gates(g, inputs, hidden, 1, dtype); }, at),
          weight(
              g, "recurrent_weights", direction,
              [&] { return init::uniform(g, {hidden}, 0, 1, dtype); }, at),
          weight(g, "biases", direction, [&] { return init::zeros({hidden}, dtype); }, at)};
}

#define RONDO_INSTANTIATE(V)                                                                   \
  template CellLayerOutputs<V> lstm_layer_norm(V, CellLayerInputs<V>, LSTMLayerNormWeights<V>, \
                                               LayerNormConfig, std::string_view, Site);       \
  template CellLayerOutputs<V> gru_layer_norm(V, CellLayerInputs<V>, GRULayerNormWeights<V>,   \
                                              LayerNormConfig, std::string_view, Site);        \
  template CellLayerOutputs<V> min_gru(V, CellLayerInputs<V>, MinWeights<V>, CellLayerConfig,  \
                                       std::string_view, Site);                                \
  template CellLayerOutputs<V> min_lstm(V, CellLayerInputs<V>, MinWeights<V>, CellLayerConfig, \
                                        std::string_view, Site);                               \
  template CellLayerOutputs<V> ind_rnn(V, CellLayerInputs<V>, IndRNNWeights<V>, IndRNNConfig,  \
                                       std::string_view, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo::rnn
