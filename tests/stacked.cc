// Layers upon each other: their order, residual connections and dropout between them; and a
// function at each step.
#include <rondo/ops/stacked.h>

#include <cmath>
#include <limits>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/gru.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/layer.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/nn.h>

namespace rondo::test {
namespace {

using rnn::LayerFunction;
using rnn::stacked;
using rnn::time_distributed;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Var itself(Var x) { return x; }

LayerFunction times(double factor) {
  return [factor](Var x) { return x * factor; };
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims() == b.dims());
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a.at(i) - b.at(i));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

// h' = tanh(x w + h u), over the steps of each row.
LayerFunction elman(const Var& w, const Var& u, const Var& lengths = {},
                    LSTMDirectionMode mode = FWD) {
  return [=](Var x) {
    const rnn::Cell cell = [=](Var in, Vars s) -> rnn::Step {
      const Var h = tanh(matmul(in, w) + matmul(s[0], u));
      return {h, {h}};
    };
    return rnn::layer(x, {rnn::zero_state(x, u.dim(0))}, cell,
                      {.lengths = lengths, .direction_mode = mode, .backward = cell})
        .y;
  };
}

// The same in plain loops, on [T,B,I].
Tensor elman_by_loops(const Tensor& x, const Tensor& w, const Tensor& u,
                      const std::vector<int32_t>& lengths) {
  const int64_t rows = x.dim(1), in = x.dim(2), width = u.dim(0);
  Tensor y(f64, {x.dim(0), rows, width});
  for (int64_t b = 0; b < rows; ++b) {
    std::vector<double> h(static_cast<size_t>(width), 0);
    for (int64_t t = 0; t < lengths[static_cast<size_t>(b)]; ++t) {
      std::vector<double> next;
      for (int64_t j = 0; j < width; ++j) {
        double z = 0;
        for (int64_t i = 0; i < in; ++i) z += x.at((t * rows + b) * in + i) * w.at(i * width + j);
        for (int64_t i = 0; i < width; ++i) z += h[static_cast<size_t>(i)] * u.at(i * width + j);
        next.push_back(std::tanh(z));
      }
      h = next;
      for (int64_t j = 0; j < width; ++j)
        y.mutable_data<double>()[(t * rows + b) * width + j] = h[static_cast<size_t>(j)];
    }
  }
  return y;
}

struct Stack {
  Graph g;
  Var x, lengths, w0, u0, w1, u1, w2, u2;
  std::vector<Feed> feeds;
  std::vector<LayerFunction> layers;
  const std::vector<int32_t> ends{3, 0, 2};

