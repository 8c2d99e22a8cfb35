// Functions that build several nodes, or none: what they refuse says where they were called.
#include <functional>
#include <string>
#include <utility>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("what a builder refuses says where it was called", "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 6}), loose = g.placeholder("loose", f32, {"N"}),
            wrong = g.placeholder("wrong", f64, {}), image = g.placeholder("i", f32, {2, 4, 4, 6});
  const Var loss = sum(square(x));
  const Var many = g.placeholder("many", f32, {kLargestJacobian + 1});
  const std::pair<const char*, std::function<void()>> calls[] = {
      {"graph.name.taken", [&] { g.placeholder("x", f32, {}); }},
      {"layer.cell.missing", [&] { rnn::layer(x, {}, {}); }},
      {"conv_1d.filters.range", [&] { nn::conv_1d(x, 0, 3, "c"); }},
      {"conv_1d.x.dim", [&] { nn::conv_1d(loose, 16, 5, "c"); }},
      {"conv_1d.x.steps", [&] { nn::conv_1d(x, 16, 5, "c", {.stride = 2}); }},
      {"conv_2d.size.range", [&] { nn::conv_2d(image, 3, {0, 2}, "c"); }},
      {"dense.x.dim", [&] { nn::dense(loose, 3, "d"); }},
      {"dense.units.range", [&] { nn::dense(x, 0, "d"); }},
      {"multi_head_attention.units.heads",
       [&] { nn::multi_head_attention(x, x, {.heads = 4}, "a"); }},
      {"dense.x.dim", [&] { nn::multi_head_attention(x, loose, {.heads = 2}, "a"); }},
      {"dot_product_attention.key_mask.dtype",
       [&] { nn::multi_head_attention(x, x, {.heads = 2}, "b", sum(x, {.axes = {2}})); }},
      {"variational_dropout.x.rank", [&] { nn::variational_dropout(loose, 0.5); }},
      {"join_directions.last.rank", [&] { rnn::join_directions(x); }},
      {"vjp.cotangents.count", [&] { vjp({loss}, {}, {x}); }},
      {"vjp.cotangents.type", [&] { vjp({loss}, {wrong}, {x}); }},
      {"vjp.values.empty", [&] { vjp({loss}, {Var()}, {Var()}); }},
      {"gradients.loss.empty", [&] { gradients(Var(), {x}); }},
      {"gradients.loss.dtype", [&] { gradients(cast(loss, i32), {x}); }},
      {"gradients.loss.rank", [&] { gradients(x, {x}); }},
      {"jvp.tangents.count", [&] { jvp({loss}, {x}, {}); }},
      {"jvp.tangents.type", [&] { jvp({loss}, {x}, {wrong}); }},
      {"jvp.values.empty", [&] { jvp({loss}, {Var()}, {x}); }},
      {"hvp.directions.count", [&] { hvp(loss, {x}, {}); }},
      {"gradients.loss.rank", [&] { hvp(x, {x}, {x}); }},
      {"jacobian.y.empty", [&] { jacobian(Var(), {x}); }},
      {"jacobian.y.dtype", [&] { jacobian(cast(loss, i32), {x}); }},
      {"jacobian.y.symbolic", [&] { jacobian(x, {x}); }},
      {"jacobian.y.size", [&] { jacobian(many, {many}); }}};
  for (const auto& [code, call] : calls) {
    CAPTURE(code);
    std::string text;
    CHECK(code_of([&] {
            try {
              call();
            } catch (const Error& e) {
              text = e.what();
              throw;
            }
          }) == code);
    INFO(text);
    const size_t at = text.find("\n  built at tests/built_at.cc:");
    CHECK(at != std::string::npos);
    CHECK(text.rfind("built at") < at + 4);
  }
}
