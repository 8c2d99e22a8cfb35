#include <rondo/ops/index.h>

#include <numeric>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using Types = std::vector<ValueType>;

size_t axis_of(const InferContext& c, size_t rank) {
  return static_cast<size_t>(c.axis(c.attributes().integer("axis"), rank));
}

Dim product(Shape::const_iterator begin, Shape::const_iterator end) {
  return std::accumulate(begin, end, Dim(1), [](const Dim& a, const Dim& b) { return a * b; });
}

Types infer_take_along(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &indices = c[1].shape;
  const size_t axis = axis_of(c, x.size());
  bool fits = x.size() == indices.size();
  for (size_t a = 0; fits && a < x.size(); ++a) fits = a == axis || c.equal(indices[a], x[a]);
  if (!fits)
    c.refuse("indices", "shape", "indices have shape ", to_string(indices),
             ", but must have that of x", to_string(x), " on all axes but ", axis);
  r[0].shape = indices;
  return r;
}

Types infer_add_along(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &indices = c[0].shape, &updates = c[1].shape;
  const size_t axis = axis_of(c, indices.size());
  bool same = updates.size() == indices.size();
  for (size_t a = 0; same && a < updates.size(); ++a) same = c.equal(updates[a], indices[a]);
  if (!same)
    c.refuse("updates", "shape", "updates have shape ", to_string(updates),
             ", but must have that of the indices, ", to_string(indices));
  const Shape& length = c.attributes().shape("length");
  if (length.size() != 1)
    c.refuse("length", "count", "length must be [N], got ", to_string(length));
  r[0].shape = indices;
  r[0].shape[axis] = length[0];
  return r;
}

// How many indices make one tuple.
size_t tuple_of(const InferContext& c, const Shape& indices) {
  if (indices.empty()) c.refuse("indices", "rank", "indices are a scalar, but must hold tuples");
  if (!indices.back().is_constant())
    c.refuse("indices", "symbol", "indices have shape ", to_string(indices),
             ", but the last axis, how long a tuple is, must be a number");
  return static_cast<size_t>(std::max<int64_t>(0, indices.back().constant()));
}

Types infer_flat_index(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape& shape = c.attributes().shape("shape");
  r[0].shape = c[0].shape;
  if (tuple_of(c, r[0].shape) != shape.size())
    c.refuse("indices", "dim", "indices have shape ", to_string(c[0].shape),
             ", but the last axis must be ", shape.size(), ", the dimensions of ",
             to_string(shape));
  product(shape.begin(), shape.end());  // an Error where a flat index would overflow
  r[0].shape.pop_back();
  return r;
}

Types infer_gather_nd(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &indices = c[1].shape;
  const size_t k = tuple_of(c, indices);
  if (k < 1 || k > x.size())
    c.refuse("indices", "dim", "indices have shape ", to_string(indices), ": tuples of ", k,
             ", but must be of 1 to ", x.size(), ", the axes of x", to_string(x));
  r[0].shape.assign(indices.begin(), indices.end() - 1);
  r[0].shape.insert(r[0].shape.end(), x.begin() + static_cast<std::ptrdiff_t>(k), x.end());
  return r;
}

Vars lower_gather_nd(const Call& c) {
  const Shape& x = c.in(0).shape();
  const auto rest = x.begin() + c.in(1).dim(-1).constant();
  Shape rows{product(x.begin(), rest)};
  rows.insert(rows.end(), rest, x.end());
  return {gather(reshape(c.in(0), rows),
                 flat_index(c.in(1), Shape(x.begin(), rest), "gather_nd.indices"))};
}

Types infer_scatter_update(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &indices = c[1].shape, &updates = c[2].shape;
  if (x.empty()) c.refuse("x", "rank", "x is a scalar, but must have rows");
  Shape want = indices;
  want.insert(want.end(), x.begin() + 1, x.end());
  bool fits = updates.size() == want.size();
  for (size_t a = 0; fits && a < want.size(); ++a) fits = c.equal(updates[a], want[a]);
  if (!fits)
    c.refuse("updates", "shape", "updates have shape ", to_string(updates), ", but must have ",
             to_string(want), ": that of the indices, then that of a row of x", to_string(x));
  r[0].shape = x;
  return r;
}

Vars vjp_scatter_update(const Call& c, const Vars& g, GradContext& context) {
  const Var &x = c.in(0), &indices = c.in(1), &updates = c.in(2);
  Vars d(3);
  if (context.wants(0)) d[0] = scatter_update(g[0], indices, fill_like(updates, 0));
  if (!context.wants(2)) return d;
  // An update that a later one replaces has no part in y: each row keeps the place of its last one.
  const Graph graph = c.graph();
  const Shape& s = indices.shape();
  const Var place = reshape(iota(graph, i64, {product(s.begin(), s.end())}, 0), s);
  const Var last = scatter_update(fill(graph, i64, {x.dim(0)}, -1), indices, place);
  Shape beside = s;
  beside.resize(updates.rank(), Dim(1));
  const Var stays = reshape(equal(gather(last, indices), place), beside);
  d[2] = where(stays, gather(g[0], indices), 0);
  return d;
}

