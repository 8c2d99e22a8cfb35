#include <rondo/runtime/thread_team.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <rondo/graph/error.h>

namespace rondo {
namespace {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#else
  std::this_thread::yield();
#endif
}

// How long a thread looks for work before it sleeps: the pause between two kernels of a plan is
// shorter.
constexpr int kSpins = 4000;
// With more threads than cores, whoever spins keeps another from its work.
constexpr int kSpinsWhenCrowded = 20;
constexpr int kBarrierSpins = 4000;

}  // namespace

// A job is published by storing (epoch, pieces left to take) in one atomic word. A thread takes a
// piece by decreasing that word, and only who has taken a piece may look at the job: so a thread
// that wakes up late finds either nothing left or the next job whole.
struct ThreadTeam::State {
  // The word: the job's number above, pieces nobody has taken yet below.
  static constexpr int kCountBits = 32;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

  std::vector<std::thread> workers;
  int spins = kSpins;
  std::atomic<bool> busy{false};  // some caller's job is on the team

  alignas(64) std::atomic<uint64_t> word{0};
  alignas(64) std::atomic<uint32_t> published{0};  // jobs so far; what sleeping workers wait for
  alignas(64) std::atomic<int32_t> unfinished{0};
  std::atomic<bool> quit{false};

  // The job. Written before `word`, read only by who holds a piece.
  const std::function<void(int64_t)>* body = nullptr;
  int64_t first = 0, pieces = 0;
  bool skip_after_failure = true;

  std::mutex failure;
  std::exception_ptr error;
  std::atomic<int64_t> failed_piece{std::numeric_limits<int64_t>::max()};

  static thread_local const State* running;  // the team whose piece this thread is in
  struct Release;

  void run_piece(int64_t piece) {
    if (skip_after_failure && piece > failed_piece.load(std::memory_order_relaxed)) return;
    try {
      (*body)(piece);
    } catch (...) {
      // Pieces are taken in order, so the lowest that fails always runs: the error does not depend
      // on the timing.
      const std::lock_guard lock(failure);
      if (piece < failed_piece.load(std::memory_order_relaxed)) {
        failed_piece.store(piece, std::memory_order_relaxed);
        error = std::current_exception();
      }
    }
  }

  bool try_occupy() { return !busy.exchange(true, std::memory_order_acquire); }
  void release() {
    busy.store(false, std::memory_order_release);
    busy.notify_one();
  }

