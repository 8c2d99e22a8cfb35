// Ops of a program's own: mistakes in their definitions are told as such, with op and callback.
#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/graph/op.h>
#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

// What `f` throws: fault, code and text in one, to be compared with what a program should read.
template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return cat(e.fault() == Fault::kArgument ? "" : "NO ARGUMENT FAULT ", e.code(), ": ", e.what());
  } catch (const std::exception& e) {
    return cat("NO Error: ", e.what());
  }
  return "nothing is refused";
}

// An op y = f(x) of [A,B], with an attribute; what a test gives instead of it is the mistake.
OpDef doubled() {
  return {
      .name = "doubled",
      .sig = "x[A,B], bias[B]? -> y[A,B]",
      .doc = "y = 2 x",
      .attributes = {{"factor", 2.0, "what x is multiplied by"}, {"steps", 1, "a whole number"}},
      .lower = [](const Call& c) -> Vars { return {c["x"] * c.number("factor")}; }};
}

// A registry of one definition.
struct Own {
  OpRegistry registry;
  explicit Own(OpDef def) { registry.add(std::move(def)); }

  Tensor run() const {
    Graph g;
    const Var x = g.placeholder("x", f64, {2, 3});
    return Session(g).run(g.call(registry.at("doubled"), {x, Var()}, {})[0],
                          {{x, Tensor::full(f64, {2, 3}, 1)}});
  }
  void differentiate() const {
    Graph g;
    const Var x = g.placeholder("x", f64, {2, 3});
    gradients(sum(g.call(registry.at("doubled"), {x, Var()}, {})[0]), {x});
  }
};

std::string with_signature(const std::string& sig) {
  OpDef d = doubled();
  d.sig = sig;
  return refusal([&] { Own{d}; });
}

void check_all(const std::string& got, const std::vector<std::string>& words) {
  CAPTURE(got);
  for (const std::string& w : words) {
    CAPTURE(w);
    CHECK(got.find(w) != std::string::npos);
  }
  CHECK(got.find("internal") == std::string::npos);
  CHECK(got.find("NO ") == std::string::npos);
}

// The words are in the refusal of a run, and in that of a gradient.
void check_lower(LowerFn lower, const std::vector<std::string>& words) {
  OpDef d = doubled();
  d.lower = std::move(lower);
  const Own own(d);
  check_all(refusal([&] { own.run(); }), words);
  check_all(refusal([&] { own.differentiate(); }), words);
}

void check_vjp(VjpFn vjp, const std::vector<std::string>& words) {
  OpDef d = doubled();
  d.vjp = std::move(vjp);
  const Own own(d);
  check_all(refusal([&] { own.differentiate(); }), words);
}

}  // namespace

TEST_CASE("an own op without a mistake is run and differentiated", "[own_op]") {
  const Own own(doubled());
  CHECK(own.run() == Tensor::full(f64, {2, 3}, 2));
  own.differentiate();
}

TEST_CASE("a mistake in an own op's signature is told when it is registered", "[own_op]") {
  check_all(with_signature("x[A,B -> y[A,B]"),
            {"doubled.signature.syntax: [doubled] signature", "']' is missing"});
  check_all(with_signature("x[A,B] -> y[A,B]:flaot"),
            {"doubled.signature.syntax", "unknown type 'flaot'", "int, i64, bool, any, same"});
  check_all(with_signature("x[A,B]"), {"doubled.signature.syntax", "no '->'"});
  check_all(with_signature("x[A,B] -> y[A,C]"),
            {"doubled.signature.letter", "y[A,C]", "'C'", "no required operand"});
  check_all(with_signature("x[A], bias[B]? -> y[B]"), {"doubled.signature.letter", "y[B]"});
  check_all(with_signature("x[A,B], x[B] -> y[A,B]"),
            {"doubled.signature.twice", "two things 'x'"});
  check_all(with_signature("xs[A,B]*, x[B] -> y[A,B]"), {"doubled.signature.last", "'xs'"});
}

TEST_CASE("a state, an alias or a signature of a configuration that names nothing is refused",
          "[own_op]") {
  OpDef d = doubled();
  d.states = {{"x", "next_x"}};
  check_all(refusal([&] { Own{d}; }), {"doubled.states.name", "'next_x'", "y"});
  d = doubled();
  d.aliases = {{"PyTorch", "weight", "w"}};
  check_all(refusal([&] { Own{d}; }), {"doubled.aliases.name", "'w'", "x, bias, y, factor, steps"});
  d = doubled();
  d.sig_of = [](const Attributes&) { return std::string("x[A,B], bias[B]? > y[A,B]"); };
  check_all(refusal([&] { Own{d}.run(); }), {"doubled.sig_of.syntax", "position 17"});
  d = doubled();
  d.letters = [](const Attributes& a) {
    return std::vector<FixedLetter>{{"B", a.integer("step"), "step"}};
  };
  check_all(refusal([&] { Own{d}.run(); }),
            {"doubled.letters.name", "'step'", "did you mean 'steps'"});
}

