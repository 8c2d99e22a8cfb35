#include <rondo/runtime/plan.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include <rondo/graph/checked.h>
#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/runtime/choose.h>
#include <rondo/runtime/half.h>
#include <rondo/runtime/recurrence_steps.h>
#include <rondo/runtime/side_by_side.h>

namespace rondo {
namespace {

constexpr size_t kBoundPlansKept = 64;

bool is_leaf(const Node& n) { return n.op == &placeholder_op() || n.op == &variable_op(); }

Attributes bind_attributes(const Attributes& a, const Binding& binding) {
  Attributes r = a;
  for (const auto& [name, value] : a.items()) {
    const auto* shape = value.get<Shape>();
    if (shape == nullptr || shape->empty()) continue;
    Shape bound;
    for (const Dim& d : *shape) bound.push_back(d.bind(binding));
    r.set(name, bound);
  }
  return r;
}

}  // namespace

struct BoundPlan::Step {
  Step(const Node& n, Attributes a) : attributes(std::move(a)), call{n, attributes, {}, {}} {}

  Attributes attributes;
  KernelCall call;
  std::string kernel, note;
  std::unique_ptr<PreparedKernel> prepared;
  std::vector<int64_t> in, out;  // values; -1 absent
  size_t workspace = 0;          // offset in the arena
  std::vector<size_t> packed;    // offsets in the arena
  size_t first_packing = 0;
  size_t first_view = 0;
  size_t group = 1;     // steps from here on that run together; 0: in one that began before
  int64_t leader = -1;  // the step that this follows
};

std::shared_ptr<const Plan> Plan::compile(const Subgraph& unit, const CompileOptions& options) {
  std::vector<PassReport> report;
  Subgraph optimized = optimize(unit, options, &report);
  auto p = make(std::move(optimized), options, std::move(report));
  p->asked_ = unit;
  for (const int32_t id : live_nodes(unit)) {
    if (unit.graph.node(id).check_at_bind) p->undecided_.push_back(id);
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
    if (n.body == nullptr || n.op->name == "fused") continue;  // run as a whole
    p->bodies_[static_cast<size_t>(id)] = of_optimized(fuse(*n.body, p->options_), p->options_);
  }
  p->options_.memory_budget = options.memory_budget;
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
    infer_call(*n.op, bind_attributes(n.attributes, binding), in, n.name, n.site, n.body.get(),
               nullptr);
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
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(bound_.begin(), bound_.end(),
                                 [&](const auto& b) { return b.first == binding; });
    if (it != bound_.end()) {
      std::rotate(it, it + 1, bound_.end());
      return hand_out(bound_.back().second);
    }
  }
  check_undecided(binding);
  auto made = std::make_shared<BoundPlan>(*this, binding);
  const std::lock_guard lock(mutex_);
  if (bound_.size() == kBoundPlansKept) bound_.erase(bound_.begin());
  bound_.emplace_back(binding, made);
  return hand_out(made);
}

BoundPlan::BoundPlan(const Plan& plan, Binding binding)
    : plan_(plan), binding_(std::move(binding)) {
  infer_types();
  place_values();
  choose_kernels();
  if (plan_.options().optimize && !plan_.options().one_step) schedule_steps();
  plan_memory();
  list_views();
  list_packings();
}
BoundPlan::~BoundPlan() = default;

namespace {

// No memory holds more. Kernels count elements, steps of work and bytes without looking for
// overflow, and may: of values that are no larger, whatever axes of length 0 hide.
constexpr int64_t kLargestValue = int64_t{1} << 42;

void check_size(const Node& n, const TensorType& t) {
  int64_t bytes = static_cast<int64_t>(size_of(t.dtype));
  for (const int64_t d : t.dims) {
    if (d > 1 && __builtin_mul_overflow(bytes, d, &bytes)) bytes = INT64_MAX;
    if (bytes > kLargestValue)
      fail(Fault::kArgument, "plan.value.size", "[", title_of(n), "] a value is ", t.dtype,
           to_string(t.dims), ", but none may have more than ", kLargestValue, " bytes");
  }
}

}  // namespace

