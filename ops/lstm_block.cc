#include <rondo/ops/lstm_block.h>

#include <array>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

constexpr std::array<std::string_view, 3> kPeepholes{
    "input_peephole_weights", "forget_peephole_weights", "output_peephole_weights"};

struct Weights {
  Var wx, wy, b;
  Var wi, wf, wo;  // peepholes; null = none
};
struct Step {
  Var i, c, f, o, z, h, y;
};

// For x with the features last.
Weights weights_of(const Call& c, const Var& x) {
  const Var& w = c["ru_weight"];
  const Dim& inputs = x.dim(-1);
  Weights r{slice(w, 0, 0, inputs), slice(w, 0, inputs, w.dim(0)), c["bias"], {}, {}, {}};
  if (c.flag("peep_hole")) {
    r.wi = c[kPeepholes[0]];
    r.wf = c[kPeepholes[1]];
    r.wo = c[kPeepholes[2]];
  }
  return r;
}

// The equations of one step.
Step step(const Call& call, const Var& x, const Var& c_last, const Var& y_last, const Weights& w) {
  Var m = matmul(x, w.wx);
  if (w.b) m = m + w.b;
  m = m + matmul(y_last, w.wy);
  const Vars gates = split(m, 4, -1);
  Step s;
  s.i = sigmoid(with_peephole(gates[0], c_last, w.wi));
  s.z = tanh(gates[1]);
  s.f = sigmoid(shifted(with_peephole(gates[2], c_last, w.wf), call.number("forget_bias")));
  s.c = clipped(s.i * s.z + s.f * c_last, call.number("clipping_cell_value"));
  s.o = sigmoid(with_peephole(gates[3], s.c, w.wo));
  s.h = tanh(s.c);
  s.y = s.o * s.h;
  return s;
}

Vars lower_cell(const Call& c) {
  const Step s = step(c, c["x"], c["c_last"], c["y_last"], weights_of(c, c["x"]));
  return {s.i, s.c, s.f, s.o, s.z, s.h, s.y};
}

Vars lower_block(const Call& c) {
  const std::string& format = c.text("data_format");
  const Var x = to_time_major(c["x"], format);
  const Dim &steps = x.dim(0), &rows = x.dim(1);
  const Weights w = weights_of(c, x);
  const Dim& hidden = w.wy.dim(0);
  RecurrenceInputs in{.states = {state_or_zeros(c["c_last"], x, rows, hidden),
                                 state_or_zeros(c["y_last"], x, rows, hidden)},
                      .xs = {x},
                      .origin = "lstm_block"};
  if (const Var& length = c["max_ts_length"])
    in.end = broadcast_to(nn::check_range(length, 0, steps, "lstm_block.max_ts_length", "T of x"),
                          {rows});
  const RecurrenceResult r =
      recurrence(in, [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
        const Step n = step(c, xs[0], s[0], s[1], w);
        return {.states = {n.c, n.y}, .ys = {n.i, n.c, n.f, n.o, n.z, n.h, n.y}};
      });
  Vars results;
  for (const Var& y : r.ys) results.push_back(from_time_major(y, format));
  return results;
}

std::string signature(std::string_view x, std::string_view states, std::string_view length,
                      std::string_view y) {
  std::string s =
      cat("x", x, ", c_last[B,H]", states, ", y_last[B,H]", states, ", ru_weight[I+H,4*H]");
  for (const std::string_view p : kPeepholes) s += cat(", ", p, "[H]?");
  s += cat(", bias[4*H]?", length, " -> ");
  for (const char* name : {"i", "c", "f", "o", "z", "h", "y"})
    s += cat(*name == 'i' ? "" : ", ", name, y);
  return s;
}

std::string block_signature(std::string_view format) {
  return signature(sequence_axes(format, "I"), "?", ", max_ts_length[]:int?!",
                   sequence_axes(format, "H"));
}

void check_peepholes(const InferContext& c) {
  for (const std::string_view p : kPeepholes) need_with(c, "peep_hole", p);
}

void check_block(const InferContext& c) {
  check_peepholes(c);
  check_batch(c, c.attributes().text("data_format"), {"c_last", "y_last"}, 0);
}

std::vector<AttributeDef> cell_attributes() {
  return {{"peep_hole", false, "the gates see the cell state, through the peephole weights"},
          {"forget_bias", 0.0, "added to the forget gate before its activation"},
          {"clipping_cell_value", 0.0, "bound of the cell state; 0 or less = none"}};
}

