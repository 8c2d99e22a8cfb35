#include <rondo/ops/shape.h>

#include <algorithm>
#include <numeric>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/register.h>

namespace rondo {
namespace {

using Types = std::vector<ValueType>;

Dim count_of(const Shape& s) {
  Dim n(1);
  for (const Dim& d : s) n = n * d;
  return n;
}

std::vector<int64_t> full_permutation(const std::vector<int64_t>& given, size_t rank) {
  if (!given.empty() || rank == 0) return given;
  std::vector<int64_t> p(rank);
  std::iota(p.rbegin(), p.rend(), 0);
  return p;
}

Types infer_transpose(const InferContext& c) {
  const Shape& x = c[0].shape;
  const std::vector<int64_t> p = full_permutation(c.attributes().integers("permutation"), x.size());
  std::vector<bool> seen(x.size());
  Types r{{c[0].dtype, {}, true}};
  if (p.size() != x.size())
    c.refuse("permutation", "rank", "permutation has ", p.size(), " entries, x has shape ",
             to_string(x));
  for (const int64_t a : p) {
    const auto i = static_cast<size_t>(c.axis(a, x.size(), "permutation"));
    if (seen[i]) c.refuse("permutation", "twice", "axis ", a, " is named twice");
    seen[i] = true;
    r[0].shape.push_back(x[i]);
  }
  return r;
}

Types infer_concat(const InferContext& c) {
  if (c.count() == 0) c.refuse("xs", "arity", "needs at least one operand");
  infer_by_signature(c, false);
  Types r{c[0]};
  const auto axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), c[0].shape.size()));
  for (size_t i = 1; i < c.count(); ++i) {
    const Shape& s = c[i].shape;
    if (s.size() != r[0].shape.size())
      c.refuse("xs", "rank", "operand ", i, " has shape ", to_string(s), ", the first ",
               to_string(c[0].shape));
    for (size_t a = 0; a < s.size(); ++a) {
      if (a != axis && !c.equal(s[a], r[0].shape[a])) {
        c.refuse("xs", "dim", "operand ", i, " has shape ", to_string(s), ", but axis ", a,
                 " must be ", r[0].shape[a], ", fixed by the first, ", to_string(c[0].shape));
      }
    }
    r[0].shape[axis] = r[0].shape[axis] + s[axis];
  }
  return r;
}

Types infer_split(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const int64_t parts = c.attributes().integer("parts");
  const auto axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), c[0].shape.size()));
  const auto piece = c[0].shape[axis].divided_by(parts);
  if (!piece)
    c.refuse("parts", "dim", "axis ", axis, " of ", to_string(c[0].shape), " cannot be split into ",
             parts, " equal parts");
  ValueType t = c[0];
  t.shape[axis] = *piece;
  return Types(static_cast<size_t>(parts), t);
}

Types infer_slice(const InferContext& c) {
  ValueType t = c[0];
  const auto axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), t.shape.size()));
  const Shape& bounds = c.attributes().shape("bounds");
  if (bounds.size() != 2)
    c.refuse("bounds", "count", "bounds must be [begin, end], got ", to_string(bounds));
  const Dim left = t.shape[axis] - bounds[1];
  const Dim length = bounds[1] - bounds[0];
  for (const Dim& d : {bounds[0], left, length}) {
    if (d.is_constant() && d.constant() < 0)
      c.refuse("bounds", "range", "bounds ", to_string(bounds), " do not lie in axis ", axis,
               " of ", to_string(t.shape));
    if (!d.is_constant()) c.equal(d, Dim(0));  // checked again once it is known
  }
  t.shape[axis] = length;
  return {t};
}

