// Who is speaking? Nine men say /ae/; a bidirectional LSTM listens and names the speaker.
//
//   vowels [--seed N] [--epochs N] [--threads N] [--data FOLDER]   trains, tests, saves
//   vowels.rondo vowels --load vowels.rondo [--data FOLDER]                     loads it, predicts
//   the same again
//
// The data, 270 utterances for training and 370 for the test, each 7 to 29 frames of 12 numbers,
// come with Rondo: see examples/data/japanese_vowels/SOURCE.md.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <rondo/rondo.h>

using namespace rondo;

// Where the data lies, unless --data says it: this file may be copied anywhere.
#ifdef RONDO_SOURCE_DIR
const char* const kData = RONDO_SOURCE_DIR "/examples/data/japanese_vowels";
#else
const char* const kData = ".";
#endif

SequenceDataset read_part(const std::string& folder, const std::string& part) {
  const std::string path = folder + "/JapaneseVowels_" + part + ".ts";
  if (!std::filesystem::exists(path))
    throw std::runtime_error("there is no " + path +
                             "; say by --data where the folder examples/data/japanese_vowels of "
                             "Rondo's sources is");
  return read_ts(path);
}

void train_and_save(const std::string& folder, uint64_t seed, int64_t epochs, int threads) {
  const auto [train, valid] = read_part(folder, "TRAIN").split(0.15, seed);
  const SequenceDataset test = read_part(folder, "TEST");
  std::printf("%zu utterances to train on, %zu to validate, %zu to test\n", train.size(),
              valid.size(), test.size());

  Graph g;
  g.set_seed(seed);
  Var x = g.placeholder("x", f32, {"T", "B", 12});  // time, batch, features: "T" and "B" vary
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var speaker = g.placeholder("speaker", i32, {"B"});

  // Standardised by what the training part says; being in the graph, this is saved with it.
  Var frames = (x - g.constant(train.mean())) / g.constant(train.deviation());
  auto lstm = rnn::lstm_layer(
      nn::dropout(frames, 0.2), {.max_ts_length = lengths},
      rnn::lstm_layer_weights(g, "lstm", 12, 64, BIDIR_CONCAT),
      {.direction_mode = BIDIR_CONCAT, .ret_full_sequence = false, .ret_last_h = true});
  Var heard = rnn::join_directions(lstm.last_h);  // [B,128]
  Var logits = nn::dense(nn::dropout(heard, 0.5), 9, "speakers");
  Var loss = loss::softmax_cross_entropy(logits, speaker);

  Trainer trainer(g, loss,
                  {.inputs = {.values = x, .lengths = lengths, .labels = speaker},
                   .logits = logits,
                   .updater = Adam{.learning_rate = 3e-3},
                   .clip_norm = 1,
                   .seed = seed,
                   .threads = threads,
                   .listeners = {progress_bar()}});
  trainer.fit(train, {.epochs = epochs, .batch_size = 16, .validation = &valid});

  const std::vector<int64_t> predicted = trainer.predict(test);
  const Confusion confusion(test, predicted);
  std::printf("\nspeakers (rows) and whom the network takes them for (columns):\n%s\n",
              confusion.str().c_str());
  std::printf("test accuracy: %.4f\n", confusion.accuracy());

  trainer.model().notes().set("test_predictions", predicted);
  save(trainer, "vowels.rondo");
  std::printf("saved vowels.rondo\n");
}

int load_and_compare(const std::string& folder, const std::string& path, int threads) {
  const SequenceDataset test = read_part(folder, "TEST");
  const Model model = load_model(path, {.threads = threads});
  if (!model.notes().has("test_predictions")) {
    std::printf("%s has no predictions to compare with\n", path.c_str());
    return 1;
  }
  const std::vector<int64_t> now = model.predict(test);
  const std::vector<int64_t>& then = model.notes().integers("test_predictions");

  size_t different = 0;
  for (size_t i = 0; i < now.size(); ++i) different += now[i] != then.at(i) ? 1 : 0;
  if (different > 0) {
    std::printf("%zu of %zu predictions differ\n", different, now.size());
    return 1;
  }
  std::printf("all %zu predictions are equal\n", now.size());
  return 0;
}

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options{
      {"--seed", "1"}, {"--epochs", "30"}, {"--threads", "0"}, {"--load", ""}, {"--data", kData}};
  for (int i = 1; i < argc; i += 2) {
    if (!options.contains(argv[i]) || i + 1 == argc) {
      std::printf(
          "usage: vowels [--seed N] [--epochs N] [--threads N] [--load FILE] [--data FOLDER]\n");
      return 2;
    }
    options[argv[i]] = argv[i + 1];
  }
  const int threads = std::stoi(options["--threads"]);
  const std::string folder = options["--data"];
  if (!options["--load"].empty()) return load_and_compare(folder, options["--load"], threads);
  train_and_save(folder, std::stoull(options["--seed"]), std::stoll(options["--epochs"]), threads);
  return 0;
} catch (const std::invalid_argument&) {
  std::cerr << "vowels: --seed, --epochs and --threads take whole numbers\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "vowels: " << e.what() << '\n';
  return 1;
}
