#include <rondo/ops/order.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/index.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using Types = std::vector<ValueType>;

Types infer_along(const InferContext& c) {
  c.axis(c.attributes().integer("axis"), c[0].shape.size());
  return {c[0]};
}

CumulativeOptions options_of(const Call& c) {
  return {c.integer("axis"), c.flag("exclusive"), c.flag("reverse")};
}
Attributes attributes_of(const CumulativeOptions& o) {
  return {{"axis", o.axis}, {"exclusive", o.exclusive}, {"reverse", o.reverse}};
}

// What stands one step further (`ahead`) or back along the axis, 0 where nothing does.
Var neighbour(const Var& x, int64_t axis, bool ahead) {
  if (ahead) return slice(pad(x, axis, 0, 1), axis, 1, x.dim(axis) + 1);
  return slice(pad(x, axis, 1, 0), axis, 0, x.dim(axis));
}

Vars vjp_cumsum(const Call& c, const Vars& g, GradContext&) {
  CumulativeOptions o = options_of(c);
  o.reverse = !o.reverse;
  return {cumsum(g[0], o)};
}

// dx_i = (product of what stands before i) * s_i, where s_i = sum over the y_j that hold x_i of
// g_j times what stands between: s_i = g_i + x_{i+1} s_{i+1}.
Vars vjp_cumprod(const Call& c, const Vars& g, GradContext&) {
  const CumulativeOptions o = options_of(c);
  const auto next = [&](const Var& v) { return neighbour(v, o.axis, !o.reverse); };
  const Var before = cumprod(c.in(0), {o.axis, true, o.reverse});
  return {before * linear_scan(next(c.in(0)), o.exclusive ? next(g[0]) : g[0], o.axis, !o.reverse)};
}

Types infer_linear_scan(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &a = c[0].shape, &b = c[1].shape;
  c.axis(c.attributes().integer("axis"), a.size());
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i) same = c.equal(a[i], b[i]);
  if (!same)
    c.refuse("b", "shape", "b has shape ", to_string(b), ", but must have that of a, ",
             to_string(a));
  r[0].shape = a;
  return r;
}

Vars vjp_linear_scan(const Call& c, const Vars& g, GradContext&) {
  const int64_t axis = c.integer("axis");
  const bool reverse = c.flag("reverse");
  const Var total = linear_scan(neighbour(c.in(0), axis, !reverse), g[0], axis, !reverse);
  return {total * neighbour(c.out(0), axis, reverse), total};
}

Types infer_top_k(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  Shape s = c[0].shape;
  const int64_t k = c.attributes().integer("k");
  if (s.empty()) c.refuse("x", "rank", "x is a scalar, but must have a last axis");
  if (s.back().is_constant() && s.back().constant() < k)
    c.refuse("k", "range", "k is ", k, ", but must be at most ", s.back(), ", the last axis of x",
             to_string(s));
  if (!s.back().is_constant()) c.equal(s.back(), k);  // checked again once it is known
  s.back() = k;
  for (ValueType& t : r) t.shape = s;
  return r;
}

std::vector<AttributeDef> cumulative_attributes() {
  return {{"axis", 0, "the axis along which it runs"},
          {"exclusive", false, "each result is of what stands before it, without itself"},
          {"reverse", false, "from the last element to the first"}};
}

std::vector<Sample> cumulative_samples() {
  return {{{{{4}}}},
          {{{{2, 3, 2}}}, {{"axis", 1}, {"exclusive", true}}},
          {{{{3, 4}}}, {{"axis", -1}, {"reverse", true}}},
          {{{{3, 2}}}, {{"exclusive", true}, {"reverse", true}}},
          {{{{0, 2}}}}};
}

std::vector<Sample> cumprod_samples() {
  std::vector<Sample> r = cumulative_samples();
  for (const bool exclusive : {false, true}) {
    for (const bool reverse : {false, true})
      r.push_back({{{{3, 4}, 0, 0, f64, {2, 0, 3, -1, 0.5, 0, 0, 2, 1.5, -2, 0.7, 0}}},
                   {{"axis", 1}, {"exclusive", exclusive}, {"reverse", reverse}},
                   "with zeros"});
  }
  return r;
}

const RefusedCall kNoSuchAxis{"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"};

std::vector<AttributeDef> sort_attributes() {
  return {{"axis", -1, "the axis that is sorted"},
          {"descending", false, "the largest first, instead of the smallest"}};
}

std::vector<Sample> sort_samples() {
  return {{{{{5}}}},
          {{{{2, 4, 3}}}, {{"axis", 1}, {"descending", true}}},
          {{{{3, 4}}}, {{"axis", 0}}},
          {{{{2, 6}, -2, 2, i32}}, {}, "whole numbers, with ties"},
          {{{{0, 3}}}, {{"axis", 0}}},
          {{{{4, 1}}}, {{"descending", true}}}};
}