void BoundPlan::infer_types() {
  const Graph& g = plan_.unit().graph;
  for (int32_t i = 0; i < g.size(); ++i) {
    const Node& n = g.node(i);
    first_.push_back(places_.size());
    for (const ValueType& t : n.outputs) {
      Place p;
      p.type = {t.dtype, {}, t.present};
      places_.push_back(std::move(p));
    }
  }
  used_.resize(places_.size());
  lies_in_.assign(places_.size(), kItself);
  const std::vector<int32_t> live = live_nodes(plan_.unit());
  for (const int32_t i : live) {
    const Node& n = g.node(i);
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      if (!n.outputs[k].present) continue;
      TensorType& t = places_[first_[static_cast<size_t>(i)] + k].type;
      t.dims = rondo::bind(n.outputs[k].shape, binding_);
      check_size(n, t);
    }
    for (const Value v : n.inputs) {
      if (v) used_[index(v)] = true;
    }
    if (!n.check_at_bind) continue;
    // An equality that could not be decided: the op's own rules speak once more, on numbers.
    std::vector<ValueType> in;
    for (const Value v : n.inputs) {
      if (!v) {
        in.push_back({f32, {}, false});
      } else {
        const TensorType& t = places_[index(v)].type;
        in.push_back({t.dtype, to_shape(t.dims), true});
      }
    }
    const Attributes bound = bind_attributes(n.attributes, binding_);
    const std::vector<ValueType> out =
        infer_call(*n.op, bound, in, n.name, n.site, n.body.get(), nullptr);
    if (n.body) {
      check_body(n, in, binding_);
      continue;  // its results may name its own symbols
    }
    for (size_t k = 0; k < out.size(); ++k) {
      const TensorType& t = places_[first_[static_cast<size_t>(i)] + k].type;
      if (out[k].present && out[k].shape != to_shape(t.dims)) {
        fail(Fault::kArgument, n.op->name + ".shape.bind", "[", title_of(n), "] gives ",
             to_string(out[k].shape), " under these values, the graph said ",
             to_string(n.outputs[k].shape), " = ", to_string(t.dims));
      }
    }
  }
}

void BoundPlan::place_values() {
  const Subgraph& unit = plan_.unit();
  for (size_t i = 0; i < unit.inputs.size(); ++i) {
    Place& p = places_[index(unit.inputs[i])];
    p.home = Home::kInput;
    p.at = i;
    // An input that nothing needs was never bound above.
    const ValueType& t = unit.graph.type(unit.inputs[i]);
    if (p.type.dims.size() != t.shape.size()) p.type.dims = rondo::bind(t.shape, binding_);
    input_types_.push_back(p.type);
  }
  for (const int32_t id : live_nodes(unit)) {
    const Node& n = unit.graph.node(id);
    if (n.op != &constant_op()) continue;
    Place& p = places_[index({id, 0})];
    p.home = Home::kConstant;
    p.constant = n.attributes.tensor("value");
  }
  for (size_t o = 0; o < unit.outputs.size(); ++o) {
    if (!unit.outputs[o]) {
      output_types_.push_back({f32, {}, false});
      continue;
    }
    const size_t v = index(unit.outputs[o]);
    Place& p = places_[v];
    output_types_.push_back(p.type);
    used_[v] = true;
    if (p.home == Home::kNone) {
      p.home = Home::kOutput;
      p.at = o;
    } else {
      copies_.push_back({v, o});
    }
  }
}

void BoundPlan::choose_kernels() {
  const Subgraph& unit = plan_.unit();
  const CompileOptions& options = plan_.options();
  for (const int32_t id : live_nodes(unit)) {
    const Node& n = unit.graph.node(id);
    if (is_leaf(n) || n.op == &constant_op()) continue;
    if (n.op->name == "reshape" && options.optimize && options.kernel.empty()) {
      const size_t v = index({id, 0});
      if (places_[v].home == Home::kNone) {  // the same bytes, where they lie
        lies_in_[v] = root(index(n.inputs[0]));
        continue;
      }
    }
    auto s = std::make_unique<Step>(n, bind_attributes(n.attributes, binding_));
    s->call.precision = options.precision;
    for (const Value v : n.inputs) {
      s->in.push_back(v ? static_cast<int64_t>(root(index(v))) : -1);
      s->call.in.push_back(v ? places_[index(v)].type : TensorType{f32, {}, false});
    }
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const size_t v = first_[static_cast<size_t>(id)] + k;
      Place& p = places_[v];
      if (n.outputs[k].present && used_[v] && p.home == Home::kNone) p.home = Home::kArena;
      const bool wanted = n.outputs[k].present && used_[v];
      s->out.push_back(wanted ? static_cast<int64_t>(v) : -1);
      s->call.out.push_back(p.type);
      s->call.out.back().present = wanted;
    }
    const bool in_steps = n.op->name == "recurrence" && options.kernel == kRecurrenceSteps;
    if (const Kernel* k = in_steps ? nullptr : choose(s->call, options)) {
      s->kernel = k->name;
      s->note = k->note;
      s->prepared = k->prepare(s->call);
    } else if (n.body != nullptr && n.op->name == "recurrence") {
      s->kernel = kRecurrenceSteps;
      s->note = "step by step from the body's own plan";
      s->prepared = make_recurrence_steps(s->call, *plan_.body_of(id), binding_);
    } else if (auto half = prepare_in_f32(
                   s->call, [&](const KernelCall& c) { return choose(c, options); })) {
      s->kernel = half->kernel;
      s->note = "in f32, operands and results converted";
      s->prepared = std::move(half->prepared);
    } else {
      std::string types;
      for (const TensorType& t : s->call.in)
        types +=
            cat(types.empty() ? "" : ", ", t.present ? cat(t.dtype, to_string(t.dims)) : "none");
      fail(Fault::kUnsupported, n.op->name + ".kernel.missing", "[", title_of(n),
           "] no kernel of backend '", options.backend, "' supports operands (", types, ")",
           options.one_step ? " without allocating, as a stream needs it" : "");
    }
    steps_.push_back(std::move(s));
  }
}

