#include <rondo/ops/recurrence.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

Shape with_rows(const Shape& s, const std::string& symbol, const Dim& rows) {
  Shape r;
  for (const Dim& d : s) r.push_back(d.substitute({{symbol, rows}}));
  return r;
}

std::vector<ValueType> infer_recurrence(const InferContext& c) {
  if (c.body() == nullptr) c.refuse("body", "missing", "needs a body");
  const Subgraph& body = *c.body();
  const RecurrenceLayout l(c.attributes(), body);
  if (c.count() != l.body_inputs() + 2)
    c.refuse("operands", "arity", "takes ", l.body_inputs() + 2, " operands, got ", c.count());
  if (body.inputs.size() != l.body_inputs())
    c.refuse("body", "inputs", "the body has ", body.inputs.size(), " inputs, but must have ",
             l.body_inputs());
  if (body.outputs.size() < l.states + l.ys)
    c.refuse("body", "outputs", "the body has ", body.outputs.size(),
             " outputs, but must have at least ", l.states + l.ys);
  const std::string& symbol = c.attributes().text("row_symbol");
  const Shape& extent = c.attributes().shape("extent");
  if (extent.size() != 2)
    c.refuse("extent", "count", "extent must be [T,B], got ", to_string(extent));
  const Dim &steps = extent[0], &rows = extent[1];

  const auto same = [&](size_t operand, const Shape& got, const Shape& want,
                        std::string_view what) {
    bool ok = got.size() == want.size();
    for (size_t a = 0; ok && a < got.size(); ++a) ok = c.equal(got[a], want[a]);
    if (!ok)
      c.refuse("operands", "dim", what, " ", operand, " has shape ", to_string(got),
               ", but must be ", to_string(want));
  };
  for (size_t i = 0; i < l.body_inputs(); ++i) {
    const ValueType& t = body.graph.type(body.inputs[i]);
    const bool is_x = i >= l.first_x() && i < l.first_per_row();
    Shape want = with_rows(t.shape, symbol, rows);
    if (is_x) want.insert(want.begin(), steps);
    if (!c.has(i)) c.refuse("operands", "missing", "operand ", i, " is required and was not given");
    if (c[i].dtype != t.dtype)
      c.refuse("operands", "dtype", "operand ", i, " is ", c[i].dtype, ", but the body wants ",
               t.dtype);
    same(i, c[i].shape, want, "operand");
  }
  for (const size_t i : {l.begin(), l.end()}) {
    if (!c.has(i)) continue;
    if (!is_integer(c[i].dtype))
      c.refuse("window", "dtype", "begin and end must be integers, got ", c[i].dtype);
    same(i, c[i].shape, {rows}, "window");
  }

  // Rows that do not run are left out, so the row axis must be where results are scattered to.
  const auto no_rows = [&](const ValueType& t, size_t from, std::string_view what, size_t k) {
    for (size_t a = from; a < t.shape.size(); ++a) {
      const auto names = t.shape[a].symbols();
      if (std::find(names.begin(), names.end(), symbol) == names.end()) continue;
      c.refuse(
          "body", "rows", what, " ", k, " has shape ", to_string(t.shape),
          " in the body, but the rows may only be the first axis of states, xs, per_row and ys");
    }
  };
  for (size_t i = 0; i < l.body_inputs(); ++i) {
    no_rows(body.graph.type(body.inputs[i]), i < l.first_shared() ? 1 : 0, "operand", i);
  }
  for (size_t i = 0; i < body.outputs.size(); ++i) {
    if (body.outputs[i])
      no_rows(body.graph.type(body.outputs[i]), i < l.states + l.ys ? 1 : 0, "output", i);
  }

  // A body of control flow (ops/control.h): the one row is not an axis of its values.
  bool rowless = rows == Dim(1);
  for (size_t i = 0; i < l.first_shared(); ++i) {
    const Shape& s = body.graph.type(body.inputs[i]).shape;
    rowless = rowless && (s.empty() || !(s[0] == Dim::symbol(symbol)));
  }

  std::vector<ValueType> out;
  const auto type_of = [&](size_t output, bool over_time) {
    const Value v = body.outputs[output];
    if (!v) return ValueType{f32, {}, false};
    ValueType t = body.graph.type(v);
    t.shape = with_rows(t.shape, symbol, rows);
    if (over_time) t.shape.insert(t.shape.begin(), steps);
    return t;
  };
  for (size_t i = 0; i < l.ys; ++i) {
    const Value v = body.outputs[l.states + i];
    if (v && !rowless &&
        (body.graph.type(v).shape.empty() ||
         !(body.graph.type(v).shape[0] == Dim::symbol(symbol)))) {
      c.refuse("body", "rows", "output ", i, " of the body has shape ",
               to_string(body.graph.type(v).shape), ", but its first axis must be the rows");
    }
    out.push_back(type_of(l.states + i, true));
  }
  for (size_t i = 0; i < l.states; ++i) {
    ValueType t = type_of(i, false);
    if (!t.present || t.dtype != c[i].dtype)
      c.refuse("body", "state", "state ", i, " is ", c[i].str(), ", the body gives ", t.str());
    same(i, t.shape, c[i].shape, "next state");
    out.push_back({t.dtype, c[i].shape, true});
  }
  for (size_t i = 0; i < l.sums; ++i) out.push_back(type_of(l.states + l.ys + i, false));
  for (size_t i = 0; i < l.states; ++i) {
    ValueType t = c[i];
    t.shape.insert(t.shape.begin(), steps);
    out.push_back(std::move(t));
  }
  return out;
}

