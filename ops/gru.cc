#include <rondo/ops/gru.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

// What the state is multiplied with. Without `c`, `ru` holds the columns of all three gates and the
// reset gate acts after the product.
struct RecurrentWeights {
  Var ru, c;
};
struct Step {
  Var r, u, c, h;
};

// The equations of one step; `from_x` is what x adds to r, u and c.
Step step(const Vars& from_x, const Var& h, const RecurrentWeights& w) {
  const Vars from_h = split(matmul(h, w.ru), w.c ? 2 : 3, -1);
  const Var r = sigmoid(from_x[0] + from_h[0]);
  const Var u = sigmoid(from_x[1] + from_h[1]);
  const Var c = tanh(from_x[2] + (w.c ? matmul(r * h, w.c) : r * from_h[2]));
  return {r, u, c, u * h + (1 - u) * c};
}

Var with_bias(const Var& z, const Var& b) { return b ? z + b : z; }

Vars lower_cell(const Call& c) {
  const Var &x = c["x"], &ru = c["ru_weight"], &cw = c["c_weight"];
  const Dim &inputs = x.dim(1), &all = ru.dim(0);
  Vars from_x = split(with_bias(matmul(x, slice(ru, 0, 0, inputs)), c["ru_bias"]), 2, -1);
  from_x.push_back(with_bias(matmul(x, slice(cw, 0, 0, inputs)), c["c_bias"]));
  const Step s = step(from_x, c["h_last"], {slice(ru, 0, inputs, all), slice(cw, 0, inputs, all)});
  return {s.r, s.u, s.c, s.h};
}

Vars lower_layer(const Call& c) {
  const Var &h = c["h_last"], &wr = c["recurrent_weights"];
  const Dim& hidden = h.dim(1);
  RecurrentWeights w{wr, {}};
  if (!c.flag("linear_before_reset"))
    w = {slice(wr, 1, 0, 2 * hidden), slice(wr, 1, 2 * hidden, 3 * hidden)};
  const RecurrenceResult r =
      recurrence({.states = {h}, .xs = {c["x"]}, .origin = "gru_layer"},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var z = with_bias(matmul(xs[0], c["input_weights"]), c["biases"]);
                   const Var next = step(split(z, 3, -1), s[0], w).h;
                   return {.states = {next}, .ys = {next}};
                 });
  return {r.ys[0]};
}

}  // namespace

