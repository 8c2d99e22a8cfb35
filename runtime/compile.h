// From a user's graph to what is run: the passes, in their order. A pass is a function graph ->
// graph.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/graph/rewrite.h>
#include <rondo/runtime/precision.h>

namespace rondo {

/// How a graph becomes a plan.
struct CompileOptions {
  std::string backend = "cpu";
  bool optimize = true;  ///< false: only what is needed to run at all
  bool relaxed = true;   ///< also rewrites that keep values within rounding
  /// This kernel runs every call that it supports, whatever others cost. Where it supports none,
  /// others run all: explain() says so and why, BoundPlan::uses_kernel asks.
  std::string kernel = {};
  /// One step of a stream: no work for all steps at once is taken out of loops, and no kernel is
  /// chosen that allocates or locks.
  bool one_step = false;
  Precision precision = Precision::full;  ///< of the weights of recurrences
  /// Gradients run their loops again, a segment of time after the other, rather than that what they
  /// need is kept for all steps: in the place of an LSTM's 6 H numbers a step and row, 2 H a
  /// segment and 6 H for the steps of one, for a third more time. The gradient's part then packs
  /// the matrices of both loops, so that it saves nothing where these are larger than what was
  /// kept.
  bool recompute = false;
  /// Bytes of a run's arena; 0 = no limit. Where sizes need more, a run is made as with
  /// `recompute`, if that is enough, else it is refused.
  size_t memory_budget = 0;

  bool operator==(const CompileOptions&) const = default;
};

/// What happened to each pass: its name, nodes before and after, what fired.
struct PassReport {
  std::string pass;
  int nodes_before = 0, nodes_after = 0;
  std::string note = {};
  std::string meaning = {};  ///< of what the note names
};

/// The passes fuse_elementwise and fuse_epilogue, where the backend has a kernel for what they
/// make.
Subgraph fuse(const Subgraph& s, const CompileOptions& options, RewriteLog* log = nullptr);
Subgraph follow_products(const Subgraph& s, const CompileOptions& options,
                         RewriteLog* log = nullptr);

/// Ready to be streamed: composite ops lowered, loops free of what nobody reads, and nothing of
/// training left (runtime/stream.h).
Subgraph lower_for_steps(const Subgraph& unit, const CompileOptions& options);

/// The bodies in the place of loops of one step that no kernel runs whole. All shapes are numbers.
Subgraph inline_loops(const Subgraph& unit, const CompileOptions& options);

/// Runs all passes on the part of the graph that `unit.outputs` need. The order: roll unrolled
/// loops, lower what has no kernel, merge equal nodes, unite loops that carry the same states,
/// prune, simplify, sink and hoist work out of loops, prune, simplify and merge again, let
/// loops keep what their gradients need, absorb into loops what only they read, let gradients run
/// loops again where `recompute` asks for it, fuse elementwise ops, then products with what follows
/// them, drop dead code.
Subgraph optimize(const Subgraph& unit, const CompileOptions& options,
                  std::vector<PassReport>* report = nullptr);

}  // namespace rondo
