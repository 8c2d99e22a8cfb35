// One step of a graph over time, for `Stream`: the graph that was trained on whole sequences
// answers a step at a time.
//
// `streamify` gives time the length 1. What a recurrence starts from, whatever it was, becomes a
// state that goes from step to step; everything else must act on each step by itself, which the
// pass proves axis by axis (ops/stream_axes.h) or refuses, naming the node that needs other steps.
// Results without a time axis that follow from states, a last h say, are those of the steps so far.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo {

/// What becomes of an input of a unit that is streamed.
enum class StreamInput : uint8_t {
  step,     ///< has a time axis: new at each step
  fixed,    ///< weights, and placeholders without time: the same at each step
  lengths,  ///< where rows end: gone, as a stream goes on
};

/// A unit of which a run is one step.
struct Streamified {
  /// Inputs: those of the unit asked about but lengths, then the states. Outputs: those asked for,
  /// then the next states, then the first ones.
  Subgraph unit;
  std::vector<std::string> states;  ///< names: "encoder/state0"
  std::vector<StreamInput> roles;   ///< of the inputs of the unit asked about
  std::string time;                 ///< the symbol of time
};

/// How a unit is streamed.
struct StreamifyOptions {
  std::string time = {};         ///< symbol of time; empty = that of the recurrences
  std::set<Value> lengths = {};  ///< inputs that say where rows end, beside those that windows read
  Binding sizes = {};            ///< numbers for other symbols
};

/// One step of `unit`, a graph without training whose recurrent ops are lowered. Errors:
/// streamify.time.*, streamify.node.*, streamify.recurrence.*.
Streamified streamify(const Subgraph& unit, const StreamifyOptions& options);

/// The symbol of time of a unit: what its recurrences run along, or else the only symbol that is a
/// placeholder's first axis. Error: streamify.time.missing.
std::string time_symbol(const Subgraph& unit);

/// A unit cut in two: what is the same at each step, and the step.
struct StepParts {
  Subgraph fixed;           ///< inputs: those that do not change; outputs: see `kept`
  Subgraph step;            ///< inputs: those that change, then `kept`
  std::vector<Value> kept;  ///< of the unit: what the step reads of the rest, outputs of `fixed`
};

/// `changes`: which inputs do, by their number. The step gives the first `outputs` outputs, the
/// others follow `kept` among those of `fixed`. Error, internal: one of those changes.
StepParts split_fixed(const Subgraph& unit, const std::vector<bool>& changes, size_t outputs);

/// Replaces recurrences of one step, all of whose rows run, by their bodies.
Subgraph inline_steps(const Subgraph& unit, const std::set<int32_t>& nodes);

}  // namespace rondo
