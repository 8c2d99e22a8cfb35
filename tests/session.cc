// Sessions: what they are fed, what they refuse, what they plan, and that eager calls are the same
// thing.
#include <rondo/runtime/session.h>

#include <atomic>
#include <cmath>
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include <rondo/autodiff/gradients.h>
#include <rondo/autodiff/updaters.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/order.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo::test {
namespace {

template <class F>
std::pair<std::string, std::string> refusal(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
  return {"nothing was refused", ""};
}

TEST_CASE("a feed that does not fit names the placeholder and who fixed the symbol", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B"});
  const Var y = g.placeholder("y", f32, {"T+1", "B"});
  const Var z = sum(x) + sum(y);
  Session s(g);
  const Tensor ok(f32, {2, 3});
  CHECK(refusal([&] { s.run(z, {{x, ok}}); }).first == "placeholder.y.missing");
  CHECK(refusal([&] { s.run(z, {{x, ok}, {y, Tensor(f64, {3, 3})}}); }).first ==
        "placeholder.y.dtype");
  CHECK(refusal([&] { s.run(z, {{x, ok}, {y, Tensor(f32, {3})}}); }).first == "placeholder.y.rank");
  const auto [code, text] = refusal([&] { s.run(z, {{x, ok}, {y, Tensor(f32, {4, 3})}}); });
  CHECK(code == "placeholder.y.dim");
  CHECK(text.find("axis 0 must be T+1 = 3") != std::string::npos);
  CHECK(text.find("T = 2 was fixed by x[2,3]") != std::string::npos);
  CHECK(s.run(z, {{x, ok}, {y, Tensor(f32, {3, 3})}}).item() == 0);
}

TEST_CASE("an equality that the graph could not decide is checked when symbols are bound",
          "[session]") {
  Graph g;
  const Var a = g.placeholder("a", f32, {"N", "K"});
  const Var b = g.placeholder("b", f32, {"M", 2});
  const Var y = matmul(a, b);
  CHECK(y.node().check_at_bind);
  Session s(g);
  CHECK(s.run(y, {{a, Tensor(f32, {3, 4})}, {b, Tensor(f32, {4, 2})}}).dims() == Dims{3, 2});
  const auto [code, text] =
      refusal([&] { s.run(y, {{a, Tensor(f32, {3, 4})}, {b, Tensor(f32, {5, 2})}}); });
  CHECK(code == "matmul.b.dim");
  CHECK(text.find("[5,2]") != std::string::npos);
}

TEST_CASE("a plan over its memory budget is refused before anything runs", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"N"});
  const Var y = sum(exp(x) * sin(x));
  Session roomy(g);
  const size_t peak = roomy.plan({y})->bind({{"N", 1000}})->arena_bytes();
  CHECK(peak >= 4000);  // the product: what stands before it is in its pass
  Session exact(g, {.memory_budget = peak});
  CHECK(exact.run(y, {{x, Tensor(f32, {1000})}}).rank() == 0);
  Session tight(g, {.memory_budget = peak - 1});
  const auto [code, text] = refusal([&] { tight.run(y, {{x, Tensor(f32, {1000})}}); });
  CHECK(code == "plan.memory.budget");
  CHECK(text.find(std::to_string(peak)) != std::string::npos);
}

TEST_CASE("a plan keeps no hold of the user's graph, which may grow while it binds", "[session]") {
  std::weak_ptr<GraphData> users;
  std::shared_ptr<const Plan> budget, undecided;
  {
    Graph g;
    const Var a = g.placeholder("a", f32, {"M"}), b = g.placeholder("b", f32, {"N"});
    const Var y = tanh(a + b), z = cumsum(cumsum(a));
    budget = Plan::compile({g, {a.value()}, {z.value()}}, {.memory_budget = 1000});
    undecided = Plan::compile({g, {a.value(), b.value()}, {y.value()}}, {});  // in one fused node
    users = g.data();
  }
  CHECK(users.expired());
  CHECK(refusal([&] { budget->bind({{"M", 1000}}); }).first == "plan.memory.budget");
  CHECK(refusal([&] { undecided->bind({{"M", 2}, {"N", 3}}); }).first == "add.b.broadcast");
}

TEST_CASE("values whose time is over give their memory to later ones", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {1024});
  Var y = x;
  for (int i = 0; i < 20; ++i) y = cumsum(y);
  Session s(g);
  CHECK(s.plan({y})->bind({})->arena_bytes() <= 2 * 4096);
}

TEST_CASE("updates are committed together, and a run sees one version", "[session]") {
  Graph g;
  const Var a = g.variable("a", Tensor::of<float>({1}, {1}));
  const Var b = g.variable("b", Tensor::of<float>({1}, {2}));
  const Updates swap{{a, b + 0.0}, {b, a + 0.0}};
  Session s(g);
  s.run_and_update({}, swap, {});
  CHECK(s.variables().value("a").at(0) == 2);
  CHECK(s.variables().value("b").at(0) == 1);
  CHECK(s.variables().version() == 1);
  CHECK(refusal([&] { s.variables().commit({{"a", Tensor(f32, {2})}}); }).first ==
        "variables.value.type");
  CHECK(s.variables().version() == 1);
}

