// Values of variables, shared between sessions, trainers and streams of one model, and versioned: a
// run pins a version, so that serving while training is safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
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
  /// The value of a variable in a kernel's layout, made by `pack` when it is asked for first and
  /// kept until a commit replaces the value. A value that is no longer that of the variable, or
  /// that may change under us, is not kept.
  std::shared_ptr<const std::byte> packed(
      const std::string& name, const Tensor& value, std::string_view layout, size_t bytes,
      const std::function<void(const std::byte* from, std::byte* to)>& pack);
  /// Counts commits.
  uint64_t version() const;

 private:
  struct Packed {
    const std::byte* of;
    std::string layout;
    std::shared_ptr<const std::byte> data;
  };

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<Packed>, std::less<>> packed_;  // by name
  std::shared_ptr<const Values> values_;
  uint64_t version_ = 0;
};

}  // namespace rondo
