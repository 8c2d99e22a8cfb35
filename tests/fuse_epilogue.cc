// Products with what follows them: what becomes one node, that no bit changes whichever kernel
// makes the product, and that nothing is read before it is made.
#include <cmath>
#include <map>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "cpu_check.h"
#include "dice.h"
#include "error_code.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/verify.h>
#include <rondo/ops/fuse.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

using Names = std::vector<std::string>;

// All that this build has.
Names products() {
  Names r;
  for (const Kernel& k : cpu_backend().kernels()) {
    if (k.op == "matmul") r.push_back(k.name.substr(std::string_view("cpu.matmul.").size()));
  }
  return r;
}

Subgraph followed(const Vars& outputs, const Vars& inputs) {
  Subgraph s{outputs[0].graph(), {}, {}};
  for (const Var& v : inputs) s.inputs.push_back(v.value());
  for (const Var& v : outputs) s.outputs.push_back(v.value());
  Subgraph r = dead_code(fuse_epilogue(dead_code(fuse_elementwise(s, false))));
  verify(r);
  return r;
}

Names ops_of(const Subgraph& s) {
  Names r;
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (n.op != &placeholder_op() && n.op != &constant_op()) r.push_back(n.op->name);
  }
  return r;
}

TEST_CASE("a product, its bias and what follows are one node", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 6}), w = g.placeholder("w", f32, {4, 6}),
            b = g.placeholder("b", f32, {4});
  const Var y = tanh(b + matmul(x, w, {.transpose_b = true})) * 2;
  const Subgraph s = followed({y}, {x, w, b});
  CHECK(to_text(s) == R"(graph(%0, %1, %2)
  %0 "x" = placeholder -> f32[T,B,6]
  %1 "w" = placeholder -> f32[4,6]
  %2 "b" = placeholder -> f32[4]
  %3 = fused_matmul(%0, %1, %2) {transpose_b=true} -> f32[T,B,4]
    body(%1, %0)
      %0 = placeholder -> f32[4]
      %1 = placeholder -> f32[T,B,4]
      %2 = add(%0, %1) -> f32[T,B,4]
      %3 = tanh(%2) -> f32[T,B,4]
      %4 = constant {value=f32[]{2}} -> f32[]
      %5 = mul(%3, %4) -> f32[T,B,4]
      return %5
  return %3
)");
  const Subgraph one = followed({matmul(x, w, {.transpose_b = true}) + 1}, {x, w});
  CHECK(ops_of(one) == Names{"fused_matmul"});
  CHECK(to_text(*one.graph.node(one.outputs[0].node).body) == R"(graph(%0)
  %0 = placeholder -> f32[T,B,4]
  %1 = constant {value=f32[]{1}} -> f32[]
  %2 = add(%0, %1) -> f32[T,B,4]
  return %2
)");
}

