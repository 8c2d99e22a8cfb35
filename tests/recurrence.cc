// The recurrence: its windows, its gradients for cells of a user's own, the passes on it, and the
// kernels that run it.
#include <rondo/ops/recurrence.h>

#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "check_gradient.h"

#include <rondo/graph/print.h>
#include <rondo/graph/verify.h>
#include <rondo/ops/layer.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/shape.h>

namespace rondo::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A cell: its body, made of what it captures.
struct Cell {
  std::string name;
  std::function<RecurrenceStep(const Vars& s, const Var& x, const Vars& w)> body;
  bool engine;  // made of products and elementwise work only
};

const std::vector<Cell>& cells() {
  static const std::vector<Cell> kCells{
      {"elman",
       [](const Vars& s, const Var& x, const Vars& w) -> RecurrenceStep {
         const Var h = tanh(matmul(x, w[0]) + matmul(s[0], w[1]) + w[2]);
         return {.states = {h}, .ys = {h}};
       },
       true},
      {"gated, reset before the product",
       [](const Vars& s, const Var& x, const Vars& w) -> RecurrenceStep {
         const Var r = sigmoid(matmul(x, w[0]) + w[2]);
         const Var h = r * s[0] + (1 - r) * tanh(matmul(x, w[0]) + matmul(r * s[0], w[1]));
         return {.states = {h}, .ys = {r * h}};
       },
       true},
      {"two products in a chain, split and concat",
       [](const Vars& s, const Var& x, const Vars& w) -> RecurrenceStep {
         const Vars parts = split(concat<Var>({matmul(x, w[0]), s[0]}, -1), 2, -1);
         const Var z = matmul(matmul(parts[0] + parts[1], w[1]), w[1]);
         return {.states = {sin(z) * 0.5}, .ys = {z, parts[1]}};
       },
       true},
      {"normalised over the row",
       [](const Vars& s, const Var& x, const Vars& w) -> RecurrenceStep {
         const Var h = nn::softmax(matmul(x, w[0]) + matmul(s[0], w[1]));
         return {.states = {h}, .ys = {h}};
       },
       false},
  };
  return kCells;
}

struct Problem {
  Graph g;
  Var x, end, h0;
  Vars w;
  RecurrenceResult r;
  Vars outputs;
  std::vector<Feed> feeds;
};

// With `symbols`, T and B are left open.
Problem make(const Cell& cell, DType t, bool reverse, const std::vector<int32_t>& lengths,
             int64_t steps = 5, bool symbols = false) {
  constexpr int64_t kIn = 3, kHidden = 4;
  Problem p;
  const auto rows = static_cast<int64_t>(lengths.size());
  const Dim time = symbols ? Dim("T") : Dim(steps), batch = symbols ? Dim("B") : Dim(rows);
  p.x = p.g.placeholder("x", t, {time, batch, kIn});
  p.h0 = p.g.placeholder("h0", t, {batch, kHidden});
  p.end = p.g.placeholder("end", i32, {batch});
  p.w = {p.g.placeholder("w", t, {kIn, kHidden}), p.g.placeholder("u", t, {kHidden, kHidden}),
         p.g.placeholder("b", t, {kHidden})};
  p.r = recurrence(
      {.states = {p.h0}, .xs = {p.x}, .end = p.end, .reverse = reverse},
      [&](const Vars& s, const Vars& xs, const Vars&) { return cell.body(s, xs[0], p.w); });
  p.outputs = p.r.ys;
  p.outputs.push_back(p.r.finals[0]);
  const auto feed = [&](const Var& v, Dims dims, uint64_t seed) {
    p.feeds.emplace_back(v, draw(dims, t, -1, 1, seed));
  };
  feed(p.x, {steps, rows, kIn}, 1);
  feed(p.h0, {rows, kHidden}, 2);
  feed(p.w[0], {kIn, kHidden}, 3);
  feed(p.w[1], {kHidden, kHidden}, 4);
  feed(p.w[2], {kHidden}, 5);
  p.feeds.emplace_back(p.end, Tensor::of<int32_t>({rows}, lengths));
  return p;
}

