// A layer with gradients by all it has, for tests of how it is computed.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "check_gradient.h"

#include <rondo/rondo.h>

namespace rondo::test {

/// An LSTM layer with its gradients, and what it is fed.
struct Trained {
  Graph g;
  Vars fetches;
  std::vector<Feed> feeds;
};
inline Trained trained_lstm(int64_t rows, int64_t hidden, bool ragged, bool normalised = false) {
  Trained t;
  const Var x = t.g.placeholder("x", f32, {7, rows, 40});
  Var lengths, y;
  if (ragged) {
    lengths = t.g.placeholder("lengths", i32, {rows});
    std::vector<int32_t> n;
    for (int64_t r = 0; r < rows; ++r) n.push_back(static_cast<int32_t>((r * 3 + 7) % 8));
    t.feeds.emplace_back(lengths, Tensor::of<int32_t>({rows}, n));
  }
  if (normalised) {
    y = rnn::lstm_layer_norm(x, {.lengths = lengths},
                             rnn::lstm_layer_norm_weights(t.g, "l", 40, hidden, FWD, f32))
            .y;
  } else {
    y = rnn::lstm_layer(x, {.max_ts_length = lengths},
                        rnn::lstm_layer_weights(t.g, "l", 40, hidden, FWD, f32))
            .y;
  }
  t.fetches = {y};
  Vars by = t.g.trainable();
  by.push_back(x);
  for (const Var& d : gradients(sum(square(y)), by)) t.fetches.push_back(d);
  t.feeds.emplace_back(x, draw({7, rows, 40}, f32, -1, 1, 8));
  return t;
}

/// The largest difference of two elements.
inline double distance(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (int64_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a.at(i) - b.at(i)));
  return most;
}

}  // namespace rondo::test
