// Runs one kernel of a backend on tensors, with nothing of the runtime between: `run_kernel`; and
// whole graphs, node by node, each by its kernel or its lowering: `run_graph`, the oracle for
// plans.
//
// Every kernel is watched: its results stand between guard bytes and start out as garbage, its
// operands must not change.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/ops/register.h>
#include <rondo/runtime/backend.h>

namespace rondo::test {

struct KernelRun {
  std::string kernel = {};        ///< this one; empty = the cheapest that supports the call
  std::vector<bool> wanted = {};  ///< results that somebody uses; empty = all that the op gives
  std::shared_ptr<const Subgraph> body = {};
  bool training = false;
  uint64_t seed = 0;
  int64_t step = 0;
  int threads = 1;
  bool unaligned = false;  ///< operands and results start one element after an aligned place
};

inline constexpr size_t kGuard = 64;
// Of any dtype a number so large that no tolerance lets it pass for 0.
inline constexpr auto kGarbage = std::byte{0x7f};

/// The number of elements' bytes between guards, `shift` bytes after an aligned place; all garbage.
class Guarded {
 public:
  explicit Guarded(size_t bytes, size_t shift = 0)
      : bytes_(bytes), shift_(shift), memory_(allocate_aligned(bytes + shift + 2 * kGuard)) {
    std::fill_n(memory_.get(), bytes + shift + 2 * kGuard, kGarbage);
  }
  std::byte* data() const { return memory_.get() + shift_ + kGuard; }
  bool intact() const {
    const auto clean = [](const std::byte* b) {
      return std::all_of(b, b + kGuard, [](std::byte v) { return v == kGarbage; });
    };
    return clean(data() - kGuard) && clean(data() + bytes_);
  }
  Tensor tensor(const TensorType& t) const {
    return Tensor::view(t.dtype, t.dims, data(), memory_);
  }

 private:
  size_t bytes_, shift_;
  std::shared_ptr<std::byte> memory_;
};

inline TensorType type_of(const Tensor& t) { return {t.dtype(), t.dims(), static_cast<bool>(t)}; }

/// The kernel that `run` names or, of those that support the call, the cheapest; null when there is
/// none.
inline const Kernel* find_kernel(const Backend& backend, const KernelCall& call,
                                 std::string_view name = {}) {
  const OpDef& op = *call.node.op;
  const Kernel* best = nullptr;
  for (const Kernel& k : backend.kernels()) {
    const bool fits = k.op == op.name || (k.op.empty() && !op.formula.empty());
    if (!fits || (!name.empty() && k.name != name)) continue;
    if (k.supports && !k.supports(call)) continue;
    if (best == nullptr || k.cost_on(call) < best->cost_on(call)) best = &k;
  }
  return best;
}

/// The call that a node of which all shapes are numbers is on `inputs`.
inline KernelCall call_on(const Node& node, const std::vector<Tensor>& inputs,
                          const KernelRun& run) {
  KernelCall call{node, node.attributes, {}, {}};
  for (const Tensor& t : inputs) call.in.push_back(type_of(t));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueType& t = node.outputs[i];
    const bool wanted = t.present && (run.wanted.empty() || run.wanted.at(i));
    call.out.push_back({t.dtype, bind(t.shape, {}), wanted});
  }
  return call;
}

/// Runs a kernel on `inputs`, one per operand.
inline std::vector<Tensor> run_call(const Kernel& kernel, const KernelCall& call,
                                    const std::vector<Tensor>& inputs, const KernelRun& run) {
  std::vector<Guarded> in_memory, out_memory;
  std::vector<View> in, out;
  const auto shift = [&](const TensorType& t) { return run.unaligned ? size_of(t.dtype) : 0; };
  for (size_t i = 0; i < inputs.size(); ++i) {
    in_memory.emplace_back(call.in[i].bytes(), shift(call.in[i]));
    if (inputs[i].bytes() != 0)
      std::memcpy(in_memory[i].data(), inputs[i].raw(), inputs[i].bytes());
    in.push_back({&call.in[i], inputs[i] ? in_memory[i].data() : nullptr});
  }
  for (const TensorType& t : call.out) {
    out_memory.emplace_back(t.bytes(), shift(t));
    out.push_back({&t, t.present ? out_memory.back().data() : nullptr});
  }
  ThreadTeam team(run.threads);
  RunContext context{team, run.training, run.seed, run.step};
  const std::unique_ptr<PreparedKernel> prepared = kernel.prepare(call);
  const Guarded workspace(prepared->workspace_bytes());
  prepared->run({call, in, out, workspace.data(), context});

  const auto whole = [](const Guarded& g) { return g.intact(); };
  if (!whole(workspace) || !std::all_of(out_memory.begin(), out_memory.end(), whole)) {
    fail_internal("kernel ", kernel.name, " wrote beside its results or its workspace");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] && !in_memory[i].tensor(call.in[i]).same_bits(inputs[i])) {
      fail_internal("kernel ", kernel.name, " changed its operand ", i);
    }
  }
  std::vector<Tensor> results;
  for (size_t i = 0; i < out.size(); ++i) {
    results.push_back(out[i] ? out_memory[i].tensor(call.out[i]) : Tensor());
  }
  return results;
}

