#include <rondo/ops/cell_layers.h>

#include <algorithm>
#include <functional>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/layer_op.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/norm.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

struct Weight {
  std::string name, axes;  // axes of one direction, as a signature writes them
  bool optional = false;
};
using StepFunction = rnn::Step (*)(const Call& c, const Vars& weights, const Var& x,
                                   const Vars& states);

// All that makes one layer differ from another.
struct Row {
  std::string name, doc, source;
  int64_t gates;  // that the first weight holds side by side
  std::vector<Weight> weights;
  std::vector<std::string> states;  // "h", "c"; the first is the output
  StepFunction step;
  std::vector<AttributeDef> attributes;
  std::vector<Sample::Input> sample;  // of the weights, I = H = 2
  std::string example;                // on tensors; the one in a graph is the same for all
  std::vector<Difference> differs;
};

Var biased(const Var& z, const Var& b) { return b ? z + b : z; }

rnn::Step lstm_layer_norm_step(const Call& c, const Vars& w, const Var& x, const Vars& s) {
  const Var z =
      nn::layer_norm(matmul(x, w[0]) + matmul(s[0], w[1]), w[2], w[3], c.number("epsilon"));
  const Vars gates = split(z, 4, -1);
  const Var i = sigmoid(gates[0]), f = sigmoid(gates[1]), g = tanh(gates[2]);
  const Var cell = f * s[1] + i * g;
  const Var h = sigmoid(gates[3]) * tanh(cell);
  return {h, {h, cell}};
}

rnn::Step gru_layer_norm_step(const Call& c, const Vars& w, const Var& x, const Vars& s) {
  const double epsilon = c.number("epsilon");
  const Vars a = split(nn::layer_norm(matmul(x, w[0]), w[2], w[4], epsilon), 3, -1);
  const Vars b = split(nn::layer_norm(matmul(s[0], w[1]), w[3], w[5], epsilon), 3, -1);
  const Var r = sigmoid(a[0] + b[0]), u = sigmoid(a[1] + b[1]);
  const Var h = u * s[0] + (1 - u) * tanh(a[2] + r * b[2]);
  return {h, {h}};
}

rnn::Step min_gru_step(const Call&, const Vars& w, const Var& x, const Vars& s) {
  const Vars z = split(biased(matmul(x, w[0]), w[1]), 2, -1);
  const Var u = sigmoid(z[0]);
  const Var h = (1 - u) * s[0] + u * z[1];
  return {h, {h}};
}

rnn::Step min_lstm_step(const Call&, const Vars& w, const Var& x, const Vars& s) {
  const Vars z = split(biased(matmul(x, w[0]), w[1]), 3, -1);
  // sigmoid(f) / (sigmoid(f) + sigmoid(i)), also where both are too small for a float.
  const Var keep = sigmoid(softplus(-z[1]) - softplus(-z[0]));
  const Var h = keep * s[0] + (1 - keep) * z[2];
  return {h, {h}};
}

rnn::Step ind_rnn_step(const Call& c, const Vars& w, const Var& x, const Vars& s) {
  const Var z = biased(matmul(x, w[0]) + s[0] * w[1], w[2]);
  const Var h = c.text("activation") == "RELU" ? relu(z) : tanh(z);
  return {h, {h}};
}

