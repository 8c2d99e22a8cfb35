// Random recurrent cells and how they are run over time: as a layer, as a recurrence of its own, or
// written out step by step; one or two of them, one on the other.
//
// A cell is a list of formulas, each drawn from the table `kinds()`; it is applied to whatever
// stands for its states and inputs, once in a body, or once a step. The same seed gives the same
// program in every dtype, fed with numbers that f32 holds.
#pragma once

#include <string>
#include <vector>

#include "dice.h"

#include <rondo/graph/graph.h>
#include <rondo/ops/rnn_config.h>
#include <rondo/runtime/session.h>

namespace rondo::test {

/// What is drawn before the cell is, and told when something fails.
struct CellConfig {
  enum class Form { kLayer, kRecurrence, kUnrolled };
  Form form = Form::kLayer;
  DType dtype = f64;
  int64_t steps = 1, rows = 1;
  bool symbols = false;     ///< "T" and "B" stand in the graph
  bool reductions = false;  ///< along rows too, which the engine does not take
  bool kinks = false;       ///< where rounding decides which side a value is on; f64 only
  size_t layers = 1;
  LSTMDirectionMode direction = FWD;
  RnnDataFormat format = RnnDataFormat::TNS;
  bool lengths = false, begins = false, poison = false;  ///< poison: NaN past the ends

  std::string str() const;
};

/// A graph, what it is fed, and what is asked of it.
struct CellProgram {
  CellConfig config;
  Graph g;
  std::vector<Feed> feeds;
  Vars outputs, sums;    ///< take part in the loss; sums are over time
  Var loss;              ///< the sum of all outputs, each times numbers that are fed
  Vars leaves, weights;  ///< what gradients are taken by; leaves hold a value for each row
  bool values = true;    ///< whether the outputs are fetched too, not gradients alone
  Vars inner;            ///< values inside of an unrolled loop
  Binding sizes;
};

/// The dtype in which a seed's program is tried.
DType dtype_of_cell(uint64_t seed);
/// The program of a seed, in any dtype. `by_hand`: without any layer or recurrence, each step
/// written out, windows and directions too (where T is not 0); NaN stands nowhere then.
CellProgram random_cell_program(uint64_t seed, DType dtype, bool by_hand = false);

}  // namespace rondo::test
