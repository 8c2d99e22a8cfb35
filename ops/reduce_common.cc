#include <rondo/ops/reduce_common.h>

#include <algorithm>

#include <rondo/ops/shape.h>

namespace rondo::reduce_internal {

std::vector<bool> chosen_axes(const InferContext& c, size_t rank) {
  const std::vector<int64_t>& axes = c.attributes().integers("axes");
  std::vector<bool> chosen(rank, axes.empty());
  for (const int64_t a : axes) {
    const auto i = static_cast<size_t>(c.axis(a, rank, "axes"));
    if (chosen[i]) c.refuse("axes", "twice", "axis ", a, " is named twice");
    chosen[i] = true;
  }
  return chosen;
}

std::vector<AttributeDef> attributes_with(std::vector<AttributeDef> more) {
  std::vector<AttributeDef> r{{"axes", std::vector<int64_t>{}, "axes that are reduced; none = all"},
                              {"keep_dims", false, "reduced axes stay, of length 1"}};
  r.insert(r.end(), more.begin(), more.end());
  return r;
}

std::vector<ValueType> infer_reduce(const InferContext& c) {
  const Shape& x = c[0].shape;
  const std::vector<bool> gone = chosen_axes(c, x.size());
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

std::vector<ValueType> infer_without_axis(const InferContext& c) {
  Shape s = c[0].shape;
  const auto axis = static_cast<size_t>(c.axis(c.attributes().integer("axis"), s.size()));
  if (s[axis] == Dim(0)) c.refuse("x", "empty", "cannot search axis ", axis, " of length 0");
  if (!s[axis].is_constant()) c.equal(s[axis], Dim(0));  // checked again once it is known
  s.erase(s.begin() + static_cast<std::ptrdiff_t>(axis));
  return {{i64, s, true}};
}

ReduceOptions options_of(const Call& c) {
  return {c.attributes().integers("axes"), c.flag("keep_dims")};
}
Attributes attributes_of(const ReduceOptions& o) {
  return {{"axes", o.axes}, {"keep_dims", o.keep_dims}};
}

Shape kept_shape(const Call& c) {
  Shape s = c.in(0).shape();
  const auto& axes = c.attributes().integers("axes");
  for (size_t i = 0; i < s.size(); ++i) {
    const auto is = [&](int64_t a) { return axis_index(a, s.size()) == i; };
    if (axes.empty() || std::any_of(axes.begin(), axes.end(), is)) s[i] = 1;
  }
  return s;
}

Var spread(const Call& c, const Var& v) {
  return broadcast_to(reshape(v, kept_shape(c)), c.in(0).shape());
}

Var count_over(const Var& x, const ReduceOptions& o) { return sum(fill_like(x, 1), o); }

Var magnitude_over(const Var& x, std::vector<int64_t> axes) {
  const Var m = stop_gradient(reduce_max(abs(x), {.axes = std::move(axes), .keep_dims = true}));
  return where(logical_and(m > 0, is_finite(m)), m, 1);
}

Vars vjp_of_extreme(const Call& c, const Vars& g) {
  // The first of ties, in flat order over the reduced axes: the winner's rank among equals must be
  // 1.
  const Var winner = equal(c.in(0), spread(c, c.out(0)));
  const Var first = apply("first_true", {winner}, {{"axes", c.attributes().integers("axes")}})[0];
  return {where(first, spread(c, g[0]), 0)};
}

std::vector<Sample> samples_of(double low, double high) {
  const auto x = [&](Dims dims) { return Sample::Input{std::move(dims), low, high}; };
  return {{{x({2, 3, 4})}},
          {{x({2, 3, 4})}, {{"axes", std::vector<int64_t>{1}}}},
          {{x({2, 3, 4})}, {{"axes", std::vector<int64_t>{0, -1}}, {"keep_dims", true}}},
          {{x({1})}}};
}

std::vector<RefusedCall> refused_axes(DType dtype) {
  const Sample::Input x{.dims = {2, 3}, .low = 0, .dtype = dtype};
  return {{"axes.twice", {{x}, {{"axes", std::vector<int64_t>{1, -1}}}}, "an axis is named twice"},
          {"axes.range", {{x}, {{"axes", std::vector<int64_t>{2}}}}, "x has no such axis"}};
}

std::vector<RefusedCall> refused_searches() {
  return {
      {"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"},
      {"x.empty", {{{{2, 0}}}, {{"axis", 1}}}, "nothing can be found along an axis of length 0"}};
}

}  // namespace rondo::reduce_internal
