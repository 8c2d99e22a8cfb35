#include <rondo/runtime/stream.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/streamify.h>
#include <rondo/runtime/bind_feeds.h>
#include <rondo/runtime/explain.h>
#include <rondo/runtime/recurrence_steps.h>

namespace rondo {
namespace {

std::vector<Tensor> run_once(const BoundPlan& plan, const std::vector<Tensor>& inputs,
                             ThreadTeam& team) {
  const auto arena = allocate_aligned(plan.arena_bytes());
  Frame frame(plan, arena.get());
  for (size_t i = 0; i < inputs.size(); ++i) frame.set_input(i, inputs[i].raw());
  std::vector<Tensor> outputs;
  for (const TensorType& t : plan.output_types()) outputs.emplace_back(t.dtype, t.dims);
  for (size_t i = 0; i < outputs.size(); ++i) frame.set_output(i, outputs[i].raw_mutable());
  RunContext context{team};
  frame.run(context);
  return outputs;
}

}  // namespace

// What is compiled: shared by a stream and its forks, never changed.
struct Stream::Program {
  Graph graph;
  std::shared_ptr<VariableStore> store;
  std::shared_ptr<ThreadTeam> team;
  Vars inputs, outputs;              // of a step, as Vars of the graph
  Vars fixed;                        // placeholders that are the same at each step,
  std::vector<std::string> weights;  // and variables: the inputs of `first`
  std::vector<std::string> states;
  // Inputs of `step` beside inputs and states: outputs of `first`, or its inputs as they are.
  struct Kept {
    bool is_input = false;
    size_t index = 0;
  };
  std::vector<Kept> kept;
  size_t first_states = 0;  // where they begin among the outputs of `first`
  std::shared_ptr<const BoundPlan> first, step;

