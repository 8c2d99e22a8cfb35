#include <rondo/ops/reduce.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce_common.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace reduce_internal;

void register_reduce(OpRegistry& r) {
  r.add(
      {.name = "sum",
       .sig = "x[...]:number -> y[...]:number",
       .doc = "y = sum of x over the axes; over nothing: 0.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var total = sum(x);  // total: []
Var over_time = sum(x, {.axes = {0}});  // over_time: [B,3]
Var of_row = sum(x, {.axes = {-1}, .keep_dims = true});  // of_row: [T,B,1]
Tensor now = sum(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), {.axes = {0}});  // now: {4, 6})",
       .attributes = attributes_with(),
       .infer = infer_reduce,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars { return {spread(c, g[0])}; },
       .samples = samples_of(),
       .refuses = refused_axes()});
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
         .attributes = attributes_with(),
         .infer = infer_reduce,
         .lower = [](const Call& c) -> Vars {
           const ReduceOptions o = options_of(c);
           return {in_f32(c.in(0), [&](const Var& x) { return sum(x, o) / count_over(x, o); })};
         },
         .samples = samples_of(),
         .refuses = refused_axes()});
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
         .attributes = attributes_with(),
         .infer = infer_reduce,
         .vjp = [](const Call& c, const Vars& g, GradContext&) { return vjp_of_extreme(c, g); },
         .samples = samples_of(),
         .refuses = refused_axes()});
  r.add({.name = "first_true",
         .sig = "x[...]:bool -> y[...]:bool",
         .doc = "y = true only at the first true element of x, in flat order over the given axes.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
const Attributes last_axis{{"axes", std::vector<int64_t>{-1}}};
Var y = apply("first_true", {x > 0.5}, last_axis)[0];  // y: [B,3]
Tensor t = Tensor::of<float>({3}, {0, 1, 1});
Tensor now = apply("first_true", std::vector<Tensor>{t > 0.5}, last_axis)[0];  // now: {0, 1, 0})",
         .attributes = {attributes_with()[0]},
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
         .infer = infer_without_axis,
         .no_gradient = true,
         .samples = {{{{{2, 3}}}}, {{{{2, 3, 4}}}, {{"axis", 1}}}},
         .refuses = refused_searches()});
}

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
