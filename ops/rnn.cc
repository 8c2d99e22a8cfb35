#include <rondo/ops/rnn.h>

#include <array>
#include <cmath>

#include <rondo/graph/checked.h>
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

struct Mode {
  std::string_view name;
  int64_t gates;
};
constexpr std::string_view kClipMin = "lstm_state_clip_min", kClipMax = "lstm_state_clip_max";
constexpr std::array<Mode, 4> kModes{{{"rnn_relu", 1}, {"rnn_tanh", 1}, {"lstm", 4}, {"gru", 3}}};

int64_t gates_of(std::string_view mode) {
  for (const Mode& m : kModes) {
    if (m.name == mode) return m.gates;
  }
  fail_internal("unknown mode ", mode);
}

// The numbers that the packed layout depends on.
struct Sizes {
  int64_t layers, directions, hidden, recurrent, gates, projection;  // projection: 0 = none

  static Sizes of(int64_t layers, bool bidirectional, int64_t hidden, int64_t projection,
                  std::string_view mode) {
    return {layers,         bidirectional ? 2 : 1,
            hidden,         projection != 0 ? projection : hidden,
            gates_of(mode), projection};
  }
  static Sizes of(const Attributes& a) {
    return of(a.integer("num_layers"), a.flag("bidirectional"), a.integer("state_size"),
              projection_of(a), a.text("mode"));
  }
  static int64_t projection_of(const Attributes& a) {
    return a.has("projection_size") ? a.integer("projection_size") : 0;
  }
  int64_t rows() const { return checked_mul(gates, hidden); }
  int64_t width() const { return checked_mul(directions, recurrent); }  // of a layer's output
  // Elements of one (layer, direction)'s weights, for the first layer without the part that grows
  // with I.
  int64_t weights(bool first) const {
    int64_t n = checked_mul(rows(), recurrent);
    if (!first) n = checked_add(n, checked_mul(rows(), width()));
    return checked_add(n, checked_mul(projection, hidden));
  }
  int64_t per_input() const { return checked_mul(directions, rows()); }
  // N = per_input() * I + constant_part().
  int64_t constant_part() const {
    const int64_t all_weights = checked_add(weights(true), checked_mul(layers - 1, weights(false)));
    return checked_mul(directions,
                       checked_add(all_weights, checked_mul(checked_mul(2, layers), rows())));
  }
};

// Takes the packed vector apart, piece after piece.
class Unpacker {
 public:
  Unpacker(Var packed, Dim at) : packed_(std::move(packed)), at_(std::move(at)) {}
  Var take(const Shape& shape) {
    Dim n(1);
    for (const Dim& d : shape) n = n * d;
    const Dim end = at_ + n;
    const Var piece = slice(packed_, 0, at_, end);
    at_ = end;
    return shape.size() == 1 ? piece : reshape(piece, shape);
  }

 private:
  Var packed_;
  Dim at_;
};

struct Cell {
  Var wx, wh, wr, bx, bh;
};

struct Block {
  std::string_view name;
  Var Cell::* part;
};
constexpr Block kWx{"Wx", &Cell::wx}, kWh{"Wh", &Cell::wh}, kWr{"Wr", &Cell::wr},
    kBx{"bx", &Cell::bx}, kBh{"bh", &Cell::bh};

// The order of the packed vector: f(layer, direction, block, shape) for each block.
template <class F>
void for_each_block(const Sizes& z, const Dim& inputs, F&& f) {
  const auto cells = [&](auto&& visit) {
    for (int64_t l = 0; l < z.layers; ++l) {
      for (int64_t d = 0; d < z.directions; ++d) visit(l, d);
    }
  };
  cells([&](int64_t l, int64_t d) {
    f(l, d, kWx, Shape{z.rows(), l == 0 ? inputs : Dim(z.width())});
    f(l, d, kWh, Shape{z.rows(), z.recurrent});
    if (z.projection != 0) f(l, d, kWr, Shape{z.projection, z.hidden});
  });
  cells([&](int64_t l, int64_t d) {
    f(l, d, kBx, Shape{z.rows()});
    f(l, d, kBh, Shape{z.rows()});
  });
}

