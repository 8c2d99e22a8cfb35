#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"

#include <rondo/backends/reference/reference.h>

using namespace rondo;
using test::values;
using Numbers = std::vector<double>;

namespace {

Tensor matmul_of(const Tensor& a, const Tensor& b, bool transpose_a = false,
                 bool transpose_b = false) {
  return test::run_kernel(reference_backend(), "matmul", {a, b},
                          {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}})[0];
}
Tensor doubles(Dims dims, const Numbers& v) { return Tensor::of<double>(std::move(dims), v); }

}  // namespace

TEST_CASE("matmul multiplies, each operand plain or transposed", "[reference][linear]") {
  const Tensor a = doubles({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor at = doubles({3, 2}, {1, 4, 2, 5, 3, 6});
  const Tensor b = doubles({3, 2}, {7, 8, 9, 10, 11, 12});
  const Tensor bt = doubles({2, 3}, {7, 9, 11, 8, 10, 12});
  const Numbers y{58, 64, 139, 154};
  CHECK(values(matmul_of(a, b)) == y);
  CHECK(values(matmul_of(at, b, true)) == y);
  CHECK(values(matmul_of(a, bt, false, true)) == y);
  CHECK(values(matmul_of(at, bt, true, true)) == y);
}

TEST_CASE("matmul of a batch, with one b or one each", "[reference][linear]") {
  const Tensor a = doubles({2, 1, 2}, {1, 2, 3, 4});
  CHECK(values(matmul_of(a, doubles({2, 2}, {1, 0, 0, 10}))) == Numbers{1, 20, 3, 40});
  const Tensor b = doubles({2, 2, 2}, {1, 0, 0, 1, 5, 6, 7, 8});
  CHECK(values(matmul_of(a, b)) == Numbers{1, 2, 43, 50});
  CHECK(values(matmul_of(a, b, false, true)) == Numbers{1, 2, 39, 53});
  // rank 4: both leading axes are the batch
  const Tensor deep =
      matmul_of(Tensor::full(f32, {2, 3, 4, 5}, 1), Tensor::full(f32, {2, 3, 5, 6}, 2));
  CHECK(deep.dims() == Dims{2, 3, 4, 6});
  CHECK(values(deep) == Numbers(144, 10));
}

TEST_CASE("matmul over nothing is 0, of nothing is empty", "[reference][linear]") {
  CHECK(values(matmul_of(Tensor(f64, {2, 0}), Tensor(f64, {0, 3}))) == Numbers(6, 0));
  CHECK(matmul_of(Tensor(f64, {0, 3}), Tensor(f64, {3, 4})).dims() == Dims{0, 4});
  CHECK(matmul_of(Tensor(f32, {0, 2, 3}), Tensor(f32, {3, 4})).dims() == Dims{0, 2, 4});
}

TEST_CASE("matmul of f32 keeps its sums in f64", "[reference][linear]") {
  const Tensor a = Tensor::of<float>({1, 3}, {1e8F, 1, -1e8F});
  CHECK(matmul_of(a, Tensor::full(f32, {3, 1}, 1)).item() == 1);
}

TEST_CASE("matmul multiplies a NaN by 0 to NaN", "[reference][linear]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(matmul_of(doubles({1, 2}, {nan, 1}), doubles({2, 1}, {0, 1})).item()));
}
