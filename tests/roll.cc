// Loops that a user unrolled: they become the recurrence that a layer is, with the same numbers,
// gradients and kernel; and what cannot be rolled stays and is told of.
#include <rondo/ops/roll.h>

#include <functional>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "check_gradient.h"
#include "op_run.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kT = 6, kB = 3, kI = 2, kH = 4;

// An LSTM over time in one of the ways in which it can be written: y [T,B,H] and the last h.
struct Written {
  Graph g;
  Var x, wx, wr, b, h0, c0;
  Var y, last, dy;
  std::vector<Feed> feeds;
  Vars operands() const { return {x, wx, wr, b, h0, c0}; }
};

struct Two {
  Var h, c;
};
Two lstm_step(const Written& w, const Var& x, const Two& s) {
  Var z = matmul(x, w.wx) + w.b;
  z = z + matmul(s.h, w.wr);
  const Vars gates = split(z, 4, -1);
  const Var i = sigmoid(gates[0]), f = sigmoid(gates[1]), g = tanh(gates[2]);
  const Var c = f * s.c + i * g;
  const Var o = sigmoid(gates[3]);
  return {o * tanh(c), c};
}

Var at_time(const Var& x, int64_t t) { return squeeze(slice(x, 0, t, t + 1), 0); }
Var stacked(const Vars& ys) {
  Vars parts;
  for (const Var& y : ys) parts.push_back(expand_dims(y, 0));
  return concat(parts, 0);
}

const std::vector<std::string>& ways() {
  static const std::vector<std::string> kWays{"recurrence", "layer",     "lstm_layer", "cells",
                                              "primitives", "unstacked", "split"};
  return kWays;
}

Written write(const std::string& way, DType t = f64, bool symbolic_rows = false) {
  Written w;
  const Dim rows = symbolic_rows ? Dim("B") : Dim(kB);
  w.x = w.g.placeholder("x", t, {kT, rows, kI});
  w.wx = w.g.placeholder("wx", t, {kI, 4 * kH});
  w.wr = w.g.placeholder("wr", t, {kH, 4 * kH});
  w.b = w.g.placeholder("b", t, {4 * kH});
  w.h0 = w.g.placeholder("h0", t, {rows, kH});
  w.c0 = w.g.placeholder("c0", t, {rows, kH});
  w.dy = w.g.placeholder("dy", t, {kT, rows, kH});
  Vars fed = w.operands();
  fed.push_back(w.dy);
  for (const Var& v : fed) {
    const Dims dims = bind(v.shape(), {{"B", kB}});
    w.feeds.emplace_back(v, draw(dims, t, -1, 1, w.feeds.size() + 3));
  }
  if (way == "lstm_layer") {
    const auto r = rnn::lstm_layer(w.x, {.c_last = w.c0, .y_last = w.h0}, {w.wx, w.wr, w.b},
                                   {.ret_last_h = true});
    w.y = r.y;
    w.last = r.last_h;
  } else if (way == "layer") {
    const auto r = rnn::layer(w.x, {w.h0, w.c0}, [&](Var x, Vars s) -> rnn::Step {
      const Two next = lstm_step(w, x, {s[0], s[1]});
      return {.output = next.h, .state = {next.h, next.c}};
    });
    w.y = r.y;
    w.last = r.last[0];
  } else if (way == "recurrence") {
    const auto r = recurrence({.states = {w.h0, w.c0}, .xs = {w.x}},
                              [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                                const Two next = lstm_step(w, xs[0], {s[0], s[1]});
                                return {.states = {next.h, next.c}, .ys = {next.h}};
                              });
    w.y = r.ys[0];
    w.last = r.finals[0];
  } else {
    Two s{w.h0, w.c0};
    Vars ys, xs;
    if (way == "unstacked") xs = unstack(w.x);
    if (way == "split") {
      for (const Var& x : split(w.x, kT, 0)) xs.push_back(squeeze(x, 0));
    }
    for (int64_t k = 0; k < kT; ++k) {
      const Var x = xs.empty() ? at_time(w.x, k) : xs[static_cast<size_t>(k)];
      if (way == "cells") {
        const auto r = rnn::lstm_layer_cell(x, {.c_last = s.c, .y_last = s.h}, {w.wx, w.wr, w.b});
        s = {r.h, r.c};
      } else {
        s = lstm_step(w, x, s);
      }
      ys.push_back(s.h);
    }
    w.y = way == "unstacked" ? stack(ys) : stacked(ys);
    w.last = s.h;
  }
  return w;
}