  Stack() {
    const auto operand = [&](const char* name, Dims dims, uint64_t seed) {
      const Var p = g.placeholder(name, f64, to_shape(dims));
      feeds.emplace_back(p, draw(dims, f64, -1, 1, seed));
      return p;
    };
    x = operand("x", {3, 3, 2}, 1);
    w0 = operand("w0", {2, 4}, 2);
    u0 = operand("u0", {4, 4}, 3);
    w1 = operand("w1", {4, 4}, 4);
    u1 = operand("u1", {4, 4}, 5);
    w2 = operand("w2", {4, 4}, 6);
    u2 = operand("u2", {4, 4}, 7);
    lengths = g.placeholder("lengths", i32, {3});
    feeds.emplace_back(lengths, Tensor::of<int32_t>({3}, ends));
    layers = {elman(w0, u0, lengths), elman(w1, u1, lengths), elman(w2, u2, lengths)};
  }
  const Tensor& value(size_t i) const { return feeds[i].second; }
};

TEST_CASE("stacked layers and their residual connections are what plain loops give", "[stacked]") {
  const Stack s;
  const Tensor h1 = elman_by_loops(s.value(0), s.value(1), s.value(2), s.ends);
  const Tensor h2 = elman_by_loops(h1, s.value(3), s.value(4), s.ends);
  const Tensor h3 = elman_by_loops(h2, s.value(5), s.value(6), s.ends);
  const Tensor r2 = h2 + h1;
  const Tensor r3 = elman_by_loops(r2, s.value(5), s.value(6), s.ends) + r2;
  const Tensor last_alone = h3 + h2;
  for (const std::string backend : {"reference", "cpu"}) {
    Session session(s.g, {.backend = backend});
    const auto run = [&](std::optional<size_t> from) {
      return session.run(stacked(s.x, s.layers, {.residual_from = from}), s.feeds);
    };
    CHECK(largest_difference(run({}), h3) < 1e-14);
    CHECK(largest_difference(run(1), r3) < 1e-14);
    CHECK(largest_difference(run(2), last_alone) < 1e-14);
  }
}

TEST_CASE("layers of any kind stand upon each other", "[stacked]") {
  Graph g;
  g.set_seed(3);
  const Var x = g.placeholder("x", f64, {"T", "B", 3});
  const Var lengths = g.placeholder("lengths", i32, {"B"});
  const auto lstm_weights = rnn::lstm_layer_weights(g, "lstm", 3, 4, BIDIR_CONCAT, f64);
  const auto gru_weights = rnn::gru_layer_weights(g, "gru", 8, 5, f64);
  const Var w = g.variable("w", init::glorot_uniform(g, {5, 6}, 5, 6, f64));
  const Var u = g.variable("u", init::orthogonal(g, 6, 6, f64));
  const LayerFunction lstm = [&](Var v) {
    return rnn::lstm_layer(v, {.max_ts_length = lengths}, lstm_weights,
                           {.direction_mode = BIDIR_CONCAT})
        .y;
  };
  const LayerFunction gru = [&](Var v) {
    return rnn::gru_layer(v, rnn::zero_state(v, 5), gru_weights);
  };
  const LayerFunction own = elman(w, u, lengths, BIDIR_SUM);
  const Var y = stacked(x, {lstm, gru, own});
  CHECK(y.shape() == Shape{"T", "B", 6});
  const auto out = Session(g).run(
      {y, own(gru(lstm(x)))},
      {{x, draw({4, 2, 3}, f64, -1, 1, 1)}, {lengths, Tensor::of<int32_t>({2}, {4, 2})}});
  CHECK(out[0] == out[1]);
}

TEST_CASE("gradients through a stack match central differences, also in training", "[stacked]") {
  for (const bool variational : {false, true}) {
    const Stack s;
    const Var y =
        stacked(s.x, s.layers, {.residual_from = 1, .dropout = 0.3, .variational = variational});
    for (const bool training : {false, true}) {
      GradientOptions o;
      o.run = {.training = training, .seed = 5, .step = 2};
      const GradientReport r = check_gradients(s.g, {y}, s.feeds, o);
      INFO((r.problems.empty() ? "" : r.problems[0]));
      CHECK(r.problems.empty());
      CHECK(r.second > 100);
    }
  }
}

TEST_CASE("padding that holds NaN reaches no result and no gradient of a stack", "[stacked]") {
  for (const bool training : {false, true}) {
    Stack s;
    const Var y = stacked(s.x, s.layers, {.residual_from = 1, .dropout = 0.3});
    Vars fetches{y};
    for (const Var& d : gradients(sum(y * y), {s.x, s.w0, s.u0, s.w1, s.u2})) fetches.push_back(d);
    Session session(s.g);
    const RunOptions o{.training = training, .seed = 5};
    const auto clean = session.run(fetches, s.feeds, o);
    for (int64_t t = 0; t < 3; ++t) {
      for (int64_t b = 0; b < 3; ++b) {
        for (int64_t i = 0; t >= s.ends[static_cast<size_t>(b)] && i < 2; ++i)
          s.feeds[0].second.mutable_data<double>()[(t * 3 + b) * 2 + i] = kNan;
      }
    }
    CHECK(session.run(fetches, s.feeds, o) == clean);
  }
}

// ---- dropout between the layers
// -------------------------------------------------------------------

constexpr double kRate = 0.3;
constexpr int64_t kTime = 20, kBatch = 15, kUnits = 10;

// What stacked makes of ones [T,B,H], or in the axes of another format.
Tensor of_ones(const std::vector<LayerFunction>& layers, const rnn::StackedOptions& o,
               bool training, Dims dims = {kTime, kBatch, kUnits}, uint64_t seed = 9) {
  Graph g;
  const Var x = g.placeholder("x", f64, to_shape(dims));
  return Session(g).run(stacked(x, layers, o), {{x, Tensor::full(f64, dims, 1)}},
                        {.training = training, .seed = seed});
}

std::set<double> values_of(const Tensor& t) {
  std::set<double> r;
  for (int64_t i = 0; i < t.size(); ++i) r.insert(t.at(i));
  return r;
}

double share_of_zeros(const Tensor& t) {
  double zeros = 0;
  for (int64_t i = 0; i < t.size(); ++i) zeros += t.at(i) == 0 ? 1 : 0;
  return zeros / static_cast<double>(t.size());
}

// Whether slices along the axis are all alike.
bool constant_along(const Tensor& t, int64_t axis) {
  const Tensor first = slice(t, axis, 0, 1);
  for (int64_t k = 1; k < t.dim(static_cast<size_t>(axis)); ++k) {
    if (!(slice(t, axis, k, k + 1) == first)) return false;
  }
  return true;
}

TEST_CASE("dropout acts between layers, in training alone, and keeps the mean", "[stacked]") {
  const Tensor ones = Tensor::full(f64, {kTime, kBatch, kUnits}, 1);
  for (const bool variational : {false, true}) {
    const rnn::StackedOptions o{.dropout = kRate, .variational = variational};
    CHECK(of_ones({itself, itself}, o, false) == ones);
    CHECK(of_ones({itself}, o, true) == ones);  // neither before the first nor after the last
    const Tensor once = of_ones({itself, itself}, o, true);
    CHECK(values_of(once) == std::set<double>{0, 1 / (1 - kRate)});
    // Five standard deviations; with variational there are B*H draws.
    const double draws = static_cast<double>(variational ? kBatch * kUnits : once.size());
    CHECK(std::abs(share_of_zeros(once) - kRate) < 5 * std::sqrt(kRate * (1 - kRate) / draws));
    // Two independent masks leave (1 - rate)^2.
    const Tensor twice = of_ones({itself, itself, itself}, o, true);
    const double lost = 1 - (1 - kRate) * (1 - kRate);
    CHECK(std::abs(share_of_zeros(twice) - lost) < 5 * std::sqrt(lost * (1 - lost) / draws));
    CHECK(!(of_ones({itself, itself}, o, true, ones.dims(), 10) == once));
    CHECK(constant_along(once, 0) == variational);
    CHECK_FALSE(constant_along(once, 1));
    CHECK_FALSE(constant_along(once, 2));
  }
}

TEST_CASE("a variational mask is constant along time in every data format", "[stacked]") {
  const std::pair<RnnDataFormat, int64_t> kTimeAxes[] = {
      {RnnDataFormat::TNS, 0}, {RnnDataFormat::NTS, 1}, {RnnDataFormat::NST, 2}};
  for (const auto& [format, time] : kTimeAxes) {
    const Tensor t =
        of_ones({itself, itself}, {.dropout = kRate, .variational = true, .data_format = format},
                true, {12, 13, 14});
    CHECK(t.dims() == Dims{12, 13, 14});
    for (int64_t axis = 0; axis < 3; ++axis) CHECK(constant_along(t, axis) == (axis == time));
  }
}

TEST_CASE("what a residual connection adds is not dropped", "[stacked]") {
  const Tensor t = of_ones({itself, times(2)}, {.residual_from = 1, .dropout = kRate}, true);
  CHECK(values_of(t) == std::set<double>{1, 1 + 2 * (1 / (1 - kRate))});
}

TEST_CASE("names of a stack's layers stand under its name and their number", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 4});
  const LayerFunction layer = [](Var v) {
    const auto w = rnn::lstm_layer_weights(v.graph(), "lstm", 4, 4);
    return rnn::lstm_layer(v, {}, w).y;
  };
  stacked(x, {layer, layer}, {.name = "encoder"});
  CHECK(g.has("encoder/0/lstm/biases"));
  CHECK(g.has("encoder/1/lstm/biases"));
  CHECK(g.trainable().size() == 6);
  g.variable("after", Tensor(f32, {1}));
  CHECK(g.has("after"));
}

