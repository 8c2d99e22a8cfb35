// What convolutions and poolings share: the checks of a window, how padding is named, and one
// window for sequences and images. Internal to ops/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/ops/patches.h>

namespace rondo::conv_internal {

/// Refuses a list attribute that has not `count` numbers, or one below `least`.
void check_list(const InferContext& c, std::string_view name, size_t count, int64_t least);

/// places(), or an Error on x, whose axis `axis_of_x` has this length: x.steps where it cannot be
/// said, x.short where the window has no room.
Dim places_or_refuse(const InferContext& c, const PatchOptions& o, size_t axis, const Dim& length,
                     size_t axis_of_x);

/// The spatial axes of an op: 1 of sequences [B,T,C], 2 of images [B,H,W,C].
enum class Space : size_t { sequence = 1, image = 2 };

/// Attributes strides, padding and amounts, which all such ops have; strides have no default for
/// poolings: empty is the window's size.
std::vector<AttributeDef> place_attributes(Space space, std::vector<int64_t> strides);
/// Checks those; `dilations` too where the op has them.
void check_places(const InferContext& c, Space space);
/// The window of a call on x: `size` as given for each spatial axis.
PatchOptions window_of(const Attributes& a, Space space, const std::vector<int64_t>& size,
                       const Shape& x);
/// Lengths of y's spatial axes, each checked.
Shape places_of(const InferContext& c, Space space, const std::vector<int64_t>& size);

/// x as an image: a sequence gets a width of 1.
Var image_of(const Var& x, Space space);
/// y [B,P,Q,...] without the width that a sequence got.
Var from_image(const Var& y, Space space);

/// Calls that break the rules of strides, padding and amounts, made from one that does not.
std::vector<RefusedCall> place_refusals(const Sample& good, Space space);

}  // namespace rondo::conv_internal
