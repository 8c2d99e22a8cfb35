// The op `recurrence` refuses a call that does not fit its body, each rule broken once. The builder
// makes none of these calls; files and passes might.
#include <functional>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>

namespace rondo::test {
namespace {

// A call of the op: what it is given.
struct Made {
  Vars operands;
  Attributes attributes;
  std::shared_ptr<const Subgraph> body;
};

// h' = tanh(x + h w), y = h'.
Made elman(Graph g) {
  Var x = g.placeholder("x", f32, {"T", "B", 3});
  Var h = g.placeholder("h", f32, {"B", 3});
  Var w = g.placeholder("w", f32, {3, 3});
  const auto body = [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
    Var next = tanh(xs[0] + matmul(s[0], w));
    return {.states = {next}, .ys = {next}};
  };
  const Node& n = recurrence({.states = {h}, .xs = {x}}, body).ys[0].node();
  Made r{{}, n.attributes, n.body};
  for (const Value v : n.inputs) r.operands.push_back(v ? g.var(v) : Var());
  return r;
}

using Break = std::function<void(Graph, Made&)>;

// The body with other ends.
Break with_body(const std::function<void(Subgraph&)>& how) {
  return [how](Graph, Made& m) {
    Subgraph s = *m.body;
    how(s);
    m.body = std::make_shared<Subgraph>(s);
  };
}

}  // namespace

TEST_CASE("the op recurrence refuses what does not fit its body, each rule once",
          "[recurrence][refusal]") {
  // Operands: h, x, w, begin, end.
  const std::pair<const char*, Break> rules[] = {
      {"recurrence.body.missing", [](Graph, Made& m) { m.body = nullptr; }},
      {"recurrence.operands.arity", [](Graph, Made& m) { m.operands.pop_back(); }},
      {"recurrence.body.inputs", with_body([](Subgraph& s) { s.inputs.pop_back(); })},
      {"recurrence.body.outputs", with_body([](Subgraph& s) { s.outputs.pop_back(); })},
      {"recurrence.extent.count", [](Graph, Made& m) { m.attributes.set("extent", Shape{"T"}); }},
      {"recurrence.operands.missing", [](Graph, Made& m) { m.operands[0] = Var(); }},
      {"recurrence.operands.dtype",
       [](Graph g, Made& m) { m.operands[0] = g.placeholder("other", f64, {"B", 3}); }},
      {"recurrence.operands.dim",
       [](Graph g, Made& m) { m.operands[0] = g.placeholder("other", f32, {"B", 4}); }},
      {"recurrence.window.dtype",
       [](Graph g, Made& m) { m.operands[3] = g.placeholder("begin", f32, {"B"}); }},
      {"recurrence.body.rows",
       with_body([](Subgraph& s) { s.outputs[1] = s.inputs[2]; })},  // y = w
      {"recurrence.body.state", with_body([](Subgraph& s) { s.outputs[0] = Value{}; })},
  };
  for (const auto& [code, how] : rules) {
    CAPTURE(code);
    Graph g;
    Made m = elman(g);
    const auto call = [&] {
      g.call(registry().at("recurrence"), m.operands, m.attributes, {.body = m.body});
    };
    CHECK(code_of(call).empty());
    how(g, m);
    CHECK(code_of(call) == code);
  }
}

}  // namespace rondo::test
