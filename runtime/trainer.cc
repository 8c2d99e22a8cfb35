#include <rondo/runtime/trainer.h>

#include <chrono>
#include <cstdint>

#include <rondo/autodiff/gradients.h>
#include <rondo/autodiff/state_updates.h>

namespace rondo {

// Sums over sequences, of what a fetch of {loss, prediction} gives.
struct Trainer::Totals {
  double loss = 0;
  int64_t right = 0;
  int64_t sequences = 0;

  void add(const std::vector<Tensor>& fetched, const SequenceBatch& batch) {
    const auto rows = static_cast<int64_t>(batch.rows.size());
    loss += fetched[0].item() * static_cast<double>(rows);
    sequences += rows;
    if (fetched.size() < 2) return;
    for (int64_t k = 0; k < rows; ++k) right += fetched[1].at(k) == batch.labels.at(k) ? 1 : 0;
  }
  Scores scores(bool has_logits) const {
    const auto n = static_cast<double>(sequences);
    Scores s{loss / n};
    if (has_logits) s.accuracy = static_cast<double>(right) / n;
    return s;
  }
};

namespace {

// NaN and infinity have all bits of the exponent.
template <class Bits>
bool lacks_bits(const Tensor& t, Bits exponent) {
  const auto* bits = reinterpret_cast<const Bits*>(t.raw());
  bool found = false;  // no early exit: so the loop is one of vectors
  for (int64_t i = 0; i < t.size(); ++i) found |= (bits[i] & exponent) == exponent;
  return !found;
}

bool all_finite(const Tensor& t) {
  switch (t.dtype()) {
    case f64:
      return lacks_bits(t, uint64_t{0x7ff0000000000000});
    case f32:
      return lacks_bits(t, uint32_t{0x7f800000});
    case f16:
      return lacks_bits(t, uint16_t{0x7c00});
    case bf16:
      return lacks_bits(t, uint16_t{0x7f80});
    default:
      return true;
  }
}

}  // namespace

Trainer::Trainer(Graph graph, Var loss, TrainerConfig config, Site at)
    : model_nodes_(graph.size()),
      model_(std::make_shared<Session>(graph, config.compile,
                                       std::make_shared<ThreadTeam>(config.threads)),
             config.inputs, config.logits),
      loss_(std::move(loss)),
      config_(std::move(config)) {
  const Vars variables = graph.trainable();
  if (variables.empty()) {
    fail(Fault::kArgument, "trainer.graph.variables",
         "[trainer] the graph has no trainable variable, so there is nothing to train",
         built_at(at));
  }
  Vars d = gradients(loss_, variables, at);
  const auto clip_to = [&](std::string_view name, double limit, Vars (*clip)(const Vars&, double)) {
    if (!(limit >= 0)) {
      fail(Fault::kArgument, cat("trainer.", name, ".range"), "[trainer] ", name, " is ", limit,
           ", but must be positive, or 0 for none", built_at(at));
    }
    if (limit > 0) d = clip(d, limit);
  };
  clip_to("clip_value", config_.clip_value, clip_by_value);
  clip_to("clip_each_norm", config_.clip_each_norm, clip_by_norm);
  clip_to("clip_norm", config_.clip_norm, clip_by_global_norm);
  updates_ = updates_for(config_.updater, variables, d,
                         {.loss = loss_, .regularization = config_.regularization});
  const Updates kept = state_updates({loss_});
  updates_.insert(updates_.end(), kept.begin(), kept.end());
  model_.session().variables().extend(graph);
  fetches_ = {loss_};
  if (model_.prediction()) fetches_.push_back(model_.prediction());
}

Vars Trainer::updater_variables() const {
  Vars r;
  for (const Update& u : updates_) {
    if (!is_of_model(u.variable)) r.push_back(u.variable);
  }
  return r;
}

std::vector<Tensor> Trainer::step(const std::vector<Feed>& feeds) {
  const auto refuse = [&](std::string_view what, const auto&... text) {
    fail(
        Fault::kArgument, cat("trainer.", what, ".finite"), "[trainer] ", text..., " step ",
        state_.step + 1, " (epoch ", state_.epoch + 1, ", batch ", state_.batch + 1,
        "), so that step was not made: what is fed may hold NaN, or the learning rate is too high");
  };
  const auto before = model_.session().variables().snapshot();
  const auto inspect = [&](const std::vector<Tensor>& fetched, const std::vector<Tensor>& updated) {
    if (!all_finite(fetched[0])) refuse("loss", "the loss is ", fetched[0].item(), " at");
    for (size_t i = 0; i < updated.size(); ++i) {
      // What an updater keeps may be infinite by design: the best loss before there was one.
      const std::string& name = updates_[i].variable.name();
      if (!all_finite(updated[i]) && all_finite(before->at(name)))
        refuse("variable", "variable \"", name, "\" would be NaN or infinite after");
    }
  };
  std::vector<Tensor> fetched = model_.session().run_and_update(
      fetches_, updates_, feeds, {.training = true, .seed = config_.seed, .step = state_.step},
      inspect);
  ++state_.step;
  return fetched;
}

double Trainer::update(const std::vector<Feed>& feeds) { return step(feeds)[0].item(); }

Scores Trainer::evaluate(const SequenceDataset& data, int64_t batch_size) const {
  Totals totals;
  for (const Rows& rows : data.batches(batch_size)) {
    const SequenceBatch batch = data.batch(rows);
    totals.add(model_.session().run(fetches_, model_.feeds(batch)), batch);
  }
  return totals.scores(fetches_.size() > 1);
}

void Trainer::fit(const SequenceDataset& data, const FitOptions& options) {
  if (data.size() == 0) {
    fail(Fault::kArgument, "trainer.data.empty", "[trainer] there is no sequence to train on");
  }
  const BatchInputs& in = config_.inputs;
  if (!in.values && !in.lengths && !in.labels && !loss_.graph().placeholders().empty()) {
    fail(
        Fault::kArgument, "trainer.inputs.missing",
        "[trainer] fit feeds the placeholders that TrainerConfig::inputs names, and it names none; "
        "give .inputs = {.values, .lengths, .labels}");
  }
  if (options.epochs < 0) {
    fail(Fault::kArgument, "trainer.epochs.range", "[trainer] epochs is ", options.epochs,
         ", but must be 0 or more");
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const auto per_epoch = static_cast<int64_t>(data.size());
  int64_t trained = 0;
  TrainingFacts facts{.epoch = state_.epoch, .epochs = options.epochs};
  const auto tell = [&](void (Listener::*what)(const TrainingFacts&)) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    facts.step = state_.step;
    facts.sequences_per_second = seconds > 0 ? static_cast<double>(trained) / seconds : 0;
    for (const auto& listener : config_.listeners) (listener.get()->*what)(facts);
  };

  tell(&Listener::on_begin);
  while (state_.epoch < options.epochs) {
    const std::vector<Rows> batches = data.batches(options.batch_size, config_.seed, state_.epoch);
    const auto count = static_cast<int64_t>(batches.size());
    if (state_.batch > 0 && state_.batches != count) {
      fail(Fault::kArgument, "trainer.resume.batches", "[trainer] epoch ", state_.epoch + 1,
           " was begun with ", state_.batches, " batches and cannot be finished with ", count,
           "; give the same data and batch_size");
    }
    state_.batches = count;
    facts.epoch = state_.epoch + 1;
    facts.batches = count;
    Totals totals;
    while (state_.batch < count) {
      const SequenceBatch batch = data.batch(batches[static_cast<size_t>(state_.batch)]);
      totals.add(step(model_.feeds(batch)), batch);
      ++state_.batch;
      trained += static_cast<int64_t>(batch.rows.size());
      const Scores scores = totals.scores(fetches_.size() > 1);
      facts.loss = scores.loss;
      facts.accuracy = scores.accuracy;
      facts.batch = state_.batch;
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      const int64_t left = (options.epochs - state_.epoch) * per_epoch - totals.sequences;
      facts.seconds_left = seconds * static_cast<double>(left) / static_cast<double>(trained);
      tell(&Listener::on_batch);
    }
    ++state_.epoch;
    state_.batch = 0;
    if (options.validation != nullptr) {
      const Scores scores = evaluate(*options.validation);
      facts.validation_loss = scores.loss;
      facts.validation_accuracy = scores.accuracy;
    }
    tell(&Listener::on_epoch);
  }
  tell(&Listener::on_end);
}

}  // namespace rondo
