// Products with weights in bf16 or in 8 bits: half and a quarter of the bytes, and where the
// machine multiplies pairs and quads of them quickly, up to twice and four times the speed.
// Sums are made in vectors or, where it has them, in tiles (tiles.h), of the same packed weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <rondo/backends/cpu/isa.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/tiles.h>

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

// Highway's AVX3_SPR are Intel's processors, which take two cycles to multiply pairs in one
// instruction (measured on Emerald Rapids): as vectors of f32 they are 1.4 times as quick.
#undef RONDO_PAIRS_IN_ONE
#define RONDO_PAIRS_IN_ONE (HWY_NATIVE_DOT_BF16 && HWY_TARGET != HWY_AVX3_SPR)

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
  static constexpr auto kTiles = &TileUnit::multiply_bf16;
  static HWY_INLINE Sum zero() { return hn::Zero(F32()); }
  static HWY_INLINE Sum add_dot(hn::Vec<I32> a, hn::Vec<I32> w, Sum sum) {
    const hn::Repartition<hwy::bfloat16_t, F32> d;
#if RONDO_PAIRS_IN_ONE
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
  static constexpr auto kTiles = &TileUnit::multiply_int8;
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

template <class K>
int64_t groups_of(int64_t k) {
  return (k + K::kGroup - 1) / K::kGroup;
}

// Of a panel: the columns' groups, then, where numbers are scaled, each column's scale and the sum
// of its numbers.
template <class K>
size_t panel_bytes(int64_t k) {
  const int64_t words = block_columns() * (groups_of<K>(k) + (K::kScaled ? 2 : 0));
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
  const int64_t block = block_columns(), groups = groups_of<K>(k);
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

// Rows of a in groups, and their scales, one after another in the scratch.
struct Groups {
  int32_t* rows;
  int64_t stride;  // groups of a row
  float* scales;

  static size_t bytes(int64_t rows, int64_t stride) {
    return align(static_cast<size_t>(rows * stride) * 4) + align(static_cast<size_t>(rows) * 4);
  }
  Groups(void* scratch, int64_t count, int64_t stride)
      : rows(static_cast<int32_t*>(scratch)),
        stride(stride),
        scales(reinterpret_cast<float*>(static_cast<std::byte*>(scratch) +
                                        align(static_cast<size_t>(count * stride) * 4))) {}

  template <class K>
  void fill(const GemmRows& g, int64_t k) const {
    const int64_t groups = groups_of<K>(k);
    for (int64_t r = 0; r < g.rows; ++r) {
      int32_t* const row = rows + r * stride;
      if (groups > 0) row[groups - 1] = 0;  // what is beyond k
      narrow(K(), static_cast<const float*>(g.a[r]), k, reinterpret_cast<typename K::Element*>(row),
             scales + r);
    }
  }
};

// What becomes of the sums of one vector of columns, from `at` on: the ends of their panel scale
// them, bias and c are added, and those below n are results.
template <class K>
struct Results {
  const GemmRows& g;
  const float* scales;
  int64_t at;
  size_t some;
  VF bias, scale;
  hn::Vec<I32> shift;

  HWY_INLINE Results(const GemmRows& g, const Groups& a, int64_t at, int64_t n, const int32_t* ends)
      : g(g),
        scales(a.scales),
        at(at),
        some(static_cast<size_t>(std::min(n - at, lanes()))),
        bias(g.bias == nullptr ? hn::Zero(F32()) : load(g.bias)) {
    if constexpr (K::kScaled) {
      scale = hn::Load(F32(), reinterpret_cast<const float*>(ends));
      shift = hn::ShiftLeft<7>(hn::Load(I32(), ends + block_columns()));
    }
  }
  HWY_INLINE VF load(const void* p) const {
    return hn::LoadN(F32(), static_cast<const float*>(p) + at, some);
  }
  HWY_INLINE void put(int64_t row, typename K::Sum sum) const {
    const F32 d;
    VF y;
    if constexpr (K::kScaled) {
      y = hn::Mul(hn::ConvertTo(d, hn::Sub(sum, shift)), hn::Mul(scale, hn::Set(d, scales[row])));
    } else {
      y = sum;
    }
    y = hn::Add(y, bias);
    if (g.c != nullptr) y = hn::Add(y, load(g.c[row]));
    hn::StoreN(y, d, static_cast<float*>(g.y[row]) + at, some);
  }
};

template <class K, int64_t R, int64_t S>
HWY_INLINE void tile(const GemmRows& g, const Groups& a, int64_t first_row, int64_t k,
                     const std::byte* panels, int64_t first, int64_t n, Ahead ahead) {
  constexpr int64_t kWide = S * kVectors;
  const I32 di;
  const int64_t groups = groups_of<K>(k), words = block_columns();
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
    if (S == 1) ahead.fetch();
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
    const int64_t at = first + v * lanes();
    if (at >= n) continue;
    const Results<K> results(g, a, at, n,
                             w0 + v / kVectors * panel + groups * words + v % kVectors * lanes());
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) results.put(first_row + r, sum[r][v]);
  }
}

template <class K>
struct Tiles {
  const GemmRows& g;
  Groups a;
  int64_t k, n;
  const std::byte* packed;