void poison_padding(Problem& p, const std::vector<int32_t>& lengths) {
  Tensor& x = p.feeds[0].second;
  const int64_t rows = x.dim(1), width = x.dim(2);
  for (int64_t t = 0; t < x.dim(0); ++t) {
    for (int64_t b = 0; b < rows; ++b) {
      for (int64_t i = 0; t >= lengths[static_cast<size_t>(b)] && i < width; ++i)
        x.mutable_data<double>()[(t * rows + b) * width + i] = kNan;
    }
  }
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a.at(i) - b.at(i));
    worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(worst, d);
  }
  return worst;
}

const std::vector<int32_t> kRagged{5, 0, 2, 3};

TEST_CASE("gradients of any cell through ragged windows match central differences, twice",
          "[recurrence]") {
  for (const Cell& cell : cells()) {
    for (const bool reverse : {false, true}) {
      Problem p = make(cell, f64, reverse, kRagged);
      const std::string backend = GENERATE("reference", "cpu");
      const GradientReport r =
          check_gradients(p.g, p.outputs, p.feeds, {.compile = {.backend = backend}});
      INFO(cell.name << (r.problems.empty() ? "" : ": " + r.problems[0]));
      CHECK(r.problems.empty());
      CHECK(r.second > 50);
    }
  }
}

TEST_CASE("padding that holds NaN reaches neither results nor gradients of any cell",
          "[recurrence]") {
  for (const Cell& cell : cells()) {
    for (const bool optimize : {false, true}) {
      Problem p = make(cell, f64, false, kRagged);
      Vars by;
      for (const Feed& f : p.feeds) {
        if (is_float(f.first.dtype())) by.push_back(f.first);
      }
      Vars fetches = p.outputs;
      for (const Var& d : gradients(weighted_sum(p.outputs, 1), by)) fetches.push_back(d);
      Session s(p.g, {.optimize = optimize});
      const std::vector<Tensor> clean = s.run(fetches, p.feeds);
      poison_padding(p, kRagged);
      const std::vector<Tensor> poisoned = s.run(fetches, p.feeds);
      INFO(cell.name << ", optimize " << optimize);
      for (size_t i = 0; i < clean.size(); ++i) CHECK(clean[i] == poisoned[i]);
    }
  }
}

TEST_CASE("outside a row's window outputs are zero and its state stays", "[recurrence]") {
  Problem p = make(cells()[0], f64, false, {2, 0});
  Session s(p.g);
  const auto out = s.run(Vars{p.r.ys[0], p.r.finals[0], p.r.trajectories[0]}, p.feeds);
  for (int64_t h = 0; h < 4; ++h) {
    CHECK(out[0].at((1 * 2 + 0) * 4 + h) != 0);  // t = 1 < 2 runs
    CHECK(out[0].at((2 * 2 + 0) * 4 + h) == 0);  // t = 2 does not
    CHECK(out[1].at(h) ==
          out[0].at((1 * 2 + 0) * 4 + h));  // the last state is that of the last step
    CHECK(out[1].at(4 + h) == p.feeds[1].second.at(4 + h));  // an empty row keeps its first state
    CHECK(out[2].at((1 * 2 + 0) * 4 + h) == out[0].at((0 * 2 + 0) * 4 + h));
    CHECK(out[2].at((0 * 2 + 1) * 4 + h) == 0);
  }
}

