// Stacking, strides, tiles, turns and shifts: NumPy's bounds, symbols in every place, padding that
// stays where it is.
#include <rondo/ops/arrange.h>

#include <cmath>

#include "cpu_check.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/ranges.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

namespace rondo::test {
namespace {

using Numbers = std::vector<double>;
using Bound = std::optional<Dim>;

// Python's list(range(n))[begin:end:step], by walking.
Numbers walked(int64_t n, std::optional<int64_t> begin, std::optional<int64_t> end, int64_t step) {
  const auto place = [&](int64_t v) { return v < 0 ? v + n : v; };
  Numbers r;
  for (int64_t i = begin ? place(*begin) : step > 0 ? 0 : n - 1;; i += step) {
    // Before the first and behind the last element: walk on until inside, or for ever outside.
    const int64_t stop = end ? place(*end) : step > 0 ? n : -1;
    if (step > 0 ? i >= stop || i >= n : i <= stop || i < 0) return r;
    if (i >= 0 && i < n) {
      r.push_back(static_cast<double>(i));
    } else if (step > 0 ? i < 0 : i >= n) {
      i = (step > 0 ? 0 : n - 1) - step;  // NumPy cuts such a begin to the end of the axis
    }
  }
}

TEST_CASE("slice with a step takes what NumPy takes, for all bounds", "[arrange]") {
  size_t cases = 0;
  std::vector<std::optional<int64_t>> bounds{std::nullopt};
  for (int64_t b = -6; b <= 6; ++b) bounds.emplace_back(b);
  const auto dim = [](const std::optional<int64_t>& b) { return b ? Bound(Dim(*b)) : Bound(); };
  for (int64_t n = 0; n <= 4; ++n) {
    const Tensor x = n == 0 ? Tensor(f64, {0}) : range(f64, 0, static_cast<double>(n));
    for (const int64_t step : {1, 2, 3, -1, -2, -3}) {
      for (const auto& begin : bounds) {
        for (const auto& end : bounds) {
          CAPTURE(n, step, begin.value_or(99), end.value_or(99));
          REQUIRE(values(slice(x, 0, dim(begin), dim(end), step)) == walked(n, begin, end, step));
          ++cases;
        }
      }
    }
  }
  CHECK(cases == 5 * 6 * 14 * 14);
}

TEST_CASE("slices of a symbol's axis, also backwards, keep their polynomial, and their gradient",
          "[arrange]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", 2});
  const Var twice = concat<Var>({x, x}, 0);
  const auto shape = [](const Var& v) { return to_string(v.shape()); };
  const Var back = slice(x, 0, {}, {}, -1), tail = slice(x, 0, -2, {}, 1),
            odd = slice(twice, 0, 1, 2 * Dim("T") + 1, 2),
            beyond = slice(twice, 0, 2, 2 * Dim("T") + 2, 2);
  CHECK(shape(back) == "[T,2]");
  CHECK(shape(tail) == "[2,2]");
  CHECK(shape(odd) == "[T,2]");
  CHECK(refusal_of([&] { slice(x, 0, {}, {}, 2); }).code == "slice.bounds.symbol");
  CHECK(refusal_of([&] { slice(x, 0, 0, 1, 0); }).code == "slice.step.zero");
  CHECK(refusal_of([&] { slice(x, 2, 0, 1, 1); }).code == "slice.axis.range");

  Session s(g);
  const Tensor t = Tensor::of<double>({3, 2}, {1, 2, 3, 4, 5, 6});
  CHECK(values(s.run(back, {{x, t}})) == Numbers{5, 6, 3, 4, 1, 2});
  CHECK(values(s.run(tail, {{x, t}})) == Numbers{3, 4, 5, 6});
  CHECK(values(s.run(odd, {{x, t}})) == Numbers{3, 4, 1, 2, 5, 6});
  CHECK(s.run(back, {{x, Tensor(f64, {0, 2})}}).dims() == Dims{0, 2});
  CHECK(refusal_of([&] { s.run(tail, {{x, Tensor(f64, {1, 2})}}); }).code ==
        "strided_slice.begin_count.range");
  CHECK(refusal_of([&] { s.run(beyond, {{x, t}}); }).code == "strided_slice.begin_count.range");

  const Var ok = slice(twice, 0, {}, {}, 2), turned = slice(twice, 0, 2 * Dim("T") - 1, {}, -2);
  Vars loss;
  for (const Var& v : {back, ok, turned}) loss.push_back(gradients(sum(v * v * 0.5), {x})[0]);
  Session again(g);
  for (const int64_t steps : {0, 1, 4}) {
    const Tensor v = drawn(f64, {steps, 2}, 5);
    // Every element of `back` once; of `twice`, which holds each twice, every second one.
    const std::vector<Tensor> d = again.run(loss, {{x, v}});
    CHECK(d[0].same_bits(v));
    for (int64_t i = 0; i < v.size(); ++i) {
      const int64_t row = i / 2;
      const double even = (row % 2 == 0 ? 1 : 0) + ((row + steps) % 2 == 0 ? 1 : 0);
      CHECK(d[1].at(i) == even * v.at(i));
      CHECK(d[2].at(i) == (2 - even) * v.at(i));
    }
  }
}

