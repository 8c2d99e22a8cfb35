// Elementwise ops: one row of elementwise.def each, with broadcasting as in NumPy, and the
// operators that read like maths.
//
// Symbols never broadcast, only a literal 1 does. Literals take the dtype of the operand beside
// them; other dtypes are never mixed (the error says which cast to write).
#pragma once

#include <rondo/graph/signature.h>
#include <rondo/ops/operand.h>

namespace rondo {

#define RONDO_UNARY(name, kind, formula, derivative, low, high, doc) \
  template <Operable V>                                              \
  V name(V x, Site at = Site::here());
#define RONDO_UNARY1(name, p, p0, formula, derivative, low, high, doc) \
  template <Operable V>                                                \
  V name(V x, double p, Site at = Site::here());
#define RONDO_UNARY2(name, p, p0, q, q0, formula, derivative, low, high, doc) \
  template <Operable V>                                                       \
  V name(V x, double p, double q, Site at = Site::here());
#define RONDO_BINARY(name, kind, formula, da, db, low, high, doc) \
  template <Operable V>                                           \
  V name(V a, std::type_identity_t<Operand<V>> b, Site at = Site::here());
#include <rondo/ops/elementwise.def>
#undef RONDO_UNARY
#undef RONDO_UNARY1
#undef RONDO_UNARY2
#undef RONDO_BINARY

/// y = a where condition holds, else b; the three are broadcast. What is not selected reaches no
/// value, and its gradient is 0 (an infinite slope there makes NaN of it: guard the operand).
/// Shapes: condition[...]:bool, a[...], b[...] of one dtype.
template <Operable V>
V where(V condition, std::type_identity_t<Operand<V>> a, std::type_identity_t<Operand<V>> b,
        Site at = Site::here());

/// y = (1 - t) a + t b; the three are broadcast. Shapes: a[...], b[...], t[...] of one float dtype.
template <Operable V>
V lerp(V a, std::type_identity_t<Operand<V>> b, std::type_identity_t<Operand<V>> t,
       Site at = Site::here());

/// The same numbers in another dtype (to nearest even; floats to integers towards zero, NaN to 0).
template <Operable V>
V cast(V x, DType dtype, Site at = Site::here());

/// y = x, and no gradient flows back.
template <Operable V>
V stop_gradient(V x, Site at = Site::here());

/// The shape that operands of shapes `a` and `b` are broadcast to, for an op's inference.
Shape broadcast_shapes(const InferContext& c, const Shape& a, const Shape& b);

/// Sums `g` over the axes along which a value of shape `target` was broadcast.
Var unbroadcast(const Var& g, const Shape& target);

#define RONDO_OPERATOR(symbol, function)                                              \
  inline Var operator symbol(const Operand<Var>& a, const Operand<Var>& b) {          \
    return function(a.beside(b), b, a.site());                                        \
  }                                                                                   \
  inline Tensor operator symbol(const Operand<Tensor>& a, const Operand<Tensor>& b) { \
    return function(a.beside(b), b, a.site());                                        \
  }
RONDO_OPERATOR(+, add)
RONDO_OPERATOR(-, sub)
RONDO_OPERATOR(*, mul)
RONDO_OPERATOR(/, div)
RONDO_OPERATOR(<, less)
RONDO_OPERATOR(<=, less_equal)
RONDO_OPERATOR(>, greater)
RONDO_OPERATOR(>=, greater_equal)
#undef RONDO_OPERATOR
inline Var operator-(const Var& x) { return neg(x); }
inline Tensor operator-(const Tensor& x) { return neg(x); }

}  // namespace rondo
