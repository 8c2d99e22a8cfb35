#include <rondo/graph/eager.h>

#include <algorithm>
#include <mutex>

#include <rondo/graph/op.h>
#include <rondo/runtime/plan.h>
#include <rondo/runtime/session.h>

namespace rondo {

namespace {

thread_local const EagerScope* innermost = nullptr;

// One op on operands of fixed types: planned once, run many times.
struct Entry {
  const OpDef* op;
  Attributes attributes;
  std::vector<ValueType> inputs;
  std::shared_ptr<const Subgraph> body;
  CompileOptions options;
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const BoundPlan> bound;
  std::vector<bool> present;  // of the results

  bool same(const Entry& o) const {
    return op == o.op && options == o.options && body == o.body && inputs == o.inputs &&
           attributes == o.attributes;
  }
};

constexpr size_t kEntriesKept = 256;

std::shared_ptr<const Entry> planned(Entry e, const CompileOptions& options,
                                     const std::string& name, Site site) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const Entry>> entries;  // most recent last
  {
    const std::lock_guard lock(mutex);
    const auto it =
        std::find_if(entries.begin(), entries.end(), [&](const auto& o) { return o->same(e); });
    if (it != entries.end()) {
      std::rotate(it, it + 1, entries.end());
      return entries.back();
    }
  }
  Graph g;
  Subgraph unit{g, {}, {}};
  Vars in;
  for (const ValueType& t : e.inputs) {
    in.push_back(t.present
                     ? g.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0]
                     : Var());
    if (t.present) unit.inputs.push_back(in.back().value());
  }
  for (const Var& v :
       g.call(*e.op, in, e.attributes, {.name = name, .body = e.body, .site = site})) {
    e.present.push_back(static_cast<bool>(v));
    if (v) unit.outputs.push_back(v.value());
  }
  e.plan = Plan::compile(unit, options);
  e.bound = e.plan->bind({});
  auto made = std::make_shared<const Entry>(std::move(e));
  const std::lock_guard lock(mutex);
  if (entries.size() == kEntriesKept) entries.erase(entries.begin());
  entries.push_back(made);
  return made;
}

ThreadTeam& shared_team() {
  static ThreadTeam team;
  return team;
}

}  // namespace

EagerScope::EagerScope(CompileOptions options, std::shared_ptr<ThreadTeam> team)
    : options_(std::move(options)), team_(std::move(team)), outer_(innermost) {
  innermost = this;
}
EagerScope::~EagerScope() { innermost = outer_; }

std::vector<Tensor> eager_call(const OpDef& op, const std::vector<Tensor>& inputs,
                               const Attributes& attributes, CallOptions options, EagerKey key) {
  static const CompileOptions kDefaults;
  const CompileOptions& o = innermost != nullptr ? innermost->options() : kDefaults;
  Entry e{&op, attributes, {}, options.body, o, nullptr, nullptr, {}};
  for (const Tensor& t : inputs)
    e.inputs.push_back(t ? ValueType{t.dtype(), to_shape(t.dims()), true}
                         : ValueType{f32, {}, false});
  const std::shared_ptr<const Entry> p = planned(std::move(e), o, options.name, options.site);

  const auto arena = allocate_aligned(p->bound->arena_bytes());
  Frame frame(*p->bound, arena.get());
  size_t k = 0;
  for (const Tensor& t : inputs) {
    if (t) frame.set_input(k++, t.raw());
  }
  std::vector<Tensor> made;
  for (const TensorType& t : p->bound->output_types())
    made.push_back(Tensor::unset(t.dtype, t.dims));
  for (size_t i = 0; i < made.size(); ++i) frame.set_output(i, made[i].raw_mutable());
  RunContext context{innermost != nullptr && innermost->team() != nullptr ? *innermost->team()
                                                                          : shared_team()};
  context.seed = key.seed;
  context.step = key.step;
  frame.run(context);
  std::vector<Tensor> results;
  k = 0;
  for (const bool present : p->present)
    results.push_back(present ? std::move(made[k++]) : Tensor());
  return results;
}

}  // namespace rondo
