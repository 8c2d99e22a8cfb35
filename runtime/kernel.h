// What a backend offers: kernels, as rows of a table. The planner takes the cheapest row that
// supports a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/node_memo.h>
#include <rondo/runtime/precision.h>
#include <rondo/runtime/thread_team.h>

namespace rondo {

/// dtype and shape of one operand or result, all numbers known.
struct TensorType {
  DType dtype = DType::f32;
  Dims dims;
  bool present = true;  ///< operand: given; result: somebody uses it

  int64_t size() const { return element_count(dims); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype); }
};

/// A node whose shapes are numbers: what a kernel is chosen and prepared for.
struct KernelCall {
  const Node& node;
  const Attributes& attributes;  ///< those of the node, shapes in them bound to numbers
  std::vector<TensorType> in, out;
  Precision precision = Precision::full;  ///< what the run allows
  NodeMemo* memo = nullptr;               ///< of the node's plan; null: nothing is kept

  /// `make()`, which must not depend on sizes: one for all calls of the node in its plan.
  template <class T, class F>
  std::shared_ptr<const T> once(const F& make) const {
    const auto shared = [&] { return std::make_shared<const T>(make()); };
    return memo != nullptr ? memo->get<T>(shared) : shared();
  }
  /// A shape attribute as numbers.
  Dims dims(std::string_view attribute) const;
  /// Number `i` of a shape attribute.
  int64_t dim(std::string_view attribute, size_t i) const {
    return attributes.shape(attribute)[i].constant();
  }
};

/// An operand or result in memory: contiguous, row-major, aligned as its elements. Null data:
/// absent.
struct View {
  const TensorType* type = nullptr;
  std::byte* data = nullptr;

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  const Dims& dims() const { return type->dims; }
  int64_t size() const { return type->size(); }
  explicit operator bool() const { return data != nullptr; }
};

/// What is the same for all steps of one run.
struct RunContext {
  ThreadTeam& team;
  bool training = false;  ///< dropout drops
  uint64_t seed = 0;      ///< of random ops,
  int64_t step = 0;       ///< which draw new numbers at each step of training
};

/// An operand that a kernel first brings into a layout of its own: weights, which stay the same
/// from run to run.
struct Packing {
  size_t operand = 0;
  size_t bytes = 0;
  std::string layout;  ///< equal names: the same bytes of the same operand
};

/// All that one run of a kernel is given.
struct KernelArgs {
  const KernelCall& call;
  std::span<const View> in;
  std::span<const View> out;  ///< never aliases `in`; absent where nobody uses the result
  std::byte* workspace;       ///< as many bytes as the kernel asked for, 64-byte aligned
  RunContext& context;
  std::span<std::byte* const> packed = {};  ///< for each of the kernel's packings
  Progress* progress = nullptr;             ///< of this part, where another follows it
  const Progress* leader = nullptr;         ///< what this part follows
};

/// Some steps of time, [from, end).
struct Steps {
  int64_t from, end;
};

/// A kernel made ready for one call: immutable, run by any number of threads at the same time.
class PreparedKernel {
 public:
  virtual ~PreparedKernel() = default;
  virtual size_t workspace_bytes() const { return 0; }
  /// How it runs just this call, for explain(); empty: as always.
  virtual std::string note() const { return {}; }
  /// What `pack` makes of operands before a run: each time, or once for weights that stay.
  virtual std::span<const Packing> packings() const { return {}; }
  /// `to`: 64-byte aligned.
  virtual void pack(size_t /*packing*/, const View& /*from*/, std::byte* /*to*/) const {}
  /// Computes `args.out`; any number of threads may run it at once.
  virtual void run(const KernelArgs& args) const = 0;

  /// A loop over time can also be run by others, who call what follows: all parts for some steps,
  /// then, where it has sums, all parts of these for the same steps, and so on until its last step,
  /// then finish().
  ///
  /// How many parts are best for so many threads, each on one thread without waiting for another;
  /// 0: it is only done as a whole.
  virtual int64_t parts(int /*threads*/) const { return 0; }
  virtual int64_t steps() const { return 0; }
  /// After how many steps at most the sums want to be added to; 0: it has none.
  virtual int64_t steps_to_sum() const { return 0; }
  virtual void run_part(const KernelArgs& /*args*/, int64_t /*part*/, int64_t /*parts*/,
                        Steps /*steps*/) const {}
  /// What all rows give together, one of as many parts as there are threads.
  virtual void sum_part(const KernelArgs& /*args*/, int64_t /*part*/, int64_t /*parts*/,
                        Steps /*steps*/) const {}
  virtual void finish(const KernelArgs& /*args*/) const {}
};

/// A row of a backend's table.
struct Kernel {
  std::string name;  ///< unique, "cpu.matmul.onednn"; `--kernel` forces it
  std::string op;    ///< the op it runs; empty = every op with a formula
  std::string note;  ///< why one would choose it; shown by explain()
  std::function<bool(const KernelCall&)> supports;  ///< null = every call of the op
  std::function<std::unique_ptr<PreparedKernel>(const KernelCall&)> prepare;
  double cost = 1;  ///< the cheapest wins
  /// What stands against a call that it does not support, for explain(); null = nothing to say.
  std::function<std::string(const KernelCall&)> why_not = {};
  /// Where the cost depends on the call, this is it, also of a call that it does not support. What
  /// a kernel does not pay for it still supports, so that it can be forced there.
  std::function<double(const KernelCall&)> cost_of = {};
  bool allocates = false;  ///< a run may allocate or lock: never in a stream

  double cost_on(const KernelCall& call) const { return cost_of ? cost_of(call) : cost; }
};

/// A row whose kernel needs no preparation.
Kernel simple_kernel(std::string name, std::string op,
                     std::function<bool(const KernelCall&)> supports,
                     std::function<void(const KernelArgs&)> run, double cost = 1,
                     std::string note = {});

/// Memory that a kernel may ask of a run, split: the offset of each part, 64-byte aligned.
inline size_t align_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace rondo