// The body of the gradient: one step back in time.
//   states:  cotangents of the states, then running gradients of the per-row operands
//   xs:      the x_t, the states before the step, the cotangents of the ys and of the trajectories
//   per_row: as in the forward body;  shared: as in the forward body, then the cotangents of the
//   sums
Vars vjp_recurrence(const Call& c, const Vars& g, GradContext& context) {
  const Subgraph& body = *c.body();
  const RecurrenceLayout l(c.attributes(), body);
  const std::string& symbol = c.text("row_symbol");
  const Shape& extent = c.attributes().shape("extent");
  const auto floats = [&](size_t i) { return is_float(body.graph.type(body.inputs[i]).dtype); };

  std::vector<bool> with_cotangent(body.outputs.size());
  for (size_t i = 0; i < l.states; ++i) with_cotangent[i] = floats(i);
  for (size_t i = 0; i < l.ys; ++i) with_cotangent[l.states + i] = static_cast<bool>(g[i]);
  for (size_t i = 0; i < l.sums; ++i)
    with_cotangent[l.states + l.ys + i] = static_cast<bool>(g[l.sum_of(i)]);

  std::vector<int> wrt;                      // body inputs whose gradient is taken
  std::vector<int> at(l.body_inputs(), -1);  // their place in wrt
  for (size_t i = 0; i < l.body_inputs(); ++i) {
    if (!floats(i) || (i >= l.states && !context.wants(i))) continue;
    at[i] = static_cast<int>(wrt.size());
    wrt.push_back(static_cast<int>(i));
  }
  const Subgraph vjp = context.vjp_of(body, with_cotangent, wrt);

  // The new body: placeholders in the order of its layout, then the vjp inlined on them.
  Graph b;
  struct Operand {
    Var outer, inner;
  };
  std::vector<Operand> states, xs, per_row, shared;
  const auto place = [&](std::vector<Operand>& list, const Var& outer, const ValueType& t) {
    list.push_back(
        {outer, b.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0]});
    return list.back().inner;
  };
  const auto body_type = [&](size_t i) { return body.graph.type(body.inputs[i]); };

  Vars inner(l.body_inputs());
  Vars state_cotangent(l.states);
  std::vector<size_t> differentiable;
  for (size_t i = 0; i < l.states; ++i) {
    if (!floats(i)) continue;
    differentiable.push_back(i);
    const Var& df = g[l.final_of(i)];
    state_cotangent[i] = place(states, df ? df : fill_like(c.in(i), 0), body_type(i));
  }
  std::vector<size_t> row_gradients;
  Vars running;
  for (size_t i = l.first_per_row(); i < l.first_shared(); ++i) {
    if (at[i] < 0) continue;
    row_gradients.push_back(i);
    running.push_back(place(states, fill_like(c.in(i), 0), body_type(i)));
  }
  for (size_t i = l.first_x(); i < l.first_per_row(); ++i)
    inner[i] = place(xs, c.in(i), body_type(i));
  for (size_t i = 0; i < l.states; ++i)
    inner[i] = place(xs, c.out(l.trajectory_of(i)), body_type(i));
  for (size_t i = l.first_per_row(); i < l.first_shared(); ++i)
    inner[i] = place(per_row, c.in(i), body_type(i));
  for (size_t i = l.first_shared(); i < l.body_inputs(); ++i)
    inner[i] = place(shared, c.in(i), body_type(i));

  Vars vjp_inputs = inner;
  for (size_t i = 0; i < l.states; ++i) {
    if (with_cotangent[i]) vjp_inputs.push_back(state_cotangent[i]);
  }
  for (size_t i = 0; i < l.ys; ++i) {
    if (g[i]) vjp_inputs.push_back(place(xs, g[i], body.graph.type(body.outputs[l.states + i])));
  }
  for (size_t i = 0; i < l.sums; ++i) {
    if (g[l.sum_of(i)])
      vjp_inputs.push_back(
          place(shared, g[l.sum_of(i)], body.graph.type(body.outputs[l.states + l.ys + i])));
  }
  const Vars d = inline_subgraph(vjp, b, vjp_inputs);
  const auto gradient = [&](size_t i) { return at[i] < 0 ? Var() : d[static_cast<size_t>(at[i])]; };

  Subgraph back{b, {}, {}};
  for (size_t k = 0; k < differentiable.size(); ++k) {
    const size_t i = differentiable[k];
    Var ds = gradient(i);
    if (const Var& dt = g[l.trajectory_of(i)]) {
      const Var inside = place(xs, dt, body_type(i));
      ds = ds ? ds + inside : inside;
    }
    back.outputs.push_back((ds ? ds : fill_like(state_cotangent[i], 0)).value());
  }
  for (size_t k = 0; k < row_gradients.size(); ++k) {
    const Var dr = gradient(row_gradients[k]);
    back.outputs.push_back((dr ? running[k] + dr : running[k]).value());
  }
  std::vector<size_t> y_of,
      sum_of;  // operands whose gradient is a y, or a sum, of the new recurrence
  for (size_t i = l.first_x(); i < l.first_per_row(); ++i) {
    if (!gradient(i)) continue;
    y_of.push_back(i);
    back.outputs.push_back(gradient(i).value());
  }
  for (size_t i = l.first_shared(); i < l.body_inputs(); ++i) {
    if (!gradient(i)) continue;
    sum_of.push_back(i);
    back.outputs.push_back(gradient(i).value());
  }
  Vars operands;
  for (const auto* list : {&states, &xs, &per_row, &shared}) {
    for (const Operand& o : *list) {
      operands.push_back(o.outer);
      back.inputs.push_back(o.inner.value());
    }
  }
  operands.push_back(c.in(l.begin()));
  operands.push_back(c.in(l.end()));

  const std::string origin = c.text("origin").empty() ? "" : c.text("origin") + ".gradient";
  const Attributes attributes{
      {"states", states.size()}, {"xs", xs.size()},      {"per_row", per_row.size()},
      {"shared", shared.size()}, {"ys", y_of.size()},    {"reverse", !c.flag("reverse")},
      {"origin", origin},        {"row_symbol", symbol}, {"extent", extent}};
  const RecurrenceLayout bl(attributes, back);
  const Vars out =
      make_recurrence(c.graph(), operands, std::make_shared<Subgraph>(back), attributes);

  Vars result(c.inputs().size());
  for (size_t k = 0; k < differentiable.size(); ++k)
    result[differentiable[k]] = out[bl.final_of(k)];
  for (size_t k = 0; k < row_gradients.size(); ++k)
    result[row_gradients[k]] = out[bl.final_of(differentiable.size() + k)];
  for (size_t k = 0; k < y_of.size(); ++k) result[y_of[k]] = out[k];
  for (size_t k = 0; k < sum_of.size(); ++k) result[sum_of[k]] = out[bl.sum_of(k)];
  return result;
}

