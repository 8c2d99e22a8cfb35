// What a conversion of weights refuses, with code and reason: networks that a layout cannot hold,
// networks that are none, and tensors that are not the network's.
#include <catch2/catch_test_macros.hpp>

#include "weights_fixture.h"

#include <rondo/ops/gru.h>
#include <rondo/ops/lstm.h>

using namespace rondo;
using namespace rondo::test;
using rnn::RnnMode;
using weights::Format;
using weights::Network;
using weights::Tensors;

namespace {

// Code, or what the error says if it does not hold all of `words`.
std::string refused(const std::function<void()>& f, const std::vector<std::string>& words = {}) {
  try {
    f();
  } catch (const Error& e) {
    for (const std::string& w : words) {
      if (std::string(e.what()).find(w) == std::string::npos)
        return cat("no '", w, "': ", e.what());
    }
    CHECK(e.fault() == Fault::kArgument);
    return e.code();
  }
  return "accepted";
}

const Network kLstm{.mode = RnnMode::lstm, .input_size = 3, .hidden_size = 4};
const Network kGru{.mode = RnnMode::gru, .input_size = 3, .hidden_size = 4};

Network with(Network n, const std::function<void(Network&)>& change) {
  change(n);
  return n;
}

}  // namespace

TEST_CASE("weights: what a layout cannot hold is refused with the reason, as source and as target",
          "[weights]") {
  const Network plain = with(kLstm, [](Network& n) { n.mode = RnnMode::rnn_tanh; });
  const Network before = with(kGru, [](Network& n) { n.reset_after = false; });
  const Network both = with(kLstm, [](Network& n) { n.bidirectional = true; });
  const Network both_gru = with(before, [](Network& n) { n.bidirectional = true; });
  const Network projected = with(kLstm, [](Network& n) { n.projection_size = 2; });
  const Network wide = with(kLstm, [](Network& n) { n.projection_size = 4; });
  const Network peepholes = with(kLstm, [](Network& n) { n.peepholes = true; });
  struct Case {
    Format format;
    Network network;
    std::string rule, word;
  };
  const std::vector<Case> cases{
      {Format::kNd4j, plain, "cell", "no plain recurrent layer"},
      {Format::kNd4jCell, plain, "cell", "no plain recurrent layer"},
      {Format::kNd4jProjected, plain, "cell", "LSTM only"},
      {Format::kNd4jProjected, kGru, "cell", "LSTM only"},
      {Format::kNd4jCell, kGru, "reset", "before the recurrent product"},
      {Format::kPacked, before, "reset", "after the recurrent product"},
      {Format::kPyTorch, before, "reset", "after the recurrent product"},
      {Format::kNd4j, both_gru, "direction", "one direction"},
      {Format::kNd4jCell, both, "direction", "one direction"},
      {Format::kNd4jProjected, both, "direction", "one direction"},
      {Format::kNd4j, projected, "projection", "no projection"},
      {Format::kNd4jCell, projected, "projection", "no projection"},
      {Format::kOnnx, projected, "projection", "no projection"},
      {Format::kKeras, projected, "projection", "no projection"},
      {Format::kPyTorch, wide, "projection", "narrower than hidden_size = 4"},
      {Format::kPacked, peepholes, "peepholes", "no peephole"},
      {Format::kPyTorch, peepholes, "peepholes", "no peephole"},
      {Format::kKeras, peepholes, "peepholes", "no peephole"},
  };
  for (const Case& c : cases) {
    CAPTURE(weights::name_of(c.format), c.rule);
    const std::string code = "weights.format." + c.rule;
    const std::vector<std::string> words{"[weights]", "cannot hold this network", c.word};
    const Format other = holders(c.network).front();
    const Tensors given = some_weights(other, c.network);
    CHECK(refused([&] { weights::convert(other, c.format, c.network, given); }, words) == code);
    CHECK(refused([&] { weights::convert(c.format, other, c.network, given); }, words) == code);
    CHECK(refused([&] { weights::layout(c.format, c.network); }, words) == code);
    CHECK(weights::refusal(c.format, c.network).find(c.word) != std::string::npos);
  }
  // Nothing else of these networks is refused.
  size_t refusals = 0;
  for (const Network& n :
       {kLstm, kGru, plain, before, both, both_gru, projected, wide, peepholes}) {
    for (const Format f : weights::kFormats) refusals += weights::refusal(f, n).empty() ? 0 : 1;
  }
  // before is no LSTM (1); nor is both_gru, which SameDiff's gru and the two of cuDNN refuse, too
  // (4); wide is a projection (4).
  CHECK(refusals == cases.size() + 1 + 4 + 4);
}