std::vector<AttributeDef> block_attributes() {
  std::vector<AttributeDef> r = cell_attributes();
  r.push_back({"data_format",
               "TNS",
               "layout of x and of the results",
               {kRnnDataFormatNames.begin(), kRnnDataFormatNames.end()}});
  return r;
}

const std::vector<Alias> kAliases{{"SameDiff", "cLast", "c_last"},
                                  {"SameDiff", "yLast", "y_last"},
                                  {"SameDiff", "ruWeight", "ru_weight"},
                                  {"SameDiff", "inputPeepholeWeights", "input_peephole_weights"},
                                  {"SameDiff", "forgetPeepholeWeights", "forget_peephole_weights"},
                                  {"SameDiff", "outputPeepholeWeights", "output_peephole_weights"},
                                  {"SameDiff", "peepHole", "peep_hole"},
                                  {"SameDiff", "forgetBias", "forget_bias"},
                                  {"SameDiff", "clippingCellValue", "clipping_cell_value"}};

std::vector<Alias> with_aliases(std::vector<Alias> r) {
  r.insert(r.end(), kAliases.begin(), kAliases.end());
  return r;
}

Attributes attributes_of(const LSTMConfiguration& c) {
  return {{"peep_hole", c.peep_hole},
          {"forget_bias", c.forget_bias},
          {"clipping_cell_value", c.clipping_cell_value}};
}

}  // namespace

