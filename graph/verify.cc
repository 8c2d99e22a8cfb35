#include <rondo/graph/verify.h>

#include <algorithm>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {
namespace {

void check_body(const Subgraph& s, int depth);

/// One graph under inspection; every refusal names the node.
class Verifier {
 public:
  Verifier(const Graph& g, int depth) : g_(g), depth_(depth) {}

  void run() {
    if (depth_ > kDeepestBody) fail("depth", "bodies stand more than ", kDeepestBody, " deep");
    for (int32_t i = 0; i < g_.size(); ++i) check(i);
    for (const auto& [name, v] : g_.names()) {
      if (!exists(v))
        fail("name", "name \"", name, "\" belongs to ", str(v), ", which does not exist");
      if (!g_.type(v).present)
        fail("name", "name \"", name, "\" belongs to ", str(v), ", which is not computed");
    }
  }

  /// `v` is a result that exists.
  bool exists(Value v) const {
    return v.node >= 0 && v.node < g_.size() && v.slot >= 0 &&
           static_cast<size_t>(v.slot) < g_.node(v.node).outputs.size();
  }

  template <class... A>
  [[noreturn]] void fail(std::string_view rule, const A&... message) const {
    std::string where = "the graph";
    if (now_ >= 0) {
      const Node& n = g_.node(now_);
      where = cat("node %", now_, n.name.empty() ? "" : " " + quoted(n.name),
                  n.op == nullptr ? "" : " (" + n.op->name + ")");
    }
    throw Error(Fault::kInternal, cat("graph.verify.", rule),
                cat("internal error (please report it): ", where, ": ", message...));
  }

  static std::string str(Value v) { return cat('%', v.node, '.', v.slot); }

 private:
  void check(int32_t id) {
    now_ = id;
    const Node& n = g_.node(id);
    if (n.id != id) fail("id", "carries the id ", n.id);
    if (n.op == nullptr) fail("op", "has no op");
    const std::vector<ValueType> inputs = operands(n);
    check_name(n);
    check_attributes(n, inputs);
    if (n.body != nullptr) {
      try {
        check_body(*n.body, depth_ + 1);
      } catch (const Error& e) {
        throw Error(e.fault(), e.code(),
                    cat(e.what(), "\n  in the body of %", id, " (", n.op->name, ")"));
      }
    }
    check_types(n, inputs);
    now_ = -1;
  }

  std::vector<ValueType> operands(const Node& n) const {
    std::vector<ValueType> types;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Value v = n.inputs[i];
      types.push_back({f32, {}, false});
      if (!v) continue;
      if (v.node >= n.id)
        fail("operand", "operand ", i, " is ", str(v), ", which does not come before it");
      if (!exists(v)) fail("slot", "operand ", i, " is ", str(v), ", which does not exist");
      types.back() = g_.type(v);
      if (!types.back().present)
        fail("slot", "operand ", i, " is ", str(v), ", which is not computed");
    }
    return types;
  }

  void check_name(const Node& n) const {
    if (n.name.empty()) return;
    const auto it = g_.names().find(n.name);
    if (it == g_.names().end()) fail("name", "the graph does not know its name");
    if (it->second.node != n.id) fail("name", "its name belongs to ", str(it->second), " too");
  }

  void check_attributes(const Node& n, const std::vector<ValueType>& inputs) const {
    const InferContext c(*n.op, n.op->parsed, n.attributes, inputs, n.name, n.site, n.body.get());
    std::string why = "they are not as its definition completes them";
    try {
      if (complete_attributes(c, n.attributes) == n.attributes) return;
    } catch (const Error& e) {
      why = e.what();
    }
    fail("attributes", "attributes: ", why);
  }

  void check_types(const Node& n, const std::vector<ValueType>& inputs) const {
    std::vector<ValueType> want;
    bool undecided = false;
    try {
      want = infer_call(*n.op, n.attributes, inputs, n.name, n.site, n.body.get(), &undecided);
    } catch (const Error& e) {
      fail("type", "inference refuses it: ", e.what());
    }
    if (want.size() != n.outputs.size())
      fail("type", "has ", n.outputs.size(), " results, should have ", want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      if (!(want[i] == n.outputs[i])) {
        fail("type", "result ", i, " is ", n.outputs[i].str(), ", inference gives ", want[i].str());
      }
    }
    if (undecided && !n.check_at_bind)
      fail("type", "an open equality of dimensions was not marked for checking");
  }

  const Graph& g_;
  int depth_;
  int32_t now_ = -1;
};

void check_ends(const Subgraph& s, const Verifier& v) {
  std::set<int32_t> inputs;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    const Value in = s.inputs[i];
    const OpDef* op = v.exists(in) ? s.graph.node(in.node).op : nullptr;
    if (op != &placeholder_op() && op != &variable_op()) {
      v.fail("input", "input ", i, " is ", v.str(in), ", which is no placeholder or variable");
    }
    if (!inputs.insert(in.node).second) v.fail("input", "input ", i, " is given twice");
  }
  for (size_t i = 0; i < s.outputs.size(); ++i) {
    const Value out = s.outputs[i];
    if (!out) continue;
    if (!v.exists(out) || !s.graph.type(out).present) {
      v.fail("output", "output ", i, " is ", v.str(out), ", which does not exist");
    }
  }
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (n.op == &placeholder_op() && inputs.count(id) == 0) {
      v.fail("leaf", "the outputs need placeholder %", id, " ", quoted(n.name),
             ", which is no input");
    }
  }
}

void check_body(const Subgraph& s, int depth) {
  Verifier v(s.graph, depth);
  v.run();
  check_ends(s, v);
  // Only the outermost graph keeps values between runs.
  for (const int32_t id : live_nodes(s)) {
    if (s.graph.node(id).op == &variable_op()) {
      v.fail("leaf", "variable %", id, " stands in a body");
    }
  }
}

}  // namespace

void verify(const Graph& g) { Verifier(g, 0).run(); }

void verify(const Subgraph& s) {
  Verifier v(s.graph, 0);
  v.run();
  check_ends(s, v);
}

}  // namespace rondo