TEST_CASE("weights: ND4J's gru holds a GRU of cuDNN only without a bias inside of the reset",
          "[weights]") {
  Tensors torch = some_weights(Format::kPyTorch, kGru);
  const auto to = [&] { return weights::convert(Format::kPyTorch, Format::kNd4j, kGru, torch); };
  CHECK(refused(to, {"bh of gate n", "layer 0"}) == "weights.format.bias");
  Tensor& bh = torch.at("bias_hh_l0");
  for (int64_t i = 8; i < 12; ++i) bh.mutable_data<double>()[i] = i == 11 ? 1e-300 : 0;
  CHECK(refused(to) == "weights.format.bias");
  bh.mutable_data<double>()[11] = -0.0;
  CHECK(refused(to) == "accepted");
}

TEST_CASE("weights: a network that is none is refused", "[weights]") {
  const auto code = [](const Network& start, const std::function<void(Network&)>& change,
                       const std::string& word = "") {
    const Network n = with(start, change);
    const std::string r =
        refused([&] { weights::convert(Format::kOnnx, Format::kKeras, n, {}); }, {word});
    CHECK(refused([&] { weights::layout(Format::kOnnx, n); }) == r);
    CHECK(refused([&] { (void)weights::refusal(Format::kOnnx, n); }) == r);
    return r;
  };
  CHECK(code(
            kLstm, [](Network& n) { n.input_size = 0; }, "input_size of the network is 0") ==
        "weights.input_size.range");
  CHECK(code(kLstm, [](Network& n) { n.hidden_size = -1; }) == "weights.hidden_size.range");
  CHECK(code(kLstm, [](Network& n) { n.layers = 0; }, "in [1, 4096]") == "weights.layers.range");
  CHECK(code(kLstm, [](Network& n) { n.layers = 4097; }) == "weights.layers.range");
  CHECK(code(
            kLstm, [](Network& n) { n.projection_size = 5; }, "in [0, 4]") ==
        "weights.projection_size.range");
  CHECK(code(kLstm, [](Network& n) { n.projection_size = -1; }) == "weights.projection_size.range");
  CHECK(code(kGru, [](Network& n) { n.projection_size = 2; }) == "weights.projection_size.mode");
  CHECK(code(kGru, [](Network& n) { n.peepholes = true; }) == "weights.peepholes.mode");
  CHECK(code(kLstm, [](Network& n) { n.mode = static_cast<RnnMode>(4); }) == "weights.mode.range");
  const auto odd = static_cast<Format>(99);
  CHECK(refused([&] { weights::convert(odd, Format::kKeras, kLstm, {}); }) ==
        "weights.format.enum");
  for (const Format f : {Format::kPacked, Format::kOnnx}) {
    const Network huge = with(kLstm, [](Network& n) { n.hidden_size = INT64_MAX / 2; });
    CHECK(refused([&] { weights::convert(f, Format::kKeras, huge, {}); }) == "shape.size.overflow");
  }
}

