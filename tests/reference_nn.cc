#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/backends/reference/reference.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/loss.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/random.h>
#include <rondo/ops/reduce.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using test::run_graph;
using test::values;
using Numbers = std::vector<double>;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const Backend& backend() { return reference_backend(); }
Tensor run(std::string_view op, const std::vector<Tensor>& inputs, Attributes attributes = {},
           test::KernelRun how = {}) {
  return test::run_kernel(backend(), op, inputs, std::move(attributes), how)[0];
}
Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }
void check_close(const Tensor& got, const Numbers& want, double tolerance = 1e-14) {
  REQUIRE(got.size() == static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i)
    CHECK_THAT(got.at(static_cast<int64_t>(i)), WithinAbs(want[i], tolerance));
}

}  // namespace

TEST_CASE("softmax of large numbers neither overflows nor loses its sum", "[reference][nn]") {
  Graph g;
  const Var x = g.constant(doubles({3, 2}, {1000, 1000, -1000, 0, 710, 711}));
  const double e = std::exp(1.0);
  check_close(run_graph(backend(), nn::softmax(x)), {0.5, 0.5, 0, 1, 1 / (1 + e), e / (1 + e)});
  check_close(run_graph(backend(), nn::log_softmax(x)),
              {-std::log(2.0), -std::log(2.0), -1000, 0, -std::log(1 + e), 1 - std::log(1 + e)});
  const Var y = g.constant(doubles({2, 2}, {0, std::log(3.0), std::log(3.0), 0}));
  check_close(run_graph(backend(), nn::softmax(y, 0)), {0.25, 0.75, 0.75, 0.25});
}

TEST_CASE("gradients of softmax, log_softmax and pick are those of their values",
          "[reference][nn]") {
  const Tensor at = doubles({2, 3}, {0.3, -1.2, 0.7, 2, 0.1, -0.4});
  const Tensor weights = doubles({2, 3}, {1, -2, 3, 0.5, 4, -1});
  const Tensor indices = Tensor::of<int32_t>({2}, {2, 0});
  using F = std::function<Var(const Var&)>;
  const auto constant = [](const Var& like, const Tensor& t) { return like.graph().constant(t); };
  for (const F& f :
       {F([&](const Var& x) { return sum(nn::softmax(x) * constant(x, weights)); }),
        F([&](const Var& x) { return sum(nn::softmax(x, 0) * constant(x, weights)); }),
        F([&](const Var& x) { return sum(nn::log_softmax(x) * constant(x, weights)); }),
        F([&](const Var& x) { return sum(square(nn::pick(x, constant(x, indices)))); }),
        F([&](const Var& x) { return loss::softmax_cross_entropy(x, constant(x, indices)); })}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {2, 3});
    const Var y = f(x);
    const Tensor d = run_graph(backend(), gradients(y, {x})[0], {{x, at}});
    for (int64_t i = 0; i < at.size(); ++i) {
      const double h = 1e-6;
      Tensor up = at, down = at;
      up.mutable_data<double>()[i] += h;
      down.mutable_data<double>()[i] -= h;
      const double slope = (run_graph(backend(), y, {{x, up}}).item() -
                            run_graph(backend(), y, {{x, down}}).item()) /
                           (2 * h);
      CHECK_THAT(d.at(i), WithinAbs(slope, 1e-8));
    }
  }
}

