// Two symbols may turn out to be one number, so what wants one and gets the other is compared once
// they are bound: for masks and weights as for any operand.
#include <functional>
#include <utility>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("an operand with its symbols the wrong way round is refused where they differ",
          "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 2}), y = g.placeholder("y", f32, {"T", "B"});
  const Var mask = g.placeholder("mask", boolean, {"B", "T"}), turned = cast(mask, f32);
  const nn::BatchNormInputs<Var> running{.running_mean = g.constant(Tensor(f32, {2})),
                                         .running_variance = g.constant(Tensor(f32, {2}))};
  auto masked = running;
  masked.mask = mask;
  const std::pair<const char*, Var> cases[] = {
      {"add.b.broadcast", y + turned},
      {"where.b.broadcast", where(mask, y, 0)},
      {"mean_squared_error.weights.broadcast", loss::mean_squared_error(y, y, {.weights = turned})},
      {"softmax_cross_entropy_dense.weights.broadcast",
       loss::softmax_cross_entropy_dense(x, x, {.weights = mask})},
      {"dot_product_attention.key_mask.dim", nn::dot_product_attention(x, x, x, mask)},
      {"batch_norm.mask.dim", nn::batch_norm(x, masked).y}};
  Session session(g);
  for (const auto& [code, v] : cases) {
    CAPTURE(code);
    const auto run = [&, result = v](int64_t steps, int64_t rows) {
      return code_of([&] {
        session.run(result, {{x, Tensor(f32, {steps, rows, 2})},
                             {y, Tensor(f32, {steps, rows})},
                             {mask, Tensor(boolean, {rows, steps})}});
      });
    };
    CHECK(run(3, 3).empty());
    CHECK(run(3, 2) == code);
  }
}
