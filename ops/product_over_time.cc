#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace recurrence_internal {

Var in_windows(const Var& y, const Var& begin, const Var& end) {
  Var inside;
  for (const bool first : {true, false}) {
    const Var& bound = first ? begin : end;
    if (!bound) continue;
    const Var t = iota(y.graph(), bound.dtype(), {y.dim(0), y.dim(1)}, 0);
    const Var half = first ? greater_equal(t, bound) : less(t, bound);
    inside = inside ? logical_and(inside, half) : half;
  }
  return inside ? where(expand_dims(inside, 2), y, 0) : y;
}

}  // namespace recurrence_internal

Var product_over_time(const Var& a, const Var& b, const Var& begin, const Var& end) {
  return apply("product_over_time", {a, b, begin, end}, {}, {})[0];
}

void register_product_over_time(OpRegistry& r) {
  const Sample::Input none{{}, 0, 0, f64, {}, true};
  r.add(
      {.name = "product_over_time",
       .sig = "a[T,B,K], b[T,B,N], begin[B]:int?!, end[B]:int?! -> y[K,N]",
       .doc = R"(The gradient of a matrix that a loop multiplies with at each step, in one product:
    y = sum over the steps t and rows i with begin_i <= t < end_i of a[t,i,:]^T b[t,i,:]
Other steps are not read, and cost nothing. Plans are made of such nodes (the pass sink); a program has no need to write one.)",
       .source = "the same equations as the loop's",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6}), dz = g.placeholder("dz", f32, {"T", "B", 4});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var dw = product_over_time(x, dz, {}, lengths);  // dw: [6,4])",
       .vjp = [](const Call& c, const Vars& g, GradContext& context) -> Vars {
         Vars d(4);
         const auto half = [&](const Var& x, bool transposed) {
           return recurrence_internal::in_windows(matmul(x, g[0], {.transpose_b = transposed}),
                                                  c.in(2), c.in(3));
         };
         if (context.wants(0)) d[0] = half(c.in(1), true);
         if (context.wants(1)) d[1] = half(c.in(0), false);
         return d;
       },
       .samples = {{{{{3, 2, 4}}, {{3, 2, 5}}, none, none}},
                   {{{{4, 3, 2}}, {{4, 3, 2}}, {{3}, 0, 3, i32}, {{3}, 1, 5, i32}}},
                   {{{{4, 3, 2}}, {{4, 3, 2}}, none, {{3}, 0, 5, i64}}},
                   {{{{0, 2, 3}}, {{0, 2, 4}}, none, none}},
                   {{{{2, 0, 3}}, {{2, 0, 4}}, none, none}}}});
}

}  // namespace rondo