Types infer_pad(const InferContext& c) {
  ValueType t = c[0];
  const auto axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), t.shape.size()));
  const Shape& amounts = c.attributes().shape("amounts");
  if (amounts.size() != 2)
    c.refuse("amounts", "count", "amounts must be [before, after], got ", to_string(amounts));
  for (const Dim& d : amounts) {
    if (d.is_constant() && d.constant() < 0)
      c.refuse("amounts", "range", "amounts ", to_string(amounts), " must not be negative");
    if (!d.is_constant()) c.equal(d, Dim(0));  // checked again once it is known
  }
  t.shape[axis] = amounts[0] + t.shape[axis] + amounts[1];
  return {t};
}

Shape gathered(const Shape& indices, const Shape& x) {
  Shape s = indices;
  s.insert(s.end(), x.begin() + 1, x.end());
  return s;
}

std::vector<int64_t> inverse(const std::vector<int64_t>& p) {
  std::vector<int64_t> r(p.size());
  for (size_t i = 0; i < p.size(); ++i) r[axis_index(p[i], p.size())] = static_cast<int64_t>(i);
  return r;
}

}  // namespace

void register_shape(OpRegistry& r) {
  r.add({.name = "reshape",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "The same elements in flat order under another shape of the same size.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6});
Var rows = reshape(x, {Dim("T") * Dim("B"), 6});  // rows: [B*T,6]
Var heads = reshape(x, {"T", "B", 2, 3});  // heads: [T,B,2,3]
Tensor now = reshape(Tensor(f32, {2, 3}), {6});  // now: [6])",
         .differs =
             {{"PyTorch and NumPy reshape",
               "no dimension is guessed from -1: write the dimension, a symbol where it varies"}},
         .attributes = {{"shape", Shape{}, "the new shape", {}, {}, {}, true}},
         .infer =
             [](const InferContext& c) {
               const Shape& s = c.attributes().shape("shape");
               for (const Dim& d : s) {
                 if (d.is_constant() && d.constant() < 0)
                   c.refuse("shape", "negative", "shape ", to_string(s),
                            " has a negative dimension");
               }
               if (!c.equal(count_of(c[0].shape), count_of(s)))
                 c.refuse("shape", "size", "cannot view ", to_string(c[0].shape), " as ",
                          to_string(s), ": the sizes differ");
               return Types{{c[0].dtype, s, true}};
             },
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {reshape(g[0], c.in(0).shape())};
         },
         .samples = {{{{{2, 3}}}, {{"shape", Shape{3, 2}}}},
                     {{{{2, 3}}}, {{"shape", Shape{6}}}},
                     {{{{1}}}, {{"shape", Shape{}}}}},
         .refuses = {{"shape.negative",
                      {{{{2, 3}}}, {{"shape", Shape{-2, -3}}}},
                      "a dimension of the new shape is negative"},
                     {"shape.size",
                      {{{{2, 3}}}, {{"shape", Shape{4}}}},
                      "the new shape holds another number of elements"}}});
  r.add({.name = "transpose",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "y's axis i is x's axis permutation[i]; no permutation = reversed order.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6});
Var batch_major = transpose(x, {1, 0, 2});  // batch_major: [B,T,6]
Var reversed = transpose(x);  // reversed: [6,B,T]
Tensor now = transpose(Tensor(f32, {2, 3}));  // now: [3,2])",
         .differs = {{"PyTorch transpose",
                      "that one exchanges two axes; this one takes a permutation, as NumPy's "
                      "transpose and PyTorch's permute do"}},
         .attributes = {{"permutation", std::vector<int64_t>{}, "axes of x in the order of y"}},
         .infer = infer_transpose,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {transpose(g[0], inverse(full_permutation(c.attributes().integers("permutation"),
                                                            c.in(0).rank())))};
         },
         .samples = {{{{{2, 3}}}},
                     {{{{2, 3, 4}}}, {{"permutation", std::vector<int64_t>{1, 2, 0}}}},
                     {{{{2, 3, 4}}}, {{"permutation", std::vector<int64_t>{0, 2, 1}}}}},
         .refuses = {{"permutation.rank",
                      {{{{2, 3}}}, {{"permutation", std::vector<int64_t>{0}}}},
                      "there are not as many entries as axes"},
                     {"permutation.twice",
                      {{{{2, 3}}}, {{"permutation", std::vector<int64_t>{1, -1}}}},
                      "an axis is named twice"},
                     {"permutation.range",
                      {{{{2, 3}}}, {{"permutation", std::vector<int64_t>{0, 2}}}},
                      "x has no such axis"}}});
  r.add(
      {.name = "broadcast_to",
       .sig = "x[...]:same -> y[...]:same",
       .doc = "x broadcast to a shape, as in NumPy.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 1});
Var y = broadcast_to(x, {"T", "B", 4});  // y: [T,B,4]
Tensor now = broadcast_to(Tensor::of<float>({2}, {1, 2}), {2, 2});  // now: {1, 2, 1, 2})",
       .differs = {{"NumPy broadcast_to",
                    "a symbol never stands for 1: only a literal 1 is broadcast"}},
       .attributes = {{"shape", Shape{}, "the shape of y", {}, {}, {}, true}},
       .infer =
           [](const InferContext& c) {
             const Shape& s = c.attributes().shape("shape");
             const Shape& x = c[0].shape;
             bool fits = x.size() <= s.size();
             for (size_t a = 0; fits && a < x.size(); ++a) {
               const Dim& to = s[s.size() - x.size() + a];
               fits = x[a] == Dim(1) || c.equal(x[a], to);
             }
             if (!fits)
               c.refuse("shape", "broadcast", "cannot broadcast ", to_string(x), " to ",
                        to_string(s));
             return Types{{c[0].dtype, s, true}};
           },
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         return {unbroadcast(g[0], c.in(0).shape())};
       },
       .samples = {{{{{3}}}, {{"shape", Shape{2, 3}}}},
                   {{{{2, 1}}}, {{"shape", Shape{2, 3}}}},
                   {{{{}}}, {{"shape", Shape{2}}}}},
       .refuses =
           {{"shape.broadcast",
             {{{{2, 3}}}, {{"shape", Shape{2, 4}}}},
             "x does not fit the shape: each axis, from the last, must be equal or a literal 1"}}});
  r.add({.name = "concat",
         .sig = "xs[...]:same* -> y[...]:same",
         .doc = "Joins the operands along an axis; all other dimensions must be equal.",
         .example = R"(Graph g;
Var a = g.placeholder("a", f32, {"B", 3});
Var b = g.placeholder("b", f32, {"B", 4});
Var y = concat<Var>({a, b}, -1);  // y: [B,7]
Tensor row = Tensor::of<float>({1, 2}, {1, 2});
Tensor now = concat<Tensor>({row, row}, 0);  // now: {1, 2, 1, 2})",
         .attributes = {{"axis", 0, "the axis that grows"}},
         .infer = infer_concat,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           Vars d;
           const int64_t axis = c.integer("axis");
           Dim at(0);
           for (const Var& x : c.inputs()) {
             const Dim end = at + x.dim(axis);
             d.push_back(slice(g[0], axis, at, end));
             at = end;
           }
           return d;
         },
         .samples = {{{{{2, 3}}, {{1, 3}}}}, {{{{2, 3}}, {{2, 1}}, {{2, 2}}}, {{"axis", -1}}}},
         .refuses = {{"xs.arity", {}, "there is no operand"},
                     {"xs.rank", {{{{2, 3}}, {{2}}}}, "the operands' ranks differ"},
                     {"xs.dim", {{{{2, 3}}, {{2, 4}}}}, "the operands differ along another axis"},
                     {"axis.range",
                      {{{{2, 3}}, {{2, 3}}}, {{"axis", 2}}},
                      "the operands have no such axis"}}});
  r.add({.name = "split",
         .sig = "x[...]:same -> ys[...]:same*",
         .doc = "Equal pieces along an axis.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Vars gates = split(x, 3, -1);  // gates[0]: [B,4]; gates[2]: [B,4]
std::vector<Tensor> now = split(Tensor::of<float>({4}, {1, 2, 3, 4}), 2, 0);  // now[1]: {3, 4})",
         .differs =
             {{"PyTorch split",
               "that one takes the size of a piece, this one the number of pieces, as PyTorch's "
               "chunk and TensorFlow's split do; pieces are equal, or it is an Error"}},
         .attributes = {{"parts", 2, "how many", {}, 1, 4096}, {"axis", 0, "the axis that is cut"}},
         .infer = infer_split,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           Vars pieces = g;
           for (size_t i = 0; i < pieces.size(); ++i) {
             if (!pieces[i]) pieces[i] = fill_like(c.out(i), 0);
           }
           return {concat(pieces, c.integer("axis"))};
         },
         .samples = {{{{{4, 3}}}}, {{{{2, 6}}}, {{"parts", 3}, {"axis", -1}}}},
         .refuses = {{"parts.dim",
                      {{{{4, 3}}}, {{"parts", 3}}},
                      "the axis is no multiple of the number of parts"},
                     {"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"}}});
  r.add({.name = "slice",
         .sig = "x[...]:same -> y[...]:same",
         .doc = "Elements [begin, end) along an axis.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var later = slice(x, 0, 1, "T");  // later: [T-1,B,3]
Var last = squeeze(slice(x, 0, Dim("T") - 1, "T"), 0);  // last: [B,3]
Tensor now = slice(Tensor::of<float>({3}, {1, 2, 3}), 0, 1, 3);  // now: {2, 3})",
         .differs = {{"NumPy, PyTorch, ONNX Slice",
                      "one axis and no stride; bounds do not count from the end and are not cut to "
                      "fit: out of range is an Error"}},
         .attributes = {{"axis", 0, "the axis that is cut"},
                        {"bounds", Shape{}, "[begin, end]", {}, {}, {}, true}},
         .infer = infer_slice,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           const int64_t axis = c.integer("axis");
           const Shape& b = c.attributes().shape("bounds");
           return {pad(g[0], axis, b[0], c.in(0).dim(axis) - b[1])};
         },
         .samples = {{{{{4, 3}}}, {{"bounds", Shape{1, 3}}}},
                     {{{{2, 5}}}, {{"axis", -1}, {"bounds", Shape{2, 5}}}}},
         .refuses = {
             {"bounds.count", {{{{4, 3}}}, {{"bounds", Shape{1}}}}, "bounds are not two numbers"},
             {"bounds.range",
              {{{{4, 3}}}, {{"bounds", Shape{2, 5}}}},
              "the bounds do not lie in the axis, or the second is before the first"},
             {"axis.range",
              {{{{2, 3}}}, {{"axis", 2}, {"bounds", Shape{0, 1}}}},
              "x has no such axis"}}});
  r.add(
      {.name = "pad",
       .sig = "x[...]:same -> y[...]:same",
       .doc = "Zeros before and after along an axis.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var shifted = slice(pad(x, 0, 1, 0), 0, 0, "T");  // shifted: [T,B,3]
Tensor now = pad(Tensor::of<float>({2}, {1, 2}), 0, 1, 2);  // now: {0, 1, 2, 0, 0})",
       .differs = {{"PyTorch, ONNX Pad",
                    "one axis, zeros only, and amounts that are not negative"}},
       .attributes = {{"axis", 0, "the axis that grows"},
                      {"amounts", Shape{}, "[before, after]", {}, {}, {}, true}},
       .infer = infer_pad,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         const int64_t axis = c.integer("axis");
         const Dim before = c.attributes().shape("amounts")[0];
         return {slice(g[0], axis, before, before + c.in(0).dim(axis))};
       },
       .samples = {{{{{2, 3}}}, {{"amounts", Shape{1, 2}}}},
                   {{{{2, 3}}}, {{"axis", 1}, {"amounts", Shape{0, 1}}}}},
       .refuses = {
           {"amounts.count", {{{{2, 3}}}, {{"amounts", Shape{1}}}}, "amounts are not two numbers"},
           {"amounts.range", {{{{2, 3}}}, {{"amounts", Shape{-1, 1}}}}, "an amount is negative"},
           {"axis.range",
            {{{{2, 3}}}, {{"axis", 2}, {"amounts", Shape{0, 1}}}},
            "x has no such axis"}}});
  r.add({.name = "gather",
         .sig = "x[...]:same, indices[...]:int -> y[...]:same",
         .doc = "Rows of x by index: y[i...,:] = x[indices[i...],:]. An index outside [0, N) is an "
                "Error when it runs.",
         .example = R"(Graph g;
Var words = g.placeholder("words", i32, {"T", "B"});
Var table = g.variable("embeddings", init::uniform(g, {50, 8}, -0.1, 0.1));
Var x = gather(table, words);  // x: [T,B,8]
Tensor rows = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
Tensor now = gather(rows, Tensor::of<int32_t>({1}, {1}));  // now: {3, 4})",
         .differs = {{"PyTorch gather",
                      "that one picks single elements along an axis, near to pick here; this one "
                      "takes whole rows, as PyTorch's embedding, ONNX's Gather and TensorFlow's "
                      "gather along axis 0 do"},
                     {"anywhere else",
                      "a negative index does not count from the end: it is an Error"}},
         .infer =
             [](const InferContext& c) {
               infer_by_signature(c, false);
               if (c[0].shape.empty()) c.refuse("x", "rank", "x is a scalar, but must have rows");
               return Types{{c[0].dtype, gathered(c[1].shape, c[0].shape), true}};
             },
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {scatter_add(c.in(1), g[0], c.in(0).dim(0)), {}};
         },
         .samples = {{{{{4, 3}}, {{2}, 0, 3, i32}}}, {{{{4}}, {{2, 3}, 0, 3, i64}}}},
         .refuses = {{"x.rank", {{{{}}, {{2}, 0, 0, i32}}}, "x is a scalar: it has no rows"},
                     {"indices.range",
                      {{{{4, 3}}, {{2}, 0, 0, i32, {0, 4}}}},
                      "an index is negative, or not below the number of rows"}}});
  r.add({.name = "scatter_add",
         .sig = "indices[...]:int, updates[...]:number -> y[...]:number",
         .doc = "y[N,...]: row n is the sum of the updates whose index is n, in their order; rows "
                "that none names are 0.",
         .example = R"(Graph g;
Var words = g.placeholder("words", i32, {"B"});
Var updates = g.placeholder("updates", f32, {"B", 8});
Var table = scatter_add(words, updates, 50);  // table: [50,8]
Tensor rows = Tensor::of<int32_t>({3}, {1, 0, 1});
Tensor now = scatter_add(rows, Tensor::of<float>({3}, {1, 2, 4}), 3);  // now: {2, 5, 0})",
         .differs = {{"PyTorch scatter_add",
                      "that one adds single elements to a tensor that is given; this one adds "
                      "whole rows, to zeros"}},
         .attributes = {{"rows", Shape{}, "[N]", {}, {}, {}, true}},
         .infer =
             [](const InferContext& c) {
               infer_by_signature(c, false);
               const Shape &indices = c[0].shape, &updates = c[1].shape;
               if (updates.size() < indices.size())
                 c.refuse("updates", "rank", "updates have shape ", to_string(updates),
                          ", but must begin with ", to_string(indices));
               for (size_t i = 0; i < indices.size(); ++i) {
                 if (!c.equal(indices[i], updates[i]))
                   c.refuse("updates", "dim", "updates have shape ", to_string(updates),
                            ", but must begin with ", to_string(indices));
               }
               Shape s = c.attributes().shape("rows");
               if (s.size() != 1) c.refuse("rows", "count", "rows must be [N], got ", to_string(s));
               s.insert(s.end(), updates.begin() + static_cast<std::ptrdiff_t>(indices.size()),
                        updates.end());
               return Types{{c[1].dtype, s, true}};
             },
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {{}, gather(g[0], c.in(0))};
         },
         .samples = {{{{{3}, 0, 1, i32}, {{3, 2}}}, {{"rows", Shape{4}}}}},
         .refuses = {{"updates.rank",
                      {{{{3, 2}, 0, 1, i32}, {{3}}}, {{"rows", Shape{4}}}},
                      "updates have a lower rank than indices"},
                     {"updates.dim",
                      {{{{3}, 0, 1, i32}, {{2, 2}}}, {{"rows", Shape{4}}}},
                      "the first axes of updates are not those of indices"},
                     {"rows.count",
                      {{{{3}, 0, 1, i32}, {{3, 2}}}, {{"rows", Shape{4, 2}}}},
                      "rows is not one number"},
                     {"indices.range",
                      {{{{3}, 0, 0, i32, {0, 4, 1}}, {{3, 2}}}, {{"rows", Shape{4}}}},
                      "an index is negative, or not below the number of rows"}}});
  r.add({.name = "fill",
         .sig = "-> y[...]:any",
         .doc = "A value of the given shape, filled with one number.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var h0 = fill(g, f32, {"B", 4}, 0);  // h0: [B,4]
Var ones = fill_like(x, 1);  // ones: [T,B,3]
Tensor now = Tensor::full(f32, {2}, 1.5);  // now: {1.5, 1.5})",
         .attributes = {{"dtype", f32, "element type"},
                        {"shape", Shape{}, "the shape"},
                        {"value", 0.0, "the number"}},
         .infer =
             [](const InferContext& c) {
               return Types{{c.attributes().dtype("dtype"), c.attributes().shape("shape"), true}};
             },
         .no_gradient = true,
         .samples = {{{}, {{"shape", Shape{2, 3}}, {"value", 1.5}}},
                     {{}, {{"dtype", i64}, {"value", 7.0}}}}});
  r.add({.name = "iota",
         .sig = "-> y[...]:any",
         .doc = "The index along an axis, at every position of the shape.",
         .example = R"(Graph g;
Var steps = iota(g, i32, {5}, 0);  // steps: {0, 1, 2, 3, 4}
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var column = iota(g, i64, x.shape(), 2);  // column: [T,B,3])",
         .attributes = {{"dtype", i32, "element type"},
                        {"shape", Shape{}, "the shape", {}, {}, {}, true},
                        {"axis", 0, "the axis that counts"}},
         .infer =
             [](const InferContext& c) {
               c.axis(c.attributes().integer("axis"), c.attributes().shape("shape").size());
               return Types{{c.attributes().dtype("dtype"), c.attributes().shape("shape"), true}};
             },
         .no_gradient = true,
         .samples = {{{}, {{"shape", Shape{2, 3}}, {"axis", 1}}},
                     {{}, {{"dtype", f64}, {"shape", Shape{4}}}}},
         .refuses = {{"axis.range",
                      {{}, {{"shape", Shape{2}}, {"axis", 1}}},
                      "the shape has no such axis"}}});
}

