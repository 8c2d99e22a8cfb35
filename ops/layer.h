// Layers from cells: a cell is one step, written by the user; `layer`
// runs it over time with all that the built-in layers have: lengths, directions, data formats,
// gradients.
//
// The loop is one `recurrence` node, the same that the built-in layers become, so a cell of one's
// own is hoisted, fused and run by the same kernels.
#pragma once

#include <functional>
#include <string>

#include <rondo/graph/graph.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn {

/// What a cell gives for one step.
struct Step {
  Var output;       ///< y_t [B,...]; empty: the layer has no y
  Vars state = {};  ///< the next states, in the order and shapes of the first ones
};

/// One step of a recurrent layer: a function of x_t [B,...] and the states, each [B,...]. It may
/// use any Var of the outer graph; one that holds a row for each sequence by `per_row(v)`, one that
/// holds a slice for each step too by `per_step(v)` (ops/recurrence.h).
using Cell = std::function<Step(Var x, Vars state)>;

/// How a cell is run over time.
struct LayerOptions {
  Var lengths = {};  ///< [B]:int, steps of each row, in [0, T]; none = T
  RnnDataFormat data_format = RnnDataFormat::TNS;  ///< of x and y
  LSTMDirectionMode direction_mode = FWD;
  Cell backward = {};       ///< the BIDIR modes: the cell of the other direction, else unused
  Vars backward_init = {};  ///< its first states; empty = those of the forward cell
  std::string name = {};
};

/// What a cell over time gives.
struct LayerResult {
  Var y;      ///< [T,B,...] in the layout of x; empty where the cell has no output
  Vars last;  ///< the states after each row's last step, [B,...]; in the BIDIR modes [2,B,...]
};

/// Runs a cell over time, from the states `init`, each [B,...]:
///     y_t, states = cell(x_t, states)      for each row, over its steps
/// x: [T,B,...] (TNS), [B,T,I] (NTS) or [B,I,T] (NST). BWD, and the backward half of the BIDIR
/// modes, start at each row's own last step; y_t stands at t. Past a row's end y is 0, and what x
/// holds there (NaN included) reaches no result and no gradient; a row of length 0 keeps its first
/// states. y: BIDIR_CONCAT joins the last axis, BIDIR_SUM adds, BIDIR_EXTRA_DIM gives [T,2,B,...]
/// (TNS only). Errors: layer.x.rank, layer.init.*, layer.cell.state, layer.cell.output,
/// layer.backward.missing, layer.lengths.range (when it runs),
/// layer.data_format.direction. Gradients: x, init, and whatever else the cell uses.
LayerResult layer(const Var& x, const Vars& init, const Cell& cell,
                  const LayerOptions& options = {}, Site at = Site::here());

/// Inside a cell: the next state, each element of which stays the last one with probability `rate`
/// in training; otherwise the mean, rate * last + (1 - rate) * next. Source: Krueger et al. (2017).
Var zoneout(const Var& next, const Var& last, double rate, Site at = Site::here());

/// First states for layer: zeros [B,width] of x's dtype, B taken from x in its format.
/// Error: zero_state.width.range.
Var zero_state(const Var& x, Dim width, RnnDataFormat format = RnnDataFormat::TNS,
               Site at = Site::here());

}  // namespace rondo::rnn
