// A network whose weights were converted gives what it gave: the same numbers through each op that
// takes such a network, and the example of docs/weights.md.
#include <filesystem>

#include <catch2/catch_test_macros.hpp>

#include "op_run.h"
#include "weights_fixture.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;
using rnn::RnnMode;
using weights::Format;
using weights::Network;
using weights::Tensors;

namespace {

constexpr int64_t kSteps = 5, kRows = 2;

Tensor zeros(int64_t rows, int64_t width) { return {f64, {rows, width}}; }

// Each takes tensors of its own layout and gives the output of the last layer, [T,B,D*R].
Tensor by_rnn(const Network& n, const Tensors& t, const Tensor& x) {
  const int64_t states = n.layers * (n.bidirectional ? 2 : 1);
  const int64_t width = n.projection_size != 0 ? n.projection_size : n.hidden_size;
  rnn::RnnInputs<Tensor> in{.parameters = t.at("parameters"),
                            .state = Tensor(f64, {states, kRows, width})};
  if (n.mode == RnnMode::lstm) in.state_cell = Tensor(f64, {states, kRows, n.hidden_size});
  return rnn::rnn(x, in, weights::rnn_config(n)).output;
}

Tensor by_layers(const Network& n, const Tensors& t, Tensor x) {
  for (int64_t l = 0; l < n.layers; ++l) {
    if (n.mode == RnnMode::lstm) {
      x = rnn::lstm_layer(x, {}, weights::layer_of<rnn::LSTMLayerWeights<Tensor>>(t, l),
                          {.direction_mode = n.bidirectional ? BIDIR_CONCAT : FWD})
              .y;
    } else {
      x = rnn::gru_layer(x, zeros(kRows, n.hidden_size),
                         weights::layer_of<rnn::GRULayerWeights<Tensor>>(t, l),
                         {.linear_before_reset = n.reset_after});
    }
  }
  return x;
}

Tensor by_cells(const Network& n, const Tensors& t, Tensor x) {
  for (int64_t l = 0; l < n.layers; ++l) {
    if (n.mode == RnnMode::lstm) {
      x = rnn::lstm_block(x, {}, weights::layer_of<rnn::LSTMWeights<Tensor>>(t, l),
                          {.peep_hole = n.peepholes})
              .y;
      continue;
    }
    const auto w = weights::layer_of<rnn::GRUWeights<Tensor>>(t, l);
    Tensor h = zeros(kRows, n.hidden_size);
    std::vector<Tensor> all;
    for (int64_t s = 0; s < kSteps; ++s) {
      h = rnn::gru(squeeze(slice(x, 0, s, s + 1), 0), h, w).h;
      all.push_back(expand_dims(h, 0));
    }
    x = concat(all, 0);
  }
  return x;
}

Tensor by_lstmp(const Network& n, const Tensors& t, Tensor x) {
  const int64_t width = n.projection_size != 0 ? n.projection_size : n.hidden_size;
  for (int64_t l = 0; l < n.layers; ++l) {
    x = rnn::lstmp(x, zeros(kRows, width), zeros(kRows, n.hidden_size),
                   weights::layer_of<rnn::LSTMPWeights<Tensor>>(t, l),
                   {.peep_hole = n.peepholes, .projection = n.projection_size != 0})
            .h;
  }
  return x;
}

using Run = Tensor (*)(const Network&, const Tensors&, Tensor);
const std::vector<std::pair<Format, Run>> kRuns{
    {Format::kPacked, [](const Network& n, const Tensors& t, Tensor x) { return by_rnn(n, t, x); }},
    {Format::kNd4j, by_layers},
    {Format::kNd4jCell, by_cells},
    {Format::kNd4jProjected, by_lstmp}};

}  // namespace