template <Operable V>
V reshape(V x, Shape shape, Site at) {
  return apply("reshape", {x}, {{"shape", std::move(shape)}}, {.site = at})[0];
}
template <Operable V>
V transpose(V x, std::vector<int64_t> permutation, Site at) {
  return apply("transpose", {x}, {{"permutation", std::move(permutation)}}, {.site = at})[0];
}
template <Operable V>
V broadcast_to(V x, Shape shape, Site at) {
  return apply("broadcast_to", {x}, {{"shape", std::move(shape)}}, {.site = at})[0];
}
template <Operable V>
V concat(std::vector<V> xs, int64_t axis, Site at) {
  return apply("concat", xs, {{"axis", axis}}, {.site = at})[0];
}
template <Operable V>
List<V> split(V x, int64_t parts, int64_t axis, Site at) {
  return apply("split", {x}, {{"parts", parts}, {"axis", axis}}, {.site = at});
}
template <Operable V>
V slice(V x, int64_t axis, Dim begin, Dim end, Site at) {
  return apply("slice", {x}, {{"axis", axis}, {"bounds", Shape{std::move(begin), std::move(end)}}},
               {.site = at})[0];
}
template <Operable V>
V pad(V x, int64_t axis, Dim before, Dim after, Site at) {
  return apply("pad", {x},
               {{"axis", axis}, {"amounts", Shape{std::move(before), std::move(after)}}},
               {.site = at})[0];
}
template <Operable V>
V gather(V x, V indices, Site at) {
  return apply("gather", {x, indices}, {}, {.site = at})[0];
}
template <Operable V>
V scatter_add(V indices, V updates, Dim rows, Site at) {
  return apply("scatter_add", {indices, updates}, {{"rows", Shape{std::move(rows)}}},
               {.site = at})[0];
}