TEST_CASE("stack and unstack with symbols beside the axis; one in it is refused", "[arrange]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 3});
  const Var y = stack<Var>({x, x + 1, x + 2}, -1);
  CHECK(to_string(y.shape()) == "[B,3,3]");
  const Vars parts = unstack(y, 2);
  const Tensor t = drawn(f32, {2, 3}, 1);
  CHECK(parts.size() == 3);
  CHECK(Session(g).run(parts[0], {{x, t}}).same_bits(t));
  CHECK(refusal_of([&] { unstack(x); }).code == "unstack.x.symbol");
  CHECK(refusal_of([&] { unstack(Tensor(f32, {4097, 1})); }).code == "unstack.x.parts");
  CHECK(unstack(Tensor(f32, {4096, 1})).size() == 4096);
  CHECK_FALSE(refusal_of([&] { stack<Var>({}, 0); }).code == "");
}

TEST_CASE("tile by a symbol, and its gradient", "[arrange]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 2});
  const Var like = g.placeholder("like", f64, {"N"});
  const Var y = tile(x, {"N", 2});
  CHECK(to_string(y.shape()) == "[B*N,4]");
  const Var d = gradients(sum(y) + sum(like), {x})[0];
  const auto r = Session(g).run(
      Vars{y, d}, {{x, Tensor::of<double>({1, 2}, {1, 2})}, {like, Tensor(f64, {3})}});
  CHECK(values(r[0]) == Numbers{1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2});
  CHECK(values(r[1]) == Numbers{6, 6});
}

TEST_CASE("reverse_sequence turns each row's own steps and leaves its padding", "[arrange]") {
  const double nan = std::nan("");
  const Tensor x = Tensor::of<double>({3, 2}, {1, 2, 3, 4, nan, 6});
  const Tensor y = reverse_sequence(x, Tensor::of<int32_t>({2}, {2, 3}));
  CHECK(values(slice(y, 1, 1, 2)) == Numbers{6, 4, 2});
  CHECK((y.at(0) == 3 && y.at(2) == 1 && std::isnan(y.at(4))));
  for (const double bad : {-1.0, 4.0}) {
    const Tensor lengths = Tensor::full(i32, {2}, bad);
    for (const Backend* b : {&reference_backend(), &cpu_backend()})
      CHECK(refusal_of([&] { run_kernel(*b, "reverse_sequence", {x, lengths}); }).code ==
            "reverse_sequence.lengths.range");
  }
}

TEST_CASE("roll wraps round, however far", "[arrange]") {
  const Tensor x = Tensor::of<double>({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(values(roll(x, 1, 1)) == Numbers{3, 1, 2, 6, 4, 5});
  CHECK(values(roll(x, -4, 1)) == Numbers{2, 3, 1, 5, 6, 4});
  CHECK(roll(x, 300000000000000, -1).same_bits(x));
  CHECK(values(roll(x, 3)) == Numbers{4, 5, 6, 1, 2, 3});
}

TEST_CASE("cpu_arrange_kernels_in_every_dtype") {
  for (const DType t : {f32, f64, bf16, f16, i32, i64, boolean}) {
    for (const int64_t axis : {0, 1, -1}) {
      const Tensor x = drawn(t, {5, 6, 5}, 1);
      for (const auto& [begin, count, step] :
           {std::tuple(0, 3, 2), {4, 5, -1}, {4, 2, -3}, {1, 1, 7}, {9, 0, 1}})
        agrees("strided_slice", {x},
               {{"axis", axis}, {"begin_count", Shape{begin, count}}, {"step", step}},
               {"cpu.strided_slice"});
      for (const int64_t shift : {0, 1, -1, 17})
        agrees("roll", {x}, {{"axis", axis}, {"shift", shift}}, {"cpu.roll"});
    }
    for (const auto& [time, batch] : {std::pair(0, 1), {1, 0}, {2, 0}, {0, 2}, {1, 2}, {2, 1}}) {
      const Tensor x = drawn(t, {4, 5, 6}, 2);
      const int64_t rows = x.dims()[static_cast<size_t>(batch)];
      agrees("reverse_sequence", {x, drawn(i32, {rows}, 3, 0, 5)},
             {{"time_axis", time}, {"batch_axis", batch}}, {"cpu.reverse_sequence"});
    }
  }
  const Attributes turned{{"begin_count", Shape{699, 700}}, {"step", -1}};
  agrees("strided_slice", {drawn(f32, {700, 300}, 1)}, turned, {"cpu.strided_slice"});
  agrees("roll", {drawn(f32, {700, 300}, 1)}, {{"axis", 1}, {"shift", 100}}, {"cpu.roll"});
  agrees("reverse_sequence", {drawn(f32, {90, 70, 40}, 1), drawn(i64, {70}, 2, 0, 91)}, {},
         {"cpu.reverse_sequence"});
}

}  // namespace
}  // namespace rondo::test