// A Var of the graph around the body that holds a row for each sequence, used as if it held none:
// it would fit only as long as all rows run.
void refuse_forgotten_rows(const Graph& outer, const OpenBody& body) {
  const auto same = [](const Shape& s, size_t axis, const Dim& d) {
    return axis < s.size() && s[axis] == d;
  };
  for (const auto& [from, inside] : body.graph.captures()) {
    const Shape& s = outer.type(from).shape;
    const bool slices = same(s, 0, body.steps) && same(s, 1, body.rows);
    if (!slices && !same(s, 0, body.rows)) continue;
    // A number may be equal by chance: then only a use beside the rows tells.
    bool used_as_rows = !body.rows.is_constant();
    for (int32_t id = 0; id < body.graph.size() && !used_as_rows; ++id) {
      const Node& n = body.graph.node(id);
      used_as_rows =
          n.check_at_bind && std::find(n.inputs.begin(), n.inputs.end(), inside) != n.inputs.end();
    }
    if (!used_as_rows) continue;
    const Var v = outer.var(from);
    fail(Fault::kArgument, "recurrence.body.rows", "[recurrence] the body uses ", v.name(), " ",
         v.type().str(), ", which holds a ",
         slices ? "slice for each step" : "row for each sequence", "; write ",
         slices ? "per_step" : "per_row", "(v) there",
         v.node().site.file == nullptr
             ? ""
             : cat("\n  built at ", v.node().site.file, ":", v.node().site.line));
  }
}

