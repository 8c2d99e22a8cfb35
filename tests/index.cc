// Elements by index, masks and ranges: axes other than the first, duplicates, bounds that are
// checked before anything is read or written.
#include <rondo/ops/index.h>

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

Tensor count_up(Dims dims) {
  Tensor t(f64, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<double>()[i] = static_cast<double>(i);
  return t;
}

TEST_CASE("gather along an axis puts the indices' axes in its place", "[index]") {
  const Tensor x = count_up({2, 3, 4});
  const Tensor at = Tensor::of<int32_t>({2, 2}, {2, 0, 1, 1});
  const Tensor y = gather(x, at, 1);
  REQUIRE(y.dims() == Dims{2, 2, 2, 4});
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      for (int64_t k = 0; k < 4; ++k)
        CHECK(y.at((i * 4 + j) * 4 + k) == static_cast<double>(i * 12 + at.at(j) * 4) + k);
    }
  }
  CHECK(gather(x, at, -2).same_bits(y));
  CHECK(gather(x, Tensor::scalar(i32, 1), -1).dims() == Dims{2, 3});
  CHECK(values(gather(x, Tensor::scalar(i64, 3), 2)) == Numbers{3, 7, 11, 15, 19, 23});
  CHECK(gather(x, Tensor::of<int32_t>({1}, {1}), 0).same_bits(slice(x, 0, 1, 2)));
  CHECK(refusal_of([&] { gather(x, at, 3); }).code == "gather.axis.range");

  Graph g;
  const Var v = g.placeholder("x", f64, {"T", "B"});
  const Var i = g.placeholder("i", i32, {"N"});
  const Var z = gather(v, i, 1);
  CHECK(to_string(z.shape()) == "[T,N]");
  const Var d = gradients(sum(z), {v})[0];
  CHECK(values(Session(g).run(d, {{v, count_up({1, 3})}, {i, Tensor::of<int32_t>({2}, {2, 2})}})) ==
        Numbers{0, 0, 2});
}

TEST_CASE("a tuple of indices is checked in each of its dimensions", "[index]") {
  const Tensor x = count_up({2, 3});
  CHECK(values(gather_nd(x, Tensor::of<int64_t>({2, 2}, {1, 2, 0, 0}))) == Numbers{5, 0});
  // Flat, 0 * 3 + 3 would be an element of the next row.
  for (const Backend* b : {&reference_backend(), &cpu_backend()}) {
    const EagerScope scope({.backend = std::string(b->name())});
    const auto code = [&](int32_t row, int32_t column) {
      return refusal_of([&] { gather_nd(x, Tensor::of<int32_t>({1, 2}, {row, column})); }).code;
    };
    CHECK(code(0, 3) == "gather_nd.indices.range");
    CHECK(code(1, -1) == "gather_nd.indices.range");
    CHECK(code(2, 0) == "gather_nd.indices.range");
    CHECK(code(1, 2).empty());
  }
  Graph g;
  const Var v = g.placeholder("x", f64, {"T", "B"});
  const Var i = g.placeholder("i", i32, {"N", "K"});
  CHECK(refusal_of([&] { gather_nd(v, i); }).code == "gather_nd.indices.symbol");
  const int64_t large = int64_t{1} << 40;
  CHECK(refusal_of([&] { flat_index(Tensor(i64, {1, 2}), {large, large}); }).code ==
        "shape.size.overflow");
}

TEST_CASE("of several updates of a row the last stays, and it alone has a gradient", "[index]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"N"});
  const Var at = g.placeholder("at", i32, {"M"});
  const Var updates = g.placeholder("updates", f64, {"M"});
  const Var y = scatter_update(x, at, updates);
  const Var weighted = sum(y * g.constant(Tensor::of<double>({3}, {1, 10, 100})));
  Vars d = gradients(weighted, {x, updates});
  d.push_back(y);
  const auto r = Session(g).run(d, {{x, Tensor::of<double>({3}, {1, 2, 3})},
                                    {at, Tensor::of<int32_t>({3}, {2, 0, 2})},
                                    {updates, Tensor::of<double>({3}, {7, 8, 9})}});
  CHECK(values(r[2]) == Numbers{8, 2, 9});
  CHECK(values(r[0]) == Numbers{0, 10, 0});
  CHECK(values(r[1]) == Numbers{0, 1, 100});
}