TEST_CASE("explain tells of what follows a product", "[fuse][inspect]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 64});
  const Var y = relu(nn::dense(x, 32, "hidden"));
  CHECK(Session(g).explain({y}, {{"B", 100}}).starts_with(R"(passes
  fuse_elementwise       6 -> 5 nodes; in fewer passes over memory: add, relu
  fuse_epilogue          5 -> 4 nodes; while their product is in the cache: add, relu
steps
  fused_matmul  cpu.fused_matmul.packed  f32[100,32]  (cheaper than )"));
  CHECK(Session(g).explain({y}, {{"B", 100}}).ends_with("\n      add relu\n"));
  // One that is asked for by name still has regions to run.
  const auto ops =
      Session(g, {.kernel = "cpu.fused_matmul.rows"}).plan({y})->bind({{"B", 100}})->ops();
  CHECK((ops.count("fused_matmul") == 1 && ops.count("relu") == 0));
  // Where regions are not wanted, or cannot be run, there is none.
  for (const CompileOptions& o :
       {CompileOptions{.optimize = false}, CompileOptions{.backend = "reference"},
        CompileOptions{.kernel = "cpu.matmul.packed"}, CompileOptions{.kernel = "cpu.fused"}})
    CHECK(Session(g, o).plan({y})->bind({{"B", 100}})->ops().count("fused_matmul") == 0);
}

TEST_CASE("a stream runs a product and what follows it without allocating", "[fuse][stream]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 64}), w = g.placeholder("w", f64, {64, 32});
  const Vars y{relu(matmul(x, w)), matmul(x, w) > 0};
  Subgraph unit{g, {x.value(), w.value()}, {y[0].value(), y[1].value()}};
  const auto plan = Plan::compile(unit, {.one_step = true});
  for (const auto& [rows, kernel] : {std::pair(3, "rows"), {100, "packed"}}) {
    const auto bound = plan->bind({{"B", rows}});
    CHECK(bound->uses_kernel(cat("cpu.fused_matmul.", kernel)));
    CHECK(bound->steps().size() == 1);
  }
}

TEST_CASE("a product that others read too, in part or in another shape, stays", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 6}), w = g.placeholder("w", f32, {6, 4}),
            wide = g.placeholder("wide", f32, {"T", "B", 4}), b = g.placeholder("b", f32, {4});
  const Vars in{x, w, wide, b};
  const Var p = matmul(x, w);
  CHECK(ops_of(followed({tanh(p), p}, in)) == Names{"matmul", "tanh"});
  CHECK(ops_of(followed({tanh(p) * sum(p)}, in)) == Names{"matmul", "sum", "fused"});
  CHECK(ops_of(followed({p + wide}, in)) == Names{"matmul", "add"});
  // The last columns of p would not be there yet.
  CHECK(ops_of(followed({tanh(p) * slice(p, -1, 3, 4)}, in)) == Names{"matmul", "fused"});
  // Two readers of one shape that meet nowhere are one region; both ways a product is read once.
  CHECK(ops_of(followed({tanh(p), p * b}, in)) == Names{"fused_matmul"});
  CHECK(ops_of(followed({p * p}, in)) == Names{"fused_matmul"});
  const Var halves = matmul(cast(x, bf16), cast(w, bf16));
  CHECK(ops_of(followed({tanh(halves)}, in)) == Names{"cast", "cast", "matmul", "tanh"});
  const Var whole = cast(p, i32);
  CHECK(ops_of(followed({whole + 1}, in)) == Names{"matmul", "cast", "add"});
}

TEST_CASE("of two products in a sum the one made last takes the other in", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 6}), w = g.placeholder("w", f64, {6, 4}),
            h = g.placeholder("h", f64, {"B", 4}), u = g.placeholder("u", f64, {4, 4});
  const Var first = matmul(x, w);
  const Subgraph s = followed({tanh(matmul(h, u) + first)}, {x, w, h, u});
  CHECK(ops_of(s) == Names{"matmul", "fused_matmul"});
  const Node& n = s.graph.node(s.outputs[0].node);
  CHECK(s.graph.node(n.inputs[2].node).op->name == "matmul");
  const std::vector<Feed> feeds{{x, drawn(f64, {3, 6}, 1)},
                                {w, drawn(f64, {6, 4}, 2)},
                                {h, drawn(f64, {3, 4}, 3)},
                                {u, drawn(f64, {4, 4}, 4)}};
  const Var y = tanh(matmul(h, u) + first);
  CHECK(Session(g).run(y, feeds).same_bits(Session(g, {.optimize = false}).run(y, feeds)));
}

TEST_CASE("a result that is the product itself is not overwritten by what follows", "[fuse]") {
  OpRegistry own;
  own.add({.name = "kept",
           .sig = "x[...] -> y[...]",
           .doc = "y = x",
           .infer = [](const InferContext& c) { return std::vector<ValueType>{c[0]}; },
           .vjp = [](const Call&, const Vars& d, GradContext&) { return d; },
           .formula = "x",
           .samples = {{{{{2, 3}}}}}});
  Graph g;
  const Var x = g.placeholder("x", f32, {9, 5}), w = g.placeholder("w", f32, {5, 70});
  const Var p = matmul(x, w);
  const Vars y{g.call(own.at("kept"), {p}, {})[0], tanh(p)};
  CHECK(ops_of(followed(y, {x, w})) == Names{"fused_matmul"});
  const std::vector<Feed> feeds{{x, drawn(f32, {9, 5}, 1)}, {w, drawn(f32, {5, 70}, 2)}};
  const auto got = Session(g).run(y, feeds), want = Session(g, {.optimize = false}).run(y, feeds);
  CHECK(got[0].same_bits(want[0]));
  CHECK(got[1].same_bits(want[1]));
}

