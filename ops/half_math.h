// Half floats can neither count far nor square much: where a lowering of several steps must not
// round or overflow in between, it works in f32. Internal to ops/.
#pragma once

#include <rondo/ops/elementwise.h>

namespace rondo {

/// bf16 and f16 as f32; other values, and none, as they are.
inline Var widened(const Var& v) { return v && is_half(v.dtype()) ? cast(v, f32) : v; }
/// Back to the dtype that the call has.
inline Var narrowed(const Var& v, DType t) { return v.dtype() == t ? v : cast(v, t); }

}  // namespace rondo
