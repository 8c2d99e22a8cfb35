#include <rondo/ops/linear.h>

#include <algorithm>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

std::vector<ValueType> infer_matmul(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  const Shape& a = c[0].shape;
  const Shape& b = c[1].shape;
  const bool ta = c.attributes().flag("transpose_a");
  const bool tb = c.attributes().flag("transpose_b");
  if (a.size() < 2)
    c.refuse("a", "rank", "a has shape ", to_string(a), ", but must have rank 2 or more");
  if (b.size() < 2 || (b.size() > 2 && b.size() != a.size())) {
    c.refuse("b", "rank", "b has shape ", to_string(b), ", but must have rank 2 or a's rank ",
             a.size());
  }
  const size_t n = a.size();
  const size_t m = b.size();
  const Dim& k = a[ta ? n - 2 : n - 1];
  if (!c.equal(k, b[tb ? m - 1 : m - 2])) {
    c.refuse("b", "dim", "b has shape ", to_string(b), ", but axis ", tb ? m - 1 : m - 2,
             " must be K = ", k, "\n  K was fixed by a", to_string(a));
  }
  for (size_t i = 0; i + 2 < m; ++i) {
    if (!c.equal(a[i], b[i]))
      c.refuse("b", "dim", "b has shape ", to_string(b), ", but axis ", i, " must be ", a[i],
               ", fixed by a", to_string(a));
  }
  r[0].shape.assign(a.begin(), a.end() - 2);
  r[0].shape.push_back(a[ta ? n - 1 : n - 2]);
  r[0].shape.push_back(b[tb ? m - 2 : m - 1]);
  return r;
}

// Folds all leading axes of x into its rows, so that a product with a shared matrix is one product.
Var rows_of(const Var& x) {
  if (x.rank() == 2) return x;
  Dim rows(1);
  for (size_t i = 0; i + 1 < x.rank(); ++i) rows = rows * x.shape()[i];
  return reshape(x, {rows, x.dim(-1)});
}

}  // namespace

void register_linear(OpRegistry& r) {
  r.add({.name = "matmul",
         .sig = "a[...], b[...] -> y[...]",
         .doc = "Matrix product y = a b: a[...,M,K], b[K,N] or b[...,K,N] -> y[...,M,N].",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var w = g.variable("w", init::glorot_uniform(g, {3, 4}, 3, 4));
Var y = matmul(x, w);  // y: [T,B,4]
Var scores = matmul(y, y, {.transpose_b = true});  // scores: [T,B,B]
Var heads = g.placeholder("heads", f32, {7, 1, 4, 2});
Var each = matmul(y, heads);  // each: [7,T,B,2]
Tensor row = Tensor::of<float>({1, 2}, {1, 2});
Tensor now = matmul(row, row, {.transpose_b = true});  // now: {5})",
         .differs = {{"NumPy matmul",
                      "both operands are matrices at least. matmul() broadcasts leading axes as "
                      "there: it repeats the operand that lacks them in front of this op, in which "
                      "b is a matrix for all of a, or has a's own leading axes"}},
         .attributes = {{"transpose_a", false, "a is [...,K,M]"},
                        {"transpose_b", false, "b is [...,N,K]"}},
         .infer = infer_matmul,
         .vjp = [](const Call& c, const Vars& g, GradContext& context) -> Vars {
           const Var &a = c.in(0), &b = c.in(1);
           const bool ta = c.flag("transpose_a"), tb = c.flag("transpose_b");
           Vars d(2);
           if (context.wants(0)) {
             if (!ta) {
               d[0] = matmul(g[0], b, {.transpose_b = !tb});
             } else if (b.rank() == a.rank()) {
               d[0] = matmul(b, g[0], {.transpose_a = tb, .transpose_b = true});
             } else {  // the left side carries the batch
               d[0] = swap_last(matmul(g[0], b, {.transpose_b = !tb}));
             }
           }
           if (context.wants(1)) {
             const bool shared = b.rank() < a.rank();
             if (shared && ta) {
               const Var rows = rows_of(swap_last(a));
               d[1] = tb ? matmul(rows_of(g[0]), rows, {.transpose_a = true})
                         : matmul(rows, rows_of(g[0]), {.transpose_a = true});
             } else {
               const Var x = shared ? rows_of(a) : a;
               const Var y = shared ? rows_of(g[0]) : g[0];
               d[1] = tb ? matmul(y, x, {.transpose_a = true, .transpose_b = ta})
                         : matmul(x, y, {.transpose_a = !ta});
             }
           }
           return d;
         },
         .samples = {{{{{2, 3}}, {{3, 4}}}},
                     {{{{3, 2}}, {{3, 4}}}, {{"transpose_a", true}}},
                     {{{{2, 3}}, {{4, 3}}}, {{"transpose_b", true}}},
                     {{{{3, 2}}, {{4, 3}}}, {{"transpose_a", true}, {"transpose_b", true}}},
                     {{{{2, 2, 3}}, {{3, 4}}}},
                     {{{{2, 3, 2}}, {{4, 3}}}, {{"transpose_a", true}, {"transpose_b", true}}},
                     {{{{2, 2, 3}}, {{2, 3, 4}}}},
                     {{{{2, 3, 2}}, {{2, 4, 3}}}, {{"transpose_a", true}, {"transpose_b", true}}},
                     {{{{0, 3}}, {{3, 4}}}},
                     {{{{2, 0}}, {{0, 4}}}}},
         .refuses = {{"a.rank", {{{{3}}, {{3, 4}}}}, "a is no matrix"},
                     {"b.rank", {{{{2, 3}}, {{2, 3, 4}}}}, "b is no matrix and has not a's rank"},
                     {"b.dim", {{{{2, 3}}, {{4, 3}}}}, "a's K is not b's"},
                     {"b.dim", {{{{2, 2, 3}}, {{4, 3, 2}}}}, "leading axes differ"}}});
}

