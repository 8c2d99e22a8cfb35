// What a step may make of the states: any values of it, also old ones, parts of them and numbers.
// The engine against the reference, in results and gradients.
#include <functional>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

using namespace rondo;

namespace {

using Step = std::function<RecurrenceStep(const Var& a, const Var& b, const Var& x)>;

struct Cell {
  const char* name;
  Step step;
};

const Cell kCells[] = {
    {"states trade places",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       return {.states = {b, a}, .ys = {a * x + b}};
     }},
    {"a state becomes another's old value",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       return {.states = {tanh(b + x), a}, .ys = {b}};
     }},
    {"a state stays, a state becomes a result",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       const Var y = a * tanh(b) + x;
       return {.states = {a, y}, .ys = {y}};
     }},
    {"both states become one value",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       const Var n = sigmoid(a - b) * x;
       return {.states = {n, n}, .ys = {a}};
     }},
    {"a state becomes a number, a result is one",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       return {.states = {tanh(a + b * x), fill_like(b, 0.5)}, .ys = {fill_like(a, 2.0)}};
     }},
    {"a state is part of what a product gives",
     [](const Var& a, const Var& b, const Var& x) -> RecurrenceStep {
       const Vars parts = split(concat(Vars{a * x, tanh(b)}, 1), 2, 1);
       return {.states = {parts[1] + x, parts[0]}, .ys = {parts[1]}};
     }},
};

}  // namespace

TEST_CASE("a cell may carry more states than the engine keeps at hand", "[recurrence][engine]") {
  constexpr int64_t kTime = 6, kRows = 5, kWidth = 3;
  constexpr size_t kStates = 6;
  for (const bool windows : {false, true}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {kTime, kRows, kWidth});
    const Var end = g.placeholder("end", i64, {kRows});
    const Var h = g.placeholder("h", f64, {kRows, kWidth});
    RecurrenceInputs in{.states = Vars(kStates, h), .xs = {x}};
    if (windows) in.end = end;
    const auto r = recurrence(in, [&](const Vars& s, const Vars& xs, const Vars&) {
      RecurrenceStep step;  // each takes its neighbour's place
      for (size_t i = 0; i < kStates; ++i)
        step.states.push_back(i == 0 ? tanh(s[kStates - 1] + xs[0]) : s[i - 1]);
      step.ys = {s[kStates - 1] * s[4]};
      return step;
    });
    Vars asked = r.finals;
    asked.push_back(r.ys[0]);
    for (const Var& d : gradients(sum(r.ys[0] * r.ys[0]) + sum(r.finals[5]), {x, h}))
      asked.push_back(d);
    std::vector<Feed> feeds{{x, Tensor::full(f64, {kTime, kRows, kWidth}, 0.3)},
                            {h, Tensor::full(f64, {kRows, kWidth}, -0.4)}};
    if (windows) feeds.push_back({end, Tensor::of<int64_t>({kRows}, {6, 3, 0, 1, 4})});
    const auto wanted = Session(g, {.backend = "reference"}).run(asked, feeds);
    Session cpu(g);
    const auto got = cpu.run(asked, feeds);
    for (size_t i = 0; i < asked.size(); ++i) {
      for (int64_t k = 0; k < got[i].size(); ++k)
        CHECK_THAT(got[i].at(k), Catch::Matchers::WithinAbs(wanted[i].at(k), 1e-12));
    }
    CHECK(cpu.plan(asked)->bind({})->uses_kernel("cpu.recurrence.engine"));
  }
}

TEST_CASE("a step may make of the states what it likes", "[recurrence][engine]") {
  constexpr int64_t kTime = 7, kRows = 9, kWidth = 3;
  const auto numbers = [](Dims dims, double by) {
    Tensor t(f64, std::move(dims));
    for (int64_t i = 0; i < t.size(); ++i)
      t.mutable_data<double>()[i] = 0.1 * static_cast<double>((i * 7 + 3) % 19) - by;
    return t;
  };
  int on_engine = 0;
  for (const Cell& cell : kCells) {
    for (const bool reverse : {false, true}) {
      for (const bool windows : {false, true}) {
        Graph g;
        const Var x = g.placeholder("x", f64, {kTime, kRows, kWidth});
        const Var a = g.placeholder("a", f64, {kRows, kWidth}),
                  b = g.placeholder("b", f64, {kRows, kWidth});
        const Var begin = g.placeholder("begin", i64, {kRows}),
                  end = g.placeholder("end", i64, {kRows});
        RecurrenceInputs in{.states = {a, b}, .xs = {x}};
        in.reverse = reverse;
        if (windows) in.begin = begin, in.end = end;
        const auto r = recurrence(in, [&](const Vars& s, const Vars& xs, const Vars&) {
          return cell.step(s[0], s[1], xs[0]);
        });
        Vars asked = r.finals;
        asked.insert(asked.end(), r.ys.begin(), r.ys.end());
        const Var loss = sum(r.ys[0] * r.ys[0]) + sum(r.finals[0] * 3.0) + sum(r.finals[1]);
        for (const Var& d : gradients(loss, {x, a, b})) asked.push_back(d);
        std::vector<Feed> feeds{{x, numbers({kTime, kRows, kWidth}, 0.9)},
                                {a, numbers({kRows, kWidth}, 0.7)},
                                {b, numbers({kRows, kWidth}, 1.1)}};
        if (windows) {
          feeds.push_back({begin, Tensor::of<int64_t>({kRows}, {0, 1, 2, 0, 3, 7, 1, 2, 0})});
          feeds.push_back({end, Tensor::of<int64_t>({kRows}, {7, 5, 7, 0, 4, 7, 6, 3, 1})});
        }
        INFO(cell.name << (reverse ? ", backwards" : "") << (windows ? ", windows" : ""));
        const auto wanted = Session(g, {.backend = "reference"}).run(asked, feeds);
        for (const int threads : {1, 2}) {
          Session cpu(g, {.backend = "cpu"}, std::make_shared<ThreadTeam>(threads));
          const auto got = cpu.run(asked, feeds);
          for (size_t i = 0; i < asked.size(); ++i) {
            REQUIRE(got[i].dims() == wanted[i].dims());
            for (int64_t k = 0; k < got[i].size(); ++k)
              REQUIRE_THAT(got[i].at(k), Catch::Matchers::WithinAbs(wanted[i].at(k), 1e-12));
          }
          on_engine += cpu.plan(asked)->bind({})->uses_kernel("cpu.recurrence.engine") ? 1 : 0;
        }
      }
    }
  }
  CHECK(on_engine == 6 * 2 * 2 * 2);
}