TEST_CASE("an optional attribute that was not given is told as such", "[own_op]") {
  OpDef d = doubled();
  d.attributes.push_back(
      {.name = "seed", .default_value = 0, .doc = "where it starts", .optional = true});
  d.lower = [](const Call& c) -> Vars { return {c["x"] * static_cast<double>(c.integer("seed"))}; };
  check_all(refusal([&] { Own{d}.run(); }),
            {"doubled.lower.name", "'seed', which is not there: it is optional"});
}

TEST_CASE("a name that an own op has not is told with the callback that asks for it", "[own_op]") {
  check_lower(
      [](const Call& c) -> Vars { return {c["z"] * 2}; },
      {"doubled.lower.name: [doubled] lower asks for an operand or result 'z'", "x, bias, y"});
  OpDef far = doubled();
  far.lower = [](const Call& c) -> Vars { return {c["z"]}; };
  CHECK(refusal([&] { Own{far}.run(); }).find("did you mean") == std::string::npos);
  check_lower([](const Call& c) -> Vars { return {c["x"] * c.number("facter")}; },
              {"doubled.lower.name: [doubled] lower asks for the attribute 'facter'",
               "did you mean 'factor'", "factor, steps"});
  check_lower([](const Call& c) -> Vars { return {c["x"] * c.attributes().number("steps")}; },
              {"doubled.lower.type: [doubled] lower asks for the attribute 'steps' as float",
               "of type int"});
  check_lower([](const Call& c) -> Vars { return {c.in(7) * 2}; },
              {"doubled.lower.name: [doubled] lower asks for operand 7", "2"});
  check_vjp([](const Call& c, const Vars& g, GradContext&) -> Vars { return {g[0] * c["q"], {}}; },
            {"doubled.vjp.name: [doubled] vjp asks for an operand or result 'q'"});
  OpDef d = doubled();
  d.infer = [](const InferContext& c) -> std::vector<ValueType> { return {c[4]}; };
  check_all(refusal([&] { Own{d}.run(); }), {"doubled.infer.name", "infer asks for operand 4"});
  d = doubled();
  d.check = [](const InferContext& c) { (void)c.attributes().flag("fast"); };
  check_all(refusal([&] { Own{d}.run(); }),
            {"doubled.check.name", "check asks for the attribute 'fast'"});
}

TEST_CASE("an own op's results are held to its signature", "[own_op]") {
  check_lower([](const Call&) -> Vars { return {}; },
              {"doubled.lower.count: [doubled] lower gives 0 results", "y[A,B]", "1"});
  check_lower([](const Call& c) -> Vars { return {c["x"], c["x"]}; },
              {"doubled.lower.count: [doubled] lower gives 2 results", "1"});
  check_lower([](const Call& c) -> Vars { return {transpose(c["x"])}; },
              {"doubled.lower.result: [doubled] lower gives f64[3,2] as y", "f64[2,3]"});
  check_lower([](const Call& c) -> Vars { return {sum(c["x"])}; },
              {"doubled.lower.result: [doubled] lower gives f64[] as y", "f64[2,3]"});
  check_lower([](const Call& c) -> Vars { return {cast(c["x"], f32)}; },
              {"doubled.lower.result: [doubled] lower gives f32[2,3] as y", "f64[2,3]"});
  check_lower([](const Call&) -> Vars { return {Var()}; },
              {"doubled.lower.result: [doubled] lower gives nothing as y", "f64[2,3]"});
  check_lower(
      [](const Call&) -> Vars {
        Graph other;
        return {other.constant(Tensor::full(f64, {2, 3}, 1))};
      },
      {"doubled.lower.graph: [doubled] lower gives as y a value of another graph"});
  OpDef d = doubled();
  d.infer = [](const InferContext& c) -> std::vector<ValueType> { return {c[0], c[0]}; };
  check_all(refusal([&] { Own{d}.run(); }),
            {"doubled.infer.count: [doubled] infer gives 2 results", "1"});
}

TEST_CASE("an own op's results are held to the symbols of its signature", "[own_op]") {
  const auto run = [](const LowerFn& lower) {
    OpDef d = doubled();
    d.lower = lower;
    const Own own{d};
    Graph g;
    const Var x = g.placeholder("x", f64, {"T", "B"});
    const Var y = g.call(own.registry.at("doubled"), {x, Var()}, {})[0];
    Session(g).run(y, {{x, Tensor::full(f64, {2, 3}, 1)}});
  };
  check_all(refusal([&] { run([](const Call& c) -> Vars { return {transpose(c["x"])}; }); }),
            {"doubled.lower.result: [doubled] lower gives f64[B,T] as y, but that is f64[T,B]"});
  check_all(refusal([&] {
              run([](const Call& c) -> Vars { return {concat<Var>({c["x"], c["x"]}, 0)}; });
            }),
            {"doubled.lower.result", "f64[2*T,B]"});
}

