#include <rondo/ops/convolution_parts.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <rondo/ops/convolution.h>
#include <rondo/ops/shape.h>

namespace rondo::conv_internal {
namespace {

using Ints = std::vector<int64_t>;

std::string padding_of(const Attributes& a) { return a.text("padding"); }

}  // namespace

void check_list(const InferContext& c, std::string_view name, size_t count, int64_t least) {
  const Ints& v = c.attributes().integers(name);
  if (v.size() != count)
    c.refuse(name, "count", name, " must be ", count, count == 1 ? " number" : " numbers", ", got ",
             v.size());
  for (const int64_t n : v) {
    if (n < least) c.refuse(name, "range", name, " holds ", n, ", but must be at least ", least);
  }
}

Dim places_or_refuse(const InferContext& c, const PatchOptions& o, size_t axis, const Dim& length,
                     size_t axis_of_x) {
  const std::optional<Dim> p = places(o, axis, length);
  const int64_t stride = o.strides.at(axis);
  if (!p)
    c.refuse("x", "steps", "x has shape ", to_string(c[0].shape), ": with a stride of ", stride,
             " axis ", axis_of_x,
             " must be a number or a multiple of the stride and a number, so that the length of y "
             "can be said; name it \"",
             stride, "*N\", and pad what is fed to such a length");
  if (p->is_constant() && p->constant() < 0)
    c.refuse("x", "short", "x has shape ", to_string(c[0].shape), ", but axis ", axis_of_x,
             " is shorter than the window, which reaches over ", reach(o, axis),
             "; pad it, by padding SAME or by amounts");
  if (!p->is_constant()) c.equal(*p, Dim(0));  // checked again once it is known
  return *p;
}

std::vector<AttributeDef> place_attributes(Space space, Ints strides) {
  std::vector<std::string> paddings(nn::kPaddingNames.begin(), nn::kPaddingNames.end());
  if (space == Space::image) std::erase(paddings, "CAUSAL");
  const char* const amounts = space == Space::sequence ? "steps before and after, with AMOUNTS"
                                                       : "above, below, left, right, with AMOUNTS";
  const char* const moves = strides.empty() ? "from one window to the next; none = its size"
                                            : "from one place of the kernel to the next";
  return {{"strides", std::move(strides), moves},
          {"padding", "VALID", "what is added at the ends of x", paddings},
          {"amounts", Ints{}, amounts}};
}

void check_places(const InferContext& c, Space space) {
  const Attributes& a = c.attributes();
  const auto axes = static_cast<size_t>(space);
  if (!a.integers("strides").empty() || !a.has("size")) check_list(c, "strides", axes, 1);
  if (a.has("dilations")) check_list(c, "dilations", axes, 1);
  if (padding_of(a) == "AMOUNTS") return check_list(c, "amounts", 2 * axes, 0);
  if (!a.integers("amounts").empty())
    c.refuse("amounts", "padding", "amounts were given, but padding is ", padding_of(a),
             "; they go with AMOUNTS");
}

PatchOptions window_of(const Attributes& a, Space space, const Ints& size, const Shape& x) {
  PatchOptions o;
  const Ints &strides = a.integers("strides").empty() ? size : a.integers("strides"),
             &amounts = a.integers("amounts");
  const std::string padding = padding_of(a);
  for (size_t i = 0; i < static_cast<size_t>(space); ++i) {
    o.size.at(i) = size.at(i);
    o.strides.at(i) = strides.at(i);
    if (a.has("dilations")) o.dilations.at(i) = a.integers("dilations").at(i);
    if (padding == "AMOUNTS") {
      o.before.at(i) = amounts.at(2 * i);
      o.after.at(i) = amounts.at(2 * i + 1);
    } else if (padding == "CAUSAL") {
      o.before.at(i) = reach(o, i) - 1;
    } else if (padding == "SAME") {
      const Dim &length = x.at(i + 1), stride = o.strides.at(i);
      const auto steps = floor_divided(length + stride - Dim(1), o.strides.at(i));
      if (!steps) continue;  // refused where the places are counted
      const Dim missing = (*steps - Dim(1)) * stride + Dim(reach(o, i)) - length;
      const int64_t total = std::max<int64_t>(0, missing.constant());
      o.before.at(i) = total / 2;
      o.after.at(i) = total - total / 2;
    }
  }
  return o;
}

Shape places_of(const InferContext& c, Space space, const Ints& size) {
  const Shape& x = c[0].shape;
  const PatchOptions o = window_of(c.attributes(), space, size, x);
  Shape r;
  for (size_t i = 0; i < static_cast<size_t>(space); ++i)
    r.push_back(places_or_refuse(c, o, i, x.at(i + 1), i + 1));
  return r;
}

Var image_of(const Var& x, Space space) { return space == Space::sequence ? expand_dims(x, 2) : x; }
Var from_image(const Var& y, Space space) { return space == Space::sequence ? squeeze(y, 2) : y; }

std::vector<RefusedCall> place_refusals(const Sample& good, Space space) {
  const auto axes = static_cast<size_t>(space);
  const auto with = [&](std::vector<Attributes::Item> items) {
    Sample bad = good;
    for (auto& [name, value] : items) bad.attributes.set(name, value);
    return bad;
  };
  return {{"strides.count", with({{"strides", Ints(3, 1)}}), "not a stride for each spatial axis"},
          {"strides.range", with({{"strides", Ints(axes, 0)}}), "the window does not move"},
          {"amounts.padding", with({{"amounts", Ints(2 * axes, 0)}}),
           "amounts are given, but padding is not AMOUNTS"},
          {"amounts.count", with({{"padding", "AMOUNTS"}, {"amounts", Ints(3, 0)}}),
           "not two amounts for each spatial axis"},
          {"amounts.range", with({{"padding", "AMOUNTS"}, {"amounts", Ints(2 * axes, -1)}}),
           "padding is negative"}};
}

}  // namespace rondo::conv_internal
