#include <rondo/ops/lstm.h>

#include <algorithm>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

// Which elementwise op an activation is, and which numbers it takes.
struct Activation {
  std::string_view name, op;
  bool alpha, beta;
};
constexpr Activation kActivations[] = {
    {"TANH", "tanh", false, false},
    {"RELU", "relu", false, false},
    {"SIGMOID", "sigmoid", false, false},
    {"AFFINE", "affine", true, true},
    {"LEAKY_RELU", "leaky_relu", true, false},
    {"THRESHHOLD_RELU", "thresholded_relu", true, false},
    {"SCALED_TANH", "scaled_tanh", true, true},
    {"HARD_SIGMOID", "hard_sigmoid", false, false},
    {"ELU", "elu", true, false},
    {"SOFTSIGN", "softsign", false, false},
    {"SOFTPLUS", "softplus", false, false},
};

// `position`: "gate", "cell" or "out"; the prefix of three attributes.
Var activate(const Call& c, const std::string& position, const Var& x) {
  const std::string& name = c.text(position + "_act");
  const auto row = std::find_if(std::begin(kActivations), std::end(kActivations),
                                [&](const Activation& a) { return a.name == name; });
  Attributes numbers;
  if (row->alpha) numbers.set("alpha", c.number(position + "_alpha"));
  if (row->beta) numbers.set("beta", c.number(position + "_beta"));
  return apply(row->op, {x}, numbers)[0];
}

struct Weights {
  Var wx, wr, b, wp;
};
struct State {
  Var h, c;
};

// The equations of one step, for x [B,I].
State step(const Call& call, const Var& x, const State& last, const Weights& w) {
  Var z = matmul(x, w.wx);
  if (w.b) z = z + w.b;
  z = z + matmul(last.h, w.wr);
  const Vars gates = split(z, 4, -1);
  const Vars peep = w.wp ? split(w.wp, 3, -1) : Vars(3);
  const Var i = activate(call, "gate", with_peephole(gates[0], last.c, peep[0]));
  const Var f = activate(call, "gate", with_peephole(gates[1], last.c, peep[1]));
  const Var g = activate(call, "cell", gates[2]);
  const Var c = clipped(f * last.c + i * g, call.number("cell_clip"));
  const Var o = activate(call, "gate", with_peephole(gates[3], c, peep[2]));
  return {o * activate(call, "out", c), c};
}

std::vector<AttributeDef> cell_attributes() {
  const std::vector<std::string> names(kActivationNames.begin(), kActivationNames.end());
  std::vector<AttributeDef> r;
  r.push_back({"gate_act", "SIGMOID", "activation of the gates i, f, o", names});
  r.push_back({"cell_act", "TANH", "activation of the candidate g", names});
  r.push_back({"out_act", "TANH", "activation of the cell state in the output", names});
  r.push_back({"cell_clip", 0.0, "bound of the cell state; 0 = none", {}, 0});
  for (const std::string position : {"gate", "cell", "out"}) {
    for (const char* number : {"alpha", "beta"}) {
      r.push_back(
          {cat(position, "_", number), 0.0, cat(number, " of the activation, where it has one")});
    }
  }
  return r;
}

std::vector<AttributeDef> layer_attributes() {
  std::vector<AttributeDef> r = cell_attributes();
  r.push_back({"data_format",
               "TNS",
               "layout of x and y",
               {kDataFormatNames.begin(), kDataFormatNames.end()}});
  r.push_back({"direction_mode",
               "FWD",
               "direction, or how two are joined",
               {kDirectionNames.begin(), kDirectionNames.end()}});
  r.push_back({"ret_full_sequence", true, "gives y"});
  r.push_back({"ret_last_h", false, "gives last_h"});
  r.push_back({"ret_last_c", false, "gives last_c"});
  return r;
}