// A value that was made of rows and has none any more, a sum over them, may only be a term of
// `sums`.
void refuse_lost_rows(const Graph& g, const Subgraph& body, const std::string& symbol,
                      size_t of_rows) {
  const auto has_rows = [&](const Shape& s) {
    return std::any_of(s.begin(), s.end(), [&](const Dim& d) {
      const auto names = d.symbols();
      return std::find(names.begin(), names.end(), symbol) != names.end();
    });
  };
  std::vector<int32_t> lost(static_cast<size_t>(g.size()), -1);  // the node that lost them
  for (int32_t id = 0; id < g.size(); ++id) {
    const Node& n = g.node(id);
    for (const Value v : n.inputs) {
      if (!v) continue;
      const int32_t before = lost[static_cast<size_t>(v.node)];
      if (before >= 0) lost[static_cast<size_t>(id)] = before;
      for (const ValueType& t : n.outputs) {
        if (before < 0 && t.present && has_rows(g.type(v).shape) && !has_rows(t.shape))
          lost[static_cast<size_t>(id)] = id;
      }
    }
  }
  for (size_t i = 0; i < of_rows; ++i) {
    const Value v = body.outputs[i];
    if (!v || lost[static_cast<size_t>(v.node)] < 0) continue;
    const Node& n = g.node(lost[static_cast<size_t>(v.node)]);
    fail(Fault::kArgument, "recurrence.body.mixed", "[recurrence] ", n.op->name,
         " in the body takes the rows together, but the body is for each row by itself",
         n.site.file == nullptr ? "" : cat("\n  built at ", n.site.file, ":", n.site.line));
  }
}

}  // namespace

bool mixes_rows(const Graph& body, const Node& n, const std::string& row_symbol) {
  const auto has_rows = [&](size_t operand) {
    if (operand >= n.inputs.size() || !n.inputs[operand]) return false;
    const Shape& s = body.type(n.inputs[operand]).shape;
    return !s.empty() && s[0] == Dim::symbol(row_symbol);
  };
  if (n.op->name == "scatter_add" || n.op->name == "scatter_update") {
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (has_rows(i)) return true;
    }
  }
  if (!has_rows(0)) return false;
  static const std::set<std::string> kByIndex{"gather", "gather_nd", "scatter_add",
                                              "scatter_update", "batch_norm"};
  if (kByIndex.count(n.op->name) == 1) return true;
  const size_t rank = body.type(n.inputs[0]).shape.size();
  const auto is_first = [rank](int64_t axis) { return axis_index(axis, rank) == 0; };
  static const std::set<std::string> kLastAxis{"layer_norm", "rms_norm", "top_k"};
  if (kLastAxis.count(n.op->name) == 1) return rank == 1;
  const Shape& result = n.outputs[0].shape;
  const bool keeps_rows = !result.empty() && result[0] == Dim::symbol(row_symbol);
  if (n.op->name == "stack") return !keeps_rows;  // its axis is one of the result
  return std::any_of(n.attributes.items().begin(), n.attributes.items().end(),
                     [&](const auto& item) {
                       const auto& [name, value] = item;
                       if (const auto* axis = value.template get<int64_t>())
                         return (name == "axis" || name == "time_axis") && is_first(*axis);
                       const auto* axes = value.template get<std::vector<int64_t>>();
                       // A sum over the rows is a term of `sums`; what keeps them has exchanged
                       // them.
                       return axes != nullptr && name == "axes" && keeps_rows &&
                              (axes->empty() || std::any_of(axes->begin(), axes->end(), is_first));
                     });
}

