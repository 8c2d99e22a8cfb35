// Attention between sequences against plain loops, with every mask; what is hidden reaches nothing.
#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/attention.h>
#include <rondo/ops/linear.h>

namespace rondo::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Operands {
  Tensor queries, keys, values;
};
Operands draw_operands(int64_t rows, int64_t steps, int64_t positions, int64_t width,
                       int64_t channels) {
  return {draw({rows, steps, width}, f64, -1, 1, 1), draw({rows, positions, width}, f64, -1, 1, 2),
          draw({rows, positions, channels}, f64, -1, 1, 3)};
}

using Visible = std::function<bool(int64_t b, int64_t s, int64_t t)>;

Tensor by_loops(const Operands& o, const Visible& visible, int64_t heads, double scale) {
  const int64_t rows = o.queries.dim(0), steps = o.queries.dim(1), positions = o.keys.dim(1);
  const int64_t width = o.keys.dim(2) / heads, channels = o.values.dim(2) / heads;
  Tensor y(f64, {rows, steps, heads * channels});
  for (int64_t b = 0; b < rows; ++b) {
    for (int64_t s = 0; s < steps; ++s) {
      for (int64_t h = 0; h < heads; ++h) {
        std::vector<double> e(static_cast<size_t>(positions), 0);
        double total = 0;
        for (int64_t t = 0; t < positions; ++t) {
          if (!visible(b, s, t)) continue;
          double fit = 0;
          for (int64_t d = 0; d < width; ++d)
            fit += o.queries.at(((b * steps + s) * heads + h) * width + d) *
                   o.keys.at(((b * positions + t) * heads + h) * width + d);
          total += e[static_cast<size_t>(t)] = std::exp(scale * fit);
        }
        for (int64_t t = 0; t < positions && total > 0; ++t) {
          if (!visible(b, s, t)) continue;
          for (int64_t c = 0; c < channels; ++c)
            y.mutable_data<double>()[((b * steps + s) * heads + h) * channels + c] +=
                e[static_cast<size_t>(t)] / total *
                o.values.at(((b * positions + t) * heads + h) * channels + c);
        }
      }
    }
  }
  return y;
}

double distance(const Tensor& got, const Tensor& want) {
  REQUIRE(got.dims() == want.dims());
  double worst = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(got.at(i) - want.at(i));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

}  // namespace

TEST_CASE("dot_product_attention is its definition under every mask, with heads and symbols",
          "[attention]") {
  const Operands o = draw_operands(2, 3, 4, 4, 6);
  const Tensor of_keys = Tensor::of<double>({2, 4}, {1, 0, 1, 1, 1, 1, 0, 0}).to(boolean);
  const Tensor of_pairs = Tensor::of<double>({2, 3, 4}, {1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1,
                                                         0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0})
                              .to(boolean);
  for (const int64_t heads : {1, 2}) {
    for (const bool causal : {false, true}) {
      for (const auto& scale : {std::optional<double>(), std::optional(0.3)}) {
        for (const Tensor& mask : {Tensor(), of_keys, of_pairs}) {
          CAPTURE(heads, causal, scale.value_or(0), mask ? mask.rank() : 0);
          const Visible visible = [&](int64_t b, int64_t s, int64_t t) {
            const bool seen =
                !mask || mask.at(mask.rank() == 2 ? b * 4 + t : (b * 3 + s) * 4 + t) != 0;
            return seen && (!causal || t <= s);
          };
          const Tensor want =
              by_loops(o, visible, heads, scale.value_or(1 / std::sqrt(4.0 / double(heads))));
          const nn::DotProductOptions options{.scale = scale, .heads = heads, .causal = causal};
          CHECK(distance(nn::dot_product_attention(o.queries, o.keys, o.values, mask, options),
                         want) < 1e-14);
          Graph g;
          const Dim part = heads;
          const Var q = g.placeholder("q", f64, {"B", "S", part * "D"}),
                    k = g.placeholder("k", f64, {"B", "T", part * "D"}),
                    v = g.placeholder("v", f64, {"B", "T", part * "E"});
          std::vector<Feed> feeds{{q, o.queries}, {k, o.keys}, {v, o.values}};
          Var m;
          if (mask) {
            m = g.placeholder("m", boolean,
                              mask.rank() == 2 ? Shape{"B", "T"} : Shape{"B", "S", "T"});
            feeds.emplace_back(m, mask);
          }
          const Var y = nn::dot_product_attention(q, k, v, m, options);
          CHECK(distance(Session(g, {}, one_thread()).run(y, feeds), want) < 1e-14);
        }
      }
    }
  }
}

