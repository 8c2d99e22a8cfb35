// cond, while_loop and scan: values in both forms, gradients of first and second order, and what
// does not run.
#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"
#include "file_copy.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

// Newton's iteration for the square root of a, until it stands still.
template <class V>
WhileResult<V> root(const V& a, int64_t at_most) {
  return while_loop<V>(
      {a, a * 0.5 + 0.5},
      [](const std::vector<V>& s) { return abs(s[1] * s[1] - s[0]) > 1e-12 * s[0]; },
      [](const std::vector<V>& s) { return std::vector<V>{s[0], 0.5 * (s[1] + s[0] / s[1])}; },
      at_most);
}

// A running mean of the rows of x, and how far each row is from it.
template <class V>
ScanResult<V> running_mean(const V& x, const V& first, bool reverse) {
  return scan<V>(
      {first}, {x},
      [](const std::vector<V>& s, const std::vector<V>& xs) -> ScanStep<V> {
        V m = s[0] * 0.75 + xs[0] * 0.25;
        return {{m}, {square(xs[0] - m), sum(xs[0])}};
      },
      reverse);
}

const Dims kRows{5, 2, 3};

}  // namespace

TEST_CASE("cond runs one branch, in a graph and on tensors", "[control]") {
  Graph g;
  const Var p = g.placeholder("p", boolean, {}), x = g.placeholder("x", f64, {"N", 2});
  const auto twice = [](const Vars& v) -> Vars { return {v[0] * 2, sum(v[0])}; };
  const auto minus = [](const Vars& v) -> Vars { return {-v[0], fill_like(sum(v[0]), 7)}; };
  const Vars y = cond<Var>(p, {x}, twice, minus);
  CHECK(y[0].shape() == x.shape());
  const Tensor t = Tensor::of<double>({2, 2}, {1, 2, 3, 4});
  Session session(g);
  for (const bool yes : {true, false}) {
    const Tensor flag = Tensor::of<bool>({}, {yes});
    const std::vector<Tensor> got = session.run(y, {{p, flag}, {x, t}});
    CHECK(got[0].at(3) == (yes ? 8 : -4));
    CHECK(got[1].item() == (yes ? 10 : 7));
    const std::vector<Tensor> now = cond<Tensor>(
        flag, {t}, [](const auto& v) { return std::vector<Tensor>{v[0] * 2}; },
        [](const auto& v) { return std::vector<Tensor>{-v[0]}; });
    CHECK(now[0].same_bits(got[0]));
  }
}

TEST_CASE("a branch that is not taken does not run: its errors do not happen, nor does its NaN",
          "[control]") {
  Graph g;
  const Var p = g.placeholder("p", boolean, {}), i = g.placeholder("i", i32, {1}),
            w = g.variable("w", Tensor::of<double>({2, 2}, {1, 2, 3, 4}));
  // Nothing in it depends on more than the operands, so it could leave a loop that always runs.
  const Vars y = cond<Var>(
      p, {w, i}, [](const Vars& v) -> Vars { return {sum(log(gather(v[0], v[1]) - 3))}; },
      [](const Vars& v) -> Vars { return {sum(v[0])}; });
  const Var d = gradients(y[0], {w})[0];
  for (const char* backend : {"cpu", "reference"}) {
    for (const bool optimize : {true, false}) {
      CAPTURE(backend, optimize);
      Session session(g, {.backend = backend, .optimize = optimize});
      const auto run = [&](bool yes, int32_t at) {
        return session.run({y[0], d},
                           {{p, Tensor::of<bool>({}, {yes})}, {i, Tensor::of<int32_t>({1}, {at})}});
      };
      const std::vector<Tensor> skipped = run(false, 9);
      CHECK(skipped[0].item() == 10);
      CHECK(skipped[1].at(0) == 1);
      CHECK(code_of([&] { run(true, 9); }) == "gather.indices.range");
      CHECK(std::isnan(run(true, 0)[0].item()));
      CHECK(run(true, 1)[1].at(0) == 0);
    }
  }
}

