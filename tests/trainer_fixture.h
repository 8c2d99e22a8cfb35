// What the tests of trainers and of checkpoints share: a network that is small enough to be quick,
// data that it can learn, and a folder for what is saved.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/ops/loss.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/random.h>
#include <rondo/runtime/checkpoint.h>
#include <rondo/runtime/trainer.h>

namespace rondo {

using test::error_of;

// Three classes that differ in the mean of their first feature; lengths 1 to 9.
inline SequenceDataset three_tones(size_t n = 42, uint64_t seed = 3) {
  std::vector<Sequence> s;
  for (size_t i = 0; i < n; ++i) {
    Tensor values(f32, {static_cast<int64_t>(1 + i * 5 % 9), 2});
    for (int64_t k = 0; k < values.size(); ++k) {
      const double noise = uniform_at(seed, i, 0, static_cast<uint64_t>(k)) - 0.5;
      const double tone = k % 2 == 0 ? static_cast<double>(i % 3) - 1 : 0;
      values.mutable_data<float>()[k] = static_cast<float>(tone + noise);
    }
    s.push_back({values, static_cast<int64_t>(i % 3)});
  }
  return {std::move(s), {"low", "middle", "high"}};
}

struct Network {
  Graph g;
  BatchInputs inputs;
  Var logits, loss;
};

inline Network network(DType dtype = f32) {
  Network n;
  n.g.set_seed(11);
  n.inputs = {.values = n.g.placeholder("x", dtype, {"T", "B", 2}),
              .lengths = n.g.placeholder("lengths", i32, {"B"}),
              .labels = n.g.placeholder("tone", i64, {"B"})};
  const auto lstm = rnn::lstm_layer(
      nn::dropout(n.inputs.values, 0.1), {.max_ts_length = n.inputs.lengths},
      rnn::lstm_layer_weights(n.g, "lstm", 2, 5, BIDIR_CONCAT, dtype),
      {.direction_mode = BIDIR_CONCAT, .ret_full_sequence = false, .ret_last_h = true});
  const Var h = rnn::join_directions(lstm.last_h);
  n.logits = nn::dense(nn::dropout(h, 0.2), 3, "tones");
  n.loss = loss::softmax_cross_entropy(n.logits, n.inputs.labels);
  return n;
}

inline Trainer trainer(const Network& n, int threads = 1,
                       Updater updater = Adam{.learning_rate = 0.01},
                       std::vector<std::shared_ptr<Listener>> listeners = {}) {
  return {n.g,
          n.loss,
          {.inputs = n.inputs,
           .logits = n.logits,
           .updater = updater,
           .clip_norm = 0.5,
           .seed = 7,
           .threads = threads,
           .listeners = std::move(listeners)}};
}

class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() / cat("rondo-trainer-", getpid(), "-", count++);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// All that a training has become: weights, moments, counters.
inline std::string saved(const Trainer& t, const Folder& folder) {
  save(t, folder / "state.rondo");
  return bytes_of(folder / "state.rondo");
}

// Hears everything.
struct Notes final : Listener {
  std::vector<TrainingFacts> batches, epochs;
  int begun = 0, ended = 0;
  std::function<void(const TrainingFacts&)> at_batch = {};

  void on_begin(const TrainingFacts&) override { ++begun; }
  void on_batch(const TrainingFacts& f) override {
    batches.push_back(f);
    if (at_batch) at_batch(f);
  }
  void on_epoch(const TrainingFacts& f) override { epochs.push_back(f); }
  void on_end(const TrainingFacts&) override { ++ended; }
};

}  // namespace rondo
