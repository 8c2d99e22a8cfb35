// Derivatives of functions of tensors: the function is recorded on placeholders, differentiated,
// compiled and run.
//
// Each call records and compiles. What is differentiated many times belongs in a graph, with
// gradients() of autodiff and a Session.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <rondo/autodiff/derivatives.h>
#include <rondo/autodiff/gradients.h>
#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>
#include <rondo/runtime/compile.h>

namespace rondo {

/// A function of graph values, `const Vars&`, that gives a Var or Vars. It may be called once.
class GraphFunction {
 public:
  template <class F>
    requires std::invocable<F&, const Vars&>
  GraphFunction(F f) {  // NOLINT: a lambda is passed as it is
    if constexpr (std::convertible_to<std::invoke_result_t<F&, const Vars&>, Vars>) {
      f_ = std::move(f);
    } else {
      f_ = [f = std::move(f)](const Vars& v) mutable { return Vars{f(v)}; };
    }
  }
  Vars operator()(const Vars& v) const { return f_(v); }

 private:
  std::function<Vars(const Vars&)> f_;
};

/// f's value and its gradients by each input; null for inputs that are no floats.
struct ValueAndGradients {
  Tensor value;
  List<Tensor> gradients;
};

/// f(inputs), a float scalar, and its gradients. Errors: as gradients of a graph.
ValueAndGradients value_and_gradients(const GraphFunction& f, const std::vector<Tensor>& inputs,
                                      const CompileOptions& options = {});

/// The gradients alone.
List<Tensor> gradients(const GraphFunction& f, const std::vector<Tensor>& inputs,
                       const CompileOptions& options = {});

/// f's values, and the way back from cotangents of them to gradients of the inputs.
struct Pullback {
  List<Tensor> values;
  /// sum over k of cotangents[k] . d values[k] / d inputs[i] for each input, zeros where nothing
  /// flows, null for inputs that are no floats. A null cotangent is zero. Errors:
  /// `vjp.cotangents.*`.
  std::function<List<Tensor>(const std::vector<Tensor>& cotangents)> pull;
};
/// auto [y, pull] = vjp(f, {x, w}); auto d = pull({dy}). Compiled once for all calls of pull.
Pullback vjp(const GraphFunction& f, const std::vector<Tensor>& inputs,
             const CompileOptions& options = {});

/// What jvp gives on tensors.
struct ValuesAndTangents {
  List<Tensor> values, tangents;
};
/// f's values, and sum over i of d values[k] / d inputs[i] . tangents[i] for each: zeros where
/// nothing flows, null for values that are no floats. A null tangent is zero. Errors:
/// `jvp.tangents.*`.
ValuesAndTangents jvp(const GraphFunction& f, const std::vector<Tensor>& inputs,
                      const std::vector<Tensor>& tangents, const CompileOptions& options = {});

/// sum over j of d^2 f / (d inputs[i] d inputs[j]) . directions[j] for each input, in its shape and
/// dtype, f(inputs) a float scalar: zeros where there is none, null for inputs that are no floats.
/// A null direction is zero. Errors: `hvp.f.count`, `hvp.directions.*`, and those of gradients.
/// Source: Pearlmutter (1994), as hvp of a graph.
List<Tensor> hvp(const GraphFunction& f, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& directions, const CompileOptions& options = {});

/// d f / d inputs[i] for each input, of shape f's dimensions followed by the input's; null for
/// inputs that are no floats. f gives one float of at most kLargestJacobian elements. Errors:
/// `jacobian.f.count`, and those of jacobian of a graph.
List<Tensor> jacobian(const GraphFunction& f, const std::vector<Tensor>& inputs,
                      const CompileOptions& options = {});

}  // namespace rondo
