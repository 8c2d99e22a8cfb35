// Products with weights in bf16 or in 8 bits: half and a quarter of the bytes, and where the
// machine multiplies pairs and quads of them in one instruction, twice and four times the speed.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <rondo/backends/cpu/row_gemm.h>

// The instruction sets that differ here are those with dot products.
#define HWY_WANT_AVX3_DL 1
#define HWY_DISABLED_TARGETS HWY_SSSE3
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rondo/backends/cpu/row_gemm_low.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <rondo/backends/cpu/row_tiles-inl.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::ScalableTag<int32_t>;
using VF = hn::Vec<F32>;

int64_t lanes() { return static_cast<int64_t>(hn::Lanes(F32())); }
int64_t block_columns() { return kVectors * lanes(); }
size_t align(size_t n) { return (n + 63) / 64 * 64; }

// A kind says what a group of kGroup neighbours in k is, 4 bytes together, and how a dot product of
// two groups is added up.
struct Bf16 {
  using Element = hwy::bfloat16_t;
  using Sum = VF;
  static constexpr int64_t kGroup = 2;
  static constexpr bool kScaled = false;
  static HWY_INLINE Sum zero() { return hn::Zero(F32()); }
  static HWY_INLINE Sum add_dot(hn::Vec<I32> a, hn::Vec<I32> w, Sum sum) {
    const hn::Repartition<hwy::bfloat16_t, F32> d;
#if HWY_NATIVE_DOT_BF16
    VF unused = sum;
    return hn::ReorderWidenMulAccumulate(F32(), hn::BitCast(d, a), hn::BitCast(d, w), sum, unused);
#else
    // The bits of bf16 are the upper half of those of f32.
    const I32 di;
    const auto upper = hn::Set(di, static_cast<int32_t>(0xffff0000U));
    const auto odd = [&](hn::Vec<I32> v) { return hn::BitCast(F32(), hn::And(v, upper)); };
    const auto even = [&](hn::Vec<I32> v) { return hn::BitCast(F32(), hn::ShiftLeft<16>(v)); };
    static_cast<void>(d);
    return hn::MulAdd(odd(a), odd(w), hn::MulAdd(even(a), even(w), sum));
#endif
  }
  static Element of(float x, float) { return hwy::ConvertScalarTo<Element>(x); }
};
struct Int8 {
  using Element = int8_t;
  using Sum = hn::Vec<I32>;
  static constexpr int64_t kGroup = 4;
  static constexpr bool kScaled = true;
  static HWY_INLINE Sum zero() { return hn::Zero(I32()); }
  // `a` holds 128 more than is meant, without a sign: what that adds is known of each column.
  static HWY_INLINE Sum add_dot(hn::Vec<I32> a, hn::Vec<I32> w, Sum sum) {
    const hn::Repartition<uint8_t, I32> du;
    const hn::Repartition<int8_t, I32> ds;
    return hn::SumOfMulQuadAccumulate(I32(), hn::BitCast(du, a), hn::BitCast(ds, w), sum);
  }
  static Element of(float x, float inverse) {
    const float q = std::nearbyint(x * inverse);
    return static_cast<int8_t>(q > 127 ? 127 : q > -127 ? q : q <= -127 ? -127 : 0);  // NaN: 0
  }
};

// Of a panel: the columns' groups, then, where numbers are scaled, each column's scale and the sum
// of its numbers.
template <class K>
size_t panel_bytes(int64_t k) {
  const int64_t groups = (k + K::kGroup - 1) / K::kGroup;
  const int64_t words = block_columns() * (groups + (K::kScaled ? 2 : 0));
  return static_cast<size_t>(words) * 4;
}
template <class K>
size_t packed_bytes(int64_t k, int64_t n) {
  return panel_bytes<K>(k) * static_cast<size_t>((n + block_columns() - 1) / block_columns());
}

// What brings the largest number to 127; 0 where there is nothing to bring.
float inverse_of(float largest) {
  const float inverse = 127 / largest;
  return std::isfinite(inverse) ? inverse : 0;
}

