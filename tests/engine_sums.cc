// Sums over time and rows of outer products, as the gradients of matrices are: the engine adds them
// up some steps at a time. Against the reference, with the same bits for any team.
#include <cmath>
#include <functional>
#include <memory>

#include <catch2/catch_test_macros.hpp>

#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

struct World {
  Var h, x, row;  // [B,5], [B,3], [B,4] in a step
};
Var outer(const Var& a, const Var& b) { return matmul(a, b, {.transpose_a = true}); }

struct Sum {
  const char* name;
  std::function<Vars(const World&, const Var& next)> terms;
};
const Sum kSums[] = {
    {"of an input and what the step computes",
     [](const World& w, const Var& next) -> Vars { return {outer(w.x, next)}; }},
    {"of the state before the step, first and second",
     [](const World& w, const Var& next) -> Vars {
       return {outer(w.h, next), outer(next, w.h), outer(w.h, w.h)};
     }},
    {"of a row's own operand and parts of a value",
     [](const World& w, const Var& next) -> Vars {
       const Vars parts = Vars{slice(next * 2.0, 1, 0, 2), slice(next * 2.0, 1, 2, 5)};
       return {outer(w.row, parts[1]), outer(parts[0], parts[1])};
     }},
    {"two that share a factor, and one more of other factors added to the first",
     [](const World& w, const Var& next) -> Vars {
       const Var d = next * sigmoid(next);
       return {outer(w.x, d) + outer(w.x * w.x, w.h), outer(w.row, d)};
     }},
    {"twice the same",
     [](const World& w, const Var& next) -> Vars {
       const Var o = outer(w.x, next);
       return {o + o, o};
     }},
    {"of numbers",
     [](const World& w, const Var& next) -> Vars {
       return {outer(fill_like(w.x, 0.5), next), outer(w.x, fill_like(next, -2.0))};
     }},
    {"of a product, and with sums of rows",
     [](const World& w, const Var& next) -> Vars {
       return {outer(concat(Vars{w.x, w.row}, 1), next), sum(next, {.axes = {0}})};
     }},
};

struct Loop {
  Graph g;
  Vars asked;
  std::vector<Feed> feeds;
};
enum class Windows { kNone, kRagged, kNoneRuns };
Loop loop_of(const Sum& s, DType type, int64_t steps, int64_t rows, bool reverse, Windows windows) {
  Loop l;
  const auto in = [&](const char* name, Dims dims, int seed) {
    const Shape shape(dims.begin(), dims.end());
    const Var v = l.g.placeholder(name, type, shape);
    l.feeds.emplace_back(v, draw(dims, type, -1, 1, seed));
    return v;
  };
  const Var x = in("x", {steps, rows, 3}, 1), row = in("row", {rows, 4}, 2),
            h = in("h", {rows, 5}, 3), w = in("w", {5, 5}, 4), v = in("v", {3, 5}, 5);
  RecurrenceInputs to{.states = {h}, .xs = {x}, .per_row = {row}, .reverse = reverse};
  if (windows != Windows::kNone) {
    to.end = l.g.placeholder("end", i32, {rows});
    std::vector<int32_t> ends;
    for (int64_t r = 0; r < rows; ++r)
      ends.push_back(
          windows == Windows::kNoneRuns ? 0 : static_cast<int32_t>((r * 5) % (steps + 1) * 3 / 4));
    l.feeds.emplace_back(to.end, Tensor::of<int32_t>({rows}, ends));
  }
  const RecurrenceResult r =
      recurrence(to, [&](const Vars& state, const Vars& xs, const Vars& own) -> RecurrenceStep {
        const Var next = tanh(matmul(xs[0], v) + matmul(state[0], w));
        return {.states = {next}, .ys = {next}, .sums = s.terms({state[0], xs[0], own[0]}, next)};
      });
  l.asked = r.sums;
  l.asked.push_back(r.finals[0]);
  l.asked.push_back(r.ys[0]);
  return l;
}

// Sums of so many terms of at most 1, of which each is rounded once: errors add up like steps of a
// random walk.
double tolerance(DType type, int64_t terms) {
  const auto n = static_cast<double>(terms);
  return 2 * n * std::sqrt(n) * (type == f64 ? 2.3e-16 : 1.2e-7);
}

