// A stranger's program: it has macros and protobuf messages of its own, builds a network, trains
// it, saves it, loads it again, and catches what Rondo throws.
#include <cstdio>
#include <cstdlib>

// What other libraries leave behind.
#define CHECK(condition) \
  if (!(condition)) std::abort()
#define LOG(severity) std::abort()
#define DCHECK(condition) CHECK(condition)
#define ASSERT(condition) CHECK(condition)
#define FAIL() std::abort()
#define ERROR 3
#define INFO 0

#include "note.pb.h"

#include <rondo/rondo.h>

using namespace rondo;

namespace {

std::string code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

// Rising and falling lines of different lengths.
SequenceDataset lines() {
  std::vector<Sequence> r;
  for (int64_t i = 0; i < 12; ++i) {
    const int64_t steps = 3 + i % 4, label = i % 2;
    std::vector<float> values;
    for (int64_t t = 0; t < steps; ++t)
      values.push_back(static_cast<float>(label == 0 ? t : -t) * 0.3F);
    r.push_back({Tensor::of({steps, 1}, values), label});
  }
  return SequenceDataset(std::move(r), {"up", "down"});
}

}  // namespace

int main() {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 1});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var labels = g.placeholder("labels", i32, {"B"});
  auto lstm =
      rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 1, 8),
                      {.ret_full_sequence = false, .ret_last_h = true});
  Var logits = nn::dense(lstm.last_h, 2, "direction");
  Trainer trainer(g, loss::softmax_cross_entropy(logits, labels),
                  {.inputs = {.values = x, .lengths = lengths, .labels = labels},
                   .logits = logits,
                   .updater = Adam{.learning_rate = 0.05}});
  const SequenceDataset data = lines();
  trainer.fit(data, {.epochs = 20, .batch_size = 4});
  const std::vector<int64_t> before = trainer.predict(data);
  save(trainer, "consumer.rondo");
  const std::vector<int64_t> after = load_model("consumer.rondo").predict(data);

  consumer::Note note;
  note.set_text("right");
  for (size_t i = 0; i < data.size(); ++i) note.add_numbers(after[i] == data[i].label ? 1 : 0);
  consumer::Note again;
  const bool kept = again.ParseFromString(note.SerializeAsString()) &&
                    again.GetDescriptor()->field_count() == 2 && again.text() == note.text();

  double right = 0;
  for (const double n : again.numbers()) right += n;
  const std::string missing = code_of([] { load_model("no such file.rondo"); });
  const std::string wrong =
      code_of([] { (void)matmul(Tensor::full(f32, {2, 3}, 1), Tensor::full(f32, {2, 3}, 1)); });
  std::printf("%g of %zu right; \"%s\", \"%s\"\n%s", right, data.size(), missing.c_str(),
              wrong.c_str(), again.ShortDebugString().c_str());
  const bool good = before == after && kept && right == static_cast<double>(data.size()) &&
                    missing == "file.read.open" && wrong == "matmul.b.dim";
  return good ? 0 : 1;
}
