// What an updater or a schedule remembers from step to step: variables of the graph, each with the
// node of its next value, so that a checkpoint has all of it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <rondo/autodiff/updaters.h>
#include <rondo/graph/graph.h>

namespace rondo {

/// What one updater remembers, as variables of its graph, while its update is built.
class UpdaterState {
 public:
  /// `name`: what names of shared variables begin with. `loss`: of this update; may be none.
  UpdaterState(Graph graph, std::string name, Var loss)
      : graph_(std::move(graph)), name_(std::move(name)), loss_(std::move(loss)) {}

  /// The variable's present value; it is found again in a graph that was loaded, else made. Error
  /// `updater.state.type`: there is something else of that name.
  Var variable(const std::string& name, DType dtype, const Shape& shape, double initial);
  /// Its value after this step.
  void set(const Var& variable, const Var& value) { updates_.push_back({variable, value}); }

  /// A number (f64) that all variables share, "NAME/which", after this step: next(present one).
  /// However often it is asked for, it goes one step.
  Var shared(std::string_view which, double initial, const std::function<Var(const Var&)>& next);
  /// The same as a pair of what is and `set`.
  Var shared_variable(std::string_view which, double initial) {
    return variable(cat(name_, "/", which), f64, {}, initial);
  }
  /// Updates made, this one included; f64, exact for longer than any training.
  Var count();
  /// Before this one.
  Var count_before();

  const Var& loss() const { return loss_; }
  Graph graph() const { return graph_; }
  /// All next values so far.
  Updates& updates() { return updates_; }

 private:
  Graph graph_;
  std::string name_;
  Var loss_;
  Updates updates_;
  std::map<std::string, Var, std::less<>> shared_;
};

/// The rate of this update, an f64 scalar, t = updates before it. `state`: where a schedule keeps
/// what it remembers; null: it may not.
Var rate_of(const Schedule& schedule, const Var& t, UpdaterState* state);
/// Whether the rate is the same number always.
bool is_constant(const Schedule& schedule);

}  // namespace rondo
