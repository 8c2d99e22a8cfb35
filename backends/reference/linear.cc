#include <rondo/backends/reference/common.h>

namespace rondo::reference {
namespace {

// y[.., i, j] = sum over k of a[.., i, k] b[.., k, j], in order of k.
void matmul(const KernelArgs& args) {
  const View &a = args.in[0], &b = args.in[1], &y = args.out[0];
  const bool transpose_a = args.call.attributes.flag("transpose_a");
  const bool transpose_b = args.call.attributes.flag("transpose_b");
  const size_t rank = a.dims().size();
  const int64_t m = y.dims()[rank - 2];
  const int64_t n = y.dims()[rank - 1];
  const int64_t k_end = a.dims()[transpose_a ? rank - 2 : rank - 1];
  const bool shared_b = b.dims().size() < rank;
  const int64_t batches = element_count(Dims(a.dims().begin(), a.dims().end() - 2));

  for_float(a.type->dtype, [&]<class T>() {
    for (int64_t batch = 0; batch < batches; ++batch) {
      const T* a_at = a.as<T>() + batch * m * k_end;
      const T* b_at = b.as<T>() + (shared_b ? 0 : batch * k_end * n);
      T* y_at = y.as<T>() + batch * m * n;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double total = 0;
          for (int64_t k = 0; k < k_end; ++k) {
            const T left = transpose_a ? a_at[k * m + i] : a_at[i * k_end + k];
            const T right = transpose_b ? b_at[j * k_end + k] : b_at[k * n + j];
            total += double{left} * double{right};
          }
          y_at[i * n + j] = static_cast<T>(total);
        }
      }
    }
  });
}

int64_t bound_of(const View& v, int64_t row, int64_t absent) {
  return v ? integer_at(v, row) : absent;
}

void product_over_time(const KernelArgs& args) {
  const View &a = args.in[0], &b = args.in[1], &y = args.out[0];
  const int64_t steps = a.dims()[0], rows = a.dims()[1], k_end = a.dims()[2], n = b.dims()[2];
  for_float(a.type->dtype, [&]<class T>() {
    for (int64_t k = 0; k < k_end; ++k) {
      for (int64_t j = 0; j < n; ++j) {
        double total = 0;
        for (int64_t t = 0; t < steps; ++t) {
          for (int64_t i = 0; i < rows; ++i) {
            if (t < bound_of(args.in[2], i, 0) || t >= bound_of(args.in[3], i, steps)) continue;
            const int64_t row = t * rows + i;
            total += double{a.as<T>()[row * k_end + k]} * double{b.as<T>()[row * n + j]};
          }
        }
        y.as<T>()[k * n + j] = static_cast<T>(total);
      }
    }
  });
}

}  // namespace

std::vector<Kernel> linear_kernels() {
  return {row("matmul", no_halves, matmul), row("product_over_time", no_halves, product_over_time)};
}

}  // namespace rondo::reference
