// Networks of all kinds, the layouts that hold them, and weights for them: what the tests of
// weights go through.
#pragma once

#include <string>
#include <vector>

#include "registry_samples.h"

#include <rondo/ops/weights/weights.h>

namespace rondo::test {

/// Every cell, both places of the reset gate, one to three layers, one and two directions, with
/// projections and peepholes.
inline std::vector<weights::Network> networks() {
  using rnn::RnnMode;
  std::vector<weights::Network> r;
  const auto add = [&](weights::Network n) {
    n.input_size = 3;
    n.hidden_size = 4;
    for (const int64_t layers : {1, 2, 3}) {
      for (const bool both : {false, true}) {
        n.layers = layers;
        n.bidirectional = both;
        r.push_back(n);
      }
    }
  };
  add({.mode = RnnMode::rnn_relu});
  add({.mode = RnnMode::rnn_tanh});
  for (const int64_t projection : {0, 2, 4}) {
    for (const bool peepholes : {false, true})
      add({.mode = RnnMode::lstm, .projection_size = projection, .peepholes = peepholes});
  }
  add({.mode = RnnMode::gru, .reset_after = true});
  add({.mode = RnnMode::gru, .reset_after = false});
  return r;
}

inline std::vector<weights::Format> holders(const weights::Network& n) {
  std::vector<weights::Format> r;
  for (const weights::Format f : weights::kFormats) {
    if (weights::refusal(f, n).empty()) r.push_back(f);
  }
  return r;
}

inline std::string describe(const weights::Network& n) {
  return cat("mode ", static_cast<int>(n.mode), ", ", n.layers, " layers, ",
             n.bidirectional ? "both directions" : "forward", ", P ", n.projection_size,
             n.peepholes ? ", peepholes" : "", n.reset_after ? "" : ", reset before");
}

/// Random weights of a layout.
inline weights::Tensors some_weights(weights::Format f, const weights::Network& n,
                                     DType dtype = f64) {
  weights::Tensors r;
  uint64_t seed = 900;
  for (const auto& t : weights::layout(f, n)) r[t.name] = draw(t.dims, dtype, -1, 1, ++seed);
  return r;
}

}  // namespace rondo::test