TEST_CASE("each kernel that runs a recurrence agrees with the reference backend", "[recurrence]") {
  const DType t = GENERATE(f32, f64);
  int engine_runs = 0, steps_runs = 0;
  for (const Cell& cell : cells()) {
    for (const int32_t rows : {1, 3, 8, 19}) {
      for (const bool reverse : {false, true}) {
        std::vector<int32_t> lengths;
        for (int32_t b = 0; b < rows; ++b) lengths.push_back((b * 3) % 6);
        Problem p = make(cell, t, reverse, lengths);
        Vars by{p.x, p.h0, p.w[0], p.w[1], p.w[2]};
        Vars fetches = p.outputs;
        for (const Var& d : gradients(weighted_sum(p.outputs, 1), by)) fetches.push_back(d);
        Session reference(p.g, {.backend = "reference", .optimize = false});
        const auto want = reference.run(fetches, p.feeds);
        for (const std::string kernel : {"cpu.recurrence.engine", "runtime.recurrence.steps"}) {
          Session s(p.g, {.kernel = kernel});
          const bool used = s.plan(fetches)->bind({{"T", 5}, {"B", rows}})->uses_kernel(kernel);
          INFO(cell.name << " " << kernel << " rows " << rows);
          if (kernel == "runtime.recurrence.steps" || cell.engine) REQUIRE(used);
          (kernel == "runtime.recurrence.steps" ? steps_runs : engine_runs) += used ? 1 : 0;
          const auto got = s.run(fetches, p.feeds);
          for (size_t i = 0; i < got.size(); ++i)
            CHECK(largest_difference(got[i], want[i]) < (t == f64 ? 1e-11 : 2e-4));
        }
      }
    }
  }
  CHECK(engine_runs > 20);
  CHECK(steps_runs > 20);
}

TEST_CASE("a recurrence has the same bits for every number of threads", "[recurrence]") {
  Problem p = make(cells()[1], f32, false, {5, 4, 3, 5, 1, 0, 2, 5, 5, 4, 3, 2, 1, 5, 5, 5, 5, 2});
  Vars fetches = p.outputs;
  for (const Var& d : gradients(weighted_sum(p.outputs, 1), {p.x, p.w[0], p.w[1]}))
    fetches.push_back(d);
  Session one(p.g, {}, std::make_shared<ThreadTeam>(1));
  const auto want = one.run(fetches, p.feeds);
  for (const int threads : {2, 3, 4}) {
    Session many(p.g, {}, std::make_shared<ThreadTeam>(threads));
    CHECK(many.run(fetches, p.feeds) == want);
  }
}

TEST_CASE("a recurrence without steps or without rows gives its first states and zero sums",
          "[recurrence]") {
  for (const std::string backend : {"reference", "cpu"}) {
    Problem p = make(cells()[0], f64, false, {0, 0}, 0);
    const Var loss = sum(p.r.finals[0]);
    Session s(p.g, {.backend = backend});
    Vars fetches{p.r.finals[0]};
    for (const Var& d : gradients(loss, {p.w[1], p.h0})) fetches.push_back(d);
    const auto out = s.run(fetches, p.feeds);
    CHECK(out[0] == p.feeds[1].second);
    CHECK(largest_difference(out[1], Tensor(f64, {4, 4})) == 0);
    CHECK(out[2].at(0) == 1);
    Problem q = make(cells()[0], f64, false, {});
    Session t(q.g, {.backend = backend});
    CHECK(t.run(q.r.ys[0], q.feeds).dims() == Dims{5, 0, 4});
  }
}

TEST_CASE("a window outside the sequence is refused by every kernel", "[recurrence]") {
  for (const std::string kernel : {"cpu.recurrence.engine", "runtime.recurrence.steps"}) {
    for (const int32_t bad : {-1, 6}) {
      Problem p = make(cells()[0], f64, false, {5, bad});
      Session s(p.g, {.kernel = kernel});
      try {
        s.run(p.r.ys[0], p.feeds);
        FAIL("accepted " << bad);
      } catch (const Error& e) {
        CHECK(e.code() == "recurrence.window.range");
        CHECK(std::string(e.what()).find("row 1") != std::string::npos);
      }
    }
  }
}

