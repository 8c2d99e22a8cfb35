// Elementwise regions: what becomes one node, that it is the same numbers, and that nothing reads
// what it makes.
#include <rondo/ops/fuse.h>

#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "dice.h"
#include "error_code.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/verify.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kRows = 3;

Subgraph fused(const Vars& outputs, const Vars& inputs) {
  Subgraph s{outputs[0].graph(), {}, {}};
  for (const Var& v : inputs) s.inputs.push_back(v.value());
  for (const Var& v : outputs) s.outputs.push_back(v.value());
  Subgraph r = dead_code(fuse_elementwise(s, false));
  verify(r);
  return r;
}

std::vector<std::string> ops_of(const Subgraph& s) {
  std::vector<std::string> r;
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (n.op != &placeholder_op() && n.op != &constant_op()) r.push_back(n.op->name);
  }
  return r;
}

using Names = std::vector<std::string>;

TEST_CASE("a chain of elementwise ops is one node, its numbers inside", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 6}), b = g.placeholder("b", f32, {6});
  const Var t = tanh(x + b), y = t * sigmoid(x) + 1;
  const Subgraph s = fused({y}, {x, b});
  CHECK(ops_of(s) == Names{"fused"});
  const Node& n = s.graph.node(s.outputs[0].node);
  CHECK(n.inputs.size() == 2);
  CHECK(to_text(*n.body) == R"(graph(%0, %1)
  %0 = placeholder -> f32[T,B,6]
  %1 = placeholder -> f32[6]
  %2 = add(%0, %1) -> f32[T,B,6]
  %3 = tanh(%2) -> f32[T,B,6]
  %4 = sigmoid(%0) -> f32[T,B,6]
  %5 = mul(%3, %4) -> f32[T,B,6]
  %6 = constant {value=f32[]{1}} -> f32[]
  %7 = add(%5, %6) -> f32[T,B,6]
  return %7
)");
}

TEST_CASE("one op alone, another shape and whole numbers stay", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 6}), n = g.placeholder("n", i64, {"B", 6});
  CHECK(ops_of(fused({tanh(x)}, {x})) == Names{"tanh"});
  CHECK(ops_of(fused({n * n + n}, {n})) == Names{"mul", "add"});
  const Var row = g.placeholder("row", f32, {6});
  CHECK(ops_of(fused({tanh(row) * x}, {x, row})) == Names{"tanh", "mul"});
  const Var half = g.placeholder("half", bf16, {6});
  CHECK(ops_of(fused({tanh(half) * half}, {half})) == Names{"tanh", "mul"});
}

TEST_CASE("parts along the last axis are read where they lie", "[fuse]") {
  Graph g;
  const Var z = g.placeholder("z", f32, {"B", 12}), c = g.placeholder("c", f32, {"B", 3});
  const Vars gates = split(z, 4, -1);
  const Var next = sigmoid(gates[1]) * c + sigmoid(gates[0]) * tanh(gates[2]);
  const Var h = sigmoid(gates[3]) * tanh(next);
  const Subgraph s = fused({h, next}, {z, c});
  CHECK(ops_of(s) == Names{"fused"});
  const Node& n = s.graph.node(s.outputs[0].node);
  CHECK(n.inputs.size() == 2);
  CHECK(n.outputs.size() == 2);
  // Along another axis they are made first.
  const Vars rows = split(transpose(z), 4, 0);
  CHECK(ops_of(fused({tanh(rows[0]) + rows[1]}, {z})) == Names{"transpose", "split", "fused"});
  // Somebody else wants the parts too.
  const Vars both = split(z, 4, -1);
  CHECK(ops_of(fused({tanh(both[0]) + both[1], both[2]}, {z})) == Names{"split", "fused"});
}

TEST_CASE("what leads from an op to another around a region keeps them apart", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {4, 4});
  const Var a = tanh(x);
  const Var m = matmul(a, a);
  const Var y = sigmoid(m) + a * x;
  const Names ops = ops_of(fused({y}, {x}));
  CHECK(ops == Names{"fused", "matmul", "fused"});
  // A region of its own on each side of a row's sum.
  const Var mean = sum(a * a, {.axes = {1}, .keep_dims = true});
  CHECK(ops_of(fused({(a - mean) * (a + mean)}, {x})) == Names{"fused", "sum", "fused"});
}

TEST_CASE("a region larger than a kernel holds becomes several", "[fuse]") {
  Graph g;
  Vars xs;
  std::vector<Feed> feeds;
  for (int i = 0; i < 40; ++i) {
    xs.push_back(g.placeholder("", f64, {5}));
    feeds.emplace_back(xs.back(), Tensor::full(f64, {5}, 0.1 * i));
  }
  Var y = xs[0];
  for (int i = 0; i < 300; ++i) y = tanh(y) + xs[static_cast<size_t>(i % 40)];
  size_t regions = 0;
  for (const std::string& op : ops_of(fused({y}, xs))) regions += op == "fused" ? 1 : 0;
  CHECK(regions > 4);
  CHECK(regions < 40);
  Session one(g, {}, one_thread()), plain(g, {.optimize = false}, one_thread());
  CHECK(one.run(y, feeds).same_bits(plain.run(y, feeds)));
}