const AttributeDef kAxis{"axis", -1, "the axis that the indices go along"};

void register_along(OpRegistry& r) {
  r.add({.name = "take_along",
         .sig = "x[...]:same, indices[...]:int -> y[...]:same",
         .doc = R"(Elements by index along an axis, each for itself; for axis 1 of three:
    y[i,j,k] = x[i,indices[i,j,k],k]
x[...,N,...], indices[...,M,...] -> y[...,M,...]. An index outside [0, N) is an Error when it runs.)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 9});
Var best = take_along(x, slice(argsort(x), 1, 6, 9));  // best: [B,3]
Tensor t = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
Tensor now = take_along(t, Tensor::of<int32_t>({2, 1}, {1, 0}));  // now: {2, 3})",
         .differs = {{"anywhere else",
                      "a negative index does not count from the end: it is an Error; and the other "
                      "dimensions must be equal, they are not broadcast"}},
         .attributes = {kAxis},
         .aliases = {{"ONNX", "GatherElements", ""},
                     {"PyTorch", "take_along_dim", ""},
                     {"PyTorch", "gather", ""},
                     {"PyTorch", "dim", "axis"},
                     {"PyTorch", "input", "x"},
                     {"PyTorch", "index", "indices"},
                     {"Keras", "take_along_axis", ""}},
         .infer = infer_take_along,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           const int64_t axis = c.integer("axis");
           return {add_along(c.in(1), g[0], axis, c.in(0).dim(axis)), {}};
         },
         .samples = {{{{{3, 4}}, {{3, 2}, 0, 3, i32}}},
                     {{{{2, 3, 2}}, {{2, 4, 2}, 0, 2, i64}}, {{"axis", 1}}},
                     {{{{4}}, {{4}, 0, 3, i32}}, {{"axis", 0}}},
                     {{{{3, 2}}, {{0, 2}, 0, 2, i32}}, {{"axis", 0}}}},
         .refuses = {
             {"axis.range", {{{{2, 3}}, {{2, 1}, 0, 1, i32}}, {{"axis", 2}}}, "x has no such axis"},
             {"indices.shape",
              {{{{2, 3}}, {{3, 1}, 0, 1, i32}}},
              "indices differ from x on another axis than that"},
             {"indices.range",
              {{{{2, 3}}, {{2, 1}, 0, 0, i32, {0, 3}}}},
              "an index is outside of x"}}});
  r.add(
      {.name = "add_along",
       .sig = "indices[...]:int, updates[...]:number -> y[...]:number",
       .doc =
           R"(Sums of elements by index along an axis, the gradient of take_along; for axis 1 of three:
    y[i,n,k] = sum of the updates[i,j,k] with indices[i,j,k] = n, in their order; 0 where there are none
indices[...,M,...], updates[...,M,...] -> y[...,N,...]. An index outside [0, N) is an Error when it runs.)",
       .example = R"(Graph g;
Var indices = g.placeholder("indices", i32, {"B", 3});
Var updates = g.placeholder("updates", f32, {"B", 3});
Var y = add_along(indices, updates, -1, 9);  // y: [B,9]
Tensor at = Tensor::of<int32_t>({3}, {1, 0, 1});
Tensor now = add_along(at, Tensor::of<float>({3}, {1, 2, 4}), 0, 3);  // now: {2, 5, 0})",
       .differs = {{"PyTorch scatter_add, ONNX ScatterElements",
                    "they add to a tensor that is given; this one to zeros"}},
       .attributes = {kAxis, {"length", Shape{}, "[N]", {}, {}, {}, true}},
       .infer = infer_add_along,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         return {{}, take_along(g[0], c.in(0), c.integer("axis"))};
       },
       .samples = {{{{{3, 4}, 0, 1, i32}, {{3, 4}}}, {{"length", Shape{2}}}},
                   {{{{2, 3, 2}, 0, 3, i64}, {{2, 3, 2}}}, {{"axis", 1}, {"length", Shape{4}}}},
                   {{{{3}, 0, 2, i32}, {{3}}}, {{"axis", 0}, {"length", Shape{3}}}},
                   {{{{2, 0}, 0, 2, i32}, {{2, 0}}}, {{"length", Shape{3}}}}},
       .refuses = {{"axis.range",
                    {{{{2}, 0, 1, i32}, {{2}}}, {{"axis", 1}, {"length", Shape{2}}}},
                    "the indices have no such axis"},
                   {"updates.shape",
                    {{{{2}, 0, 1, i32}, {{3}}}, {{"length", Shape{2}}}},
                    "indices and updates are of two shapes"},
                   {"length.count",
                    {{{{2}, 0, 1, i32}, {{2}}}, {{"length", Shape{2, 2}}}},
                    "length is not one dimension"},
                   {"indices.range",
                    {{{{2}, 0, 0, i32, {0, 2}}, {{2}}}, {{"length", Shape{2}}}},
                    "an index is outside of y"}}});
}