  Program(Session& session, const Vars& asked, const StreamOptions& o);
  Subgraph unit_of(const Vars& asked) const;
  Binding sizes_of(const Subgraph& unit, const std::string& time, const StreamOptions& o) const;
  std::shared_ptr<const Weights> load(const std::vector<Feed>& feeds) const;
};

// The values of one version: what a step reads of them, and the first states.
struct Stream::Weights {
  std::shared_ptr<const VariableStore::Values> version;
  std::vector<Tensor> fed, kept, firsts;
  std::vector<std::shared_ptr<std::byte>> packed;  // of the step's packings; null: not of weights
};

// What belongs to one stream: two of each state, of which a step reads one and writes the other.
struct Stream::Run {
  std::shared_ptr<std::byte> memory;
  size_t bytes = 0;
  std::vector<Tensor> inputs, outputs, states[2];
  std::optional<Frame> frames[2];
  int now = 0;
};

Stream::Program::Program(Session& session, const Vars& asked, const StreamOptions& o)
    : graph(session.graph()),
      store(session.store()),
      team(std::make_shared<ThreadTeam>(o.threads)),
      outputs(asked) {
  Subgraph unit = unit_of(asked);
  store->extend(graph);
  CompileOptions options = session.options();
  const Subgraph lowered = lower_for_steps(unit, options);
  const std::string time = o.time.empty() ? time_symbol(lowered) : o.time;
  StreamifyOptions streamed{.time = time, .lengths = {}, .sizes = sizes_of(unit, time, o)};
  if (o.lengths) {
    const auto at = std::find(unit.inputs.begin(), unit.inputs.end(), o.lengths.value());
    if (at != unit.inputs.end())
      streamed.lengths.insert(lowered.inputs[static_cast<size_t>(at - unit.inputs.begin())]);
  }
  const Streamified s = streamify(lowered, streamed);
  states = s.states;
  std::vector<bool> changes;
  for (size_t i = 0; i < unit.inputs.size(); ++i) {
    const Var v = graph.var(unit.inputs[i]);
    if (s.roles[i] == StreamInput::lengths) continue;
    changes.push_back(s.roles[i] == StreamInput::step);
    if (s.roles[i] == StreamInput::step) {
      inputs.push_back(v);
    } else if (v.node().op == &placeholder_op()) {
      fixed.push_back(v);
    } else {
      weights.push_back(v.name());
    }
  }
  changes.resize(changes.size() + states.size(), true);
  const Subgraph whole = prune_recurrences(hoist_shared(s.unit));
  options.one_step = true;
  StepParts parts =
      split_fixed(inline_loops(whole, options), changes, asked.size() + states.size());
  // A weight that is read as it is needs no copy.
  std::vector<Value> computed;
  for (const Value v : parts.kept) {
    const auto& in = parts.fixed.inputs;
    const auto at = std::find(in.begin(), in.end(), v);
    const bool is_input = at != in.end();
    kept.push_back({is_input, is_input ? static_cast<size_t>(at - in.begin()) : computed.size()});
    if (!is_input) computed.push_back(v);
  }
  first_states = computed.size();
  computed.insert(computed.end(),
                  parts.fixed.outputs.begin() + static_cast<std::ptrdiff_t>(parts.kept.size()),
                  parts.fixed.outputs.end());
  parts.fixed.outputs = std::move(computed);
  first = Plan::compile(parts.fixed, session.options())->bind({});
  step = Plan::compile(parts.step, options)->bind({});
  if (step->uses_kernel(kRecurrenceSteps))
    fail(Fault::kUnsupported, "stream.kernel.allocates",
         "[stream] a step holds a loop that no kernel runs whole, which would allocate");
}

Subgraph Stream::Program::unit_of(const Vars& asked) const {
  if (asked.empty())
    fail(Fault::kArgument, "stream.outputs.missing", "[stream] nothing is asked for: name outputs");
  Subgraph unit{graph, {}, {}};
  for (const Var& v : asked) {
    if (!v) fail(Fault::kArgument, "stream.outputs.empty", "[stream] an output is an empty Var");
    if (!(v.graph() == graph)) refuse_stranger("stream", "an output", v);
    unit.outputs.push_back(v.value());
  }
  // Placeholders before variables, as `first` takes them.
  for (const OpDef* op : {&placeholder_op(), &variable_op()}) {
    for (const int32_t id : live_nodes({graph, {}, unit.outputs})) {
      if (graph.node(id).op == op) unit.inputs.push_back({id, 0});
    }
  }
  return unit;
}

Binding Stream::Program::sizes_of(const Subgraph& unit, const std::string& time,
                                  const StreamOptions& o) const {
  Vars placeholders;
  std::vector<Tensor> values;
  for (const auto& [v, value] : o.feeds) {
    if (!v || !(v.graph() == graph) || v.node().op != &placeholder_op())
      fail(Fault::kArgument, "stream.feed.placeholder", "[stream] a value is fed to \"", v.name(),
           "\", which is no placeholder of this graph");
    placeholders.push_back(v);
    values.push_back(value);
  }
  Binding sizes = bind_feeds(placeholders, values);
  std::set<std::string> known;
  for (const Value v : unit.inputs) {
    for (const Dim& d : graph.type(v).shape) {
      for (const std::string& name : d.symbols()) known.insert(name);
    }
  }
  for (const auto& [name, n] : o.sizes) {
    if (known.count(name) == 0 || name == time) {
      std::string there;
      for (const std::string& k : known) there += k == time ? "" : " " + k;
      fail(Fault::kArgument, "stream.sizes.unknown", "[stream] sizes names ", name, ", which is ",
           name == time ? "time, 1 in each step" : "no symbol of what is streamed", "; there are",
           there.empty() ? " none" : there);
    }
    if (n < 0)
      fail(Fault::kArgument, "stream.sizes.range", "[stream] sizes says ", name, " = ", n,
           ", but a size is 0 or more");
    if (sizes.emplace(name, n).first->second != n)
      fail(Fault::kArgument, "stream.sizes.differ", "[stream] sizes says ", name, " = ", n,
           ", a feed says ", sizes.at(name));
  }
  for (const std::string& name : known) {
    if (name != time) sizes.emplace(name, 1);
  }
  return sizes;
}

std::shared_ptr<const Stream::Weights> Stream::Program::load(const std::vector<Feed>& feeds) const {
  auto w = std::make_shared<Weights>();
  w->version = store->snapshot();
  std::vector<Tensor> in;
  for (size_t i = 0; i < fixed.size(); ++i) {
    const Var& p = fixed[i];
    const auto it = std::find_if(feeds.begin(), feeds.end(),
                                 [&](const Feed& f) { return f.first && f.first.same(p); });
    if (it == feeds.end())
      fail(Fault::kArgument, cat("placeholder.", p.name(), ".missing"), "[stream] placeholder \"",
           p.name(), "\" of type ", p.type().str(),
           " has no time axis, so it must be given as one of .feeds");
    const TensorType& t = first->input_types()[i];
    if (it->second.dtype() != t.dtype || it->second.dims() != t.dims)
      fail(Fault::kArgument, cat("placeholder.", p.name(), ".dim"), "[stream] placeholder \"",
           p.name(), "\" is ", t.dtype, to_string(t.dims), " here, but was fed ",
           it->second.dtype(), to_string(it->second.dims()));
    in.push_back(it->second);
  }
  w->fed = in;
  for (const std::string& name : weights) in.push_back(w->version->at(name));
  const std::vector<Tensor> out = run_once(*first, in, *team);
  for (const Kept& k : kept) w->kept.push_back(k.is_input ? in[k.index] : out[k.index]);
  const size_t before = inputs.size() + states.size();
  for (const InputPacking& p : step->packings()) {
    w->packed.push_back(p.input < before ? nullptr : allocate_aligned(p.bytes));
    if (p.input >= before) step->pack(p, w->kept[p.input - before].raw(), w->packed.back().get());
  }
  w->firsts.assign(out.begin() + static_cast<std::ptrdiff_t>(first_states), out.end());
  return w;
}

Stream::Stream(Session& session, const Vars& outputs, const StreamOptions& options)
    : Stream(std::make_shared<const Program>(session, outputs, options)) {
  weights_ = program_->load(options.feeds);
  place();
  reset();
}

namespace {
StreamOptions with_lengths(StreamOptions o, const Model& model) {
  if (!o.lengths) o.lengths = model.inputs().lengths;
  return o;
}
}  // namespace

Stream::Stream(const Model& model, const StreamOptions& options)
    : Stream(model.session(), {model.logits()}, with_lengths(options, model)) {}

// Memory for all that a step touches, and two frames upon it.
Stream::Stream(std::shared_ptr<const Program> program)
    : program_(std::move(program)), run_(std::make_unique<Run>()) {
  const BoundPlan& plan = *program_->step;
  const size_t inputs = program_->inputs.size(), outputs = program_->outputs.size();
  const size_t states = program_->states.size();
  const auto in = plan.input_types(), out = plan.output_types();
  size_t bytes = align_up(plan.arena_bytes());
  for (size_t i = 0; i < inputs + states; ++i) bytes += align_up(in[i].bytes());
  for (const TensorType& t : out) bytes += align_up(t.bytes());
  run_->memory = allocate_aligned(std::max<size_t>(bytes, 64));
  run_->bytes = bytes;
  std::memset(run_->memory.get(), 0, bytes);
  std::byte* at = run_->memory.get() + align_up(plan.arena_bytes());
  const auto take = [&](std::vector<Tensor>& list, const TensorType& t) {
    list.push_back(Tensor::view(t.dtype, t.dims, at));
    at += align_up(t.bytes());
  };
  for (size_t i = 0; i < inputs; ++i) take(run_->inputs, in[i]);
  for (size_t i = 0; i < states; ++i) take(run_->states[0], in[inputs + i]);
  for (size_t i = 0; i < outputs; ++i) take(run_->outputs, out[i]);
  for (size_t i = 0; i < states; ++i) take(run_->states[1], out[outputs + i]);
  const auto writable = [](const Tensor& t) { return const_cast<std::byte*>(t.raw()); };
  for (const int f : {0, 1}) {
    Frame& frame = run_->frames[f].emplace(plan, run_->memory.get());
    for (size_t i = 0; i < inputs; ++i) frame.set_input(i, run_->inputs[i].raw());
    for (size_t i = 0; i < outputs; ++i) frame.set_output(i, writable(run_->outputs[i]));
    for (size_t i = 0; i < states; ++i) {
      frame.set_input(inputs + i, run_->states[f][i].raw());
      frame.set_output(outputs + i, writable(run_->states[1 - f][i]));
    }
  }
}

Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

// Where the weights lie, as they are and as kernels want them.
void Stream::place() {
  const size_t before = program_->inputs.size() + program_->states.size();
  for (auto& frame : run_->frames) {
    for (size_t i = 0; i < weights_->kept.size(); ++i)
      frame->set_input(before + i, weights_->kept[i].raw());
    const auto packings = program_->step->packings();
    for (size_t i = 0; i < packings.size(); ++i)
      frame->set_packed(packings[i], weights_->packed[i].get());
  }
}

Stream Stream::fork() const {
  Stream s(program_);
  s.weights_ = weights_;
  s.place();
  s.set_state(state());
  return s;
}

namespace {
const Tensor* found(const Vars& vars, const std::vector<Tensor>& tensors, const Var& v) {
  for (size_t i = 0; i < vars.size(); ++i) {
    if (vars[i].same(v)) return &tensors[i];
  }
  return nullptr;
}

const Tensor& typed(const Tensor* t, const Var& v, DType wanted, std::string_view what,
                    const Vars& there, std::string_view told = {}) {
  if (t == nullptr) {
    std::string names;
    for (const Var& other : there) names += cat(names.empty() ? " \"" : ", \"", other.name(), "\"");
    fail(Fault::kArgument, cat("stream.", what, ".unknown"), "[stream] \"",
         v ? v.name() : "an empty Var", "\" is no ", told.empty() ? what : told,
         " of a step of this stream; there are", names.empty() ? " none" : names);
  }
  if (t->dtype() != wanted)
    fail(Fault::kArgument, cat("stream.", what, ".dtype"), "[stream] ", what, " \"", v.name(),
         "\" is ", t->dtype(), ", not ", wanted);
  return *t;
}
}  // namespace

const Tensor& Stream::input_of(const Var& v, DType wanted) const {
  return typed(found(program_->inputs, run_->inputs, v), v, wanted, "input", program_->inputs);
}
const Tensor& Stream::output_of(const Var& v, DType wanted) const {
  return typed(found(program_->outputs, run_->outputs, v), v, wanted, "output", program_->outputs);
}

const Dims& Stream::dims(const Var& v) const {
  const Tensor* t = found(program_->inputs, run_->inputs, v);
  if (t == nullptr) t = found(program_->outputs, run_->outputs, v);
  Vars there = program_->inputs;
  there.insert(there.end(), program_->outputs.begin(), program_->outputs.end());
  return typed(t, v, v ? v.dtype() : f32, "output", there, "input or output").dims();
}

void Stream::step() {
  RunContext context{*program_->team};
  run_->frames[run_->now]->run(context);
  run_->now = 1 - run_->now;
}

Tensor Stream::step(const Tensor& x) {
  if (run_->inputs.size() != 1 || run_->outputs.size() != 1)
    fail(Fault::kArgument, "stream.step.count",
         "[stream] step(x) is for one input and one output; "
         "this stream has ",
         run_->inputs.size(), " and ", run_->outputs.size());
  const Tensor &in = run_->inputs[0], &out = run_->outputs[0];
  if (x.dtype() != in.dtype() || x.dims() != in.dims())
    fail(Fault::kArgument, "stream.step.dim", "[stream] a step of \"", program_->inputs[0].name(),
         "\" is ", in.dtype(), to_string(in.dims()), ", got ", x.dtype(), to_string(x.dims()));
  std::memcpy(const_cast<std::byte*>(in.raw()), x.raw(), x.bytes());
  step();
  Tensor y(out.dtype(), out.dims());
  std::memcpy(y.raw_mutable(), out.raw(), out.bytes());
  return y;
}

void Stream::reset() {
  for (size_t i = 0; i < weights_->firsts.size(); ++i) {
    const Tensor& first = weights_->firsts[i];
    std::memcpy(const_cast<std::byte*>(run_->states[run_->now][i].raw()), first.raw(),
                first.bytes());
  }
}

void Stream::reset(int64_t row) {
  for (size_t i = 0; i < weights_->firsts.size(); ++i) {
    const Tensor& first = weights_->firsts[i];
    if (first.rank() == 0)
      fail(Fault::kUnsupported, "stream.row.steps",
           "[stream] a row cannot start again by itself: all rows share one count of steps");
    if (row < 0 || row >= first.dim(0))
      fail(Fault::kArgument, "stream.row.range", "[stream] row ", row, " is not there: of ",
           first.dim(0), " rows the first is 0");
    const size_t bytes = first.bytes() / static_cast<size_t>(first.dim(0));
    const size_t at = bytes * static_cast<size_t>(row);
    std::memcpy(const_cast<std::byte*>(run_->states[run_->now][i].raw()) + at, first.raw() + at,
                bytes);
  }
}

StreamState Stream::state() const {
  StreamState r;
  for (size_t i = 0; i < program_->states.size(); ++i) {
    const Tensor& now = run_->states[run_->now][i];
    Tensor copy(now.dtype(), now.dims());
    std::memcpy(copy.raw_mutable(), now.raw(), now.bytes());
    r.emplace(program_->states[i], std::move(copy));
  }
  return r;
}

void Stream::set_state(const StreamState& state) {
  if (state.size() > program_->states.size())
    fail(Fault::kArgument, "stream.state.count", "[stream] the state has ", state.size(),
         " values, this stream ", program_->states.size());
  for (const bool write : {false, true}) {  // nothing is changed unless all fits
    for (size_t i = 0; i < program_->states.size(); ++i) {
      const std::string& name = program_->states[i];
      const Tensor& now = run_->states[run_->now][i];
      const auto it = state.find(name);
      if (it == state.end())
        fail(Fault::kArgument, "stream.state.missing", "[stream] the state has no ", name);
      const Tensor& t = it->second;
      if (t.dtype() != now.dtype() || t.dims() != now.dims())
        fail(Fault::kArgument, "stream.state.type", "[stream] state ", name, " is ", now.dtype(),
             to_string(now.dims()), ", got ", t.dtype(), to_string(t.dims()));
      if (write) std::memcpy(const_cast<std::byte*>(now.raw()), t.raw(), t.bytes());
    }
  }
}

bool Stream::refresh(const std::vector<Feed>& feeds) {
  if (feeds.empty() && program_->store->snapshot() == weights_->version) return false;
  std::vector<Feed> all = feeds;
  for (size_t i = 0; i < program_->fixed.size(); ++i)
    all.emplace_back(program_->fixed[i], weights_->fed[i]);
  weights_ = program_->load(all);
  place();
  return true;
}

std::string Stream::explain() const { return rondo::explain(*program_->step); }
const BoundPlan& Stream::plan() const { return *program_->step; }
size_t Stream::bytes() const { return run_->bytes; }

}  // namespace rondo
