// Work that only a loop reads is done in its steps; what passes through a loop is not copied; what
// runs keep from one to the next.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "check_gradient.h"
#include "cpu_check.h"

#include <rondo/graph/passes.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/rondo.h>
#include <rondo/runtime/arena_pool.h>

namespace rondo::test {
namespace {

struct Loop {
  Graph g;
  Var x, b, h0, w;
  Var gate, y;
};

// A gate of all steps, made before a loop that reads it.
Loop gated() {
  Loop l;
  l.x = l.g.placeholder("x", f64, {5, 2, 6});
  l.b = l.g.placeholder("b", f64, {6});
  l.h0 = l.g.placeholder("h0", f64, {2, 3});
  l.w = l.g.placeholder("w", f64, {3, 3});
  const Vars parts = split(sigmoid(2 * l.x + l.b), 2, 2);
  l.gate = parts[0] * parts[1];
  l.y = recurrence({.states = {l.h0}, .xs = {l.gate}},
                   [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                     const Var h = tanh(xs[0] + matmul(s[0], l.w));
                     return {{h}, {h}};
                   })
            .ys[0];
  return l;
}

TEST_CASE("work of all steps that only a loop reads moves into it", "[absorb]") {
  const Loop l = gated();
  const Subgraph s{l.g, {l.x.value(), l.b.value(), l.h0.value(), l.w.value()}, {l.y.value()}};
  CHECK(to_text(dead_code(absorb(s))) ==
        R"(graph(%0, %1, %2, %3)
  %0 "x" = placeholder -> f64[5,2,6]
  %1 "b" = placeholder -> f64[6]
  %2 "h0" = placeholder -> f64[2,3]
  %3 "w" = placeholder -> f64[3,3]
  %4 = recurrence(%2, %0, %3, %1, none, none) {extent=[5,2], row_symbol="$rows0", shared=2, states=1, xs=1, ys=1} -> f64[5,2,3], f64[2,3], f64[5,2,3]
    body(%0, %3, %1, %5)
      %0 = placeholder -> f64[$rows0,3]
      %1 = placeholder -> f64[3,3]
      %2 = constant {value=f64[]{2}} -> f64[]
      %3 = placeholder -> f64[$rows0,6]
      %4 = mul(%2, %3) -> f64[$rows0,6]
      %5 = placeholder -> f64[6]
      %6 = add(%4, %5) -> f64[$rows0,6]
      %7 = sigmoid(%6) -> f64[$rows0,6]
      %8 = split(%7) {axis=1} -> f64[$rows0,3], f64[$rows0,3]
      %9 = mul(%8.0, %8.1) -> f64[$rows0,3]
      %10 = matmul(%0, %1) -> f64[$rows0,3]
      %11 = add(%9, %10) -> f64[$rows0,3]
      %12 = tanh(%11) -> f64[$rows0,3]
      return %12, %12
  return %4.0
)");
}

TEST_CASE("what others read too stays where it is", "[absorb]") {
  const Loop l = gated();
  RewriteLog log;
  const Subgraph whole{l.g, {l.x.value()}, {l.y.value(), l.gate.value()}};
  CHECK(to_text(absorb(whole, &log)) == to_text(whole));
  CHECK(log.total() == 0);
  // The product of the parts is read by the loop alone, the gate by a sum as well.
  const Var total = sum(split(sigmoid(2 * l.x + l.b), 2, 2)[0]);
  const Subgraph some = common_subexpressions({l.g, {l.x.value()}, {l.y.value(), total.value()}});
  absorb(some, &log);
  CHECK(log.str() == "mul");
}

TEST_CASE("absorbed work keeps values and gradients, and padding out", "[absorb]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {6, 3, 4}), n = g.placeholder("n", i32, {3});
  const Var w = g.variable("w", draw({4, 4}, f64, -1, 1, 7));
  const auto r = recurrence({.states = {fill(g, f64, {3, 4}, 0)}, .xs = {exp(x) * 0.5}, .end = n},
                            [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                              const Var h = tanh(xs[0] + matmul(s[0], w));
                              return {{h}, {h, xs[0]}};
                            });
  Vars fetches{r.ys[0], r.ys[1]};
  for (const Var& d : gradients(sum(r.ys[0] * r.ys[1]), {w})) fetches.push_back(d);
  Tensor values = draw({6, 3, 4}, f64, -1, 1, 5);
  for (int64_t t = 2; t < 6; ++t) {
    for (int64_t i = 0; i < 4; ++i)
      values.mutable_data<double>()[(t * 3 + 1) * 4 + i] = std::nan("");
  }
  const std::vector<Feed> feeds{{x, values}, {n, Tensor::of<int32_t>({3}, {6, 2, 0})}};
  const auto want = Session(g, {.backend = "reference", .optimize = false}).run(fetches, feeds);
  const auto got = Session(g).run(fetches, feeds);
  CHECK(Session(g).explain(fetches).find("absorb") != std::string::npos);
  for (size_t i = 0; i < want.size(); ++i) {
    for (int64_t k = 0; k < want[i].size(); ++k) {
      INFO(i << " " << k);
      CHECK(std::abs(got[i].at(k) - want[i].at(k)) < 1e-12);
    }
  }
}

TEST_CASE("an input that passes through a loop is not copied", "[absorb]") {
  const bool windows = GENERATE(false, true), same = GENERATE(false, true);
  Graph g;
  const Var x = g.placeholder("x", f64, {4, 2, 3}), n = g.placeholder("n", i32, {2});
  const Var h0 = g.placeholder("h0", f64, {2, 3});
  const auto run = [&](const Var& over, bool bounded) {
    return recurrence({.states = {h0}, .xs = {over}, .end = bounded ? n : Var()},
                      [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                        return {{s[0] * xs[0]}, {s[0], xs[0]}};
                      });
  };
  const auto first = run(x, windows), second = run(first.ys[0], same ? windows : !windows);
  const Subgraph s{g, {x.value(), n.value(), h0.value()}, {second.ys[1].value()}};
  const Subgraph pruned = prune_recurrences(s);
  // What the first gave is 0 where the second does not run, if their windows are the same.
  const bool copied = !same && !windows;
  const auto live = live_nodes(pruned);
  CHECK(std::count_if(live.begin(), live.end(), [&](int32_t id) {
          return pruned.graph.node(id).op->name == "recurrence";
        }) == (copied ? 2 : 1));
}

TEST_CASE("runs keep their memory, and give up what they no longer need", "[session]") {
  ArenaPool pool;
  const std::byte* first = nullptr;
  {
    const ArenaPool::Lease a(pool, 1 << 20);
    first = a.data();
    CHECK(pool.idle_bytes() == 0);
    const ArenaPool::Lease b(pool, 1 << 10);
    CHECK(b.data() != first);
  }
  CHECK(pool.idle_bytes() == (1 << 20) + (1 << 10));
  {
    const ArenaPool::Lease again(pool, 1 << 19);
    CHECK(again.data() == first);
  }
  {
    const ArenaPool::Lease larger(pool, 1 << 21);
  }
  CHECK(pool.idle_bytes() == (1 << 21) + (1 << 10));
  for (int i = 0; i < 200; ++i) const ArenaPool::Lease small(pool, 1 << 10);
  CHECK(pool.idle_bytes() <= 2 << 10);
}

TEST_CASE("memory of large results comes back once nobody looks at them", "[session]") {
  constexpr size_t kBytes = ResultPool::kLeastBytes;
  std::shared_ptr<std::byte> outlives;
  {
    ResultPool pool;
    pool.begin_run(2 * kBytes);
    const std::byte* first = nullptr;
    {
      const auto a = pool.take(kBytes), b = pool.take(kBytes);
      first = a.get();
      CHECK(a.get() != b.get());
      CHECK(pool.idle_bytes() == 0);
    }
    CHECK(pool.idle_bytes() == 2 * kBytes);
    outlives = pool.take(kBytes);
    const auto again = pool.take(kBytes);
    CHECK((outlives.get() == first || again.get() == first));
    const auto other = pool.take(2 * kBytes);  // no other size is cut up for it
    CHECK(pool.idle_bytes() == 0);
  }
  outlives.get()[0] = std::byte{1};  // its pool is gone, it is not
  ResultPool pool;
  pool.begin_run(2 * kBytes);
  {
    const auto a = pool.take(kBytes), b = pool.take(kBytes);
  }
  pool.begin_run(kBytes);  // never more than one run's
  CHECK(pool.idle_bytes() == kBytes);
}

TEST_CASE("large results of runs do not share memory while somebody looks", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {512, 256});
  const Var y = x + 1.0;
  Session session(g);
  const auto run = [&](double v) {
    return session.run(y, {{x, Tensor::full(f32, {512, 256}, v)}});
  };
  const Tensor one = run(0), two = run(1);
  const void* const was = run(2).data<float>();
  CHECK(static_cast<const void*>(run(3).data<float>()) == was);
  CHECK(one == Tensor::full(f32, {512, 256}, 1));
  CHECK(two == Tensor::full(f32, {512, 256}, 2));
}

TEST_CASE("weights are packed once, and again when they change", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {3, 1, 2});
  const auto w = rnn::lstm_layer_weights(g, "lstm", 2, 3, FWD, f32);
  const Var y = rnn::lstm_layer(x, {}, w).y;
  Session session(g), fresh(g);
  const std::vector<Feed> feeds{{x, draw({3, 1, 2}, f32, -1, 1, 3)}};
  const Tensor before = session.run(y, feeds);
  CHECK(std::memcmp(session.run(y, feeds).raw(), before.raw(), before.bytes()) == 0);
  const std::string name(w.recurrent_weights.name());
  const Tensor changed = draw({3, 12}, f32, -1, 1, 9);
  for (Session* s : {&session, &fresh}) s->variables().commit({{name, changed}});
  const Tensor after = session.run(y, feeds);
  CHECK(std::memcmp(after.raw(), before.raw(), after.bytes()) != 0);
  CHECK(std::memcmp(after.raw(), fresh.run(y, feeds).raw(), after.bytes()) == 0);

