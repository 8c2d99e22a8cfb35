// Loops over time by oneDNN's primitives: which cells are found to be one of its own, that they
// give what the reference gives, however their weights lie, and that all others are left to the
// engine.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "trained_lstm.h"

#include <rondo/backends/cpu/isa.h>
#include <rondo/rondo.h>
#include <rondo/runtime/backend.h>
#include <rondo/runtime/recurrence_steps.h>

namespace rondo::test {
namespace {

constexpr const char* kKernel = "cpu.recurrence.onednn";

bool is_built() {
  const std::vector<KernelName> all = kernels_of_plans("cpu");
  return std::any_of(all.begin(), all.end(), [](const KernelName& k) { return k.name == kKernel; });
}

// What a step is written with. Matrices are made when they are asked for; the same name is the same
// variable.
struct Weights {
  Graph g;
  int64_t input, hidden;
  Var get(const std::string& name, const Dims& dims) const {
    if (g.has(name)) return g.find(name);
    const double most = std::min(0.3, 1.5 / std::sqrt(static_cast<double>(hidden)));
    return Graph(g).variable(name,
                             draw(dims, f32, -most, most, std::hash<std::string>{}(name) % 97));
  }
  Var wx(int64_t gates) const { return get("wx", {input, gates * hidden}); }
  Var wr(int64_t gates) const { return get("wr", {hidden, gates * hidden}); }
  Var b(int64_t gates, const std::string& name = "b") const { return get(name, {gates * hidden}); }
};

using Step = std::function<RecurrenceStep(const Vars& s, const Var& x, const Weights& w)>;
struct Cell {
  const char* name;
  size_t states;
  Step step;
};

RecurrenceStep lstm_of(const Var& i, const Var& f, const Var& g, const Var& o, const Var& last) {
  const Var c = sigmoid(f) * last + sigmoid(i) * tanh(g);
  const Var h = sigmoid(o) * tanh(c);
  return {{h, c}, {h}};
}
RecurrenceStep gru_of(const Var& u, const Var& candidate, const Var& last) {
  const Var gate = sigmoid(u);
  const Var h = gate * last + (1 - gate) * tanh(candidate);
  return {{h}, {h}};
}

const Cell kCells[] = {
    {"LSTM, gates i f g o", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)) + w.b(4), 4, 1);
       return lstm_of(z[0], z[1], z[2], z[3], s[1]);
     }},
    {"LSTM, gates o g f i, c before h, no bias, turned matrices", 2,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Var wx = w.get("wxt", {4 * w.hidden, w.input}),
                 wr = w.get("wrt", {4 * w.hidden, w.hidden});
       const Vars z = split(
           matmul(s[1], wr, {.transpose_b = true}) + matmul(x, wx, {.transpose_b = true}), 4, 1);
       const Var c = tanh(z[1]) * sigmoid(z[3]) + s[0] * sigmoid(z[2]);
       const Var h = tanh(c) * sigmoid(z[0]);
       return {{c, h}, {h}};
     }},
    {"LSTM, products split apart, three biases", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars a = split(matmul(x, w.wx(4)) + w.b(4), 4, 1);
       const Vars r = split(w.b(4, "b2") + matmul(s[0], w.wr(4)), 4, 1);
       return lstm_of(a[1] + r[2], r[0] + a[0], a[2] + r[3], a[3] + r[1] + w.b(1, "bo"), s[1]);
     }},
    {"LSTM, a matrix for each gate", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       Vars z;
       for (const char* gate : {"i", "f", "g", "o"})
         z.push_back(matmul(x, w.get(cat("x", gate), {w.input, w.hidden})) +
                     matmul(s[0], w.get(cat("h", gate), {w.hidden, w.hidden})));
       return lstm_of(z[0], z[1], z[2], z[3], s[1]);
     }},
    {"GRU, reset before the product", 1,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars a = split(matmul(x, w.wx(3)) + w.b(3), 3, 1);
       const Vars r = split(w.wr(3), 3, 1);
       const Var reset = sigmoid(a[0] + matmul(s[0], r[0]));
       return gru_of(a[1] + matmul(s[0], r[1]), a[2] + matmul(reset * s[0], r[2]), s[0]);
     }},
    {"GRU, reset after the product, a bias inside", 1,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars a = split(matmul(x, w.wx(3)) + w.b(3), 3, 1);
       const Vars r = split(matmul(s[0], w.wr(3)) + w.b(3, "b2"), 3, 1);
       return gru_of(r[0] + a[0], sigmoid(a[1] + r[1]) * r[2] + a[2], s[0]);
     }},
    {"tanh", 1,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Var h = tanh(matmul(x, w.wx(1)) + matmul(s[0], w.wr(1)) + w.b(1));
       return {{h}, {h}};
     }},
};

