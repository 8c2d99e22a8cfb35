// A few ops for the tests of `graph`, which must not need the real ones.
#pragma once

#include <string_view>

#include "error_code.h"

#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>

namespace rondo::test {

inline std::vector<ValueType> infer_scalars_broadcast(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  r[0].shape = c[0].shape.empty() ? c[1].shape : c[0].shape;
  if (!c[0].shape.empty() && !c[1].shape.empty() && c[0].shape != c[1].shape) {
    c.refuse("b", "shape", "b has shape ", to_string(c[1].shape), ", but a has ",
             to_string(c[0].shape));
  }
  return r;
}

inline std::vector<ValueType> infer_transpose(const InferContext& c) {
  ValueType t = c[0];
  const auto& p = c.attributes().integers("permutation");
  if (p.size() != t.shape.size())
    c.refuse("permutation", "rank", "permutation does not fit ", to_string(t.shape));
  for (size_t i = 0; i < p.size(); ++i) t.shape[i] = c[0].shape.at(static_cast<size_t>(p[i]));
  return {t};
}

inline const OpRegistry& ops() {
  static const OpRegistry* registry = [] {
    auto* r = new OpRegistry;
    for (const char* name : {"neg", "tanh"}) {
      r->add({.name = name, .sig = "x[...] -> y[...]", .doc = "elementwise"});
    }
    for (const char* name : {"add", "sub", "mul"}) {
      r->add({.name = name,
              .sig = "a[...]:same, b[...]:same -> y[...]:same",
              .doc = "elementwise, scalars broadcast",
              .infer = infer_scalars_broadcast});
    }
    r->add({.name = "transpose",
            .sig = "x[...] -> y[...]",
            .doc = "axes in another order",
            .attributes = {{"permutation", std::vector<int64_t>{}, "order"}},
            .infer = infer_transpose});
    r->add({.name = "linear",
            .sig = "x[B,I], w[I,O], b[O]? -> y[B,O]",
            .doc = "x w + b",
            .attributes = {{"scale", 1.0, "factor", {}, 0.0, 10.0},
                           {"mode", "fast", "how", {"fast", "exact"}},
                           {"steps", 3, "how often"}}});
    r->add({.name = "lstm_layer",
            .sig = "x[T,B,I], y_last[B,H]?, input_weights[I,4*H], recurrent_weights[H,4*H] -> "
                   "y[T,B,H], last[B,H]?",
            .doc = "Shapes of an LSTM.",
            .attributes = {{"ret_last", false, "whether last is computed"},
                           {"ret_full", true, "whether y is"}},
            .infer = [](const InferContext& c) {
              std::vector<ValueType> r = infer_by_signature(c, true);
              r[0].present = c.attributes().flag("ret_full");
              r[1].present = c.attributes().flag("ret_last");
              return r;
            }});
    r->add(
        {.name = "concat", .sig = "xs[...]:same* -> y[...]:same", .doc = "as long as the first"});
    r->add({.name = "random",
            .sig = "x[...] -> y[...]",
            .doc = "noise",
            .attributes = {{"stream", 0, "which numbers"}},
            .opaque = true});
    r->add({.name = "clock", .sig = "x[...] -> y[...]", .doc = "reads state", .opaque = true});
    r->add({.name = "loop",
            .sig = "operands[...]:any?* -> results[...]:any*",
            .doc = "A body, run once.",
            .infer = [](const InferContext& c) {
              std::vector<ValueType> r;
              for (const Value v : c.body()->outputs)
                r.push_back(v ? c.body()->graph.type(v) : ValueType{f32, {}, false});
              return r;
            }});
    return r;
  }();
  return *registry;
}

/// The first result of an op on Vars.
inline Var make(std::string_view op, const Vars& inputs, Attributes attributes = {},
                CallOptions options = {}) {
  return graph_of(inputs, op)
      .call(ops().at(op), inputs, std::move(attributes), std::move(options))[0];
}
inline Vars make_all(std::string_view op, const Vars& inputs, Attributes attributes = {},
                     CallOptions options = {}) {
  return graph_of(inputs, op).call(ops().at(op), inputs, std::move(attributes), std::move(options));
}
inline Var transposed(const Var& x, std::vector<int64_t> permutation) {
  return make("transpose", {x}, {{"permutation", std::move(permutation)}});
}
inline Var scalar(Graph g, double value) { return g.constant(Tensor::scalar(f32, value)); }

/// A compile unit: all placeholders of the outputs' graph, and these outputs.
inline Subgraph unit(const Vars& outputs) {
  Subgraph s{outputs.at(0).graph(), {}, {}};
  for (const Var& p : s.graph.placeholders()) s.inputs.push_back(p.value());
  for (const Var& v : outputs) s.outputs.push_back(v.value());
  return s;
}

}  // namespace rondo::test
