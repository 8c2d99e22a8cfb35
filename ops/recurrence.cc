#include <rondo/ops/recurrence.h>

#include <algorithm>

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
  // Sums of these wrap around where they are larger than anything that could be counted.
  const auto most = static_cast<int64_t>(c.count() + body.outputs.size());
  for (const char* list : {"states", "xs", "per_row", "shared", "ys"}) {
    if (const int64_t n = c.attributes().integer(list); n > most)
      c.refuse("operands", "arity", list, " is ", n, ", but there are ", c.count(),
               " operands and the body has ", body.outputs.size(), " outputs");
  }
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

  const std::string origin = c.text("origin") + ".gradient";
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

}  // namespace

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
The functions cond, while_loop and scan build one too (docs/control.md), and so does rnn::layer (docs/layers.md).

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