std::string layer_signature(const Attributes& a) {
  const std::string &format = a.text("data_format"), &mode = a.text("direction_mode");
  const std::string d = bidirectional(a) ? "2," : "";
  const std::string h = mode == "BIDIR_CONCAT" ? "2*H" : "H";
  const std::string y = mode == "BIDIR_EXTRA_DIM" ? "[T,2,B,H]" : sequence_axes(format, h);
  return "x" + sequence_axes(format, "I") + ", input_weights[" + d + "I,4*H], recurrent_weights[" +
         d + "H,4*H], biases[" + d + "4*H]?, max_ts_length[B]:int?!, y_last[" + d +
         "B,H]?, c_last[" + d + "B,H]?, peephole_weights[" + d + "3*H]? -> y" + y + ", last_h[" +
         d + "B,H], last_c[" + d + "B,H]";
}

// The direction axis, which some modes have and some do not.
void check_directions(const InferContext& c) {
  const Signature& s = c.signature();
  const bool both = bidirectional(c.attributes());
  for (size_t i = 1; i < s.inputs.size(); ++i) {
    const Slot& slot = s.inputs[i];
    if (!c.has(i) || slot.type != SlotType::kFloat) continue;
    const bool rank = c[i].shape.size() == slot.axes.size();
    if (rank && (!both || c.equal(c[i].shape[0], 2))) continue;
    c.refuse(slot.name, rank ? "dim" : "rank", slot.name, " has shape ", to_string(c[i].shape),
             ", but with direction_mode ", c.attributes().text("direction_mode"), " must be ",
             slot.name, axes_of(slot));
  }
}

void check_layer(const InferContext& c) {
  const Attributes& a = c.attributes();
  const std::string &format = a.text("data_format"), &mode = a.text("direction_mode");
  if ((format == "T2NS") != (mode == "BIDIR_EXTRA_DIM")) {
    c.refuse("data_format", "direction", "data_format ", format, " with direction_mode ", mode,
             ": T2NS and BIDIR_EXTRA_DIM must be used together");
  }
  if (!a.flag("ret_full_sequence") && !a.flag("ret_last_h") && !a.flag("ret_last_c")) {
    c.refuse("outputs", "none",
             "no output is asked for; set ret_full_sequence, ret_last_h or ret_last_c");
  }
  check_directions(c);
  check_batch(c, format, {"y_last", "c_last"}, bidirectional(a) ? 1 : 0);
}

std::vector<ValueType> infer_layer(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, true);
  r[0].present = c.attributes().flag("ret_full_sequence");
  r[1].present = c.attributes().flag("ret_last_h");
  r[2].present = c.attributes().flag("ret_last_c");
  return r;
}

// One direction, time-major: y [T,B,H], last h and c [B,H].
struct Direction {
  Var y, h, c;
};
Direction run_direction(const Call& call, const Var& x, const Weights& w, const Var& lengths,
                        State first, bool reverse, bool align_end) {
  const Dim &steps = x.dim(0), &rows = x.dim(1), &hidden = w.wr.dim(0);
  const bool from_zero = !first.h && !first.c;
  for (Var* s : {&first.h, &first.c}) *s = state_or_zeros(*s, x, rows, hidden);
  RecurrenceInputs in{
      .states = {first.h, first.c}, .xs = {x}, .reverse = reverse, .origin = "lstm_layer"};
  if (lengths && align_end) {
    in.begin =
        reshape(cast(x.graph().call(registry().at("dimensions"), {}, {{"shape", Shape{steps}}})[0],
                     lengths.dtype()),
                {}) -
        lengths;
  } else {
    in.end = lengths;
  }
  const RecurrenceResult r =
      recurrence(in, [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
        const State next = step(call, xs[0], {s[0], s[1]}, w);
        return {.states = {next.h, next.c}, .ys = {next.h}};
      });
  Direction d{r.ys[0], r.finals[0], r.finals[1]};
  if (lengths && !from_zero) {  // an empty row gives zeros, not its first state
    const Var ran = expand_dims(greater(lengths, 0), 1);
    d.h = where(ran, d.h, 0);
    d.c = where(ran, d.c, 0);
  }
  return d;
}