void BoundPlan::schedule_steps() {
  std::vector<Work> work;
  for (const auto& s : steps_) work.push_back({s->prepared.get(), &s->call.node, &s->in, &s->out});
  std::vector<std::unique_ptr<Step>> ordered;
  for (const Schedule::Place& p : schedule(work).places) {
    ordered.push_back(std::move(steps_[p.step]));
    ordered.back()->group = p.group;
    ordered.back()->leader = p.leader;
  }
  steps_ = std::move(ordered);
}

// Values live from the step that makes them to the last that reads them, and all of a group until
// its end; a freed block is used again, smallest fit first.
void BoundPlan::plan_memory() {
  std::vector<size_t> last(places_.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const int64_t v : steps_[s]->in) {
      if (v >= 0) last[static_cast<size_t>(v)] = s;
    }
  }
  for (const Copy& c : copies_) last[c.value] = steps_.size();
  std::multimap<size_t, size_t> holes;  // size -> offset
  std::map<size_t, size_t> by_offset;   // the same holes, to join neighbours
  size_t top = 0;
  const auto take = [&](size_t bytes) {
    bytes = align_up(std::max<size_t>(bytes, 1));
    const auto h = holes.lower_bound(bytes);
    if (h == holes.end()) {
      const size_t at = top;
      top =
          static_cast<size_t>(checked_add(static_cast<int64_t>(top), static_cast<int64_t>(bytes)));
      return at;
    }
    const auto [size, at] = *h;
    holes.erase(h);
    by_offset.erase(at);
    if (size > bytes) {
      holes.emplace(size - bytes, at + bytes);
      by_offset.emplace(at + bytes, size - bytes);
    }
    return at;
  };
  const auto forget = [&](size_t at, size_t size) {
    for (auto [i, end] = holes.equal_range(size); i != end; ++i) {
      if (i->second == at) {
        holes.erase(i);
        break;
      }
    }
    by_offset.erase(at);
  };
  const auto give_back = [&](size_t at, size_t bytes) {
    bytes = align_up(std::max<size_t>(bytes, 1));
    auto next = by_offset.lower_bound(at);
    if (next != by_offset.end() && next->first == at + bytes) {
      const size_t size = next->second;
      forget(at + bytes, size);
      bytes += size;
    }
    auto before = by_offset.lower_bound(at);
    if (before != by_offset.begin()) {
      --before;
      if (before->first + before->second == at) {
        const auto [b, size] = *before;
        forget(b, size);
        at = b;
        bytes += size;
      }
    }
    holes.emplace(bytes, at);
    by_offset.emplace(at, bytes);
  };
  std::vector<std::vector<size_t>> dies(steps_.size() + 1);
  std::vector<std::pair<size_t, size_t>> of_group;  // workspaces and packings: where, bytes
  const auto take_for_group = [&](size_t bytes) {
    of_group.emplace_back(take(bytes), bytes);
    return of_group.back().first;
  };
  for (size_t s = 0, begin = 0, end = 0; s < steps_.size(); ++s) {
    Step& step = *steps_[s];
    if (step.group != 0) {
      begin = s;
      end = s + step.group;
    }
    for (const int64_t v : step.out) {
      if (v < 0 || places_[static_cast<size_t>(v)].home != Home::kArena) continue;
      Place& p = places_[static_cast<size_t>(v)];
      p.at = take(p.type.bytes());
      dies[std::max(s, last[static_cast<size_t>(v)])].push_back(static_cast<size_t>(v));
    }
    if (const size_t n = step.prepared->workspace_bytes(); n != 0)
      step.workspace = take_for_group(n);
    for (const Packing& p : step.prepared->packings())
      step.packed.push_back(take_for_group(p.bytes));
    if (s + 1 != end) continue;
    for (const auto& [at, bytes] : of_group) give_back(at, bytes);
    of_group.clear();
    for (size_t k = begin; k < end; ++k) {
      for (const size_t v : dies[k]) give_back(places_[v].at, places_[v].type.bytes());
    }
  }
  arena_bytes_ = top;
  const size_t budget = plan_.options().memory_budget;
  if (budget != 0 && arena_bytes_ > budget) {
    fail(Fault::kArgument, "plan.memory.budget", "[plan] a run needs ", arena_bytes_,
         " bytes, the budget is ", budget, "; make the batch smaller or the budget larger");
  }
}

