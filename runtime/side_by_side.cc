#include <rondo/runtime/side_by_side.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/ops/recurrence.h>

namespace rondo {
namespace {

bool is_loop(const Work& w) { return w.node->op->name == "recurrence"; }

class Scheduler {
 public:
  Scheduler(const std::vector<Work>& steps, const std::vector<Joined>& joined)
      : steps_(steps), done_(steps.size(), false) {
    for (size_t s = 0; s < steps.size(); ++s) {
      for (const int64_t v : steps[s].out) {
        if (v >= 0) makers_.emplace(v, s);
      }
    }
    for (const Joined& j : joined) {
      for (const int64_t part : j.parts) {
        const auto [from, end] = makers_.equal_range(part);
        const std::vector<std::pair<int64_t, size_t>> of_part(from, end);
        for (const auto& maker : of_part) makers_.emplace(j.whole, maker.second);
      }
    }
  }

  // In the order given, but loops that can run together where the first of them stands, and before
  // them what they need and no more.
  Schedule run() {
    Schedule r;
    for (size_t s = 0; s < steps_.size(); ++s) {
      if (done_[s]) continue;
      if (!is_loop(steps_[s])) {
        add(r, s, 1, -1);
        continue;
      }
      const std::vector<size_t> loops = loops_from(s);
      for (const size_t l : loops) {
        for (const size_t needed : waits_for(l).others) add(r, needed, 1, -1);
      }
      const size_t first = r.places.size();
      for (size_t i = 0; i < loops.size(); ++i) {
        const std::set<size_t> leaders = waits_for(loops[i]).loops;
        int64_t leader = -1;
        for (size_t k = 0; k < i; ++k) {
          if (leaders.count(loops[k]) != 0) leader = static_cast<int64_t>(first + k);
        }
        r.places.push_back({loops[i], i == 0 ? loops.size() : 0, leader});
      }
      for (const size_t l : loops) done_[l] = true;
    }
    return r;
  }

 private:
  void add(Schedule& r, size_t step, size_t group, int64_t leader) {
    if (done_[step]) return;
    r.places.push_back({step, group, leader});
    done_[step] = true;
  }

  // What is still to come before a step: the loops that it reads, and all else that leads to it.
  struct Waits {
    std::set<size_t> loops, others;
    bool behind_others = false;  // some of the latter needs a loop
  };
  Waits waits_for(size_t step) const {
    Waits w;
    for (const size_t s : makers_of(step)) {
      if (is_loop(steps_[s])) {
        w.loops.insert(s);
        continue;
      }
      std::vector<size_t> todo{s};
      while (!todo.empty()) {
        const size_t at = todo.back();
        todo.pop_back();
        w.behind_others = w.behind_others || is_loop(steps_[at]);
        if (!is_loop(steps_[at]) && w.others.insert(at).second) {
          for (const size_t m : makers_of(at)) todo.push_back(m);
        }
      }
    }
    return w;
  }
  std::vector<size_t> makers_of(size_t step) const {
    std::vector<size_t> r;
    for (const int64_t v : steps_[step].in) {
      const auto [from, end] = makers_.equal_range(v);
      for (auto it = from; it != end; ++it) {
        if (!done_[it->second]) r.push_back(it->second);
      }
    }
    return r;
  }

  // That loop, those that can begin with it, and those that can follow one of them.
  std::vector<size_t> loops_from(size_t first) const {
    std::vector<size_t> r;
    for (size_t s = first; s < steps_.size(); ++s) {
      if (done_[s] || !is_loop(steps_[s])) continue;
      const Waits w = waits_for(s);
      if (w.behind_others) continue;
      const bool behind = w.loops.size() == 1 &&
                          std::find(r.begin(), r.end(), *w.loops.begin()) != r.end() &&
                          can_follow(s, *w.loops.begin());
      if (w.loops.empty() || behind) r.push_back(s);
    }
    return r;
  }

