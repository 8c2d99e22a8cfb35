// Patches of images: what lies under a window, at each place that the window takes. Convolutions
// and poolings are products and reductions over them.
//
// Channels come last, as everywhere. A sequence is an image of width 1. The adjoint, sum_patches,
// adds patches up where they came from; each is the other's gradient.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo {

/// A window that slides over the two spatial axes, rows first.
struct PatchOptions {
  std::array<int64_t, 2> size = {1, 1};
  std::array<int64_t, 2> strides = {1, 1};    ///< from one place to the next
  std::array<int64_t, 2> dilations = {1, 1};  ///< from one element of the window to the next
  std::array<int64_t, 2> before = {0, 0}, after = {0, 0};  ///< padding of each axis
};

/// y[b,p,q, (i,j,c)] = x[b, p*strides[0] + i*dilations[0] - before[0],
///                          q*strides[1] + j*dilations[1] - before[1], c], or `padding` where that
/// lies outside of x. x[B,H,W,C] -> y[B,P,Q,size[0]*size[1]*C]. Along an axis of length H, padding
/// counted, there are P = floor((H - (size-1)*dilation - 1) / stride) + 1 places. Errors:
/// patches.*.
template <Operable V>
V patches(V x, const PatchOptions& options, double padding = 0, Site at = Site::here());

/// x[B,height,width,C]: each element the sum of what patches() of an image of that size would have
/// taken from there. y[B,P,Q,size[0]*size[1]*C]. Errors: sum_patches.*.
template <Operable V>
V sum_patches(V y, Dim height, Dim width, const PatchOptions& options, Site at = Site::here());

/// As the attributes of both ops and of their kernels hold it.
Attributes attributes_of(const PatchOptions& o);
PatchOptions patch_options(const Attributes& a);

/// floor(d / by) where all terms with symbols can be divided: floor((2*N+3) / 2) = N+1.
std::optional<Dim> floor_divided(const Dim& d, int64_t by);
/// How far the window reaches along an axis: (size-1)*dilation + 1.
int64_t reach(const PatchOptions& o, size_t axis);
/// P above, which may be negative; none where no sum of products of symbols says it.
std::optional<Dim> places(const PatchOptions& o, size_t axis, const Dim& length);

}  // namespace rondo
