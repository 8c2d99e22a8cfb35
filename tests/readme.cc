// Code that the documents show, compiled and run. tests/check_docs.py holds the documents to it.
#include <filesystem>
#include <iostream>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include <rondo/rondo.h>

using namespace rondo;

TEST_CASE("the README's own cell runs, forward and backward", "[docs]") {
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 3});
  Var lengths = g.placeholder("lengths", i32, {"B"});
  const auto weight = [&](const char* name, int64_t rows) {
    return g.variable(name, init::glorot_uniform(g, {rows, 64}, rows, 64, f32));
  };
  Var wf = weight("wf", 3), wh = weight("wh", 3), uf = weight("uf", 64), uh = weight("uh", 64);

  // y_t = h_t = f h_{t-1} + (1 - f) tanh(...): a gate that forgets.
  // clang-format off
  auto r = rnn::layer(x, {rnn::zero_state(x, 64)}, [&](Var xt, Vars s) -> rnn::Step {
    Var f = sigmoid(matmul(xt, wf) + matmul(s[0], uf));
    Var h = f * s[0] + (1 - f) * tanh(matmul(xt, wh) + matmul(s[0], uh));
    return {.output = h, .state = {h}};
  }, {.lengths = lengths});
  // clang-format on
  Vars d = gradients(sum(r.y), g.trainable());

  Session session(g);
  d.push_back(r.y);
  const auto out = session.run(
      d, {{x, Tensor::full(f32, {5, 2, 3}, 0.5)}, {lengths, Tensor::of<int32_t>({2}, {5, 3})}});
  CHECK(out[4].dims() == Dims{5, 2, 64});
  CHECK(out[4].at((3 * 2 + 1) * 64) == 0);  // past the end of the second row
  CHECK(out[4].at((3 * 2 + 0) * 64) != 0);
  std::ostringstream told;
  {
    std::streambuf* before = std::cout.rdbuf(told.rdbuf());
    std::cout << Session(g).explain({r.y}, {{"T", 100}, {"B", 16}});
    std::cout.rdbuf(before);
  }
  CHECK(told.str().find("cpu.recurrence.engine") != std::string::npos);
}

TEST_CASE("the README's tensors", "[docs]") {
  std::ostringstream told;
  std::streambuf* before = std::cout.rdbuf(told.rdbuf());
  // clang-format off
  Tensor a = Tensor::of<float>({2, 2}, {1, 2, 3, 4});  // or from a std::vector
  Tensor y = tanh(matmul(a, a) * 0.1 + 1);
  std::cout << y << "\n";                              // f32[2,2] {0.935409, 0.964028, 0.986614, 0.996682}
  int64_t rows = y.dims()[0];
  std::span<const float> numbers = y.values<float>();  // flat, row-major; y.at(3) is a double, sum(y).item() too
  // clang-format on
  std::cout.rdbuf(before);
  CHECK(told.str() == "f32[2,2] {0.935409, 0.964028, 0.986614, 0.996682}\n");
  CHECK(rows == 2);
  CHECK(numbers.size() == 4);
  CHECK(y.at(3) == static_cast<double>(numbers[3]));
  try {
    matmul(a, Tensor(f32, {3, 2}));
    CHECK(false);
  } catch (const Error& e) {
    CHECK(e.code() == "matmul.b.dim");
    CHECK(e.fault() == Fault::kArgument);
  }
  CHECK(to_string(Tensor::full(i32, {100}, 7)).ends_with(", 7, 7, ...}"));
  CHECK(to_string(Tensor()) == "no tensor");
}

TEST_CASE("the README's way from a file to numbers", "[docs]") {
  const auto folder = std::filesystem::temp_directory_path() / "rondo_readme";
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "model.rondo").string();
  {
    Graph g;
    Var x = g.placeholder("x", f32, {"T", "B", 12});
    Var lengths = g.placeholder("lengths", i32, {"B"});
    Var speaker = g.placeholder("speaker", i32, {"B"});
    auto lstm =
        rnn::lstm_layer(x, {.max_ts_length = lengths}, rnn::lstm_layer_weights(g, "lstm", 12, 4),
                        {.ret_full_sequence = false, .ret_last_h = true});
    Var logits = nn::dense(lstm.last_h, 9, "speakers").named("logits");
    Trainer trainer(
        g, loss::softmax_cross_entropy(logits, speaker),
        {.inputs = {.values = x, .lengths = lengths, .labels = speaker}, .logits = logits});
    save(trainer, path);
  }
  const Tensor frames = Tensor::full(f32, {7, 1, 12}, 0.5);
  const Tensor lengths = Tensor::of<int32_t>({1}, {7});
  // clang-format off
  Model model = load_model(path);
  Graph g = model.graph();
  Tensor scores = model.session().run(g.find("logits"), {{g.find("x"), frames}, {g.find("lengths"), lengths}});
  // clang-format on
  CHECK(scores.dims() == Dims{1, 9});
  std::filesystem::remove_all(folder);
}