template <Operable V>
V expand_dims(V x, int64_t axis, Site at) {
  Shape s = known_shape(x);
  const auto rank = static_cast<int64_t>(s.size()) + 1;
  if (axis < -rank || axis >= rank)
    fail(Fault::kArgument, "expand_dims.axis.range", "[expand_dims] axis is ", axis,
         ", x has shape ", to_string(s));
  s.insert(s.begin() + static_cast<std::ptrdiff_t>(axis_index(axis, s.size() + 1)), Dim(1));
  return reshape(x, std::move(s), at);
}
template <Operable V>
V squeeze(V x, int64_t axis, Site at) {
  Shape s = known_shape(x);
  const size_t i = axis_index(axis, s.size());
  if (i >= s.size() || !(s[i] == Dim(1)))
    fail(Fault::kArgument, "squeeze.axis.length", "[squeeze] axis ", axis, " of ", to_string(s),
         " is not of length 1");
  s.erase(s.begin() + static_cast<std::ptrdiff_t>(i));
  return reshape(x, std::move(s), at);
}

#define RONDO_INSTANTIATE(V)                           \
  template V reshape(V, Shape, Site);                  \
  template V transpose(V, std::vector<int64_t>, Site); \
  template V broadcast_to(V, Shape, Site);             \
  template V concat(std::vector<V>, int64_t, Site);    \
  template List<V> split(V, int64_t, int64_t, Site);   \
  template V slice(V, int64_t, Dim, Dim, Site);        \
  template V pad(V, int64_t, Dim, Dim, Site);          \
  template V gather(V, V, Site);                       \
  template V scatter_add(V, V, Dim, Site);             \
  template V expand_dims(V, int64_t, Site);            \
  template V squeeze(V, int64_t, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

Var fill(Graph g, DType dtype, Shape shape, double value, Site at) {
  return g.call(registry().at("fill"), {},
                {{"dtype", dtype}, {"shape", std::move(shape)}, {"value", value}}, {.site = at})[0];
}
Var fill_like(const Var& x, double value, Site at) {
  return fill(x.graph(), x.dtype(), x.shape(), value, at);
}
Var iota(Graph g, DType dtype, Shape shape, int64_t axis, Site at) {
  return g.call(registry().at("iota"), {},
                {{"dtype", dtype}, {"shape", std::move(shape)}, {"axis", axis}}, {.site = at})[0];
}
Var swap_last(const Var& x) {
  std::vector<int64_t> p(x.rank());
  std::iota(p.begin(), p.end(), 0);
  std::swap(p[p.size() - 1], p[p.size() - 2]);
  return transpose(x, p);
}

}  // namespace rondo