TEST_CASE("gradients of cond agree with central differences, of first and second order",
          "[control][gradient]") {
  size_t checked = 0;
  for (const bool yes : {true, false}) {
    Graph g;
    const Var p = g.placeholder("p", boolean, {}), x = g.placeholder("x", f64, {3}),
              w = g.placeholder("w", f64, {3});
    const Vars y = cond<Var>(
        p, {x}, [&](const Vars& v) -> Vars { return {v[0] * v[0] * w, exp(v[0])}; },
        [&](const Vars& v) -> Vars { return {sin(v[0] * w), v[0]}; });
    const GradientReport r = check_gradients(g, y,
                                             {{p, Tensor::of<bool>({}, {yes})},
                                              {x, draw({3}, f64, -1, 1, 1)},
                                              {w, draw({3}, f64, -1, 1, 2)}});
    CAPTURE(r.problems);
    CHECK(r.problems.empty());
    checked += r.first;
  }
  CHECK(checked == 12);
}

TEST_CASE("a while loop stops when its condition fails, or at its bound", "[control]") {
  Graph g;
  const Var a = g.placeholder("a", f64, {});
  const WhileResult<Var> r = root(a, 20), short_one = root(a, 2);
  const Var d = gradients(r.states[1], {a})[0];
  Session session(g);
  for (const double v : {1.0, 2.0, 9.0, 1e6}) {
    CAPTURE(v);
    const Tensor t = Tensor::scalar(f64, v);
    const std::vector<Tensor> got =
        session.run({r.states[1], r.iterations, short_one.iterations, d}, {{a, t}});
    const WhileResult<Tensor> now = root(t, 20);
    CHECK(std::abs(got[0].item() - std::sqrt(v)) < 1e-9 * v);
    CHECK(got[0].same_bits(now.states[1]));
    CHECK(got[1].same_bits(now.iterations));
    CHECK(got[2].item() == std::min(2.0, got[1].item()));
    if (v > 1) CHECK(std::abs(got[3].item() - 0.5 / std::sqrt(v)) < 1e-6);
  }
  CHECK(session.run(root(a, 0).iterations, {{a, Tensor::scalar(f64, 4)}}).item() == 0);
}

// Visiting all of these steps would take hours.
TEST_CASE("a while loop does not run on to its bound once its condition failed", "[control]") {
  constexpr int64_t kBound = int64_t{1} << 38;
  for (const char* backend : {"reference", "cpu"}) {
    Graph g;
    const Var a = g.placeholder("a", f64, {});
    const WhileResult<Var> r = root(a, kBound);
    Session session(g, {.backend = backend});
    const Tensor nine = Tensor::scalar(f64, 9);
    const std::vector<Tensor> got = session.run({r.states[1], r.iterations}, {{a, nine}});
    const WhileResult<Tensor> now = root(nine, kBound);
    CHECK(got[0].same_bits(now.states[1]));
    CHECK(got[1].same_bits(now.iterations));
    // Nobody asks how often it ran: what counts is pruned.
    CHECK(session.run(r.states[1], {{a, nine}}).same_bits(now.states[1]));
  }
}

TEST_CASE("gradients of a while loop agree with central differences, of first and second order",
          "[control][gradient]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {2}), w = g.placeholder("w", f64, {2, 2});
  const Vars s = while_loop<Var>(
                     {x}, [](const Vars& v) { return sum(square(v[0])) < 3; },
                     [&](const Vars& v) -> Vars {
                       return {v[0] * 1.3 + tanh(squeeze(matmul(expand_dims(v[0], 0), w), 0))};
                     },
                     6)
                     .states;
  for (const char* backend : {"reference", "cpu"}) {
    GradientOptions o;
    o.compile.backend = backend;
    const GradientReport r = check_gradients(
        g, s, {{x, draw({2}, f64, 0.2, 0.5, 3)}, {w, draw({2, 2}, f64, 0.1, 0.4, 4)}}, o);
    CAPTURE(r.problems);
    CHECK(r.problems.empty());
    CHECK(r.first == 6);
  }
}