RecurrenceStep step(const Call& c, const Var& x, const Vars& s, const Cell& w) {
  const std::string& mode = c.text("mode");
  const Var& h = s[0];
  const Var a = matmul(x, w.wx, {.transpose_b = true}) + w.bx;
  const Var u = matmul(h, w.wh, {.transpose_b = true}) + w.bh;
  if (mode == "rnn_relu" || mode == "rnn_tanh") {
    const Var next = mode == "rnn_relu" ? relu(a + u) : tanh(a + u);
    return {.states = {next}, .ys = {next}};
  }
  if (mode == "gru") {
    const Vars ga = split(a, 3, -1), gu = split(u, 3, -1);
    const Var r = sigmoid(ga[0] + gu[0]);
    const Var z = sigmoid(ga[1] + gu[1]);
    const Var n = tanh(ga[2] + r * gu[2]);
    const Var next = (1 - z) * n + z * h;
    return {.states = {next}, .ys = {next}};
  }
  const Vars gates = split(a + u, 4, -1);
  Var cell = sigmoid(gates[1]) * s[1] + sigmoid(gates[0]) * tanh(gates[2]);
  const double low = c.number("lstm_state_clip_min"), high = c.number("lstm_state_clip_max");
  if (std::isfinite(low)) {
    if (c.flag("lstm_state_clip_nan")) cell = where(not_equal(cell, cell), low, cell);
    cell = clip(cell, low, high);
  }
  Var next = sigmoid(gates[3]) * tanh(cell);
  if (w.wr) next = matmul(next, w.wr, {.transpose_b = true});
  return {.states = {next, cell}, .ys = {next}};
}

Vars lower_rnn(const Call& c) {
  const Sizes z = Sizes::of(c.attributes());
  const bool lstm = c.text("mode") == "lstm";
  Var x = c["data"];
  const Dim steps = x.dim(0), rows = x.dim(1), inputs = x.dim(2);
  Var lengths = c["sequence_length"];
  if (lengths) lengths = nn::check_range(lengths, 1, steps, "rnn.sequence_length", "T of data");

  std::vector<Cell> cells(static_cast<size_t>(z.layers * z.directions));
  Unpacker packed(c["parameters"], 0);
  for_each_block(z, inputs, [&](int64_t l, int64_t d, const Block& b, const Shape& shape) {
    cells[static_cast<size_t>(l * z.directions + d)].*b.part = packed.take(shape);
  });

  const auto state_row = [](const Var& all, int64_t k) {
    return squeeze(slice(all, 0, k, k + 1), 0);
  };
  Vars last_h, last_c;
  for (int64_t l = 0; l < z.layers; ++l) {
    if (l > 0) {
      if (const Var& mask = c["dropout_mask"]) {
        x = x * squeeze(slice(mask, 0, l - 1, l), 0);
      } else if (c.number("p") > 0) {
        x = apply(
            "dropout", {x},
            {{"rate", c.number("p")}, {"stream", checked_add(c.integer("stream"), l - 1)}})[0];
      }
    }
    Vars outputs;
    for (int64_t d = 0; d < z.directions; ++d) {
      const int64_t k = l * z.directions + d;
      RecurrenceInputs in{.states = {state_row(c["state"], k)},
                          .xs = {x},
                          .end = lengths,
                          .reverse = d == 1,
                          .origin = "rnn"};
      if (lstm) in.states.push_back(state_row(c["state_cell"], k));
      const RecurrenceResult r = recurrence(in, [&](const Vars& s, const Vars& xs, const Vars&) {
        return step(c, xs[0], s, cells[static_cast<size_t>(k)]);
      });
      outputs.push_back(r.ys[0]);
      last_h.push_back(expand_dims(r.finals[0], 0));
      if (lstm) last_c.push_back(expand_dims(r.finals[1], 0));
    }
    x = outputs.size() == 1 ? outputs[0] : concat(outputs, -1);
  }
  const bool states = c.flag("state_outputs");
  return {x, states ? concat(last_h, 0) : Var(), states && lstm ? concat(last_c, 0) : Var()};
}

