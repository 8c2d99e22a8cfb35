#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/graph.h>

using namespace rondo;
using test::code_of;
using test::make;
using test::make_all;
using test::text_of;

TEST_CASE("a graph holds its nodes in the order in which they were made", "[graph][build]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 3});
  const Var w = g.variable("w", Tensor(f32, {3, 4}));
  const Var y = make("linear", {x, w, {}}, {}, {.name = "y"});
  REQUIRE(g.size() == 3);
  CHECK(y.shape() == Shape{"B", 4});
  CHECK(y.node().inputs == std::vector<Value>{x.value(), w.value(), Value{}});
  CHECK(g.find("y").same(y));
  CHECK(g.placeholders().size() == 1);
  CHECK(g.variables()[0].same(w));
  CHECK(y.dim(-1) == Dim(4));
  CHECK(code_of([&] { (void)y.dim(2); }) == "var.dim.range");
  CHECK(y.name() == "y");
  CHECK(make("neg", {y}).name() == "%3");
}

TEST_CASE("only trainable variables are trained", "[graph][build]") {
  Graph g;
  const Var a = g.variable("a", Tensor(f32, {1}));
  g.variable("b", Tensor(f32, {1}), false);
  REQUIRE(g.trainable().size() == 1);
  CHECK(g.trainable()[0].same(a));
  CHECK(g.variables().size() == 2);
}

TEST_CASE("a Var keeps its graph alive", "[graph][build]") {
  Var y;
  std::weak_ptr<GraphData> watch;
  {
    Graph g;
    watch = g.data();
    y = make("neg", {g.placeholder("x", f32, {2})});
  }
  CHECK_FALSE(watch.expired());
  CHECK(y.node().op->name == "neg");
  y = Var();
  CHECK(watch.expired());
}

TEST_CASE("a result that was not asked for is a null Var and cannot be used", "[graph][build]") {
  Graph g;
  const Vars in{g.placeholder("x", f32, {"T", 2, 3}),
                {},
                g.placeholder("wx", f32, {3, 16}),
                g.placeholder("wr", f32, {4, 16})};
  const Vars r = make_all("lstm_layer", in);
  REQUIRE(r.size() == 2);
  CHECK(r[0]);
  CHECK_FALSE(r[1]);
  CHECK(r[0].name() == "%3.0");
  CHECK(make_all("lstm_layer", in, {{"ret_last", true}})[1].shape() == Shape{2, 4});
  CHECK(code_of([&] { make("neg", {r[1]}); }) == "neg.inputs.missing");
}

TEST_CASE("a node's name is that of its first result that exists", "[graph][build]") {
  Graph g;
  const Vars in{g.placeholder("x", f32, {"T", 2, 3}),
                {},
                g.placeholder("wx", f32, {3, 16}),
                g.placeholder("wr", f32, {4, 16})};
  const Vars r =
      make_all("lstm_layer", in, {{"ret_full", false}, {"ret_last", true}}, {.name = "encoder"});
  CHECK(g.find("encoder").same(r[1]));
}

TEST_CASE("names are unique, scoped, and refused when they cannot be kept", "[graph][build]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  CHECK(code_of([&] { g.placeholder("x", f32, {2}); }) == "graph.name.taken");
  CHECK(code_of([&] { (void)x.named("%3"); }) == "graph.name.reserved");
  CHECK(code_of([&] { (void)x.named(""); }) == "graph.name.length");
  CHECK(code_of([&] { (void)x.named(std::string(513, 'a')); }) == "graph.name.length");
  {
    const Graph::Scope outer = g.scope("encoder");
    g.variable("w", Tensor(f32, {1}));
    {
      const Graph::Scope inner = g.scope("layer0");
      make("neg", {x}, {}, {.name = "y"});
    }
    make("neg", {x}).named("z");
  }
  g.variable("w", Tensor(f32, {1}));
  std::vector<std::string> names;
  for (const auto& [n, v] : g.names()) names.push_back(n);
  CHECK(names == std::vector<std::string>{"encoder/layer0/y", "encoder/w", "encoder/z", "w", "x"});
  CHECK(text_of([&] { (void)g.find("y"); }) ==
        "the graph has no value called 'y'; it has encoder/layer0/y encoder/w encoder/z w x");
}

