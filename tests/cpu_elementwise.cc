#include <catch2/generators/catch_generators.hpp>

#include "cpu_check.h"

#include <rondo/backends/cpu/tile_program.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/formula.h>

namespace rondo::test {
namespace {

// 8 and 20 units in the last place: formulas add a few of their own.
double tolerance(DType t) { return t == f64 ? 5e-15 : 1e-6; }
double least(DType t) { return t == f64 ? 1e-320 : 1e-44; }  // denormals have few bits

// Operands of awkward numbers: all pairs for two operands.
std::vector<Tensor> awkward_operands(const OpDef& op, DType t) {
  const std::vector<double> v = t == f64 ? awkward<double>() : awkward<float>();
  const auto n = static_cast<int64_t>(v.size());
  std::vector<Tensor> r;
  for (size_t i = 0; i < op.parsed.inputs.size(); ++i) {
    Dims dims(op.parsed.inputs.size(), 1);
    dims[i] = n;
    const DType type = op.parsed.inputs[i].type == SlotType::kBool ? boolean : t;
    std::vector<double> w = v;
    if (type == boolean) {
      for (size_t k = 0; k < w.size(); ++k) w[k] = static_cast<double>(k % 2);
    }
    r.push_back(Tensor::of<double>(dims, w).to(type));
  }
  return r;
}

Attributes sample_numbers(const OpDef& op) {
  Attributes a;
  double v = 0.7;
  for (const AttributeDef& d : op.attributes) a.set(d.name, v), v += 0.6;
  return a;
}

TEST_CASE("cpu_elementwise_awkward_numbers") {
  on_each_isa([] {
    for (const OpDef* op : registry().all()) {
      if (op->formula.empty()) continue;
      for (const DType t : {f32, f64}) {
        agrees(op->name, awkward_operands(*op, t), sample_numbers(*op),
               {"cpu.elementwise", tolerance(t), least(t)});
      }
    }
  });
}

TEST_CASE("cpu_elementwise_functions_are_accurate_everywhere") {
  on_each_isa([] {
    for (const char* op :
         {"exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "elu", "sqrt"}) {
      for (const DType t : {f32, f64}) {
        std::vector<double> v;
        for (int i = 0; i < 20000; ++i)
          v.push_back((i % 2 == 0 ? 1 : -1) * std::pow(10.0, -9 + 11.0 * i / 20000));
        for (int i = 0; i < 20000; ++i) v.push_back(-110 + 220.0 * i / 20000);
        const Attributes a = sample_numbers(registry().at(op));
        agrees(op, {Tensor::of<double>({static_cast<int64_t>(v.size())}, v).to(t)}, a,
               {"", t == f64 ? 2e-15 : 7e-7, least(t)});
      }
    }
  });
}

// What the gates of recurrences are made of, where results are normal numbers.
TEST_CASE("cpu_elementwise_gates_are_right_to_two_units_in_the_last_place") {
  constexpr int64_t kNumbers = 400000;
  Tensor x(f32, {kNumbers});
  for (int64_t i = 0; i < kNumbers; ++i) {
    const double u = static_cast<double>(i) / kNumbers;
    x.mutable_data<float>()[i] =
        static_cast<float>(i % 2 == 0 ? 174 * u - 87 : 40 * u - 20);  // far, and denser near 0
  }
  const struct {
    const char* name;
    Tensor (*run)(const Tensor&);
    double (*exact)(double);
  } functions[] = {
      {"exp", [](const Tensor& t) { return exp(t); }, [](double v) { return std::exp(v); }},
      {"tanh", [](const Tensor& t) { return tanh(t); }, [](double v) { return std::tanh(v); }},
      {"sigmoid", [](const Tensor& t) { return sigmoid(t); },
       [](double v) { return 1 / (1 + std::exp(-v)); }},
  };
  on_each_isa([&] {
    for (const auto& f : functions) {
      const Tensor y = f.run(x);
      double worst = 0;
      for (int64_t i = 0; i < kNumbers; ++i) {
        const double want = f.exact(x.at(i));
        const auto rounded = static_cast<float>(std::abs(want));
        const double unit =
            double{std::nextafter(rounded, std::numeric_limits<float>::infinity())} - rounded;
        worst = std::max(worst, std::abs(y.at(i) - want) / unit);
      }
      INFO(f.name << " on " << cpu::isa_name());
      CHECK(worst < 2);
    }
  });
}

TEST_CASE("cpu_elementwise_shapes_broadcast") {
  struct Shapes {
    Dims a, b;
  };
  const std::vector<Shapes> all{{{}, {}},
                                {{1}, {}},
                                {{0}, {1}},
                                {{3, 0}, {0}},
                                {{5}, {5}},
                                {{7, 5}, {5}},
                                {{7, 5}, {7, 1}},
                                {{7, 1}, {1, 5}},
                                {{16, 64}, {64}},
                                {{16, 64}, {16, 1}},
                                {{16, 64}, {}},
                                {{29, 16, 64}, {16, 64}},
                                {{29, 16, 64}, {29, 1, 64}},
                                {{29, 16, 64}, {29, 16, 1}},
                                {{29, 1, 64}, {16, 1}},
                                {{3, 1, 5, 1, 7}, {2, 1, 4, 1}},
                                {{2, 3000}, {3000}},
                                {{2, 3000}, {2, 1}},
                                {{4, 1, 1500}, {1, 3, 1500}},
                                {{2, 1, 2, 1, 2, 1}, {1, 2, 1, 2, 1, 2}},
                                {{1000, 2}, {2}},
                                {{1000, 2}, {1000, 1}},
                                {{300000}, {}},
                                {{40, 5000}, {40, 1}},
                                {{1, 1, 1}, {1}},
                                {{1025}, {1025}},
                                {{5, 1023}, {1023}}};
  on_each_isa([&] {
    for (const Shapes& s : all) {
      for (const DType t : {f32, f64, i32, i64}) {
        const Tensor a = drawn(t, s.a, 1), b = drawn(t, s.b, 2);
        for (const char* op : {"sub", "maximum", "less"})
          agrees(op, {a, b}, {}, {"cpu.elementwise"});
        const Tensor c = drawn(boolean, s.b, 3);
        agrees("where", {c, a, b}, {}, {"cpu.elementwise"});
        agrees("where", {drawn(boolean, s.a, 4), b, Tensor::scalar(t, 3)}, {}, {"cpu.elementwise"});
      }
      agrees("logical_and", {drawn(boolean, s.a, 1), drawn(boolean, s.b, 2)});
    }
  });
}

TEST_CASE("cpu_elementwise_large_arrays_on_many_threads") {
  const Tensor x = drawn(f32, {300001}, 5, -20, 20);
  for (const char* op : {"tanh", "neg", "erf"}) agrees(op, {x}, {}, {"cpu.elementwise", 1e-6});
}

TEST_CASE("cpu_elementwise_integers") {
  for (const DType t : {i32, i64}) {
    const double big = t == i32 ? 2147483647.0 : 9007199254740992.0;
    const Tensor a = Tensor::of<double>({8}, {0, 1, -1, 7, -7, big, -big, 5}).to(t),
                 b = Tensor::of<double>({8, 1}, {0, 1, -1, 2, -2, big, -big, 3}).to(t);
    for (const char* op :
         {"add", "sub", "mul", "div", "minimum", "maximum", "equal", "not_equal", "less_equal"})
      agrees(op, {a, b}, {}, {"cpu.elementwise"});
    for (const char* op : {"neg", "abs", "sign", "square", "floor"})
      agrees(op, {a}, {}, {"cpu.elementwise"});
  }
}

// The same number gives the same bits wherever it stands, also in the last, partial vector.
TEST_CASE("cpu_elementwise_bits_do_not_depend_on_the_position") {
  on_each_isa([] {
    for (const OpDef* op : registry().all()) {
      if (op->formula.empty() || op->parsed.inputs.size() != 1 ||
          op->parsed.inputs[0].type == SlotType::kBool)
        continue;
      for (const DType t : {f32, f64}) {
        const std::vector<Tensor> whole =
            run_kernel(cpu_backend(), op->name, {drawn(t, {131}, 9, 0.1, 4)}, sample_numbers(*op));
        for (const int64_t n : {1, 2, 3, 5, 7, 8, 9, 15, 17, 31, 33, 64, 127}) {
          const std::vector<double> v = values(drawn(t, {131}, 9, 0.1, 4));
          const Tensor part =
              Tensor::of<double>({n}, std::span(v).last(static_cast<size_t>(n))).to(t);
          const Tensor got = run_kernel(cpu_backend(), op->name, {part}, sample_numbers(*op))[0];
          INFO(op->name << " of the last " << n);
          for (int64_t i = 0; i < n; ++i) {
            const double a = got.at(i), b = whole[0].at(131 - n + i);
            REQUIRE((a == b || (std::isnan(a) && std::isnan(b))));
          }
        }
      }
    }
  });
}

TEST_CASE("cpu_copies_between_dtypes_and_shapes") {
  on_each_isa([] {
    agrees("broadcast_to", {drawn(f32, {5}, 1)}, {{"shape", Shape{300, 5}}}, {"cpu.broadcast_to"});
    agrees("broadcast_to", {drawn(i64, {3, 1}, 1)}, {{"shape", Shape{2, 3, 4}}},
           {"cpu.broadcast_to"});
    agrees("stop_gradient", {drawn(boolean, {77}, 1)}, {}, {"cpu.stop_gradient"});
    agrees("cast", {drawn(f32, {77}, 1)}, {{"dtype", f64}}, {"cpu.cast"});
    agrees("cast", {drawn(f64, {77}, 1)}, {{"dtype", f32}}, {"cpu.cast"});
    agrees("cast", {drawn(boolean, {77}, 1)}, {{"dtype", f64}}, {"cpu.cast"});
    agrees("cast", {drawn(boolean, {77}, 1)}, {{"dtype", f32}}, {"cpu.cast"});
  });
}

// Several results at once, constants folded, booleans between: what fused nodes and the recurrent
// engine ask for.
TEST_CASE("tile_program_with_several_results") {
  on_each_isa([] {
    const std::vector<std::string> names{"x", "c", "keep"};
    Program p = parse_formula("where(keep, tanh(x) * c + -(1 + 2), c)", names, {});
    std::vector<int32_t> results{static_cast<int32_t>(p.code.size()) - 1};
    for (size_t i = 0; i < p.code.size(); ++i) {
      if (p.code[i].fn == Fn::kTanh) results.push_back(static_cast<int32_t>(i));
    }
    const DType in[] = {f32, f32, boolean}, out[] = {f32, f32};
    const cpu::TileProgram program(p, results, in, out);
    REQUIRE(program.fits());
    constexpr int64_t n = 77;
    const Tensor x = drawn(f32, {n}, 1), c = drawn(f32, {n}, 2), keep = drawn(boolean, {n}, 3);
    float y[n], t[n];
    alignas(64) std::byte scratch[cpu::TileProgram::kScratchBytes];
    cpu::TileProgram::Frame frame(program, scratch);
    frame.input(0, x.raw());
    frame.input(1, c.raw());
    frame.input(2, keep.raw());
    frame.output(0, y);
    frame.output(1, t);
    program.run(frame, n);
    for (int64_t i = 0; i < n; ++i) {
      const auto xi = static_cast<float>(x.at(i)), ci = static_cast<float>(c.at(i));
      CHECK(std::abs(t[i] - std::tanh(xi)) <= 1e-6F);
      CHECK(y[i] == (keep.at(i) != 0 ? t[i] * ci - 3 : ci));
    }
  });
}

TEST_CASE("tile_program_too_large_says_so") {
  Program p;
  p.inputs = 1;
  p.code.push_back({.fn = Fn::kInput, .input = 0});
  for (int i = 0; i < 200; ++i) p.code.push_back({.fn = Fn::kExp, .a = i});
  for (int i = 200; i-- > 1;)
    p.code.push_back({.fn = Fn::kAdd, .a = static_cast<int32_t>(p.code.size()) - 1, .b = i});
  const DType in[] = {f64};
  CHECK(!cpu::TileProgram(p, in, f64).fits());
}

}  // namespace
}  // namespace rondo::test
