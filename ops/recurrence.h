// `recurrence`: a small graph, the body, run over time. Every recurrent op, built in or the user's
// own, becomes one.
//
// For each row b and each step t of its window [begin_b, end_b), in order (or in reverse order):
//     states, y_t, sums_t = body(states, x_t, per_row, shared)
// Outside its window a row does not exist for the body: its states stay, its y is 0, and what x
// holds there (NaN included) is never read. `sums` add up what the body gives at each step, over
// time.
//
// The gradient of a recurrence is a recurrence in the other direction, whose body is the gradient
// of the body; so derivatives of any order exist.
#pragma once

#include <functional>
#include <string>

#include <rondo/graph/graph.h>

namespace rondo {

/// What a recurrence runs on.
struct RecurrenceInputs {
  Vars states = {};   ///< first values, each [B,...]
  Vars xs = {};       ///< one slice a step, each [T,B,...]
  Vars per_row = {};  ///< the same at each step, one slice a row, each [B,...]
  Var begin = {};     ///< [B]:int, first step of each row; none = 0
  Var end = {};       ///< [B]:int, one past the last step of each row; none = T
  bool reverse = false;
  std::string origin =
      {};          ///< the op that this one means, e.g. "lstm_layer"; a vendor's kernel matches it
  Dim steps = -1;  ///< T and B, needed only when nothing above fixes them
  Dim rows = -1;
  std::string name = {};
};

/// What the body gives: next states, the outputs of this step, and terms that are added over time.
struct RecurrenceStep {
  Vars states;
  Vars ys = {};
  Vars sums = {};
};

/// What a recurrence gives.
struct RecurrenceResult {
  Vars ys;      ///< [T,B,...]
  Vars finals;  ///< the states after the last step of each row
  Vars sums;
  Vars trajectories;  ///< [T,B,...]: the states before each step, 0 outside the window
};

/// Inside the body, per-step values and states have the row dimension `rows` as a symbol of its
/// own; Vars of the outer graph that it uses become shared operands by themselves.
using RecurrenceBody =
    std::function<RecurrenceStep(const Vars& states, const Vars& xs, const Vars& per_row)>;

/// Runs `body` over time; see op `recurrence` in docs/ops.md.
RecurrenceResult recurrence(const RecurrenceInputs& inputs, const RecurrenceBody& body,
                            Site at = Site::here());

/// Inside a body: the row of this sequence of a Var [B,...] of the graph around it, the same at
/// each step, as [B,...] in the body. Outside of any body: v itself.
Var per_row(const Var& v, Site at = Site::here());
/// Inside a body: what a Var [T,B,...] of the graph around it holds at this step, as [B,...].
/// Error: outside of any body.
Var per_step(const Var& v, Site at = Site::here());

/// Whether a node of a body takes rows together: along their axis, or by index. A body is for each
/// row by itself, and `recurrence` refuses such nodes.
bool mixes_rows(const Graph& body, const Node& n, const std::string& row_symbol);

/// How the operands and results of a recurrence node are laid out: states, xs, per_row, shared,
/// begin, end; and ys, finals, sums, trajectories.
struct RecurrenceLayout {
  size_t states, xs, per_row, shared, ys, sums;
  explicit RecurrenceLayout(const Node& n);
  RecurrenceLayout(const Attributes& attributes, const Subgraph& body);

  size_t first_x() const { return states; }
  size_t first_per_row() const { return states + xs; }
  size_t first_shared() const { return states + xs + per_row; }
  size_t body_inputs() const { return states + xs + per_row + shared; }
  size_t begin() const { return body_inputs(); }
  size_t end() const { return body_inputs() + 1; }
  size_t final_of(size_t s) const { return ys + s; }
  size_t sum_of(size_t s) const { return ys + states + s; }
  size_t trajectory_of(size_t s) const { return ys + states + sums + s; }
  size_t outputs() const { return ys + 2 * states + sums; }
};

/// Makes a recurrence node from a finished body (inputs in the order of the layout). Passes use it.
Vars make_recurrence(Graph g, const Vars& operands, std::shared_ptr<const Subgraph> body,
                     Attributes attributes, CallOptions options = {});

}  // namespace rondo