RecurrenceLayout::RecurrenceLayout(const Node& n) : RecurrenceLayout(n.attributes, *n.body) {}

RecurrenceLayout::RecurrenceLayout(const Attributes& a, const Subgraph& body)
    : states(static_cast<size_t>(a.integer("states"))),
      xs(static_cast<size_t>(a.integer("xs"))),
      per_row(static_cast<size_t>(a.integer("per_row"))),
      shared(static_cast<size_t>(a.integer("shared"))),
      ys(static_cast<size_t>(a.integer("ys"))),
      sums(body.outputs.size() > states + ys ? body.outputs.size() - states - ys : 0) {}

Vars make_recurrence(Graph g, const Vars& operands, std::shared_ptr<const Subgraph> body,
                     Attributes attributes, CallOptions options) {
  options.body = std::move(body);
  return g.call(registry().at("recurrence"), operands, std::move(attributes), std::move(options));
}

std::string recurrence_internal::row_symbol_of(const Graph& outer) {
  constexpr std::string_view kPrefix = "$rows";
  int64_t next = 0;
  for (const Var& p : outer.placeholders()) {
    for (const Dim& d : p.shape()) {
      for (const std::string& s : d.symbols()) {
        if (s.rfind(kPrefix, 0) == 0)
          next = std::max<int64_t>(next, std::strtoll(s.c_str() + kPrefix.size(), nullptr, 10) + 1);
      }
    }
  }
  return std::string(kPrefix) + std::to_string(next);
}

Vars recurrence_internal::close_body(Graph outer, Subgraph s, Vars operands, const Var& begin,
                                     const Var& end, Attributes attributes, CallOptions options) {
  attributes.set("shared", s.graph.captures().size());
  for (const auto& [from, to] : s.graph.captures()) {
    operands.push_back(outer.var(from));
    s.inputs.push_back(to);
  }
  operands.push_back(begin);
  operands.push_back(end);
  // The finished body stands alone: it must not keep the user's graph alive.
  Graph closed;
  Subgraph whole{closed, {}, {}};
  Vars ends;
  for (const Value v : s.inputs) {
    const ValueType& t = s.graph.type(v);
    ends.push_back(closed.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0]);
    whole.inputs.push_back(ends.back().value());
  }
  for (const Var& v : inline_subgraph(s, closed, ends))
    whole.outputs.push_back(v ? v.value() : Value{});
  return make_recurrence(outer, operands, std::make_shared<Subgraph>(whole), std::move(attributes),
                         std::move(options));
}

