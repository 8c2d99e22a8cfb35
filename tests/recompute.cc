// Where memory matters more than time, a gradient runs its loop again, segment by segment.
#include <cmath>
#include <functional>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "check_gradient.h"
#include "error_code.h"
#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

struct Layer : Trained {
  Var x, lengths;
};

// What is summed over rows or time comes last.
void with_gradients(Layer& t, const Var& loss) {
  Vars by = t.g.trainable();
  by.insert(by.begin(), t.x);
  for (const Var& d : gradients(loss, by)) t.fetches.push_back(d);
}

// Its arena is what is kept for all steps, and little else.
Layer long_lstm(bool ragged, const Dim& steps = 200, const Dim& batch = 8, int64_t time = 200,
                int64_t rows = 8, DType dtype = f64) {
  constexpr int64_t kWidth = 16;
  Layer t;
  t.x = t.g.placeholder("x", dtype, {steps, batch, kWidth});
  if (ragged) {
    t.lengths = t.g.placeholder("lengths", i32, {batch});
    std::vector<int32_t> n;
    for (int64_t b = 0; b < rows; ++b)
      n.push_back(static_cast<int32_t>((b * 37 + time) % (time + 1)));
    t.feeds.emplace_back(t.lengths, Tensor::of<int32_t>({rows}, n));
  }
  const auto y = rnn::lstm_layer(t.x, {.max_ts_length = t.lengths},
                                 rnn::lstm_layer_weights(t.g, "lstm", kWidth, kWidth, FWD, dtype))
                     .y;
  t.fetches = {y};
  with_gradients(t, 0.01 * sum(square(y)));
  t.feeds.emplace_back(t.x, draw({time, rows, kWidth}, dtype, -1, 1, 5));
  return t;
}

int count(Session& s, const Vars& fetches, std::string_view op) {
  const auto plan = s.plan(fetches);
  const auto ids = live_nodes(plan->unit());
  return static_cast<int>(std::count_if(ids.begin(), ids.end(), [&](int32_t id) {
    return plan->unit().graph.node(id).op->name == op;
  }));
}

// Results and gradients of inputs bit for bit, sums over time within rounding.
void same(const std::vector<Tensor>& got, const std::vector<Tensor>& want, size_t exact,
          double close) {
  for (size_t i = 0; i < want.size(); ++i) {
    INFO("result " << i);
    if (i < exact) CHECK(got[i].same_bits(want[i]));
    CHECK(distance(got[i], want[i]) < close);
  }
}

TEST_CASE("where memory matters more, a gradient runs its loop again", "[recompute]") {
  const Layer t = long_lstm(GENERATE(false, true));
  Session keeps(t.g, {}, one_thread()), computes(t.g, {.recompute = true}, one_thread());
  CHECK(count(computes, t.fetches, "segments") == 2);
  CHECK(count(computes, t.fetches, "recurrence") == 0);
  const auto want = keeps.run(t.fetches, t.feeds), got = computes.run(t.fetches, t.feeds);
  same(got, want, 2, 1e-12);
  const auto text = computes.explain(t.fetches);
  INFO(text);
  CHECK(text.find("in segments of time: lstm_layer") != std::string::npos);
  CHECK(text.find("12 segments of 17 steps") != std::string::npos);
  // Kept are two states at the beginning of each segment, not 6 H numbers a step.
  const size_t more = keeps.plan(t.fetches)->bind({})->arena_bytes(),
               less = computes.plan(t.fetches)->bind({})->arena_bytes();
  CHECK(less < more * 3 / 5);

  // A budget between the two is kept by computing again; one below both is refused.
  Session tight(t.g, {.memory_budget = less}, one_thread());
  const auto within = tight.run(t.fetches, t.feeds);
  for (size_t i = 0; i < want.size(); ++i) CHECK(within[i].same_bits(got[i]));
  CHECK(tight.plan(t.fetches)->bind({})->arena_bytes() == less);
  Session roomy(t.g, {.memory_budget = more}, one_thread());
  CHECK(roomy.plan(t.fetches)->bind({})->arena_bytes() == more);
  Session none(t.g, {.memory_budget = less - 1}, one_thread());
  CHECK(code_of([&] { none.run(t.fetches, t.feeds); }) == "plan.memory.budget");
}