  // Whether it reads, at each step, only what the leader has by the end of that step.
  bool can_follow(size_t step, size_t leader) const {
    const Node &n = *steps_[step].node, &l = *steps_[leader].node;
    const RecurrenceLayout mine(n), its(l);
    if (n.attributes.flag("reverse") != l.attributes.flag("reverse")) return false;
    if (n.attributes.shape("extent") != l.attributes.shape("extent")) return false;
    const auto& in = steps_[step].in;
    const auto& out = steps_[leader].out;
    for (size_t i = 0; i < in.size(); ++i) {
      const auto [from, end] = makers_.equal_range(in[i]);
      if (std::none_of(from, end, [&](const auto& maker) { return maker.second == leader; }))
        continue;
      const auto slot = static_cast<size_t>(std::find(out.begin(), out.end(), in[i]) - out.begin());
      const bool over_time = slot < its.ys || (slot >= its.trajectory_of(0) && slot < out.size());
      const bool by_step = i >= mine.first_x() && i < mine.first_per_row();
      if (!over_time || !by_step || steps_[step].viewed[i]) return false;
    }
    return true;
  }

  const std::vector<Work>& steps_;
  std::vector<bool> done_;
  std::multimap<int64_t, size_t> makers_;  // of values and of their parts
};

}  // namespace

Schedule schedule(const std::vector<Work>& steps, const std::vector<Joined>& joined) {
  if (std::count_if(steps.begin(), steps.end(), is_loop) < 2) {
    Schedule r;
    for (size_t s = 0; s < steps.size(); ++s) r.places.push_back({s, 1, -1});
    return r;
  }
  return Scheduler(steps, joined).run();
}

namespace {

using Failed = std::function<void(size_t)>;

template <class F>
void guarded(const Failed& failed, size_t call, const F& f) {
  try {
    f();
  } catch (const Error&) {
    failed(call);
  }
}

// Loops in parts, all of them for some steps and then what they sum, and again for the next steps.
// A piece of that work waits for pieces before it in this order, and for no others. How many steps
// are summed at a time is each loop's own, so that no bit depends on what runs beside it.
class Rounds {
 public:
  Rounds(const std::vector<TogetherCall>& calls, const std::vector<int64_t>& parts,
         const std::vector<int64_t>& steps_each, int threads, const Failed& failed)
      : failed_(failed), threads_(threads), loops_(calls.size()) {
    for (size_t i = 0; i < calls.size(); ++i) {
      Loop& l = loops_[i];
      l.call = &calls[i];
      l.parts = parts[i];
      l.first = i == 0 ? 0 : loops_[i - 1].first + loops_[i - 1].parts;
      l.steps = calls[i].kernel->steps();
      l.done = std::make_unique<Progress[]>(static_cast<size_t>(l.parts));
      l.each = steps_each[i];
      if (calls[i].kernel->steps_to_sum() > 0) {
        l.summed = std::make_unique<Progress[]>(static_cast<size_t>(threads));
        summing_.push_back(i);
      }
      rounds_ = std::max(rounds_, (l.steps + l.each - 1) / l.each);
    }
    pieces_ = loops_.back().first + loops_.back().parts;
  }

  void run(ThreadTeam& team) {
    const int64_t sums = static_cast<int64_t>(summing_.size()) * threads_, all = pieces_ + sums;
    team.for_each_in_turn(rounds_ * all, [&](int64_t piece) {
      const int64_t round = piece / all, k = piece % all;
      if (k < pieces_) {
        run_part(round, k);
      } else {
        sum_part(loops_[summing_[static_cast<size_t>((k - pieces_) / threads_)]], round,
                 (k - pieces_) % threads_);
      }
    });
  }

 private:
  struct Loop {
    const TogetherCall* call;
    int64_t parts, first, steps, each;
    std::unique_ptr<Progress[]> done, summed;  // of each part
    std::atomic<bool> broken = false;
  };
  // Reached also when the work failed: nobody waits for it any more.
  struct AtEnd {
    Progress* progress;
    int64_t steps;
    ~AtEnd() {
      if (progress != nullptr) progress->reach(steps);
    }
  };
  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

