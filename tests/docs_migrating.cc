// Code that docs/migrating.md shows, compiled, run, and held to what the page says of it.
// tests/check_docs.py holds the page to this file.
#include <cmath>
#include <filesystem>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "docs_data.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

bool close(double a, double b) { return std::abs(a - b) < 1e-6; }

}  // namespace

TEST_CASE("migrating: a bidirectional LSTM over sequences of different lengths", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  auto lstm = rnn::lstm_layer(x, {.max_ts_length = lengths},
                              rnn::lstm_layer_weights(g, "lstm", 12, 64, BIDIR_CONCAT),
                              {.direction_mode = BIDIR_CONCAT, .ret_last_h = true});
  Var last = rnn::join_directions(lstm.last_h);  // [B,128]; lstm.y is [T,B,128]

  const auto out = Session(g).run({lstm.y, last}, {{x, padded({5, 2, 12}, {5, 3})},
                                                   {lengths, Tensor::of<int32_t>({2}, {5, 3})}});
  REQUIRE(out[0].dims() == Dims{5, 2, 128});
  REQUIRE(out[1].dims() == Dims{2, 128});
  const auto y = [&](int64_t t, int64_t b, int64_t k) { return out[0].at((t * 2 + b) * 128 + k); };
  CHECK(y(3, 1, 0) == 0);                     // past the end of the second row
  CHECK(out[1].at(128) == y(2, 1, 0));        // forward: its last step
  CHECK(out[1].at(128 + 64) == y(0, 1, 64));  // backward: its first
}

TEST_CASE("migrating: batch-major, all states at each step", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"B", "T", 12});
  auto lstm =
      rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "lstm", 12, 64), {.data_format = NTS});
  Var y = lstm.y;  // [B,T,64]
  CHECK(Session(g).run(y, {{x, ramp({2, 5, 12})}}).dims() == Dims{2, 5, 64});
}

TEST_CASE("migrating: the last state alone", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  auto lstm = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "lstm", 12, 64),
                              {.ret_full_sequence = false, .ret_last_h = true});
  Var h = lstm.last_h;  // [B,64]
  CHECK(!lstm.y);
  CHECK(Session(g).run(h, {{x, ramp({5, 2, 12})}}).dims() == Dims{2, 64});
}

TEST_CASE("migrating: masks become lengths", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var mask = g.placeholder("mask", boolean, {"T", "B"});  // true first, then false
  Var lengths = sum(cast(mask, i32), {.axes = {0}});
  auto lstm =
      rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 12, 64));
  Var steps = expand_dims(cast(lengths, f32), 1);
  Var mean_of_row = sum(lstm.y, {.axes = {0}}) / steps;  // [B,64]

  const Tensor of_rows = Tensor::of<int32_t>({3, 2}, {1, 1, 1, 1, 1, 0}).to(boolean);
  const auto out = Session(g).run({lengths, mean_of_row, lstm.y},
                                  {{x, padded({3, 2, 12}, {3, 2})}, {mask, of_rows}});
  CHECK(out[0] == Tensor::of<int32_t>({2}, {3, 2}));
  const auto y = [&](int64_t t) { return out[2].at((t * 2 + 1) * 64); };
  CHECK(close(out[1].at(64), (y(0) + y(1)) / 2));
}

TEST_CASE("migrating: what Keras puts on masked steps", "[docs]") {
  Graph g;
  Var y = g.placeholder("y", f32, {"T", "B", 4});
  Var last = g.placeholder("last", f32, {"B", 4});
  Var mask = g.placeholder("mask", boolean, {"T", "B"});
  Var as_keras = where(expand_dims(mask, -1), y, last);
  const Tensor of_rows = Tensor::of<int32_t>({2, 1}, {1, 0}).to(boolean);
  const Tensor out = Session(g).run(
      as_keras, {{y, ramp({2, 1, 4})}, {last, Tensor::full(f32, {1, 4}, 7)}, {mask, of_rows}});
  CHECK(out.at(1) == ramp({2, 1, 4}).at(1));
  CHECK(out.at(5) == 7);
}

