// Errors of bodies: what fails within one says whose body it is, and so does a value of a body that
// is used outside of it.
#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

bool holds(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

// Rows of w by an index that no check knows before it runs.
struct Table {
  Graph g;
  Var w = g.variable("w", Tensor::of<double>({2, 2}, {1, 2, 3, 4}));
  Var i = g.placeholder("i", i32, {3});
  std::vector<Feed> feeds{{i, Tensor::of<int32_t>({3}, {0, 7, 1})}};

  std::string run(const Var& v, const CompileOptions& o) {
    return text_of([&] { Session(g, o).run(v, feeds); });
  }
};

}  // namespace

TEST_CASE("what fails at run within a body names the op whose body it is", "[control][errors]") {
  Table r;
  const auto step = [&](const Vars& s, const Vars& xs) -> ScanStep<Var> {
    return {{s[0] + reshape(gather(r.w, reshape(xs[0], {1})), {2})}};
  };
  const Var first = r.g.constant(Tensor::of<double>({2}, {0, 0}));
  const Var scanned = scan<Var>({first}, {r.i}, step).finals[0];
  const auto pick = [&](const Vars& v) -> Vars { return {sum(gather(r.w, v[0]))}; };
  const auto zero = [&](const Vars&) -> Vars { return {r.g.constant(Tensor::scalar(f64, 0))}; };
  const Var yes = r.g.constant(Tensor::of<bool>({}, {true}));
  const Var chosen = cond<Var>(yes, {r.i}, pick, zero)[0];
  const auto repeated = while_loop<Var>(
      {r.i, sum(r.w)}, [](const Vars& v) { return v[1] < 1e9; },
      [&](const Vars& v) -> Vars { return {v[0], v[1] + sum(gather(r.w, v[0]))}; }, 3);
  const Var inner = scan<Var>({first}, {r.i}, [&](const Vars& s, const Vars& xs) -> ScanStep<Var> {
                      const Var at = reshape(xs[0], {1});
                      return {{s[0] + cond<Var>(yes, {at}, pick, zero)[0]}};
                    }).finals[0];
  for (const char* backend : {"cpu", "reference"}) {
    for (const bool optimize : {true, false}) {
      CAPTURE(backend, optimize);
      const CompileOptions o{.backend = backend, .optimize = optimize};
      const std::string a = r.run(scanned, o), b = r.run(chosen, o),
                        c = r.run(repeated.states[1], o), d = r.run(inner, o);
      CAPTURE(a, b, c, d);
      CHECK(holds(a, "is 7, but must be in [0, 1]"));
      CHECK(holds(a, "in the body of scan, built at tests/body_errors.cc:"));
      CHECK(holds(b, "in the body of cond, built at tests/body_errors.cc:"));
      CHECK(holds(c, "in the body of cond"));  // the step of while_loop is a branch in it
      CHECK(holds(c, "in the body of while_loop, built at tests/body_errors.cc:"));
      CHECK(holds(d, "in the body of cond"));
      CHECK(holds(d, "in the body of scan"));
      CHECK(d.find("in the body of cond") < d.find("in the body of scan"));
      // The place of the gather itself comes first.
      CHECK(a.find("built at") < a.find("in the body"));
    }
  }
}

TEST_CASE("a recurrence that fits no more once symbols have values is called what was written",
          "[control][errors]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "I"}), s = g.placeholder("s", f64, {"J"});
  const Var y = scan<Var>({s}, {x}, [](const Vars& v, const Vars& xs) -> ScanStep<Var> {
                  return {{v[0] + xs[0]}};
                }).finals[0];
  const std::string text =
      text_of([&] { Session(g).run(y, {{x, Tensor(f64, {3, 2})}, {s, Tensor(f64, {4})}}); });
  CAPTURE(text);
  CHECK(holds(text, "scan"));
  CHECK_FALSE(holds(text, "[recurrence]"));

  const Var rows = g.placeholder("rows", f64, {3, 2, 1}), h = g.placeholder("h", f64, {2, 1}),
            end = g.placeholder("end", i32, {2});
  const auto r =
      recurrence({.states = {h}, .xs = {rows}, .end = end, .origin = "my_layer", .name = "first"},
                 [](const Vars& v, const Vars& xs, const Vars&) -> RecurrenceStep {
                   return {.states = {v[0] + xs[0]}};
                 });
  const std::string window = text_of([&] {
    Session(g, {.kernel = "runtime.recurrence.steps"})
        .run(r.finals[0], {{rows, Tensor(f64, {3, 2, 1})},
                           {h, Tensor(f64, {2, 1})},
                           {end, Tensor::of<int32_t>({2}, {4, 1})}});
  });
  CAPTURE(window);
  CHECK(holds(window, "[my_layer"));
}

