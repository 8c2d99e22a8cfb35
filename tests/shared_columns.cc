// Recurrences of few rows, whose columns the threads of a team share.
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "cpu_check.h"
#include "error_code.h"
#include "trained_lstm.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

TEST_CASE("threads that share the columns of a recurrence change no bit", "[share]") {
  const int64_t width = GENERATE(256, 264);  // of 256 members have pairs of blocks of each gate
  for (const bool normalised : {false, true}) {
    for (const bool ragged : {false, true}) {
      for (const int64_t rows : {1, 3}) {
        for (const Precision p : {Precision::full, Precision::int8}) {
          const Trained t = trained_lstm(rows, width, ragged, normalised);
          std::vector<Tensor> want;
          for (const int threads : {1, 2, 5}) {
            Session s(t.g, {.precision = p}, std::make_shared<ThreadTeam>(threads));
            const auto got = s.run(t.fetches, t.feeds);
            if (want.empty()) want = got;
            INFO(width << ", rows " << rows << " ragged " << ragged << " threads " << threads);
            for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
          }
          if (p != Precision::full) continue;
          const auto plain = Session(t.g, {.backend = "reference", .optimize = false}, one_thread())
                                 .run(t.fetches, t.feeds);
          for (size_t i = 0; i < want.size(); ++i) CHECK(distance(plain[i], want[i]) < 1e-4);
        }
      }
    }
  }
}

// Cells whose parts are divided among threads in different ways.
TEST_CASE("threads that share columns wait where one reads what another writes", "[share]") {
  using Cell = std::function<RecurrenceStep(const Vars& s, const Var& x, const Var& w)>;
  struct Case {
    const char* name;
    std::vector<int64_t> widths;
    Cell cell;
  };
  const Case cases[] = {
      {"a state of one column scales all others",
       {264, 1},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var h = tanh(matmul(s[0], w) + x) * s[1];
         return {{h, 0.5 * s[1] + 0.4}, {h}};
       }},
      {"a result shows half of the state",
       {264},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         return {{tanh(matmul(s[0], w) + x)}, {slice(s[0], 1, 0, 132)}};
       }},
      {"a sum of the row goes into all columns, a product of a product",
       {264},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w) + x;
         const Var h = tanh(matmul(z * rsqrt(sum(z * z, {.axes = {1}, .keep_dims = true})), w));
         return {{h}, {z, h}};
       }},
      {"gates, each in its own columns",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var h = tanh(slice(z, 1, 0, 256) + x) * sigmoid(slice(z, 1, 256, 512));
         return {{h}, {h}};
       }},
      {"columns of two gates at once",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var h = tanh(slice(z, 1, 0, 256) + x) * sigmoid(slice(z, 1, 256, 512));
         return {{h}, {tanh(slice(z, 1, 128, 384)), h}};
       }},
      {"the first half of a gate alone",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var h = tanh(slice(z, 1, 0, 256) + x) * sigmoid(slice(z, 1, 256, 512));
         return {{h}, {exp(slice(z, 1, 0, 128)), h}};
       }},
      {"the largest of a product's columns",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var most = reduce_max(z, {.axes = {1}, .keep_dims = true});
         const Var h = tanh(slice(z, 1, 0, 256) + x - most) * sigmoid(slice(z, 1, 256, 512));
         return {{h}, {h}};
       }},
      {"a product of a product",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var again = matmul(slice(z, 1, 256, 512), w);
         const Var h = tanh(slice(z, 1, 0, 256) + x) * sigmoid(slice(again, 1, 0, 256));
         return {{h}, {h}};
       }},
      {"a product of a product's parts",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w);
         const Var again = matmul(concat(Vars{slice(z, 1, 0, 128), slice(x, 1, 0, 128)}, 1), w);
         const Var h = tanh(slice(z, 1, 0, 256) + x) * sigmoid(slice(again, 1, 0, 256));
         return {{h}, {h}};
       }},
      {"a state that is part of a product",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var z = matmul(s[0], w) + concat(Vars{x, x}, 1);
         return {{slice(z, 1, 0, 256)}, {s[0]}};
       }},
      {"a result that is part of a state",
       {256},
       [](const Vars& s, const Var& x, const Var& w) -> RecurrenceStep {
         const Var h = matmul(s[0], slice(w, 1, 0, 256)) + x;
         return {{h}, {slice(h, 1, 0, 128)}};
       }},
  };
  for (const Case& c : cases) {
    for (const auto& [steps, rows] : {std::pair<int64_t, int64_t>{140, 1}, {90, 3}}) {
      Graph g;
      const int64_t width = c.widths[0];
      const Var x = g.placeholder("x", f32, {steps, rows, width});
      // Where that is whole blocks, two gates.
      const Var w =
          g.variable("w", draw({width, width % 256 == 0 ? 512 : width}, f32, -0.1, 0.1, 2));
      Vars states;
      for (const int64_t n : c.widths) states.push_back(fill(g, f32, {rows, n}, 0.5));
      const auto r = recurrence(
          {.states = states, .xs = {x}},
          [&](const Vars& s, const Vars& xs, const Vars&) { return c.cell(s, xs[0], w); });
      Vars fetches = r.ys;
      for (const Var& d : gradients(sum(square(r.ys.back())), {x, w})) fetches.push_back(d);
      const std::vector<Feed> feeds{{x, draw({steps, rows, width}, f32, -1, 1, 8)}};
      std::vector<Tensor> want;
      for (const int threads : {1, 2, 4, 8}) {
        Session s(g, {}, std::make_shared<ThreadTeam>(threads));
        for (int run = 0; run < (threads == 2 ? 3 : 1); ++run) {
          const auto got = s.run(fetches, feeds);
          if (want.empty()) want = got;
          INFO(c.name << ", " << rows << " rows, " << threads << " threads");
          for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
        }
      }
    }
  }
}

