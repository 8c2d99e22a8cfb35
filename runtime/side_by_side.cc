#include <rondo/runtime/side_by_side.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/ops/recurrence.h>

namespace rondo {
namespace {

bool is_loop(const Work& w) { return w.node->op->name == "recurrence"; }

class Scheduler {
 public:
  explicit Scheduler(const std::vector<Work>& steps) : steps_(steps), done_(steps.size(), false) {
    for (size_t s = 0; s < steps.size(); ++s) {
      for (const int64_t v : *steps[s].out) {
        if (v >= 0) maker_[v] = s;
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
    for (const int64_t v : *steps_[step].in) {
      const auto it = maker_.find(v);
      if (v >= 0 && it != maker_.end() && !done_[it->second]) r.push_back(it->second);
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
    const auto& in = *steps_[step].in;
    const auto& out = *steps_[leader].out;
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i] < 0) continue;
      const auto slot = static_cast<size_t>(std::find(out.begin(), out.end(), in[i]) - out.begin());
      if (slot == out.size()) continue;
      const bool by_step = i >= mine.first_x() && i < mine.first_per_row();
      if (!by_step || (slot >= its.ys && slot < its.trajectory_of(0))) return false;
    }
    return true;
  }

  const std::vector<Work>& steps_;
  std::vector<bool> done_;
  std::map<int64_t, size_t> maker_;  // of values
};

}  // namespace

Schedule schedule(const std::vector<Work>& steps) {
  if (std::count_if(steps.begin(), steps.end(), is_loop) < 2) {
    Schedule r;
    for (size_t s = 0; s < steps.size(); ++s) r.places.push_back({s, 1, -1});
    return r;
  }
  return Scheduler(steps).run();
}

void run_together(std::vector<TogetherCall>& calls, ThreadTeam& team,
                  const std::function<void(size_t)>& failed) {
  const auto guarded = [&](size_t i, const auto& f) {
    try {
      f();
    } catch (const Error&) {
      failed(i);
    }
  };
  const int threads = team.members();
  const auto count = static_cast<int>(calls.size());
  // Loops that do not divide over the threads are each cut for all of them.
  const bool even = count % threads == 0 || threads % count == 0;
  const int each = even ? std::max(1, threads / count) : threads;
  std::vector<int64_t> parts, first{0};
  bool in_parts = threads > 1;
  for (const TogetherCall& c : calls) {
    parts.push_back(c.kernel->parts(each));
    first.push_back(first.back() + parts.back());
    // Who follows takes the rows of its leader.
    const bool alike = c.leader < 0 || parts[static_cast<size_t>(c.leader)] == parts.back();
    // With too few rows for that, all threads had better share the columns of one after the other.
    in_parts = in_parts && c.kernel->parts(threads) > 0 && alike;
  }
  if (!in_parts) {
    for (size_t i = 0; i < calls.size(); ++i)
      guarded(i, [&] { calls[i].kernel->run(calls[i].args); });
    return;
  }
  const auto progress = std::make_unique<Progress[]>(static_cast<size_t>(first.back()));
  team.for_each_in_turn(first.back(), [&](int64_t piece) {
    const auto i =
        static_cast<size_t>(std::upper_bound(first.begin(), first.end(), piece) - first.begin()) -
        1;
    const int64_t part = piece - first[i];
    KernelArgs args = calls[i].args;
    args.progress = &progress[static_cast<size_t>(piece)];
    if (const int64_t l = calls[i].leader; l >= 0)
      args.leader = &progress[static_cast<size_t>(first[static_cast<size_t>(l)] + part)];
    struct End {
      Progress& progress;
      ~End() { progress.reach(std::numeric_limits<int64_t>::max()); }  // also when it failed
    } const end{*args.progress};
    guarded(i, [&] { calls[i].kernel->run_part(args, part, parts[i]); });
  });
  for (size_t i = 0; i < calls.size(); ++i)
    guarded(i, [&] { calls[i].kernel->finish(calls[i].args); });
}

}  // namespace rondo
