// Every rewrite rule on its own example, over ranks 0 to 4, all dtypes, NaN, zeros of both signs
// and infinities; and all rules together on random graphs.
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/verify.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/rules.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using test::unit;

namespace {

constexpr DType kDtypes[] = {f32, f64, bf16, f16, i32, i64, boolean};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }

  Dims dims(size_t rank) {
    Dims d(rank);
    for (int64_t& v : d) v = below(12) == 0 ? 0 : 1 + below(3);
    return d;
  }
  double value(DType t) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    constexpr double kSpecial[] = {0.0, -0.0, kInf, -kInf, std::numeric_limits<double>::quiet_NaN(),
                                   1,   -1,   0.5,  1e-7};
    if (!is_float(t)) return static_cast<double>(below(7) - 3);
    if (below(2) == 0) return kSpecial[below(9)];
    return std::normal_distribution<double>(0, 3)(engine_);
  }
  Tensor tensor(DType t, const Dims& dims) {
    Tensor x(f64, dims);
    for (int64_t i = 0; i < x.size(); ++i) x.mutable_data<double>()[i] = value(t);
    return x.to(t);
  }

 private:
  std::mt19937_64 engine_;
};

std::vector<Tensor> evaluate(const Subgraph& s, const std::map<std::string, Tensor>& values) {
  static const auto team = std::make_shared<ThreadTeam>(1);
  std::vector<Feed> feeds;
  for (const auto& [name, value] : values) feeds.emplace_back(s.graph.find(name), value);
  Vars fetches;
  for (const Value v : s.outputs) fetches.push_back(s.graph.var(v));
  return Session(s.graph, {.backend = "reference", .optimize = false}, team).run(fetches, feeds);
}

// Half a step of the dtype at 1, a few times; zero for what has no rounding.
double rounding(DType t) {
  const std::map<DType, double> kEps{
      {f32, 0x1p-24}, {f64, 0x1p-53}, {bf16, 0x1p-9}, {f16, 0x1p-12}};
  return is_float(t) ? 16 * kEps.at(t) : 0;
}

bool same(double a, double b, bool exact, double tolerance, double scale) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (exact) return a == b && std::signbit(a) == std::signbit(b);
  return a == b || std::abs(a - b) <= tolerance * (std::abs(a) + std::abs(b) + scale);
}

void require_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b, bool exact,
                  double scale) {
  REQUIRE(a.size() == b.size());
  for (size_t k = 0; k < a.size(); ++k) {
    REQUIRE(a[k].dtype() == b[k].dtype());
    REQUIRE(a[k].dims() == b[k].dims());
    for (int64_t i = 0; i < a[k].size(); ++i) {
      const double x = a[k].at(i), y = b[k].at(i);
      if (same(x, y, exact, rounding(a[k].dtype()), scale)) continue;
      FAIL("element " << i << " was " << x << " and becomes " << y);
    }
  }
}

double largest(const std::map<std::string, Tensor>& values) {
  double m = 1;
  for (const auto& [name, t] : values) {
    for (int64_t i = 0; i < t.size(); ++i) {
      if (std::isfinite(t.at(i))) m = std::max(m, std::abs(t.at(i)));
    }
  }
  return m;
}

ExampleContext context(const Shape& shape, DType dtype, Random& random) {
  Graph g;
  const Var x = g.placeholder("x", dtype, shape), y = g.placeholder("y", dtype, shape);
  return {g, x, y, [&random](int64_t below) { return random.below(below); }};
}

// Fires the rule alone; the result verifies and holds nothing more to do.
Subgraph fire(const Rule& rule, const Subgraph& before) {
  const RuleSet alone({rule});
  RewriteLog log, again;
  Subgraph after = rewrite(before, alone, &log);
  INFO("before\n" << to_text(before) << "after\n" << to_text(after));
  REQUIRE(log.count(rule.name) > 0);
  verify(after);
  REQUIRE(to_text(rewrite(after, alone, &again)) == to_text(after));
  REQUIRE(again.total() == 0);
  return after;
}

