// A graph that is used: the placeholders that a batch of sequences feeds, the value that answers,
// and a session with the weights. What a trainer trains, a file keeps and a program predicts with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/data.h>
#include <rondo/runtime/session.h>

namespace rondo {

/// The placeholders that a batch feeds; batches are converted to their dtypes.
struct BatchInputs {
  Var values = {};   ///< [T,B,I] float
  Var lengths = {};  ///< [B] int; none: rows are taken to be as long as they are padded
  Var labels = {};   ///< [B] int; needed by a loss, not by a prediction
};

/// A classifier of sequences: a session, what it is fed and what it gives.
class Model {
 public:
  /// `logits`: [B,V], a score for each class. Errors: an input that is no placeholder of the
  /// session's graph or has another rank or kind of dtype; logits that are no matrix.
  Model(std::shared_ptr<Session> session, BatchInputs inputs, Var logits);

  const Graph& graph() const { return session_->graph(); }
  Session& session() const { return *session_; }
  const BatchInputs& inputs() const { return inputs_; }
  const Var& logits() const { return logits_; }
  /// Index of the largest logit: [B] i64; the first of ties.
  const Var& prediction() const { return prediction_; }

  /// Whatever its maker wants to be kept with it in a file: names of classes, a date, predictions.
  Attributes& notes() { return notes_; }
  const Attributes& notes() const { return notes_; }

  /// What a batch feeds.
  std::vector<Feed> feeds(const SequenceBatch& batch) const;
  /// The class of each sequence. Rows of a batch have similar lengths, whatever the order of
  /// `data`.
  std::vector<int64_t> predict(const SequenceDataset& data, int64_t batch_size = 64) const;

 private:
  std::shared_ptr<Session> session_;
  BatchInputs inputs_;
  Var logits_, prediction_;
  Attributes notes_;
};

/// How often which class was taken for which.
class Confusion {
 public:
  /// `predicted`: a class for each sequence of `data`. Errors: another count, no such class.
  Confusion(const SequenceDataset& data, std::span<const int64_t> predicted);

  int64_t count(size_t truth, size_t predicted) const { return counts_.at(truth).at(predicted); }
  double accuracy() const;  ///< share that is right; NaN of nothing
  /// A table for people: a row for each true class, a column for each predicted one, the recall.
  std::string str() const;

 private:
  std::vector<std::string> classes_;
  std::vector<std::vector<int64_t>> counts_;
};

std::ostream& operator<<(std::ostream& s, const Confusion& c);

}  // namespace rondo
