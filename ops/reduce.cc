#include <rondo/ops/reduce.h>

#include <algorithm>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

const std::vector<AttributeDef> kAttributes{
    {"axes", std::vector<int64_t>{}, "axes that are reduced; none = all"},
    {"keep_dims", false, "reduced axes stay, of length 1"}};

std::vector<ValueType> infer_reduce(const InferContext& c) {
  const Shape& x = c[0].shape;
  std::vector<bool> gone(x.size(), c.attributes().integers("axes").empty());
  for (const int64_t a : c.attributes().integers("axes")) {
    const auto i = static_cast<size_t>(c.axis(a, x.size(), "axes"));
    if (gone[i]) c.refuse("axes", "twice", "axis ", a, " is named twice");
    gone[i] = true;
  }
  std::vector<ValueType> r = infer_by_signature(c, false);
  for (size_t i = 0; i < x.size(); ++i) {
    if (!gone[i]) {
      r[0].shape.push_back(x[i]);
    } else if (c.attributes().flag("keep_dims")) {
      r[0].shape.emplace_back(1);
    }
  }
  return r;
}

// The shape of a reduction's result as if the reduced axes had stayed.
Shape kept_shape(const Call& c) {
  Shape s = c.in(0).shape();
  const auto& axes = c.attributes().integers("axes");
  for (size_t i = 0; i < s.size(); ++i) {
    const auto is = [&](int64_t a) {
      return (a < 0 ? a + static_cast<int64_t>(s.size()) : a) == static_cast<int64_t>(i);
    };
    if (axes.empty() || std::any_of(axes.begin(), axes.end(), is)) s[i] = 1;
  }
  return s;
}

Var spread(const Call& c, const Var& v) {
  return broadcast_to(reshape(v, kept_shape(c)), c.in(0).shape());
}

const std::vector<RefusedCall> kAxesRefusals{
    {"axes.twice", {{{{2, 3}}}, {{"axes", std::vector<int64_t>{1, -1}}}}, "an axis is named twice"},
    {"axes.range", {{{{2, 3}}}, {{"axes", std::vector<int64_t>{2}}}}, "x has no such axis"}};

std::vector<Sample> samples_of() {
  return {{{{{2, 3, 4}}}},
          {{{{2, 3, 4}}}, {{"axes", std::vector<int64_t>{1}}}},
          {{{{2, 3, 4}}}, {{"axes", std::vector<int64_t>{0, -1}}, {"keep_dims", true}}},
          {{{{1}}}}};
}

}  // namespace

