#include <rondo/backends/cpu/row_gemm.h>

#include <algorithm>

#include <rondo/backends/cpu/simd_targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rondo/backends/cpu/row_gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <rondo/backends/cpu/row_tiles-inl.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
int64_t block_columns() {
  return kVectors * static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
}

// Squares of one 16-byte vector a side.
template <class T>
constexpr int64_t kSquare = 16 / static_cast<int64_t>(sizeof(T));

HWY_INLINE void turn_square(const float* from, int64_t stride, float* to, int64_t to_stride) {
  const hn::FixedTag<float, 4> d;
  const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + stride);
  const auto c = hn::LoadU(d, from + 2 * stride), e = hn::LoadU(d, from + 3 * stride);
  const auto ab = hn::InterleaveLower(d, a, b), ce = hn::InterleaveLower(d, c, e);
  const auto ab_up = hn::InterleaveUpper(d, a, b), ce_up = hn::InterleaveUpper(d, c, e);
  hn::StoreU(hn::ConcatLowerLower(d, ce, ab), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, ce, ab), d, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(d, ce_up, ab_up), d, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(d, ce_up, ab_up), d, to + 3 * to_stride);
}
HWY_INLINE void turn_square(const double* from, int64_t stride, double* to, int64_t to_stride) {
  const hn::FixedTag<double, 2> d;
  const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + stride);
  hn::StoreU(hn::ConcatLowerLower(d, b, a), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, b, a), d, to + to_stride);
}

// A block of columns is contiguous in w, or, where w is transposed, a few of its rows.
template <class T>
void pack(const void* w, int64_t stride, int64_t k, int64_t n, bool transposed, void* packed) {
  const T* const from = static_cast<const T*>(w);
  T* to = static_cast<T*>(packed);
  const int64_t block = block_columns<T>();
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kSide = kSquare<T>, kStrip = 64 / static_cast<int64_t>(sizeof(T)), kAhead = 8;
  for (int64_t b = 0; b < n; b += block, to += block * k) {
    const int64_t columns = std::min(block, n - b);
    if (columns < block) std::fill_n(to, block * k, T{0});
    if (!transposed) {
      for (int64_t i = 0; i < k; ++i) {
        const T* const row = from + i * stride + b;
        // Rows lie too far apart for the machine to see them coming.
        for (int64_t at = 0; at < columns && i + kAhead < k; at += kStrip)
          __builtin_prefetch(row + kAhead * stride + at, 0, 3);
        int64_t j = 0;
        for (; j + lanes <= columns; j += lanes)
          hn::Store(hn::LoadU(d, row + j), d, to + i * block + j);
        for (; j < columns; ++j) to[i * block + j] = row[j];
      }
      continue;
    }
    for (int64_t i0 = 0; i0 < k; i0 += kStrip) {  // of k: what a line of w holds
      const int64_t strip = std::min(kStrip, k - i0);
      for (int64_t j = 0; j < columns; j += kSide) {
        const T* const rows = from + (b + j) * stride + i0;
        for (int64_t c = 0; c < std::min(kSide, columns - j) && i0 + kStrip < k; ++c)
          __builtin_prefetch(rows + c * stride + kStrip, 0, 3);
        T* const out = to + i0 * block + j;
        int64_t i = 0;
        if (j + kSide <= columns) {
          for (; i + kSide <= strip; i += kSide)
            turn_square(rows + i, stride, out + i * block, block);
        }
        for (; i < strip; ++i) {
          for (int64_t c = 0; c < std::min(kSide, columns - j); ++c)
            out[i * block + c] = rows[c * stride + i];
        }
      }
    }
  }
}

template <class T>
void pack_rows(const void* const* rows, int64_t column, int64_t k, int64_t n, void* packed) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t block = block_columns<T>();
  for (int64_t i = 0; i < k; ++i) {
    const T* const row = static_cast<const T*>(rows[i]) + column;
    for (int64_t b = 0; b < n; b += block) {
      T* const to = static_cast<T*>(packed) + b * k + i * block;
      const int64_t columns = std::min(block, n - b);
      int64_t j = 0;
      for (; j + lanes <= columns; j += lanes) hn::Store(hn::LoadU(d, row + b + j), d, to + j);
      for (; j < columns; ++j) to[j] = row[b + j];
      for (; j < block; ++j) to[j] = 0;
    }
  }
}

template <class D>
HWY_INLINE hn::Vec<D> load_some(D d, const hn::TFromD<D>* from, int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (count >= lanes) return hn::LoadU(d, from);
  return count > 0 ? hn::LoadN(d, from, static_cast<size_t>(count)) : hn::Zero(d);
}

// R rows by S blocks of columns, which lie one panel apart. Its small loops must be unrolled, or
// the sums are kept in memory: a quarter of the speed.
template <class T, bool kByDepth, int64_t R, int64_t S>
HWY_INLINE void tile(const GemmRows& g, int64_t first_row, int64_t k, const T* w, int64_t first,
                     int64_t n, Ahead ahead) {
  constexpr int64_t kWide = S * kVectors;
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t panel = kVectors * lanes * k;
  const T* rows[R];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r)
    rows[r] = kByDepth ? nullptr : static_cast<const T*>(g.a[first_row + r]);
  hn::Vec<decltype(d)> sum[R][kWide];
