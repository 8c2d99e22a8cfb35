#include <rondo/runtime/plan.h>

#include <algorithm>
#include <cstring>

#include <rondo/graph/op.h>
#include <rondo/graph/passes.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/fuse.h>
#include <rondo/ops/segments.h>
#include <rondo/runtime/arena_holes.h>
#include <rondo/runtime/choose.h>
#include <rondo/runtime/half.h>
#include <rondo/runtime/plan_step.h>
#include <rondo/runtime/recurrence_steps.h>
#include <rondo/runtime/segments.h>

namespace rondo {
namespace {

constexpr size_t kBoundPlansKept = 64;

// The node's attributes under the binding; `bound` holds them where they are others.
const Attributes& attributes_of(const Node& n, const Binding& binding,
                                std::unique_ptr<const Attributes>& bound) {
  bound = bind_attributes(n.attributes, binding);
  return bound != nullptr ? *bound : n.attributes;
}

}  // namespace

Plan::Plan() = default;
Plan::~Plan() = default;

std::shared_ptr<const Plan> Plan::compile(const Subgraph& unit, const CompileOptions& options) {
  std::vector<PassReport> report;
  Subgraph optimized = optimize(unit, options, &report);
  auto p = make(std::move(optimized), options, std::move(report));
  const std::vector<int32_t> live = live_nodes(unit);
  const bool undecided = std::any_of(live.begin(), live.end(),
                                     [&](int32_t id) { return unit.graph.node(id).check_at_bind; });
  if (!undecided && options.memory_budget == 0) return p;
  // A copy: its user may extend the graph while a run binds.
  p->asked_ = dead_code(unit);
  for (const int32_t id : live_nodes(p->asked_)) {
    if (p->asked_.graph.node(id).check_at_bind) p->undecided_.push_back(id);
  }
  return p;
}

std::shared_ptr<const Plan> Plan::of_optimized(Subgraph unit, const CompileOptions& options,
                                               std::vector<PassReport> report) {
  return make(std::move(unit), options, std::move(report));
}

std::shared_ptr<Plan> Plan::make(Subgraph unit, const CompileOptions& options,
                                 std::vector<PassReport> report) {
  backend(options.backend);  // refuses an unknown one now
  require_kernel(options.kernel);
  std::shared_ptr<Plan> p(new Plan);
  p->unit_ = std::move(unit);
  p->options_ = options;
  p->options_.memory_budget = 0;  // of bodies: they are part of their node's workspace
  p->report_ = std::move(report);
  p->bodies_.resize(static_cast<size_t>(p->unit_.graph.size()));
  for (const int32_t id : live_nodes(p->unit_)) {
    const Node& n = p->unit_.graph.node(id);
    if (n.body == nullptr || is_region(n)) continue;  // run as a whole
    const auto body =
        make(follow_products(fuse(*n.body, p->options_), p->options_), p->options_, {});
    if (n.op->name == "segments") body->first_packed_ = SegmentsLayout(n).first_shared();
    p->bodies_[static_cast<size_t>(id)] = body;
  }
  p->options_.memory_budget = options.memory_budget;
  p->outline_ = std::make_unique<const PlanOutline>(*p);
  return p;
}

// The user's own calls, so that a refusal names the op, the operand and the place in the program.
void Plan::check_undecided(const Binding& binding) const {
  for (const int32_t id : undecided_) {
    const Node& n = asked_.graph.node(id);
    std::vector<ValueType> in;
    for (const Value v : n.inputs) {
      in.push_back(v ? asked_.graph.type(v) : ValueType{f32, {}, false});
      if (v) in.back().shape = to_shape(rondo::bind(in.back().shape, binding));
    }
    std::unique_ptr<const Attributes> bound;
    infer_call(*n.op, attributes_of(n, binding, bound), in, n.name, n.site, n.body.get(), nullptr);
  }
}

std::shared_ptr<const BoundPlan> Plan::bind(const Binding& binding) const {
  // What is handed out keeps the plan alive too; what the plan keeps does not, or nothing would
  // end.
  struct Holder {
    std::shared_ptr<const Plan> plan;
    std::shared_ptr<const BoundPlan> bound;
  };
  const auto hand_out = [this](const std::shared_ptr<const BoundPlan>& b) {
    const auto holder = std::make_shared<Holder>(Holder{shared_from_this(), b});
    return std::shared_ptr<const BoundPlan>(holder, b.get());
  };
  // To be held under the lock.
  const auto find = [&]() -> std::shared_ptr<const BoundPlan> {
    const auto it = std::find_if(bound_.begin(), bound_.end(),
                                 [&](const auto& b) { return b.first == binding; });
    if (it == bound_.end()) return nullptr;
    std::rotate(it, it + 1, bound_.end());
    return bound_.back().second;
  };
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = find()) return hand_out(known);
  }
  const Fit fitted = fit(binding);
  if (fitted.runs() == nullptr) {
    std::string sizes;
    for (const auto& [name, size] : binding)
      sizes += cat(sizes.empty() ? " of " : ", ", name, " = ", size);
    fail(Fault::kArgument, "plan.memory.budget", "[plan] a run", sizes, " needs ",
         fitted.kept->arena_bytes(), " bytes",
         fitted.again == nullptr ? ""
                                 : cat(", and ", fitted.again->arena_bytes(),
                                       " where gradients compute again what they need"),
         ", the budget is ", fitted.budget,
         "; make the batch or the sequences smaller, or the budget larger");
  }
  const std::shared_ptr<const BoundPlan>& made = fitted.runs();
  std::shared_ptr<const BoundPlan> let_go;  // after the lock
  const std::lock_guard lock(mutex_);
  if (const auto known = find()) return hand_out(known);  // another thread's
  if (bound_.size() == kBoundPlansKept) {
    let_go = std::move(bound_.front().second);
    bound_.erase(bound_.begin());
  }
  bound_.emplace_back(binding, made);
  return hand_out(made);
}

