// The recurrent ops of ND4J as a user calls them: structs with designated initialisers, Var and
// Tensor, weights as variables, names, refusals; and that a loop of cells is the layer.
#include <catch2/catch_test_macros.hpp>

#include "../cli/vector_case.h"
#include "check_gradient.h"
#include "op_run.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

constexpr int64_t kT = 4, kB = 3, kI = 2, kH = 3, kP = 2;

Tensor some(const Dims& dims, uint64_t seed) { return draw(dims, f64, -1, 1, seed); }

// The same call on placeholders and on tensors: `call` takes operands of either and gives results.
template <class F>
void same_in_both_forms(const std::vector<Tensor>& operands, F&& call) {
  Graph g;
  Vars vars;
  std::vector<Feed> feeds;
  for (const Tensor& t : operands) {
    vars.push_back(g.placeholder(cat("in", vars.size()), t.dtype(), to_shape(t.dims())));
    feeds.emplace_back(vars.back(), t);
  }
  const std::vector<Tensor> in_graph = Session(g).run(call(vars), feeds);
  const std::vector<Tensor> now = call(operands);
  REQUIRE(now.size() == in_graph.size());
  for (size_t i = 0; i < now.size(); ++i) CHECK(now[i].same_bits(in_graph[i]));
}

std::string code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return "accepted";
}

// Results of two ways to compute the same, and their gradients by all placeholders.
void equal_with_gradients(Graph g, const std::vector<Feed>& feeds, const Vars& a, const Vars& b) {
  Vars by;
  for (const Feed& f : feeds) by.push_back(f.first);
  REQUIRE(a.size() == b.size());
  Vars left = a, right = b;
  for (const auto& [from, to] : {std::pair{&a, &left}, {&b, &right}}) {
    for (const Var& d : gradients(weighted_sum(*from, 5), by)) to->push_back(d);
  }
  Session session(g, {}, one_thread());
  const std::vector<Tensor> l = session.run(left, feeds), r = session.run(right, feeds);
  for (size_t i = 0; i < l.size(); ++i) {
    CAPTURE(i);
    CHECK(distance(l[i], r[i]) <= 1e-12);
  }
}

// A graph with placeholders that are fed random numbers.
struct Fed {
  Graph g;
  std::vector<Feed> feeds;
  Var operator()(const std::string& name, const Dims& dims) {
    feeds.emplace_back(g.placeholder(name, f64, to_shape(dims)), some(dims, feeds.size() + 20));
    return feeds.back().first;
  }
};

Var at_step(const Var& x, int64_t t, int64_t axis = 0) {
  return squeeze(slice(x, axis, t, t + 1), axis);
}

Var over_time(const Vars& steps, int64_t axis = 0) {
  Vars r;
  for (const Var& s : steps) r.push_back(expand_dims(s, axis));
  return concat(r, axis);
}

}  // namespace

