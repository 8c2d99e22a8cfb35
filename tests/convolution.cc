// Convolutions and poolings against plain loops over every option, with lengths that are symbols,
// and what they must not see.
#include <rondo/ops/convolution.h>

#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/patches.h>
#include <rondo/ops/pooling.h>

namespace rondo::test {
namespace {

using nn::Padding;
using Ints = std::vector<int64_t>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// One spatial axis, by the definition.
struct Axis {
  int64_t length, size, stride = 1, dilation = 1, before = 0, after = 0;
  int64_t reach() const { return (size - 1) * dilation + 1; }
  void pad(Padding p, Ints amounts = {}) {
    if (p == Padding::amounts) {
      before = amounts[0];
      after = amounts[1];
    } else if (p == Padding::causal) {
      before = reach() - 1;
    } else if (p == Padding::same) {
      const int64_t steps = (length + stride - 1) / stride;
      const int64_t missing = std::max<int64_t>(0, (steps - 1) * stride + reach() - length);
      before = missing / 2;
      after = missing - before;
    }
  }
  int64_t steps() const {
    int64_t n = 0;
    for (int64_t at = -before; at + reach() <= length + after; at += stride) ++n;
    return n;
  }
};

// f(position in y [B,P,Q], i, j, position in x) for each element under each window that lies on x.
template <class F>
void under_windows(int64_t batch, const Axis& h, const Axis& w, F&& f) {
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t p = 0; p < h.steps(); ++p) {
      for (int64_t q = 0; q < w.steps(); ++q) {
        for (int64_t i = 0; i < h.size; ++i) {
          for (int64_t j = 0; j < w.size; ++j) {
            const int64_t y = p * h.stride + i * h.dilation - h.before;
            const int64_t x = q * w.stride + j * w.dilation - w.before;
            if (y < 0 || y >= h.length || x < 0 || x >= w.length) continue;
            f((b * h.steps() + p) * w.steps() + q, i, j, (b * h.length + y) * w.length + x);
          }
        }
      }
    }
  }
}

Tensor conv_by_loops(const Tensor& x, const Tensor& k, const Tensor& biases, const Axis& h,
                     const Axis& w, int64_t groups) {
  const int64_t channels = x.dims().back(), filters = k.dims().back(), depth = channels / groups;
  Tensor y(f64, {x.dim(0) * h.steps() * w.steps(), filters});
  double* const to = y.mutable_data<double>();
  for (int64_t i = 0; i < y.size() && biases; ++i) to[i] = biases.at(i % filters);
  under_windows(x.dim(0), h, w, [&](int64_t place, int64_t i, int64_t j, int64_t from) {
    for (int64_t f = 0; f < filters; ++f) {
      const int64_t part = f / (filters / groups);
      for (int64_t d = 0; d < depth; ++d)
        to[place * filters + f] += x.at(from * channels + part * depth + d) *
                                   k.at(((i * w.size + j) * depth + d) * filters + f);
    }
  });
  return y;
}

double distance(const Tensor& got, const Tensor& want) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(got.at(i) - want.at(i));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

// The same call with B and T as symbols, or with T as stride * N.
Tensor with_symbols(const Tensor& x, int64_t stride, const std::function<Var(const Var&)>& f) {
  Graph g;
  Shape s = to_shape(x.dims());
  s[0] = "B";
  for (size_t a = 1; a + 1 < s.size(); ++a) s[a] = Dim(stride) * Dim::symbol(cat("N", a));
  const Var v = g.placeholder("x", x.dtype(), s);
  return Session(g, {}, one_thread()).run(f(v), {{v, x}});
}

}  // namespace

