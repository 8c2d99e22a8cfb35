#include "cpu_check.h"

namespace rondo::test {
namespace {

TEST_CASE("cpu_reduce_all_axes_and_shapes") {
  struct Case {
    Dims dims;
    std::vector<int64_t> axes;
  };
  const std::vector<Case> cases{{{}, {}},
                                {{0}, {}},
                                {{1}, {}},
                                {{7}, {}},
                                {{0, 3}, {0}},
                                {{0, 3}, {1}},
                                {{3, 0}, {1}},
                                {{5, 9}, {}},
                                {{5, 9}, {0}},
                                {{5, 9}, {1}},
                                {{464, 256}, {0}},
                                {{464, 256}, {1}},
                                {{16, 9}, {-1}},
                                {{2, 3, 4}, {0, 2}},
                                {{29, 16, 64}, {0, 1}},
                                {{29, 16, 64}, {1}},
                                {{29, 16, 64}, {2}},
                                {{29, 16, 64}, {0, 2}},
                                {{3, 4, 5, 6}, {1, 3}},
                                {{1, 300001}, {1}},
                                {{70000, 3}, {0}},
                                {{2, 40000, 5}, {1}},
                                {{130, 67}, {0}},
                                {{100, 1000}, {}}};
  on_each_isa([&] {
    for (const Case& c : cases) {
      for (const DType t : {f32, f64}) {
        const Attributes a{{"axes", c.axes}, {"keep_dims", c.dims.size() == 2}};
        const double n = static_cast<double>(element_count(c.dims)) + 1;
        agrees("sum", {drawn(t, c.dims, 1)}, a,
               {"", 0, (t == f64 ? 1e-13 : 1e-6) * (1 + std::sqrt(n))});
        agrees("reduce_max", {drawn(t, c.dims, 1)}, a);
      }
    }
  });
}

TEST_CASE("cpu_reduce_nan_and_infinities") {
  const double inf = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  on_each_isa([&] {
    for (const double v : {inf, -inf, nan}) {
      for (const int64_t at : {0, 3, 17, 40, 80}) {
        std::vector<double> x(81, -1.0);
        x[static_cast<size_t>(at)] = v;
        for (const Dims& dims : {Dims{81}, Dims{9, 9}}) {
          for (const DType t : {f32, f64}) {
            const Tensor tensor = Tensor::of<double>(dims, x).to(t);
            for (const char* op : {"sum", "reduce_max"}) {
              agrees(op, {tensor});
              agrees(op, {tensor}, {{"axes", std::vector<int64_t>{0}}});
            }
          }
        }
      }
    }
    agrees("reduce_max", {Tensor::full(f32, {5, 20}, -inf)}, {{"axes", std::vector<int64_t>{1}}});
  });
}

// Many equal terms: rounding must not pile up.
TEST_CASE("cpu_sum_of_many_small_terms") {
  on_each_isa([] {
    const Tensor x = Tensor::full(f32, {1 << 21}, 0.1);
    const double want = static_cast<double>(0.1F) * (1 << 21);
    CHECK(std::abs(run_kernel(cpu_backend(), "sum", {x})[0].item() - want) < 5e-6 * want);
    const Tensor columns = run_kernel(cpu_backend(), "sum", {x.reshaped({1 << 18, 8})},
                                      {{"axes", std::vector<int64_t>{0}}})[0];
    CHECK(std::abs(columns.at(3) - want / 8) < 1e-5 * want / 8);
  });
}

TEST_CASE("cpu_softmax") {
  const double inf = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  on_each_isa([&] {
    for (const DType t : {f32, f64}) {
      for (const char* op : {"softmax", "log_softmax"}) {
        for (const Dims& dims : {Dims{16, 9}, Dims{1}, Dims{3, 1}, Dims{0, 3}, Dims{3, 0},
                                 Dims{2, 3, 17}, Dims{5, 1000}, Dims{300, 200}}) {
          for (const double scale : {1.0, 30.0, 800.0}) {
            const Tensor x = drawn(t, dims, 4, -scale, scale);
            const Tensor got =
                run_kernel(cpu_backend(), op, {x}, {}, {.kernel = cat("cpu.", op)})[0];
            INFO(op << to_string(dims) << scale);
            CHECK(got.same_bits(run_kernel(cpu_backend(), op, {x}, {},
                                           {.kernel = cat("cpu.", op), .threads = 3})[0]));
            Graph g;
            const Var v = g.placeholder("x", t, to_shape(dims));
            const Var want = g.call(registry().at(op), {v}, {})[0];
            CHECK(difference(got, run_graph(reference_backend(), want, {{v, x}}),
                             t == f64 ? 1e-13 : 4e-6, t == f64 ? 1e-15 : 6e-7) == "");
          }
        }
        for (const double v : {inf, -inf, nan}) {
          const Tensor x = Tensor::of<double>({2, 3}, {1, v, 2, 0, 0, 0}).to(t);
          Graph g;
          const Var p = g.placeholder("x", t, {2, 3});
          const Var want = g.call(registry().at(op), {p}, {})[0];
          CHECK(difference(run_kernel(cpu_backend(), op, {x})[0],
                           run_graph(reference_backend(), want, {{p, x}}), 1e-6) == "");
        }
      }
    }
  });
}

TEST_CASE("cpu_dropout_draws_the_reference_s_numbers") {
  for (const DType t : {f32, f64}) {
    for (const Dims& dims : {Dims{0}, Dims{1}, Dims{16, 64}, Dims{50001}}) {
      for (const double rate : {0.0, 0.25, 0.5}) {
        const Attributes a{{"rate", rate}, {"stream", 5}};
        agrees("dropout", {drawn(t, dims, 1)}, a, {.kernel = "cpu.dropout", .training = true});
        agrees("dropout", {drawn(t, dims, 1)}, a, {.kernel = "cpu.dropout", .training = false});
      }
    }
  }
}

}  // namespace
}  // namespace rondo::test