struct Size {
  int64_t steps, rows, input, hidden;
};

// A cell over time, what it gives, and what it is fed.
struct Program {
  Graph g;
  RecurrenceResult r;
  Vars all;  // y, and the last states
  std::vector<Feed> feeds;
  Var x;
};
Program program(const Cell& cell, const Size& n, bool reverse = false, DType dtype = f32) {
  Program p;
  p.x = p.g.placeholder("x", dtype, {n.steps, n.rows, n.input});
  p.feeds.emplace_back(p.x, draw({n.steps, n.rows, n.input}, dtype, -1, 1, 3));
  RecurrenceInputs in{.xs = {p.x}, .reverse = reverse};
  for (size_t i = 0; i < cell.states; ++i) {
    in.states.push_back(p.g.placeholder(cat("s", i), dtype, {n.rows, n.hidden}));
    p.feeds.emplace_back(in.states[i], draw({n.rows, n.hidden}, dtype, -1, 1, 4 + i));
  }
  const Weights w{p.g, n.input, n.hidden};
  p.r = recurrence(
      in, [&](const Vars& s, const Vars& xs, const Vars&) { return cell.step(s, xs[0], w); });
  p.all = {p.r.ys[0]};
  p.all.insert(p.all.end(), p.r.finals.begin(), p.r.finals.end());
  return p;
}

std::vector<Tensor> reference(const Program& p, const Vars& asked) {
  return Session(p.g, {.backend = "reference", .optimize = false}, one_thread())
      .run(asked, p.feeds);
}
bool runs_on_it(const Program& p, const Vars& asked, CompileOptions o = {}) {
  o.kernel = kKernel;
  return Session(p.g, o).plan(asked)->bind({})->uses_kernel(kKernel);
}

// Sums of products, each rounded: of numbers of about 1.
constexpr double kNear = 4e-6;

void agrees(const Program& p, const Vars& asked) {
  CHECK(runs_on_it(p, asked));
  const std::vector<Tensor> want = reference(p, asked);
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 4}) {
    Session s(p.g, {.kernel = kKernel}, std::make_shared<ThreadTeam>(threads));
    const auto got = s.run(asked, p.feeds);
    if (first.empty()) first = got;
    for (size_t i = 0; i < asked.size(); ++i) {
      CHECK(distance(got[i], want[i]) < kNear);
      CHECK(got[i].same_bits(first[i]));
    }
  }
}

TEST_CASE("oneDNN's loops give what the reference gives, on any number of threads",
          "[recurrence][onednn]") {
  if (!is_built()) return;
  for (const Cell& cell : kCells) {
    for (const Size& n : {Size{7, 3, 5, 6},
                          {1, 1, 1, 1},
                          {1, 16, 12, 64},
                          {5, 33, 12, 20},
                          {3, 70, 7, 37},
                          {4, 96, 3, 16},
                          {40, 33, 4, 8},
                          {17, 64, 3, 5}}) {
      for (const bool reverse : {false, true}) {
        INFO(cell.name << ", T " << n.steps << ", B " << n.rows << ", I " << n.input << ", H "
                       << n.hidden << (reverse ? ", backwards" : ""));
        const Program p = program(cell, n, reverse);
        agrees(p, p.all);
      }
    }
  }
}

TEST_CASE("oneDNN's loops give only what is asked for", "[recurrence][onednn]") {
  if (!is_built()) return;
  for (const Cell& cell : kCells) {
    INFO(cell.name);
    const Program p = program(cell, {4, 35, 3, 5});
    for (const Var& one : p.all) agrees(p, {one});
    agrees(p, p.r.finals);
    agrees(p, {p.all[0], p.all.back()});
  }
}

