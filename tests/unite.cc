// `unite`: two loops that carry the same states on become one with the results of both; others stay
// two.
#include <functional>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "op_run.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kT = 5, kB = 3, kH = 4;

// Two loops over x from h0, and what is asked of them.
struct Pair {
  Graph g;
  Var x = g.placeholder("x", f64, {kT, kB, kH}), other = g.placeholder("other", f64, {kT, kB, kH});
  Var h0 = g.placeholder("h0", f64, {kB, kH}), u = g.placeholder("u", f64, {kH, kH}),
      v = g.placeholder("v", f64, {kH, kH});
  Vars asked = {};

  // h = tanh(h w + x); what `make` gives of it, and sums over time.
  RecurrenceResult loop(const Var& of, const Var& w, const std::function<Vars(const Var&)>& make,
                        bool reverse = false) {
    return recurrence({.states = {h0}, .xs = {of}, .reverse = reverse},
                      [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                        const Var h = tanh(matmul(s[0], w) + xs[0]);
                        return {.states = {h}, .ys = make(h), .sums = {sum(h, {.axes = {0}})}};
                      });
  }
  void ask(const RecurrenceResult& r) {
    for (const Vars* list : {&r.ys, &r.finals, &r.sums, &r.trajectories})
      asked.insert(asked.end(), list->begin(), list->end());
  }
  size_t loops_after(bool united) const {
    Subgraph s{g, {x.value(), other.value(), h0.value(), u.value(), v.value()}, {}};
    for (const Var& y : asked) s.outputs.push_back(y.value());
    s = common_subexpressions(s);
    if (united) s = unite(s);
    size_t n = 0;
    for (const int32_t id : live_nodes(s)) n += s.graph.node(id).op->name == "recurrence" ? 1 : 0;
    return n;
  }
  // Whether the values are what they are without any pass.
  void check_values() const {
    std::vector<Feed> feeds;
    for (const Var& p : {x, other, h0, u, v})
      feeds.emplace_back(p, draw(bind(p.shape(), {}), f64, -1, 1, feeds.size() + 1));
    const auto want = Session(g, {.optimize = false}, one_thread()).run(asked, feeds);
    const auto got = Session(g, {}, one_thread()).run(asked, feeds);
    for (size_t k = 0; k < want.size(); ++k) CHECK(distance(got[k], want[k]) < 1e-14);
  }
};

Vars sines(const Var& h) { return {sin(h)}; }

TEST_CASE("two loops that carry the same states are one with the results of both", "[unite]") {
  Pair p;
  p.ask(p.loop(p.x, p.u, sines));
  p.ask(p.loop(p.x, p.u, [&](const Var& h) -> Vars {
    return {cos(h) * per_step(p.other), sin(h), matmul(h, p.v)};
  }));
  CHECK(p.loops_after(false) == 2);
  CHECK(p.loops_after(true) == 1);
  p.check_values();
}

TEST_CASE("loops with other states, another direction, or one behind the other stay two",
          "[unite]") {
  const std::vector<std::function<void(Pair&)>> seconds{
      [](Pair& p) { p.ask(p.loop(p.x, p.v, sines)); },
      [](Pair& p) { p.ask(p.loop(p.other, p.u, sines)); },
      [](Pair& p) { p.ask(p.loop(p.x, p.u, sines, true)); },
      [](Pair& p) {
        const Var y = p.asked[0];
        p.ask(p.loop(p.x, p.u, [&](const Var& h) -> Vars { return {h * per_step(y)}; }));
      }};
  for (size_t k = 0; k < seconds.size(); ++k) {
    CAPTURE(k);
    Pair p;
    p.ask(p.loop(p.x, p.u, sines));
    seconds[k](p);
    CHECK(p.loops_after(true) == 2);
    p.check_values();
  }
}

TEST_CASE("loops with results that nobody gave are united too", "[unite]") {
  Pair p;
  const auto none_first = p.loop(p.x, p.u, [](const Var& h) { return Vars{Var(), h}; });
  const auto none_last = p.loop(p.x, p.u, [](const Var& h) { return Vars{h * 2.0, Var()}; });
  p.asked = {none_first.ys[1], none_last.ys[0], none_first.sums[0]};
  CHECK(p.loops_after(true) == 1);
  p.check_values();
}

}  // namespace
}  // namespace rondo::test