TEST_CASE("one_hot is off for an index that is out of range, in any dtype", "[index]") {
  const Tensor at = Tensor::of<int64_t>({3}, {-1, 1, 2});
  for (const DType t : {f32, f64, bf16, f16, i32, i64, boolean}) {
    const Tensor y = one_hot(at, 2, {.dtype = t});
    CHECK(y.dtype() == t);
    CHECK(values(y) == Numbers{0, 0, 0, 1, 0, 0});
  }
  CHECK(one_hot(at, 0).dims() == Dims{3, 0});
}

TEST_CASE("ranges end where NumPy's do, and know their symbols' numbers", "[index]") {
  CHECK(values(range(f64, 0, 1, 0.25)) == Numbers{0, 0.25, 0.5, 0.75});
  CHECK(range(f64, 0, 1, 0.1).size() == 10);
  CHECK(range(f64, 1, 0).size() == 0);
  CHECK(values(range(i32, 2147483645, 2147483648)) == Numbers{2147483645, 2147483646, 2147483647});
  CHECK(refusal_of([] { range(i32, 2147483645, 2147483649); }).code == "range.end.range");
  CHECK(refusal_of([] { range(f32, 0, 1e300, 1e-300); }).code == "range.end.range");
  CHECK(values(range(f16, 0, 3)) == Numbers{0, 1, 2});
  const Tensor y = linspace(f64, 0.1, 0.7, 7);
  CHECK((y.at(0) == 0.1 && y.at(6) == 0.7));
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B"});
  CHECK(values(Session(g).run(shape_of(x), {{x, Tensor(f32, {4, 0})}})) == Numbers{4, 0});
}

TEST_CASE("cpu_index_kernels_in_every_dtype") {
  for (const DType index : {i32, i64}) {
    for (const DType t : {f32, f64, bf16, f16, i32, i64, boolean}) {
      for (const int64_t axis : {0, 1, -1}) {
        Dims d{4, 5, 6};
        const auto at = static_cast<size_t>(axis < 0 ? 2 : axis);
        const auto high = static_cast<double>(d[at]);
        const Tensor x = drawn(t, d, 1);
        for (const int64_t n : {0, 1, 7}) {
          d[at] = n;
          agrees("take_along", {x, drawn(index, d, 2, 0, high)}, {{"axis", axis}},
                 {"cpu.take_along"});
          if (t == f32 || t == f64)
            agrees("add_along", {drawn(index, d, 2, 0, 3), drawn(t, d, 3)},
                   {{"axis", axis}, {"length", Shape{3}}}, {"cpu.add_along", 1e-5, 1e-6});
        }
      }
      agrees("scatter_update",
             {drawn(t, {9, 3}, 1), drawn(index, {2, 6}, 2, 0, 9), drawn(t, {2, 6, 3}, 3)}, {},
             {"cpu.scatter_update"});
      agrees("one_hot", {drawn(index, {4, 3}, 1, -1, 6)},
             {{"depth", Shape{5}}, {"dtype", t}, {"on", 2.0}, {"off", 1.0}}, {"cpu.one_hot"});
    }
    for (const bool batch_major : {false, true})
      agrees("sequence_mask", {drawn(index, {300}, 1, -2, 410)},
             {{"steps", Shape{400}}, {"batch_major", batch_major}}, {"cpu.sequence_mask"});
    agrees("flat_index", {drawn(index, {50000, 3}, 1, 0, 5)}, {{"shape", Shape{5, 6, 7}}},
           {"cpu.flat_index"});
    for (const double bad : {-1.0, 4.0}) {
      const Tensor x = drawn(f32, {4, 4}, 1), at = Tensor::full(index, {4, 2}, bad);
      const Tensor rows = Tensor::full(index, {4}, bad);
      for (const Backend* b : {&reference_backend(), &cpu_backend()}) {
        const auto code = [&](std::string_view op, const std::vector<Tensor>& in,
                              const Attributes& a = {}) {
          return refusal_of([&] { run_kernel(*b, op, in, a); }).code;
        };
        CHECK(code("take_along", {x, at}) == "take_along.indices.range");
        CHECK(code("add_along", {at, Tensor(f32, {4, 2})}, {{"length", Shape{4}}}) ==
              "add_along.indices.range");
        CHECK(code("scatter_update", {x, rows, x}) == "scatter_update.indices.range");
        CHECK(code("flat_index", {at}, {{"shape", Shape{4, 9}}}) == "flat_index.indices.range");
      }
    }
  }
  agrees("take_along", {drawn(f32, {300, 500}, 1), drawn(i32, {300, 400}, 2, 0, 500)}, {},
         {"cpu.take_along"});
  agrees("one_hot", {drawn(i32, {1000}, 1, 0, 300)}, {{"depth", Shape{300}}}, {"cpu.one_hot"});
}

}  // namespace
}  // namespace rondo::test
