// The harness itself: kernels that misbehave are caught.
#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"

using namespace rondo;

namespace {

class Fake final : public Backend {
 public:
  explicit Fake(std::function<void(const KernelArgs&)> run, double cost = 1) {
    kernels_.push_back(simple_kernel("fake.neg", "neg", nullptr, std::move(run), cost));
    kernels_.push_back(simple_kernel(
        "fake.formula", "", nullptr,
        [](const KernelArgs& a) { std::fill_n(a.out[0].as<float>(), a.out[0].size(), 7.0F); }, 2));
  }
  std::string_view name() const override { return "fake"; }
  std::span<const Kernel> kernels() const override { return kernels_; }
  std::string description() const override { return "misbehaves"; }

 private:
  std::vector<Kernel> kernels_;
};

Tensor neg_of(const Fake& backend, const std::string& kernel = {}) {
  return test::run_kernel(backend, "neg", {Tensor(f32, {3})}, {}, {.kernel = kernel})[0];
}

}  // namespace

TEST_CASE("a kernel that writes beside its result is caught", "[harness]") {
  for (const int64_t at : {-1, 3}) {
    const Fake bad([at](const KernelArgs& a) { a.out[0].as<float>()[at] = 1; });
    CHECK(test::refusal_of([&] { neg_of(bad); }).message.find("fake.neg wrote beside") !=
          std::string::npos);
  }
}

TEST_CASE("a kernel that changes its operand is caught", "[harness]") {
  const Fake bad([](const KernelArgs& a) { a.in[0].as<float>()[1] = 1; });
  CHECK(test::refusal_of([&] { neg_of(bad); }).message.find("changed its operand 0") !=
        std::string::npos);
}

TEST_CASE("what a kernel does not write is garbage, not zero", "[harness]") {
  const Fake idle([](const KernelArgs&) {});
  CHECK(neg_of(idle).at(1) != 0);
}

TEST_CASE("the cheapest kernel runs, or the one that is named", "[harness]") {
  const auto one = [](const KernelArgs& a) { std::fill_n(a.out[0].as<float>(), 3, 1.0F); };
  CHECK(neg_of(Fake(one)).at(0) == 1);
  CHECK(neg_of(Fake(one, 3)).at(0) == 7);
  CHECK(neg_of(Fake(one, 3), "fake.neg").at(0) == 1);
  CHECK(test::refusal_of([&] { neg_of(Fake(one), "fake.gone"); }).code == "harness.kernel.none");
}