TEST_CASE("oneDNN's loops take weights of wide cells as they lie", "[recurrence][onednn]") {
  if (!is_built()) return;
  for (const Cell& cell : kCells) {
    INFO(cell.name);
    const bool small = std::string(cell.name) == "tanh";  // of those, several calls
    const Program p = program(cell, {small ? 16 : 2, 33, 5, 768}, small);
    const Vars asked = p.all;
    CHECK(runs_on_it(p, asked));
    const auto want = reference(p, asked);
    const auto got = Session(p.g, {.kernel = kKernel}, one_thread()).run(asked, p.feeds);
    for (size_t i = 0; i < asked.size(); ++i) CHECK(distance(got[i], want[i]) < kNear);
  }
}

// Each has its own layout of the same variables, and follows their values.
TEST_CASE("oneDNN's loops share weights, and see new ones", "[recurrence][onednn]") {
  if (!is_built()) return;
  const Size n{3, 5, 4, 8};
  Program p = program(kCells[0], n);
  const Weights w{p.g, n.input, n.hidden};
  const Var x = p.g.placeholder("other x", f32, {n.steps, n.rows, n.input});
  p.feeds.emplace_back(x, draw({n.steps, n.rows, n.input}, f32, -1, 1, 8));
  const auto turned = [&](const Vars& s, const Vars& xs, const Vars&) {
    const Vars z = split(matmul(xs[0], w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
    return lstm_of(z[3], z[1], z[0], z[2], s[1]);
  };
  const Vars other = recurrence({.states = p.r.finals, .xs = {x}}, turned).ys;
  const Vars asked{p.all[0], other[0]};
  Session s(p.g, {.kernel = kKernel}, one_thread()),
      plain(p.g, {.backend = "reference", .optimize = false}, one_thread());
  const std::vector<StepInfo> steps = s.plan(asked)->bind({})->steps();
  CHECK(std::count_if(steps.begin(), steps.end(),
                      [](const StepInfo& step) { return step.kernel == kKernel; }) == 2);
  for (const double scale : {1.0, 0.7}) {
    for (Session* session : {&s, &plain})
      session->variables().commit(
          {{"wr", draw({n.hidden, 4 * n.hidden}, f32, scale - 1.2, scale - 0.8, 9)}});
    const auto got = s.run(asked, p.feeds), want = plain.run(asked, p.feeds);
    for (size_t i = 0; i < asked.size(); ++i) CHECK(distance(got[i], want[i]) < kNear);
  }
}

TEST_CASE("oneDNN's loops keep NaN in its row", "[recurrence][onednn]") {
  if (!is_built()) return;
  for (const Cell& cell : kCells) {
    INFO(cell.name);
    Program p = program(cell, {3, 5, 4, 16});
    Tensor x = draw({3, 5, 4}, f32, -1, 1, 3);
    x.mutable_data<float>()[(1 * 5 + 2) * 4] = std::numeric_limits<float>::quiet_NaN();
    p.feeds[0] = {p.x, x};
    const Tensor want = reference(p, {p.all[0]})[0];
    const Tensor got = Session(p.g, {.kernel = kKernel}, one_thread()).run(p.all[0], p.feeds);
    for (int64_t i = 0; i < want.size(); ++i) {
      INFO("element " << i);
      CHECK(std::isnan(got.at(i)) == std::isnan(want.at(i)));
    }
  }
}

// What is no cell of oneDNN's, by one op each.
const Cell kOthers[] = {
    {"peephole", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
       return lstm_of(z[0] + s[1] * w.b(1), z[1], z[2], z[3], s[1]);
     }},
    {"clip", 2,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
       const Var c = maximum(sigmoid(z[0]) * s[1] + sigmoid(z[1]) * tanh(z[2]), -0.5);
       const Var h = sigmoid(z[3]) * tanh(c);
       return {{h, c}, {h}};
     }},
    {"another activation", 2,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
       const Var c = sigmoid(z[0]) * s[1] + sigmoid(z[1]) * relu(z[2]);
       const Var h = sigmoid(z[3]) * tanh(c);
       return {{h, c}, {h}};
     }},
    {"y is c", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
       RecurrenceStep r = lstm_of(z[0], z[1], z[2], z[3], s[1]);
       r.ys = {r.states[1]};
       return r;
     }},
    {"y is more than h", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[0], w.wr(4)), 4, 1);
       RecurrenceStep r = lstm_of(z[0], z[1], z[2], z[3], s[1]);
       r.ys = {r.states[0] * s[0]};
       return r;
     }},
    {"the next h is no h", 2,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars z = split(matmul(x, w.wx(4)) + matmul(s[1], w.wr(4)), 4, 1);
       return lstm_of(z[0], z[1], z[2], z[3], s[1]);
     }},
    {"a gate without h", 1,
     [](const Vars& s, const Var& x, const Weights& w) {
       const Vars a = split(matmul(x, w.wx(3)), 3, 1);
       const Var wr = w.wr(1);
       return gru_of(a[0], a[2] + sigmoid(a[1] + matmul(s[0], wr)) * matmul(s[0], wr), s[0]);
     }},
    {"u keeps the new state", 1,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Vars a = split(matmul(x, w.wx(3)), 3, 1);
       const Vars r = split(matmul(s[0], w.wr(3)), 3, 1);
       const Var u = sigmoid(a[0] + r[0]);
       const Var h = (1 - u) * s[0] + u * tanh(a[2] + sigmoid(a[1] + r[1]) * r[2]);
       return {{h}, {h}};
     }},
    {"another gate's rest", 1,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Vars a = split(matmul(x, w.wx(3)), 3, 1);
       const Vars r = split(matmul(s[0], w.wr(3)), 3, 1);
       const Var reset = sigmoid(a[1] + r[1]);
       const Var h = sigmoid(a[0] + r[0]) * s[0] + (1 - reset) * tanh(a[2] + reset * r[2]);
       return {{h}, {h}};
     }},
    {"relu, of which oneDNN makes 0 where it is NaN", 1,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Var h = relu(w.b(1) + matmul(s[0], w.wr(1)) + matmul(x, w.wx(1)));
       return {{h}, {h}};
     }},
    {"two products with x", 1,
     [](const Vars& s, const Var& x, const Weights& w) -> RecurrenceStep {
       const Var h = tanh(matmul(x, w.wx(1)) + matmul(s[0], w.wr(1)) +
                          matmul(x, w.get("wx2", {w.input, w.hidden})));
       return {{h}, {h}};
     }},
};

