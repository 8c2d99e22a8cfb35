// Attention against plain loops, its padding, and its place in the cell of a decoder: as a layer
// and as an unrolled loop, with ragged lengths on both sides.
#include <rondo/ops/attention.h>

#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/layer.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>

namespace rondo::test {
namespace {

using nn::AttentionScore;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr AttentionScore kScores[] = {AttentionScore::dot, AttentionScore::scaled_dot,
                                      AttentionScore::additive};

struct Sizes {
  int64_t rows = 3, positions = 4, width = 2, values = 5;
};

// Operands of a call, as tensors.
struct Operands {
  Tensor query, keys, values, lengths, score_weights;
};
Operands draw_operands(AttentionScore score, const std::vector<int32_t>& lengths, Sizes s = {},
                       DType t = f64) {
  return {draw({s.rows, s.width}, t, -1, 1, 1), draw({s.rows, s.positions, s.width}, t, -1, 1, 2),
          draw({s.rows, s.positions, s.values}, t, -1, 1, 3),
          lengths.empty() ? Tensor() : Tensor::of<int32_t>({s.rows}, lengths),
          score == AttentionScore::additive ? draw({s.width}, t, -1, 1, 4) : Tensor()};
}

// The definition, in plain loops.
struct Expected {
  std::vector<double> context, weights;
};
Expected by_loops(AttentionScore score, const Operands& o) {
  const int64_t rows = o.keys.dim(0), positions = o.keys.dim(1), width = o.keys.dim(2);
  const int64_t channels = o.values.dim(2);
  Expected e;
  for (int64_t b = 0; b < rows; ++b) {
    const int64_t n = o.lengths ? static_cast<int64_t>(o.lengths.at(b)) : positions;
    std::vector<double> raised(static_cast<size_t>(positions), 0);
    double total = 0;
    for (int64_t s = 0; s < n; ++s) {
      double fit = 0;
      for (int64_t a = 0; a < width; ++a) {
        const double q = o.query.at(b * width + a), k = o.keys.at((b * positions + s) * width + a);
        fit += score == AttentionScore::additive ? o.score_weights.at(a) * std::tanh(q + k) : q * k;
      }
      if (score == AttentionScore::scaled_dot) fit /= std::sqrt(static_cast<double>(width));
      total += raised[static_cast<size_t>(s)] = std::exp(fit);
    }
    for (int64_t s = 0; s < positions; ++s)
      e.weights.push_back(s < n ? raised[static_cast<size_t>(s)] / total : 0);
    for (int64_t c = 0; c < channels; ++c) {
      double mean = 0;
      for (int64_t s = 0; s < n; ++s)
        mean += e.weights[static_cast<size_t>(b * positions + s)] *
                o.values.at((b * positions + s) * channels + c);
      e.context.push_back(mean);
    }
  }
  return e;
}

double distance(const Tensor& got, const std::vector<double>& want) {
  REQUIRE(got.size() == static_cast<int64_t>(want.size()));
  double worst = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(got.at(i) - want[static_cast<size_t>(i)]);
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

nn::AttentionResult<Tensor> now(AttentionScore score, const Operands& o) {
  return nn::attention(
      o.query,
      {.keys = o.keys, .values = o.values, .lengths = o.lengths, .score_weights = o.score_weights},
      {.score = score});
}

// The same call in a graph whose dimensions are all symbols.
struct InGraph {
  Graph g;
  Vars by;  ///< what takes a gradient
  nn::AttentionResult<Var> r;
  std::vector<Feed> feeds;
};
InGraph in_graph(AttentionScore score, const Operands& o, bool symbols = true) {
  InGraph p;
  const auto operand = [&](const char* name, const Tensor& t, const Shape& shape) {
    if (!t) return Var();
    const Var v = p.g.placeholder(name, t.dtype(), symbols ? shape : to_shape(t.dims()));
    p.feeds.emplace_back(v, t);
    if (is_float(t.dtype())) p.by.push_back(v);
    return v;
  };
  const Var query = operand("query", o.query, {"B", "A"});
  p.r = nn::attention(query,
                      {.keys = operand("keys", o.keys, {"B", "S", "A"}),
                       .values = operand("values", o.values, {"B", "S", "C"}),
                       .lengths = operand("lengths", o.lengths, {"B"}),
                       .score_weights = operand("score_weights", o.score_weights, {"A"})},
                      {.score = score});
  return p;
}

void put_nan(Tensor& t, int64_t row, int64_t from) {
  const int64_t positions = t.dim(1), width = t.dim(2);
  for (int64_t i = from * width; i < positions * width; ++i)
    t.mutable_data<double>()[row * positions * width + i] = kNan;
}

TEST_CASE("attention is what plain loops give, at once and in a graph of symbols", "[attention]") {
  for (const AttentionScore score : kScores) {
    for (const std::vector<int32_t>& lengths :
         {std::vector<int32_t>{}, {4, 1, 3}, {0, 4, 2}, {0, 0, 0}}) {
      const Operands o = draw_operands(score, lengths);
      const Expected want = by_loops(score, o);
      INFO("score " << static_cast<int>(score) << ", lengths " << lengths.size());
      const auto r = now(score, o);
      CHECK(distance(r.context, want.context) < 1e-14);
      CHECK(distance(r.weights, want.weights) < 1e-14);
      const InGraph p = in_graph(score, o);
      for (const std::string backend : {"reference", "cpu"}) {
        const auto out =
            Session(p.g, {.backend = backend}).run({p.r.context, p.r.weights}, p.feeds);
        CHECK(distance(out[0], want.context) < 1e-14);
        CHECK(distance(out[1], want.weights) < 1e-14);
      }
      for (size_t i = 0; i < want.weights.size(); ++i) {
        if (want.weights[i] == 0) CHECK(r.weights.at(static_cast<int64_t>(i)) == 0);
      }
    }
  }
}

TEST_CASE("attention has right gradients of first and second order with ragged lengths",
          "[attention]") {
  for (const AttentionScore score : kScores) {
    const InGraph p = in_graph(score, draw_operands(score, {4, 0, 2}), false);
    const GradientReport r = check_gradients(p.g, {p.r.context, p.r.weights}, p.feeds);
    INFO((r.problems.empty() ? "" : r.problems[0]));
    CHECK(r.problems.empty());
    CHECK(r.second > 80);
  }
}

TEST_CASE("padding of attention that holds NaN reaches neither results nor gradients",
          "[attention]") {
  const std::vector<int32_t> lengths{4, 0, 2};
  for (const AttentionScore score : kScores) {
    for (const bool optimize : {false, true}) {
      Operands o = draw_operands(score, lengths);
      const auto run = [&] {
        const InGraph p = in_graph(score, o);
        Vars fetches{p.r.context, p.r.weights};
        const Var loss = sum(p.r.context * p.r.context) + sum(p.r.weights * p.r.weights);
        const Vars first = gradients(loss, p.by);
        Var along;
        for (const Var& d : first) along = along ? along + sum(d * d) : sum(d * d);
        const Vars second = gradients(along, p.by);
        fetches.insert(fetches.end(), first.begin(), first.end());
        fetches.insert(fetches.end(), second.begin(), second.end());
        return Session(p.g, {.optimize = optimize}).run(fetches, p.feeds);
      };
      const std::vector<Tensor> clean = run();
      for (size_t b = 0; b < lengths.size(); ++b) {
        put_nan(o.keys, static_cast<int64_t>(b), lengths[b]);
        put_nan(o.values, static_cast<int64_t>(b), lengths[b]);
      }
      // A query that has nothing to look at.
      for (int64_t a = 0; a < 2; ++a) o.query.mutable_data<double>()[2 + a] = kNan;
      const std::vector<Tensor> poisoned = run();
      INFO("score " << static_cast<int>(score) << ", optimize " << optimize);
      for (size_t i = 0; i < clean.size(); ++i) CHECK(clean[i] == poisoned[i]);
      for (int64_t c = 0; c < 5; ++c) CHECK(clean[0].at(5 + c) == 0);
      for (const int64_t a : {2, 3}) CHECK(clean[2].at(a) == 0);  // the gradient of that query
    }
  }
}

TEST_CASE("scores that e^x could not hold give finite weights in every dtype", "[attention]") {
  for (const DType t : {f64, f32, bf16, f16}) {
    const Tensor query = Tensor::full(t, {2, 1}, 100);
    const Tensor keys = Tensor::of<float>({2, 2, 1}, {90, 100, -100, -100}).to(t);
    const Tensor values = Tensor::of<float>({2, 2, 1}, {1, 2, 3, 5}).to(t);
    const auto r = nn::attention(
        query, {.keys = keys, .values = values, .lengths = Tensor::of<int64_t>({2}, {2, 1})},
        {.score = AttentionScore::dot});
    INFO(t);
    CHECK(r.context.at(0) == 2);
    CHECK(r.context.at(1) == 3);
    CHECK(r.weights.at(2) == 1);
    CHECK(r.weights.at(3) == 0);
  }
}

TEST_CASE("a sequence without positions gives context 0", "[attention]") {
  for (const AttentionScore score : kScores) {
    const auto r = now(score, draw_operands(score, {0, 0, 0}, {.positions = 0}));
    CHECK(r.context == Tensor(f64, {3, 5}));
    CHECK(r.weights.dims() == Dims{3, 0});
  }
}

TEST_CASE("attention refuses what does not fit, by name", "[attention]") {
  const auto refusal = [](AttentionScore score, const Operands& o) {
    return code_of([&] { now(score, o); });
  };
  Operands o = draw_operands(AttentionScore::dot, {4, 1, 3});
  CHECK(refusal(AttentionScore::additive, o) == "attention.score_weights.missing");
  CHECK(refusal(static_cast<AttentionScore>(3), o) == "attention.config.enum");
  o.lengths = Tensor::of<int32_t>({3}, {4, 5, 3});
  CHECK(refusal(AttentionScore::dot, o) == "attention.lengths.range");
  o.lengths = Tensor::of<int32_t>({3}, {4, -1, 3});
  CHECK(refusal(AttentionScore::dot, o) == "attention.lengths.range");
  o.lengths = Tensor();
  o.score_weights = draw({2}, f64, -1, 1, 1);
  CHECK(refusal(AttentionScore::scaled_dot, o) == "attention.score_weights.score");
  o.score_weights = draw({3}, f64, -1, 1, 1);
  CHECK(refusal(AttentionScore::additive, o) == "attention.score_weights.dim");
  o.score_weights = Tensor();
  o.values = draw({3, 5, 2}, f64, -1, 1, 1);
  CHECK(refusal(AttentionScore::dot, o) == "attention.values.dim");
  o.values = Tensor();
  CHECK(refusal(AttentionScore::dot, o) == "attention.values.missing");
}

// ---- a decoder that looks at an encoder's states at each of its steps
// -----------------------------

constexpr int64_t kSteps = 3, kRows = 3, kPositions = 4, kIn = 2, kHidden = 3;
const std::vector<int32_t> kDecoderSteps{3, 1, 2}, kEncoderSteps{2, 4, 0};

struct Decoder {
  Graph g;
  Var x, steps, states, positions, h0, wx, wc, wh, v;
  std::vector<Feed> feeds;
  Vars outputs;

  Decoder() {
    const auto operand = [&](const char* name, Dims dims, uint64_t seed) {
      const Var p = g.placeholder(name, f64, to_shape(dims));
      feeds.emplace_back(p, draw(dims, f64, -1, 1, seed));
      return p;
    };
    x = operand("x", {kSteps, kRows, kIn}, 1);
    states = operand("states", {kPositions, kRows, kHidden}, 2);
    h0 = operand("h0", {kRows, kHidden}, 3);
    wx = operand("wx", {kIn, kHidden}, 4);
    wc = operand("wc", {kHidden, kHidden}, 5);
    wh = operand("wh", {kHidden, kHidden}, 6);
    v = operand("v", {kHidden}, 7);
    steps = g.placeholder("steps", i32, {kRows});
    positions = g.placeholder("positions", i32, {kRows});
    feeds.emplace_back(steps, Tensor::of<int32_t>({kRows}, kDecoderSteps));
    feeds.emplace_back(positions, Tensor::of<int32_t>({kRows}, kEncoderSteps));
  }

  Var next(const Var& in, const Var& h, AttentionScore score, bool in_body) const {
    const auto of_row = [&](const Var& w) { return in_body ? per_row(w) : w; };
    const Var memory = transpose(states, {1, 0, 2});
    const Var weights = score == AttentionScore::additive ? v : Var();
    const Var context = nn::attention(h,
                                      {.keys = of_row(memory),
                                       .values = of_row(memory),
                                       .lengths = of_row(positions),
                                       .score_weights = weights},
                                      {.score = score})
                            .context;
    return tanh(matmul(in, wx) + matmul(context, wc) + matmul(h, wh));
  }

  void as_layer(AttentionScore score) {
    const auto r = rnn::layer(x, {h0},
                              [&](Var in, Vars s) -> rnn::Step {
                                const Var h = next(in, s[0], score, true);
                                return {h, {h}};
                              },
                              {.lengths = steps});
    outputs = {r.y, r.last[0]};
  }

  void as_loop(AttentionScore score) {
    Var h = h0;
    Vars ys;
    for (int64_t t = 0; t < kSteps; ++t) {
      const Var runs = expand_dims(steps > t, 1);
      const Var n = next(squeeze(slice(x, 0, t, t + 1), 0), h, score, false);
      h = where(runs, n, h);
      ys.push_back(expand_dims(where(runs, n, 0), 0));
    }
    outputs = {concat(ys, 0), h};
  }

  void poison() {
    for (Feed& f : feeds) {
      if (!f.first.same(x) && !f.first.same(states)) continue;
      const std::vector<int32_t>& lengths = f.first.same(x) ? kDecoderSteps : kEncoderSteps;
      const int64_t width = f.second.dim(2);
      for (int64_t t = 0; t < f.second.dim(0); ++t) {
        for (int64_t i = 0; i < kRows * width; ++i) {
          if (t >= lengths[static_cast<size_t>(i / width)])
            f.second.mutable_data<double>()[t * kRows * width + i] = kNan;
        }
      }
    }
  }

  // Outputs, gradients and gradients of these, by all floats.
  std::vector<Tensor> run(const CompileOptions& options) const {
    Vars by;
    for (const Feed& f : feeds) {
      if (is_float(f.first.dtype()) && !(f.first.same(v) && !uses_v)) by.push_back(f.first);
    }
    Vars fetches = outputs;
    const Vars first = gradients(weighted_sum(outputs, 1), by);
    const Vars second = gradients(weighted_sum(first, 2), by);
    fetches.insert(fetches.end(), first.begin(), first.end());
    fetches.insert(fetches.end(), second.begin(), second.end());
    return Session(g, options, one_thread()).run(fetches, feeds);
  }
  bool uses_v = false;
};

TEST_CASE("a decoder's cell that attends is the unrolled loop, gradients of both orders too",
          "[attention][layer]") {
  for (const AttentionScore score : kScores) {
    Decoder loop, layer;
    loop.uses_v = layer.uses_v = score == AttentionScore::additive;
    loop.as_loop(score);
    layer.as_layer(score);
    const auto want = loop.run({.backend = "reference", .optimize = false});
    layer.poison();
    for (const std::string backend : {"reference", "cpu"}) {
      for (const bool optimize : {false, true}) {
        const auto got = layer.run({.backend = backend, .optimize = optimize});
        REQUIRE(got.size() == want.size());
        for (size_t i = 0; i < got.size(); ++i) {
          INFO("score " << static_cast<int>(score) << ", " << backend << ", value " << i);
          std::vector<double> numbers;
          for (int64_t k = 0; k < want[i].size(); ++k) numbers.push_back(want[i].at(k));
          CHECK(distance(got[i], numbers) < 1e-11);
        }
      }
    }
  }
}

TEST_CASE("a decoder's cell that attends has right gradients of first and second order",
          "[attention][layer]") {
  for (const AttentionScore score : {AttentionScore::dot, AttentionScore::additive}) {
    Decoder d;
    d.as_layer(score);
    GradientOptions options;
    if (score != AttentionScore::additive) options.fixed = {d.v};
    const GradientReport r = check_gradients(d.g, d.outputs, d.feeds, options);
    INFO((r.problems.empty() ? "" : r.problems[0]));
    CHECK(r.problems.empty());
    CHECK(r.second > 70);
  }
}

TEST_CASE("a length that the encoder's states do not have is refused in a decoder's cell too",
          "[attention][layer]") {
  Decoder d;
  d.as_layer(AttentionScore::dot);
  d.feeds.back().second = Tensor::of<int32_t>({kRows}, {2, 5, 0});
  CHECK(code_of([&] { Session(d.g).run(d.outputs, d.feeds); }) == "attention.lengths.range");
}

}  // namespace
}  // namespace rondo::test