void register_tuples(OpRegistry& r) {
  r.add(
      {.name = "flat_index",
       .sig = "indices[...]:int -> y[...]:i64",
       .doc = R"(Where a tuple of indices stands in the flat order of a shape [N1,...,NK]:
    y[i...] = (indices[i...,0] * N2 + indices[i...,1]) * N3 + ...
indices[...,K] -> y[...]. An index outside [0, N) of its dimension is an Error when it runs, with the code what.range.)",
       .example = R"(Graph g;
Var at = g.placeholder("at", i32, {"B", 2});
Var flat = flat_index(at, {"T", 3});
Tensor now = flat_index(Tensor::of<int32_t>({2, 2}, {0, 2, 1, 1}), {2, 3});  // now: {2, 4})",
       .attributes = {{"shape", Shape{}, "[N1,...,NK]", {}, {}, {}, true},
                      {"what", "flat_index.indices",
                       "op.argument that is checked, for the "
                       "error"}},
       .aliases = {{"MXNet", "ravel_multi_index", ""}},
       .infer = infer_flat_index,
       .no_gradient = true,
       .samples = {{{{{3, 2}, 0, 1, i32}}, {{"shape", Shape{2, 4}}}},
                   {{{{2, 2, 1}, 0, 4, i64}}, {{"shape", Shape{5}}}},
                   {{{{0, 3}, 0, 1, i32}}, {{"shape", Shape{2, 3, 2}}}}},
       .refuses = {
           {"indices.rank", {{{Dims{}, 0, 1, i32}}, {{"shape", Shape{2}}}}, "indices are a scalar"},
           {"indices.dim",
            {{{{2, 3}, 0, 1, i32}}, {{"shape", Shape{2, 2}}}},
            "a tuple is not as long as the shape"},
           {"indices.range",
            {{{{1, 2}, 0, 0, i32, {0, 2}}}, {{"shape", Shape{2, 2}}}},
            "an index is outside of its dimension"}}});
  r.add({.name = "gather_nd",
         .sig = "x[...]:same, indices[...]:int -> y[...]:same",
         .doc = R"(Parts of x by tuples of indices:
    y[i...,:] = x[indices[i...,0],...,indices[i...,K-1],:]
x[N1,...,NK,...], indices[I...,K] -> y[I...,...]. An index outside [0, N) of its dimension is an Error when it runs.)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 4});
Var at = g.placeholder("at", i32, {5, 2});
Var y = gather_nd(x, at);  // y: [5,4]
Tensor t = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
Tensor now = gather_nd(t, Tensor::of<int32_t>({2, 2}, {0, 1, 1, 0}));  // now: {2, 3})",
         .differs = {{"MXNet gather_nd",
                      "the tuple is the last axis of the indices, there the "
                      "first"},
                     {"anywhere else",
                      "a negative index does not count from the end: it is an Error"}},
         .aliases = {{"SameDiff", "gatherNd", ""},
                     {"libnd4j", "gather_nd", ""},
                     {"ONNX", "GatherND", ""},
                     {"ONNX", "data", "x"}},
         .infer = infer_gather_nd,
         .lower = lower_gather_nd,
         .samples = {{{{{3, 2}}, {{4, 2}, 0, 1, i32}}},
                     {{{{2, 3, 4}}, {{2, 2, 2}, 0, 1, i64}}},
                     {{{{4, 2}}, {{3, 1}, 0, 3, i32}}},
                     {{{{4}}, {{1}, 0, 3, i32}}, {}, "one tuple"},
                     {{{{4, 2}}, {{0, 2}, 0, 1, i32}}}},
         .refuses = {{"indices.rank", {{{{2, 3}}, {{}, 0, 1, i32}}}, "indices are a scalar"},
                     {"indices.dim",
                      {{{{2, 3}}, {{2, 3}, 0, 1, i32}}},
                      "a tuple is empty, or longer than x has axes"},
                     {"indices.range",
                      {{{{2, 3}}, {{1, 2}, 0, 0, i32, {0, 3}}}},
                      "an index is outside of its dimension"}}});
}