const std::shared_ptr<const BoundPlan>& Plan::Fit::runs() const {
  static const std::shared_ptr<const BoundPlan> none;
  const auto fits = [&](const auto& b) { return budget == 0 || b->arena_bytes() <= budget; };
  return fits(kept) ? kept : again != nullptr && fits(again) ? again : none;
}

Plan::Fit Plan::fit(const Binding& binding) const {
  check_undecided(binding);
  Fit r{std::make_shared<const BoundPlan>(*this, binding), nullptr, options_.memory_budget};
  if (r.runs() != nullptr) return r;
  if (const auto less = smaller()) r.again = less->bind(binding);
  return r;
}

std::shared_ptr<const Plan> Plan::smaller() const {
  if (options_.recompute || !options_.optimize || asked_.outputs.empty()) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (smaller_ != nullptr) return smaller_;
  }
  CompileOptions options = options_;
  options.recompute = true;
  options.memory_budget = 0;
  auto made = compile(asked_, options);
  const std::lock_guard lock(mutex_);
  smaller_ = std::move(made);
  return smaller_;
}

BoundPlan::BoundPlan(const Plan& plan, Binding binding)
    : plan_(plan),
      outline_(*plan.outline_),
      binding_(std::move(binding)),
      places_(outline_.places) {
  infer_types();
  choose_kernels();
  plan_memory();
  list_packings();
}
BoundPlan::~BoundPlan() = default;