TEST_CASE("adam and sgd take the steps of their formulas", "[updaters]") {
  Graph g;
  const Var w = g.variable("w", Tensor::of<double>({2}, {1, -2}));
  const Var loss = sum(square(w));  // gradient 2 w
  const Vars d = gradients(loss, {w});
  const Updates u = updates_for(Adam{.learning_rate = 0.1}, {w}, d);
  Session s(g);
  double m = 0, v = 0, x = 1;
  for (int t = 1; t <= 5; ++t) {
    s.run_and_update({}, u, {});
    const double grad = 2 * x;
    m = 0.9 * m + 0.1 * grad;
    v = 0.999 * v + 0.001 * grad * grad;
    x -= 0.1 * m / (1 - std::pow(0.9, t)) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    CHECK(std::abs(s.variables().value("w").at(0) - x) < 1e-12);
  }
  CHECK(s.variables().value("adam/step").item() == 5);

  Graph h;
  const Var q = h.variable("q", Tensor::of<double>({1}, {3}));
  Session sh(h);
  sh.run_and_update({}, updates_for(SGD{.learning_rate = 0.5}, {q}, gradients(sum(square(q)), {q})),
                    {});
  CHECK(sh.variables().value("q").at(0) == 0);
}

TEST_CASE("clipping by global norm scales all gradients alike, and only when they are long",
          "[updaters]") {
  Graph g;
  const Var a = g.placeholder("a", f64, {2});
  const Var b = g.placeholder("b", f64, {1});
  const Vars c = clip_by_global_norm({a, b}, 1);
  Session s(g);
  const auto long_ones =
      s.run(c, {{a, Tensor::of<double>({2}, {3, 0})}, {b, Tensor::of<double>({1}, {4})}});
  CHECK(std::abs(long_ones[0].at(0) - 0.6) < 1e-15);
  CHECK(std::abs(long_ones[1].at(0) - 0.8) < 1e-15);
  const auto short_ones =
      s.run(c, {{a, Tensor::of<double>({2}, {0.3, 0})}, {b, Tensor::of<double>({1}, {0.4})}});
  CHECK(short_ones[0].at(0) == 0.3);
}

TEST_CASE("operators on tensors run now, with the bits of the graph", "[eager]") {
  const Tensor a = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
  const Tensor b = Tensor::of<float>({2}, {0.5, -1});
  const Tensor now = tanh(matmul(a, a) * b + 1);
  Graph g;
  const Var x = g.placeholder("x", f32, {2, 2});
  const Var y = g.placeholder("y", f32, {2});
  Session s(g);
  CHECK(s.run(tanh(matmul(x, x) * y + 1), {{x, a}, {y, b}}) == now);
  CHECK(refusal([&] { (void)(a + Tensor(f64, {2, 2})); }).first == "add.b.dtype");
  CHECK(refusal([&] { matmul(a, Tensor(f32, {3, 2})); }).first == "matmul.b.dim");
}

TEST_CASE("a value that does not depend on w has a zero gradient, a refused one is refused by name",
          "[autodiff]") {
  Graph g;
  const Var a = g.placeholder("a", f32, {2});
  const Var b = g.placeholder("b", f32, {2});
  Session s(g);
  const Vars d = gradients(sum(a * stop_gradient(a)), {a, b});
  const auto v = s.run(d, {{a, Tensor::of<float>({2}, {3, 4})}, {b, Tensor(f32, {2})}});
  CHECK(v[0] == Tensor::of<float>({2}, {3, 4}));
  CHECK(v[1] == Tensor(f32, {2}));
  CHECK(refusal([&] { gradients(a, {b}); }).first == "gradients.loss.rank");
}

