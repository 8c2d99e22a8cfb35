#include <rondo/runtime/choose.h>

#include <algorithm>
#include <limits>

#include <rondo/graph/callbacks.h>
#include <rondo/graph/op.h>
#include <rondo/runtime/backend.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/recurrence_steps.h>
#include <rondo/runtime/segments.h>

namespace rondo {
namespace {

bool serves(const Kernel& k, const OpDef& op) {
  return k.op == op.name || (k.op.empty() && !op.formula.empty());
}

}  // namespace

const Kernel* choose(const KernelCall& call, const CompileOptions& options) {
  if (!options.kernel.empty()) {
    for (const Backend* b : linked_backends()) {
      for (const Kernel& k : b->kernels()) {
        if (k.name != options.kernel || !serves(k, *call.node.op)) continue;
        if (options.one_step && k.allocates) continue;
        if (!k.supports || k.supports(call)) return &k;
      }
    }
  }
  const std::string_view names[] = {options.backend, "reference"};
  for (const std::string_view name : names) {
    const Kernel* best = nullptr;
    for (const Kernel& k : backend(name).kernels()) {
      if (!serves(k, *call.node.op) || (options.one_step && k.allocates)) continue;
      if (k.supports && !k.supports(call)) continue;
      if (best == nullptr || k.cost_on(call) < best->cost_on(call)) best = &k;
    }
    if (best != nullptr) return best;
  }
  return nullptr;
}

std::string why_chosen(const std::string& chosen, const KernelCall& call,
                       const CompileOptions& options) {
  if (chosen == options.kernel) return "asked for";
  std::string others, unfit;
  double cost = std::numeric_limits<double>::infinity();
  for (const std::string_view name :
       {std::string_view(options.backend), std::string_view("reference")}) {
    for (const Kernel& k : backend(name).kernels()) {
      if (k.name == chosen) cost = k.cost_on(call);
    }
  }
  for (const std::string_view name :
       {std::string_view(options.backend), std::string_view("reference")}) {
    for (const Kernel& k : backend(name).kernels()) {
      if (k.name == chosen || !serves(k, *call.node.op)) continue;
      const bool fits = !k.supports || k.supports(call);
      if (!fits && k.cost_on(call) > cost) continue;  // it would not have been taken
      if (!fits) {
        const std::string why = k.why_not ? k.why_not(call) : "";
        unfit += cat(unfit.empty() ? "" : ", ", k.name, " does not support it",
                     why.empty() ? "" : " (" + why + ")");
      } else if (name == options.backend) {
        others += cat(others.empty() ? "cheaper than " : ", ", k.name);
      }
    }
    if (name == "reference" || options.backend == "reference") break;
  }
  std::string r = others;
  if (!unfit.empty()) r += cat(r.empty() ? "" : "; ", unfit);
  return r;
}

std::string why_not(std::string_view kernel, const KernelCall& call,
                    const CompileOptions& options) {
  for (const Backend* b : linked_backends()) {
    for (const Kernel& k : b->kernels()) {
      if (k.name != kernel || !serves(k, *call.node.op)) continue;
      const std::string op = cat("[", title_of(call.node), "] ");
      if (options.one_step && k.allocates) return cat(op, "it allocates, and a stream may not");
      if (!k.supports || k.supports(call)) return "";
      const std::string why = k.why_not ? k.why_not(call) : "";
      return cat(op, "it does not support the call", why.empty() ? "" : cat(": ", why));
    }
  }
  return "";
}

void require_kernel(const std::string& name) {
  if (name.empty()) return;
  std::vector<std::string> names;
  for (const Backend* b : linked_backends()) {
    for (const KernelName& k : kernels_of_plans(b->name())) {
      if (k.name == name) return;
      names.push_back(k.name);
    }
  }
  fail(Fault::kArgument, "plan.kernel.unknown", "no backend of this build has a kernel called '",
       name, "'", closest_parts(name, names));
}

std::vector<KernelName> kernels_of_plans(std::string_view backend_name) {
  std::vector<KernelName> r{{kRecurrenceSteps, "recurrence"}, {kSegments, "segments"}};
  const auto add = [&](const Backend& b) {
    for (const Kernel& k : b.kernels()) r.push_back({k.name, k.op});
  };
  add(backend(backend_name));
  if (backend_name != "reference") add(backend("reference"));
  return r;
}

}  // namespace rondo