std::vector<FixedLetter> rnn_letters(const Attributes& a) {
  const Sizes z = Sizes::of(a);
  const bool projected = z.projection != 0;
  return {{"L", z.layers, "num_layers"},
          {"D", z.directions, cat("bidirectional = ", a.flag("bidirectional") ? "true" : "false")},
          {"G", z.gates, "mode " + a.text("mode")},
          {"H", z.hidden, "state_size"},
          {"R", z.recurrent, projected ? "projection_size" : "state_size"},
          {"P", z.projection, projected ? "projection_size" : "no projection_size"}};
}

void check_rnn(const InferContext& c) {
  const Attributes& a = c.attributes();
  const std::string& mode = a.text("mode");
  const bool lstm = mode == "lstm";
  if (!lstm && c.has(3))
    c.refuse("state_cell", "mode", "mode ", mode, " has no cell state, but state_cell was given");
  if (lstm && !c.has(3))
    c.refuse("state_cell", "missing", "mode lstm has a cell state, but state_cell was not given");
  if (a.number("p") >= 1)
    c.refuse("p", "range", "p is ", a.number("p"),
             ", but must be below 1: with 1 nothing would be kept");
  const int64_t p = Sizes::projection_of(a);
  if (p != 0 && !lstm)
    c.refuse("projection_size", "mode", "projection_size is ", p,
             ", but only mode lstm has a projection, not ", mode);
  if (p > a.integer("state_size"))
    c.refuse("projection_size", "range", "projection_size is ", p,
             ", but must be at most state_size = ", a.integer("state_size"));
  const double low = a.number("lstm_state_clip_min"), high = a.number("lstm_state_clip_max");
  const bool has_low = std::isfinite(low), has_high = std::isfinite(high);
  const std::string_view one = has_low ? kClipMin : kClipMax;
  if ((has_low || has_high) && !lstm)
    c.refuse(one, "mode", one, " is ", has_low ? low : high,
             ", but only mode lstm has a cell state to clip, not ", mode);
  if (has_low != has_high) {
    const std::string_view other = has_low ? kClipMax : kClipMin;
    c.refuse(other, "missing", one, " is ", has_low ? low : high, ", but ", other,
             " was not given: both or neither");
  }
  if (has_low && low > high)
    c.refuse(kClipMax, "range", kClipMax, " is ", high, ", but must be at least ", kClipMin, " = ",
             low);
  if (a.flag("use_sequence_length") != c.has(4)) {
    c.refuse("sequence_length", "use", "use_sequence_length is ",
             a.flag("use_sequence_length") ? "true" : "false", ", but sequence_length was ",
             c.has(4) ? "" : "not ", "given");
  }
  if (c.has(0) && c[0].shape.size() == 3) {
    constexpr std::string_view kAxes[] = {"T", "B", "I"};
    for (size_t i = 0; i < 3; ++i) {
      if (c[0].shape[i] == Dim(0))
        c.refuse("data", "empty", "data has shape ", to_string(c[0].shape), ", but ", kAxes[i],
                 " of data[T,B,I] must be at least 1");
    }
  }
}

std::vector<ValueType> infer_rnn(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, true);
  r[1].present = c.attributes().flag("state_outputs");
  r[2].present = r[1].present && c.attributes().text("mode") == "lstm";
  return r;
}

std::vector<Alias> rnn_aliases() {
  std::vector<Alias> r{{"MXNet", "RNN", ""}};
  for (const char* same : {"data",
                           "parameters",
                           "state",
                           "state_cell",
                           "sequence_length",
                           "dropout_mask",
                           "output",
                           "state_output",
                           "statecell_output",
                           "state_size",
                           "num_layers",
                           "mode",
                           "bidirectional",
                           "state_outputs",
                           "p",
                           "projection_size",
                           "use_sequence_length",
                           "lstm_state_clip_min",
                           "lstm_state_clip_max",
                           "lstm_state_clip_nan"}) {
    r.push_back({"MXNet", same, same});
  }
  return r;
}