Vars lower_layer(const Call& c) {
  const std::string& format = c.text("data_format");
  const std::string& mode = c.text("direction_mode");
  const Var x = to_time_major(c["x"], format);
  Var lengths = c["max_ts_length"];
  if (lengths)
    lengths = nn::check_range(lengths, 0, x.dim(0), "lstm_layer.max_ts_length", "T of x");
  const Weights all{c["input_weights"], c["recurrent_weights"], c["biases"], c["peephole_weights"]};

  Var y, h, last_c;
  if (!bidirectional(c.attributes())) {
    const bool back = mode == "BWD";
    const Direction d = run_direction(c, x, all, lengths, {c["y_last"], c["c_last"]}, back, back);
    y = d.y;
    h = d.h;
    last_c = d.c;
  } else {
    Direction d[2];
    for (const int64_t k : {0, 1}) {
      const Weights w{direction_of(all.wx, k), direction_of(all.wr, k), direction_of(all.b, k),
                      direction_of(all.wp, k)};
      d[k] = run_direction(c, x, w, lengths,
                           {direction_of(c["y_last"], k), direction_of(c["c_last"], k)}, k == 1,
                           false);
    }
    const auto stack = [](const Var& a, const Var& b, int64_t axis) {
      return concat<Var>({expand_dims(a, axis), expand_dims(b, axis)}, axis);
    };
    if (c.flag("ret_full_sequence")) {
      y = mode == "BIDIR_SUM"      ? d[0].y + d[1].y
          : mode == "BIDIR_CONCAT" ? concat<Var>({d[0].y, d[1].y}, -1)
                                   : stack(d[0].y, d[1].y, 1);
    }
    if (c.flag("ret_last_h")) h = stack(d[0].h, d[1].h, 0);
    if (c.flag("ret_last_c")) last_c = stack(d[0].c, d[1].c, 0);
  }
  if (y) y = from_time_major(y, format);
  return {c.flag("ret_full_sequence") ? y : Var(), c.flag("ret_last_h") ? h : Var(),
          c.flag("ret_last_c") ? last_c : Var()};
}

constexpr std::string_view kCellBatch =
    "x[B,I], input_weights[I,4*H], recurrent_weights[H,4*H], biases[4*H]?, y_last[B,H]?, "
    "c_last[B,H]?, peephole_weights[3*H]? -> h[B,H], c[B,H]";
constexpr std::string_view kCellVector =
    "x[I], input_weights[I,4*H], recurrent_weights[H,4*H], biases[4*H]?, y_last[H]?, c_last[H]?, "
    "peephole_weights[3*H]? -> h[H], c[H]";

std::vector<ValueType> infer_cell(const InferContext& c) {
  static const Signature kBatch = parse_signature(kCellBatch);
  static const Signature kVector = parse_signature(kCellVector);
  for (const std::string_view state : {"y_last", "c_last"}) {
    const auto at = static_cast<size_t>(c.signature().input(state));
    if (!c.has(0) || !c.has(at) || c[at].shape.size() == c[0].shape.size()) continue;
    if (c[0].shape.empty() || c[0].shape.size() > 2) continue;
    c.refuse(state, "rank", state, " has shape ", to_string(c[at].shape), ", but x has shape ",
             to_string(c[0].shape), ": x[I] goes with ", state, "[H], x[B,I] with ", state,
             "[B,H]");
  }
  return c.infer_as(c.has(0) && c[0].shape.size() == 1 ? kVector : kBatch);
}

Vars lower_cell(const Call& c) {
  const bool vector = c["x"].rank() == 1;
  const auto rows = [&](const Var& v) { return vector && v ? expand_dims(v, 0) : v; };
  const Var x = rows(c["x"]);
  State first{rows(c["y_last"]), rows(c["c_last"])};
  for (Var* s : {&first.h, &first.c})
    *s = state_or_zeros(*s, x, x.dim(0), c["recurrent_weights"].dim(0));
  const State s =
      step(c, x, first,
           {c["input_weights"], c["recurrent_weights"], c["biases"], c["peephole_weights"]});
  return vector ? Vars{squeeze(s.h, 0), squeeze(s.c, 0)} : Vars{s.h, s.c};
}

