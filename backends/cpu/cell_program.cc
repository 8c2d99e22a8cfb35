#include <rondo/backends/cpu/cell_program.h>

#include <algorithm>

#include <rondo/backends/cpu/cell_compiler.h>
#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/formula.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

template <class T, ReduceOps<T> RowOps<T>::* kOps>
void reduced(const void* x, int64_t n, void* y) {
  *static_cast<T*>(y) = reduce_row(row_ops<T>().*kOps, static_cast<const T*>(x), n);
}

// Of a [rows,width] value's axis 1.
bool last_axis(const Node& n) { return axis_index(n.attributes.integer("axis"), 2) == 1; }

}  // namespace

// Reductions of a row that a program may hold.
struct CellCompiler::ReductionRow {
  std::string_view op;
  decltype(CellProgram::Reduction::run) f32, f64;
};
constexpr CellCompiler::ReductionRow CellCompiler::kReductions[] = {
    {"sum", reduced<float, &RowOps<float>::sum>, reduced<double, &RowOps<double>::sum>},
    {"reduce_max", reduced<float, &RowOps<float>::max>, reduced<double, &RowOps<double>::max>},
    {"reduce_min", reduced<float, &RowOps<float>::min>, reduced<double, &RowOps<double>::min>},
};

std::optional<CellProgram> CellCompiler::run() {
  if (layout_.states == 0) return refuse("it carries no state");
  if (layout_.xs + layout_.ys == 0) return refuse("it has neither inputs nor outputs over time");
  program_.dtype = call_.in[0].dtype;
  if (program_.dtype != f32 && program_.dtype != f64) return refuse("its state is no f32 or f64");
  for (size_t i = 0; i < layout_.sums; ++i) {
    const Value v = body_.outputs[layout_.states + layout_.ys + i];
    if (v && !is_sum(v))
      return refuse("a sum over time is more than that of rows or of their products");
    if (v && is_outer_sum(v) && terms_of(v) > kMostTerms)
      return refuse(cat("a sum over time has more than ", kMostTerms, " products"));
  }
  if (!place_inputs()) return refuse("an operand is no [B,width] of its state's dtype");
  live_ = live_nodes(body_);
  count_uses();
  for (const int32_t id : live_) {
    const Node& n = body_.graph.node(id);
    if (n.op != &placeholder_op() && !take(n))
      return refuse(cat("its step holds ", n.op->name, " ", n.outputs[0].str()));
  }
  place_outputs();
  if (!make_groups()) return refuse("its elementwise operations do not fit one program");
  make_sums();
  make_ends();
  schedule_products();
  write_next_states();
  return std::move(program_);
}

void CellCompiler::count_uses() {
  for (const int32_t id : live_) {
    for (const Value v : body_.graph.node(id).inputs) ++uses_[v];
  }
  for (const Value v : body_.outputs) ++uses_[v];
  for (size_t i = 0; i < layout_.sums; ++i) {
    if (const Value v = body_.outputs[layout_.states + layout_.ys + i]) count_use_in_sum(v);
  }
}

bool CellCompiler::place_inputs() {
  for (size_t i = 0; i < layout_.body_inputs(); ++i) {
    const Value v = body_.inputs[i];
    if (i >= layout_.first_shared()) {
      const Shape& s = body_.graph.type(v).shape;
      const bool vector =
          s.size() == 1 && s[0].is_constant() && body_.graph.type(v).dtype == program_.dtype;
      known_[v] = {};
      if (vector)
        known_[v].place = Place{Home::kShared, i - layout_.first_shared(), 0, s[0].constant()};
      shared_[v] = i - layout_.first_shared();
      continue;
    }
    if (!per_row(v) && (i < layout_.states || !flags(v))) return false;
    const Home home = i < layout_.states            ? Home::kState
                      : i < layout_.first_per_row() ? Home::kX
                                                    : Home::kPerRow;
    const size_t first = i < layout_.states            ? 0
                         : i < layout_.first_per_row() ? layout_.first_x()
                                                       : layout_.first_per_row();
    known_[v].place = Place{home, i - first, 0, width(v), nullptr, flags(v)};
    if (i < layout_.states) program_.state_widths.push_back(width(v));
  }
  return true;
}