TEST_CASE("segments fit any number of steps and rows", "[recompute]") {
  const bool ragged = GENERATE(false, true);
  const int64_t time = GENERATE(0, 1, 2, 15, 16, 17, 33, 100), rows = GENERATE(0, 1, 5, 64);
  const Layer t = long_lstm(ragged, "T", "B", time, rows);
  Session keeps(t.g, {}, one_thread()), computes(t.g, {.recompute = true}, one_thread());
  CHECK(count(computes, t.fetches, "segments") == 2);
  same(computes.run(t.fetches, t.feeds), keeps.run(t.fetches, t.feeds), 2, 1e-12);
}

TEST_CASE("segments on any team, instruction set aside, give the same bits", "[recompute]") {
  const Layer t = long_lstm(true, 90, 11, 90, 11, f32);
  std::vector<Tensor> want;
  for (const int threads : {1, 2, 3, 8}) {
    Session s(t.g, {.recompute = true}, std::make_shared<ThreadTeam>(threads));
    const auto got = s.run(t.fetches, t.feeds);
    if (want.empty()) want = got;
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
  }
}

TEST_CASE("weights in fewer bits are the same in both runs of a loop", "[recompute]") {
  const Layer t = long_lstm(true, 90, 11, 90, 11, f32);
  const Precision precision = GENERATE(Precision::bf16, Precision::int8);
  Session keeps(t.g, {.precision = precision}, one_thread());
  Session computes(t.g, {.precision = precision, .recompute = true}, one_thread());
  same(computes.run(t.fetches, t.feeds), keeps.run(t.fetches, t.feeds), 2, 1e-5);
}

TEST_CASE("two layers in both directions, with all that a loop can give", "[recompute]") {
  Layer t;
  t.x = t.g.placeholder("x", f64, {"T", 9, 4});
  t.lengths = t.g.placeholder("lengths", i32, {9});
  const auto w = rnn::lstm_layer_weights(t.g, "a", 4, 5, BIDIR_CONCAT, f64);
  const auto first =
      rnn::lstm_layer(t.x, {.max_ts_length = t.lengths}, w,
                      {.direction_mode = BIDIR_CONCAT, .ret_last_h = true, .ret_last_c = true});
  const auto v = rnn::lstm_layer_weights(t.g, "b", 10, 3, BIDIR_CONCAT, f64);
  const auto second =
      rnn::lstm_layer(first.y, {.max_ts_length = t.lengths}, v, {.direction_mode = BIDIR_CONCAT});
  t.fetches = {first.y, first.last_h, first.last_c, second.y};
  with_gradients(t, sum(square(second.y)) + sum(first.last_h * 0.3) + sum(square(first.last_c)));
  t.feeds.emplace_back(t.x, draw({70, 9, 4}, f64, -1, 1, 5));
  t.feeds.emplace_back(t.lengths, Tensor::of<int32_t>({9}, {70, 0, 1, 69, 35, 36, 4, 5, 64}));
  Session keeps(t.g, {}, one_thread()), computes(t.g, {.recompute = true}, one_thread());
  CHECK(count(computes, t.fetches, "segments") == 8);
  same(computes.run(t.fetches, t.feeds), keeps.run(t.fetches, t.feeds), 5, 1e-12);
  Session plain(t.g, {.backend = "reference", .optimize = false}, one_thread());
  same(computes.run(t.fetches, t.feeds), plain.run(t.fetches, t.feeds), 0, 1e-12);
  // What runs the loops of a segment is free: also step by step.
  Session steps(t.g, {.backend = "reference", .recompute = true}, one_thread());
  CHECK(count(steps, t.fetches, "segments") == 8);
  CHECK(steps.plan(t.fetches)->bind({{"T", 70}})->uses_kernel("runtime.recurrence.steps"));
  same(steps.run(t.fetches, t.feeds), plain.run(t.fetches, t.feeds), 0, 1e-12);
}