TEST_CASE("a stack refuses what does not fit, by name", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 2});
  const LayerFunction wider = [](Var v) { return concat<Var>({v, v}, -1); };
  const auto refusal = [&](const std::vector<LayerFunction>& layers,
                           const rnn::StackedOptions& o = {}) {
    return code_of([&] { stacked(x, layers, o); });
  };
  CHECK(refusal({itself, itself}) == "");
  CHECK(refusal({}) == "stacked.layers.missing");
  CHECK(refusal({itself, {}}) == "stacked.layers.missing");
  CHECK(refusal({[](Var) { return Var(); }}) == "stacked.layer.output");
  CHECK(refusal({itself}, {.residual_from = 1}) == "stacked.residual_from.range");
  CHECK(refusal({itself}, {.dropout = 1}) == "stacked.dropout.range");
  CHECK(refusal({itself}, {.dropout = -0.1}) == "stacked.dropout.range");
  CHECK(refusal({itself}, {.dropout = kNan}) == "stacked.dropout.range");
  CHECK(refusal({wider, wider}, {.residual_from = 1}) == "stacked.residual.shape");
  CHECK(code_of([&] { stacked(Var(), {itself}); }) == "stacked.x.missing");
  const Var flat = g.placeholder("flat", f64, {"T", "B"});
  CHECK(code_of([&] {
          stacked(flat, {itself, itself},
                  {.dropout = 0.1, .variational = true, .data_format = RnnDataFormat::NST});
        }) == "stacked.x.rank");
  const std::string text = text_of(
      [&] { stacked(x, {itself, wider, itself}, {.residual_from = 0, .name = "encoder"}); });
  for (const char* part : {"encoder", "layer 1", "[T,B,4]", "[T,B,2]", "residual_from = 0"}) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  }
}

