#include <chrono>
#include <cmath>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/rewrite.h>
#include <rondo/graph/verify.h>

using namespace rondo;
using test::code_of;
using test::make;
using test::make_all;
using test::transposed;
using test::unit;

namespace {

std::shared_ptr<const Subgraph> body_of(const std::function<Var(const Var&)>& f) {
  Graph g;
  const Var x = g.placeholder("", f32, {2});
  const Var y = f(x);
  return std::make_shared<const Subgraph>(Subgraph{g, {x.value()}, {y.value()}});
}
Var looped(const Var& x, const std::function<Var(const Var&)>& f) {
  return make("loop", {x}, {}, {.body = body_of(f)});
}

}  // namespace

TEST_CASE("dead code goes, inputs and names of the living stay", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  g.placeholder("unused", f32, {3});
  const Var w = g.variable("w", Tensor(f32, {2}));
  g.variable("never", Tensor(f32, {2}));
  make("tanh", {x}, {}, {.name = "dead"});
  const Var y = make("mul", {x, w}, {}, {.name = "y"});
  y.named("alias");
  make("neg", {y});
  Subgraph s = unit({y});
  s.outputs.push_back({});
  const Subgraph r = dead_code(s);
  verify(r);
  CHECK(to_text(r) == R"(graph(%0, %1)
  %0 "x" = placeholder -> f32[2]
  %1 "unused" = placeholder -> f32[3]
  %2 "w" = variable {initial=f32[2]{0,0}} -> f32[2]
  %3 "y" "alias" = mul(%0, %2) -> f32[2]
  return %3, none
)");
  CHECK(g.size() == 7);  // the old graph is as it was
}

TEST_CASE("dead code goes in bodies too", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var y = looped(x, [](const Var& v) {
    make("tanh", {v});
    return make("neg", {v});
  });
  CHECK(to_text(dead_code(unit({y}))) == R"(graph(%0)
  %0 "x" = placeholder -> f32[2]
  %1 = loop(%0) -> f32[2]
    body(%0)
      %0 = placeholder -> f32[2]
      %1 = neg(%0) -> f32[2]
      return %1
  return %1
)");
}

TEST_CASE("what is computed twice is computed once, and all its names stay", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2, 3});
  const Var a = transposed(x, {1, 0}), b = transposed(x, {1, 0}), c = transposed(x, {0, 1});
  const Var p = make("neg", {a}, {}, {.name = "p"}), q = make("neg", {b}, {}, {.name = "q"});
  const Var one = test::scalar(g, 1), uno = test::scalar(g, 1), two = test::scalar(g, 2);
  const Var sum = make("add", {make("mul", {p, one}), make("mul", {q, uno})});
  const Subgraph r = common_subexpressions(unit({make("mul", {sum, two}), c}));
  verify(r);
  CHECK(to_text(r) == R"(graph(%0)
  %0 "x" = placeholder -> f32[2,3]
  %1 = transpose(%0) {permutation=[1,0]} -> f32[3,2]
  %2 = transpose(%0) {permutation=[0,1]} -> f32[2,3]
  %3 "p" "q" = neg(%1) -> f32[3,2]
  %4 = constant {value=f32[]{1}} -> f32[]
  %5 = constant {value=f32[]{2}} -> f32[]
  %6 = mul(%3, %4) -> f32[3,2]
  %7 = add(%6, %6) -> f32[3,2]
  %8 = mul(%7, %5) -> f32[3,2]
  return %8, %2
)");
}

TEST_CASE("leaves, state and other streams are kept apart", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2}), y = g.placeholder("y", f32, {2});
  const Var v = g.variable("v", Tensor(f32, {2})), w = g.variable("w", Tensor(f32, {2}));
  const auto random = [&](int64_t stream) { return make("random", {x}, {{"stream", stream}}); };
  const auto count = [&](const Vars& outputs) {
    const Subgraph r = common_subexpressions(unit(outputs));
    return std::set<Value>(r.outputs.begin(), r.outputs.end()).size();
  };
  CHECK(count({x, y, v, w}) == 4);
  CHECK(count({random(0), random(0)}) == 1);
  CHECK(count({random(0), random(1)}) == 2);
  CHECK(count({make("clock", {x}), make("clock", {x})}) == 2);
  // Bits decide: 0 and -0, f32 and f64 are different constants; NaN is itself.
  const auto constant = [&](DType t, double d) { return g.constant(Tensor::scalar(t, d)); };
  CHECK(count({constant(f32, 0.0), constant(f32, -0.0), constant(f64, 0.0)}) == 3);
  CHECK(count({constant(f32, std::nan("")), constant(f32, std::nan(""))}) == 1);
  CHECK(count({g.constant(Tensor(f32, {2, 3})), g.constant(Tensor(f32, {3, 2}))}) == 2);
}

TEST_CASE("nodes with equal bodies are one, whatever their values are called", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const auto tanh = [](const Var& v) { return make("tanh", {v}); };
  const auto named = [](const Var& v) { return make("tanh", {v}, {}, {.name = "inner"}); };
  const auto untidy = [](const Var& v) {
    make("neg", {v});
    return make("tanh", {v});
  };
  const auto twice = [](const Var& v) {
    return make("add", {make("tanh", {v}), make("tanh", {v})});
  };
  const auto shared = [](const Var& v) {
    const Var t = make("tanh", {v});
    return make("add", {t, t});
  };
  const Subgraph r = common_subexpressions(
      unit({looped(x, tanh), looped(x, named), looped(x, untidy), looped(x, twice),
            looped(x, shared), looped(x, [](const Var& v) { return make("neg", {v}); })}));
  verify(r);
  CHECK(r.outputs[0] == r.outputs[1]);
  CHECK(r.outputs[0] == r.outputs[2]);
  CHECK(r.outputs[3] == r.outputs[4]);  // work within bodies is merged first
  CHECK(r.outputs[0] != r.outputs[3]);
  CHECK(r.outputs[0] != r.outputs[5]);
}

