// Data sets of labelled sequences of different lengths, and the batches that training and
// prediction read.
//
// A batch is time-major and padded to its longest row, so rows of similar length belong together.
// What is drawn at random (a split, an epoch's batches) is a pure function of a seed: the same seed
// gives the same batches on any machine, and training that was stopped finds its place again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/tensor.h>

namespace rondo {

/// One case: frames in order of time, and what they are.
struct Sequence {
  Tensor values;      ///< [T,I] f32, T of its own
  int64_t label = 0;  ///< index into the data set's classes
};

/// Some rows of a data set as tensors. B = rows.size(), T = the length of the longest.
struct SequenceBatch {
  std::vector<size_t> rows;  ///< which sequences of the data set
  Tensor values;             ///< [T,B,I] f32; 0 past the end of a row
  Tensor lengths;            ///< [B] i32
  Tensor labels;             ///< [B] i32
};

/// A batch to come: the sequences that it will hold, by index.
using Rows = std::vector<size_t>;

/// Labelled sequences of any lengths, in memory.
class SequenceDataset {
 public:
  /// `classes`: the name of each label. Errors: a sequence that is not [T,I] f32, two that differ
  /// in I, a label without a class.
  SequenceDataset(std::vector<Sequence> sequences, std::vector<std::string> classes);

  size_t size() const { return sequences_.size(); }
  const Sequence& operator[](ListIndex i) const { return sequences_[i]; }
  int64_t length(ListIndex i) const { return sequences_[i].values.dim(0); }
  int64_t features() const { return features_; }  ///< I; 0 while there is no sequence
  const std::vector<std::string>& classes() const { return classes_; }

  /// Two data sets: what is left, and the `fraction` that was drawn from each class (rounded to
  /// whole sequences). Both keep the order of this one. 0 <= fraction <= 1.
  std::pair<SequenceDataset, SequenceDataset> split(double fraction, uint64_t seed) const;

  /// Mean of each feature over all frames. -> [I] f32. Error: there is no frame.
  Tensor mean() const;
  /// Standard deviation (of the population) of each feature over all frames; 1 for one that never
  /// changes, so that it can be divided by. -> [I] f32. Error: there is no frame.
  Tensor deviation() const;

  /// Every sequence once, in batches of `size` (the last may be smaller), the shortest first.
  std::vector<Rows> batches(int64_t size) const;
  /// Every sequence once, shuffled by (seed, epoch). Rows are drawn, sorted by length within pools
  /// of several batches, cut into batches of `size` (one may be smaller), and the batches shuffled.
  std::vector<Rows> batches(int64_t size, uint64_t seed, int64_t epoch) const;

  /// The sequences as one padded batch.
  SequenceBatch batch(const Rows& rows) const;

 private:
  int64_t features_ = 0;
  List<Sequence> sequences_;
  std::vector<std::string> classes_;
};

}  // namespace rondo
