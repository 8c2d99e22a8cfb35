// What each step of an unrolled loop does beside its cycle: gates of the inputs alone, outputs made
// of the states. It becomes part of the loop's step, so that the loop is the layer that it would
// have been; what does not fit stays, and is told of.
#include <functional>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "check_gradient.h"
#include "op_run.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/roll.h>
#include <rondo/ops/rules.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kT = 6, kB = 3, kH = 4;

// What cells are made of, and what they are run on: x and h are as wide as each other.
struct World {
  Graph g;
  Var x, h0, w, u, b, v, dy;
  std::vector<Feed> feeds;

  World() {
    x = feed("x", {kT, kB, kH});
    h0 = feed("h0", {kB, kH});
    w = feed("w", {kH, 3 * kH});
    u = feed("u", {kH, kH});
    b = feed("b", {3 * kH});
    v = feed("v", {kH, kH});
    dy = feed("dy", {kT, kB, kH});
  }
  Var feed(const std::string& name, const Dims& dims) {
    const Var p = g.placeholder(name, f64, Shape(dims.begin(), dims.end()));
    feeds.emplace_back(p, draw(dims, f64, -1, 1, feeds.size() + 3));
    return p;
  }
  Vars operands() const { return {x, h0, w, u, b, v}; }
};

using CellOf = std::function<rnn::Step(const World&, const Var& x, const Vars& states)>;

rnn::Step sru(const World& w, const Var& x, const Vars& s) {
  const Vars z = split(matmul(x, w.w) + w.b, 3, -1);
  const Var f = sigmoid(z[1]), r = sigmoid(z[2]);
  const Var c = f * s[0] + (1 - f) * z[0];
  return {r * tanh(c) + (1 - r) * x, {c}};
}

struct Named {
  std::string name;
  CellOf cell;
};

const std::vector<Named>& cells() {
  static const std::vector<Named> kCells{
      {"sru", sru},
      {"an output that is a product of the state",
       [](const World& w, const Var& x, const Vars& s) -> rnn::Step {
         const Var h = tanh(matmul(x, w.v) + matmul(s[0], w.u));
         return {sigmoid(matmul(h, w.v)) + x, {h}};
       }},
      {"an output of the state before",
       [](const World& w, const Var& x, const Vars& s) -> rnn::Step {
         const Var h = tanh(x + matmul(s[0], w.u));
         return {s[0] * sigmoid(x) - h, {h}};
       }},
      {"elementwise work in the cycle, the input beside it",
       [](const World&, const Var& x, const Vars& s) -> rnn::Step {
         const Var h = sin(s[0]);
         return {h * x, {h}};
       }},
      {"a normalised output",
       [](const World& w, const Var& x, const Vars& s) -> rnn::Step {
         const Var h = tanh(matmul(x, w.v) + matmul(s[0], w.u));
         return {nn::layer_norm(h + x, Var(), Var()), {h}};
       }},
      {"two readers of a kind",
       [](const World& w, const Var& x, const Vars& s) -> rnn::Step {
         const Var h = tanh(x + matmul(s[0], w.u));
         const Var a = h * sigmoid(x), b = h * tanh(x);
         return {a - b * 0.5, {h}};
       }},
  };
  return kCells;
}

Var at_time(const Var& x, int64_t t) { return squeeze(slice(x, 0, t, t + 1), 0); }

// A stack of layers of the cell over time: as layers, written out layer by layer, or all in one
// loop.
enum class Way { kLayers, kLoops, kOneLoop };
Var run(const World& w, const CellOf& cell, size_t layers, Way way, bool backwards) {
  if (way == Way::kLayers) {
    Var y = w.x;
    for (size_t l = 0; l < layers; ++l)
      y = rnn::layer(y, {w.h0}, [&](Var in, Vars s) { return cell(w, in, s); },
                     {.direction_mode = backwards ? BWD : FWD})
              .y;
    return y;
  }
  std::vector<Vars> s(layers, Vars{w.h0});
  const auto over_time = [&](const Var& x, size_t first, size_t last) {
    const Vars xs = unstack(x);
    Vars ys(xs.size());
    for (size_t k = 0; k < xs.size(); ++k) {
      const size_t t = backwards ? xs.size() - 1 - k : k;
      Var in = xs[t];
      for (size_t l = first; l < last; ++l) {
        const rnn::Step step = cell(w, in, s[l]);
        in = step.output;
        s[l] = step.state;
      }
      ys[t] = in;
    }
    return stack(ys);
  };
  if (way == Way::kOneLoop) return over_time(w.x, 0, layers);
  Var y = w.x;
  for (size_t l = 0; l < layers; ++l) y = over_time(y, l, l + 1);
  return y;
}

