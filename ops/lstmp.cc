#include <rondo/ops/lstmp.h>

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

struct State {
  Var h, c;
};

// The equations of one step.
State step(const Call& call, const Var& x, const State& last, const Vars& peep) {
  Var z = matmul(x, call["input_weights"]) + call["biases"];
  z = z + matmul(last.h, call["recurrent_weights"]);
  const Vars gates = split(z, 4, -1);
  const Var i = sigmoid(with_peephole(gates[0], last.c, peep[0]));
  const Var f =
      sigmoid(shifted(with_peephole(gates[1], last.c, peep[1]), call.number("forget_bias")));
  const Var c = clipped(f * last.c + i * tanh(gates[2]), call.number("clipping_cell_value"));
  const Var m = sigmoid(with_peephole(gates[3], c, peep[2])) * tanh(c);
  if (!call.flag("projection")) return {m, c};
  return {clipped(matmul(m, call["projection_weights"]), call.number("clipping_proj_value")), c};
}

Vars peepholes_of(const Call& c) {
  return c.flag("peep_hole") ? split(c["peephole_weights"], 3, -1) : Vars(3);
}

Vars lower_cell(const Call& c) {
  const State s = step(c, c["x"], {c["h_last"], c["c_last"]}, peepholes_of(c));
  return {s.h, s.c};
}

Vars lower_layer(const Call& c) {
  const Vars peep = peepholes_of(c);
  const RecurrenceResult r =
      recurrence({.states = {c["h_last"], c["c_last"]}, .xs = {c["x"]}, .origin = "lstmp"},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const State next = step(c, xs[0], {s[0], s[1]}, peep);
                   return {.states = {next.h, next.c}, .ys = {next.h, next.c}};
                 });
  return r.ys;
}

// `t`: "T," for a sequence. Without a projection the output is as wide as the cell state.
std::string signature(std::string_view t, bool projection) {
  const char* p = projection ? "P" : "H";
  return cat("x[", t, "B,I], h_last[B,", p, "], c_last[B,H], input_weights[I,4*H], ",
             "recurrent_weights[", p, ",4*H], biases[4*H], peephole_weights[3*H]?, ",
             "projection_weights[H,", p, "]? -> h[", t, "B,", p, "], c[", t, "B,H]");
}

void check(const InferContext& c) {
  need_with(c, "peep_hole", "peephole_weights");
  need_with(c, "projection", "projection_weights");
}

const std::vector<AttributeDef>& attributes() {
  static const std::vector<AttributeDef> kAttributes{
      {"peep_hole", false, "the gates see the cell state, through peephole_weights"},
      {"projection", false, "the output is multiplied with projection_weights"},
      {"forget_bias", 0.0, "added to the forget gate before its activation"},
      {"clipping_cell_value", 0.0, "bound of the cell state; 0 or less = none"},
      {"clipping_proj_value", 0.0, "bound of the projected output; 0 or less = none"}};
  return kAttributes;
}

std::vector<Alias> aliases(std::string_view op) {
  return {{"libnd4j", std::string(op), ""},
          {"libnd4j", "h0", "h_last"},
          {"libnd4j", "c0", "c_last"},
          {"libnd4j", "Wx", "input_weights"},
          {"libnd4j", "Wh", "recurrent_weights"},
          {"libnd4j", "b", "biases"},
          {"libnd4j", "Wc", "peephole_weights"},
          {"libnd4j", "Wp", "projection_weights"},
          {"libnd4j", "peephole", "peep_hole"},
          {"libnd4j", "forgetBias", "forget_bias"},
          {"libnd4j", "clippingCellValue", "clipping_cell_value"},
          {"libnd4j", "clippingProjValue", "clipping_proj_value"}};
}

std::vector<Sample> samples(const Dims& x);

std::vector<RefusedCall> refusals(const Dims& x) {
  Sample peephole = samples(x)[0], projection = peephole;
  peephole.inputs[6] = projection.inputs[7] = absent();
  return {{"peephole_weights.missing", peephole, "peep_hole is set, and its weights are not given"},
          {"projection_weights.missing", projection,
           "projection is set, and its weights are not given"}};
}

// B = 3 rows, I = 2, H = 3, P = 2.
std::vector<Sample> samples(const Dims& x) {
  const Attributes all{{"peep_hole", true},
                       {"projection", true},
                       {"forget_bias", 0.5},
                       {"clipping_cell_value", 0.6},
                       {"clipping_proj_value", 0.4}};
  return {{{{x}, {{3, 2}}, {{3, 3}}, {{2, 12}}, {{2, 12}}, {{12}}, {{9}}, {{3, 2}}},
           all,
           "projection, peephole, clips"},
          {{{x}, {{3, 3}}, {{3, 3}}, {{2, 12}}, {{3, 12}}, {{12}}, absent(), absent()}}};
}

