#include <algorithm>
#include <cmath>
#include <numeric>

#include "bench_cells.h"

#include <rondo/rondo.h>

namespace rondo::tool {
namespace {

// Weights of a cell in primitives: products of x and of the state, and vectors.
struct CellWeights {
  Var wx, wh, b, extra;
};

using CellStep = rnn::Step (*)(const CellWeights& w, const Var& x, const Vars& s);

struct BenchCell {
  const char* name;
  int64_t gates;
  int64_t states;  // each [B,H]
  bool recurrent;  // has weights [H,gates*H]
  int64_t extra;   // rows of H numbers in CellWeights::extra
  CellStep step;
  Var (*fused)(const BenchModel& m, const Var& x, const Var& lengths, const std::string& name);
};

// ---- cells in primitives -----------------------------------------------------------------------

Vars gates_of(const Var& z, int64_t n) { return split(z, n, -1); }

rnn::Step lstm_of(const Vars& z, const Var& c) {
  const Var next = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2]);
  const Var h = sigmoid(z[3]) * tanh(next);
  return {h, {h, next}};
}
rnn::Step lstm(const CellWeights& w, const Var& x, const Vars& s) {
  return lstm_of(gates_of(matmul(x, w.wx) + matmul(s[0], w.wh) + w.b, 4), s[1]);
}
rnn::Step lstm_peephole(const CellWeights& w, const Var& x, const Vars& s) {
  const Vars z = gates_of(matmul(x, w.wx) + matmul(s[0], w.wh) + w.b, 4), p = gates_of(w.extra, 3);
  const Var c = sigmoid(z[1] + p[1] * s[1]) * s[1] + sigmoid(z[0] + p[0] * s[1]) * tanh(z[2]);
  const Var h = sigmoid(z[3] + p[2] * c) * tanh(c);
  return {h, {h, c}};
}
rnn::Step lstm_layer_norm(const CellWeights& w, const Var& x, const Vars& s) {
  const Var z = matmul(x, w.wx) + matmul(s[0], w.wh);
  return lstm_of(gates_of(nn::layer_norm(z, w.extra, w.b), 4), s[1]);
}
rnn::Step gru(const CellWeights& w, const Var& x, const Vars& s) {  // reset after the product
  const Vars a = gates_of(matmul(x, w.wx) + w.b, 3), u = gates_of(matmul(s[0], w.wh) + w.extra, 3);
  const Var r = sigmoid(a[0] + u[0]), z = sigmoid(a[1] + u[1]);
  const Var h = z * s[0] + (1 - z) * tanh(a[2] + r * u[2]);
  return {h, {h}};
}
rnn::Step gru_reset_before(const CellWeights& w, const Var& x, const Vars& s) {
  const Vars a = gates_of(matmul(x, w.wx) + w.b, 3), m = gates_of(w.wh, 3);
  const Var r = sigmoid(a[0] + matmul(s[0], m[0])), z = sigmoid(a[1] + matmul(s[0], m[1]));
  const Var h = z * s[0] + (1 - z) * tanh(a[2] + matmul(r * s[0], m[2]));
  return {h, {h}};
}
rnn::Step rnn_tanh(const CellWeights& w, const Var& x, const Vars& s) {
  const Var h = tanh(matmul(x, w.wx) + matmul(s[0], w.wh) + w.b);
  return {h, {h}};
}
rnn::Step rnn_relu(const CellWeights& w, const Var& x, const Vars& s) {
  const Var h = relu(matmul(x, w.wx) + matmul(s[0], w.wh) + w.b);
  return {h, {h}};
}
rnn::Step sru(const CellWeights& w, const Var& x, const Vars& s) {
  const Vars z = gates_of(matmul(x, w.wx) + w.b, 3);
  const Var f = sigmoid(z[1]), r = sigmoid(z[2]);
  const Var c = f * s[0] + (1 - f) * z[0];
  return {r * tanh(c) + (1 - r) * x, {c}};
}

[[noreturn]] void refuse_form(std::string_view why) {
  fail(Fault::kArgument, "bench.form.offered", "[bench] ", why);
}

// ---- the library's own layers -------------------------------------------------------------------

LSTMDirectionMode direction(const BenchModel& m) { return m.bidirectional ? BIDIR_CONCAT : FWD; }
int64_t features(const Var& x) { return x.shape().back().constant(); }