const AttributeDef kEpsilon{"epsilon", 1e-5, "added to the variance", {}, 0};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows{
      {"lstm_layer_norm",
       R"(An LSTM whose pre-activations are normalised, all four gates of a row together. Columns of the weights i, f, g, o:
    z = layer_norm(x_t Wx + h Wr) gain + b;  i, f, o = sigmoid(z_i, z_f, z_o);  g = tanh(z_g)
    c' = f c + i g;  h' = o tanh(c')
layer_norm gives the 4*H numbers of a row mean 0 and variance 1 (v + epsilon under the root). An absent gain is 1, an absent bias 0.)",
       "Ba, Kiros and Hinton (2016)",
       4,
       {{"input_weights", "I,4*H"},
        {"recurrent_weights", "H,4*H"},
        {"gain", "4*H", true},
        {"biases", "4*H", true}},
       {"h", "c"},
       lstm_layer_norm_step,
       {kEpsilon},
       {{{2, 8}}, {{2, 8}}, {{8}}, {{8}}},
       R"(// At once, on tensors: with weights of 0 all gates are one half and the candidate is 0.
auto now = rnn::lstm_layer_norm(Tensor(f32, {1, 1, 3}), {.c_last = Tensor::full(f32, {1, 2}, 1)},
                                {.input_weights = Tensor(f32, {3, 8}),
                                 .recurrent_weights = Tensor(f32, {2, 8})});
// now.last_c: {0.5, 0.5})",
       {{"Ba et al.",
         "normalise x Wx and h Wr apart, and the cell state before its tanh too; here the sum is "
         "normalised once, and the cell state is not"},
        {"TensorFlow LayerNormBasicLSTMCell",
         "normalises each gate for itself, and the cell state"},
        {"lstm_layer",
         "the same without the normalisation; its biases stand inside, where here they come after "
         "it"}}},
      {"gru_layer_norm",
       R"(A GRU, the reset gate after the product, whose two products are normalised, each row of each together. Columns r, u, c:
    a = layer_norm(x_t Wx) gain_x + b;  s = layer_norm(h Wr) gain_h + b_h
    r, u = sigmoid(a_r + s_r, a_u + s_u);  c = tanh(a_c + r s_c);  h' = u h + (1 - u) c
u = 1 keeps the old state. An absent gain is 1, absent biases are 0.)",
       "Ba, Kiros and Hinton (2016); reset after the product: cuDNN",
       3,
       {{"input_weights", "I,3*H"},
        {"recurrent_weights", "H,3*H"},
        {"input_gain", "3*H", true},
        {"recurrent_gain", "3*H", true},
        {"biases", "3*H", true},
        {"recurrent_biases", "3*H", true}},
       {"h"},
       gru_layer_norm_step,
       {kEpsilon},
       {{{2, 6}}, {{2, 6}}, {{6}}, {{6}}, {{6}}, {{6}}},
       R"(// At once, on tensors: with weights of 0 the gates are one half and the candidate is 0.
auto now = rnn::gru_layer_norm(Tensor(f32, {1, 1, 3}), {.h_last = Tensor::full(f32, {1, 2}, 1)},
                               {.input_weights = Tensor(f32, {3, 6}),
                                .recurrent_weights = Tensor(f32, {2, 6})});
// now.last_h: {0.5, 0.5})",
       {{"Ba et al.",
         "normalise the gates and the candidate apart; here the 3*H numbers of each product "
         "together"},
        {"gru_layer",
         "one bias, none inside of the reset product, and no normalisation; its default resets "
         "before the product"},
        {"PyTorch, Keras", "have none; PyTorch's z and n are u and c here"}}},
      {"min_gru",
       R"(A GRU whose gates do not see the state, so that all products are made at once, before the loop. Columns z, h:
    z, n = x_t W + b;  h' = (1 - sigmoid(z)) h + sigmoid(z) n
z = 0 keeps the old state, the other way round than u of gru. The candidate n has no activation.)",
       "Feng et al., Were RNNs all we needed? (2024)",
       2,
       {{"input_weights", "I,2*H"}, {"biases", "2*H", true}},
       {"h"},
       min_gru_step,
       {},
       {{{2, 4}}, {{4}}},
       R"(// At once, on tensors: with weights of 0 half of the state stays.
auto now = rnn::min_gru(Tensor(f32, {2, 1, 3}), {.h_last = Tensor::full(f32, {1, 1}, 1)},
                        {.input_weights = Tensor(f32, {3, 2})});
// now.y: {0.5, 0.25})",
       {{"the paper's log-space form",
         "passes n through g(n) = n + 0.5 for n >= 0, else sigmoid(n), to take logarithms; here n "
         "stays as it is"},
        {"minimal gated unit (Zhou et al., 2016)",
         "another cell of a similar name: its gate sees the state"}}},
      {"min_lstm",
       R"(An LSTM whose gates do not see the state and are scaled to add up to 1; all products are made at once, before the loop. Columns f, i, h:
    f, i, n = x_t W + b;  k = sigmoid(f) / (sigmoid(f) + sigmoid(i));  h' = k h + (1 - k) n
There is one state and no output gate. The candidate n has no activation.)",
       "Feng et al., Were RNNs all we needed? (2024)",
       3,
       {{"input_weights", "I,3*H"}, {"biases", "3*H", true}},
       {"h"},
       min_lstm_step,
       {},
       {{{2, 6}}, {{6}}},
       R"(// At once, on tensors: with weights of 0 half of the state stays.
