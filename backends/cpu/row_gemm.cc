#include <rondo/backends/cpu/row_gemm.h>

#include <algorithm>

#include <rondo/backends/cpu/simd_targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rondo/backends/cpu/row_gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Accumulators must fit the registers: 6 x 4 of 32, or 6 x 2 of 16.
constexpr int64_t kVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
constexpr int64_t kRows = 6;

template <class T>
int64_t block_columns() {
  return kVectors * static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
}

template <class T>
void pack(const void* w, int64_t k, int64_t n, bool transposed, void* packed) {
  const T* const from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  const int64_t block = block_columns<T>();
  for (int64_t b = 0; b < n; b += block) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = b; j < b + block; ++j)
        *to++ = j >= n ? T{0} : transposed ? from[j * k + i] : from[i * n + j];
    }
  }
}

// Its small loops must be unrolled, or the sums are kept in memory: a quarter of the speed.
template <class T, int64_t R>
HWY_INLINE void rows_by_block(const void* const* a, int64_t k, const T* w, int64_t first, int64_t n,
                              void* const* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* rows[R];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) rows[r] = static_cast<const T*>(a[r]);
  hn::Vec<decltype(d)> sum[R][kVectors];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < k; ++i, w += kVectors * lanes) {
    hn::Vec<decltype(d)> column[kVectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) column[v] = hn::Load(d, w + v * lanes);
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      const auto x = hn::Set(d, rows[r][i]);
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(x, column[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
    T* const out = static_cast<T*>(y[r]) + first;
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t left = n - first - v * lanes;
      if (left >= lanes) {
        hn::StoreU(sum[r][v], d, out + v * lanes);
      } else if (left > 0) {
        hn::StoreN(sum[r][v], d, out + v * lanes, static_cast<size_t>(left));
      }
    }
  }
}

template <class T>
void run(const void* const* a, int64_t rows, int64_t k, const void* packed, int64_t n,
         void* const* y) {
  const int64_t block = block_columns<T>();
  // Blocks outside, rows inside: a block of W stays in L1 for all rows.
  for (int64_t first = 0; first < n; first += block) {
    const T* const w = static_cast<const T*>(packed) + first * k;
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) rows_by_block<T, kRows>(a + r, k, w, first, n, y + r);
    switch (rows - r) {
      case 5:
        rows_by_block<T, 5>(a + r, k, w, first, n, y + r);
        break;
      case 4:
        rows_by_block<T, 4>(a + r, k, w, first, n, y + r);
        break;
      case 3:
        rows_by_block<T, 3>(a + r, k, w, first, n, y + r);
        break;
      case 2:
        rows_by_block<T, 2>(a + r, k, w, first, n, y + r);
        break;
      case 1:
        rows_by_block<T, 1>(a + r, k, w, first, n, y + r);
        break;
      default:
        break;
    }
  }
}

const RowGemm* f32_gemm() {
  static const RowGemm g{block_columns<float>(), pack<float>, run<float>};
  return &g;
}
const RowGemm* f64_gemm() {
  static const RowGemm g{block_columns<double>(), pack<double>, run<double>};
  return &g;
}

}  // namespace
}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {
HWY_EXPORT(f32_gemm);
HWY_EXPORT(f64_gemm);
const RowGemm& row_gemm(DType t) {
  return t == f64 ? *HWY_DYNAMIC_DISPATCH(f64_gemm)() : *HWY_DYNAMIC_DISPATCH(f32_gemm)();
}
}  // namespace rondo::cpu
#endif