  const std::byte* panels(int64_t first) const {
    return packed + static_cast<size_t>(first / block_columns()) * panel_bytes<K>(k);
  }
  HWY_INLINE Ahead ahead(int64_t next, int64_t i) const {
    return {next < 0 ? nullptr : panels(next), block_columns() * 4, groups_of<K>(k), i, packed};
  }
  template <int64_t R, int64_t S>
  HWY_INLINE void tile(int64_t first_row, int64_t first, Ahead ahead) const {
    cpu::HWY_NAMESPACE::tile<K, R, S>(g, a, first_row, k, panels(first), first, n, ahead);
  }
};

template <class K>
size_t scratch_bytes(int64_t rows, int64_t k) {
  return Groups::bytes(rows, groups_of<K>(k));
}

template <class K>
void run(const GemmRows& g, int64_t k, const void* packed, int64_t n) {
  const Groups a(g.scratch, g.rows, groups_of<K>(k));
  a.fill<K>(g, k);
  for_tiles(Tiles<K>{g, a, k, n, static_cast<const std::byte*>(packed)}, g.rows, n, block_columns(),
            g.backwards);
}

// How rows and their k are cut into tiles of one shape.
struct Cut {
  int64_t groups, depth, steps, stride, high, height;

  Cut(int64_t rows, int64_t groups)
      : groups(groups),
        depth(std::clamp<int64_t>(groups, 1, kTileSide)),
        steps(tile_steps(groups, depth)),
        // An odd number of lines, or the rows of a tile would share few places in the cache.
        stride((steps * depth / kTileSide | 1) * kTileSide),
        high(std::max<int64_t>(1, (rows + kTileSide - 1) / kTileSide)),
        height(std::max<int64_t>(1, (rows + high - 1) / high)) {}

  int64_t rows() const { return high * height; }  // what is in those beyond reaches no result
  // The last tile of k has zeros for what the one before had.
  void part(int32_t* row) const {
    const int64_t again = steps * depth - groups, last = groups - (steps - 1) * depth;
    if (again == 0) return;
    int32_t* const tile = row + (steps - 1) * depth;
    std::memmove(tile + again, tile, static_cast<size_t>(last) * 4);
    std::fill_n(tile, again, 0);
  }
};

template <class K>
size_t scratch_of_tiles(int64_t rows, int64_t k) {
  const Cut cut(rows, groups_of<K>(k));
  return Groups::bytes(cut.rows(), cut.stride);
}

// Sums of floats go this way however few the rows are, for their bits are the tiles' own; those of
// integers are the same everywhere, and few rows wait for the weights, not for arithmetic.
template <class K>
void run_on_tiles(const GemmRows& g, int64_t k, const void* packed, int64_t n) {
  constexpr int64_t kFewRows = 4, kWidest = kTileSide * 4;
  if (K::kScaled && g.rows < kFewRows) return run<K>(g, k, packed, n);
  const TileUnit& unit = tile_unit();
  const int64_t groups = groups_of<K>(k), block = block_columns();
  const Cut cut(g.rows, groups);
  const Groups a(g.scratch, cut.rows(), cut.stride);
  a.fill<K>(g, k);
  for (int64_t r = 0; r < g.rows; ++r) cut.part(a.rows + r * a.stride);
  const TileShape shape{cut.height, cut.depth, std::min(block, kTileSide)};
  alignas(64) int32_t sums[2 * kTileSide * kWidest];
  unit.configure(shape);
  const int64_t blocks = (n + block - 1) / block;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t b = g.backwards ? blocks - 1 - i : i, first = b * block;
    const int64_t columns = std::min(block, n - first);
    const auto* const w = reinterpret_cast<const int32_t*>(
        static_cast<const std::byte*>(packed) + static_cast<size_t>(b) * panel_bytes<K>(k));
    for (int64_t t = 0; t < cut.high; t += 2) {
      const int64_t high = std::min<int64_t>(2, cut.high - t), row = t * cut.height;
      (unit.*K::kTiles)({shape, a.rows + row * a.stride, a.stride, w, block, groups, high,
                         (columns + shape.width - 1) / shape.width, sums, block});
      const int64_t rows = std::min(high * cut.height, g.rows - row);
      for (int64_t j = 0; j < columns; j += lanes()) {
        const Results<K> results(g, a, first + j, n, w + groups * block + j);
        for (int64_t r = 0; r < rows; ++r)
          results.put(row + r, hn::BitCast(hn::DFromV<typename K::Sum>(),
                                           hn::Load(I32(), sums + r * block + j)));
      }
    }
  }
  unit.release();
}

template <class K>
const RowGemm* gemm_of(Precision p, bool tiles) {
  static const RowGemm g[] = {
      {p, block_columns(), packed_bytes<K>, pack<K>, nullptr, run<K>, scratch_bytes<K>},
      {p, block_columns(), packed_bytes<K>, pack<K>, nullptr, run_on_tiles<K>, scratch_of_tiles<K>},
  };
  return g + (tiles ? 1 : 0);
}
const RowGemm* bf16_gemm(bool tiles) { return gemm_of<Bf16>(Precision::bf16, tiles); }
const RowGemm* int8_gemm(bool tiles) { return gemm_of<Int8>(Precision::int8, tiles); }

}  // namespace
}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {
HWY_EXPORT(bf16_gemm);
HWY_EXPORT(int8_gemm);
const RowGemm& row_gemm_low(Precision p) {
  return p == Precision::bf16 ? *HWY_DYNAMIC_DISPATCH(bf16_gemm)(tiles_chosen())
                              : *HWY_DYNAMIC_DISPATCH(int8_gemm)(tiles_chosen());
}
}  // namespace rondo::cpu
#endif
