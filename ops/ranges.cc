#include <rondo/ops/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <rondo/ops/nn.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using Types = std::vector<ValueType>;

// The one dimension that an attribute holds.
Dim dim_of(const InferContext& c, std::string_view attribute) {
  const Shape& s = c.attributes().shape(attribute);
  if (s.size() != 1)
    c.refuse(attribute, "count", attribute, " must be one dimension, got ", to_string(s));
  if (s[0].is_constant() && s[0].constant() < 0)
    c.refuse(attribute, "negative", attribute, " is ", s[0], ", but must not be negative");
  return s[0];
}

Types infer_one_hot(const InferContext& c) {
  Types r{{c.attributes().dtype("dtype"), c[0].shape, true}};
  r[0].shape.push_back(dim_of(c, "depth"));
  for (const auto* name : {"on", "off"}) {
    const double v = c.attributes().number(name);
    if (is_integer(r[0].dtype) && Tensor::scalar(r[0].dtype, v).item() != v)
      c.refuse(name, "whole", name, " is ", v, ", which is no ", r[0].dtype);
  }
  return r;
}

std::string sequence_mask_signature(const Attributes& a) {
  return cat("lengths[B]:int -> mask", a.flag("batch_major") ? "[B,T]" : "[T,B]", ":bool");
}

void check_finite(const InferContext& c, std::initializer_list<std::string_view> numbers) {
  for (const std::string_view name : numbers) {
    if (!std::isfinite(c.attributes().number(name)))
      c.refuse(name, "finite", name, " is ", c.attributes().number(name), ", but must be finite");
  }
}

Types infer_range(const InferContext& c) {
  const DType t = c.attributes().dtype("dtype");
  const double begin = c.attributes().number("begin"), end = c.attributes().number("end"),
               step = c.attributes().number("step");
  check_finite(c, {"begin", "end", "step"});
  if (t == boolean) c.refuse("dtype", "value", "dtype is bool, but must be a number's");
  if (step == 0) c.refuse("step", "zero", "step is 0: the range does not end");
  const double count = std::max(0.0, std::ceil((end - begin) / step));
  if (count > kLargestCount)
    c.refuse("end", "range", "from ", begin, " to ", end, " in steps of ", step,
             " are more numbers than can be counted");
  if (is_integer(t)) {
    for (const auto* name : {"begin", "step"}) {
      const double v = c.attributes().number(name);
      if (v != std::trunc(v)) c.refuse(name, "whole", name, " is ", v, ", which is no ", t);
    }
    const double most = t == i32 ? std::numeric_limits<int32_t>::max() : kLargestCount;
    const double least = t == i32 ? std::numeric_limits<int32_t>::min() : -kLargestCount;
    for (const double v : {begin, begin + std::max(0.0, count - 1) * step}) {
      if (v > most || v < least) c.refuse("end", "range", v, " is out of range of ", t);
    }
  }
  return {{t, {static_cast<int64_t>(count)}, true}};
}

Types infer_linspace(const InferContext& c) {
  const DType t = c.attributes().dtype("dtype");
  check_finite(c, {"begin", "end"});
  if (!is_float(t)) c.refuse("dtype", "value", "dtype is ", t, ", but must be a float's");
  return {{t, {c.attributes().integer("count")}, true}};
}

RefusedCall refused(std::string rule, const Attributes& attributes, std::string means) {
  return {std::move(rule), {{}, attributes}, std::move(means)};
}