void fuzz(const RuleSet& rules, bool exact) {
  constexpr int kTries = 6;
  for (const Rule& rule : rules.rules()) {
    INFO("rule " << rule.name);
    REQUIRE(rule.example);
    int applied = 0;
    for (const DType dtype : kDtypes) {
      for (size_t rank = 0; rank <= 4; ++rank) {
        for (int k = 0; k < kTries; ++k) {
          Random random(static_cast<uint64_t>(k) * 100 + rank);
          const Dims dims = random.dims(rank);
          const ExampleContext c = context(to_shape(dims), dtype, random);
          const Var y = rule.example(c);
          if (!y) continue;
          ++applied;
          INFO(name_of(dtype) << to_string(dims));
          const Subgraph before = unit({y}), after = fire(rule, before);
          const std::map<std::string, Tensor> values{{"x", random.tensor(dtype, dims)},
                                                     {"y", random.tensor(dtype, dims)}};
          INFO("before\n" << to_text(before) << "after\n" << to_text(after));
          require_same(evaluate(before, values), evaluate(after, values), exact,
                       largest(values) * 8);
        }
      }
    }
    CHECK(applied > 0);
  }
}

}  // namespace

TEST_CASE("every exact rule fires on its example and keeps every bit", "[rules]") {
  fuzz(exact_rules(), true);
}

TEST_CASE("every relaxed rule fires on its example and keeps values within rounding", "[rules]") {
  fuzz(relaxed_rules(), false);
}

TEST_CASE("every rule fires where all dimensions are symbols", "[rules]") {
  const RuleSet all = exact_rules() + relaxed_rules();
  for (const Rule& rule : all.rules()) {
    INFO("rule " << rule.name);
    for (size_t rank = 0; rank <= 4; ++rank) {
      Random random(rank);
      const Shape symbols{"A", "B", "C", "D"};
      const ExampleContext c = context(
          Shape(symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(rank)), f32, random);
      const Var y = rule.example(c);
      if (y) fire(rule, unit({y}));
    }
  }
}

TEST_CASE("a rule broadcasts what the operand it removes did", "[rules]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {3, 1});
  const Subgraph r = rewrite(unit({x * g.constant(Tensor::full(f32, {4}, 1))}), exact_rules());
  CHECK(to_text(r) == R"(graph(%0)
  %0 "x" = placeholder -> f32[3,1]
  %1 = broadcast_to(%0) {shape=[3,4]} -> f32[3,4]
  return %1
)");
}

TEST_CASE("a rule drops no check of shapes that only the binding can make", "[rules]") {
  Graph g;
  const Var t = g.placeholder("t", f32, {"T"}), s = g.placeholder("s", f32, {"S"});
  const Var ones = g.constant(Tensor::full(f32, {5}, 1));
  const Var yes = g.constant(Tensor::full(boolean, {5}, 1));
  const RuleSet all = exact_rules() + relaxed_rules();
  for (const Var& y :
       {t * ones, t / ones, t - s, where(yes, t, t), reshape(reshape(t, {"S", 2}), {"T"}),
        broadcast_to(broadcast_to(t, {"S"}), {4, "S"}), slice(slice(t, 0, 0, 7), 0, 0, "S"),
        broadcast_to(t, {"S"}) + s}) {
    const Subgraph before = unit({y});
    RewriteLog log;
    const Subgraph after = rewrite(before, all, &log);
    INFO(to_text(after) << log.str());
    CHECK(log.total() == 0);
  }
}

TEST_CASE("a literal is no neutral element of another kind", "[rules]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2}), n = g.placeholder("n", i32, {2}),
            b = g.placeholder("b", boolean, {2});
  for (const Var& y : {x + 0.0, x - -0.0, 1.0 / x, 0.0 - x, x * 2.0, n / -1, x / 3.0,
                       logical_and(b, 0), logical_or(b, 1), pow(x, 0.0)}) {
    RewriteLog log;
    rewrite(unit({y}), exact_rules(), &log);
    INFO(to_text(unit({y})));
    CHECK(log.total() == 0);
  }
}