auto now = rnn::min_lstm(Tensor(f32, {2, 1, 3}), {.h_last = Tensor::full(f32, {1, 1}, 1)},
                         {.input_weights = Tensor(f32, {3, 3})});
// now.y: {0.5, 0.25})",
       {{"the paper's log-space form",
         "passes n through g(n), as with min_gru; here n stays as it is"},
        {"lstm_layer",
         "has a cell state beside the output, gates that see the last output, and an output "
         "gate"}}},
      {"ind_rnn",
       R"(Units that each see their own state alone, through one number u each:
    h' = act(x_t W + u h + b), act relu (the default) or tanh
Stacks of it are deep without vanishing gradients when |u| stays at or below 1.)",
       "Li et al., Independently recurrent neural network (2018)",
       1,
       {{"input_weights", "I,H"}, {"recurrent_weights", "H"}, {"biases", "H", true}},
       {"h"},
       ind_rnn_step,
       {{"activation",
         "RELU",
         "act in the formula",
         {rnn::kIndRNNActivationNames.begin(), rnn::kIndRNNActivationNames.end()}}},
       // Far from the kink of relu at 0.
       {{{2, 2}, 0.1, 1}, {{2}, 0.1, 1}, {{2}, 1, 2}},
       R"(// At once, on tensors:
auto now = rnn::ind_rnn(Tensor::full(f32, {2, 1, 1}, 1), {},
                        {.input_weights = Tensor::full(f32, {1, 1}, 1),
                         .recurrent_weights = Tensor::full(f32, {1}, 2)});
// now.y: {1, 3})",
       {{"sru_cell", "gates as well, and a highway around them"},
        {"rnn, modes rnn_relu and rnn_tanh", "multiply the state with a matrix"}}},
  };
  return kRows;
}

std::string signature_of(const Row& row, const Attributes* a) {
  const std::string format = a == nullptr ? "TNS" : a->text("data_format");
  const std::string mode = a == nullptr ? "FWD" : a->text("direction_mode");
  const std::string d = a != nullptr && bidirectional(*a) ? "2," : "";
  std::string s = "x" + sequence_axes(format, "I");
  for (const Weight& w : row.weights)
    s += cat(", ", w.name, "[", d, w.axes, "]", w.optional ? "?" : "");
  s += ", lengths[B]:int?!";
  for (const std::string& state : row.states) s += cat(", ", state, "_last[", d, "B,H]?");
  s += " -> y" + (mode == "BIDIR_EXTRA_DIM"
                      ? std::string("[T,2,B,H]")
                      : sequence_axes(format, mode == "BIDIR_CONCAT" ? "2*H" : "H"));
  for (const std::string& state : row.states) s += cat(", last_", state, "[", d, "B,H]");
  return s;
}

void check_formats(const InferContext& c) {
  const std::string &format = c.attributes().text("data_format"),
                    &mode = c.attributes().text("direction_mode");
  if (mode == "BIDIR_EXTRA_DIM" && format != "TNS")
    c.refuse("data_format", "direction",
             "BIDIR_EXTRA_DIM gives y[T,2,B,H] and needs data_format TNS, got ", format);
}

Dim hidden_size(const Row& row, const Call& c) {
  return *c[row.weights[0].name].dim(-1).divided_by(row.gates);
}

template <class E, size_t N>
E value_of(const std::array<std::string_view, N>& names, const std::string& name) {
  return static_cast<E>(std::find(names.begin(), names.end(), name) - names.begin());
}

Vars lower(const Row& row, const Call& c) {
  const bool both = bidirectional(c.attributes());
  const auto format = value_of<RnnDataFormat>(kRnnDataFormatNames, c.text("data_format"));
  const auto half = [&](const Var& v, int64_t d) { return both ? direction_of(v, d) : v; };
  rnn::Cell cells[2];
  Vars init[2];
  for (const int64_t d : {0, 1}) {
    if (d == 1 && !both) break;
    Vars weights;
    for (const Weight& w : row.weights) weights.push_back(half(c[w.name], d));
    cells[d] = [&c, &row, weights](const Var& x, const Vars& s) {
      return row.step(c, weights, x, s);
    };
    for (const std::string& state : row.states) {
      const Var first = half(c[state + "_last"], d);
      init[d].push_back(first ? first : rnn::zero_state(c["x"], hidden_size(row, c), format));
    }
  }
  const rnn::LayerResult r = run_layer(
      row.name, c["x"], init[0], cells[0],
      {.lengths = c["lengths"],
       .data_format = format,
       .direction_mode = value_of<LSTMDirectionMode>(kDirectionNames, c.text("direction_mode")),
       .backward = cells[1],
       .backward_init = init[1]},
      Site::here());
  Vars results{r.y};
  results.insert(results.end(), r.last.begin(), r.last.end());
  return results;
}