void register_masks(OpRegistry& r) {
  r.add(
      {.name = "one_hot",
       .sig = "indices[...]:int -> y[...]:any",
       .doc = "y[i...,v] = on where indices[i...] = v, else off. indices[...] -> y[...,V]. An "
              "index outside [0, V) gives a row of off: padding may be -1.",
       .example = R"(Graph g;
Var label = g.placeholder("label", i32, {"T", "B"});
Var y = one_hot(label, 9);  // y: [T,B,9]
Tensor t = Tensor::of<int32_t>({2}, {1, -1});
Tensor now = one_hot(t, 3);  // now: {0, 1, 0, 0, 0, 0}
Tensor smooth = one_hot(t, 2, {.on = 0.75, .off = 0.25});  // smooth: {0.25, 0.75, 0.25, 0.25})",
       .differs = {{"PyTorch one_hot",
                    "the depth is never guessed, the result is f32 unless another dtype is named, "
                    "and an index out of range is no error"},
                   {"ONNX OneHot", "a negative index does not count from the end: it is off"},
                   {"TensorFlow, ONNX, libnd4j", "the new axis is always the last"}},
       .attributes = {{"depth", Shape{}, "[V]", {}, {}, {}, true},
                      {"on", 1.0, "the number at the index"},
                      {"off", 0.0, "the number elsewhere"},
                      {"dtype", f32, "element type of the result"}},
       .aliases = {{"SameDiff", "oneHot", ""},
                   {"libnd4j", "onehot", ""},
                   {"MXNet", "one_hot", ""},
                   {"MXNet", "on_value", "on"},
                   {"MXNet", "off_value", "off"},
                   {"ONNX", "OneHot", ""},
                   {"PyTorch", "one_hot", ""},
                   {"PyTorch", "num_classes", "depth"},
                   {"Keras", "one_hot", ""},
                   {"Keras", "num_classes", "depth"}},
       .infer = infer_one_hot,
       .no_gradient = true,
       .samples = {{{{{3}, 0, 3, i32}}, {{"depth", Shape{4}}}},
                   {{{{2, 3}, -1, 4, i64}},
                    {{"depth", Shape{4}}, {"on", 0.5}, {"off", -2.0}, {"dtype", f64}}},
                   {{{{}, 0, 2, i32}}, {{"depth", Shape{2}}, {"dtype", boolean}}},
                   {{{{0}, 0, 2, i32}}, {{"depth", Shape{3}}, {"dtype", i32}}}},
       .refuses = {
           {"depth.count",
            {{{{2}, 0, 1, i32}}, {{"depth", Shape{2, 2}}}},
            "depth is not one dimension"},
           {"depth.negative", {{{{2}, 0, 1, i32}}, {{"depth", Shape{-1}}}}, "depth is negative"},
           {"on.whole",
            {{{{2}, 0, 1, i32}}, {{"depth", Shape{2}}, {"on", 0.5}, {"dtype", i32}}},
            "on is no number of the dtype"},
           {"off.whole",
            {{{{2}, 0, 1, i32}}, {{"depth", Shape{2}}, {"off", 0.25}, {"dtype", i64}}},
            "off is no number of the dtype"}}});
  r.add({.name = "sequence_mask",
         .sig = "lengths[B]:int -> mask[T,B]:bool",
         .doc =
             "mask[T,B] or, batch_major, [B,T]: whether step t of row b is data, t < lengths[b]. "
             "Lengths may be out of [0, T].",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var mask = sequence_mask(lengths, "T");  // mask: [T,B]
Var masked = where(expand_dims(mask, -1), x, 0);  // masked: [T,B,3]
Tensor now = sequence_mask(Tensor::of<int32_t>({2}, {1, 2}), 2, true);  // now: {1, 0, 1, 1})",
         .differs = {{"TensorFlow sequence_mask, libnd4j sequence_mask",
                      "time-major unless batch_major is set, and T is never guessed from the "
                      "lengths"},
                     {"MXNet SequenceMask",
                      "that one masks a sequence; this one gives the mask, see the example"}},
         .attributes = {{"steps", Shape{}, "[T]", {}, {}, {}, true},
                        {"batch_major", false, "mask[B,T] instead of [T,B]"}},
         .aliases = {{"SameDiff", "sequenceMask", ""},
                     {"SameDiff", "maxLen", "steps"},
                     {"libnd4j", "sequence_mask", ""}},
         .sig_of = sequence_mask_signature,
         .letters =
             [](const Attributes& a) {
               const Shape& s = a.shape("steps");
               return std::vector<FixedLetter>{{"T", s.size() == 1 ? s[0] : Dim(0), "steps"}};
             },
         .check = [](const InferContext& c) { dim_of(c, "steps"); },
         .no_gradient = true,
         .samples = {{{{{3}, 0, 4, i32}}, {{"steps", Shape{4}}}},
                     {{{{3}, 0, 4, i64}}, {{"steps", Shape{4}}, {"batch_major", true}}},
                     {{{{2}, -1, 9, i32}}, {{"steps", Shape{5}}}, "beyond both ends"},
                     {{{{0}, 0, 1, i32}}, {{"steps", Shape{2}}}}},
         .refuses = {{"steps.count",
                      {{{{2}, 0, 1, i32}}, {{"steps", Shape{2, 2}}}},
                      "steps is not one dimension"},
                     {"steps.negative",
                      {{{{2}, 0, 1, i32}}, {{"steps", Shape{-1}}}},
                      "steps is negative"}}});
  r.add(
      {.name = "shape_of",
       .sig = "x[...]:any -> y[...]:i64",
       .doc = "y[n] = the dimensions of x as numbers, known once they are bound.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = shape_of(x);  // y: [3]
Tensor now = shape_of(Tensor(f32, {2, 5}));  // now: {2, 5})",
       .differs = {{"PyTorch shape, NumPy shape",
                    "a tensor; a Var's own shape, symbols and all, is x.shape()"}},
       .aliases = {{"SameDiff", "shape", ""},
                   {"libnd4j", "shape_of", ""},
                   {"MXNet", "shape_array", ""},
                   {"ONNX", "Shape", ""}},
       .infer =
           [](const InferContext& c) {
             return Types{{i64, {static_cast<int64_t>(c[0].shape.size())}, true}};
           },
       .lower = [](const Call& c) -> Vars { return {nn::dimensions(c.graph(), c.in(0).shape())}; },
       .no_gradient = true,
       .samples = {{{{{2, 3}}}}, {{{Dims{}}}}, {{{{0, 4, 1}, 0, 1, i32}}}}});
}

