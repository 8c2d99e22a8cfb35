// What a computation is: a graph of immutable nodes, and `Var`, the user's handle on one result
// (SameDiff's SDVariable).
//
// Nodes stand in topological order, because a node can only name operands that exist. A graph may
// carry a parent: the body of a recurrence does, and a Var of the parent that is used inside
// becomes an operand by itself (a capture).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rondo/graph/attribute.h>
#include <rondo/graph/dim.h>
#include <rondo/graph/error.h>
#include <rondo/graph/list.h>
#include <rondo/graph/tensor.h>

namespace rondo {

class Graph;
class Var;
struct OpDef;
struct GraphData;
/// Several values.
using Vars = List<Var>;

/// One output of one node of a graph, by number. A null value is an operand that is absent.
struct Value {
  int32_t node = -1;
  int32_t slot = 0;
  explicit operator bool() const { return node >= 0; }
  auto operator<=>(const Value&) const = default;
};

/// What is known of a value before it exists.
struct ValueType {
  DType dtype = DType::f32;
  Shape shape;
  bool present = true;  ///< false: an output slot that was not asked for

  bool operator==(const ValueType&) const = default;
  std::string str() const { return present ? cat(dtype, to_string(shape)) : "none"; }
};

/// Whether both can be the same once symbols have values: no dtype, rank or dimension differs for
/// certain.
bool may_equal(const ValueType& a, const ValueType& b);

struct Subgraph;

/// One application of an op. Never changes after it was made.
struct Node {
  int32_t id = 0;
  const OpDef* op = nullptr;
  std::string name;  ///< unique in its graph; empty when the user gave none
  Attributes attributes;
  std::vector<Value> inputs;
  std::vector<ValueType> outputs;
  std::shared_ptr<const Subgraph> body;
  Site site;
  bool check_at_bind = false;  ///< an equality of dimensions could not be decided yet
};

/// What a call may add to op, operands and attributes.
struct CallOptions {
  std::string name = {};
  std::shared_ptr<const Subgraph> body = {};
  Site site = {};
};

/// A handle on a value; keeps its graph alive. Default constructed: none.
class Var {
 public:
  Var() = default;
  /// None, and which result of a call would be here had it been asked for: for errors.
  static Var absent(std::shared_ptr<GraphData> graph, Value result);
  Var(std::shared_ptr<GraphData> graph, Value value) : graph_(std::move(graph)), value_(value) {}

  explicit operator bool() const { return static_cast<bool>(value_); }
  Graph graph() const;
  Value value() const { return value_; }
  const Node& node() const;
  const ValueType& type() const;
  DType dtype() const { return type().dtype; }
  const Shape& shape() const { return type().shape; }
  size_t rank() const { return shape().size(); }
  /// Dimension of an axis; a negative one counts from the end.
  const Dim& dim(int64_t axis) const;
  /// The name that the user gave, else "%id" or "%id.slot".
  std::string name() const;
  /// The graph calls this value `name` from now on: it can be fetched, saved and found by it.
  Var named(std::string_view name) const;
  bool same(const Var& o) const { return graph_ == o.graph_ && value_ == o.value_; }
  /// Why an empty Var is empty, for errors: what result it is and which option asks for it.
  std::string why_empty() const;

 private:
  friend class Graph;
  std::shared_ptr<GraphData> graph_;
  Value value_;
  std::shared_ptr<GraphData> absent_of_;
  Value absent_;
};

/// A handle on a graph; copies name the same graph.
class Graph {
 public:
  Graph();
  explicit Graph(std::shared_ptr<GraphData> data) : data_(std::move(data)) {}

  /// A value that is fed at each run. `shape` may hold symbols: {"T", "B", 12}.
  Var placeholder(std::string_view name, DType dtype, Shape shape, Site at = Site::here());
  /// A value that is part of the graph.
  Var constant(Tensor value, Site at = Site::here());
  /// A value that is kept between runs and (when trainable) changed by training; starts as
  /// `initial`.
  Var variable(std::string_view name, Tensor initial, bool trainable = true,
               Site at = Site::here());

  /// Applies an op: checks signature and attributes, infers the result types, adds the node.
  /// Operands of an ancestor graph are captured. Absent optional operands are null Vars.
  Vars call(const OpDef& op, const Vars& inputs, Attributes attributes, CallOptions options = {});

