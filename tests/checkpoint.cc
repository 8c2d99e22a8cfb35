// A training that is saved goes on as if it had never stopped; what a file lacks is refused by
// name.
#include <rondo/runtime/checkpoint.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "trainer_fixture.h"

#include <rondo/ops/register.h>
#include <rondo/proto/bundle.h>

namespace rondo {

using Catch::Matchers::ContainsSubstring;

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

TEST_CASE("a training goes on in the precision in which it was saved", "[trainer][precision]") {
  const SequenceDataset data = three_tones();
  const Folder folder;
  const Precision precision = GENERATE(Precision::full, Precision::bf16, Precision::int8);
  const Precision other = precision == Precision::bf16 ? Precision::int8 : Precision::bf16;
  const auto made = [&] {
    const Network n = network();
    return Trainer(
        n.g, n.loss,
        {.inputs = n.inputs, .seed = 7, .threads = 1, .compile = {.precision = precision}});
  };
  Trainer whole = made(), first = made();
  whole.fit(data, {.epochs = 4, .batch_size = 8});
  first.fit(data, {.epochs = 2, .batch_size = 8});
  const std::string path = folder / "stopped.rondo";
  save(first, path);
  Trainer second = load_trainer(path, {.threads = 1});
  CHECK(second.config().compile.precision == precision);
  second.fit(data, {.epochs = 4, .batch_size = 8});
  for (const auto& [name, value] : *whole.model().session().variables().snapshot()) {
    INFO(name);
    CHECK(second.model().session().variables().value(name).same_bits(value));
  }
  const Error e =
      error_of([&] { load_trainer(path, {.threads = 1, .compile = {.precision = other}}); });
  CHECK(e.code() == "file.checkpoint.precision");
  CHECK_THAT(e.what(), ContainsSubstring(std::string("trained with precision ") +
                                         std::string(name_of(precision))));
  load_trainer(path, {.threads = 1, .compile = {.precision = precision}});

  Bundle b = load_bundle(path, registry());
  b.attributes.set("trainer/precision", "tiny");
  save_bundle(b, path);
  CHECK(error_of([&] { load_trainer(path, {.threads = 1}); }).code() ==
        "file.checkpoint.attribute");
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
    // Older files do not say in which precision they were trained.
    if (missing != "trainer/precision") CHECK(load(b).code() == "file.checkpoint.attribute");
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

}  // namespace rondo