#pragma GCC unroll 16
  for (int64_t v = 0; v < kWide; ++v) {
    const int64_t at = first + v * lanes;
    const auto bias =
        g.bias == nullptr ? hn::Zero(d) : load_some(d, static_cast<const T*>(g.bias) + at, n - at);
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      sum[r][v] =
          g.c == nullptr
              ? bias
              : hn::Add(bias, load_some(d, static_cast<const T*>(g.c[first_row + r]) + at, n - at));
    }
  }
  // The sums of the next tile arrive meanwhile: rows that lie far apart are not foreseen.
  if (kByDepth && g.c != nullptr) {
    for (int64_t r = first_row + R; r < first_row + 2 * R; ++r) {
      const bool here = r < g.rows;
      if (!here && first + kWide * lanes >= n) break;
      const T* const c =
          static_cast<const T*>(g.c[here ? r : r - g.rows]) + first + (here ? 0 : kWide * lanes);
      for (int64_t v = 0; v < kWide; ++v) __builtin_prefetch(c + v * lanes, 1, 3);
    }
  }
  if (!kByDepth && g.first != nullptr) {
    const T* begin[R];
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) begin[r] = static_cast<const T*>(g.first[first_row + r]);
    const T* of = static_cast<const T*>(g.first_packed) + first * g.first_k;
    const int64_t apart = kVectors * lanes * g.first_k;
    for (int64_t i = 0; i < g.first_k; ++i, of += kVectors * lanes) {
      hn::Vec<decltype(d)> column[kWide];
#pragma GCC unroll 16
      for (int64_t v = 0; v < kWide; ++v)
        column[v] = hn::Load(d, of + v / kVectors * apart + v % kVectors * lanes);
#pragma GCC unroll 8
      for (int64_t r = 0; r < R; ++r) {
        const auto x = hn::Set(d, begin[r][i]);
#pragma GCC unroll 16
        for (int64_t v = 0; v < kWide; ++v) sum[r][v] = hn::MulAdd(x, column[v], sum[r][v]);
      }
    }
  }
  for (int64_t i = 0, at = 0; i < k; ++i, at += g.a_step, w += kVectors * lanes) {
    if (S == 1 && !kByDepth) ahead.fetch();
    hn::Vec<decltype(d)> column[kWide];
#pragma GCC unroll 16
    for (int64_t v = 0; v < kWide; ++v)
      column[v] = hn::Load(d, w + v / kVectors * panel + v % kVectors * lanes);
    const T* const together =
        kByDepth ? static_cast<const T*>(g.a_of_k[i]) + g.a_first + first_row : nullptr;
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      const auto x = hn::Set(d, kByDepth ? together[r] : rows[r][at]);
#pragma GCC unroll 16
      for (int64_t v = 0; v < kWide; ++v) sum[r][v] = hn::MulAdd(x, column[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
    T* const out = static_cast<T*>(g.y[first_row + r]) + first;
#pragma GCC unroll 16
    for (int64_t v = 0; v < kWide; ++v) {
      const int64_t left = n - first - v * lanes;
      if (left >= lanes) {
        hn::StoreU(sum[r][v], d, out + v * lanes);
      } else if (left > 0) {
        hn::StoreN(sum[r][v], d, out + v * lanes, static_cast<size_t>(left));
      }
    }
  }
}

template <class T, bool kByDepth>
struct Tiles {
  const GemmRows& g;
  int64_t k, n;
  const T* packed;

  HWY_INLINE Ahead ahead(int64_t next, int64_t i) const {
    const int64_t bytes = block_columns<T>() * static_cast<int64_t>(sizeof(T));
    return {next < 0 ? nullptr : packed + next * k, bytes, k, i, packed};
  }
  template <int64_t R, int64_t S>
  HWY_INLINE void tile(int64_t first_row, int64_t first, Ahead ahead) const {
    cpu::HWY_NAMESPACE::tile<T, kByDepth, R, S>(g, first_row, k, packed + first * k, first, n,
                                                ahead);
  }
};

template <class T>
void run(const GemmRows& g, int64_t k, const void* packed, int64_t n) {
  const auto* const w = static_cast<const T*>(packed);
  if (g.a_of_k != nullptr)
    return for_tiles(Tiles<T, true>{g, k, n, w}, g.rows, n, block_columns<T>(), g.backwards);
  for_tiles(Tiles<T, false>{g, k, n, w}, g.rows, n, block_columns<T>(), g.backwards);
}

template <class T>
size_t packed_bytes(int64_t k, int64_t n) {
  const int64_t block = block_columns<T>();
  return static_cast<size_t>((n + block - 1) / block * block * k) * sizeof(T);
}
size_t no_scratch(int64_t, int64_t) { return 0; }

template <class T>
const RowGemm* gemm_of() {
  static const RowGemm g{Precision::full, block_columns<T>(), packed_bytes<T>,
                         pack<T>,         pack_rows<T>,       run<T>,
                         no_scratch};
  return &g;
}
const RowGemm* f32_gemm() { return gemm_of<float>(); }
const RowGemm* f64_gemm() { return gemm_of<double>(); }

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
