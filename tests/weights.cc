// Weights between the layouts of other systems: every pair there and back, numbers written by hand,
// and that the network stays the same network, op for op. The refusals are in weights_refusals.cc;
// numbers of other systems in the vectors of op `convert`.
#include <fstream>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "op_run.h"
#include "weights_fixture.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;
using rnn::RnnMode;
using weights::Biases;
using weights::Format;
using weights::Network;
using weights::Tensors;

namespace {

bool same(const Tensors& a, const Tensors& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](auto& x, auto& y) {
           return x.first == y.first && x.second.same_bits(y.second);
         });
}

bool has(Format f, const Network& n, Biases b) {
  const auto all = weights::layout(f, n);
  return std::any_of(all.begin(), all.end(), [&](const auto& t) { return t.biases == b; });
}

Tensor list(const Dims& dims, std::initializer_list<double> values) {
  return Tensor::of<double>(dims, std::vector<double>(values));
}

}  // namespace

TEST_CASE("weights: every layout to every other that holds the network, and back", "[weights]") {
  size_t pairs = 0, exact = 0, summed = 0, refused = 0;
  for (const Network& n : networks()) {
    for (const Format from : holders(n)) {
      for (const Format to : holders(n)) {
        CAPTURE(describe(n), weights::name_of(from), weights::name_of(to));
        const DType dtype = std::array{f32, f64, bf16, f16}[pairs++ % 4];
        const Tensors tensors = some_weights(from, n, dtype);
        Tensors there;
        try {
          there = weights::convert(from, to, n, tensors);
        } catch (const Error& e) {
          // A bias inside of the reset, and a single bias.
          CHECK(e.code() == "weights.format.bias");
          CHECK((to == Format::kNd4j && n.mode == RnnMode::gru && n.reset_after));
          ++refused;
          continue;
        }
        const auto layout = weights::layout(to, n);
        REQUIRE(there.size() == layout.size());
        for (const auto& t : layout) {
          REQUIRE(there.count(t.name) == 1);
          CHECK(there.at(t.name).dims() == t.dims);
          CHECK(there.at(t.name).dtype() == dtype);
        }
        const Tensors back = weights::convert(to, from, n, there);
        if (!has(from, n, Biases::kApart) || !has(to, n, Biases::kSummed)) {
          CHECK(same(back, tensors));
          ++exact;
        } else {
          // The sums are the same, and so is all else.
          CHECK(same(weights::convert(from, to, n, back), there));
          ++summed;
        }
      }
    }
  }
  CAPTURE(pairs, exact, summed, refused);
  CHECK(pairs == exact + summed + refused);
  CHECK(exact > 500);
  CHECK(summed > 100);
  CHECK(refused > 5);
}

