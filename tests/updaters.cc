// Updaters and schedules as a user sees them; their numbers are held to PyTorch's and the papers'
// in tests/vectors/updaters, through `rondo verify`.
#include <rondo/autodiff/updaters.h>

#include <cmath>
#include <limits>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "../cli/verify.h"
#include "check_gradient.h"
#include "error_code.h"

#include <rondo/proto/safetensors.h>

using namespace rondo;
using namespace rondo::test;

namespace {

const std::string kVectors = RONDO_SOURCE_DIR "/tests/vectors/updaters";

template <size_t... I>
std::vector<Updater> all_updaters(std::index_sequence<I...>) {
  return {Updater(std::in_place_index<I>)...};
}
std::vector<Updater> all_updaters() {
  return all_updaters(std::make_index_sequence<std::variant_size_v<Updater>>());
}

const std::vector<Schedule> kSchedules{
    schedule::Step{.from = 0.5, .every = 3},
    schedule::Exponential{.from = 0.5},
    schedule::Inverse{.from = 0.5, .gamma = 0.1},
    schedule::Polynomial{.from = 0.5, .steps = 7},
    schedule::Cosine{.from = 0.5, .to = 0.1, .steps = 7, .restarts = true, .growth = 2},
    schedule::Cyclic{.low = 0.1, .high = 0.5, .up = 3},
    schedule::WarmUp{.steps = 5, .then = schedule::Step{.from = 0.5, .every = 3}},
    schedule::Plateau{.from = 0.5, .patience = 2}};

Updater sgd_at(const Schedule& rate) { return SGD{.learning_rate = rate}; }

// The refusal of one update with this updater.
std::string refused(const Updater& u, const UpdateOptions& options = {}) {
  Graph g;
  const Var w = g.variable("w", Tensor(f64, {2}));
  return code_of([&] { updates_for(u, {w}, {w * 2}, options); });
}

// f(x) at each of 0 .. n-1.
Tensor steps(int64_t n) {
  Tensor t(f64, {n});
  for (int64_t i = 0; i < n; ++i) t.mutable_data<double>()[i] = static_cast<double>(i);
  return t;
}

}  // namespace

TEST_CASE("updaters: 50 steps and more of each have the numbers of PyTorch or of the paper",
          "[updaters][vectors]") {
  std::set<std::string> updaters, schedules;
  for (const std::string& path : tool::vector_files(kVectors)) {
    const SafeTensors file = load_safetensors(path);
    CHECK(file.tensors.at("out.w").dims()[0] >= 50);
    const std::string& config = file.metadata.at("config");
    for (const Updater& u : all_updaters()) {
      const std::string name = attributes_of(u).text("updater");
      if (config.find(cat("\"updater\": \"", name, "\"")) != config.npos) updaters.insert(name);
    }
    for (const Schedule& s : kSchedules) {
      const std::string name = attributes_of(sgd_at(s)).text("learning_rate/schedule");
      if (config.find(cat("\"learning_rate/schedule\": \"", name, "\"")) != config.npos)
        schedules.insert(name);
    }
    for (const char* backend : {"cpu", "reference"}) {
      for (const bool optimize : {true, false}) {
        const auto r = tool::verify_case(
            file, {.compile = {.backend = backend, .optimize = optimize}, .team = one_thread()});
        CAPTURE(path, backend, r.problems);
        CHECK(r.outcome == tool::CaseResult::Outcome::kPassed);
      }
    }
  }
  CHECK(updaters.size() == std::variant_size_v<Updater>);
  CHECK(schedules.size() == kSchedules.size());
}

TEST_CASE("updaters: a wrong number in a file of theirs is seen", "[updaters][vectors]") {
  SafeTensors file = load_safetensors(kVectors + "/adam.safetensors");
  file.tensors.at("out.w").mutable_data<double>()[300] *= 1 + 1e-11;
  const auto r = tool::verify_case(file, {.team = one_thread()});
  CHECK(r.outcome == tool::CaseResult::Outcome::kFailed);
  CHECK(r.problems.at(0).find("out.w 1 of 360 differ, most at [50,0,0]") != std::string::npos);
}

TEST_CASE("updaters: each is saved under its name and comes back the same", "[updaters]") {
  std::set<std::string> names;
  for (const Updater& u : all_updaters()) {
    const Attributes a = attributes_of(u);
    names.insert(a.text("updater"));
    const Updater back = updater_from(a);
    CHECK(back.index() == u.index());
    CHECK(attributes_of(back) == a);
    for (const auto& [name, value] : a.items()) {
      Attributes less;
      for (const auto& [other, v] : a.items()) {
        if (other != name) less.set(other, v);
      }
      INFO(name);
      CHECK(code_of([&] { updater_from(less); }) == "settings.attribute.missing");
    }
  }
  CHECK(names.size() == std::variant_size_v<Updater>);
  for (const Schedule& s : kSchedules) {
    const Attributes a = attributes_of(sgd_at(s));
    CHECK(attributes_of(updater_from(a)) == a);
    Attributes other = a;
    other.set("learning_rate/schedule", "moon");
    CHECK(code_of([&] { updater_from(other); }) == "schedule.name.unknown");
  }
}