RecurrenceResult recurrence(const RecurrenceInputs& in, const RecurrenceBody& body, Site at) {
  Vars all = in.states;
  for (const Vars* list : {&in.xs, &in.per_row}) all.insert(all.end(), list->begin(), list->end());
  all.push_back(in.begin);
  all.push_back(in.end);
  Graph outer = graph_of(all, "recurrence");
  const auto need_rank = [&](const Vars& list, size_t rank, std::string_view what) {
    for (const Var& v : list) {
      if (!v)
        fail(Fault::kArgument, cat("recurrence.", what, ".missing"), "[recurrence] one of the ",
             what, " is an empty Var");
      if (v.rank() < rank)
        fail(Fault::kArgument, cat("recurrence.", what, ".rank"), "[recurrence] ", what,
             " must have rank ", rank, " or more, got ", to_string(v.shape()));
    }
  };
  need_rank(in.states, 1, "states");
  need_rank(in.xs, 2, "xs");
  need_rank(in.per_row, 1, "per_row");
  const Dim steps = !in.xs.empty() ? in.xs[0].dim(0) : in.steps;
  const Dim rows = !in.states.empty()    ? in.states[0].dim(0)
                   : !in.xs.empty()      ? in.xs[0].dim(1)
                   : !in.per_row.empty() ? in.per_row[0].dim(0)
                   : in.begin            ? in.begin.dim(0)
                   : in.end              ? in.end.dim(0)
                                         : in.rows;
  if (steps == Dim(-1) || rows == Dim(-1)) {
    fail(Fault::kArgument, "recurrence.extent.missing",
         "[recurrence] nothing fixes the number of steps or rows; give .steps and .rows");
  }

  Graph g = outer.child();
  const std::string symbol = recurrence_internal::row_symbol_of(outer);
  Subgraph s{g, {}, {}};
  Vars inner[3];
  std::vector<Value> inputs_of[3];
  const Vars* lists[3] = {&in.states, &in.xs, &in.per_row};
  for (int k = 0; k < 3; ++k) {
    for (const Var& v : *lists[k]) {
      Shape shape = v.shape();
      if (k == 1) shape.erase(shape.begin());
      shape[0] = Dim::symbol(symbol);
      inner[k].push_back(g.call(placeholder_op(), {}, {{"dtype", v.dtype()}, {"shape", shape}})[0]);
      inputs_of[k].push_back(inner[k].back().value());
    }
  }
  OpenBody open{symbol, g, steps, rows};
  const RecurrenceStep step = [&] {
    const BodyScope scope(open);
    return body(inner[0], inner[1], inner[2]);
  }();
  if (step.states.size() != in.states.size()) {
    fail(Fault::kArgument, "recurrence.body.states", "[recurrence] the body gives ",
         step.states.size(), " states, but there are ", in.states.size());
  }
  for (const Vars* list : {&step.states, &step.ys, &step.sums}) {
    for (const Var& v : *list) s.outputs.push_back(v ? g.adopt(v, "recurrence").value() : Value{});
  }
  refuse_forgotten_rows(outer, open);
  for (int32_t id = 0; id < g.size(); ++id) {
    const Node& n = g.node(id);
    if (!mixes_rows(g, n, symbol)) continue;
    fail(Fault::kArgument, "recurrence.body.mixed", "[recurrence] ", n.op->name,
         " in the body takes the rows together, but the body is for each row by itself",
         n.site.file == nullptr ? "" : cat("\n  built at ", n.site.file, ":", n.site.line));
  }
  refuse_lost_rows(g, s, symbol, step.states.size() + step.ys.size());
  // What the body asked for by per_step and per_row stands behind what was given.
  Vars xs = in.xs, per_row = in.per_row;
  const auto insert = [&](Vars& list, const std::vector<OpenBody::Operand>& more) {
    for (const OpenBody::Operand& o : more) {
      list.push_back(o.outer);
      inputs_of[&list == &xs ? 1 : 2].push_back(o.inner.value());
    }
  };
  insert(xs, open.per_step);
  insert(per_row, open.per_row);
  for (const std::vector<Value>& part : inputs_of)
    s.inputs.insert(s.inputs.end(), part.begin(), part.end());
  Vars operands = in.states;
  operands.insert(operands.end(), xs.begin(), xs.end());
  operands.insert(operands.end(), per_row.begin(), per_row.end());
  const Attributes attributes{{"states", in.states.size()}, {"xs", xs.size()},
                              {"per_row", per_row.size()},  {"ys", step.ys.size()},
                              {"reverse", in.reverse},      {"origin", in.origin},
                              {"row_symbol", symbol},       {"extent", Shape{steps, rows}}};
  const Vars out =
      recurrence_internal::close_body(outer, std::move(s), std::move(operands), in.begin, in.end,
                                      attributes, {.name = in.name, .site = at});
  const RecurrenceLayout l(outer.node(out.back().value().node));
  RecurrenceResult r;
  const auto take = [&](size_t from, size_t count) {
    return Vars(out.begin() + static_cast<std::ptrdiff_t>(from),
                out.begin() + static_cast<std::ptrdiff_t>(from + count));
  };
  r.ys = take(0, l.ys);
  r.finals = take(l.final_of(0), l.states);
  r.sums = take(l.sum_of(0), l.sums);
  r.trajectories = take(l.trajectory_of(0), l.states);
  return r;
}

