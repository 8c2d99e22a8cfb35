#include <algorithm>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/print.h>
#include <rondo/graph/rewrite.h>
#include <rondo/graph/verify.h>

using namespace rondo;
using namespace rondo::pattern;
using test::code_of;
using test::make;
using test::transposed;
using test::unit;

namespace {

using Ints = std::vector<int64_t>;

Ints composed(const Ints& inner, const Ints& outer) {
  Ints r;
  for (const int64_t i : outer) r.push_back(inner[static_cast<size_t>(i)]);
  return r;
}

Rule mul_one() {
  return rule("mul_one", op("mul", any("x"), literal(1.0), commutes()),
              [](Match& m) { return m.fits(m["x"]) ? m["x"] : Var(); });
}
Rule neg_neg() {
  return rule("neg_neg", op("neg", op("neg", any("x"))), [](Match& m) { return m["x"]; });
}
Rule transpose_twice() {
  return rule("transpose_twice",
              op("transpose", op("transpose", any("x"), as("inner")), as("outer")), [](Match& m) {
                return transposed(m["x"],
                                  composed(m.node("inner").attributes().integers("permutation"),
                                           m.node("outer").attributes().integers("permutation")));
              });
}
Rule transpose_identity() {
  return rule("transpose_identity", op("transpose", any("x"), when([](const Call& c) {
                                         const Ints& p = c.attributes().integers("permutation");
                                         return std::is_sorted(p.begin(), p.end());
                                       })),
              [](Match& m) { return m["x"]; });
}

struct Result {
  std::string text, log;
};
Result apply_rules(const Vars& outputs, std::vector<Rule> rules) {
  RewriteLog log;
  const Subgraph r = rewrite(unit(outputs), RuleSet(std::move(rules)), &log);
  verify(r);
  return {to_text(r), log.str()};
}

}  // namespace

TEST_CASE("a rule replaces what it matches and keeps the name", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var y = make("mul", {make("neg", {x}), test::scalar(g, 1)}, {}, {.name = "y"});
  const Result r = apply_rules({make("tanh", {y})}, {mul_one()});
  CHECK(r.text == R"(graph(%0)
  %0 "x" = placeholder -> f32[2]
  %1 "y" = neg(%0) -> f32[2]
  %2 = tanh(%1) -> f32[2]
  return %2
)");
  CHECK(r.log == "mul_one");
}

TEST_CASE("a commuting op matches in either order, nested ones in every combination", "[rewrite]") {
  const auto nested =
      rule("nested", op("add", any("a"), op("mul", any("a"), literal(2.0), commutes()), commutes()),
           [](Match& m) { return m["a"]; });
  for (int order = 0; order < 4; ++order) {
    Graph g;
    const Var x = g.placeholder("x", f32, {2}), two = test::scalar(g, 2);
    const Var p = (order & 1) != 0 ? make("mul", {two, x}) : make("mul", {x, two});
    const Var s = (order & 2) != 0 ? make("add", {p, x}) : make("add", {x, p});
    CHECK(apply_rules({s}, {nested}).log == "nested");
  }
  Graph g;
  const Var x = g.placeholder("x", f32, {2}), y = g.placeholder("y", f32, {2});
  // The same capture twice must be the same value.
  CHECK(apply_rules({make("add", {y, make("mul", {x, test::scalar(g, 2)})})}, {nested}).log ==
        "nothing");
}

TEST_CASE("without commutes the order counts", "[rewrite]") {
  const auto sub_zero = rule("sub_zero", op("sub", any("x"), literal(0.0)),
                             [](Match& m) { return m.fits(m["x"]) ? m["x"] : Var(); });
  Graph g;
  const Var x = g.placeholder("x", f32, {2}), zero = test::scalar(g, 0);
  CHECK(apply_rules({make("sub", {x, zero})}, {sub_zero}).log == "sub_zero");
  CHECK(apply_rules({make("sub", {zero, x})}, {sub_zero}).log == "nothing");
}

