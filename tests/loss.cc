// Losses: their formulas, what weights leave out, reductions and smoothing. Gradients, refusals and
// eager calls are generated from the registry.
#include <rondo/ops/loss.h>

#include <cmath>
#include <limits>
#include <numbers>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "kernel_harness.h"
#include "registry_samples.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/reduce.h>
#include <rondo/runtime/eager_gradients.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using Catch::Matchers::WithinAbs;
using test::values;
using Numbers = std::vector<double>;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }
void check_close(const Tensor& got, const Numbers& want, double tolerance = 1e-12) {
  REQUIRE(got.size() == static_cast<int64_t>(want.size()));
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    CHECK_THAT(got.at(static_cast<int64_t>(i)), WithinAbs(want[i], tolerance));
  }
}

std::vector<const OpDef*> losses() {
  std::vector<const OpDef*> r;
  for (const OpDef* op : registry().all()) {
    if (op->family == "Losses") r.push_back(op);
  }
  return r;
}

bool of_rows(const OpDef& op) {
  return op.name.starts_with("softmax") || op.name == "kl_divergence" ||
         op.name == "cosine_distance";
}

// Predictions [3,4] and labels of an op.
struct Operands {
  Tensor predictions, labels;
};
Operands operands_of(const OpDef& op) {
  const Sample& s = op.samples.at(0);
  const auto drawn = [&](size_t i, Dims dims, uint64_t seed) {
    return test::draw(dims, s.inputs[i].dtype, s.inputs[i].low, s.inputs[i].high, seed);
  };
  const bool indices = is_integer(s.inputs[1].dtype);
  return {drawn(0, {3, 4}, 1), drawn(1, indices ? Dims{3} : Dims{3, 4}, 2)};
}

Tensor run(const OpDef& op, const Operands& o, const Tensor& weights, Attributes attributes = {}) {
  return apply(op.name, std::vector<Tensor>{o.predictions, o.labels, weights},
               std::move(attributes))[0];
}

// The loss of each element or row, by definition.
double log_sum_exp(const Tensor& x, int64_t row, int64_t n) {
  double sum = 0;
  for (int64_t v = 0; v < n; ++v) sum += std::exp(x.at(row * n + v));
  return std::log(sum);
}
Numbers by_definition(const std::string& op, const Operands& o) {
  const Tensor &p = o.predictions, &z = o.labels;
  const int64_t n = p.dims().back(), rows = p.size() / n;
  Numbers r;
  for (int64_t i = 0; i < p.size(); ++i) {
    const double d = p.at(i) - (is_float(z.dtype()) ? z.at(i) : 0);
    const double a = p.at(i), b = is_float(z.dtype()) ? z.at(i) : 0;
    if (op == "mean_squared_error") r.push_back(d * d);
    if (op == "mean_absolute_error") r.push_back(std::abs(d));
    if (op == "huber") r.push_back(std::abs(d) <= 1 ? d * d / 2 : std::abs(d) - 0.5);
    if (op == "log_cosh") r.push_back(std::log(std::cosh(d)));
    if (op == "hinge") r.push_back(std::max(0.0, 1 - (2 * b - 1) * a));
    if (op == "log_loss") r.push_back(-b * std::log(a + 1e-7) - (1 - b) * std::log(1 - a + 1e-7));
    if (op == "poisson") r.push_back(std::exp(a) - b * a);
    if (op == "sigmoid_cross_entropy") {
      const double q = 1 / (1 + std::exp(-a));
      r.push_back(-b * std::log(q) - (1 - b) * std::log(1 - q));
    }
  }
  if (!r.empty()) return r;
  for (int64_t row = 0; row < rows; ++row) {
    double l = op == "cosine_distance" ? 1 : 0;
    for (int64_t v = 0; v < n; ++v) {
      const int64_t i = row * n + v;
      const double log_p = p.at(i) - log_sum_exp(p, row, n);
      if (op == "softmax_cross_entropy") l -= z.at(row) == static_cast<double>(v) ? log_p : 0;
      if (op == "softmax_cross_entropy_dense") l -= z.at(i) * log_p;
      if (op == "kl_divergence") l += z.at(i) * (std::log(z.at(i)) - std::log(p.at(i)));
      if (op == "cosine_distance") l -= z.at(i) * p.at(i);
    }
    r.push_back(l);
  }
  return r;
}

}  // namespace

TEST_CASE("every loss is what its definition says, of each element or row", "[loss]") {
  size_t count = 0;
  for (const OpDef* op : losses()) {
    INFO(op->name);
    const Operands o = operands_of(*op);
    const Tensor l = run(*op, o, {}, {{"reduction", "NONE"}});
    CHECK(l.dims() == (of_rows(*op) ? Dims{3} : Dims{3, 4}));
    check_close(l, by_definition(op->name, o));
    ++count;
  }
  CHECK(count == 12);
}

