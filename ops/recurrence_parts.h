// A recurrence taken apart, for the passes that make another one of it, and what its builders
// share. Internal to ops/.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>
#include <rondo/ops/recurrence.h>

namespace rondo::recurrence_internal {

inline bool is_recurrence(const Node& n) { return n.op->name == "recurrence"; }

inline bool has_symbol(const Shape& s, const std::string& symbol) {
  return std::any_of(s.begin(), s.end(), [&](const Dim& d) {
    const auto names = d.symbols();
    return std::find(names.begin(), names.end(), symbol) != names.end();
  });
}

// The op that a recurrence means when it is a branch, which may not run at all: nothing leaves it.
inline constexpr std::string_view kBranch = "cond";

inline bool is_branch(const Node& n) {
  const std::string_view origin = n.attributes.text("origin");
  return origin.substr(0, origin.find('.')) == kBranch;  // and its gradients
}

// A symbol for the rows of a body that no operand of the outer graph uses.
std::string row_symbol_of(const Graph& outer);

// Whether a node can be part of a program, given operands that are.
bool fits_program(const Node& n);

// Whether steps of such a body run as one program on the engines: in one, some more elementwise
// work costs no more than outside, and products for many steps are done together.
bool is_program(const Subgraph& body);

// Whether a value of a body is the sum over rows of a value [rows,columns]: [columns].
bool is_sum_of_rows(const Graph& body, Value v);
// Whether it is a' b, the sum over rows of what two values [rows,columns] give as outer products,
// or made of such by `add`: a term of a matrix's gradient.
bool is_outer_sum(const Graph& body, Value v, const std::string& row_symbol);

// Makes a recurrence of a body that was written in a child of `outer`. `s.inputs` stand for
// `operands`: states, xs, per_row. What the body captured becomes its shared operands.
Vars close_body(Graph outer, Subgraph s, Vars operands, const Var& begin, const Var& end,
                Attributes attributes, CallOptions options);

// y [T,B,...], but 0 outside of the windows, whatever stands there: padding is selected away, never
// multiplied away.
Var in_windows(const Var& y, const Var& begin, const Var& end);

// A recurrence taken apart: operands by role, and a body whose inputs are in the same order.
struct Parts {
  Vars states, xs, per_row, shared;
  Var begin, end;
  Subgraph body;  // inputs: states, xs, per_row, shared; outputs: next states, ys, sums
  size_t ys = 0;
  Attributes attributes;

  Parts(const Node& n, const Vars& operands, Subgraph b)
      : body(std::move(b)), attributes(n.attributes) {
    const RecurrenceLayout l(n);
    const auto part = [&](size_t from, size_t count) {
      return Vars(operands.begin() + static_cast<std::ptrdiff_t>(from),
                  operands.begin() + static_cast<std::ptrdiff_t>(from + count));
    };
    states = part(0, l.states);
    xs = part(l.first_x(), l.xs);
    per_row = part(l.first_per_row(), l.per_row);
    shared = part(l.first_shared(), l.shared);
    begin = operands[l.begin()];
    end = operands[l.end()];
    ys = l.ys;
  }

  size_t first_x() const { return states.size(); }
  size_t first_shared() const { return states.size() + xs.size() + per_row.size(); }
  // Adds an operand; `inner` stands for it in the body.
  void add_x(const Var& outer, Value inner) {
    body.inputs.insert(body.inputs.begin() + static_cast<std::ptrdiff_t>(states.size() + xs.size()),
                       inner);
    xs.push_back(outer);
  }
  void add_shared(const Var& outer, Value inner) {
    body.inputs.push_back(inner);
    shared.push_back(outer);
  }

  Vars make(Graph g, const Node& old) {
    attributes.set("states", states.size());
    attributes.set("xs", xs.size());
    attributes.set("per_row", per_row.size());
    attributes.set("shared", shared.size());
    attributes.set("ys", ys);
    Vars operands = states;
    for (const Vars* v : {&xs, &per_row, &shared})
      operands.insert(operands.end(), v->begin(), v->end());
    operands.push_back(begin);
    operands.push_back(end);
    return make_recurrence(std::move(g), operands, std::make_shared<Subgraph>(body), attributes,
                           {.name = old.name, .site = old.site});
  }
};

}  // namespace rondo::recurrence_internal
