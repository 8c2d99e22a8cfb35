// Batch normalisation between training and use, what its mask hides, and an embedding's variable.
// (Formulas and gradients of normalisations are in the generated tests, in training.)
#include <rondo/ops/norm.h>

#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/autodiff/state_updates.h>
#include <rondo/ops/embedding.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/runtime/trainer.h>

namespace rondo::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Mean and variance of a channel over the rows that count.
std::pair<double, double> moments(const Tensor& x, int64_t channel, const Tensor& mask = {}) {
  const int64_t channels = x.dims().back();
  double n = 0, total = 0, squares = 0;
  for (const bool second : {false, true}) {
    for (int64_t r = 0; r < x.size() / channels; ++r) {
      if (mask && mask.at(r) == 0) continue;
      const double v = x.at(r * channels + channel);
      (second ? squares : total) += second ? (v - total / n) * (v - total / n) : v;
      n += second ? 0 : 1;
    }
  }
  return {total / n, squares / n};
}

}  // namespace

TEST_CASE("batch_norm takes the batch's moments in training, and those it kept otherwise",
          "[norm]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3});
  const Var y = nn::batch_norm(x, "norm", {.momentum = 0.75, .epsilon = 1e-3});
  CHECK(g.trainable().size() == 2);
  Trainer trainer(g, mean(y * y * y), {.updater = SGD{.learning_rate = 0}});
  Session& session = trainer.model().session();
  double mean_kept[3] = {0, 0, 0}, variance_kept[3] = {1, 1, 1};
  for (uint64_t step = 0; step < 3; ++step) {
    const Tensor data = draw({4, 5, 3}, f64, -1, 3, step + 1);
    const Tensor normal = session.run(y, {{x, data}}, {.training = true});
    const Tensor used = session.run(y, {{x, data}});
    for (int64_t i = 0; i < data.size(); ++i) {
      const auto [m, v] = moments(data, i % 3);
      CHECK(std::abs(normal.at(i) - (data.at(i) - m) / std::sqrt(v + 1e-3)) < 1e-13);
      const double kept = (data.at(i) - mean_kept[i % 3]) / std::sqrt(variance_kept[i % 3] + 1e-3);
      CHECK(std::abs(used.at(i) - kept) < 1e-13);
    }
    trainer.update({{x, data}});
    for (int64_t c = 0; c < 3; ++c) {
      const auto [m, v] = moments(data, c);
      mean_kept[c] = 0.75 * mean_kept[c] + 0.25 * m;
      variance_kept[c] = 0.75 * variance_kept[c] + 0.25 * v;
      const auto values = session.variables().snapshot();
      CHECK(std::abs(values->at("norm/running_mean").at(c) - mean_kept[c]) < 1e-14);
      CHECK(std::abs(values->at("norm/running_variance").at(c) - variance_kept[c]) < 1e-14);
    }
  }
  // Nothing is kept when nothing is learnt from.
  const Updates kept = state_updates({y});
  REQUIRE(kept.size() == 2);
  const auto before = session.variables().snapshot();
  session.run_and_update({y}, kept, {{x, draw({1, 1, 3}, f64, 5, 6, 1)}});
  session.run_and_update({y}, kept, {{x, Tensor(f64, {0, 2, 3})}}, {.training = true});
  CHECK(session.variables().snapshot()->at("norm/running_mean") == before->at("norm/running_mean"));
  CHECK(session.variables().snapshot()->at("norm/running_variance") ==
        before->at("norm/running_variance"));
  CHECK(state_updates({}).empty());
}

TEST_CASE("padding reaches nothing through batch_norm's mask", "[norm]") {
  const Tensor mask = Tensor::of<double>({3, 2}, {1, 1, 1, 0, 1, 0}).to(boolean);
  Tensor x = draw({3, 2, 2}, f64, -1, 1, 1);
  for (const int64_t i : {6, 7, 10, 11}) x.mutable_data<double>()[i] = kNan;
  Graph g;
  const Var v = g.placeholder("x", f64, {"T", "B", 2}),
            m = g.placeholder("mask", boolean, {"T", "B"});
  const Var y = nn::batch_norm(v, "norm", {}, m);
  Vars fetches = gradients(sum(y * y * y), {v, g.find("norm/gain"), g.find("norm/biases")});
  fetches.push_back(y);
  for (const Update& u : state_updates({y})) fetches.push_back(u.value);
  Session session(g, {}, one_thread());
  for (const bool training : {true, false}) {
    const auto r = session.run(fetches, {{v, x}, {m, mask}}, {.training = training});
    for (const Tensor& t : r) {
      for (int64_t i = 0; i < t.size(); ++i) CHECK(std::isfinite(t.at(i)));
    }
    for (const int64_t i : {6, 7, 10, 11}) CHECK((r[0].at(i) == 0 && r[3].at(i) == 0));
    const auto [mu, variance] = moments(x, 1, mask);
    const double want =
        training ? (x.at(9) - mu) / std::sqrt(variance + 1e-5) : x.at(9) / std::sqrt(1 + 1e-5);
    CHECK(std::abs(r[3].at(9) - want) < 1e-13);
  }
}