Vars with_gradients(const World& w, const Var& y) {
  Vars fetches{y};
  for (const Var& d : gradients(sum(y * w.dy), w.operands())) fetches.push_back(d);
  return fetches;
}

// The lines of explain() about steps.
std::multiset<std::string> steps(const std::string& explained) {
  std::multiset<std::string> r;
  for (size_t at = explained.find("step #"); at != std::string::npos;
       at = explained.find("step #", at + 1))
    r.insert(explained.substr(at, explained.find('\n', at) - at));
  return r;
}

TEST_CASE("what a step does beside its cycle becomes part of the loop", "[roll]") {
  const Named& c = cells().at(GENERATE(Catch::Generators::range<size_t>(0, 6)));
  const bool backwards = GENERATE(false, true);
  const size_t layers = GENERATE(1, 2);
  CAPTURE(c.name, backwards, layers);
  std::vector<Tensor> want;
  std::multiset<std::string> how;
  int32_t nodes = 0;
  for (const Way way : {Way::kLayers, Way::kLoops, Way::kOneLoop}) {
    World w;
    const Vars fetches = with_gradients(w, run(w, c.cell, layers, way, backwards));
    Session s(w.g, {}, one_thread());
    const std::string text = s.explain(fetches);
    CAPTURE(way, text);
    const std::vector<Tensor> got = s.run(fetches, w.feeds);
    CHECK(text.find("runtime.recurrence.steps") == std::string::npos);
    const int32_t size = s.plan(fetches)->unit().graph.size();
    if (way == Way::kLayers) {
      want = got;
      how = steps(text);
      nodes = size;
      CHECK(how.size() == 2 * layers);
    }
    if (way == Way::kOneLoop) {
      // Which loop does the work between two, and in which order gradients are added, may differ.
      for (size_t k = 0; k < want.size(); ++k) CHECK(distance(got[k], want[k]) < 1e-14);
      CHECK(steps(text).size() == how.size());
      // The work between two layers may stand outside of both loops, and its gradient too.
      CHECK(size <= nodes + 3 * static_cast<int32_t>(layers - 1));
    } else {
      for (size_t k = 0; k < want.size(); ++k) CHECK(got[k].same_bits(want[k]));
      CHECK(steps(text) == how);
      CHECK(size == nodes);
    }
  }
}

// h_t = tanh(h_{t-1} u + x_t), and what a step makes of it beside.
Vars beside(const World& w, const std::function<Var(const Var& h, int64_t t)>& make,
            Vars* states = nullptr) {
  Vars r;
  Var h = w.h0;
  for (int64_t t = 0; t < kT; ++t) {
    h = tanh(matmul(h, w.u) + at_time(w.x, t));
    r.push_back(make(h, t));
    if (states != nullptr) states->push_back(h);
  }
  return r;
}

Subgraph rolled(const World& w, const Vars& outputs, RollLog* log = nullptr) {
  Subgraph s{w.g, {}, {}};
  for (const Var& v : outputs) s.outputs.push_back(v.value());
  return common_subexpressions(rewrite(*roll(s, log), exact_rules()));
}