void register_updates(OpRegistry& r) {
  r.add(
      {.name = "scatter_update",
       .sig = "x[...]:same, indices[...]:int, updates[...]:same -> y[...]:same",
       .doc =
           R"(x with some rows replaced: y = x, but y[indices[i...],:] = updates[i...,:]; of several for one row the last stays.
x[N,...], indices[I...], updates[I...,...] -> y[N,...]. An index outside [0, N) is an Error when it runs.)",
       .example = R"(Graph g;
Var table = g.placeholder("table", f32, {"T", 8});
Var rows = g.placeholder("rows", i32, {"B"});
Var updates = g.placeholder("updates", f32, {"B", 8});
Var y = scatter_update(table, rows, updates);  // y: [T,8]
Tensor t = Tensor::of<float>({3}, {1, 2, 3});
Tensor at = Tensor::of<int32_t>({2}, {2, 2});
Tensor now = scatter_update(t, at, Tensor::of<float>({2}, {7, 8}));  // now: {1, 2, 8})",
       .differs = {{"TensorFlow scatter_update, libnd4j scatter_upd",
                    "x stays as it is: y is another value. There which of several updates stays "
                    "is not said"}},
       .aliases = {{"SameDiff", "scatterUpdate", ""},
                   {"libnd4j", "scatter_upd", ""},
                   {"PyTorch", "index_copy", ""},
                   {"Keras", "scatter_update", ""}},
       .infer = infer_scatter_update,
       .vjp = vjp_scatter_update,
       .samples = {{{{{4, 3}}, {{2}, 0, 0, i32, {2, 0}}, {{2, 3}}}},
                   {{{{4}}, {{2, 2}, 0, 0, i64, {1, 3, 1, 1}}, {{2, 2}}}, {}, "duplicates"},
                   {{{{2, 3}}, {{}, 0, 0, i32, {1}}, {{3}}}, {}, "one row"},
                   {{{{2, 3}}, {{0}, 0, 1, i32}, {{0, 3}}}, {}, "none"}},
       .refuses = {{"x.rank", {{{Dims{}}, {{1}, 0, 0, i32}, {{1}}}}, "x is a scalar"},
                   {"updates.shape",
                    {{{{4, 3}}, {{2}, 0, 1, i32}, {{3, 3}}}},
                    "updates are not a row of x for each index"},
                   {"indices.range",
                    {{{{4, 3}}, {{1}, 0, 0, i32, {4}}, {{1, 3}}}},
                    "an index is outside of x"}}});
}

}  // namespace

void register_index(OpRegistry& r) {
  register_along(r);
  register_tuples(r);
  register_updates(r);
}

template <Operable V>
V gather(V x, std::type_identity_t<V> indices, int64_t axis, Site at) {
  const Shape s = known_shape(x);
  const auto rank = static_cast<int64_t>(s.size()),
             more = static_cast<int64_t>(known_shape(indices).size());
  if (axis < -rank || axis >= rank)
    fail(Fault::kArgument, "gather.axis.range", "[gather] axis is ", axis, ", x has shape ",
         to_string(s));
  if (axis < 0) axis += rank;
  if (axis == 0) return gather(x, indices, at);
  // The axis goes to the front; what took its place comes back to where it was.
  std::vector<int64_t> front(s.size()), back(static_cast<size_t>(rank - 1 + more));
  std::iota(front.begin(), front.end(), 0);
  std::rotate(front.begin(), front.begin() + axis, front.begin() + axis + 1);
  std::iota(back.begin(), back.end(), 0);
  std::rotate(back.begin(), back.begin() + more, back.begin() + more + axis);
  return transpose(gather(transpose(x, front, at), indices, at), back, at);
}

template <Operable V>
V take_along(V x, std::type_identity_t<V> indices, int64_t axis, Site at) {
  return apply("take_along", {x, indices}, {{"axis", axis}}, {.site = at})[0];
}
template <Operable V>
V add_along(V indices, std::type_identity_t<V> updates, int64_t axis, Dim length, Site at) {
  return apply("add_along", {indices, updates},
               {{"axis", axis}, {"length", Shape{std::move(length)}}}, {.site = at})[0];
}
template <Operable V>
V flat_index(V indices, Shape shape, std::string_view what, Site at) {
  return apply("flat_index", {indices}, {{"shape", std::move(shape)}, {"what", what}},
               {.site = at})[0];
}
template <Operable V>
V gather_nd(V x, std::type_identity_t<V> indices, Site at) {
  return apply("gather_nd", {x, indices}, {}, {.site = at})[0];
}
template <Operable V>
V scatter_update(V x, std::type_identity_t<V> indices, std::type_identity_t<V> updates, Site at) {
  return apply("scatter_update", {x, indices, updates}, {}, {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                               \
  template V gather(V, V, int64_t, Site);                  \
  template V take_along(V, V, int64_t, Site);              \
  template V add_along(V, V, int64_t, Dim, Site);          \
  template V flat_index(V, Shape, std::string_view, Site); \
  template V gather_nd(V, V, Site);                        \
  template V scatter_update(V, V, V, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
