#include <rondo/runtime/checkpoint.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include <rondo/graph/rewrite.h>
#include <rondo/ops/register.h>
#include <rondo/proto/bundle.h>

namespace rondo {
namespace {

constexpr std::string_view kGraph = "model";
constexpr std::string_view kNote = "note/";
constexpr std::string_view kUpdater = "updater/";

// ---- writing ---------------------------------------------------------------

// The model's part of the graph, with the present values of its variables as their first ones.
Subgraph model_graph(const Trainer& t, const Vars& ends) {
  const Graph& g = t.model().graph();
  const auto values = t.model().session().variables().snapshot();
  Subgraph part{g, {}, {}};
  for (const Var& p : g.placeholders()) {
    if (t.is_of_model(p)) part.inputs.push_back(p.value());
  }
  for (const Var& v : ends) part.outputs.push_back(v ? v.value() : Value{});
  for (const auto& [name, v] : g.names()) {
    if (t.is_of_model(g.var(v))) part.outputs.push_back(v);
  }
  return rebuild(part, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.op != &variable_op()) return {};
    Attributes a = n.attributes;
    a.set("initial", values->at(n.name));
    Graph to = r.graph();
    return to.call(*n.op, {}, a, {.name = n.name, .site = n.site});
  });
}

// The name of a value, given now when it has none.
std::string name_in(Graph g, Value v, std::string_view wish) {
  std::string name = g.var(v).name();
  if (name[0] != '%') return name;
  std::string free(wish);
  for (int i = 1; g.has(free); ++i) free = cat(wish, "_", i);
  g.var(v).named(free);
  return free;
}

// ---- reading ---------------------------------------------------------------

struct File {
  const std::string& path;
  Bundle bundle;

  template <class... A>
  [[noreturn]] void refuse(std::string_view rule, const A&... text) const {
    refuse_file(Fault::kArgument, path, "checkpoint", rule, text...);
  }
  template <class T>
  const T& attribute(std::string_view name) const {
    const AttributeValue* v = bundle.attributes.find(name);
    if (v == nullptr) refuse("attribute", "has no attribute \"", name, "\"; is it a checkpoint?");
    const T* p = v->get<T>();
    if (p == nullptr) refuse("attribute", "attribute \"", name, "\" is of type ", v->type_name());
    return *p;
  }
  int64_t count(std::string_view name) const {
    const auto n = attribute<int64_t>(name);
    if (n < 0) refuse("attribute", "attribute \"", name, "\" is ", n, ", but cannot be negative");
    return n;
  }
  Graph graph() const {
    const auto it = bundle.graphs.find(std::string(kGraph));
    if (it == bundle.graphs.end()) refuse("graph", "has no graph \"", kGraph, "\"");
    return it->second;
  }
  // An end of the graph; none when the file names none.
  Var end(std::string_view name) const {
    const std::string key = cat("model/", name);
    if (!bundle.attributes.has(key)) return {};
    const auto& value = attribute<std::string>(key);
    if (!graph().has(value)) refuse("value", name, " is \"", value, "\", which the graph has not");
    return graph().find(value);
  }
  BatchInputs inputs() const { return {end("values"), end("lengths"), end("labels")}; }
  // Attributes under a prefix, without it.
  Attributes under(std::string_view prefix) const {
    Attributes r;
    for (const auto& [name, value] : bundle.attributes.items()) {
      if (name.starts_with(prefix)) r.set(name.substr(prefix.size()), value);
    }
    return r;
  }
};

File read(const std::string& path) { return {path, load_bundle(path, registry())}; }

Updater updater_in(const File& f) {
  try {
    return updater_from(f.under(kUpdater));
  } catch (const Error& e) {
    if (e.code() != "settings.attribute.missing") throw;
    f.refuse("attribute", "does not say what its updater is: under \"", kUpdater, "\" ", e.what());
  }
}

// What a training may do to its gradients beside clip_norm. A file says what is on; one that is
// older than an option does not have it.
struct Option {
  std::string_view name;
  double TrainerConfig::* clip = nullptr;
  double Regularization::* pull = nullptr;

  double& in(TrainerConfig& c) const { return clip != nullptr ? c.*clip : c.regularization.*pull; }
};
constexpr Option kOptions[] = {{"trainer/clip_value", &TrainerConfig::clip_value},
                               {"trainer/clip_each_norm", &TrainerConfig::clip_each_norm},
                               {"trainer/l1", nullptr, &Regularization::l1},
                               {"trainer/l2", nullptr, &Regularization::l2},
                               {"trainer/weight_decay", nullptr, &Regularization::weight_decay}};
constexpr std::string_view kExcept = "trainer/not_regularized";

constexpr std::string_view kPrecision = "trainer/precision";

