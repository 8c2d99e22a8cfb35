#include <rondo/ops/arrange.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce_common.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using Types = std::vector<ValueType>;

constexpr int64_t kMostParts = 4096;  // those of split

size_t axis_of(const InferContext& c, size_t rank, std::string_view name = "axis") {
  return static_cast<size_t>(c.axis(c.attributes().integer(name), rank, name));
}

Types infer_stack(const InferContext& c) {
  if (c.count() == 0) c.refuse("xs", "arity", "needs at least one operand");
  infer_by_signature(c, false);
  Types r{c[0]};
  const Shape& first = c[0].shape;
  for (size_t i = 1; i < c.count(); ++i) {
    bool same = c[i].shape.size() == first.size();
    for (size_t a = 0; same && a < first.size(); ++a) same = c.equal(c[i].shape[a], first[a]);
    if (!same)
      c.refuse("xs", "shape", "operand ", i, " has shape ", to_string(c[i].shape), ", the first ",
               to_string(first));
  }
  const auto axis = static_cast<std::ptrdiff_t>(axis_of(c, first.size() + 1));
  r[0].shape.insert(r[0].shape.begin() + axis, static_cast<int64_t>(c.count()));
  return r;
}

Vars lower_stack(const Call& c) {
  const int64_t axis = c.integer("axis");
  Vars parts;
  for (const Var& x : c.inputs()) parts.push_back(expand_dims(x, axis));
  return {concat(parts, axis)};
}