const char kShared[] = R"(
x is [T,B,I] (TNS), [B,T,I] (NTS) or [B,I,T] (NST), y in the same layout. lengths [B], each in [0, T]; none = T. An absent first state
is 0. Past a row's end y is 0 and x is never read; a row of length 0 keeps its first state. BWD, and the backward half of the BIDIR
modes, start at each row's own last step. In the BIDIR modes weights, first and last states have a leading axis of 2: forward,
backward; y is their sum, [..,2*H] (BIDIR_CONCAT) or [T,2,B,H] (BIDIR_EXTRA_DIM, TNS only).)";

std::string example_of(const Row& row) {
  return cat(R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var lengths = g.placeholder("lengths", i32, {"B"});
auto weights = rnn::)",
             row.name, R"(_weights(g, "layer", 12, 64);
auto r = rnn::)",
             row.name, R"((x, {.lengths = lengths}, weights);
// r.y: [T,B,64]; r.last_h: [B,64]

)",
             row.example);
}

std::vector<Sample> samples_of(const Row& row) {
  const Sample::Input lengths{{3}, 0, 0, i32, {4, 0, 2}};
  // x, weights, lengths and first states; of a bidirectional layer, and without what is optional.
  const auto make = [&](Dims x, bool both, bool whole, Attributes attributes, std::string label) {
    Sample s{{{std::move(x), 0.1, 1}}, std::move(attributes), std::move(label)};
    for (size_t k = 0; k < row.weights.size(); ++k) {
      Sample::Input w = row.sample[k];
      if (both) w.dims.insert(w.dims.begin(), 2);
      s.inputs.push_back(whole || !row.weights[k].optional ? w : absent());
    }
    s.inputs.push_back(whole ? lengths : absent());
    for (size_t k = 0; k < row.states.size(); ++k)
      s.inputs.push_back(whole ? Sample::Input{both ? Dims{2, 3, 2} : Dims{3, 2}, 0.1, 1}
                               : absent());
    return s;
  };
  return {
      make({4, 3, 2}, false, true, {}, "lengths, first states"),
      make({3, 4, 2}, true, true, {{"data_format", "NTS"}, {"direction_mode", "BIDIR_CONCAT"}},
           "both directions, batch first"),
      make({3, 2, 4}, false, true, {{"data_format", "NST"}, {"direction_mode", "BWD"}}, "backward"),
      make({3, 3, 2}, false, false, {}, "nothing optional")};
}

std::vector<RefusedCall> refusals_of(const Row& row) {
  Sample length = samples_of(row)[0], format = samples_of(row)[1];
  length.inputs[1 + row.weights.size()].values = {5, 0, 2};
  format.attributes.set("direction_mode", "BIDIR_EXTRA_DIM");
  return {{"lengths.range", length, "a length is negative, or more than T"},
          {"data_format.direction", format, "BIDIR_EXTRA_DIM in another format than TNS"}};
}

}  // namespace

void register_cell_layers(OpRegistry& r) {
  for (const Row& row : rows()) {
    OpDef op{.name = row.name,
             .sig = signature_of(row, nullptr),
             .doc = row.doc + kShared,
             .source = row.source,
             .example = example_of(row),
             .differs = row.differs,
             .attributes = row.attributes,
             .sig_of = [&row](const Attributes& a) { return signature_of(row, &a); },
             .check = check_formats,
             .lower = [&row](const Call& c) { return lower(row, c); },
             .samples = samples_of(row),
             .refuses = refusals_of(row)};
    op.attributes.push_back({"data_format",
                             "TNS",
                             "layout of x and y",
                             {kRnnDataFormatNames.begin(), kRnnDataFormatNames.end()}});
    op.attributes.push_back({"direction_mode",
                             "FWD",
                             "direction, or how two are joined",
                             {kDirectionNames.begin(), kDirectionNames.end()}});
    r.add(std::move(op));
  }
}

}  // namespace rondo
