// Weights of recurrences in fewer bits.
#include <algorithm>
#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "cpu_check.h"
#include "low_product.h"
#include "tile_model.h"
#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

const int64_t kSizes[][3] = {{1, 1, 1},   {1, 33, 130}, {2, 64, 64}, {3, 7, 17},
                             {6, 16, 65}, {13, 5, 200}, {8, 0, 3},   {17, 129, 48}};

// On each instruction set, AMX included: where the machine has none, on its model.
template <class F>
void on_each_unit(F&& f) {
  on_each_isa(f);
  const IsaGuard guard;
  cpu::force_tiles(tile_model());
  INFO("on the model of AMX");
  f();
}

TEST_CASE("products in bf16 and int8 are those of rounded operands", "[precision]") {
  on_each_unit([] {
    for (const auto& [rows, k, n] : kSizes) {
      for (const bool transposed : {false, true}) {
        for (const Precision low : {Precision::bf16, Precision::int8}) {
          LowProduct p(rows, k, n);
          p.run(low, transposed);
          CHECK(p.wrong() == "");
        }
      }
    }
  });
}

TEST_CASE("NaN and infinities go through products in fewer bits", "[precision]") {
  on_each_unit([] {
    for (const Precision low : {Precision::bf16, Precision::int8}) {
      for (const float strange : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
        for (const int64_t at : {int64_t{0}, int64_t{18}}) {
          LowProduct p(3, 19, 20);
          p.a.mutable_data<float>()[19 + at] = strange;
          p.run(low);
          for (int64_t j = 0; j < 20; ++j) {
            CHECK(std::isfinite(p.got(0, j)));
            CHECK(!std::isfinite(p.got(1, j)));
            CHECK(std::isfinite(p.got(2, j)));
          }
        }
      }
    }
  });
}

TEST_CASE("a weight that is NaN shows in int8, and one of zeros does no harm", "[precision]") {
  on_each_unit([] {
    LowProduct p(7, 19, 20);
    for (int64_t i = 0; i < 19; ++i) p.w.mutable_data<float>()[i * 20 + 3] = 0;
    for (int64_t i = 0; i < 19; ++i) p.w.mutable_data<float>()[i * 20 + 4] = 1e-40F;
    p.w.mutable_data<float>()[5 * 20 + 6] = std::nanf("");
    p.run(Precision::int8);
    for (int64_t r = 0; r < 7; ++r) {
      CHECK(p.got(r, 3) == static_cast<float>(p.start(r, 3)));
      CHECK(std::abs(p.got(r, 4) - p.start(r, 4)) < 1e-6);
      CHECK(std::isnan(p.got(r, 6)));
      CHECK(std::isfinite(p.got(r, 7)));
    }
  });
}

TEST_CASE("gradients of any loop keep weights in f32 under int8", "[precision]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {5, 4, 8}),
            w = g.variable("w", draw({8, 8}, f32, -1, 1, 2));
  const auto r = recurrence({.states = {fill(g, f32, {4, 8}, 0)}, .xs = {x}},
                            [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                              const Var h = tanh(xs[0] + matmul(s[0], w));
                              return {{h}, {h}};
                            });
  const std::string told =
      Session(g, {.precision = Precision::int8}).explain({gradients(sum(r.ys[0]), {x})[0]});
  INFO(told);
  const size_t first = told.find("weights in int8");
  CHECK(first != std::string::npos);
  CHECK(told.find("weights in int8", first + 1) == std::string::npos);
  CHECK(told.find("backwards; a gradient") != std::string::npos);
}

TEST_CASE("an LSTM with weights in fewer bits is near the one in f32", "[precision]") {
  const Trained t = trained_lstm(9, 48, true);
  const auto run = [&](Precision p) {
    return Session(t.g, {.precision = p}, one_thread()).run(t.fetches, t.feeds);
  };
  const auto full = run(Precision::full), half = run(Precision::bf16), low = run(Precision::int8);
  // bf16 keeps 8 bits, int8 seven of the largest; the cell sums 88 products of numbers below 1.
  CHECK(distance(half[0], full[0]) < 0.01);
  CHECK(distance(half[0], full[0]) > 1e-5);
  CHECK(distance(low[0], full[0]) < 0.03);
  CHECK(distance(low[0], full[0]) > 1e-5);
  for (size_t i = 1; i < full.size(); ++i) {
    double size = 0;
    for (int64_t k = 0; k < full[i].size(); ++k) size = std::max(size, std::abs(full[i].at(k)));
    CHECK(distance(half[i], full[i]) < 0.02 * size);
  }
  const std::string told = Session(t.g, {.precision = Precision::int8}).explain(t.fetches);
  CHECK(told.find("weights in int8") != std::string::npos);
  // f64 has no such form.
  Graph g;
  const Var x = g.placeholder("x", f64, {3, 2, 4});
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "l", 4, 5, FWD, f64)).y;
  const std::vector<Feed> feeds{{x, draw({3, 2, 4}, f64, -1, 1, 8)}};
  CHECK(
      Session(g, {.precision = Precision::bf16}).run(y, feeds).same_bits(Session(g).run(y, feeds)));
}

}  // namespace
}  // namespace rondo::test