TEST_CASE("updaters: every number out of its range is refused by name", "[updaters]") {
  size_t broken = 0;
  // Each number of the updater that these attributes say, broken in turn.
  const auto break_all = [&](const Attributes& a) {
    for (const auto& [name, value] : a.items()) {
      std::vector<AttributeValue> wrong;
      if (value.get<double>() != nullptr) wrong = {-1.0, std::nan(""), HUGE_VAL};
      if (value.get<int64_t>() != nullptr) wrong = {-1};
      // "learning_rate/then/every" is a number of the step schedule within the warm-up.
      std::string of = a.text("updater"), field = name;
      for (size_t at = name.find('/'); at != name.npos; at = name.find('/', at + 1)) {
        const std::string owner = cat(name.substr(0, at), "/schedule");
        if (a.has(owner)) of = cat("schedule.", a.text(owner));
        field = name.substr(at + 1);
      }
      for (const AttributeValue& v : wrong) {
        Attributes changed = a;
        changed.set(name, v);
        CAPTURE(name, v.str());
        CHECK(refused(updater_from(changed)) == cat(of, ".", field, ".range"));
        ++broken;
      }
    }
  };
  for (const Updater& u : all_updaters()) break_all(attributes_of(u));
  for (const Schedule& s : kSchedules) break_all(attributes_of(sgd_at(s)));
  CHECK(broken > 150);
  CHECK(refused(SGD{.momentum = 1}) == "sgd.momentum.range");
  CHECK(refused(sgd_at(schedule::Step{.from = 1})) == "schedule.step.every.range");
  CHECK(refused(sgd_at(schedule::Cosine{.steps = 3})) == "schedule.cosine.from.range");
  CHECK(refused(sgd_at(schedule::WarmUp{.steps = 3})) == "schedule.warm_up.then.range");
  CHECK(refused(sgd_at(kSchedules.back())) == "schedule.plateau.loss");
  CHECK(refused(SGD{}, {.regularization = {.l1 = -1}}) == "regularization.l1.range");
  CHECK(refused(SGD{}, {.regularization = {.l2 = HUGE_VAL}}) == "regularization.l2.range");
  CHECK(refused(SGD{}, {.regularization = {.weight_decay = -1}}) ==
        "regularization.weight_decay.range");
  CHECK(refused(SGD{}, {.regularization = {.except = {"v"}}}) == "regularization.except.unknown");
}

TEST_CASE("updaters: a rate that changes compiles nothing anew", "[updaters]") {
  for (const Schedule& s : kSchedules) {
    Graph g;
    const Var w = g.variable("w", Tensor::of<double>({1}, {1}));
    const Var loss = sum(square(w));
    const Updates u = updates_for(sgd_at(s), {w}, gradients(loss, {w}), {.loss = loss});
    Session session(g, {}, one_thread());
    session.run_and_update({}, u, {});
    const auto plan = session.plan({}, u);
    session.run_and_update({}, u, {});
    CHECK(session.plan({}, u) == plan);
    CHECK(session.variables().value("sgd/step").item() == 2);
  }
}

TEST_CASE("schedules: their rates at many steps at once", "[updaters]") {
  Graph g;
  const Var t = g.placeholder("t", f64, {"N"});
  Session session(g, {}, one_thread());
  const auto rates = [&](const Schedule& s, int64_t n) {
    return session.run(rate_at(s, t), {{t, steps(n)}});
  };
  CHECK(rates(0.25, 3) == Tensor::full(f64, {3}, 0.25));
  CHECK(rates(schedule::Step{.from = 8, .factor = 0.5, .every = 2}, 5) ==
        Tensor::of<double>({5}, {8, 8, 4, 4, 2}));
  CHECK(rates(schedule::Cyclic{.low = 1, .high = 5, .up = 2}, 6) ==
        Tensor::of<double>({6}, {1, 3, 5, 3, 1, 3}));
  CHECK(rates(schedule::WarmUp{.steps = 4, .then = 8}, 6) ==
        Tensor::of<double>({6}, {0, 2, 4, 6, 8, 8}));
  // Periods of 2, 4, 8, ...: each begins at `from` exactly, also far out.
  const Schedule growing =
      schedule::Cosine{.from = 1, .to = 0, .steps = 2, .restarts = true, .growth = 2};
  const Tensor r = rates(growing, 1000);
  for (const int64_t begin : {0, 2, 6, 14, 30, 62, 126, 254, 510}) {
    CHECK(r.at(begin) == 1);
    CHECK(r.at(begin + 1) < 1);
  }
  CHECK(code_of([&] { rates(kSchedules.back(), 1); }) == "schedule.plateau.losses");
  CHECK(code_of([&] { rates(-1, 1); }) == "schedule.rate.range");
}

