// A few pieces of memory in a run's workspace that the threads of a team share: who takes one has
// it alone until giving it back. No more pieces of work run at a time than there are cores, so no
// more of them are needed, however many pieces a job has.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <thread>

namespace rondo::cpu {

class Scratchpads {
 public:
  /// Of `bytes` each, for a job of `pieces`.
  Scratchpads(int64_t pieces, size_t bytes) : each_((bytes + 63) / 64 * 64) {
    // A team larger than the machine waits for one. The system reads a file to answer.
    static const auto cores =
        static_cast<int64_t>(std::max(1U, std::thread::hardware_concurrency()));
    count_ = static_cast<int>(std::max<int64_t>(1, std::min({pieces, cores, int64_t{64}})));
  }

  /// 64-byte aligned memory that all of them lie in.
  size_t workspace_bytes() const { return kFlagBytes + each_ * static_cast<size_t>(count_); }

  /// To be called once a run, before any Use.
  void prepare(std::byte* workspace) const {
    new (workspace) Flags(count_ == 64 ? ~uint64_t{0} : (uint64_t{1} << count_) - 1);
  }

  /// One of them while it lives.
  class Use {
   public:
    Use(const Scratchpads& pads, std::byte* workspace)
        : free_(*std::launder(reinterpret_cast<Flags*>(workspace))),
          pad_(take(free_)),
          data_(workspace + kFlagBytes + pads.each_ * static_cast<size_t>(pad_)) {}
    ~Use() { free_.fetch_or(uint64_t{1} << pad_, std::memory_order_release); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    std::byte* data() const { return data_; }

   private:
    static int take(std::atomic<uint64_t>& free) {
      for (uint64_t f = free.load(std::memory_order_acquire);;) {
        if (f == 0) {
          std::this_thread::yield();
          f = free.load(std::memory_order_acquire);
        } else if (free.compare_exchange_weak(f, f & (f - 1), std::memory_order_acquire)) {
          return __builtin_ctzll(f);
        }
      }
    }
    std::atomic<uint64_t>& free_;
    int pad_;
    std::byte* data_;
  };

 private:
  using Flags = std::atomic<uint64_t>;  // a bit for each that is free
  static constexpr size_t kFlagBytes = 64;
  size_t each_;
  int count_;
};

}  // namespace rondo::cpu