TEST_CASE("a cell of one's own, with windows at both ends, sums and states before each step",
          "[recompute]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3}), h0 = g.placeholder("h0", f64, {"B", 3});
  const Var begin = g.placeholder("begin", i64, {"B"}), end = g.placeholder("end", i64, {"B"});
  const Var w = g.placeholder("w", f64, {3, 3}), per = g.placeholder("per", f64, {"B", 3});
  const bool reverse = GENERATE(false, true);
  const auto r = recurrence(
      {.states = {h0}, .xs = {x}, .per_row = {per}, .begin = begin, .end = end, .reverse = reverse},
      [&](const Vars& s, const Vars& xs, const Vars& p) -> RecurrenceStep {
        const Var h = tanh(xs[0] + matmul(s[0], w) * p[0]);
        return {.states = {h}, .ys = {sigmoid(h)}, .sums = {sum(h, {.axes = {0}})}};
      });
  const Var loss = sum(square(r.ys[0])) + sum(r.finals[0]) + sum(r.sums[0] * 0.7);
  Vars fetches{r.ys[0], r.finals[0], r.trajectories[0]};
  for (const Var& d : gradients(loss, {x, h0, per, w})) fetches.push_back(d);
  fetches.push_back(r.sums[0]);
  const std::vector<Feed> feeds{{x, draw({40, 4, 3}, f64, -1, 1, 1)},
                                {h0, draw({4, 3}, f64, -1, 1, 2)},
                                {per, draw({4, 3}, f64, -1, 1, 3)},
                                {w, draw({3, 3}, f64, -1, 1, 4)},
                                {begin, Tensor::of<int64_t>({4}, {0, 7, 40, 39})},
                                {end, Tensor::of<int64_t>({4}, {40, 31, 40, 40})}};
  Session keeps(g, {}, one_thread()), computes(g, {.recompute = true}, one_thread());
  CHECK(count(computes, fetches, "segments") == 2);
  same(computes.run(fetches, feeds), keeps.run(fetches, feeds), 6, 1e-12);
  std::vector<Feed> wrong = feeds;
  wrong.back().second = Tensor::of<int64_t>({4}, {40, 31, 40, 41});
  CHECK(code_of([&] { computes.run(fetches, wrong); }) == "recurrence.window.range");
}

TEST_CASE("a loop stays whole where segments save nothing", "[recompute]") {
  // One row: gradients of matrices are larger than what is kept.
  const Layer few = long_lstm(false, 100, 1, 100, 1);
  Session one(few.g, {.recompute = true});
  CHECK(count(one, few.fetches, "segments") == 0);
  // No gradient.
  const Layer t = long_lstm(false);
  Session forward(t.g, {.recompute = true});
  CHECK(count(forward, {t.fetches[0]}, "segments") == 0);
}

TEST_CASE("loops without rows, or of widths that are not known, are left as they are",
          "[recompute]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", 3}), h0 = g.placeholder("h", f64, {3});
  const auto r = scan(Vars{h0}, Vars{x}, [](const Vars& s, const Vars& xs) -> ScanStep<Var> {
    const Var h = tanh(s[0] * 0.5 + xs[0]);
    return {.states = {h}, .ys = {h}};
  });
  const Var d = gradients(sum(square(r.ys[0])), {x})[0];
  const std::vector<Feed> feeds{{x, draw({300, 3}, f64, -1, 1, 1)}, {h0, draw({3}, f64, -1, 1, 2)}};
  Session keeps(g, {}, one_thread()), computes(g, {.recompute = true}, one_thread());
  CHECK(computes.run(d, feeds).same_bits(keeps.run(d, feeds)));

  Graph wide;
  const Var u = wide.placeholder("u", f64, {100, 8, "H"}),
            s0 = wide.placeholder("s", f64, {8, "H"});
  const auto w = recurrence({.states = {s0}, .xs = {u}},
                            [](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                              const Var h = tanh(s[0] * xs[0]);
                              return {.states = {h}, .ys = {h}};
                            });
  const Var du = gradients(sum(square(w.ys[0])), {u})[0];
  const std::vector<Feed> some{{u, draw({100, 8, 4}, f64, -1, 1, 1)},
                               {s0, draw({8, 4}, f64, -1, 1, 2)}};
  Session a(wide, {}, one_thread()), b(wide, {.recompute = true}, one_thread());
  CHECK(b.run(du, some).same_bits(a.run(du, some)));
}