namespace {

// A Var of the graph around the open body as an operand of the body, its leading axes those of
// `extent` and its row axis the body's.
Var ask(OpenBody& b, std::vector<OpenBody::Operand>& list, const Var& v, const Shape& extent,
        std::string_view what, Site at) {
  if (!v) fail(Fault::kArgument, cat(what, ".value.missing"), "[", what, "] got an empty Var");
  if (v.graph() == b.graph)
    fail(Fault::kArgument, cat(what, ".value.body"), "[", what, "] got ", v.type().str(),
         " of the body itself; give a Var of the graph around it");
  if (!(v.graph() == b.graph.parent()) && b.graph.parent().has_parent())
    fail(Fault::kArgument, cat(what, ".value.outer"), "[", what, "] got ", v.type().str(),
         " from outside of the body around this one, whose rows are others; write ", what,
         "(v) in that body, and give its result here");
  bool fits = v.rank() >= extent.size();
  for (size_t a = 0; fits && a < extent.size(); ++a) {
    const Dim difference = v.shape()[a] - extent[a];
    fits = !difference.is_constant() || difference.constant() == 0;
  }
  if (!fits)
    fail(Fault::kArgument, cat(what, ".value.dim"), "[", what, "] got ", to_string(v.shape()),
         ", but the first axes must be ", to_string(extent), ", those of the recurrence");
  const Var outer = b.graph.parent().adopt(v, what);
  for (const OpenBody::Operand& o : list) {
    if (o.outer.same(outer)) return o.inner;
  }
  Shape shape(v.shape().begin() + static_cast<std::ptrdiff_t>(extent.size()), v.shape().end());
  shape.insert(shape.begin(), Dim::symbol(b.symbol));
  const Var inner =
      b.graph.call(placeholder_op(), {}, {{"dtype", v.dtype()}, {"shape", shape}}, {.site = at})[0];
  list.push_back({outer, inner});
  return inner;
}

}  // namespace

Var per_row(const Var& v, Site at) {
  OpenBody* b = open_body();
  return b == nullptr ? v : ask(*b, b->per_row, v, {b->rows}, "per_row", at);
}

Var per_step(const Var& v, Site at) {
  OpenBody* b = open_body();
  if (b == nullptr)
    fail(Fault::kArgument, "per_step.value.body",
         "[per_step] there is no step outside of the body of a recurrence; use slice(x, 0, t, t + "
         "1)");
  return ask(*b, b->per_step, v, {b->steps, b->rows}, "per_step", at);
}

void register_recurrence(OpRegistry& r) {
  r.add(
      {.name = "recurrence",
       .sig = "operands[...]:any?* -> results[...]:any*",
       .doc =
           R"(A body, a small graph of one step, run over time. For each row b and each step t of its window [begin_b, end_b), in order, or in
reverse order with reverse:
    states, y_t, sums_t = body(states, x_t, per_row, shared)
Outside of its window a row does not exist for the body: its states stay, its y is 0, what x holds there is never read. begin is 0 and
end is T where absent. Programs call the function recurrence of ops/recurrence.h; the attributes count its operands.

Operands in order: states [B,...], xs [T,B,...], per_row [B,...], shared (values of the outer graph that the body uses), begin and
end [B]:int. Results: ys [T,B,...], the final states, sums over time, and trajectories [T,B,...], the states before each step.)",
       .source = "the gradient is reverse accumulation through time: Werbos (1990)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var h0 = g.placeholder("h0", f32, {"B", 64});
Var wx = g.variable("wx", init::glorot_uniform(g, {12, 64}, 12, 64));
Var wh = g.variable("wh", init::orthogonal(g, 64, 64));
// An Elman network: states go from step to step, wx and wh are found by themselves.
auto elman = recurrence({.states = {h0}, .xs = {x}, .end = lengths},
                        [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                          Var h = tanh(matmul(xs[0], wx) + matmul(s[0], wh));
                          return {.states = {h}, .ys = {h}};
                        });
// elman.ys[0]: [T,B,64]; elman.finals[0]: [B,64]
Vars d = gradients(sum(elman.ys[0]), {wx, wh});  // d[0]: [12,64])",
       .differs =
           {{"JAX lax.scan, ONNX Scan, MXNet foreach",
             "the same idea: states, slices in, slices out. Here each row has a window of steps of "
             "its own, outside of which its states stay, its y is 0 and its x is never read"},
            {"Keras RNN(cell)",
             "a mask there repeats the last output, here y is 0; directions are .reverse, and y "
             "stands at the time of its x"},
            {"lstm_layer here",
             "a row of length 0 gives zeros there; here its final state is its first"}},
       .attributes = {{"states", 0, "carried values", {}, 0},
                      {"xs", 0, "operands with a time axis", {}, 0},
                      {"per_row", 0, "operands with a row axis", {}, 0},
                      {"shared", 0, "other operands", {}, 0},
                      {"ys", 0, "outputs of each step", {}, 0},
                      {"reverse", false, "time runs backwards"},
                      {"origin", "", "the op that this one means"},
                      {"row_symbol", "$rows", "the body's symbol for the number of rows"},
                      {"extent", Shape{}, "[T,B]"}},
       .infer = infer_recurrence,
       .vjp = vjp_recurrence});
}

}  // namespace rondo
