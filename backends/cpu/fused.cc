// Fused regions: the body's ops as one tile program over whole tensors.
#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include <rondo/backends/cpu/elementwise.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/formula.h>
#include <rondo/ops/fuse.h>

namespace rondo::cpu {
namespace {

// A body made ready whatever the sizes; no program when it holds what a tile program has not.
struct CompiledRegion {
  std::shared_ptr<const TileProgram> program;
  std::vector<FusedView> views;  // what each input reads
  std::vector<size_t> results;   // those that are wanted
};

CompiledRegion compile_region(const KernelCall& call) {
  const Subgraph& body = *call.node.body;
  CompiledRegion c;
  Program program;
  std::vector<DType> input_types, output_types;
  std::vector<int32_t> steps;  // of the results
  std::map<Value, int32_t> step;
  const auto read = [&](Value v) {
    if (const auto it = step.find(v); it != step.end()) return true;
    if (const auto number = literal_value(body.graph.var(v))) {
      program.code.push_back({.fn = Fn::kConstant, .constant = *number});
    } else if (const auto view = fused_view(body, v)) {
      program.code.push_back({.fn = Fn::kInput, .input = program.inputs++});
      c.views.push_back(*view);
      input_types.push_back(call.in[view->operand].dtype);
    } else {
      return false;
    }
    step[v] = static_cast<int32_t>(program.code.size()) - 1;
    return true;
  };
  for (const int32_t id : live_nodes(body)) {
    const Node& n = body.graph.node(id);
    if (n.op->formula.empty()) continue;
    std::vector<int32_t> operands;
    for (const Value v : n.inputs) {
      if (!read(v)) return {};
      operands.push_back(step.at(v));
    }
    step[{id, 0}] = append(program, program_of(*n.op, n.attributes), operands);
  }
  for (size_t k = 0; k < call.out.size(); ++k) {
    if (!call.out[k].present) continue;
    if (step.count(body.outputs[k]) == 0) return {};
    steps.push_back(step.at(body.outputs[k]));
    c.results.push_back(k);
    output_types.push_back(call.out[k].dtype);
  }
  if (c.results.empty() || c.views.empty() || c.views.size() > Elementwise::kMaxInputs) return {};
  auto tiles = std::make_shared<const TileProgram>(program, steps, input_types, output_types);
  if (tiles->fits()) c.program = std::move(tiles);
  return c;
}

std::shared_ptr<const CompiledRegion> compile(const KernelCall& call) {
  return call.once<CompiledRegion>([&] { return compile_region(call); });
}

std::optional<BroadcastPlan> plan_of(const CompiledRegion& c, const KernelCall& call) {
  std::vector<BroadcastOperand> layouts;
  layouts.reserve(c.views.size());
  for (const FusedView& view : c.views) {
    BroadcastOperand& layout = layouts.emplace_back(call.in[view.operand].dims);
    if (view.width != 0) layout.pitch = std::exchange(layout.dims.back(), view.width);
  }
  return plan_broadcast(call.out[0].dims, layouts);
}

bool supports(const KernelCall& call) {
  const auto c = compile(call);
  return c->program != nullptr &&
         std::all_of(c->results.begin(), c->results.end(),
                     [&](size_t k) { return call.out[k].dims == call.out[0].dims; }) &&
         (call.out[0].dims.size() <= kMaxAxes || plan_of(*c, call));
}

std::unique_ptr<PreparedKernel> prepare(const KernelCall& call) {
  const auto c = compile(call);
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
