// What explain() tells beside passes and kernels: layers by name, what memory it takes, a kernel
// that was asked for in vain, and what it is asked without.
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "error_code.h"
#include "trainer_fixture.h"

#include <rondo/rondo.h>

using namespace rondo;
using namespace rondo::test;

namespace {

bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

// An LSTM whose gates of all steps are more than its matrices.
struct Long {
  Graph g;
  Vars gradients_;
  Binding sizes{{"T", 200}, {"B", 16}};

  Long() {
    const Var x = g.placeholder("x", f32, {"T", "B", 4});
    const auto r =
        rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "lstm", 4, 8), {.ret_last_h = true});
    gradients_ = gradients(mean(square(r.last_h)), g.trainable());
  }
  size_t bytes(bool recompute) const {
    return Session(g, {.recompute = recompute}).plan(gradients_)->bind(sizes)->arena_bytes();
  }
  std::string explained(CompileOptions options) const {
    return Session(g, std::move(options)).explain(gradients_, sizes);
  }
};

}  // namespace

TEST_CASE("explain names layers by their variables, and results by their names", "[explain]") {
  const Network n = network();
  Trainer t = trainer(n);
  n.logits.named("logits");
  const std::string text = t.explain({{"T", 5}, {"B", 3}});
  INFO(text);
  CHECK(has(text, "  [lstm"));
  CHECK(has(text, "[tones -> logits]"));
  CHECK(has(text, "f32[3,10]"));  // B of 3, both directions of 5
  CHECK(has(text, "backwards"));  // the gradient
  CHECK(has(text, "[adam"));      // the updater
}

TEST_CASE("explain tells of the memory budget, also where a run would be refused", "[explain]") {
  const Long t;
  const size_t kept = t.bytes(false), again = t.bytes(true);
  REQUIRE(again < kept);
  CHECK(t.explained({}).rfind("passes", 0) == 0);
  CHECK(has(t.explained({.memory_budget = kept}),
            cat("memory: ", kept, " bytes, within the budget")));
  const std::string less = t.explained({.memory_budget = kept - 1});
  CHECK(has(less, cat("memory: ", kept, " bytes are over the budget of ", kept - 1,
                      ", so gradients compute again what they need: ", again, " bytes")));
  CHECK(has(less, "run again by their gradients, in segments of time"));
  const std::string refused = t.explained({.memory_budget = again - 1});
  CHECK(has(refused, cat("memory: ", kept, " bytes, ", again, " where gradients compute again")));
  CHECK(has(refused, "so that a run is refused"));
  CHECK(has(refused, "cpu.recurrence.engine"));
  CHECK(code_of([&] {
          Session(t.g, {.memory_budget = again - 1}).plan(t.gradients_)->bind(t.sizes);
        }) == "plan.memory.budget");
}

TEST_CASE("explain says why a kernel that was asked for runs nothing", "[explain]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {4, 2, 3}), n = g.placeholder("n", i32, {2});
  const auto weights = rnn::lstm_layer_weights(g, "lstm", 3, 5);
  const Var y = rnn::lstm_layer(x, {}, weights).y,
            some = rnn::lstm_layer(x, {.max_ts_length = n}, weights).y;
  const auto told = [&](const std::string& kernel, const Var& v) {
    return Session(g, {.kernel = kernel}).explain({v});
  };
  const std::string none = "was asked for, but runs no step: ";
  CHECK_FALSE(has(told("cpu.recurrence.onednn", y), none));
  // It has no windows; the kernel that runs instead is shown.
  const std::string windows = told("cpu.recurrence.onednn", some);
  INFO(windows);
  CHECK(has(windows, "kernel cpu.recurrence.onednn " + none + "[lstm_layer"));
  CHECK(has(windows, "cpu.recurrence.engine"));
  CHECK(has(told("cpu.recurrence.engine", tanh(x)), none + "no step is of an op that it runs"));
}

TEST_CASE("a kernel of no such name is answered with those near it", "[explain]") {
  Graph g;
  const Var y = tanh(g.placeholder("x", f32, {2}));
  const auto text = [&](const std::string& kernel) {
    return text_of([&] { Session(g, {.kernel = kernel}).explain({y}); });
  };
  CHECK(has(text("cpu.recurrence.engin"), "did you mean 'cpu.recurrence.engine'?"));
  CHECK(has(text("onednn"),
            "near it are cpu.matmul.onednn, cpu.fused_matmul.onednn, cpu.recurrence.onednn"));
  CHECK(has(text("zzz"), "'zzz'"));
}

TEST_CASE("explain asks for every size at once, and takes no other", "[explain]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  Session s(g);
  const auto error = [&](const Binding& sizes) {
    return error_of([&] { s.explain({tanh(x)}, sizes); });
  };
  const Error none = error({});
  CHECK(none.code() == "session.sizes.missing");
  CHECK(has(none.what(), "T, B are dimensions of what is fed"));
  CHECK(has(none.what(), "{{\"T\", 16}, {\"B\", 16}}"));
  CHECK(has(error({{"T", 7}}).what(), "{{\"T\", 7}, {\"B\", 16}}"));
  const Error other = error({{"T", 7}, {"B", 2}, {"Tt", 1}});
  CHECK(other.code() == "session.sizes.unknown");
  CHECK(has(other.what(), "Tt"));
  CHECK(has(other.what(), "there are T, B"));
  CHECK(error({{"T", -7}, {"B", 2}}).code() == "session.sizes.range");
  const Network n = network();
  Trainer t = trainer(n);
  CHECK(code_of([&] { t.explain({{"T", 5}}); }) == "session.sizes.missing");
}