Types infer_unstack(const InferContext& c) {
  infer_by_signature(c, false);
  ValueType t = c[0];
  const size_t axis = axis_of(c, t.shape.size());
  const Dim length = t.shape[axis];
  if (!length.is_constant())
    c.refuse("x", "symbol", "axis ", axis, " of ", to_string(t.shape),
             " must be a number: it says how many results there are");
  if (length.constant() < 1 || length.constant() > kMostParts)
    c.refuse("x", "parts", "axis ", axis, " of ", to_string(t.shape), " must be from 1 to ",
             kMostParts, ": it says how many results there are");
  t.shape.erase(t.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  return Types(static_cast<size_t>(length.constant()), t);
}

Vars lower_unstack(const Call& c) {
  const int64_t axis = c.integer("axis");
  Vars parts = split(c.in(0), c.in(0).dim(axis).constant(), axis);
  for (Var& p : parts) p = squeeze(p, axis);
  return parts;
}

Types infer_tile(const InferContext& c) {
  ValueType t = c[0];
  const Shape& repeats = c.attributes().shape("repeats");
  if (repeats.size() != t.shape.size())
    c.refuse("repeats", "count", "repeats are ", to_string(repeats), ", x has shape ",
             to_string(t.shape), ": there must be one for each axis");
  for (size_t a = 0; a < repeats.size(); ++a) {
    if (repeats[a].is_constant() && repeats[a].constant() < 0)
      c.refuse("repeats", "negative", "repeats ", to_string(repeats), " must not be negative");
    if (!repeats[a].is_constant()) c.equal(repeats[a], Dim(0));  // checked again once it is known
    t.shape[a] = t.shape[a] * repeats[a];
  }
  return {t};
}

// Each axis d that repeats becomes [1,d], then [r,d], then r*d.
Vars lower_tile(const Call& c) {
  const Shape& x = c.in(0).shape();
  const Shape& repeats = c.attributes().shape("repeats");
  Shape apart, repeated, whole;
  for (size_t a = 0; a < x.size(); ++a) {
    if (!(repeats[a] == Dim(1))) {
      apart.emplace_back(1);
      repeated.push_back(repeats[a]);
    }
    apart.push_back(x[a]);
    repeated.push_back(x[a]);
    whole.push_back(x[a] * repeats[a]);
  }
  return {reshape(broadcast_to(reshape(c.in(0), apart), repeated), whole)};
}

Types infer_reverse(const InferContext& c) {
  reduce_internal::chosen_axes(c, c[0].shape.size());
  return {c[0]};
}

Vars lower_reverse(const Call& c) {
  std::vector<int64_t> axes = c.attributes().integers("axes");
  const bool all = axes.empty();
  for (size_t a = 0; all && a < c.in(0).rank(); ++a) axes.push_back(static_cast<int64_t>(a));
  Var y = c.in(0);
  for (const int64_t a : axes) y = strided_slice(y, a, y.dim(a) - 1, y.dim(a), -1);
  return {axes.empty() ? reshape(y, {}) : y};
}

Types infer_reverse_sequence(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &lengths = c[1].shape;
  const size_t time = axis_of(c, x.size(), "time_axis"), batch = axis_of(c, x.size(), "batch_axis");
  if (time == batch) c.refuse("batch_axis", "same", "time and batch are both axis ", time);
  if (lengths.size() != 1 || !c.equal(lengths[0], x[batch]))
    c.refuse("lengths", "shape", "lengths have shape ", to_string(lengths), ", but must be [",
             x[batch], "], axis ", batch, " of x", to_string(x));
  r[0].shape = x;
  return r;
}

std::vector<Sample> reverse_sequence_samples() {
  const Attributes batch_major{{"time_axis", 1}, {"batch_axis", 0}};
  return {{{{{4, 3, 2}}, {{3}, 0, 0, i32, {4, 0, 2}}}},
          {{{{3, 4}}, {{3}, 0, 0, i64, {1, 4, 3}}}, batch_major, "batch-major"},
          {{{{2, 3, 2, 4}}, {{2}, 0, 0, i32, {3, 2}}},
           {{"time_axis", -1}, {"batch_axis", 2}},
           "axes in the middle"},
          {{{{0, 2}}, {{2}, 0, 0, i32}}, {}, "no steps"}};
}

void register_stacks(OpRegistry& r) {
  r.add({.name = "stack",
         .sig = "xs[...]:same* -> y[...]:same",
         .doc = "Joins operands of one shape along a new axis.",
         .example = R"(Graph g;
Var a = g.placeholder("a", f32, {"B", 3});
Var y = stack<Var>({a, a * 2}, 1);  // y: [B,2,3]
Tensor row = Tensor::of<float>({2}, {1, 2});
Tensor now = stack<Tensor>({row, row + 2}, 1);  // now: {1, 3, 2, 4})",
         .attributes = {{"axis", 0, "where the new axis stands in y"}},
         .aliases = {{"SameDiff", "stack", ""},
                     {"libnd4j", "stack", ""},
                     {"MXNet", "stack", ""},
                     {"PyTorch", "stack", ""},
                     {"Keras", "stack", ""}},
         .infer = infer_stack,
         .lower = lower_stack,
         .samples = {{{{{2, 3}}, {{2, 3}}}},
                     {{{{2, 3}}, {{2, 3}}, {{2, 3}}}, {{"axis", -1}}},
                     {{{Dims{}}, {Dims{}}}},
                     {{{{0, 2}}}, {{"axis", 1}}}},
         .refuses = {{"axis.range", {{{{2}}, {{2}}}, {{"axis", 2}}}, "y has no such axis"},
                     {"xs.arity", {}, "there is no operand"},
                     {"xs.shape", {{{{2}}, {{3}}}}, "operands are of two shapes"}}});
  r.add({.name = "unstack",
         .sig = "x[...]:same -> ys[...]:same*",
         .doc = "The parts of x along an axis, each without it; the axis is a number from 1 to "
                "4096.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {2, "B", 3});
Vars parts = unstack(x);  // parts[0]: [B,3]; parts[1]: [B,3]
std::vector<Tensor> now = unstack(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), 1);  // now[1]: {2, 4})",
         .attributes = {{"axis", 0, "the axis that is taken apart"}},
         .aliases = {{"SameDiff", "unstack", ""},
                     {"libnd4j", "unstack", ""},
                     {"PyTorch", "unbind", ""},
                     {"PyTorch", "dim", "axis"},
                     {"Keras", "unstack", ""}},
         .infer = infer_unstack,
         .lower = lower_unstack,
         .samples = {{{{{2, 3}}}}, {{{{2, 3, 2}}}, {{"axis", -2}}}, {{{{1}}}}, {{{{3, 0}}}}},
         .refuses = {{"axis.range", {{{{2}}}, {{"axis", 1}}}, "x has no such axis"},
                     {"x.parts", {{{{0, 2}}}}, "there would be no parts, or more than 4096"}}});
}

