#include <cstring>

#include <rondo/graph/op.h>
#include <rondo/runtime/plan_step.h>
#include <rondo/runtime/side_by_side.h>

namespace rondo {
namespace {

// Inside of a handler: what went wrong, and where in the program that was asked for.
[[noreturn]] void rethrow_with_site(const Site& site) {
  try {
    throw;
  } catch (const Error& e) {
    const std::string text = e.what();
    if (site.file == nullptr || text.find("built at") != std::string::npos) throw;
    throw Error(e.fault(), e.code(), text + built_at(site));
  }
}

}  // namespace

Frame::Frame(const BoundPlan& plan, std::byte* arena) : plan_(plan), arena_(arena) {
  data_.resize(plan.places_.size());
  outputs_.resize(plan.output_types_.size());
  views_.reserve(plan.view_types_.size());
  for (const TensorType* t : plan.view_types_) views_.push_back({t, nullptr});
  packed_.reserve(plan.packed_by_.size());
  is_packed_.resize(plan.packed_by_.size());
  for (const auto& [step, i] : plan.packed_by_)
    packed_.push_back(arena_ + plan.steps_[step].packed[i]);
  for (size_t i = 0; i < packed_.size(); ++i) {
    if (plan.packed_constants_[i] == nullptr) continue;
    packed_[i] = plan.packed_constants_[i].get();
    is_packed_[i] = true;
  }
  for (size_t v = 0; v < plan.places_.size(); ++v) {
    const BoundPlan::Place& p = plan.places_[v];
    if (p.home == BoundPlan::Home::kArena) set(v, arena_ + p.at);
    if (p.home == BoundPlan::Home::kConstant) set(v, const_cast<std::byte*>(p.constant));
  }
}

void Frame::set(size_t value, std::byte* data) {
  data_[value] = data;
  const PlanOutline& o = plan_.outline_;
  for (uint32_t i = o.first_view_of[value]; i < o.first_view_of[value + 1]; ++i)
    views_[o.view_of[i]].data = data + o.view_at[o.view_of[i]];
}

void Frame::set_input(size_t i, const std::byte* data) {
  set(plan_.outline_.index(plan_.plan_.unit().inputs[i]), const_cast<std::byte*>(data));
}

void Frame::set_packed(const InputPacking& p, const std::byte* data) {
  const auto [step, i] = plan_.packed_by_[p.index];
  is_packed_[p.index] = data != nullptr;
  packed_[p.index] = data != nullptr
                         ? const_cast<std::byte*>(data)  // NOLINT: never written through
                         : arena_ + plan_.steps_[step].packed[i];
}

void Frame::set_output(size_t i, std::byte* data) {
  outputs_[i] = data;
  const Value v = plan_.plan_.unit().outputs[i];
  if (!v) return;
  const BoundPlan::Place& p = plan_.places_[plan_.outline_.index(v)];
  if (p.home == BoundPlan::Home::kOutput && p.at == i) set(plan_.outline_.index(v), data);
}

KernelArgs Frame::args_of(const BoundPlan::Step& s, RunContext& context) {
  const View* views = views_.data() + s.first_view;
  std::byte* const* packed = packed_.data() + s.first_packing;
  for (size_t i = 0; i < s.packed.size(); ++i) {
    if (!is_packed_[s.first_packing + i])
      s.prepared->pack(i, views[s.prepared->packings()[i].operand], packed[i]);
  }
  return {
      s.call,  {views, s.in.size()},     {views + s.in.size(), s.out.size()}, arena_ + s.workspace,
      context, {packed, s.packed.size()}};
}

void Frame::run_group(size_t first, RunContext& context) {
  const BoundPlan::Step* const steps = &plan_.steps_[first];
  std::vector<TogetherCall> calls;
  for (size_t i = 0; i < steps->group; ++i) {
    const int64_t leader = steps[i].leader;
    calls.push_back({steps[i].prepared, args_of(steps[i], context),
                     leader < 0 ? -1 : leader - static_cast<int64_t>(first)});
  }
  run_together(calls, context.team, [&](size_t i) { rethrow_with_site(steps[i].call.node.site); });
}

void Frame::run(RunContext& context) {
  for (size_t i = 0; i < plan_.steps_.size(); ++i) {
    const BoundPlan::Step& s = plan_.steps_[i];
    if (s.group > 1) {
      run_group(i, context);
    } else if (s.group == 1) {
      try {
        s.prepared->run(args_of(s, context));
      } catch (const Error&) {
        rethrow_with_site(s.call.node.site);
      }
    }
  }
  for (const PlanOutline::Copy& c : plan_.outline_.copies) {
    const size_t n = plan_.places_[c.value].type->bytes();
    if (n != 0 && outputs_[c.output] != data_[c.value])
      std::memcpy(outputs_[c.output], data_[c.value], n);
  }
}

}  // namespace rondo
