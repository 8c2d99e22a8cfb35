#include <algorithm>
#include <cstdlib>

#include <rondo/graph/checked.h>
#include <rondo/ops/arrange.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

struct Strides {
  Dim begin, count;
  int64_t step;

  Dim last() const { return begin + (count - 1) * Dim(step); }
};
Strides strides_of(const Attributes& a) {
  const Shape& b = a.shape("begin_count");
  return {b[0], b[1], a.integer("step")};
}

std::vector<ValueType> infer_strided_slice(const InferContext& c) {
  ValueType t = c[0];
  const size_t axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), t.shape.size()));
  const Shape& bounds = c.attributes().shape("begin_count");
  if (bounds.size() != 2)
    c.refuse("begin_count", "count", "begin_count must be [begin, count], got ", to_string(bounds));
  const Strides s = strides_of(c.attributes());
  if (s.step == 0) c.refuse("step", "zero", "step is 0");
  const auto need = [&](const Dim& d) {
    if (d.is_constant() && d.constant() < 0)
      c.refuse("begin_count", "range", s.count, " elements from ", s.begin, " on in steps of ",
               s.step, " do not lie in axis ", axis, " of ", to_string(t.shape));
    if (!d.is_constant()) c.equal(d, Dim(0));  // checked again once it is known
  };
  need(s.count);
  if (s.count.is_constant() && s.count.constant() > 0) {
    for (const Dim& at : {s.begin, s.last()}) {
      need(at);
      need(t.shape[axis] - 1 - at);
    }
  }
  t.shape[axis] = s.count;
  return {t};
}

// Zeros between the elements, then around them.
Vars vjp_strided_slice(const Call& c, const Vars& g, GradContext&) {
  const auto axis = static_cast<int64_t>(axis_index(c.integer("axis"), c.in(0).rank()));
  const Strides s = strides_of(c.attributes());
  const Dim n = c.in(0).dim(axis);
  if (s.count == Dim(0)) return {fill_like(c.in(0), 0)};
  const Var d = s.step > 0 ? g[0] : strided_slice(g[0], axis, s.count - 1, s.count, -1);
  const Dim first = s.step > 0 ? s.begin : s.last();
  const int64_t step = std::abs(s.step);
  if (step == 1) return {pad(d, axis, first, n - first - s.count)};
  Shape wide = d.shape();
  wide[static_cast<size_t>(axis)] = s.count * Dim(step);
  const Var spread = reshape(pad(expand_dims(d, axis + 1), axis + 1, 0, step - 1), wide);
  // The zeros behind the last element may go beyond the end.
  const Dim room = n - first - s.count * Dim(step);
  if (room.is_constant() && room.constant() >= 0) return {pad(spread, axis, first, room)};
  return {slice(pad(spread, axis, first, n), axis, 0, n)};
}

int64_t ceil_divided(int64_t a, int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }

// NumPy's begin:end:step of an axis.
Strides strides_of(const Dim& n, const std::optional<Dim>& begin, const std::optional<Dim>& end,
                   int64_t step) {
  if (step == 0) fail(Fault::kArgument, "slice.step.zero", "[slice] step is 0");
  const auto is_number = [](const std::optional<Dim>& d) { return !d || d->is_constant(); };
  const bool numbers = n.is_constant() && is_number(begin) && is_number(end);
  const Dim before = step > 0 ? Dim(0) : Dim(-1), behind = before + n;  // where bounds may be
  const auto placed = [&](const Dim& d) {
    const Dim at = d.is_constant() && d.constant() < 0 ? n + d : d;
    return numbers ? Dim(std::clamp(at.constant(), before.constant(), behind.constant())) : at;
  };
  const Dim from = begin ? placed(*begin) : step > 0 ? before : behind;
  const Dim to = end ? placed(*end) : step > 0 ? behind : before;
  const Dim way = step > 0 ? to - from : from - to;
  const int64_t stride = step > 0 ? step : checked_mul(step, -1);
  if (way.is_constant()) {
    const int64_t count = std::max<int64_t>(0, ceil_divided(way.constant(), stride));
    return {count == 0 ? Dim(0) : from, count, step};
  }
  const auto count = way.divided_by(stride);
  if (!count)
    fail(Fault::kArgument, "slice.bounds.symbol", "[slice] from ", from, " to ", to,
         " in steps of ", step, ": the number of elements, ", way, " / ", stride,
         " rounded up, is no dimension; use numbers, or symbols that ", stride, " divides");
  return {from, *count, step};
}

}  // namespace

