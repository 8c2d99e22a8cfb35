// Memory of runs, kept from one run to the next: fresh pages cost more than many a step. A run has
// an arena for itself; as many are kept as ran at the same time. Of large results that memory comes
// back which their user let go.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace rondo {

/// Arenas of one session's runs. Safe from several threads.
class ArenaPool {
  struct Arena {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };

 public:
  /// An arena while it lives.
  class Lease {
   public:
    Lease(ArenaPool& pool, size_t bytes) : pool_(pool), arena_(pool.take(bytes)) {}
    ~Lease() { pool_.give_back(std::move(arena_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    /// 64-byte aligned.
    std::byte* data() const { return arena_.memory.get(); }

   private:
    ArenaPool& pool_;
    Arena arena_;
  };

  /// What no run uses at the moment.
  size_t idle_bytes() const;

 private:
  Arena take(size_t bytes);
  void give_back(Arena a) noexcept;

  mutable std::mutex mutex_;
  std::vector<Arena> idle_;
  size_t leased_ = 0;
  // The largest arena that was asked for lately: what is far larger goes.
  size_t runs_ = 0, largest_ = 0, largest_before_ = 0;
};

/// Memory of one session's large results, which may outlive it. Safe from several threads.
class ResultPool {
 public:
  /// What is worth keeping.
  static constexpr size_t kLeastBytes = size_t{256} << 10;

  ResultPool();
  /// Before a run whose large results take so many bytes in all: never more than that is kept.
  void begin_run(size_t bytes);
  /// 64-byte aligned; back here when the last who shares it has let go.
  std::shared_ptr<std::byte> take(size_t bytes);
  /// What nobody uses at the moment.
  size_t idle_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rondo
