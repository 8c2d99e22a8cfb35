#include <rondo/backends/cpu/fused_region.h>

#include <algorithm>
#include <map>

#include <rondo/backends/cpu/elementwise.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/formula.h>

namespace rondo::cpu {
namespace {

FusedRegion compile_region(const KernelCall& call) {
  const Subgraph& body = *call.node.body;
  FusedRegion c;
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
      // Of the call, which may be in another dtype than the body says; a product has that of a.
      const bool of_product = call.node.op->name != "fused" && view->operand != 0;
      input_types.push_back(call.in[view->operand + (of_product ? 1 : 0)].dtype);
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
  // A result that is an operand itself is copied behind the last step.
  if (std::none_of(steps.begin(), steps.end(), [&](int32_t i) {
        return program.code[static_cast<size_t>(i)].fn == Fn::kInput;
      }))
    c.last = static_cast<size_t>(std::max_element(steps.begin(), steps.end()) - steps.begin());
  auto tiles = std::make_shared<const TileProgram>(program, steps, input_types, output_types);
  if (tiles->fits()) c.program = std::move(tiles);
  return c;
}

}  // namespace

std::shared_ptr<const FusedRegion> fused_region(const KernelCall& call) {
  return call.once<FusedRegion>([&] { return compile_region(call); });
}

}  // namespace rondo::cpu