bool CellCompiler::take(const Node& n) {
  if (n.op == &constant_op()) return take_constant(n);
  if (n.op->name == "fill") {
    known_[{n.id, 0}] = {.scalar = true, .number = rounded(n.attributes.number("value"))};
    return n.outputs[0].dtype == program_.dtype;
  }
  if (take_number(n) || is_only_summed(n)) return true;
  for (size_t k = 0; k < n.outputs.size(); ++k) {
    const Value v{n.id, static_cast<int32_t>(k)};
    if (!per_row(v) && !flags(v)) return false;
  }
  for (const ReductionRow& r : kReductions) {
    if (n.op->name == r.op) return take_reduction(n, r);
  }
  if (n.op->name == "matmul") return take_product(n);
  if (n.op->name == "split" || n.op->name == "slice") return take_view(n);
  if (n.op->name == "concat") return take_concat(n);
  return take_addend(n) || (!n.op->formula.empty() && take_elementwise(n));
}

bool CellCompiler::take_constant(const Node& n) {
  const Tensor& t = n.attributes.tensor("value");
  Known k;
  if (t.dtype() != program_.dtype) return false;
  if (t.size() == 1) {
    k.scalar = true;
    k.number = t.at(0);
  } else if (t.rank() == 1) {
    k.place = Place{Home::kConstant, 0, 0, t.size(), t.raw()};
  } else {
    return false;
  }
  known_[{n.id, 0}] = k;
  return true;
}

bool CellCompiler::take_number(const Node& n) {
  const auto is_number = [&](Value v) {
    const auto it = known_.find(v);
    return it != known_.end() && it->second.scalar;
  };
  if (n.inputs.empty() || n.outputs[0].dtype != program_.dtype ||
      !std::all_of(n.inputs.begin(), n.inputs.end(), is_number))
    return false;
  const auto number = [&](size_t i) { return known_.at(n.inputs[i]).number; };
  Known k{.scalar = true};
  if (n.op->name == "sum" && over_columns(n)) {
    k.number = rounded(number(0) * static_cast<double>(width(n.inputs[0])));
  } else if (!n.op->formula.empty()) {
    std::vector<double> steps;
    for (const Instruction& in : program_of(*n.op, n.attributes).code) {
      const auto at = [&](int32_t i) { return i < 0 ? 0.0 : steps[static_cast<size_t>(i)]; };
      steps.push_back(in.fn == Fn::kConstant  ? in.constant
                      : in.fn == Fn::kInput   ? number(static_cast<size_t>(in.input))
                      : program_.dtype == f64 ? evaluate(in.fn, at(in.a), at(in.b), at(in.c))
                                              : double{evaluate(in.fn, static_cast<float>(at(in.a)),
                                                                static_cast<float>(at(in.b)),
                                                                static_cast<float>(at(in.c)))});
    }
    k.number = steps.back();
  } else {
    return false;
  }
  known_[{n.id, 0}] = k;
  return true;
}

bool CellCompiler::over_columns(const Node& n) const {
  const auto& axes = n.attributes.integers("axes");
  return n.attributes.flag("keep_dims") && axes.size() == 1 &&
         rows_of(n.inputs[0], n.outputs[0].dtype) && axis_index(axes[0], 2) == 1;
}

bool CellCompiler::take_reduction(const Node& n, const ReductionRow& r) {
  if (!over_columns(n) || known_.at(n.inputs[0]).scalar) return false;
  const Value v{n.id, 0};
  const int at = ready(n.inputs[0]);
  const Place y = home_of(v), from = place_of(n.inputs[0]);
  stage(at).moves.emplace_back(
      CellProgram::Reduction{from, y, program_.dtype == f64 ? r.f64 : r.f32});
  known_[v] = {y, at};
  known_[v].move = static_cast<int>(stage(at).moves.size()) - 1;
  return true;
}

bool CellCompiler::take_product(const Node& n) {
  const auto w = shared_.find(n.inputs[1]);
  if (n.attributes.flag("transpose_a") || w == shared_.end() || !per_row(n.inputs[0])) return false;
  if (body_.graph.type(n.inputs[1]).shape.size() != 2 || known_.at(n.inputs[0]).scalar)
    return false;
  const Value v{n.id, 0};
  const int at = ready(n.inputs[0]);
  const Place y = home_of(v);
  const Place a = place_of(n.inputs[0]);
  auto& moves = stage(at).moves;
  made_[{at, static_cast<int>(moves.size())}] = v;
  known_[v] = {.place = y, .stage = at, .move = static_cast<int>(moves.size()), .product = true};
  moves.emplace_back(CellProgram::Product{a, y, w->second, n.attributes.flag("transpose_b"),
                                          width(n.inputs[0]), width(v)});
  return true;
}

