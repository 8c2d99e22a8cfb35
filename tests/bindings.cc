// One plan under many sizes: what its bindings share must not be that of one of them.
#include <atomic>
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"

#include <rondo/rondo.h>
#include <rondo/runtime/arena_holes.h>
#include <rondo/runtime/node_memo.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/recurrence_steps.h>

namespace rondo::test {
namespace {

// A loss that trains: recurrences and fused regions of every size, and updates of fixed shapes.
struct Trained {
  Graph g;
  Var x, lengths, labels;
  Vars fetches;

  Trained() {
    x = g.placeholder("x", f32, {"T", "B", 5});
    lengths = g.placeholder("lengths", i32, {"B"});
    labels = g.placeholder("labels", i32, {"B"});
    const auto lstm = rnn::lstm_layer(tanh(x) * 2 - 1, {.max_ts_length = lengths},
                                      rnn::lstm_layer_weights(g, "lstm", 5, 6, BIDIR_CONCAT),
                                      {.direction_mode = BIDIR_CONCAT, .ret_last_h = true});
    const Var logits = nn::dense(rnn::join_directions(lstm.last_h), 3, "out");
    fetches = {loss::softmax_cross_entropy(logits, labels)};
    for (const Var& d : gradients(fetches[0], g.trainable())) fetches.push_back(d * 0.5 + 1);
  }
  std::vector<Feed> feeds(int64_t steps, int64_t rows) const {
    std::vector<int32_t> length, label;
    for (int64_t r = 0; r < rows; ++r) {
      length.push_back(static_cast<int32_t>(1 + (r * 5 + 2) % steps));
      label.push_back(static_cast<int32_t>(r % 3));
    }
    return {{x, draw({steps, rows, 5}, f32, -1, 1, static_cast<uint64_t>(steps))},
            {lengths, Tensor::of<int32_t>({rows}, length)},
            {labels, Tensor::of<int32_t>({rows}, label)}};
  }
};

}  // namespace

TEST_CASE("a plan under many sizes, from many threads, gives the bits of a plan for each",
          "[plan][threads]") {
  const Trained t;
  struct Case {
    std::vector<Feed> feeds;
    std::vector<Tensor> want;
  };
  std::vector<Case> cases;
  for (const auto& [steps, rows] : {std::pair{7, 3}, {2, 1}, {7, 9}, {1, 3}, {12, 16}, {3, 40}}) {
    const std::vector<Feed> feeds = t.feeds(steps, rows);
    cases.push_back({feeds, Session(t.g, {}, one_thread()).run(t.fetches, feeds)});
  }
  for (int round = 0; round < 5; ++round) {  // each with a plan that nobody has bound
    Session s(t.g, {}, std::make_shared<ThreadTeam>(2));
    std::atomic<int> wrong{0}, begun{0};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (++begun; begun < 4;) std::this_thread::yield();
        for (size_t k = 0; k < 2 * cases.size(); ++k) {
          const Case& c = cases[(i + k) % cases.size()];
          const std::vector<Tensor> got = s.run(t.fetches, c.feeds);
          for (size_t v = 0; v < got.size(); ++v) wrong += got[v].same_bits(c.want[v]) ? 0 : 1;
        }
      });
    }
    for (std::thread& u : threads) u.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("sizes that were let go are bound anew", "[plan]") {
  const Trained t;
  const std::vector<Tensor> want = Session(t.g, {}, one_thread()).run(t.fetches, t.feeds(5, 2));
  Session s(t.g, {}, one_thread());
  const auto plan = s.plan(t.fetches);
  plan->bind({{"T", 5}, {"B", 2}});
  for (int64_t rows = 1; rows <= 70; ++rows) plan->bind({{"T", 4}, {"B", rows}});
  const std::vector<Tensor> again = s.run(t.fetches, t.feeds(5, 2));
  for (size_t v = 0; v < want.size(); ++v) CHECK(again[v].same_bits(want[v]));
}

// Operands and results say nothing of N; the step's own plan reads it.
TEST_CASE("a loop of fixed shapes whose body depends on a size is not shared", "[plan]") {
  Graph g;
  const Var n = g.placeholder("n", f32, {"N"});
  const auto r = recurrence({.states = {fill(g, f32, {2, 3}, 0)}, .steps = 4, .rows = 2},
                            [&](const Vars& s, const Vars&, const Vars&) -> RecurrenceStep {
                              const Var many = sum(fill(s[0].graph(), f32, {"N"}, 1));
                              return {.states = {s[0] + many}};
                            });
  Session s(g, {.optimize = false}, one_thread());
  const Vars fetches{r.finals[0], sum(n)};
  REQUIRE(s.plan(fetches)->bind({{"N", 1}})->uses_kernel(kRecurrenceSteps));
  for (const int64_t size : {3, 5, 3}) {
    const Tensor y = s.run(fetches, {{n, Tensor::full(f32, {size}, 1)}})[0];
    CHECK(y == Tensor::full(f32, {2, 3}, static_cast<double>(4 * size)));
  }
}

TEST_CASE("a node's memo holds one thing of a type, and nothing of what failed", "[plan]") {
  NodeMemo memo;
  const auto failing = []() -> std::shared_ptr<const int> { fail_internal("no"); };
  CHECK_THROWS_AS(memo.get<int>(failing), Error);
  const auto one = memo.get<int>([] { return std::make_shared<const int>(1); });
  CHECK(memo.get<int>([] { return std::make_shared<const int>(2); }) == one);
  CHECK(*memo.get<long>([] { return std::make_shared<const long>(3); }) == 3);
  CHECK(*one == 1);
  // Made while another made it: all are given the first.
  const auto late = memo.get<char>([&] {
    CHECK(*memo.get<char>([] { return std::make_shared<const char>('a'); }) == 'a');
    return std::make_shared<const char>('b');
  });
  CHECK(*late == 'a');
}

TEST_CASE("freed places join, and the smallest that fits is used again", "[plan]") {
  ArenaHoles arena;
  const size_t a = arena.take(64), b = arena.take(100), c = arena.take(0), d = arena.take(640);
  CHECK(std::vector<size_t>{a, b, c, d} == std::vector<size_t>{0, 64, 192, 256});
  const size_t end = arena.take(1);
  arena.give_back(d, 640);
  arena.give_back(a, 64);
  arena.give_back(c, 0);  // before d
  arena.give_back(b, 100);
  CHECK(arena.take(896) == 0);  // all of them
  arena.give_back(0, 896);
  const size_t all = arena.take(192), rest = arena.take(704);
  const size_t behind = arena.take(64);
  CHECK(behind == end + 64);
  arena.give_back(rest, 704);
  const size_t keep = arena.take(640);
  arena.give_back(all, 192);
  CHECK(keep == 192);
  CHECK(arena.take(64) == 832);  // a hole of just this size, not the larger one in front
  CHECK(arena.top() == behind + 64);
}

}  // namespace rondo::test
