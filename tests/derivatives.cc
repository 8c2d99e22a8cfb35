// Derivatives along a direction, Jacobians and products with second derivatives, in graphs and of
// functions of tensors. Those of every single op are in registry_tangents.cc.
#include <rondo/autodiff/derivatives.h>

#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/random.h>
#include <rondo/runtime/eager_gradients.h>

using namespace rondo;
using namespace rondo::test;

namespace {

Tensor row(const std::vector<double>& values) {
  return Tensor::of<double>({static_cast<int64_t>(values.size())}, values);
}

bool near(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  if (a.dims() != b.dims()) return false;
  for (int64_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a.at(i) - b.at(i)) <= tolerance * std::max(1.0, std::abs(b.at(i)))))
      return false;
  }
  return true;
}

// An LSTM over padded rows, its loss, and a direction for each of its weights.
struct Lstm {
  Graph g;
  Var x, lengths, loss;
  Vars weights, directions;
  std::vector<Feed> feeds;

  Lstm() {
    g.set_seed(5);
    x = g.placeholder("x", f64, {"T", "B", 2});
    lengths = g.placeholder("lengths", i32, {"B"});
    const auto r = rnn::lstm_layer(x, {.max_ts_length = lengths},
                                   rnn::lstm_layer_weights(g, "lstm", 2, 3, BIDIR_CONCAT, f64),
                                   {.direction_mode = BIDIR_CONCAT});
    loss = sum(square(r.y)) + mean(sin(r.y));
    weights = g.trainable();
    for (size_t i = 0; i < weights.size(); ++i)
      directions.push_back(g.constant(draw(bind(weights[i].shape(), {}), f64, -1, 1, 50 + i)));
    feeds = {{x, draw({4, 2, 2}, f64, -1, 1, 9)}, {lengths, Tensor::of<int32_t>({2}, {4, 2})}};
  }

  // Values of `fetches` with the weights moved by h times their directions.
  std::vector<Tensor> moved(const Vars& fetches, double h) const {
    Session s(g, {}, one_thread());
    Updates step;
    for (size_t i = 0; i < weights.size(); ++i)
      step.push_back({weights[i], weights[i] + h * directions[i]});
    s.run_and_update({}, step, {});
    return s.run(fetches, feeds);
  }
};

}  // namespace

TEST_CASE("jvp of several values by several others", "[derivatives]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {2}), y = g.placeholder("y", f64, {2});
  const Var n = g.placeholder("n", i32, {2});
  const Var a = x * y, b = sum(sin(x));
  const Vars t = jvp({a, b, n, x, y * 2}, {x}, {g.constant(row({1, -1}))});
  CHECK_FALSE(t[2]);  // integers
  CHECK_FALSE(t[4]);  // does not depend on x
  Session s(g, {}, one_thread());
  const auto r = s.run({t[0], t[1], t[3]}, {{x, row({0.5, 2})}, {y, row({3, 4})}});
  CHECK(r[0] == row({3, -4}));
  CHECK(std::abs(r[1].item() - (std::cos(0.5) - std::cos(2.0))) < 1e-15);
  CHECK(r[2] == row({1, -1}));
  CHECK_FALSE(jvp({a}, {x}, {Var()})[0]);
}

TEST_CASE("jvp and hvp through a layer over time agree with central differences", "[derivatives]") {
  const Lstm m;
  const Vars along = jvp({m.loss}, m.weights, m.directions);
  const Vars products = hvp(m.loss, m.weights, m.directions);
  // Of third order: the gradient of the second derivative along the direction.
  const Vars twice = jvp(along, m.weights, m.directions);
  const Vars d = gradients(m.loss, m.weights);
  Vars fetches{along[0], twice[0], m.loss};
  fetches.insert(fetches.end(), products.begin(), products.end());
  fetches.insert(fetches.end(), d.begin(), d.end());
  const double h = 1e-5;
  const auto at = m.moved(fetches, 0), above = m.moved(fetches, h), below = m.moved(fetches, -h);
  const auto difference = [&](size_t k, int64_t e) {
    return (above[k].at(e) - below[k].at(e)) / (2 * h);
  };
  CHECK(std::abs(at[0].item() - difference(2, 0)) < 1e-7);
  CHECK(std::abs(at[1].item() - difference(0, 0)) < 1e-7);
  for (size_t i = 0; i < m.weights.size(); ++i) {
    for (int64_t e = 0; e < at[3 + i].size(); ++e)
      CHECK(std::abs(at[3 + i].at(e) - difference(3 + m.weights.size() + i, e)) < 1e-7);
  }
}

