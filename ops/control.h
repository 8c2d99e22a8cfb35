// Control flow as nodes: `cond` runs one of two branches, `while_loop` repeats a step while a
// condition holds, `scan` runs a step over the leading axis of its inputs.
//
// Each becomes a `recurrence` (ops/recurrence.h) of one row, so that gradients of any order, files
// and kernels are those of recurrences. `scan` is for values of any shape; for batches of sequences
// with lengths of their own use `recurrence` or `rnn::layer`. On tensors they run at once.
//
// A branch or step is a function of what it is given. What it computes from these belongs to it;
// what it computes from other Vars alone is computed outside, in any case.
#pragma once

#include <functional>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// One side of cond: from its operands to its results.
template <Operable V>
using Branch = std::function<List<V>(const List<V>& operands)>;

/// then_branch(operands) if `predicate` holds, else else_branch(operands); the other branch does
/// not run, and gives no gradient. predicate[]:bool. Both branches give as many results, of the
/// same dtypes and shapes. Errors: cond.predicate.type and, in a graph, where both are known,
/// cond.branches.count, cond.branches.type.
template <Operable V>
List<V> cond(V predicate, List<V> operands, std::type_identity_t<Branch<V>> then_branch,
             std::type_identity_t<Branch<V>> else_branch, Site at = Site::here());

template <Operable V>
struct WhileResult {
  List<V> states;
  V iterations;  ///< []:i64, how often the step ran
};

/// Repeats states = step(states) while condition(states) holds, at most `max_iterations` times (it
/// stops there without an error: `iterations` tells). condition gives []:bool; a step gives states
/// of the same dtypes and shapes. Its gradient keeps the states of all `max_iterations` steps, and
/// visits each.
/// Errors: while_loop.condition.type, while_loop.step.count, while_loop.step.type,
/// while_loop.max_iterations.range.
template <Operable V>
WhileResult<V> while_loop(List<V> states,
                          std::type_identity_t<std::function<V(const List<V>&)>> condition,
                          std::type_identity_t<Branch<V>> step, int64_t max_iterations,
                          Site at = Site::here());

/// What a step of `scan` gives: the next states, and results that are stacked over time.
template <Operable V>
struct ScanStep {
  List<V> states, ys = {};
};
template <Operable V>
struct ScanResult {
  List<V> finals, ys;
};

/// states, y_t = step(states, x_t) for each t in order, or in reverse order; x_t and y_t are slices
/// of the leading axis. states of any shapes, xs[T,...] (one at least) -> finals, ys[T,...]; over
/// no steps the finals are the states. Errors: scan.xs.rank, scan.xs.dim, scan.step.count,
/// scan.step.type.
template <Operable V>
ScanResult<V> scan(
    List<V> states, List<V> xs,
    std::type_identity_t<std::function<ScanStep<V>(const List<V>& states, const List<V>& xs)>> step,
    bool reverse = false, Site at = Site::here());

}  // namespace rondo