void register_lstm_block(OpRegistry& r) {
  const Attributes peepholes{
      {"peep_hole", true}, {"forget_bias", 0.5}, {"clipping_cell_value", 0.5}};
  Attributes peepholes_nts = peepholes;
  peepholes_nts.set("data_format", "NTS");
  r.add(
      {.name = "lstm_cell",
       .sig = signature("[B,I]", "", "", "[B,H]"),
       .doc =
           R"(One step of an LSTM, with all its values. Rows of ru_weight: the first I for x, the last H for y; columns i, z, f, o (z is what other
LSTMs call g). An absent bias is 0; the peepholes wi, wf, wo act only with peep_hole:
    m = [x, y_last] ru_weight + bias
    i = sigmoid(m_i + c_last wi)
    f = sigmoid(m_f + c_last wf + forget_bias)
    z = tanh(m_z)
    c = clip(i z + f c_last)
    o = sigmoid(m_o + c wo)
    h = tanh(c);  y = o h
clip keeps c within +-clipping_cell_value (0 or less: no bound). The output is y.)",
       .source = "Zaremba, Sutskever and Vinyals (2014); peepholes: Gers, Schraudolph and "
                 "Schmidhuber (2002); "
                 "conventions: libnd4j lstmBlockCell",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Var c = g.placeholder("c", f32, {"B", 64}), y = g.placeholder("y", f32, {"B", 64});
auto step = rnn::lstm_cell(x, c, y, rnn::lstm_block_weights(g, "lstm", 12, 64),
                           {.forget_bias = 1, .clipping_cell_value = 3});
// step.y: [B,64]; step.c: [B,64]

// At once, on tensors, without bias and peepholes; with weights of 0 the gates are one half:
auto now = rnn::lstm_cell(Tensor(f32, {1, 3}), Tensor::full(f32, {1, 2}, 1), Tensor(f32, {1, 2}),
                          {.ru_weight = Tensor(f32, {5, 8})});
// now.c: {0.5, 0.5}; now.o: {0.5, 0.5})",
       .differs = {{"libnd4j lstmCell",
                    "is the one with a projection, lstmp_cell here. SameDiff's lstmCell is this "
                    "op, libnd4j's lstmBlockCell"},
                   {"SameDiff lstmCell",
                    "older Java gives i alone, the first of the results; here all seven. Bias and "
                    "peepholes may be absent, and there is a gradient: libnd4j has none"},
                   {"TensorFlow LSTMBlockCell",
                    "the same equations; its results are called i, cs, f, o, ci, co, h; its "
                    "forget_bias is 1 unless told otherwise, here 0"},
                   {"PyTorch LSTMCell, Keras LSTMCell",
                    "their h is y here (h is tanh(c)); the order is i, f, g, o, as in "
                    "lstm_layer_cell, and weights of x and of the state are apart"}},
       .attributes = cell_attributes(),
       .aliases = with_aliases({{"SameDiff", "lstmCell", ""}, {"libnd4j", "lstmBlockCell", ""}}),
       .check = check_peepholes,
       .lower = lower_cell,
       .samples =
           {{{{{3, 2}}, {{3, 3}}, {{3, 3}}, {{5, 12}}, {{3}}, {{3}}, {{3}}, {{12}}},
             peepholes,
             "peephole, clip"},
            {{{{1, 2}}, {{1, 3}}, {{1, 3}}, {{5, 12}}, absent(), absent(), absent(), absent()}}},
       .refuses = {
           {"input_peephole_weights.missing",
            {{{{3, 2}}, {{3, 3}}, {{3, 3}}, {{5, 12}}, absent(), {{3}}, {{3}}, {{12}}}, peepholes},
            "peep_hole is set, and its three weights are not all given"}}});
  r.add(
      {.name = "lstm_block",
       .sig = block_signature("TNS"),
       .doc =
           R"(lstm_cell over time, with all its values at each step. Rows of ru_weight: the first I for x, the last H for y; columns i, z, f, o. An
absent bias is 0, as are absent first states; the peepholes wi, wf, wo act only with peep_hole:
    m = [x_t, y] ru_weight + bias
    i = sigmoid(m_i + c wi)
    f = sigmoid(m_f + c wf + forget_bias)
    z = tanh(m_z)
    c' = clip(i z + f c)
    o = sigmoid(m_o + c' wo)
    h = tanh(c');  y' = o h
clip keeps c within +-clipping_cell_value (0 or less: no bound). Layouts: TNS x[T,B,I], NST x[B,I,T], NTS x[B,T,I], and all results
alike with H in the place of I. max_ts_length is one number for all rows, in [0, T], absent = T: from this step on nothing is computed,
all results are 0, and x is never read. For lengths of single rows and other activations see lstm_layer.)",
       .source = "Zaremba, Sutskever and Vinyals (2014); peepholes: Gers, Schraudolph and "
                 "Schmidhuber (2002); "
                 "conventions: libnd4j lstmBlock, TensorFlow BlockLSTM",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "T", 12});
Var steps = g.placeholder("steps", i32, {});
const auto weights = rnn::lstm_block_weights(g, "lstm", 12, 64);
auto lstm = rnn::lstm_block(x, {.max_ts_length = steps}, weights,
                            {.data_format = RnnDataFormat::NTS});
// lstm.y: [B,T,64]; lstm.c: [B,T,64]

// At once, on tensors, time-major; only the first of two steps runs:
const Tensor one = Tensor::of<int32_t>({}, {1});
auto now = rnn::lstm_block(Tensor(f32, {2, 1, 3}), {.max_ts_length = one},
                           {.ru_weight = Tensor(f32, {5, 8})});
// now.i: {0.5, 0.5, 0, 0}; now.y: [2,1,2])",
       .differs = {{"SameDiff lstmblock",
                    "gives its first result, the input gate i; the output is y here, beside the "
                    "six others"},
                   {"libnd4j lstmBlock",
                    "never reads maxTSLength, and in the formats NST and NTS takes the first axis "
                    "of x for time; here both are as documented. It has no gradient"},
                   {"TensorFlow BlockLSTM",
                    "leaves i, f, o, ci and co unset from seq_len_max on; here all seven are 0. "
                    "Its forget_bias is 1 unless told otherwise, here 0"},
                   {"lstm_layer here",
                    "another order of gates (i, f, g, o), lengths of single rows, directions, "
                    "other activations; y and c only"},
                   {"Keras LSTM, PyTorch LSTM",
                    "the order i, f, g, o, and weights of x and of the state apart: lstm_layer is "
                    "the nearer one"}},
       .attributes = block_attributes(),
       .aliases = with_aliases({{"SameDiff", "lstmblock", ""},
                                {"libnd4j", "lstmBlock", ""},
                                {"SameDiff", "maxTSLength", "max_ts_length"},
                                {"SameDiff", "dataFormat", "data_format"}}),
       .sig_of = [](const Attributes& a) { return block_signature(a.text("data_format")); },
       .check = check_block,
       .lower = lower_block,
       .samples = {{{{{3, 4, 2}},
                     {{3, 3}},
                     {{3, 3}},
                     {{5, 12}},
                     {{3}},
                     {{3}},
                     {{3}},
                     {{12}},
                     {{}, 0, 0, i32, {3}}},
                    peepholes_nts,
                    "peephole, clip, length"},
                   {{{{3, 2, 2}},
                     absent(),
                     absent(),
                     {{5, 12}},
                     absent(),
                     absent(),
                     absent(),
                     {{12}},
                     absent()},
                    {},
                    "no first state"}},
       .refuses = {{"input_peephole_weights.missing",
                    {{{{3, 4, 2}},
                      {{3, 3}},
                      {{3, 3}},
                      {{5, 12}},
                      absent(),
                      {{3}},
                      {{3}},
                      {{12}},
                      {{}, 0, 0, i32, {3}}},
                     peepholes_nts},
                    "peep_hole is set, and its three weights are not all given"},
                   {"c_last.dim",
                    {{{{3, 4, 2}},
                      {{4, 3}},
                      {{4, 3}},
                      {{5, 12}},
                      {{3}},
                      {{3}},
                      {{3}},
                      {{12}},
                      {{}, 0, 0, i32, {3}}},
                     peepholes_nts},
                    "its batch is not that of x in this data_format"},
                   {"max_ts_length.range",
                    {{{{3, 4, 2}},
                      {{3, 3}},
                      {{3, 3}},
                      {{5, 12}},
                      {{3}},
                      {{3}},
                      {{3}},
                      {{12}},
                      {{}, 0, 0, i32, {5}}},
                     peepholes_nts},
                    "it is negative, or more than T"}}});
}