bool CellCompiler::take_addend(const Node& n) {
  if (n.op->name != "add") return false;
  for (const auto& [v, addend] :
       {std::pair(n.inputs[1], n.inputs[0]), std::pair(n.inputs[0], n.inputs[1])}) {
    const Known k = known_.at(v);
    const Known& other = known_.at(addend);
    if (!k.product || uses_.at(v) != 1 || other.scalar || (!other.place && !other.computed))
      continue;
    auto& p = std::get<CellProgram::Product>(stage(k.stage).moves[static_cast<size_t>(k.move)]);
    const bool vector =
        other.place && (other.place->home == Home::kShared || other.place->home == Home::kConstant);
    const bool there = ready(addend) < k.stage || (ready(addend) == k.stage && other.move < k.move);
    if (!there || (vector ? p.bias : p.c)) continue;
    if ((other.place ? other.place->width : width(addend)) != p.n) continue;
    (vector ? p.bias : p.c) = place_of(addend);
    const Value sum{n.id, 0};
    if (const std::optional<Place> own = y_place(sum)) p.y = *own;
    made_[{k.stage, k.move}] = sum;
    known_[sum] = {.place = p.y, .stage = k.stage, .move = k.move, .product = true};
    return true;
  }
  return false;
}

bool CellCompiler::take_view(const Node& n) {
  if (!last_axis(n) || !per_row(n.inputs[0]) || known_.at(n.inputs[0]).scalar) return false;
  const Place whole = place_of(n.inputs[0]);
  int64_t column = 0;
  if (n.op->name == "slice") {
    const Dim& begin = n.attributes.shape("bounds")[0];
    if (!begin.is_constant()) return false;
    column = begin.constant();
  }
  for (size_t k = 0; k < n.outputs.size(); ++k) {
    const Value v{n.id, static_cast<int32_t>(k)};
    const int at = ready(n.inputs[0]);
    known_[v] = {Place{whole.home, whole.index, whole.column + column, width(v)}, at};
    if (at == known_.at(n.inputs[0]).stage) known_[v].move = known_.at(n.inputs[0]).move;
    column += width(v);
  }
  return true;
}

bool CellCompiler::take_concat(const Node& n) {
  if (!last_axis(n)) return false;
  const Value v{n.id, 0};
  const Place whole = home_of(v);
  int at = 0;
  for (const Value i : n.inputs) {
    if (!per_row(i)) return false;
    at = std::max(at, ready(i));
  }
  int64_t column = 0;
  for (const Value i : n.inputs) {
    const Place to{whole.home, whole.index, column, width(i)};
    column += width(i);
    Known& k = known_.at(i);
    if (k.scalar) {  // still a number to whoever computes with it
      stage(at).moves.emplace_back(CellProgram::Copy{filled(k.number, width(i)), to});
    } else if (k.computed && !k.place && !y_place(i)) {
      k.place = to;  // its group writes it here
    } else {
      stage(at).moves.emplace_back(CellProgram::Copy{place_of(i), to});
    }
  }
  known_[v] = {whole, at};
  known_[v].move = static_cast<int>(stage(at).moves.size()) - 1;
  return true;
}

bool CellCompiler::take_elementwise(const Node& n) {
  if (n.outputs.size() != 1) return false;
  const Value v{n.id, 0};
  const int64_t w = width(v);
  int at = 0;
  for (const Value i : n.inputs) {
    const Known& k = known_.at(i);
    if (k.scalar) continue;
    if (!k.place && !k.computed) return false;  // a shared matrix
    if (const int64_t have = k.place ? k.place->width : width(i); have != w && have != 1)
      return false;
    const bool same_group = k.computed && width(i) == w;
    at = std::max(at, same_group ? k.stage : ready(i));
  }
  known_[v] = {.stage = at, .computed = true};
  members_[{at, w}].push_back(n.id);
  return true;
}

std::optional<CellProgram> CellProgram::compile(const KernelCall& call, std::string* why) {
  CellCompiler c(call);
  auto program = c.run();
  if (!program && why != nullptr) *why = c.why();
  return program;
}

}  // namespace rondo::cpu
