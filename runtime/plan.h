// A plan: the steps of an optimized graph with their kernels and memory. Immutable, printable, run
// by any number of threads at the same time.
//
// Two stages. `Plan` is symbolic: made once for a graph. `BoundPlan` is a plan under a binding of
// its symbols: shapes are numbers, kernels are chosen and prepared, every value has its place in
// the arena, and the peak is known.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/backend.h>
#include <rondo/runtime/compile.h>

namespace rondo {

class BoundPlan;
struct PlanOutline;
struct ReadyCall;

/// How a subgraph runs: optimized, its kernels chosen. Immutable; any number of runs share it.
class Plan : public std::enable_shared_from_this<Plan> {
 public:
  ~Plan();
  /// Optimizes `unit` and plans it. Its inputs are placeholders and variables, in the order in
  /// which runs give them.
  static std::shared_ptr<const Plan> compile(const Subgraph& unit, const CompileOptions& options);
  /// Plans a subgraph that is optimized already (bodies are).
  static std::shared_ptr<const Plan> of_optimized(Subgraph unit, const CompileOptions& options,
                                                  std::vector<PassReport> report = {});

  const Subgraph& unit() const { return unit_; }
  const CompileOptions& options() const { return options_; }
  const std::vector<PassReport>& report() const { return report_; }
  /// The plan of a node's body; null for nodes without.
  const Plan* body_of(int32_t node) const { return bodies_[static_cast<size_t>(node)].get(); }

  /// The plan under a binding; made once and kept, the least recently used go first. Errors: a
  /// shape that does not fit, a call that no kernel supports, a peak over the budget.
  std::shared_ptr<const BoundPlan> bind(const Binding& binding) const;

 private:
  friend class BoundPlan;
  friend std::string explain(const Plan& plan, const Binding& sizes);
  // What runs under a binding, and what was weighed against the memory budget.
  struct Fit {
    std::shared_ptr<const BoundPlan> kept;   //< as asked for
    std::shared_ptr<const BoundPlan> again;  //< gradients compute again what they need; null where
                                             //< that was not looked at, or cannot be
    size_t budget = 0;                       //< 0 = no limit

    // What runs; null where neither fits.
    const std::shared_ptr<const BoundPlan>& runs() const;
  };
  // The same choice, also where nothing fits; for explain().
  Fit fit(const Binding& binding) const;
  Plan();
  static std::shared_ptr<Plan> make(Subgraph unit, const CompileOptions& options,
                                    std::vector<PassReport> report);
  void check_undecided(const Binding& binding) const;
  // The plan that keeps less; null where there is none.
  std::shared_ptr<const Plan> smaller() const;

  Subgraph unit_;
  Subgraph asked_;                  // what the user's graph was, where binding needs it
  std::vector<int32_t> undecided_;  // whose rules must speak again once symbols are bound
  CompileOptions options_;
  std::vector<PassReport> report_;
  std::vector<std::shared_ptr<const Plan>> bodies_;  // by node
  size_t first_packed_ = ~size_t{0};  // inputs from here on come packed, where kernels want that
  std::unique_ptr<const PlanOutline> outline_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<Binding, std::shared_ptr<const BoundPlan>>>
      bound_;                                    // most recent last
  mutable std::shared_ptr<const Plan> smaller_;  // for bindings that are over the budget
};

/// A kernel as CompileOptions::kernel names it, and the op that it runs (empty = every op with a
/// formula).
struct KernelName {
  std::string name, op;
};
/// Every kernel that a plan for this backend may hold: the planner's own, the backend's rows, and
/// the reference's, which run what the backend has no row for.
std::vector<KernelName> kernels_of_plans(std::string_view backend_name);

/// One step as people see it.
struct StepInfo {
  int32_t node = 0;
  std::string op, kernel, note;
  std::string why;  ///< how it runs this call, and why it and no other; empty: nothing to say
  std::vector<TensorType> out;
  size_t output_bytes = 0, workspace_bytes = 0;
};

/// An input that a kernel of a plan wants in its own layout (Packing in runtime/kernel.h).
struct InputPacking {
  size_t input;  ///< which of the plan's
  size_t bytes;
  std::string layout;
  size_t index;  ///< which of the frame's packings
};

/// A plan under values for its symbols: what runs, and how much memory that takes.
class BoundPlan {
 public:
  BoundPlan(const Plan& plan, Binding binding);
  ~BoundPlan();
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  const Plan& plan() const { return plan_; }
  const Binding& binding() const { return binding_; }
  std::span<const TensorType> input_types() const { return input_types_; }
  std::span<const TensorType> output_types() const { return output_types_; }
  /// Bytes of one run beside inputs, outputs and constants.
  size_t arena_bytes() const { return arena_bytes_; }
  /// What could be packed once for many runs.
  std::span<const InputPacking> packings() const { return packings_; }
  /// Brings an input into that layout; `to`: 64-byte aligned.
  void pack(const InputPacking& p, const std::byte* input, std::byte* to) const;
  std::vector<StepInfo> steps() const;
  /// The bound plan of the body of `steps()[i]`, where that runs step by step or in segments; else
  /// null.
  std::shared_ptr<const BoundPlan> body_of(size_t step) const;
  /// Whether a kernel of this name runs a step, here or in a body.
  bool uses_kernel(std::string_view name) const;
  /// Why a kernel that runs no step does not run those of its op; empty where there is none.
  std::string why_unused(std::string_view kernel) const;
  /// The ops of all steps, here and in bodies that run step by step.
  std::set<std::string> ops() const;

