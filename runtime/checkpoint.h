// A trained model in a file, and a training that can go on.
//
// The file (proto/bundle.h) holds the graph as its user built it, without gradients, its variables
// at their present values; which values are the inputs, logits and loss; the model's notes; and
// what a training needs to go on: updater, precision, seed, place in the data. Gradients are
// derived again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <rondo/runtime/trainer.h>

namespace rondo {

/// Writes `.rondo` or `.pb`, by the ending of `path`; replaces the file whole or not at all. May be
/// called by a listener, in the middle of an epoch too. Values without a name that a reader must
/// find get one in the file: "loss", "logits".
void save(const Trainer& trainer, const std::string& path);

/// What is not kept in a file.
struct LoadOptions {
  int threads = 0;  ///< 0 = one per core
  CompileOptions compile = {};
  std::vector<std::shared_ptr<Listener>> listeners = {};
};

/// The trainer as it was saved, its precision too: fit() goes on, with the same bits as if it had
/// never stopped, where what is not in the file (backend, optimize, relaxed, kernel, recompute,
/// memory_budget) is given as before. Errors `file.*`: what load_bundle finds, what is missing or
/// does not fit, and another precision in `options` than the file's (file.checkpoint.precision).
Trainer load_trainer(const std::string& path, LoadOptions options = {});

/// The model alone, for prediction, in the precision that `options` give.
Model load_model(const std::string& path, LoadOptions options = {});

}  // namespace rondo
