#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/print.h>

using namespace rondo;
using test::make;
using test::make_all;

namespace {

// A little of everything: leaves, optional operands, several results, a body, names of all kinds.
Graph sample() {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  const Var h0 = g.placeholder("h0", f32, {"B", 4});
  const Var wx = g.variable("lstm/wx", Tensor(f32, {3, 16}));
  const Var wr = g.variable("lstm/wr", Tensor(f32, {4, 16}), false);
  const Vars y = make_all("lstm_layer", {x, h0, wx, wr}, {{"ret_last", true}}, {.name = "lstm"});
  y[1].named("lstm/last");
  const Var half = test::scalar(g, 0.5);
  const Var z = make("mul", {y[1], half});
  z.named("z").named("again");
  Graph inner = g.child();
  const Var s = inner.placeholder("", f32, {"B", 4});
  const Var t = make("add", {make("tanh", {s}), inner.adopt(z, "loop")});
  Subgraph body{inner, {s.value(), inner.captures()[0].second}, {t.value(), Value{}}};
  make_all("loop", {z, z, {}}, {}, {.name = "step", .body = std::make_shared<Subgraph>(body)});
  make("linear", {h0, g.constant(Tensor(f32, {4, 5})), {}}, {{"mode", "exact"}, {"scale", 2}});
  return g;
}

}  // namespace

TEST_CASE("a graph prints as one line a node, bodies beneath", "[graph][print]") {
  CHECK(to_text(sample()) == R"(%0 "x" = placeholder -> f32[T,B,3]
%1 "h0" = placeholder -> f32[B,4]
%2 "lstm/wx" = variable {initial=f32[3,16]} -> f32[3,16]
%3 "lstm/wr" = variable {initial=f32[4,16], trainable=false} -> f32[4,16]
%4 "lstm" = lstm_layer(x=%0, y_last=%1, input_weights=%2, recurrent_weights=%3) {ret_last=true} -> f32[T,B,4], f32[B,4] "lstm/last"
%5 = constant {value=f32[]{0.5}} -> f32[]
%6 "again" "z" = mul(%4.1, %5) -> f32[B,4]
%7 "step" = loop(%6, %6, none) -> f32[B,4], none
  body(%0, %2)
    %0 = placeholder -> f32[B,4]
    %1 = tanh(%0) -> f32[B,4]
    %2 = placeholder -> f32[B,4]
    %3 = add(%1, %2) -> f32[B,4]
    return %3, none
%8 = constant {value=f32[4,5]} -> f32[4,5]
%9 = linear(x=%1, w=%8) {mode="exact", scale=2} -> f32[B,5]
)");
  CHECK(to_text(sample()) == to_text(sample()));
}

TEST_CASE("shapes go to streams as they are written", "[graph][print]") {
  std::ostringstream s;
  s << Shape{"T", "B", 3} << " " << Shape{};
  CHECK(s.str() == "[T,B,3] []");
}

TEST_CASE("a subgraph prints its ends", "[graph][print]") {
  Graph g;
  const Var x = g.placeholder("x", i32, {2});
  const Subgraph s{g, {x.value()}, {make("add", {x, x}).value(), Value{}, x.value()}};
  CHECK(to_text(s) == R"(graph(%0)
  %0 "x" = placeholder -> i32[2]
  %1 = add(%0, %0) -> i32[2]
  return %1, none, %0
)");
}

TEST_CASE("no name can break a line of the text", "[graph][print]") {
  Graph g;
  g.placeholder("a\n%1 = \"neg\"\t\\", f32, {2});
  CHECK(to_text(g) == "%0 \"a\\n%1 = \\\"neg\\\"\\x09\\\\\" = placeholder -> f32[2]\n");
}

TEST_CASE("a drawing has shapes, types and bodies, and escapes what is written in it",
          "[graph][print]") {
  Graph g = sample();
  make("neg", {g.find("z")}, {}, {.name = "<b>&\"\n]; evil \xff\xc3\xbc"});
  const std::string dot = to_dot(g);
  const auto has = [&](std::string_view s) { return dot.find(s) != std::string::npos; };
  CHECK(has("n0 [shape=box, style=\"filled,rounded\", fillcolor=\"#dbeafe\""));
  CHECK(has("n2 [shape=cylinder, style=\"filled\""));
  CHECK(has("n3 [shape=cylinder, style=\"filled,dashed\""));
  CHECK(has("<B>lstm_layer</B><BR/><I>lstm</I>"));
  CHECK(has("n0 -> n4 [label=\"x: f32[T,B,3]\"];"));
  CHECK(has("n4 -> n6 [label=\"f32[B,4]\"];"));
  CHECK(has("subgraph cluster_n7 {"));
  CHECK(has("n7_0 -> n7_1"));
  CHECK(has("n7_3 -> n7_out0"));
  CHECK(has("<B>in 1</B>"));
  CHECK(has("<B>0.5</B>"));
  CHECK(has("&lt;b&gt;&amp;&quot; ]; evil ?\xc3\xbc"));
  CHECK_FALSE(has("<b>"));
  CHECK_FALSE(has("\n]; evil"));
  CHECK(dot == to_dot(g));
}