void BoundPlan::infer_types() {
  sized_types_.reserve(outline_.sized);  // places point at them
  for (const Node* n : outline_.late) {
    for (size_t k = 0; k < n->outputs.size(); ++k) {
      const size_t v = outline_.index({n->id, 0}) + k;
      if (!outline_.is_sized[v]) continue;
      const ValueType& given = n->outputs[k];
      const TensorType& t =
          sized_types_.emplace_back(given.dtype, rondo::bind(given.shape, binding_));
      places_[v].type = &t;
      if (is_too_large(t))
        fail(Fault::kArgument, "plan.value.size", "[", title_of(*n), "] a value is ", t.dtype,
             to_string(t.dims), ", but none may have more than ", kLargestValue, " bytes");
    }
    if (n->check_at_bind) check_undecided(*n);
  }
  const Subgraph& unit = plan_.unit();
  input_types_.reserve(unit.inputs.size());
  for (const Value v : unit.inputs) input_types_.push_back(*places_[outline_.index(v)].type);
  output_types_.reserve(unit.outputs.size());
  for (const Value v : unit.outputs)
    output_types_.push_back(v ? *places_[outline_.index(v)].type : TensorType{f32, {}, false});
}

// An equality that could not be decided: the op's own rules speak once more, on numbers.
void BoundPlan::check_undecided(const Node& n) const {
  std::vector<ValueType> in;
  for (const Value v : n.inputs) {
    if (!v) {
      in.push_back({f32, {}, false});
    } else {
      const TensorType& t = *places_[outline_.index(v)].type;
      in.push_back({t.dtype, to_shape(t.dims), true});
    }
  }
  std::unique_ptr<const Attributes> bound;
  const std::vector<ValueType> out = infer_call(*n.op, attributes_of(n, binding_, bound), in,
                                                n.name, n.site, n.body.get(), nullptr);
  if (n.op->name == "recurrence") return check_body(n, in, binding_);
  if (is_region(n)) hold_region(n, in);
  if (n.body) return;  // its results may name its own symbols
  for (size_t k = 0; k < out.size(); ++k) {
    const TensorType& t = *places_[outline_.index({n.id, 0}) + k].type;
    if (out[k].present && out[k].shape != to_shape(t.dims)) {
      fail(Fault::kArgument, n.op->name + ".shape.bind", "[", title_of(n), "] gives ",
           to_string(out[k].shape), " under these values, the graph said ",
           to_string(n.outputs[k].shape), " = ", to_string(t.dims));
    }
  }
}

// A region's operands are what its body takes, whatever could not be decided of their symbols.
void BoundPlan::hold_region(const Node& n, const std::vector<ValueType>& in) const {
  const size_t of_product = n.op->name == "fused" ? 0 : 1;  // two operands are one of the body's
  for (size_t i = 2 * of_product; i < in.size(); ++i) {
    const ValueType& t = n.body->graph.type(n.body->inputs[i - of_product]);
    const Shape want = to_shape(rondo::bind(t.shape, binding_));
    if (in[i].shape != want)
      fail(Fault::kArgument, n.op->name + ".operands.type", "[", title_of(n), "] operand ", i,
           " has shape ", to_string(in[i].shape), ", but its body takes ", to_string(want),
           built_at(n.site));
  }
}

void BoundPlan::choose_kernels() {
  steps_.reserve(outline_.steps.size());
  view_types_.reserve(outline_.views);
  for (size_t i = 0; i < outline_.steps.size(); ++i) {
    const PlanOutline::Step& o = *outline_.steps[i];
    const auto make = [&] { return ready(i); };
    const Step& s = steps_.emplace_back(o, o.fixed ? o.memo.get<ReadyCall>(make) : make());
    for (const TensorType& t : s.call.in) view_types_.push_back(&t);
    for (const TensorType& t : s.call.out) view_types_.push_back(&t);
  }
}