TEST_CASE("hoist takes the product of the input out of the loop", "[recurrence][passes]") {
  Problem p = make(cells()[0], f64, false, kRagged, 5, true);
  const Subgraph before{
      p.g,
      {p.x.value(), p.h0.value(), p.end.value(), p.w[0].value(), p.w[1].value(), p.w[2].value()},
      {p.r.ys[0].value()}};
  const Subgraph after = hoist(prune_recurrences(before));
  verify(after);
  const std::string text = to_text(after);
  INFO(text);
  // Outside: x W and its bias, over all steps at once. Inside: one product, with the state.
  CHECK(text.find("matmul(%0, %3) -> f64[T,B,4]") != std::string::npos);
  const std::string body = text.substr(text.find("body("));
  CHECK(body.find("matmul") == body.rfind("matmul"));
}

TEST_CASE(
    "in the optimized gradient of an Elman layer the loop holds two products, and sums of rows and "
    "of their products",
    "[recurrence][passes]") {
  Problem p = make(cells()[0], f64, false, kRagged);
  const Var loss = sum(p.r.ys[0]);
  Session s(p.g, {});
  Vars d = gradients(loss, {p.w[0], p.w[1], p.w[2], p.x});
  const Subgraph& unit = s.plan(d)->unit();
  int loops = 0;
  for (int32_t i = 0; i < unit.graph.size(); ++i) {
    const Node& n = unit.graph.node(i);
    if (n.op->name != "recurrence") continue;
    ++loops;
    int products = 0;
    for (int32_t k = 0; k < n.body->graph.size(); ++k) {
      const Node& in = n.body->graph.node(k);
      products += in.op->name == "matmul" && !in.attributes.flag("transpose_a") ? 1 : 0;
    }
    INFO(to_text(*n.body));
    CHECK(products == 2);  // with the state, and with x or into its gradient: many steps at once
    const RecurrenceLayout l(n);
    CHECK(l.sums == (loops == 1 ? 0 : 3));
    for (size_t o = 0; o < l.sums; ++o) {
      const Value v = n.body->outputs[l.states + l.ys + o];
      const auto& body = n.body->graph;
      CHECK((recurrence_internal::is_sum_of_rows(body, v) ||
             recurrence_internal::is_outer_sum(body, v, n.attributes.text("row_symbol"))));
    }
  }
  CHECK(loops == 2);
}

TEST_CASE("a Var of the outer graph inside a body becomes an operand, of another graph an error",
          "[recurrence]") {
  Problem p = make(cells()[0], f64, false, kRagged);
  Graph other;
  const Var stranger = other.placeholder("w", f64, {3, 4});
  try {
    recurrence({.states = {p.h0}, .xs = {p.x}},
               [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                 return {.states = {s[0] + matmul(xs[0], stranger)}};
               });
    FAIL("accepted a Var of another graph");
  } catch (const Error& e) {
    CHECK(e.code() == "matmul.graph.mixed");
  }
}

TEST_CASE("a recurrence inside a recurrence has right gradients", "[recurrence]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3, 2, 3});
  const Var h0 = g.placeholder("h0", f64, {2, 3});
  const Var w = g.placeholder("w", f64, {3, 3});
  // An inner loop over a shared sequence, at each step of the outer one.
  const Var shared = g.placeholder("shared", f64, {2, 1, 3});
  const RecurrenceResult r =
      recurrence({.states = {h0}, .xs = {x}},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var spread = broadcast_to(shared, {2, xs[0].dim(0), 3});
                   const RecurrenceResult inner = recurrence(
                       {.states = {s[0]}, .xs = {spread}},
                       [&](const Vars& t, const Vars& ys, const Vars&) -> RecurrenceStep {
                         return {.states = {tanh(matmul(t[0], w) + ys[0])}};
                       });
                   const Var h = inner.finals[0] + xs[0];
                   return {.states = {h}, .ys = {h}};
                 });
  const std::vector<Feed> feeds{{x, draw({3, 2, 3}, f64, -1, 1, 1)},
                                {h0, draw({2, 3}, f64, -1, 1, 2)},
                                {w, draw({3, 3}, f64, -1, 1, 3)},
                                {shared, draw({2, 1, 3}, f64, -1, 1, 4)}};
  for (const std::string backend : {"reference", "cpu"}) {
    const GradientReport report =
        check_gradients(g, {r.ys[0]}, feeds, {.compile = {.backend = backend}});
    INFO((report.problems.empty() ? "" : report.problems[0]));
    CHECK(report.problems.empty());
    CHECK(report.first > 30);
  }
}

