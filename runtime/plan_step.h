// A step of a bound plan: what is ready for it, and where its memory lies. Internal to runtime/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <rondo/runtime/plan.h>
#include <rondo/runtime/plan_outline.h>

namespace rondo {

/// A step of the outline with what is ready for it.
struct BoundPlan::Step {
  Step(const PlanOutline::Step& o, std::shared_ptr<const ReadyCall> r)
      : ready(std::move(r)),
        call(ready->call),
        prepared(ready->prepared.get()),
        in(o.in),
        out(o.out),
        in_at(o.in_at),
        first_view(o.first_view),
        group(o.group),
        leader(o.leader) {}

  std::shared_ptr<const ReadyCall> ready;  // shared with other bindings, where it is fixed
  const KernelCall& call;
  const PreparedKernel* prepared;
  std::span<const int64_t> in, out;  // the values that they lie in; -1 absent
  std::span<const size_t> in_at;     // and where in them, in bytes
  size_t workspace = 0;              // offset in the arena
  std::vector<size_t> packed;        // offsets in the arena
  size_t first_packing = 0;
  size_t first_view = 0;
  size_t group = 1;     // steps from here on that run together; 0: in one that began before
  int64_t leader = -1;  // the step that this follows
};

}  // namespace rondo
