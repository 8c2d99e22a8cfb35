// Training and what listeners hear, on a network that is small enough to be quick.
#include <rondo/runtime/trainer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "trainer_fixture.h"

#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>

namespace rondo {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;

TEST_CASE("a trainer learns, and its listeners hear how", "[trainer]") {
  const SequenceDataset data = three_tones();
  const SequenceDataset valid = three_tones(20, 4);
  const auto notes = std::make_shared<Notes>();
  Trainer t = trainer(network(), 1, Adam{.learning_rate = 0.02}, {notes});
  const Scores before = t.evaluate(valid);
  t.fit(data, {.epochs = 12, .batch_size = 8, .validation = &valid});
  const Scores after = t.evaluate(valid);
  CHECK(after.loss < before.loss / 2);
  CHECK(after.accuracy.value() > 0.9);
  CHECK(Confusion(valid, t.predict(valid)).accuracy() == after.accuracy);

  CHECK(notes->begun == 1);
  CHECK(notes->ended == 1);
  REQUIRE(notes->batches.size() == 12 * 6);  // 42 sequences in batches of 8
  REQUIRE(notes->epochs.size() == 12);
  CHECK(notes->batches[6].epoch == 2);
  CHECK(notes->batches[6].batch == 1);
  CHECK(notes->batches[6].batches == 6);
  CHECK(notes->batches[6].step == 7);
  CHECK(notes->epochs[11].epoch == 12);
  CHECK(notes->epochs[11].loss < notes->epochs[0].loss);
  CHECK(notes->epochs[11].validation_loss == after.loss);
  CHECK(notes->epochs[11].validation_accuracy == after.accuracy);
  CHECK(notes->epochs[11].seconds_left == 0);
  CHECK_FALSE(notes->batches[0].validation_loss.has_value());
}

TEST_CASE("an update needs no data set", "[trainer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 1});
  const Var y = g.placeholder("y", f64, {"B", 1});
  const Var loss = mean(square(nn::dense(x, 1, "line") - y));
  Trainer t(g, loss, {.updater = SGD{.learning_rate = 0.1}, .threads = 1});
  const std::vector<Feed> feeds{{x, Tensor::of<double>({3, 1}, {0, 1, 2})},
                                {y, Tensor::of<double>({3, 1}, {1, 3, 5})}};
  const double first = t.update(feeds);
  for (int i = 0; i < 400; ++i) t.update(feeds);
  CHECK(first > 1);
  CHECK(t.update(feeds) < 1e-9);
  CHECK(t.state().step == 402);
  CHECK(std::abs(t.model().session().variables().value("line/weights").item() - 2) < 1e-4);
  const auto plan = t.plan()->bind({{"B", 3}});
  CHECK(plan->output_types().size() == 3);  // the loss, and the new weights and biases
  CHECK(plan->ops().count("fused_matmul") == 1);
}

TEST_CASE("dropout draws anew at each step, by the trainer's seed", "[trainer]") {
  const SequenceBatch batch = three_tones().batch({0, 1, 2, 3, 4, 5, 6, 7});
  const auto two_losses = [&](uint64_t seed) {
    const Network n = network();
    Trainer t(n.g, n.loss,
              {.inputs = n.inputs, .updater = SGD{.learning_rate = 0}, .seed = seed, .threads = 1});
    const double first = t.update(t.model().feeds(batch));
    return std::pair(first, t.update(t.model().feeds(batch)));
  };
  const auto [first, second] = two_losses(1);
  CHECK(first != second);
  CHECK(two_losses(1) == std::pair(first, second));
  CHECK(two_losses(2).first != first);
}

TEST_CASE("gradients are clipped by the norm of all of them", "[trainer]") {
  const Network n = network(f64);
  Trainer t(
      n.g, n.loss,
      {.inputs = n.inputs, .updater = SGD{.learning_rate = 1}, .clip_norm = 1e-3, .threads = 1});
  const auto before = t.model().session().variables().snapshot();
  t.update(t.model().feeds(three_tones().batch({0, 1, 2, 3})));
  double squares = 0;
  for (const auto& [name, value] : *t.model().session().variables().snapshot()) {
    for (int64_t i = 0; i < value.size(); ++i) {
      squares += std::pow(value.at(i) - before->at(name).at(i), 2);
    }
  }
  CHECK_THAT(std::sqrt(squares), WithinRel(1e-3, 1e-6));
}

TEST_CASE("training has the same bits for any number of threads", "[trainer]") {
  const SequenceDataset data = three_tones();
  const Folder folder;
  const auto run = [&](int threads) {
    Trainer t = trainer(network(), threads);
    t.fit(data, {.epochs = 3, .batch_size = 8});
    return saved(t, folder);
  };
  const std::string one = run(1);
  CHECK(one == run(2));
  CHECK(one == run(4));
}

TEST_CASE("gradients are clipped by value, each by its norm, and penalised after that",
          "[trainer]") {
  const SequenceBatch batch = three_tones().batch({0, 1, 2, 3});
  // How far one step of SGD at rate 1 takes each variable.
  const auto moved = [&](TrainerConfig c) {
    const Network n = network(f64);
    c.inputs = n.inputs;
    c.updater = SGD{.learning_rate = 1};
    c.threads = 1;
    Trainer t(n.g, n.loss, c);
    const auto before = t.model().session().variables().snapshot();
    t.update(t.model().feeds(batch));
    std::map<std::string, std::vector<double>> by;
    for (const auto& [name, value] : *t.model().session().variables().snapshot()) {
      for (int64_t i = 0; i < value.size(); ++i)
        by[name].push_back(before->at(name).at(i) - value.at(i));
    }
    return by;
  };
  const auto free = moved({});
  for (const auto& [name, d] : moved({.clip_value = 1e-3})) {
    for (size_t i = 0; i < d.size(); ++i)
      CHECK(std::abs(d[i] - std::clamp(free.at(name)[i], -1e-3, 1e-3)) < 1e-12);
  }
  for (const auto& [name, d] : moved({.clip_each_norm = 1e-3})) {
    double squares = 0;
    for (const double v : d) squares += v * v;
    CHECK_THAT(std::sqrt(squares), WithinRel(1e-3, 1e-6));
  }
  const auto clipped = moved({.clip_norm = 1e-3});
  const Network n = network(f64);
  const Session start(n.g);
  for (const auto& [name, d] :
       moved({.regularization = {.l2 = 0.5, .except = {"tones/biases"}}, .clip_norm = 1e-3})) {
    INFO(name);
    for (size_t i = 0; i < d.size(); ++i) {
      const double w = start.store()->value(name).at(static_cast<int64_t>(i));
      const double pull = name == "tones/biases" ? 0 : 0.5 * w;
      CHECK(std::abs(d[i] - clipped.at(name)[i] - pull) < 1e-12);
    }
  }
}

TEST_CASE("batches are converted to what the graph takes", "[trainer]") {
  const SequenceDataset data = three_tones();
  Trainer t = trainer(network(f64));  // labels are i64
  t.fit(data, {.epochs = 1, .batch_size = 16});
  CHECK(t.predict(data).size() == 42);
}

TEST_CASE("a trainer refuses what it cannot train", "[trainer]") {
  const SequenceDataset data = three_tones();
  const Network n = network();
  const auto config = [&] { return TrainerConfig{.inputs = n.inputs, .logits = n.logits}; };
  const auto code = [&](const Var& loss, const TrainerConfig& c) {
    return error_of([&] { Trainer(n.g, loss, c); }).code();
  };
  CHECK(code(n.logits, config()) == "gradients.loss.rank");
  CHECK(code({}, config()) == "gradients.loss.empty");
  TrainerConfig c = config();
  c.clip_norm = -1;
  CHECK(code(n.loss, c) == "trainer.clip_norm.range");
  c = config();
  c.clip_value = -1;
  CHECK(code(n.loss, c) == "trainer.clip_value.range");
  c = config();
  c.clip_each_norm = -1;
  CHECK(code(n.loss, c) == "trainer.clip_each_norm.range");
  c = config();
  c.regularization.except = {"nobody"};
  CHECK(code(n.loss, c) == "regularization.except.unknown");
  c = config();
  c.inputs.values = n.logits;
  CHECK(code(n.loss, c) == "model.values.placeholder");
  c = config();
  c.inputs.lengths = n.inputs.values;
  CHECK(code(n.loss, c) == "model.lengths.type");
  c = config();
  c.logits = n.loss;
  CHECK(code(n.loss, c) == "model.logits.type");

  Trainer blind(n.g, n.loss, {.inputs = n.inputs, .threads = 1});
  CHECK_FALSE(blind.evaluate(data).accuracy.has_value());
  CHECK(error_of([&] { blind.predict(data); }).code() == "model.logits.missing");
  Trainer t = trainer(network());
  CHECK(error_of([&] { t.fit(data.split(1, 0).first, {}); }).code() == "trainer.data.empty");
  Trainer unfed(n.g, n.loss, {.threads = 1});
  CHECK(error_of([&] { unfed.fit(data, {}); }).code() == "trainer.inputs.missing");
  CHECK(error_of([&] { t.fit(data, {.epochs = -1}); }).code() == "trainer.epochs.range");
  CHECK(error_of([&] { t.fit(data, {.batch_size = 0}); }).code() == "data.batch_size.range");
  const SequenceDataset wide({{Tensor(f32, {4, 3}), 0}}, {"a"});
  CHECK(error_of([&] { t.fit(wide, {}); }).code() == "placeholder.x.dim");
}

TEST_CASE("a loss that is no longer finite ends the training", "[trainer]") {
  Tensor values(f32, {3, 2});
  values.mutable_data<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  const SequenceDataset data({{values, 0}}, {"a"});
  Trainer t = trainer(network());
  const auto before = *t.model().session().variables().snapshot();
  const Error e = error_of([&] { t.fit(data, {}); });
  CHECK(e.code() == "trainer.loss.finite");
  CHECK_THAT(e.what(), ContainsSubstring("epoch 1, batch 1"));
  for (const auto& [name, value] : *t.model().session().variables().snapshot())
    CHECK(value.same_bits(before.at(name)));
}

TEST_CASE("a step that would make a weight infinite is not made", "[trainer]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {});
  const Var w = g.variable("w", Tensor::of<float>({}, {1}));
  // The loss at 0 is 0; its gradient 0 times infinity.
  const Var loss = sqrt(mul(w, x));
  Trainer t(g, loss, {.updater = SGD{.learning_rate = 1}, .threads = 1});
  t.update({{x, Tensor::of<float>({}, {1})}});
  CHECK(t.model().session().variables().value("w").item() == 0.5);
  const Error e = error_of([&] { t.update({{x, Tensor::of<float>({}, {0})}}); });
  CHECK(e.code() == "trainer.variable.finite");
  CHECK_THAT(e.what(), ContainsSubstring("variable \"w\" would be NaN or infinite after step 2"));
  CHECK(t.model().session().variables().value("w").item() == 0.5);
}

TEST_CASE("progress is one line on a terminal and plain lines elsewhere", "[trainer]") {
  TrainingFacts f{.epoch = 3, .epochs = 40, .batch = 5, .batches = 10, .step = 25, .loss = 0.5};
  f.accuracy = 0.75;
  f.sequences_per_second = 1234;
  f.seconds_left = 83.2;
  f.validation_accuracy = 0.5;
  const auto drawn = [&](int columns) {
    std::ostringstream terminal;
    const auto bar = progress_bar(terminal, columns);
    bar->on_begin(f);
    bar->on_batch(f);
    bar->on_batch(f);  // too soon to be drawn again
    bar->on_end(f);
    return terminal.str();
  };
  const std::string facts = "1234 sequences/s  1:24 left\n";
  CHECK(drawn(120) ==
        "\r\033[Kepoch  3/40 [#............................]  loss 0.5000  accuracy 0.750  "
        "validation 0.500  " +
            facts);
  CHECK(drawn(80) == "\r\033[Kepoch  3/40 [.......]  loss 0.5000  accuracy 0.750  " + facts);
  CHECK(drawn(70) == "\r\033[Kepoch  3/40  loss 0.5000  accuracy 0.750  " + facts);
  CHECK(drawn(11) == "\r\033[Kepoch  3/4\n");
  f.validation_accuracy.reset();

  std::ostringstream file;
  const auto plain = progress_bar(file);
  plain->on_begin(f);
  for (f.epoch = 1; f.epoch <= 40; ++f.epoch) {
    plain->on_batch(f);
    plain->on_epoch(f);
  }
  plain->on_end(f);
  const std::string text = file.str();
  CHECK(std::count(text.begin(), text.end(), '\n') == 10);
  CHECK_THAT(text, ContainsSubstring("epoch  4/40  loss 0.5000  accuracy 0.750  "
                                     "1234 sequences/s  1:24 left\n"));
  CHECK(text.find('\r') == text.npos);
}

TEST_CASE("a confusion counts which class was taken for which", "[trainer]") {
  const SequenceDataset data = three_tones(6);  // classes 0 1 2 0 1 2
  const Confusion c(data, std::vector<int64_t>{0, 1, 1, 0, 1, 2});
  CHECK(c.count(2, 1) == 1);
  CHECK(c.count(1, 2) == 0);
  CHECK(c.accuracy() == 5.0 / 6);
  CHECK(c.str() ==
        "           low middle   high  recall\n"
        "    low      2      .      .   1.000\n"
        " middle      .      2      .   1.000\n"
        "   high      .      1      1   0.500\n");
  CHECK(error_of([&] { Confusion(data, std::vector<int64_t>{0}); }).code() ==
        "confusion.predicted.count");
  CHECK(error_of([&] { Confusion(data, std::vector<int64_t>{0, 1, 2, 3, 0, 0}); }).code() ==
        "confusion.predicted.range");
}

}  // namespace rondo