TEST_CASE("a number that is multiplied in a body runs on every kernel alike", "[recurrence]") {
  const Cell cell{"fill times a matrix",
                  [](const Vars& s, const Var& x, const Vars& w) -> RecurrenceStep {
                    const Var n = tanh(s[0] + matmul(x, w[0])) + matmul(fill_like(s[0], 1), w[1]);
                    return {.states = {n}, .ys = {n}};
                  },
                  false};
  Problem p = make(cell, f64, false, kRagged);
  const auto want =
      Session(p.g, {.backend = "reference", .optimize = false}).run(p.outputs, p.feeds);
  for (const bool optimize : {false, true}) {
    const auto got = Session(p.g, {.optimize = optimize}).run(p.outputs, p.feeds);
    for (size_t i = 0; i < got.size(); ++i) CHECK(largest_difference(got[i], want[i]) < 1e-12);
  }
}

TEST_CASE("sums and shared operands that hold the row axis are refused", "[recurrence]") {
  Problem p = make(cells()[0], f64, false, kRagged);
  try {
    recurrence({.states = {p.h0}, .xs = {p.x}, .end = p.end},
               [](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                 return {.states = {s[0]}, .sums = {xs[0]}};
               });
    FAIL("accepted a sum over rows that may not run");
  } catch (const Error& e) {
    CHECK(e.code() == "recurrence.body.rows");
  }
}

TEST_CASE("an output that leaves the loop is zero in the padding, whatever the weights hold",
          "[recurrence]") {
  for (const bool optimize : {false, true}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {4, 2, 3});
    const Var h0 = g.placeholder("h0", f64, {2, 3});
    const Var end = g.placeholder("end", i32, {2});
    const Var w = g.placeholder("w", f64, {3, 3});
    const RecurrenceResult r =
        recurrence({.states = {h0}, .xs = {x}, .end = end},
                   [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                     const Var n = tanh(s[0] + xs[0]);
                     return {.states = {n}, .ys = {matmul(n, w)}};
                   });
    Session s(g, {.optimize = optimize});
    const Tensor y = s.run(r.ys[0], {{x, draw({4, 2, 3}, f64, -1, 1, 1)},
                                     {h0, Tensor(f64, {2, 3})},
                                     {end, Tensor::of<int32_t>({2}, {4, 1})},
                                     {w, Tensor::full(f64, {3, 3}, kNan)}});
    CHECK(std::isnan(y.at(0)));
    for (int64_t t = 1; t < 4; ++t) CHECK(y.at((t * 2 + 1) * 3) == 0);
  }
}

TEST_CASE("rows are fixed by whatever has them", "[recurrence]") {
  Graph g;
  const Var p = g.placeholder("p", f64, {2, 3});
  const RecurrenceResult r =
      recurrence({.per_row = {p}, .steps = 3},
                 [](const Vars&, const Vars&, const Vars& rows) -> RecurrenceStep {
                   return {.states = {}, .ys = {rows[0] * 2}};
                 });
  const Tensor y = Session(g).run(r.ys[0], {{p, Tensor::full(f64, {2, 3}, 1.5)}});
  CHECK(y == Tensor::full(f64, {3, 2, 3}, 3));
}