// ---- a function at each step
// ------------------------------------------------------------------------

TEST_CASE("time_distributed is the function at each step", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3, 2});
  const Var w = g.placeholder("w", f64, {2, 4});
  const LayerFunction f = [&](Var rows) {
    REQUIRE(rows.rank() == 3);
    return sum(tanh(matmul(rows, w)), {.axes = {1}});
  };
  const Var y = time_distributed(x, f);
  CHECK(y.shape() == Shape{"T", "B", 4});
  const Tensor fed = draw({3, 2, 3, 2}, f64, -1, 1, 1), weights = draw({2, 4}, f64, -1, 1, 2);
  const Tensor got = Session(g).run(y, {{x, fed}, {w, weights}});
  for (int64_t row = 0; row < 6; ++row) {
    for (int64_t u = 0; u < 4; ++u) {
      double want = 0;
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t at = (row * 3 + k) * 2;
        want += std::tanh(fed.at(at) * weights.at(u) + fed.at(at + 1) * weights.at(4 + u));
      }
      CHECK(std::abs(got.at(row * 4 + u) - want) < 1e-14);
    }
  }
  const Var one = time_distributed(x, [](Var rows) { return sum(rows, {.axes = {1, 2}}); });
  CHECK(one.shape() == Shape{"T", "B"});
}