 private:
  friend class Frame;
  friend struct PlanOutline;
  struct Step;
  enum class Home : uint8_t { kNone, kInput, kConstant, kArena, kOutput };
  struct Place {
    const TensorType* type = nullptr;  // the outline's, or one of sized_types_
    Home home = Home::kNone;
    size_t at = 0;  // index of the input or output, or offset in the arena
    const std::byte* constant = nullptr;
  };

  // Calls f(step) for the steps here and in bodies that run step by step, until it gives true.
  template <class F>
  bool any_step(const F& f) const;
  void infer_types();
  void check_undecided(const Node& n) const;
  void hold_region(const Node& n, const std::vector<ValueType>& in) const;
  void choose_kernels();
  std::shared_ptr<const ReadyCall> ready(size_t step) const;
  void plan_memory();
  void list_packings();

  const Plan& plan_;
  const PlanOutline& outline_;
  Binding binding_;
  std::vector<TensorType> sized_types_;  // those that depend on the binding
  std::vector<Place> places_;            // by value
  std::vector<Step> steps_;
  std::vector<const TensorType*> view_types_;  // of the operands and results of all steps
  std::vector<TensorType> input_types_, output_types_;
  std::vector<InputPacking> packings_;
  std::vector<std::pair<uint32_t, uint32_t>> packed_by_;      // step and which of its packings
  std::vector<std::shared_ptr<std::byte>> packed_constants_;  // of packings; null: not of constants
  size_t arena_bytes_ = 0;
};

/// One run's own state: where its values lie. Not shared between threads; made once for many runs
/// of the same plan.
class Frame {
 public:
  /// `arena`: arena_bytes() of 64-byte aligned memory.
  Frame(const BoundPlan& plan, std::byte* arena);

  /// Where input `i` lies, for the next run.
  void set_input(size_t i, const std::byte* data);
  /// Where output `i` is to be written.
  void set_output(size_t i, std::byte* data);
  /// Input packings()[i] lies there already packed, for all runs to come; null = to be packed in
  /// each run.
  void set_packed(const InputPacking& p, const std::byte* data);
  /// Runs all steps in order. Errors name the step.
  void run(RunContext& context);

 private:
  void set(size_t value, std::byte* data);
  KernelArgs args_of(const BoundPlan::Step& s, RunContext& context);
  void run_group(size_t first, RunContext& context);

  const BoundPlan& plan_;
  std::byte* arena_;
  std::vector<View> views_;         // operands and results of all steps, one after the other
  std::vector<std::byte*> data_;    // of each value
  std::vector<std::byte*> packed_;  // of each packing
  std::vector<bool> is_packed_;     // not by us
  std::vector<std::byte*> outputs_;
};

}  // namespace rondo
