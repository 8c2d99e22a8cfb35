#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

class Sinker {
 public:
  Sinker(const Node& n, Parts& parts)
      : symbol_(n.attributes.text("row_symbol")), parts_(parts), layout_(n) {
    for (size_t i = parts.first_shared(); i < parts.body.inputs.size(); ++i)
      shared_[parts.body.inputs[i]] = parts.shared[i - parts.first_shared()];
  }

  // What an old result is made of after the loop: built once the new recurrence's results are
  // there.
  using Build = std::function<Var(const Vars& results)>;

  // Moves what it can; false when nothing moves.
  bool run() {
    const Subgraph old = parts_.body;
    program_ = layout_.states > 0 && is_program(old) && !is_half(body().type(old.inputs[0]).dtype);
    std::vector<std::optional<Build>> ys(layout_.ys), sums(layout_.sums);
    bool any = false;
    for (size_t i = 0; i < layout_.ys; ++i) {
      const Value v = old.outputs[layout_.states + i];
      if (v && !program_ && body().node(v.node).op->name == "matmul") ys[i] = after_y(v);
      any = any || ys[i].has_value();
    }
    for (size_t i = 0; i < layout_.sums; ++i) {
      const Value v = old.outputs[layout_.states + layout_.ys + i];
      if (v && !is_added_up(v) && can_sink(v)) sums[i] = after_sum(v);
      any = any || sums[i].has_value();
    }
    if (!any) return false;
    // New outputs: states, the old ys that stay (null where they moved), the new ys, the old sums
    // that stay, the new sums.
    std::vector<Value> outputs(old.outputs.begin(),
                               old.outputs.begin() + static_cast<std::ptrdiff_t>(layout_.states));
    for (size_t i = 0; i < layout_.ys; ++i)
      outputs.push_back(ys[i] ? Value{} : old.outputs[layout_.states + i]);
    outputs.insert(outputs.end(), lifted_.begin(), lifted_.end());
    for (size_t i = 0; i < layout_.sums; ++i)
      outputs.push_back(sums[i] ? Value{} : old.outputs[layout_.states + layout_.ys + i]);
    outputs.insert(outputs.end(), added_up_.begin(), added_up_.end());
    parts_.body.outputs = outputs;
    parts_.ys = layout_.ys + lifted_.size();
    ys_ = std::move(ys);
    sums_ = std::move(sums);
    return true;
  }

  // How many results of the loop are computed after it now.
  int moved() const {
    const auto set = [](const std::optional<Build>& b) { return b.has_value(); };
    return static_cast<int>(std::count_if(ys_.begin(), ys_.end(), set) +
                            std::count_if(sums_.begin(), sums_.end(), set));
  }

  // The old node's results from those of the new one.
  Vars results(const Vars& now) const {
    Vars r(layout_.outputs());
    const size_t extra = lifted_.size();
    for (size_t i = 0; i < layout_.ys; ++i) r[i] = ys_[i] ? (*ys_[i])(now) : now[i];
    for (size_t i = 0; i < layout_.states; ++i)
      r[layout_.final_of(i)] = now[layout_.final_of(i) + extra];
    for (size_t i = 0; i < layout_.sums; ++i)
      r[layout_.sum_of(i)] = sums_[i] ? (*sums_[i])(now) : now[layout_.sum_of(i) + extra];
    for (size_t i = 0; i < layout_.states; ++i)
      r[layout_.trajectory_of(i)] = now[layout_.trajectory_of(i) + extra + added_up_.size()];
    return r;
  }

 private:
  const Graph& body() const { return parts_.body.graph; }
  bool per_row(Value v) const {
    const Shape& s = body().type(v).shape;
    return !s.empty() && s[0] == Dim::symbol(symbol_);
  }

  // A program adds up itself what it has at hand.
  bool is_added_up(Value v) const {
    return program_ && (is_sum_of_rows(body(), v) || is_outer_sum(body(), v, symbol_));
  }
  // As a sum of the new recurrence.
  Build add_up(Value v) {
    auto at = std::find(added_up_.begin(), added_up_.end(), v);
    if (at == added_up_.end()) at = added_up_.insert(added_up_.end(), v);
    const size_t index = layout_.sums + static_cast<size_t>(at - added_up_.begin());
    return [this, index](const Vars& results) {
      return results[layout_.sum_of(index) + lifted_.size()];
    };
  }

  // The value over all steps, as one of the new recurrence's results: padding is 0 there.
  Build lift(Value v) {
    auto at = std::find(lifted_.begin(), lifted_.end(), v);
    if (at == lifted_.end()) at = lifted_.insert(lifted_.end(), v);
    const size_t index = layout_.ys + static_cast<size_t>(at - lifted_.begin());
    return [index](const Vars& results) { return results[index]; };
  }

