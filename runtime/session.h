// A session runs parts of a graph: feeds in, fetched values out. Plans are made on first use and
// kept.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <rondo/autodiff/updaters.h>
#include <rondo/graph/graph.h>
#include <rondo/runtime/arena_pool.h>
#include <rondo/runtime/compile.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/thread_team.h>
#include <rondo/runtime/variable_store.h>

namespace rondo {

/// A placeholder and its value in one run.
using Feed = std::pair<Var, Tensor>;

/// What one run adds to its feeds.
struct RunOptions {
  bool training = false;  ///< dropout drops
  uint64_t seed = 0;      ///< of random ops,
  int64_t step = 0;       ///< and which draw of theirs
};

/// A graph that runs: plans for what was asked for, and the values of its variables.
class Session {
 public:
  /// A new session starts with the graph's initial values: to use what a Trainer or another session
  /// learnt, take trainer.model().session(), or pass its store().
  /// `team`: null = one thread per core. `store`: null = a new one with the graph's initial values.
  explicit Session(Graph graph, CompileOptions options = {},
                   std::shared_ptr<ThreadTeam> team = nullptr,
                   std::shared_ptr<VariableStore> store = nullptr);
  ~Session();

  /// Values of `fetches`, in their order. Errors: a placeholder that is needed and not fed, a
  /// tensor that does not fit its placeholder, symbols that do not agree. Safe from several
  /// threads.
  List<Tensor> run(const Vars& fetches, const std::vector<Feed>& feeds, RunOptions options = {});
  /// The only one.
  Tensor run(const Var& fetch, const std::vector<Feed>& feeds, RunOptions options = {});
  /// Sees what was fetched and the new values of the updates' variables, before these are kept.
  using Inspect =
      std::function<void(const std::vector<Tensor>& fetched, const std::vector<Tensor>& updated)>;
  /// As run; then, when all went well, commits the updates to the store. What `before_commit`
  /// throws leaves the store as it was.
  List<Tensor> run_and_update(const Vars& fetches, const Updates& updates,
                              const std::vector<Feed>& feeds, RunOptions options = {},
                              const Inspect& before_commit = nullptr);

  /// The plan that such a run uses, for inspection.
  std::shared_ptr<const Plan> plan(const Vars& fetches, const Updates& updates = {});

  /// Tells people how such a run goes and why (runtime/explain.h). `sizes`: a number for each
  /// symbol of the placeholders, {{"T", 100}, {"B", 16}}. Over the memory budget it tells what a
  /// run would need. Errors: session.sizes.*.
  std::string explain(const Vars& fetches, const Binding& sizes = {}, const Updates& updates = {});

  const Graph& graph() const { return graph_; }
  const CompileOptions& options() const { return options_; }
  /// The values of the variables.
  VariableStore& variables() { return *store_; }
  const std::shared_ptr<VariableStore>& store() const { return store_; }
  /// The threads that runs use.
  ThreadTeam& team() { return *team_; }

 private:
  struct Entry;
  std::shared_ptr<const Entry> entry(const Vars& fetches, const Updates& updates);
  std::vector<Tensor> make_results(std::span<const TensorType> types);

  Graph graph_;
  CompileOptions options_;
  std::shared_ptr<ThreadTeam> team_;
  std::shared_ptr<VariableStore> store_;
  ArenaPool arenas_;
  ResultPool results_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<const Entry>> entries_;
};

/// How builders on Tensor run on this thread while the scope lives; scopes nest.
class EagerScope {
 public:
  explicit EagerScope(CompileOptions options, std::shared_ptr<ThreadTeam> team = nullptr);
  ~EagerScope();
  EagerScope(const EagerScope&) = delete;
  EagerScope& operator=(const EagerScope&) = delete;

  const CompileOptions& options() const { return options_; }
  ThreadTeam* team() const { return team_.get(); }

 private:
  CompileOptions options_;
  std::shared_ptr<ThreadTeam> team_;
  const EagerScope* outer_;
};

}  // namespace rondo