TEST_CASE("operands of unrelated graphs are refused", "[graph][build]") {
  Graph a, b;
  const Var x = a.placeholder("x", f32, {2}), y = b.placeholder("y", f32, {2});
  CHECK(code_of([&] { make("add", {x, y}); }) == "add.graph.mixed");
  CHECK(text_of([&] { make("add", {x, y}); }) ==
        "[add] operand y belongs to another graph; what is used together must come from one graph");
  CHECK(a.size() == 1);
}

TEST_CASE("an outer value used inside becomes one capture, through every level", "[graph][build]") {
  Graph outer;
  const Var x = outer.placeholder("x", f32, {"B"});
  Graph middle = outer.child();
  const Var m = middle.placeholder("", f32, {"B"});
  Graph inner = middle.child();
  const Var i = inner.placeholder("", f32, {"B"});
  const Var y = make("add", {x, i});
  make("mul", {x, y});
  CHECK(y.graph() == inner);
  REQUIRE(inner.captures().size() == 1);
  REQUIRE(middle.captures().size() == 1);
  CHECK(middle.captures()[0].first == x.value());
  CHECK(inner.captures()[0].first == middle.captures()[0].second);
  CHECK(outer.captures().empty());
  CHECK(inner.adopt(x, "test").same(inner.var(inner.captures()[0].second)));
  CHECK(inner.adopt(x, "test").shape() == Shape{"B"});
  // What is inside cannot be used outside.
  CHECK(code_of([&] { outer.adopt(i, "test"); }) == "test.graph.body");
  CHECK(code_of([&] { middle.adopt(i, "test"); }) == "test.graph.body");
  (void)m;
}

TEST_CASE("a node with a body does not keep its own graph alive", "[graph][build]") {
  std::weak_ptr<GraphData> watch;
  {
    Graph outer;
    watch = outer.data();
    const Var x = outer.placeholder("x", f32, {2});
    Graph inner = outer.child();
    const Var y = make("neg", {inner.adopt(x, "loop")});
    auto body =
        std::make_shared<Subgraph>(Subgraph{inner, {inner.captures()[0].second}, {y.value()}});
    make("loop", {x}, {}, {.body = body});
    CHECK(inner.captures().size() == 1);
  }
  CHECK(watch.expired());
}

TEST_CASE("random streams are given once, to bodies too", "[graph][build]") {
  Graph g;
  CHECK(g.next_stream() == 0);
  Graph inner = g.child();
  CHECK(inner.next_stream() == 1);
  g.reserve_streams(7);
  g.reserve_streams(3);
  CHECK(g.next_stream() == 7);
}

TEST_CASE("a placeholder refuses a negative dimension", "[graph][build]") {
  Graph g;
  CHECK(code_of([&] { g.placeholder("x", f32, {-1, 3}); }) == "placeholder.shape.negative");
  CHECK(g.placeholder("x", f32, {0, "T-1"}).rank() == 2);
}

TEST_CASE("a subgraph is copied into another graph with its inputs replaced", "[graph][build]") {
  Graph body;
  const Var a = body.placeholder("a", f32, {2}), b = body.placeholder("b", f32, {2});
  make("tanh", {b});  // not needed
  const Var y = make("add", {make("neg", {a}), b});
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Vars r =
      inline_subgraph({body, {a.value(), b.value()}, {y.value(), Value{}, a.value()}}, g, {x, x});
  REQUIRE(r.size() == 3);
  CHECK(r[0].node().op->name == "add");
  CHECK(r[0].node().inputs[1] == x.value());
  CHECK_FALSE(r[1]);
  CHECK(r[2].same(x));
  CHECK(g.size() == 3);
  CHECK(code_of([&] { inline_subgraph({body, {a.value()}, {y.value()}}, g, {x}); }) ==
        "rondo.internal");
}
