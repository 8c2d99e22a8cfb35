// Fused regions: the body's ops as one tile program over whole tensors.
#include <algorithm>
#include <memory>
#include <utility>

#include <rondo/backends/cpu/elementwise.h>
#include <rondo/backends/cpu/fused_region.h>

namespace rondo::cpu {
namespace {

std::optional<BroadcastPlan> plan_of(const FusedRegion& c, const KernelCall& call) {
  std::vector<BroadcastOperand> layouts;
  layouts.reserve(c.views.size());
  for (const FusedView& view : c.views) {
    BroadcastOperand& layout = layouts.emplace_back(call.in[view.operand].dims);
    if (view.width != 0) layout.pitch = std::exchange(layout.dims.back(), view.width);
  }
  return plan_broadcast(call.out[0].dims, layouts);
}

bool supports(const KernelCall& call) {
  const auto c = fused_region(call);
  return c->program != nullptr &&
         std::all_of(c->results.begin(), c->results.end(),
                     [&](size_t k) { return call.out[k].dims == call.out[0].dims; }) &&
         (call.out[0].dims.size() <= kMaxAxes || plan_of(*c, call));
}

std::unique_ptr<PreparedKernel> prepare(const KernelCall& call) {
  const auto c = fused_region(call);
  std::vector<ElementwiseInput> inputs;
  inputs.reserve(c->views.size());
  for (const FusedView& view : c->views) inputs.push_back({view.operand, view.offset});
  return std::make_unique<Elementwise>(*c->program, *plan_of(*c, call), std::move(inputs),
                                       c->results);
}

}  // namespace

void add_fused(std::vector<Kernel>& rows) {
  rows.push_back({.name = "cpu.fused",
                  .op = "fused",
                  .note = "one program over SIMD tiles that stay in L1",
                  .supports = supports,
                  .prepare = prepare});
}

}  // namespace rondo::cpu