TEST_CASE("shapes that nearly match stay as they are", "[rules]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {4, 4, 1}), y = g.placeholder("y", f32, {4, 4, 1});
  const std::vector<Var> parts = split(x, 2, 0), others = split(y, 2, 0), columns = split(x, 2, 1);
  const Var joined = concat<Var>({x, y}, 0), padded = pad(x, 0, 1, 1);
  const Vars near{
      concat<Var>({slice(x, 0, 1, 2), slice(x, 0, 0, 1)}, 0),  // the wrong way round
      concat<Var>({slice(x, 0, 0, 2), slice(x, 0, 1, 4)}, 0),  // overlapping
      concat<Var>({slice(x, 0, 0, 1), slice(y, 0, 1, 2)}, 0),  // of two values
      concat<Var>({slice(x, 0, 0, 4), slice(x, 1, 0, 4)}, 0),  // along two axes
      concat<Var>({parts[1], parts[0]}, 0),
      concat<Var>({parts[0], others[1]}, 0),
      concat<Var>({parts[0], parts[1]}, 1),
      concat<Var>({columns[0], columns[1]}, 0),
      concat<Var>({concat<Var>({x, y}, 0), slice(joined, 0, 0, 8)}, 1),
      slice(joined, 0, 1, 5),
      slice(joined, 1, 0, 3),
      slice(padded, 0, 0, 5),
      slice(padded, 0, 1, 6),
      slice(padded, 1, 1, 4),
      slice(slice(x, 0, 1, 3), 1, 1, 3),
      pad(pad(x, 0, 1, 1), 1, 1, 1),
      transpose(x, {1, 0, 2}),
      sum(x, {.axes = {0, 2}}),
      reduce_max(x, {.axes = {1}}),
      sum(sum(x, {.axes = {1}, .keep_dims = true}), {.axes = {0}}),
      split(x, 2, 0)[1],
      broadcast_to(slice(x, 0, 0, 1), {4, 4, 1}) + slice(y, 0, 0, 1),
      matmul(transpose(x, {1, 0, 2}), reshape(y, {4, 1, 4})),
  };
  const RuleSet all = exact_rules() + relaxed_rules();
  for (const Var& v : near) {
    const Subgraph s = unit({v});
    RewriteLog log;
    rewrite(s, all, &log);
    INFO(to_text(dead_code(s)) << log.str());
    // Operands may become simpler; the root must stay.
    CHECK(log.total() == log.count("slice_whole") + log.count("concat_flat"));
  }
}

TEST_CASE("casts that lose something stay", "[rules]") {
  const auto fires = [](DType from, DType middle, DType to) {
    Graph g;
    RewriteLog log;
    rewrite(unit({cast(cast(g.placeholder("x", from, {2}), middle), to)}), exact_rules(), &log);
    return log.count("cast_twice") > 0;
  };
  CHECK(fires(f32, f64, f32));
  CHECK(fires(bf16, f32, f16));
  CHECK(fires(i32, f64, i64));
  CHECK_FALSE(fires(f64, f32, f64));
  CHECK_FALSE(fires(f32, i32, f32));
  CHECK_FALSE(fires(i32, f32, i32));
  CHECK_FALSE(fires(f16, bf16, f32));
  CHECK_FALSE(fires(bf16, f16, f32));
  CHECK_FALSE(fires(i64, f64, i64));
  CHECK_FALSE(fires(i64, i32, i64));
}