TEST_CASE("migrating: first states, and carrying them on", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var h0 = g.placeholder("h0", f32, {"B", 64});
  Var c0 = g.placeholder("c0", f32, {"B", 64});
  auto lstm =
      rnn::lstm_layer(x, {.c_last = c0, .y_last = h0}, rnn::lstm_layer_weights(g, "lstm", 12, 64),
                      {.ret_last_h = true, .ret_last_c = true});

  Session session(g);
  const Tensor whole = ramp({6, 2, 12});
  const std::vector<Tensor> chunks = split(whole, 3, 0);
  Tensor h(f32, {2, 64}), c(f32, {2, 64});
  for (const Tensor& chunk : chunks) {
    auto out = session.run({lstm.y, lstm.last_h, lstm.last_c}, {{x, chunk}, {h0, h}, {c0, c}});
    h = out[1];
    c = out[2];
  }
  const Tensor zeros(f32, {2, 64});
  const Tensor at_once = session.run(lstm.last_h, {{x, whole}, {h0, zeros}, {c0, zeros}});
  for (int64_t i = 0; i < h.size(); ++i) CHECK(close(h.at(i), at_once.at(i)));
}

TEST_CASE("migrating: two layers with dropout between them", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var first = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "first", 12, 64)).y;
  Var second =
      rnn::lstm_layer(nn::dropout(first, 0.2), {}, rnn::lstm_layer_weights(g, "second", 64, 64)).y;

  Session session(g);
  const std::vector<Feed> feeds{{x, ramp({5, 2, 12})}};
  const Tensor predicted = session.run(second, feeds);
  const Tensor trained = session.run(second, feeds, {.training = true, .seed = 1});
  CHECK(predicted == session.run(second, feeds));
  CHECK(!(predicted == trained));
}

TEST_CASE("migrating: a GRU step", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"B", 12});
  Var h_last = g.placeholder("h_last", f32, {"B", 64});
  auto step = rnn::gru(x, h_last, rnn::gru_weights(g, "gru", 12, 64));
  Var h = step.h;  // [B,64]; step.r, step.u and step.c too
  CHECK(Session(g).run(h, {{x, ramp({2, 12})}, {h_last, ramp({2, 64})}}).dims() == Dims{2, 64});
}

TEST_CASE("migrating: a GRU over time, and PyTorch's", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var h_last = g.placeholder("h_last", f32, {"B", 64});
  Var reset_before = rnn::gru_layer(x, h_last, rnn::gru_layer_weights(g, "gru", 12, 64));

  const rnn::RnnConfig config{.state_size = 64, .mode = rnn::RnnMode::gru};
  Var parameters = rnn::rnn_parameters(g, "cudnn_gru", 12, config);
  Var as_pytorch =
      rnn::rnn(x, {.parameters = parameters, .state = expand_dims(h_last, 0)}, config).output;

  const auto out =
      Session(g).run({reset_before, as_pytorch}, {{x, ramp({3, 2, 12})}, {h_last, ramp({2, 64})}});
  CHECK(out[0].dims() == Dims{3, 2, 64});
  CHECK(out[1].dims() == Dims{3, 2, 64});
}

TEST_CASE("migrating: SameDiff's lstmCell and lstmblock", "[docs]") {
  Graph g;
  Var x_t = g.placeholder("x_t", f32, {"B", 12});
  Var c_last = g.placeholder("c_last", f32, {"B", 64});
  Var y_last = g.placeholder("y_last", f32, {"B", 64});
  auto weights = rnn::lstm_block_weights(g, "lstm", 12, 64, f32, /*peepholes=*/true);
  const LSTMConfiguration config{.peep_hole = true, .forget_bias = 1, .clipping_cell_value = 3};
  auto step = rnn::lstm_cell(x_t, c_last, y_last, weights, config);  // i, c, f, o, z, h, y

  Var x = g.placeholder("x", f32, {"T", "B", 12});
  auto block = rnn::lstm_block(x, {.c_last = c_last, .y_last = y_last}, weights, config);

  const Tensor sequence = ramp({2, 3, 12});
  const Tensor first = slice(sequence, 0, 0, 1).reshaped({3, 12});
  const Tensor state = ramp({3, 64});
  const auto out = Session(g).run({step.y, block.y},
                                  {{x_t, first}, {x, sequence}, {c_last, state}, {y_last, state}});
  REQUIRE(out[1].dims() == Dims{2, 3, 64});
  for (int64_t i = 0; i < out[0].size(); ++i) CHECK(close(out[0].at(i), out[1].at(i)));
}