void register_cumulative(OpRegistry& r) {
  r.add({.name = "cumsum",
         .sig = "x[...]:number -> y[...]:number",
         .doc = R"(Running sums along an axis:
    y_t = x_0 + ... + x_t;  exclusive: y_t = x_0 + ... + x_{t-1}, y_0 = 0
    reverse: the same from the last element on)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = cumsum(x);  // y: [T,B,3]
Tensor t = Tensor::of<float>({3}, {1, 2, 4});
Tensor now = cumsum(t);  // now: {1, 3, 7}
Tensor to_go = cumsum(t, {.exclusive = true, .reverse = true});  // to_go: {6, 4, 0})",
         .differs = {{"NumPy cumsum, MXNet cumsum",
                      "the axis is the first one unless another is named; they flatten unless one "
                      "is named"}},
         .attributes = cumulative_attributes(),
         .aliases = {{"SameDiff", "cumsum", ""},
                     {"libnd4j", "cumsum", ""},
                     {"MXNet", "cumsum", ""},
                     {"ONNX", "CumSum", ""},
                     {"PyTorch", "cumsum", ""},
                     {"Keras", "cumsum", ""}},
         .infer = infer_along,
         .vjp = vjp_cumsum,
         .samples = cumulative_samples(),
         .refuses = {kNoSuchAxis}});
  r.add({.name = "cumprod",
         .sig = "x[...]:number -> y[...]:number",
         .doc = R"(Running products along an axis:
    y_t = x_0 * ... * x_t;  exclusive: y_t = x_0 * ... * x_{t-1}, y_0 = 1
    reverse: the same from the last element on
The gradient divides by nothing, so that it is right where x is 0.)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = cumprod(x);  // y: [T,B,3]
Tensor t = Tensor::of<float>({3}, {2, 3, 5});
Tensor now = cumprod(t);  // now: {2, 6, 30}
Tensor before = cumprod(t, {.exclusive = true});  // before: {1, 2, 6})",
         .differs = {{"NumPy cumprod",
                      "the axis is the first one unless another is named; it flattens unless one "
                      "is named"}},
         .attributes = cumulative_attributes(),
         .aliases = {{"SameDiff", "cumprod", ""},
                     {"libnd4j", "cumprod", ""},
                     {"ONNX", "CumProd", ""},
                     {"PyTorch", "cumprod", ""},
                     {"Keras", "cumprod", ""}},
         .infer = infer_along,
         .vjp = vjp_cumprod,
         .samples = cumprod_samples(),
         .refuses = {kNoSuchAxis}});
  r.add({.name = "linear_scan",
         .sig = "a[...], b[...] -> y[...]",
         .doc = R"(A linear recurrence along an axis, element by element; a and b have one shape:
    y_t = a_t y_{t-1} + b_t, y_{-1} = 0;  reverse: y_t = a_t y_{t+1} + b_t
Its gradient is one too, in the other direction.)",
         .source = "Blelloch, Prefix sums and their applications (1990)",
         .example = R"(Graph g;
Var decay = g.placeholder("decay", f32, {"T", "B", 3});
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = linear_scan(decay, (1 - decay) * x);  // y: [T,B,3]
Tensor half = Tensor::full(f32, {3}, 0.5);
Tensor now = linear_scan(half, Tensor::of<float>({3}, {4, 2, 1}));  // now: {4, 4, 3})",
         .attributes = {{"axis", 0, "the axis along which it runs"},
                        {"reverse", false, "from the last element to the first"}},
         .infer = infer_linear_scan,
         .vjp = vjp_linear_scan,
         .samples = {{{{{4}}, {{4}}}},
                     {{{{2, 3, 2}}, {{2, 3, 2}}}, {{"axis", 1}}},
                     {{{{3, 4}}, {{3, 4}}}, {{"axis", -1}, {"reverse", true}}},
                     {{{{0, 2}}, {{0, 2}}}}},
         .refuses = {{"axis.range", {{{{2}}, {{2}}}, {{"axis", 1}}}, "a has no such axis"},
                     {"b.shape", {{{{2, 3}}, {{3}}}}, "a and b are of two shapes"}}});
}

