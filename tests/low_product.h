// One product of rows with weights in fewer bits, and what it should be: sums of rounded operands,
// computed plainly. What lies around its buffers is NaN, so that nobody may read it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check_gradient.h"

#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/rondo.h>

namespace rondo::test {

/// So many bytes of memory, then a page, all of it NaN in bf16 and f32.
class NanWalled {
 public:
  explicit NanWalled(size_t bytes) : bytes_(bytes), memory_(allocate_aligned(bytes + kPage)) {
    std::memset(memory_.get(), 0xff, bytes + kPage);
  }
  void* get() { return memory_.get(); }
  bool whole() const {
    const auto* const end =
        static_cast<const unsigned char*>(static_cast<const void*>(memory_.get())) + bytes_;
    return std::all_of(end, end + kPage, [](unsigned char c) { return c == 0xff; });
  }

 private:
  static constexpr size_t kPage = 4096;
  size_t bytes_;
  decltype(allocate_aligned(0)) memory_;
};

struct LowProduct {
  Tensor a, w, c, bias;
  int64_t rows, k, n;
  Precision precision = Precision::full;  ///< of the last run
  std::vector<float> y;

  LowProduct(int64_t rows, int64_t k, int64_t n)
      : a(draw({rows, k}, f32, -2, 2, 1)),
        w(draw({k, n}, f32, -1, 1, 2)),
        c(draw({rows, n}, f32, -1, 1, 3)),
        bias(draw({n}, f32, -1, 1, 4)),
        rows(rows),
        k(k),
        n(n),
        y(static_cast<size_t>(rows * n)) {}

  void run(Precision low, bool transposed = false, bool backwards = false) {
    precision = low;
    const cpu::RowGemm& g = cpu::row_gemm_low(low);
    Tensor turned(f32, {n, k});
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j)
        turned.mutable_data<float>()[j * k + i] = w.data<float>()[i * n + j];
    }
    NanWalled packed(g.packed_bytes(k, n)), scratch(g.scratch_bytes(rows, k));
    g.pack(transposed ? turned.raw() : w.raw(), transposed ? k : n, k, n, transposed, packed.get());
    // c lies where y is written, as it may.
    std::copy_n(c.data<float>(), rows * n, y.begin());
    std::vector<const void*> from, begin;
    std::vector<void*> to;
    for (int64_t r = 0; r < rows; ++r) {
      from.push_back(a.data<float>() + r * k);
      to.push_back(y.data() + r * n);
      begin.push_back(to.back());
    }
    g.run({from.data(), 1, to.data(), begin.data(), bias.raw(), rows, scratch.get(), backwards}, k,
          packed.get(), n);
    CHECK(packed.whole());
    CHECK(scratch.whole());
  }
  double start(int64_t r, int64_t j) const { return c.at(r * n + j) + bias.at(j); }
  double got(int64_t r, int64_t j) const { return y[static_cast<size_t>(r * n + j)]; }

  /// The first result that is not what it should be; empty = none.
  std::string wrong() const {
    const auto number = [](const Tensor& t, int64_t i) { return t.data<float>()[i]; };
    const auto most = [&](const Tensor& t, int64_t first, int64_t step) {
      float m = 0;
      for (int64_t i = 0; i < k; ++i) m = std::max(m, std::abs(number(t, first + i * step)));
      return m;
    };
    const bool bf16 = precision == Precision::bf16;
    const auto rounded = [&](float x, float top) {
      if (bf16) return double{static_cast<float>(BFloat16(x))};
      return std::nearbyint(x * (top > 0 ? 127 / top : 0)) * double{top} / 127;
    };
    std::vector<float> row_most, column_most;
    for (int64_t r = 0; r < rows; ++r) row_most.push_back(most(a, r * k, 1));
    for (int64_t j = 0; j < n; ++j) column_most.push_back(most(w, j, n));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        double want = start(r, j), size = std::abs(want);
        for (int64_t i = 0; i < k; ++i) {
          const double t = rounded(number(a, r * k + i), row_most[static_cast<size_t>(r)]) *
                           rounded(number(w, i * n + j), column_most[static_cast<size_t>(j)]);
          want += t;
          size += std::abs(t);
        }
        const double most_off = bf16 ? 4e-7 * (1 + size) : 2e-6 * (1 + std::abs(want));
        if (!(std::abs(got(r, j) - want) <= most_off))
          return cat(name_of(precision), " ", rows, "x", k, "x", n, " at ", r, ",", j, ": ",
                     got(r, j), " instead of ", want);
      }
    }
    return {};
  }
};

}  // namespace rondo::test
