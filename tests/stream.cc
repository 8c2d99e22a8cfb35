// Streams: what was trained on whole sequences gives the same step by step, and what cannot is
// refused by name.
#include <rondo/runtime/stream.h>

#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "../cli/bench_cells.h"
#include "error_code.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

Tensor noise(DType type, const Dims& dims, uint64_t seed) {
  Tensor t(f64, dims);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_data<double>()[i] = uniform_at(seed, 0, 0, static_cast<uint64_t>(i)) - 0.5;
  return t.to(type);
}

}  // namespace

TEST_CASE("one LSTM layer streams", "[stream]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  const auto w = rnn::lstm_layer_weights(g, "lstm", 3, 5, FWD);
  const Var y = rnn::lstm_layer(x, {}, w, {}).y;
  Session session(g);
  const Tensor xs = noise(f32, {7, 2, 3}, 1);
  const Tensor want = session.run(y, {{x, xs}});
  Stream stream(session, {y}, {.sizes = {{"B", 2}}});
  for (int64_t t = 0; t < 7; ++t) {
    const Tensor got = stream.step(Tensor::view(f32, {1, 2, 3}, xs.data<float>() + t * 6));
    for (int64_t i = 0; i < 10; ++i) CHECK(std::abs(got.at(i) - want.at(t * 10 + i)) < 1e-6);
  }
  CHECK(stream.plan().steps().size() == 1);
}

}  // namespace rondo::test