TEST_CASE("recurrent ops give the same bits on Var and on Tensor", "[rnn]") {
  same_in_both_forms(
      {some({kB, kI}, 1), some({kB, kH}, 2), some({kI + kH, 2 * kH}, 3), some({kI + kH, kH}, 4)},
      [](const auto& v) {
        const auto r = rnn::gru(v[0], v[1], {.ru_weight = v[2], .c_weight = v[3]});
        return std::vector{r.r, r.u, r.c, r.h};
      });
  same_in_both_forms(
      {some({kT, kB, kI}, 1), some({kB, kH}, 2), some({kI, 3 * kH}, 3), some({kH, 3 * kH}, 4)},
      [](const auto& v) {
        return std::vector{rnn::gru_layer(v[0], v[1],
                                          {.input_weights = v[2], .recurrent_weights = v[3]},
                                          {.linear_before_reset = true}, "encoder")};
      });
  same_in_both_forms({some({kB, kI}, 1), some({kB, kH}, 2), some({kB, kH}, 3),
                      some({kI + kH, 4 * kH}, 4), some({kH}, 5)},
                     [](const auto& v) {
                       const auto r = rnn::lstm_cell(v[0], v[1], v[2],
                                                     {.ru_weight = v[3],
                                                      .input_peephole_weights = v[4],
                                                      .forget_peephole_weights = v[4],
                                                      .output_peephole_weights = v[4]},
                                                     {.peep_hole = true, .forget_bias = 1});
                       return std::vector{r.i, r.c, r.f, r.o, r.z, r.h, r.y};
                     });
  same_in_both_forms({some({kB, kI, kT}, 1), some({kI + kH, 4 * kH}, 2), some({4 * kH}, 3),
                      Tensor::of<int64_t>({}, {2})},
                     [](const auto& v) {
                       const auto r = rnn::lstm_block(
                           v[0], {.max_ts_length = v[3]}, {.ru_weight = v[1], .bias = v[2]},
                           {.data_format = RnnDataFormat::NST, .clipping_cell_value = 0.5},
                           "block");
                       return std::vector{r.i, r.c, r.f, r.o, r.z, r.h, r.y};
                     });
  const std::vector<Tensor> lstmp{some({kB, kP}, 2),     some({kB, kH}, 3), some({kI, 4 * kH}, 4),
                                  some({kP, 4 * kH}, 5), some({4 * kH}, 6), some({kH, kP}, 7)};
  for (const bool layer : {false, true}) {
    std::vector<Tensor> operands{some(layer ? Dims{kT, kB, kI} : Dims{kB, kI}, 1)};
    operands.insert(operands.end(), lstmp.begin(), lstmp.end());
    same_in_both_forms(operands, [&](const auto& v) {
      const auto call = [&](auto f) {
        const auto r = f();
        return std::vector{r.h, r.c};
      };
      const rnn::LSTMPWeights<std::decay_t<decltype(v[0])>> w{.input_weights = v[3],
                                                              .recurrent_weights = v[4],
                                                              .biases = v[5],
                                                              .projection_weights = v[6]};
      const LSTMPConfig config{.projection = true, .clipping_proj_value = 0.3};
      return layer ? call([&] { return rnn::lstmp(v[0], v[1], v[2], w, config); })
                   : call([&] { return rnn::lstmp_cell(v[0], v[1], v[2], w, config); });
    });
  }
  same_in_both_forms({some({kB, kH, kT}, 1), some({kB, kH}, 2), some({3 * kH, kH}, 3),
                      some({2 * kH}, 4), some({kB, kH}, 5)},
                     [](const auto& v) {
                       const auto r = rnn::sru(v[0], v[1], {.weights = v[2], .bias = v[3]}, v[4]);
                       return std::vector{r.h, r.c};
                     });
  same_in_both_forms(
      {some({kB, kH}, 1), some({kB, kH}, 2), some({kH, 3 * kH}, 3), some({2 * kH}, 4)},
      [](const auto& v) {
        const auto r = rnn::sru_cell(v[0], v[1], {.weights = v[2], .bias = v[3]});
        return std::vector{r.h, r.c};
      });
  same_in_both_forms({some({kT, kB, 2 * kH}, 1), some({kB, 2 * kH}, 2), some({2 * kH, 6 * kH}, 3),
                      some({4 * kH}, 4)},
                     [](const auto& v) {
                       const auto r = rnn::sru_bi(v[0], v[1], {.weights = v[2], .bias = v[3]});
                       return std::vector{r.h, r.c};
                     });
}