  // Takes pieces until none is left.
  void work() {
    int32_t done = 0;
    uint64_t w = word.load(std::memory_order_acquire);
    while ((w & kCountMask) != 0) {
      if (!word.compare_exchange_weak(w, w - 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        continue;
      run_piece(first + pieces - static_cast<int64_t>(w & kCountMask));
      ++done;
      w = word.load(std::memory_order_acquire);
      if ((w & kCountMask) == 0) break;
    }
    if (done != 0 && unfinished.fetch_sub(done, std::memory_order_acq_rel) == done)
      unfinished.notify_one();
  }

  void worker() {
    running = this;
    uint32_t seen = 0;
    for (;;) {
      uint32_t now = published.load(std::memory_order_acquire);
      for (int i = 0; now == seen && i < spins; ++i) {
        relax();
        now = published.load(std::memory_order_acquire);
      }
      if (now == seen) {
        published.wait(seen, std::memory_order_acquire);
        continue;
      }
      seen = now;
      if (quit.load(std::memory_order_acquire)) return;
      work();
    }
  }

  void run_job(int64_t from, int64_t count, const std::function<void(int64_t)>& f, bool skip) {
    body = &f;
    first = from;
    pieces = count;
    skip_after_failure = skip;
    unfinished.store(static_cast<int32_t>(count), std::memory_order_relaxed);
    const uint64_t epoch = (word.load(std::memory_order_relaxed) >> kCountBits) + 1;
    word.store(epoch << kCountBits | static_cast<uint64_t>(count), std::memory_order_release);
    published.fetch_add(1, std::memory_order_seq_cst);
    published.notify_all();
    const State* const outer = std::exchange(running, this);
    work();
    running = outer;
    for (int i = 0; i < spins && unfinished.load(std::memory_order_acquire) != 0; ++i) relax();
    for (int32_t left; (left = unfinished.load(std::memory_order_acquire)) != 0;)
      unfinished.wait(left, std::memory_order_acquire);
  }

  void stop() {
    quit.store(true, std::memory_order_release);
    published.fetch_add(1, std::memory_order_seq_cst);
    published.notify_all();
    for (std::thread& t : workers) t.join();
    workers.clear();
  }

  void throw_failure() {
    if (failed_piece.load(std::memory_order_relaxed) == std::numeric_limits<int64_t>::max()) return;
    failed_piece.store(std::numeric_limits<int64_t>::max(), std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(error, nullptr));
  }
};

thread_local const ThreadTeam::State* ThreadTeam::State::running = nullptr;

struct ThreadTeam::State::Release {
  State& state;
  ~Release() { state.release(); }
};

ThreadTeam::ThreadTeam(int threads) : state_(std::make_unique<State>()) {
  if (threads < 0)
    fail(Fault::kArgument, "thread_team.threads.range", "[thread_team] threads is ", threads,
         ", but must be at least 1, or 0 for one per core");
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int size = threads == 0 ? cores : threads;
  if (size > cores) state_->spins = kSpinsWhenCrowded;
  try {
    for (int i = 1; i < size; ++i)
      state_->workers.emplace_back([s = state_.get()] { s->worker(); });
  } catch (const std::system_error& e) {
    const size_t started = state_->workers.size();
    state_->stop();
    fail(Fault::kUnsupported, "thread_team.threads.start", "cannot start a team of ", size,
         " threads: ", e.what(), " after ", started);
  }
}

ThreadTeam::~ThreadTeam() { state_->stop(); }

int ThreadTeam::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadTeam::for_each(int64_t pieces, const std::function<void(int64_t)>& f) {
  run(pieces, f, true);
}
void ThreadTeam::for_each_in_turn(int64_t pieces, const std::function<void(int64_t)>& f) {
  run(pieces, f, false);
}

void ThreadTeam::run(int64_t pieces, const std::function<void(int64_t)>& f, bool skip) {
  // Alone when there is nothing to share, inside a piece, and while the team works for another
  // thread.
  if (pieces <= 1 || size() == 1 || State::running == state_.get() || !state_->try_occupy()) {
    for (int64_t i = 0; i < pieces; ++i) f(i);
    return;
  }
  const State::Release release{*state_};
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (int64_t at = 0; at < pieces; at += kMost) {
    state_->run_job(at, std::min(kMost, pieces - at), f, skip);
    state_->throw_failure();
  }
}

int ThreadTeam::members() const { return State::running == state_.get() ? 1 : size(); }

void ThreadTeam::together(int members, const std::function<void(int)>& f) {
  if (members < 1 || members > size())
    fail_internal("a team of ", size(), " cannot run ", members, " members together");
  if (members == 1) return f(0);
  if (State::running == state_.get())
    fail_internal("members cannot run together inside a piece of their team");
  // No member ends before all others have reached their barrier, so each gets a thread of its own.
  const std::function<void(int64_t)> piece = [&f](int64_t i) { f(static_cast<int>(i)); };
  while (!state_->try_occupy()) state_->busy.wait(true, std::memory_order_relaxed);
  const State::Release release{*state_};
  state_->run_job(0, members, piece, false);
  state_->throw_failure();
}

namespace {

template <class Done>
void spin_until(const Done& done) {
  for (int i = 0; !done(); ++i) {
    if (i < kBarrierSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

void Progress::await(int64_t steps) const {
  spin_until([&] { return steps_.load(std::memory_order_acquire) >= steps; });
}

Barrier::Barrier(int members) : members_(members) {
  if (members > kMost) fail_internal("a barrier of ", members, " members, of ", kMost, " at most");
}

// The others may be at this meeting, or already wait for the next.
void Barrier::wait(int member) {
  std::atomic<uint32_t>& own = lines_[static_cast<size_t>(member)].meetings;
  const uint32_t meeting = own.load(std::memory_order_relaxed) + 1;
  own.store(meeting, std::memory_order_release);
  for (int m = 0; m < members_; ++m) {
    if (m == member) continue;
    const std::atomic<uint32_t>& other = lines_[static_cast<size_t>(m)].meetings;
    spin_until([&] { return other.load(std::memory_order_acquire) + 1 != meeting; });
  }
}

}  // namespace rondo
