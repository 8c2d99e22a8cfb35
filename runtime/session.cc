#include <rondo/runtime/session.h>

#include <algorithm>

#include <rondo/graph/callbacks.h>
#include <rondo/graph/rewrite.h>
#include <rondo/runtime/bind_feeds.h>
#include <rondo/runtime/explain.h>

namespace rondo {

// A set of fetches and updates that was asked for before: its plan, and what it must be given.
struct Session::Entry {
  std::vector<Value> fetches;
  std::vector<std::pair<Value, Value>> updates;
  std::shared_ptr<const Plan> plan;
  std::vector<Value> placeholders;     // of the user's graph, as the plan's first inputs
  std::vector<std::string> variables;  // names, as the plan's further inputs
};

namespace {

void add_symbols(std::vector<std::string>& to, const Var& placeholder) {
  for (const Dim& d : placeholder.shape()) {
    for (const std::string& s : d.symbols()) {
      if (std::find(to.begin(), to.end(), s) == to.end()) to.push_back(s);
    }
  }
}

// A number, 0 or more, for each symbol of what is fed, and none for what is no symbol.
void check_sizes(const Graph& g, const std::vector<Value>& fed, const Binding& sizes) {
  std::vector<std::string> known, needed;
  for (const Var& p : g.placeholders()) add_symbols(known, p);
  for (const Value p : fed) add_symbols(needed, g.var(p));
  const auto list = [](const std::vector<std::string>& names) {
    std::string s;
    for (const std::string& n : names) s += cat(s.empty() ? "" : ", ", n);
    return s;
  };
  for (const auto& [name, size] : sizes) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(Fault::kArgument, "session.sizes.unknown", "[explain] sizes has a number for ", name,
           ", but no placeholder has such a dimension; ",
           known.empty() ? "there is none without a number"
                         : cat("there are ", list(known), closest(name, known)));
    if (size < 0)
      fail(Fault::kArgument, "session.sizes.range", "[explain] sizes has ", name, " = ", size,
           ", but a dimension must be at least 0");
  }
  std::string example;
  std::vector<std::string> missing;
  for (const std::string& n : needed) {
    if (sizes.count(n) == 0) missing.push_back(n);
    example += cat(example.empty() ? "" : ", ", "{\"", n, "\", ",
                   sizes.count(n) == 0 ? 16 : sizes.at(n), "}");
  }
  if (!missing.empty())
    fail(Fault::kArgument, "session.sizes.missing", "[explain] ", list(missing),
         missing.size() == 1 ? " is a dimension" : " are dimensions",
         " of what is fed, and sizes has no number for ", missing.size() == 1 ? "it" : "them",
         "; give one for each: {", example, "}");
}

}  // namespace

Session::Session(Graph graph, CompileOptions options, std::shared_ptr<ThreadTeam> team,
                 std::shared_ptr<VariableStore> store)
    : graph_(std::move(graph)),
      options_(std::move(options)),
      team_(team != nullptr ? std::move(team) : std::make_shared<ThreadTeam>()),
      store_(store != nullptr ? std::move(store) : std::make_shared<VariableStore>(graph_)) {}
Session::~Session() = default;

std::shared_ptr<const Session::Entry> Session::entry(const Vars& fetches, const Updates& updates) {
  auto e = std::make_shared<Entry>();
  const auto own = [&](const Var& v, std::string_view what) {
    if (!v)
      fail(Fault::kArgument, "session.fetch.empty", "[session] ", what,
           " is an empty Var: ", v.why_empty());
    if (!(v.graph() == graph_)) refuse_stranger("session", what, v);
    return v.value();
  };
  for (const Var& f : fetches) e->fetches.push_back(own(f, "a fetched value"));
  for (const Update& u : updates) {
    if (u.variable && u.value && u.variable.type() != u.value.type()) {
      fail(Fault::kArgument, "session.update.type", "[session] variable ", u.variable.name(),
           " is ", u.variable.type().str(), ", its update ", u.value.type().str());
    }
  }
  for (const Update& u : updates)
    e->updates.emplace_back(own(u.variable, "an updated variable"), own(u.value, "an update"));
  const std::lock_guard lock(mutex_);
  for (const auto& old : entries_) {
    if (old->fetches == e->fetches && old->updates == e->updates) return old;
  }
  Subgraph unit{graph_, {}, e->fetches};
  for (const auto& [variable, value] : e->updates) {
    if (graph_.node(variable.node).op != &variable_op())
      fail(Fault::kArgument, "session.update.variable", "[session] ", graph_.var(variable).name(),
           " is no variable");
    unit.outputs.push_back(value);
  }
  for (const int32_t id : live_nodes(unit)) {
    if (graph_.node(id).op == &placeholder_op()) e->placeholders.push_back({id, 0});
  }
  unit.inputs = e->placeholders;
  for (const int32_t id : live_nodes(unit)) {
    if (graph_.node(id).op != &variable_op()) continue;
    unit.inputs.push_back({id, 0});
    e->variables.push_back(graph_.var({id, 0}).name());
  }
  store_->extend(graph_);
  e->plan = Plan::compile(unit, options_);
  entries_.push_back(e);
  return e;
}

std::shared_ptr<const Plan> Session::plan(const Vars& fetches, const Updates& updates) {
  return entry(fetches, updates)->plan;
}