namespace {

using Step = Var (*)(const Vars& pool, Random& random);

Var any_of(const Vars& pool, Random& random) {
  return pool[static_cast<size_t>(random.below(static_cast<int64_t>(pool.size())))];
}
std::vector<int64_t> permutation(size_t rank, Random& random) {
  std::vector<int64_t> p(rank);
  std::iota(p.begin(), p.end(), 0);
  for (size_t i = rank; i > 1; --i)
    std::swap(p[i - 1], p[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
  return p;
}
double literal(Random& random) {
  constexpr double kLiterals[] = {0.0, -0.0, 1, -1, 2, 0.5, 3, -8};
  return kLiterals[random.below(8)];
}

// One more value from those there are; all are [2,2] or a shape that leads back to it.
const Step kSteps[] = {
    [](const Vars& p, Random& r) {
      constexpr const char* kNames[] = {"neg",   "abs",  "relu",       "sign",
                                        "floor", "ceil", "square",     "sigmoid",
                                        "tanh",  "exp",  "reciprocal", "stop_gradient"};
      return rondo::apply(kNames[r.below(12)], {any_of(p, r)})[0];
    },
    [](const Vars& p, Random& r) {
      constexpr const char* kNames[] = {"add", "sub", "mul", "div", "minimum", "maximum"};
      return rondo::apply(kNames[r.below(6)], {any_of(p, r), any_of(p, r)})[0];
    },
    [](const Vars& p, Random& r) {
      const Var x = any_of(p, r), c = x.graph().constant(Tensor::scalar(f32, literal(r)));
      constexpr const char* kNames[] = {"add", "sub", "mul", "div", "pow"};
      return r.below(2) == 0 ? rondo::apply(kNames[r.below(5)], {x, c})[0]
                             : rondo::apply(kNames[r.below(4)], {c, x})[0];
    },
    [](const Vars& p, Random& r) { return transpose(any_of(p, r), permutation(2, r)); },
    [](const Vars& p, Random& r) {
      return reshape(transpose(reshape(any_of(p, r), {2, 1, 2}), permutation(3, r)), {2, 2});
    },
    [](const Vars& p, Random& r) {
      const int64_t axis = r.below(2), begin = r.below(3);
      return slice(concat<Var>({any_of(p, r), any_of(p, r)}, axis), axis, begin, begin + 2);
    },
    [](const Vars& p, Random& r) {
      const int64_t axis = r.below(2), begin = r.below(3);
      return slice(pad(any_of(p, r), axis, 1, 1), axis, begin, begin + 2);
    },
    [](const Vars& p, Random& r) {
      const int64_t axis = r.below(2);
      const std::vector<Var> parts = split(any_of(p, r), 2, axis);
      return r.below(2) == 0 ? concat<Var>({parts[0], parts[1]}, axis)
                             : concat<Var>({parts[1], parts[0]}, axis);
    },
    [](const Vars& p, Random& r) {
      return where(any_of(p, r) < any_of(p, r), any_of(p, r), any_of(p, r));
    },
    [](const Vars& p, Random& r) {
      return where(logical_not(equal(any_of(p, r), any_of(p, r))), any_of(p, r), literal(r));
    },
    [](const Vars& p, Random& r) {
      return broadcast_to(slice(any_of(p, r), 0, 0, 1), {2, 2}) * any_of(p, r);
    },
    [](const Vars& p, Random& r) {
      return broadcast_to(sum(sum(any_of(p, r), {.axes = {r.below(2)}, .keep_dims = true}),
                              {.axes = {0, 1}, .keep_dims = true}),
                          {2, 2});
    },
    [](const Vars& p, Random& r) {
      return cast(cast(any_of(p, r), r.below(2) == 0 ? f64 : bf16), f32);
    },
    [](const Vars& p, Random& r) { return fill_like(any_of(p, r), literal(r)); },
};

}  // namespace

TEST_CASE("all rules together end, verify, and the exact ones keep every bit of random graphs",
          "[rules]") {
  const RuleSet all = exact_rules() + relaxed_rules();
  RewriteLog log;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    Graph g;
    Vars pool{g.placeholder("x", f32, {2, 2}), g.placeholder("y", f32, {2, 2})};
    for (int k = 0; k < 25; ++k)
      pool.push_back(kSteps[random.below(std::size(kSteps))](pool, random));
    const Subgraph before =
        unit({pool[pool.size() - 1], pool[pool.size() - 2], pool[pool.size() / 2]});
    INFO("seed " << seed << "\n" << to_text(before));
    const Subgraph after = rewrite(before, exact_rules(), &log);
    INFO("after\n" << to_text(after));
    verify(after);
    verify(rewrite(before, all));
    const std::map<std::string, Tensor> values{{"x", random.tensor(f32, {2, 2})},
                                               {"y", random.tensor(f32, {2, 2})}};
    require_same(evaluate(before, values), evaluate(after, values), true, 0);
  }
  CHECK(log.fired.size() > 30);  // most rules have met another
}