TEST_CASE("a value of a body that is used outside of it says whose body, and what to do",
          "[control][errors]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", 2}), s = g.placeholder("s", f64, {2});
  Var leaked;
  const auto leak = [&](const Vars& v, const Vars& xs) -> ScanStep<Var> {
    leaked = tanh(v[0] + xs[0]);
    return {{leaked}};
  };
  const Var y = scan<Var>({s}, {x}, leak).finals[0];
  const auto says = [&](const auto& f, const std::string& code, const std::string& of) {
    const std::string text = text_of(f);
    CAPTURE(text, code);
    CHECK(code_of(f) == code);
    CHECK(holds(text, leaked.name()));
    CHECK(holds(text, leaked.type().str()));
    CHECK(holds(text, "body of " + of));
    CHECK(holds(text, "tests/body_errors.cc:"));
    CHECK(holds(text, "return it as a result of the body"));
  };
  says([&] { (void)(y + leaked); }, "add.graph.body", "scan");
  says([&] { (void)sum(leaked); }, "sum.graph.body", "scan");
  says([&] { g.call(registry().at("tanh"), {leaked}, {}); }, "tanh.graph.body", "scan");
  says([&] { Session(g).run(leaked, {}); }, "session.graph.body", "scan");
  says([&] { gradients(sum(y), {leaked}); }, "vjp.graph.body", "scan");

  // In the body of another op, and of another branch.
  says(
      [&] {
        scan<Var>({s}, {x},
                  [&](const Vars& v, const Vars&) -> ScanStep<Var> { return {{v[0] + leaked}}; });
      },
      "add.graph.body", "scan");
  const Var p = g.placeholder("p", boolean, {});
  says(
      [&] {
        cond<Var>(
            p, {s},
            [&](const Vars& v) -> Vars {
              leaked = v[0] * 2;
              return {leaked};
            },
            [&](const Vars& v) -> Vars { return {v[0] - leaked}; });
      },
      "sub.graph.body", "cond");
  const Var rows = g.placeholder("rows", f64, {"T", "B", 2}), h = g.placeholder("h", f64, {"B", 2});
  recurrence({.states = {h}, .xs = {rows}, .origin = "my_layer"},
             [&](const Vars& v, const Vars& xs, const Vars&) -> RecurrenceStep {
               leaked = v[0] + xs[0];
               return {.states = {leaked}};
             });
  says([&] { (void)(h * leaked); }, "mul.graph.body", "my_layer");

  // While the body is still open.
  says(
      [&] {
        scan<Var>({s}, {x}, [&](const Vars& v, const Vars&) -> ScanStep<Var> {
          leaked = v[0] * 3;
          return {{g.call(registry().at("tanh"), {leaked}, {})[0]}};
        });
      },
      "tanh.graph.body", "scan");
  // A value of another program's graph is what it was: no body's.
  Graph other;
  const Var o = other.placeholder("o", f64, {2});
  CHECK(code_of([&] { (void)(s + o); }) == "add.graph.mixed");
}

TEST_CASE("a value with rows used in a body as if it had none names the op that was written",
          "[control][errors]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 2}), h = g.placeholder("h", f64, {"B", 2}),
            mask = g.placeholder("mask", f64, {"B", 2});
  const auto f = [&] {
    recurrence({.states = {h}, .xs = {x}, .origin = "my_layer", .name = "first"},
               [&](const Vars& v, const Vars& xs, const Vars&) -> RecurrenceStep {
                 return {.states = {(v[0] + xs[0]) * mask}};
               });
  };
  const std::string text = text_of(f);
  CAPTURE(text);
  CHECK(code_of(f) == "recurrence.body.rows");
  CHECK(holds(text, "[my_layer \"first\"] the body uses mask f64[B,2]"));
  CHECK(holds(text, "write per_row(v) there"));
}
