// What a loop has computed is not computed again: a gradient takes its gates from the loop.
#include <algorithm>
#include <cmath>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "check_gradient.h"
#include "error_code.h"
#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

struct Layer : Trained {
  Var x, lengths, y;
};

Layer lstm(bool ragged) {
  Layer t;
  t.x = t.g.placeholder("x", f64, {6, 3, 4});
  if (ragged) t.lengths = t.g.placeholder("lengths", i32, {3});
  const auto w = rnn::lstm_layer_weights(t.g, "lstm", 4, 5, FWD, f64);
  t.y = rnn::lstm_layer(t.x, {.max_ts_length = t.lengths}, w).y;
  Vars by = t.g.trainable();
  by.insert(by.begin(), t.x);
  t.fetches = {t.y};
  for (const Var& d : gradients(sum(square(t.y)), by)) t.fetches.push_back(d);
  Tensor x = draw({6, 3, 4}, f64, -1, 1, 5);
  if (ragged) {
    for (int64_t step = 2; step < 6; ++step) {
      for (int64_t i = 0; i < 4; ++i)
        x.mutable_data<double>()[(step * 3 + 1) * 4 + i] = std::nan("");
    }
    t.feeds.emplace_back(t.lengths, Tensor::of<int32_t>({3}, {6, 2, 0}));
  }
  t.feeds.emplace_back(t.x, x);
  return t;
}

int count(const Plan& p, std::string_view op) {
  const auto ids = live_nodes(p.unit());
  return static_cast<int>(std::count_if(
      ids.begin(), ids.end(), [&](int32_t id) { return p.unit().graph.node(id).op->name == op; }));
}

bool reused(const Plan& p) {
  return std::any_of(p.report().begin(), p.report().end(),
                     [](const PassReport& r) { return r.pass == "pair" && !r.note.empty(); });
}

TEST_CASE("a gradient takes the gates of its loop instead of computing them again", "[pair]") {
  const bool ragged = GENERATE(false, true);
  const Layer t = lstm(ragged);
  Session session(t.g, {}, one_thread());
  const auto plan = session.plan(t.fetches);
  CHECK(reused(*plan));
  // x Wx, dx, dWx and dWr are done in the loops.
  CHECK(count(*plan, "product_over_time") == 0);
  CHECK(count(*plan, "matmul") == 0);
  Session plain(t.g, {.backend = "reference", .optimize = false}, one_thread());
  const auto want = plain.run(t.fetches, t.feeds), got = session.run(t.fetches, t.feeds);
  for (size_t i = 0; i < want.size(); ++i) {
    for (int64_t k = 0; k < want[i].size(); ++k)
      CHECK(std::abs(got[i].at(k) - want[i].at(k)) < 1e-12);
  }
  CHECK_FALSE(reused(*session.plan({t.y})));
}

TEST_CASE("what is wanted past the end of a row is computed there", "[pair]") {
  // States before each step, and what a user makes of them: tanh(h W), also where no step ran.
  Graph g;
  const Var x = g.placeholder("x", f64, {4, 2, 3}), n = g.placeholder("n", i32, {2});
  const Var w = g.placeholder("w", f64, {3, 3}), h0 = g.placeholder("h0", f64, {2, 3});
  const bool windows = GENERATE(true, false);
  const auto r = recurrence({.states = {h0}, .xs = {x}, .end = windows ? n : Var()},
                            [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                              const Var h = tanh(xs[0] + matmul(s[0], w));
                              return {.states = {h}, .ys = {h}};
                            });
  const auto l = RecurrenceLayout(r.ys[0].node());
  const Var before = g.var({r.ys[0].node().id, static_cast<int32_t>(l.trajectory_of(0))});
  const Var again = matmul(before, w);
  const Vars fetches{r.ys[0], again};
  Session session(g, {}, one_thread());
  CHECK(reused(*session.plan(fetches)) == !windows);
  const std::vector<Feed> feeds{{x, draw({4, 2, 3}, f64, -1, 1, 1)},
                                {w, draw({3, 3}, f64, -1, 1, 2)},
                                {h0, draw({2, 3}, f64, -1, 1, 3)},
                                {n, Tensor::of<int32_t>({2}, {4, 1})}};
  Session plain(g, {.backend = "reference", .optimize = false}, one_thread());
  const auto want = plain.run(fetches, feeds), got = session.run(fetches, feeds);
  for (size_t i = 0; i < want.size(); ++i) {
    for (int64_t k = 0; k < want[i].size(); ++k)
      CHECK(std::abs(got[i].at(k) - want[i].at(k)) < 1e-12);
  }
}

}  // namespace
}  // namespace rondo::test