void register_numbers(OpRegistry& r) {
  const double inf = HUGE_VAL;
  r.add(
      {.name = "range",
       .sig = "-> y[...]:any",
       .doc = R"(Numbers in equal steps, computed in f64 and rounded once:
    y_i = begin + i step, for i below max(0, ceil((end - begin) / step)))",
       .example = R"(Graph g;
Var steps = range(g, i32, 0, 4);  // steps: {0, 1, 2, 3}
Var down = range(g, f32, 1, 0, -0.25);  // down: {1, 0.75, 0.5, 0.25}
Tensor now = range(i64, 2, 9, 3);  // now: {2, 5, 8})",
       .differs = {{"NumPy, PyTorch arange", "the dtype is named; whole numbers for integers only"},
                   {"anywhere else",
                    "begin, end and step are attributes; up to a dimension counts iota"}},
       .attributes = {{"dtype", f32, "element type"},
                      {"begin", 0.0, "the first number"},
                      {"end", 0.0, "the bound, not included", {}, {}, {}, true},
                      {"step", 1.0, "what is added from one to the next; not 0"}},
       .aliases = {{"SameDiff", "range", ""},
                   {"libnd4j", "range", ""},
                   {"MXNet", "arange", ""},
                   {"ONNX", "Range", ""},
                   {"PyTorch", "arange", ""},
                   {"Keras", "arange", ""}},
       .infer = infer_range,
       .no_gradient = true,
       .samples = {{{}, {{"end", 2.5}}},
                   {{}, {{"dtype", i32}, {"begin", 7.0}, {"end", -3.0}, {"step", -4.0}}},
                   {{}, {{"dtype", f64}, {"begin", 0.5}, {"end", 1.0}, {"step", 0.1}}},
                   {{}, {{"dtype", i64}, {"begin", 3.0}, {"end", 3.0}}, "none"}},
       .refuses = {
           refused("begin.finite", {{"begin", -inf}, {"end", 1.0}}, "begin is infinite"),
           refused("end.finite", {{"end", inf}}, "end is infinite"),
           refused("step.finite", {{"end", 1.0}, {"step", inf}}, "step is infinite"),
           refused("step.zero", {{"end", 1.0}, {"step", 0.0}}, "step is 0"),
           refused("dtype.value", {{"end", 1.0}, {"dtype", boolean}}, "dtype is bool"),
           refused("begin.whole", {{"begin", 0.5}, {"end", 1.0}, {"dtype", i32}},
                   "begin has a fraction and dtype is an integer's"),
           refused("step.whole", {{"end", 1.0}, {"step", 0.5}, {"dtype", i64}},
                   "step has a fraction and dtype is an integer's"),
           refused("end.range", {{"begin", 3e9}, {"end", 4e9}, {"dtype", i32}},
                   "a number is out of range of dtype, or there are more than can be counted")}});
  r.add(
      {.name = "linspace",
       .sig = "-> y[...]:any",
       .doc = R"(Numbers evenly from begin to end, both included, computed in f64 and rounded once:
    y_i = begin + i (end - begin) / (count - 1);  one number alone is begin)",
       .example = R"(Graph g;
Var y = linspace(g, f32, 0, 1, 5);  // y: {0, 0.25, 0.5, 0.75, 1}
Tensor now = linspace(f64, 3, 1, 3);  // now: {3, 2, 1})",
       .differs = {{"NumPy, PyTorch linspace",
                    "floats only; begin, end and count are "
                    "attributes"}},
       .attributes = {{"dtype", f32, "element type, a float"},
                      {"begin", 0.0, "the first number"},
                      {"end", 1.0, "the last number"},
                      {"count", 2, "how many", {}, 0, kLargestCount}},
       .aliases = {{"SameDiff", "linspace", ""},
                   {"libnd4j", "lin_space", ""},
                   {"MXNet", "linspace", ""},
                   {"PyTorch", "linspace", ""},
                   {"Keras", "linspace", ""}},
       .infer = infer_linspace,
       .no_gradient = true,
       .samples = {{{}, {{"end", 3.0}, {"count", 7}}},
                   {{}, {{"dtype", f64}, {"begin", 2.0}, {"end", -1.0}, {"count", 4}}},
                   {{}, {{"begin", 5.0}, {"count", 1}}, "one"},
                   {{}, {{"count", 0}}, "none"}},
       .refuses = {refused("begin.finite", {{"begin", -inf}}, "begin is infinite"),
                   refused("end.finite", {{"end", inf}}, "end is infinite"),
                   refused("dtype.value", {{"dtype", i32}}, "dtype is no float's")}});
}