// What the user asks for: results and gradients by everything.
Vars asked(const Written& w) {
  Vars fetches{w.y, w.last};
  // Seeded by an operand: work around a loop that it alone reads would move into its steps.
  const Vars d = gradients(sum(w.y * w.dy) + sum(w.last * 0.5), w.operands());
  fetches.insert(fetches.end(), d.begin(), d.end());
  return fetches;
}

// The lines of explain() that say what the recurrences of a plan are and who runs them.
std::multiset<std::string> recurrences(const std::string& explained) {
  std::multiset<std::string> r;
  size_t at = explained.find("steps\n");
  const auto line = [&](size_t from) {
    return explained.substr(from, explained.find('\n', from) - from);
  };
  while ((at = explained.find("  recurrence", at)) != std::string::npos) {
    const std::string chosen = line(at);
    const size_t number = explained.find("step #", at);
    const size_t kernel = chosen.find("cpu.");
    r.insert(chosen.substr(kernel, chosen.find("  ", kernel) - kernel) + " " + line(number));
    at = number;
  }
  return r;
}

TEST_CASE("an unrolled loop, a layer and a recurrence are one thing", "[roll]") {
  const bool symbolic = GENERATE(false, true);
  const Binding sizes = symbolic ? Binding{{"B", kB}} : Binding{};
  std::vector<Tensor> want;
  std::multiset<std::string> how;
  for (const std::string& way : ways()) {
    CAPTURE(way, symbolic);
    const Written w = write(way, f64, symbolic);
    const Vars fetches = asked(w);
    Session session(w.g, {}, one_thread());
    const std::vector<Tensor> got = session.run(fetches, w.feeds);
    const std::string explained = session.explain(fetches, sizes);
    CAPTURE(explained);
    if (want.empty()) {
      want = got;
      how = recurrences(explained);
      REQUIRE(how.size() == 2);  // forward and backward
      for (const std::string& one : how)
        CHECK(one.find("cpu.recurrence.engine") != std::string::npos);
    }
    for (size_t k = 0; k < want.size(); ++k) CHECK(got[k].same_bits(want[k]));
    CHECK(recurrences(explained) == how);
    CHECK(explained.find(" over time, backwards") != std::string::npos);
    const bool is_layer = way == "recurrence" || way == "layer" || way == "lstm_layer";
    CHECK((explained.find("  roll  ") == std::string::npos) == is_layer);
  }
}

TEST_CASE("numbers in a cell, literal or of the graph around it, keep it on the engine", "[roll]") {
  std::multiset<std::string> how;
  std::vector<Tensor> want;
  for (const std::string way : {"layer", "layer with a number from outside", "loop"}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {kT, "B", kI}), h0 = g.placeholder("h0", f64, {"B", kH});
    const Var wf = g.placeholder("wf", f64, {kI, kH}), wh = g.placeholder("wh", f64, {kI, kH}),
              uf = g.placeholder("uf", f64, {kH, kH}), uh = g.placeholder("uh", f64, {kH, kH});
    std::vector<Feed> feeds;
    for (const Var& v : {x, h0, wf, wh, uf, uh})
      feeds.emplace_back(v, draw(bind(v.shape(), {{"B", kB}}), f64, -1, 1, feeds.size()));
    const Var one = g.constant(Tensor::scalar(f64, 1));
    const rnn::Cell cell = [&](Var xt, Vars s) -> rnn::Step {
      const Var f = sigmoid(matmul(xt, wf) + matmul(s[0], uf));
      const Var rest = way == "layer with a number from outside" ? one - f : 1 - f;
      const Var h = f * s[0] + rest * tanh(matmul(xt, wh) + matmul(s[0], uh)) * 0.5;
      return {.output = h, .state = {h}};
    };
    Var last = h0;
    if (way == "loop") {
      for (int64_t t = 0; t < kT; ++t) last = cell(at_time(x, t), {last}).state[0];
    } else {
      last = rnn::layer(x, {h0}, cell).last[0];
    }
    Vars fetches{last};
    for (const Var& d : gradients(sum(last * last), {x, h0, uf, wh})) fetches.push_back(d);
    Session s(g, {}, one_thread());
    const std::string text = s.explain(fetches, {{"B", kB}});
    CAPTURE(way, text);
    CHECK(text.find("runtime.recurrence.steps") == std::string::npos);
    const std::vector<Tensor> got = s.run(fetches, feeds);
    if (want.empty()) {
      want = got;
      how = recurrences(text);
    }
    if (way == "loop") CHECK(how == recurrences(text));
    for (size_t k = 0; k < got.size(); ++k) CHECK(got[k].same_bits(want[k]));
  }
}

