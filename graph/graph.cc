#include <rondo/graph/graph.h>

#include <algorithm>
#include <deque>

#include <rondo/graph/op.h>

namespace rondo {

struct GraphData {
  std::deque<Node> nodes;  // addresses stay
  std::map<std::string, Value, std::less<>> names;
  std::map<Value, std::string> name_of;  // the first name that each value got
  std::string prefix;
  std::shared_ptr<GraphData> parent;
  std::vector<std::pair<Value, Value>>
      captures;                     // values, not Vars: a graph must not keep itself alive
  std::map<Value, Value> captured;  // value of the parent -> placeholder here
  std::vector<Graph::StandIn> stand_ins;
  int64_t streams = 0;
  uint64_t seed = 0;
  std::string body_of;  // the op whose body this is
  Site body_site;
  bool finished = false;
};

bool may_equal(const ValueType& a, const ValueType& b) {
  if (a.dtype != b.dtype || a.shape.size() != b.shape.size()) return false;
  for (size_t i = 0; i < a.shape.size(); ++i) {
    const Dim d = a.shape[i] - b.shape[i];
    if (d.is_constant() && d.constant() != 0) return false;
  }
  return true;
}

namespace {

// The three kinds of leaf are ops like any other, known to the graph because it makes them.
const OpDef& leaf(int kind) {
  static const OpRegistry* registry = [] {
    auto* r = new OpRegistry;
    r->add(
        {.name = "placeholder",
         .sig = "-> y[...]:any",
         .doc = "A value that is fed at each run.",
         .attributes = {{"dtype", f32, "element type"}, {"shape", Shape{}, "shape, with symbols"}},
         .infer =
             [](const InferContext& c) {
               const Shape& shape = c.attributes().shape("shape");
               for (const Dim& d : shape) {
                 if (d.is_constant() && d.constant() < 0)
                   c.refuse("shape", "negative", "shape is ", to_string(shape),
                            ", but no dimension can be negative");
               }
               return std::vector<ValueType>{{c.attributes().dtype("dtype"), shape, true}};
             },
         .no_gradient = true,
         .opaque = true});
    r->add({.name = "constant",
            .sig = "-> y[...]:any",
            .doc = "A value that is part of the graph.",
            .attributes = {{"value", Tensor(), "the tensor"}},
            .infer =
                [](const InferContext& c) {
                  const Tensor& t = c.attributes().tensor("value");
                  if (!t) c.refuse("value", "missing", "needs a tensor");
                  return std::vector<ValueType>{{t.dtype(), to_shape(t.dims()), true}};
                },
            .no_gradient = true});
    r->add({.name = "variable",
            .sig = "-> y[...]:any",
            .doc = "A value that is kept between runs; training changes it.",
            .attributes = {{"initial", Tensor(), "first value"},
                           {"trainable", true, "whether training changes it"}},
            .infer =
                [](const InferContext& c) {
                  const Tensor& t = c.attributes().tensor("initial");
                  if (!t) c.refuse("initial", "missing", "needs a first value");
                  return std::vector<ValueType>{{t.dtype(), to_shape(t.dims()), true}};
                },
            .no_gradient = true,
            .opaque = true});
    return r;
  }();
  static const OpDef* const kLeaves[] = {registry->find("placeholder"), registry->find("constant"),
                                         registry->find("variable")};
  return *kLeaves[kind];
}

void take_name(GraphData& g, const std::string& name, Value v, Site at = {}) {
  constexpr size_t kLongest = 512;
  if (name.empty() || name.size() > kLongest)
    fail(Fault::kArgument, "graph.name.length", "a name has 1 to ", kLongest, " bytes, got ",
         name.size(), built_at(at));
  if (name[0] == '%')
    fail(Fault::kArgument, "graph.name.reserved", "name '", name,
         "' begins with '%', which unnamed values use", built_at(at));
  if (!g.names.emplace(name, v).second)
    fail(Fault::kArgument, "graph.name.taken", "the graph has a value called '", name,
         "' already; choose another name", built_at(at));
  g.name_of.emplace(v, name);
}

}  // namespace

const OpDef& placeholder_op() { return leaf(0); }
const OpDef& constant_op() { return leaf(1); }
const OpDef& variable_op() { return leaf(2); }

namespace {
thread_local const Site* site_override = nullptr;
}  // namespace

SiteScope::SiteScope(Site site) : site_(site), outer_(site_override) { site_override = &site_; }
SiteScope::~SiteScope() { site_override = outer_; }

Var Var::absent(std::shared_ptr<GraphData> graph, Value result) {
  Var v;
  v.absent_of_ = std::move(graph);
  v.absent_ = result;
  return v;
}

std::string Var::why_empty() const {
  if (absent_of_ == nullptr) return "it was never set";
  const Node& n = Graph(absent_of_).node(absent_.node);
  const auto& slots = n.op->parsed.outputs;
  const auto slot = static_cast<size_t>(absent_.slot);
  const std::string result = slot < slots.size() ? slots[slot].name : cat("result ", slot);
  const auto& asked = n.op->asked;
  const auto by = std::find_if(asked.begin(), asked.end(),
                               [&](const AskedResult& a) { return a.result == result; });
  const bool unset = by != asked.end() && !n.attributes.flag(by->flag);
  return cat("it is ", result, " of [", title_of(n), "], ",
             unset ? cat("which was not asked for: set ", by->flag, " = true there")
                   : "which this configuration does not give",
             n.site.file == nullptr ? "" : cat(" (", n.site.file, ":", n.site.line, ")"));
}

Graph Var::graph() const {
  if (!*this) fail(Fault::kArgument, "var.graph.none", "an empty Var is used: ", why_empty());
  return Graph(graph_);
}
const Node& Var::node() const { return graph().node(value_.node); }
const ValueType& Var::type() const { return graph().type(value_); }

const Dim& Var::dim(int64_t axis) const {
  const auto r = static_cast<int64_t>(rank());
  if (axis < -r || axis >= r)
    fail(Fault::kArgument, "var.dim.range", "axis ", axis, " of a value of shape ",
         to_string(shape()));
  return shape()[static_cast<size_t>(axis < 0 ? axis + r : axis)];
}

std::string Var::name() const {
  if (!*this) return "none";
  const auto it = graph_->name_of.find(value_);
  if (it != graph_->name_of.end()) return it->second;
  return "%" + std::to_string(value_.node) +
         (node().outputs.size() > 1 ? "." + std::to_string(value_.slot) : "");
}

Var Var::named(std::string_view name) const {
  Graph g = graph();
  take_name(*graph_, graph_->prefix + std::string(name), value_);
  return *this;
}

Graph::Graph() : data_(std::make_shared<GraphData>()) {}

Var Graph::placeholder(std::string_view name, DType dtype, Shape shape, Site at) {
  return call(placeholder_op(), {}, {{"dtype", dtype}, {"shape", std::move(shape)}},
              {.name = std::string(name), .site = at})[0];
}
Var Graph::constant(Tensor value, Site at) {
  return call(constant_op(), {}, {{"value", std::move(value)}}, {.site = at})[0];
}
Var Graph::variable(std::string_view name, Tensor initial, bool trainable, Site at) {
  return call(variable_op(), {}, {{"initial", std::move(initial)}, {"trainable", trainable}},
              {.name = std::string(name), .site = at})[0];
}

Vars Graph::call(const OpDef& op, const Vars& inputs, Attributes attributes, CallOptions options) {
  if (data_->finished) {
    for (const Var& v : inputs) {
      if (v && v.graph_ == data_) refuse_stranger(op.name, "operand", v);
    }
  }
  Node n;
  n.op = &op;
  n.site = site_override != nullptr ? *site_override : options.site;
  n.body = std::move(options.body);
  if (!options.name.empty()) n.name = data_->prefix + options.name;
  std::vector<ValueType> types;
  for (const Var& v : inputs) {
    const Var own = v ? adopt(v, op.name) : v;
    n.inputs.push_back(own ? own.value() : Value{});
    types.push_back(own ? own.type() : ValueType{f32, {}, false});
  }
  const InferContext c(op, op.parsed, attributes, types, n.name, n.site, n.body.get());
  for (size_t i = 0; i < inputs.size() && !op.parsed.inputs.empty(); ++i) {
    // An optional one too: a first state that silently was none would give other numbers.
    if (inputs[i].absent_of_ == nullptr) continue;
    const std::string& name = op.parsed.slot_of(i).name;
    c.refuse(name, "missing", name, " is empty: ", inputs[i].why_empty());
  }
  n.attributes = complete_attributes(c, attributes);
  n.outputs = infer_call(op, n.attributes, types, n.name, n.site, n.body.get(), &n.check_at_bind);
  n.id = size();
  if (!n.name.empty()) {
    // The name is that of the first result there is.
    const auto first = std::find_if(n.outputs.begin(), n.outputs.end(),
                                    [](const ValueType& t) { return t.present; });
    take_name(
        *data_, n.name,
        {n.id, first == n.outputs.end() ? 0 : static_cast<int32_t>(first - n.outputs.begin())},
        n.site);
  }
  // A body that belongs to a node captures no more; holding its parent on would be a circle that
  // nothing frees.
  if (n.body != nullptr && n.body->graph.has_parent()) n.body->graph.data()->parent = nullptr;
  data_->nodes.push_back(std::move(n));
  return vars_of(size() - 1);
}

int32_t Graph::size() const { return static_cast<int32_t>(data_->nodes.size()); }

const Node& Graph::node(int32_t id) const {
  if (id < 0 || id >= size()) fail_internal("node ", id, " of a graph of ", size());
  return data_->nodes[static_cast<size_t>(id)];
}

const ValueType& Graph::type(Value v) const {
  return node(v.node).outputs.at(static_cast<size_t>(v.slot));
}

Vars Graph::vars_of(int32_t id) const {
  const Node& n = node(id);
  Vars r;
  for (size_t i = 0; i < n.outputs.size(); ++i)
    r.push_back(n.outputs[i].present ? Var(data_, {id, static_cast<int32_t>(i)})
                                     : Var::absent(data_, {id, static_cast<int32_t>(i)}));
  return r;
}

bool Graph::has(std::string_view name) const {
  return data_->names.find(name) != data_->names.end();
}

Var Graph::find(std::string_view name) const {
  const auto it = data_->names.find(name);
  if (it == data_->names.end()) {
    std::string known;
    for (const auto& [n, v] : data_->names) known += " " + n;
    fail(Fault::kArgument, "graph.name.unknown", "the graph has no value called '", name,
         "'; it has", known.empty() ? " no names" : known);
  }
  return var(it->second);
}

const std::map<std::string, Value, std::less<>>& Graph::names() const { return data_->names; }

namespace {
template <class Keep>
Vars leaves(const Graph& g, const OpDef& op, Keep keep) {
  Vars r;
  for (int32_t i = 0; i < g.size(); ++i) {
    if (g.node(i).op == &op && keep(g.node(i))) r.push_back(g.var({i, 0}));
  }
  return r;
}
}  // namespace

Vars Graph::placeholders() const {
  return leaves(*this, placeholder_op(), [](const Node&) { return true; });
}
Vars Graph::variables() const {
  return leaves(*this, variable_op(), [](const Node&) { return true; });
}
Vars Graph::trainable() const {
  return leaves(*this, variable_op(), [](const Node& n) { return n.attributes.flag("trainable"); });
}

Graph::Scope Graph::scope(std::string_view name) {
  const size_t restore = data_->prefix.size();
  data_->prefix += std::string(name) + "/";
  return {data_, restore};
}
std::string Graph::scope_name() const {
  const std::string& p = data_->prefix;
  return p.empty() ? "" : p.substr(0, p.size() - 1);
}
Graph::Scope::~Scope() { data_->prefix.resize(restore_); }

Graph Graph::child(std::string_view of, Site at) const {
  Graph g;
  g.data_->parent = data_;
  g.data_->body_of = of;
  g.data_->body_site = at;
  return g;
}
void Graph::finish() { data_->finished = true; }
bool Graph::has_parent() const { return data_->parent != nullptr; }
Graph Graph::parent() const { return Graph(data_->parent); }
const std::vector<std::pair<Value, Value>>& Graph::captures() const { return data_->captures; }

Var Graph::adopt(const Var& v, std::string_view op) {
  if (v.graph_ == data_) return v;
  if (data_->parent == nullptr) refuse_stranger(op, "operand", v);
  const Var outer = parent().adopt(v, op);
  const auto it = data_->captured.find(outer.value());
  if (it != data_->captured.end()) return var(it->second);
  const Var inner =
      call(placeholder_op(), {}, {{"dtype", outer.dtype()}, {"shape", outer.shape()}})[0];
  data_->captured.emplace(outer.value(), inner.value());
  data_->captures.emplace_back(outer.value(), inner.value());
  return inner;
}

int64_t Graph::next_stream() {
  if (data_->parent != nullptr) return parent().next_stream();
  return data_->streams++;
}
void Graph::reserve_streams(int64_t next) { data_->streams = std::max(data_->streams, next); }
int64_t Graph::streams() const { return data_->streams; }

const std::vector<Graph::StandIn>& Graph::stand_ins() const { return data_->stand_ins; }
void Graph::add_stand_in(StandIn s) { data_->stand_ins.push_back(std::move(s)); }

Graph& Graph::set_seed(uint64_t seed) {
  data_->seed = seed;
  return *this;
}
uint64_t Graph::seed() const { return has_parent() ? parent().seed() : data_->seed; }

Graph graph_of(const Vars& operands, std::string_view op) {
  const auto depth = [](Graph g) {
    int d = 0;
    for (; g.has_parent(); g = g.parent()) ++d;
    return d;
  };
  const Var* innermost = nullptr;
  int deepest = -1;
  for (const Var& v : operands) {
    if (!v) continue;
    const int d = depth(v.graph());
    if (d > deepest) {
      deepest = d;
      innermost = &v;
    }
  }
  if (innermost == nullptr)
    fail(Fault::kArgument, cat(op, ".inputs.missing"), "[", op,
         "] has no operand that belongs to a graph",
         operands.empty() ? "" : cat("; the first is empty: ", operands[0].why_empty()));
  const Graph g = innermost->graph();
  if (g.data()->finished) refuse_stranger(op, "operand", *innermost);
  return g;
}

void refuse_stranger(std::string_view op, std::string_view what, const Var& v) {
  if (!v.graph().has_parent())
    fail(Fault::kArgument, cat(op, ".graph.mixed"), "[", op, "] ", what, " ", v.name(),
         " belongs to another graph; what is used together must come from one graph");
  const Graph body = v.graph();
  const GraphData& g = *body.data();
  const auto place = [](std::string_view how, Site s) {
    return s.file == nullptr ? "" : cat("\n  ", how, " at ", s.file, ":", s.line);
  };
  fail(Fault::kArgument, cat(op, ".graph.body"), "[", op, "] ", what, " ", v.name(), " ",
       v.type().str(), " is a value of the body of ", g.body_of.empty() ? "a loop" : g.body_of,
       ", which has one at each step and none outside; return it as a result of the body, and use "
       "what comes out",
       place("the value is built", v.node().site), place("the body is built", g.body_site));
}

Vars inline_subgraph(const Subgraph& s, Graph into, const Vars& inputs) {
  std::map<Value, Var> at;
  for (size_t i = 0; i < s.inputs.size(); ++i) at[s.inputs[i]] = inputs.at(i);
  int32_t last = -1;
  for (const Value v : s.outputs) last = std::max(last, v.node);
  std::vector<bool> needed(static_cast<size_t>(last + 1));
  for (const Value v : s.outputs) {
    if (v) needed[static_cast<size_t>(v.node)] = true;
  }
  for (int32_t i = last; i >= 0; --i) {
    if (!needed[static_cast<size_t>(i)] || at.count({i, 0}) != 0) continue;
    for (const Value v : s.graph.node(i).inputs) {
      if (v) needed[static_cast<size_t>(v.node)] = true;
    }
  }
  for (int32_t i = 0; i <= last; ++i) {
    if (!needed[static_cast<size_t>(i)] || at.count({i, 0}) != 0) continue;
    const Node& n = s.graph.node(i);
    if (n.op == &placeholder_op())
      fail_internal("a subgraph uses placeholder ", n.name, " that is none of its inputs");
    Vars in;
    for (const Value v : n.inputs) in.push_back(v ? at.at(v) : Var());
    const Vars out = into.call(*n.op, in, n.attributes, {.body = n.body, .site = n.site});
    for (size_t k = 0; k < out.size(); ++k) at[{i, static_cast<int32_t>(k)}] = out[k];
  }
  Vars r;
  for (const Value v : s.outputs) r.push_back(v ? at.at(v) : Var());
  return r;
}

}  // namespace rondo