Attributes range_attributes(DType dtype, double begin, double end, double step) {
  return {{"dtype", dtype}, {"begin", begin}, {"end", end}, {"step", step}};
}
Attributes linspace_attributes(DType dtype, double begin, double end, int64_t count) {
  return {{"dtype", dtype}, {"begin", begin}, {"end", end}, {"count", count}};
}

}  // namespace

void register_ranges(OpRegistry& r) {
  register_masks(r);
  register_numbers(r);
}

template <Operable V>
V one_hot(V indices, Dim depth, OneHotOptions o, Site at) {
  const Attributes a{
      {"depth", Shape{std::move(depth)}}, {"on", o.on}, {"off", o.off}, {"dtype", o.dtype}};
  return apply("one_hot", {indices}, a, {.site = at})[0];
}
template <Operable V>
V sequence_mask(V lengths, Dim steps, bool batch_major, Site at) {
  const Attributes a{{"steps", Shape{std::move(steps)}}, {"batch_major", batch_major}};
  return apply("sequence_mask", {lengths}, a, {.site = at})[0];
}
template <Operable V>
V shape_of(V x, Site at) {
  return apply("shape_of", {x}, {}, {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                       \
  template V one_hot(V, Dim, OneHotOptions, Site); \
  template V sequence_mask(V, Dim, bool, Site);    \
  template V shape_of(V, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

Var range(Graph g, DType dtype, double begin, double end, double step, Site at) {
  return g.call(registry().at("range"), {}, range_attributes(dtype, begin, end, step),
                {.site = at})[0];
}
Tensor range(DType dtype, double begin, double end, double step, Site at) {
  return apply("range", std::vector<Tensor>{}, range_attributes(dtype, begin, end, step),
               {.site = at})[0];
}
Var linspace(Graph g, DType dtype, double begin, double end, int64_t count, Site at) {
  return g.call(registry().at("linspace"), {}, linspace_attributes(dtype, begin, end, count),
                {.site = at})[0];
}
Tensor linspace(DType dtype, double begin, double end, int64_t count, Site at) {
  return apply("linspace", std::vector<Tensor>{}, linspace_attributes(dtype, begin, end, count),
               {.site = at})[0];
}

}  // namespace rondo