TEST_CASE("a product with its region differentiates as its ops do, and is held to its operands",
          "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3, 2}), w = g.placeholder("w", f64, {2, 4}),
            b = g.placeholder("b", f64, {4});
  const Var y = tanh(matmul(x, w) + b);
  const Subgraph s = followed({y}, {x, w, b});
  const auto body = s.graph.node(s.outputs[0].node).body;
  const OpDef& op = registry().at("fused_matmul");
  const Var same = g.call(op, {x, w, b}, {}, {.body = body})[0];
  Vars fetches{y, same};
  for (const Var& v : {y, same}) {
    for (const Var& d : gradients(sum(v), {x, w, b})) fetches.push_back(d);
  }
  const std::vector<Feed> feeds{
      {x, drawn(f64, {3, 2}, 1)}, {w, drawn(f64, {2, 4}, 2)}, {b, drawn(f64, {4}, 3)}};
  for (const char* backend : {"cpu", "reference"}) {
    const auto r = Session(g, {.backend = backend}).run(fetches, feeds);
    CHECK(r[0].same_bits(r[1]));
    for (size_t i = 2; i < 5; ++i) CHECK(r[i].same_bits(r[i + 3]));
  }
  CHECK(code_of([&] { g.call(op, {x, w, b}, {}); }) == "fused_matmul.body.missing");
  CHECK(code_of([&] { g.call(op, {x, w}, {}, {.body = body}); }) == "fused_matmul.operands.arity");
  CHECK(code_of([&] { g.call(op, {x, w, b, b}, {}, {.body = body}); }) ==
        "fused_matmul.operands.arity");
  CHECK(code_of([&] { g.call(op, {x, w, x}, {}, {.body = body}); }) ==
        "fused_matmul.operands.type");
  CHECK(code_of([&] { g.call(op, {w, x, b}, {}, {.body = body}); }) == "matmul.b.dim");
  CHECK(code_of([&] { g.call(op, {x, x, b}, {{"transpose_b", true}}, {.body = body}); }) ==
        "fused_matmul.operands.type");
  const Var k = g.placeholder("k", f64, {"K", 4});
  CHECK(code_of([&] { g.call(op, {x, k, b}, {}, {.body = body}); }) ==
        "fused_matmul.operands.type");
}

// ---- random products with what follows them
// ------------------------------------------------------

struct Written {
  Graph g;
  std::vector<Feed> feeds;
  Vars fetches;
  bool compares = false;
};

// Sizes on both sides of tiles, blocks and parts of rows, and of what pays for which kernel.
const std::vector<int64_t>& rows_of() {
  static const std::vector<int64_t> kRows{0, 1, 2, 3, 7, 41, 200, 1030};
  return kRows;
}
const std::vector<int64_t>& columns_of() {
  static const std::vector<int64_t> kColumns{0, 1, 2, 9, 33, 64, 130, 257, 600};
  return kColumns;
}
const std::vector<int64_t>& depths_of() {
  static const std::vector<int64_t> kDepths{0, 1, 5, 40, 257};
  return kDepths;
}

