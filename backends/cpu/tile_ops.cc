#include <rondo/backends/cpu/tile_ops.h>

#include <cstdint>

#include <rondo/backends/cpu/simd_targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rondo/backends/cpu/tile_ops.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <rondo/backends/cpu/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace {

// One vector of results from one vector of operands; what an op does not need it ignores.
#define RONDO_VECTOR_OP(name, expression)                                                     \
  struct name {                                                                               \
    template <class D, class V>                                                               \
    HWY_INLINE V operator()([[maybe_unused]] D d, [[maybe_unused]] V a, [[maybe_unused]] V b, \
                            [[maybe_unused]] V c) const {                                     \
      [[maybe_unused]] const V zero = hn::Zero(d);                                            \
      [[maybe_unused]] const V one = hn::Set(d, hn::TFromD<D>(1));                            \
      return expression;                                                                      \
    }                                                                                         \
  };
RONDO_VECTOR_OP(Copy, a)
RONDO_VECTOR_OP(Add, hn::Add(a, b))
RONDO_VECTOR_OP(Sub, hn::Sub(a, b))
RONDO_VECTOR_OP(Mul, hn::Mul(a, b))
RONDO_VECTOR_OP(Div, hn::Div(a, b))
RONDO_VECTOR_OP(Min, hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Le(a, b)), a, b))
RONDO_VECTOR_OP(Max, hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Ge(a, b)), a, b))
RONDO_VECTOR_OP(Neg, hn::Neg(a))
RONDO_VECTOR_OP(Abs, hn::Abs(a))
RONDO_VECTOR_OP(Sign, keep_nan(a, hn::Sub(hn::IfThenElseZero(hn::Gt(a, zero), one),
                                          hn::IfThenElseZero(hn::Lt(a, zero), one))))
RONDO_VECTOR_OP(Floor, hn::Floor(a))
RONDO_VECTOR_OP(Ceil, hn::Ceil(a))
RONDO_VECTOR_OP(Round, hn::Round(a))
RONDO_VECTOR_OP(Exp, exp_of(d, a))
RONDO_VECTOR_OP(Expm1, expm1_of(d, a))
RONDO_VECTOR_OP(Log, log_of(d, a))
RONDO_VECTOR_OP(Log1p, log1p_of(d, a))
RONDO_VECTOR_OP(Sqrt, hn::Sqrt(a))
RONDO_VECTOR_OP(Tanh, tanh_of(d, a))
RONDO_VECTOR_OP(Sigmoid, sigmoid_of(d, a))
RONDO_VECTOR_OP(Less, hn::IfThenElseZero(hn::Lt(a, b), one))
RONDO_VECTOR_OP(LessEqual, hn::IfThenElseZero(hn::Le(a, b), one))
RONDO_VECTOR_OP(Greater, hn::IfThenElseZero(hn::Gt(a, b), one))
RONDO_VECTOR_OP(GreaterEqual, hn::IfThenElseZero(hn::Ge(a, b), one))
RONDO_VECTOR_OP(Equal, hn::IfThenElseZero(hn::Eq(a, b), one))
RONDO_VECTOR_OP(NotEqual, hn::IfThenZeroElse(hn::Eq(a, b), one))  // hn::Ne says no to NaN
RONDO_VECTOR_OP(And, hn::IfThenZeroElse(hn::Or(hn::Eq(a, zero), hn::Eq(b, zero)), one))
RONDO_VECTOR_OP(Or, hn::IfThenZeroElse(hn::And(hn::Eq(a, zero), hn::Eq(b, zero)), one))
RONDO_VECTOR_OP(Not, hn::IfThenElseZero(hn::Eq(a, zero), one))
RONDO_VECTOR_OP(Select, hn::IfThenElse(hn::Eq(a, zero), c, b))
RONDO_VECTOR_OP(From, hn::Sub(b, a))

template <class In, class Out>
struct Pair {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V a, V b, V c) const {
    const V inner = In()(d, a, b, b);
    return Out()(d, inner, c, c);
  }
};

// The last elements of a row go through the same operations in a partial vector, so that their bits
// are those of all others.
template <class T, class Op, int kArity>
HWY_INLINE void map_row(T* y, const T* a, const T* b, const T* c, size_t n) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const Op op;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto va = hn::LoadU(d, a + i);
    hn::StoreU(
        op(d, va, kArity >= 2 ? hn::LoadU(d, b + i) : va, kArity >= 3 ? hn::LoadU(d, c + i) : va),
        d, y + i);
  }
  if (i < n) {
    const auto va = hn::LoadN(d, a + i, n - i);
    hn::StoreN(op(d, va, kArity >= 2 ? hn::LoadN(d, b + i, n - i) : va,
                  kArity >= 3 ? hn::LoadN(d, c + i, n - i) : va),
               d, y + i, n - i);
  }
}

template <class T, class Op, int kArity>
void map(Fn, const TileRows& t) {
  for_rows<T, T>(t, kArity, [](T* y, const T* a, const T* b, const T* c, size_t n) {
    map_row<T, Op, kArity>(y, a, b, c, n);
  });
}

#undef RONDO_VECTOR_OP

template <class T, class In>
constexpr std::array<TileFn, 4> kPairsWith{map<T, Pair<In, Add>, 3>, map<T, Pair<In, Sub>, 3>,
                                           map<T, Pair<In, Mul>, 3>, map<T, Pair<In, From>, 3>};
