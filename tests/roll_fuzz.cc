// Random loops over time, written out step by step: rolled and optimized, they give what the graph
// gives as it stands, with its gradients of first and second order. RONDO_FUZZ=N runs N programs.
#include <functional>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "dice.h"
#include "op_run.h"

#include <rondo/graph/rewrite.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kH = 4;
constexpr double kLargest = 1e3;  // of a loss: rounding decides what grows beyond it

// What a cell does: fixed once, applied at each step to that step's values.
struct Cell {
  struct Line {
    size_t op, a, b, c;
  };
  std::vector<Line> lines;
  std::vector<size_t> next;  // of each state: a value, counted from the last
  size_t states = 1, inputs = 1;
};

constexpr size_t kOps = 20;

Cell random_cell(Dice& d, size_t inputs) {
  Cell c;
  c.states = 1 + d.below(3);
  c.inputs = inputs;
  const size_t lines = 2 + d.below(6);
  size_t values = c.states + inputs;
  for (size_t k = 0; k < lines; ++k, ++values)
    c.lines.push_back({d.below(kOps), d.below(values), d.below(values), d.below(values)});
  for (size_t s = 0; s < c.states; ++s) c.next.push_back(d.below(std::min<size_t>(values, 4)));
  return c;
}

// What is the same for all steps.
struct World {
  Graph g;
  Dim rows = 0;
  int64_t batch = 0;
  Var wide, square, vector, row, mask, index, table;
  std::vector<Feed> feeds;

  World(int64_t b, bool symbolic) : rows(symbolic ? Dim("B") : Dim(b)), batch(b) {
    wide = placeholder("wide", f64, {2 * kH, 2 * kH});
    square = placeholder("square", f64, {kH, kH});
    vector = placeholder("vector", f64, {kH});
    row = placeholder("row", f64, {1, kH});
    mask = placeholder("mask", f64, {rows, kH});
    index = placeholder("index", i32, {rows});
    table = placeholder("table", f64, {kH, kH});
  }
  Var placeholder(const std::string& name, DType t, const Shape& shape) {
    const Var v = g.placeholder(name, t, shape);
    const Dims dims = bind(shape, {{"B", batch}});
    feeds.emplace_back(
        v, draw(dims, t, is_float(t) ? -0.9 : 0, is_float(t) ? 0.9 : kH - 1, feeds.size() + 11));
    return v;
  }
};

// One value [B,H] from others of that shape.
Var apply_line(const World& w, const Cell::Line& l, const Vars& v) {
  const Var &a = v[l.a], &b = v[l.b], &c = v[l.c];
  switch (l.op) {
    case 0:
      return tanh(matmul(a, w.square));
    case 1:
      return tanh(matmul(a, w.square) + w.vector) * b;
    case 2:
      return sigmoid(a + b);
    case 3:
      return a * w.mask + b;
    case 4:
      return tanh(a) * sigmoid(b) + c * 0.5;
    case 5:
      return where(a > b, c, a * 0.25);
    case 6: {
      const Vars parts = split(sigmoid(matmul(concat<Var>({a, b}, 1), w.wide)), 2, -1);
      return parts[0] * c + (1.0 - parts[0]) * tanh(parts[1]);
    }
    case 7:
      return a * sigmoid(sum(b, {.axes = {1}, .keep_dims = true}));
    case 8:
      return nn::softmax(a + b, -1);
    case 9:
      return reshape(sum(reshape(tanh(a), {w.rows, 2, 2}) * reshape(b, {w.rows, 2, 2}),
                         {.axes = {2}, .keep_dims = true}) +
                         reshape(c, {w.rows, 2, 2}),
                     {w.rows, kH});
    case 10:
      return concat<Var>({slice(a, 1, 2, kH), slice(tanh(b), 1, 0, 2)}, -1);
    case 11:
      return tanh(a - fill(w.g, f64, {w.rows, kH}, 0.3)) + w.row;
    case 12:
      return cast(cast(a * 3.0, i32) + expand_dims(w.index, 1), f64) * 0.125 + sin(b);
    case 13:
      return tanh(a + gather(w.table, w.index));
    case 14:
      return maximum(a, b) - stop_gradient(c) * 0.1;
    case 15:
      return tanh(a * w.vector.graph().constant(draw({kH}, f64, -1, 1, 5)));
    case 16:
      return a / (sum(exp(b), {.axes = {-1}, .keep_dims = true}) + 1.0);
    case 17:
      return tanh(matmul(a, w.square * 0.5) + matmul(b, w.square, {.transpose_b = true}));
    case 18:
      return nn::softmax(a, 0) + b * 0.5;
    default:
      return neg(a) * 0.7;
  }
}

