// From the body of a recurrence to a CellProgram: what each op of it becomes (cell_program.cc),
// where values lie and what is done when (cell_layout.cc), and what is added up over time
// (cell_sums.cc).
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rondo/backends/cpu/cell_program.h>
#include <rondo/ops/recurrence_parts.h>

namespace rondo::cpu {

class CellCompiler {
 public:
  explicit CellCompiler(const KernelCall& call)
      : call_(call),
        layout_(call.node),
        body_(*call.node.body),
        symbol_(call.attributes.text("row_symbol")) {}

  /// None where something does not fit; then why() says what.
  std::optional<CellProgram> run();
  const std::string& why() const { return why_; }

 private:
  using Home = Place::Home;
  using Kept = CellProgram::Kept;

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

  std::nullopt_t refuse(std::string why) {
    why_ = std::move(why);
    return std::nullopt;
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
  double rounded(double x) const {
    return program_.dtype == f64 ? x : double{static_cast<float>(x)};
  }

  // ---- each op (cell_program.cc)

  void count_uses();
  bool place_inputs();
  bool take(const Node& n);
  bool take_constant(const Node& n);
  // What is made of numbers alone is one.
  bool take_number(const Node& n);
  // A reduction of [rows,columns] to [rows,1].
  bool over_columns(const Node& n) const;
  struct ReductionRow;
  static const ReductionRow kReductions[];
  bool take_reduction(const Node& n, const ReductionRow& r);
  bool take_product(const Node& n);
  // product + what is there before it: the product's sums begin with that.
  bool take_addend(const Node& n);
  bool take_view(const Node& n);
  bool take_concat(const Node& n);
  bool take_elementwise(const Node& n);

  // ---- where and when (cell_layout.cc)

  void keep(const Place& p, Kept how_long) {
    Kept& kept = program_.kept[p.index];
    kept = std::max(kept, how_long);
  }
  CellProgram::Stage& stage(int i) {
    while (static_cast<int>(program_.stages.size()) <= i) program_.stages.emplace_back();
    return program_.stages[static_cast<size_t>(i)];
  }
  // The first stage at whose start the value can be read.
  int ready(Value v) const {
    const Known& k = known_.at(v);
    return k.stage + (k.computed ? 1 : 0);
  }
  Place new_buffer(int64_t width);
  Place filled(double number, int64_t width);
  // A value that a group computes is given a place as soon as something outside of the group wants
  // it.
  Place place_of(Value v);
  Place home_of(Value v);
  // An output of the step that somebody uses can be written where it belongs.
  std::optional<Place> y_place(Value v) const;
  void place_outputs();
  bool make_groups();
  void make_ends();
  void schedule_products();
  // A buffer that ends as a state is that state's own place from the beginning.
  void write_next_states();

  // ---- sums over time and rows (cell_sums.cc)

  bool is_outer_sum(Value v) const;
  bool is_sum(Value v) const;
  // A sum over rows, of a value or of outer products, which nothing in the step reads.
  bool is_only_summed(const Node& n) const;
  void count_use_in_sum(Value v);
  // How many terms a' b such a sum has, up to one more than a program takes: an `add` of itself
  // doubles them.
  size_t terms_of(Value v);
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
  void make_sums();
  void add_term(const Place& a, Value b, size_t sum);
  // Each row adds to its own sum, after the groups that compute what it adds.
  void make_sum_of_rows(size_t i, Value x);
  // Where rows of a value still lie some steps later.
  Place kept_rows(Value v);

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

}  // namespace rondo::cpu
