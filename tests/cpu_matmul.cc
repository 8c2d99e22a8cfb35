#include <atomic>
#include <thread>

#include <catch2/generators/catch_generators.hpp>

#include "cpu_check.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

struct Size {
  int64_t m, n, k;
};

std::vector<Tensor> operands(const Dims& batch, const Size& s, DType t, bool ta, bool tb,
                             bool shared_b) {
  Dims a = batch, b = shared_b ? Dims{} : batch;
  for (const int64_t d : {ta ? s.k : s.m, ta ? s.m : s.k}) a.push_back(d);
  for (const int64_t d : {tb ? s.n : s.k, tb ? s.k : s.n}) b.push_back(d);
  return {drawn(t, a, 1), drawn(t, b, 2)};
}

// Rounding: the reference sums in f64.
double absolute(DType t, int64_t k) {
  return (t == f64 ? 1e-15 : 4e-7) * (2 + static_cast<double>(k)) * 2;
}

TEST_CASE("cpu_matmul_all_forms") {
  const bool ta = GENERATE(false, true), tb = GENERATE(false, true);
  for (const Size& s : {Size{0, 3, 4},
                        {3, 0, 4},
                        {3, 4, 0},
                        {1, 1, 1},
                        {1, 64, 64},
                        {4, 4, 4},
                        {3, 5, 7},
                        {16, 64, 64},
                        {16, 256, 12},
                        {17, 33, 65},
                        {64, 256, 464},
                        {464, 64, 100},
                        {130, 513, 40},
                        {5, 700, 300},
                        {300, 9, 64},
                        {16, 1100, 500}}) {
    for (const DType t : {f32, f64}) {
      for (const Dims& batch : {Dims{}, Dims{3}, Dims{2, 2}}) {
        if (!batch.empty() && s.m * s.n * s.k > 2000000) continue;
        for (const bool shared : {true, false}) {
          if (batch.empty() && shared) continue;
          const std::vector<Tensor> in = operands(batch, s, t, ta, tb, shared);
          const Attributes a{{"transpose_a", ta}, {"transpose_b", tb}};
          agrees("matmul", in, a, {"", 0, absolute(t, s.k)});
          agrees("matmul", in, a, {"cpu.matmul.eigen", 0, absolute(t, s.k)});
        }
      }
    }
  }
}

// Sizes on both sides of its blocks: 256 columns and 256 of k at a time, 1024 rows.
TEST_CASE("cpu_matmul_packed_at_the_ends_of_its_blocks") {
  const bool ta = GENERATE(false, true), tb = GENERATE(false, true);
  const auto forced = [&](const Dims& batch, const Size& s, DType t, bool shared) {
    const std::vector<Tensor> in = operands(batch, s, t, ta, tb, shared);
    agrees("matmul", in, {{"transpose_a", ta}, {"transpose_b", tb}},
           {"cpu.matmul.packed", 0, absolute(t, s.k)});
  };
  for (const DType t : {f32, f64}) {
    for (const int64_t k : {0, 257, 513}) {
      for (const int64_t n : {257, 500, 760}) forced({}, {7, n, k}, t, false);
      forced({}, {1025, 33, k}, t, false);
      for (const bool shared : {false, true}) forced({2, 3}, {5, 257, k}, t, shared);
    }
    forced({2}, {1025, 257, 3}, t, true);
  }
  on_each_isa([&] { forced({}, {9, 257, 257}, f32, false); });
}

TEST_CASE("cpu_matmul_packed_is_what_a_plan_takes_when_told_to") {
  for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{1025, 257}, {3, 0}}) {
    Graph g;
    const Var a = g.placeholder("a", f32, {rows, depth}), b = g.placeholder("b", f32, {257, depth});
    const Var y = matmul(a, b, {.transpose_b = true});
    const std::vector<Feed> feeds{{a, drawn(f32, {rows, depth}, 1)},
                                  {b, drawn(f32, {257, depth}, 2)}};
    Session forced(g, {.kernel = "cpu.matmul.packed"}), reference(g, {.backend = "reference"});
    CHECK(forced.plan({y})->bind({})->uses_kernel("cpu.matmul.packed"));
    CHECK(difference(forced.run(y, feeds), reference.run(y, feeds), 0, absolute(f32, depth)) == "");
  }
}

