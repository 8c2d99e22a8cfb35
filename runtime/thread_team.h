// A team of threads of our own: std::thread, atomics, a barrier that spins and then yields. No
// OpenMP.
//
// Work is split by shape, never by the number of threads, so that results have the same bits for
// any team size: a job has a fixed number of pieces, and the team only decides who takes which
// piece.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace rondo {

/// Threads that run the parts of a kernel together.
class ThreadTeam {
 public:
  /// `threads` workers including the caller; 0 = one per core. They wait without burning a core
  /// when idle. Errors: thread_team.threads.range, thread_team.threads.start.
  explicit ThreadTeam(int threads = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const;
  /// How many may run `together` here: size(), but inside of a piece of this team only one.
  int members() const;

  /// Calls f(piece) for each piece in [0, pieces), on all threads; returns when all are done. The
  /// first exception of a piece is thrown here. Called from inside a piece, it runs on the calling
  /// thread alone.
  void for_each(int64_t pieces, const std::function<void(int64_t piece)>& f);

  /// The same for pieces that wait for earlier ones: these are taken first, and all run, even after
  /// one has failed.
  void for_each_in_turn(int64_t pieces, const std::function<void(int64_t piece)>& f);

  /// Calls f(member) once on each of `members` <= size() threads at the same time, so that they may
  /// meet at a Barrier.
  void together(int members, const std::function<void(int member)>& f);

 private:
  void run(int64_t pieces, const std::function<void(int64_t piece)>& f, bool skip_after_failure);

  struct State;
  std::unique_ptr<State> state_;
};

/// How far one piece of work has come, for another that follows it.
class alignas(64) Progress {
 public:
  /// So many steps are done, and what they wrote can be read.
  void reach(int64_t steps) { steps_.store(steps, std::memory_order_release); }
  /// Returns once that many are reached: spins, then yields.
  void await(int64_t steps) const;

 private:
  std::atomic<int64_t> steps_{0};
};

/// Where `members` threads, at most kMost, wait for each other: spins some thousand times, then
/// yields. Reusable. Each tells the others by a line of memory of its own, so that a meeting takes
/// as long as one line takes from core to core.
class Barrier {
 public:
  static constexpr int kMost = 8;
  explicit Barrier(int members);
  /// Returns once all members wait; `member`: which of them calls.
  void wait(int member);

 private:
  struct alignas(64) Line {
    std::atomic<uint32_t> meetings{0};
  };
  const int members_;
  std::array<Line, kMost> lines_;
};

}  // namespace rondo
