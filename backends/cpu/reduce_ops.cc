#include <rondo/backends/cpu/reduce_ops.h>

#include <cmath>
#include <limits>

#include <rondo/backends/cpu/simd_targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rondo/backends/cpu/reduce_ops.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <rondo/backends/cpu/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kRowsAtOnce = 64;  // added up by themselves first: fewer roundings stand in a row

struct Sum {
  template <class T>
  static T identity() {
    return T{0};
  }
  template <class V>
  static HWY_INLINE V join(V a, V b) {
    return hn::Add(a, b);
  }
  template <class T>
  static T join_one(T a, T b) {
    return a + b;
  }
};

struct Prod {
  template <class T>
  static T identity() {
    return T{1};
  }
  template <class V>
  static HWY_INLINE V join(V a, V b) {
    return hn::Mul(a, b);
  }
  template <class T>
  static T join_one(T a, T b) {
    return a * b;
  }
};

// NaN passes through; of equals the first stays.
struct Max {
  template <class T>
  static T identity() {
    return -std::numeric_limits<T>::infinity();
  }
  template <class V>
  static HWY_INLINE V join(V a, V b) {
    return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Ge(a, b)), a, b);
  }
  template <class T>
  static T join_one(T a, T b) {
    return std::isnan(a) || a >= b ? a : b;
  }
};

struct Min {
  template <class T>
  static T identity() {
    return std::numeric_limits<T>::infinity();
  }
  template <class V>
  static HWY_INLINE V join(V a, V b) {
    return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Le(a, b)), a, b);
  }
  template <class T>
  static T join_one(T a, T b) {
    return std::isnan(a) || a <= b ? a : b;
  }
};

template <class Op, class D, class V>
HWY_INLINE hn::TFromD<D> join_lanes(D d, V v) {
  using T = hn::TFromD<D>;
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  T r = lanes[0];
  for (size_t i = 1; i < hn::Lanes(d); ++i) r = Op::join_one(r, lanes[i]);
  return r;
}

template <class Op, class T>
T row(const T* x, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto identity = hn::Set(d, Op::template identity<T>());
  auto a0 = identity, a1 = identity, a2 = identity, a3 = identity;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = Op::join(a0, hn::LoadU(d, x + i));
    a1 = Op::join(a1, hn::LoadU(d, x + i + lanes));
    a2 = Op::join(a2, hn::LoadU(d, x + i + 2 * lanes));
    a3 = Op::join(a3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = Op::join(a0, hn::LoadU(d, x + i));
  if (i < n) a1 = Op::join(a1, hn::LoadNOr(identity, d, x + i, static_cast<size_t>(n - i)));
  return join_lanes<Op>(d, Op::join(Op::join(a0, a1), Op::join(a2, a3)));
}

// Four vectors of columns at a time stay in registers for all rows.
template <class Op, class T>
void columns(const T* x, int64_t rows, int64_t stride, int64_t count, T* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto identity = hn::Set(d, Op::template identity<T>());
  int64_t c = 0;
  for (; c + 4 * lanes <= count; c += 4 * lanes) {
    auto t0 = identity, t1 = identity, t2 = identity, t3 = identity;
    for (int64_t r = 0; r < rows;) {
      const int64_t end = HWY_MIN(rows, r + kRowsAtOnce);
      auto a0 = identity, a1 = identity, a2 = identity, a3 = identity;
      for (; r < end; ++r) {
        const T* const at = x + r * stride + c;
        a0 = Op::join(a0, hn::LoadU(d, at));
        a1 = Op::join(a1, hn::LoadU(d, at + lanes));
        a2 = Op::join(a2, hn::LoadU(d, at + 2 * lanes));
        a3 = Op::join(a3, hn::LoadU(d, at + 3 * lanes));
      }
      t0 = Op::join(t0, a0);
      t1 = Op::join(t1, a1);
      t2 = Op::join(t2, a2);
      t3 = Op::join(t3, a3);
    }
    hn::StoreU(t0, d, y + c);
    hn::StoreU(t1, d, y + c + lanes);
    hn::StoreU(t2, d, y + c + 2 * lanes);
    hn::StoreU(t3, d, y + c + 3 * lanes);
  }
  for (; c < count; c += lanes) {
    const auto n = static_cast<size_t>(HWY_MIN(lanes, count - c));
    auto total = identity;
    for (int64_t r = 0; r < rows;) {
      const int64_t end = HWY_MIN(rows, r + kRowsAtOnce);
      auto a = identity;
      for (; r < end; ++r) a = Op::join(a, hn::LoadN(d, x + r * stride + c, n));
      total = Op::join(total, a);
    }
    hn::StoreN(total, d, y + c, n);
  }
}

template <class T>
void softmax(const T* x, T* y, int64_t n, bool logarithm) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto largest = hn::Set(d, row<Max, T>(x, n));
  auto sums = hn::Zero(d);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto count = static_cast<size_t>(HWY_MIN(lanes, n - i));
    const auto below = hn::Sub(hn::LoadN(d, x + i, count), largest);
    const auto e = exp_of(d, below);
    sums = hn::Add(sums, hn::IfThenElseZero(hn::FirstN(d, count), e));
    hn::StoreN(logarithm ? below : e, d, y + i, count);
  }
  const T sum = join_lanes<Sum>(d, sums);
  const auto operand = hn::Set(d, logarithm ? std::log(sum) : sum);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto count = static_cast<size_t>(HWY_MIN(lanes, n - i));
    const auto v = hn::LoadN(d, y + i, count);
    hn::StoreN(logarithm ? hn::Sub(v, operand) : hn::Div(v, operand), d, y + i, count);
  }
}

template <class Op, class T>
ReduceOps<T> reduction() {
  return {row<Op, T>, columns<Op, T>, Op::template join_one<T>, Op::template identity<T>()};
}

template <class T>
RowOps<T> ops_of() {
  return {reduction<Sum, T>(), reduction<Prod, T>(), reduction<Max, T>(), reduction<Min, T>(),
          softmax<T>};
}
const RowOps<float>* row_table_f32() {
  static const RowOps<float> ops = ops_of<float>();
  return &ops;
}
const RowOps<double>* row_table_f64() {
  static const RowOps<double> ops = ops_of<double>();
  return &ops;
}

}  // namespace
}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {
HWY_EXPORT(row_table_f32);
HWY_EXPORT(row_table_f64);
template <>
const RowOps<float>& row_ops<float>() {
  return *HWY_DYNAMIC_DISPATCH(row_table_f32)();
}
template <>
const RowOps<double>& row_ops<double>() {
  return *HWY_DYNAMIC_DISPATCH(row_table_f64)();
}
}  // namespace rondo::cpu
#endif