// What a loop over time looks like that is not the plain one: each makes its results from `x`
// [T,B,I] and others, and says how many recurrences it should become.
struct Loop {
  std::string name;
  size_t recurrences;
  std::function<Vars(const Vars& in)> make;  // in: x [T,B,4], h0 [B,4], w [4,4], mask [B,4]
};

const std::vector<Loop>& loops() {
  static const std::vector<Loop> kLoops{
      {"backwards in time", 1,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         Vars ys(kT);
         for (int64_t t = kT; t-- > 0;) {
           h = tanh(matmul(h, in[2]) + at_time(in[0], t));
           ys[static_cast<size_t>(t)] = h;
         }
         return {stacked(ys), h};
       }},
      {"time on the second axis", 1,
       [](const Vars& in) -> Vars {
         const Var x = transpose(in[0], {1, 0, 2});
         Var h = in[1];
         for (int64_t t = 0; t < kT; ++t)
           h = tanh(matmul(h, in[2]) + squeeze(slice(x, 1, t, t + 1), 1));
         return {h};
       }},
      {"only some steps of the sequence", 1,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 1; t < kT; ++t) h = tanh(matmul(h, in[2]) * at_time(in[0], t));
         return {h};
       }},
      {"a mask for each row, and a result of one step in the middle", 1,
       [](const Vars& in) -> Vars {
         Var h = in[1], third;
         for (int64_t t = 0; t < kT; ++t) {
           h = tanh(matmul(h * in[3], in[2]) + at_time(in[0], t));
           if (t == 2) third = h;
         }
         return {h, third * 2};
       }},
      {"two layers in one loop", 2,
       [](const Vars& in) -> Vars {
         Var a = in[1], b = in[1];
         Vars ys;
         for (int64_t t = 0; t < kT; ++t) {
           a = tanh(matmul(a, in[2]) + at_time(in[0], t));
           b = sigmoid(matmul(b, in[2]) + a);
           ys.push_back(b);
         }
         return {stacked(ys)};
       }},
      {"no input at all", 1,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 0; t < kT; ++t) h = tanh(matmul(h, in[2]));
         return {h};
       }},
      {"three steps are too few", 0,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 0; t < 3; ++t) h = tanh(matmul(h, in[2]) + at_time(in[0], t));
         return {h};
       }},
      {"elementwise work on one value", 0,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 0; t < kT; ++t) h = tanh(h * in[3]);
         return {h};
       }},
      {"each step with a matrix of its own", 0,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 0; t < kT; ++t) h = tanh(matmul(h, in[2] * static_cast<double>(t)));
         return {h};
       }},
      {"a step that looks back two steps", 0,
       [](const Vars& in) -> Vars {
         Var h = in[1], before = in[1];
         for (int64_t t = 0; t < kT; ++t) {
           const Var next = tanh(matmul(h, in[2]) + before * at_time(in[0], t));
           before = h;
           h = next;
         }
         return {h};
       }},
      {"the rows are mixed", 0,
       [](const Vars& in) -> Vars {
         Var h = in[1];
         for (int64_t t = 0; t < kT; ++t)
           h = tanh(matmul(h, in[2]) + transpose(matmul(transpose(h), at_time(in[0], t))) * 0);
         return {h};
       }},
  };
  return kLoops;
}

