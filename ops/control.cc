#include <rondo/ops/control.h>

#include <algorithm>
#include <utility>

#include <rondo/graph/op.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/shape.h>

namespace rondo {

using recurrence_internal::close_body;
using recurrence_internal::kBranch;
using recurrence_internal::row_symbol_of;

namespace {

template <class... A>
[[noreturn]] void refuse(std::string_view op, std::string_view rule, Site at, const A&... text) {
  fail(Fault::kArgument, cat(op, ".", rule), "[", op, "] ", text..., built_at(at));
}

ValueType type_of(const Var& v) { return v.type(); }
ValueType type_of(const Tensor& t) { return {t.dtype(), to_shape(t.dims()), true}; }

template <class V>
void check_operands(std::string_view op, const List<V>& list, std::string_view what, Site at) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i])
      refuse(op, cat(what, ".missing"), at, what, " ", i,
             " is empty: it was never set, or not asked for");
  }
}

// Results of a branch or step must be of the types of `want`, which `whose` fixed.
template <class V>
void check_types(std::string_view op, std::string_view argument, const List<V>& got,
                 const List<V>& want, std::string_view what, std::string_view whose, Site at) {
  check_operands(op, got, argument, at);
  if (got.size() != want.size())
    refuse(op, cat(argument, ".count"), at, what, " gives ", got.size(), " values, but must give ",
           want.size(), ", as many as ", whose);
  for (size_t i = 0; i < got.size(); ++i) {
    if (!may_equal(type_of(got[i]), type_of(want[i])))
      refuse(op, cat(argument, ".type"), at, what, " gives ", type_of(got[i]).str(), " as value ",
             i, ", but must give ", type_of(want[i]).str(), ", fixed by ", whose);
  }
}

template <class V>
void check_flag(std::string_view op, std::string_view rule, std::string_view what, const V& v,
                Site at) {
  if (!v || type_of(v).dtype != boolean || !type_of(v).shape.empty())
    refuse(op, rule, at, what, " is ", v ? type_of(v).str() : "empty", ", but must be one bool");
}

template <class V>
void check_branch(const List<V>& results, Site at) {
  check_operands(kBranch, results, "branches", at);
  if (results.empty())
    refuse(kBranch, "branches.count", at, "a branch gives no values, but must give at least one");
}

// A body that is being written: no value of it has rows.
struct Writer {
  Graph outer;
  Subgraph body;

  Writer(const Vars& operands, std::string_view op, Site at)
      : outer(graph_of(operands, op)), body{outer.child(op, at), {}, {}} {}

  Var place(const ValueType& t) {
    const Var v =
        body.graph.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
    body.inputs.push_back(v.value());
    return v;
  }
  Vars adopt(const Vars& list, std::string_view op) {
    Vars r;
    for (const Var& v : list) r.push_back(v ? body.graph.adopt(v, op) : Var());
    return r;
  }
  void give(const Vars& list) {
    for (const Var& v : list) body.outputs.push_back(v.value());
  }
};

// The results of `branch` if `taken`, else `otherwise` (none = zeros): a loop of one step, or of
// none.
Vars run_if(const Var& taken, const Vars& operands, const Branch<Var>& branch, Vars otherwise,
            Site at) {
  Vars all = operands;
  all.push_back(taken);
  Writer w(all, kBranch, at);
  const Vars inner = w.adopt(operands, kBranch);
  Vars results = branch(inner);
  check_branch(results, at);
  if (otherwise.empty()) {
    for (const Var& v : results) otherwise.push_back(fill(w.outer, v.dtype(), v.shape(), 0, at));
  } else {
    check_types(kBranch, "branches", results, otherwise, "else_branch", "then_branch", at);
  }
  results = w.adopt(results, kBranch);
  for (const Var& v : otherwise) w.place(v.type());
  w.give(results);
  const Attributes attributes{{"states", results.size()},
                              {"origin", kBranch},
                              {"row_symbol", row_symbol_of(w.outer)},
                              {"extent", Shape{1, 1}}};
  const Vars out = close_body(w.outer, std::move(w.body), otherwise, {},
                              reshape(cast(taken, i32), {1}), attributes, {.site = at});
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(results.size())};
}

}  // namespace