void register_sorted(OpRegistry& r) {
  r.add({.name = "argsort",
         .sig = "x[...]:same! -> y[...]:i64",
         .doc = "The indices that put x in order along the axis: equal elements stay in their "
                "order, also when descending; NaN is larger than all. take_along(x, y, axis) is "
                "sort(x).",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 9});
Var y = argsort(x);  // y: [B,9]
Tensor t = Tensor::of<float>({4}, {3, 1, 2, 1});
Tensor now = argsort(t);  // now: {1, 3, 2, 0}
Tensor down = argsort(t, -1, true);  // down: {0, 2, 1, 3})",
         .differs = {{"NumPy, PyTorch argsort", "always stable"},
                     {"MXNet argsort", "that one gives floats; this one i64"}},
         .attributes = sort_attributes(),
         .aliases = {{"MXNet", "argsort", ""},
                     {"PyTorch", "argsort", ""},
                     {"PyTorch", "dim", "axis"},
                     {"Keras", "argsort", ""}},
         .infer = [](const InferContext& c) { return Types{{i64, infer_along(c)[0].shape, true}}; },
         .no_gradient = true,
         .samples = sort_samples(),
         .refuses = {kNoSuchAxis}});
  r.add({.name = "sort",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "x in order along the axis, the smallest first or, descending, the largest; NaN is "
                "larger than all. The gradient goes where each element came from; equal elements "
                "stay in their order.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 9});
Var y = sort(x, -1, true);  // y: [B,9]
Tensor now = sort(Tensor::of<float>({4}, {3, 1, 2, 1}));  // now: {1, 1, 2, 3})",
         .differs = {{"PyTorch sort", "gives the values alone; argsort gives the indices"}},
         .attributes = sort_attributes(),
         .aliases = {{"MXNet", "sort", ""},
                     {"PyTorch", "sort", ""},
                     {"PyTorch", "dim", "axis"},
                     {"Keras", "sort", ""}},
         .infer = infer_along,
         .lower = [](const Call& c) -> Vars {
           const int64_t axis = c.integer("axis");
           return {take_along(c.in(0), argsort(c.in(0), axis, c.flag("descending")), axis)};
         },
         .samples = sort_samples(),
         .refuses = {kNoSuchAxis}});
  r.add({.name = "top_k",
         .sig = "x[...]:same -> values[...]:same, indices[...]:i64",
         .doc =
             "The k largest elements of each last axis, the largest first, and where they stand; "
             "of equal ones the first. NaN is larger than all. x[...,N] -> [...,k].",
         .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"B", 9});
TopK<Var> best = top_k(logits, 3);  // best.values: [B,3]; best.indices: [B,3]
TopK<Tensor> now = top_k(Tensor::of<float>({4}, {3, 1, 4, 1}), 2);
Tensor largest = now.values;  // largest: {4, 3}
Tensor at = now.indices;  // at: {2, 0})",
         .differs = {{"ONNX TopK, PyTorch topk, MXNet topk",
                      "along the last axis, the largest, always sorted"}},
         .attributes = {{"k", 1, "how many; at most as many as there are", {}, 0}},
         .aliases = {{"libnd4j", "top_k", ""},
                     {"MXNet", "topk", ""},
                     {"ONNX", "TopK", ""},
                     {"PyTorch", "topk", ""},
                     {"Keras", "top_k", ""}},
         .infer = infer_top_k,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {add_along(c.out(1), g[0], -1, c.in(0).dim(-1))};
         },
         .samples = {{{{{5}}}},
                     {{{{2, 3, 6}}}, {{"k", 3}}},
                     {{{{4, 3}}}, {{"k", 3}}},
                     {{{{2, 6}, -2, 2, i32}}, {{"k", 4}}, "whole numbers, with ties"},
                     {{{{0, 3}}}, {{"k", 2}}},
                     {{{{2, 1}}}, {{"k", 0}}, "none"}},
         .refuses = {{"x.rank", {{{Dims{}}}}, "x is a scalar"},
                     {"k.range", {{{{2, 3}}}, {{"k", 4}}}, "k is more than the last axis has"}}});
}

}  // namespace

void register_order(OpRegistry& r) {
  register_cumulative(r);
  register_sorted(r);
}

template <Operable V>
V cumsum(V x, CumulativeOptions o, Site at) {
  return apply("cumsum", {x}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V cumprod(V x, CumulativeOptions o, Site at) {
  return apply("cumprod", {x}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V linear_scan(V a, std::type_identity_t<V> b, int64_t axis, bool reverse, Site at) {
  return apply("linear_scan", {a, b}, {{"axis", axis}, {"reverse", reverse}}, {.site = at})[0];
}
template <Operable V>
V sort(V x, int64_t axis, bool descending, Site at) {
  return apply("sort", {x}, {{"axis", axis}, {"descending", descending}}, {.site = at})[0];
}
template <Operable V>
V argsort(V x, int64_t axis, bool descending, Site at) {
  return apply("argsort", {x}, {{"axis", axis}, {"descending", descending}}, {.site = at})[0];
}
template <Operable V>
TopK<V> top_k(V x, int64_t k, Site at) {
  const std::vector<V> r = apply("top_k", {x}, {{"k", k}}, {.site = at});
  return {r[0], r[1]};
}

#define RONDO_INSTANTIATE(V)                         \
  template V cumsum(V, CumulativeOptions, Site);     \
  template V cumprod(V, CumulativeOptions, Site);    \
  template V linear_scan(V, V, int64_t, bool, Site); \
  template V sort(V, int64_t, bool, Site);           \
  template V argsort(V, int64_t, bool, Site);        \
  template TopK<V> top_k(V, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
