#include <algorithm>
#include <set>

#include "verify_kernels.h"

#include <rondo/graph/op.h>
#include <rondo/ops/register.h>
#include <rondo/runtime/recurrence_steps.h>

namespace rondo::tool {
namespace {

struct Case {
  std::string path;
  SafeTensors file;
  std::set<std::string> ops;  // of all nodes that run
};

bool serves(const KernelName& k, const std::string& op) {
  if (!k.op.empty()) return k.op == op;
  const OpDef* def = registry().find(op);
  return def != nullptr && !def->formula.empty();
}

bool holds(const Case& c, const KernelName& k) {
  return std::any_of(c.ops.begin(), c.ops.end(), [&](const auto& op) { return serves(k, op); });
}

// At most `most` of them, evenly spread; 0 = all.
std::vector<const Case*> spread_over(const std::vector<const Case*>& all, size_t most) {
  if (most == 0 || all.size() <= most) return all;
  std::vector<const Case*> r;
  for (size_t i = 0; i < most; ++i) r.push_back(all[i * all.size() / most]);
  return r;
}

}  // namespace

std::vector<KernelResult> verify_kernels(const std::vector<std::string>& files,
                                         const KernelOptions& options,
                                         const std::vector<std::string>& only) {
  VerifyOptions verify = options.verify;
  verify.dtype = options.dtypes.at(0);
  std::vector<Case> cases;
  std::vector<std::string> broken;
  for (const std::string& path : files) {
    if (!names_case(path, only)) continue;
    try {
      Case c{path, load_safetensors(path), {}};
      // Step by step, bodies are plans too, and what they hold is seen. A conversion of weights
      // or a training is no call of an op.
      verify.compile.kernel = kRecurrenceSteps;
      if (calls_an_op(c.file)) c.ops = ops_that_run(c.file, verify);
      cases.push_back(std::move(c));
    } catch (const std::exception& e) {
      broken.push_back(cat(path, ": ", e.what()));
    }
  }

  std::vector<KernelResult> results;
  for (const KernelName& k : kernels_of_plans(verify.compile.backend)) {
    if (options.on_kernel) options.on_kernel(k.name);
    std::vector<const Case*> fit;
    for (const Case& c : cases) {
      if (holds(c, k)) fit.push_back(&c);
    }
    KernelResult r{.kernel = k.name, .op = k.op, .occurs = !fit.empty()};
    const std::vector<const Case*> chosen = spread_over(fit, options.most);
    for (const DType dtype : options.dtypes) {
      verify.compile.kernel = k.name;
      verify.dtype = r.dtype = dtype;
      r.passed = 0;
      r.failed = broken.size();
      r.left_out = cases.size() - chosen.size();
      r.problems = broken;
      for (const Case* c : chosen) {
        const CaseResult one = verify_case(c->file, verify);
        (one.outcome == CaseResult::Outcome::kPassed    ? r.passed
         : one.outcome == CaseResult::Outcome::kLeftOut ? r.left_out
                                                        : r.failed) += 1;
        if (one.outcome != CaseResult::Outcome::kFailed) continue;
        for (const std::string& p : one.problems) r.problems.push_back(cat(c->path, ": ", p));
      }
      if (r.passed + r.failed != 0) break;
    }
    results.push_back(std::move(r));
  }
  return results;
}

}  // namespace rondo::tool