TEST_CASE("a loop of cells is the layer, in results and gradients", "[rnn]") {
  SECTION("gru, gru_layer") {
    Fed in;
    const Var x = in("x", {kT, kB, kI}), h0 = in("h", {kB, kH});
    const Var ru = in("ru", {kI + kH, 2 * kH}), c = in("c", {kI + kH, kH});
    const Var rub = in("rub", {2 * kH}), cb = in("cb", {kH});
    Vars steps;
    for (int64_t t = 0; t < kT; ++t)
      steps.push_back(rnn::gru(at_step(x, t), t == 0 ? h0 : steps.back(), {ru, c, rub, cb}).h);
    const Var all = concat<Var>({ru, c}, 1);
    const Var layer = rnn::gru_layer(x, h0,
                                     {.input_weights = slice(all, 0, 0, kI),
                                      .recurrent_weights = slice(all, 0, kI, kI + kH),
                                      .biases = concat<Var>({rub, cb}, 0)});
    equal_with_gradients(in.g, in.feeds, {over_time(steps)}, {layer});
  }
  SECTION("lstm_cell, lstm_block") {
    Fed in;
    const Var x = in("x", {kB, kT, kI}), c0 = in("c0", {kB, kH}), y0 = in("y0", {kB, kH});
    const rnn::LSTMWeights<Var> w{in("w", {kI + kH, 4 * kH}), in("i", {kH}), in("f", {kH}),
                                  in("o", {kH}), in("b", {4 * kH})};
    const LSTMConfiguration config{.peep_hole = true,
                                   .data_format = RnnDataFormat::NTS,
                                   .forget_bias = 0.5,
                                   .clipping_cell_value = 0.6};
    Vars ys, cs;
    for (int64_t t = 0; t < kT; ++t) {
      const auto r = rnn::lstm_cell(at_step(x, t, 1), t == 0 ? c0 : cs.back(),
                                    t == 0 ? y0 : ys.back(), w, config);
      ys.push_back(r.y);
      cs.push_back(r.c);
    }
    const auto layer = rnn::lstm_block(x, {.c_last = c0, .y_last = y0}, w, config);
    equal_with_gradients(in.g, in.feeds, {over_time(ys, 1), over_time(cs, 1)}, {layer.y, layer.c});
  }
  SECTION("lstmp_cell, lstmp") {
    Fed in;
    const Var x = in("x", {kT, kB, kI}), h0 = in("h0", {kB, kP}), c0 = in("c0", {kB, kH});
    const rnn::LSTMPWeights<Var> w{in("wx", {kI, 4 * kH}), in("wr", {kP, 4 * kH}),
                                   in("b", {4 * kH}), in("wc", {3 * kH}), in("wp", {kH, kP})};
    const LSTMPConfig config{.peep_hole = true, .projection = true, .clipping_cell_value = 0.8};
    Vars hs, cs;
    for (int64_t t = 0; t < kT; ++t) {
      const auto r = rnn::lstmp_cell(at_step(x, t), t == 0 ? h0 : hs.back(),
                                     t == 0 ? c0 : cs.back(), w, config);
      hs.push_back(r.h);
      cs.push_back(r.c);
    }
    const auto layer = rnn::lstmp(x, h0, c0, w, config);
    equal_with_gradients(in.g, in.feeds, {over_time(hs), over_time(cs)}, {layer.h, layer.c});
  }
  SECTION("sru_cell, sru: the weights are transposed") {
    Fed in;
    const Var x = in("x", {kB, kH, kT}), c0 = in("c0", {kB, kH});
    const rnn::SRUWeights<Var> w{in("w", {3 * kH, kH}), in("b", {2 * kH})};
    Vars hs, cs;
    for (int64_t t = 0; t < kT; ++t) {
      const auto r =
          rnn::sru_cell(at_step(x, t, 2), t == 0 ? c0 : cs.back(), {transpose(w.weights), w.bias});
      hs.push_back(r.h);
      cs.push_back(r.c);
    }
    const auto layer = rnn::sru(x, c0, w);
    equal_with_gradients(in.g, in.feeds, {over_time(hs, 2), over_time(cs, 2)}, {layer.h, layer.c});
  }
}

TEST_CASE("weights of recurrent layers are variables of the layer's name and fit it", "[rnn]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", kI}), h = g.placeholder("h", f32, {"B", kH});
  const Var h_p = g.placeholder("h_p", f32, {"B", kP});
  const Var s = g.placeholder("s", f32, {"B", kH, "T"});
  const Var b = g.placeholder("b", f32, {"T", "B", 2 * kH}),
            b0 = g.placeholder("b0", f32, {"B", 2 * kH});
  const Var x1 = g.placeholder("x1", f32, {"B", kI});

  const auto gru = rnn::gru_weights(g, "gru", kI, kH);
  CHECK(rnn::gru(x1, h, gru).h.shape() == h.shape());
  CHECK(gru.c_bias.name() == "gru/c_bias");
  const auto layer = rnn::gru_layer_weights(g, "layer", kI, kH);
  CHECK(rnn::gru_layer(x, h, layer).shape() == Shape{"T", "B", kH});
  const auto block = rnn::lstm_block_weights(g, "block", kI, kH, f32, true);
  CHECK(rnn::lstm_block(x, {}, block, {.peep_hole = true}).y.shape() == Shape{"T", "B", kH});
  CHECK(rnn::lstm_cell(x1, h, h, block, {.peep_hole = true}).y.shape() == h.shape());
  const auto p =
      rnn::lstmp_weights(g, "p", {.inputs = kI, .hidden = kH, .projection = kP, .peepholes = true});
  CHECK(rnn::lstmp(x, h_p, h, p, {.peep_hole = true, .projection = true}).h.shape() ==
        Shape{"T", "B", kP});
  const auto whole = rnn::lstmp_weights(g, "whole", {.inputs = kI, .hidden = kH});
  CHECK(rnn::lstmp_cell(x1, h, h, whole).h.shape() == h.shape());
  CHECK(rnn::sru(s, h, rnn::sru_weights(g, "sru", kH)).h.shape() == s.shape());
  CHECK(rnn::sru_cell(h, h, rnn::sru_cell_weights(g, "cell", kH)).h.shape() == h.shape());
  CHECK(rnn::sru_bi(b, b0, rnn::sru_bi_weights(g, "bi", kH)).c.shape() == b.shape());
  CHECK(g.trainable().size() == 4 + 3 + 5 + 5 + 3 + 2 + 2 + 2);

  // What the state is multiplied with is orthogonal for each gate; the forget gate starts open.
  const Tensor bias = block.bias.node().attributes.tensor("initial");
  for (int64_t i = 0; i < bias.size(); ++i) CHECK(bias.at(i) == (i / kH == 2 ? 1 : 0));
  const Tensor w = block.ru_weight.node().attributes.tensor("initial");
  for (int64_t gate = 0; gate < 4; ++gate) {
    for (int64_t i = 0; i < kH; ++i) {
      for (int64_t j = 0; j < kH; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < kH; ++k)
          dot += w.at((kI + k) * 4 * kH + gate * kH + i) * w.at((kI + k) * 4 * kH + gate * kH + j);
        CHECK(std::abs(dot - (i == j ? 1 : 0)) < 1e-5);
      }
    }
  }
}

