// Code that docs/layers.md shows, compiled, run, and held to what the page says of it.
// tests/check_docs.py holds the page to this file.
#include <cmath>
#include <iostream>
#include <limits>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "docs_data.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

bool all_finite(const std::vector<Tensor>& list) {
  for (const Tensor& t : list) {
    for (int64_t i = 0; i < t.size(); ++i) {
      if (!std::isfinite(t.at(i))) return false;
    }
  }
  return true;
}

const std::vector<int32_t> kEnds{5, 3};

}  // namespace

TEST_CASE("layers: a cell of one's own, run over time", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var wf = g.variable("wf", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var wh = g.variable("wh", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var uh = g.variable("uh", init::orthogonal(g, 64, 64));

  rnn::Cell cell = [&](Var in, Vars s) -> rnn::Step {
    Var f = sigmoid(matmul(in, wf));
    Var h = f * s[0] + (1 - f) * tanh(matmul(in, wh) + matmul(s[0], uh));
    return {.output = h, .state = {h}};
  };
  Var zeros = rnn::zero_state(x, 64);
  auto r = rnn::layer(x, {zeros}, cell, {.lengths = lengths});  // r.y: [T,B,64], r.last[0]: [B,64]
  auto both = rnn::layer(
      x, {zeros}, cell,
      {.lengths = lengths, .direction_mode = BIDIR_CONCAT, .backward = cell});  // y: [T,B,128]

  Var speech = g.placeholder("speech", f32, {"B", "T", 12});
  auto batch_first = rnn::layer(speech, {rnn::zero_state(speech, 64, RnnDataFormat::NTS)}, cell,
                                {.lengths = lengths, .data_format = RnnDataFormat::NTS});

  const Tensor xs = padded({5, 2, 12}, kEnds);
  const auto out = Session(g).run(
      {r.y, r.last[0], both.y, transpose(batch_first.y, {1, 0, 2})},
      {{x, xs}, {speech, transpose(xs, {1, 0, 2})}, {lengths, Tensor::of<int32_t>({2}, kEnds)}});
  // The products with x are shared with the other layers in one of them: other kernels, other bits.
  for (int64_t i = 0; i < out[0].size(); ++i) CHECK(std::abs(out[3].at(i) - out[0].at(i)) < 1e-6);
  CHECK(out[0].dims() == Dims{5, 2, 64});
  CHECK(out[1].at(64) == out[0].at((2 * 2 + 1) * 64));
  CHECK(out[0].at((3 * 2 + 1) * 64) == 0);
  CHECK(out[2].dims() == Dims{5, 2, 128});
  CHECK(all_finite(out));
}

TEST_CASE("layers: a loop of one's own, and a layer that is there", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var frames = g.placeholder("frames", f32, {20, 8, 12});
  Var wf = g.variable("wf", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var wh = g.variable("wh", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var uh = g.variable("uh", init::orthogonal(g, 64, 64));
  rnn::Cell cell = [&](Var in, Vars s) -> rnn::Step {
    Var f = sigmoid(matmul(in, wf));
    Var h = f * s[0] + (1 - f) * tanh(matmul(in, wh) + matmul(s[0], uh));
    return {.output = h, .state = {h}};
  };
  Var zeros = fill(g, f32, {8, 64}, 0);
  std::ostringstream told;
  std::streambuf* before = std::cout.rdbuf(told.rdbuf());
  Var h = zeros;
  for (int64_t t = 0; t < 20; ++t) h = cell(squeeze(slice(frames, 0, t, t + 1), 0), {h}).state[0];
  std::cout << Session(g).explain({h});
  std::cout.rdbuf(before);
  INFO(told.str());
  CHECK(told.str().find("20 steps of add at tests/docs_layers.cc:") != std::string::npos);
  CHECK(told.str().find("now once before the loop: matmul x2, sigmoid, constant, sub") !=
        std::string::npos);
  CHECK(told.str().find(": add x2 matmul x3 mul x2 sigmoid sub tanh\n") != std::string::npos);

  auto weights = rnn::lstm_layer_norm_weights(g, "heard", 12, 64, BIDIR_CONCAT);
  auto heard =
      rnn::lstm_layer_norm(x, {.lengths = lengths}, weights, {.direction_mode = BIDIR_CONCAT});
  CHECK(heard.y.shape() == Shape{"T", "B", 128});
}

TEST_CASE("layers: what a cell sees besides x", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var speaker = g.placeholder("speaker", f32, {"B", 8});   // who speaks, once for each row
  Var pitch = g.placeholder("pitch", f32, {"T", "B", 1});  // a second sequence
  Var w = g.variable("w", init::glorot_uniform(g, {21, 64}, 21, 64));
  Var u = g.variable("u", init::orthogonal(g, 64, 64));
  rnn::Cell cell = [&](Var in, Vars s) -> rnn::Step {
    Var seen = concat<Var>({in, per_row(speaker), per_step(pitch)}, -1);
    Var h = tanh(matmul(seen, w) + matmul(nn::dropout(s[0], 0.1), u));
    return {h, {h}};
  };
  Var y = rnn::layer(x, {rnn::zero_state(x, 64)}, cell).y;

  Session session(g);
  const std::vector<Feed> feeds{
      {x, ramp({5, 2, 12})}, {speaker, ramp({2, 8})}, {pitch, ramp({5, 2, 1})}};
  const Tensor predicted = session.run(y, feeds);
  CHECK(predicted.dims() == Dims{5, 2, 64});
  CHECK(!(predicted == session.run(y, feeds, {.training = true, .seed = 1})));
}

TEST_CASE("layers: dropout and zoneout of states", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 64});
  Var u = g.variable("u", init::orthogonal(g, 64, 64));
  rnn::Cell cell = [&](Var in, Vars s) -> rnn::Step {
    Var last = nn::variational_dropout(s[0], 0.1);
    Var h = rnn::zoneout(tanh(in + matmul(last, u)), s[0], 0.2);
    return {h, {h}};
  };
  Var y = rnn::layer(x, {rnn::zero_state(x, 64)}, cell).y;
  const Tensor t = Session(g).run(y, {{x, ramp({3, 2, 64})}}, {.training = true, .seed = 1});
  int stayed = 0;
  for (int64_t i = 0; i < 128; ++i) stayed += t.at(i) == 0 ? 1 : 0;
  CHECK(stayed > 10);  // of 128, a fifth
  CHECK(stayed < 45);
}

TEST_CASE("layers: layers upon each other", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  auto lstm = [&](int64_t inputs) {
    return [&g, lengths, inputs](Var v) {
      auto weights = rnn::lstm_layer_weights(g, "lstm", inputs, 64);
      return rnn::lstm_layer(v, {.max_ts_length = lengths}, weights).y;
    };
  };
  Var y = rnn::stacked(
      x, {lstm(12), lstm(64), lstm(64)},
      {.residual_from = 1, .dropout = 0.2, .name = "encoder"});  // variables encoder/0/lstm/...
  auto each = [](Var rows) { return nn::dense(rows, 9, "classes"); };
  Var of_steps = rnn::time_distributed(y, each, lengths);  // [T,B,9], 0 past each row's end

  const auto out = Session(g).run(
      {y, of_steps}, {{x, padded({5, 2, 12}, kEnds)}, {lengths, Tensor::of<int32_t>({2}, kEnds)}});
  CHECK(out[0].dims() == Dims{5, 2, 64});
  CHECK(out[1].dims() == Dims{5, 2, 9});
  CHECK(out[1].at((4 * 2 + 1) * 9) == 0);
  CHECK(g.has("encoder/2/lstm/biases"));
  CHECK(all_finite(out));
}

TEST_CASE("layers: an encoder and a decoder that attends to it", "[docs]") {
  Graph g;
  g.set_seed(1);
  Var source = g.placeholder("source", i32, {"S", "B"});
  Var source_lengths = g.placeholder("source_lengths", i32, {"B"});
  Var target = g.placeholder("target", i32, {"T", "B"});  // begins with the word that begins all
  Var target_lengths = g.placeholder("target_lengths", i32, {"B"});
  Var words = g.variable("words", init::uniform(g, {50, 16}, -0.1, 0.1));

  // The encoder reads the source in both directions.
  auto encoder = rnn::lstm_layer(gather(words, source), {.max_ts_length = source_lengths},
                                 rnn::lstm_layer_weights(g, "encoder", 16, 32, BIDIR_CONCAT),
                                 {.direction_mode = BIDIR_CONCAT, .ret_last_h = true});
  Var memory = transpose(encoder.y, {1, 0, 2});  // [B,S,64]
  Var keys = nn::dense(memory, 32, "keys");      // once, not at each step
  Var h0 = nn::dense(rnn::join_directions(encoder.last_h), 32, "bridge");

  // The decoder: what it saw last decides where it looks.
  Var wq = g.variable("decoder/query", init::orthogonal(g, 32, 32));
  Var v = g.variable("decoder/score", init::glorot_uniform(g, {32}, 32, 1));
  auto weights = rnn::gru_weights(g, "decoder", 16 + 64, 32);
  auto step = [&](Var word, Var h) {
    auto seen = nn::attention(matmul(h, wq),
                              {.keys = per_row(keys),
                               .values = per_row(memory),
                               .lengths = per_row(source_lengths),
                               .score_weights = v},
                              {.score = nn::AttentionScore::additive});
    return rnn::gru(concat<Var>({word, seen.context}, -1), h, weights).h;
  };
  auto decoder = rnn::layer(gather(words, target), {h0},
                            [&](Var word, Vars s) -> rnn::Step {
                              Var h = step(word, s[0]);
                              return {h, {h}};
                            },
                            {.lengths = target_lengths});
  Var wo = g.variable("out", init::glorot_uniform(g, {32, 50}, 32, 50));
  Var logits = matmul(decoder.y, wo);  // [T,B,50]

  Var wanted = g.placeholder("wanted", i32, {"T", "B"});
  Var time = iota(g, i32, {"T", "B"}, 0);
  Var counts = cast(less(time, target_lengths), f32);  // [T,B], 1 within a row
  Var loss = -sum(nn::pick(nn::log_softmax(logits), wanted) * counts) / sum(counts);

  // Without a teacher: each step takes the word that the one before found likeliest.
  Var first = fill(g, i64, {"B"}, 0);
  auto said = recurrence({.states = {h0, first}, .steps = 20},
                         [&](const Vars& s, const Vars&, const Vars&) -> RecurrenceStep {
                           Var h = step(gather(words, s[1]), s[0]);
                           Var word = argmax(matmul(h, wo));
                           return {.states = {h, word}, .ys = {word}};
                         });
  Var sentence = said.ys[0];  // [20,B]

  const std::vector<Feed> feeds{{source, Tensor::of<int32_t>({3, 2}, {7, 8, 9, 1, 2, 3})},
                                {source_lengths, Tensor::of<int32_t>({2}, {3, 1})},
                                {target, Tensor::of<int32_t>({2, 2}, {0, 0, 4, 5})},
                                {wanted, Tensor::of<int32_t>({2, 2}, {4, 5, 6, 0})},
                                {target_lengths, Tensor::of<int32_t>({2}, {2, 1})}};
  Vars fetches{logits, sentence};
  for (const Var& d : gradients(loss, g.trainable())) fetches.push_back(d);
  auto out = Session(g).run(fetches, feeds);
  CHECK(out[0].dims() == Dims{2, 2, 50});
  CHECK(out[1].dims() == Dims{20, 2});
  CHECK(all_finite(out));
  for (size_t i = 2; i < out.size(); ++i) CHECK(!(out[i] == Tensor(f32, out[i].dims())));
  // The teacher's first word is the decoder's own: so is its first choice.
  const Tensor likeliest = argmax(slice(out[0], 0, 0, 1));
  for (int64_t b = 0; b < 2; ++b) CHECK(out[1].at(b) == likeliest.at(b));
}

TEST_CASE("layers: convolutions before a layer", "[docs]") {
  Graph g;
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Dim T = 2 * Dim("N");  // a stride must divide T: pad what is fed to an even length
  Var frames = g.placeholder("frames", f32, {"B", T, 40});  // batch first, as convolutions have it
  Var mask = expand_dims(sequence_mask(lengths, T, true), -1);  // mask: [B,2*N,1]
  Var clean = where(mask, frames, 0);  // padding may hold anything, NaN too

  nn::Conv1dOptions halve{.stride = 2, .padding = nn::Padding::amounts, .amounts = {2, 2}};
  Var features = relu(nn::conv_1d(clean, 64, 5, "conv", halve));  // features: [B,N,64]
  Var shorter = floor_div(lengths + 1, 2);                        // ceil(T / 2) steps, of each row

  auto top = rnn::lstm_layer(features, {.max_ts_length = shorter},
                             rnn::lstm_layer_weights(g, "top", 64, 32),
                             {.data_format = NTS, .ret_last_h = true});  // top.y: [B,N,32]

  Session session(g);
  const Tensor batch = transpose(padded({8, 2, 40}, {7, 4}), {1, 0, 2});
  const auto whole = session.run({top.y, top.last_h},
                                 {{frames, batch}, {lengths, Tensor::of<int32_t>({2}, {7, 4})}});
  CHECK(whole[0].dims() == Dims{2, 4, 32});
  CHECK(all_finite(whole));
  const Tensor row = slice(slice(batch, 0, 1, 2), 1, 0, 4);
  const auto alone =
      session.run({top.y, top.last_h}, {{frames, row}, {lengths, Tensor::of<int32_t>({1}, {4})}});
  CHECK(alone[0] == slice(slice(whole[0], 0, 1, 2), 1, 0, 2));
  CHECK(alone[1] == slice(whole[1], 0, 1, 2));
}