TEST_CASE("weights: gates stand where each system has them", "[weights]") {
  // One unit, one input: a number for each gate. i f g o are 1 2 3 4, r z n are 1 2 3; + 10 where
  // the state is multiplied, + 100 in bx, + 1000 in bh.
  const Network lstm{.mode = RnnMode::lstm, .input_size = 1, .hidden_size = 1, .peepholes = true};
  const Tensors nd4j{{"l0.Wx", list({1, 4}, {1, 2, 3, 4})},
                     {"l0.Wr", list({1, 4}, {11, 12, 13, 14})},
                     {"l0.b", list({4}, {101, 102, 103, 104})},
                     {"l0.Wp", list({3}, {1, 2, 4})}};
  const auto to = [&](Format f) { return weights::convert(Format::kNd4j, f, lstm, nd4j); };
  CHECK(same(to(Format::kOnnx), {{"l0.W", list({1, 4, 1}, {1, 4, 2, 3})},
                                 {"l0.R", list({1, 4, 1}, {11, 14, 12, 13})},
                                 {"l0.B", list({1, 8}, {101, 104, 102, 103, 0, 0, 0, 0})},
                                 {"l0.P", list({1, 3}, {1, 4, 2})}}));
  CHECK(
      same(to(Format::kOneDnn), {{"l0.weights_layer_ldigo", list({1, 1, 1, 4, 1}, {1, 2, 3, 4})},
                                 {"l0.weights_iter_ldigo", list({1, 1, 1, 4, 1}, {11, 12, 13, 14})},
                                 {"l0.bias_ldgo", list({1, 1, 4, 1}, {101, 102, 103, 104})},
                                 {"l0.weights_peephole_ldgo", list({1, 1, 3, 1}, {1, 2, 4})}}));
  CHECK(same(to(Format::kNd4jCell), {{"l0.ruWeight", list({2, 4}, {1, 3, 2, 4, 11, 13, 12, 14})},
                                     {"l0.inputPeepholeWeights", list({1}, {1})},
                                     {"l0.forgetPeepholeWeights", list({1}, {2})},
                                     {"l0.outputPeepholeWeights", list({1}, {4})},
                                     {"l0.bias", list({4}, {101, 103, 102, 104})}}));

  const Network after{.mode = RnnMode::gru, .input_size = 1, .hidden_size = 1};
  const Tensors packed{
      {"parameters", list({12}, {1, 2, 3, 11, 12, 13, 101, 102, 103, 1001, 1002, 1003})}};
  const auto gru = [&](Format f) { return weights::convert(Format::kPacked, f, after, packed); };
  CHECK(same(gru(Format::kPyTorch), {{"weight_ih_l0", list({3, 1}, {1, 2, 3})},
                                     {"weight_hh_l0", list({3, 1}, {11, 12, 13})},
                                     {"bias_ih_l0", list({3}, {101, 102, 103})},
                                     {"bias_hh_l0", list({3}, {1001, 1002, 1003})}}));
  CHECK(same(gru(Format::kOnnx), {{"l0.W", list({1, 3, 1}, {2, 1, 3})},
                                  {"l0.R", list({1, 3, 1}, {12, 11, 13})},
                                  {"l0.B", list({1, 6}, {102, 101, 103, 1002, 1001, 1003})}}));
  CHECK(same(gru(Format::kKeras),
             {{"l0.forward.kernel", list({1, 3}, {2, 1, 3})},
              {"l0.forward.recurrent_kernel", list({1, 3}, {12, 11, 13})},
              {"l0.forward.bias", list({2, 3}, {102, 101, 103, 1002, 1001, 1003})}}));
  CHECK(same(gru(Format::kOneDnnLdgoi),
             {{"l0.weights_layer_ldgoi", list({1, 1, 3, 1, 1}, {2, 1, 3})},
              {"l0.weights_iter_ldgoi", list({1, 1, 3, 1, 1}, {12, 11, 13})},
              {"l0.bias_ldgo", list({1, 1, 4, 1}, {1104, 1102, 103, 1003})}}));

  Network before = after;
  before.reset_after = false;
  const Tensors cell{{"l0.ruWeight", list({2, 2}, {1, 2, 11, 12})},
                     {"l0.cWeight", list({2, 1}, {3, 13})},
                     {"l0.ruBias", list({2}, {101, 102})},
                     {"l0.cBias", list({1}, {103})}};
  const auto old_gru = [&](Format f) {
    return weights::convert(Format::kNd4jCell, f, before, cell);
  };
  CHECK(same(old_gru(Format::kNd4j), {{"l0.Wx", list({1, 3}, {1, 2, 3})},
                                      {"l0.Wh", list({1, 3}, {11, 12, 13})},
                                      {"l0.b", list({3}, {101, 102, 103})}}));
  CHECK(same(old_gru(Format::kKeras), {{"l0.forward.kernel", list({1, 3}, {2, 1, 3})},
                                       {"l0.forward.recurrent_kernel", list({1, 3}, {12, 11, 13})},
                                       {"l0.forward.bias", list({3}, {102, 101, 103})}}));
  CHECK(same(old_gru(Format::kOneDnn),
             {{"l0.weights_layer_ldigo", list({1, 1, 1, 3, 1}, {2, 1, 3})},
              {"l0.weights_iter_ldigo", list({1, 1, 1, 3, 1}, {12, 11, 13})},
              {"l0.bias_ldgo", list({1, 1, 3, 1}, {102, 101, 103})}}));
}

TEST_CASE("weights: a projection is [P,H] in PyTorch and [H,P] in oneDNN and libnd4j",
          "[weights]") {
  const Network n{.mode = RnnMode::lstm, .input_size = 1, .hidden_size = 3, .projection_size = 2};
  const Tensors torch = some_weights(Format::kPyTorch, n);
  const Tensor wr = torch.at("weight_hr_l0");
  const Tensor turned = transpose(wr, {1, 0});
  CHECK(wr.dims() == Dims{2, 3});
  const auto to = [&](Format f) { return weights::convert(Format::kPyTorch, f, n, torch); };
  CHECK(to(Format::kNd4jProjected).at("l0.Wp").same_bits(turned));
  CHECK(to(Format::kOneDnn)
            .at("l0.weights_projection_ldio")
            .same_bits(turned.reshaped({1, 1, 3, 2})));
  CHECK(to(Format::kOneDnnLdgoi)
            .at("l0.weights_projection_ldoi")
            .same_bits(wr.reshaped({1, 1, 2, 3})));
}