Vars apply_cell(const World& w, const Cell& c, const Vars& states, const Vars& inputs) {
  Vars v = states;
  v.insert(v.end(), inputs.begin(), inputs.end());
  for (const Cell::Line& l : c.lines) v.push_back(apply_line(w, l, v));
  Vars next;
  for (const size_t k : c.next) next.push_back(v[v.size() - 1 - k]);
  return next;
}

// What a loop reads at step t, in one of many ways; `before`: what the loop before it gave.
using Reader = std::function<Var(int64_t t)>;

Reader random_reader(Dice& d, World& w, int64_t steps, const std::vector<Vars>& before) {
  const std::string name = cat("x", w.feeds.size());
  const size_t way = d.below(before.empty() ? 10 : 14);
  if (way >= 10) {
    const bool backwards = d.one_in(3);
    const auto n = static_cast<int64_t>(before.size());
    return [before, backwards, n](int64_t t) {
      return before[static_cast<size_t>((backwards ? n * 9 - 1 - t : t) % n)][0];
    };
  }
  if (way == 0) {
    Vars each;
    for (int64_t t = 0; t < steps; ++t)
      each.push_back(w.placeholder(cat(name, "_", t), f64, {w.rows, kH}));
    return [each](int64_t t) { return each[static_cast<size_t>(t)]; };
  }
  if (way == 1) {
    const Var x = w.placeholder(name, f64, {w.rows, kH});
    return [x](int64_t) { return x; };
  }
  const int64_t stride = way == 2 ? 2 : 1, offset = way == 3 ? 1 : 0;
  const int64_t length = stride * steps + offset + static_cast<int64_t>(d.below(2));
  const int64_t axis = way == 4 ? 1 : way == 5 ? 2 : 0;
  Shape shape{w.rows, kH};
  shape.insert(shape.begin() + axis, length);
  Var x = w.placeholder(name, f64, shape);
  if (way == 6) x = tanh(x * 2.0);
  const bool reverse = d.one_in(3), product = way == 7, keep = d.one_in(3);
  std::vector<Var> kept(static_cast<size_t>(steps));
  return [=, &w](int64_t t) mutable {
    Var& at = kept[static_cast<size_t>(t)];
    if (keep && at) return at;
    const int64_t k = offset + stride * (reverse ? steps - 1 - t : t);
    at = squeeze(slice(x, axis, k, k + 1), axis);
    if (product) at = matmul(at, w.square) + w.vector;
    return at;
  };
}

Vars random_first(Dice& d, World& w, size_t states, const std::vector<Vars>& before) {
  const size_t way = d.below(5);
  const Var h = w.placeholder(cat("h", w.feeds.size()), f64, {w.rows, kH});
  Vars r;
  for (size_t k = 0; k < states; ++k) {
    if (!before.empty() && d.one_in(3)) {
      r.push_back(before.back()[k % before.back().size()]);
    } else if (way == 0) {
      r.push_back(fill(w.g, f64, {w.rows, kH}, 0));
    } else if (way == 1) {
      r.push_back(tanh(matmul(h, w.square)));
    } else if (way == 2) {
      r.push_back(k == 0 ? h : w.placeholder(cat("h", w.feeds.size()), f64, {w.rows, kH}));
    } else {
      r.push_back(h);
    }
  }
  return r;
}

struct Program {
  World w;
  Vars fetches, leaves, inner;
  Var loss;
};

