#include <rondo/ops/statistics.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/order.h>
#include <rondo/ops/reduce_common.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace reduce_internal;

namespace {

// The product of all others, for each element: what stands before it times what stands behind it.
// Whether an axis of length 1 counts as kept or as reduced is all the same.
Vars vjp_prod(const Call& c, const Vars& g, GradContext&) {
  const Var& x = c.in(0);
  const Shape kept = kept_shape(c);
  std::vector<int64_t> order;
  Shape lines;
  Dim length(1);
  const auto take = [&](bool reduced) {
    for (size_t i = 0; i < x.rank(); ++i) {
      if ((kept[i] == x.shape()[i]) == reduced) continue;
      order.push_back(static_cast<int64_t>(i));
      if (reduced) {
        length = length * x.shape()[i];
      } else {
        lines.push_back(x.shape()[i]);
      }
    }
  };
  take(false);
  take(true);
  lines.push_back(length);
  std::vector<int64_t> back(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    back[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);

  const Var moved = transpose(x, order);
  const Var line = reshape(moved, lines);
  const Var others = cumprod(line, {.axis = -1, .exclusive = true}) *
                     cumprod(line, {.axis = -1, .exclusive = true, .reverse = true});
  return {spread(c, g[0]) * transpose(reshape(others, moved.shape()), back)};
}

Var variance_of(const Call& c, const Var& x) {
  const ReduceOptions o = options_of(c), kept{o.axes, true};
  const Var centred = x - mean(x, kept);
  const Var divisor = maximum(count_over(x, o) - c.number("correction"), 0);
  return sum(square(centred), o) / divisor;
}

// sqrt, whose slope at 0 is 1 instead of infinite: then a slope of 0 before it stays one.
Var root(const Var& x) {
  const Var above = x > 0;
  return where(above, sqrt(where(above, x, 1)), x);
}

void check_order(const InferContext& c) {
  const double order = c.attributes().number("order");
  if (order != 1 && order != 2 && order != kInfinity)
    c.refuse("order", "value", "order is ", order, ", but must be 1, 2 or infinity");
}

Var norm_of(const Call& c, const Var& x) {
  const ReduceOptions o = options_of(c);
  const double order = c.number("order");
  if (order == 1) return sum(abs(x), o);
  if (order == 2) {
    const Var m = magnitude_over(x, o.axes), y = root(sum(square(x / m), o));
    return reshape(m, y.shape()) * y;
  }
  return maximum(reduce_max(abs(x), o), 0);
}

Var logsumexp_of(const Call& c, const Var& x) {
  const ReduceOptions o = options_of(c), kept{o.axes, true};
  const Var largest = stop_gradient(reduce_max(x, kept));
  const Var shift = where(abs(largest) < kInfinity, largest, 0);
  const Var total = sum(exp(x - shift), o);
  // The logarithm of nothing has no slope.
  const Var nothing = equal(total, 0);
  return where(nothing, -kInfinity, log(where(nothing, 1, total)) + reshape(shift, total.shape()));
}

std::vector<Sample> truths(double low) {
  std::vector<Sample> r = samples_of();
  for (Sample& s : r) s.inputs[0] = {s.inputs[0].dims, low, 1, boolean};
  return r;
}

std::vector<Sample> with(const Attributes& more, std::vector<Sample> samples) {
  for (Sample& s : samples) {
    for (const auto& [name, value] : more.items()) s.attributes.set(name, value);
  }
  return samples;
}

std::vector<Sample> operator+(std::vector<Sample> a, const std::vector<Sample>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

using Axes = std::vector<int64_t>;

void register_products(OpRegistry& r) {
  r.add({.name = "reduce_min",
         .sig = "x[...] -> y[...]",
         .doc = "y = smallest value over the axes; NaN passes through; over nothing: +infinity. "
                "The first of ties takes the gradient.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = reduce_min(x, {.axes = {0}});  // y: [B,3]
Tensor now = reduce_min(Tensor::of<float>({2, 2}, {1, 4, 3, 2}), {.axes = {1}});  // now: {1, 2})",
         .differs =
             {{"PyTorch min over an axis",
               "gives the values alone (argmin gives the index); PyTorch's amin and TensorFlow "
               "share the gradient evenly among ties, here the first takes all of it"}},
         .attributes = attributes_with(),
         .aliases = {{"SameDiff", "min", ""},
                     {"libnd4j", "reduce_min", ""},
                     {"MXNet", "min", ""},
                     {"ONNX", "ReduceMin", ""},
                     {"PyTorch", "amin", ""},
                     {"Keras", "min", ""}},
         .infer = infer_reduce,
         .vjp = [](const Call& c, const Vars& g, GradContext&) { return vjp_of_extreme(c, g); },
         .samples = samples_of(),
         .refuses = refused_axes()});
  r.add({.name = "prod",
         .sig = "x[...]:number -> y[...]:number",
         .doc =
             "y = product of x over the axes; over nothing: 1. The gradient of an element is the "
             "product of the others: never y / x, so it is right where x is 0.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var over_time = prod(x, {.axes = {0}});  // over_time: [B,3]
Tensor now = prod(Tensor::of<float>({2, 2}, {1, 2, 3, 4}), {.axes = {0}});  // now: {3, 8})",
         .attributes = attributes_with(),
         .aliases = {{"SameDiff", "prod", ""},
                     {"libnd4j", "reduce_prod", ""},
                     {"MXNet", "prod", ""},
                     {"ONNX", "ReduceProd", ""},
                     {"PyTorch", "prod", ""},
                     {"Keras", "prod", ""}},
         .infer = infer_reduce,
         .vjp = vjp_prod,
         .samples =
             samples_of(-1.5, 1.5) +
             std::vector<Sample>{
                 {{{{3, 3}, 0, 0, f64, {2, 0, 3, 0, -1.5, 0, 0.5, 2, -1}}},
                  {{"axes", Axes{1}}},
                  "one zero, two and none"},
                 {{{{2, 3}, 0, 0, f64, {0.9, 0.5, -0.7, 0, -0.8, 1}}}, {}, "a zero among all"}},
         .refuses = refused_axes()});
}

void register_moments(OpRegistry& r) {
  const std::vector<AttributeDef> attributes = attributes_with(
      {{"correction", 0.0, "the sum of squares is divided by n - correction", {}, 0}});
  r.add(
      {.name = "variance",
       .sig = "x[...] -> y[...]",
       .doc =
           R"(y = variance of the n elements of x over the axes, in two passes; NaN where n = correction:
    m = mean of x;  y = sum of (x - m)^2 / max(n - correction, 0))",
       .source = "Chan, Golub and LeVeque (1983), the two-pass algorithm",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = variance(x, {.axes = {0}});  // y: [B,3]
Tensor t = Tensor::of<float>({2}, {1, 5});
Tensor now = variance(t);  // now: {4}
Tensor of_sample = variance(t, {.correction = 1});  // of_sample: {8})",
       .differs = {{"NumPy var", "the same; correction is called ddof there"},
                   {"PyTorch var", "its correction is 1 unless another is given; here 0"}},
       .attributes = attributes,
       .aliases = {{"SameDiff", "variance", ""},
                   {"libnd4j", "reduce_variance", ""},
                   {"PyTorch", "var", ""},
                   {"Keras", "var", ""}},
       .infer = infer_reduce,
       .lower = [](const Call& c) -> Vars {
         return {in_f32(c.in(0), [&](const Var& x) { return variance_of(c, x); })};
       },
       .samples = samples_of() +
                  std::vector<Sample>{{{{{3, 4}}}, {{"axes", Axes{0}}, {"correction", 1.0}}},
                                      {{{{5}, 1000, 1001}}, {}, "far from 0"}},
       .refuses = refused_axes()});
  r.add({.name = "standard_deviation",
         .sig = "x[...] -> y[...]",
         .doc = "y = sqrt(variance of x over the axes), see variance; where that is 0, so is the "
                "gradient.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = standard_deviation(x, {.axes = {0}, .keep_dims = true});  // y: [1,B,3]
Tensor now = standard_deviation(Tensor::of<float>({2}, {1, 5}));  // now: {2})",
         .differs = {{"NumPy std", "the same; correction is called ddof there"},
                     {"PyTorch std",
                      "its correction is 1 unless another is given; and its gradient is NaN where "
                      "all elements are equal, here 0"}},
         .attributes = attributes,
         .aliases = {{"SameDiff", "standardDeviation", ""},
                     {"libnd4j", "reduce_stdev", ""},
                     {"PyTorch", "std", ""},
                     {"Keras", "std", ""}},
         .infer = infer_reduce,
         .lower = [](const Call& c) -> Vars {
           return {in_f32(c.in(0), [&](const Var& x) { return root(variance_of(c, x)); })};
         },
         .samples = samples_of() +
                    std::vector<Sample>{{{{{3, 4}}}, {{"axes", Axes{0}}, {"correction", 1.0}}}},
         .refuses = refused_axes()});
}

void register_norms(OpRegistry& r) {
  std::vector<RefusedCall> refused = refused_axes();
  refused.push_back(
      {"order.value", {{{{2, 3}}}, {{"order", 3.0}}}, "order is not 1, 2 or infinity"});
  r.add(
      {.name = "norm",
       .sig = "x[...] -> y[...]",
       .doc =
           R"(y = norm of x over the axes, as of one vector; over nothing: 0. The gradient at 0 is 0:
    order 1: sum of |x|;  order 2: sqrt(sum of x^2), without overflow;  order infinity: largest |x|)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var length = norm(x, 2, {.axes = {-1}});  // length: [T,B]
Tensor t = Tensor::of<float>({2}, {3, -4});
Tensor now = norm(t);  // now: {5}
Tensor largest = norm(t, kInfinity);  // largest: {4})",
       .differs = {{"NumPy linalg.norm, PyTorch linalg.norm",
                    "several axes are one long vector here (as in PyTorch's vector_norm), never "
                    "a matrix"}},
       .attributes = attributes_with({{"order", 2.0, "1, 2 or infinity"}}),
       .aliases = {{"SameDiff", "norm2", ""},
                   {"libnd4j", "reduce_norm2", ""},
                   {"MXNet", "norm", ""},
                   {"MXNet", "ord", "order"},
                   {"ONNX", "ReduceL2", ""},
                   {"PyTorch", "vector_norm", ""},
                   {"PyTorch", "ord", "order"},
                   {"Keras", "norm", ""}},
       .infer = infer_reduce,
       .check = check_order,
       .lower = [](const Call& c) -> Vars {
         return {in_f32(c.in(0), [&](const Var& x) { return norm_of(c, x); })};
       },
       .samples = samples_of() + with({{"order", 1.0}}, samples_of(0.1, 1)) +
                  with({{"order", kInfinity}}, samples_of()),
       .refuses = refused});
  r.add(
      {.name = "logsumexp",
       .sig = "x[...] -> y[...]",
       .doc =
           R"(y = log(sum of e^x over the axes), without overflow; over nothing, or where all is -infinity: -infinity,
with a gradient of 0:
    m = max(x);  y = m + log(sum of e^(x - m)))",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = logsumexp(x, {.axes = {-1}});  // y: [T,B]
Tensor now = logsumexp(Tensor::of<float>({2}, {1000, 0}));  // now: {1000})",
       .differs = {{"PyTorch logsumexp", "no axes mean all of them"}},
       .attributes = attributes_with(),
       .aliases = {{"SameDiff", "logSumExp", ""},
                   {"libnd4j", "reduce_logsumexp", ""},
                   {"ONNX", "ReduceLogSumExp", ""},
                   {"PyTorch", "logsumexp", ""},
                   {"Keras", "logsumexp", ""}},
       .infer = infer_reduce,
       .lower = [](const Call& c) -> Vars {
         return {in_f32(c.in(0), [&](const Var& x) { return logsumexp_of(c, x); })};
       },
       .samples = samples_of(-3, 3) + std::vector<Sample>{{{{{2, 3}, 700, 800}}, {}, "large"}},
       .refuses = refused_axes()});
}