TEST_CASE("structures are equal by what they compute", "[graph][passes]") {
  const auto make_sub = [](const std::function<Var(const Var&, const Var&)>& f,
                           bool swapped = false) {
    Graph g;
    const Var a = g.placeholder("", f32, {2}), b = g.placeholder("", f32, {2});
    Subgraph s{g, {a.value(), b.value()}, {f(a, b).value()}};
    if (swapped) std::swap(s.inputs[0], s.inputs[1]);
    return s;
  };
  const auto sub = [](const Var& a, const Var& b) { return make("sub", {a, b}); };
  const auto bus = [](const Var& a, const Var& b) { return make("sub", {b, a}); };
  const Subgraph s = make_sub(sub);
  CHECK(same_structure(s, make_sub(sub)));
  CHECK_FALSE(same_structure(s, make_sub(bus)));
  CHECK(same_structure(s, make_sub(bus, true)));
  CHECK(structure_hash(s) == structure_hash(make_sub(bus, true)));
  CHECK_FALSE(structure_hash(s) == structure_hash(make_sub(bus)));
  CHECK_FALSE(
      same_structure(s, make_sub([](const Var& a, const Var& b) { return make("add", {a, b}); })));
  CHECK_FALSE(same_structure(s, make_sub([](const Var& a, const Var&) { return a; })));
  const auto noise = [](int64_t stream) {
    return [stream](const Var& a, const Var&) { return make("random", {a}, {{"stream", stream}}); };
  };
  CHECK(same_structure(make_sub(noise(1)), make_sub(noise(1))));
  CHECK_FALSE(same_structure(make_sub(noise(1)), make_sub(noise(2))));
  const auto loop = [](const char* inner) {
    return [inner](const Var& a, const Var&) {
      return looped(a, [inner](const Var& v) { return make(inner, {v}); });
    };
  };
  CHECK(same_structure(make_sub(loop("tanh")), make_sub(loop("tanh"))));
  CHECK_FALSE(same_structure(make_sub(loop("tanh")), make_sub(loop("neg"))));
}

TEST_CASE("passes are linear: a hundred thousand nodes in a moment", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  Var a = x, b = x;
  for (int i = 0; i < 25000; ++i) {
    a = make("neg", {make("tanh", {a})});
    b = make("neg", {make("tanh", {b})});
  }
  const auto start = std::chrono::steady_clock::now();
  const Subgraph r = common_subexpressions(unit({make("add", {a, b})}));
  CHECK(r.graph.size() == 1 + 50000 + 1);
  CHECK(dead_code(r).graph.size() == r.graph.size());
  CHECK(structure_hash(r) == structure_hash(dead_code(r)));
  verify(r);
  CHECK(std::chrono::steady_clock::now() - start <
        std::chrono::seconds(60));  // quadratic would take hours
}

TEST_CASE("a rebuilder lets a pass put other values in a node's place", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var y = make("tanh", {make("neg", {x}, {}, {.name = "n"})}, {}, {.name = "y"});
  const Subgraph r = rebuild(unit({y}), [](Rebuilder& b, const Node& n) -> Vars {
    if (n.op->name != "neg") return {};
    const Call c = b.call(n);
    return {make("sub", {b.graph().var(c["x"].value()), c["x"]})};
  });
  verify(r);
  CHECK(to_text(r) == R"(graph(%0)
  %0 "x" = placeholder -> f32[2]
  %1 "n" = sub(%0, %0) -> f32[2]
  %2 "y" = tanh(%1) -> f32[2]
  return %2
)");
}

TEST_CASE("a pass that breaks its promises is stopped where it does", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var s = g.placeholder("s", f32, {});
  const Var y = make("tanh", {make("neg", {x})});
  const auto neg_becomes = [&](const std::function<Vars(Rebuilder&)>& f) {
    return code_of([&] {
      rebuild(unit({y}),
              [&](Rebuilder& b, const Node& n) { return n.op->name == "neg" ? f(b) : Vars{}; });
    });
  };
  CHECK(neg_becomes([&](Rebuilder& b) { return Vars{b[x.value()]}; }).empty());
  CHECK(neg_becomes([&](Rebuilder& b) { return Vars{b[s.value()]}; }) == "rondo.internal");  // rank
  CHECK(neg_becomes([&](Rebuilder& b) { return Vars{b[x.value()], b[x.value()]}; }) ==
        "rondo.internal");                                                         // count
  CHECK(neg_becomes([](Rebuilder&) { return Vars{Var()}; }) == "rondo.internal");  // used, but gone
  CHECK(neg_becomes([&](Rebuilder& b) { return Vars{b[y.value()]}; }) ==
        "rondo.internal");  // not there yet
}

TEST_CASE("a rebuilder counts uses by living nodes", "[graph][passes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var n = make("neg", {x});
  make("tanh", {n});  // dead
  const Var y = make("add", {n, n});
  const Rebuilder r(unit({y, n}));
  CHECK(r.uses(x.value()) == 1);
  CHECK(r.uses(n.value()) == 3);
  CHECK(r.uses(y.value()) == 1);
  CHECK(r.uses({}) == 0);
}