TEST_CASE("migrating: SRU", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"B", 12, "T"});  // features before time
  Var c0 = g.placeholder("c0", f32, {"B", 12});
  auto sru = rnn::sru(x, c0, rnn::sru_weights(g, "sru", 12));  // sru.h and sru.c are [B,12,T]
  CHECK(Session(g).run(sru.h, {{x, ramp({2, 12, 5})}, {c0, ramp({2, 12})}}).dims() ==
        Dims{2, 12, 5});
}

TEST_CASE("migrating: an LSTM with a projection", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var h0 = g.placeholder("h0", f32, {"B", 16});
  Var c0 = g.placeholder("c0", f32, {"B", 64});
  auto lstm = rnn::lstmp(
      x, h0, c0, rnn::lstmp_weights(g, "lstm", {.inputs = 12, .hidden = 64, .projection = 16}),
      {.projection = true});  // lstm.h is [T,B,16], lstm.c is [T,B,64]
  const auto out = Session(g).run(
      {lstm.h, lstm.c},
      {{x, ramp({5, 2, 12})}, {h0, Tensor(f32, {2, 16})}, {c0, Tensor(f32, {2, 64})}});
  CHECK(out[0].dims() == Dims{5, 2, 16});
  CHECK(out[1].dims() == Dims{5, 2, 64});
}

TEST_CASE("migrating: MXNet's RNN with packed weights", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  const rnn::RnnConfig config{.state_size = 64,
                              .num_layers = 2,
                              .mode = rnn::RnnMode::lstm,
                              .bidirectional = true,
                              .state_outputs = true,
                              .p = 0.2};
  Var zeros = fill(g, f32, {4, "B", 64}, 0);  // layers * directions rows
  auto lstm = rnn::rnn(x,
                       {.parameters = rnn::rnn_parameters(g, "rnn", 12, config),
                        .state = zeros,
                        .state_cell = zeros,
                        .sequence_length = lengths},
                       config);
  const auto out = Session(g).run(
      {lstm.output, lstm.state_output, lstm.statecell_output},
      {{x, padded({5, 2, 12}, {5, 3})}, {lengths, Tensor::of<int32_t>({2}, {5, 3})}});
  CHECK(out[0].dims() == Dims{5, 2, 128});
  CHECK(out[1].dims() == Dims{4, 2, 64});
  CHECK(out[0].at((4 * 2 + 1) * 128) == 0);
}

TEST_CASE("migrating: eager code and its gradients", "[docs]") {
  Tensor x = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Tensor w = Tensor::full(f32, {3, 4}, 0.1);
  Tensor y = tanh(matmul(x, w) + 0.5);

  auto [loss, d] = value_and_gradients(
      [](const Vars& v) { return sum(tanh(matmul(v[0], v[1]) + 0.5)); }, {x, w});  // d[1] is dw
  CHECK(close(loss.item(), sum(y).item()));
  CHECK(d[1].dims() == w.dims());
  const double slope = 1 - y.at(0) * y.at(0);
  const double slope2 = 1 - y.at(4) * y.at(4);
  CHECK(std::abs(d[1].at(0) - (slope * 1 + slope2 * 4)) < 1e-5);
}

TEST_CASE("migrating: losses of steps that have no label, and random numbers", "[docs]") {
  Graph g;
  Var logits = g.placeholder("logits", f32, {"T", "B", 9});
  Var label = g.placeholder("label", i32, {"T", "B"});
  Var loss = loss::softmax_cross_entropy(logits, label,
                                         {.weights = not_equal(label, -1), .label_smoothing = 0.1});
  const std::vector<Feed> feeds{{logits, Tensor(f32, {2, 1, 9})},
                                {label, Tensor::of<int32_t>({2, 1}, {4, -1})}};
  CHECK(std::abs(Session(g).run(loss, feeds).item() - std::log(9.0)) < 1e-6);

  Var x = g.placeholder("x", f32, {"B", 3});
  Rng rng(7);
  Tensor z = random::normal(rng, {4, 3});
  Var noise = random::normal(g, x.shape(), 0, 0.1);
  Var order = random::permutation(g, x.dim(0));
  CHECK(z.dims() == Dims{4, 3});
  CHECK(Session(g).run(gather(x + noise, order), {{x, z}}).dims() == Dims{4, 3});
  CHECK(init::he_normal(g, {12, 64}).dims() == Dims{12, 64});
}