namespace rnn {

template <Operable V>
LSTMBlockResult<V> lstm_cell(V x, std::type_identity_t<V> c_last, std::type_identity_t<V> y_last,
                             std::type_identity_t<LSTMWeights<V>> w, LSTMConfiguration config,
                             std::string_view name, Site at) {
  auto r = apply("lstm_cell",
                 std::vector<V>{x, c_last, y_last, w.ru_weight, w.input_peephole_weights,
                                w.forget_peephole_weights, w.output_peephole_weights, w.bias},
                 attributes_of(config), {.name = std::string(name), .site = at});
  return {r[0], r[1], r[2], r[3], r[4], r[5], r[6]};
}

template <Operable V>
LSTMBlockResult<V> lstm_block(V x, std::type_identity_t<LSTMBlockInputs<V>> in,
                              std::type_identity_t<LSTMWeights<V>> w, LSTMConfiguration config,
                              std::string_view name, Site at) {
  Attributes a = attributes_of(config);
  a.set("data_format",
        name_of(kRnnDataFormatNames, static_cast<int>(config.data_format), "lstm_block"));
  auto r = apply("lstm_block",
                 std::vector<V>{x, in.c_last, in.y_last, w.ru_weight, w.input_peephole_weights,
                                w.forget_peephole_weights, w.output_peephole_weights, w.bias,
                                in.max_ts_length},
                 a, {.name = std::string(name), .site = at});
  return {r[0], r[1], r[2], r[3], r[4], r[5], r[6]};
}

LSTMWeights<Var> lstm_block_weights(Graph g, std::string_view name, int64_t input_size,
                                    int64_t hidden_size, DType dtype, bool peepholes, Site at) {
  constexpr int64_t kForget = 2;
  const auto scope = g.scope(name);
  LSTMWeights<Var> w;
  w.ru_weight = g.variable("ru_weight",
                           join_rows({glorot_gates(g, input_size, hidden_size, 4, dtype),
                                      orthogonal_gates(g, hidden_size, hidden_size, 4, dtype)}),
                           true, at);
  w.bias = g.variable("bias", gate_biases(hidden_size, 4, kForget, dtype), true, at);
  if (peepholes) {
    const std::array<Var*, 3> to{&w.input_peephole_weights, &w.forget_peephole_weights,
                                 &w.output_peephole_weights};
    for (size_t k = 0; k < to.size(); ++k)
      *to[k] = g.variable(kPeepholes[k], init::zeros({hidden_size}, dtype), true, at);
  }
  return w;
}

#define RONDO_INSTANTIATE(V)                                                                       \
  template LSTMBlockResult<V> lstm_cell(V, V, V, LSTMWeights<V>, LSTMConfiguration,                \
                                        std::string_view, Site);                                   \
  template LSTMBlockResult<V> lstm_block(V, LSTMBlockInputs<V>, LSTMWeights<V>, LSTMConfiguration, \
                                         std::string_view, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rnn
}  // namespace rondo
