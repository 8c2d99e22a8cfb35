// The slices of an unrolled loop, laid upon each other: what `roll` needs to know of one chain of
// carried values. Internal to ops/roll.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo::roll_internal {

/// One value a step, of the same meaning; null where a step has none.
using Tuple = std::vector<Value>;

/// What stands for a tuple in the body: a result of a step's node, a state, a slice of a sequence,
/// or a value that is the same for all steps.
struct Inner {
  enum class Kind : uint8_t { kNode, kState, kSequence, kShared } kind = Kind::kShared;
  size_t index = 0;  ///< of the node, state or sequence
  int32_t slot = 0;  ///< of the node
  Value outer = {};  ///< kShared
};

/// A node of the body, and which node of the graph it is at each step; -1: none.
struct StepNode {
  std::vector<int32_t> ids;
  std::vector<Inner> operands = {};
  int shifts = 0;  ///< how many others are the same nodes, a step later each
};

struct State {
  Value first;
  Tuple next;
  Inner next_inner = {};
};

/// A value that each step takes its own slice of: `of` along `axis` from `begin`, a step further
/// each time (+1 or -1); or, when `of` is null, the values themselves.
struct Sequence {
  Tuple each;
  Value of = {};
  int64_t axis = 0, begin = 0, stride = 1;
};

inline std::string where(const Site& site) {
  return site.file == nullptr ? "" : cat(" at ", site.file, ":", site.line);
}

inline bool is_leaf(const Node& n) { return n.op == &placeholder_op() || n.op == &variable_op(); }

/// The nodes of a graph that outputs need, with what is asked of them again and again.
class LiveGraph {
 public:
  /// Outputs from number `whole` on must stay on the way from the inputs to the other outputs.
  LiveGraph(const Subgraph& s, size_t whole);
  const Subgraph& subgraph() const { return s_; }
  const Node& node(int32_t id) const { return s_.graph.node(id); }
  const ValueType& type(Value v) const { return s_.graph.type(v); }
  const std::vector<int32_t>& ids() const { return ids_; }
  size_t index(Value v) const {
    return first_[static_cast<size_t>(v.node)] + static_cast<size_t>(v.slot);
  }
  size_t values() const { return values_; }
  /// Whether a node other than an input must stay: nothing may be computed past it.
  bool stays(int32_t id) const { return stays_[static_cast<size_t>(id)]; }
  /// Whether a node needs one of those outputs; without any, every node counts.
  bool reached(int32_t id) const { return reached_.empty() || reached_[static_cast<size_t>(id)]; }

 private:
  const Subgraph& s_;
  std::vector<int32_t> ids_;
  std::vector<size_t> first_;
  std::vector<bool> stays_, reached_;  // by node
  size_t values_ = 0;
};

/// The chains v_0 ... v_T of carried values that are long enough to be loops, the longest first.
std::vector<Tuple> chains_of(const LiveGraph& g);

/// Nodes of the second step that were found to be no work of a step, and why.
using Refused = std::map<int32_t, std::string>;

/// Lays the steps of a chain v_0 ... v_T upon each other.
class Slices {
 public:
  Slices(const LiveGraph& g, Tuple chain);
  /// Whether the steps are the same computation; else `why` says what differs.
  bool match();
  /// Takes work of each step in that reads its results and does not carry the state on, and what
  /// that needs of the step's inputs. `chains`: all of the graph. `left`: what stays, and why.
  void grow(const std::vector<Tuple>& chains, const Refused& refused,
            std::vector<std::string>* left);

  size_t steps() const { return chain_.size() - 1; }
  const Tuple& chain() const { return chain_; }
  const std::string& why() const { return why_; }
  const std::vector<StepNode>& nodes() const { return nodes_; }
  const std::vector<State>& states() const { return states_; }
  const std::vector<Sequence>& sequences() const { return sequences_; }
  /// The nodes that `grow` took in, of `nodes()`.
  const std::vector<size_t>& grown() const { return grown_; }
  bool reverse() const { return stride_ < 0; }
  const Dim& rows() const { return g_->type(chain_[0]).shape[0]; }
  /// How far along the chain a value is: the largest k with v_k among what it needs; -1 for none.
  int32_t level(Value v) const { return level_[g_->index(v)]; }

 private:
  enum class Place : uint8_t { kHere, kBefore, kOutside, kMixed };

  void find_levels(int32_t last);  // of the nodes up to that one
  bool follow_states(size_t from);
  Place place_of(const Tuple& t) const;
  bool unify(const Tuple& t, Inner* inner);
  bool unify_state(const Tuple& t, Inner* inner);
  bool unify_nodes(const Tuple& t, Inner* inner);
  bool unify_sequence(const Tuple& t, Inner* inner);
  bool same_kind(const Tuple& t);
  bool fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }

  std::vector<size_t> needs(std::vector<size_t> nodes) const;
  bool is_of_steps(size_t node) const { return level({nodes_[node].ids[1], 0}) >= 1; }
  std::vector<Tuple> readers(size_t node, const std::vector<std::vector<int32_t>>& users,
                             const std::vector<bool>& inside) const;
  std::vector<bool> of_other_loops(const std::vector<Tuple>& chains,
                                   const std::vector<bool>& inside) const;
  bool take_in(const Tuple& t, const std::vector<bool>& others, const Refused& refused);
  bool fits_in(const Node& n, bool of_another);
  bool reads_only_what_is_before();

  const LiveGraph* g_;
  Tuple chain_;
  std::vector<int32_t> level_;  // by value
  std::vector<StepNode> nodes_;
  std::vector<State> states_;
  std::vector<Sequence> sequences_;
  std::map<Tuple, Inner> known_;
  std::map<std::pair<int32_t, int32_t>, Inner> known_nodes_;  // by the first two steps' ids
  std::vector<size_t> grown_;
  int64_t stride_ = 0;  // of the sequences: the direction of time
  std::string why_;
};

}  // namespace rondo::roll_internal
