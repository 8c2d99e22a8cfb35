// How builders take their operands: written once for `Var` (adds a node) and `Tensor` (runs now),
// with weak literals.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo {

/// What a builder works on: a node's result, or a tensor now.
template <class V>
concept Operable = std::same_as<V, Var> || std::same_as<V, Tensor>;

/// A V or a literal, which takes the dtype of the operand beside it. Remembers where in the user's
/// program it stood.
template <Operable V>
class Operand {
 public:
  Operand(V v, Site at = Site::here()) : value_(std::move(v)), at_(at) {}  // NOLINT
  Operand(std::floating_point auto literal, Site at = Site::here())
      : literal_(static_cast<double>(literal)), at_(at) {}  // NOLINT
  Operand(std::integral auto literal, Site at = Site::here())
      : literal_(static_cast<double>(literal)), at_(at) {}  // NOLINT

  /// The operand; a literal becomes a scalar of `like`'s dtype (in its graph).
  V beside(const Operand& like) const;
  Site site() const { return at_; }

 private:
  V value_;
  std::optional<double> literal_;
  Site at_;
};

/// The body of a recurrence while it is written, and the operands that it asked for on the way.
struct OpenBody {
  std::string symbol;  ///< of its rows
  Graph graph;
  Dim steps, rows;  ///< as the graph around it calls them
  /// A value of the graph around, and what stands for it in the body.
  struct Operand {
    Var outer, inner;
  };
  std::vector<Operand> per_step = {}, per_row = {};
};

/// While it lives, ops whose attributes name the body's rows belong in that body, also when all
/// their operands come from outside: broadcast_to(w, {x.dim(0), 4}).
class BodyScope {
 public:
  explicit BodyScope(OpenBody& body);
  ~BodyScope();
  BodyScope(const BodyScope&) = delete;
  BodyScope& operator=(const BodyScope&) = delete;
};

/// The body that this thread is writing, the innermost one; null outside of any.
OpenBody* open_body();

/// The shape of an operand, as far as it is known now.
inline Shape known_shape(const Var& v) { return v.shape(); }
inline Shape known_shape(const Tensor& t) { return to_shape(t.dims()); }

/// The graph around all bodies that `g` stands in: variables belong there.
Graph outermost(Graph g);

/// Applies an op by name: to Vars in their graph, to Tensors now. The one way from builders to
/// nodes.
Vars apply(std::string_view op, const Vars& inputs, Attributes attributes = {},
           CallOptions options = {});
std::vector<Tensor> apply(std::string_view op, const std::vector<Tensor>& inputs,
                          Attributes attributes = {}, CallOptions options = {});

}  // namespace rondo