template <class K>
void pack(const void* w, int64_t stride, int64_t k, int64_t n, bool transposed, void* packed) {
  using E = typename K::Element;
  const auto* const from = static_cast<const float*>(w);
  const int64_t block = block_columns(), groups = (k + K::kGroup - 1) / K::kGroup;
  auto* panel = static_cast<std::byte*>(packed);
  for (int64_t b = 0; b < n; b += block, panel += panel_bytes<K>(k)) {
    auto* const to = reinterpret_cast<E*>(panel);
    auto* const scale = reinterpret_cast<float*>(panel + groups * block * 4);
    auto* const total = reinterpret_cast<int32_t*>(scale + block);
    std::memset(panel, 0, panel_bytes<K>(k));
    for (int64_t j = 0; j < std::min(block, n - b); ++j) {
      const auto at = [&](int64_t i) {
        return transposed ? from[(b + j) * stride + i] : from[i * stride + b + j];
      };
      float largest = 0, inverse = 1, strange = 0;  // NaN once there is a NaN or an infinity
      if (K::kScaled) {
        for (int64_t i = 0; i < k; ++i) {
          largest = std::max(largest, std::abs(at(i)));
          strange += at(i) * 0;
        }
        inverse = inverse_of(largest);
      }
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        const E q = K::of(at(i), inverse);
        to[(i / K::kGroup * block + j) * K::kGroup + i % K::kGroup] = q;
        if constexpr (K::kScaled) sum += q;
      }
      if constexpr (K::kScaled) {
        scale[j] = largest / 127 + strange;
        total[j] = sum;
      }
    }
  }
}

// Rows of a in groups, and their scales.
struct Groups {
  const int32_t* rows;
  int64_t stride;  // groups of a row
  const float* scales;
};

void narrow(Bf16, const float* a, int64_t k, hwy::bfloat16_t* to, float*) {
  const F32 d;
  const hn::Rebind<hwy::bfloat16_t, F32> half;
  int64_t i = 0;
  for (; i + lanes() <= k; i += lanes())
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, a + i)), half, to + i);
  for (; i < k; ++i) to[i] = hwy::ConvertScalarTo<hwy::bfloat16_t>(a[i]);
}
void narrow(Int8, const float* a, int64_t k, int8_t* to, float* scale) {
  const F32 d;
  const I32 di;
  const hn::Rebind<uint8_t, F32> quarter;
  auto* const out = reinterpret_cast<uint8_t*>(to);
  VF largest = hn::Zero(d), strange = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes() <= k; i += lanes()) {
    const VF v = hn::LoadU(d, a + i);
    largest = hn::Max(largest, hn::Abs(v));
    strange = hn::MulAdd(v, hn::Zero(d), strange);  // NaN once there is a NaN or an infinity
  }
  float most = hn::ReduceMax(d, largest), odd = hn::ReduceSum(d, strange);
  for (int64_t j = i; j < k; ++j) {
    most = std::max(most, std::abs(a[j]));
    odd += a[j] * 0;
  }
  const float inverse = inverse_of(most);
  *scale = most / 127 + odd;
  const VF by = hn::Set(d, inverse);
  const auto middle = hn::Set(di, 128);
  for (i = 0; i + lanes() <= k; i += lanes()) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, a + i), by));
    hn::StoreU(hn::DemoteTo(quarter, hn::Add(q, middle)), quarter, out + i);
  }
  for (; i < k; ++i) {
    out[i] = static_cast<uint8_t>(128 + Int8::of(a[i], inverse));
  }
}

template <class K, int64_t R, int64_t S>
HWY_INLINE void tile(const GemmRows& g, const Groups& a, int64_t first_row, int64_t k,
                     const std::byte* panels, int64_t first, int64_t n) {
  constexpr int64_t kWide = S * kVectors;
  const F32 d;
  const I32 di;
  const int64_t groups = (k + K::kGroup - 1) / K::kGroup, words = block_columns();
  const int64_t panel = static_cast<int64_t>(panel_bytes<K>(k)) / 4;
  const auto* const w0 = reinterpret_cast<const int32_t*>(panels);
  const int32_t* rows[R];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) rows[r] = a.rows + (first_row + r) * a.stride;
  typename K::Sum sum[R][kWide];
