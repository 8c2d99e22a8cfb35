// Loops over time that run at the same time: two directions beside each other, layers behind each
// other. No bit may depend on it.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"
#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

struct Stack {
  const char* name;
  int64_t layers;
  LSTMDirectionMode mode;
  const char* expected;  // in explain()
};
const Stack kStacks[] = {
    {"three layers", 3, FWD, "behind a loop above, step by step"},
    {"three layers, backwards", 3, BWD, "behind a loop above, step by step"},
    {"two layers of two directions", 2, BIDIR_CONCAT, "beside the loop above"},
};

Trained trained_stack(const Stack& s, int64_t rows, bool ragged) {
  constexpr int64_t kTime = 37, kInput = 5, kHidden = 8;
  Trained t;
  const Var x = t.g.placeholder("x", f32, {kTime, rows, kInput});
  Var lengths, y = x;
  if (ragged) {
    lengths = t.g.placeholder("lengths", i32, {rows});
    std::vector<int32_t> n;
    for (int64_t r = 0; r < rows; ++r) n.push_back(static_cast<int32_t>((r * 11 + 37) % 38));
    t.feeds.emplace_back(lengths, Tensor::of<int32_t>({rows}, n));
  }
  for (int64_t l = 0; l < s.layers; ++l) {
    const int64_t wide = l == 0 ? kInput : s.mode == BIDIR_CONCAT ? 2 * kHidden : kHidden;
    y = rnn::lstm_layer(y, {.max_ts_length = lengths},
                        rnn::lstm_layer_weights(t.g, cat("l", l), wide, kHidden, s.mode, f32),
                        {.direction_mode = s.mode})
            .y;
  }
  t.fetches = {y};
  Vars by = t.g.trainable();
  by.push_back(x);
  for (const Var& d : gradients(0.02 * sum(square(y)), by)) t.fetches.push_back(d);
  t.feeds.emplace_back(x, draw({kTime, rows, kInput}, f32, -1, 1, 8));
  return t;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("loops that run together keep their bits", "[together]") {
  for (const Stack& s : kStacks) {
    for (const bool ragged : {false, true}) {
      for (const int64_t rows : {1, 6, 40}) {
        const Trained t = trained_stack(s, rows, ragged);
        INFO(s.name << ", " << rows << " rows" << (ragged ? ", ragged" : ""));
        std::vector<Tensor> want;
        for (const int threads : {1, 2, 3, 8}) {
          Session session(t.g, {}, std::make_shared<ThreadTeam>(threads));
          for (int again = 0; again < 3; ++again) {
            const auto got = session.run(t.fetches, t.feeds);
            if (want.empty()) want = got;
            for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
          }
          CHECK(has(session.explain(t.fetches), s.expected));
        }
        Session alone(t.g, {.optimize = false}, one_thread());
        CHECK(!has(alone.explain(t.fetches), s.expected));
        const auto plain = alone.run(t.fetches, t.feeds);
        for (size_t i = 0; i < want.size(); ++i) CHECK(distance(plain[i], want[i]) < 1e-4);
      }
    }
  }
}

// Who reads all of another's results at each step must wait for its end.
TEST_CASE("a loop that needs another's last state does not run beside it", "[together]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {30, 2, 4});
  const auto layer = [&](const char* name, const Var& y, const Var& last) {
    return rnn::lstm_layer(y, {.y_last = last}, rnn::lstm_layer_weights(g, name, 4, 4, FWD, f32),
                           {.ret_last_h = true});
  };
  const auto first = layer("a", x, {});
  const auto second = layer("b", first.y, first.last_h);
  Session s(g, {}, std::make_shared<ThreadTeam>(2)), alone(g, {}, one_thread());
  const Vars fetches{second.y};
  INFO(s.explain(fetches));
  CHECK(!has(s.explain(fetches), "behind a loop above"));
  const std::vector<Feed> feeds{{x, draw({30, 2, 4}, f32, -1, 1, 3)}};
  CHECK(s.run(fetches, feeds)[0].same_bits(alone.run(fetches, feeds)[0]));
}

TEST_CASE("a loop that multiplies with all of another's results does not run beside it",
          "[together]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {60, 2, 4});
  const Var w = g.variable("w", draw({4, 4}, f32, -0.5, 0.5, 2));
  const auto loop = [&](const Var& matrix) {
    return recurrence({.states = {fill(g, f32, {2, 4}, 0)}, .xs = {x}},
                      [&](const Vars& s, const Vars& at, const Vars&) -> RecurrenceStep {
                        const Var h = tanh(slice(matmul(s[0], matrix), 1, 0, 4) + at[0]);
                        return {{h}, {h}};
                      })
        .ys[0];
  };
  const Var y = loop(reshape(loop(w), {4, 120}));
  Session s(g, {}, std::make_shared<ThreadTeam>(2)), alone(g, {}, one_thread());
  CHECK(!has(s.explain({y}), "behind a loop above"));
  const std::vector<Feed> feeds{{x, draw({60, 2, 4}, f32, -1, 1, 3)}};
  CHECK(s.run(y, feeds).same_bits(alone.run(y, feeds)));
}

TEST_CASE("a loop that fails lets those behind it end", "[together]") {
  constexpr int64_t kSteps = 300, kRows = 3, kWidth = 8;
  Graph g;
  const Var x = g.placeholder("x", f32, {kSteps, kRows, kWidth});
  const Var end = g.placeholder("end", i32, {kRows});
  const Var w = g.variable("w", draw({kWidth, kWidth}, f32, -0.1, 0.1, 2));
  const auto loop = [&](const Var& xs, const Var& ends) {
    return recurrence({.states = {fill(g, f32, {kRows, kWidth}, 0)}, .xs = {xs}, .end = ends},
                      [&](const Vars& s, const Vars& at, const Vars&) -> RecurrenceStep {
                        const Var h = tanh(matmul(s[0], w) + at[0]);
                        return {{h}, {h}};
                      })
        .ys[0];
  };
  const Var y = loop(loop(x, end), {});
  const auto feeds = [&](std::vector<int32_t> to) {
    return std::vector<Feed>{{x, draw({kSteps, kRows, kWidth}, f32, -1, 1, 8)},
                             {end, Tensor::of<int32_t>({kRows}, to)}};
  };
  const auto good = feeds({300, 5, 1});
  const Tensor want = Session(g, {}, one_thread()).run(y, good);
  for (const int threads : {1, 2, 4}) {
    Session s(g, {}, std::make_shared<ThreadTeam>(threads));
    CHECK(has(s.explain({y}), "behind a loop above, step by step"));
    for (int again = 0; again < 20; ++again) {
      CHECK(code_of([&] { s.run(y, feeds({300, 301, 2})); }) == "recurrence.window.range");
      CHECK(s.run(y, good).same_bits(want));
    }
  }
}

TEST_CASE("stacks of no rows, and directions on teams of any size", "[together]") {
  for (const Stack& s : kStacks) {
    const Trained t = trained_stack(s, 0, false);
    for (const int threads : {1, 2}) {
      Session session(t.g, {}, std::make_shared<ThreadTeam>(threads));
      CHECK(session.run(t.fetches, t.feeds)[0].size() == 0);
    }
  }
}

TEST_CASE("what no loop of a group needs stays where it was", "[together]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {20, 3, 4}), z = g.placeholder("z", f32, {3, 4});
  const auto both = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "a", 4, 4, BIDIR_SUM, f32),
                                    {.direction_mode = BIDIR_SUM});
  const Var late =
      rnn::lstm_layer(both.y, {.y_last = sum(z * z, {.axes = {1}, .keep_dims = true}) + z},
                      rnn::lstm_layer_weights(g, "b", 4, 4, FWD, f32))
          .y;
  const std::string text = Session(g).explain({late});
  INFO(text);
  // The sum is made before the loop that begins with it, not before the first two.
  const size_t steps = text.find("steps\n");
  REQUIRE(text.find("beside the loop above") != std::string::npos);
  CHECK(text.find("\n  sum ", steps) > text.find("beside the loop above"));
}

}  // namespace
}  // namespace rondo::test