std::shared_ptr<const ReadyCall> BoundPlan::ready(size_t i) const {
  const PlanOutline::Step& step = *outline_.steps[i];
  const Node& n = *step.node;
  const CompileOptions& options = plan_.options();
  auto r = std::make_shared<ReadyCall>(n, binding_);
  KernelCall& call = r->call;
  call.precision = options.precision;
  call.memo = &step.memo;
  call.in.reserve(n.inputs.size());
  for (const Value v : n.inputs)
    call.in.push_back(v ? *places_[outline_.index(v)].type : TensorType{f32, {}, false});
  call.out.reserve(n.outputs.size());
  for (size_t k = 0; k < n.outputs.size(); ++k) {
    call.out.push_back(*places_[outline_.index({n.id, 0}) + k].type);
    call.out.back().present = step.out[k] >= 0;
  }
  const bool in_steps = n.op->name == "recurrence" && options.kernel == kRecurrenceSteps;
  if (const Kernel* k = in_steps ? nullptr : choose(call, options)) {
    r->kernel = k->name;
    r->note = k->note;
    r->prepared = k->prepare(call);
  } else if (n.op->name == "segments") {
    r->kernel = kSegments;
    r->note = "a segment of time after the other, from the body's own plan";
    r->prepared = make_segments(call, *plan_.body_of(n.id), binding_);
  } else if (n.body != nullptr && n.op->name == "recurrence") {
    r->kernel = kRecurrenceSteps;
    r->note = "step by step from the body's own plan";
    r->prepared = make_recurrence_steps(call, *plan_.body_of(n.id), binding_);
  } else if (auto half =
                 prepare_in_f32(call, [&](const KernelCall& c) { return choose(c, options); })) {
    r->kernel = half->kernel;
    r->note = "in f32, operands and results converted";
    r->prepared = std::move(half->prepared);
  } else {
    std::string types;
    for (const TensorType& t : call.in)
      types += cat(types.empty() ? "" : ", ", t.present ? cat(t.dtype, to_string(t.dims)) : "none");
    fail(Fault::kUnsupported, n.op->name + ".kernel.missing", "[", title_of(n),
         "] no kernel of backend '", options.backend, "' supports operands (", types, ")",
         options.one_step ? " without allocating, as a stream needs it" : "");
  }
  return r;
}

// Values live from the step that makes them to the last that reads them, and all of a group until
// its end; a freed block is used again, smallest fit first.
void BoundPlan::plan_memory() {
  std::vector<size_t> last(places_.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const int64_t v : steps_[s].in) {
      if (v >= 0) last[static_cast<size_t>(v)] = s;
    }
    for (const int64_t v : steps_[s].out) {
      if (v >= 0) last[static_cast<size_t>(v)] = s;
    }
  }
  for (const PlanOutline::Copy& c : outline_.copies) last[c.value] = steps_.size();
  std::vector<bool> placed(places_.size(), false);  // several steps may write parts of one
  ArenaHoles arena;
  std::vector<std::pair<size_t, size_t>> of_group;  // workspaces and packings: where, bytes
  const auto take_for_group = [&](size_t bytes) {
    of_group.emplace_back(arena.take(bytes), bytes);
    return of_group.back().first;
  };
  std::vector<std::vector<size_t>> dies(steps_.size() + 1);
  for (size_t s = 0, begin = 0, end = 0; s < steps_.size(); ++s) {
    Step& step = steps_[s];
    if (step.group != 0) {
      begin = s;
      end = s + step.group;
    }
    for (const int64_t v : step.out) {
      if (v < 0 || places_[static_cast<size_t>(v)].home != Home::kArena) continue;
      if (placed[static_cast<size_t>(v)]) continue;
      placed[static_cast<size_t>(v)] = true;
      Place& p = places_[static_cast<size_t>(v)];
      p.at = arena.take(p.type->bytes());
      dies[last[static_cast<size_t>(v)]].push_back(static_cast<size_t>(v));
    }
    if (const size_t n = step.prepared->workspace_bytes(); n != 0)
      step.workspace = take_for_group(n);
    for (const Packing& p : step.prepared->packings()) {
      const Place& of = places_[static_cast<size_t>(step.in[p.operand])];
      const bool given = of.home == Home::kInput && of.at >= plan_.first_packed_;
      step.packed.push_back(given ? 0 : take_for_group(p.bytes));
    }
    if (s + 1 != end) continue;
    for (const auto& [at, bytes] : of_group) arena.give_back(at, bytes);
    of_group.clear();
    for (size_t k = begin; k < end; ++k) {
      for (const size_t v : dies[k]) arena.give_back(places_[v].at, places_[v].type->bytes());
    }
  }
  arena_bytes_ = arena.top();
}

