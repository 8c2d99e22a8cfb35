// Mistakes that a program makes on its first day: each is refused with what was got, what is
// wanted, who fixed it and what to do, at the program's own line.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

struct Mistake {
  std::string code;
  std::vector<std::string> words;
  std::function<void()> make;
  bool has_line = true;  // the place of the call is known
};

void refuses(const std::vector<Mistake>& mistakes) {
  for (const Mistake& m : mistakes) {
    INFO(m.code);
    const Error e = error_of(m.make);
    const std::string text = e.what();
    INFO(text);
    CHECK(e.code() == m.code);
    CHECK(e.fault() == Fault::kArgument);
    for (const std::string& w : m.words) {
      INFO(w);
      CHECK(text.find(w) != std::string::npos);
    }
    CHECK((text.find("built at tests/user_errors.cc:") != std::string::npos) == m.has_line);
  }
}

rnn::Step keep(Var x, Vars s) {
  Var h = x + s[0];
  return {.output = h, .state = {h}};
}

}  // namespace

TEST_CASE("an index beyond a list is an Error that says what the list holds", "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 12}), h = rnn::zero_state(x, 12);
  const std::string code = "list.index.range", states = "states of a step";
  refuses({
      {code,
       {"index is 1", "0 is the only", states, "first states"},
       [&] { rnn::layer(x, {h}, [](Var in, Vars s) { return keep(in, {s[1]}); }); }},
      {code,
       {"index is 0", "nothing to take", states},
       [&] { rnn::layer(x, {}, [](Var in, Vars s) { return keep(in, {s[0]}); }); }},
      {code,
       {"index is -1", states},
       [&] { rnn::layer(x, {h}, [](Var in, Vars s) { return keep(in, {s[-1]}); }); }},
      {code,
       {"index is 2", "[0, 1]", states},
       [&] { rnn::layer(x, {h, h}, [](Var in, Vars s) { return keep(in, {s.at(2)}); }); }},
      {code, {"last states"}, [&] { rnn::layer(x, {h}, keep).last[1]; }},
      {code,
       {"last states"},
       [&] {
         rnn::layer(x, {h}, keep, {.direction_mode = BIDIR_CONCAT, .backward = keep}).last[1];
       }},
      {code,
       {"inputs of a step", "sequences"},
       [&] {
         recurrence({.states = {h}, .xs = {x}}, [](const Vars&, const Vars& xs, const Vars&) {
           return RecurrenceStep{.states = {xs[1]}};
         });
       }},
      {code,
       {"per row"},
       [&] {
         recurrence({.states = {h}, .xs = {x}}, [](const Vars&, const Vars&, const Vars& rows) {
           return RecurrenceStep{.states = {rows[0]}};
         });
       }},
      {code,
       {"outputs over time"},
       [&] {
         recurrence({.states = {h}, .xs = {x}}, [](const Vars& s, const Vars& xs, const Vars&) {
           return RecurrenceStep{.states = {s[0] + xs[0]}};
         }).ys[0];
       }},
      {code, {"index is 3", "[0, 2]"}, [&] { split(x, 3, -1)[3]; }},
      {code, {"index is 3", "[0, 2]"}, [&] { x.shape()[3]; }},
      {code,
       {"index is 1"},
       [&] {
         scan<Var>({h}, {x},
                   [](const auto& s, const auto&) -> ScanStep<Var> { return {.states = {s[1]}}; });
       }},
      {code,
       {"index is 1"},
       [&] { Session(g).run(Vars{tanh(h)}, {{x, Tensor(f32, {2, 2, 12})}})[1]; }},
      {code, {"index is 2"}, [&] { SequenceDataset({}, {"a"})[2]; }},
      {"tensor.dim.range",
       {"axis 2", "[2,3]", "2 axes"},
       [] { Tensor(f32, {2, 3}).dim(2); },
       false},
  });
  CHECK(Tensor(f32, {2, 3}).dim(-1) == 3);
}

TEST_CASE("a size that is none is refused where it is given", "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 12});
  const auto weights = [&](const char* name, const std::string& layer,
                           const std::function<void()>& make) {
    return Mistake{"layer_weights.size.range",
                   {cat("[weights \"", layer, "\"]"), name, "must be at least 1"},
                   make,
                   false};
  };
  const char* hidden = "hidden units is 0";
  refuses({
      {"zero_state.width.range", {"width is -3", "at least 1"}, [&] { rnn::zero_state(x, -3); }},
      {"zero_state.width.range", {"width is 0"}, [&] { rnn::zero_state(x, 0); }},
      {"thread_team.threads.range",
       {"threads is -2", "0 for one per core"},
       [] { const ThreadTeam team(-2); },
       false},
      weights(hidden, "a", [&] { rnn::lstm_layer_weights(g, "a", 12, 0); }),
      weights("hidden units is -1", "b", [&] { rnn::lstm_layer_weights(g, "b", 12, -1); }),
      weights("inputs is 0", "c", [&] { rnn::gru_layer_weights(g, "c", 0, 4); }),
      weights(hidden, "d/e",
              [&] {
                const auto scope = g.scope("d");
                rnn::min_gru_weights(g, "e", 12, 0);
              }),
      weights(hidden, "f", [&] { rnn::rnn_parameters(g, "f", 12, {.state_size = 0}); }),
  });
}