void register_strided_slice(OpRegistry& r) {
  r.add(
      {.name = "strided_slice",
       .sig = "x[...]:same -> y[...]:same",
       .doc = R"(Elements along an axis in steps, also backwards; for axis 0:
    y[k,:] = x[begin + k step,:], k below count
slice(x, axis, begin, end, step) finds begin and count as NumPy does.)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 8});
Var even = strided_slice(x, 2, 0, 4, 2);  // even: [T,B,4]
Var backwards = slice(x, 0, {}, {}, -1);  // backwards: [T,B,8]
Tensor t = Tensor::of<float>({5}, {0, 1, 2, 3, 4});
Tensor now = slice(t, 0, -1, 0, -2);  // now: {4, 2})",
       .differs = {{"NumPy, TensorFlow, ONNX Slice",
                    "one axis; begin and count instead of two bounds. The builder slice takes "
                    "bounds as they do where the axis is a number; where it is a symbol bounds "
                    "are not cut to fit"}},
       .attributes =
           {{"axis", 0, "the axis that is cut"},
            {"begin_count", Shape{}, "[begin, count]", {}, {}, {}, true},
            {"step", 1, "from one element to the next; not 0", {}, -kLargestCount, kLargestCount}},
       .aliases = {{"SameDiff", "stridedSlice", ""},
                   {"libnd4j", "strided_slice", ""},
                   {"MXNet", "slice_axis", ""}},
       .infer = infer_strided_slice,
       .vjp = vjp_strided_slice,
       .samples =
           {{{{{5, 2}}}, {{"begin_count", Shape{0, 3}}, {"step", 2}}},
            {{{{2, 7}}}, {{"axis", -1}, {"begin_count", Shape{1, 2}}, {"step", 3}}, "room behind"},
            {{{{2, 6, 2}}}, {{"axis", 1}, {"begin_count", Shape{5, 3}}, {"step", -2}}, "backwards"},
            {{{{4}}}, {{"begin_count", Shape{3, 4}}, {"step", -1}}, "all, backwards"},
            {{{{3, 2}}}, {{"begin_count", Shape{9, 0}}, {"step", 2}}, "none"}},
       .refuses = {
           {"axis.range",
            {{{{3}}}, {{"axis", 1}, {"begin_count", Shape{0, 1}}}},
            "x has no such axis"},
           {"begin_count.count",
            {{{{3}}}, {{"begin_count", Shape{0}}}},
            "begin_count is not [begin, count]"},
           {"begin_count.range",
            {{{{3}}}, {{"begin_count", Shape{1, 2}}, {"step", 2}}},
            "an element is outside of x"},
           {"step.zero", {{{{3}}}, {{"begin_count", Shape{0, 1}}, {"step", 0}}}, "step is 0"}}});
}

template <Operable V>
V slice(V x, int64_t axis, std::optional<Dim> begin, std::optional<Dim> end, int64_t step,
        Site at) {
  const Shape s = known_shape(x);
  const size_t i = axis_index(axis, s.size());
  if (i >= s.size())
    fail(Fault::kArgument, "slice.axis.range", "[slice] axis is ", axis, ", x has shape ",
         to_string(s));
  const Strides k = strides_of(s[i], begin, end, step);
  return strided_slice(x, axis, k.begin, k.count, k.step, at);
}
template <Operable V>
V strided_slice(V x, int64_t axis, Dim begin, Dim count, int64_t step, Site at) {
  return apply(
      "strided_slice", {x},
      {{"axis", axis}, {"begin_count", Shape{std::move(begin), std::move(count)}}, {"step", step}},
      {.site = at})[0];
}
#define RONDO_INSTANTIATE(V)                                                           \
  template V slice(V, int64_t, std::optional<Dim>, std::optional<Dim>, int64_t, Site); \
  template V strided_slice(V, int64_t, Dim, Dim, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