TEST_CASE("one session serves many threads with the bits of one", "[session][threads]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"N", 8});
  const Var w = g.variable("w", Tensor::full(f32, {8, 8}, 0.125));
  const Var y = tanh(matmul(x, w));
  Session s(g, {}, std::make_shared<ThreadTeam>(2));
  std::vector<Tensor> inputs, want;
  for (int64_t n = 1; n <= 8; ++n) {
    inputs.push_back(Tensor::full(f32, {n, 8}, 0.1 * static_cast<double>(n)));
    want.push_back(s.run(y, {{x, inputs.back()}}));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const auto k = static_cast<size_t>((i + t) % 8);
        if (!(s.run(y, {{x, inputs[k]}}) == want[k])) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("bf16 and f16 compute in f32 and round once an op", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", bf16, {3});
  const Var y = exp(x) * x;
  Session s(g, {.optimize = false});
  const Tensor in = Tensor::of<float>({3}, {0.5F, 1.25F, -2.F});
  const Tensor got = s.run(y, {{x, in.to(bf16)}});
  REQUIRE(got.dtype() == bf16);
  for (int64_t i = 0; i < 3; ++i) {
    const auto v = static_cast<float>(in.at(i));
    const auto e = static_cast<float>(BFloat16(std::exp(v)));
    CHECK(got.at(i) == static_cast<float>(BFloat16(e * v)));
  }
}

TEST_CASE("an amount that binds negative is refused, also behind a gradient", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T"});
  const Var y = pad(x, 0, Dim("T") - 5, 0);
  CHECK(refusal([&] { Session(g).run(y, {{x, Tensor(f32, {3})}}); }).first == "pad.amounts.range");
  const Var d = gradients(sum(slice(x, 0, 0, 5)) + sum(x * x), {x})[0];
  CHECK(refusal([&] { Session(g).run(d, {{x, Tensor(f32, {3})}}); }).first !=
        "nothing was refused");
  CHECK(Session(g).run(d, {{x, Tensor(f32, {6})}}).at(0) == 1);
}

TEST_CASE("an empty operand and a literal that would become another number are refused",
          "[eager]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {2});
  CHECK(refusal([&] { (void)(x + Var()); }).first == "operand.value.missing");
  CHECK(refusal([&] { (void)(Tensor(f32, {2}) * Tensor()); }).first == "operand.value.missing");
  const Tensor t = Tensor::of<int32_t>({3}, {0, 1, 2});
  CHECK(refusal([&] { (void)(t < 0.5); }).first == "operand.literal.dtype");
  CHECK((t * 2).at(2) == 4);
}

TEST_CASE("a variable keeps its value whatever other names it gets", "[session]") {
  Graph g;
  const Var w = g.variable("w", Tensor::full(f32, {1}, 1));
  Session s(g);
  s.run_and_update({}, {{w, w + 10}}, {});
  (void)w.named("alias");
  CHECK(w.name() == "w");
  CHECK(s.run(w * 2, {}).at(0) == 22);
  Graph other;
  (void)other.variable("w", Tensor(f32, {1000}));
  CHECK(refusal([&] {
          Session t(other, {}, nullptr, s.store());
          t.run(other.find("w"), {});
        }).first == "variables.value.type");
}

TEST_CASE("gradients of operands whose sizes are only known later", "[autodiff]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"B", 4});
  const Var w = g.placeholder("w", f64, {5, 4});
  const Vars d = gradients(sum(x * w), {x, w});
  Session s(g);
  const auto v = s.run(d, {{x, Tensor::full(f64, {5, 4}, 2)}, {w, Tensor::full(f64, {5, 4}, 3)}});
  CHECK(v[0] == Tensor::full(f64, {5, 4}, 3));
  CHECK(v[1] == Tensor::full(f64, {5, 4}, 2));
  CHECK(refusal([&] { s.run(d, {{x, Tensor(f64, {4, 4})}, {w, Tensor(f64, {5, 4})}}); }).first !=
        "nothing was refused");
}

TEST_CASE("a shape that is read alone is fixed by what is fed", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 2});
  const Tensor in(f32, {3, 2});
  CHECK(Session(g).run(gradients(sum(x), {x})[0], {{x, in}}) == Tensor::full(f32, {3, 2}, 1));
}

TEST_CASE("feeds and names that mean nothing are refused, not passed over", "[session]") {
  Graph g, other;
  const Var x = g.placeholder("x", f32, {2});
  const Var y = other.placeholder("y", f32, {2});
  const Tensor t(f32, {2});
  const Var z = x * 2;
  CHECK(refusal([&] { Session(g).run(z, {{x, t}, {y, t}}); }).first == "session.feed.placeholder");
  CHECK(refusal([&] { Session(g).run(z, {{x, t}, {x, t}}); }).first == "session.feed.twice");
  CHECK(refusal([&] { Session(g, {.kernel = "no.such"}).run(z, {{x, t}}); }).first ==
        "plan.kernel.unknown");
  CHECK(refusal([&] { (void)broadcast_to(Tensor(f32, {4, 3}), {3}); }).first ==
        "broadcast_to.shape.broadcast");
}

TEST_CASE("an error of a run says where the op was built", "[session]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {4, 2});
  const Var i = g.placeholder("i", i32, {1});
  const Var y = gather(x, i);
  const auto [code, text] = refusal(
      [&] { Session(g).run(y, {{x, Tensor(f32, {4, 2})}, {i, Tensor::of<int32_t>({1}, {4})}}); });
  CHECK(code == "gather.indices.range");
  CHECK(text.find("built at tests/session.cc:") != std::string::npos);
}

TEST_CASE("the mean of many halves is right", "[session]") {
  CHECK(mean(Tensor::full(f16, {70000}, 1)).item() == 1);
  CHECK(mean(Tensor::full(bf16, {1001}, 3)).item() == 3);
}

}  // namespace
}  // namespace rondo::test
