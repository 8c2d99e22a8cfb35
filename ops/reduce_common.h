// What the definitions of reductions share: which axes are meant and refused, the shape of the
// result, and a result spread back over what it was made from.
//
// Internal to ops/: users include ops/reduce.h and ops/statistics.h.
#pragma once

#include <vector>

#include <rondo/graph/op.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>

namespace rondo::reduce_internal {

/// Which axes of an operand of this rank the attribute `axes` names, none = all; refuses one that
/// is not there, or is named twice.
std::vector<bool> chosen_axes(const InferContext& c, size_t rank);

/// `axes` and `keep_dims`, then those of the op's own.
std::vector<AttributeDef> attributes_with(std::vector<AttributeDef> more = {});
std::vector<ValueType> infer_reduce(const InferContext& c);
/// The result of argmax and its like: x without the attribute `axis`, which must not be empty.
std::vector<ValueType> infer_without_axis(const InferContext& c);

ReduceOptions options_of(const Call& c);
Attributes attributes_of(const ReduceOptions& o);

/// The shape of a reduction's result as if the reduced axes had stayed.
Shape kept_shape(const Call& c);
/// A value of the result's shape at all elements of x that it belongs to.
Var spread(const Call& c, const Var& v);
/// How many elements of x go into each of the result, in x's dtype.
Var count_over(const Var& x, const ReduceOptions& o);

/// The gradient of a largest or smallest value: the first of ties takes it.
Vars vjp_of_extreme(const Call& c, const Vars& g);

/// f(x) in x's dtype; halves cannot count or square far, so f works in f32 then.
template <class F>
Var in_f32(const Var& x, F&& f) {
  const DType t = x.dtype();
  return is_half(t) ? cast(f(cast(x, f32)), t) : f(x);
}

/// The largest magnitude of x over the axes, 1 where that is 0 or not finite: squares of x divided
/// by it neither overflow nor are lost. A factor that cancels out, so no gradient flows through it.
Var magnitude_over(const Var& x, std::vector<int64_t> axes);

/// Calls over some axes of floats; and those over an axis that is named twice, or is not there.
std::vector<Sample> samples_of(double low = -1, double high = 1);
std::vector<RefusedCall> refused_axes(DType dtype = f64);
/// Of argmax and its like: an axis that is not there, and one of length 0.
std::vector<RefusedCall> refused_searches();

}  // namespace rondo::reduce_internal
