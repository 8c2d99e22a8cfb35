// Values made from numbers, indices, lengths and shapes: what masks, positions and labels begin
// with.
#pragma once

#include <rondo/ops/operand.h>

namespace rondo {

/// What a one-hot row holds.
struct OneHotOptions {
  double on = 1, off = 0;
  DType dtype = f32;
};
/// y[i...,v] = on where indices[i...] = v, else off. indices[...]:int -> y[...,depth]. An index
/// outside [0, depth) gives a row of `off`.
template <Operable V>
V one_hot(V indices, Dim depth, OneHotOptions options = {}, Site at = Site::here());

/// Which steps of a padded batch are data: y[t,b] = t < lengths[b]. lengths[B]:int ->
/// y[steps,B]:bool or, `batch_major`, y[B,steps].
template <Operable V>
V sequence_mask(V lengths, Dim steps, bool batch_major = false, Site at = Site::here());

/// y = begin, begin + step, ... below `end` (above it for a negative step): ceil((end - begin) /
/// step) numbers, none where that is negative. Errors: step 0, numbers that are no whole ones for
/// integers.
Var range(Graph g, DType dtype, double begin, double end, double step = 1, Site at = Site::here());
Tensor range(DType dtype, double begin, double end, double step = 1, Site at = Site::here());
/// y = `count` numbers evenly from `begin` to `end`, both included; one alone is `begin`. Floats.
Var linspace(Graph g, DType dtype, double begin, double end, int64_t count, Site at = Site::here());
Tensor linspace(DType dtype, double begin, double end, int64_t count, Site at = Site::here());

/// The dimensions of x as numbers. x[...] -> y[rank]:i64.
template <Operable V>
V shape_of(V x, Site at = Site::here());

}  // namespace rondo