void register_tile(OpRegistry& r) {
  r.add({.name = "tile",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "x side by side with itself: axis a is repeats[a] times as long.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
Var y = tile(x, {2, 1});  // y: [2*B,3]
Tensor now = tile(Tensor::of<float>({2}, {1, 2}), {3});  // now: {1, 2, 1, 2, 1, 2})",
         .differs = {{"NumPy tile, PyTorch tile",
                      "one number for each axis of x, no fewer or more; "
                      "PyTorch's repeat is the same"}},
         .attributes =
             {{"repeats", Shape{}, "how often, for each axis; may hold symbols", {}, {}, {}, true}},
         .aliases = {{"SameDiff", "tile", ""},
                     {"libnd4j", "tile", ""},
                     {"MXNet", "tile", ""},
                     {"MXNet", "reps", "repeats"},
                     {"ONNX", "Tile", ""},
                     {"PyTorch", "repeat", ""},
                     {"Keras", "tile", ""}},
         .infer = infer_tile,
         .lower = lower_tile,
         .samples = {{{{{3}}}, {{"repeats", Shape{2}}}},
                     {{{{2, 1, 2}}}, {{"repeats", Shape{1, 3, 2}}}},
                     {{{{2, 3}}}, {{"repeats", Shape{2, 0}}}, "none"},
                     {{{Dims{}}}, {{"repeats", Shape{}}}, "a scalar"}},
         .refuses = {
             {"repeats.count",
              {{{{3}}}, {{"repeats", Shape{2, 2}}}},
              "there is not one number for each axis of x"},
             {"repeats.negative", {{{{3}}}, {{"repeats", Shape{-1}}}}, "a number is negative"}}});
}