void register_gru(OpRegistry& r) {
  r.add(
      {.name = "gru",
       .sig = "x[B,I], h_last[B,H], ru_weight[I+H,2*H], c_weight[I+H,H], ru_bias[2*H]?, "
              "c_bias[H]? -> r[B,H], u[B,H], c[B,H], h[B,H]",
       .doc =
           R"(One step of a gated recurrent unit, the reset gate before the product. Rows of the weights: the first I for x, the last H for the
state; columns r, u. An absent bias is 0:
    r, u = sigmoid([x, h_last] ru_weight + ru_bias)
    c = tanh([x, r h_last] c_weight + c_bias)
    h = u h_last + (1 - u) c
u = 1 keeps the old state. There are no options.)",
       .source = "Cho et al. (2014); conventions: libnd4j gruCell",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Var h_last = g.placeholder("h_last", f32, {"B", 64});
auto step = rnn::gru(x, h_last, rnn::gru_weights(g, "gru", 12, 64));
// step.h: [B,64]; step.r: [B,64]

// At once, on tensors, without biases; with weights of 0 the gates are one half:
auto now = rnn::gru(Tensor(f32, {1, 3}), Tensor::full(f32, {1, 2}, 1),
                    {.ru_weight = Tensor(f32, {5, 4}), .c_weight = Tensor(f32, {5, 2})});
// now.h: {0.5, 0.5}; now.u: {0.5, 0.5})",
       .differs =
           {{"libnd4j gru",
             "is the sequence op, gru_layer here. SameDiff's gru is this single step, libnd4j's "
             "gruCell"},
            {"SameDiff gru",
             "older Java gives r alone, here all four results; libnd4j needs both biases, here an "
             "absent one is 0"},
            {"libnd4j gruCell_bp",
             "wants gradients of r, u and c that the caller has put together; here the gradient is "
             "that of the equations, from cotangents of any of the four results"},
            {"TensorFlow GRUBlockCell", "the same equations and order"},
            {"PyTorch GRUCell, cuDNN, MXNet",
             "gates r, z, n; z keeps the old state as u does, but r acts after the product, on h "
             "Wn + bn with a bias of its own: another function; rnn with mode gru has it"},
            {"Keras GRUCell",
             "gates z, r, h; z keeps the old state. reset_after=False is this form with z and r "
             "exchanged; its default, reset_after=True, is PyTorch's"},
            {"ONNX GRU",
             "gates z, r, h; linear_before_reset=0, its default, is this form; its two biases add "
             "up"},
            {"papers",
             "where 1 - z keeps the old state, negate the update gate's weights and bias"}},
       .aliases = {{"SameDiff", "gru", ""},
                   {"libnd4j", "gruCell", ""},
                   {"SameDiff", "hLast", "h_last"},
                   {"SameDiff", "ruWeight", "ru_weight"},
                   {"SameDiff", "cWeight", "c_weight"},
                   {"SameDiff", "ruBias", "ru_bias"},
                   {"SameDiff", "cBias", "c_bias"}},
       .lower = lower_cell,
       .samples = {
           {{{{3, 2}}, {{3, 3}}, {{5, 6}}, {{5, 3}}, {{6}}, {{3}}}},
           {{{{1, 2}}, {{1, 3}}, {{5, 6}}, {{5, 3}}, absent(), absent()}, {}, "no biases"}}});
  r.add(
      {.name = "gru_layer",
       .sig = "x[T,B,I], h_last[B,H], input_weights[I,3*H], recurrent_weights[H,3*H], "
              "biases[3*H]? -> h[T,B,H]",
       .doc =
           R"(A gated recurrent unit over time, from the first state h_last. Columns of the weights r, u, c; absent biases are 0. Each step:
    r, u = sigmoid(x_t Wx_ru + h Wr_ru + b_ru)
    c = tanh(x_t Wx_c + (r h) Wr_c + b_c)      by default
    c = tanh(x_t Wx_c + r (h Wr_c) + b_c)      with linear_before_reset
    h' = u h + (1 - u) c
u = 1 keeps the old state. b_c stands outside of the product with r. x is time-major; the result holds the state after each step.)",
       .source = "Cho et al. (2014); reset after the product: ONNX GRU; conventions: libnd4j gru",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var h_last = g.placeholder("h_last", f32, {"B", 64});
Var h = rnn::gru_layer(x, h_last, rnn::gru_layer_weights(g, "gru", 12, 64));  // h: [T,B,64]
Var last = squeeze(slice(h, 0, Dim("T") - 1, "T"), 0);  // last: [B,64]

// At once, on tensors, the reset gate after the product, without biases:
Tensor now = rnn::gru_layer(
    Tensor(f32, {2, 1, 3}), Tensor::full(f32, {1, 2}, 1),
    {.input_weights = Tensor(f32, {3, 6}), .recurrent_weights = Tensor(f32, {2, 6})},
    {.linear_before_reset = true});
// now: {0.5, 0.5, 0.25, 0.25})",
       .differs = {{"SameDiff gru", "is one step: gru here"},
                   {"libnd4j gru",
                    "its comments and its code of 2018 reset before the product, its code since "
                    "2020 after it; here linear_before_reset says which. It needs biases, here "
                    "they may be absent. Its gru_bp is the gradient of neither form; here it is "
                    "that of the equations"},
                   {"PyTorch GRU, cuDNN, MXNet",
                    "gates r, z, n; z keeps the old state as u does. n = tanh(a_n + r (h Wn + "
                    "bn)): with linear_before_reset the same function where bn is 0; rnn with mode "
                    "gru holds both biases"},
                   {"Keras GRU",
                    "gates z, r, h. reset_after=False is the default here; reset_after=True, its "
                    "default, has a second bias inside of the product with r"},
                   {"ONNX GRU",
                    "gates z, r, h; linear_before_reset means the same and is 0 by default too. "
                    "Its two biases add up, but that of h with linear_before_reset=1, which stands "
                    "inside of the product with r"},
                   {"oneDNN",
                    "gates u, r, o; its gru resets before the product, its lbr_gru after it"},
                   {"anywhere else",
                    "here are neither lengths nor directions: for those write recurrence with .end "
                    "and .reverse, or use rnn"}},
       .attributes = {{"linear_before_reset", false,
                       "the reset gate acts on the product of the state, not on the state"}},
       .aliases = {{"libnd4j", "gru", ""},
                   {"libnd4j", "hLast", "h_last"},
                   {"libnd4j", "Wx", "input_weights"},
                   {"libnd4j", "Wh", "recurrent_weights"},
                   {"libnd4j", "linearBeforeReset", "linear_before_reset"},
                   {"ONNX", "linear_before_reset", "linear_before_reset"}},
       .lower = lower_layer,
       .samples = {{{{{4, 3, 2}}, {{3, 3}}, {{2, 9}}, {{3, 9}}, {{9}}}},
                   {{{{3, 2, 2}}, {{2, 3}}, {{2, 9}}, {{3, 9}}, absent()},
                    {{"linear_before_reset", true}},
                    "reset after, no biases"}}});
}