// Its blocks are 128 steps' rows and 1024 columns; pieces are 1024 rows of y.
TEST_CASE("cpu_product_over_time_at_the_ends_of_its_blocks") {
  struct Case {
    int64_t t, b, k, n;
  };
  for (const DType t : {f32, f64}) {
    for (const Case& c : {Case{43, 3, 5, 70}, Case{3, 43, 7, 1100}, Case{5, 2, 1030, 33},
                          Case{1, 1, 1, 1}, Case{128, 1, 6, 64}, Case{2, 129, 6, 65}}) {
      const Tensor a = check::draw({c.t, c.b, c.k}, t, -1, 1, 1),
                   b = check::draw({c.t, c.b, c.n}, t, -1, 1, 2);
      std::vector<int32_t> begin, end;
      for (int64_t i = 0; i < c.b; ++i) {
        begin.push_back(static_cast<int32_t>(i % 3) - 1);
        end.push_back(static_cast<int32_t>((i * 7) % (c.t + 3)));
      }
      const Tensor from = Tensor::of<int32_t>({c.b}, begin), to = Tensor::of<int32_t>({c.b}, end);
      agrees("product_over_time", {a, b, {}, {}}, {}, {"", 0, absolute(t, c.t * c.b)});
      agrees("product_over_time", {a, b, from, to}, {}, {"", 0, absolute(t, c.t * c.b)});
    }
  }
  // Padding is not read, and threads change no bit.
  Graph g;
  const Var a = g.placeholder("a", f32, {40, 2, 30}), b = g.placeholder("b", f32, {40, 2, 600}),
            n = g.placeholder("n", i32, {2});
  const Var y = product_over_time(a, b, {}, n);
  Tensor padded = check::draw({40, 2, 30}, f32, -1, 1, 3);
  for (int64_t i = 10 * 2 * 30; i < padded.size(); ++i)
    if (i / 30 % 2 == 1) padded.mutable_data<float>()[i] = NAN;
  const std::vector<Feed> feeds{{a, padded},
                                {b, check::draw({40, 2, 600}, f32, -1, 1, 4)},
                                {n, Tensor::of<int32_t>({2}, {40, 10})}};
  Tensor want;
  for (const int threads : {1, 2, 3, 8}) {
    const Tensor got = Session(g, {}, std::make_shared<ThreadTeam>(threads)).run(y, feeds);
    if (!want) want = got;
    CHECK(got.same_bits(want));
    for (int64_t i = 0; i < got.size(); ++i) REQUIRE(std::isfinite(got.at(i)));
  }
}

TEST_CASE("cpu_matmul_passes_nan_and_infinity") {
  Tensor a = drawn(f32, {32, 32}, 1);
  const Tensor b = drawn(f32, {32, 32}, 2);
  a.mutable_data<float>()[5 * 32 + 3] = std::numeric_limits<float>::quiet_NaN();
  a.mutable_data<float>()[9 * 32 + 3] = std::numeric_limits<float>::infinity();
  agrees("matmul", {a, b}, {}, {"", 0, 1e-4});
  agrees("matmul", {a, b}, {}, {"cpu.matmul.eigen", 0, 1e-4});
}

TEST_CASE("cpu_matmul_from_many_threads_at_once") {
  const Tensor a = drawn(f32, {200, 64}, 1), b = drawn(f32, {64, 256}, 2);
  Graph g;
  const Vars y =
      g.call(registry().at("matmul"),
             {g.placeholder("a", f32, {200, 64}), g.placeholder("b", f32, {64, 256})}, {});
  const KernelCall call{
      y[0].node(), y[0].node().attributes, {type_of(a), type_of(b)}, {{f32, {200, 256}, true}}};
  const auto prepared = find_kernel(cpu_backend(), call)->prepare(call);
  const Tensor want = run_kernel(cpu_backend(), "matmul", {a, b})[0];
  ThreadTeam team(2);
  std::vector<std::thread> users;
  std::atomic<int> wrong = 0;
  for (int u = 0; u < 4; ++u) {
    users.emplace_back([&] {
      const auto workspace = allocate_aligned(prepared->workspace_bytes());
      for (int k = 0; k < 50; ++k) {
        Tensor out(f32, {200, 256});
        RunContext context{team};
        const View in[] = {{&call.in[0], const_cast<std::byte*>(a.raw())},
                           {&call.in[1], const_cast<std::byte*>(b.raw())}};
        const View result[] = {{&call.out[0], out.raw_mutable()}};
        prepared->run({call, in, result, workspace.get(), context});
        wrong += !out.same_bits(want);
      }
    });
  }
  for (std::thread& t : users) t.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace rondo::test
