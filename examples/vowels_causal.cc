// Who is speaking, while he speaks? The task of vowels.cc for a forward LSTM: it has heard only
// what is past, so the same network can answer frame by frame, as the sound comes in.
//
//   vowels_causal [--seed N] [--epochs N] [--threads N] [--data FOLDER]
//
// trains, tests, and saves vowels_causal.rondo.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

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

  Graph g;
  g.set_seed(seed);
  Var x = g.placeholder("x", f32, {"T", "B", 12});  // time, batch, features: "T" and "B" vary
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var speaker = g.placeholder("speaker", i32, {"B"});

  // Standardised by what the training part says; being in the graph, this is saved with it.
  Var frames = (x - g.constant(train.mean())) / g.constant(train.deviation());
  auto lstm = rnn::lstm_layer(nn::dropout(frames, 0.3), {.max_ts_length = lengths},
                              rnn::lstm_layer_weights(g, "lstm", 12, 64),
                              {.ret_full_sequence = false, .ret_last_h = true});
  Var logits = nn::dense(nn::dropout(lstm.last_h, 0.5), 9, "speakers");
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

  const Confusion confusion(test, trainer.predict(test));
  std::printf("\nspeakers (rows) and whom the network takes them for (columns):\n%s\n",
              confusion.str().c_str());
  std::printf("test accuracy: %.4f\n", confusion.accuracy());
  save(trainer, "vowels_causal.rondo");
  std::printf("saved vowels_causal.rondo\n");
}

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options{
      {"--seed", "1"}, {"--epochs", "30"}, {"--threads", "0"}, {"--data", kData}};
  for (int i = 1; i < argc; i += 2) {
    if (!options.contains(argv[i]) || i + 1 == argc) {
      std::printf("usage: vowels_causal [--seed N] [--epochs N] [--threads N] [--data FOLDER]\n");
      return 2;
    }
    options[argv[i]] = argv[i + 1];
  }
  train_and_save(options["--data"], std::stoull(options["--seed"]), std::stoll(options["--epochs"]),
                 std::stoi(options["--threads"]));
  return 0;
} catch (const std::invalid_argument&) {
  std::cerr << "vowels_causal: --seed, --epochs and --threads take whole numbers\n";
  return 2;
} catch (const std::exception& e) {
  std::cerr << "vowels_causal: " << e.what() << '\n';
  return 1;
}