#pragma GCC unroll 16
  for (int64_t v = 0; v < kWide; ++v) {
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) sum[r][v] = K::zero();
  }
  const int32_t* w = w0;
  for (int64_t i = 0; i < groups; ++i, w += words) {
    hn::Vec<I32> column[kWide];
#pragma GCC unroll 16
    for (int64_t v = 0; v < kWide; ++v)
      column[v] = hn::Load(di, w + v / kVectors * panel + v % kVectors * lanes());
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      const auto x = hn::Set(di, rows[r][i]);
#pragma GCC unroll 16
      for (int64_t v = 0; v < kWide; ++v) sum[r][v] = K::add_dot(x, column[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int64_t v = 0; v < kWide; ++v) {
    const int64_t at = first + v * lanes(), left = n - at;
    if (left <= 0) continue;
    const auto some = static_cast<size_t>(std::min(left, lanes()));
    const auto load = [&](const void* p) {
      return hn::LoadN(d, static_cast<const float*>(p) + at, some);
    };
    [[maybe_unused]] const int32_t* const tail =
        w0 + v / kVectors * panel + groups * words + v % kVectors * lanes();
    const VF bias = g.bias == nullptr ? hn::Zero(d) : load(g.bias);
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      VF y;
      if constexpr (K::kScaled) {
        const VF scale = hn::Mul(hn::Load(d, reinterpret_cast<const float*>(tail)),
                                 hn::Set(d, a.scales[first_row + r]));
        const auto whole = hn::Sub(sum[r][v], hn::ShiftLeft<7>(hn::Load(di, tail + words)));
        y = hn::Mul(hn::ConvertTo(d, whole), scale);
      } else {
        y = sum[r][v];
      }
      y = hn::Add(y, bias);
      if (g.c != nullptr) y = hn::Add(y, load(g.c[first_row + r]));
      hn::StoreN(y, d, static_cast<float*>(g.y[first_row + r]) + at, some);
    }
  }
}

template <class K>
struct Tiles {
  const GemmRows& g;
  Groups a;
  int64_t k, n;
  const std::byte* packed;

  template <int64_t R, int64_t S>
  HWY_INLINE void tile(int64_t first_row, int64_t first) const {
    const std::byte* const panels =
        packed + static_cast<size_t>(first / block_columns()) * panel_bytes<K>(k);
    cpu::HWY_NAMESPACE::tile<K, R, S>(g, a, first_row, k, panels, first, n);
  }
};

template <class K>
size_t scratch_bytes(int64_t rows, int64_t k) {
  const int64_t groups = (k + K::kGroup - 1) / K::kGroup;
  return align(static_cast<size_t>(rows * groups) * 4) + align(static_cast<size_t>(rows) * 4);
}

template <class K>
void run(const GemmRows& g, int64_t k, const void* packed, int64_t n) {
  using E = typename K::Element;
  const int64_t groups = (k + K::kGroup - 1) / K::kGroup;
  auto* const rows = static_cast<int32_t*>(g.scratch);
  auto* const scales = reinterpret_cast<float*>(static_cast<std::byte*>(g.scratch) +
                                                align(static_cast<size_t>(g.rows * groups) * 4));
  for (int64_t r = 0; r < g.rows; ++r) {
    if (groups > 0) rows[(r + 1) * groups - 1] = 0;  // what is beyond k
    narrow(K(), static_cast<const float*>(g.a[r]), k, reinterpret_cast<E*>(rows + r * groups),
           scales + r);
  }
  for_tiles(Tiles<K>{g, {rows, groups, scales}, k, n, static_cast<const std::byte*>(packed)},
            g.rows, n, block_columns(), g.backwards);
}

template <class K>
const RowGemm* gemm_of(Precision p) {
  static const RowGemm g{p,       block_columns(), packed_bytes<K>, pack<K>,
                         nullptr, run<K>,          scratch_bytes<K>};
  return &g;
}
const RowGemm* bf16_gemm() { return gemm_of<Bf16>(Precision::bf16); }
const RowGemm* int8_gemm() { return gemm_of<Int8>(Precision::int8); }

}  // namespace
}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {
HWY_EXPORT(bf16_gemm);
HWY_EXPORT(int8_gemm);
const RowGemm& row_gemm_low(Precision p) {
  return p == Precision::bf16 ? *HWY_DYNAMIC_DISPATCH(bf16_gemm)()
                              : *HWY_DYNAMIC_DISPATCH(int8_gemm)();
}
}  // namespace rondo::cpu
#endif
