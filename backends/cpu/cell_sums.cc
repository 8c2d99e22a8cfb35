#include <algorithm>
#include <set>

#include <rondo/backends/cpu/cell_compiler.h>
#include <rondo/graph/op.h>

namespace rondo::cpu {

bool CellCompiler::is_outer_sum(Value v) const {
  return recurrence_internal::is_outer_sum(body_.graph, v, symbol_) &&
         body_.graph.type(v).dtype == program_.dtype;
}

bool CellCompiler::is_sum(Value v) const {
  return recurrence_internal::is_sum_of_rows(body_.graph, v) || is_outer_sum(v);
}

bool CellCompiler::is_only_summed(const Node& n) const {
  const auto it = uses_in_sums_.find({n.id, 0});
  return it != uses_in_sums_.end() && it->second == uses_.at({n.id, 0});
}

void CellCompiler::count_use_in_sum(Value v) {
  const Node& n = body_.graph.node(v.node);
  if (++uses_in_sums_[v] == 1 && n.op->name == "add") {
    for (const Value in : n.inputs) count_use_in_sum(in);
  }
}

size_t CellCompiler::terms_of(Value v) {
  const Node& n = body_.graph.node(v.node);
  if (n.op->name == "matmul") return 1;
  if (const auto it = terms_.find(v); it != terms_.end()) return it->second;
  const size_t terms = terms_of(n.inputs[0]) + terms_of(n.inputs[1]);
  return terms_[v] = std::min(terms, kMostTerms + 1);
}

void CellCompiler::make_sums() {
  for_each_sum([&](size_t i, Value v) {
    if (!is_outer_sum(v)) return;
    for_each_term(v, [&](Value a, Value b) { add_term(kept_rows(a), b, i); });
  });
  for_each_sum([&](size_t i, Value v) {
    if (is_outer_sum(v)) return;
    // Rows that are there for products are added up with these, as 1' x.
    const Value x = body_.graph.node(v.node).inputs[0];
    with_.count(x) != 0 ? add_term(filled(1, 1), x, i) : make_sum_of_rows(i, x);
  });
  // In the order in which they are added up, the first of each sum begins it.
  std::set<size_t> begun;
  for (CellProgram::OuterSums& s : program_.outer_sums) {
    for (CellProgram::OuterSums::Term& t : s.terms) t.begins = begun.insert(t.index).second;
  }
}

void CellCompiler::add_term(const Place& a, Value b, size_t sum) {
  const auto [it, first] = with_.emplace(b, program_.outer_sums.size());
  if (first) program_.outer_sums.push_back({kept_rows(b), {}});
  program_.outer_sums[it->second].terms.push_back({a, sum});
}

void CellCompiler::make_sum_of_rows(size_t i, Value x) {
  const Known& k = known_.at(x);
  const int64_t w = width(x);
  const Place from = k.scalar ? filled(k.number, w) : *k.place;
  const Place row = new_buffer(w);
  Program p;
  p.inputs = 2;
  p.code = {{Fn::kInput, -1, -1, -1, 0, 0}, {Fn::kInput, -1, -1, -1, 1, 0}, {Fn::kAdd, 0, 1}};
  const DType types[] = {program_.dtype, program_.dtype};
  CellProgram::Group g;
  g.width = w;
  g.inputs = {row, from};
  g.outputs = {row};
  g.program = std::make_shared<const TileProgram>(p, types, program_.dtype);
  stage(k.stage).groups.push_back(std::move(g));
  program_.sums.push_back({row, i});
}

Place CellCompiler::kept_rows(Value v) {
  const Known& k = known_.at(v);
  if (k.scalar) return filled(k.number, width(v));
  Place p = *k.place;
  if (p.home == Home::kState) {
    const Place copy = new_buffer(width(v));
    stage(0).moves.emplace_back(CellProgram::Copy{p, copy});
    p = copy;
  }
  if (p.home == Home::kBuffer) keep(p, Kept::kUntilSummed);
  return p;
}

}  // namespace rondo::cpu
