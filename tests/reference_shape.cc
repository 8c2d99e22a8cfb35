#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"

#include <rondo/backends/reference/reference.h>

using namespace rondo;
using test::values;
using Numbers = std::vector<double>;
using Axes = std::vector<int64_t>;

namespace {

std::vector<Tensor> run_all(std::string_view op, const std::vector<Tensor>& inputs,
                            Attributes attributes = {}, std::vector<bool> wanted = {}) {
  return test::run_kernel(reference_backend(), op, inputs, std::move(attributes),
                          {.wanted = std::move(wanted)});
}
Tensor run(std::string_view op, const std::vector<Tensor>& inputs, Attributes attributes = {}) {
  return run_all(op, inputs, std::move(attributes))[0];
}
Tensor count_up(DType dtype, Dims dims) {
  Tensor t(f64, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<double>()[i] = static_cast<double>(i);
  return t.to(dtype);
}

}  // namespace

TEST_CASE("reshape keeps the flat order", "[reference][shape]") {
  const Tensor y = run("reshape", {count_up(i32, {2, 3})}, {{"shape", Shape{3, 2}}});
  CHECK(y.same_bits(count_up(i32, {3, 2})));
  CHECK(run("reshape", {Tensor(f32, {0, 4})}, {{"shape", Shape{2, 0}}}).dims() == Dims{2, 0});
}

TEST_CASE("transpose moves axes", "[reference][shape]") {
  const Tensor x = count_up(f32, {2, 3, 2});
  CHECK(values(run("transpose", {x})) == Numbers{0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11});
  const Tensor y = run("transpose", {x}, {{"permutation", Axes{1, -1, 0}}});
  CHECK(y.dims() == Dims{3, 2, 2});
  CHECK(values(y) == Numbers{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  CHECK(run("transpose", {Tensor::scalar(f64, 3)}).item() == 3);
  CHECK(run("transpose", {Tensor(f64, {0, 3})}).dims() == Dims{3, 0});
}

TEST_CASE("broadcast_to repeats along axes of length 1 and new ones", "[reference][shape]") {
  CHECK(values(run("broadcast_to", {count_up(i64, {2, 1})}, {{"shape", Shape{2, 2, 2}}})) ==
        Numbers{0, 0, 1, 1, 0, 0, 1, 1});
  CHECK(run("broadcast_to", {Tensor(f64, {1})}, {{"shape", Shape{0}}}).dims() == Dims{0});
}

TEST_CASE("concat joins, also with empty pieces", "[reference][shape]") {
  const Tensor a = count_up(f64, {2, 2});
  const Tensor b = Tensor::of<double>({2, 1}, {8, 9});
  CHECK(values(run("concat", {a, Tensor(f64, {2, 0}), b}, {{"axis", -1}})) ==
        Numbers{0, 1, 8, 2, 3, 9});
  CHECK(values(run("concat", {a, a}, {{"axis", 0}})) == Numbers{0, 1, 2, 3, 0, 1, 2, 3});
}

TEST_CASE("split gives equal pieces, and skips those nobody uses", "[reference][shape]") {
  const Tensor x = count_up(f32, {2, 6});
  const std::vector<Tensor> all = run_all("split", {x}, {{"parts", 3}, {"axis", 1}});
  CHECK(values(all[0]) == Numbers{0, 1, 6, 7});
  CHECK(values(all[2]) == Numbers{4, 5, 10, 11});
  const std::vector<Tensor> one =
      run_all("split", {x}, {{"parts", 3}, {"axis", 1}}, {false, true, false});
  CHECK(!one[0]);
  CHECK(values(one[1]) == Numbers{2, 3, 8, 9});
}

TEST_CASE("slice cuts, pad puts zeros around", "[reference][shape]") {
  const Tensor x = count_up(f64, {2, 3});
  CHECK(values(run("slice", {x}, {{"axis", 1}, {"bounds", Shape{1, 3}}})) == Numbers{1, 2, 4, 5});
  CHECK(run("slice", {x}, {{"axis", 0}, {"bounds", Shape{2, 2}}}).dims() == Dims{0, 3});
  CHECK(values(run("pad", {x}, {{"axis", 1}, {"amounts", Shape{1, 2}}})) ==
        Numbers{0, 0, 1, 2, 0, 0, 0, 3, 4, 5, 0, 0});
  CHECK(values(run("pad", {Tensor(i32, {0, 2})}, {{"amounts", Shape{1, 0}}})) == Numbers{0, 0});
}

TEST_CASE("gather takes rows by index, of any dtype", "[reference][shape]") {
  const Tensor indices = Tensor::of<int64_t>({2, 2}, {2, 0, 1, 2});
  for (const DType t : {f32, f64, bf16, i32, i64}) {
    const Tensor y = run("gather", {count_up(t, {3, 2}), indices});
    CHECK(y.dtype() == t);
    CHECK(y.dims() == Dims{2, 2, 2});
    CHECK(values(y) == Numbers{4, 5, 0, 1, 2, 3, 4, 5});
  }
  CHECK(run("gather", {Tensor(f32, {0, 2}), Tensor(i32, {0})}).dims() == Dims{0, 2});
}

TEST_CASE("an index outside x is refused with its position", "[reference][shape]") {
  const Tensor x = count_up(f64, {3, 2});
  const auto gather = [&](const Tensor& indices) {
    return test::refusal_of([&] { run("gather", {x, indices}); });
  };
  const auto above = gather(Tensor::of<int32_t>({2, 2}, {2, 0, 3, 1}));
  CHECK(above.code == "gather.indices.range");
  CHECK(above.message == "[gather] indices[1,0] is 3, but must be in [0, 2]");
  CHECK(gather(Tensor::of<int64_t>({1}, {-1})).message ==
        "[gather] indices[0] is -1, but must be in [0, 2]");
  CHECK(gather(Tensor::of<int64_t>({}, {int64_t{1} << 40})).message ==
        "[gather] indices is 1099511627776, but must be in [0, 2]");
}

TEST_CASE("scatter_add sums rows with the same index", "[reference][shape]") {
  const Tensor indices = Tensor::of<int32_t>({3}, {2, 0, 2});
  const Attributes rows{{"rows", Shape{4}}};
  CHECK(values(run("scatter_add", {indices, count_up(f64, {3, 2})}, rows)) ==
        Numbers{2, 3, 0, 0, 4, 6, 0, 0});
  CHECK(values(run("scatter_add", {indices, count_up(i32, {3})}, rows)) == Numbers{1, 0, 2, 0});
  CHECK(values(run("scatter_add", {Tensor(i32, {0}), Tensor(f32, {0, 2})}, {{"rows", Shape{1}}})) ==
        Numbers{0, 0});
  const auto r = test::refusal_of(
      [&] { run("scatter_add", {indices, Tensor(f64, {3})}, {{"rows", Shape{2}}}); });
  CHECK(r.code == "scatter_add.indices.range");
}

TEST_CASE("fill and iota make values of every dtype", "[reference][shape]") {
  for (const DType t : {f32, f64, bf16, f16, i32, i64}) {
    const Tensor y = run("fill", {}, {{"dtype", t}, {"shape", Shape{2}}, {"value", 7.0}});
    CHECK(y.dtype() == t);
    CHECK(values(y) == Numbers{7, 7});
  }
  CHECK(values(run("fill", {}, {{"dtype", boolean}, {"shape", Shape{1}}, {"value", 1.0}})) ==
        Numbers{1});
  for (const DType t : {f32, f64, i32, i64}) {
    CHECK(values(run("iota", {}, {{"dtype", t}, {"shape", Shape{2, 3}}, {"axis", -1}})) ==
          Numbers{0, 1, 2, 0, 1, 2});
  }
  CHECK(values(run("iota", {}, {{"shape", Shape{2, 2}}, {"axis", 0}})) == Numbers{0, 0, 1, 1});
}