Attributes attributes_of(const LSTMPConfig& c) {
  return {{"peep_hole", c.peep_hole},
          {"projection", c.projection},
          {"forget_bias", c.forget_bias},
          {"clipping_cell_value", c.clipping_cell_value},
          {"clipping_proj_value", c.clipping_proj_value}};
}

}  // namespace

void register_lstmp(OpRegistry& r) {
  r.add(
      {.name = "lstmp_cell",
       .sig = signature("", true),
       .doc =
           R"(One step of an LSTM with a projection: the output may be narrower than the cell state. Columns of the weights i, f, g, o:
    z = x Wx + h_last Wr + b
    i = sigmoid(z_i + c_last wc_i);  f = sigmoid(z_f + c_last wc_f + forget_bias)
    c = clip(f c_last + i tanh(z_g))
    m = sigmoid(z_o + c wc_o) tanh(c)
    h = clip_proj(m Wp)      with projection, else h = m
The peepholes wc (blocks i, f, o) act only with peep_hole. clip keeps c within +-clipping_cell_value, clip_proj h within
+-clipping_proj_value (0 or less: no bound); clip_proj acts only with projection. Without projection P = H.)",
       .source = "Sak, Senior and Beaufays (2014); peepholes: Gers, Schraudolph and Schmidhuber "
                 "(2002); conventions: "
                 "libnd4j lstmCell",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Var h = g.placeholder("h", f32, {"B", 16}), c = g.placeholder("c", f32, {"B", 64});
const auto weights =
    rnn::lstmp_weights(g, "lstm", {.inputs = 12, .hidden = 64, .projection = 16});
auto step = rnn::lstmp_cell(x, h, c, weights, {.projection = true});
// step.h: [B,16]; step.c: [B,64]

// At once, on tensors, without a projection; with weights of 0 the gates are one half:
auto now = rnn::lstmp_cell(Tensor(f32, {1, 3}), Tensor(f32, {1, 2}), Tensor::full(f32, {1, 2}, 1),
                           {.input_weights = Tensor(f32, {3, 8}),
                            .recurrent_weights = Tensor(f32, {2, 8}),
                            .biases = Tensor(f32, {8})});
// now.c: {0.5, 0.5}; now.h: [1,2])",
       .differs =
           {{"SameDiff lstmCell",
             "is lstm_cell here. SameDiff has no name for this op, which is libnd4j's lstmCell"},
            {"libnd4j lstmCell",
             "needs all eight operands and has no gradient; here peephole_weights is needed with "
             "peep_hole only, projection_weights with projection only"},
            {"PyTorch LSTM(proj_size), MXNet RNN(projection_size), cuDNN",
             "the same order i, f, g, o; weights are transposed there (projection [P,H]), two "
             "biases add up; no peepholes, no forget bias, no bound of the output. MXNet's bounds "
             "of the cell state are a pair, see rnn"},
            {"TensorFlow 1 LSTMCell(num_proj)",
             "gates i, j, f, o in one matrix for x and the state; its forget_bias is 1 unless told "
             "otherwise, here 0"}},
       .attributes = attributes(),
       .aliases = aliases("lstmCell"),
       .sig_of = [](const Attributes& a) { return signature("", a.flag("projection")); },
       .check = check,
       .lower = lower_cell,
       .samples = samples({3, 2}),
       .refuses = refusals({3, 2})});
  r.add(
      {.name = "lstmp",
       .sig = signature("T,", true),
       .doc =
           R"(lstmp_cell over time: an LSTM whose output may be narrower than its cell state. Columns of the weights i, f, g, o. Each step:
    z = x_t Wx + h Wr + b
    i = sigmoid(z_i + c wc_i);  f = sigmoid(z_f + c wc_f + forget_bias)
    c' = clip(f c + i tanh(z_g))
    m = sigmoid(z_o + c' wc_o) tanh(c')
    h' = clip_proj(m Wp)      with projection, else h' = m
The peepholes wc (blocks i, f, o) act only with peep_hole. clip keeps c within +-clipping_cell_value, clip_proj h within
+-clipping_proj_value (0 or less: no bound); clip_proj acts only with projection. Without projection P = H. The results hold h and c
after each step.)",
       .source = "Sak, Senior and Beaufays (2014); peepholes: Gers, Schraudolph and Schmidhuber "
                 "(2002); conventions: "
                 "libnd4j lstm",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var h = g.placeholder("h", f32, {"B", 16}), c = g.placeholder("c", f32, {"B", 64});
const auto weights =
    rnn::lstmp_weights(g, "lstm", {.inputs = 12, .hidden = 64, .projection = 16});
auto lstm = rnn::lstmp(x, h, c, weights, {.projection = true, .clipping_cell_value = 3});
// lstm.h: [T,B,16]; lstm.c: [T,B,64]

// At once, on tensors, without a projection:
auto now = rnn::lstmp(Tensor(f32, {2, 1, 3}), Tensor(f32, {1, 1}), Tensor::full(f32, {1, 1}, 1),
                      {.input_weights = Tensor(f32, {3, 4}),
                       .recurrent_weights = Tensor(f32, {1, 4}),
                       .biases = Tensor(f32, {4})});
// now.c: {0.5, 0.25}; now.h: [2,1,1])",
       .differs = {{"libnd4j lstm",
                    "needs all eight operands and has no gradient; here peephole_weights is needed "
                    "with peep_hole only, projection_weights with projection only. SameDiff has no "
                    "name for it"},
                   {"PyTorch LSTM(proj_size), MXNet RNN(projection_size), cuDNN",
                    "the same order i, f, g, o; weights are transposed there (projection [P,H]), "
                    "two biases add up; no peepholes, no forget bias, no bound of the output. "
                    "MXNet's bounds of the cell state are a pair, see rnn"},
                   {"TensorFlow 1 LSTMCell(num_proj)",
                    "gates i, j, f, o in one matrix for x and the state; its forget_bias is 1 "
                    "unless told otherwise, here 0"},
                   {"anywhere else",
                    "here are neither lengths nor directions nor layouts: x is time-major; for "
                    "lengths write recurrence with .end, or use rnn with projection_size"}},
       .attributes = attributes(),
       .aliases = aliases("lstm"),
       .sig_of = [](const Attributes& a) { return signature("T,", a.flag("projection")); },
       .check = check,
       .lower = lower_layer,
       .samples = samples({4, 3, 2}),
       .refuses = refusals({4, 3, 2})});
}