std::vector<StepInfo> BoundPlan::steps() const {
  std::vector<StepInfo> r;
  for (const auto& s : steps_) {
    const std::string kernel(s.ready->kernel);
    StepInfo i{s.call.node.id,
               s.call.node.op->name,
               kernel,
               std::string(s.ready->note),
               why_chosen(kernel, s.call, plan_.options()),
               s.call.out,
               0,
               s.prepared->workspace_bytes()};
    const auto also = [&](const std::string& how) {
      if (!how.empty()) i.why = i.why.empty() ? how : cat(how, "; ", i.why);
    };
    also(s.prepared->note());
    if (s.group == 0)
      also(s.leader < 0 ? "beside the loop above" : "behind a loop above, step by step");
    for (const TensorType& t : s.call.out) i.output_bytes += t.present ? t.bytes() : 0;
    r.push_back(std::move(i));
  }
  return r;
}

template <class F>
bool BoundPlan::any_step(const F& f) const {
  for (const auto& s : steps_) {
    if (f(s)) return true;
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (const auto body = body_of(i); body != nullptr && body->any_step(f)) return true;
  }
  return false;
}

bool BoundPlan::uses_kernel(std::string_view name) const {
  return any_step([&](const Step& s) { return s.ready->kernel == name; });
}

std::string BoundPlan::why_unused(std::string_view kernel) const {
  std::string why;
  any_step([&](const Step& s) {
    why = why_not(kernel, s.call, plan_.options());
    return !why.empty();
  });
  return why;
}

std::set<std::string> BoundPlan::ops() const {
  std::set<std::string> r;
  any_step([&](const Step& s) {
    r.insert(s.call.node.op->name);
    return false;
  });
  return r;
}

std::shared_ptr<const BoundPlan> BoundPlan::body_of(size_t step) const {
  const Step& s = steps_.at(step);
  const Plan* body = plan_.body_of(s.call.node.id);
  if (body != nullptr && s.ready->kernel == kSegments)
    return body->bind(binding_of_segment(s.call, binding_));
  if (body == nullptr || s.ready->kernel != kRecurrenceSteps) return nullptr;
  Binding b = binding_;
  b[s.call.attributes.text("row_symbol")] = s.call.dims("extent")[1];
  return body->bind(b);
}

void BoundPlan::list_packings() {
  size_t n = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    Step& step = steps_[s];
    step.first_packing = n;
    const auto packings = step.prepared->packings();
    for (size_t i = 0; i < packings.size(); ++i, ++n) {
      const Place& p = places_[static_cast<size_t>(step.in[packings[i].operand])];
      const size_t at = step.in_at[packings[i].operand];
      packed_by_.emplace_back(s, i);
      packed_constants_.emplace_back();
      if (p.home == Home::kConstant) {
        packed_constants_.back() = allocate_aligned(packings[i].bytes);
        step.prepared->pack(
            i, {&step.call.in[packings[i].operand], const_cast<std::byte*>(p.constant) + at},
            packed_constants_.back().get());
      }
      if (p.home == Home::kInput)
        packings_.push_back({p.at, packings[i].bytes,
                             at == 0 ? packings[i].layout : cat(packings[i].layout, " from ", at),
                             n});
    }
  }
}

void BoundPlan::pack(const InputPacking& p, const std::byte* input, std::byte* to) const {
  const auto [s, i] = packed_by_[p.index];
  const Step& step = steps_[s];
  const size_t operand = step.prepared->packings()[i].operand;
  const View from{&step.call.in[operand],  // NOLINT below: never written through
                  const_cast<std::byte*>(input) + step.in_at[operand]};  // NOLINT
  step.prepared->pack(i, from, to);
}

}  // namespace rondo
