#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/op.h>
#include <rondo/graph/signature.h>

using namespace rondo;
using test::code_of;
using test::make;
using test::make_all;
using test::text_of;

namespace {

// One call of a fresh op with this signature on placeholders of these types; null shapes are absent
// operands.
std::vector<ValueType> infer(const std::string& signature, const std::vector<ValueType>& inputs,
                             bool* undecided = nullptr) {
  OpRegistry r;
  const OpDef& op = r.add({.name = "op", .sig = signature, .doc = "d"});
  return infer_call(op, {}, inputs, "", {}, nullptr, undecided);
}
ValueType f(Shape s, DType t = f32) { return {t, std::move(s), true}; }
const ValueType kAbsent{f32, {}, false};

}  // namespace

TEST_CASE("a signature gives slots with types, options and refusals", "[graph][signature]") {
  const Signature s = parse_signature(
      "x[T,B,I], lengths[B]:int?!, w[I,4*H], rest[...]:same* -> y[T,B,H], last[B,H]?");
  REQUIRE(s.inputs.size() == 4);
  REQUIRE(s.outputs.size() == 2);
  CHECK(s.input("lengths") == 1);
  CHECK(s.input("y") == -1);
  CHECK(s.output("last") == 1);
  CHECK(s.inputs[1].optional);
  CHECK_FALSE(s.inputs[1].differentiable);
  CHECK(s.inputs[1].type == SlotType::kInt);
  CHECK(s.inputs[2].text == std::vector<std::string>{"I", "4*H"});
  CHECK(s.inputs[3].variadic);
  CHECK(s.inputs[3].any_shape);
  CHECK(s.outputs[1].optional);
  CHECK(&s.slot_of(7) == &s.inputs[3]);
}

TEST_CASE("a mistaken signature is refused when it is registered", "[graph][signature]") {
  for (const char* bad :
       {"x[T]", "x -> y[]", "x[T -> y[T]", "x[T]:what -> y[T]", "-> y[] -> z[]", "[T] -> y[T]"}) {
    INFO(bad);
    CHECK(code_of([&] { (void)parse_signature(bad); }) == "rondo.internal");
  }
}

TEST_CASE("letters bind, expressions check or are solved", "[graph][signature]") {
  CHECK(infer("x[B,I], w[I,O] -> y[B,O]", {f({"B", 3}), f({3, "K"})}) ==
        std::vector<ValueType>{f({"B", "K"})});
  CHECK(infer("w[I,4*H] -> y[H]", {f({3, 32})})[0].shape == Shape{8});
  CHECK(infer("w[I,4*H] -> y[H]", {f({3, "4*N"})})[0].shape == Shape{"N"});
  CHECK(infer("w[4*H+2] -> y[H]", {f({18})})[0].shape == Shape{4});
  CHECK(code_of([] { infer("w[I,4*H] -> y[H]", {f({3, 30})}); }) == "op.w.dim");
  CHECK(code_of([] { infer("w[4*H+2] -> y[H]", {f({1})}); }) == "op.w.dim");
  CHECK(text_of([] {
          infer("w[I,4*H] -> y[H]", {f({3, 30})});
        }).find("axis 1 must be 4*H for a whole H") != std::string::npos);
  CHECK(infer("x[T] -> y[T+1]", {f({"T"})})[0].shape == Shape{"T+1"});
}

TEST_CASE("a user's symbol is not a letter of the signature", "[graph][signature]") {
  // The operand's own H is 7 rows of something else.
  CHECK(infer("x[B,H], w[H,I] -> y[I,B]", {f({"H", "B"}), f({"B", "I"})})[0].shape ==
        Shape{"I", "H"});
}

TEST_CASE("what cannot be decided yet is left for the binding", "[graph][signature]") {
  bool undecided = true;
  infer("a[N], b[N] -> y[N]", {f({"T"}), f({"T"})}, &undecided);
  CHECK_FALSE(undecided);
  infer("a[N], b[N] -> y[N]", {f({"T"}), f({5})}, &undecided);
  CHECK(undecided);
  CHECK(code_of([] { infer("a[N], b[N] -> y[N]", {f({"T"}), f({"T+1"})}); }) == "op.b.dim");
  CHECK(code_of([] { infer("a[N], b[N] -> y[N]", {f({4}), f({5})}); }) == "op.b.dim");
}

