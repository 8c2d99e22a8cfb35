// Training, checkpoints and what listeners hear, on a network that is small enough to be quick.
#include <rondo/runtime/trainer.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/loss.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/random.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/proto/bundle.h>
#include <rondo/runtime/checkpoint.h>

namespace rondo {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;

// Three classes that differ in the mean of their first feature; lengths 1 to 9.
SequenceDataset three_tones(size_t n = 42, uint64_t seed = 3) {
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

Network network(DType dtype = f32) {
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

Trainer trainer(const Network& n, int threads = 1, Updater updater = Adam{.learning_rate = 0.01},
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

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// All that a training has become: weights, moments, counters.
std::string saved(const Trainer& t, const Folder& folder) {
  save(t, folder / "state.rondo");
  return bytes_of(folder / "state.rondo");
}

template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  FAIL("no error was thrown");
  throw std::logic_error("unreachable");
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

}  // namespace

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

TEST_CASE("a training that was saved goes on as if it had never stopped", "[trainer]") {
  const SequenceDataset data = three_tones();
  const Folder folder;
  const auto at = [](const Schedule& rate) {
    return TrainerConfig{.updater = SGD{.learning_rate = rate, .momentum = 0.9}};
  };
  const schedule::Step step{.from = 0.1, .every = 5};
  const TrainerConfig config = GENERATE_COPY(
      TrainerConfig{.updater = Adam{.learning_rate = 0.01}, .clip_norm = 0.5}, at(0.1),
      TrainerConfig{.updater = Nesterov{}}, TrainerConfig{.updater = AdaGrad{.initial = 0.1}},
      TrainerConfig{.updater = RMSProp{.momentum = 0.5, .centered = true, .epsilon = 1e-3}},
      TrainerConfig{.updater = AdaDelta{}}, TrainerConfig{.updater = AdaMax{}},
      TrainerConfig{.updater = AMSGrad{}}, TrainerConfig{.updater = Nadam{}},
      TrainerConfig{.updater = AdamW{}}, TrainerConfig{.updater = AdaBelief{}}, at(step),
      at(schedule::Exponential{.from = 0.1}), at(schedule::Inverse{.from = 0.1, .gamma = 0.1}),
      at(schedule::Polynomial{.from = 0.1, .steps = 20}),
      at(schedule::Cosine{.from = 0.1, .steps = 4, .restarts = true, .growth = 2}),
      at(schedule::Cyclic{.low = 0.01, .high = 0.1, .up = 5}),
      at(schedule::WarmUp{.steps = 20, .then = step}),
      at(schedule::Plateau{.from = 0.1, .factor = 0.5, .patience = 0, .every = 4}),
      TrainerConfig{.updater = AdamW{},
                    .regularization = {.l1 = 1e-3,
                                       .l2 = 1e-2,
                                       .weight_decay = 0.1,
                                       .except = {"tones/biases", "lstm/biases"}},
                    .clip_value = 0.1,
                    .clip_each_norm = 0.2,
                    .clip_norm = 0.3});
  const std::string ending = GENERATE(".rondo", ".pb");
  INFO(attributes_of(config.updater).text("updater"));
  const auto made = [&] {
    const Network n = network();
    TrainerConfig c = config;
    c.inputs = n.inputs;
    c.logits = n.logits;
    c.seed = 7;
    c.threads = 1;
    return Trainer(n.g, n.loss, c);
  };

  Trainer whole = made();
  whole.fit(data, {.epochs = 5, .batch_size = 8});

  Trainer first = made();
  first.model().notes().set("who", "me");
  first.fit(data, {.epochs = 3, .batch_size = 8});
  save(first, folder / "stopped" + ending);
  Trainer second = load_trainer(folder / "stopped" + ending, {.threads = 2});
  CHECK(second.state().epoch == 3);
  CHECK(second.model().notes().text("who") == "me");
  CHECK(attributes_of(second.config().updater) == attributes_of(config.updater));
  second.fit(data, {.epochs = 5, .batch_size = 8});

  whole.model().notes().set("who", "me");
  // A file gives names to logits and loss, so both have been through one.
  save(whole, folder / "whole.rondo");
  CHECK(saved(load_trainer(folder / "whole.rondo", {.threads = 1}), folder) ==
        saved(second, folder));
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

TEST_CASE("a training that was saved within an epoch finishes it", "[trainer]") {
  const SequenceDataset data = three_tones();
  const Folder folder;
  const int64_t at = GENERATE(1, 4, 6);  // of 6 batches

  Trainer* running = nullptr;
  const auto notes = std::make_shared<Notes>();
  notes->at_batch = [&](const TrainingFacts& f) {
    if (f.epoch == 2 && f.batch == at) save(*running, folder / "middle.rondo");
  };
  Trainer whole = trainer(network(), 1, Adam{}, {notes});
  running = &whole;
  whole.fit(data, {.epochs = 3, .batch_size = 8});

  Trainer resumed = load_trainer(folder / "middle.rondo", {.threads = 1});
  CHECK(resumed.state().epoch == 1);
  CHECK(resumed.state().batch == at);
  if (at < 6) {
    const Error e = error_of([&] { resumed.fit(data, {.epochs = 3, .batch_size = 9}); });
    CHECK(e.code() == "trainer.resume.batches");
  }
  resumed.fit(data, {.epochs = 3, .batch_size = 8});
  for (const auto& [name, value] : *whole.model().session().variables().snapshot()) {
    INFO(name);
    CHECK(resumed.model().session().variables().value(name).same_bits(value));
  }
}

TEST_CASE("a loaded model predicts with the same bits", "[trainer]") {
  const SequenceDataset data = three_tones();
  const Folder folder;
  const std::string path = folder / GENERATE("model.rondo", "model.pb");
  Network n = network();
  Trainer t = trainer(n);
  t.fit(data, {.epochs = 2, .batch_size = 8});
  const int32_t nodes = n.g.size();
  const auto names = n.g.names();
  save(t, path);
  CHECK(n.g.size() == nodes);  // saving changes nothing
  CHECK(n.g.names() == names);

  const Model m = load_model(path, {.threads = 2});
  CHECK(m.predict(data) == t.predict(data));
  const SequenceBatch batch = data.batch({5, 1, 30, 8});
  CHECK(m.session().run(m.logits(), m.feeds(batch)) ==
        t.model().session().run(n.logits, t.model().feeds(batch)));
  // The forward graph alone: no gradients, no moments.
  CHECK(m.graph().variables().size() == 5);
  CHECK(m.graph().find("loss").rank() == 0);
  CHECK(m.graph().find("logits").rank() == 2);
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
  CHECK(error_of([&] { t.fit(data, {.batch_size = 0}); }).code() == "data.batch_size.range");
  const SequenceDataset wide({{Tensor(f32, {4, 3}), 0}}, {"a"});
  CHECK(error_of([&] { t.fit(wide, {}); }).code() == "placeholder.x.dim");
}

TEST_CASE("a loss that is no longer finite ends the training", "[trainer]") {
  Tensor values(f32, {3, 2});
  values.mutable_data<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  const SequenceDataset data({{values, 0}}, {"a"});
  Trainer t = trainer(network());
  const Error e = error_of([&] { t.fit(data, {}); });
  CHECK(e.code() == "trainer.loss.finite");
  CHECK_THAT(e.what(), ContainsSubstring("epoch 1, batch 1"));
}

TEST_CASE("a checkpoint that lacks something is refused by name", "[trainer]") {
  const Folder folder;
  Trainer t = trainer(network());
  save(t, folder / "whole.rondo");
  const Bundle whole = load_bundle(folder / "whole.rondo", registry());
  const auto load = [&](const Bundle& b) {
    save_bundle(b, folder / "part.rondo");
    return error_of([&] { load_trainer(folder / "part.rondo", {.threads = 1}); });
  };
  for (const auto& [missing, value] : whole.attributes.items()) {
    // These may be none; without them there is no accuracy, or a feed is missing later.
    if (missing.starts_with("model/") && missing != "model/loss") continue;
    INFO(missing);
    Bundle b = whole;
    b.attributes = {};
    for (const auto& [name, v] : whole.attributes.items()) {
      if (name != missing) b.attributes.set(name, v);
    }
    CHECK(load(b).code() == "file.checkpoint.attribute");
    b.attributes.set(missing, DType::bf16);
    CHECK(load(b).code() == "file.checkpoint.attribute");
  }
  for (const auto& [missing, value] : whole.tensors) {
    Bundle b = whole;
    b.tensors.erase(missing);
    const Error e = load(b);
    CHECK(e.code() == "file.checkpoint.updater");
    CHECK_THAT(e.what(), ContainsSubstring(missing));
    b.tensors[missing] = Tensor(i32, {3, 1, 4});
    CHECK(load(b).code() == "variables.value.type");
  }
  Bundle b = whole;
  b.attributes.set("cursor/step", -1);
  CHECK(load(b).code() == "file.checkpoint.attribute");
  b = whole;
  b.attributes.set("model/logits", "nobody");
  CHECK(load(b).code() == "file.checkpoint.value");
  b = whole;
  b.attributes.set("updater/updater", "lion");
  CHECK(load(b).code() == "updater.name.unknown");
  b = whole;
  b.attributes.set("trainer/l2", "much");
  CHECK(load(b).code() == "file.checkpoint.attribute");
  b = whole;
  b.graphs.clear();
  CHECK(load(b).code() == "file.checkpoint.graph");
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
