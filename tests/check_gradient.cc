// The judge of gradients itself: it must not take a kink for a wrong gradient, nor a wrong gradient
// for a kink.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"

using namespace rondo;
using namespace rondo::test;

namespace {

GradientReport report_on(const OpDef& op, const std::vector<double>& x, size_t elements) {
  const OpGraph g = graph_of(op, {}, {Tensor::of<double>({static_cast<int64_t>(x.size())}, x)});
  return check_gradients(g.graph, g.outputs, g.feeds, {.off_kinks = true, .elements = elements});
}

// sin, whose derivative of the given element is wrong.
OpRegistry& wrong_ops() {
  static OpRegistry r;
  if (r.find("wrong_sin") == nullptr) {
    r.add({.name = "wrong_sin",
           .sig = "x[N] -> y[N]",
           .doc = "sin, with a derivative that is wrong in its last element.",
           .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
             const Var right = g[0] * cos(c.in(0));
             const Dim n = c.in(0).dim(0);
             return {concat<Var>({slice(right, 0, 0, n - 1), 1.01 * slice(right, 0, n - 1, n)}, 0)};
           },
           .lower = [](const Call& c) -> Vars { return {sin(c.in(0))}; }});
  }
  return r;
}

}  // namespace

TEST_CASE("a point near a kink is reported as such, one off it is judged", "[gradient][judge]") {
  const OpDef& relu = registry().at("relu");
  CHECK(report_on(relu, {0.5, 3e-6, -0.5}, 0).near_kink);
  const GradientReport r = report_on(relu, {0.5, 3e-4, -0.5}, 0);
  CHECK((!r.near_kink && r.problems.empty()));
  CHECK(r.first == 3);
}

TEST_CASE("a wrong gradient is a problem, no kink, also in an element that is not moved alone",
          "[gradient][judge]") {
  const OpDef& wrong = wrong_ops().at("wrong_sin");
  std::vector<double> x;
  for (int i = 0; i < 40; ++i) x.push_back(0.1 * i);
  for (const size_t elements : {size_t{0}, size_t{4}}) {
    const GradientReport r = report_on(wrong, x, elements);
    CHECK(!r.near_kink);
    CHECK(r.first == (elements == 0 ? 40 : 5));
    CHECK(!r.problems.empty());
  }
  CHECK(report_on(registry().at("sin"), x, 4).problems.empty());
}