void check(const Loop& l, double tolerance) {
  const auto want =
      Session(l.g, {.backend = "reference", .optimize = false}, one_thread()).run(l.asked, l.feeds);
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 8}) {
    Session cpu(l.g, {}, std::make_shared<ThreadTeam>(threads));
    const auto got = cpu.run(l.asked, l.feeds);
    CAPTURE(threads);
    if (first.empty()) {
      first = got;
      CHECK(cpu.plan(l.asked)->bind({})->uses_kernel("cpu.recurrence.engine"));
      for (size_t i = 0; i < want.size(); ++i) CHECK(distance(got[i], want[i]) < tolerance);
    }
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(first[i]));
  }
}

TEST_CASE("a loop adds up outer products of whatever its steps have", "[engine][sums]") {
  for (const Sum& s : kSums) {
    for (const bool reverse : {false, true}) {
      for (const Windows windows : {Windows::kNone, Windows::kRagged, Windows::kNoneRuns}) {
        // One time of adding up, several, and rows of more than one piece.
        for (const auto& [steps, rows] : {std::pair<int64_t, int64_t>{7, 2}, {300, 6}, {40, 70}}) {
          INFO(s.name << (reverse ? ", backwards, " : ", ") << steps << " steps of " << rows
                      << " rows, windows " << static_cast<int>(windows));
          check(loop_of(s, f64, steps, rows, reverse, windows), tolerance(f64, steps * rows));
        }
      }
    }
    INFO(s.name);
    check(loop_of(s, f32, 300, 6, false, Windows::kNone), tolerance(f32, 300 * 6));
  }
}

TEST_CASE("sums over no steps, and over no rows, are 0", "[engine][sums]") {
  for (const auto& [steps, rows] : {std::pair<int64_t, int64_t>{0, 3}, {4, 0}}) {
    const Loop l = loop_of(kSums[3], f64, steps, rows, false, Windows::kNone);
    for (const auto& got :
         {Session(l.g).run(l.asked, l.feeds)[0], Session(l.g).run(l.asked, l.feeds)[1]}) {
      for (int64_t i = 0; i < got.size(); ++i) CHECK(got.at(i) == 0);
    }
  }
}

// A few threads share the columns of matrices that are large, and meet to add up.
TEST_CASE("threads that share columns add up outer products", "[engine][sums]") {
  constexpr int64_t kTime = 600, kRows = 2, kInput = 40, kHidden = 200;
  Graph g;
  const Var x = g.placeholder("x", f32, {kTime, kRows, kInput});
  const Var y =
      rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "l", kInput, kHidden, FWD, f32)).y;
  Vars by = g.trainable();
  by.push_back(x);
  const Vars asked = gradients(0.01 * sum(square(y)), by);
  const std::vector<Feed> feeds{{x, draw({kTime, kRows, kInput}, f32, -1, 1, 6)}};
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 4}) {
    Session s(g, {}, std::make_shared<ThreadTeam>(threads));
    const auto got = s.run(asked, feeds);
    if (first.empty()) first = got;
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i].same_bits(first[i]));
  }
  const auto plain = Session(g, {.optimize = false}, one_thread()).run(asked, feeds);
  for (size_t i = 0; i < plain.size(); ++i) CHECK(distance(first[i], plain[i]) < 1e-3);
}

// Loops of several lengths and sums run together: each adds up after as many steps as alone.
TEST_CASE("loops beside each other add up at their own steps", "[engine][sums][together]") {
  Graph g;
  Vars losses;
  std::vector<Feed> feeds;
  for (const auto& [steps, rows] : {std::pair<int64_t, int64_t>{50, 40}, {23, 9}}) {
    const Var x = g.placeholder(cat("x", steps), f32, {steps, rows, 6});
    feeds.emplace_back(x, draw({steps, rows, 6}, f32, -1, 1, static_cast<int>(steps)));
    const Var y =
        rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, cat("l", steps), 6, 8, FWD, f32)).y;
    losses.push_back(sum(square(y)));
  }
  const Vars asked = gradients(0.01 * (losses[0] + losses[1]), g.trainable());
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 4}) {
    Session s(g, {}, std::make_shared<ThreadTeam>(threads));
    CHECK(s.explain(asked).find("beside the loop above") != std::string::npos);
    const auto got = s.run(asked, feeds);
    if (first.empty()) first = got;
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i].same_bits(first[i]));
  }
}

}  // namespace
}  // namespace rondo::test
