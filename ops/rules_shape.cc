#include <algorithm>
#include <numeric>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/rules.h>
#include <rondo/ops/shape.h>

namespace rondo::rules {
namespace {

using namespace pattern;  // NOLINT(google-build-using-namespace): rows read as sentences
using Ints = std::vector<int64_t>;

Dim count_of(const Shape& s) {
  Dim n(1);
  for (const Dim& d : s) n = n * d;
  return n;
}

// x itself where it has the root's type.
Var x_if_it_fits(Match& m) { return m.fits(m["x"]) ? m["x"] : Var(); }

Ints random_permutation(const ExampleContext& e) {
  Ints p(e.x.rank());
  std::iota(p.begin(), p.end(), 0);
  for (size_t i = p.size(); i > 1; --i)
    std::swap(p[i - 1], p[static_cast<size_t>(e.pick(static_cast<int64_t>(i)))]);
  return p;
}
int64_t some_axis(const ExampleContext& e) {
  const auto rank = static_cast<int64_t>(e.x.rank());
  return e.pick(2 * rank) - rank;
}
bool is_scalar(const ExampleContext& e) { return e.x.rank() == 0; }

// The operands and attributes of a node in the middle of a pattern, or of an operand that a builder
// looks at.
bool is_op(const Var& v, std::string_view name) { return v.node().op->name == name; }
Var operand(const Var& v, size_t i = 0) { return v.graph().var(v.node().inputs[i]); }
const Attributes& attributes(const Var& v) { return v.node().attributes; }
size_t axis_of(const Attributes& a, size_t rank) { return axis_index(a.integer("axis"), rank); }

// ---- transpose ----------------------------------------------------------------------------------

// x's axis for each axis of the result.
std::vector<size_t> permutation_of(const Call& c) {
  const Ints& given = c.attributes().integers("permutation");
  const size_t rank = c.in(0).rank();
  std::vector<size_t> p(rank);
  for (size_t i = 0; i < rank; ++i)
    p[i] = given.empty() ? rank - 1 - i : axis_index(given[i], rank);
  return p;
}

Var compose_transposes(Match& m) {
  const std::vector<size_t> inner = permutation_of(m.node("inner"));
  Ints p;
  for (const size_t i : permutation_of(m.root())) p.push_back(static_cast<int64_t>(inner[i]));
  return transpose(m["x"], p);
}

// Axes of length 1 may go anywhere; if the others stay in order, no element moves.
bool keeps_order(const Call& c) {
  size_t last = 0;
  for (const size_t axis : permutation_of(c)) {
    if (c.in(0).shape()[axis] == Dim(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}
bool is_sorted(const Call& c) {
  const std::vector<size_t> p = permutation_of(c);
  return std::is_sorted(p.begin(), p.end());
}

// ---- concat, slice, pad -------------------------------------------------------------------------

// Joins neighbours among the operands of a concat that `join` makes one of.
template <class Join>
Var concat_joining(Match& m, Join join) {
  const size_t axis = axis_of(m.root().attributes(), m.type().shape.size());
  Vars xs;
  for (const Var& x : m.rest("xs")) {
    const Var both = xs.empty() ? Var() : join(xs.back(), x, axis);
    if (both) {
      xs.back() = both;
    } else {
      xs.push_back(x);
    }
  }
  return xs.size() == m.rest("xs").size() ? Var() : concat(xs, static_cast<int64_t>(axis));
}

bool same_axis(const Var& v, size_t axis) { return axis_of(attributes(v), v.rank()) == axis; }

// Slices of one value, the second beginning where the first ends, as one slice.
Var join_slices(const Var& a, const Var& b, size_t axis) {
  if (!is_op(a, "slice") || !is_op(b, "slice") || !operand(a).same(operand(b))) return {};
  if (!same_axis(a, axis) || !same_axis(b, axis)) return {};
  const Shape &of_a = attributes(a).shape("bounds"), &of_b = attributes(b).shape("bounds");
  return of_a[1] == of_b[0] ? slice(operand(a), static_cast<int64_t>(axis), of_a[0], of_b[1])
                            : Var();
}

Var concat_of_split(Match& m) {
  const Vars& xs = m.rest("xs");
  const Node& split = xs[0].node();
  if (split.op->name != "split" || split.outputs.size() != xs.size()) return {};
  const size_t axis = axis_of(m.root().attributes(), m.type().shape.size());
  if (axis_of(split.attributes, m.type().shape.size()) != axis) return {};
  for (size_t i = 0; i < xs.size(); ++i) {
    if (xs[i].value() != Value{split.id, static_cast<int32_t>(i)}) return {};
  }
  const Var x = operand(xs[0]);
  return m.fits(x) ? x : Var();
}

Var flatten_concat(Match& m) {
  const size_t axis = axis_of(m.root().attributes(), m.type().shape.size());
  Vars xs;
  bool changed = false;
  for (const Var& x : m.rest("xs")) {
    if (!is_op(x, "concat") || !same_axis(x, axis)) {
      xs.push_back(x);
      continue;
    }
    changed = true;
    for (size_t i = 0; i < x.node().inputs.size(); ++i) xs.push_back(operand(x, i));
  }
  return changed ? concat(xs, static_cast<int64_t>(axis)) : Var();
}

Var drop_empty(Match& m) {
  const Shape& whole = m.type().shape;
  const size_t axis = axis_of(m.root().attributes(), whole.size());
  const auto empty = [&](const Var& x) {
    Shape s = x.shape();
    if (!(s[axis] == Dim(0))) return false;
    s[axis] = whole[axis];
    return s == whole;
  };
  Vars xs;
  for (const Var& x : m.rest("xs")) {
    if (!empty(x)) xs.push_back(x);
  }
  return xs.empty() || xs.size() == m.rest("xs").size() ? Var()
                                                        : concat(xs, static_cast<int64_t>(axis));
}

// A slice that begins and ends where operands of the concat do takes just those.
Var slice_of_concat(Match& m) {
  const Call& joined = m.node("concat");
  const size_t axis = axis_of(joined.attributes(), m.type().shape.size());
  if (axis_of(m.root().attributes(), m.type().shape.size()) != axis) return {};
  const Shape& bounds = m.root().attributes().shape("bounds");
  Vars taken;
  Dim at(0);
  bool inside = false;
  for (const Var& x : joined.inputs()) {
    inside = inside || at == bounds[0];
    if (inside) taken.push_back(x);
    at = at + x.shape()[axis];
    if (inside && at == bounds[1]) {
      const Var r = concat(taken, static_cast<int64_t>(axis));
      return m.fits(r) && taken.size() < joined.inputs().size() ? r : Var();
    }
  }
  return {};
}

Var slice_twice(Match& m) {
  const Attributes &outer = m.root().attributes(), &inner = m.node("inner").attributes();
  const size_t rank = m.type().shape.size(), axis = axis_of(outer, rank);
  if (axis_of(inner, rank) != axis) return {};
  const Shape &o = outer.shape("bounds"), &i = inner.shape("bounds");
  // The inner slice's own end is checked no more: the outer one must be known to lie within it.
  const Dim room = i[1] - i[0] - o[1];
  if (!room.is_constant() || room.constant() < 0) return {};
  return slice(m["x"], static_cast<int64_t>(axis), i[0] + o[0], i[0] + o[1]);
}

Var slice_of_pad(Match& m) {
  const Attributes &outer = m.root().attributes(), &inner = m.node("pad").attributes();
  const size_t rank = m.type().shape.size(), axis = axis_of(outer, rank);
  if (axis_of(inner, rank) != axis) return {};
  const Shape &bounds = outer.shape("bounds"), &amounts = inner.shape("amounts");
  const Dim begin = bounds[0] - amounts[0], end = bounds[1] - amounts[0],
            room = m["x"].shape()[axis] - end;
  const auto not_negative = [](const Dim& d) { return d.is_constant() && d.constant() >= 0; };
  return not_negative(begin) && not_negative(room)
             ? slice(m["x"], static_cast<int64_t>(axis), begin, end)
             : Var();
}

Var pad_twice(Match& m) {
  const Attributes &outer = m.root().attributes(), &inner = m.node("inner").attributes();
  const size_t rank = m.type().shape.size(), axis = axis_of(outer, rank);
  if (axis_of(inner, rank) != axis) return {};
  const Shape &o = outer.shape("amounts"), &i = inner.shape("amounts");
  const bool known = constant_dims(o).has_value() && constant_dims(i).has_value();
  return known ? pad(m["x"], static_cast<int64_t>(axis), o[0] + i[0], i[1] + o[1]) : Var();
}

// ---- fill and broadcasts ------------------------------------------------------------------------

Var refilled(Match& m) {
  return fill(m.graph(), m.type().dtype, m.type().shape, m.node("fill").number("value"));
}

// A double holds the number exactly.
bool held_by_double(const Var& v, double number) {
  return v.dtype() != i64 || std::abs(number) <= 0x1p53;
}

// An elementwise op broadcasts by itself: an operand need not be broadcast before it, if another
// has the result's shape.
Vars without_broadcast(Match& m) {
  const Vars& in = m.root().inputs();
  for (size_t i = 0; i < in.size(); ++i) {
    if (!is_op(in[i], "broadcast_to") || !spreads(operand(in[i]).shape(), in[i].shape())) continue;
    for (size_t k = 0; k < in.size(); ++k) {
      if (k == i || in[k].shape() != m.type().shape || !spreads(in[i].shape(), m.type().shape))
        continue;
      Vars narrow = in;
      narrow[i] = operand(in[i]);
      return rondo::apply(m.root().op().name, narrow, m.root().attributes());
    }
  }
  return {};
}

Rule broadcasts_itself(const std::string& name) {
  return rule(name + "_broadcasts", op(name, rest("operands")), without_broadcast,
              for_floats([name](const ExampleContext& e) {
                Shape one = e.x.shape();
                if (one.empty()) return Var();
                one[static_cast<size_t>(e.pick(static_cast<int64_t>(one.size())))] = 1;
                const Var narrow = broadcast_to(fill(e.graph, e.x.dtype(), one, 3), e.x.shape());
                return e.pick(2) == 0 ? rondo::apply(name, {narrow, e.x})[0]
                                      : rondo::apply(name, {e.x, narrow})[0];
              }));
}

// ---- reductions ---------------------------------------------------------------------------------

std::vector<bool> reduced_axes(const Call& c) {
  const Ints& axes = c.attributes().integers("axes");
  std::vector<bool> r(c.in(0).rank(), axes.empty());
  for (const int64_t a : axes) r[axis_index(a, r.size())] = true;
  return r;
}

// A reduction over axes of length 1 moves nothing.
Var reshape_over_units(Match& m) {
  const std::vector<bool> reduced = reduced_axes(m.root());
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (reduced[i] && !(m["x"].shape()[i] == Dim(1))) return {};
  }
  return reshape(m["x"], m.type().shape);
}

Rule over_units(const std::string& name, const std::string& reduction, bool integers) {
  return rule(name, op(reduction, any("x"), when([integers](const Call& c) {
                         return !integers || is_integer(c.in(0).dtype());
                       })),
              reshape_over_units,
              (integers ? for_integers : for_floats)([reduction](const ExampleContext& e) {
                Shape s = e.x.shape();
                const auto axis = static_cast<size_t>(e.pick(static_cast<int64_t>(s.size()) + 1));
                s.insert(s.begin() + static_cast<std::ptrdiff_t>(axis), Dim(1));
                return rondo::apply(
                    reduction, {reshape(e.x, s)},
                    {{"axes", Ints{static_cast<int64_t>(axis)}}, {"keep_dims", e.pick(2) == 0}})[0];
              }));
}

Var reduce_at_once(Match& m) {
  const Call &outer = m.root(), &inner = m.node("inner");
  const bool keep = outer.flag("keep_dims");
  if (inner.flag("keep_dims") != keep) return {};
  std::vector<bool> first = reduced_axes(inner);
  const std::vector<bool> second = reduced_axes(outer);
  Ints axes;
  for (size_t i = 0, left = 0; i < first.size(); ++i) {
    // Axis of the inner result that is axis i of x, if it has it still.
    const bool there = keep || !first[i];
    if (first[i] || second[left]) axes.push_back(static_cast<int64_t>(i));
    if (there) ++left;
  }
  // No axes would mean all.
  return axes.empty()
             ? m["x"]
             : rondo::apply(outer.op().name, {m["x"]}, {{"axes", axes}, {"keep_dims", keep}})[0];
}

Rule at_once(const std::string& reduction) {
  return rule(reduction + "_of_" + reduction, op(reduction, op(reduction, any("x"), as("inner"))),
              reduce_at_once, for_floats([reduction](const ExampleContext& e) {
                const bool keep = e.pick(2) == 0;
                const auto some = [&](size_t rank) {
                  Ints axes;
                  for (size_t i = 0; i < rank; ++i) {
                    if (e.pick(2) == 0) axes.push_back(static_cast<int64_t>(i));
                  }
                  return axes;
                };
                const Var inner = rondo::apply(
                    reduction, {e.x}, {{"axes", some(e.x.rank())}, {"keep_dims", keep}})[0];
                return rondo::apply(reduction, {inner},
                                    {{"axes", some(inner.rank())}, {"keep_dims", keep}})[0];
              }));
}

// ---- products -----------------------------------------------------------------------------------

bool swaps_last(const Call& c) {
  std::vector<size_t> p = permutation_of(c);
  if (p.size() < 2) return false;
  std::swap(p[p.size() - 1], p[p.size() - 2]);
  return std::is_sorted(p.begin(), p.end());
}

// The product reads its operand transposed by itself.
Rule transposed_operand(size_t i) {
  const std::string flag = i == 0 ? "transpose_a" : "transpose_b";
  const Pattern turned = op("transpose", any("x"), when(swaps_last));
  return rule(
      "matmul_" + flag, i == 0 ? op("matmul", turned, any("y")) : op("matmul", any("y"), turned),
      [i, flag](Match& m) {
        Attributes a = m.root().attributes();
        a.set(flag, !a.flag(flag));
        return rondo::apply("matmul", i == 0 ? Vars{m["x"], m["y"]} : Vars{m["y"], m["x"]}, a)[0];
      },
      for_floats([i](const ExampleContext& e) {
        if (e.x.rank() < 2) return Var();
        return i == 0 ? matmul(swap_last(e.x), e.y) : matmul(e.x, swap_last(e.y));
      }));
}

Var concat_example(const ExampleContext& e) { return concat<Var>({e.x, e.y, e.x}, some_axis(e)); }

}  // namespace

std::vector<Rule> exact_shape() {
  std::vector<Rule> r{
      rule("transpose_identity", op("transpose", any("x"), when(is_sorted)), x_if_it_fits,
           [](const ExampleContext& e) {
             Ints p(e.x.rank());
             std::iota(p.begin(), p.end(), 0);
             return transpose(e.x, p);
           }),
      rule("transpose_twice", op("transpose", op("transpose", any("x"), as("inner"))),
           compose_transposes,
           [](const ExampleContext& e) {
             return transpose(transpose(e.x, random_permutation(e)), random_permutation(e));
           }),
      rule(
          "transpose_units", op("transpose", any("x"), when(keeps_order)),
          [](Match& m) { return reshape(m["x"], m.type().shape); },
          [](const ExampleContext& e) {
            Ints p(e.x.rank());
            std::iota(p.begin(), p.end(), 1);
            p.push_back(0);
            return transpose(expand_dims(e.x, 0), p);
          }),
      rule("reshape_identity", op("reshape", any("x")), x_if_it_fits,
           [](const ExampleContext& e) { return reshape(e.x, e.x.shape()); }),
      rule(
          "reshape_twice", op("reshape", op("reshape", any("x"), as("inner"))),
          [](Match& m) {
            const Dim count = count_of(m.type().shape);
            const bool sure =
                count_of(m["x"].shape()) == count && count_of(m["inner"].shape()) == count;
            return sure ? reshape(m["x"], m.type().shape) : Var();
          },
          [](const ExampleContext& e) {
            return expand_dims(reshape(e.x, {count_of(e.x.shape())}), e.pick(2));
          }),
      rule("broadcast_identity", op("broadcast_to", any("x")), x_if_it_fits,
           [](const ExampleContext& e) { return broadcast_to(e.x, e.x.shape()); }),
      rule(
          "broadcast_twice", op("broadcast_to", op("broadcast_to", any("x"), as("inner"))),
          [](Match& m) {
            const bool sure = spreads(m["x"].shape(), m["inner"].shape()) &&
                              spreads(m["inner"].shape(), m.type().shape);
            return sure ? broadcast_to(m["x"], m.type().shape) : Var();
          },
          [](const ExampleContext& e) {
            Shape s = e.x.shape();
            s.insert(s.begin(), Dim(2));
            Shape t = s;
            t.insert(t.begin(), Dim(3));
            return broadcast_to(broadcast_to(e.x, s), t);
          }),

      rule("concat_one", op("concat", any("x")), x_if_it_fits,
           [](const ExampleContext& e) {
             return is_scalar(e) ? Var() : concat<Var>({e.x}, some_axis(e));
           }),
      rule("concat_flat", op("concat", rest("xs")), flatten_concat,
           [](const ExampleContext& e) {
             if (is_scalar(e)) return Var();
             const int64_t axis = some_axis(e);
             return concat<Var>({e.y, concat<Var>({e.x, e.y}, axis), e.x}, axis);
           }),
      rule("concat_empty", op("concat", rest("xs")), drop_empty,
           [](const ExampleContext& e) {
             if (is_scalar(e) || e.x.dim(0) == Dim(0)) return Var();
             return concat<Var>({slice(e.x, 0, 0, 0), e.x}, 0);
           }),
      rule(
          "concat_slices", op("concat", rest("xs")),
          [](Match& m) { return concat_joining(m, join_slices); },
          [](const ExampleContext& e) {
            if (is_scalar(e)) return Var();
            const Var x = concat<Var>({e.x, e.y, e.x}, 0);
            const Dim n = e.x.dim(0), two = n + n;
            return concat<Var>({slice(x, 0, 0, n), slice(x, 0, n, two), e.y}, 0);
          }),
      rule("concat_split", op("concat", rest("xs")), concat_of_split,
           [](const ExampleContext& e) {
             if (is_scalar(e)) return Var();
             const int64_t axis = some_axis(e);
             return concat(split(concat<Var>({e.x, e.y}, axis), 2, axis), axis);
           }),
      rule(
          "split_one", op("split", any("x"), with("parts", 1)),
          [](Match& m) { return Vars{m["x"]}; },
          [](const ExampleContext& e) {
            return is_scalar(e) ? Var() : split(e.x, 1, some_axis(e))[0];
          }),

      rule("slice_whole", op("slice", any("x")), x_if_it_fits,
           [](const ExampleContext& e) {
             return is_scalar(e) ? Var() : slice(e.x, 0, 0, e.x.dim(0));
           }),
      rule("slice_twice", op("slice", op("slice", any("x"), as("inner"))), slice_twice,
           [](const ExampleContext& e) {
             if (is_scalar(e)) return Var();
             const Var x = pad(e.x, 0, 2, 3);
             return slice(slice(x, 0, 1, x.dim(0) - 1), 0, 1, x.dim(0) - 2);
           }),
      rule("slice_concat", op("slice", op("concat", rest("xs"), as("concat"))), slice_of_concat,
           [](const ExampleContext& e) {
             if (is_scalar(e)) return Var();
             const int64_t axis = some_axis(e);
             const Dim n = e.x.dim(axis);
             return slice(concat_example({e.graph, e.x, e.y,
                                          [axis, &e](int64_t) {
                                            return axis + static_cast<int64_t>(e.x.rank());
                                          }}),
                          axis, n, n + n);
           }),
      rule("slice_pad", op("slice", op("pad", any("x"), as("pad"))), slice_of_pad,
           [](const ExampleContext& e) {
             if (is_scalar(e)) return Var();
             const int64_t axis = some_axis(e);
             return slice(pad(e.x, axis, 2, 1), axis, 2, e.x.dim(axis) + 2);
           }),
      rule("pad_nothing", op("pad", any("x")), x_if_it_fits,
           [](const ExampleContext& e) {
             return is_scalar(e) ? Var() : pad(e.x, some_axis(e), 0, 0);
           }),
      rule("pad_twice", op("pad", op("pad", any("x"), as("inner"))), pad_twice,
           [](const ExampleContext& e) {
             return is_scalar(e) ? Var() : pad(pad(e.x, 0, e.pick(3), 1), 0, 2, e.pick(3));
           }),

      rule("transpose_fill", op("transpose", op("fill", as("fill"))), refilled,
           [](const ExampleContext& e) {
             return transpose(fill_like(e.x, 1), random_permutation(e));
           }),
      rule("reshape_fill", op("reshape", op("fill", as("fill")), when([](const Call& c) {
                                return count_of(c.in(0).shape()) ==
                                       count_of(c.attributes().shape("shape"));
                              })),
           refilled,
           [](const ExampleContext& e) {
             return reshape(fill_like(e.x, 1), {count_of(e.x.shape())});
           }),
      rule(
          "broadcast_literal", op("broadcast_to", number("c")),
          [](Match& m) {
            const bool sure =
                spreads(m["c"].shape(), m.type().shape) && held_by_double(m["c"], m.number("c"));
            return sure ? fill(m.graph(), m.type().dtype, m.type().shape, m.number("c")) : Var();
          },
          [](const ExampleContext& e) { return broadcast_to(e.constant(1), e.x.shape()); }),
      over_units("sum_units_integer", "sum", true),
      over_units("reduce_max_units", "reduce_max", false),
      at_once("reduce_max"),
  };
  for (const char* name : {"add", "sub", "mul", "div", "pow", "minimum", "maximum", "less",
                           "less_equal", "greater", "greater_equal", "equal", "not_equal"}) {
    r.push_back(broadcasts_itself(name));
  }
  return r;
}

std::vector<Rule> relaxed_shape() {
  return {
      over_units("sum_units", "sum", false),
      over_units("mean_units", "mean", false),
      at_once("sum"),
      transposed_operand(0),
      transposed_operand(1),
  };
}

}  // namespace rondo::rules