// A recurrence in a recurrence; `inside`: what the inner one makes of m [B,H], a Var around both.
Tensor run_nested(const std::function<Var(const Vars& s, const Var& m, const Vars& rows)>& inside,
                  bool as_operand, bool in_the_middle) {
  Graph g;
  const Var x = g.placeholder("x", f64, {6, 3, 4}), m = g.placeholder("m", f64, {3, 4});
  const Var h0 = g.placeholder("h0", f64, {3, 4}), end = g.placeholder("end", i32, {3});
  const auto r =
      recurrence({.states = {h0}, .xs = {x}, .end = end},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var here = in_the_middle ? per_row(m) : m;
                   const auto inner = recurrence(
                       {.states = {s[0]}, .per_row = as_operand ? Vars{here} : Vars{}, .steps = 2},
                       [&](const Vars& states, const Vars&, const Vars& rows) -> RecurrenceStep {
                         return {.states = {tanh(inside(states, here, rows))}};
                       });
                   return {.states = {inner.finals[0] + xs[0]}};
                 });
  return Session(g).run(r.finals[0], {{x, draw({6, 3, 4}, f64, -1, 1, 1)},
                                      {m, draw({3, 4}, f64, -1, 1, 2)},
                                      {h0, draw({3, 4}, f64, -1, 1, 3)},
                                      {end, Tensor::of<int32_t>({3}, {2, 6, 4})}});
}

TEST_CASE("a body within a body gets a row of its own, or an error", "[recurrence]") {
  const auto operand = [](const Vars& s, const Var&, const Vars& rows) { return s[0] + rows[0]; };
  const auto asked = [](const Vars& s, const Var& m, const Vars&) { return s[0] + per_row(m); };
  CHECK(run_nested(operand, true, true) == run_nested(asked, false, true));
  const auto code = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      return e.code();
    }
    return "";
  };
  // m has a row for each sequence, the body in the middle only those that run at its step.
  CHECK(code([&] { run_nested(asked, false, false); }) == "per_row.value.outer");
  CHECK(code([&] { run_nested(operand, true, false); }) == "recurrence.body.rows");
}

TEST_CASE("a layer names the output of a cell that does not fit", "[recurrence]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {5, 3, 4}), h0 = g.placeholder("h0", f64, {3, 4});
  const auto code = [&](const std::function<Var(Var h)>& output, rnn::LayerOptions o) {
    const rnn::Cell cell = [&](const Var& x, Vars s) -> rnn::Step {
      const Var h = tanh(s[0] + x);
      return {.output = output(h), .state = {h}};
    };
    o.backward = cell;
    const Var in = o.data_format == RnnDataFormat::NTS ? transpose(x, {1, 0, 2}) : x;
    try {
      rnn::layer(in, {h0}, cell, o);
    } catch (const Error& e) {
      return e.code();
    }
    return std::string();
  };
  const auto flat = [](const Var& h) { return sum(h, {.axes = {1}}); };
  CHECK(code(flat, {}).empty());
  CHECK(code(flat, {.data_format = RnnDataFormat::NTS}) == "layer.cell.output");
  CHECK(code(flat, {.direction_mode = BIDIR_CONCAT}) == "layer.cell.output");
  CHECK(code([](const Var& h) { return sum(h); }, {}) == "layer.cell.output");
  CHECK(code([&](const Var&) { return h0; }, {}) == "layer.cell.output");
}

TEST_CASE("a number beside a state is a number to whoever computes with it", "[recurrence]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {4, 3, 20});
  const auto r = rnn::layer(x, {rnn::zero_state(x, 20)}, [](Var in, Vars s) -> rnn::Step {
    const Var half = fill(in.graph(), f64, {in.dim(0), 1}, 0.5);
    const Var h = tanh(in + s[0]) * half;  // before the concat takes it as a column
    return {.output = concat<Var>({h, half}, -1), .state = {h}};
  });
  const std::vector<Feed> feeds{{x, draw({4, 3, 20}, f64, -1, 1, 5)}};
  Session engine(g), plain(g, {.backend = "reference", .optimize = false});
  CHECK(engine.plan({r.y})->bind({})->uses_kernel("cpu.recurrence.engine"));
  const Tensor want = plain.run(r.y, feeds), got = engine.run(r.y, feeds);
  for (int64_t i = 0; i < want.size(); ++i) CHECK(std::abs(got.at(i) - want.at(i)) < 1e-12);
}

}  // namespace
}  // namespace rondo::test