TEST_CASE("every loss is reduced as its name says, by weights and by masks", "[loss]") {
  for (const OpDef* op : losses()) {
    INFO(op->name);
    const Operands o = operands_of(*op);
    const Tensor apart = run(*op, o, {}, {{"reduction", "NONE"}});
    const auto rows = static_cast<double>(apart.size());
    // A weight a row, and none at the second.
    const Dims dims = of_rows(*op) ? Dims{3} : Dims{3, 1};
    const Numbers w{0.5, 0, 3};
    Numbers weighted, masked;
    double sum = 0, sum_of_weights = 0, kept_sum = 0, kept = 0;
    const int64_t of_one = apart.size() / 3;
    for (int64_t i = 0; i < apart.size(); ++i) {
      const double v = w[static_cast<size_t>(i / of_one)];
      weighted.push_back(v * apart.at(i));
      masked.push_back(v == 0 ? 0 : apart.at(i));
      sum += weighted.back();
      kept_sum += masked.back();
      sum_of_weights += v;
      kept += v == 0 ? 0 : 1;
    }
    const auto is = [&](const Tensor& weights, const char* reduction, const Numbers& want) {
      CAPTURE(reduction);
      check_close(run(*op, o, weights, {{"reduction", reduction}}), want);
    };
    const Tensor floats = doubles(dims, w), mask = not_equal(floats, 0);
    is(floats, "NONE", weighted);
    is(floats, "SUM", {sum});
    is(floats, "MEAN", {sum / rows});
    is(floats, "MEAN_BY_WEIGHT", {sum / sum_of_weights});
    is(floats, "MEAN_BY_NONZERO_WEIGHT_COUNT", {sum / kept});
    is(mask, "NONE", masked);
    is(mask, "SUM", {kept_sum});
    is(mask, "MEAN", {kept_sum / rows});
    is(mask, "MEAN_BY_WEIGHT", {kept_sum / kept});
    is(mask, "MEAN_BY_NONZERO_WEIGHT_COUNT", {kept_sum / kept});
    is({}, "SUM", {test::values(rondo::sum(apart))[0]});
    for (const char* r : {"MEAN", "MEAN_BY_WEIGHT", "MEAN_BY_NONZERO_WEIGHT_COUNT"})
      is({}, r, {test::values(mean(apart))[0]});
  }
}

TEST_CASE("what is left out of a loss may hold NaN, and gets no gradient", "[loss]") {
  for (const OpDef* op : losses()) {
    for (const char* reduction :
         {"SUM", "MEAN", "MEAN_BY_WEIGHT", "MEAN_BY_NONZERO_WEIGHT_COUNT"}) {
      for (const bool as_mask : {true, false}) {
        CAPTURE(op->name, reduction, as_mask);
        Operands good = operands_of(*op), bad = good;
        const bool indices = is_integer(good.labels.dtype());
        for (int64_t v = 4; v < 8; ++v) bad.predictions.mutable_data<double>()[v] = kNaN;
        if (indices) {
          bad.labels.mutable_data<int32_t>()[1] = -100;
        } else {
          for (int64_t v = 4; v < 8; ++v) bad.labels.mutable_data<double>()[v] = kNaN;
        }
        Tensor w = doubles(of_rows(*op) ? Dims{3} : Dims{3, 1}, {0.5, 0, 3});
        if (as_mask) w = not_equal(w, 0);
        const auto value_and_slopes = [&](const Operands& o) {
          const test::OpGraph g =
              test::graph_of(*op, {{"reduction", reduction}}, {o.predictions, o.labels, w});
          Vars by{g.inputs[0]};
          if (!indices) by.push_back(g.inputs[1]);
          if (!as_mask) by.push_back(g.inputs[2]);
          Vars fetches = gradients(g.outputs[0], by);
          fetches.push_back(g.outputs[0]);
          return Session(g.graph).run(fetches, g.feeds);
        };
        const std::vector<Tensor> want = value_and_slopes(good), got = value_and_slopes(bad);
        for (size_t i = 0; i < want.size(); ++i) {
          CAPTURE(i);
          CHECK(std::isfinite(want[i].at(0)));
          CHECK(got[i].same_bits(want[i]));
        }
        for (int64_t v = 4; v < 8; ++v) CHECK(got[0].at(v) == 0);
        CHECK(got[0].at(0) != 0);
      }
    }
  }
}

