// All cases of a folder of test vectors through the engine of `rondo verify`, counted.
#pragma once

#include <map>
#include <string>
#include <utility>

#include <catch2/catch_test_macros.hpp>

#include "../cli/verify.h"
#include "check_gradient.h"

namespace rondo::test {

inline const std::string kVectors = RONDO_SOURCE_DIR "/tests/vectors";

inline std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

struct Totals {
  size_t passed = 0, failed = 0, left_out = 0, gradients = 0;
  std::map<std::string, size_t> passed_of;  ///< by op, as the files name it
};

inline Totals verify_all(const tool::VerifyOptions& options, const std::string& folder) {
  using Outcome = tool::CaseResult::Outcome;
  Totals t;
  for (const std::string& path : tool::vector_files(folder)) {
    const auto r = tool::verify_file(path, options);
    REQUIRE(r);
    INFO(file_name(path));
    CAPTURE(r->problems);
    CHECK(r->outcome != Outcome::kFailed);
    (r->outcome == Outcome::kPassed   ? t.passed
     : r->outcome == Outcome::kFailed ? t.failed
                                      : t.left_out) += 1;
    if (r->outcome == Outcome::kPassed) ++t.passed_of[r->op];
    for (const tool::Comparison& c : r->comparisons)
      t.gradients += c.tensor.rfind("grad.", 0) == 0 ? 1 : 0;
  }
  return t;
}

inline tool::VerifyOptions both_forms(DType dtype, CompileOptions compile) {
  return {.compile = std::move(compile),
          .dtype = dtype,
          .graph = true,
          .eager = true,
          .gradients = true,
          .team = one_thread()};
}

}  // namespace rondo::test