  // The same where padding is not read: an input over time as it is.
  Build in_product(Value v) {
    for (size_t i = 0; i < parts_.xs.size(); ++i) {
      if (parts_.body.inputs[parts_.first_x() + i] == v)
        return [x = parts_.xs[i]](const Vars&) { return x; };
    }
    return lift(v);
  }

  std::optional<Build> after_y(Value v) {
    const Node& n = body().node(v.node);
    const auto w = shared_.find(n.inputs[1]);
    if (n.attributes.flag("transpose_a") || w == shared_.end() || !per_row(n.inputs[0]) ||
        body().type(n.inputs[0]).shape.size() != 2)
      return std::nullopt;
    return [this, u = lift(n.inputs[0]), w = w->second,
            tb = n.attributes.flag("transpose_b")](const Vars& r) {
      return in_windows(matmul(u(r), w, {.transpose_b = tb}), parts_.begin, parts_.end);
    };
  }

  // Linear ops that commute with a sum over time, when each of their operands can be summed after
  // the loop.
  bool is_linear(const Node& n) const {
    static const std::set<std::string> kLinear{"add",     "sub",       "neg",   "concat",
                                               "reshape", "transpose", "slice", "pad"};
    if (kLinear.count(n.op->name) == 0) return false;
    for (const auto& [name, value] : n.attributes.items()) {
      if (const auto* s = value.get<Shape>(); s != nullptr && has_symbol(*s, symbol_)) return false;
    }
    return true;
  }
  bool sums_rows(const Node& n) const {
    if (n.op->name == "matmul") {
      return n.attributes.flag("transpose_a") && !n.attributes.flag("transpose_b") &&
             per_row(n.inputs[0]) && per_row(n.inputs[1]) &&
             body().type(n.inputs[0]).shape.size() == 2 &&
             body().type(n.inputs[1]).shape.size() == 2;
    }
    if (n.op->name != "sum" || !per_row(n.inputs[0]) || n.attributes.flag("keep_dims"))
      return false;
    const auto& axes = n.attributes.integers("axes");
    return axes.empty() || std::find(axes.begin(), axes.end(), 0) != axes.end();
  }
  // Both remember their answers: a value that is used twice must not be walked twice.
  bool can_sink(Value v) {
    if (const auto it = can_sink_.find(v); it != can_sink_.end()) return it->second;
    const Node& n = body().node(v.node);
    bool can = sums_rows(n);
    if (!can && is_linear(n))
      can = std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value i) { return can_sink(i); });
    return can_sink_[v] = can;
  }
  Build after_sum(Value v) {
    if (const auto it = after_sum_.find(v); it != after_sum_.end()) return it->second;
    return after_sum_[v] = [build = build_after_sum(v),
                            made = std::make_shared<Var>()](const Vars& r) {
      if (!*made) *made = build(r);
      return *made;
    };
  }
  Build build_after_sum(Value v) {
    if (is_added_up(v)) return add_up(v);
    const Node& n = body().node(v.node);
    if (n.op->name == "matmul") {
      return [this, a = in_product(n.inputs[0]), b = in_product(n.inputs[1])](const Vars& r) {
        return product_over_time(a(r), b(r), parts_.begin, parts_.end);
      };
    }
    if (n.op->name == "sum") {
      std::vector<int64_t> axes;
      const size_t rank = body().type(n.inputs[0]).shape.size();
      for (const int64_t a : n.attributes.integers("axes"))
        axes.push_back(static_cast<int64_t>(axis_index(a, rank)) + 1);
      if (!axes.empty()) axes.push_back(0);
      return [x = lift(n.inputs[0]), axes](const Vars& r) { return sum(x(r), {.axes = axes}); };
    }
    std::vector<Build> in;
    for (const Value i : n.inputs) in.push_back(after_sum(i));
    return [in, op = n.op, a = n.attributes](const Vars& r) {
      Vars operands;
      for (const Build& b : in) operands.push_back(b(r));
      return graph_of(operands, op->name).call(*op, operands, a)[0];
    };
  }

  std::string symbol_;
  Parts& parts_;
  RecurrenceLayout layout_;
  bool program_ = false;  // whether the engine can run the steps
  std::map<Value, Var> shared_;
  std::map<Value, bool> can_sink_;
  std::map<Value, Build> after_sum_;
  std::vector<Value> lifted_, added_up_;
  std::vector<std::optional<Build>> ys_, sums_;
};

}  // namespace

Subgraph sink(const Subgraph& s, RewriteLog* log) {
  BodyPass bodies([log](const Subgraph& b) { return sink(b, log); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.body == nullptr) return {};
    const auto body = bodies(n.body);
    if (!is_recurrence(n)) return r.copy(n, r.inputs(n), body);
    Parts parts(n, r.inputs(n), *body);
    Sinker k(n, parts);
    if (!k.run()) return r.copy(n, r.inputs(n), body);
    if (log != nullptr) log->note("sum or product", k.moved());
    return k.results(parts.make(r.graph(), n));
  });
}

}  // namespace rondo