TEST_CASE("two loops in opposite directions are no loop and its gradient", "[recompute]") {
  Layer t;
  t.x = t.g.placeholder("x", f64, {100, 8, 4});
  const auto w = rnn::lstm_layer_weights(t.g, "a", 4, 5, FWD, f64);
  const auto v = rnn::lstm_layer_weights(t.g, "b", 5, 3, BWD, f64);
  const Var y = rnn::lstm_layer(rnn::lstm_layer(t.x, {}, w).y, {}, v, {.direction_mode = BWD}).y;
  Session s(t.g, {.recompute = true}, one_thread());
  CHECK(count(s, {y}, "segments") == 0);
}

// ---- the op: files might hold calls that no pass makes

struct Made {
  Vars operands;
  Attributes attributes;
  std::shared_ptr<const Subgraph> body;
};

// One state, x, w shared, end: next = state + sum of x over the steps; y = x w + state; sum = w.
Made made(Graph g) {
  Graph b;
  const Var state = b.placeholder("s", f32, {"B", 3}),
            x = b.placeholder("x", f32, {"$steps", "B", 3}), w = b.placeholder("w", f32, {3, 3}),
            end = b.placeholder("e", i32, {"B"});
  const Var next = state + sum(x, {.axes = {0}});
  const Subgraph s{b,
                   {state.value(), x.value(), w.value(), end.value()},
                   {next.value(), (matmul(x, w) + state).value(), square(w).value()}};
  return {{g.placeholder("s", f32, {"B", 3}), g.placeholder("x", f32, {"T", "B", 3}),
           g.placeholder("w", f32, {3, 3}), Var(), g.placeholder("e", i32, {"B"})},
          {{"states", 1},
           {"xs", 1},
           {"shared", 1},
           {"ys", 1},
           {"sums", 1},
           {"count", 4},
           {"extent", Shape{"T", "B"}}},
          std::make_shared<Subgraph>(s)};
}

TEST_CASE("the op segments refuses what does not fit its body, each rule once",
          "[recompute][refusal]") {
  using Break = std::function<void(Graph, Made&)>;
  const auto with_body = [](const std::function<void(Subgraph&)>& how) -> Break {
    return [how](Graph, Made& m) {
      Subgraph s = *m.body;
      how(s);
      m.body = std::make_shared<Subgraph>(s);
    };
  };
  const std::pair<const char*, Break> rules[] = {
      {"segments.body.missing", [](Graph, Made& m) { m.body = nullptr; }},
      {"segments.extent.count", [](Graph, Made& m) { m.attributes.set("extent", Shape{"T"}); }},
      {"segments.operands.arity", [](Graph, Made& m) { m.operands.pop_back(); }},
      {"segments.operands.missing", [](Graph, Made& m) { m.operands[0] = Var(); }},
      {"segments.body.inputs", with_body([](Subgraph& s) { s.inputs.pop_back(); })},
      {"segments.body.outputs", with_body([](Subgraph& s) { s.outputs.pop_back(); })},
      {"segments.body.outputs", with_body([](Subgraph& s) { s.outputs[2] = {}; })},
      {"segments.body.steps",
       with_body([](Subgraph& s) { std::swap(s.outputs[0], s.outputs[1]); })},
      {"segments.operands.type",
       [](Graph g, Made& m) { m.operands[2] = g.placeholder("v", f64, {3, 3}); }},
      {"segments.operands.type",
       [](Graph g, Made& m) { m.operands[0] = g.placeholder("v", f32, {"B", 4}); }},
      {"segments.extent.count", [](Graph, Made& m) { m.attributes.set("extent", Shape{-8, 1}); }},
      {"segments.operands.arity",
       [](Graph, Made& m) {
         m.attributes.set("ys", std::numeric_limits<int64_t>::max());
         m.attributes.set("sums", std::numeric_limits<int64_t>::max());
       }},
      {"segments.window.dtype", [](Graph g, Made& m) {
         std::swap(m.operands[2], m.operands[4]);
         Subgraph s = *m.body;
         std::swap(s.inputs[2], s.inputs[3]);
         m.body = std::make_shared<Subgraph>(s);
         (void)g;
       }}};
  const OpDef& op = registry().at("segments");
  for (const auto& [code, spoil] : rules) {
    INFO(code);
    Graph g;
    Made m = made(g);
    spoil(g, m);
    CHECK(code_of([&] { g.call(op, m.operands, m.attributes, {.body = m.body}); }) == code);
  }
}