std::vector<Sample> rnn_samples() {
  const Sample::Input none{{}, 0, 0, f64, {}, true};
  const Sample::Input lengths{{2}, 0, 0, i32, {3, 1}};
  // N = D G H (I + R + 2) + (L-1) D G H (D R + R + 2) [+ P H L D]
  return {{{{{3, 2, 2}}, {{12}}, {{1, 2, 2}}, none, none, none},
           {{"state_size", 2}, {"num_layers", 1}, {"mode", "rnn_tanh"}, {"state_outputs", true}},
           "rnn_tanh"},
          {{{{3, 2, 2}}, {{3 * 2 * 6 * 2 + 3 * 2 * 8 * 2}}, {{4, 2, 2}}, none, lengths, none},
           {{"state_size", 2},
            {"num_layers", 2},
            {"mode", "gru"},
            {"bidirectional", true},
            {"use_sequence_length", true}},
           "gru, two layers, both directions, lengths"},
          {{{{3, 2, 2}}, {{4 * 3 * (2 + 2 + 2) + 2 * 3}}, {{1, 2, 2}}, {{1, 2, 3}}, none, none},
           {{"state_size", 3},
            {"num_layers", 1},
            {"mode", "lstm"},
            {"projection_size", 2},
            {"state_outputs", true},
            {"lstm_state_clip_min", -0.9},
            {"lstm_state_clip_max", 0.8}},
           "lstm, projection, clip"}};
}

std::vector<RefusedCall> rnn_refusals() {
  const std::vector<Sample> good = rnn_samples();
  const auto with = [&](size_t sample, Attributes more) {
    Sample s = good[sample];
    for (const auto& [name, value] : more.items()) s.attributes.set(name, value);
    return s;
  };
  constexpr size_t kTanh = 0, kGru = 1, kLstm = 2;
  Sample no_cell = good[kLstm], cell = good[kGru], no_steps = good[kTanh], length = good[kGru];
  no_cell.inputs[3].absent = true;
  cell.inputs[3] = {{4, 2, 2}};
  no_steps.inputs[0].dims = {0, 2, 2};
  length.inputs[4].values = {0, 1};
  return {{"state_cell.missing", no_cell, "mode is lstm, and there is no first cell state"},
          {"state_cell.mode", cell, "a first cell state is given, and mode is not lstm"},
          {"p.range", with(kTanh, {{"p", 1.0}}), "p is 1 or more: nothing would be kept"},
          {"projection_size.mode", with(kGru, {{"projection_size", 1}}),
           "there is a projection, and mode is not lstm"},
          {"projection_size.range", with(kLstm, {{"projection_size", 4}}),
           "it is larger than state_size"},
          {"lstm_state_clip_min.mode",
           with(kGru, {{"lstm_state_clip_min", -1.0}, {"lstm_state_clip_max", 1.0}}),
           "a bound of the cell state is given, and mode is not lstm"},
          {"lstm_state_clip_max.missing",
           with(kLstm, {{"lstm_state_clip_min", -1.0},
                        {"lstm_state_clip_max", rnn::RnnConfig::kUnbounded}}),
           "only one of the two bounds of the cell state is given"},
          {"lstm_state_clip_max.range",
           with(kLstm, {{"lstm_state_clip_min", 1.0}, {"lstm_state_clip_max", -1.0}}),
           "the upper bound of the cell state is below the lower one"},
          {"sequence_length.use", with(kGru, {{"use_sequence_length", false}}),
           "lengths are given and use_sequence_length is not set, or the other way round"},
          {"sequence_length.range", length, "a length is below 1, or more than T"},
          {"data.empty", no_steps, "T, B or I is 0"}};
}

}  // namespace

void register_rnn(OpRegistry& r) {
  constexpr double kInfinity = rnn::RnnConfig::kUnbounded;
  std::vector<std::string> modes;
  for (const Mode& m : kModes) modes.emplace_back(m.name);
  r.add(
      {.name = "rnn",
       .sig = "data[T,B,I], "
              "parameters[D*(G*H*(I+R+2)+(L-1)*G*H*(D*R+R+2)+L*P*H)], "
              "state[L*D,B,R], state_cell[L*D,B,H]?, sequence_length[B]:int?!, "
              "dropout_mask[L-1,T,B,D*R]?! -> output[T,B,D*R], state_output[L*D,B,R], "
              "statecell_output[L*D,B,H]",
       .doc =
           R"(Stacked recurrent layers, one or both directions, weights packed in one vector. With a = Wx x_t + bx, u = Wh h + bh, s = sigmoid:
    rnn_relu, rnn_tanh: h' = act(a + u)
    lstm (i, f, g, o):  c' = clip(s(a_f + u_f) c + s(a_i + u_i) tanh(a_g + u_g))
                        h' = s(a_o + u_o) tanh(c'), with projection h' = Wr (s(a_o + u_o) tanh(c'))
    gru (r, z, n):      r, z = s(a_r + u_r), s(a_z + u_z);  n = tanh(a_n + r u_n);  h' = (1 - z) n + z h
