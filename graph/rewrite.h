// The rewrite engine. A pass is a function Subgraph -> Subgraph that builds a new graph, because
// nodes never change.
//
// Two tools. `Rebuilder` walks the live nodes in order and lets a pass put other values in the
// place of a node's results; all else is copied, names kept. `rewrite` applies tree rewrites: rows
// of data, each a pattern and a builder,
//
//   rule("mul_one", op("mul", any("x"), literal(1.0), commutes()), [](Match& m) { return m["x"]; })
//
// The engine is here, facts about ops are in ops/rules, their order is in runtime/compile.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>

namespace rondo {

/// Ids of the nodes that `s.outputs` need, and of `s.inputs`, in order.
std::vector<int32_t> live_nodes(const Subgraph& s);

/// Builds a new graph from the live nodes of an old one.
///
///   Rebuilder r(s);
///   for (int32_t id : r.live()) {
///     const Node& n = r.node(id);
///     if (...) r.set(n, {...}); else r.copy(n);
///   }
///   return r.finish();
class Rebuilder {
 public:
  explicit Rebuilder(const Subgraph& from);

  const Subgraph& from() const { return from_; }
  /// The new graph. Nodes may be added to it freely; new placeholders are to be appended to the
  /// result's inputs.
  const Graph& graph() const { return to_; }
  /// Nodes of the old graph that are needed, in order.
  const std::vector<int32_t>& live() const { return live_; }
  const Node& node(int32_t id) const { return from_.graph.node(id); }
  /// How often live nodes and the outputs use a value of the old graph.
  int uses(Value old) const;

  /// The new value of an old one; null for null. Internal Error: it has none (yet).
  Var operator[](Value old) const;
  /// A node's operands in the new graph; null where absent.
  Vars inputs(const Node& n) const;
  /// The node as a call on the new graph's values, without results: for `lower` and guards.
  Call call(const Node& n) const;

  /// Copies the node with its attributes, name, site and body; the second form with other operands
  /// and body.
  Vars copy(const Node& n) { return copy(n, inputs(n), n.body); }
  /// The node again, on these operands.
  Vars copy(const Node& n, const Vars& inputs, std::shared_ptr<const Subgraph> body);
  /// These values of the new graph stand for the node's results from now on. Null where a result is
  /// not used. Internal Error: a dtype or rank that differs, or a count.
  void set(const Node& n, const Vars& results);

  /// The new subgraph: inputs and outputs mapped, names of values that are still there kept.
  Subgraph finish();

 private:
  size_t index(Value old) const;

  Subgraph from_;
  Graph to_;
  std::vector<int32_t> live_;
  std::vector<size_t> first_;  // of each old node's results in the two below
  std::vector<Var> now_;
  std::vector<int> uses_;
};

/// Rebuilds with a function that gives a node's new results, or nothing: then the node is copied.
using Replace = std::function<Vars(Rebuilder& r, const Node& n)>;
Subgraph rebuild(const Subgraph& s, const Replace& replace);

/// Applies a pass to bodies, each once however many nodes share it.
class BodyPass {
 public:
  explicit BodyPass(std::function<Subgraph(const Subgraph&)> pass) : pass_(std::move(pass)) {}
  /// The body after the pass; null for null.
  std::shared_ptr<const Subgraph> operator()(const std::shared_ptr<const Subgraph>& body);

 private:
  std::function<Subgraph(const Subgraph&)> pass_;
  std::map<std::shared_ptr<const Subgraph>, std::shared_ptr<const Subgraph>> done_;
};

/// Stops at bodies within bodies that are deeper than kDeepestBody (Error `graph.body.depth`).
void check_body_depth(int depth);

/// The number that a scalar constant, a constant of equal elements or a `fill` holds; none for any
/// other value.
std::optional<double> literal_value(const Var& v);

class Match;

/// What a rule looks for: a small tree of ops, captures and literals.
struct Pattern {
  /// What stands at a place of the tree.
  enum class Kind { kAny, kOp, kLiteral, kNumber, kNone, kRest };
  Kind kind = Kind::kAny;
  std::string op = {};       ///< kOp: its name
  std::string capture = {};  ///< what the builder calls it; empty = not captured
  double literal = 0;        ///< kLiteral, compared by its bits in the operand's dtype
  std::vector<Pattern> operands = {};
  std::vector<std::function<bool(const Call&)>> guards = {};
  bool commutes = false;  ///< the two operands match in either order
  bool once = false;      ///< nothing else uses the node
  int32_t slot = 0;       ///< which of its results is meant (below the root)
};

/// The words of which patterns are made.
namespace pattern {

/// What is said about an op node beside its operands.
struct Note {
  std::function<void(Pattern&)> apply;
};

/// Any value that is there. The same name twice must be the same value.
inline Pattern any(std::string name) {
  return {.kind = Pattern::Kind::kAny, .capture = std::move(name)};
}
/// A scalar constant, or a constant of equal elements, of exactly this value (0.0 is not -0.0).
inline Pattern literal(double value) { return {.kind = Pattern::Kind::kLiteral, .literal = value}; }
/// The same with any value: `m.number(name)`.
inline Pattern number(std::string name) {
  return {.kind = Pattern::Kind::kNumber, .capture = std::move(name)};
}
/// An optional operand that is absent.
inline Pattern none() { return {.kind = Pattern::Kind::kNone}; }
/// All operands that follow: `m.rest(name)`.
inline Pattern rest(std::string name) {
  return {.kind = Pattern::Kind::kRest, .capture = std::move(name)};
}

/// A node of the op called `name`, on exactly these operands, with these notes.
template <class... A>
Pattern op(std::string name, A&&... parts) {
  Pattern p{.kind = Pattern::Kind::kOp, .op = std::move(name)};
  const auto add = [&p](auto&& part) {
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, Note>) {
      part.apply(p);
    } else {
      p.operands.push_back(std::forward<decltype(part)>(part));
    }
  };
  (add(std::forward<A>(parts)), ...);
  return p;
}

/// Names the node: `m.node(name)` gives its attributes and operands.
inline Note as(std::string name) {
  return {[name = std::move(name)](Pattern& p) { p.capture = name; }};
}
/// Its two operands match in either order.
inline Note commutes() {
  return {[](Pattern& p) { p.commutes = true; }};
}
/// Nothing else uses it: then a rewrite saves its work.
inline Note once() {
  return {[](Pattern& p) { p.once = true; }};
}
/// The attribute has this value.
inline Note with(std::string attribute, AttributeValue value) {
  return {[attribute = std::move(attribute), value = std::move(value)](Pattern& p) {
    p.guards.emplace_back([attribute, value](const Call& c) {
      const AttributeValue* v = c.attributes().find(attribute);
      return v != nullptr && *v == value;
    });
  }};
}
/// Anything else that must hold of the node.
inline Note when(std::function<bool(const Call&)> guard) {
  return {[guard = std::move(guard)](Pattern& p) { p.guards.push_back(guard); }};
}
/// Its result `slot`, where it has several.
inline Note result(int32_t slot) {
  return {[slot](Pattern& p) { p.slot = slot; }};
}

}  // namespace pattern