TEST_CASE("weights: tensors that are not the network's are refused by name", "[weights]") {
  const Network two = with(kLstm, [](Network& n) { n.layers = 2; });
  const auto code = [&](const std::function<void(Tensors&)>& change,
                        const std::vector<std::string>& words = {}) {
    Tensors t = some_weights(Format::kPyTorch, two);
    change(t);
    return refused([&] { weights::convert(Format::kPyTorch, Format::kPacked, two, t); }, words);
  };
  CHECK(code([](Tensors&) {}) == "accepted");
  CHECK(code([](Tensors& t) { t.erase("weight_hh_l1"); },
             {"PyTorch", "'weight_hh_l1' [16,4] = [4*H,H]", "there are bias_hh_l0"}) ==
        "weights.tensors.missing");
  CHECK(code([](Tensors& t) { t = {}; }, {"there are no tensors"}) == "weights.tensors.missing");
  CHECK(code([](Tensors& t) { t["weight_ih_l2"] = Tensor(f64, {16, 4}); }, {"'weight_ih_l2'"}) ==
        "weights.tensors.unknown");
  CHECK(code([](Tensors& t) { t["weight_hr_l0"] = Tensor(f64, {4, 4}); }, {"'weight_hr_l0'"}) ==
        "weights.tensors.unknown");
  CHECK(code([](Tensors& t) { t["weight_ih_l0"] = Tensor(f64, {3, 16}); },
             {"'weight_ih_l0' has shape [3,16], but must be [16,3] = [4*H,I]", "hidden_size 4"}) ==
        "weights.tensors.shape");
  CHECK(code([](Tensors& t) { t["bias_ih_l1"] = Tensor(f64, {16, 1}); }) ==
        "weights.tensors.shape");
  CHECK(code([](Tensors& t) { t["bias_ih_l1"] = Tensor(f32, {16}); },
             {"'bias_ih_l1' is f32, but must be f64 as 'weight_ih_l0' is"}) ==
        "weights.tensors.dtype");
  CHECK(code([](Tensors& t) {
          for (auto& [name, tensor] : t) tensor = tensor.to(i32);
        }) == "weights.tensors.dtype");
  // PyTorch has all biases or none.
  CHECK(code([](Tensors& t) { t.erase("bias_hh_l1"); }, {"'bias_hh_l1' [16]"}) ==
        "weights.tensors.missing");
  // A module's own name stands before those of its tensors.
  CHECK(code(
            [](Tensors& t) {
              Tensors moved;
              for (const auto& [name, tensor] : t) moved["encoder.lstm." + name] = tensor;
              t = moved;
            },
            {"there is 'encoder.lstm.weight_ih_l0'",
             "weights::under(tensors, \"encoder.lstm.\")"}) == "weights.tensors.missing");

  const auto packed = [&](const Tensors& t) {
    return refused([&] { weights::convert(Format::kPacked, Format::kPyTorch, kLstm, t); },
                   {"parameters"});
  };
  CHECK(packed({{"parameters", Tensor(f64, {144})}}) == "accepted");
  CHECK(packed({{"parameters", Tensor(f64, {143})}}) == "weights.tensors.shape");
  CHECK(packed({{"parameters", Tensor(f64, {144, 1})}}) == "weights.tensors.shape");
  CHECK(packed({{"parameter", Tensor(f64, {144})}}) == "weights.tensors.missing");
  CHECK(packed({{"parameters", Tensor(f64, {144})}, {"parameters2", Tensor(f64, {1})}}) ==
        "weights.tensors.unknown");
}

TEST_CASE("weights: every missing or misshapen tensor of every layout is refused", "[weights]") {
  size_t tried = 0;
  for (const Network& n : networks()) {
    if (n.layers > 2) continue;
    for (const Format f : holders(n)) {
      const Tensors all = some_weights(f, n, f32);
      for (const auto& t : weights::layout(f, n)) {
        CAPTURE(describe(n), weights::name_of(f), t.name);
        Tensors changed = all;
        changed[t.name] = all.at(t.name).reshaped({1, element_count(t.dims), 1});
        CHECK(refused([&] { weights::convert(f, f, n, changed); }, {"'" + t.name + "'"}) ==
              "weights.tensors.shape");
        ++tried;
        if (t.optional) continue;
        changed.erase(t.name);
        CHECK(refused([&] { weights::convert(f, f, n, changed); }, {"'" + t.name + "'"}) ==
              "weights.tensors.missing");
      }
    }
  }
  CHECK(tried > 500);
}