template <class T>
constexpr PairTable kPairs{kPairsWith<T, Add>, kPairsWith<T, Sub>, kPairsWith<T, Mul>};

// Conversions between bytes 0 or 1 and numbers 0 or 1.
template <class D, HWY_IF_F32_D(D)>
HWY_INLINE hn::Vec<D> from_bytes(D d, hn::Vec<hn::Rebind<uint8_t, D>> v) {
  return hn::ConvertTo(d, hn::PromoteTo(hn::Rebind<int32_t, D>(), v));
}
template <class D, HWY_IF_F64_D(D)>
HWY_INLINE hn::Vec<D> from_bytes(D d, hn::Vec<hn::Rebind<uint8_t, D>> v) {
  return hn::PromoteTo(d, hn::PromoteTo(hn::Rebind<int32_t, D>(), v));
}
template <class D, HWY_IF_F32_D(D)>
HWY_INLINE hn::Vec<hn::Rebind<uint8_t, D>> to_bytes(D, hn::Vec<D> v) {
  return hn::DemoteTo(hn::Rebind<uint8_t, D>(), hn::ConvertTo(hn::Rebind<int32_t, D>(), v));
}
template <class D, HWY_IF_F64_D(D)>
HWY_INLINE hn::Vec<hn::Rebind<uint8_t, D>> to_bytes(D, hn::Vec<D> v) {
  return hn::DemoteTo(hn::Rebind<uint8_t, D>(), hn::DemoteTo(hn::Rebind<int32_t, D>(), v));
}

template <class T>
void bool_to_number(Fn, const TileRows& t) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t lanes = hn::Lanes(d);
  for_rows<T, uint8_t>(t, 1, [&](T* y, const uint8_t* a, const uint8_t*, const uint8_t*, size_t n) {
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(from_bytes(d, hn::LoadU(d8, a + i)), d, y + i);
    if (i < n) hn::StoreN(from_bytes(d, hn::LoadN(d8, a + i, n - i)), d, y + i, n - i);
  });
}

template <class T>
void number_to_bool(Fn, const TileRows& t) {
  const hn::ScalableTag<T> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t lanes = hn::Lanes(d);
  for_rows<uint8_t, T>(t, 1, [&](uint8_t* y, const T* a, const T*, const T*, size_t n) {
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(to_bytes(d, hn::LoadU(d, a + i)), d8, y + i);
    if (i < n) hn::StoreN(to_bytes(d, hn::LoadN(d, a + i, n - i)), d8, y + i, n - i);
  });
}

template <class T>
std::array<TileFn, kFnCount> ops_of() {
  std::array<TileFn, kFnCount> r{};
  const auto row = [&r](Fn fn, TileFn f) { r[static_cast<size_t>(fn)] = f; };
  row(Fn::kInput, map<T, Copy, 1>);
  row(Fn::kAdd, map<T, Add, 2>);
  row(Fn::kSub, map<T, Sub, 2>);
  row(Fn::kMul, map<T, Mul, 2>);
  row(Fn::kDiv, map<T, Div, 2>);
  row(Fn::kMin, map<T, Min, 2>);
  row(Fn::kMax, map<T, Max, 2>);
  row(Fn::kNeg, map<T, Neg, 1>);
  row(Fn::kAbs, map<T, Abs, 1>);
  row(Fn::kSign, map<T, Sign, 1>);
  row(Fn::kFloor, map<T, Floor, 1>);
  row(Fn::kCeil, map<T, Ceil, 1>);
  row(Fn::kRound, map<T, Round, 1>);
  row(Fn::kExp, map<T, Exp, 1>);
  row(Fn::kExpm1, map<T, Expm1, 1>);
  row(Fn::kLog, map<T, Log, 1>);
  row(Fn::kLog1p, map<T, Log1p, 1>);
  row(Fn::kSqrt, map<T, Sqrt, 1>);
  row(Fn::kTanh, map<T, Tanh, 1>);
  row(Fn::kSigmoid, map<T, Sigmoid, 1>);
  row(Fn::kLess, map<T, Less, 2>);
  row(Fn::kLessEqual, map<T, LessEqual, 2>);
  row(Fn::kGreater, map<T, Greater, 2>);
  row(Fn::kGreaterEqual, map<T, GreaterEqual, 2>);
  row(Fn::kEqual, map<T, Equal, 2>);
  row(Fn::kNotEqual, map<T, NotEqual, 2>);
  row(Fn::kAnd, map<T, And, 2>);
  row(Fn::kOr, map<T, Or, 2>);
  row(Fn::kNot, map<T, Not, 1>);
  row(Fn::kSelect, map<T, Select, 3>);
  return r;
}

const TileOps* table() {
  static const TileOps ops{.f32 = ops_of<float>(),
                           .f64 = ops_of<double>(),
                           .f32_pairs = kPairs<float>,
                           .f64_pairs = kPairs<double>,
                           .bool_to_f32 = bool_to_number<float>,
                           .bool_to_f64 = bool_to_number<double>,
                           .f32_to_bool = number_to_bool<float>,
                           .f64_to_bool = number_to_bool<double>};
  return &ops;
}

}  // namespace
}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {
HWY_EXPORT(table);
const TileOps& tile_ops() { return *HWY_DYNAMIC_DISPATCH(table)(); }
}  // namespace rondo::cpu
#endif
