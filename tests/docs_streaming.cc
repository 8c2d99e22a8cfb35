// Code that docs/streaming.md shows, compiled, run, and held to what the page says of it.
// tests/check_docs.py holds the page to this file.
#include <algorithm>
#include <cmath>
#include <span>

#include <catch2/catch_test_macros.hpp>

#include <rondo/rondo.h>

using namespace rondo;

TEST_CASE("streaming: a trained graph step by step", "[docs][stream]") {
  // clang-format off
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  auto lstm = rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 12, 64));
  Var scores = nn::softmax(nn::dense(nn::dropout(lstm.y, 0.5), 9, "classes"));  // [T,B,9]

  Session session(g);  // of a trainer: trainer.model().session()
  Stream stream(session, {scores});
  std::span<float> frame = stream.input<float>(x);                    // one step, [1,1,12]
  std::span<const float> now = stream.output<float>(scores);          // [1,1,9]
  for (int t = 0; t < 100; ++t) {
    std::fill(frame.begin(), frame.end(), 0.1F);  // whatever was heard
    stream.step();
    if (now[3] > 0.9F) break;
  }
  // clang-format on
  CHECK(stream.dims(x) == Dims{1, 1, 12});
  CHECK(stream.dims(scores) == Dims{1, 1, 9});
  const Tensor whole = session.run(scores, {{x, Tensor::full(f32, {100, 1, 12}, 0.1F)},
                                            {lengths, Tensor::of<int32_t>({1}, {100})}});
  for (size_t k = 0; k < 9; ++k)
    CHECK(std::abs(static_cast<double>(now[k]) - whole.at(99 * 9 + static_cast<int64_t>(k))) <
          1e-6);

  StreamState saved = stream.state();  // "lstm/state0", "lstm/state1"
  stream.reset();                      // as before the first step
  CHECK(stream.state().at("lstm/state0") == Tensor(f32, {1, 64}));
  stream.set_state(saved);         // goes on where it was
  Stream another = stream.fork();  // the same plan and weights, a state of its own
  CHECK(another.state() == saved);
  CHECK(saved.size() == 2);
  CHECK(saved.count("lstm/state1") == 1);

  stream.step();
  const float before = now[0];
  session.variables().commit(
      {{"classes/biases", Tensor::of<float>({9}, {2, 0, 0, 0, 0, 0, 0, 0, 0})}});
  stream.set_state(saved);
  stream.step();
  CHECK(now[0] == before);
  stream.refresh();  // the newest values; states stay
  stream.set_state(saved);
  stream.step();
  CHECK(now[0] > before);
  session.variables().commit({{"classes/biases", Tensor::full(f32, {9}, 0.5)}});
  CHECK(stream.refresh());
  stream.set_state(saved);
  stream.step();
  CHECK(std::abs(now[0] - before) < 1e-6F);  // a softmax does not see what is added to all
}