TEST_CASE("conv_1d is its definition, for each option", "[convolution]") {
  size_t calls = 0;
  for (const int64_t stride : {1, 2, 3}) {
    for (const int64_t dilation : {1, 2}) {
      for (const Padding padding :
           {Padding::valid, Padding::same, Padding::causal, Padding::amounts}) {
        for (const int64_t groups : {1, 2, 4}) {
          for (const int64_t length : {6, 12}) {
            const Ints amounts = padding == Padding::amounts ? Ints{3, 1} : Ints{};
            CAPTURE(stride, dilation, static_cast<int>(padding), groups, length);
            Axis h{length, 3, stride, dilation};
            h.pad(padding, amounts);
            const Tensor x = draw({2, length, 4}, f64, -1, 1, 1),
                         k = draw({3, 4 / groups, 8}, f64, -1, 1, 2), b = draw({8}, f64, -1, 1, 3);
            const nn::Conv1dOptions o{.stride = stride,
                                      .dilation = dilation,
                                      .groups = groups,
                                      .padding = padding,
                                      .amounts = amounts};
            const Tensor want = conv_by_loops(x, k, b, h, {1, 1}, groups);
            const Tensor got = nn::conv_1d(x, k, b, o);
            CHECK(got.dims() == Dims{2, h.steps(), 8});
            CHECK(distance(got, want) < 1e-13);
            const auto in_graph = [&](const Var& v) {
              return nn::conv_1d(v, v.graph().constant(k), v.graph().constant(b), o);
            };
            CHECK(distance(with_symbols(x, stride, in_graph), want) < 1e-13);
            ++calls;
          }
        }
      }
    }
  }
  CHECK(calls == 144);
}

TEST_CASE("conv_2d is its definition, for each option", "[convolution]") {
  for (const Padding padding : {Padding::valid, Padding::same, Padding::amounts}) {
    for (const int64_t groups : {1, 2}) {
      for (const int64_t dilation : {1, 2}) {
        for (const auto& strides : {std::array<int64_t, 2>{1, 1}, {2, 2}, {1, 3}}) {
          CAPTURE(static_cast<int>(padding), groups, dilation, strides[0], strides[1]);
          const Ints amounts = padding == Padding::amounts ? Ints{1, 2, 0, 3} : Ints{};
          Axis h{6, 3, strides[0], dilation}, w{6, 2, strides[1], 1};
          h.pad(padding, {1, 2});
          w.pad(padding, {0, 3});
          const Tensor x = draw({2, 6, 6, 4}, f64, -1, 1, 1),
                       k = draw({3, 2, 4 / groups, 6}, f64, -1, 1, 2);
          const nn::Conv2dOptions o{.strides = strides,
                                    .dilations = {dilation, 1},
                                    .groups = groups,
                                    .padding = padding,
                                    .amounts = amounts};
          const Tensor got = nn::conv_2d(x, k, {}, o);
          const Tensor want = conv_by_loops(x, k, {}, h, w, groups);
          CHECK(got.dims() == Dims{2, h.steps(), w.steps(), 6});
          CHECK(distance(got, want) < 1e-13);
          const int64_t both = strides[0] * strides[1] == 3 ? 3 : strides[0];
          const auto in_graph = [&](const Var& v) {
            return nn::conv_2d(v, v.graph().constant(k), {}, o);
          };
          CHECK(distance(with_symbols(x, both, in_graph), want) < 1e-13);
        }
      }
    }
  }
}

