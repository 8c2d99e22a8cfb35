// `rondo verify --kernel all`: every kernel that a plan may hold, forced one after the other, so
// that none is right only because another ran in its place. The tests call it too.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "verify.h"

namespace rondo::tool {

/// What came of one kernel.
struct KernelResult {
  std::string kernel, op;  ///< op: what it runs, empty = every op with a formula
  DType dtype = f64;       ///< in which its cases ran
  bool occurs = false;     ///< some case holds a node of its op
  size_t passed = 0, failed = 0, left_out = 0;  ///< cases
  std::vector<std::string> problems = {};       ///< of cases that failed

  bool proven() const { return passed != 0 && failed == 0; }
};

struct KernelOptions {
  VerifyOptions verify = {};               ///< its kernel and dtype are set here
  std::vector<DType> dtypes = {f64, f32};  ///< the first in which the kernel runs any case
  size_t most = 0;  ///< so many cases a kernel, spread over those that hold its op; 0 = all
  std::function<void(const std::string& kernel)> on_kernel = {};  ///< before each
};

/// Runs the cases of `files` (as verify_file, those that `only` names) on each kernel in turn. A
/// case without a node of the kernel's op (each of op `convert`) is left out without being run. A
/// file that cannot be read fails for every kernel.
std::vector<KernelResult> verify_kernels(const std::vector<std::string>& files,
                                         const KernelOptions& options,
                                         const std::vector<std::string>& only = {});

}  // namespace rondo::tool