Layer 0 reads data, layer l the output of layer l - 1, both directions side by side (forward first), after dropout p in training runs.
z = 1 keeps the old state; r acts after the product, on its bias too. clip keeps c within lstm_state_clip_min and _max.

H = state_size; L = num_layers; D = 2 if bidirectional, else 1; G = 1, 4, 3 gates; P = projection_size, 0 without; R = P if given, else H.
Row l*D+d of the states is that of layer l, direction d. The vector holds for each layer and direction Wx[G*H,I'], Wh[G*H,R] and, with
projection, Wr[P,H], where I' is I for layer 0, else D*R; then for each bx[G*H], bh[G*H].

sequence_length is in [1, T], absent = T. Past the end of a row outputs are 0 and x is never read; the backward direction begins at the
row's end, with the first state. dropout_mask takes the place of drawn masks. state_cell and statecell_output are there in
mode lstm only, the states only with state_outputs.)",
       .source = "Apache MXNet 1.9.1, operator RNN; cuDNN",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var lengths = g.placeholder("lengths", i32, {"B"});
const rnn::RnnConfig config{.state_size = 64,
                            .num_layers = 2,
                            .mode = rnn::RnnMode::lstm,
                            .bidirectional = true,
                            .state_outputs = true,
                            .p = 0.2};
Var zeros = fill(g, f32, {4, "B", 64}, 0);  // a row for each layer and direction
auto lstm = rnn::rnn(x,
                     {.parameters = rnn::rnn_parameters(g, "rnn", 12, config),
                      .state = zeros,
                      .state_cell = zeros,
                      .sequence_length = lengths},
                     config);
// lstm.output: [T,B,128]; lstm.state_output: [4,B,64]

// At once, on tensors: a GRU with weights of 0, so that its gates are one half.
const rnn::RnnConfig gru{.state_size = 2, .mode = rnn::RnnMode::gru};
auto now = rnn::rnn(Tensor(f32, {2, 1, 3}),
                    {.parameters = Tensor(f32, {rnn::rnn_parameter_count(gru, 3)}),
                     .state = Tensor::full(f32, {1, 1, 2}, 1)},
                    gru);
// now.output: {0.5, 0.5, 0.25, 0.25})",
       .differs =
           {{"MXNet RNN",
             "the same function, and dropout_mask beside it. MXNet 1.9.1 on a CPU leaves out p, "
             "bounds and lengths in float32 and refuses bounds and lengths in float64; here they "
             "act"},
            {"gluon rnn.LSTM, rnn.GRU, rnn.RNN",
             "layout='NTC' is a transpose of x and of the output; first states are given here, "
             "where gluon makes zeros"},
            {"PyTorch LSTM, GRU, RNN",
             "the same cells, gates, biases and dropout (between layers only); there each layer "
             "has tensors of its own, whose order is not the packed one. batch_first=True is a "
             "transpose; bias=False is biases of 0; proj_size is projection_size"},
            {"cuDNN", "its canonical order of parameters is this one"},
            {"Keras, ONNX", "layers stand one by one; gates of the GRU are z, r, h there"},
            {"lstm_layer here",
             "takes rows of length 0 (and gives 0); here, as in MXNet, a row has at least one "
             "step. Backward there begins at each row's end too"}},
       .attributes = {{"state_size", 1, "H", {}, 1, {}, true},
                      {"num_layers", 1, "L", {}, 1, 4096, true},
                      {"mode", "lstm", "cell", modes, {}, {}, true},
                      {"bidirectional", false, "D = 2"},
                      {"state_outputs", false, "gives the final states"},
                      {"p", 0.0, "dropout between layers in training runs; below 1", {}, 0},
                      {"projection_size", 1, "P, lstm only, at most H", {}, 1, {}, false, true},
                      {"use_sequence_length", false, "sequence_length is given"},
                      {"lstm_state_clip_min", -kInfinity,
                       "lower bound of the cell state; -infinity = none"},
                      {"lstm_state_clip_max", kInfinity,
                       "upper bound of the cell state; infinity = none"},
                      {"lstm_state_clip_nan", false, "a NaN cell state becomes the lower bound"},
                      {"stream", 0, "random stream of the first dropout", {}, 0}},
       .aliases = rnn_aliases(),
       .asked = {{"state_output", "state_outputs"}, {"statecell_output", "state_outputs"}},
       .letters = rnn_letters,
       .infer = infer_rnn,
       .check = check_rnn,
       .lower = lower_rnn,
       .samples = rnn_samples(),
       .refuses = rnn_refusals()});
}

