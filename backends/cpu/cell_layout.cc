#include <algorithm>

#include <rondo/backends/cpu/cell_compiler.h>
#include <rondo/graph/op.h>
#include <rondo/ops/formula.h>

namespace rondo::cpu {

Place CellCompiler::new_buffer(int64_t width) {
  program_.buffers.push_back(width);
  program_.kept.push_back(Kept::kStep);
  return {Home::kBuffer, program_.buffers.size() - 1, 0, width};
}

Place CellCompiler::filled(double number, int64_t width) {
  const Tensor& row = program_.numbers.emplace_back(Tensor::full(program_.dtype, {width}, number));
  return {Home::kConstant, 0, 0, width, row.raw()};
}

Place CellCompiler::place_of(Value v) {
  Known& k = known_.at(v);
  if (k.scalar) fail_internal("a number has no place in the engine");
  if (!k.place) k.place = home_of(v);
  return *k.place;
}

Place CellCompiler::home_of(Value v) {
  const std::optional<Place> y = y_place(v);
  if (y) return *y;
  Place p = new_buffer(width(v));
  p.flags = flags(v);
  return p;
}

std::optional<Place> CellCompiler::y_place(Value v) const {
  for (size_t i = 0; i < layout_.ys; ++i) {
    if (body_.outputs[layout_.states + i] == v && call_.out[i].present)
      return Place{Home::kY, i, 0, width(v), nullptr, flags(v)};
  }
  return std::nullopt;
}

void CellCompiler::place_outputs() {
  for (size_t i = 0; i < layout_.states + layout_.ys; ++i) {
    const Value v = body_.outputs[i];
    const bool is_y = i >= layout_.states && i < layout_.states + layout_.ys;
    if (v && known_.count(v) != 0 && known_.at(v).computed &&
        (!is_y || call_.out[i - layout_.states].present))
      place_of(v);
  }
  for (size_t i = 0; i < layout_.sums; ++i) {
    const Value v = body_.outputs[layout_.states + layout_.ys + i];
    if (!v || !call_.out[layout_.sum_of(i)].present) continue;
    const auto place = [&](Value x) {
      if (!known_.at(x).scalar) place_of(x);
    };
    if (is_outer_sum(v)) {
      for_each_term(v, [&](Value a, Value b) { place(a), place(b); });
    } else {
      place(body_.graph.node(v.node).inputs[0]);
    }
  }
  // What a later group reads must lie somewhere.
  for (const auto& [key, ids] : members_) {
    for (const int32_t id : ids) {
      for (const Value i : body_.graph.node(id).inputs) {
        const Known& k = known_.at(i);
        if (k.computed && (k.stage != key.first || width(i) != key.second)) place_of(i);
      }
    }
  }
}

bool CellCompiler::make_groups() {
  for (const auto& [key, ids] : members_) {
    Program p;
    CellProgram::Group g;
    g.width = key.second;
    std::map<Value, int32_t> step;                  // of values in this program
    std::vector<std::pair<Value, int32_t>> stores;  // values that must be written
    const auto operand = [&](Value v) -> int32_t {
      if (const auto it = step.find(v); it != step.end()) return it->second;
      const Known& k = known_.at(v);
      if (k.scalar) {
        p.code.push_back({Fn::kConstant, -1, -1, -1, -1, k.number});
      } else {
        p.code.push_back({Fn::kInput, -1, -1, -1, p.inputs++, 0});
        g.inputs.push_back(*k.place);
      }
      return step[v] = static_cast<int32_t>(p.code.size()) - 1;
    };
    for (const int32_t id : ids) {
      const Node& n = body_.graph.node(id);
      std::vector<int32_t> operands;
      for (const Value v : n.inputs) operands.push_back(operand(v));
      const int32_t result = append(p, program_of(*n.op, n.attributes), operands);
      step[{id, 0}] = result;
      if (const Known& k = known_.at({id, 0}); k.place) stores.emplace_back(Value{id, 0}, result);
    }
    std::vector<int32_t> results;
    for (const auto& [v, at] : stores) {
      results.push_back(at);
      g.outputs.push_back(*known_.at(v).place);
    }
    if (results.empty()) continue;
    const auto types = [&](const std::vector<Place>& places) {
      std::vector<DType> t;
      for (const Place& at : places) t.push_back(at.flags ? boolean : program_.dtype);
      return t;
    };
    g.program = std::make_shared<const TileProgram>(p, results, types(g.inputs), types(g.outputs));
    if (!g.program->fits()) return false;
    stage(key.first).groups.push_back(std::move(g));
  }
  return true;
}

void CellCompiler::make_ends() {
  for (size_t i = 0; i < layout_.states; ++i) {
    const Known& k = known_.at(body_.outputs[i]);
    program_.next.push_back(k.place ? *k.place : filled(k.number, program_.state_widths[i]));
  }
  for (size_t i = 0; i < layout_.ys; ++i) {
    const Value v = body_.outputs[layout_.states + i];
    if (!v || !call_.out[i].present) continue;
    const Known& k = known_.at(v);
    if (k.place && k.place->home == Home::kY && k.place->index == i) continue;
    program_.ends.push_back({k.place ? *k.place : filled(k.number, width(v)),
                             Place{Home::kY, i, 0, width(v), nullptr, flags(v)}});
  }
}

void CellCompiler::schedule_products() {
  using When = CellProgram::Product::When;
  for (size_t s = 0; s < program_.stages.size(); ++s) {
    auto& moves = program_.stages[s].moves;
    for (size_t m = 0; m < moves.size(); ++m) {
      auto* const p = std::get_if<CellProgram::Product>(&moves[m]);
      if (p == nullptr) continue;
      const Value made = made_.at({static_cast<int>(s), static_cast<int>(m)});
      p->index = program_.products++;
      const auto over_time = [&](const Place& at) {
        return at.home == Home::kX || at.home == Home::kY ||
               (at.home == Home::kBuffer && program_.kept[at.index] == Kept::kUntilSummed);
      };
      if (p->a.home == Home::kX && (!p->c || p->c->home == Home::kX)) {
        p->when = When::kBefore;
        if (p->y.home == Home::kBuffer) keep(p->y, Kept::kAhead);
      } else if (over_time(p->a) && !p->c && p->y.home == Home::kY && uses_.at(made) == 1) {
        p->when = When::kAfter;
      }
    }
  }
}

void CellCompiler::write_next_states() {
  for (size_t i = 0; i < layout_.states; ++i) {
    const Place next = program_.next[i];
    const int64_t width = program_.state_widths[i];
    if (next.home != Home::kBuffer || next.width != width ||
        program_.buffers[next.index] != width || program_.kept[next.index] != Kept::kStep)
      continue;
    program_.buffers[next.index] = 0;
    program_.for_each_place([&](Place& p) {
      if (p.home == Home::kBuffer && p.index == next.index) {
        p.home = Home::kNext;
        p.index = i;
      }
    });
  }
}

}  // namespace rondo::cpu