std::string Session::explain(const Vars& fetches, const Binding& sizes, const Updates& updates) {
  const std::shared_ptr<const Entry> e = entry(fetches, updates);
  check_sizes(graph_, e->placeholders, sizes);
  return rondo::explain(*e->plan, sizes);
}

List<Tensor> Session::run(const Vars& fetches, const std::vector<Feed>& feeds, RunOptions options) {
  return run_and_update(fetches, {}, feeds, options);
}

Tensor Session::run(const Var& fetch, const std::vector<Feed>& feeds, RunOptions options) {
  return run(Vars{fetch}, feeds, options)[0];
}

std::vector<Tensor> Session::make_results(std::span<const TensorType> types) {
  const auto is_large = [](const TensorType& t) { return t.bytes() >= ResultPool::kLeastBytes; };
  size_t large = 0;
  for (const TensorType& t : types) large += is_large(t) ? t.bytes() : 0;
  results_.begin_run(large);
  std::vector<Tensor> r;
  for (const TensorType& t : types)
    r.push_back(Tensor::unset(t.dtype, t.dims, is_large(t) ? results_.take(t.bytes()) : nullptr));
  return r;
}

List<Tensor> Session::run_and_update(const Vars& fetches, const Updates& updates,
                                     const std::vector<Feed>& feeds, RunOptions options,
                                     const Inspect& before_commit) {
  const std::shared_ptr<const Entry> e = entry(fetches, updates);
  for (const auto& [p, value] : feeds) {
    if (!p || !(p.graph() == graph_) || p.node().op != &placeholder_op()) {
      fail(Fault::kArgument, "session.feed.placeholder", "[session] a value is fed to \"", p.name(),
           "\", which is no placeholder of this session's graph",
           p && !(p.graph() == graph_) ? "; it belongs to another graph: after loading, take it "
                                         "from the loaded one with graph().find(name)"
                                       : "");
    }
    if (!value) {
      fail(Fault::kArgument, cat("placeholder.", p.name(), ".empty"), "[session] placeholder \"",
           p.name(), "\" was fed an empty Tensor");
    }
  }
  Vars placeholders;
  std::vector<Tensor> inputs;
  for (const Value p : e->placeholders) {
    const auto it = std::find_if(feeds.begin(), feeds.end(), [&](const Feed& f) {
      return f.first && f.first.value() == p && f.first.graph() == graph_;
    });
    const Var v = graph_.var(p);
    if (it == feeds.end() || !it->second) {
      fail(Fault::kArgument, cat("placeholder.", v.name(), ".missing"), "[session] placeholder \"",
           v.name(), "\" of type ", v.type().str(), " is needed and was not fed");
    }
    placeholders.push_back(v);
    inputs.push_back(it->second);
  }
  // What is fed fixes symbols, also where the plan reads its shape alone.
  Vars fed = placeholders;
  std::vector<Tensor> values_fed = inputs;
  for (size_t i = 0; i < feeds.size(); ++i) {
    const Var& p = feeds[i].first;
    for (size_t k = 0; k < i; ++k) {
      if (feeds[k].first.same(p))
        fail(Fault::kArgument, "session.feed.twice", "[session] placeholder \"", p.name(),
             "\" is fed twice");
    }
    const auto same = [&](const Var& v) { return v.same(p); };
    if (std::any_of(fed.begin(), fed.end(), same)) continue;
    fed.push_back(p);
    values_fed.push_back(feeds[i].second);
  }
  const Binding binding = bind_feeds(fed, values_fed);
  const auto values = store_->snapshot();  // this run sees one version
  for (const std::string& name : e->variables) inputs.push_back(values->at(name));

  const std::shared_ptr<const BoundPlan> plan = e->plan->bind(binding);
  const ArenaPool::Lease arena(arenas_, plan->arena_bytes());
  Frame frame(*plan, arena.data());
  for (size_t i = 0; i < inputs.size(); ++i) frame.set_input(i, inputs[i].raw());
  // In training the weights change after each run, and packing them is part of it.
  std::vector<std::shared_ptr<const std::byte>> packed;
  for (const InputPacking& p : plan->packings()) {
    if (options.training || p.input < e->placeholders.size()) continue;
    packed.push_back(store_->packed(
        e->variables[p.input - e->placeholders.size()], inputs[p.input], p.layout, p.bytes,
        [&](const std::byte* from, std::byte* to) { plan->pack(p, from, to); }));
    frame.set_packed(p, packed.back().get());
  }
  std::vector<Tensor> outputs = make_results(plan->output_types());
  for (size_t i = 0; i < outputs.size(); ++i) frame.set_output(i, outputs[i].raw_mutable());
  RunContext context{*team_, options.training, options.seed, options.step};
  frame.run(context);

  const std::vector<Tensor> updated(outputs.begin() + static_cast<int64_t>(fetches.size()),
                                    outputs.end());
  outputs.resize(fetches.size());
  if (before_commit) before_commit(outputs, updated);
  if (updates.empty()) return outputs;
  VariableStore::Values changes;
  for (size_t k = 0; k < updates.size(); ++k) changes[updates[k].variable.name()] = updated[k];
  store_->commit(changes);
  return outputs;
}

}  // namespace rondo