TEST_CASE("weights of a name that is taken are refused at the user's line", "[refusal]") {
  Graph g;
  const auto twice = [](const std::function<void()>& make) {
    make();
    return Mistake{"graph.name.taken", {"has a value called"}, make};
  };
  using namespace rnn;
  for (const char* last : {"p/peephole_weights", "q/biases", "r/bias"})
    g.variable(last, Tensor(f32, {1}));
  const auto once = [](const std::function<void()>& make) {
    return Mistake{"graph.name.taken", {"has a value called"}, make};
  };
  refuses({
      once([&] { lstm_layer_weights(g, "p", 3, 4, FWD, f32, true); }),
      once([&] { gru_layer_weights(g, "q", 3, 4); }),
      once([&] { lstm_block_weights(g, "r", 3, 4); }),
      twice([&] { lstm_layer_weights(g, "a", 3, 4, FWD, f32, true); }),
      twice([&] { lstm_block_weights(g, "b", 3, 4); }),
      twice([&] { lstmp_weights(g, "c", {.inputs = 3, .hidden = 4}); }),
      twice([&] { gru_weights(g, "d", 3, 4); }),
      twice([&] { gru_layer_weights(g, "e", 3, 4); }),
      twice([&] { sru_weights(g, "f", 4); }),
      twice([&] { sru_cell_weights(g, "g", 4); }),
      twice([&] { sru_bi_weights(g, "h", 4); }),
      twice([&] { lstm_layer_norm_weights(g, "i", 3, 4); }),
      twice([&] { gru_layer_norm_weights(g, "j", 3, 4); }),
      twice([&] { min_gru_weights(g, "k", 3, 4); }),
      twice([&] { min_lstm_weights(g, "n", 3, 4); }),
      twice([&] { ind_rnn_weights(g, "l", 3, 4); }),
      twice([&] { rnn_parameters(g, "m", 3, {.state_size = 4}); }),
  });
}

TEST_CASE("a loss that is no scalar is refused at the user's line", "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 12});
  const Var w = g.variable("w", init::glorot_uniform(g, {12, 3}));
  const Var loss = sum(matmul(x, w), {.axes = {2}}).named("loss");
  const std::vector<std::string> words{"the loss loss is f32[T,B]", "scalar", "mean(loss)",
                                       "made at tests/user_errors.cc"};
  refuses({
      {"gradients.loss.rank", words, [&] { gradients(loss, {w}); }},
      {"gradients.loss.rank", words, [&] { const Trainer t(g, loss); }},
      {"gradients.loss.rank",
       {"f32[3]"},
       [] {
         value_and_gradients([](const Vars& v) { return Vars{tanh(v[0])}; }, {Tensor(f32, {3})});
       }},
      {"trainer.clip_norm.range",
       {"clip_norm is -1"},
       [&] { const Trainer t(g, sum(loss), {.clip_norm = -1}); }},
  });
}

TEST_CASE("a result that was not asked for says which option to set", "[refusal]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 12});
  const auto weights = rnn::lstm_layer_weights(g, "lstm", 12, 8);
  const auto heard = rnn::lstm_layer(x, {}, weights, {}, "heard");
  const std::vector<std::string> last{"last_h of [lstm_layer \"heard\"]", "set ret_last_h = true",
                                      "(tests/user_errors.cc:"};
  refuses({
      {"operand.value.missing", last, [&] { heard.last_h * 2; }},
      {"matmul.a.missing", last, [&] { matmul(heard.last_h, weights.recurrent_weights); }},
      {"var.graph.none", last, [&] { nn::dense(heard.last_h, 3, "d"); }, false},
      {"var.graph.none", last, [&] { (void)heard.last_h.dim(0); }, false},
      {"session.fetch.empty", last, [&] { Session(g).run(Vars{heard.last_h}, {}); }, false},
      // An operand that may be absent: without it the layer would silently begin at 0.
      {"lstm_layer.y_last.missing", last,
       [&] { rnn::lstm_layer(x, {.y_last = heard.last_h}, weights); }},
      {"sum.inputs.missing",
       {"y of [lstm_layer]", "set ret_full_sequence = true"},
       [&] {
         sum(rnn::lstm_layer(x, {}, weights, {.ret_full_sequence = false, .ret_last_h = true}).y);
       },
       false},
      {"operand.value.missing", {"it was never set"}, [&] { x + Var(); }},
      {"sum.inputs.missing",
       {"statecell_output of [rnn]", "this configuration does not give"},
       [&] {
         const rnn::RnnConfig config{
             .state_size = 3, .mode = rnn::RnnMode::gru, .state_outputs = true};
         const Var first = g.constant(Tensor(f32, {1, 2, 3}));
         const Var two = g.placeholder("two", f32, {"T", 2, 12});
         sum(rnn::rnn(two, {.parameters = rnn::rnn_parameters(g, "p", 12, config), .state = first},
                      config)
                 .statecell_output);
       },
       false},
  });
}
