// What the tests of CPU kernels share: awkward numbers, comparison with the reference on every
// instruction set of this machine, and the promise that the number of threads changes no bit.
#pragma once

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"

#include <rondo/backends/cpu/cpu.h>
#include <rondo/backends/cpu/isa.h>
#include <rondo/backends/reference/reference.h>

namespace rondo::test {

/// Restores the best instruction set at the end of a test.
struct IsaGuard {
  ~IsaGuard() { cpu::force_isa(""); }
};

/// Calls f on each instruction set of this machine.
template <class F>
void on_each_isa(F&& f) {
  const IsaGuard guard;
  for (const std::string& name : cpu::isa_names()) {
    cpu::force_isa(name);
    INFO("instruction set " << name);
    f();
  }
}

/// Numbers at which functions go wrong, of T's own range.
template <class T>
std::vector<double> awkward() {
  using L = std::numeric_limits<T>;
  std::vector<double> r{0,
                        L::infinity(),
                        L::quiet_NaN(),
                        L::denorm_min(),
                        double{L::min()},
                        double{L::max()},
                        double{L::epsilon()},
                        double{L::min()} / 3};
  for (const double v :
       {1e-10, 1e-4,  0.1,   0.3466, 0.5,   0.999, 1.0,    1.5,        2.0,  2.5,   7.9,   8.1,
        9.5,   18.7,  20.0,  50.0,   87.3,  88.0,  88.7,   88.73,      89.1, 103.9, 104.6, 350.0,
        708.0, 709.7, 709.8, 710.1,  745.0, 746.0, 1000.5, 16777217.0, 3e9,  1e19,  1e30}) {
    r.push_back(v);
  }
  const size_t n = r.size();
  for (size_t i = 0; i < n; ++i) r.push_back(-r[i]);
  return r;
}

inline std::mt19937_64 generator(uint64_t seed) { return std::mt19937_64(seed); }

/// Even in [low, high), integers and booleans rounded down.
inline Tensor drawn(DType dtype, const Dims& dims, uint64_t seed, double low = -2,
                    double high = 2) {
  auto g = generator(seed);
  std::uniform_real_distribution<double> u(low, high);
  std::vector<double> v(static_cast<size_t>(element_count(dims)));
  for (double& x : v)
    x = dtype == boolean    ? std::floor(u(g)) != 0 && u(g) > 0
        : is_integer(dtype) ? std::floor(u(g))
                            : u(g);
  return Tensor::of<double>(dims, v).to(dtype);
}

/// Where two results differ by more than `relative` of the larger (and more than `absolute`); empty
/// = nowhere.
inline std::string difference(const Tensor& got, const Tensor& want, double relative,
                              double absolute = 0) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) return "type or shape";
  for (int64_t i = 0; i < got.size(); ++i) {
    const double a = got.at(i), b = want.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (std::abs(a - b) <= absolute + relative * std::max(std::abs(a), std::abs(b))) continue;
    return cat("element ", i, ": ", a, " instead of ", b);
  }
  return {};
}

struct Check {
  std::string kernel = {};  ///< of the CPU backend; empty = its choice
  double relative = 0, absolute = 0;
  bool training = false;
  std::vector<bool> wanted = {};
};

/// The CPU's kernel against the reference's, and against itself on teams of 1 to 4.
inline void agrees(std::string_view op, const std::vector<Tensor>& inputs,
                   const Attributes& attributes = {}, const Check& check = {}) {
  KernelRun run{
      .kernel = "", .wanted = check.wanted, .training = check.training, .seed = 7, .step = 3};
  const std::vector<Tensor> want = run_kernel(reference_backend(), op, inputs, attributes, run);
  run.kernel = check.kernel;
  const std::vector<Tensor> got = run_kernel(cpu_backend(), op, inputs, attributes, run);
  std::string shapes;
  for (const Tensor& t : inputs) shapes += cat(t.dtype(), to_string(t.dims()), " ");
  INFO(op << " " << shapes << check.kernel);
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    REQUIRE(static_cast<bool>(got[i]) == static_cast<bool>(want[i]));
    if (got[i]) CHECK(difference(got[i], want[i], check.relative, check.absolute) == "");
  }
  for (const int threads : {2, 3, 4}) {
    run.threads = threads;
    const std::vector<Tensor> again = run_kernel(cpu_backend(), op, inputs, attributes, run);
    for (size_t i = 0; i < got.size(); ++i) CHECK((!got[i] || again[i].same_bits(got[i])));
  }
}

}  // namespace rondo::test
