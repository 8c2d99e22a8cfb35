// How training speaks: the library writes nowhere by itself, it tells its listeners.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>

namespace rondo {

/// Where training stands.
struct TrainingFacts {
  int64_t epoch = 0, epochs = 0;   ///< the one that runs or has just ended, from 1; of how many
  int64_t batch = 0, batches = 0;  ///< done in this epoch; of how many
  int64_t step = 0;                ///< updates since training began, in earlier programs too
  double loss = 0;                 ///< mean over the sequences of this epoch so far
  std::optional<double> accuracy = {};             ///< the same, with dropout; none without logits
  std::optional<double> validation_loss = {};      ///< after the latest epoch that ended,
  std::optional<double> validation_accuracy = {};  ///< where there is validation data
  double sequences_per_second = 0;                 ///< since this fit() began
  double seconds_left = 0;                         ///< of it
};

/// Override what you want to hear. Listeners are called by the thread that trains, and may save the
/// trainer; an exception of theirs ends the training and reaches the caller of fit().
class Listener {
 public:
  virtual ~Listener() = default;
  /// Before the first batch.
  virtual void on_begin(const TrainingFacts&) {}
  /// After each batch.
  virtual void on_batch(const TrainingFacts&) {}
  /// After each epoch, validated.
  virtual void on_epoch(const TrainingFacts&) {}
  /// After the last batch.
  virtual void on_end(const TrainingFacts&) {}
};

/// Shows progress on stderr: one line with a bar that is kept up to date on a terminal, else some
/// ten plain lines over the whole training.
std::shared_ptr<Listener> progress_bar();
/// The same anywhere. `columns`: width of the terminal that `out` is; 0 = plain lines.
std::shared_ptr<Listener> progress_bar(std::ostream& out, int columns = 0);

}  // namespace rondo