TEST_CASE("unrolled loops of many shapes keep their values and gradients", "[roll]") {
  const size_t which = GENERATE(Catch::Generators::range<size_t>(0, 11));
  const Loop& loop = loops().at(which);
  const bool symbolic = GENERATE(false, true);
  CAPTURE(loop.name, symbolic);
  const int64_t rows = loop.name == "the rows are mixed" ? 4 : kB;
  const Dim batch = symbolic ? Dim("B") : Dim(rows);
  const auto run = [&](bool optimize, size_t* found) {
    Graph g;
    const Vars in{g.placeholder("x", f64, {kT, batch, kH}), g.placeholder("h0", f64, {batch, kH}),
                  g.placeholder("w", f64, {kH, kH}), g.placeholder("mask", f64, {batch, kH})};
    std::vector<Feed> feeds;
    for (const Var& v : in)
      feeds.emplace_back(v, draw(bind(v.shape(), {{"B", rows}}), f64, -1, 1, feeds.size()));
    Vars fetches = loop.make(in);
    Var total = g.constant(Tensor::scalar(f64, 0));
    for (const Var& y : fetches) total = total + sum(y * y);
    // Rolled in both; roll_fuzz.cc compares with gradients of loops that are not.
    const Vars d = gradients(total, in);
    fetches.insert(fetches.end(), d.begin(), d.end());
    Session s(g, {.optimize = optimize}, one_thread());
    if (found != nullptr) {
      const Vars forward(fetches.begin(), fetches.end() - static_cast<std::ptrdiff_t>(in.size()));
      *found = count_of(*s.plan(forward), "recurrence");
    }
    if (!symbolic) {
      const GradientReport report =
          check_gradients(g, Vars(fetches.begin(), fetches.end() - 4), feeds);
      CHECK(report.first > 0);
    }
    return s.run(fetches, feeds);
  };
  size_t found = 0;
  if (loop.name == "the rows are mixed" && symbolic) return;  // B against 4 is an error of its own
  const std::vector<Tensor> rolled = run(true, &found), plain = run(false, nullptr);
  CHECK(found == loop.recurrences);
  for (size_t k = 0; k < plain.size(); ++k) CHECK(distance(rolled[k], plain[k]) < 1e-12);
}

TEST_CASE("a loop that cannot be rolled is told of, with the reason", "[roll]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), w = g.placeholder("w", f64, {kH, kH});
  Var h = g.placeholder("h0", f64, {kB, kH});
  for (int64_t t = 0; t < kT; ++t) h = nn::dropout(tanh(matmul(h, w) + at_time(x, t)), 0.5);
  const std::string text = Session(g).explain({h});
  CAPTURE(text);
  CHECK(text.find("not rolled: 5 steps of matmul at tests/roll.cc:") != std::string::npos);
  CHECK(text.find("dropout draws numbers of its own at each step") != std::string::npos);
}

TEST_CASE("a gradient by a value in the middle of a loop keeps the loop", "[roll]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), w = g.placeholder("w", f64, {kH, kH});
  Var h = g.placeholder("h0", f64, {kB, kH}), middle;
  std::vector<Feed> feeds{{x, draw({kT, kB, kH}, f64, -1, 1, 1)},
                          {w, draw({kH, kH}, f64, -1, 1, 2)},
                          {h, draw({kB, kH}, f64, -1, 1, 3)}};
  for (int64_t t = 0; t < kT; ++t) {
    h = tanh(matmul(h, w) + at_time(x, t));
    if (t == 2) middle = h;
  }
  const Var d = gradients(sum(h), {middle})[0];
  // The same from there on, with the value in the middle as an input.
  Session s(g, {}, one_thread());
  const std::vector<Tensor> got = s.run({d, middle}, feeds);
  Graph rest;
  const Var x2 = rest.placeholder("x", f64, {kT, kB, kH}),
            w2 = rest.placeholder("w", f64, {kH, kH});
  const Var from = rest.placeholder("middle", f64, {kB, kH});
  Var h2 = from;
  for (int64_t t = 3; t < kT; ++t) h2 = tanh(matmul(h2, w2) + at_time(x2, t));
  const Var d2 = gradients(sum(h2), {from})[0];
  const Tensor want = Session(rest, {}, one_thread())
                          .run(d2, {{x2, feeds[0].second}, {w2, feeds[1].second}, {from, got[1]}});
  CHECK(distance(got[0], want) < 1e-14);
}

// h_t = tanh(h_{t-1} w + x_t), step by step.
struct Plain {
  Graph g;
  Var x, w, h0;
  Vars xs, h;  // of each step
  std::vector<Feed> feeds;
  explicit Plain(const std::function<Var(const Plain&, int64_t t)>& read = {}) {
    x = g.placeholder("x", f64, {kT, kB, kH});
    w = g.placeholder("w", f64, {kH, kH});
    h0 = g.placeholder("h0", f64, {kB, kH});
    for (const Var& v : {x, w, h0})
      feeds.emplace_back(v, draw(bind(v.shape(), {}), f64, -1, 1, feeds.size() + 1));
    for (int64_t t = 0; t < kT; ++t) {
      xs.push_back(read ? read(*this, t) : at_time(x, t));
      h.push_back(tanh(matmul(t == 0 ? h0 : h.back(), w) + xs.back()));
    }
  }
  std::vector<Tensor> run(const Vars& fetches) const {
    return Session(g, {}, one_thread()).run(fetches, feeds);
  }
};

