// Values of variables, shared between sessions, trainers and streams of one model, and versioned: a
// run pins a version, so that serving while training is safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo {

/// The values of a graph's variables, by name.
class VariableStore {
 public:
  /// By name.
  using Values = std::map<std::string, Tensor, std::less<>>;

  /// Starts with the initial value of each variable of the graph.
  explicit VariableStore(const Graph& graph);

  /// Adds variables that the graph got since, with their initial values.
  void extend(const Graph& graph);
  /// The values of now; later commits do not change them.
  std::shared_ptr<const Values> snapshot() const;
  Tensor value(std::string_view name) const;  ///< an Error lists what there is
  /// Replaces values in one step that cannot fail half-way. Errors: an unknown name, another dtype
  /// or shape.
  void commit(const Values& changes);
  /// Counts commits.
  uint64_t version() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Values> values_;
  uint64_t version_ = 0;
};

}  // namespace rondo