void register_reduce(OpRegistry& r) {
  r.add(
      {.name = "sum",
       .sig = "x[...]:same -> y[...]:same",
       .doc = "y = sum of x over the axes; over nothing: 0.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var total = sum(x);  // total: []
Var over_time = sum(x, {.axes = {0}});  // over_time: [B,3]
Var of_row = sum(x, {.axes = {-1}, .keep_dims = true});  // of_row: [T,B,1]
Tensor now = sum(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), {.axes = {0}});  // now: {4, 6})",
       .attributes = kAttributes,
       .infer = infer_reduce,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars { return {spread(c, g[0])}; },
       .samples = samples_of(),
       .refuses = kAxesRefusals});
  r.add({.name = "mean",
         .sig = "x[...] -> y[...]",
         .doc = "y = mean of x over the axes; over nothing: NaN.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var all = mean(x);  // all: []
Var over_time = mean(x, {.axes = {0}});  // over_time: [B,3]
Tensor now = mean(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), {.axes = {1}});  // now: {1.5, 3.5})",
         .differs =
             {{"Keras losses and metrics",
               "they know a mask; here padding counts like any other number: for a mean over each "
               "row's own steps divide the sum by the lengths"}},
         .attributes = kAttributes,
         .infer = infer_reduce,
         .lower = [](const Call& c) -> Vars {
           const ReduceOptions o{c.attributes().integers("axes"), c.flag("keep_dims")};
           // Halves cannot count far: sums and counts are f32 then.
           const DType t = c.in(0).dtype();
           const Var x = is_half(t) ? cast(c.in(0), f32) : c.in(0);
           const Var m = sum(x, o) / sum(fill_like(x, 1), o);
           return {is_half(t) ? cast(m, t) : m};
         },
         .samples = samples_of(),
         .refuses = kAxesRefusals});
  r.add({.name = "reduce_max",
         .sig = "x[...] -> y[...]",
         .doc = "y = largest value over the axes; NaN passes through; over nothing: -infinity. The "
                "first of ties takes the gradient.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = reduce_max(x, {.axes = {0}});  // y: [B,3]
Tensor now = reduce_max(Tensor::of<float>({2, 2}, {1, 4, 3, 2}), {.axes = {1}});  // now: {4, 3})",
         .differs =
             {{"PyTorch max over an axis",
               "gives the values alone (argmax gives the index); PyTorch's amax and TensorFlow "
               "share the gradient evenly among ties, here the first takes all of it"}},
         .attributes = kAttributes,
         .infer = infer_reduce,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           // The first of ties, in flat order over the reduced axes: the winner's rank among equals
           // must be 1.
           const Var winner = equal(c.in(0), spread(c, c.out(0)));
           const Var first =
               apply("first_true", {winner}, {{"axes", c.attributes().integers("axes")}})[0];
           return {where(first, spread(c, g[0]), 0)};
         },
         .samples = samples_of(),
         .refuses = kAxesRefusals});
  r.add({.name = "first_true",
         .sig = "x[...]:bool -> y[...]:bool",
         .doc = "y = true only at the first true element of x, in flat order over the given axes.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
const Attributes last_axis{{"axes", std::vector<int64_t>{-1}}};
Var y = apply("first_true", {x > 0.5}, last_axis)[0];  // y: [B,3]
Tensor t = Tensor::of<float>({3}, {0, 1, 1});
Tensor now = apply("first_true", std::vector<Tensor>{t > 0.5}, last_axis)[0];  // now: {0, 1, 0})",
         .attributes = {kAttributes[0]},
         .infer =
             [](const InferContext& c) {
               for (const int64_t a : c.attributes().integers("axes"))
                 c.axis(a, c[0].shape.size(), "axes");
               return std::vector<ValueType>{{boolean, c[0].shape, true}};
             },
         .no_gradient = true,
         .samples = {{{{{3, 4}, 0, 1, boolean}}, {{"axes", std::vector<int64_t>{1}}}},
                     {{{{3, 4}, 0, 1, boolean}}}},
         .refuses = {{"axes.range",
                      {{{{2, 3}, 0, 1, boolean}}, {{"axes", std::vector<int64_t>{2}}}},
                      "x has no such axis"}}});
  r.add({.name = "argmax",
         .sig = "x[...]! -> y[...]:i64",
         .doc = "y = index of the largest value along the axis; the first of ties; a NaN is larger "
                "than all.",
         .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"B", 9});
Var label = argmax(logits);  // label: [B]
Tensor now = argmax(Tensor::of<float>({2, 2}, {1, 4, 3, 2}), 1);  // now: {1, 0})",
         .differs = {{"PyTorch argmax",
                      "the axis is the last one unless another is named; PyTorch flattens unless "
                      "one is named"},
                     {"MXNet argmax", "that one gives floats; this one i64"}},
         .attributes = {{"axis", -1, "the axis that is searched"}},
         .infer =
             [](const InferContext& c) {
               const auto axis =
                   static_cast<size_t>(c.axis(c.attributes().integer("axis"), c[0].shape.size()));
               if (c[0].shape[axis] == Dim(0))
                 c.refuse("x", "empty", "cannot search axis ", axis, " of length 0");
               Shape s = c[0].shape;
               s.erase(s.begin() + static_cast<std::ptrdiff_t>(axis));
               return std::vector<ValueType>{{i64, s, true}};
             },
         .no_gradient = true,
         .samples = {{{{{2, 3}}}}, {{{{2, 3, 4}}}, {{"axis", 1}}}},
         .refuses = {{"x.empty", {{{{2, 0}}}}, "the axis has length 0: there is no largest"},
                     {"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"}}});
}

namespace {
Attributes attributes_of(const ReduceOptions& o) {
  return {{"axes", o.axes}, {"keep_dims", o.keep_dims}};
}
}  // namespace

template <Operable V>
V sum(V x, ReduceOptions o, Site at) {
  return apply("sum", {x}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V mean(V x, ReduceOptions o, Site at) {
  return apply("mean", {x}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V reduce_max(V x, ReduceOptions o, Site at) {
  return apply("reduce_max", {x}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V argmax(V x, int64_t axis, Site at) {
  return apply("argmax", {x}, {{"axis", axis}}, {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                     \
  template V sum(V, ReduceOptions, Site);        \
  template V mean(V, ReduceOptions, Site);       \
  template V reduce_max(V, ReduceOptions, Site); \
  template V argmax(V, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
