// Products of matrices.
#pragma once

#include <rondo/ops/operand.h>

namespace rondo {

struct MatmulOptions {
  bool transpose_a = false;  ///< a is [..., K, M]
  bool transpose_b = false;  ///< b is [..., N, K]
};

/// y = a b.  a[...,M,K], b[K,N] or b[...,K,N] -> y[...,M,N]; leading axes of b, if it has any, must
/// equal a's. Sums are in the order of k, in the operands' dtype (bf16 and f16 in f32).
template <Operable V>
V matmul(V a, std::type_identity_t<V> b, MatmulOptions options = {}, Site at = Site::here());

}  // namespace rondo