TEST_CASE("loops that are none of oneDNN's are left to others", "[recurrence][onednn]") {
  if (!is_built()) return;
  const Size n{4, 3, 5, 6};
  for (const Cell& cell : kOthers) {
    INFO(cell.name);
    const Program p = program(cell, n);
    CHECK_FALSE(runs_on_it(p, p.all));
    const auto want = reference(p, p.all);
    const auto got = Session(p.g, {.kernel = kKernel}, one_thread()).run(p.all, p.feeds);
    for (size_t i = 0; i < want.size(); ++i) CHECK(distance(got[i], want[i]) < kNear);
  }
}

TEST_CASE("calls that oneDNN's loops do not take are left to others", "[recurrence][onednn]") {
  if (!is_built()) return;
  const Size n{4, 3, 5, 6};
  for (const Cell& cell : kCells) {
    INFO(cell.name);
    const Program p = program(cell, n);
    CHECK(runs_on_it(p, p.all));
    CHECK_FALSE(runs_on_it(p, p.all, {.precision = Precision::bf16}));
    CHECK_FALSE(runs_on_it(p, p.all, {.precision = Precision::int8}));
    Vars trained = p.all;
    for (const Var& d : gradients(sum(square(p.all[0])), p.g.trainable())) trained.push_back(d);
    CHECK_FALSE(runs_on_it(p, trained));
    CHECK_FALSE(runs_on_it(p, {p.all[0], p.r.trajectories[0]}));

    const Program none = program(cell, {0, 3, 5, 6});
    CHECK_FALSE(runs_on_it(none, none.all));
    const auto want = reference(none, none.r.finals);
    const auto got = Session(none.g, {.kernel = kKernel}).run(none.r.finals, none.feeds);
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
  }
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 4}), lengths = g.placeholder("n", i32, {"B"});
  const rnn::LSTMLayerWeights w = rnn::lstm_layer_weights(g, "l", 4, 8, FWD, f32);
  Session s(g, {.kernel = kKernel});
  const auto taken = [&](const Var& y, const Binding& b) {
    return s.plan({y})->bind(b)->uses_kernel(kKernel);
  };
  const Var ragged = rnn::lstm_layer(x, {.max_ts_length = lengths}, w).y;
  const Var full = rnn::lstm_layer(x, {}, w).y;
  CHECK_FALSE(taken(ragged, {{"T", 3}, {"B", 2}}));
  CHECK(taken(full, {{"T", 3}, {"B", 2}}));
  CHECK_FALSE(taken(full, {{"T", 3}, {"B", 0}}));
}

}  // namespace
}  // namespace rondo::test
