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

struct ResultPool::State {
  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };

  std::mutex mutex;
  std::deque<Block> idle;  // the oldest first
  size_t idle_bytes = 0, limit = 0;

  // The oldest that are too many, to be freed outside of the lock.
  std::deque<Block> shrink() {
    std::deque<Block> gone;
    while (idle_bytes > limit) {
      gone.push_back(std::move(idle.front()));
      idle.pop_front();
      idle_bytes -= gone.back().bytes;
    }
    return gone;
  }

  void give_back(Block b) noexcept {
    std::deque<Block> gone;
    try {
      const std::lock_guard lock(mutex);
      const size_t bytes = b.bytes;
      idle.push_back(std::move(b));
      idle_bytes += bytes;
      gone = shrink();
    } catch (const std::bad_alloc&) {
      return;  // then it is freed
    }
  }
};

ResultPool::ResultPool() : state_(std::make_shared<State>()) {}

void ResultPool::begin_run(size_t bytes) {
  std::deque<State::Block> gone;
  const std::lock_guard lock(state_->mutex);
  state_->limit = bytes;
  gone = state_->shrink();
}

std::shared_ptr<std::byte> ResultPool::take(size_t bytes) {
  State::Block b{nullptr, bytes};
  {
    const std::lock_guard lock(state_->mutex);
    auto& idle = state_->idle;
    const auto it =
        std::find_if(idle.begin(), idle.end(), [&](const auto& x) { return x.bytes == bytes; });
    if (it != idle.end()) {
      b = std::move(*it);
      idle.erase(it);
      state_->idle_bytes -= bytes;
    }
  }
  if (b.memory == nullptr) b.memory = allocate_aligned(bytes);
  std::byte* const data = b.memory.get();
  return {data, [b = std::move(b), pool = std::weak_ptr(state_)](std::byte*) mutable {
            if (const auto state = pool.lock()) state->give_back(std::move(b));
          }};
}

size_t ResultPool::idle_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->idle_bytes;
}

}  // namespace rondo
