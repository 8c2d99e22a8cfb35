// The adding problem, with a cell of one's own: a sequence of numbers, two of which are marked; the
// network gives their sum. To answer 1 always leaves an error of 0.167; to solve it, the cell must
// remember the first number until the second comes. Source: Hochreiter and Schmidhuber (1997).
//
//   adding [STEPS]     trains on sequences of 15 to 30 steps, tests on some of 60
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include <rondo/rondo.h>

using namespace rondo;

// Sequences of their own lengths: x[t] = {number, mark}, and what the marked ones sum up to.
std::vector<Feed> sequences(const Var& x, const Var& lengths, const Var& sums, uint64_t number,
                            int64_t rows, int64_t shortest, int64_t longest) {
  Tensor values(f32, {longest, rows, 2}), length(i32, {rows}), sum(f32, {rows});
  for (int64_t b = 0; b < rows; ++b) {
    uint64_t drawn = static_cast<uint64_t>(b) * 1000;
    const auto draw = [&] { return uniform_at(7, 0, number, drawn++); };
    const auto below = [&](int64_t n) {
      return static_cast<int64_t>(draw() * static_cast<double>(n));
    };
    const int64_t steps = shortest + below(longest - shortest + 1);
    const int64_t first = below(steps / 2), second = steps / 2 + below(steps - steps / 2);
    for (int64_t t = 0; t < steps; ++t) {
      float* const at = values.mutable_data<float>() + (t * rows + b) * 2;
      at[0] = static_cast<float>(draw());
      at[1] = t == first || t == second ? 1.0F : 0.0F;
      sum.mutable_data<float>()[b] += at[0] * at[1];
    }
    length.mutable_data<int32_t>()[b] = static_cast<int32_t>(steps);
  }
  return {{x, values}, {lengths, length}, {sums, sum}};
}

int main(int argc, char** argv) try {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 1000;
  constexpr int64_t kHidden = 32;
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 2});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  Var sums = g.placeholder("sums", f32, {"B"});

  // The cell, as its equations are written; any Var of the graph may be used in it.
  const auto weights = [&](const char* name, int64_t from, int64_t to) {
    return g.variable(name, init::glorot_uniform(g, {from, to}, from, to));
  };
  Var wf = weights("wf", 2, kHidden), uf = weights("uf", kHidden, kHidden);
  Var wh = weights("wh", 2, kHidden), uh = weights("uh", kHidden, kHidden);
  Var keep = g.variable("keep", Tensor::full(f32, {kHidden}, 2));  // remembers much at first
  const rnn::Cell cell = [&](Var xt, Vars s) -> rnn::Step {
    Var f = sigmoid(matmul(xt, wf) + matmul(s[0], uf) + keep);
    Var h = f * s[0] + (1 - f) * tanh(matmul(xt, wh) + matmul(s[0], uh));
    return {.output = h, .state = {h}};
  };
  const auto layer = rnn::layer(x, {rnn::zero_state(x, kHidden)}, cell, {.lengths = lengths});
  Var answer = squeeze(nn::dense(layer.last[0], 1, "answer"), -1);  // [B]
  Var loss = mean(square(answer - sums));

  Trainer trainer(g, loss, {.updater = Adam{.learning_rate = 5e-3}, .clip_norm = 1});
  double recent = 0;
  for (int step = 1; step <= steps; ++step) {
    const double now =
        trainer.update(sequences(x, lengths, sums, static_cast<uint64_t>(step), 64, 15, 30));
    recent = step == 1 ? now : 0.95 * recent + 0.05 * now;
    if (step % 100 == 0) std::printf("step %5d  error %.4f\n", step, recent);
  }

  Session& session = trainer.model().session();
  const double error = session.run(loss, sequences(x, lengths, sums, 0, 200, 60, 60)).item();
  std::printf("on 200 sequences of 60 steps, twice as long as any before: error %.4f\n", error);
  return error < 0.05 ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "adding: %s\n", e.what());
  return 1;
}