TEST_CASE("the op segments on numbers, and on sizes that its body cannot have", "[recompute]") {
  Graph g;
  const Made m = made(g);
  const Vars r = g.call(registry().at("segments"), m.operands, m.attributes, {.body = m.body});
  constexpr int64_t kRows = 64;  // of two steps in a segment
  Tensor x(f32, {6, kRows, 3}), first(f32, {kRows, 3}), ends(i32, {kRows});
  for (int64_t b = 0; b < kRows; ++b) {
    for (int64_t i = 0; i < 3; ++i)
      first.mutable_data<float>()[b * 3 + i] = static_cast<float>(10 * (i + 1));
    for (int64_t t = 0; t < 6; ++t)
      x.mutable_data<float>()[(t * kRows + b) * 3 + t % 3] = static_cast<float>(1 + t / 3);
    ends.mutable_data<int32_t>()[b] = 6;
  }
  const Tensor w = Tensor::of<float>({3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  std::vector<Feed> feeds{
      {m.operands[0], first}, {m.operands[1], x}, {m.operands[2], w}, {m.operands[4], ends}};
  const auto got = Session(g).run(r, feeds);
  // Three segments of two steps; there is no fourth.
  CHECK(got[0].at(0) == 1 + 10);
  CHECK(got[0].at(2 * kRows * 3) == 7 + 11);
  CHECK(got[0].at(5 * kRows * 3 + 2) == 18 + 31);
  for (const int64_t i : {0, 1, 2}) CHECK(got[1].at(i) == 13 + 10 * i);
  CHECK(got[2].at(8) == 3 * 81);
  CHECK(got[3].at(0) == 10);
  CHECK(got[3].at(kRows * 3) == 11);
  CHECK(got[3].at(kRows * 3 + 1) == 21);
  CHECK(got[3].at(2 * kRows * 3) == 13);
  CHECK(got[3].at(3 * kRows * 3) == 0);
  ends.mutable_data<int32_t>()[kRows - 1] = 7;
  feeds.back().second = ends;
  CHECK(code_of([&] { Session(g).run(r, feeds); }) == "recurrence.window.range");
}

TEST_CASE("segments hold operands and results to what the body has for them under a binding",
          "[recompute][refusal]") {
  const auto refused = [](const std::function<void(Graph, Made&)>& how,
                          const std::function<void(std::vector<Feed>&, Made&)>& feed) {
    Graph g;
    Made m = made(g);
    how(g, m);
    const Vars r = g.call(registry().at("segments"), m.operands, m.attributes, {.body = m.body});
    std::vector<Feed> feeds{{m.operands[0], Tensor(f32, {2, 3})},
                            {m.operands[1], Tensor(f32, {6, 2, 3})},
                            {m.operands[2], Tensor(f32, {3, 3})},
                            {m.operands[4], Tensor(i32, {2})}};
    feed(feeds, m);
    return code_of([&] { Session(g).run(r, feeds); });
  };
  // The next state is another operand, whose rows are only known at a run.
  CHECK(refused(
            [](Graph g, Made& m) {
              Graph b;
              const Var s = b.placeholder("s", f32, {"B", 3}),
                        x = b.placeholder("x", f32, {"$steps", "B", 3}),
                        w = b.placeholder("w", f32, {"Q", 3}), e = b.placeholder("e", i32, {"B"});
              m.body =
                  std::make_shared<Subgraph>(Subgraph{b,
                                                      {s.value(), x.value(), w.value(), e.value()},
                                                      {w.value(), x.value(), s.value()}});
              m.operands[2] = g.placeholder("w2", f32, {"Q", 3});
            },
            [](std::vector<Feed>& f, Made& m) { f[2] = {m.operands[2], Tensor(f32, {500, 3})}; }) ==
        "segments.operands.type");
  // Ends for other rows than there are.
  CHECK(refused([](Graph g, Made& m) { m.operands[4] = g.placeholder("e2", i32, {"C"}); },
                [](std::vector<Feed>& f, Made& m) { f[3] = {m.operands[4], Tensor(i32, {1})}; }) ==
        "segments.operands.type");
}

}  // namespace
}  // namespace rondo::test