TEST_CASE("what no query sees reaches nothing, and a query that sees nothing gives 0",
          "[attention]") {
  Operands o = draw_operands(2, 2, 3, 2, 2);
  // Position 1 of row 0 and all of row 1 are hidden; query 1 of row 0 sees nothing.
  const Tensor mask =
      Tensor::of<double>({2, 2, 3}, {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}).to(boolean);
  const auto spoil = [](Tensor& t, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) t.mutable_data<double>()[i] = kNan;
  };
  spoil(o.keys, 2, 4);
  spoil(o.values, 2, 4);
  spoil(o.keys, 6, 12);
  spoil(o.values, 6, 12);
  spoil(o.queries, 2, 8);
  Graph g;
  const Var q = g.placeholder("q", f64, {2, 2, 2}), k = g.placeholder("k", f64, {2, 3, 2}),
            v = g.placeholder("v", f64, {2, 3, 2}), m = g.placeholder("m", boolean, {2, 2, 3});
  const Var y = nn::dot_product_attention(q, k, v, m);
  Vars fetches = gradients(sum(y * y), {q, k, v});
  fetches.push_back(y);
  for (const char* const backend : {"reference", "cpu"}) {
    const auto r = Session(g, {.backend = backend}, one_thread())
                       .run(fetches, {{q, o.queries}, {k, o.keys}, {v, o.values}, {m, mask}});
    for (const Tensor& t : r) {
      for (int64_t i = 0; i < t.size(); ++i) CHECK(std::isfinite(t.at(i)));
    }
    for (int64_t i = 2; i < 8; ++i) CHECK((r[3].at(i) == 0 && r[0].at(i) == 0));
    for (const int64_t i : {2, 3, 6, 7, 8, 9, 10, 11}) CHECK((r[1].at(i) == 0 && r[2].at(i) == 0));
    CHECK(r[3].at(0) != 0);
  }
}

TEST_CASE("multi_head_attention is attention between projections of its own", "[attention]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", "S", 6}),
            memory = g.placeholder("m", f64, {"B", "T", 3});
  const Var there = g.placeholder("there", boolean, {"B", "T"});
  const Var y = nn::multi_head_attention(x, memory, {.heads = 2, .units = 4}, "cross", there);
  CHECK(y.shape() == Shape{"B", "S", 4});
  CHECK(g.trainable().size() == 8);
  CHECK(g.find("cross/key/weights").shape() == Shape{3, 4});
  const auto projected = [&](const Var& v, const char* name) {
    return matmul(v, g.find(cat("cross/", name, "/weights"))) +
           g.find(cat("cross/", name, "/biases"));
  };
  const Var by_hand =
      projected(nn::dot_product_attention(projected(x, "query"), projected(memory, "key"),
                                          projected(memory, "value"), there, {.heads = 2}),
                "output");
  const std::vector<Feed> feeds{{x, draw({2, 3, 6}, f64, -1, 1, 1)},
                                {memory, draw({2, 4, 3}, f64, -1, 1, 2)},
                                {there, draw({2, 4}, boolean, 0, 1, 3)}};
  const auto r = Session(g, {}, one_thread()).run(Vars{y, by_hand}, feeds);
  CHECK(distance(r[0], r[1]) < 1e-14);
  CHECK(nn::multi_head_attention(x, x, {.heads = 3, .causal = true}, "self").shape() == x.shape());
  CHECK(code_of([&] { nn::multi_head_attention(x, x, {.heads = 4}, "odd"); }) ==
        "multi_head_attention.units.heads");
  CHECK(code_of([&] { nn::dot_product_attention(x, x, x, {}, {.heads = 4}); }) ==
        "dot_product_attention.queries.dim");
}

}  // namespace rondo::test
