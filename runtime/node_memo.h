// What is made of a plan's node once for all bindings of its plan, and lives as long as the plan: a
// step whose shapes are numbers, ready to run, and what kernels make of a node whatever its sizes.
#pragma once

#include <memory>
#include <mutex>
#include <typeindex>
#include <utility>
#include <vector>

namespace rondo {

/// Things by their type, one of each.
class NodeMemo {
 public:
  /// The node's T: the shared_ptr that `make()` gives, where nobody has made one. Threads that come
  /// at the same time may each make one, and are all given the first. What `make` throws goes
  /// through.
  template <class T, class F>
  std::shared_ptr<const T> get(const F& make) {
    const std::type_index key(typeid(T));
    Thing thing = find(key);
    if (thing == nullptr) thing = keep(key, make());
    return std::static_pointer_cast<const T>(std::move(thing));
  }

 private:
  using Thing = std::shared_ptr<const void>;

  Thing find(std::type_index key) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [k, thing] : things_) {
      if (k == key) return thing;
    }
    return nullptr;
  }
  Thing keep(std::type_index key, Thing made) {
    const std::lock_guard lock(mutex_);
    for (const auto& [k, thing] : things_) {
      if (k == key) return thing;
    }
    return things_.emplace_back(key, std::move(made)).second;
  }

  mutable std::mutex mutex_;
  std::vector<std::pair<std::type_index, Thing>> things_;
};

}  // namespace rondo