namespace rnn {
namespace {

std::string_view name_of(RnnMode m) {
  const auto i = static_cast<size_t>(m);
  if (i >= kModes.size())
    fail(Fault::kArgument, "rnn.mode.enum", "[rnn] mode is ", i, ", which is no name of RnnMode");
  return kModes[i].name;
}

Sizes sizes_of(const RnnConfig& c) {
  return Sizes::of(c.num_layers, c.bidirectional, c.state_size, c.projection_size, name_of(c.mode));
}

}  // namespace

template <Operable V>
RnnResult<V> rnn(V data, std::type_identity_t<RnnInputs<V>> in, RnnConfig config,
                 std::string_view name, Site at) {
  Attributes a{{"state_size", config.state_size},
               {"num_layers", config.num_layers},
               {"mode", name_of(config.mode)},
               {"bidirectional", config.bidirectional},
               {"state_outputs", config.state_outputs},
               {"p", config.p},
               {"use_sequence_length", static_cast<bool>(in.sequence_length)},
               {"lstm_state_clip_min", config.lstm_state_clip_min},
               {"lstm_state_clip_max", config.lstm_state_clip_max},
               {"lstm_state_clip_nan", config.lstm_state_clip_nan}};
  if (config.projection_size != 0) a.set("projection_size", config.projection_size);
  if constexpr (std::same_as<V, Var>) {
    if (config.p > 0 && config.num_layers > 1) {
      Graph g = data.graph();
      a.set("stream", g.next_stream());
      for (int64_t l = 2; l < config.num_layers; ++l) g.next_stream();
    }
  }
  auto r = apply("rnn",
                 std::vector<V>{data, in.parameters, in.state, in.state_cell, in.sequence_length,
                                in.dropout_mask},
                 a, {.name = std::string(name), .site = at});
  return {r[0], r[1], r[2]};
}
template RnnResult<Var> rnn(Var, RnnInputs<Var>, RnnConfig, std::string_view, Site);
template RnnResult<Tensor> rnn(Tensor, RnnInputs<Tensor>, RnnConfig, std::string_view, Site);

int64_t rnn_parameter_count(const RnnConfig& c, int64_t input_size) {
  const Sizes z = sizes_of(c);
  return checked_add(checked_mul(z.per_input(), input_size), z.constant_part());
}

std::vector<RnnBlock> rnn_parameter_blocks(const RnnConfig& c, int64_t input_size) {
  std::vector<RnnBlock> r;
  int64_t offset = 0;
  for_each_block(sizes_of(c), input_size,
                 [&](int64_t l, int64_t d, const Block& b, const Shape& shape) {
                   r.push_back({l, d, b.name, offset, *constant_dims(shape)});
                   offset = checked_add(offset, element_count(r.back().dims));
                 });
  return r;
}

Var rnn_parameters(Graph g, std::string_view name, int64_t input_size, const RnnConfig& c,
                   DType dtype, Site at) {
  const auto scope = g.scope(name);
  rnn_internal::check_layer_sizes(g, input_size, c.state_size);
  const Sizes z = sizes_of(c);
  const int64_t n = rnn_parameter_count(c, input_size);
  const int64_t biases = 2 * z.rows() * z.directions * z.layers;
  const double bound = 1 / std::sqrt(static_cast<double>(c.state_size));
  const Tensor weights = init::uniform(g, {n - biases}, -bound, bound, dtype);
  Tensor all(dtype, {n});
  dispatch(dtype, [&]<class T>() {
    std::copy_n(weights.data<T>(), weights.size(), all.mutable_data<T>());
  });
  return g.variable("parameters", all, true, at);
}

}  // namespace rnn
}  // namespace rondo