TEST_CASE("dtypes agree within a call", "[graph][signature]") {
  CHECK(infer("a[N], b[N] -> y[N]", {f({2}, f64), f({2}, f64)})[0].dtype == f64);
  CHECK(code_of([] { infer("a[N], b[N] -> y[N]", {f({2}, f64), f({2}, f32)}); }) == "op.b.dtype");
  CHECK(text_of([] {
          infer("a[N], b[N] -> y[N]", {f({2}, f64), f({2}, f32)});
        }).find("b is f32, but a is f64; convert one of them with cast(b, f64)") !=
        std::string::npos);
  CHECK(code_of([] { infer("a[N] -> y[N]", {f({2}, i32)}); }) == "op.a.dtype");
  CHECK(code_of([] { infer("a[N]:int -> y[N]", {f({2}, f32)}); }) == "op.a.dtype");
  CHECK(infer("a[N]:int -> y[N]:bool, z[N]:i64, u[N]:int", {f({2}, i32)}) ==
        std::vector<ValueType>{f({2}, boolean), f({2}, i64), f({2}, i32)});
  CHECK(infer("a[N]:same, b[N]:same -> y[N]:same", {f({2}, i32), f({2}, i32)})[0].dtype == i32);
  CHECK(code_of([] { infer("a[N]:same, b[N]:same -> y[N]:same", {f({2}, i32), f({2}, i64)}); }) ==
        "op.b.dtype");
}

TEST_CASE("arity, presence and rank are checked", "[graph][signature]") {
  CHECK(code_of([] { infer("a[N] -> y[N]", {}); }) == "op.inputs.arity");
  CHECK(code_of([] { infer("-> y[]", {f({})}); }) == "op.inputs.arity");
  CHECK(code_of([] { infer("a[N], b[N]? -> y[N]", {kAbsent, kAbsent}); }) == "op.a.missing");
  CHECK(infer("a[N], b[N]? -> y[N]", {f({2}), kAbsent})[0].shape == Shape{2});
  CHECK(code_of([] { infer("a[N] -> y[N]", {f({2, 3})}); }) == "op.a.rank");
  CHECK(infer("a[N], xs[...]* -> y[N]", {f({2})})[0].shape == Shape{2});
  CHECK(infer("a[N], xs[...]* -> y[N]", {f({2}), f({9}), f({})})[0].shape == Shape{2});
}

TEST_CASE("a refusal says op, operand, what it got, what it wanted, why and where",
          "[graph][signature]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", 32, 12});
  const Var y_last = g.placeholder("y", f32, {32, 64});
  const Var wx = g.placeholder("wx", f32, {12, 256});
  const Var wr = g.placeholder("wr", f32, {64, 200});
  const auto build = [&] {
    make("lstm_layer", {x, y_last, wx, wr}, {},
         {.name = "encoder", .site = {"examples/vowels.cc", 41}});
  };
  CHECK(code_of(build) == "lstm_layer.recurrent_weights.dim");
  CHECK(text_of(build) ==
        "[lstm_layer \"encoder\"] recurrent_weights has shape [64,200], but axis 1 must be 4*H = "
        "256\n"
        "  H = 64 was fixed by y_last[32,64]\n"
        "  signature: x[T,B,I], y_last[B,H]?, input_weights[I,4*H], recurrent_weights[H,4*H] -> "
        "y[T,B,H], last[B,H]?\n"
        "  built at examples/vowels.cc:41");
  CHECK(g.size() == 4);  // nothing was added
  CHECK_FALSE(g.has("encoder"));
}

TEST_CASE("the registry refuses what is taken or unknown, and guesses what was meant",
          "[graph][signature]") {
  OpRegistry r;
  r.add({.name = "sigmoid", .sig = "x[...] -> y[...]", .doc = "d"});
  CHECK(code_of([&] { r.add({.name = "sigmoid", .sig = "x[...] -> y[...]", .doc = "d"}); }) ==
        "registry.op.taken");
  CHECK(code_of([&] { r.add({.name = "other", .sig = "x[...] -> y[...]"}); }) ==
        "registry.op.incomplete");
  CHECK(text_of([&] { (void)r.at("sigmiod"); }) == "unknown op 'sigmiod'; did you mean 'sigmoid'?");
  CHECK(text_of([&] { (void)r.at("convolution"); }) == "unknown op 'convolution'");
  CHECK(r.find("tanh") == nullptr);
}