void register_searches(OpRegistry& r) {
  r.add({.name = "reduce_any",
         .sig = "x[...]:bool -> y[...]:bool",
         .doc = "y = whether some element of x is true over the axes; over nothing: false.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = reduce_any(x > 0, {.axes = {0}});  // y: [B,3]
Tensor now = reduce_any(Tensor::of<float>({3}, {1, -2, 3}) < 0);  // now: {1})",
         .attributes = attributes_with(),
         .aliases = {{"SameDiff", "any", ""},
                     {"libnd4j", "any", ""},
                     {"PyTorch", "any", ""},
                     {"Keras", "any", ""}},
         .infer = infer_reduce,
         .lower = [](const Call& c) -> Vars {
           return {reduce_max(cast(c.in(0), f32), options_of(c)) > 0.5};
         },
         .no_gradient = true,
         .samples = truths(0),
         .refuses = refused_axes(boolean)});
  r.add({.name = "reduce_all",
         .sig = "x[...]:bool -> y[...]:bool",
         .doc = "y = whether every element of x is true over the axes; over nothing: true.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = reduce_all(x > 0, {.axes = {0}});  // y: [B,3]
Tensor now = reduce_all(Tensor::of<float>({3}, {1, -2, 3}) < 0);  // now: {0})",
         .attributes = attributes_with(),
         .aliases = {{"SameDiff", "all", ""},
                     {"libnd4j", "all", ""},
                     {"PyTorch", "all", ""},
                     {"Keras", "all", ""}},
         .infer = infer_reduce,
         .lower = [](const Call& c) -> Vars {
           return {reduce_min(cast(c.in(0), f32), options_of(c)) > 0.5};
         },
         .no_gradient = true,
         .samples = truths(0) + truths(1),
         .refuses = refused_axes(boolean)});
  r.add({.name = "argmin",
         .sig = "x[...]! -> y[...]:i64",
         .doc = "y = index of the smallest value along the axis; the first of ties; a NaN is "
                "smaller than all.",
         .example = R"(Graph g;
Var distance = g.placeholder("distance", f32, {"B", 9});
Var nearest = argmin(distance);  // nearest: [B]
Tensor now = argmin(Tensor::of<float>({2, 2}, {1, 4, 3, 2}), 1);  // now: {0, 1})",
         .differs = {{"PyTorch argmin",
                      "the axis is the last one unless another is named; PyTorch flattens unless "
                      "one is named"},
                     {"MXNet argmin", "that one gives floats; this one i64"}},
         .attributes = {{"axis", -1, "the axis that is searched"}},
         .aliases = {{"SameDiff", "argmin", ""},
                     {"libnd4j", "argmin", ""},
                     {"MXNet", "argmin", ""},
                     {"ONNX", "ArgMin", ""},
                     {"PyTorch", "argmin", ""},
                     {"Keras", "argmin", ""}},
         .infer = infer_without_axis,
         .lower = [](const Call& c) -> Vars { return {argmax(-c.in(0), c.integer("axis"))}; },
         .no_gradient = true,
         .samples = {{{{{2, 3}}}}, {{{{2, 3, 4}}}, {{"axis", 1}}}, {{{{1}}}, {{"axis", 0}}}},
         .refuses = refused_searches()});
}

