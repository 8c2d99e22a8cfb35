#include <rondo/autodiff/gradients.h>

#include <algorithm>
#include <map>

#include <rondo/autodiff/rolled.h>
#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// A sum of cotangents of one value. What slices of it send back is zeros around a piece each: the
// pieces are joined, for T sums of the whole would cost T times the whole.
class Total {
 public:
  void add(const Var& d) {
    if (!take_piece(d)) rest_ = rest_ ? rest_ + d : d;
  }

  Var var(const ValueType& type) const {
    if (pieces_.empty()) return rest_;
    const auto axis = static_cast<int64_t>(axis_);
    const Dim& whole = type.shape[axis_];
    Vars parts;
    const auto zeros = [&](const Dim& width) {
      Shape s = type.shape;
      s[axis_] = width;
      parts.push_back(fill(pieces_.begin()->second.graph(), type.dtype, s, 0));
    };
    int64_t at = 0;
    for (const auto& [begin, piece] : pieces_) {
      if (begin > at) zeros(begin - at);
      parts.push_back(piece);
      at = end_of(begin, piece);
    }
    if (whole != Dim(at)) zeros(whole - at);
    const auto& [begin, only] = *pieces_.begin();
    const Var joined = pieces_.size() > 1 ? concat(parts, axis)
                                          : pad(only, axis, begin, whole - end_of(begin, only));
    return rest_ ? rest_ + joined : joined;
  }

 private:
  int64_t end_of(int64_t begin, const Var& piece) const {
    return begin + piece.shape()[axis_].constant();
  }
  bool take_piece(const Var& d) {
    const Node& n = d.node();
    if (n.op->name != "pad") return false;
    const size_t axis = axis_index(n.attributes.integer("axis"), d.rank());
    const Dim& before = n.attributes.shape("amounts")[0];
    const Var piece = d.graph().var(n.inputs[0]);
    if (!before.is_constant() || !piece.shape()[axis].is_constant()) return false;
    if (pieces_.empty()) axis_ = axis;
    if (axis != axis_) return false;
    const int64_t begin = before.constant(), end = end_of(begin, piece);
    const auto next = pieces_.lower_bound(begin);
    if (next != pieces_.end() && next->first == begin && end_of(begin, next->second) == end) {
      next->second = next->second + piece;
      return true;
    }
    if (next != pieces_.end() && next->first < end) return false;
    if (next != pieces_.begin()) {
      const auto& [begins, before_it] = *std::prev(next);
      if (end_of(begins, before_it) > begin) return false;
    }
    pieces_.emplace_hint(next, begin, piece);
    return true;
  }

  Var rest_;
  size_t axis_ = 0;
  std::map<int64_t, Var> pieces_;  // by where they begin along the axis
};

class Backward final : public GradContext {
 public:
  explicit Backward(Graph g) : graph_(std::move(g)) {}

  Vars run(const Vars& outputs, const Vars& cotangents, const Vars& wrt) {
    const int32_t end = graph_.size();
    for (const Var& w : wrt) {
      depends_.resize(static_cast<size_t>(end));
      depends_[static_cast<size_t>(w.value().node)] = true;
    }
    find_dependents(0, end);
    for (size_t k = 0; k < outputs.size(); ++k) {
      if (cotangents[k] && depends(outputs[k].value()))
        accumulate(outputs[k].value(), cotangents[k]);
    }
    // A value whose gradient is asked for keeps it when its own node is passed.
    for (const Var& w : wrt) wanted_.emplace(w.value(), Var());
    back(0, end);
    Vars r;
    for (const Var& w : wrt) r.push_back(wanted_.at(w.value()));
    return r;
  }

  Subgraph vjp_of(const Subgraph& s, const std::vector<bool>& with_cotangent,
                  const std::vector<int>& wrt) override {
    Graph b;
    const auto stand_in = [&](const ValueType& t) {
      return b.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
    };
    Subgraph r{b, {}, {}};
    Vars inputs, outputs, cotangents, targets;
    for (const Value v : s.inputs) {
      inputs.push_back(stand_in(s.graph.type(v)));
      r.inputs.push_back(inputs.back().value());
    }
    const Vars made = inline_subgraph(s, b, inputs);
    for (size_t i = 0; i < made.size(); ++i) {
      if (!with_cotangent[i]) continue;
      outputs.push_back(made[i]);
      cotangents.push_back(stand_in(s.graph.type(s.outputs[i])));
      r.inputs.push_back(cotangents.back().value());
    }
    for (const int i : wrt) targets.push_back(inputs[static_cast<size_t>(i)]);
    for (const Var& d : Backward(b).run(outputs, cotangents, targets))
      r.outputs.push_back(d ? d.value() : Value{});
    return r;
  }

  bool wants(size_t i) const override {
    const Value v = node_->inputs[i];
    return v && depends(v) && is_float(graph_.type(v).dtype);
  }

 private:
  bool depends(Value v) const {
    return static_cast<size_t>(v.node) < depends_.size() && depends_[static_cast<size_t>(v.node)];
  }

  // Marks the nodes of [begin, end) that something of `wrt` reaches.
  void find_dependents(int32_t begin, int32_t end) {
    depends_.resize(std::max(depends_.size(), static_cast<size_t>(end)));
    for (int32_t i = begin; i < end; ++i) {
      const Node& n = graph_.node(i);
      if (n.op->no_gradient) continue;
      for (const Value v : n.inputs) {
        if (v && depends(v)) depends_[static_cast<size_t>(i)] = true;
      }
    }
  }

  void accumulate(Value v, const Var& d) { cotangent_[v].add(d); }