TEST_CASE("migrating: a training loop of one's own, and the Trainer's", "[docs]") {
  const auto folder = std::filesystem::temp_directory_path() / "rondo_migrating";
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "model.rondo").string();

  std::vector<Sequence> sequences;
  for (int64_t n = 0; n < 16; ++n) {
    const double value = n % 2 == 0 ? 1 : -1;
    sequences.push_back({Tensor::full(f32, {3 + n % 3, 12}, value), n % 2});
  }
  const SequenceDataset data(sequences, {"up", "down"});

  Graph g;
  g.set_seed(1);
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var label = g.placeholder("label", i32, {"B"});
  auto lstm =
      rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 12, 8),
                      {.ret_full_sequence = false, .ret_last_h = true});
  Var logits = nn::dense(lstm.last_h, 2, "classes").named("logits");
  Var loss = loss::softmax_cross_entropy(logits, label);

  Vars weights = g.trainable();
  Vars d = clip_by_global_norm(gradients(loss, weights), 1.0);
  Updates updates = updates_for(Adam{.learning_rate = 1e-2}, weights, d);
  Session session(g);
  const double before =
      session
          .run(loss,
               [&] {
                 const SequenceBatch b = data.batch({0, 1, 2, 3});
                 return std::vector<Feed>{{x, b.values}, {lengths, b.lengths}, {label, b.labels}};
               }())
          .item();
  double now = before;
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    for (const Rows& rows : data.batches(4, /*seed=*/1, epoch)) {
      const SequenceBatch b = data.batch(rows);
      const std::vector<Feed> feeds{{x, b.values}, {lengths, b.lengths}, {label, b.labels}};
      Tensor value = session.run_and_update({loss}, updates, feeds, {.training = true})[0];
      now = value.item();
    }
  }
  CHECK(now < before);

  Trainer trainer(g, loss,
                  {.inputs = {.values = x, .lengths = lengths, .labels = label},
                   .logits = logits,
                   .updater = Adam{.learning_rate = 1e-2},
                   .clip_norm = 1});
  trainer.fit(data, {.epochs = 10, .batch_size = 4});
  Scores scores = trainer.evaluate(data);
  CHECK(*scores.accuracy == 1);

  save(trainer, path);
  Trainer again = load_trainer(path);  // fit() goes on where it stopped
  Model model = load_model(path);      // for predictions alone
  std::vector<int64_t> classes = model.predict(data);
  CHECK(again.state().epoch == 10);
  CHECK(classes == trainer.predict(data));

  const Tensor biases = model.session().variables().value("lstm/biases");
  CHECK(biases.dims() == Dims{32});
  Tensor zeros(f32, {32});
  model.session().variables().commit({{"lstm/biases", zeros}});
  CHECK(model.session().variables().value("lstm/biases") == zeros);
  std::filesystem::remove_all(folder);
}

TEST_CASE("migrating: a cell of one's own", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 12});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var wf = g.variable("wf", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var wh = g.variable("wh", init::glorot_uniform(g, {12, 64}, 12, 64));
  Var uh = g.variable("uh", init::orthogonal(g, 64, 64));
  // clang-format off
  auto layer = rnn::layer(x, {rnn::zero_state(x, 64)}, [&](Var xt, Vars s) -> rnn::Step {
    Var f = sigmoid(matmul(xt, wf));
    Var h = f * s[0] + (1 - f) * tanh(matmul(xt, wh) + matmul(s[0], uh));
    return {.output = h, .state = {h}};
  }, {.lengths = lengths});
  // clang-format on
  Var y = layer.y;           // [T,B,64], 0 past the end of each row
  Var last = layer.last[0];  // [B,64]

  const auto out = Session(g).run(
      {y, last}, {{x, padded({5, 2, 12}, {5, 3})}, {lengths, Tensor::of<int32_t>({2}, {5, 3})}});
  CHECK(out[0].dims() == Dims{5, 2, 64});
  CHECK(out[1].at(64) == out[0].at((2 * 2 + 1) * 64));
  CHECK(out[0].at((3 * 2 + 1) * 64) == 0);
}