TEST_CASE("an own op whose lowering calls itself is told so", "[own_op]") {
  OpDef d = doubled();
  d.lower = [](const Call& c) -> Vars { return {c.graph().call(c.op(), {c["x"], Var()}, {})[0]}; };
  const Own own{d};
  check_all(refusal([&] { own.run(); }), {"doubled.lower.itself", "calls doubled itself"});
  Graph g;
  const Var x = g.placeholder("x", f64, {2, 3});
  const Var y = g.call(own.registry.at("doubled"), {x, Var()}, {})[0];
  check_all(refusal([&] { gradients(sum(y), {x}); }), {"doubled.lower.itself"});
}

TEST_CASE("an own op's gradients are held to its operands", "[own_op]") {
  check_vjp([](const Call&, const Vars& g, GradContext&) -> Vars { return {g[0]}; },
            {"doubled.vjp.count: [doubled] vjp gives 1 gradients", "2 operands: x[A,B], bias[B]?"});
  check_vjp([](const Call&, const Vars& g, GradContext&) -> Vars { return {transpose(g[0]), {}}; },
            {"doubled.vjp.result: [doubled] vjp gives f64[3,2] as the gradient of x", "f64[2,3]"});
  check_vjp([](const Call&, const Vars& g, GradContext&) -> Vars { return {cast(g[0], f32), {}}; },
            {"doubled.vjp.result: [doubled] vjp gives f32[2,3] as the gradient of x", "f64[2,3]"});
}

TEST_CASE("an own op's gradients are of the graph that it was called in", "[own_op]") {
  check_vjp(
      [](const Call&, const Vars&, GradContext&) -> Vars {
        return {Graph().placeholder("elsewhere", f64, {2, 3}), {}};
      },
      {"doubled.vjp.graph: [doubled] vjp gives as the gradient of x a value of another graph"});
}

TEST_CASE("the page of an own op whose configurations have other operands is made", "[own_op]") {
  OpDef d = doubled();
  d.attributes.push_back({.name = "wide", .default_value = false, .doc = "with another operand"});
  d.sig_of = [](const Attributes& a) {
    return std::string(a.flag("wide") ? "x[A,B], bias[B]?, more[C]? -> y[A,B]"
                                      : "x[A,B], bias[B]? -> y[A,B]");
  };
  const Own own{d};
  CHECK(describe_op(own.registry.at("doubled")).find("wide = true: more[C]") != std::string::npos);
}

TEST_CASE("an own op has the text and the page that built-in ops have", "[own_op]") {
  OpDef d = doubled();
  d.doc = "Twice x:\n    y = factor x";
  d.source = "arithmetic";
  d.example = "Var y = doubled(x);";
  d.aliases = {{"Elsewhere", "twice", ""}, {"Elsewhere", "scale", "factor"}};
  d.differs = {{"Elsewhere twice", "that one rounds"}};
  d.attributes[1].min = 1;
  d.refuses = {{"x.dim", {{{{2, 3}}}}, "x is empty"}};
  const Own own(d);
  const OpDef& op = own.registry.at("doubled");
  CHECK(describe_op(op) == R"(doubled: x[A,B], bias[B]? -> y[A,B]

  Twice x:
      y = factor x

operands
  x[A,B]: float
  bias[B]: float; optional

results
  y[A,B]: float

attributes
  factor: float = 2
      what x is multiplied by; Elsewhere scale
  steps: int = 1
      a whole number; at least 1

gradient: of any order, to x, bias; from the equations
refuses: doubled.x.dim: x is empty
source: arithmetic
elsewhere: Elsewhere twice

example
  Var y = doubled(x);

how it differs
  Elsewhere twice: that one rounds
)");
  const std::string page = op_markdown(op);
  CAPTURE(page);
  CHECK(page.rfind("### doubled\n\n```\ndoubled: x[A,B], bias[B]? -> y[A,B]\n```\n", 0) == 0);
  for (const char* words :
       {"| `x` | `[A,B]` | float |", "| `factor` | float | `2` |",
        "| `doubled.x.dim` | x is empty |", "Source: arithmetic.",
        "```cpp\nVar y = doubled(x);\n```", "- **Elsewhere twice**: that one rounds."}) {
    CAPTURE(words);
    CHECK(page.find(words) != std::string::npos);
  }
  CHECK(rules_of(op).at(0).first == "doubled.x.dim");
}

TEST_CASE("what another op refuses within a callback is told with the callback", "[own_op]") {
  check_lower([](const Call& c) -> Vars { return {matmul(c["x"], c["x"])}; },
              {"matmul.b.dim: [matmul]", "in lower of doubled"});
  check_vjp(
      [](const Call& c, const Vars& g, GradContext&) -> Vars { return {matmul(g[0], c["x"]), {}}; },
      {"matmul.b.dim: [matmul]", "in vjp of doubled"});
}