const std::vector<Alias> kAliases{{"SameDiff", "lstmLayer", ""},
                                  {"libnd4j", "lstmLayer", ""},
                                  {"SameDiff", "inputWeights", "input_weights"},
                                  {"SameDiff", "recurrentWeights", "recurrent_weights"},
                                  {"SameDiff", "biases", "biases"},
                                  {"SameDiff", "peepholeWeights", "peephole_weights"},
                                  {"SameDiff", "maxTSLength", "max_ts_length"},
                                  {"SameDiff", "yLast", "y_last"},
                                  {"SameDiff", "cLast", "c_last"},
                                  {"SameDiff", "h", "y"},
                                  {"SameDiff", "hL", "last_h"},
                                  {"SameDiff", "cL", "last_c"},
                                  {"SameDiff", "dataFormat", "data_format"},
                                  {"SameDiff", "directionMode", "direction_mode"},
                                  {"SameDiff", "gateAct", "gate_act"},
                                  {"SameDiff", "cellAct", "cell_act"},
                                  {"SameDiff", "outAct", "out_act"},
                                  {"SameDiff", "retFullSequence", "ret_full_sequence"},
                                  {"SameDiff", "retLastH", "ret_last_h"},
                                  {"SameDiff", "retLastC", "ret_last_c"},
                                  {"SameDiff", "cellClip", "cell_clip"},
                                  {"SameDiff", "gateAlpha", "gate_alpha"},
                                  {"SameDiff", "gateBeta", "gate_beta"},
                                  {"SameDiff", "cellAlpha", "cell_alpha"},
                                  {"SameDiff", "cellBeta", "cell_beta"},
                                  {"SameDiff", "outAlpha", "out_alpha"},
                                  {"SameDiff", "outBeta", "out_beta"}};

std::vector<Alias> cell_aliases() {
  std::vector<Alias> r{{"SameDiff", "lstmLayerCell", ""}, {"libnd4j", "lstmLayerCell", ""}};
  for (const Alias& a : kAliases) {
    const bool of_layer = a.of.empty() || a.of.rfind("ret_", 0) == 0 || a.of == "data_format" ||
                          a.of == "direction_mode" || a.of == "max_ts_length" || a.of == "y" ||
                          a.of.rfind("last_", 0) == 0;
    if (!of_layer) r.push_back(a);
  }
  return r;
}

std::vector<Sample> layer_samples() {
  const Sample::Input lengths{{3}, 0, 0, i32, {4, 0, 2}};
  return {{{{{4, 3, 2}}, {{2, 8}}, {{2, 8}}, {{8}}, lengths, {{3, 2}}, {{3, 2}}, {{6}}},
           {{"ret_last_h", true}, {"ret_last_c", true}},
           "peephole, lengths"},
          {{{{3, 4, 2}},
            {{2, 2, 8}},
            {{2, 2, 8}},
            {{2, 8}},
            lengths,
            {{2, 3, 2}},
            {{2, 3, 2}},
            {{2, 6}}},
           {{"data_format", "NTS"}, {"direction_mode", "BIDIR_CONCAT"}, {"ret_last_h", true}},
           "bidirectional"}};
}

std::vector<RefusedCall> layer_refusals() {
  const auto broken = [](size_t sample, auto&& how) {
    Sample s = layer_samples()[sample];
    how(s);
    return s;
  };
  return {
      {"data_format.direction",
       broken(1, [](Sample& s) { s.attributes.set("direction_mode", "BIDIR_EXTRA_DIM"); }),
       "T2NS without BIDIR_EXTRA_DIM, or that without T2NS"},
      {"outputs.none", broken(0, [](Sample& s) { s.attributes = {{"ret_full_sequence", false}}; }),
       "none of the outputs is asked for"},
      {"max_ts_length.range", broken(0, [](Sample& s) { s.inputs[4].values = {4, 5, 2}; }),
       "a length is negative, or more than T"},
      {"biases.rank", broken(1, [](Sample& s) { s.inputs[3].dims = {8}; }),
       "the axis of two directions is missing, or is there and direction_mode has one"},
      {"c_last.dim", broken(0, [](Sample& s) { s.inputs[6].dims = {2, 2}; }),
       "its batch is not that of x in this data_format"}};
}

}  // namespace