namespace rnn {
namespace {

template <Operable V>
LSTMPResult<V> call(std::string_view op, V x, V h, V c, const LSTMPWeights<V>& w,
                    const LSTMPConfig& config, std::string_view name, Site at) {
  auto r = apply(op,
                 std::vector<V>{x, h, c, w.input_weights, w.recurrent_weights, w.biases,
                                w.peephole_weights, w.projection_weights},
                 attributes_of(config), {.name = std::string(name), .site = at});
  return {r[0], r[1]};
}

}  // namespace

template <Operable V>
LSTMPResult<V> lstmp_cell(V x, std::type_identity_t<V> h_last, std::type_identity_t<V> c_last,
                          std::type_identity_t<LSTMPWeights<V>> w, LSTMPConfig config,
                          std::string_view name, Site at) {
  return call("lstmp_cell", x, h_last, c_last, w, config, name, at);
}

template <Operable V>
LSTMPResult<V> lstmp(V x, std::type_identity_t<V> h_last, std::type_identity_t<V> c_last,
                     std::type_identity_t<LSTMPWeights<V>> w, LSTMPConfig config,
                     std::string_view name, Site at) {
  return call("lstmp", x, h_last, c_last, w, config, name, at);
}

LSTMPWeights<Var> lstmp_weights(Graph g, std::string_view name, LSTMPSizes s, DType dtype,
                                Site at) {
  constexpr int64_t kForget = 1;
  const auto scope = g.scope(name);
  const int64_t width = s.projection > 0 ? s.projection : s.hidden;
  LSTMPWeights<Var> w;
  w.input_weights =
      g.variable("input_weights", glorot_gates(g, s.inputs, s.hidden, 4, dtype), true, at);
  w.recurrent_weights =
      g.variable("recurrent_weights", orthogonal_gates(g, width, s.hidden, 4, dtype), true, at);
  w.biases = g.variable("biases", gate_biases(s.hidden, 4, kForget, dtype), true, at);
  if (s.peepholes)
    w.peephole_weights =
        g.variable("peephole_weights", init::zeros({3 * s.hidden}, dtype), true, at);
  if (s.projection > 0)
    w.projection_weights =
        g.variable("projection_weights", glorot_gates(g, s.hidden, width, 1, dtype), true, at);
  return w;
}

#define RONDO_INSTANTIATE(V)                                                                  \
  template LSTMPResult<V> lstmp_cell(V, V, V, LSTMPWeights<V>, LSTMPConfig, std::string_view, \
                                     Site);                                                   \
  template LSTMPResult<V> lstmp(V, V, V, LSTMPWeights<V>, LSTMPConfig, std::string_view, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rnn
}  // namespace rondo