TEST_CASE("weights: a network cannot be read off other tensors, or one vector", "[weights]") {
  const auto code = [](Format f, const Tensors& t, RnnMode mode,
                       const std::vector<std::string>& words = {}) {
    return refused([&] { weights::network_of(f, t, mode); }, words);
  };
  CHECK(code(Format::kPacked, {}, RnnMode::lstm, {"sizes must be given"}) ==
        "weights.format.packed");
  CHECK(code(Format::kPyTorch, {}, RnnMode::lstm, {"'weight_ih_l0'"}) == "weights.tensors.missing");
  CHECK(code(Format::kPyTorch, {{"rnn.weight_ih_l0", Tensor(f32, {16, 3})}}, RnnMode::lstm,
             {"under(tensors, \"rnn.\")"}) == "weights.tensors.missing");
  CHECK(code(Format::kNd4j, {}, RnnMode::rnn_relu) == "weights.format.cell");
  Tensors torch = some_weights(Format::kPyTorch, kLstm);
  CHECK(code(Format::kPyTorch, torch, RnnMode::gru, {"[16,3], but must be [15,3]"}) ==
        "weights.tensors.shape");
  torch["weight_ih_l0"] = Tensor(f64, {48});
  CHECK(code(Format::kPyTorch, torch, RnnMode::lstm) == "weights.tensors.shape");
  torch["weight_ih_l0"] = Tensor(f64, {0, 0});
  CHECK(code(Format::kPyTorch, torch, RnnMode::lstm) == "weights.tensors.shape");
}

TEST_CASE("weights: names of layouts, and structs of ops", "[weights]") {
  for (const Format f : weights::kFormats)
    CHECK(weights::format_from_name(weights::name_of(f)) == f);
  CHECK(weights::format_from_name("mxnet") == Format::kPacked);
  CHECK(weights::format_from_name("cudnn") == Format::kCudnn);
  CHECK(weights::format_from_name("torch") == Format::kPyTorch);
  CHECK(refused([] { weights::format_from_name("caffe"); }, {"'caffe'", "nd4j_cell", "keras"}) ==
        "weights.format.name");

  const Network n = with(kLstm, [](Network& k) {
    k.layers = 2;
    k.peepholes = true;
  });
  const Tensors nd4j = some_weights(Format::kNd4j, n);
  using Lstm = rnn::LSTMLayerWeights<Tensor>;
  const auto second = weights::layer_of<Lstm>(nd4j, 1);
  CHECK(second.input_weights.same_bits(nd4j.at("l1.Wx")));
  CHECK(second.peephole_weights.same_bits(nd4j.at("l1.Wp")));
  Tensors again = weights::tensors_of(second, 1);
  again.merge(weights::tensors_of(weights::layer_of<Lstm>(nd4j)));
  CHECK(again == nd4j);
  CHECK(refused([&] { weights::layer_of<Lstm>(nd4j, 2); }, {"'l2.Wx'"}) ==
        "weights.tensors.missing");
  CHECK(refused([&] { weights::layer_of<rnn::GRULayerWeights<Tensor>>(nd4j); }, {"'l0.Wh'"}) ==
        "weights.tensors.missing");
  const Tensors some{
      {"a.b", Tensor::scalar(f32, 1)}, {"a.b.c", Tensor::scalar(f32, 2)}, {"ab", {}}};
  CHECK(weights::under(some, "a.") == Tensors{{"b", some.at("a.b")}, {"b.c", some.at("a.b.c")}});
}
