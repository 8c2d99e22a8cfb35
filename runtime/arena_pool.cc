#include <rondo/runtime/arena_pool.h>

#include <algorithm>
#include <new>

#include <rondo/graph/tensor.h>

namespace rondo {
namespace {

constexpr size_t kPeriod =
    64;  // runs after which a large one is forgotten, at the latest twice that

}  // namespace

size_t ArenaPool::idle_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t n = 0;
  for (const Arena& a : idle_) n += a.bytes;
  return n;
}

ArenaPool::Arena ArenaPool::take(size_t bytes) {
  Arena old;  // freed outside of the lock, before the new one is made
  {
    const std::lock_guard lock(mutex_);
    if (++runs_ % kPeriod == 0) largest_before_ = std::exchange(largest_, 0);
    largest_ = std::max(largest_, bytes);
    const auto by_size = [](const Arena& a, const Arena& b) { return a.bytes < b.bytes; };
    const auto it = std::max_element(idle_.begin(), idle_.end(), by_size);
    if (it != idle_.end()) {
      std::swap(*it, idle_.back());
      old = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (old.bytes >= bytes && old.memory != nullptr) return old;
  old = {};
  return {allocate_aligned(bytes), bytes};
}

void ArenaPool::give_back(Arena a) noexcept {
  const std::lock_guard lock(mutex_);
  if (a.bytes / 2 > std::max(largest_, largest_before_)) return;
  try {
    idle_.push_back(std::move(a));
  } catch (const std::bad_alloc&) {  // then it is not kept
  }
}

}  // namespace rondo