TEST_CASE("scan stacks what its steps give, in both directions and forms, over no steps too",
          "[control]") {
  for (const bool reverse : {false, true}) {
    for (const int64_t steps : {0, 1, 5}) {
      CAPTURE(reverse, steps);
      Graph g;
      const Var x = g.placeholder("x", f64, {"T", 2, 3}),
                first = g.placeholder("first", f64, {2, 3});
      const ScanResult<Var> r = running_mean(x, first, reverse);
      CHECK(to_string(r.ys[0].shape()) == "[T,2,3]");
      CHECK(to_string(r.ys[1].shape()) == "[T]");
      const Tensor xt = draw({steps, 2, 3}, f64, -1, 1, 5), ft = draw({2, 3}, f64, -1, 1, 6);
      Session session(g);
      const std::vector<Tensor> got =
          session.run({r.finals[0], r.ys[0], r.ys[1]}, {{x, xt}, {first, ft}});
      const ScanResult<Tensor> now = running_mean(xt, ft, reverse);
      CHECK(got[0].same_bits(now.finals[0]));
      CHECK(got[1].same_bits(now.ys[0]));
      CHECK(got[2].same_bits(now.ys[1]));
      double m = ft.at(1);
      for (int64_t t = 0; t < steps; ++t)
        m = m * 0.75 + xt.at((reverse ? steps - 1 - t : t) * 6 + 1) * 0.25;
      CHECK(got[0].at(1) == m);
    }
  }
}

TEST_CASE("gradients of a scan agree with central differences, of first and second order",
          "[control][gradient]") {
  Graph g;
  const Var x = g.placeholder("x", f64, to_shape(kRows)),
            first = g.placeholder("first", f64, {2, 3});
  const ScanResult<Var> r = running_mean(x, first, true);
  const GradientReport report =
      check_gradients(g, {r.finals[0], r.ys[0], r.ys[1]},
                      {{x, draw(kRows, f64, -1, 1, 7)}, {first, draw({2, 3}, f64, -1, 1, 8)}});
  CAPTURE(report.problems);
  CHECK(report.problems.empty());
  CHECK(report.first == 36);
}

TEST_CASE("control flow stands within control flow, and within a recurrence",
          "[control][gradient]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3, 2, 2}), limit = g.placeholder("limit", f64, {});
  const auto capped = [&](const Var& v) {
    return while_loop<Var>(
               {v}, [&](const Vars& s) { return sum(square(s[0])) > limit; },
               [](const Vars& s) -> Vars { return {s[0] * 0.8}; }, 5)
        .states[0];
  };
  const RecurrenceResult r =
      recurrence({.states = {fill(g, f64, {2, 2}, 0.5)}, .xs = {x}},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var big = cond<Var>(
                       limit > 1, {s[0] + xs[0]}, [](const Vars& v) -> Vars { return {v[0] * 2}; },
                       [](const Vars& v) -> Vars { return {tanh(v[0])}; })[0];
                   return {.states = {big * 0.5}, .ys = {big}};
                 });
  const Var y = capped(r.ys[0]);
  for (const double l : {0.5, 1.5}) {
    CAPTURE(l);
    GradientOptions o;
    o.fixed = {limit};
    const GradientReport report = check_gradients(
        g, {y}, {{x, draw({3, 2, 2}, f64, 0.2, 1, 9)}, {limit, Tensor::scalar(f64, l)}}, o);
    CAPTURE(report.problems);
    CHECK(report.problems.empty());
    CHECK(report.first == 12);
  }
}

TEST_CASE("control flow is saved and loaded", "[control]") {
  Graph g;
  const Var a = g.placeholder("a", f64, {});
  const Var y = root(a, 20).states[1].named("root");
  const Graph loaded = file_copy(g);
  const Tensor two = Tensor::scalar(f64, 2);
  CHECK(Session(loaded)
            .run(loaded.find("root"), {{loaded.find("a"), two}})
            .same_bits(Session(g).run(y, {{a, two}})));
}