template <>
Vars cond(Var predicate, Vars operands, Branch<Var> then_branch, Branch<Var> else_branch, Site at) {
  check_flag(kBranch, "predicate.type", "predicate", predicate, at);
  check_operands(kBranch, operands, "operands", at);
  const Vars taken = run_if(predicate, operands, then_branch, {}, at);
  return run_if(logical_not(predicate, at), operands, else_branch, taken, at);
}

template <>
List<Tensor> cond(Tensor predicate, List<Tensor> operands, Branch<Tensor> then_branch,
                  Branch<Tensor> else_branch, Site at) {
  check_flag(kBranch, "predicate.type", "predicate", predicate, at);
  check_operands(kBranch, operands, "operands", at);
  List<Tensor> r = (predicate.item() != 0 ? then_branch : else_branch)(operands);
  check_branch(r, at);
  return r;
}

namespace {

constexpr std::string_view kWhile = "while_loop", kScan = "scan";

template <class V>
void check_while(const List<V>& states, int64_t max_iterations, Site at) {
  check_operands(kWhile, states, "states", at);
  if (states.empty()) refuse(kWhile, "states.count", at, "needs at least one state");
  if (max_iterations < 0)
    refuse(kWhile, "max_iterations.range", at, "max_iterations is ", max_iterations,
           ", but must be at least 0");
}

}  // namespace

template <>
WhileResult<Var> while_loop(Vars states, std::function<Var(const Vars&)> condition,
                            Branch<Var> step, int64_t max_iterations, Site at) {
  check_while(states, max_iterations, at);
  Writer w(states, kWhile, at);
  Vars all = states;
  all.push_back(w.outer.constant(Tensor::scalar(i64, 0)));
  Vars inner;
  for (const Var& v : all) inner.push_back(w.place(v.type()));
  const Vars now(inner.begin(), inner.end() - 1);
  const Var goes_on = condition(now);
  check_flag(kWhile, "condition.type", "the condition", goes_on, at);
  // Once the condition fails the states stay, so that it fails at every step that is left.
  const Vars next = run_if(
      w.body.graph.adopt(goes_on, kWhile), inner,
      [&](const Vars& s) {
        const Vars given(s.begin(), s.end() - 1);
        Vars r = step(given);
        check_types(kWhile, "step", r, given, "the step", "the states", at);
        r.push_back(s.back() + 1);
        return r;
      },
      inner, at);
  w.give(next);
  const Attributes attributes{{"states", all.size()},
                              {"origin", kWhile},
                              {"row_symbol", row_symbol_of(w.outer)},
                              {"extent", Shape{max_iterations, 1}}};
  const Vars out = close_body(w.outer, std::move(w.body), all, {}, {}, attributes, {.site = at});
  const auto count = static_cast<std::ptrdiff_t>(states.size());
  return {{out.begin(), out.begin() + count}, out[states.size()]};
}

template <>
WhileResult<Tensor> while_loop(List<Tensor> states,
                               std::function<Tensor(const List<Tensor>&)> condition,
                               Branch<Tensor> step, int64_t max_iterations, Site at) {
  check_while(states, max_iterations, at);
  int64_t n = 0;
  for (; n < max_iterations; ++n) {
    const Tensor goes_on = condition(states);
    check_flag(kWhile, "condition.type", "the condition", goes_on, at);
    if (goes_on.item() == 0) break;
    List<Tensor> next = step(states);
    check_types(kWhile, "step", next, states, "the step", "the states", at);
    states = std::move(next);
  }
  return {std::move(states), Tensor::scalar(i64, static_cast<double>(n))};
}