  int32_t size() const;
  const Node& node(int32_t id) const;
  const ValueType& type(Value v) const;
  Var var(Value v) const { return {data_, v}; }
  /// All outputs of a node as Vars; null where a slot was not asked for.
  Vars vars_of(int32_t node) const;

  /// The value called `name`; an Error lists what there is.
  Var find(std::string_view name) const;
  bool has(std::string_view name) const;
  /// Names given by the user, of nodes and by Var::named, in order.
  const std::map<std::string, Value, std::less<>>& names() const;
  /// All placeholders or variables, in order of creation.
  Vars placeholders() const;
  Vars variables() const;
  /// Variables that training changes.
  Vars trainable() const;

  /// Names made while the result lives get the prefix "name/".
  class Scope {
   public:
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

   private:
    friend class Graph;
    Scope(std::shared_ptr<GraphData> data, size_t restore)
        : data_(std::move(data)), restore_(restore) {}
    std::shared_ptr<GraphData> data_;
    size_t restore_;
  };
  /// Opens a scope: see Scope.
  [[nodiscard]] Scope scope(std::string_view name);
  /// The names of the open scopes, joined: "encoder/0"; empty outside of any.
  std::string scope_name() const;

  /// An empty graph whose operands may come from this one: the body of `of`, built at `at`.
  Graph child(std::string_view of = {}, Site at = {}) const;
  /// A body is whole: nothing is built on its values any more.
  void finish();
  bool has_parent() const;
  Graph parent() const;
  /// Values of the parent that were captured, each with the placeholder that stands for it here.
  const std::vector<std::pair<Value, Value>>& captures() const;
  /// The value as one of this graph: itself, or the capture of an ancestor's. Error: a Var of an
  /// unrelated graph.
  Var adopt(const Var& v, std::string_view op_for_errors);
  /// Numbers for random streams: 0, 1, 2, ...
  int64_t next_stream();
  /// Nodes [begin, end) that were made to stand for others, whose values they have: what is built
  /// on them does not depend on those.
  struct StandIn {
    int32_t begin = 0, end = 0;
    std::vector<bool> of;  ///< by node
  };
  const std::vector<StandIn>& stand_ins() const;
  /// Notes nodes that stand for others.
  void add_stand_in(StandIn s);
  void reserve_streams(
      int64_t next);  ///< as a loaded graph does, so that old streams are not given again
  int64_t streams() const;
  /// The seed of all initial values that are drawn while the graph is built.
  Graph& set_seed(uint64_t seed);
  uint64_t seed() const;

  bool operator==(const Graph& o) const { return data_ == o.data_; }
  const std::shared_ptr<GraphData>& data() const { return data_; }

 private:
  std::shared_ptr<GraphData> data_;
};

/// A graph with named ends: the body of a recurrence, or anything that is run or copied as one.
struct Subgraph {
  Graph graph;
  std::vector<Value> inputs;   ///< placeholders of `graph` (of what is run: variables too)
  std::vector<Value> outputs;  ///< null: not computed
};

/// How deep bodies may stand within bodies; whatever follows them down refuses more.
inline constexpr int kDeepestBody = 64;

/// While it lives, nodes that this thread makes carry `site`: what an op is lowered or
/// differentiated to was built where the op was.
class SiteScope {
 public:
  explicit SiteScope(Site site);
  ~SiteScope();
  SiteScope(const SiteScope&) = delete;
  SiteScope& operator=(const SiteScope&) = delete;

 private:
  Site site_;
  const Site* outer_;
};

/// The ops of the three kinds of leaf.
const OpDef& placeholder_op();
const OpDef& constant_op();
const OpDef& variable_op();

/// The graph in which an op on these operands belongs: the innermost of theirs. Error: unrelated
/// graphs, or no operand.
Graph graph_of(const Vars& operands, std::string_view op);

/// Refuses a Var where no value of its graph can be used: `OP.graph.body` for one of a body, else
/// `OP.graph.mixed`. `what` it is: "operand".
[[noreturn]] void refuse_stranger(std::string_view op, std::string_view what, const Var& v);

/// Copies the subgraph's nodes into `into`, its inputs replaced by `inputs`; returns its outputs
/// there.
Vars inline_subgraph(const Subgraph& s, Graph into, const Vars& inputs);

}  // namespace rondo