// The precision in which the training ran: what goes on in another one has other bits. Older files
// do not say it.
Precision precision_in(const File& f, Precision asked) {
  if (!f.bundle.attributes.has(kPrecision)) return asked;
  const auto& name = f.attribute<std::string>(kPrecision);
  const Precision all[] = {Precision::full, Precision::bf16, Precision::int8};
  const auto* p = std::find_if(std::begin(all), std::end(all),
                               [&](Precision known) { return name_of(known) == name; });
  if (p == std::end(all))
    f.refuse("attribute", "attribute \"", kPrecision, "\" is \"", name,
             "\", but must be full, bf16 or int8");
  if (asked != Precision::full && asked != *p)
    f.refuse("precision", "was trained with precision ", name,
             ", but LoadOptions::compile asks for ", name_of(asked),
             ", which would go on with other bits; leave it out, or ask for ", name);
  return *p;
}

void write_options(TrainerConfig c, Attributes* to) {
  for (const Option& o : kOptions) {
    if (o.in(c) != 0) to->set(o.name, o.in(c));
  }
  if (!c.regularization.except.empty()) to->set(kExcept, c.regularization.except);
}

void read_options(const File& f, TrainerConfig* c) {
  for (const Option& o : kOptions) {
    if (f.bundle.attributes.has(o.name)) o.in(*c) = f.attribute<double>(o.name);
  }
  if (f.bundle.attributes.has(kExcept))
    c->regularization.except = f.attribute<std::vector<std::string>>(kExcept);
}

}  // namespace

void save(const Trainer& trainer, const std::string& path) {
  const Model& m = trainer.model();
  const std::pair<std::string_view, Var> ends[] = {{"values", m.inputs().values},
                                                   {"lengths", m.inputs().lengths},
                                                   {"labels", m.inputs().labels},
                                                   {"logits", m.logits()},
                                                   {"loss", trainer.loss()}};
  Vars values;
  for (const auto& [name, v] : ends) values.push_back(v);
  const Subgraph part = model_graph(trainer, values);

  Bundle b;
  b.graphs.emplace(kGraph, part.graph);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    b.attributes.set(cat("model/", ends[i].first),
                     name_in(part.graph, part.outputs[i], ends[i].first));
  }
  for (const auto& [name, value] : m.notes().items()) b.attributes.set(cat(kNote, name), value);
  const TrainerConfig& c = trainer.config();
  const Attributes updater = attributes_of(c.updater);
  for (const auto& [name, value] : updater.items()) {
    b.attributes.set(cat(kUpdater, name), value);
  }
  for (const Var& v : trainer.updater_variables()) {
    b.tensors.emplace(cat(kUpdater, v.name()), m.session().variables().value(v.name()));
  }
  const TrainingState& s = trainer.state();
  b.attributes.set("trainer/clip_norm", c.clip_norm);
  b.attributes.set(kPrecision, std::string(name_of(c.compile.precision)));
  write_options(c, &b.attributes);
  b.attributes.set("random/seed", std::bit_cast<int64_t>(c.seed));
  b.attributes.set("cursor/epoch", s.epoch);
  b.attributes.set("cursor/batch", s.batch);
  b.attributes.set("cursor/batches", s.batches);
  b.attributes.set("cursor/step", s.step);
  save_bundle(b, path);
}

Trainer load_trainer(const std::string& path, LoadOptions options) {
  const File f = read(path);
  const Var loss = f.end("loss");
  if (!loss) f.refuse("attribute", "names no loss, so that it cannot be trained");
  TrainerConfig config{.inputs = f.inputs(),
                       .logits = f.end("logits"),
                       .updater = updater_in(f),
                       .clip_norm = f.attribute<double>("trainer/clip_norm"),
                       .seed = std::bit_cast<uint64_t>(f.attribute<int64_t>("random/seed")),
                       .threads = options.threads,
                       .compile = std::move(options.compile),
                       .listeners = std::move(options.listeners)};
  read_options(f, &config);
  config.compile.precision = precision_in(f, config.compile.precision);
  Trainer t(f.graph(), loss, std::move(config));
  VariableStore::Values values;
  for (const Var& v : t.updater_variables()) {
    const auto it = f.bundle.tensors.find(cat(kUpdater, v.name()));
    if (it == f.bundle.tensors.end()) {
      f.refuse("updater", "has no tensor \"", kUpdater, v.name(), "\", which its updater needs");
    }
    values.emplace(v.name(), it->second);
  }
  t.model().session().variables().commit(values);
  t.model().notes() = f.under(kNote);
  t.resume({f.count("cursor/epoch"), f.count("cursor/batch"), f.count("cursor/batches"),
            f.count("cursor/step")});
  return t;
}

Model load_model(const std::string& path, LoadOptions options) {
  const File f = read(path);
  Model m(std::make_shared<Session>(f.graph(), std::move(options.compile),
                                    std::make_shared<ThreadTeam>(options.threads)),
          f.inputs(), f.end("logits"));
  m.notes() = f.under(kNote);
  return m;
}

}  // namespace rondo
