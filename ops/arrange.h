// Whole tensors in another arrangement, beside ops/shape.h: stacked and taken apart, cut in steps,
// repeated, turned round, shifted.
#pragma once

#include <optional>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// Joins operands of one shape along a new axis. xs[...] -> y[...,count,...].
template <Operable V>
V stack(std::vector<V> xs, int64_t axis = 0, Site at = Site::here());
/// The parts of x along an axis, without it: as many as its length, a number from 1 to 4096.
template <Operable V>
List<V> unstack(V x, int64_t axis = 0, Site at = Site::here());

/// Elements begin, begin + step, ... along an axis, as NumPy's x[begin:end:step]: step may be
/// negative, an absent bound is the end that step begins or stops at. Where the axis is a number,
/// bounds below 0 count from its end, and bounds beyond it are cut to fit. Where it or a bound is a
/// symbol nothing is cut: out of range is an Error once it is known, and so is a count that is no
/// polynomial (slice.bounds.symbol). Errors: step 0.
template <Operable V>
V slice(V x, int64_t axis, std::optional<Dim> begin, std::optional<Dim> end, int64_t step,
        Site at = Site::here());
/// `count` elements along an axis, from `begin` on in steps of `step`, which is not 0. All must lie
/// in the axis.
template <Operable V>
V strided_slice(V x, int64_t axis, Dim begin, Dim count, int64_t step, Site at = Site::here());

/// x side by side with itself, repeats[a] times along each axis a. Repeats may be symbols.
template <Operable V>
V tile(V x, Shape repeats, Site at = Site::here());
/// x backwards along the axes; none given = all.
template <Operable V>
V reverse(V x, std::vector<int64_t> axes = {}, Site at = Site::here());

/// Which axes of a sequence are time and batch.
struct SequenceAxes {
  int64_t time = 0, batch = 1;
};
/// Each row's own steps backwards: y[t,b] = x[lengths[b]-1-t,b] for t < lengths[b]; the padding
/// stays. x[T,B,...], lengths[B]:int -> y[T,B,...]; a length outside [0, T] is an Error when it
/// runs.
template <Operable V>
V reverse_sequence(V x, std::type_identity_t<V> lengths, SequenceAxes axes = {},
                   Site at = Site::here());
/// y[i] = x[i - shift] along the axis; what leaves at one end enters at the other.
template <Operable V>
V roll(V x, int64_t shift, int64_t axis = 0, Site at = Site::here());

}  // namespace rondo