namespace {

template <class V>
Dim steps_of(const List<V>& states, const List<V>& xs, Site at) {
  check_operands(kScan, states, "states", at);
  check_operands(kScan, xs, "xs", at);
  if (xs.empty())
    refuse(kScan, "xs.count", at, "needs at least one of xs, whose leading axis is time");
  const Shape first = type_of(xs[0]).shape;
  for (const V& x : xs) {
    const Shape s = type_of(x).shape;
    if (s.empty()) refuse(kScan, "xs.rank", at, "xs must have a leading axis, got a scalar");
    if (!may_equal({f32, {s[0]}, true}, {f32, {first[0]}, true}))
      refuse(kScan, "xs.dim", at, "xs have ", s[0].str(), " steps, but must have ", first[0].str(),
             ", fixed by the first, ", to_string(first));
  }
  return first[0];
}

}  // namespace

template <>
ScanResult<Var> scan(Vars states, Vars xs,
                     std::function<ScanStep<Var>(const Vars&, const Vars&)> step, bool reverse,
                     Site at) {
  const Dim steps = steps_of(states, xs, at);
  Vars operands = states;
  operands.insert(operands.end(), xs.begin(), xs.end());
  Writer w(operands, kScan, at);
  Vars inner_states, inner_xs;
  for (const Var& v : states) inner_states.push_back(w.place(v.type()));
  for (const Var& v : xs) {
    ValueType t = v.type();
    t.shape.erase(t.shape.begin());
    inner_xs.push_back(w.place(t));
  }
  ScanStep<Var> next = step(inner_states, inner_xs);
  check_types(kScan, "step", next.states, inner_states, "the step", "the states", at);
  check_operands(kScan, next.ys, "step", at);
  w.give(w.adopt(next.states, kScan));
  w.give(w.adopt(next.ys, kScan));
  const Attributes attributes{{"states", states.size()},  {"xs", xs.size()},
                              {"ys", next.ys.size()},     {"reverse", reverse},
                              {"origin", kScan},          {"row_symbol", row_symbol_of(w.outer)},
                              {"extent", Shape{steps, 1}}};
  const Vars out =
      close_body(w.outer, std::move(w.body), operands, {}, {}, attributes, {.site = at});
  const auto ys = out.begin() + static_cast<std::ptrdiff_t>(next.ys.size());
  return {{ys, ys + static_cast<std::ptrdiff_t>(states.size())}, {out.begin(), ys}};
}

template <>
ScanResult<Tensor> scan(
    List<Tensor> states, List<Tensor> xs,
    std::function<ScanStep<Tensor>(const List<Tensor>&, const List<Tensor>&)> step, bool reverse,
    Site at) {
  using Tensors = List<Tensor>;
  const int64_t steps = steps_of(states, xs, at).constant();
  const auto inner_dims = [](const Tensor& x) {
    return Dims(x.dims().begin() + 1, x.dims().end());
  };
  const auto run = [&](const Tensors& x) {
    ScanStep<Tensor> next = step(states, x);
    check_types(kScan, "step", next.states, states, "the step", "the states", at);
    check_operands(kScan, next.ys, "step", at);
    return next;
  };
  std::vector<Tensors> stacks;
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = reverse ? steps - 1 - s : s;
    Tensors x;
    for (const Tensor& v : xs)
      x.push_back(reshape(slice(v, 0, t, t + 1, at), to_shape(inner_dims(v)), at));
    ScanStep<Tensor> next = run(x);
    states = std::move(next.states);
    stacks.resize(next.ys.size());
    for (size_t i = 0; i < next.ys.size(); ++i) stacks[i].push_back(expand_dims(next.ys[i], 0, at));
  }
  Tensors ys;
  for (Tensors& list : stacks) {
    if (reverse) std::reverse(list.begin(), list.end());
    ys.push_back(concat(list, 0, at));
  }
  if (steps == 0) {  // zeros tell what a step would give
    Tensors x;
    for (const Tensor& v : xs) x.emplace_back(v.dtype(), inner_dims(v));
    for (const Tensor& y : run(x).ys) {
      Dims d = y.dims();
      d.insert(d.begin(), 0);
      ys.emplace_back(y.dtype(), d);
    }
  }
  return {std::move(states), std::move(ys)};
}

}  // namespace rondo
