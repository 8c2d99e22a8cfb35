#include <functional>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/verify.h>

using namespace rondo;
using test::code_of;
using test::make;

namespace {

// Nodes cannot be spoilt through the library; a broken pass is played by force.
Node& spoil(const Var& v) { return const_cast<Node&>(v.node()); }

struct Chain {
  Graph g;
  Var x = g.placeholder("x", f32, {"B", 3});
  Var w = g.variable("w", Tensor(f32, {3, 4}));
  Var y = make("linear", {x, w, {}}, {}, {.name = "y"});
  Var z = make("tanh", {y}, {}, {.name = "z"});
};

std::shared_ptr<const Subgraph> nested(int depth) {
  std::shared_ptr<const Subgraph> body;
  for (int i = 0; i < depth; ++i) {
    Graph g;
    const Var x = g.placeholder("", f32, {2});
    const Var y = body == nullptr ? make("neg", {x}) : make("loop", {x}, {}, {.body = body});
    body = std::make_shared<const Subgraph>(Subgraph{g, {x.value()}, {y.value()}});
  }
  return body;
}

}  // namespace

TEST_CASE("graphs built through the library verify", "[graph][verify]") {
  const Chain s;
  verify(s.g);
  verify(test::unit({s.z}));
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  make("loop", {x}, {}, {.body = nested(5)});
  verify(g);
}

TEST_CASE("the verifier names the first broken promise", "[graph][verify]") {
  struct Row {
    const char* rule;
    std::function<void(Chain&)> spoil;
  };
  const Row rows[] = {
      {"id", [](Chain& s) { spoil(s.y).id = 7; }},
      {"op", [](Chain& s) { spoil(s.y).op = nullptr; }},
      {"operand", [](Chain& s) { spoil(s.y).inputs[0] = s.z.value(); }},
      {"operand", [](Chain& s) { spoil(s.y).inputs[0] = s.y.value(); }},
      {"operand", [](Chain& s) { spoil(s.y).inputs[0] = {99, 0}; }},
      {"slot", [](Chain& s) { spoil(s.z).inputs[0].slot = 1; }},
      {"slot", [](Chain& s) { spoil(s.z).inputs[0].slot = -1; }},
      {"type", [](Chain& s) { spoil(s.y).outputs[0].dtype = f64; }},
      {"type", [](Chain& s) { spoil(s.y).outputs[0].shape[0] = Dim("C"); }},
      {"type", [](Chain& s) { spoil(s.z).outputs.push_back(s.z.type()); }},
      {"type", [](Chain& s) { spoil(s.y).inputs[1] = Value{}; }},
      {"attributes", [](Chain& s) { spoil(s.y).attributes = {{"scale", 1.0}}; }},
      {"attributes", [](Chain& s) { spoil(s.y).attributes.set("scale", 99.0); }},
      {"attributes", [](Chain& s) { spoil(s.y).attributes.set("more", 1); }},
      {"name", [](Chain& s) { spoil(s.y).name = "other"; }},
      {"name", [](Chain& s) { spoil(s.y).name = "z"; }},
  };
  for (const Row& r : rows) {
    Chain s;
    r.spoil(s);
    const std::string rule = std::string("graph.verify.") + r.rule;
    INFO(rule << " in row " << (&r - rows));
    CHECK(code_of([&] { verify(s.g); }) == rule);
  }
}

TEST_CASE("a result that is not computed is neither used nor named", "[graph][verify]") {
  const auto layer = [](Graph& g) {
    const Vars in{g.placeholder("x", f32, {"T", 2, 3}),
                  {},
                  g.placeholder("wx", f32, {3, 16}),
                  g.placeholder("wr", f32, {4, 16})};
    return test::make_all("lstm_layer", in)[0];
  };
  Graph g;
  const Var y = layer(g), z = make("neg", {y});
  verify(g);
  spoil(z).inputs[0].slot = 1;
  CHECK(code_of([&] { verify(g); }) == "graph.verify.slot");
  Graph h;
  const Value hidden{layer(h).value().node, 1};
  verify(h);
  h.var(hidden).named("hidden");
  CHECK(code_of([&] { verify(h); }) == "graph.verify.name");
}

TEST_CASE("the verifier says which node is broken, and that it is our fault", "[graph][verify]") {
  const Chain s;
  spoil(s.y).outputs[0].dtype = f64;
  try {
    verify(s.g);
    FAIL("not seen");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::kInternal);
    CHECK(std::string(e.what()) ==
          "internal error (please report it): node %2 \"y\" (linear): result 0 is f64[B,4], "
          "inference gives f32[B,4]");
  }
}

TEST_CASE("an equality that is open must be marked for checking", "[graph][verify]") {
  Graph g;
  const Var w = g.placeholder("w", f32, {"K", 4});
  const Var y = make("linear", {g.placeholder("x", f32, {"B", 3}), w, {}});
  verify(g);
  spoil(y).check_at_bind = false;
  CHECK(code_of([&] { verify(g); }) == "graph.verify.type");
}

TEST_CASE("the ends of a subgraph are verified", "[graph][verify]") {
  const Chain s;
  const auto check = [&](std::vector<Value> in, std::vector<Value> out) {
    return code_of([&] { verify(Subgraph{s.g, std::move(in), std::move(out)}); });
  };
  const Value x = s.x.value(), z = s.z.value();
  CHECK(check({x}, {z, Value{}}).empty());
  CHECK(check({x, s.w.value()}, {z}).empty());
  CHECK(check({}, {s.w.value()}).empty());
  CHECK(check({}, {z}) == "graph.verify.leaf");
  CHECK(check({x, x}, {z}) == "graph.verify.input");
  CHECK(check({x, s.y.value()}, {z}) == "graph.verify.input");
  CHECK(check({Value{}}, {z}) == "graph.verify.input");
  CHECK(check({x}, {{3, 1}}) == "graph.verify.output");
  CHECK(check({x}, {{9, 0}}) == "graph.verify.output");
}

TEST_CASE("bodies are verified where they stand", "[graph][verify]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  Graph inner;
  const Var a = inner.placeholder("", f32, {2}), b = inner.placeholder("", f32, {2});
  const Var c = make("add", {a, b});
  auto body = std::make_shared<Subgraph>(Subgraph{inner, {a.value(), b.value()}, {c.value()}});
  make("loop", {x, x}, {}, {.body = body});
  verify(g);
  spoil(c).outputs[0].shape = {3};
  CHECK(test::text_of([&] { verify(g); }) ==
        "internal error (please report it): node %2 (add): result 0 is f32[3], inference gives "
        "f32[2]\n  in the body of %1 (loop)");
  spoil(c).outputs[0].shape = {2};
  body->inputs.pop_back();
  CHECK(code_of([&] { verify(g); }) == "graph.verify.leaf");
}

TEST_CASE("a variable in a body is refused", "[graph][verify]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  Graph inner;
  const Var w = inner.variable("w", Tensor(f32, {2}));
  make("loop", {x}, {}, {.body = std::make_shared<Subgraph>(Subgraph{inner, {}, {w.value()}})});
  CHECK(code_of([&] { verify(g); }) == "graph.verify.leaf");
}

TEST_CASE("bodies nested without end are refused, not followed", "[graph][verify]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  make("loop", {x}, {}, {.body = nested(kDeepestBody)});
  verify(g);
  make("loop", {x}, {}, {.body = nested(kDeepestBody + 1)});
  CHECK(code_of([&] { verify(g); }) == "graph.verify.depth");
}