TEST_CASE("a step and what it does beside its cycle: before and after", "[roll]") {
  World w;
  Vars ys;
  Var c = w.h0;
  for (int64_t t = 0; t < kT; ++t) {
    const Var x = at_time(w.x, t), z = matmul(x, w.v);
    c = c * w.h0 + z;
    ys.push_back(sigmoid(z) * c);
  }
  RollLog log;
  const Subgraph s = rolled(w, {stack(ys)}, &log);
  CHECK(log.left.empty());
  const std::string text = to_text(s);
  CHECK(text.substr(0, text.find("  %4 = slice")) == R"(graph()
  %0 "x" = placeholder -> f64[6,3,4]
  %1 "h0" = placeholder -> f64[3,4]
  %2 "v" = placeholder -> f64[4,4]
  %3 = recurrence(%1, %0, %1, %2, none, none) {extent=[6,3], per_row=1, row_symbol="$rows0", shared=1, states=1, xs=1, ys=2} -> f64[6,3,4], f64[6,3,4], f64[3,4], f64[6,3,4]
    body(%0, %1, %2, %3)
      %0 = placeholder -> f64[$rows0,4]
      %1 = placeholder -> f64[$rows0,4]
      %2 = placeholder -> f64[$rows0,4]
      %3 = placeholder -> f64[4,4]
      %4 = matmul(%1, %3) -> f64[$rows0,4]
      %5 = mul(%0, %2) -> f64[$rows0,4]
      %6 = add(%5, %4) -> f64[$rows0,4]
      %7 = sigmoid(%4) -> f64[$rows0,4]
      %8 = mul(%7, %6) -> f64[$rows0,4]
      return %6, %6, %8
)");
  for (int32_t id = 0; id < s.graph.size(); ++id) {
    const std::string& op = s.graph.node(id).op->name;
    CHECK((op != "matmul" && op != "mul" && op != "sigmoid"));  // all of it is in the body
  }
}

TEST_CASE("what no step of a loop can do stays beside it", "[roll]") {
  struct Case {
    std::string why;  // nothing is said of what is no work of each step
    std::function<Var(const World&, const Vars& h)> make;  // all outputs as one
  };
  const auto each = [](const std::function<Var(const World&, const Var& h, int64_t t)>& f) {
    return [f](const World& w, const Vars& h) {
      Vars r;
      for (int64_t t = 0; t < kT; ++t) r.push_back(f(w, h[static_cast<size_t>(t)], t));
      return stack(r);
    };
  };
  const std::vector<Case> cases{
      {"", [](const World&, const Vars& h) { return sin(h[2]); }},
      {"",
       [](const World&, const Vars& h) { return stack(Vars{sin(h[1]), sin(h[2]), sin(h[4])}); }},
      {"does not give a row for each sequence",
       each([](const World&, const Var& h, int64_t) { return sum(h); })},
      {"does not give a row for each sequence",
       each([](const World&, const Var& h, int64_t) { return transpose(h); })},
      {"mixes the rows", each([](const World& w, const Var& h, int64_t) {
         return matmul(matmul(h, h, {.transpose_b = true}), w.h0);
       })},
      {"steps with argmax do not run as one program",
       each([](const World&, const Var& h, int64_t) { return argmax(h, -1); })},
      {"steps with log_softmax do not run as one program",
       each([](const World&, const Var& h, int64_t) { return nn::log_softmax(h, -1); })},
      {"steps differ: sin in one, cos in another",
       each([](const World&, const Var& h, int64_t t) { return h * (t < 3 ? sin(h) : cos(h)); })},
      {"depends on other steps",
       [](const World&, const Vars& h) {
         Vars r;
         for (const Var& v : h) r.push_back(v * h.back());
         return stack(r);
       }},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    World w;
    Vars h;
    beside(w, [](const Var& v, int64_t) { return v; }, &h);
    const Var y = c.make(w, h);
    RollLog log;
    const Subgraph s = rolled(w, {y, h.back()}, &log);
    const std::string left = log.left.empty() ? "" : log.left[0];
    CAPTURE(left, to_text(s));
    CHECK(log.rolled.size() == 1);
    CHECK(log.left.empty() == c.why.empty());
    CHECK(left.find(c.why) != std::string::npos);
    const Tensor want = Session(w.g, {.optimize = false}, one_thread()).run(y, w.feeds);
    CHECK(distance(Session(w.g, {}, one_thread()).run(y, w.feeds), want) < 1e-14);
  }
}

TEST_CASE("the loop of the values and that of a gradient are one, whatever is read beside",
          "[roll]") {
  World w;
  Vars h;
  const Vars ys = beside(w, [](const Var& v, int64_t) { return sin(v); }, &h);
  const Var loss = sum(stack(ys) * w.dy);
  Vars more;
  for (const Var& v : h) more.push_back(cos(v));
  const Vars fetches{loss, stack(more), gradients(loss, {w.u})[0]};
  CHECK(count_of(*Session(w.g).plan(fetches), "recurrence") == 2);
}

}  // namespace
}  // namespace rondo::test