TEST_CASE("gradients of batch_norm outside of training treat what it kept as given", "[norm]") {
  for (const bool training : {false, true}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {3, 2, 2}), gain = g.placeholder("gain", f64, {2}),
              biases = g.placeholder("biases", f64, {2});
    const auto r = nn::batch_norm(x, {.running_mean = g.constant(draw({2}, f64, -1, 1, 1)),
                                      .running_variance = g.constant(draw({2}, f64, 1, 2, 2)),
                                      .gain = gain,
                                      .biases = biases});
    GradientOptions o;
    o.run = {.training = training};
    for (const char* const backend : {"reference", "cpu"}) {
      o.compile.backend = backend;
      const GradientReport report = check_gradients(g, {sin(r.y)},
                                                    {{x, draw({3, 2, 2}, f64, -1, 1, 3)},
                                                     {gain, draw({2}, f64, -1, 1, 4)},
                                                     {biases, draw({2}, f64, -1, 1, 5)}},
                                                    o);
      CAPTURE(training, backend, report.problems);
      CHECK(report.problems.empty());
      CHECK(report.first == 16);
    }
  }
}

TEST_CASE("normalisations of half floats do not overflow", "[norm]") {
  const Tensor x = Tensor::of<float>({2, 2}, {600, -600, 3e4F, 6e4F}).to(f16);
  for (const Tensor& y : {nn::rms_norm(x, {}), nn::l2_normalize(x), nn::layer_norm(x, {}, {}),
                          nn::batch_norm(x, {.running_mean = Tensor(f16, {2}),
                                             .running_variance = Tensor::full(f16, {2}, 6e4)})
                              .y}) {
    for (int64_t i = 0; i < 4; ++i) CHECK((std::isfinite(y.at(i)) && y.at(i) != 0));
  }
  CHECK(nn::l2_normalize(Tensor(f32, {3})) == Tensor(f32, {3}));
}

TEST_CASE("l2_normalize takes rows of any length that f32 can say", "[norm]") {
  const Tensor x = Tensor::of<float>({2, 2}, {3e30F, -4e30F, 1.5e38F, 2e38F});
  const Tensor y = nn::l2_normalize(x);
  for (const auto& [i, want] : {std::pair(0, 0.6), {1, -0.8}, {2, 0.6}, {3, 0.8}})
    CHECK(std::abs(y.at(i) - want) < 1e-6);
  Graph g;
  const Var v = g.placeholder("x", f32, {2, 2}), w = g.placeholder("w", f32, {2, 2});
  const Var d = gradients(sum(w * nn::l2_normalize(v)), {v})[0];
  const Tensor weights = Tensor::of<float>({2, 2}, {1, 0, 1, 0});
  const Tensor slope = Session(g).run(d * 1e30, {{v, x}, {w, weights}});
  CHECK(std::abs(slope.at(0) - 0.64 / 5) < 1e-6);  // (1 - y^2) / length
  CHECK(std::abs(slope.at(1) - 0.48 / 5) < 1e-6);
}

TEST_CASE("batch_norm is refused where it has no batch", "[norm]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  CHECK(code_of([&] {
          recurrence({.states = {fill(g, f32, {"B", 3}, 0)}, .xs = {x}},
                     [](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                       return {.states = {s[0] + nn::batch_norm(xs[0], "norm")}};
                     });
        }) == "batch_norm.x.body");
  CHECK(code_of([&] { nn::batch_norm(g.placeholder("any", f32, {"B", "C"}), "norm"); }) ==
        "batch_norm.x.dim");
}

TEST_CASE("an embedding is a table of its own, also in the body of a recurrence", "[norm]") {
  Graph g;
  const Var words = g.placeholder("words", i32, {"T", "B"});
  const Var v = nn::embedding(words, 7, 4, "words_of");
  CHECK(v.shape() == Shape{"T", "B", 4});
  CHECK(g.find("words_of/table").shape() == Shape{7, 4});
  const Tensor table = Session(g, {}, one_thread()).run(g.find("words_of/table"), {});
  const Tensor got =
      Session(g, {}, one_thread()).run(v, {{words, Tensor::of<int32_t>({1, 2}, {6, 0})}});
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(got.at(i) == table.at(24 + i));
    CHECK(std::abs(got.at(4 + i)) < 0.05);
  }
  CHECK(code_of([&] { nn::embedding(words, 0, 4, "none"); }) == "embedding.vocabulary.range");
  CHECK(code_of([&] { nn::embedding(words, 7, 0, "none"); }) == "embedding.units.range");
}

}  // namespace rondo::test