TEST_CASE("a mean of losses over nothing is 0, and so is its gradient", "[loss]") {
  for (const OpDef* op : losses()) {
    for (const std::string& reduction : op->attributes.back().one_of) {
      if (reduction == "NONE") continue;
      CAPTURE(op->name, reduction);
      const Attributes a{{"reduction", reduction}};
      Operands o = operands_of(*op);
      const bool indices = is_integer(o.labels.dtype());
      const Operands none{Tensor(f64, {0, 4}), indices ? Tensor(i32, {0}) : Tensor(f64, {0, 4})};
      CHECK(run(*op, none, {}, a).item() == 0);
      for (const Tensor& w : {Tensor(f64, {1}), Tensor(boolean, {1})}) {
        CHECK(run(*op, o, w, a).item() == 0);
        const test::OpGraph g = test::graph_of(*op, a, {o.predictions, o.labels, w});
        const Tensor d = Session(g.graph).run(gradients(g.outputs[0], {g.inputs[0]})[0], g.feeds);
        CHECK(values(d) == Numbers(12, 0));
      }
    }
  }
}

TEST_CASE("the label of a step that a mask leaves out is not looked at", "[loss]") {
  Graph g;
  const Var logits = g.placeholder("logits", f64, {"T", "B", 3});
  const Var labels = g.placeholder("labels", i64, {"T", "B"});
  const Var all = loss::softmax_cross_entropy(logits, labels);
  const Var some = loss::softmax_cross_entropy(logits, labels, {.weights = not_equal(labels, -1)});
  CHECK(some.shape().empty());
  Session s(g);
  const Tensor x = test::draw({2, 2, 3}, f64, -1, 1, 4);
  const Feed fed{logits, x}, marked{labels, Tensor::of<int64_t>({2, 2}, {0, -1, 2, -1})};
  const double want = (-nn::log_softmax(x).at(0) - nn::log_softmax(x).at(8)) / 2;
  CHECK_THAT(s.run(some, {fed, marked}).item(), WithinAbs(want, 1e-14));
  const auto r = test::refusal_of([&] { s.run(all, {fed, marked}); });
  CHECK(r.code == "softmax_cross_entropy.labels.range");
  CHECK(r.message.find("[softmax_cross_entropy] labels[0,1] is -1, but must be in [0, 2]; 2 is the "
                       "last class") == 0);
}

TEST_CASE("smoothing shares out labels", "[loss]") {
  const Tensor x = test::draw({3, 4}, f64, -2, 2, 7);
  const Tensor labels = Tensor::of<int32_t>({3}, {2, 0, 3});
  const double s = 0.3;
  Tensor hot(f64, {3, 4}), smooth = Tensor::full(f64, {3, 4}, s / 4);
  for (const int64_t at : {2, 4, 11}) {
    hot.mutable_data<double>()[at] = 1;
    smooth.mutable_data<double>()[at] += 1 - s;
  }
  const double want = loss::softmax_cross_entropy_dense(x, smooth).item();
  CHECK_THAT(loss::softmax_cross_entropy(x, labels, {.label_smoothing = s}).item(),
             WithinAbs(want, 1e-14));
  CHECK_THAT(loss::softmax_cross_entropy_dense(x, hot, {.label_smoothing = s}).item(),
             WithinAbs(want, 1e-14));
  CHECK(loss::softmax_cross_entropy(x, labels).item() != want);
  Tensor towards_half = hot;
  for (int64_t i = 0; i < 12; ++i)
    towards_half.mutable_data<double>()[i] = hot.at(i) * (1 - s) + s / 2;
  CHECK_THAT(loss::sigmoid_cross_entropy(x, hot, {.label_smoothing = s}).item(),
             WithinAbs(loss::sigmoid_cross_entropy(x, towards_half).item(), 1e-14));
}

TEST_CASE("cross entropies and log_cosh neither overflow nor lose what is small", "[loss]") {
  const auto floats = [](std::initializer_list<float> v) {
    return Tensor::of<float>({static_cast<int64_t>(v.size())}, v);
  };
  const Tensor l = loss::sigmoid_cross_entropy(floats({20, -20, 1000, -1000}), floats({1, 0, 0, 1}),
                                               {.reduction = LossReduce::NONE});
  const double small = std::log1p(std::exp(-20.0));
  CHECK_THAT(l.at(0), WithinAbs(small, 1e-6 * small));
  CHECK_THAT(l.at(1), WithinAbs(small, 1e-6 * small));
  CHECK(l.at(2) == 1000);
  CHECK(l.at(3) == 1000);
  const Tensor far = loss::log_cosh(floats({1e30F, -1e30F, 3}), floats({0, 0, 3}),
                                    {.reduction = LossReduce::NONE});
  CHECK(far.at(0) == 1e30F);
  CHECK(far.at(1) == 1e30F);
  CHECK(far.at(2) == 0);

  constexpr float kEnd = std::numeric_limits<float>::infinity();
  const Tensor infinite = floats({kEnd, -kEnd, 0}), zero = floats({0, 0, 0});
  const Tensor at_ends = loss::log_cosh(infinite, zero, {.reduction = LossReduce::NONE});
  CHECK((at_ends.at(0) == kEnd && at_ends.at(1) == kEnd && at_ends.at(2) == 0));
  const auto total = [](const Vars& v) {
    return loss::log_cosh(v[0], v[1], {.reduction = LossReduce::SUM});
  };
  const std::vector<Tensor> slope = gradients(total, {infinite, zero});
  CHECK(slope[0] == floats({1, -1, 0}));
}