  // Passes cotangents back through the nodes of [begin, end), last one first.
  void back(int32_t begin, int32_t end) {
    for (int32_t i = end - 1; i >= begin; --i) {
      const Node& n = graph_.node(i);
      Vars g(n.outputs.size());
      bool any = false;
      for (size_t k = 0; k < g.size(); ++k) {
        const Value v{i, static_cast<int32_t>(k)};
        const auto it = cotangent_.find(v);
        if (it == cotangent_.end()) continue;
        g[k] = it->second.var(graph_.type(v));
        any = true;
        const auto w = wanted_.find(v);
        if (w != wanted_.end()) w->second = g[k];
        cotangent_.erase(it);
      }
      if (any) node_back(n, g);
    }
  }

  void node_back(const Node& n, const Vars& g) {
    const bool any = std::any_of(n.inputs.begin(), n.inputs.end(), [&](Value v) {
      return v && depends(v) && is_float(graph_.type(v).dtype);
    });
    if (!any) return;
    const Call c = call_of(graph_, n);
    const SiteScope site(n.site);
    if (n.op->vjp) {
      refuse_if_asked(n);
      node_ = &n;
      const Vars d = vjp_call(n, c, g, *this);
      for (size_t i = 0; i < d.size(); ++i) {
        const Value v = n.inputs[i];
        if (!d[i] || !v || !depends(v)) continue;
        accumulate(v, fitted(d[i], graph_.type(v)));
      }
      return;
    }
    if (!n.op->lower) {
      fail(Fault::kUnsupported, n.op->name + ".gradient.missing", "[", n.op->name,
           "] has no gradient", built_at(n.site));
    }
    refuse_if_asked(n);
    const int32_t begin = graph_.size();
    const Vars lowered = lower_call(n, c);
    const int32_t end = graph_.size();
    find_dependents(begin, end);
    for (size_t k = 0; k < g.size(); ++k) {
      if (g[k] && depends(lowered[k].value())) accumulate(lowered[k].value(), g[k]);
    }
    back(begin, end);
  }

  // The gradient in its operand's own shape: where the two could not be told apart yet (B against
  // 5), they are compared once symbols are bound.
  static Var fitted(const Var& d, const ValueType& type) {
    return d.shape() == type.shape ? d : reshape(d, type.shape);
  }

  void refuse_if_asked(const Node& n) const {
    const Signature s = n.op->signature(n.attributes);
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Value v = n.inputs[i];
      const Slot& slot = s.slot_of(i);
      if (!v || slot.differentiable || !depends(v) || !is_float(graph_.type(v).dtype)) continue;
      fail(Fault::kUnsupported, cat(n.op->name, ".", slot.name, ".gradient"), "[", n.op->name,
           "] gives no gradient to ", slot.name,
           "; pass it through stop_gradient if none is meant\n  signature: ", s.text,
           built_at(n.site));
    }
  }

  Graph graph_;
  std::vector<bool> depends_;
  std::map<Value, Total> cotangent_;
  std::map<Value, Var> wanted_;
  const Node* node_ = nullptr;
};

}  // namespace

Vars vjp(const Vars& outputs, const Vars& cotangents, const Vars& wrt, Site at) {
  if (outputs.size() != cotangents.size()) {
    fail(Fault::kArgument, "vjp.cotangents.count", "[vjp] got ", outputs.size(), " outputs and ",
         cotangents.size(), " cotangents", built_at(at));
  }
  Vars all = outputs;
  all.insert(all.end(), wrt.begin(), wrt.end());
  for (const Var& v : all) {
    if (!v)
      fail(Fault::kArgument, "vjp.values.empty",
           "[vjp] an output or a value to differentiate by is an empty Var", built_at(at));
  }
  if (all.empty()) return {};
  Graph g = graph_of(all, "vjp");
  Vars own_outputs, own_wrt;
  for (const Var& v : outputs) own_outputs.push_back(g.adopt(v, "vjp"));
  for (const Var& v : wrt) own_wrt.push_back(g.adopt(v, "vjp"));
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (cotangents[k] && cotangents[k].type() != outputs[k].type()) {
      fail(Fault::kArgument, "vjp.cotangents.type", "[vjp] cotangent ", k, " is ",
           cotangents[k].type().str(), ", its output ", outputs[k].type().str(), built_at(at));
    }
  }
  refuse_rolled(g, own_wrt, own_outputs);
  if (!g.has_parent()) roll_between(g, &own_wrt, &own_outputs);
  return Backward(g).run(own_outputs, cotangents, own_wrt);
}

Vars gradients(const Var& loss, const Vars& wrt, Site at) {
  if (!loss)
    fail(Fault::kArgument, "gradients.loss.empty",
         "[gradients] the loss is an empty Var: ", loss.why_empty(), built_at(at));
  if (!is_float(loss.dtype())) {
    fail(Fault::kArgument, "gradients.loss.dtype", "[gradients] the loss must be a float, got ",
         loss.type().str(), "; convert it with cast", built_at(at));
  }
  if (loss.rank() != 0) {
    const Site made = loss.node().site;
    fail(Fault::kArgument, "gradients.loss.rank", "[gradients] the loss ", loss.name(), " is ",
         loss.type().str(), ", but must be a float scalar []; write mean(loss), or sum(loss)",
         made.file == nullptr ? "" : cat("\n  the loss is made at ", made.file, ":", made.line),
         built_at(at));
  }
  Vars d = vjp({loss}, {fill_like(loss, 1)}, wrt, at);
  for (size_t i = 0; i < wrt.size(); ++i) {
    if (!d[i]) d[i] = fill_like(wrt[i], 0);
  }
  return d;
}

}  // namespace rondo