TEST_CASE("a gradient by what a step reads passes through it", "[roll]") {
  SECTION("slices of a sequence") {
    Plain p;
    const Vars d = gradients(sum(p.h.back()), {p.xs[2], p.x, p.xs[5]});
    const std::vector<Tensor> got = p.run({d[0], at_time(d[1], 2), d[2], at_time(d[1], 5)});
    CHECK(distance(got[0], got[1]) < 1e-14);
    CHECK(distance(got[2], got[3]) < 1e-14);
    CHECK(std::abs(got[0].at(0)) > 1e-6);
  }
  SECTION("what is computed of them, and what is the same at each step") {
    for (const bool shared : {false, true}) {
      Plain p([shared](const Plain& l, int64_t t) {
        return shared ? l.h0 * 2 : matmul(at_time(l.x, t), l.w);
      });
      const Vars d = gradients(sum(p.h.back()), {p.xs[2], p.xs[4]});
      Vars by{p.xs[2], p.xs[4]};
      by.insert(by.end(), p.h.begin(), p.h.end());  // which keeps the loop
      const Vars all = gradients(sum(p.h.back()), by);
      const std::vector<Tensor> got = p.run({d[0], all[0], d[1], all[1]});
      CHECK(distance(got[0], got[1]) < 1e-14);
      CHECK(distance(got[2], got[3]) < 1e-14);
      CHECK(std::abs(got[0].at(0)) > 1e-6);
    }
  }
}

TEST_CASE("nodes that only the first step shares do not confuse the others", "[roll]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), w = g.placeholder("w", f64, {kH, kH});
  const Var h0 = g.placeholder("h0", f64, {kB, kH}), first = tanh(h0);
  Var h = h0;
  for (int64_t t = 0; t < kT; ++t) {
    const Var a = t == 0 ? first : tanh(h), b = t == 0 ? first : tanh(h);
    h = sigmoid(matmul(a, w) + at_time(x, t) * b);
  }
  std::vector<Feed> feeds;
  for (const Var& v : {x, w, h0})
    feeds.emplace_back(v, draw(bind(v.shape(), {}), f64, -1, 1, feeds.size()));
  Session rolled(g, {}, one_thread());
  CHECK(count_of(*rolled.plan({h}), "recurrence") == 1);
  const Tensor want = Session(g, {.optimize = false}, one_thread()).run(h, feeds);
  CHECK(distance(rolled.run(h, feeds), want) < 1e-14);
}

TEST_CASE("the loop of the values and that of a gradient are one, whatever each uses", "[roll]") {
  Plain p;
  const Var loss = sum(p.h.back() * p.h.back());
  const Vars fetches{loss, stacked(p.h), gradients(loss, {p.w})[0]};
  CHECK(count_of(*Session(p.g).plan(fetches), "recurrence") == 2);
}

TEST_CASE("a gradient of each step's result adds no whole sequences up", "[roll]") {
  Plain p;
  Var loss;
  for (const Var& h : p.h) loss = loss ? loss + sum(sin(h)) : sum(sin(h));
  const auto plan = Session(p.g).plan({gradients(loss, {p.w})[0]});
  CHECK(count_of(*plan, "recurrence") == 2);
  CHECK(count_of(*plan, "pad") == 0);
}