TEST_CASE("a label of 0 asks nothing of a distribution, a probability of 0 neither", "[loss]") {
  Graph g;
  const Var p = g.placeholder("p", f64, {2}), z = g.placeholder("z", f64, {2});
  const Var l = loss::kl_divergence(p, z);
  const Var of_log = loss::kl_divergence(log(p), z, {.log_input = true});
  const std::vector<Feed> feeds{{p, doubles({2}, {0, 1})}, {z, doubles({2}, {0, 1})}};
  Session s(g);
  CHECK(s.run(l, feeds).item() == 0);
  CHECK(s.run(of_log, feeds).item() == 0);
  check_close(s.run(gradients(l, {p})[0], feeds), {0, -1});
  check_close(s.run(gradients(l, {z})[0], feeds), {0, 1});
}

TEST_CASE("an axis in the middle, with weights that are broadcast to what is left", "[loss]") {
  const Tensor p = test::draw({2, 3, 4}, f64, 0.1, 1, 1), z = test::draw({2, 3, 4}, f64, 0.1, 1, 2);
  const Tensor mask = not_equal(doubles({4}, {1, 0, 1, 1}), 0);
  const Tensor got =
      loss::cosine_distance(p, z, {.weights = mask, .reduction = LossReduce::NONE, .axis = 1});
  REQUIRE(got.dims() == Dims{2, 4});
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t k = 0; k < 4; ++k) {
      double want = k == 1 ? 0 : 1;
      for (int64_t j = 0; j < 3 && k != 1; ++j)
        want -= p.at((i * 3 + j) * 4 + k) * z.at((i * 3 + j) * 4 + k);
      CHECK_THAT(got.at(i * 4 + k), WithinAbs(want, 1e-14));
    }
  }
}

TEST_CASE("poisson with the part that depends on labels alone is near the exact loss", "[loss]") {
  const Tensor log_rate = doubles({3}, {0.5, 2, 3}), count = doubles({3}, {1, 7, 30});
  const Tensor l = loss::poisson(log_rate, count, {.reduction = LossReduce::NONE, .full = true});
  for (int64_t i = 0; i < 3; ++i) {
    const double exact =
        std::exp(log_rate.at(i)) - count.at(i) * log_rate.at(i) + std::lgamma(count.at(i) + 1);
    CHECK_THAT(l.at(i), WithinAbs(exact, 0.02));
  }
  check_close(loss::poisson(doubles({2}, {2, 5}), doubles({2}, {0, 3}),
                            {.reduction = LossReduce::NONE, .log_input = false}),
              {2, 5 - 3 * std::log(5 + 1e-8)});
}

TEST_CASE("losses of halves are added up in f32", "[loss]") {
  const Tensor p = Tensor::full(f16, {4000}, 10), z = Tensor(f16, {4000});
  const Tensor l = loss::mean_squared_error(p, z);  // the sum is beyond f16, the count too
  CHECK(l.dtype() == f16);
  CHECK(l.item() == 100);
  const Tensor mask = not_equal(z, 1);
  CHECK(loss::mean_squared_error(p, z, {.weights = mask}).item() == 100);
}

TEST_CASE("weights of another dtype or shape are refused with what to write", "[loss]") {
  Graph g;
  const Var y = g.placeholder("y", f32, {"T", "B", 3});
  const auto said = [&](DType t, const Shape& s) {
    return test::refusal_of(
               [&] { loss::mean_squared_error(y, y, {.weights = g.placeholder("", t, s)}); })
        .message;
  };
  CHECK(said(i32, {"T", "B", 1}).find("cast(weights, f32)") != std::string::npos);
  CHECK(said(f32, {2, "T", "B", 3}).find("expand_dims(weights, -1)") != std::string::npos);
  CHECK(said(boolean, {"T", "B", 1}).empty());
  CHECK(said(f32, {}).empty());
}
