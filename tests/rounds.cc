// How parts of loops that run together wait for each other, with kernels that only wait.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include <rondo/graph/graph.h>
#include <rondo/runtime/kernel.h>
#include <rondo/runtime/side_by_side.h>

namespace rondo::test {
namespace {

// A loop of four steps that tells how far it came, and then is held up for a while.
class HeldUp final : public PreparedKernel {
 public:
  HeldUp(int64_t from, int milliseconds) : from_(from), pause_(milliseconds) {}
  void run(const KernelArgs&) const override {}
  int64_t parts(int) const override { return 1; }
  int64_t steps() const override { return 4; }
  int64_t steps_to_sum() const override { return 2; }
  void run_part(const KernelArgs& args, int64_t, int64_t, Steps steps) const override {
    args.progress->reach(steps.end);
    if (steps.from == from_) std::this_thread::sleep_for(pause_);
  }
  void sum_part(const KernelArgs&, int64_t, int64_t, Steps) const override { ++sums; }
  mutable std::atomic<int> sums = 0;

 private:
  int64_t from_;
  std::chrono::milliseconds pause_;
};

// The first loop's first steps end after its last ones, on another thread: what these told holds.
TEST_CASE("a part that is held up at its end takes nothing back", "[together]") {
  Graph g;
  static_cast<void>(g.placeholder("x", f32, {1}));
  const Node& node = g.node(0);
  const KernelCall call{node, node.attributes, {}, {}};
  ThreadTeam team(2);
  RunContext context{team};
  const HeldUp first(0, 100), second(2, 200);
  const KernelArgs args{call, {}, {}, nullptr, context};
  std::vector<TogetherCall> calls{{&first, args, -1}, {&second, args, -1}};
  run_together(calls, team, [](size_t) { throw; });
  CHECK(first.sums == 4);  // two rounds of two threads
  CHECK(second.sums == 4);
}

}  // namespace
}  // namespace rondo::test