TEST_CASE("poolings are their definitions, and padding counts for nothing", "[convolution]") {
  for (const Padding padding : {Padding::valid, Padding::same, Padding::causal, Padding::amounts}) {
    for (const int64_t stride : {1, 2, 3}) {
      CAPTURE(static_cast<int>(padding), stride);
      const Ints amounts = padding == Padding::amounts ? Ints{2, 1} : Ints{};
      Axis h{6, 3, stride};
      h.pad(padding, amounts);
      const Tensor x = draw({2, 6, 3}, f64, -2, -1, 1);  // a padding of 0 would be the largest
      const Dims dims{2, h.steps(), 3};
      Tensor largest = Tensor::full(f64, dims, -HUGE_VAL), total(f64, dims), count(f64, dims);
      under_windows(2, h, {1, 1}, [&](int64_t place, int64_t, int64_t, int64_t from) {
        for (int64_t c = 0; c < 3; ++c) {
          double& top = largest.mutable_data<double>()[place * 3 + c];
          top = std::max(top, x.at(from * 3 + c));
          total.mutable_data<double>()[place * 3 + c] += x.at(from * 3 + c);
          count.mutable_data<double>()[place * 3 + c] += 1;
        }
      });
      const nn::Pool1dOptions o{.stride = stride, .padding = padding, .amounts = amounts};
      CHECK(nn::max_pool_1d(x, 3, o) == largest);
      CHECK(distance(nn::avg_pool_1d(x, 3, o), total / count) < 1e-15);
      const auto in_graph = [&](const Var& v) { return nn::avg_pool_1d(v, 3, o); };
      CHECK(distance(with_symbols(x, stride, in_graph), total / count) < 1e-15);
    }
  }
  const Tensor image = draw({1, 4, 6, 2}, f64, -1, 1, 2);
  const Tensor quarters = transpose(image.reshaped({2, 2, 3, 2, 2}), {0, 2, 1, 3, 4});
  CHECK(distance(nn::avg_pool_2d(image, {2, 2}), mean(quarters, {.axes = {2, 3}})) < 1e-15);
  CHECK(distance(nn::max_pool_2d(image, {2, 2}), reduce_max(quarters, {.axes = {2, 3}})) == 0);
  // Over a whole axis a pooling is a reduction.
  CHECK(distance(nn::max_pool_2d(image, {4, 6}), reduce_max(image, {.axes = {1, 2}})) == 0);
  const Tensor gap = Tensor::of<double>({1, 4, 1}, {1, kNan, 2, 3});
  const Tensor pooled = nn::max_pool_1d(gap, 2);
  CHECK((std::isnan(pooled.at(0)) && pooled.at(1) == 3));
  // The first of ties takes the gradient.
  Graph g;
  const Var x = g.placeholder("x", f64, {1, 4, 1});
  const Var d = gradients(sum(nn::max_pool_1d(x, 2)), {x})[0];
  CHECK(Session(g, {}, one_thread()).run(d, {{x, Tensor::full(f64, {1, 4, 1}, 1)}}) ==
        Tensor::of<double>({1, 4, 1}, {1, 0, 1, 0}));
}

TEST_CASE("a causal convolution does not see what comes later", "[convolution]") {
  Tensor x = draw({1, 8, 2}, f64, -1, 1, 1);
  const Tensor k = draw({3, 2, 2}, f64, -1, 1, 2);
  const nn::Conv1dOptions o{.dilation = 2, .padding = Padding::causal};
  const Tensor before = nn::conv_1d(x, k, {}, o);
  for (int64_t i = 10; i < 16; ++i) x.mutable_data<double>()[i] = kNan;
  const Tensor after = nn::conv_1d(x, k, {}, o);
  for (int64_t i = 0; i < 16; ++i)
    CHECK((i < 10 ? after.at(i) == before.at(i) : std::isnan(after.at(i))));
}

