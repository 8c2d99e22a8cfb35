// A trained graph that answers step by step: its states are kept between calls, and a step
// allocates nothing and takes no lock, so it can stand in an audio callback.
//
//   Stream stream(trainer.model().session(), {y});
//   std::span<float> x = stream.input<float>(frames);       // one step: [1,B,I]
//   std::span<const float> now = stream.output<float>(y);   // [1,B,H], or [B,H] of what has no
//   time for (...) { /* write x */ stream.step(); /* read now */ }
//
// What y is after n steps is what the batch run gives for the last of the first n. ops/streamify.h
// says what can be streamed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/model.h>
#include <rondo/runtime/session.h>

namespace rondo {

/// How a graph is streamed.
struct StreamOptions {
  std::string time = {};  ///< symbol of time; empty = that of the recurrences
  Binding sizes = {};     ///< numbers for other symbols, {{"B", 4}}; 1 where not named or fed
  std::vector<Feed> feeds = {};  ///< placeholders without time, the same at each step
  Var lengths = {};  ///< rows' lengths, where no recurrence reads them: a stream does not end
  int threads = 1;   ///< that share the work of a step; 0 = one per core
};

/// What a stream carries from step to step, by name.
using StreamState = std::map<std::string, Tensor, std::less<>>;

/// A graph that runs a step at a time. Not for several threads at once; fork() gives each its own.
class Stream {
 public:
  /// Compiles one step of `outputs` with the values that the session's variables have now. Errors:
  /// what needs other steps (streamify.*), a placeholder without time that was not fed, a kernel
  /// that would allocate.
  Stream(Session& session, const Vars& outputs, const StreamOptions& options = {});
  /// The model's logits.
  explicit Stream(const Model& model, const StreamOptions& options = {});
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  /// Another stream with the same plan and weights, and a copy of the state.
  Stream fork() const;

  /// Where the next step of a placeholder is written, its time of length 1. Stays where it is.
  /// Errors: stream.input.unknown, stream.input.dtype.
  template <class T>
  std::span<T> input(const Var& placeholder) {
    const Tensor& t = input_of(placeholder, dtype_of<T>);
    return {const_cast<T*>(t.data<T>()), static_cast<size_t>(t.size())};
  }
  /// What the last step gave; zeros before the first. Stays where it is. Errors:
  /// stream.output.unknown, stream.output.dtype.
  template <class T>
  std::span<const T> output(const Var& y) const {
    return output_of(y, dtype_of<T>).template values<T>();
  }
  /// The shape of an input's or output's step.
  const Dims& dims(const Var& v) const;

  /// From inputs and states to outputs and next states. Allocates nothing, takes no lock. An Error
  /// (an index out of range) leaves the states as they were.
  void step();
  /// For one input and one output: writes, steps, copies.
  Tensor step(const Tensor& x);

  /// The states of before the first step.
  void reset();
  /// The same for one row of the batch. Error: stream.row.range, stream.row.steps.
  void reset(int64_t row);
  /// A copy of the states, to go on later or elsewhere.
  StreamState state() const;
  /// Goes on from there. Errors: stream.state.*; then nothing has changed.
  void set_state(const StreamState& state);

  /// Goes over to the values that the variables have now, and to other feeds; states stay. False:
  /// nothing was new.
  bool refresh(const std::vector<Feed>& feeds = {});

  /// How a step runs and why (runtime/explain.h).
  std::string explain() const;
  /// The plan of a step, and the bytes that this stream holds beside weights.
  const BoundPlan& plan() const;
  size_t bytes() const;

 private:
  struct Program;
  struct Weights;
  struct Run;
  explicit Stream(std::shared_ptr<const Program> program);
  const Tensor& input_of(const Var& v, DType wanted) const;
  const Tensor& output_of(const Var& v, DType wanted) const;
  void place();

  std::shared_ptr<const Program> program_;
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<Run> run_;
};

}  // namespace rondo