TEST_CASE("loops one after the other are rolled each for itself", "[roll]") {
  for (const bool same_weights : {false, true}) {
    Graph g;
    const Var x = g.placeholder("x", f64, {kT, kB, kH}), y = g.placeholder("y", f64, {kT, kB, kH});
    const Var w = g.placeholder("w", f64, {kH, kH});
    const Var v = same_weights ? w : g.placeholder("v", f64, {kH, kH});
    const Var h0 = g.placeholder("h0", f64, {kB, kH});
    Var h = h0;
    for (int64_t t = 0; t < kT; ++t) h = tanh(matmul(h, w) + at_time(x, t));
    for (int64_t t = 0; t + 1 < kT; ++t) h = tanh(matmul(h, v) + at_time(y, t));
    const Vars d = gradients(sum(h * h), {w, v, x, y, h0});
    Vars fetches{h};
    fetches.insert(fetches.end(), d.begin(), d.end());
    std::vector<Feed> feeds;
    for (const Var& p : g.placeholders())
      feeds.emplace_back(p, draw(bind(p.shape(), {}), f64, -1, 1, feeds.size()));
    Session s(g, {}, one_thread());
    CHECK(count_of(*s.plan({h}), "recurrence") == 2);
    CHECK(count_of(*s.plan(fetches), "recurrence") == 4);
    CHECK(check_gradients(g, {h}, feeds).problems.empty());
    CHECK(distance(s.run(h, feeds), Session(g, {.optimize = false}).run(h, feeds)) < 1e-14);
  }
}

TEST_CASE("a gradient of a gradient by a value of a rolled loop is refused, not 0", "[roll]") {
  Var before;
  Plain p([&](const Plain& l, int64_t t) {
    if (t == 0) before = sin(l.x);
    return at_time(before, t);
  });
  const Var after = p.h.back() * 2, loss = sum(after * after);
  const auto of = [&](const Vars& by) {
    const Var d = gradients(loss, by)[0];
    return sum(d * d);
  };
  for (const Var& v : {p.h[2], p.xs[2], after}) {
    try {
      gradients(of({p.w}), {v});
      FAIL("not refused");
    } catch (const Error& e) {
      CHECK(e.code() == "gradients.wrt.rolled");
      CHECK(std::string(e.what()).find("name it among the values") != std::string::npos);
    }
    // What it says to do is right.
    const Var d = gradients(of({p.w, v}), {v})[0];
    CHECK(std::abs(p.run({d})[0].at(0)) > 1e-6);
  }
  // By leaves and by what stands before the loop it is there.
  const Vars d = gradients(of({p.w}), {p.w, p.x, p.h0, before});
  for (const Tensor& t : p.run(d)) CHECK(std::abs(t.at(0)) > 1e-6);
}

TEST_CASE("gradients that are asked for twice share the loop", "[roll]") {
  Plain p;
  const Var loss = sum(p.h.back());
  gradients(loss, {p.w});
  const int32_t once = p.g.size();
  const auto recurrences = [&] {
    size_t n = 0;
    for (int32_t i = 0; i < p.g.size(); ++i) n += p.g.node(i).op->name == "recurrence" ? 1 : 0;
    return n;
  };
  CHECK(recurrences() == 2);
  gradients(loss, {p.w});
  CHECK(recurrences() == 3);  // the loop back is made again, and merged when it is compiled
  CHECK(p.g.size() - once < 30);
}

TEST_CASE("a loop on a loop of many steps neither overflows nor takes for ever", "[roll]") {
  constexpr int64_t kLong = 1500;
  Graph g;
  const Var x = g.placeholder("x", f64, {kLong, kB, kH}), w = g.placeholder("w", f64, {kH, kH});
  Var a = g.placeholder("h0", f64, {kB, kH}), b = a;
  for (int64_t t = 0; t < kLong; ++t) {
    a = tanh(matmul(a, w) + at_time(x, t));
    b = sigmoid(matmul(b, w) * a);
  }
  CHECK(count_of(*Session(g).plan({b}), "recurrence") == 2);
}

TEST_CASE("steps have one number in explain() only if their constants are the same", "[roll]") {
  constexpr int64_t kWide = 12;  // longer than what is printed of a tensor
  std::set<std::string> numbers;
  for (const uint64_t seed : {1, 1, 2}) {
    Graph g;
    const Var h0 = g.placeholder("h0", f64, {kB, kWide});
    const auto r = recurrence({.states = {h0}, .steps = kT},
                              [&](const Vars& s, const Vars&, const Vars&) -> RecurrenceStep {
                                const Tensor scale = draw({1, kWide}, f64, -1, 1, seed);
                                return {.states = {tanh(s[0] * s[0].graph().constant(scale))}};
                              });
    for (const std::string& one : recurrences(Session(g).explain({r.finals[0]})))
      numbers.insert(one);
  }
  CHECK(numbers.size() == 2);
}

}  // namespace
}  // namespace rondo::test