TEST_CASE("control flow refuses what does not fit, by name", "[control][refusal]") {
  Graph g;
  const Var p = g.placeholder("p", boolean, {}), x = g.placeholder("x", f64, {3}),
            xs = g.placeholder("xs", f64, {4, 3});
  const auto same = [](const Vars& v) { return v; };
  const auto code = [](auto&& f) { return code_of(f); };
  CHECK(code([&] { cond<Var>(x, {x}, same, same); }) == "cond.predicate.type");
  CHECK(code([&] { cond<Var>(p, {Var()}, same, same); }) == "cond.operands.missing");
  CHECK(code([&] { cond<Var>(p, {x}, same, [](const Vars&) { return Vars{}; }); }) ==
        "cond.branches.count");
  CHECK(code([&] { cond<Var>(p, {x}, [](const Vars&) { return Vars{}; }, same); }) ==
        "cond.branches.count");
  CHECK(code([&] {
          cond<Var>(p, {x}, same, [](const Vars& v) { return Vars{cast(v[0], f32)}; });
        }) == "cond.branches.type");
  const auto small = [](const Vars& v) { return sum(v[0]) < 1; };
  CHECK(code([&] { while_loop<Var>({x}, small, same, -1); }) == "while_loop.max_iterations.range");
  CHECK(code([&] { while_loop<Var>({}, small, same, 1); }) == "while_loop.states.count");
  CHECK(code([&] { while_loop<Var>({x}, [](const Vars& v) { return v[0]; }, same, 1); }) ==
        "while_loop.condition.type");
  CHECK(code([&] {
          while_loop<Var>({x}, small, [](const Vars& v) { return Vars{sum(v[0])}; }, 1);
        }) == "while_loop.step.type");
  const auto step = [](const Vars& s, const Vars&) -> ScanStep<Var> { return {s}; };
  CHECK(code([&] { scan<Var>({x}, {}, step); }) == "scan.xs.count");
  CHECK(code([&] { scan<Var>({x}, {sum(x)}, step); }) == "scan.xs.rank");
  CHECK(code([&] { scan<Var>({x}, {xs, x}, step); }) == "scan.xs.dim");
  CHECK(code([&] {
          scan<Var>({x}, {xs}, [](const Vars&, const Vars&) -> ScanStep<Var> { return {{}}; });
        }) == "scan.step.count");
}

TEST_CASE("the examples of docs/control.md", "[control][docs]") {
  Graph g;
  Var noisy = g.placeholder("noisy", boolean, {});
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  // clang-format off
  Vars y = cond<Var>(
      noisy, {x}, [](const Vars& v) -> Vars { return {v[0] / (1 + abs(v[0]))}; },
      [](const Vars& v) -> Vars { return {v[0]}; });
  // clang-format on
  CHECK(y[0].shape() == x.shape());

  Var a = g.placeholder("a", f64, {});
  WhileResult<Var> root = while_loop<Var>(
      {a, a},  // Newton's iteration: the number, and the guess
      [](const Vars& s) { return abs(s[1] * s[1] - s[0]) > 1e-12 * s[0]; },
      [](const Vars& s) -> Vars { return {s[0], 0.5 * (s[1] + s[0] / s[1])}; }, 50);
  Var slope = gradients(root.states[1], {a})[0];

  Var frames = g.placeholder("frames", f32, {"T", 40});
  ScanResult<Var> level = scan<Var>({fill(g, f32, {40}, 0)}, {frames},
                                    [](const Vars& s, const Vars& x) -> ScanStep<Var> {
                                      Var mean = lerp(s[0], x[0], 0.05);
                                      return {.states = {mean}, .ys = {x[0] - mean}};
                                    });
  CHECK(to_string(level.ys[0].shape()) == "[T,40]");
  Session session(g);
  const Tensor ones = Tensor::full(f32, {3, 40}, 1), nine = Tensor::scalar(f64, 9);
  CHECK(std::abs(session.run(level.finals[0], {{frames, ones}}).at(7) - (1 - 0.95 * 0.95 * 0.95)) <
        1e-6);
  CHECK(std::abs(session.run(root.states[1], {{a, nine}}).item() - 3) < 1e-9);
  CHECK(std::abs(session.run(slope, {{a, nine}}).item() - 1.0 / 6) < 1e-6);
}