namespace {

// One operand with the leading axes that broadcasting gives it; as it is where it has them.
template <Operable V>
V with_leading(V x, const Shape& leading, Site at) {
  Shape s = known_shape(x);
  Shape wanted = leading;
  wanted.insert(wanted.end(), s.end() - 2, s.end());
  return s == wanted ? x : broadcast_to(x, wanted, at);
}

// Leading axes made equal where they are not. What does not fit is left to the op, which says so.
template <Operable V>
void broadcast_leading(V& a, V& b, Site at) {
  if (!a || !b) return;
  const Shape s = known_shape(a), t = known_shape(b);
  if (s.size() < 2 || t.size() <= 2) return;
  if (std::equal(s.begin(), s.end() - 2, t.begin(), t.end() - 2)) return;
  if (std::all_of(t.begin(), t.end() - 2, [](const Dim& d) { return d == Dim(1); }) &&
      s.size() >= t.size()) {
    b = reshape(b, {t.end() - 2, t.end()}, at);  // one matrix for all of a
    return;
  }
  const size_t rank = std::max(s.size(), t.size());
  Shape of_a(rank - s.size(), 1), of_b(rank - t.size(), 1);
  of_a.insert(of_a.end(), s.begin(), s.end() - 2);
  of_b.insert(of_b.end(), t.begin(), t.end() - 2);
  for (size_t i = 0; i + 2 < rank; ++i) {
    if (of_a[i] == Dim(1)) of_a[i] = of_b[i];
    if (of_b[i] == Dim(1)) of_b[i] = of_a[i];
  }
  a = with_leading(a, of_a, at);
  b = with_leading(b, of_b, at);
}

}  // namespace

template <Operable V>
V matmul(V a, std::type_identity_t<V> b, MatmulOptions o, Site at) {
  broadcast_leading(a, b, at);
  return apply("matmul", {a, b}, {{"transpose_a", o.transpose_a}, {"transpose_b", o.transpose_b}},
               {.site = at})[0];
}
template Var matmul(Var, Var, MatmulOptions, Site);
template Tensor matmul(Tensor, Tensor, MatmulOptions, Site);

}  // namespace rondo