TEST_CASE("literals are compared by bits in the operand's dtype", "[rewrite]") {
  Graph g;
  const auto value = [&](DType t, double d) { return g.constant(Tensor::scalar(t, d)); };
  const auto matches = [&](double wanted, const Var& v) {
    const auto r = rule("r", op("add", any("x"), literal(wanted)), [](Match& m) { return m["x"]; });
    const Var x = g.constant(Tensor(v.dtype(), to_shape({}).empty() ? Dims{} : Dims{}));
    return apply_rules({make("add", {x, v})}, {r}).log == "r";
  };
  CHECK(matches(1, value(f32, 1)));
  CHECK(matches(1, value(bf16, 1)));
  CHECK(matches(1, value(i64, 1)));
  CHECK(matches(0.1, value(f32, 0.1)));  // rounded as the constant was
  CHECK_FALSE(matches(0.5, value(i32, 0)));
  CHECK_FALSE(matches(0.0, value(f32, -0.0)));
  CHECK(matches(-0.0, value(f32, -0.0)));
  CHECK_FALSE(matches(1, value(f32, 1.0000001)));
}

TEST_CASE("a constant of equal elements is a literal, any other is not", "[rewrite]") {
  Graph g;
  CHECK(literal_value(g.constant(Tensor::full(f32, {2, 3}, 4))) == 4.0);
  CHECK(literal_value(g.constant(Tensor::scalar(f64, 0.25))) == 0.25);
  CHECK_FALSE(literal_value(g.constant(Tensor::of<float>({3}, {4, 4, 5}))).has_value());
  CHECK_FALSE(literal_value(g.constant(Tensor::of<float>({2}, {0.0F, -0.0F}))).has_value());
  CHECK_FALSE(literal_value(g.constant(Tensor(f32, {0}))).has_value());
  CHECK_FALSE(literal_value(g.placeholder("x", f32, {})).has_value());
  CHECK_FALSE(literal_value(Var()).has_value());
}

TEST_CASE("a guard that says no leaves no trace", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {});
  const Var ones = g.constant(Tensor::full(f32, {3}, 1));
  // x alone would be a scalar where the product is [3].
  const Var y = make("mul", {x, ones});
  const auto leaves_work = rule("undecided", op("mul", any("x"), any("y")), [](Match& m) {
    make("tanh", {m["x"]});
    return Var();
  });
  const Result r = apply_rules({y}, {mul_one(), leaves_work});
  CHECK(r.log == "nothing");
  CHECK(r.text == to_text(unit({y})));
}

TEST_CASE("rules run to a fixpoint, through what they build themselves", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2, 3, 4});
  Var y = x;
  for (int i = 0; i < 99; ++i) y = transposed(y, {1, 2, 0});
  Result r = apply_rules({y}, {transpose_twice(), transpose_identity()});
  CHECK(r.text == "graph(%0)\n  %0 \"x\" = placeholder -> f32[2,3,4]\n  return %0\n");
  r = apply_rules({transposed(y, {2, 1, 0})}, {transpose_twice(), transpose_identity()});
  CHECK(r.text.find("%1 = transpose(%0) {permutation=[2,1,0]} -> f32[4,3,2]\n  return %1") !=
        std::string::npos);
}

TEST_CASE("a node whose pieces were rewritten is looked at again", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2}), one = test::scalar(g, 1);
  // Only after mul_one is the outer neg above a neg.
  const Var y = make("neg", {make("mul", {make("mul", {one, make("neg", {x})}), one})});
  const Result r = apply_rules({y}, {neg_neg(), mul_one()});
  CHECK(r.log == "mul_one x2, neg_neg");
  CHECK(r.text == "graph(%0)\n  %0 \"x\" = placeholder -> f32[2]\n  return %0\n");
}

TEST_CASE("inner nodes that a rule builds are rewritten in a later sweep", "[rewrite]") {
  const auto expand = rule("expand", op("tanh", any("x")), [](Match& m) {
    return make("add", {make("neg", {make("neg", {m["x"]})}), m["x"]});
  });
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Result r = apply_rules({make("tanh", {x})}, {expand, neg_neg()});
  CHECK(r.log == "expand, neg_neg");
  CHECK(r.text.find("%1 = add(%0, %0)") != std::string::npos);
}