TEST_CASE("weights: a sum is rounded once, and keeps NaN, infinities and -0", "[weights]") {
  const Network n{.mode = RnnMode::rnn_tanh, .input_size = 1, .hidden_size = 5};
  const double inf = HUGE_VAL, nan = std::nan("");
  Tensors torch = some_weights(Format::kPyTorch, n);
  torch["bias_ih_l0"] = list({5}, {-0.0, inf, nan, 0.1, 1});
  torch["bias_hh_l0"] = list({5}, {0, 1, 1, 0.2, 1e-17});
  Tensor b = weights::convert(Format::kPyTorch, Format::kKeras, n, torch).at("l0.forward.bias");
  CHECK(std::signbit(b.at(0)));
  CHECK(b.at(1) == inf);
  CHECK(std::isnan(b.at(2)));
  CHECK(b.at(3) == 0.1 + 0.2);
  CHECK(b.at(4) == 1);
  for (auto& [name, t] : torch) t = t.to(f16);
  torch["bias_ih_l0"] = Tensor::full(f16, {5}, 2048);
  torch["bias_hh_l0"] = Tensor::full(f16, {5}, 3);  // between two halves: to the even one
  b = weights::convert(Format::kPyTorch, Format::kKeras, n, torch).at("l0.forward.bias");
  CHECK(b.at(0) == 2052);
}

TEST_CASE("weights: a bias that is absent is 0", "[weights]") {
  for (const Network& n : networks()) {
    for (const Format from : holders(n)) {
      CAPTURE(describe(n), weights::name_of(from));
      Tensors zero = some_weights(from, n), without = zero, null = zero;
      for (const auto& t : weights::layout(from, n)) {
        CHECK(t.optional == (t.biases != Biases::kNone && from != Format::kPacked));
        if (!t.optional) continue;
        zero[t.name] = Tensor(f64, t.dims);
        without.erase(t.name);
        null[t.name] = Tensor();
      }
      for (const Format to : holders(n)) {
        if (from == Format::kPacked) continue;
        const Tensors want = weights::convert(from, to, n, zero);
        CHECK(same(weights::convert(from, to, n, without), want));
        CHECK(same(weights::convert(from, to, n, null), want));
      }
    }
  }
}

TEST_CASE("weights: the network is read off names and shapes", "[weights]") {
  size_t read = 0;
  for (const Network& n : networks()) {
    for (const Format f : holders(n)) {
      if (f == Format::kPacked) continue;
      CAPTURE(describe(n), weights::name_of(f));
      CHECK(weights::network_of(f, some_weights(f, n), n.mode, n.reset_after) == n);
      ++read;
      // Where it can be seen, it is: by the number of biases, or because there is only one form.
      const bool blind = f == Format::kOnnx || f == Format::kNd4j;
      if (n.mode == RnnMode::gru && !blind)
        CHECK(weights::network_of(f, some_weights(f, n), n.mode, !n.reset_after) == n);
    }
  }
  CHECK(read > 80);
}

TEST_CASE("weights: docs/weights.md names every tensor of every layout", "[weights]") {
  std::ifstream file(RONDO_SOURCE_DIR "/docs/weights.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  for (const Network& n : networks()) {
    if (n.layers != 1 || n.bidirectional) continue;
    for (const Format f : holders(n)) {
      for (const auto& t : weights::layout(f, n)) {
        // "l0.forward.kernel", "weight_ih_l0"
        std::string name = t.name.substr(t.name.rfind('.') + 1);
        if (name.ends_with("_l0")) name.resize(name.size() - 3);
        CAPTURE(t.name);
        CHECK(page.find("`" + name + "`") != std::string::npos);
      }
    }
  }
}

TEST_CASE("weights: offsets in the packed vector", "[weights]") {
  std::ifstream file(RONDO_SOURCE_DIR "/tests/vectors/mxnet/layout_examples.json");
  const auto all = nlohmann::json::parse(file);
  const std::map<std::string, RnnMode> modes{
      {"lstm", RnnMode::lstm}, {"gru", RnnMode::gru}, {"rnn_tanh", RnnMode::rnn_tanh}};
  size_t compared = 0;
  for (const auto& example : all) {
    const auto& c = example.at("config");
    const rnn::RnnConfig config{.state_size = c.at("state_size"),
                                .num_layers = c.at("num_layers"),
                                .mode = modes.at(c.at("mode")),
                                .bidirectional = c.at("bidirectional"),
                                .projection_size = c.value("projection_size", 0)};
    const int64_t inputs = example.at("input_size");
    CHECK(rnn::rnn_parameter_count(config, inputs) == example.at("total"));
    const auto blocks = rnn::rnn_parameter_blocks(config, inputs);
    CHECK(blocks.size() == example.at("blocks").size());
    for (const auto& want : example.at("blocks")) {
      const auto it = std::find_if(blocks.begin(), blocks.end(), [&](const rnn::RnnBlock& b) {
        return b.layer == want.at("layer") && b.direction == want.at("direction") &&
               b.name == want.at("name").get<std::string>();
      });
      REQUIRE(it != blocks.end());
      CHECK(it->offset == want.at("offset"));
      CHECK(it->dims == want.at("shape").get<Dims>());
      ++compared;
    }
  }
  CHECK(compared == 16 + 10 + 8 + 12);
}