template <bool kPeepholes>
Var fused_lstm(const BenchModel& m, const Var& x, const Var& lengths, const std::string& name) {
  const auto w = rnn::lstm_layer_weights(x.graph(), name, features(x), m.hidden, direction(m),
                                         m.dtype, kPeepholes);
  return rnn::lstm_layer(x, {.max_ts_length = lengths}, w, {.direction_mode = direction(m)}).y;
}
Var fused_layer_norm(const BenchModel& m, const Var& x, const Var& lengths,
                     const std::string& name) {
  const auto w =
      rnn::lstm_layer_norm_weights(x.graph(), name, features(x), m.hidden, direction(m), m.dtype);
  return rnn::lstm_layer_norm(x, {.lengths = lengths}, w, {.direction_mode = direction(m)}).y;
}
template <rnn::RnnMode kMode>
Var fused_rnn(const BenchModel& m, const Var& x, const Var& lengths, const std::string& name) {
  const rnn::RnnConfig config{
      .state_size = m.hidden, .mode = kMode, .bidirectional = m.bidirectional};
  const Var h = fill(x.graph(), m.dtype, {m.directions(), m.batch, m.hidden}, 0);
  const Var w = rnn::rnn_parameters(x.graph(), name, features(x), config, m.dtype);
  return rnn::rnn(x, {.parameters = w, .state = h, .sequence_length = lengths}, config).output;
}
Var fused_gru_reset_before(const BenchModel& m, const Var& x, const Var& lengths,
                           const std::string& name) {
  if (lengths || m.bidirectional)
    refuse_form("gru_layer has neither lengths nor directions; --form scan has both");
  const auto w = rnn::gru_layer_weights(x.graph(), name, features(x), m.hidden, m.dtype);
  return rnn::gru_layer(x, rnn::zero_state(x, m.hidden), w);
}
Var fused_sru(const BenchModel& m, const Var& x, const Var& lengths, const std::string& name) {
  if (lengths || m.bidirectional)
    refuse_form("sru has neither lengths nor directions; --form scan has both");
  const auto w = rnn::sru_weights(x.graph(), name, m.hidden, m.dtype);
  const Var by_feature = transpose(x, {1, 2, 0});  // the op's own layout, [B,K,T]
  return transpose(rnn::sru(by_feature, rnn::zero_state(x, m.hidden), w).h, {2, 0, 1});
}

constexpr BenchCell kCells[] = {
    {"lstm", 4, 2, true, 0, lstm, fused_lstm<false>},
    {"gru", 3, 1, true, 3, gru, fused_rnn<rnn::RnnMode::gru>},
    {"rnn_tanh", 1, 1, true, 0, rnn_tanh, fused_rnn<rnn::RnnMode::rnn_tanh>},
    {"rnn_relu", 1, 1, true, 0, rnn_relu, fused_rnn<rnn::RnnMode::rnn_relu>},
    {"sru", 3, 1, false, 0, sru, fused_sru},
    {"lstm_peephole", 4, 2, true, 3, lstm_peephole, fused_lstm<true>},
    {"gru_reset_before", 3, 1, true, 0, gru_reset_before, fused_gru_reset_before},
    {"lstm_layer_norm", 4, 2, true, 4, lstm_layer_norm, fused_layer_norm},
};

const BenchCell& cell_named(const std::string& name) {
  const auto* it = std::find_if(std::begin(kCells), std::end(kCells),
                                [&](const BenchCell& c) { return c.name == name; });
  if (it == std::end(kCells))
    fail(Fault::kArgument, "bench.cell.unknown", "[bench] there is no cell \"", name, "\"");
  return *it;
}

// ---- the user's own -----------------------------------------------------------------------------

CellWeights weights_of(const BenchCell& c, const BenchModel& m, const Var& x,
                       const std::string& name) {
  Graph g = x.graph();
  const int64_t h = m.hidden, n = c.gates * h;
  const auto variable = [&](const char* what, const Dims& dims) {
    return g.variable(name + "/" + what, init::uniform(g, dims, -0.1, 0.1, m.dtype));
  };
  return {variable("wx", {features(x), n}), c.recurrent ? variable("wh", {h, n}) : Var(),
          variable("b", {n}), c.extra > 0 ? variable("extra", {c.extra * h}) : Var()};
}

