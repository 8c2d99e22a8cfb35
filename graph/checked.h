// Size arithmetic that cannot wrap: every product of dimensions in the library goes through here.
#pragma once

#include <cstdint>

#include <rondo/graph/error.h>

namespace rondo {

/// a b and a + b; an Error where they do not fit 64 bits.
/// @{
inline int64_t checked_mul(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) {
    fail(Fault::kArgument, "shape.size.overflow", "size overflow: ", a, " * ", b,
         " does not fit 64 bits");
  }
  return r;
}

inline int64_t checked_add(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) {
    fail(Fault::kArgument, "shape.size.overflow", "size overflow: ", a, " + ", b,
         " does not fit 64 bits");
  }
  return r;
}
/// @}

}  // namespace rondo
