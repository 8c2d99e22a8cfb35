// Gradients beyond what tests/registry_check.cc asks of each op: refused ones, the recurrence, and
// the judge itself.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("every op has samples, or a body", "[registry]") {
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    CHECK(op->samples.empty() == needs_body(*op));
  }
}

TEST_CASE(
    "no gradient flows through ops without one, and operands that refuse theirs say so by name",
    "[registry][gradient]") {
  size_t silent = 0, refused = 0;
  for (const NamedSample& s : all_samples()) {
    INFO(s.name);
    const OpGraph g = graph_of(*s.op, s.sample.attributes, draw(s.sample, f64));
    const Var loss = weighted_sum(g.outputs, 1);
    if (!loss) continue;
    const Signature signature = s.op->signature(attributes_of(*s.op, s.sample));
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      if (!g.inputs[i] || !is_float(g.inputs[i].dtype())) continue;
      const Slot& slot = signature.slot_of(i);
      if (s.op->no_gradient) {
        CHECK_FALSE(vjp({loss}, {fill_like(loss, 1)}, {g.inputs[i]})[0]);
        ++silent;
      } else if (!slot.differentiable) {
        std::string code;
        try {
          gradients(loss, {g.inputs[i]});
        } catch (const Error& e) {
          code = e.code();
          CHECK(std::string(e.what()).find(slot.name) != std::string::npos);
        }
        CHECK(code == cat(s.op->name, ".", slot.name, ".gradient"));
        ++refused;
      }
    }
  }
  WARN(silent << " operands without a gradient, " << refused << " that refuse one");
  CHECK(silent > 3);
}

TEST_CASE("gradients of a recurrence agree with central differences, of first and second order",
          "[registry][gradient]") {
  constexpr int64_t kSteps = 3, kRows = 3, kIn = 2, kHidden = 2;
  GradientReport all;
  for (const bool reverse : {false, true}) {
    for (const bool window : {false, true}) {
      CAPTURE(reverse, window);
      Graph g;
      std::vector<Feed> feeds;
      const auto input = [&](const std::string& name, Dims dims) {
        const Var v = g.placeholder(name, f64, to_shape(dims));
        feeds.emplace_back(v, draw(dims, f64, -1, 1, feeds.size() + 40));
        return v;
      };
      const auto integers = [&](const std::string& name, std::vector<int32_t> values) {
        const Var v = g.placeholder(name, i32, {kRows});
        feeds.emplace_back(v, Tensor::of<int32_t>({kRows}, values));
        return v;
      };
      const Var x = input("x", {kSteps, kRows, kIn}), h0 = input("h0", {kRows, kHidden}),
                c0 = input("c0", {kRows, kHidden});
      const Var row = input("row", {kRows, kHidden}), w = input("w", {kIn, kHidden}),
                u = input("u", {kHidden, kHidden});
      RecurrenceInputs in{.states = {h0, c0},
                          .xs = {x},
                          .per_row = {row},
                          .begin = {},
                          .end = {},
                          .reverse = reverse};
      if (window) {
        in.begin = integers("begin", {0, 1, 2});
        in.end = integers("end", {3, 2, 2});
      }
      const RecurrenceResult r =
          recurrence(in, [&](const Vars& s, const Vars& xs, const Vars& per_row) -> RecurrenceStep {
            const Var c = s[1] * 0.5 + tanh(matmul(xs[0], w) + matmul(s[0], u)) * per_row[0];
            const Var h = sigmoid(c) * s[0] + sin(c);
            return {
                .states = {h, c}, .ys = {h * c}, .sums = {matmul(xs[0], h, {.transpose_a = true})}};
          });
      Vars outputs = r.ys;
      for (const Vars* list : {&r.finals, &r.sums, &r.trajectories})
        outputs.insert(outputs.end(), list->begin(), list->end());
      for (const char* backend : {"reference", "cpu"}) {
        GradientOptions o;
        o.compile.backend = backend;
        const GradientReport report = check_gradients(g, outputs, feeds, o);
        CAPTURE(backend, report.problems);
        CHECK(report.problems.empty());
        all += report;
      }
    }
  }
  WARN(all.first << " elements of first and " << all.second << " of second order");
  CHECK(all.first > 100);
}

// Ops of this test's own, each wrong or strict in one way.
TEST_CASE("the gradient check sees a wrong gradient of either order, and steps back from a kink",
          "[registry][gradient]") {
  const auto squared = [](VjpFn vjp) {
    OpDef d{.name = "squared",
            .sig = "x[...] -> y[...]",
            .doc = "y = x x",
            .vjp = std::move(vjp),
            .formula = "x * x"};
    d.parsed = parse_signature(d.sig);
    d.infer = [](const InferContext& c) { return std::vector<ValueType>{c[0]}; };
    return d;
  };
  const auto problems = [](const OpDef& op, double at) {
    const OpGraph g = graph_of(op, {}, {Tensor::full(f64, {2}, at)});
    return check_gradients(g.graph, g.outputs, g.feeds);
  };
  const OpDef right =
      squared([](const Call& c, const Vars& g, GradContext&) { return Vars{g[0] * 2 * c.in(0)}; });
  CHECK(problems(right, 0.7).problems.empty());
  const OpDef wrong = squared(
      [](const Call& c, const Vars& g, GradContext&) { return Vars{g[0] * 2.00001 * c.in(0)}; });
  CHECK(problems(wrong, 0.7).problems.size() == 2);  // its own gradient it is right about
  const OpDef wrong_twice = squared([](const Call& c, const Vars& g, GradContext&) {
    return Vars{g[0] * 2 * stop_gradient(c.in(0))};
  });
  const GradientReport r = problems(wrong_twice, 0.7);
  CHECK(r.problems.size() == 2);
  CHECK(r.problems.at(0).rfind("second order by x[0]: 0, central difference ", 0) == 0);

  const GradientReport kink = problems(registry().at("relu"), 4e-6);
  CHECK(kink.problems.empty());
  CHECK(kink.shorter == 2);
}

TEST_CASE("an operand that refuses a gradient says so by name", "[registry][gradient]") {
  OpDef d{.name = "strict", .sig = "a[N], b[N]! -> y[N]", .doc = "y = a b", .formula = "a * b"};
  d.vjp = [](const Call& c, const Vars& g, GradContext&) { return Vars{g[0] * c["b"], {}}; };
  d.parsed = parse_signature(d.sig);
  const OpGraph g = graph_of(d, {}, {Tensor(f64, {2}), Tensor(f64, {2})});
  const Var loss = weighted_sum(g.outputs, 1);
  CHECK_NOTHROW(gradients(loss, {g.inputs[0]}));
  try {
    gradients(loss, {g.inputs[1]});
    FAIL_CHECK("no refusal");
  } catch (const Error& e) {
    CHECK(e.code() == "strict.b.gradient");
    CHECK(std::string(e.what()).find("[strict] gives no gradient to b") == 0);
  }
}