TEST_CASE("names that mean one op in SameDiff and another in libnd4j are told apart", "[rnn]") {
  // The vectors speak libnd4j.
  const std::pair<const char*, const char*> names[] = {{"gruCell", "gru"},
                                                       {"gru", "gru_layer"},
                                                       {"lstmBlockCell", "lstm_cell"},
                                                       {"lstmBlock", "lstm_block"},
                                                       {"lstm", "lstmp"},
                                                       {"lstmCell", "lstmp_cell"},
                                                       {"lstmLayer", "lstm_layer"},
                                                       {"sru", "sru"},
                                                       {"sruCell", "sru_cell"},
                                                       {"sruBi", "sru_bi"},
                                                       {"lstmblock", "lstm_block"}};
  for (const auto& [theirs, ours] : names) {
    CAPTURE(theirs);
    CHECK(tool::op_called(theirs)->name == ours);
  }
  const auto has = [](const char* op, const char* name) {
    const auto& all = registry().at(op).aliases;
    return std::any_of(all.begin(), all.end(), [&](const Alias& a) {
      return a.system == "SameDiff" && a.of.empty() && a.name == name;
    });
  };
  CHECK(has("gru", "gru"));
  CHECK(has("lstm_cell", "lstmCell"));
}

TEST_CASE("recurrent ops refuse what does not fit, and say what does", "[rnn]") {
  const Tensor x = some({kT, kB, kI}, 1), w = some({kI + kH, 4 * kH}, 2), c = some({kB, kH}, 3);
  CHECK(code_of([&] { rnn::lstm_block(x, {}, {.ru_weight = w}, {.peep_hole = true}); }) ==
        "lstm_block.input_peephole_weights.missing");
  CHECK(code_of([&] {
          rnn::lstm_block(x, {}, {.ru_weight = w}, {.data_format = static_cast<RnnDataFormat>(7)});
        }) == "lstm_block.config.enum");
  CHECK(code_of([&] {
          rnn::lstm_block(x, {.max_ts_length = Tensor::of<int32_t>({}, {kT + 1})},
                          {.ru_weight = w});
        }) == "lstm_block.max_ts_length.range");
  CHECK(code_of([&] {
          rnn::lstmp(x, c, c, {some({kI, 4 * kH}, 4), some({kH, 4 * kH}, 5), some({4 * kH}, 6)},
                     {.projection = true});
        }) == "lstmp.projection_weights.missing");
  try {
    rnn::lstm_block(x, {.c_last = c}, {.ru_weight = w}, {.data_format = RnnDataFormat::NTS});
    FAIL_CHECK("accepted");
  } catch (const Error& e) {
    CHECK(e.code() == "lstm_block.c_last.dim");
    CHECK(std::string(e.what()).find("with data_format NTS is a batch of 4") != std::string::npos);
  }
  Graph g;
  const Var v = g.placeholder("x", f64, {kB, kH, "T"}), h = g.placeholder("h", f64, {kB, kH});
  const Var mask = g.placeholder("mask", f64, {kB, kH});
  const Var y = rnn::sru(v, h, rnn::sru_weights(g, "sru", kH, f64), mask).h;
  CHECK(code_of([&] { gradients(sum(y), {mask}); }) == "sru.mask.gradient");
}