TEST_CASE("a length of a convolution that cannot be said, or is too short, is an Error that helps",
          "[convolution]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", "T", 4});
  const Var k = g.placeholder("k", f32, {3, 4, 2});
  const auto strided = [&] { nn::conv_1d(x, k, {}, {.stride = 2}); };
  CHECK(code_of(strided) == "conv_1d.x.steps");
  CHECK(text_of(strided).find("\"2*N\"") != std::string::npos);
  CHECK(code_of([&] { nn::max_pool_1d(x, 2, {.padding = Padding::same}); }) ==
        "max_pool_1d.x.steps");
  CHECK(code_of([&] { nn::conv_1d(x, g.placeholder("any", f32, {"K", 4, 2}), {}); }) ==
        "conv_1d.kernel.symbol");
  CHECK(nn::conv_1d(g.placeholder("odd", f32, {"B", "2*N+1", 4}), k, {}, {.stride = 2}).shape() ==
        Shape{"B", "N", 2});
  // T is known when it is bound.
  const Var y = nn::conv_1d(x, k, {});
  CHECK(y.shape() == Shape{"B", "T-2", 2});
  Session session(g, {}, one_thread());
  const auto run = [&](int64_t steps) {
    return session.run(y, {{x, Tensor(f32, {1, steps, 4})}, {k, Tensor(f32, {3, 4, 2})}});
  };
  CHECK(run(2).dims() == Dims{1, 0, 2});
  CHECK(code_of([&] { run(1); }) == "conv_1d.x.short");

  // A window over an empty axis would hold padding alone.
  const auto widely =
      nn::Pool1dOptions{.stride = 1, .padding = Padding::amounts, .amounts = {1, 1}};
  for (const bool largest : {false, true}) {
    const std::string code = largest ? "max_pool_1d.x.empty" : "avg_pool_1d.x.empty";
    const auto pool = [&](const auto& v) {
      return largest ? nn::max_pool_1d(v, 2, widely) : nn::avg_pool_1d(v, 2, widely);
    };
    CHECK(code_of([&] { pool(Tensor(f32, {1, 0, 4})); }) == code);
    CHECK(code_of([&] { pool(g.placeholder(cat("none", largest), f32, {"B", 0, 4})); }) == code);
    const Var pooled = pool(x);
    const auto at = [&](int64_t steps) {
      return session.run(pooled, {{x, Tensor(f32, {1, steps, 4})}}).dims();
    };
    CHECK(at(1) == Dims{1, 2, 4});
    CHECK(code_of([&] { at(0); }) == code);
  }
  CHECK(nn::max_pool_1d(Tensor(f32, {1, 0, 4}), 2, {.padding = Padding::same}).dims() ==
        Dims{1, 0, 4});

  CHECK(code_of([&] { nn::conv_1d(x, 8, 0, "none"); }) == "conv_1d.size.range");
  CHECK(code_of([&] { nn::conv_1d(x, 0, 3, "none"); }) == "conv_1d.filters.range");
  CHECK(code_of([&] { nn::conv_1d(x, 8, 3, "none", {.groups = 3}); }) == "conv_1d.groups.dim");
  CHECK(code_of([&] { nn::conv_2d(x, 8, {3, 3}, "none"); }) == "conv_2d.x.dim");
  CHECK(code_of([] {
          patches(Tensor(f32, {1, 2, 2, 1}), {.size = {INT64_MAX, 2}, .dilations = {4, 1}});
        }) == "shape.size.overflow");
}

TEST_CASE("convolutions of their own variables train, in every float dtype", "[convolution]") {
  for (const DType t : {f64, f32, bf16, f16}) {
    CAPTURE(t);
    Graph g;
    const Var x = g.placeholder("x", t, {"B", "4*N", 6, 1});
    Var y = nn::conv_2d(x, 4, {3, 3}, "first", {.strides = {2, 2}, .padding = Padding::same});
    y = nn::max_pool_2d(relu(y), {2, 1});
    y = nn::conv_1d(reshape(y, {"B", "N", 12}), 6, 3, "second",
                    {.groups = 2, .padding = Padding::causal});
    CHECK(y.shape() == Shape{"B", "N", 6});
    CHECK(g.find("first/kernel").shape() == Shape{3, 3, 1, 4});
    CHECK(g.find("second/kernel").shape() == Shape{3, 6, 6});
    const Vars by = g.trainable();
    CHECK(by.size() == 4);
    Vars fetches = gradients(sum(y * y), by);
    fetches.push_back(y);
    for (const Tensor& v :
         Session(g, {}, one_thread()).run(fetches, {{x, draw({2, 8, 6, 1}, t, -1, 1, 1)}})) {
      double size = 0;
      for (int64_t i = 0; i < v.size(); ++i) size += std::abs(v.at(i));
      CHECK((std::isfinite(size) && size > 0));
    }
  }
}

}  // namespace rondo::test