TEST_CASE("dense at each step needs no time_distributed", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 2, 3});
  const Var w = g.placeholder("w", f64, {3, 4}), b = g.placeholder("b", f64, {4});
  const Var direct = nn::dense(x, w, b);
  const Var by_steps = time_distributed(x, [&](Var rows) { return nn::dense(rows, w, b); });
  const auto out = Session(g).run({direct, by_steps}, {{x, draw({3, 2, 2, 3}, f64, -1, 1, 1)},
                                                       {w, draw({3, 4}, f64, -1, 1, 2)},
                                                       {b, draw({4}, f64, -1, 1, 3)}});
  CHECK(out[0].dims() == Dims{3, 2, 2, 4});
  CHECK(out[0] == out[1]);
  CHECK(nn::dense(x, 5, "units").shape() == Shape{"T", "B", 2, 5});
}

TEST_CASE("with lengths time_distributed reads no padding and gives 0 there", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3});
  const Var lengths = g.placeholder("lengths", i64, {"B"});
  const Var w = g.placeholder("w", f64, {3, 4});
  const Var y = time_distributed(x, [&](Var rows) { return exp(matmul(rows, w)); }, lengths);
  Vars fetches{y};
  for (const Var& d : gradients(sum(y * y), {x, w})) fetches.push_back(d);
  const std::vector<int64_t> ends{3, 0, 1};
  std::vector<Feed> feeds{{x, draw({3, 3, 3}, f64, -1, 1, 1)},
                          {w, draw({3, 4}, f64, -1, 1, 2)},
                          {lengths, Tensor::of<int64_t>({3}, ends)}};
  Session session(g);
  const auto clean = session.run(fetches, feeds);
  for (int64_t step = 0; step < 9; ++step) {
    const bool inside = step / 3 < ends[static_cast<size_t>(step % 3)];
    CHECK((clean[0].at(step * 4) == 0) == !inside);
    for (int64_t i = 0; i < 3 && !inside; ++i)
      feeds[0].second.mutable_data<double>()[step * 3 + i] = kNan;
  }
  CHECK(session.run(fetches, feeds) == clean);
  feeds[2].second = Tensor::of<int64_t>({3}, {3, 4, 1});
  CHECK(code_of([&] { session.run(fetches, feeds); }) == "time_distributed.lengths.range");
}

TEST_CASE("time_distributed has right gradients", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3, 2, 3});
  const Var w = g.placeholder("w", f64, {3, 4});
  const Var lengths = g.placeholder("lengths", i32, {2});
  const Var y = time_distributed(x, [&](Var rows) { return tanh(matmul(rows, w)); }, lengths);
  const GradientReport r = check_gradients(g, {y},
                                           {{x, draw({3, 2, 3}, f64, -1, 1, 1)},
                                            {w, draw({3, 4}, f64, -1, 1, 2)},
                                            {lengths, Tensor::of<int32_t>({2}, {3, 1})}});
  INFO((r.problems.empty() ? "" : r.problems[0]));
  CHECK(r.problems.empty());
  CHECK(r.second == 30);
}

TEST_CASE("time_distributed refuses what does not fit, by name", "[stacked]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 2});
  const auto refusal = [&](const Var& v, const LayerFunction& f, const Var& lengths = {}) {
    return code_of([&] { time_distributed(v, f, lengths); });
  };
  CHECK(refusal(x, itself) == "");
  CHECK(refusal(Var(), itself) == "time_distributed.x.rank");
  CHECK(refusal(g.placeholder("row", f64, {"T"}), itself) == "time_distributed.x.rank");
  CHECK(refusal(x, {}) == "time_distributed.f.missing");
  CHECK(refusal(x, [](Var) { return Var(); }) == "time_distributed.f.rows");
  CHECK(refusal(x, [](Var v) { return sum(v); }) == "time_distributed.f.rows");
  CHECK(refusal(x, [](Var v) { return transpose(v); }) == "time_distributed.f.rows");
  CHECK(refusal(x, itself, g.placeholder("short", i32, {3})) == "time_distributed.lengths.dim");
  CHECK(refusal(x, itself, x) == "time_distributed.lengths.dim");
}

}  // namespace
}  // namespace rondo::test
