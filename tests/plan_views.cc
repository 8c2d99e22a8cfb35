// Values that lie in others: slices of whole blocks, and what is put together of blocks. No copy,
// no other bit, and nobody reads what is not there yet.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void check_bits(const Graph& g, const Vars& asked, const std::vector<Feed>& feeds) {
  const auto want =
      Session(g, {.backend = "reference", .optimize = false}, one_thread()).run(asked, feeds);
  for (const int threads : {1, 2, 4}) {
    Session s(g, {}, std::make_shared<ThreadTeam>(threads));
    for (int again = 0; again < 3; ++again) {
      const auto got = s.run(asked, feeds);
      for (size_t i = 0; i < want.size(); ++i) {
        CAPTURE(threads, again, i);
        CHECK(got[i].dims() == want[i].dims());
        CHECK(distance(got[i], want[i]) < 1e-12);
      }
    }
  }
}

TEST_CASE("blocks are read and made where they lie", "[plan][views]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {4, 3, 2}), y = g.placeholder("y", f64, {2, 3, 2});
  const std::vector<Feed> feeds{{x, draw({4, 3, 2}, f64, -1, 1, 1)},
                                {y, draw({2, 3, 2}, f64, -1, 1, 2)}};
  const Var part = slice(x, 0, 1, 3), row = slice(reshape(part, {2, 6}), 0, 1, 2);
  const Var a = exp(y), b = cumsum(y);
  const Var both = concat(Vars{a, b}, 0);
  const struct {
    const char* name;
    Vars asked;
    int slices, concats;  // that are left as steps
  } cases[] = {
      {"a slice, and a slice of a slice in another shape", {cumsum(part), cumsum(row)}, 0, 0},
      {"a slice along an inner axis", {cumsum(slice(x, 1, 0, 2))}, 1, 0},
      {"a slice that is a result", {part}, 1, 0},
      {"two values put together, and one of them read", {cumsum(both), cumsum(a)}, 0, 0},
      {"put together as a result", {both, b * 2.0}, 0, 0},
      {"part of what is put together", {cumsum(slice(both, 0, 1, 3))}, 0, 0},
      {"nested", {cumsum(concat(Vars{cumsum(part), both}, 0))}, 0, 0},
      {"one value twice", {cumsum(concat(Vars{a, a}, 0))}, 0, 1},
      {"with an operand of the graph", {cumsum(concat(Vars{a, y}, 0))}, 0, 1},
      {"with a result", {a, cumsum(concat(Vars{b, a}, 0))}, 0, 1},
      {"with a part of a value", {cumsum(concat(Vars{slice(b, 0, 0, 1), a}, 0)), b}, 0, 1},
      {"along an inner axis", {cumsum(concat(Vars{a, b}, 1))}, 0, 1},
  };
  for (const auto& c : cases) {
    INFO(c.name);
    check_bits(g, c.asked, feeds);
    Session s(g);
    const std::string text = s.explain(c.asked);
    INFO(text);
    CHECK(has(text, "cpu.slice") == (c.slices != 0));
    CHECK(has(text, "cpu.concat") == (c.concats != 0));
  }
}

// Each of several steps that write parts of one value would take, and give back, all of its memory.
TEST_CASE("what is made in parts lies once in a run's memory", "[plan][views]") {
  constexpr int64_t kRows = 64, kColumns = 16;
  Graph g;
  const Var x = g.placeholder("x", f64, {kRows, kColumns});
  const Var both = concat(Vars{exp(x), cumsum(x), sin(x)}, 0);
  Session s(g);
  const auto plan = s.plan({cumsum(both)})->bind({});
  CHECK(plan->ops().count("concat") == 0);
  CHECK(plan->arena_bytes() == 3 * kRows * kColumns * sizeof(double));
}