TEST_CASE("updaters: what is remembered of half weights is f32, and small steps add up",
          "[updaters]") {
  for (const DType dtype : {bf16, f16}) {
    Graph g;
    const Var w = g.variable("w", Tensor::of<double>({1}, {1}).to(dtype));
    const Var gradient = g.placeholder("gradient", dtype, {1});
    const Updates u = updates_for(AMSGrad{.learning_rate = 0.125}, {w}, {gradient});
    Session session(g, {}, one_thread());
    for (int k = 0; k < 40; ++k)
      session.run_and_update({}, u, {{gradient, Tensor::of<double>({1}, {1}).to(dtype)}});
    CHECK(session.variables().value("w").dtype() == dtype);
    const Tensor v = session.variables().value("w/amsgrad_v");
    CHECK(v.dtype() == f32);
    CHECK(std::abs(v.at(0) - (1 - std::pow(0.999, 40))) < 1e-5);
    CHECK(session.variables().value("w").at(0) == -4);
  }
}

TEST_CASE("regularization leaves named variables alone", "[updaters]") {
  Graph g;
  const Var w = g.variable("w", Tensor::of<double>({1}, {-2}));
  const Var b = g.variable("b", Tensor::of<double>({1}, {-2}));
  Session session(g, {}, one_thread());
  const auto after = [&](const Updater& u, const Regularization& r) {
    session.run_and_update({}, {{w, w * 0 - 2}, {b, b * 0 - 2}}, {});
    session.run_and_update({}, updates_for(u, {w, b}, {w * 0, b * 0}, {.regularization = r}), {});
    CHECK(session.variables().value("b").at(0) == -2);
    return session.variables().value("w").at(0);
  };
  const SGD sgd{.learning_rate = 0.5};
  CHECK(after(sgd, {.l1 = 1, .except = {"b"}}) == -1.5);
  CHECK(after(sgd, {.l2 = 0.25, .except = {"b"}}) == -1.75);
  CHECK(after(sgd, {.weight_decay = 0.5, .except = {"b"}}) == -1.5);
  CHECK(after(AdamW{.learning_rate = 0.5, .weight_decay = 0.5}, {.except = {"b"}}) == -1.5);
}

TEST_CASE("clipping by value and by norm, each gradient for itself", "[updaters]") {
  Graph g;
  const Var a = g.placeholder("a", f64, {2});
  const Var b = g.placeholder("b", f64, {1});
  Session s(g, {}, one_thread());
  const std::vector<Feed> feeds{{a, Tensor::of<double>({2}, {6, -8})},
                                {b, Tensor::of<double>({1}, {0.5})}};
  auto c = s.run(clip_by_value({a, b}, 2), feeds);
  CHECK(c[0] == Tensor::of<double>({2}, {2, -2}));
  CHECK(c[1] == feeds[1].second);
  c = s.run(clip_by_norm({a, b}, 5), feeds);
  CHECK(c[0] == Tensor::of<double>({2}, {3, -4}));
  CHECK(c[1] == feeds[1].second);
  CHECK(code_of([&] { clip_by_value({a}, 0); }) == "clip_by_value.limit.range");
  CHECK(code_of([&] { clip_by_norm({a}, -1); }) == "clip_by_norm.norm.range");
  CHECK(code_of([&] { clip_by_global_norm({a}, std::nan("")); }) ==
        "clip_by_global_norm.norm.range");
}

TEST_CASE("updaters: two in one graph count for themselves under names of their own",
          "[updaters]") {
  Graph g;
  const Var w = g.variable("w", Tensor::of<double>({1}, {0}));
  const Var v = g.variable("v", Tensor::of<double>({1}, {0}));
  const Var one = fill_like(w, 1);
  const SGD fast{.learning_rate = schedule::Step{.from = 1, .factor = 0.5, .every = 1}};
  Updates u = updates_for(fast, {w}, {one}, {.name = "fast"});
  Session session(g, {}, one_thread());
  session.run_and_update({}, u, {});
  const Updates slow = updates_for(fast, {v}, {one}, {.name = "slow"});
  u.insert(u.end(), slow.begin(), slow.end());
  session.run_and_update({}, u, {});
  CHECK(session.variables().value("fast/step").item() == 2);
  CHECK(session.variables().value("slow/step").item() == 1);
  CHECK(session.variables().value("w").at(0) == -1.5);
  CHECK(session.variables().value("v").at(0) == -1);

  Graph h;
  const Var x = h.variable("x", Tensor::of<double>({1}, {0}));
  h.variable("x/adam_m", Tensor(f32, {3}));
  CHECK(code_of([&] { updates_for(Adam{}, {x}, {x * 2}); }) == "updater.state.type");
}
