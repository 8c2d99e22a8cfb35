// Elementary functions on Highway vectors: NaN stays NaN, infinities and denormals are right, a few
// units in the last place. Included once per instruction set, like all of Highway's -inl.h headers.
#if defined(RONDO_BACKENDS_CPU_MATH_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)  // NOLINT: a guard per target
#ifdef RONDO_BACKENDS_CPU_MATH_INL_H_
#undef RONDO_BACKENDS_CPU_MATH_INL_H_
#else
#define RONDO_BACKENDS_CPU_MATH_INL_H_
#endif

#include <limits>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Highway's own functions lose NaN.
template <class V>
HWY_INLINE V keep_nan(V x, V y) {
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// x, but no less, or no more; NaN stays NaN: on x86 both give their second operand.
template <class D, class V>
HWY_INLINE V at_least(D d, hn::TFromD<D> low, V x) {
  const V y = hn::Max(hn::Set(d, low), x);
  return HWY_ARCH_X86 ? y : keep_nan(x, y);
}
template <class D, class V>
HWY_INLINE V at_most(D d, hn::TFromD<D> high, V x) {
  const V y = hn::Min(hn::Set(d, high), x);
  return HWY_ARCH_X86 ? y : keep_nan(x, y);
}

// 2^n for n in [-126, 127].
template <class D, class VI>
HWY_INLINE hn::Vec<D> power_of_two(D d, VI n) {
  const hn::Rebind<int32_t, D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

// p 2^n for whole n in [-151, 129] and p near 1, rounded once where it is denormal.
template <class D, class V>
HWY_INLINE V times_power(D d, V p, V n) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  if constexpr (sizeof(V) == 64) return V{_mm512_scalef_ps(p.raw, n.raw)};
#endif
  const hn::Rebind<int32_t, D> di;
  const auto whole = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(whole);
  return hn::Mul(hn::Mul(p, power_of_two(d, half)), power_of_two(d, hn::Sub(whole, half)));
}

/// e^x for x in [-104.5, 89], 1 ulp: Cody and Waite's reduction, a polynomial of degree 6 whose
/// first two coefficients are 1 (the others: Remez, for the relative error on |r| <= ln(2) / 2),
/// and 2^n such that results overflow to infinity and underflow through the denormals as they
/// should.
template <class D, class V, HWY_IF_F32_D(D)>
HWY_INLINE V exp_within(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.381461043e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, 8.368710987e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.166838899e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.666652113e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.999999404e-1f));
  p = hn::MulAdd(hn::MulAdd(p, r, one), r, one);
  return times_power(d, p, n);
}
template <class D, class V, HWY_IF_F64_D(D)>
HWY_INLINE V exp_within(D d, V x) {
  return keep_nan(x, hn::Exp(d, x));
}

/// e^x, 1 ulp.
template <class D, class V, HWY_IF_F32_D(D)>
HWY_INLINE V exp_of(D d, V x) {
  return exp_within(d, at_most(d, 89.0f, at_least(d, -104.5f, x)));
}
template <class D, class V, HWY_IF_F64_D(D)>
HWY_INLINE V exp_of(D d, V x) {
  return exp_within(d, at_most(d, 710.0, x));
}

/// e^x - 1, 4 ulp.
template <class D, class V>
HWY_INLINE V expm1_of(D d, V x) {
  using T = hn::TFromD<D>;
  const V y = hn::Expm1(d, hn::Min(x, hn::Set(d, sizeof(T) == 4 ? T(89) : T(710))));
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, keep_nan(x, y));  // -0 stays -0
}

/// Natural logarithm, 4 ulp.
template <class D, class V>
HWY_INLINE V log_of(D d, V x) {
  using T = hn::TFromD<D>;
  const V infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  V y = hn::Log(d, x);
  y = hn::IfThenElse(hn::Eq(x, infinity), x, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, std::numeric_limits<T>::quiet_NaN()), y);
  return keep_nan(x, y);
}

/// log(1 + x), 4 ulp.
template <class D, class V>
HWY_INLINE V log1p_of(D d, V x) {
  using T = hn::TFromD<D>;
  const V infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  const V minus_one = hn::Set(d, T(-1));
  V y = hn::Log1p(d, x);
  y = hn::IfThenElse(hn::Eq(x, infinity), x, y);
  y = hn::IfThenElse(hn::Eq(x, minus_one), hn::Neg(infinity), y);
  y = hn::IfThenElse(hn::Lt(x, minus_one), hn::Set(d, std::numeric_limits<T>::quiet_NaN()), y);
  return keep_nan(x, y);
}

/// tanh, 1 ulp and half an ulp near 1, because gradients need 1 - y^2: an odd polynomial near 0
/// (coefficients: Cephes, Moshier), else 1 - 2 / (e^2|x| + 1).
template <class D, class V, HWY_IF_F32_D(D)>
HWY_INLINE V tanh_of(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V a = hn::Abs(x);
  const V u = hn::Mul(x, x);
  V p = hn::MulAdd(hn::Set(d, -5.70498872745e-3f), u, hn::Set(d, 2.06390887954e-2f));
  p = hn::MulAdd(p, u, hn::Set(d, -5.37397155531e-2f));
  p = hn::MulAdd(p, u, hn::Set(d, 1.33314422036e-1f));
  p = hn::MulAdd(p, u, hn::Set(d, -3.33332819422e-1f));
  const V near = hn::MulAdd(hn::Mul(p, u), x, x);
  const V e = exp_within(d, at_most(d, 89.0f, hn::Add(a, a)));
  const V far = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(e, one)));
  const V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), near, far);  // NaN in both
  return hn::CopySign(y, x);                                             // -0 too
}
template <class D, class V, HWY_IF_F64_D(D)>
HWY_INLINE V tanh_of(D d, V x) {
  return keep_nan(x, hn::Tanh(d, hn::Max(hn::Min(x, hn::Set(d, 350.0)), hn::Set(d, -350.0))));
}

/// 1 / (1 + e^-x), 2 ulp: with z = e^-|x| and q = z / (1 + z) it is 1 - q, or z - z q where x is
/// negative, so that what q lacks counts for little where it is small.
template <class D, class V>
HWY_INLINE V sigmoid_of(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T(1));
  const V z =
      exp_within(d, at_least(d, sizeof(T) == 4 ? T(-104.5) : T(-745.5), hn::Or(x, hn::SignBit(d))));
  const V q = hn::Div(z, hn::Add(one, z));
  const V whole = hn::IfNegativeThenElse(x, z, one);
  return hn::NegMulAdd(whole, q, whole);
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
