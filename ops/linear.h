// Products of matrices.
#pragma once

#include <rondo/ops/operand.h>

namespace rondo {

/// How matmul takes its operands.
struct MatmulOptions {
  bool transpose_a = false;  ///< a is [..., K, M]
  bool transpose_b = false;  ///< b is [..., N, K]
};

/// y = a b.  a[...,M,K], b[...,K,N] -> y[...,M,N]; leading axes are broadcast as in NumPy (an axis
/// that is missing or a literal 1 is repeated). A matrix b, or leading axes that are equal, cost no
/// copy. Sums are in the order of k, in the operands' dtype (bf16 and f16 in f32). Errors:
/// matmul.ARGUMENT.rank, matmul.b.dim, matmul.b.dtype.
template <Operable V>
V matmul(V a, std::type_identity_t<V> b, MatmulOptions options = {}, Site at = Site::here());

/// y[K,N] = the sum over the steps t and rows i with begin_i <= t < end_i of a[t,i,:]^T b[t,i,:].
/// a: [T,B,K], b: [T,B,N]; begin and end: [B]:int, absent = 0 and T. Other steps are not read.
/// Errors: product_over_time.ARGUMENT.rank, .dim, .dtype.
Var product_over_time(const Var& a, const Var& b, const Var& begin = {}, const Var& end = {});

}  // namespace rondo
