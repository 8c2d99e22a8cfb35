// Which steps of a plan run at the same time: loops over time that do not wait for each other (two
// directions), and loops that read the results of another step by step (layers upon each other),
// one behind the other. Each is then one thread's work, which needs no meeting and keeps its own
// weights in its own cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include <rondo/runtime/kernel.h>

namespace rondo {

/// What there is to know of a step: values by number, -1 absent.
struct Work {
  const Node* node;
  std::vector<int64_t> in, out;
  std::vector<bool> viewed;  ///< operands that are `in` in another shape, or a part of it
};
/// A value that is there once its parts are, which steps make in their places.
struct Joined {
  int64_t whole;
  std::vector<int64_t> parts;
};

/// In which order steps run, and which of them together.
struct Schedule {
  /// One step in that order.
  struct Place {
    size_t step;     ///< which
    size_t group;    ///< steps from here on that run together; 1: it runs alone, 0: counted already
    int64_t leader;  ///< the place of the step that it follows; -1: none
  };
  std::vector<Place> places;  ///< in order
};

/// The order given, but loops that can run together where the first of them stands, and before them
/// what they need.
Schedule schedule(const std::vector<Work>& steps, const std::vector<Joined>& joined);

/// One of the kernels that run together.
struct TogetherCall {
  const PreparedKernel* kernel;
  KernelArgs args;
  int64_t leader;  ///< which of them it follows; -1: none
};
/// Runs them on the team: in parts side by side where these are as many as its threads, or as many
/// as it can use, else one after the other. `failed(i)` is called inside of a handler of what call
/// i has thrown, and throws in turn.
void run_together(std::vector<TogetherCall>& calls, ThreadTeam& team,
                  const std::function<void(size_t)>& failed);

}  // namespace rondo
