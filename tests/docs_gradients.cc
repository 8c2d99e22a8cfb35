// Code that docs/gradients.md shows, compiled, run, and held to what the page says of it.
// tests/check_docs.py holds the page to this file.
#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "docs_data.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

// clang-format off
TEST_CASE("gradients: in a graph", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f64, {"B", 3});
  Var w = g.variable("w", init::glorot_uniform(g, {3, 2}, 3, 2, f64));
  Var y = tanh(matmul(x, w));  // [B,2]
  Var loss = mean(square(y));

  Vars d = gradients(loss, {x, w});                  // d loss / d x [B,3], d loss / d w [3,2]
  Var penalty = sum(square(d[0]));                   // a gradient as part of a loss
  Vars second = gradients(loss + penalty, {w});

  Var v = g.placeholder("v", f64, {3, 2});  // a direction for w
  Var along = jvp({y}, {w}, {v})[0];        // how y changes, [B,2]
  Var curved = hvp(loss, {w}, {v})[0];      // [3,2]

  const Tensor recurrent = ramp({4, 4}, f64);
  Var state = g.placeholder("state", f64, {4});
  Var next = tanh(matmul(reshape(state, {1, 4}), g.constant(recurrent)));
  Var j = jacobian(next, {state})[0];  // j: [1,4,4]
  CHECK(j.shape() == Shape{1, 4, 4});

  // The same by steps along v.
  Session session(g);
  const Tensor xs = ramp({5, 3}, f64), direction = ramp({3, 2}, f64);
  const Tensor start = session.variables().value("w");
  const auto at = [&](double h) {
    session.variables().commit({{"w", start + direction * h}});
    return session.run({y, d[1]}, {{x, xs}});
  };
  const auto r = session.run({along, curved, second[0], j}, {{x, xs}, {v, direction}, {state, ramp({4}, f64)}});
  const auto above = at(1e-5), below = at(-1e-5);
  for (const size_t k : {0, 1}) {
    CHECK(r[k].dims() == above[k].dims());
    for (int64_t i = 0; i < r[k].size(); ++i)
      CHECK(std::abs(r[k].at(i) - (above[k].at(i) - below[k].at(i)) / 2e-5) < 1e-8);
  }
  // Element [0,k,i] is (1 - next_k^2) recurrent[i,k].
  const Tensor now = tanh(matmul(ramp({1, 4}, f64), recurrent));
  for (int64_t k = 0; k < 4; ++k) {
    for (int64_t i = 0; i < 4; ++i)
      CHECK(std::abs(r[3].at(4 * k + i) - (1 - now.at(k) * now.at(k)) * recurrent.at(4 * i + k)) < 1e-12);
  }
}

TEST_CASE("gradients: of functions of tensors", "[docs]") {
  auto f = [](const Vars& in) { return sum(square(in[0]) * in[1]); };
  Tensor a = Tensor::of<double>({3}, {1, 2, 3});
  Tensor scale = Tensor::scalar(f64, 2);
  std::vector<Tensor> by = gradients(f, {a, scale});    // {4, 8, 12} and 14
  auto [value, both] = value_and_gradients(f, {a, scale});  // 28 beside them
  CHECK(by[0] == Tensor::of<double>({3}, {4, 8, 12}));
  CHECK(by[1].item() == 14);
  CHECK(value.item() == 28);
  CHECK(both == by);

  auto [values, pull] = vjp([](const Vars& in) { return in[0] * in[1]; }, {a, scale});
  std::vector<Tensor> back = pull({Tensor::of<double>({3}, {1, 0, -1})});  // {2, 0, -2} and -2
  auto forward = jvp(f, {a, scale}, {Tensor(), Tensor::scalar(f64, 1)});  // forward.tangents[0] is 14
  CHECK(values[0] == Tensor::of<double>({3}, {2, 4, 6}));
  CHECK(back[0] == Tensor::of<double>({3}, {2, 0, -2}));
  CHECK(back[1].item() == -2);
  CHECK(forward.tangents[0].item() == 14);

  Tensor curved = hvp(f, {a, scale}, {Tensor::of<double>({3}, {1, 0, 0}), Tensor()})[0];  // {4, 0, 0}
  Tensor whole = jacobian([](const Vars& in) { return in[0] * in[1]; }, {a, scale})[1];  // [3]: {1, 2, 3}
  CHECK(curved == Tensor::of<double>({3}, {4, 0, 0}));
  CHECK(whole == a);
}
// clang-format on