namespace rnn {

template <Operable V>
GRUResult<V> gru(V x, std::type_identity_t<V> h_last, std::type_identity_t<GRUWeights<V>> w,
                 std::string_view name, Site at) {
  auto r = apply("gru", std::vector<V>{x, h_last, w.ru_weight, w.c_weight, w.ru_bias, w.c_bias}, {},
                 {.name = std::string(name), .site = at});
  return {r[0], r[1], r[2], r[3]};
}

template <Operable V>
V gru_layer(V x, std::type_identity_t<V> h_last, std::type_identity_t<GRULayerWeights<V>> w,
            GRULayerConfig config, std::string_view name, Site at) {
  return apply("gru_layer",
               std::vector<V>{x, h_last, w.input_weights, w.recurrent_weights, w.biases},
               {{"linear_before_reset", config.linear_before_reset}},
               {.name = std::string(name), .site = at})[0];
}

GRUWeights<Var> gru_weights(Graph g, std::string_view name, int64_t input_size, int64_t hidden_size,
                            DType dtype, Site at) {
  const auto scope = g.scope(name);
  const auto weight = [&](std::string_view of, int64_t gates) {
    return g.variable(of,
                      join_rows({glorot_gates(g, input_size, hidden_size, gates, dtype),
                                 orthogonal_gates(g, hidden_size, hidden_size, gates, dtype)}),
                      true, at);
  };
  GRUWeights<Var> w;
  w.ru_weight = weight("ru_weight", 2);
  w.c_weight = weight("c_weight", 1);
  w.ru_bias = g.variable("ru_bias", init::zeros({2 * hidden_size}, dtype), true, at);
  w.c_bias = g.variable("c_bias", init::zeros({hidden_size}, dtype), true, at);
  return w;
}

GRULayerWeights<Var> gru_layer_weights(Graph g, std::string_view name, int64_t input_size,
                                       int64_t hidden_size, DType dtype, Site at) {
  const auto scope = g.scope(name);
  GRULayerWeights<Var> w;
  w.input_weights =
      g.variable("input_weights", glorot_gates(g, input_size, hidden_size, 3, dtype), true, at);
  w.recurrent_weights = g.variable(
      "recurrent_weights", orthogonal_gates(g, hidden_size, hidden_size, 3, dtype), true, at);
  w.biases = g.variable("biases", init::zeros({3 * hidden_size}, dtype), true, at);
  return w;
}

#define RONDO_INSTANTIATE(V)                                              \
  template GRUResult<V> gru(V, V, GRUWeights<V>, std::string_view, Site); \
  template V gru_layer(V, V, GRULayerWeights<V>, GRULayerConfig, std::string_view, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rnn
}  // namespace rondo