std::vector<StepInfo> BoundPlan::steps() const {
  std::vector<StepInfo> r;
  for (const auto& s : steps_) {
    StepInfo i{s->call.node.id,
               s->call.node.op->name,
               s->kernel,
               s->note,
               why_chosen(s->kernel, s->call, plan_.options()),
               s->call.out,
               0,
               s->prepared->workspace_bytes()};
    const auto also = [&](const std::string& how) {
      if (!how.empty()) i.why = i.why.empty() ? how : cat(how, "; ", i.why);
    };
    also(s->prepared->note());
    if (s->group == 0)
      also(s->leader < 0 ? "beside the loop above" : "behind a loop above, step by step");
    for (const TensorType& t : s->call.out) i.output_bytes += t.present ? t.bytes() : 0;
    r.push_back(std::move(i));
  }
  return r;
}

template <class F>
bool BoundPlan::any_step(const F& f) const {
  for (const auto& s : steps_) {
    if (f(*s)) return true;
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (const auto body = body_of(i); body != nullptr && body->any_step(f)) return true;
  }
  return false;
}

bool BoundPlan::uses_kernel(std::string_view name) const {
  return any_step([&](const Step& s) { return s.kernel == name; });
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
  const Step& s = *steps_.at(step);
  const Plan* body = plan_.body_of(s.call.node.id);
  if (body == nullptr || s.kernel != kRecurrenceSteps) return nullptr;
  Binding b = binding_;
  b[s.attributes.text("row_symbol")] = s.call.dims("extent")[1];
  return body->bind(b);
}

void BoundPlan::list_packings() {
  size_t n = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    Step& step = *steps_[s];
    step.first_packing = n;
    const auto packings = step.prepared->packings();
    for (size_t i = 0; i < packings.size(); ++i, ++n) {
      const Place& p = places_[static_cast<size_t>(step.in[packings[i].operand])];
      packed_by_.emplace_back(s, i);
      packed_constants_.emplace_back();
      if (p.home == Home::kConstant) {
        packed_constants_.back() = allocate_aligned(packings[i].bytes);
        step.prepared->pack(
            i, {&step.call.in[packings[i].operand], const_cast<std::byte*>(p.constant.raw())},
            packed_constants_.back().get());
      }
      if (p.home == Home::kInput)
        packings_.push_back({p.at, packings[i].bytes, packings[i].layout, n});
    }
  }
}

void BoundPlan::pack(const InputPacking& p, const std::byte* input, std::byte* to) const {
  const auto [s, i] = packed_by_[p.index];
  const Step& step = *steps_[s];
  const View from{&step.call.in[step.prepared->packings()[i].operand],
                  const_cast<std::byte*>(input)};  // NOLINT: never written through
  step.prepared->pack(i, from, to);
}

void BoundPlan::list_views() {
  std::vector<int64_t> value_of;  // by view
  for (const auto& s : steps_) {
    s->first_view = value_of.size();
    for (size_t i = 0; i < s->in.size(); ++i) view_types_.push_back(&s->call.in[i]);
    for (size_t i = 0; i < s->out.size(); ++i) view_types_.push_back(&s->call.out[i]);
    value_of.insert(value_of.end(), s->in.begin(), s->in.end());
    value_of.insert(value_of.end(), s->out.begin(), s->out.end());
  }
  first_view_of_.assign(places_.size() + 1, 0);
  for (const int64_t v : value_of) {
    if (v >= 0) ++first_view_of_[static_cast<size_t>(v) + 1];
  }
  std::partial_sum(first_view_of_.begin(), first_view_of_.end(), first_view_of_.begin());
  view_of_.resize(first_view_of_.back());
  std::vector<uint32_t> next(first_view_of_.begin(), first_view_of_.end() - 1);
  for (size_t i = 0; i < value_of.size(); ++i) {
    if (value_of[i] >= 0)
      view_of_[next[static_cast<size_t>(value_of[i])]++] = static_cast<uint32_t>(i);
  }
}