/// Runs an op by a kernel of `backend`. Null tensors are absent operands. Errors: those of the op
/// and of the kernel; `harness.kernel.none` when no kernel fits.
inline std::vector<Tensor> run_kernel(const Backend& backend, std::string_view op,
                                      const std::vector<Tensor>& inputs, Attributes attributes = {},
                                      const KernelRun& run = {}) {
  Graph g;
  Vars operands;
  for (const Tensor& t : inputs) {
    operands.push_back(t ? g.placeholder(cat("in", operands.size()), t.dtype(), to_shape(t.dims()))
                         : Var());
  }
  g.call(registry().at(op), operands, std::move(attributes), {.body = run.body});
  const KernelCall call = call_on(g.node(g.size() - 1), inputs, run);
  const Kernel* kernel = find_kernel(backend, call, run.kernel);
  if (kernel == nullptr) {
    fail(Fault::kUnsupported, "harness.kernel.none", "backend ", backend.name(), " has no kernel ",
         run.kernel, " for this call of ", op);
  }
  return run_call(*kernel, call, inputs, run);
}

/// Values of a graph without symbols, by kernels of one backend; ops without one are lowered.
/// Variables have their initial values.
class GraphRun {
 public:
  GraphRun(const Backend& backend, const std::vector<std::pair<Var, Tensor>>& feeds,
           KernelRun run = {})
      : backend_(backend), run_(std::move(run)) {
    for (const auto& [v, t] : feeds) values_[v.value()] = t;
  }

  Tensor value(const Var& v) {
    if (!v) return {};
    if (const auto it = values_.find(v.value()); it != values_.end()) return it->second;
    const Node& n = v.node();
    if (n.op == &constant_op()) return n.attributes.tensor("value");
    if (n.op == &variable_op()) return n.attributes.tensor("initial");
    if (n.op == &placeholder_op())
      fail(Fault::kArgument, "harness.feed.missing", v.name(), " is not fed");
    std::vector<Tensor> inputs, results;
    for (const Value i : n.inputs) inputs.push_back(i ? value(v.graph().var(i)) : Tensor());
    const KernelCall call = call_on(n, inputs, run_);
    if (const Kernel* kernel = find_kernel(backend_, call)) {
      results = run_call(*kernel, call, inputs, run_);
    } else if (n.op->lower) {
      for (const Var& o : lower_call(n, call_of(v.graph(), n))) results.push_back(value(o));
    } else {
      fail(Fault::kUnsupported, "harness.kernel.none", n.op->name,
           " has no kernel and no lowering");
    }
    for (size_t i = 0; i < results.size(); ++i)
      values_[{n.id, static_cast<int32_t>(i)}] = results[i];
    return results.at(static_cast<size_t>(v.value().slot));
  }

 private:
  const Backend& backend_;
  KernelRun run_;
  std::map<Value, Tensor> values_;
};

inline Tensor run_graph(const Backend& backend, const Var& fetch,
                        const std::vector<std::pair<Var, Tensor>>& feeds = {}, KernelRun run = {}) {
  return GraphRun(backend, feeds, std::move(run)).value(fetch);
}

/// The elements as doubles, in flat order.
inline std::vector<double> values(const Tensor& t) {
  std::vector<double> r;
  for (int64_t i = 0; i < t.size(); ++i) r.push_back(t.at(i));
  return r;
}

/// What an Error said; empty when there was none.
struct Refusal {
  std::string code, message;
};
template <class F>
Refusal refusal_of(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
  return {};
}

}  // namespace rondo::test
