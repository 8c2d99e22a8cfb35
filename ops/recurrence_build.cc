// The functions that programs write recurrences with: a body is opened, written and closed, and
// what would mix its rows is refused.
#include <algorithm>
#include <cstdlib>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/ops/operand.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// A Var of the graph around the body that holds a row for each sequence, used as if it held none:
// it would fit only as long as all rows run.
void refuse_forgotten_rows(const Graph& outer, const OpenBody& body, const std::string& title) {
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
    fail(Fault::kArgument, "recurrence.body.rows", "[", title, "] the body uses ", v.name(), " ",
         v.type().str(), ", which holds a ",
         slices ? "slice for each step" : "row for each sequence", "; write ",
         slices ? "per_step" : "per_row", "(v) there", built_at(v.node().site));
  }
}

[[noreturn]] void refuse_mixed(const Node& n, const std::string& title) {
  fail(Fault::kArgument, "recurrence.body.mixed", "[", title, "] ", n.op->name,
       " in the body takes the rows together, but the body is for each row by itself",
       built_at(n.site));
}

// A value that was made of rows and has none any more, a sum over them, may only be a term of
// `sums`.
void refuse_lost_rows(const Graph& g, const Subgraph& body, const std::string& symbol,
                      size_t of_rows, const std::string& title) {
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
    refuse_mixed(n, title);
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
  s.graph.finish();
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
  const std::string title = title_of("recurrence", in.origin, in.name);
  Vars all = in.states;
  for (const Vars* list : {&in.xs, &in.per_row}) all.insert(all.end(), list->begin(), list->end());
  all.push_back(in.begin);
  all.push_back(in.end);
  Graph outer = graph_of(all, "recurrence");
  const auto need_rank = [&](const Vars& list, size_t rank, std::string_view what) {
    for (const Var& v : list) {
      if (!v)
        fail(Fault::kArgument, cat("recurrence.", what, ".missing"), "[", title, "] one of the ",
             what, " is an empty Var");
      if (v.rank() < rank)
        fail(Fault::kArgument, cat("recurrence.", what, ".rank"), "[", title, "] ", what,
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
    fail(Fault::kArgument, "recurrence.extent.missing", "[", title,
         "] nothing fixes the number of steps or rows; give .steps and .rows");
  }

  Graph g = outer.child(title, at);
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
    return body(inner[0].described("states of a step, as many as first states were given"),
                inner[1].described("inputs of a step, as many as sequences were given"),
                inner[2].described("values of a row, as many as were given per row"));
  }();
  if (step.states.size() != in.states.size()) {
    fail(Fault::kArgument, "recurrence.body.states", "[", title, "] the body gives ",
         step.states.size(), " states, but there are ", in.states.size());
  }
  for (const Vars* list : {&step.states, &step.ys, &step.sums}) {
    for (const Var& v : *list) s.outputs.push_back(v ? g.adopt(v, "recurrence").value() : Value{});
  }
  refuse_forgotten_rows(outer, open, title);
  for (int32_t id = 0; id < g.size(); ++id) {
    if (mixes_rows(g, g.node(id), symbol)) refuse_mixed(g.node(id), title);
  }
  refuse_lost_rows(g, s, symbol, step.states.size() + step.ys.size(), title);
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
  r.ys = take(0, l.ys).described("outputs over time, as many as the body gives");
  r.finals =
      take(l.final_of(0), l.states).described("last states, as many as first ones were given");
  r.sums = take(l.sum_of(0), l.sums).described("sums over time, as many as the body gives");
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

}  // namespace rondo