Var scanned(const BenchCell& c, const BenchModel& m, const Var& x, const Var& lengths,
            const std::string& name) {
  const auto cell = [&c](const CellWeights& w) -> rnn::Cell {
    return [&c, w](Var in, Vars s) { return c.step(w, in, s); };
  };
  const Vars first(static_cast<size_t>(c.states), rnn::zero_state(x, m.hidden));
  rnn::LayerOptions options{.lengths = lengths, .direction_mode = direction(m)};
  if (m.bidirectional) options.backward = cell(weights_of(c, m, x, name + "/backward"));
  return rnn::layer(x, first, cell(weights_of(c, m, x, name)), options).y;
}

Var unrolled(const BenchCell& c, const BenchModel& m, const Var& x, const Var& lengths,
             const std::string& name) {
  if (lengths) refuse_form("--form unrolled has no lengths; --form scan has");
  const Vars xs = unstack(x);
  const auto run = [&](const std::string& of, bool backward) {
    const CellWeights w = weights_of(c, m, x, of);
    Vars ys(xs.size()), s(static_cast<size_t>(c.states), rnn::zero_state(x, m.hidden));
    for (size_t i = 0; i < xs.size(); ++i) {
      const size_t t = backward ? xs.size() - 1 - i : i;
      rnn::Step step = c.step(w, xs[t], s);
      ys[t] = step.output;
      s = std::move(step.state);
    }
    return stack(ys);
  };
  const Var forward = run(name, false);
  return m.bidirectional ? concat<Var>({forward, run(name + "/backward", true)}, -1) : forward;
}

}  // namespace

std::vector<std::string> bench_cells() {
  std::vector<std::string> r;
  for (const BenchCell& c : kCells) r.emplace_back(c.name);
  return r;
}

std::vector<int32_t> bench_lengths(const BenchModel& m) {
  std::vector<int32_t> r;
  for (int64_t i = 0; i < m.batch; ++i) {
    const double share = 0.25 + 0.75 * static_cast<double>(i + 1) / static_cast<double>(m.batch);
    const auto n = static_cast<int64_t>(std::nearbyint(static_cast<double>(m.time) * share));
    r.push_back(static_cast<int32_t>(m.ragged ? std::max<int64_t>(1, n) : m.time));
  }
  return r;
}

BenchNetwork bench_network(const BenchModel& m) {
  const BenchCell& c = cell_named(m.cell);
  if (m.cell == "sru" && (m.input != m.hidden || (m.layers > 1 && m.bidirectional)))
    fail(Fault::kArgument, "bench.hidden.dim",
         "[bench] an sru's input must be as wide as its state, ", m.hidden, "; it is ",
         m.layers > 1 && m.bidirectional ? 2 * m.hidden : m.input);
  const bool stream = m.mode == BenchMode::stream;
  if (stream && (m.ragged || m.bidirectional || m.form == BenchForm::unrolled))
    refuse_form("a stream has no lengths, no other direction and no unrolled loop");
  BenchNetwork n;
  n.x = n.graph.placeholder("x", m.dtype, {stream ? Dim("T") : Dim(m.time), m.batch, m.input});
  if (m.ragged) n.lengths = n.graph.placeholder("lengths", i32, {m.batch});
  Var y = n.x;
  for (int64_t l = 0; l < m.layers; ++l) {
    const std::string name = cat(m.cell, l);
    switch (m.form) {
      case BenchForm::fused:
        y = c.fused(m, y, n.lengths, name);
        break;
      case BenchForm::scan:
        y = scanned(c, m, y, n.lengths, name);
        break;
      case BenchForm::unrolled:
        y = unrolled(c, m, y, n.lengths, name);
        break;
    }
  }
  n.fetches = {y};
  if (m.mode != BenchMode::train) return n;
  n.dy = n.graph.placeholder("dy", m.dtype, y.shape());
  Vars by = n.graph.trainable();
  by.insert(by.begin(), n.x);
  for (const Var& d : vjp({y}, {n.dy}, by)) n.fetches.push_back(d);
  return n;
}

double bench_flops(const BenchModel& m) {
  const BenchCell& c = cell_named(m.cell);
  const std::vector<int32_t> lengths = bench_lengths(m);
  const double rows = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  double per_row = 0;
  for (int64_t l = 0; l < m.layers; ++l) {
    const int64_t inputs = l == 0 ? m.input : m.directions() * m.hidden;
    per_row += static_cast<double>(m.directions() * (inputs + (c.recurrent ? m.hidden : 0))) *
               static_cast<double>(c.gates * m.hidden);
  }
  return 2 * rows * per_row * (m.mode == BenchMode::train ? 3 : 1);
}

}  // namespace rondo::tool