  // None once the loop has ended, or failed.
  std::optional<Steps> steps_of(const Loop& l, int64_t round) const {
    const int64_t from = round * l.each;
    // All parts do their first steps, so that the first error is the same for any team.
    if (round > 0 && (from >= l.steps || l.broken)) return std::nullopt;
    return Steps{from, std::min(l.steps, from + l.each)};
  }
  size_t index(const Loop& l) const { return static_cast<size_t>(&l - loops_.data()); }

  void run_part(int64_t round, int64_t piece) {
    const auto next = std::upper_bound(loops_.begin(), loops_.end(), piece,
                                       [](int64_t p, const Loop& l) { return p < l.first; });
    Loop& l = *std::prev(next);
    const auto part = static_cast<size_t>(piece - l.first);
    const std::optional<Steps> steps = steps_of(l, round);
    if (!steps) {
      if (l.broken) l.done[part].reach(kAll);  // nobody waits for it any more
      return;
    }
    AtEnd end{&l.done[part], kAll};
    l.done[part].await(steps->from);
    for (int i = 0; l.summed && i < threads_; ++i)
      l.summed[static_cast<size_t>(i)].await(steps->from);
    KernelArgs args = l.call->args;
    args.progress = &l.done[part];
    if (const int64_t leader = l.call->leader; leader >= 0)
      args.leader = &loops_[static_cast<size_t>(leader)].done[part];
    guarded(failed_, index(l), [&] {
      try {
        l.call->kernel->run_part(args, static_cast<int64_t>(part), l.parts, *steps);
      } catch (...) {
        l.broken = true;
        throw;
      }
    });
    // The kernel has told how far it came. Said again by a thread that was held up, it would undo
    // what the next round has told meanwhile.
    if (steps->end < l.steps && !l.broken) end.progress = nullptr;
  }

  void sum_part(Loop& l, int64_t round, int64_t part) {
    const std::optional<Steps> steps = steps_of(l, round);
    if (!steps) return;
    const AtEnd end{&l.summed[static_cast<size_t>(part)], steps->end};
    // Of no steps too, all parts have begun and ended.
    for (int64_t i = 0; i < l.parts; ++i)
      l.done[static_cast<size_t>(i)].await(std::max<int64_t>(1, steps->end));
    if (l.broken) return;
    guarded(failed_, index(l),
            [&] { l.call->kernel->sum_part(l.call->args, part, threads_, *steps); });
  }

  const Failed& failed_;
  int threads_;
  std::vector<Loop> loops_;
  std::vector<size_t> summing_;
  int64_t rounds_ = 1, pieces_ = 0;
};

}  // namespace

void run_together(std::vector<TogetherCall>& calls, ThreadTeam& team, const Failed& failed) {
  const int threads = team.members();
  const auto count = static_cast<int>(calls.size());
  // Loops that do not divide over the threads are each cut for all of them.
  const bool even = count % threads == 0 || threads % count == 0;
  const int each = even ? std::max(1, threads / count) : threads;
  std::vector<int64_t> parts, rounds;  // of each: how many, and of how many steps
  bool in_parts = threads > 1;
  for (const TogetherCall& c : calls) {
    parts.push_back(c.kernel->parts(each));
    // Who follows takes the rows of its leader, and sums when that does.
    const auto leader = static_cast<size_t>(c.leader);
    const int64_t sums = c.kernel->steps_to_sum();
    const int64_t most = c.leader < 0 ? std::max<int64_t>(1, c.kernel->steps()) : rounds[leader];
    rounds.push_back(sums > 0 ? std::min(sums, most) : most);
    const bool alike = c.leader < 0 || (parts[leader] == parts.back() && sums <= most);
    // With too few rows for that, all threads had better share the columns of one after the other.
    in_parts = in_parts && c.kernel->parts(threads) > 0 && alike;
  }
  if (in_parts) {
    Rounds(calls, parts, rounds, threads, failed).run(team);
    for (size_t i = 0; i < calls.size(); ++i)
      guarded(failed, i, [&] { calls[i].kernel->finish(calls[i].args); });
  } else {
    for (size_t i = 0; i < calls.size(); ++i)
      guarded(failed, i, [&] { calls[i].kernel->run(calls[i].args); });
  }
}

}  // namespace rondo