TEST_CASE("once matches only what nothing else uses", "[rewrite]") {
  const auto fuse = rule("fuse", op("tanh", op("neg", any("x"), once())),
                         [](Match& m) { return make("tanh", {m["x"]}); });
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  const Var n = make("neg", {x});
  const Var t = make("tanh", {n});
  CHECK(apply_rules({t}, {fuse}).log == "fuse");
  CHECK(apply_rules({t, n}, {fuse}).log == "nothing");
  CHECK(apply_rules({t, make("add", {n, x})}, {fuse}).log == "nothing");
  make("tanh", {n});  // a dead user does not count
  CHECK(apply_rules({t}, {fuse}).log == "fuse");
}

TEST_CASE("attributes, absent operands, the rest and results are matched", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2, 3}), w = g.placeholder("w", f32, {3, 3}),
            b = g.placeholder("b", f32, {3});
  const auto linear = [&](const Var& bias, const char* mode) {
    return make("linear", {x, w, bias}, {{"mode", mode}});
  };
  const auto bare = rule("bare", op("linear", any("x"), any("w"), none(), with("mode", "exact")),
                         [](Match& m) { return m["x"]; });
  CHECK(apply_rules({linear({}, "exact")}, {bare}).log == "bare");
  CHECK(apply_rules({linear(b, "exact")}, {bare}).log == "nothing");
  CHECK(apply_rules({linear({}, "fast")}, {bare}).log == "nothing");

  const auto concat_one = rule("concat_first", op("concat", any("x"), rest("more")), [](Match& m) {
    return m.rest("more").size() == 2 ? m["x"] : Var();
  });
  CHECK(apply_rules({make("concat", {x, x, x})}, {concat_one}).log == "concat_first");
  CHECK(apply_rules({make("concat", {x, x})}, {concat_one}).log == "nothing");
  const auto two = rule("two", op("concat", any("a"), any("b")), [](Match& m) { return m["a"]; });
  CHECK(apply_rules({make("concat", {x, x, x})}, {two}).log == "nothing");

  const Var seq = g.placeholder("seq", f32, {4, 2, 3}), wx = g.placeholder("wx", f32, {3, 12}),
            wr = g.placeholder("wr", f32, {3, 12});
  const Vars y = test::make_all("lstm_layer", {seq, {}, wx, wr}, {{"ret_last", true}});
  const auto last =
      rule("last", op("neg", op("lstm_layer", any("s"), none(), any("wx"), any("wr"), result(1))),
           [](Match& m) { return make("tanh", {m.graph().find("x")}); });
  CHECK(apply_rules({make("neg", {y[1]})}, {last}).log == "last");
  CHECK(apply_rules({make("neg", {y[0]})}, {last}).log == "nothing");
}

TEST_CASE("a node with several results is replaced as a whole", "[rewrite]") {
  Graph g;
  const Var seq = g.placeholder("seq", f32, {4, 2, 3}), wx = g.placeholder("wx", f32, {3, 12}),
            wr = g.placeholder("wr", f32, {3, 12}), h = g.placeholder("h", f32, {2, 3});
  const Vars y =
      test::make_all("lstm_layer", {seq, {}, wx, wr}, {{"ret_last", true}}, {.name = "lstm"});
  y[1].named("last");
  const auto shortcut = rule("shortcut", op("lstm_layer", any("x"), none(), rest("w")),
                             [](Match& m) { return Vars{m["x"], m.graph().find("h")}; });
  const Result r = apply_rules({make("neg", {y[0]}), make("neg", {y[1]}), h}, {shortcut});
  CHECK(r.log == "shortcut");
  CHECK(r.text.find("%4 = neg(%0) -> f32[4,2,3]\n  %5 = neg(%3) -> f32[2,3]") != std::string::npos);
}

TEST_CASE("rules reach into bodies, once for a body that is shared", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  Graph inner;
  const Var a = inner.placeholder("", f32, {2});
  const auto body = std::make_shared<const Subgraph>(
      Subgraph{inner, {a.value()}, {make("neg", {make("neg", {make("tanh", {a})})}).value()}});
  const Var y = make("loop", {make("loop", {x}, {}, {.body = body})}, {}, {.body = body});
  RewriteLog log;
  const Subgraph r = rewrite(unit({y}), RuleSet({neg_neg()}), &log);
  verify(r);
  CHECK(log.str() == "neg_neg");
  CHECK(r.graph.node(1).body == r.graph.node(2).body);
  CHECK(r.graph.node(1).body->graph.size() == 2);
  CHECK(body->graph.size() == 4);  // the old body is as it was
}

