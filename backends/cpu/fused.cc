// Fused regions: the body's ops as one tile program over whole tensors.
#include <map>
#include <memory>
#include <utility>

#include <rondo/backends/cpu/elementwise.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/formula.h>
#include <rondo/ops/fuse.h>

namespace rondo::cpu {
namespace {

// A body made ready; none when it holds what a tile program has not.
struct Compiled {
  Program program;
  std::vector<ElementwiseInput> inputs;
  std::vector<DType> input_types, output_types;
  std::vector<BroadcastOperand> layouts;
  std::vector<int32_t> steps;   // of the results that are wanted
  std::vector<size_t> results;  // which they are
};

std::optional<Compiled> compile(const KernelCall& call) {
  const Subgraph& body = *call.node.body;
  Compiled c;
  std::map<Value, int32_t> step;
  const auto read = [&](Value v) {
    if (const auto it = step.find(v); it != step.end()) return true;
    if (const auto number = literal_value(body.graph.var(v))) {
      c.program.code.push_back({.fn = Fn::kConstant, .constant = *number});
    } else if (const auto view = fused_view(body, v)) {
      const TensorType& whole = call.in[view->operand];
      BroadcastOperand layout{whole.dims};
      if (view->width != 0) layout.pitch = std::exchange(layout.dims.back(), view->width);
      c.program.code.push_back({.fn = Fn::kInput, .input = c.program.inputs++});
      c.inputs.push_back({view->operand, view->offset});
      c.input_types.push_back(whole.dtype);
      c.layouts.push_back(std::move(layout));
    } else {
      return false;
    }
    step[v] = static_cast<int32_t>(c.program.code.size()) - 1;
    return true;
  };
  for (const int32_t id : live_nodes(body)) {
    const Node& n = body.graph.node(id);
    if (n.op->formula.empty()) continue;
    std::vector<int32_t> operands;
    for (const Value v : n.inputs) {
      if (!read(v)) return std::nullopt;
      operands.push_back(step.at(v));
    }
    step[{id, 0}] = append(c.program, program_of(*n.op, n.attributes), operands);
  }
  for (size_t k = 0; k < call.out.size(); ++k) {
    if (!call.out[k].present) continue;
    if (call.out[k].dims != call.out[0].dims || step.count(body.outputs[k]) == 0)
      return std::nullopt;
    c.steps.push_back(step.at(body.outputs[k]));
    c.results.push_back(k);
    c.output_types.push_back(call.out[k].dtype);
  }
  if (c.results.empty() || c.inputs.empty() || c.inputs.size() > Elementwise::kMaxInputs)
    return std::nullopt;
  return c;
}

}  // namespace

void add_fused(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.fused",
       .op = "fused",
       .note = "one program over SIMD tiles that stay in L1",
       .supports =
           [](const KernelCall& call) {
             const auto c = compile(call);
             return c && plan_broadcast(call.out[0].dims, c->layouts) &&
                    TileProgram(c->program, c->steps, c->input_types, c->output_types).fits();
           },
       .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
         auto c = compile(call);
         return std::make_unique<Elementwise>(
             TileProgram(c->program, c->steps, c->input_types, c->output_types),
             *plan_broadcast(call.out[0].dims, c->layouts), std::move(c->inputs),
             std::move(c->results));
       }});
}

}  // namespace rondo::cpu
