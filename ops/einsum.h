// Products of any axes: einsum, which an equation describes, and the bilinear form. Both are
// lowered to transpose, reshape, matmul and sum.
#pragma once

#include <string_view>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// Products of the operands, summed over letters that the output lacks: "tbi,io->tbo". A letter is
/// an axis; without "->" the output has the letters that stand once, sorted. "..." stands for any
/// leading axes, aligned at their end. A letter twice in one operand takes its diagonal. An axis of
/// a literal 1 is repeated where another operand has more. Operands are joined from the left.
/// Errors: einsum.equation.syntax, .operands, .output; einsum.xs.rank, .dim.
template <Operable V>
V einsum(std::string_view equation, std::vector<V> xs, Site at = Site::here());

namespace nn {

/// y[...,o] = sum over i, j of x1[...,i] weights[o,i,j] x2[...,j] + biases[o]. x1[...,I],
/// x2[...,J], weights[O,I,J], biases[O] (absent = 0) -> y[...,O]. Errors: bilinear.ARGUMENT.rank,
/// .dim.
template <Operable V>
V bilinear(V x1, std::type_identity_t<V> x2, std::type_identity_t<V> weights,
           std::type_identity_t<V> biases, Site at = Site::here());

}  // namespace nn
}  // namespace rondo