TEST_CASE("a jacobian has the rows of vjp and the columns of jvp", "[derivatives]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {2, 3}), w = g.placeholder("w", f64, {3, 2});
  const Var free = g.placeholder("free", f64, {"N"});
  const Var y = tanh(matmul(x, w)) + sum(free);
  const Vars j = jacobian(y, {x, w, free, g.placeholder("other", f64, {4})});
  CHECK(j[0].shape() == Shape{2, 2, 2, 3});
  CHECK(j[2].shape() == Shape{2, 2, "N"});
  CHECK(j[3].shape() == Shape{2, 2, 4});
  const Var v = g.constant(draw({3, 2}, f64, -1, 1, 1)),
            u = g.constant(draw({2, 2}, f64, -1, 1, 2));
  // J v and u J.
  const Var jv = reshape(matmul(reshape(j[1], {4, 6}), reshape(v, {6, 1})), {2, 2});
  const Var uj = reshape(matmul(reshape(u, {1, 4}), reshape(j[0], {4, 6})), {2, 3});
  const Var second = gradients(sum(square(j[0])), {w})[0];
  Session s(g, {}, one_thread());
  const std::vector<Feed> feeds{{x, draw({2, 3}, f64, -1, 1, 3)},
                                {w, draw({3, 2}, f64, -1, 1, 4)},
                                {free, row({1, 2, 3, 4, 5})}};
  const auto r =
      s.run({jv, jvp({y}, {w}, {v})[0], uj, vjp({y}, {u}, {x})[0], j[2], j[3], second}, feeds);
  CHECK(near(r[0], r[1]));
  CHECK(near(r[2], r[3]));
  CHECK(r[4] == Tensor::full(f64, {2, 2, 5}, 1));
  CHECK(r[5] == Tensor(f64, {2, 2, 4}));
  CHECK(check_gradients(g, {j[0]}, feeds, {.fixed = {free}}).problems.empty());
}

TEST_CASE("a jacobian of a scalar, of nothing, and through a layer over time", "[derivatives]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3});
  Session s(g, {}, one_thread());
  CHECK(s.run(jacobian(sum(square(x)), {x})[0], {{x, row({1, 2, 3})}}) == row({2, 4, 6}));
  CHECK(s.run(jacobian(slice(x, 0, 1, 1), {x})[0], {{x, row({1, 2, 3})}}).dims() == Dims{0, 3});

  // Its row k is the gradient of element k, also where a recurrence stands between.
  const Lstm m;
  Vars parts;
  for (const Var& w : m.weights) parts.push_back(sum(sin(w)) * m.loss);
  const Var y = concat<Var>({expand_dims(parts[0], 0), expand_dims(parts[1] * m.loss, 0)}, 0);
  const Vars j = jacobian(y, m.weights);
  Vars fetches = j;
  for (const int64_t k : {0, 1}) {
    for (const Var& d : gradients(sum(slice(y, 0, k, k + 1)), m.weights)) fetches.push_back(d);
  }
  Session session(m.g, {}, one_thread());
  const auto r = session.run(fetches, m.feeds);
  for (size_t i = 0; i < j.size(); ++i) {
    const int64_t n = r[i].size() / 2;
    for (int64_t e = 0; e < 2 * n; ++e) {
      const double want = r[j.size() * static_cast<size_t>(1 + e / n) + i].at(e % n);
      CHECK(std::abs(r[i].at(e) - want) <= 1e-12 * std::max(1.0, std::abs(want)));
    }
  }
}