Attributes attributes_of(const VarianceOptions& o) {
  return {{"axes", o.axes}, {"keep_dims", o.keep_dims}, {"correction", o.correction}};
}

}  // namespace

void register_statistics(OpRegistry& r) {
  register_products(r);
  register_moments(r);
  register_norms(r);
  register_searches(r);
}

#define RONDO_REDUCTION(name, Options)                           \
  template <Operable V>                                          \
  V name(V x, Options o, Site at) {                              \
    return apply(#name, {x}, attributes_of(o), {.site = at})[0]; \
  }                                                              \
  template Var name(Var, Options, Site);                         \
  template Tensor name(Tensor, Options, Site);
RONDO_REDUCTION(reduce_min, ReduceOptions)
RONDO_REDUCTION(prod, ReduceOptions)
RONDO_REDUCTION(variance, VarianceOptions)
RONDO_REDUCTION(standard_deviation, VarianceOptions)
RONDO_REDUCTION(logsumexp, ReduceOptions)
RONDO_REDUCTION(reduce_any, ReduceOptions)
RONDO_REDUCTION(reduce_all, ReduceOptions)
#undef RONDO_REDUCTION

template <Operable V>
V norm(V x, double order, ReduceOptions o, Site at) {
  Attributes a = attributes_of(o);
  a.set("order", order);
  return apply("norm", {x}, std::move(a), {.site = at})[0];
}
template <Operable V>
V argmin(V x, int64_t axis, Site at) {
  return apply("argmin", {x}, {{"axis", axis}}, {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                       \
  template V norm(V, double, ReduceOptions, Site); \
  template V argmin(V, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