TEST_CASE("a fused node differentiates as its body does, and is held to its body's operands",
          "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {4});
  const Var y = tanh(x) * x;
  const Subgraph s = fused({y}, {x});
  const auto body = s.graph.node(s.outputs[0].node).body;
  const OpDef& op = registry().at("fused");
  const Var same = g.call(op, {x}, {}, {.body = body})[0];
  const Var d = gradients(sum(y), {x})[0], e = gradients(sum(same), {x})[0];
  const std::vector<Feed> feeds{{x, Tensor::of<double>({4}, {-1, 0, 0.5, 2})}};
  const auto r = Session(g).run({d, e, y, same}, feeds);
  CHECK(r[0].same_bits(r[1]));
  CHECK(r[2].same_bits(r[3]));
  CHECK(code_of([&] { g.call(op, {x}, {}); }) == "fused.body.missing");
  CHECK(code_of([&] { g.call(op, {x, x}, {}, {.body = body}); }) == "fused.operands.arity");
  const Var wide = g.placeholder("wide", f64, {5});
  CHECK(code_of([&] { g.call(op, {wide}, {}, {.body = body}); }) == "fused.operands.type");
}

// ---- random regions
// ------------------------------------------------------------------------------

// Sizes at which kernels change their way: rows shorter and longer than a tile, parts of rows.
const std::vector<int64_t>& widths() {
  static const std::vector<int64_t> kWidths{1, 2, 5, 17, 130, 1500};
  return kWidths;
}

Tensor drawn(Dice& dice, const Dims& dims, DType t) {
  Tensor r(f64, dims);
  for (int64_t i = 0; i < r.size(); ++i)
    r.mutable_data<double>()[i] = static_cast<double>(dice.below(4001)) / 1000.0 - 2;
  return r.to(t);
}

struct Written {
  Graph g;
  std::vector<Feed> feeds;
  Vars values;
};

Written random_graph(Dice& dice, DType t) {
  Written w;
  const int64_t width = dice.of(widths());
  const std::vector<Dims> shapes{{2, kRows, width}, {kRows, width}, {width},   {1, kRows, 1},
                                 {2, 1, width},     {2, kRows, 1},  {1, 1, 1}, {}};
  const auto feed = [&](const Dims& dims) {
    const Var v = w.g.placeholder("", t, to_shape(dims));
    w.feeds.emplace_back(v, drawn(dice, dims, t));
    return v;
  };
  for (const Dims& dims : shapes) w.values.push_back(feed(dims));
  for (const Var& part : split(feed({2, kRows, 4 * width}), 4, -1)) w.values.push_back(part);
  w.values.push_back(slice(feed({kRows, width + 3}), -1, 2, width + 2));
  w.values.push_back(w.g.constant(Tensor::scalar(t, 0.5)));
  const std::vector<std::string> unary{"tanh", "sigmoid", "relu", "abs", "square", "neg", "sin"};
  const std::vector<std::string> binary{"add", "sub", "mul", "maximum", "minimum"};
  const size_t count = 4 + dice.below(30);
  for (size_t i = 0; i < count; ++i) {
    const Var a = dice.of(w.values), b = dice.of(w.values);
    if (dice.one_in(3)) {
      w.values.push_back(w.g.call(registry().at(dice.of(unary)), {a}, {})[0]);
    } else if (dice.one_in(8)) {
      w.values.push_back(where(a > b, a, b * 0.5));
    } else if (dice.one_in(10) && a.rank() > 0) {
      w.values.push_back(sum(a, {.axes = {-1}, .keep_dims = true}));
    } else {
      w.values.push_back(w.g.call(registry().at(dice.of(binary)), {a, b}, {})[0]);
    }
  }
  return w;
}

TEST_CASE("random regions keep their bits, whatever is broadcast or a part", "[fuse][fuzz]") {
  size_t regions = 0;
  const uint64_t first = fuzz_seed(1);
  for (uint64_t seed = first; seed < first + fuzz_count(300); ++seed) {
    INFO("seed " << seed);
    Dice dice(seed);
    const DType t = dice.one_in(2) ? f64 : f32;
    const Written w = random_graph(dice, t);
    Vars fetches{w.values.back()};
    while (dice.one_in(2)) fetches.push_back(dice.of(w.values));
    Session plain(w.g, {.optimize = false}, one_thread());
    Session session(w.g, {.relaxed = false}, std::make_shared<ThreadTeam>(2));
    const auto want = plain.run(fetches, w.feeds), got = session.run(fetches, w.feeds);
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
    for (const StepInfo& s : session.plan(fetches)->bind({})->steps())
      regions += s.kernel == "cpu.fused" ? 1 : 0;
  }
  WARN(regions << " regions");
  CHECK(regions > fuzz_count(300) / 2);
}

TEST_CASE("a region in halves keeps f32's precision between its ops", "[fuse]") {
  Graph g;
  const Var x = g.placeholder("x", bf16, {40});
  const Var y = (x + 1) * (x + 1) - x * x - 2 * x;  // 1, where nothing is rounded
  Dice dice(3);
  const Tensor xs = drawn(dice, {40}, bf16);
  const Tensor got = Session(g).run(y, {{x, xs}});
  for (int64_t i = 0; i < got.size(); ++i) CHECK(got.at(i) == 1);
  const Tensor exact = Session(g, {.relaxed = false}).run(y, {{x, xs}});
  const Tensor plain = Session(g, {.optimize = false}).run(y, {{x, xs}});
  CHECK(exact.same_bits(plain));
}

}  // namespace
}  // namespace rondo::test