TEST_CASE("rules that undo each other are stopped and named", "[rewrite]") {
  const auto swap = rule("swap", op("add", any("a"), any("b")),
                         [](Match& m) { return make("add", {m["b"], m["a"]}); });
  const auto grow = rule("grow", op("tanh", any("a")), [](Match& m) {
    return make("neg", {make("tanh", {make("neg", {m["a"]})})});
  });
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  for (const Var& y : {make("add", {x, make("neg", {x})}), make("tanh", {x})}) {
    CHECK(code_of([&] { rewrite(unit({y}), RuleSet({swap, grow})); }) == "graph.rewrite.bound");
  }
  CHECK(test::text_of([&] { rewrite(unit({make("add", {x, x})}), RuleSet({swap}), nullptr, 5); }) ==
        "internal error (please report it): rule swap fired after 5 other firings: rules undo each "
        "other");
}

TEST_CASE("a rule that changes a type, a graph or a count is stopped and named", "[rewrite]") {
  Graph g, elsewhere;
  const Var x = g.placeholder("x", f32, {2, 3});
  const Var foreign = elsewhere.placeholder("x", f32, {2, 3});
  const Var y = make("neg", {x});
  const auto neg_becomes = [&](const std::function<Vars(Match&)>& f) {
    return code_of([&] { rewrite(unit({y}), RuleSet({rule("bad", op("neg", any("x")), f)})); });
  };
  CHECK(neg_becomes([](Match& m) { return Vars{transposed(m["x"], {1, 0})}; }) ==
        "graph.rewrite.type");
  CHECK(neg_becomes([](Match& m) { return Vars{m.graph().constant(Tensor(f64, {2, 3}))}; }) ==
        "graph.rewrite.type");
  CHECK(neg_becomes([](Match& m) { return Vars{m["x"], m["x"]}; }) == "graph.rewrite.type");
  CHECK(neg_becomes([](Match&) { return Vars{Var()}; }) == "graph.rewrite.type");
  CHECK(neg_becomes([&](Match&) { return Vars{foreign}; }) == "graph.rewrite.type");
  CHECK(neg_becomes([](Match& m) { return Vars{make("linear", {m["x"], m["x"], {}})}; }) ==
        "graph.rewrite.build");
  CHECK(neg_becomes([](Match& m) { return Vars{m["z"]}; }) == "graph.rewrite.build");
}

TEST_CASE("rule sets join in order and refuse a name twice", "[rewrite]") {
  const RuleSet a({mul_one()}), b({neg_neg()});
  const RuleSet both = a + b;
  REQUIRE(both.rules().size() == 2);
  CHECK(both.rules()[0].name == "mul_one");
  CHECK(both.rooted_at("neg").size() == 1);
  CHECK(both.rooted_at("tanh").empty());
  CHECK(RuleSet().rules().empty());
  CHECK((RuleSet() + b).rules().size() == 1);
  CHECK(code_of([&] { (void)(both + a); }) == "rondo.internal");
  CHECK(code_of([] { RuleSet({rule("leaf", any("x"), [](Match& m) { return m["x"]; })}); }) ==
        "rondo.internal");
}

TEST_CASE("the earlier rule goes first", "[rewrite]") {
  const auto to = [](const char* name, const char* becomes) {
    return rule(name, op("neg", any("x")), [becomes](Match& m) { return make(becomes, {m["x"]}); });
  };
  Graph g;
  const Var y = make("neg", {g.placeholder("x", f32, {2})});
  CHECK(apply_rules({y}, {to("first", "tanh"), to("second", "random")}).log == "first");
}

TEST_CASE("a graph without anything to do comes out as it was", "[rewrite]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", 3});
  const Var y = make("linear", {x, g.variable("w", Tensor(f32, {3, 3})), {}}, {{"scale", 2}},
                     {.name = "y", .site = {"here.cc", 7}});
  const Subgraph s = unit({y});
  const Subgraph r = rewrite(s, RuleSet({mul_one()}));
  CHECK(to_text(r) == to_text(s));
  CHECK(r.graph.node(2).site.line == 7);
  g.next_stream();
  CHECK(rewrite(s, RuleSet()).graph.streams() == 1);
}