void register_lstm(OpRegistry& r) {
  r.add(
      {.name = "lstm_layer",
       .sig = "x[T,B,I], input_weights[I,4*H], recurrent_weights[H,4*H], biases[4*H]?, "
              "max_ts_length[B]:int?!, y_last[B,H]?, c_last[B,H]?, "
              "peephole_weights[3*H]? -> y[T,B,H], last_h[B,H], last_c[B,H]",
       .doc =
           R"(An LSTM over time, one or both directions. Gates stand in the order i, f, g, o in every weight. For each row, over its steps:
    z = x_t Wx + h Wr + b
    i = gate(z_i + c Wp_i);  f = gate(z_f + c Wp_f);  g = cell(z_g)
    c' = clip(f c + i g)
    o = gate(z_o + c' Wp_o)
    h' = o out(c')
gate, cell and out are the activations that gate_act, cell_act and out_act name, with alpha and beta of their own (AFFINE and
SCALED_TANH are 0 until those are given); clip keeps the state within +-cell_clip. Absent: b and the peepholes Wp (blocks i, f, o)
are left out, y_last and c_last (h and c before the first step) are 0, max_ts_length is T for all rows.

Layouts: TNS x[T,B,I], NTS x[B,T,I], NST x[B,I,T], and y alike with H in the place of I. T2NS goes with BIDIR_EXTRA_DIM and with
nothing else: x[T,B,I], y[T,2,B,H].

Directions: FWD; BWD; BIDIR_SUM, where y is the sum of both; BIDIR_CONCAT, where y has 2*H features, those of the forward direction
first; BIDIR_EXTRA_DIM. y stands at the time of its x in all of them. In the BIDIR modes weights, first states, last_h and last_c have
a leading axis of 2: forward, backward.

A row of length L runs the steps 0 to L-1, the backward half of the BIDIR modes L-1 down to 0, BWD alone T-1 down to T-L (padding in
front). Elsewhere y is 0 and x is never read: it may hold NaN. last_h and last_c are those after the last step that ran. A row of
length 0 gives 0 everywhere, whatever its first state, and no gradient. At least one result must be asked for.)",
       .source = "Hochreiter and Schmidhuber (1997); peepholes: Gers, Schraudolph and Schmidhuber "
                 "(2002); conventions: "
                 "libnd4j lstmLayer",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var lengths = g.placeholder("lengths", i32, {"B"});
auto lstm = rnn::lstm_layer(x, {.max_ts_length = lengths},
                            rnn::lstm_layer_weights(g, "lstm", 12, 64, BIDIR_CONCAT),
                            {.direction_mode = BIDIR_CONCAT, .ret_last_h = true});
// lstm.y: [T,B,128]; lstm.last_h: [2,B,64]
Var heard = rnn::join_directions(lstm.last_h);  // heard: [B,128]

// At once, on tensors, batch-major, without biases; the second row has one step:
auto now = rnn::lstm_layer(
    Tensor::full(f32, {2, 5, 3}, 1), {.max_ts_length = Tensor::of<int32_t>({2}, {5, 1})},
    {.input_weights = Tensor(f32, {3, 16}), .recurrent_weights = Tensor(f32, {4, 16})},
    {.data_format = NTS});
// now.y: [2,5,4])",
       .differs = {{"SameDiff lstmLayer",
                    "the same function. Operands go by name: some versions of its Java put cLast "
                    "in the place of yLast, and exchange outAct and cellAct; alpha and beta arrive "
                    "here. Lengths are checked to be whole and in [0, T]"},
                   {"libnd4j lstmLayer",
                    "alpha, beta and the clip are kept in double; with T2NS x has no axis of "
                    "directions, as in its code and unlike its page"},
                   {"PyTorch LSTM, cuDNN, MXNet",
                    "the same order i, f, g, o; weights are transposed ([4*H,I]); two biases, "
                    "which add up. A packed sequence is max_ts_length here, in any order of rows; "
                    "past its end outputs are 0 in all of them"},
                   {"Keras LSTM",
                    "the same order (i, f, c, o) and shapes, one bias. A mask there repeats the "
                    "last output on masked steps, here y is 0; go_backwards=True leaves outputs in "
                    "the order of computing, here y stands at its own time; return_sequences=False "
                    "is ret_last_h without ret_full_sequence; HARD_SIGMOID is 0.2 x + 0.5, where "
                    "Keras 3 has relu6(x + 3) / 6"},
                   {"ONNX LSTM",
                    "gates i, o, f, c, peepholes i, o, f; its clip bounds what goes into the "
                    "activations, cell_clip the cell state; no input_forget here. Rows of length 0 "
                    "give 0 there too (ONNX Runtime)"},
                   {"TensorFlow BlockLSTM, SameDiff lstmblock",
                    "another order of gates, i, z, f, o: see lstm_block"},
                   {"oneDNN", "the same order; neither lengths nor a clip"},
                   {"BWD with lengths, anywhere else",
                    "each row runs the last steps of the array, T-1 down to T-L, so "
                    "that padding stands in front (libnd4j's tests say so); the backward half of "
                    "the BIDIR modes runs L-1 down to 0"}},
       .attributes = layer_attributes(),
       .aliases = kAliases,
       .asked = {{"y", "ret_full_sequence"}, {"last_h", "ret_last_h"}, {"last_c", "ret_last_c"}},
       .sig_of = layer_signature,
       .infer = infer_layer,
       .check = check_layer,
       .lower = lower_layer,
       .samples = layer_samples(),
       .refuses = layer_refusals()});
  r.add(
      {.name = "lstm_layer_cell",
       .sig = std::string(kCellBatch),
       .doc =
           R"(One step of lstm_layer. Gates in the order i, f, g, o:
    z = x Wx + y_last Wr + b
    i = gate(z_i + c_last Wp_i);  f = gate(z_f + c_last Wp_f);  g = cell(z_g)
    c = clip(f c_last + i g)
    o = gate(z_o + c Wp_o);  h = o out(c)
x may be a vector [I]; then y_last, c_last, h and c are [H]. Activations, clip and what may be absent are those of lstm_layer.)",
       .source = "Hochreiter and Schmidhuber (1997); peepholes: Gers, Schraudolph and Schmidhuber "
                 "(2002); conventions: "
                 "libnd4j lstmLayerCell",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Var h = g.placeholder("h", f32, {"B", 64}), c = g.placeholder("c", f32, {"B", 64});
auto step = rnn::lstm_layer_cell(x, {.c_last = c, .y_last = h},
                                 rnn::lstm_layer_weights(g, "lstm", 12, 64));
// step.h: [B,64]; step.c: [B,64]

// At once, on a vector, from states of 0:
auto now = rnn::lstm_layer_cell(
    Tensor::full(f32, {3}, 1), {},
    {.input_weights = Tensor(f32, {3, 16}), .recurrent_weights = Tensor(f32, {4, 16})});
// now.h: {0, 0, 0, 0})",
       .differs = {{"SameDiff lstmCell",
                    "is lstm_cell here: gates i, z, f, o, one matrix for x and y, seven results"},
                   {"libnd4j lstmCell", "is lstmp_cell here: a projection, a forget bias"},
                   {"libnd4j lstmLayerCellBp", "takes a cotangent of h only; here c has one too"},
                   {"PyTorch LSTMCell",
                    "the same order i, f, g, o; weights are transposed, and its two biases add up"},
                   {"Keras LSTMCell", "the same order (i, f, c, o), shapes and one bias"}},
       .attributes = cell_attributes(),
       .aliases = cell_aliases(),
       .infer = infer_cell,
       .lower = lower_cell,
       .samples = {{{{{3, 2}}, {{2, 8}}, {{2, 8}}, {{8}}, {{3, 2}}, {{3, 2}}, {{6}}}},
                   {{{{2}}, {{2, 8}}, {{2, 8}}, {{8}}, {{2}}, {{2}}, {{}, 0, 0, f64, {}, true}}}},
       .refuses = {{"y_last.rank",
                    {{{{3, 2}}, {{2, 8}}, {{2, 8}}, {{8}}, {{2}}, {{3, 2}}, {{6}}}},
                    "x is a batch and y_last a vector, or the other way round"},
                   {"c_last.rank",
                    {{{{2}}, {{2, 8}}, {{2, 8}}, {{8}}, {{2}}, {{3, 2}}, {{6}}}},
                    "x is a batch and c_last a vector, or the other way round"}}});
}

}  // namespace rondo
