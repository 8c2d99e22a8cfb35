#include <rondo/runtime/arena_pool.h>

#include <algorithm>

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
    idle_.reserve(idle_.size() + ++leased_);  // so that giving back cannot fail
    if (++runs_ % kPeriod == 0) largest_before_ = std::exchange(largest_, 0);
    largest_ = std::max(largest_, bytes);
    // The smallest that fits, else the largest.
    const auto worse = [&](const Arena& a, const Arena& b) {
      const bool a_fits = a.bytes >= bytes, b_fits = b.bytes >= bytes;
      return a_fits != b_fits ? b_fits : a_fits ? a.bytes > b.bytes : a.bytes < b.bytes;
    };
    const auto it = std::max_element(idle_.begin(), idle_.end(), worse);
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
  --leased_;
  const auto far_too_large = [limit = 2 * std::max(largest_, largest_before_)](const Arena& x) {
    return x.bytes > limit;
  };
  std::erase_if(idle_, far_too_large);
  if (far_too_large(a)) return;
  idle_.push_back(std::move(a));
}

}  // namespace rondo
