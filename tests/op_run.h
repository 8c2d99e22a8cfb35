// One call of an op in a session, with its gradients: what tests of options compare between
// backends, forms and inputs.
#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/runtime/plan.h>

namespace rondo::test {

/// The floats of a call in another dtype.
inline std::vector<Tensor> in_dtype(const std::vector<Tensor>& list, DType t) {
  std::vector<Tensor> r;
  for (const Tensor& v : list) r.push_back(v && is_float(v.dtype()) ? v.to(t) : v);
  return r;
}

/// Results that are there, then gradients by every operand that takes one. Cotangents are drawn
/// where none are given.
inline std::vector<Tensor> results_and_gradients(const OpDef& op, const Attributes& attributes,
                                                 const std::vector<Tensor>& inputs,
                                                 const CompileOptions& options,
                                                 const std::vector<Tensor>* cotangents = nullptr,
                                                 const RunOptions& run = {}) {
  const OpGraph g = graph_of(op, attributes, inputs);
  Vars fetches = g.present(), weights;
  const Vars by = float_operands(op, g).with_gradient;
  for (size_t i = 0; i < fetches.size(); ++i) {
    const Dims dims = bind(fetches[i].shape(), {});
    weights.push_back(Graph(g.graph).constant(
        cotangents != nullptr ? (*cotangents)[i] : draw(dims, fetches[i].dtype(), -1, 1, 50 + i)));
  }
  const Vars d = vjp(fetches, weights, by);
  for (size_t i = 0; i < d.size(); ++i) fetches.push_back(d[i] ? d[i] : fill_like(by[i], 0));
  return Session(g.graph, options, one_thread()).run(fetches, g.feeds, run);
}

/// The largest difference, relative to the largest value of the tensor.
inline double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims() == b.dims());
  double most = 0, largest = 1;
  for (int64_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::isnan(a.at(i) - b.at(i)) ? HUGE_VAL : std::abs(a.at(i) - b.at(i)));
    largest = std::max(largest, std::abs(b.at(i)));
  }
  return most / largest;
}

/// How many nodes of a plan are calls of an op.
inline size_t count_of(const Plan& plan, std::string_view op) {
  size_t n = 0;
  for (int32_t i = 0; i < plan.unit().graph.size(); ++i)
    n += plan.unit().graph.node(i).op->name == op ? 1 : 0;
  return n;
}

}  // namespace rondo::test