namespace {

// Inside of a handler: what went wrong, and where in the program that was asked for.
[[noreturn]] void rethrow_with_site(const Site& site) {
  try {
    throw;
  } catch (const Error& e) {
    const std::string text = e.what();
    if (site.file == nullptr || text.find("built at") != std::string::npos) throw;
    throw Error(e.fault(), e.code(), text + built_at(site));
  }
}

}  // namespace

Frame::Frame(const BoundPlan& plan, std::byte* arena) : plan_(plan), arena_(arena) {
  data_.resize(plan.places_.size());
  outputs_.resize(plan.output_types_.size());
  views_.reserve(plan.view_types_.size());
  for (const TensorType* t : plan.view_types_) views_.push_back({t, nullptr});
  packed_.reserve(plan.packed_by_.size());
  is_packed_.resize(plan.packed_by_.size());
  for (const auto& [step, i] : plan.packed_by_)
    packed_.push_back(arena_ + plan.steps_[step]->packed[i]);
  for (size_t i = 0; i < packed_.size(); ++i) {
    if (plan.packed_constants_[i] == nullptr) continue;
    packed_[i] = plan.packed_constants_[i].get();
    is_packed_[i] = true;
  }
  for (size_t v = 0; v < plan.places_.size(); ++v) {
    const BoundPlan::Place& p = plan.places_[v];
    if (p.home == BoundPlan::Home::kArena) set(v, arena_ + p.at);
    if (p.home == BoundPlan::Home::kConstant) set(v, const_cast<std::byte*>(p.constant.raw()));
  }
}

void Frame::set(size_t value, std::byte* data) {
  data_[value] = data;
  for (uint32_t i = plan_.first_view_of_[value]; i < plan_.first_view_of_[value + 1]; ++i)
    views_[plan_.view_of_[i]].data = data;
}

void Frame::set_input(size_t i, const std::byte* data) {
  set(plan_.index(plan_.plan_.unit().inputs[i]), const_cast<std::byte*>(data));
}

void Frame::set_packed(const InputPacking& p, const std::byte* data) {
  const auto [step, i] = plan_.packed_by_[p.index];
  is_packed_[p.index] = data != nullptr;
  packed_[p.index] = data != nullptr
                         ? const_cast<std::byte*>(data)  // NOLINT: never written through
                         : arena_ + plan_.steps_[step]->packed[i];
}

void Frame::set_output(size_t i, std::byte* data) {
  outputs_[i] = data;
  const Value v = plan_.plan_.unit().outputs[i];
  if (!v) return;
  const BoundPlan::Place& p = plan_.places_[plan_.index(v)];
  if (p.home == BoundPlan::Home::kOutput && p.at == i) set(plan_.index(v), data);
}

KernelArgs Frame::args_of(const BoundPlan::Step& s, RunContext& context) {
  const View* views = views_.data() + s.first_view;
  std::byte* const* packed = packed_.data() + s.first_packing;
  for (size_t i = 0; i < s.packed.size(); ++i) {
    if (!is_packed_[s.first_packing + i])
      s.prepared->pack(i, views[s.prepared->packings()[i].operand], packed[i]);
  }
  return {
      s.call,  {views, s.in.size()},     {views + s.in.size(), s.out.size()}, arena_ + s.workspace,
      context, {packed, s.packed.size()}};
}

void Frame::run_group(size_t first, RunContext& context) {
  const auto step = [&](size_t i) -> const BoundPlan::Step& { return *plan_.steps_[first + i]; };
  std::vector<TogetherCall> calls;
  for (size_t i = 0; i < step(0).group; ++i) {
    const int64_t leader = step(i).leader;
    calls.push_back({step(i).prepared.get(), args_of(step(i), context),
                     leader < 0 ? -1 : leader - static_cast<int64_t>(first)});
  }
  run_together(calls, context.team, [&](size_t i) { rethrow_with_site(step(i).call.node.site); });
}

void Frame::run(RunContext& context) {
  for (size_t i = 0; i < plan_.steps_.size(); ++i) {
    const BoundPlan::Step& s = *plan_.steps_[i];
    if (s.group > 1) {
      run_group(i, context);
    } else if (s.group == 1) {
      try {
        s.prepared->run(args_of(s, context));
      } catch (const Error&) {
        rethrow_with_site(s.call.node.site);
      }
    }
  }
  for (const BoundPlan::Copy& c : plan_.copies_) {
    const size_t n = plan_.places_[c.value].type.bytes();
    if (n != 0 && outputs_[c.output] != data_[c.value])
      std::memcpy(outputs_[c.output], data_[c.value], n);
  }
}

}  // namespace rondo
