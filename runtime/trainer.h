// Training: gradients, clipping and updates of a loss, batch after batch.
//
// All that a training is made of is plain data: variables (those of the updater among them), a seed
// and a place in the data. A trainer that was saved and loaded goes on from there with the same
// bits as one that never stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <rondo/autodiff/updaters.h>
#include <rondo/graph/graph.h>
#include <rondo/runtime/compile.h>
#include <rondo/runtime/data.h>
#include <rondo/runtime/model.h>
#include <rondo/runtime/progress.h>
#include <rondo/runtime/session.h>

namespace rondo {

/// What is trained, by which updater.
struct TrainerConfig {
  BatchInputs inputs = {};  ///< which placeholders fit() feeds
  Var logits = {};          ///< [B,V], for accuracy and predict(); none: neither
  Updater updater = Adam{};
  Regularization regularization = {};
  // Gradients are shortened before that is added to them, in this order; 0 = off:
  double clip_value = 0;      ///< each element to [-clip_value, clip_value],
  double clip_each_norm = 0;  ///< each variable's gradient to this length,
  double clip_norm = 0;       ///< all gradients, taken together, to this length
  uint64_t seed = 0;  ///< of the order of the data and of dropout (Graph::set_seed: of weights)
  int threads = 0;    ///< 0 = one per core; results have the same bits for any number
  CompileOptions compile = {};
  std::vector<std::shared_ptr<Listener>> listeners = {};
};

/// How long fit() trains, and on what it evaluates.
struct FitOptions {
  /// Training ends when so many are complete, those of earlier fits and programs counted.
  int64_t epochs = 1;
  int64_t batch_size = 32;
  const SequenceDataset* validation = nullptr;  ///< is evaluated after each epoch
};

/// How far a training has come.
struct TrainingState {
  int64_t epoch = 0;    ///< epochs that are complete,
  int64_t batch = 0;    ///< and batches of the next one,
  int64_t batches = 0;  ///< of so many
  int64_t step = 0;     ///< updates in all
};

/// Means over the sequences of a data set.
struct Scores {
  double loss = 0;
  std::optional<double> accuracy = {};  ///< none without logits
};

/// Trains a graph's variables on a data set, and can stop and go on as if it had not stopped.
class Trainer {
 public:
  /// `loss`: a float scalar of `graph`, a mean over the rows of a batch. Adds its gradients by the
  /// graph's trainable variables, and the updater's own variables, to the graph. Its steps also
  /// keep what layers remember (state_updates), such as batch_norm's running values.
  /// Errors: those of gradients(), which name the line of this call; trainer.*.
  Trainer(Graph graph, Var loss, TrainerConfig config = {}, Site at = Site::here());

  /// Trains on `data`. Errors: data that is empty or does not fit the graph, a loss that is
  /// not finite, or a step that would make a variable so (it is not made, and variables stay as
  /// they were), another number of batches than when an epoch was begun that is to be finished.
  void fit(const SequenceDataset& data, const FitOptions& options);
  /// One update on anything that the graph can be fed. -> the loss before it.
  double update(const std::vector<Feed>& feeds);
  /// Loss and accuracy, without dropout.
  Scores evaluate(const SequenceDataset& data, int64_t batch_size = 64) const;
  /// The class of each sequence.
  std::vector<int64_t> predict(const SequenceDataset& data) const { return model_.predict(data); }

  /// The plan of an update, for inspection (runtime/explain.h).
  std::shared_ptr<const Plan> plan() { return model_.session().plan(fetches_, updates_); }
  /// Tells people how an update goes and why, as Session::explain does: forward, gradients and the
  /// updater. `sizes`: a number for each symbol of the placeholders, {{"T", 100}, {"B", 16}}.
  std::string explain(const Binding& sizes = {}) {
    return model_.session().explain(fetches_, sizes, updates_);
  }

  /// The network under training: for predictions and evaluation.
  Model& model() { return model_; }
  const Model& model() const { return model_; }
  const Var& loss() const { return loss_; }
  const TrainerConfig& config() const { return config_; }
  const TrainingState& state() const { return state_; }

  /// The graph as it was given, without what training added to it.
  bool is_of_model(const Var& v) const { return v.value().node < model_nodes_; }
  /// Variables that the updater added.
  Vars updater_variables() const;
  /// Goes on from here; the variables' values are in the session's store.
  void resume(const TrainingState& state) { state_ = state; }

 private:
  struct Totals;
  std::vector<Tensor> step(const std::vector<Feed>& feeds);

  int32_t model_nodes_;
  Model model_;
  Var loss_;
  TrainerConfig config_;
  Updates updates_;
  Vars fetches_;  // loss, and prediction where there is one
  TrainingState state_;
};

}  // namespace rondo