  // A caller's memory may change under a view.
  std::vector<float> mine(36, 0.25F);
  session.variables().commit({{name, Tensor::view(f32, {3, 12}, mine.data())}});
  const Tensor quarter = session.run(y, feeds);
  std::fill(mine.begin(), mine.end(), 0.5F);
  CHECK(std::memcmp(session.run(y, feeds).raw(), quarter.raw(), quarter.bytes()) != 0);

  VariableStore& store = session.variables();
  store.commit({{name, changed}});
  int packed = 0;
  const auto pack = [&](const std::byte*, std::byte*) { ++packed; };
  const auto one = store.packed(name, store.value(name), "a", 64, pack);
  CHECK(store.packed(name, store.value(name), "a", 64, pack) == one);
  CHECK(store.packed(name, store.value(name), "b", 64, pack) != one);
  CHECK(store.packed(name, draw({3, 12}, f32, -1, 1, 9), "a", 64, pack) != one);
  CHECK(packed == 3);
}

TEST_CASE("instruction sets and precisions that share a store share no packed weights",
          "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {4, 2, 33});
  // Wide enough for several blocks of columns, with a rest in each layout.
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "lstm", 33, 37, FWD, f32)).y;
  const std::vector<Feed> feeds{{x, draw({4, 2, 33}, f32, -1, 1, 3)}};
  const auto shared = std::make_shared<VariableStore>(g);
  for (int round = 0; round < 2; ++round) {  // the second finds what the first packed
    on_each_isa([&] {
      for (const Precision p : {Precision::full, Precision::bf16, Precision::int8}) {
        INFO("weights in " << name_of(p) << ", round " << round);
        Session alone(g, {.precision = p}, one_thread());
        Session together(g, {.precision = p}, one_thread(), shared);
        CHECK(together.run(y, feeds).same_bits(alone.run(y, feeds)));
      }
    });
  }
}

}  // namespace
}  // namespace rondo::test
