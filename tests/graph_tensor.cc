#include <cmath>
#include <cstdint>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/tensor.h>

using namespace rondo;
using test::code_of;

namespace {
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
}  // namespace

TEST_CASE("a tensor that is written leaves its copies as they were", "[graph][tensor]") {
  Tensor a = Tensor::of<float>({2}, {1, 2});
  const Tensor b = a;
  CHECK(a.raw() == b.raw());
  a.mutable_data<float>()[0] = 7;
  CHECK(a.raw() != b.raw());
  CHECK(a.at(0) == 7);
  CHECK(b.at(0) == 1);
  const std::byte* before = a.raw();
  a.mutable_data<float>()[1] = 8;
  CHECK(a.raw() == before);  // nobody shares it: written in place
}

TEST_CASE("a reshaped tensor shares its buffer until one is written", "[graph][tensor]") {
  const Tensor a = Tensor::of<int32_t>({2, 3}, {0, 1, 2, 3, 4, 5});
  Tensor b = a.reshaped({3, 2});
  CHECK(b.raw() == a.raw());
  b.mutable_data<int32_t>()[0] = 9;
  CHECK(a.at(0) == 0);
  CHECK(b.at(0) == 9);
  CHECK(code_of([&] { (void)a.reshaped({4}); }) == "tensor.reshape.size");
  CHECK(code_of([&] { (void)a.reshaped({-2, -3}); }) == "tensor.dims.negative");
}

TEST_CASE("a view reads the caller's memory and is never written through", "[graph][tensor]") {
  float mine[3] = {1, 2, 3};
  Tensor v = Tensor::view(f32, {3}, mine);
  mine[0] = 5;
  CHECK(v.at(0) == 5);
  v.mutable_data<float>()[0] = 9;
  CHECK(mine[0] == 5);
  CHECK(v.at(0) == 9);
  CHECK(code_of([] { (void)Tensor::view(f32, {2}, nullptr); }) == "tensor.data.null");
  CHECK(code_of([&] { (void)Tensor::view(f32, {-1, -3}, mine); }) == "tensor.dims.negative");
  const std::vector<float> empty;
  CHECK(Tensor::view(f32, {0, 4}, empty.data()).size() == 0);
}

TEST_CASE("a view keeps its owner alive", "[graph][tensor]") {
  auto owner = std::make_shared<std::vector<float>>(2, 3.0F);
  const std::weak_ptr<std::vector<float>> watch = owner;
  {
    const Tensor v = Tensor::view(f32, {2}, owner->data(), owner);
    owner.reset();
    CHECK_FALSE(watch.expired());
    CHECK(v.at(1) == 3);
  }
  CHECK(watch.expired());
}

TEST_CASE("floats become integers towards zero, saturate, and NaN becomes zero",
          "[graph][tensor]") {
  const Tensor x = Tensor::of<double>({7}, {1.9, -1.9, kNaN, kInf, -kInf, 1e30, -0.0});
  for (const DType from : {f64, f32, bf16, f16}) {
    INFO(name_of(from));
    const Tensor y = x.to(from).to(i32);
    CHECK(y.at(0) == 1);
    CHECK(y.at(1) == -1);
    CHECK(y.at(2) == 0);
    CHECK(y.at(3) == std::numeric_limits<int32_t>::max());
    CHECK(y.at(4) == std::numeric_limits<int32_t>::min());
    CHECK(y.at(5) == std::numeric_limits<int32_t>::max());
    CHECK(y.at(6) == 0);
  }
  CHECK(Tensor::scalar(f64, kInf).to(i64).data<int64_t>()[0] ==
        std::numeric_limits<int64_t>::max());
  CHECK(Tensor::scalar(f64, 0.5).to(boolean).item() == 1);
  CHECK(Tensor::scalar(i64, 0).to(boolean).item() == 0);
}

TEST_CASE("conversion keeps what the other dtype can hold", "[graph][tensor]") {
  const Tensor x = Tensor::of<float>({4}, {0, 1, -2, 40});
  for (const DType t : {f32, f64, bf16, f16, i32, i64}) {
    CHECK(x.to(t).dtype() == t);
    CHECK(x.to(t).to(f32).same_bits(x));
  }
  CHECK(x.to(f32).raw() == x.raw());
  CHECK_FALSE(Tensor().to(f64));
}

TEST_CASE("equality of tensors is equality of bits", "[graph][tensor]") {
  CHECK(Tensor::scalar(f32, kNaN) == Tensor::scalar(f32, kNaN));
  CHECK_FALSE(Tensor::scalar(f32, 0.0) == Tensor::scalar(f32, -0.0));
  CHECK_FALSE(Tensor::scalar(f32, 1) == Tensor::scalar(i32, 1));
  CHECK_FALSE(Tensor(f32, {2, 3}) == Tensor(f32, {3, 2}));
  CHECK(Tensor(f32, {0}) == Tensor(f32, {0}));
  CHECK_FALSE(Tensor() == Tensor(f32, {0}));
  CHECK(Tensor() == Tensor());
}

TEST_CASE("tensors refuse shapes and accesses that make no sense", "[graph][tensor]") {
  CHECK(code_of([] { (void)Tensor(f32, {2, -1}); }) == "tensor.dims.negative");
  CHECK(code_of([] { (void)Tensor(f32, {int64_t{1} << 62}); }) == "shape.size.overflow");
  CHECK(code_of([] { (void)Tensor::of<float>({3}, {1, 2}); }) == "tensor.values.count");
  CHECK(code_of([] { (void)Tensor(f32, {2}).data<double>(); }) == "tensor.data.dtype");
  CHECK(code_of([] { (void)Tensor(f32, {2}).at(2); }) == "tensor.index.range");
  CHECK(code_of([] { (void)Tensor(f32, {2}).item(); }) == "tensor.item.size");
  CHECK(test::text_of([] { (void)Tensor(f32, {2}).data<double>(); }) ==
        "the tensor is f32, asked for as f64; convert with .to(f64)");
}

TEST_CASE("buffers are aligned for every vector unit and start as zeros", "[graph][tensor]") {
  for (int64_t n = 0; n < 20; ++n) {
    const Tensor t(f64, {n});
    CHECK(reinterpret_cast<uintptr_t>(t.raw()) % 64 == 0);
    for (int64_t i = 0; i < n; ++i) CHECK(t.at(i) == 0);
  }
}