TEST_CASE("jvp, hvp and jacobian of a loop that was written out", "[derivatives]") {
  Graph g;
  g.set_seed(2);
  const Var x = g.placeholder("x", f64, {12, 2, 3});
  const Var w = g.variable("w", init::uniform(g, {3, 3}, -0.6, 0.6, f64));
  const Var v = g.constant(draw({3, 3}, f64, -1, 1, 8));
  Var h = fill(g, f64, {2, 3}, 0);
  for (int64_t t = 0; t < 12; ++t) h = tanh(matmul(h, w) + reshape(slice(x, 0, t, t + 1), {2, 3}));
  const Var loss = sum(square(h));
  const Var along = jvp({h}, {w}, {v})[0], curved = hvp(loss, {w}, {v})[0],
            d = gradients(loss, {w})[0], j = jacobian(h, {w})[0];
  const Var product = reshape(matmul(reshape(j, {6, 9}), reshape(v, {9, 1})), {2, 3});
  Session s(g, {}, one_thread());
  const std::vector<Feed> feeds{{x, draw({12, 2, 3}, f64, -1, 1, 9)}};
  const auto r = s.run({along, curved, product}, feeds);
  const auto moved = [&](double by) {
    Session other(g, {}, one_thread());
    other.run_and_update({}, {{w, w + by * v}}, {});
    return other.run({h, d}, feeds);
  };
  const auto above = moved(1e-5), below = moved(-1e-5);
  for (const size_t k : {0, 1}) {
    for (int64_t e = 0; e < r[k].size(); ++e)
      CHECK(std::abs(r[k].at(e) - (above[k].at(e) - below[k].at(e)) / 2e-5) < 1e-7);
  }
  CHECK(near(r[2], r[0]));
}

TEST_CASE("derivatives of functions of tensors", "[derivatives][eager]") {
  const Tensor x = row({1, 2, 3});
  const auto r = value_and_gradients([](const Vars& v) { return sum(square(v[0]) * v[1]); },
                                     {x, Tensor::scalar(f64, 2)});
  CHECK(r.value.item() == 28);
  CHECK(r.gradients[0] == row({4, 8, 12}));
  CHECK(r.gradients[1].item() == 14);
  CHECK(gradients([](const Vars& v) { return sum(square(v[0])); }, {x})[0] == row({2, 4, 6}));

  const auto f = [](const Vars& v) { return Vars{v[0] * v[1], cast(v[0], i32), sum(v[0])}; };
  const Tensor two = row({2, 3, 4});
  const auto [values, pull] = vjp(f, {x, two});
  CHECK(values[0] == row({2, 6, 12}));
  CHECK(values[1] == Tensor::of<int32_t>({3}, {1, 2, 3}));
  const auto d = pull({row({1, 0, -1}), {}, Tensor::scalar(f64, 10)});
  CHECK(d[0] == row({12, 10, 6}));
  CHECK(d[1] == row({1, 0, -3}));
  CHECK(pull({row({1, 1, 1}), {}, {}})[0] == two);

  const auto along = jvp(f, {x, two}, {row({1, 0, 0}), {}});
  CHECK(along.values[0] == values[0]);
  CHECK(along.tangents[0] == row({2, 0, 0}));
  CHECK_FALSE(along.tangents[1]);
  CHECK(along.tangents[2].item() == 1);

  // An input that nothing depends on, and one of integers.
  const auto [y, back] = vjp([](const Vars& v) { return gather(v[0], v[1]); },
                             {x, Tensor::of<int32_t>({2}, {2, 0}), Tensor::scalar(f64, 5)});
  const auto by = back({row({1, 10})});
  CHECK(y[0] == row({3, 1}));
  CHECK(by[0] == row({10, 0, 1}));
  CHECK_FALSE(by[1]);
  CHECK(by[2].item() == 0);
}

TEST_CASE("hvp and jacobian of functions of tensors are those of graphs", "[derivatives][eager]") {
  const auto f = [](const Vars& v) { return sum(tanh(matmul(v[0], v[1])) * cast(v[2], f64)); };
  const Tensor x = draw({2, 3}, f64, -1, 1, 1), w = draw({3, 2}, f64, -1, 1, 2),
               n = Tensor::of<int32_t>({2}, {1, 3}), dw = draw({3, 2}, f64, -1, 1, 3);
  const auto h = hvp(f, {x, w, n}, {{}, dw, {}});
  const auto y = [](const Vars& v) { return tanh(matmul(v[0], v[1])) * cast(v[2], f64); };
  const auto j = jacobian(y, {x, w, n});

  Graph g;
  const Vars in{g.placeholder("x", f64, {2, 3}), g.placeholder("w", f64, {3, 2}),
                g.placeholder("n", i32, {2})};
  Vars want = hvp(f(in), {in[0], in[1]}, {Var(), g.constant(dw)});
  for (const Var& v : jacobian(y(in), {in[0], in[1]})) want.push_back(v);
  const auto r = Session(g, {}, one_thread()).run(want, {{in[0], x}, {in[1], w}, {in[2], n}});
  REQUIRE(h.size() == 3);
  REQUIRE(j.size() == 3);
  for (const size_t i : {0, 1}) {
    CHECK(near(h[i], r[i]));
    CHECK(near(j[i], r[2 + i]));
  }
  CHECK(j[1].dims() == Dims{2, 2, 3, 2});
  CHECK_FALSE(h[2]);  // integers
  CHECK_FALSE(j[2]);

  // Numbers of x^3 / 6: H = diag(x); an input that nothing depends on; a direction that is none.
  const auto cubic = [](const Vars& v) { return sum(v[0] * v[0] * v[0]) / 6; };
  const auto d = hvp(cubic, {row({1, 2, 3}), row({4})}, {row({1, 0, -1}), row({1})});
  CHECK(near(d[0], row({1, 0, -3})));
  CHECK(d[1] == row({0}));
  CHECK(hvp(cubic, {row({1, 2})}, {{}})[0] == row({0, 0}));
  CHECK(jacobian(cubic, {row({2}), row({4})})[1] == row({0}));
}

