#include <rondo/backends/cpu/cell_program.h>

#include <algorithm>
#include <map>
#include <set>

#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/formula.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

using Home = Place::Home;

// Reductions of a row that a program may hold.
template <class T, ReduceOps<T> RowOps<T>::* kOps>
void reduced(const void* x, int64_t n, void* y) {
  *static_cast<T*>(y) = reduce_row(row_ops<T>().*kOps, static_cast<const T*>(x), n);
}
struct ReductionRow {
  std::string_view op;
  decltype(CellProgram::Reduction::run) f32, f64;
};
constexpr ReductionRow kReductions[] = {
    {"sum", reduced<float, &RowOps<float>::sum>, reduced<double, &RowOps<double>::sum>},
    {"reduce_max", reduced<float, &RowOps<float>::max>, reduced<double, &RowOps<double>::max>},
    {"reduce_min", reduced<float, &RowOps<float>::min>, reduced<double, &RowOps<double>::min>},
};

class Compiler {
 public:
  explicit Compiler(const KernelCall& call)
      : call_(call),
        layout_(call.node),
        body_(*call.node.body),
        symbol_(call.attributes.text("row_symbol")) {}

  std::optional<CellProgram> run() {
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
  const std::string& why() const { return why_; }

 private:
  std::nullopt_t refuse(std::string why) {
    why_ = std::move(why);
    return std::nullopt;
  }

  // What is known of a value: where it lies (once it does), and from which stage on.
  struct Known {
    std::optional<Place> place = {};
    int stage = 0;
    bool computed = false;  // by a group
    bool scalar = false;    // a number, folded into programs
    double number = 0;
    int move = -1;         // the last one of its stage that it needs
    bool product = false;  // that is a product, whose sums can begin with something
  };

  void count_uses() {
    for (const int32_t id : live_) {
      for (const Value v : body_.graph.node(id).inputs) ++uses_[v];
    }
    for (const Value v : body_.outputs) ++uses_[v];
    for (size_t i = 0; i < layout_.sums; ++i) {
      if (const Value v = body_.outputs[layout_.states + layout_.ys + i]) count_use_in_sum(v);
    }
  }

  bool rows_of(Value v, DType dtype) const {
    const ValueType& t = body_.graph.type(v);
    return t.dtype == dtype && t.shape.size() == 2 && t.shape[0] == Dim::symbol(symbol_) &&
           t.shape[1].is_constant();
  }
  bool per_row(Value v) const { return rows_of(v, program_.dtype); }
  // Booleans stand only between elementwise ops: the derivative of a clip has some.
  bool flags(Value v) const { return rows_of(v, boolean); }
  int64_t width(Value v) const { return body_.graph.type(v).shape.back().constant(); }

  bool place_inputs() {
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

  using Kept = CellProgram::Kept;
  void keep(const Place& p, Kept how_long) {
    Kept& kept = program_.kept[p.index];
    kept = std::max(kept, how_long);
  }

  CellProgram::Stage& stage(int i) {
    while (static_cast<int>(program_.stages.size()) <= i) program_.stages.emplace_back();
    return program_.stages[static_cast<size_t>(i)];
  }
  Place new_buffer(int64_t width) {
    program_.buffers.push_back(width);
    program_.kept.push_back(Kept::kStep);
    return {Home::kBuffer, program_.buffers.size() - 1, 0, width};
  }

  Place filled(double number, int64_t width) {
    const Tensor& row =
        program_.numbers.emplace_back(Tensor::full(program_.dtype, {width}, number));
    return {Home::kConstant, 0, 0, width, row.raw()};
  }

  // A value that a group computes is given a place as soon as something outside of the group wants
  // it.
  Place place_of(Value v) {
    Known& k = known_.at(v);
    if (k.scalar) fail_internal("a number has no place in the engine");
    if (!k.place) k.place = home_of(v);
    return *k.place;
  }
  Place home_of(Value v) {
    const std::optional<Place> y = y_place(v);
    if (y) return *y;
    Place p = new_buffer(width(v));
    p.flags = flags(v);
    return p;
  }
  // An output of the step that somebody uses can be written where it belongs.
  std::optional<Place> y_place(Value v) const {
    for (size_t i = 0; i < layout_.ys; ++i) {
      if (body_.outputs[layout_.states + i] == v && call_.out[i].present)
        return Place{Home::kY, i, 0, width(v), nullptr, flags(v)};
    }
    return std::nullopt;
  }
  // The first stage at whose start the value can be read.
  int ready(Value v) const {
    const Known& k = known_.at(v);
    return k.stage + (k.computed ? 1 : 0);
  }

  bool take(const Node& n) {
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

  bool take_constant(const Node& n) {
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

  // What is made of numbers alone is one.
  bool take_number(const Node& n) {
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
        steps.push_back(
            in.fn == Fn::kConstant ? in.constant
            : in.fn == Fn::kInput  ? number(static_cast<size_t>(in.input))
            : program_.dtype == f64
                ? evaluate(in.fn, at(in.a), at(in.b), at(in.c))
                : double{evaluate(in.fn, static_cast<float>(at(in.a)), static_cast<float>(at(in.b)),
                                  static_cast<float>(at(in.c)))});
      }
      k.number = steps.back();
    } else {
      return false;
    }
    known_[{n.id, 0}] = k;
    return true;
  }
  double rounded(double x) const {
    return program_.dtype == f64 ? x : double{static_cast<float>(x)};
  }

  // A reduction of [rows,columns] to [rows,1].
  bool over_columns(const Node& n) const {
    const auto& axes = n.attributes.integers("axes");
    return n.attributes.flag("keep_dims") && axes.size() == 1 &&
           rows_of(n.inputs[0], n.outputs[0].dtype) && axis_index(axes[0], 2) == 1;
  }
  bool take_reduction(const Node& n, const ReductionRow& r) {
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

  bool take_product(const Node& n) {
    const auto w = shared_.find(n.inputs[1]);
    if (n.attributes.flag("transpose_a") || w == shared_.end() || !per_row(n.inputs[0]))
      return false;
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

  // product + what is there before it: the product's sums begin with that.
  bool take_addend(const Node& n) {
    if (n.op->name != "add") return false;
    for (const auto& [v, addend] :
         {std::pair(n.inputs[1], n.inputs[0]), std::pair(n.inputs[0], n.inputs[1])}) {
      const Known k = known_.at(v);
      const Known& other = known_.at(addend);
      if (!k.product || uses_.at(v) != 1 || other.scalar || (!other.place && !other.computed))
        continue;
      auto& p = std::get<CellProgram::Product>(stage(k.stage).moves[static_cast<size_t>(k.move)]);
      const bool vector = other.place && (other.place->home == Home::kShared ||
                                          other.place->home == Home::kConstant);
      const bool there =
          ready(addend) < k.stage || (ready(addend) == k.stage && other.move < k.move);
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

  bool last_axis(const Node& n) const { return axis_index(n.attributes.integer("axis"), 2) == 1; }

  bool take_view(const Node& n) {
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

  bool take_concat(const Node& n) {
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

  bool take_elementwise(const Node& n) {
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

  void place_outputs() {
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

  bool make_groups() {
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
      g.program =
          std::make_shared<const TileProgram>(p, results, types(g.inputs), types(g.outputs));
      if (!g.program->fits()) return false;
      stage(key.first).groups.push_back(std::move(g));
    }
    return true;
  }

  bool is_outer_sum(Value v) const {
    return recurrence_internal::is_outer_sum(body_.graph, v, symbol_) &&
           body_.graph.type(v).dtype == program_.dtype;
  }
  bool is_sum(Value v) const {
    return recurrence_internal::is_sum_of_rows(body_.graph, v) || is_outer_sum(v);
  }
  // A sum over rows, of a value or of outer products, which nothing in the step reads.
  bool is_only_summed(const Node& n) const {
    const auto it = uses_in_sums_.find({n.id, 0});
    return it != uses_in_sums_.end() && it->second == uses_.at({n.id, 0});
  }
  void count_use_in_sum(Value v) {
    const Node& n = body_.graph.node(v.node);
    if (++uses_in_sums_[v] == 1 && n.op->name == "add") {
      for (const Value in : n.inputs) count_use_in_sum(in);
    }
  }
  // How many terms a' b such a sum has, up to one more than a program takes: an `add` of itself
  // doubles them.
  size_t terms_of(Value v) {
    const Node& n = body_.graph.node(v.node);
    if (n.op->name == "matmul") return 1;
    if (const auto it = terms_.find(v); it != terms_.end()) return it->second;
    const size_t terms = terms_of(n.inputs[0]) + terms_of(n.inputs[1]);
    return terms_[v] = std::min(terms, kMostTerms + 1);
  }
  // Calls f for each of them.
  template <class F>
  void for_each_term(Value v, const F& f) const {
    const Node& n = body_.graph.node(v.node);
    if (n.op->name == "matmul") return f(n.inputs[0], n.inputs[1]);
    for (const Value in : n.inputs) for_each_term(in, f);
  }

  // The sums over time that somebody wants: f(which, its value).
  template <class F>
  void for_each_sum(const F& f) const {
    for (size_t i = 0; i < layout_.sums; ++i) {
      const Value v = body_.outputs[layout_.states + layout_.ys + i];
      if (v && call_.out[layout_.sum_of(i)].present) f(i, v);
    }
  }

  void make_sums() {
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
  void add_term(const Place& a, Value b, size_t sum) {
    const auto [it, first] = with_.emplace(b, program_.outer_sums.size());
    if (first) program_.outer_sums.push_back({kept_rows(b), {}});
    program_.outer_sums[it->second].terms.push_back({a, sum});
  }
  // Each row adds to its own sum, after the groups that compute what it adds.
  void make_sum_of_rows(size_t i, Value x) {
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

  // Where rows of a value still lie some steps later.
  Place kept_rows(Value v) {
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

  void make_ends() {
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

  void schedule_products() {
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

  // A buffer that ends as a state is that state's own place from the beginning.
  void write_next_states() {
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

  const KernelCall& call_;
  RecurrenceLayout layout_;
  const Subgraph& body_;
  std::string symbol_;
  CellProgram program_;
  std::string why_;
  std::vector<int32_t> live_;
  std::map<Value, Known> known_;
  std::map<Value, size_t> shared_;
  std::map<Value, int> uses_, uses_in_sums_;
  static constexpr size_t kMostTerms = 64;
  std::map<Value, size_t> terms_;
  std::map<Value, size_t> with_;  // second factors of outer products, and where their sums are
  std::map<std::pair<int, int>, Value> made_;  // by stage and move, what a product makes
  std::map<std::pair<int, int64_t>, std::vector<int32_t>>
      members_;  // (stage, width) -> elementwise nodes
};

}  // namespace

std::optional<CellProgram> CellProgram::compile(const KernelCall& call, std::string* why) {
  Compiler c(call);
  auto program = c.run();
  if (!program && why != nullptr) *why = c.why();
  return program;
}

}  // namespace rondo::cpu