void register_turns(OpRegistry& r) {
  r.add({.name = "reverse",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "x backwards along the axes; none named = all of them.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = reverse(x, {0});  // y: [T,B,3]
Tensor now = reverse(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), {1});  // now: {2, 1, 4, 3})",
         .attributes = {{"axes", std::vector<int64_t>{}, "axes that are turned; none = all"}},
         .aliases = {{"SameDiff", "reverse", ""},
                     {"libnd4j", "reverse", ""},
                     {"MXNet", "reverse", ""},
                     {"PyTorch", "flip", ""},
                     {"PyTorch", "dims", "axes"},
                     {"Keras", "flip", ""}},
         .infer = infer_reverse,
         .lower = lower_reverse,
         .samples = {{{{{2, 3}}}},
                     {{{{2, 3, 2}}}, {{"axes", std::vector<int64_t>{1}}}},
                     {{{{0, 2}}}, {{"axes", std::vector<int64_t>{0, -1}}}},
                     {{{Dims{}}}, {}, "a scalar"}},
         .refuses = reduce_internal::refused_axes()});
  r.add({.name = "reverse_sequence",
         .sig = "x[...]:same, lengths[...]:int -> y[...]:same",
         .doc = R"(Each row's own steps backwards, the padding behind them as it is:
    y[t,b] = x[lengths[b] - 1 - t,b] for t < lengths[b], else x[t,b]
x[T,B,...], lengths[B]. A length outside [0, T] is an Error when it runs.)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var y = reverse_sequence(x, lengths);  // y: [T,B,3]
Tensor t = Tensor::of<float>({3, 1}, {1, 2, 3});
Tensor now = reverse_sequence(t, Tensor::of<int32_t>({1}, {2}));  // now: {2, 1, 3})",
         .differs = {{"TensorFlow, ONNX ReverseSequence",
                      "time is axis 0 and batch axis 1 unless others are named"},
                     {"MXNet SequenceReverse", "lengths are integers"}},
         .attributes = {{"time_axis", 0, "T's axis in x"}, {"batch_axis", 1, "B's axis in x"}},
         .aliases = {{"SameDiff", "reverseSequence", ""},
                     {"SameDiff", "seq_lengths", "lengths"},
                     {"SameDiff", "seqDim", "time_axis"},
                     {"SameDiff", "batchDim", "batch_axis"},
                     {"libnd4j", "reverse_sequence", ""},
                     {"MXNet", "SequenceReverse", ""},
                     {"MXNet", "sequence_length", "lengths"},
                     {"ONNX", "ReverseSequence", ""},
                     {"ONNX", "sequence_lens", "lengths"}},
         .infer = infer_reverse_sequence,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {apply("reverse_sequence", {g[0], c.in(1)}, c.attributes())[0], {}};
         },
         .samples = reverse_sequence_samples(),
         .refuses = {{"time_axis.range",
                      {{{{3, 2}}, {{2}, 0, 1, i32}}, {{"time_axis", 2}}},
                      "x has no such axis"},
                     {"batch_axis.range", {{{{3}}, {{1}, 0, 1, i32}}}, "x has no such axis"},
                     {"batch_axis.same",
                      {{{{3, 2}}, {{3}, 0, 1, i32}}, {{"batch_axis", 0}}},
                      "time and batch are one axis"},
                     {"lengths.shape",
                      {{{{3, 2}}, {{3}, 0, 1, i32}}},
                      "there is not one length for each row"},
                     {"lengths.range",
                      {{{{3, 2}}, {{2}, 0, 0, i32, {3, 4}}}},
                      "a length is outside [0, T]"}}});
  r.add({.name = "roll",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "y[i] = x[i - shift] along the axis; what leaves at one end enters at the other.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = roll(x, 1);  // y: [T,B,3]
Tensor now = roll(Tensor::of<float>({4}, {1, 2, 3, 4}), -1);  // now: {2, 3, 4, 1})",
         .differs = {{"NumPy, PyTorch roll",
                      "one axis, the first unless another is named; they flatten unless one is "
                      "named"}},
         .attributes = {{"shift",
                         1,
                         "how far elements move; may be negative, or beyond the axis",
                         {},
                         -kLargestCount,
                         kLargestCount},
                        {"axis", 0, "the axis along which they move"}},
         .aliases = {{"libnd4j", "roll", ""}, {"PyTorch", "roll", ""}, {"Keras", "roll", ""}},
         .infer =
             [](const InferContext& c) {
               axis_of(c, c[0].shape.size());
               return Types{c[0]};
             },
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {roll(g[0], -c.integer("shift"), c.integer("axis"))};
         },
         .samples = {{{{{4}}}},
                     {{{{2, 5}}}, {{"axis", 1}, {"shift", -7}}},
                     {{{{3, 2, 2}}}, {{"axis", -2}, {"shift", 3}}},
                     {{{{0, 2}}}, {{"shift", 2}}}},
         .refuses = {{"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"}}});
}

}  // namespace

void register_arrange(OpRegistry& r) {
  register_stacks(r);
  register_tile(r);
  register_turns(r);
}

template <Operable V>
V stack(std::vector<V> xs, int64_t axis, Site at) {
  return apply("stack", xs, {{"axis", axis}}, {.site = at})[0];
}
template <Operable V>
List<V> unstack(V x, int64_t axis, Site at) {
  return apply("unstack", {x}, {{"axis", axis}}, {.site = at});
}
template <Operable V>
V tile(V x, Shape repeats, Site at) {
  return apply("tile", {x}, {{"repeats", std::move(repeats)}}, {.site = at})[0];
}
template <Operable V>
V reverse(V x, std::vector<int64_t> axes, Site at) {
  return apply("reverse", {x}, {{"axes", std::move(axes)}}, {.site = at})[0];
}
template <Operable V>
V reverse_sequence(V x, std::type_identity_t<V> lengths, SequenceAxes axes, Site at) {
  return apply("reverse_sequence", {x, lengths},
               {{"time_axis", axes.time}, {"batch_axis", axes.batch}}, {.site = at})[0];
}
template <Operable V>
V roll(V x, int64_t shift, int64_t axis, Site at) {
  return apply("roll", {x}, {{"shift", shift}, {"axis", axis}}, {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                             \
  template V stack(std::vector<V>, int64_t, Site);       \
  template List<V> unstack(V, int64_t, Site);            \
  template V tile(V, Shape, Site);                       \
  template V reverse(V, std::vector<int64_t>, Site);     \
  template V reverse_sequence(V, V, SequenceAxes, Site); \
  template V roll(V, int64_t, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
