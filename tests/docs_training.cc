// Code that docs/training.md shows, compiled, run, and held to what the page says of it.
// tests/check_docs.py holds the page to this file.
#include <cmath>
#include <iostream>

#include <catch2/catch_test_macros.hpp>

#include "docs_data.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("training: updaters, learning rates, and what is done to gradients", "[docs]") {
  std::vector<Sequence> sequences;
  for (int64_t i = 0; i < 12; ++i)
    sequences.push_back({Tensor::full(f32, {3 + i % 3, 2}, i % 2 == 0 ? 1 : -1), i % 2});
  const SequenceDataset data(std::move(sequences), {"up", "down"});
  Graph g;
  g.set_seed(1);
  Var x = g.placeholder("x", f32, {"T", "B", 2});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var label = g.placeholder("label", i32, {"B"});
  auto lstm =
      rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 2, 4),
                      {.ret_full_sequence = false, .ret_last_h = true});
  Var logits = nn::dense(lstm.last_h, 2, "classes");
  Var loss = loss::softmax_cross_entropy(logits, label);

  // clang-format off
  Trainer trainer(g, loss,
                  {.inputs = {.values = x, .lengths = lengths, .labels = label},
                   .logits = logits,
                   .updater = AdamW{.learning_rate = schedule::WarmUp{
                                        .steps = 20,
                                        .then = schedule::Cosine{.from = 1e-2, .to = 1e-4, .steps = 100}}},
                   .regularization = {.l2 = 1e-5, .except = {"lstm/biases", "classes/biases"}},
                   .clip_norm = 1});
  trainer.fit(data, {.epochs = 10, .batch_size = 4});
  CHECK(trainer.state().step == 30);

  const int64_t per_epoch = (static_cast<int64_t>(data.size()) + 4 - 1) / 4;
  Updater halved = SGD{.learning_rate = schedule::Step{.from = 0.1, .factor = 0.5, .every = 2 * per_epoch},
                       .momentum = 0.9};
  CHECK(per_epoch == 3);
  CHECK(attributes_of(halved).integer("learning_rate/every") == 6);

  Graph h;
  Var t = h.placeholder("t", f64, {"N"});
  Var rates = rate_at(schedule::Cyclic{.low = 1, .high = 5, .up = 2}, t);
  Tensor seen = Session(h).run(rates, {{t, Tensor::of<double>({5}, {0, 1, 2, 3, 4})}});  // {1, 3, 5, 3, 1}
  CHECK(seen == Tensor::of<double>({5}, {1, 3, 5, 3, 1}));

  Updater careful = Adam{.learning_rate = schedule::Plateau{
                             .from = 1e-2, .factor = 0.5, .patience = 2, .every = per_epoch}};
  // clang-format on
  // clang-format off
  Trainer frugal(g, loss,
                 {.inputs = {.values = x, .lengths = lengths, .labels = label},
                  .updater = SGD{.learning_rate = 0.1},
                  .compile = {.precision = Precision::bf16,
                              .memory_budget = 64 << 20}});  // bytes of a run
  std::cout << frugal.explain({{"T", 100}, {"B", 16}});
  // clang-format on
  CHECK(frugal.explain({{"T", 100}, {"B", 16}}).find("within the budget") != std::string::npos);
  frugal.fit(data, {.epochs = 1, .batch_size = 4});

  const std::vector<Feed> feeds = trainer.model().feeds(data.batch({0, 1, 2, 3}));
  Vars weights = g.trainable();
  Vars d = clip_by_global_norm(clip_by_value(gradients(loss, weights), 0.5), 1.0);
  Updates updates =
      updates_for(careful, weights, d, {.loss = loss, .regularization = {.l2 = 1e-5}});
  Session session(g);
  Tensor before = session.run_and_update({loss}, updates, feeds, {.training = true})[0];
  for (int k = 0; k < 20; ++k) session.run_and_update({loss}, updates, feeds, {.training = true});
  CHECK(session.run(loss, feeds).item() < before.item());
  CHECK(session.variables().value("adam/plateau_best").item() < before.item());
}