TEST_CASE("derivatives refuse what does not fit", "[derivatives]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {3}), y = square(x), loss = sum(y);
  const Var wrong = g.placeholder("wrong", f32, {3});
  CHECK(code_of([&] { jvp({y}, {x}, {}); }) == "jvp.tangents.count");
  CHECK(code_of([&] { jvp({y}, {x}, {wrong}); }) == "jvp.tangents.type");
  CHECK(code_of([&] { jvp({y}, {Var()}, {x}); }) == "jvp.values.empty");
  CHECK(code_of([&] { jvp({Var()}, {x}, {x}); }) == "vjp.values.empty");
  CHECK(code_of([&] { hvp(loss, {x}, {x, x}); }) == "hvp.directions.count");
  CHECK(code_of([&] { hvp(loss, {x}, {wrong}); }) == "hvp.directions.type");
  CHECK(code_of([&] { hvp(y, {x}, {x}); }) == "gradients.loss.rank");
  CHECK(code_of([&] { jacobian({}, {x}); }) == "jacobian.y.empty");
  CHECK(code_of([&] { jacobian(cast(y, i32), {x}); }) == "jacobian.y.dtype");
  CHECK(code_of([&] { jacobian(g.placeholder("t", f64, {"T"}), {x}); }) == "jacobian.y.symbolic");
  const Var large = g.placeholder("large", f64, {kLargestJacobian + 1});
  CHECK(code_of([&] { jacobian(large, {large}); }) == "jacobian.y.size");

  const auto f = [](const Vars& v) { return square(v[0]); };
  const Tensor t = row({1, 2});
  CHECK(code_of([&] { jvp(f, {t}, {}); }) == "jvp.tangents.count");
  CHECK(code_of([&] { jvp(f, {t}, {row({1})}); }) == "jvp.tangents.type");
  CHECK(code_of([&] { jvp(f, {Tensor()}, {t}); }) == "jvp.inputs.empty");
  CHECK(code_of([&] { vjp([](const Vars&) { return Var(); }, {t}); }) == "vjp.values.empty");
  CHECK(code_of([&] { vjp(f, {t}).pull({}); }) == "vjp.cotangents.count");
  CHECK(code_of([&] { vjp(f, {t}).pull({t.to(f32)}); }) == "vjp.cotangents.type");
  CHECK(code_of([&] { gradients(f, {t}); }) == "gradients.loss.rank");
  CHECK(code_of([&] { gradients([](const Vars& v) { return v; }, {t, t}); }) ==
        "value_and_gradients.f.count");
  const auto both = [](const Vars& v) { return Vars{sum(v[0]), sum(v[0])}; };
  CHECK(code_of([&] { hvp(both, {t}, {t}); }) == "hvp.f.count");
  CHECK(code_of([&] { hvp(f, {t}, {t}); }) == "gradients.loss.rank");
  CHECK(code_of([&] { hvp(f, {t}, {}); }) == "hvp.directions.count");
  CHECK(code_of([&] { hvp(f, {t}, {row({1})}); }) == "hvp.directions.type");
  CHECK(code_of([&] { hvp(f, {Tensor()}, {t}); }) == "hvp.inputs.empty");
  CHECK(code_of([&] { jacobian(both, {t}); }) == "jacobian.f.count");
  CHECK(code_of([&] { jacobian(f, {Tensor()}); }) == "jacobian.inputs.empty");
  CHECK(code_of([&] { jacobian([](const Vars& v) { return cast(v[0], i32); }, {t}); }) ==
        "jacobian.y.dtype");
}