TEST_CASE("weights: the network gives the same through every op that can be it", "[weights]") {
  size_t compared = 0;
  for (const Network& n : networks()) {
    const Tensor x = draw({kSteps, kRows, n.input_size}, f64, -1, 1, 5);
    for (const Format from : holders(n)) {
      Tensors given = some_weights(from, n);
      // So that ND4J's gru can be it.
      if (n.mode == RnnMode::gru && n.reset_after && !n.bidirectional && from == Format::kPyTorch) {
        for (auto& [name, t] : given) {
          if (name.starts_with("bias_hh")) t = Tensor(f64, t.dims());
        }
      }
      Tensor first;
      for (const auto& [format, run] : kRuns) {
        if (!weights::refusal(format, n).empty()) continue;
        CAPTURE(describe(n), weights::name_of(from), weights::name_of(format));
        Tensors tensors;
        try {
          tensors = weights::convert(from, format, n, given);
        } catch (const Error& e) {
          CHECK(e.code() == "weights.format.bias");
          continue;
        }
        const Tensor y = run(n, tensors, x);
        if (!first) first = y;
        CHECK(distance(y, first) < 1e-13);
        ++compared;
      }
    }
  }
  CAPTURE(compared);
  CHECK(compared > 200);
}

TEST_CASE("the example of docs/weights.md", "[weights]") {
  const Network net{.mode = RnnMode::lstm,
                    .input_size = 12,
                    .hidden_size = 8,
                    .layers = 2,
                    .bidirectional = true};
  const Tensors state_dict = some_weights(Format::kPyTorch, net, f32);
  SafeTensors saved;
  for (const auto& [name, t] : state_dict) saved.tensors["encoder.lstm." + name] = t;
  saved.tensors["head.weight"] = Tensor(f32, {9, 16});
  const auto path =
      (std::filesystem::temp_directory_path() / "rondo_weights_example.safetensors").string();
  save_safetensors(saved, path);
  const Tensor x = draw({kSteps, kRows, 12}, f32, -1, 1, 3);
  const Tensor h0(f32, {4, kRows, 8}), c0(f32, {4, kRows, 8});
  using weights::Format;

  SafeTensors file = load_safetensors(path);
  auto torch = weights::under(file.tensors, "encoder.lstm.");
  auto network = weights::network_of(Format::kPyTorch, torch, rnn::RnnMode::lstm);

  // All layers at once, from the packed vector.
  auto packed = weights::convert(Format::kPyTorch, Format::kPacked, network, torch);
  Tensor y = rnn::rnn(x, {.parameters = packed.at("parameters"), .state = h0, .state_cell = c0},
                      weights::rnn_config(network))
                 .output;

  // Layer by layer, with lengths, peepholes, activations and what else lstm_layer has.
  auto nd4j = weights::convert(Format::kPyTorch, Format::kNd4j, network, torch);
  Tensor h = x;
  for (int64_t k = 0; k < network.layers; ++k) {
    auto layer = weights::layer_of<rnn::LSTMLayerWeights<Tensor>>(nd4j, k);
    h = rnn::lstm_layer(h, {}, layer, {.direction_mode = BIDIR_CONCAT}).y;
  }

  // Trainable: the same tensors as variables of a graph.
  Graph g;
  auto first = weights::layer_of<rnn::LSTMLayerWeights<Tensor>>(nd4j, 0);
  rnn::LSTMLayerWeights<Var> variables{
      .input_weights = g.variable("Wx", first.input_weights),
      .recurrent_weights = g.variable("Wr", first.recurrent_weights),
      .biases = g.variable("b", first.biases)};

  // And back, for PyTorch to load.
  save_safetensors({weights::convert(Format::kNd4j, Format::kPyTorch, network, nd4j), {}}, path);

  CHECK(network == net);
  CHECK(distance(y, h) < 1e-6);
  CHECK(variables.biases.shape() == Shape{2, 32});
  const Tensors again = load_safetensors(path).tensors;
  CHECK(again.size() == torch.size());
  CHECK(again.at("weight_hh_l1_reverse").same_bits(torch.at("weight_hh_l1_reverse")));
  std::filesystem::remove(path);
}
