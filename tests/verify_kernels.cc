// Every kernel forced in turn over the vectors: each that some case's op could run on does run one,
// and is right.
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "../cli/verify_kernels.h"
#include "check_gradient.h"

#include <rondo/runtime/recurrence_steps.h>

using namespace rondo;
using namespace rondo::test;
using namespace rondo::tool;

namespace {

const std::string kFolder = RONDO_SOURCE_DIR "/tests/vectors";

KernelOptions both_forms(size_t most) {
  KernelOptions o{.most = most};
  o.verify.graph = o.verify.eager = true;
  o.verify.team = one_thread();
  return o;
}

}  // namespace

TEST_CASE("verify: every kernel that a recurrent case can run on, forced, gives its numbers",
          "[vectors][kernel]") {
  // What no recurrent op is made of.
  const std::set<std::string> kNotRecurrent{
      "argmax", "first_true", "gather",  "log_softmax", "pad",
      "pick",   "reduce_max", "softmax", "scatter_add", "stop_gradient"};
  for (const char* backend : {"cpu", "reference"}) {
    KernelOptions options = both_forms(8);
    options.verify.compile.backend = backend;
    std::set<std::string> ran;
    for (const KernelResult& r : verify_kernels(vector_files(kFolder), options)) {
      INFO(r.kernel << " on " << backend);
      CAPTURE(r.problems);
      CHECK(r.failed == 0);
      CHECK(r.occurs == (kNotRecurrent.count(r.op) == 0));
      CHECK(r.proven() == r.occurs);
      CHECK(r.passed + r.failed + r.left_out == 201);
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
  // oneDNN has no f64: its op is there, but it runs nothing.
  KernelOptions options = both_forms(1);
  options.dtypes = {f64};
  size_t unproven = 0;
  for (const KernelResult& r : verify_kernels(vector_files(kFolder + "/nd4j"), options, {"sru"})) {
    if (!r.occurs || r.proven()) continue;
    CHECK(r.kernel == "cpu.matmul.onednn");
    CHECK((r.passed == 0 && r.failed == 0));
    ++unproven;
  }
  const std::vector<KernelName> all = kernels_of_plans("cpu");
  CHECK(unproven == (std::any_of(all.begin(), all.end(),
                                 [](const KernelName& k) { return k.name == "cpu.matmul.onednn"; })
                         ? 1
                         : 0));
  for (const KernelResult& r : verify_kernels({RONDO_SOURCE_DIR "/README.md"}, options)) {
    CHECK(r.failed == 1);
    CHECK(r.problems.size() == 1);
  }
}