Program random_program(uint64_t seed) {
  Dice d(seed);
  const auto steps = static_cast<int64_t>(2 + d.below(8));
  const int64_t batch = std::vector<int64_t>{1, 2, 3, kH, steps}[d.below(5)];
  Program p{World(batch, d.one_in(3)), {}, {}, {}, {}};
  World& w = p.w;

  struct Loop {
    Cell cell;
    std::vector<Reader> readers;
    std::vector<Vars> states;  // before each step, and at last
    size_t times = 1;          // the cell in one step
    Vars read = {};
    void run(const World& w, int64_t t) {
      Vars x;
      for (const Reader& r : readers) x.push_back(r(t));
      read.insert(read.end(), x.begin(), x.end());
      states.push_back(states.back());
      for (size_t k = 0; k < times; ++k) states.back() = apply_cell(w, cell, states.back(), x);
    }
  };
  std::vector<Vars> before;  // states after each step of the loop before
  Cell cell;
  const size_t loops = 1 + d.below(3);
  for (size_t l = 0; l < loops; ++l) {
    if (l == 0 || !d.one_in(3)) cell = random_cell(d, d.below(3));
    Loop loop{cell, {}, {random_first(d, w, cell.states, before)}, d.one_in(5) ? size_t{2} : 1};
    for (size_t k = 0; k < cell.inputs; ++k)
      loop.readers.push_back(random_reader(d, w, steps, before));
    const auto own =
        l == 0 ? steps : static_cast<int64_t>(2 + d.below(static_cast<size_t>(steps) - 1));
    for (int64_t t = 0; t < own; ++t) loop.run(w, t);
    before.assign(loop.states.begin() + 1, loop.states.end());
    for (const Vars& at : before) p.inner.insert(p.inner.end(), at.begin(), at.end());
    p.inner.insert(p.inner.end(), loop.read.begin(), loop.read.end());
    // What is asked for of it.
    const Vars& last = before.back();
    if (d.one_in(2)) p.fetches.push_back(d.of(last));
    if (d.one_in(3)) p.fetches.push_back(d.of(before)[0] * 2.0);
    if (d.one_in(3)) p.fetches.push_back(d.of(d.of(before)));
    if (d.one_in(3) || (l + 1 == loops && p.fetches.empty())) {
      Vars parts;
      const bool all = !d.one_in(3);
      for (size_t t = 0; t < before.size(); ++t) {
        if (all || t % 2 == 0) parts.push_back(expand_dims(before[t][0], 0));
      }
      p.fetches.push_back(concat(parts, 0));
    }
  }
  for (const Var& y : p.fetches) {
    const Var part = sum(tanh(y) * y);
    p.loss = p.loss ? p.loss + part : part;
  }
  for (const Feed& f : w.feeds) {
    if (is_float(f.second.dtype())) p.leaves.push_back(f.first);
  }
  return p;
}

struct Outcome {
  std::vector<Tensor> values;
  double loss = 0;
  size_t recurrences = 0;
};

// Values, gradients and gradients of a norm of those. As it stands: nothing is optimized, and
// gradients by every value inside of the loops are asked for too, which keeps the loops.
Outcome run_program(uint64_t seed, bool as_it_stands) {
  Program p = random_program(seed);
  Dice d(seed + 1000003);
  Vars by = p.leaves;
  const size_t leaves = by.size();
  if (d.one_in(3)) {
    for (int k = 0; k < 2; ++k) by.push_back(d.of(p.inner));
  }
  const size_t asked = by.size();
  const auto differentiate = [&](const Var& loss, size_t count) {
    Vars all(by.begin(), by.begin() + static_cast<std::ptrdiff_t>(count));
    if (as_it_stands) all.insert(all.end(), p.inner.begin(), p.inner.end());
    Vars r = gradients(loss, all);
    r.resize(count);
    return r;
  };
  Vars fetches = p.fetches;
  fetches.push_back(p.loss);
  const Vars values = fetches;
  const Vars first = differentiate(p.loss, asked);
  Var along;
  for (size_t k = 0; k < leaves; ++k)
    along = along ? along + sum(first[k] * first[k]) : sum(first[k] * first[k]);
  const Vars second = differentiate(along, leaves);
  fetches.insert(fetches.end(), first.begin(), first.end());
  fetches.insert(fetches.end(), second.begin(), second.end());
  Session s(p.w.g, {.optimize = !as_it_stands}, one_thread());
  Outcome r{s.run(fetches, p.w.feeds)};
  r.loss = r.values[values.size() - 1].item();
  const Subgraph& unit = s.plan(values)->unit();
  for (const int32_t id : live_nodes(unit))
    r.recurrences += unit.graph.node(id).op->name == "recurrence" ? 1 : 0;
  return r;
}

// As distance, where both may be no number.
double far(Tensor a, Tensor b) {
  for (int64_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a.at(i)) && !std::isfinite(b.at(i)))
      a.mutable_data<double>()[i] = b.mutable_data<double>()[i] = 0;
  }
  return distance(a, b);
}

TEST_CASE("random loops keep their values and gradients when they are rolled", "[roll][fuzz]") {
  const uint64_t first = fuzz_seed(0), programs = fuzz_count(60);
  size_t rolled = 0;
  for (uint64_t seed = first; seed < first + programs; ++seed) {
    CAPTURE(seed);
    try {
      const Outcome want = run_program(seed, true), got = run_program(seed, false);
      rolled += got.recurrences != 0 ? 1 : 0;
      if (std::abs(want.loss) > kLargest) continue;
      REQUIRE(got.values.size() == want.values.size());
      for (size_t k = 0; k < want.values.size(); ++k) {
        CAPTURE(k);
        CHECK(far(got.values[k], want.values[k]) < 1e-9);
      }
    } catch (const std::exception& e) {
      FAIL_CHECK("an error: " << e.what());
    }
  }
  INFO(rolled << " of " << programs << " were rolled");
  CHECK(rolled * 4 > programs);
}

}  // namespace
}  // namespace rondo::test
