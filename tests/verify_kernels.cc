// Every kernel forced in turn over the vectors: each runs some case, and is right.
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "../cli/verify_kernels.h"
#include "verify_all.h"

#include <rondo/runtime/recurrence_steps.h>

using namespace rondo;
using namespace rondo::test;
using namespace rondo::tool;

namespace {

KernelOptions of_each_kernel(size_t most) {
  KernelOptions o{.most = most};
  o.verify.graph = o.verify.eager = true;
  o.verify.team = one_thread();
  return o;
}

}  // namespace

TEST_CASE("verify: every kernel, forced, gives the numbers of some case", "[vectors][kernel]") {
  // Optimised plans hold no stop_gradient: it is its operand. Where a kernel is asked for, regions
  // stay apart, so that its op is seen. Segments are made where memory is short.
  const std::set<std::string> kInNoPlan{"stop_gradient", "fused", "fused_matmul", "segments"};
  const std::vector<std::string> files = vector_files(kVectors);
  for (const char* backend : {"cpu", "reference"}) {
    KernelOptions options = of_each_kernel(8);
    options.verify.compile.backend = backend;
    std::set<std::string> ran;
    for (const KernelResult& r : verify_kernels(files, options)) {
      INFO(r.kernel << " on " << backend);
      CAPTURE(r.problems);
      CHECK(r.failed == 0);
      CHECK(r.occurs == (kInNoPlan.count(r.op) == 0));
      CHECK(r.proven() == r.occurs);
      CHECK(r.passed + r.failed + r.left_out == files.size());
      if (r.proven()) ran.insert(r.kernel);
    }
    CHECK(ran.count(kRecurrenceSteps) == 1);
    CHECK(ran.count("reference.matmul") == 1);
    CHECK(ran.count("cpu.recurrence.engine") == (backend == std::string("cpu") ? 1 : 0));
  }
}

TEST_CASE(
    "verify: a kernel that no case runs on, and a case that no kernel runs, are not passed over",
    "[vectors][kernel]") {
  // oneDNN has no f64: its ops are there, but it runs nothing. Sums over rows are the engine's
  // work.
  KernelOptions options = of_each_kernel(1);
  options.dtypes = {f64};
  size_t unproven = 0;
  for (const KernelResult& r : verify_kernels(vector_files(kVectors + "/nd4j"), options, {"sru"})) {
    if (!r.occurs || r.proven()) continue;
    CHECK((r.kernel.ends_with(".onednn") || r.kernel.ends_with(".sum")));
    CHECK((r.passed == 0 && r.failed == 0));
    ++unproven;
  }
  const std::vector<KernelName> all = kernels_of_plans("cpu");
  const bool onednn = std::any_of(
      all.begin(), all.end(), [](const KernelName& k) { return k.name == "cpu.matmul.onednn"; });
  CHECK(unproven == (onednn ? 4 : 2));
  for (const KernelResult& r : verify_kernels({RONDO_SOURCE_DIR "/README.md"}, options)) {
    CHECK(r.failed == 1);
    CHECK(r.problems.size() == 1);
  }
}
