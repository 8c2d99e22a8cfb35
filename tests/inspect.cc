// What `rondo inspect --plan` says of a graph.
#include <algorithm>
#include <functional>

#include <catch2/catch_test_macros.hpp>

#include "../cli/inspect.h"
#include "error_code.h"

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using rondo::test::code_of;
using rondo::tool::describe_plan;

namespace {

// y = h' = tanh(x_t + h u), and z = x u.
Graph example() {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3});
  const Var u = g.variable("u", Tensor(f64, {3, 3}));
  const Var h = fill(g, f64, {"B", 3}, 0);
  recurrence({.states = {h}, .xs = {x}, .per_row = {}, .begin = {}, .end = {}},
             [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
               const Var next = tanh(xs[0] + matmul(s[0], u));
               return {.states = {next}, .ys = {next}};
             })
      .ys[0]
      .named("y");
  matmul(x, u).named("z");
  return g;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "a plan names each step's kernel, its bytes and the peak, and below it the steps of a body",
    "[inspect]") {
  const std::string text = describe_plan(
      "model", example(), {.backend = "reference", .outputs = {"y"}, .bind = {"T=5", "B=2"}});
  INFO(text);
  CHECK(has(text, "plan of graph \"model\" on backend reference for y\nbound at B=2,T=5\nop "));
  CHECK(has(text, "\nrecurrence "));
  CHECK(has(text, "f64[5,2,3]"));
  CHECK(has(text, "\n  matmul "));  // in the body
  CHECK(has(text, " reference.matmul "));
  CHECK(has(text, "f64[2,3]"));
  CHECK(has(text, " 240 B"));
  CHECK(has(text, "peak memory: "));
  CHECK_FALSE(has(text, "default"));
}

TEST_CASE("a plan is of all named values, at a default size that it names", "[inspect]") {
  const std::string text = describe_plan("model", example(), {});
  INFO(text);
  CHECK(has(text, "on backend cpu for y, z\n"));
  CHECK(has(text, "bound at B=16,T=16 (default; choose with --bind)\n"));
  CHECK(has(text, "f64[16,16,3]"));
}

TEST_CASE("a plan refuses sizes and names that are not the graph's", "[inspect]") {
  const auto code = [](tool::PlanOptions o) {
    return code_of([&] { describe_plan("model", example(), o); });
  };
  CHECK(code({.bind = {"Q=3"}}) == "inspect.bind.symbol");
  for (const char* bad : {"T", "T=", "T=x", "T=-1", "=3", "T=3x", "T=99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(code({.bind = {bad}}) == "inspect.bind.syntax");
  }
  CHECK_FALSE(code({.outputs = {"nothing"}}).empty());
  CHECK(describe_plan("empty", Graph(), {}) == "graph \"empty\" computes nothing\n");
}

TEST_CASE("explain tells what the passes did, and why each kernel", "[inspect]") {
  const std::string text = describe_plan(
      "model", example(), {.outputs = {"y", "z"}, .bind = {"T=5", "B=2"}, .explain = true});
  INFO(text);
  CHECK(has(text, "\npasses\n"));
  CHECK(has(text, "cpu.matmul.eigen"));
  CHECK(has(text, "recurrence  cpu.recurrence.engine  f64[5,2,3]"));
  CHECK(has(text, "1 state, 1 input, 1 output over time\n"));
  CHECK(has(text, ": add matmul tanh\n"));
}

TEST_CASE("explain names what does not support a call where it would have been the cheapest",
          "[inspect]") {
  Graph g;
  const Var a = g.placeholder("a", f64, {"M", "K"}), b = g.placeholder("b", f64, {"K", "N"});
  const Var y = matmul(a, b).named("y");
  const std::string small = Session(g).explain({y}, {{"M", 2}, {"K", 3}, {"N", 3}}),
                    large = Session(g).explain({y}, {{"M", 16}, {"K", 64}, {"N", 64}});
  for (const std::string& text : {small, large}) {
    INFO(text);
    CHECK(has(text, "matmul  cpu.matmul.eigen"));
  }
  const auto kernels = kernels_of_plans("cpu");
  const bool onednn = std::any_of(kernels.begin(), kernels.end(), [](const KernelName& k) {
    return k.name == "cpu.matmul.onednn";
  });
  CHECK_FALSE(has(small, "onednn"));  // its call costs more than Eigen's there
  CHECK(has(large, "cpu.matmul.onednn does not support it") == onednn);
}

TEST_CASE("explain says why a cell is not on the engine, and shows its steps", "[inspect]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {5, 2, 3});
  const Var h = fill(g, f64, {2, 3}, 0);
  recurrence({.states = {h}, .xs = {x}},
             [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
               const Var next = nn::softmax(xs[0] + s[0]);
               return {.states = {next}, .ys = {next}};
             })
      .ys[0]
      .named("y");
  const std::string text = describe_plan("model", g, {.outputs = {"y"}, .explain = true});
  INFO(text);
  CHECK(has(text, "runtime.recurrence.steps"));
  CHECK(has(text,
            "cpu.recurrence.engine does not support it (its step holds softmax f64[$rows0,3])"));
  CHECK(has(text, "\n      softmax"));
}