// The weights of both directions are parts of one array: each is packed once, until it changes.
TEST_CASE("packed parts of a variable follow its value", "[plan][views]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {5, 2, 3});
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "l", 3, 8, BIDIR_CONCAT, f32),
                                {.direction_mode = BIDIR_CONCAT})
                    .y;
  const Feed feed{x, draw({5, 2, 3}, f32, -1, 1, 3)};
  Session s(g), plain(g, {.backend = "reference", .optimize = false}, one_thread(), s.store());
  for (int value = 0; value < 3; ++value) {
    VariableStore::Values now;
    for (const Var& w : g.trainable())
      now[w.name()] = draw(*constant_dims(w.shape()), f32, -1, 1, 10 + value);
    s.store()->commit(now);
    for (int again = 0; again < 2; ++again)
      CHECK(distance(s.run(y, {feed}), plain.run(y, {feed})) < 1e-4);
  }
}

// The decoder's first states are put together of the encoder's last: it must wait for its end.
TEST_CASE("a loop waits for what is put together of another's results", "[plan][views][together]") {
  constexpr int64_t kTime = 400, kRows = 16, kHidden = 8;
  Graph g;
  const Var x = g.placeholder("x", f64, {kTime, kRows, 4});
  const auto layer = [&](const char* name, int64_t hidden, const Var& h, const Var& c) {
    return rnn::lstm_layer(x, {.c_last = c, .y_last = h},
                           rnn::lstm_layer_weights(g, name, 4, hidden, FWD, f64),
                           {.ret_last_h = true, .ret_last_c = true});
  };
  const auto encoder = layer("encoder", kHidden, Var(), Var());
  const Var states = concat(Vars{encoder.last_h, encoder.last_c}, 0);
  const Var first = reshape(states, {kRows, 2 * kHidden});
  const auto decoder = layer("decoder", 2 * kHidden, first, first);
  check_bits(g, {decoder.y, states}, {{x, draw({kTime, kRows, 4}, f64, -1, 1, 4)}});
}

// Its leader has no sums, so that it is one piece of work; the follower sums every few steps.
TEST_CASE("a loop that sums follows one that does not, and is much wider", "[together][sums]") {
  constexpr int64_t kTime = 60, kRows = 16, kNarrow = 8, kWide = 160;
  Graph g;
  const Var x = g.placeholder("x", f32, {kTime, kRows, 4});
  const auto below = rnn::lstm_layer_weights(g, "below", 4, kNarrow, FWD, f32);
  const Var y = rnn::lstm_layer(x, {}, below).y;
  const Vars trained = g.trainable();
  const Var top =
      rnn::lstm_layer(y, {}, rnn::lstm_layer_weights(g, "top", kNarrow, kWide, FWD, f32)).y;
  const Vars asked = gradients(0.01 * sum(square(top)), trained);
  const std::vector<Feed> feeds{{x, draw({kTime, kRows, 4}, f32, -1, 1, 5)}};
  const auto want = Session(g, {}, one_thread()).run(asked, feeds);
  Session s(g, {}, std::make_shared<ThreadTeam>(2));
  CHECK(has(s.explain(asked), "behind a loop above, step by step"));
  for (int again = 0; again < 20; ++again) {
    const auto got = s.run(asked, feeds);
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
  }
}

TEST_CASE("two loops of no steps sum to 0", "[together][sums]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "l", 3, 8, BIDIR_CONCAT, f32),
                                {.direction_mode = BIDIR_CONCAT})
                    .y;
  const Vars asked = gradients(sum(y), g.trainable());
  Session s(g, {}, std::make_shared<ThreadTeam>(2));
  for (int again = 0; again < 50; ++again) {
    for (const Tensor& d : s.run(asked, {{x, Tensor(f32, {0, 8, 3})}})) {
      for (int64_t i = 0; i < d.size(); ++i) CHECK(d.at(i) == 0);
    }
    s.run(asked, {{x, draw({5, 8, 3}, f32, -1, 1, again)}});  // garbage in the arena
  }
}

}  // namespace
}  // namespace rondo::test