/// What a pattern found: captures by name, values of the new graph.
class Match {
 public:
  const Var& operator[](std::string_view capture) const;  ///< internal Error: nothing of that name
  double number(std::string_view capture) const;
  const Vars& rest(std::string_view capture) const;
  /// An op node called `as(name)`. The root's own results are not there yet.
  const Call& node(std::string_view name) const;
  /// What the root is, and what must come of it: same dtype and shape.
  const Call& root() const { return *root_; }
  const ValueType& type(size_t slot = 0) const { return types_[slot]; }
  /// Whether `v` may stand for the root as it is.
  bool fits(const Var& v) const { return v && v.type() == type(); }
  Graph graph() const { return graph_; }

 private:
  friend class Matcher;
  Graph graph_{nullptr};
  const Call* root_ = nullptr;
  std::span<const ValueType> types_;
  // Few: searched from the front. A deque, because calls hold references and cannot be assigned.
  std::deque<std::pair<std::string_view, Var>> values_;
  std::deque<std::pair<std::string_view, Vars>> rests_;
  std::deque<std::pair<std::string_view, Call>> nodes_;
};

/// What a rule's own example is built from, so that the suite can try the rule on every dtype and
/// rank.
struct ExampleContext {
  Graph graph;
  Var x;  ///< a placeholder of the dtype and rank under test
  Var y;  ///< another of the same type
  /// A whole number in [0, below), differing from try to try.
  std::function<int64_t(int64_t below)> pick;

  Var constant(double value) const { return constant(value, x.dtype()); }
  Var constant(double value, DType dtype) const {
    return Graph(graph).constant(Tensor::scalar(dtype, value));
  }
};

/// A row of a rule set.
struct Rule {
  std::string name;
  Pattern pattern;  ///< its root is an op
  /// The values that replace the root's results; empty, or a null in the place of a result: the
  /// guard says no.
  std::function<Vars(Match&)> build;
  /// Something that the rule rewrites; null where it does not apply (a rank too low, a dtype).
  std::function<Var(const ExampleContext&)> example = {};
};

/// A row. `build` gives a Var (for an op with one result; null: guard says no) or Vars (one for
/// each result).
template <class Build>
Rule rule(std::string name, Pattern pattern, Build build,
          std::function<Var(const ExampleContext&)> example = {}) {
  const auto all = [build = std::move(build)](Match& m) -> Vars {
    if constexpr (std::is_same_v<std::invoke_result_t<Build, Match&>, Vars>) {
      return build(m);
    } else {
      const Var v = build(m);
      return v ? Vars{v} : Vars{};
    }
  };
  return {std::move(name), std::move(pattern), all, std::move(example)};
}

/// Rules that are applied together, in order of preference. Cheap to copy.
class RuleSet {
 public:
  RuleSet() = default;
  /// Internal Error: a name that is taken, a root that is no op.
  explicit RuleSet(std::vector<Rule> rules);
  const std::vector<Rule>& rules() const;
  /// The rules whose root is this op, in order.
  std::span<const Rule* const> rooted_at(std::string_view op) const;
  /// Both, those of `a` first.
  friend RuleSet operator+(const RuleSet& a, const RuleSet& b);

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

/// What fired and how often, in the order of first firing.
struct RewriteLog {
  std::vector<std::pair<std::string, int>> fired;

  /// Counts a rule that was applied.
  void note(std::string_view rule, int times = 1);
  int count(std::string_view rule) const;
  int total() const;
  std::string str() const;  ///< "mul_one x3, transpose_twice"; "nothing" when nothing fired
};

/// Applies the rules, operands first, until none fires any more, in bodies too. The result holds
/// live nodes only. Internal Errors: a rule's result has another type than its root, or more than
/// `max_firings` (0: a bound that grows with the graph) firings, which means that rules undo each
/// other; both name the rule.
Subgraph rewrite(const Subgraph& s, const RuleSet& rules, RewriteLog* log = nullptr,
                 int64_t max_firings = 0);

}  // namespace rondo