// Of 272 columns each of two members has 136: whole blocks of some instruction sets and types, but
// no whole lines, by which groups are cut.
TEST_CASE("shared products and gates are cut at the same columns", "[share]") {
  on_each_isa([] {
    for (const DType dtype : {f32, f64}) {
      for (const int64_t width : {256, 272}) {
        Graph g;
        const Var x = g.placeholder("x", dtype, {60, 1, width});
        const Var w = g.variable("w", draw({width, 2 * width}, dtype, -0.1, 0.1, 2));
        const auto r =
            recurrence({.states = {fill(g, dtype, {1, width}, 0.5)}, .xs = {x}},
                       [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                         const Var z = matmul(s[0], w);
                         const Var h = tanh(slice(z, 1, 0, width) + xs[0]) *
                                       sigmoid(slice(z, 1, width, 2 * width));
                         return {{h}, {h}};
                       });
        const std::vector<Feed> feeds{{x, draw({60, 1, width}, dtype, -1, 1, 8)}};
        const Tensor want = Session(g, {}, one_thread()).run(r.ys[0], feeds);
        for (const int threads : {2, 3}) {
          Session s(g, {}, std::make_shared<ThreadTeam>(threads));
          INFO(name_of(dtype) << ", " << width << " columns, " << threads << " threads");
          for (int run = 0; run < 4; ++run) CHECK(s.run(r.ys[0], feeds).same_bits(want));
        }
      }
    }
  });
}

// Nobody waits for a member that refused.
TEST_CASE("a window outside of the sequence is refused by threads that share columns", "[share]") {
  constexpr int64_t kSteps = 9, kRows = 3, kWidth = 264;
  Graph g;
  const Var x = g.placeholder("x", f32, {kSteps, kRows, kWidth});
  const Var begin = g.placeholder("begin", i32, {kRows}), end = g.placeholder("end", i32, {kRows});
  const Var w = g.variable("w", draw({kWidth, kWidth}, f32, -0.1, 0.1, 2));
  const auto r = recurrence(
      {.states = {fill(g, f32, {kRows, kWidth}, 0)}, .xs = {x}, .begin = begin, .end = end},
      [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
        const Var h = tanh(matmul(s[0], w) + xs[0]);
        return {{h}, {h}};
      });
  const auto feeds = [&](std::vector<int32_t> from, std::vector<int32_t> to) {
    return std::vector<Feed>{{x, draw({kSteps, kRows, kWidth}, f32, -1, 1, 8)},
                             {begin, Tensor::of<int32_t>({kRows}, from)},
                             {end, Tensor::of<int32_t>({kRows}, to)}};
  };
  const auto good = feeds({0, 2, 1}, {9, 5, 1});
  const Tensor want = Session(g, {}, one_thread()).run(r.ys[0], good);
  for (const int threads : {2, 5}) {
    Session s(g, {}, std::make_shared<ThreadTeam>(threads));
    for (const auto& bad : {feeds({0, 2, 1}, {9, 5, 10}), feeds({0, 2, -1}, {9, 5, 1}),
                            feeds({6, 2, 1}, {5, 5, 1})}) {
      CHECK(code_of([&] { s.run(r.ys[0], bad); }) == "recurrence.window.range");
      CHECK(s.run(r.ys[0], good).same_bits(want));  // and is as good as before
    }
  }
}

}  // namespace
}  // namespace rondo::test
