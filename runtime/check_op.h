// Proof of an op that is registered, built in or a program's own: what the library's suite asks of
// each of its ops.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/graph/tensor.h>
#include <rondo/runtime/check_gradients.h>

namespace rondo {

/// What was compared, and what is wrong; no problem: the op is right as far as its samples show.
struct OpReport {
  std::string op;
  size_t samples = 0;
  GradientReport gradients = {};  ///< elements of first and second order
  size_t eager = 0;               ///< results on tensors that have the bits of those in a graph
  size_t kernels = 0;   ///< results of each backend, optimized, that agree with the reference's
  size_t files = 0;     ///< samples that were saved, loaded and run again
  size_t refusals = 0;  ///< calls that the definition refuses, in both forms
  std::vector<std::string> problems = {};

  std::string str() const;  ///< a line of counts, then a line for each problem
};

/// Runs the op on each of its samples, in f64 and f32: gradients of first and second order against
/// central differences, tensors against graph, each backend against the reference, saved against
/// loaded; and makes each call that it says it refuses (OpDef::refuses). An op without a sample, or
/// with a gradient that no sample shows, has a problem.
OpReport check_op(const OpDef& op);

}  // namespace rondo

/// Calls of an op as its samples describe them.
namespace rondo::check {

/// Numbers even in [low, high); whole ones in [low, high] for other dtypes than floats. The same
/// for the same seed.
Tensor draw(const Dims& dims, DType dtype, double low, double high, uint64_t seed);

/// The operands of a sample, one for each, null = absent. Values that are given repeat when the
/// shape has more.
std::vector<Tensor> draw(const Sample& s, DType float_type, uint64_t seed = 1);

/// An op on placeholders like `values`.
struct OpGraph {
  Graph graph;
  Vars inputs, outputs;  ///< null where absent or not asked for
  std::vector<std::pair<Var, Tensor>> feeds;

  Vars present() const {
    Vars r;
    std::copy_if(outputs.begin(), outputs.end(), std::back_inserter(r),
                 [](const Var& v) { return static_cast<bool>(v); });
    return r;
  }
};

/// The call on placeholders, which the values feed.
OpGraph graph_of(const OpDef& op, const Attributes& attributes, const std::vector<Tensor>& values);

}  // namespace rondo::check
