// The networks that `rondo bench` times: a table of cells, each as the library's own layer and as
// a cell that a user would write in primitives, run by rnn::layer or unrolled by hand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/precision.h>

namespace rondo::tool {

/// What is timed.
enum class BenchMode {
  infer,  ///< the outputs of all steps
  train,  ///< and the gradients of x and of every weight
  stream  ///< one step of a Stream
};

/// How the cell comes into the graph.
enum class BenchForm {
  fused,    ///< the library's layer
  scan,     ///< a cell of primitives in rnn::layer
  unrolled  ///< the same cell, written out step by step
};

/// What is timed.
struct BenchModel {
  std::string cell;
  int64_t time = 0, batch = 0, input = 0, hidden = 0, layers = 1;
  bool bidirectional = false, ragged = false;
  BenchMode mode = BenchMode::infer;
  DType dtype = f32;                      ///< of x, the weights and y
  Precision precision = Precision::full;  ///< of products with weights
  BenchForm form = BenchForm::fused;

  int64_t directions() const { return bidirectional ? 2 : 1; }
};

/// The cells that there are, in the order of the table.
std::vector<std::string> bench_cells();

/// The steps of each row: T, or spread evenly over (0.25 T, T].
std::vector<int32_t> bench_lengths(const BenchModel& m);

/// A network with its feeds' names: x [T,B,I], lengths [B] where they are ragged, dy [T,B,D*H] in
/// training. Fetches: y and, in training, its gradients by x and by every weight.
struct BenchNetwork {
  Graph graph;
  Var x, lengths, dy;
  Vars fetches;
};
/// Errors: an unknown cell; what a form does not have (lengths of an unrolled loop).
BenchNetwork bench_network(const BenchModel& m);

/// Operations in the products of one run: 2 for each multiplication with a weight, three times
/// that in training.
double bench_flops(const BenchModel& m);

}  // namespace rondo::tool