TEST_CASE("pick takes one element of each last axis", "[reference][nn]") {
  const Tensor x = doubles({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(values(run("pick", {x, Tensor::of<int64_t>({2, 2}, {1, 0, 0, 1})})) == Numbers{1, 2, 4, 7});
  CHECK(run("pick", {doubles({3}, {7, 8, 9}), Tensor::of<int32_t>({}, {2})}).item() == 9);
  const auto r =
      test::refusal_of([&] { run("pick", {x, Tensor::of<int32_t>({2, 2}, {0, 0, 2, 0})}); });
  CHECK(r.code == "pick.indices.range");
  CHECK(r.message == "[pick] indices[1,0] is 2, but must be in [0, 1]");
}

TEST_CASE("pick refuses indices of another shape when the graph is built", "[nn]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 4});
  const auto code = [&](const Shape& s) {
    return test::refusal_of([&] { nn::pick(x, g.placeholder("", i32, s)); }).code;
  };
  CHECK(code({"B", 1}) == "pick.indices.rank");
  CHECK(code({"B+1"}) == "pick.indices.dim");
  CHECK(code({"B"}).empty());
}

TEST_CASE("cross entropy is the mean of what the labels lack", "[reference][nn]") {
  Graph g;
  const Var logits = g.constant(doubles({2, 2}, {0, std::log(3.0), 1000, 0}));
  const Var labels = g.constant(Tensor::of<int64_t>({2}, {0, 1}));
  check_close(run_graph(backend(), loss::softmax_cross_entropy(logits, labels)),
              {(std::log(4.0) + 1000) / 2}, 1e-12);
  const Var wrong = g.constant(Tensor::of<int64_t>({2}, {0, 2}));
  CHECK(test::refusal_of([&] {
          run_graph(backend(), loss::softmax_cross_entropy(logits, wrong));
        }).code == "softmax_cross_entropy.labels.range");
}

TEST_CASE("check_range passes values and refuses one outside by name", "[reference][nn]") {
  const Tensor lengths = Tensor::of<int32_t>({3}, {0, 6, 7});
  const auto check = [&](int64_t low, int64_t high) {
    return run("check_range", {lengths},
               {{"bounds", Shape{low, high}}, {"what", "lstm_layer.max_ts_length"}});
  };
  CHECK(check(0, 7).same_bits(lengths));
  const auto above = test::refusal_of([&] { check(0, 6); });
  CHECK(above.code == "lstm_layer.max_ts_length.range");
  CHECK(above.message == "[lstm_layer] max_ts_length[2] is 7, but must be in [0, 6]");
  CHECK(test::refusal_of([&] { check(1, 7); }).message ==
        "[lstm_layer] max_ts_length[0] is 0, but must be in [1, 7]");
}

TEST_CASE("dimensions gives a shape as numbers", "[reference][nn]") {
  const Tensor y = run("dimensions", {}, {{"shape", Shape{5, 0, 2}}});
  CHECK(y.dtype() == i64);
  CHECK(values(y) == Numbers{5, 0, 2});
  CHECK(run("dimensions", {}, {{"shape", Shape{}}}).dims() == Dims{0});
  Graph g;
  CHECK(nn::dimensions(g, {"T", "B"}).shape() == Shape{2});
}

TEST_CASE("dropout is the identity when not training", "[reference][nn]") {
  const Tensor x = doubles({3}, {1, kNaN, -0.0});
  CHECK(run("dropout", {x}, {{"rate", 0.9}}).same_bits(x));
  CHECK(run("dropout", {x}, {{"rate", 0.0}}, {.training = true}).same_bits(x));
}

TEST_CASE("dropout keeps elements by its random numbers, scaled, and drops NaN",
          "[reference][nn]") {
  Tensor x = Tensor::full(f64, {100}, 3);
  x.mutable_data<double>()[1] = kNaN;
  const double rate = 0.4;
  const test::KernelRun how{.training = true, .seed = 9, .step = 4};
  const Tensor y = run("dropout", {x}, {{"rate", rate}, {"stream", 2}}, how);
  int kept = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const bool keep = uniform_at(9, 2, 4, static_cast<uint64_t>(i)) >= rate;
    kept += keep ? 1 : 0;
    if (i != 1) CHECK(y.at(i) == (keep ? 3 * (1 / (1 - rate)) : 0));
    if (i == 1) CHECK(std::isnan(y.at(i)) == keep);
  }
  CHECK(kept > 40);
  CHECK(kept < 80);
}

TEST_CASE("dropout keeps the mean, repeats itself, and changes with step, stream and seed",
          "[reference][nn]") {
  constexpr int64_t kCount = 40000;
  const Tensor x = Tensor::full(f32, {kCount}, 1);
  const auto drop = [&](uint64_t seed, int64_t stream, int64_t step) {
    return run("dropout", {x}, {{"rate", 0.25}, {"stream", stream}},
               {.training = true, .seed = seed, .step = step});
  };
  const Tensor y = drop(1, 0, 0);
  double mean = 0;
  for (const float v : y.values<float>()) mean += v / kCount;
  CHECK_THAT(mean, WithinAbs(1, 5 * std::sqrt(1.0 / 3 / kCount)));
  CHECK(y.same_bits(drop(1, 0, 0)));
  CHECK(!y.same_bits(drop(2, 0, 0)));
  CHECK(!y.same_bits(drop(1, 1, 0)));
  CHECK(!y.same_bits(drop(1, 0, 1)));
  const Tensor wide = run("dropout", {Tensor::full(f64, {kCount}, 1)}, {{"rate", 0.25}},
                          {.training = true, .seed = 1});
  CHECK(wide.to(f32).same_bits(y));  // the same mask in f64
}

TEST_CASE("the gradient of dropout passes where the value did", "[reference][nn]") {
  Graph g;
  const Var x = g.constant(Tensor::full(f64, {50}, 1));
  const Var y = nn::dropout(x, 0.5);
  const Var d = gradients(sum(y), {x})[0];
  const test::KernelRun how{.training = true, .seed = 3, .step = 8};
  CHECK(run_graph(backend(), d, {}, how).same_bits(run_graph(backend(), y, {}, how)));
}

TEST_CASE("each dropout has a stream of its own, and refuses a rate of 1", "[nn]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {3});
  CHECK(nn::dropout(x, 0.5).node().attributes.integer("stream") == 0);
  CHECK(nn::dropout(x, 0.5).node().attributes.integer("stream") == 1);
  for (const double rate : {1.0, -0.1, 1.5})
    CHECK(test::refusal_of([&] { nn::dropout(x, rate); }).code == "dropout.rate.range");
  CHECK(test::refusal_of([&] { nn::dropout(x, kNaN); }).code == "dropout.rate.nan");
}

TEST_CASE("dense makes weights of the graph's seed and biases of 0, in a scope", "[nn]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", 3});
  const Var y = nn::dense(x, 4, "speakers");
  CHECK(y.shape() == Shape{"T", "B", 4});
  const Tensor w = g.find("speakers/weights").node().attributes.tensor("initial");
  CHECK(w.dims() == Dims{3, 4});
  CHECK(w.dtype() == f64);
  CHECK(w.same_bits(init::glorot_uniform(Graph(), {3, 4}, 3, 4, f64)));
  CHECK(g.find("speakers/biases").node().attributes.tensor("initial").same_bits(Tensor(f64, {4})));
  CHECK(g.trainable().size() == 2);
  CHECK(test::refusal_of([&] { nn::dense(g.placeholder("", f32, {"B", "I"}), 4, "a"); }).code ==
        "dense.x.dim");
  CHECK(test::refusal_of([&] { nn::dense(x, 0, "b"); }).code == "dense.units.range");
}

TEST_CASE("dense is x weights + biases", "[reference][nn]") {
  Graph g;
  const Var x = g.constant(doubles({2, 2}, {1, 2, 3, 4}));
  const Var y = nn::dense(x, g.constant(doubles({2, 1}, {10, 1})), g.constant(doubles({1}, {0.5})));
  CHECK(values(run_graph(backend(), y)) == Numbers{12.5, 34.5});
}

TEST_CASE("dense in a body makes its variables in the outermost graph", "[nn]") {
  Graph g;
  Graph body = g.child();
  const Var x = body.placeholder("x", f32, {"R", 2});
  const Var y = nn::dense(x, 3, "cell");
  CHECK(y.graph() == body);
  CHECK(g.variables().size() == 2);
  CHECK(body.variables().empty());
  CHECK(body.captures().size() == 2);
}