Written random_product(Dice& dice, DType t) {
  Written w;
  uint64_t seed = 0;
  const auto feed = [&](const Dims& dims, DType type) {
    const Var v = w.g.placeholder("", type, to_shape(dims));
    w.feeds.emplace_back(v, drawn(type, dims, ++seed));
    return v;
  };
  Dims batch;
  for (size_t rank = dice.below(3); rank > 0; --rank)
    batch.push_back(static_cast<int64_t>(dice.below(4)));
  const int64_t m = dice.of(rows_of()) / (batch.empty() ? 1 : 3), n = dice.of(columns_of()),
                k = dice.of(depths_of());
  const bool ta = dice.one_in(3), tb = dice.one_in(3), shared = dice.one_in(2);
  const auto with = [&](Dims d, int64_t r, int64_t c) {
    d.push_back(r);
    d.push_back(c);
    return d;
  };
  const Var a = feed(ta ? with(batch, k, m) : with(batch, m, k), t);
  const Dims of_b = shared ? Dims{} : batch;
  const Var b = feed(tb ? with(of_b, n, k) : with(of_b, k, n), t);
  const Var p = matmul(a, b, {.transpose_a = ta, .transpose_b = tb});

  // What it meets: whole, a vector, a column, numbers, other axes of length 1, parts of rows.
  Dims y = with(batch, m, n);
  Vars others{feed(y, t), feed({n}, t), feed({}, t), w.g.constant(Tensor::scalar(t, 0.5))};
  for (size_t i = 0; i < 3; ++i) {
    Dims d(y.begin() + static_cast<std::ptrdiff_t>(dice.below(y.size())), y.end());
    for (int64_t& length : d) length = dice.one_in(2) ? 1 : length;
    others.push_back(feed(d, t));
  }
  Dims wide = y;
  wide.back() = 2 * n + 1;
  others.push_back(slice(feed(wide, t), -1, n, 2 * n));
  wide.back() = 3;
  others.push_back(slice(feed(wide, t), -1, 1, 2));

  Vars made{p}, tests;
  const Names unary{"tanh", "sigmoid", "relu", "square", "neg", "abs"};
  const Names binary{"add", "sub", "mul", "maximum"};
  const size_t count = 1 + dice.below(6);
  for (size_t i = 0; i < count; ++i) {
    const Var v = made.back();
    const Var other = dice.one_in(4) ? dice.of(made) : dice.of(others);
    if (dice.one_in(3)) {
      made.push_back(w.g.call(registry().at(dice.of(unary)), {v}, {})[0]);
    } else if (dice.one_in(6)) {
      tests.push_back(v > other);
      made.push_back(where(tests.back(), v, other));
    } else {
      const bool turned = dice.one_in(2);
      made.push_back(w.g.call(registry().at(dice.of(binary)),
                              {turned ? other : v, turned ? v : other}, {})[0]);
    }
  }
  w.fetches.push_back(made.back());
  while (dice.one_in(3) && made.size() > 2)
    w.fetches.push_back(made[1 + dice.below(made.size() - 1)]);
  w.compares = !tests.empty();
  if (w.compares) {
    w.fetches.push_back(tests.back());
    if (dice.one_in(2)) w.fetches.erase(w.fetches.begin(), w.fetches.end() - 1);
  }
  return w;
}

TEST_CASE("random products keep their bits with what follows them, on each kernel",
          "[fuse][fuzz]") {
  std::map<std::string, size_t> ran;
  const IsaGuard guard;
  const std::vector<std::string> isas = cpu::isa_names();
  const uint64_t first = fuzz_seed(1);
  for (uint64_t seed = first; seed < first + fuzz_count(250); ++seed) {
    INFO("seed " << seed);
    Dice dice(seed);
    const DType t = dice.one_in(3) ? f64 : f32;
    cpu::force_isa(dice.of(isas));
    const Written w = random_product(dice, t);
    const auto run = [&](const CompileOptions& o, int threads) {
      return Session(w.g, o, std::make_shared<ThreadTeam>(threads)).run(w.fetches, w.feeds);
    };
    const auto compare = [&](const std::string& alone, const std::string& with) {
      INFO("kernel " << (with.empty() ? "of the plan's choice" : with));
      const CompileOptions options{.relaxed = false, .kernel = with};
      const auto plan = Session(w.g, options).plan(w.fetches)->bind({});
      if (!with.empty() && !plan->uses_kernel(with)) return;  // max(p, p) is p
      for (const StepInfo& s : plan->steps()) ++ran[s.kernel];
      const auto want = run({.optimize = false, .kernel = alone}, 1);
      const int threads = 1 + static_cast<int>(dice.below(3));
      const auto got = run(options, threads);
      for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
    };
    compare("", "");
    for (const std::string& product : products()) {
      compare("cpu.matmul." + product, "cpu.fused_matmul." + product);
    }
    if (w.compares || t != f64) continue;  // rounding alone may decide
    const auto oracle = run({.backend = "reference"}, 1), got = run({}, 1);
    for (size_t i = 0; i < got.size(); ++i) CHECK(difference(got[i], oracle[i], 1e-9, 1e-9) == "");
  }
  for (const auto& [kernel, steps] : ran) WARN(kernel << " " << steps);
  for (const std::string& product : products()) {
    CHECK(ran["cpu.fused_matmul." + product] > fuzz_count(250) / 4);
  }
}

}  // namespace
}  // namespace rondo::test
