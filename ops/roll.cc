#include <rondo/ops/roll.h>

#include <algorithm>
#include <functional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/roll_slices.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace roll_internal;
using Kind = Inner::Kind;

// ---- one loop, rolled --------------------------------------------------------------------------

class Roller {
 public:
  Roller(const LiveGraph& g, const Slices& s)
      : g_(g), s_(s), role_(static_cast<size_t>(g.subgraph().graph.size())) {}

  // The new subgraph; none, and `why`, when something stands against it.
  std::optional<Subgraph> run(std::string* why) {
    mark_steps();
    mark_after();
    if (const std::string problem = problem_with_ends(); !problem.empty()) {
      *why = problem;
      return std::nullopt;
    }
    find_results();
    Rebuilder r(g_.subgraph());
    for (const int32_t id : r.live()) {
      if (role_[static_cast<size_t>(id)] == Role::kBefore) r.copy(r.node(id));
    }
    try {
      emit(r);
    } catch (const Error& e) {
      if (e.fault() == Fault::kInternal) throw;
      *why = cat("its step cannot stand by itself: ", e.what());
      culprit_ = at_ < s_.nodes().size() ? s_.nodes()[at_].ids[1] : -1;
      return std::nullopt;
    }
    for (const int32_t id : r.live()) {
      if (role_[static_cast<size_t>(id)] == Role::kAfter) r.copy(r.node(id));
    }
    return r.finish();
  }
  // The node, of the second step, that cannot be part of a step; -1: none.
  int32_t culprit() const { return culprit_; }

 private:
  enum class Role : uint8_t { kBefore, kStep, kAfter };

  // The nodes that the recurrence takes the place of: those of the steps that carry the state on.
  // What only the inputs need is computed inside too, and stays outside where others use it.
  void mark_steps() {
    std::vector<bool> seen(s_.nodes().size());
    std::vector<size_t> todo;
    const auto need = [&](const Inner& i) {
      if (i.kind != Kind::kNode || seen[i.index]) return;
      seen[i.index] = true;
      todo.push_back(i.index);
    };
    for (const State& s : s_.states()) need(s.next_inner);
    for (const size_t n : s_.grown()) need({Kind::kNode, n, 0, {}});
    while (!todo.empty()) {
      const StepNode& n = s_.nodes()[todo.back()];
      const size_t index = todo.back();
      todo.pop_back();
      for (const Inner& i : n.operands) need(i);
      in_order_.emplace(n.ids[0], index);
      if (s_.level({n.ids[1], 0}) < 1) continue;
      for (const int32_t id : n.ids) {
        if (id < 0) continue;
        role_[static_cast<size_t>(id)] = Role::kStep;
        of_step_[id] = index;
      }
    }
  }

  void mark_after() {
    for (const int32_t id : g_.ids()) {
      Role& role = role_[static_cast<size_t>(id)];
      if (role == Role::kStep) continue;
      for (const Value v : g_.node(id).inputs) {
        if (v && role_[static_cast<size_t>(v.node)] != Role::kBefore) role = Role::kAfter;
      }
    }
  }

  std::string problem_with_ends() const {
    const auto before = [&](Value v) {
      return !v || role_[static_cast<size_t>(v.node)] == Role::kBefore;
    };
    bool ok = true;
    for (const State& s : s_.states()) ok = ok && before(s.first);
    for (const Sequence& q : s_.sequences()) {
      if (q.of) {
        ok = ok && before(q.of);
      } else {
        for (const Value v : q.each) ok = ok && before(v);
      }
    }
    for (const StepNode& n : s_.nodes()) {
      for (const Inner& i : n.operands) ok = ok && (i.kind != Kind::kShared || before(i.outer));
    }
    if (!ok) return "what a step takes from outside depends on other steps";
    for (const int32_t id : g_.ids()) {
      if (g_.stays(id) && role_[static_cast<size_t>(id)] == Role::kAfter)
        return "a gradient by a value behind it is asked for";
    }
    for (const Value v : g_.subgraph().inputs) {
      if (role_[static_cast<size_t>(v.node)] == Role::kStep) return "an input stands inside of it";
    }
    return {};
  }

  // Which results of the steps others use, and at which steps.
  void find_results() {
    const auto use = [&](Value v) {
      if (!v || role_[static_cast<size_t>(v.node)] != Role::kStep) return;
      const size_t index = of_step_.at(v.node);
      const std::vector<int32_t>& ids = s_.nodes()[index].ids;
      std::vector<bool>& at = used_[{index, v.slot}];
      at.resize(ids.size());
      at[static_cast<size_t>(std::find(ids.begin(), ids.end(), v.node) - ids.begin())] = true;
    };
    for (const int32_t id : g_.ids()) {
      if (role_[static_cast<size_t>(id)] == Role::kStep) continue;
      for (const Value v : g_.node(id).inputs) use(v);
    }
    for (const Value v : g_.subgraph().outputs) use(v);
  }

  // The state whose next value is this result; none is -1.
  size_t state_of(size_t node, int32_t slot) const {
    for (size_t k = 0; k < s_.states().size(); ++k) {
      const Inner& i = s_.states()[k].next_inner;
      if (i.kind == Kind::kNode && i.index == node && i.slot == slot) return k;
    }
    return static_cast<size_t>(-1);
  }

  Var sequence(const Rebuilder& r, const Sequence& q) const {
    const auto steps = static_cast<int64_t>(s_.steps());
    if (!q.of) {
      Vars parts;
      for (const Value v : q.each) parts.push_back(expand_dims(r[v], 0));
      if (s_.reverse()) std::reverse(parts.begin(), parts.end());
      return concat(parts, 0);
    }
    Var x = r[q.of];
    if (q.axis != 0) {
      std::vector<int64_t> permutation{q.axis};
      for (int64_t a = 0; a < static_cast<int64_t>(x.rank()); ++a) {
        if (a != q.axis) permutation.push_back(a);
      }
      x = transpose(x, permutation);
    }
    const int64_t begin = q.stride > 0 ? q.begin : q.begin - steps + 1;
    if (begin == 0 && x.dim(0) == Dim(steps)) return x;
    return slice(x, 0, begin, begin + steps);
  }

  // An attribute's shapes with the body's own symbol for the rows.
  Attributes inside(const Node& n, const std::string& symbol) const {
    Attributes a = n.attributes;
    const std::vector<std::string> names = s_.rows().symbols();
    const bool by_name = names.size() == 1 && s_.rows() == Dim::symbol(names[0]);
    for (const auto& [name, value] : n.attributes.items()) {
      const auto* shape = value.get<Shape>();
      if (shape == nullptr || shape->empty()) continue;
      Shape now = *shape;
      if (by_name) {
        for (Dim& d : now) d = d.substitute({{names[0], Dim::symbol(symbol)}});
      } else if (!n.outputs[0].shape.empty() && now == n.outputs[0].shape && now[0] == s_.rows()) {
        now[0] = Dim::symbol(symbol);
      }
      a.set(name, now);
    }
    return a;
  }

  // Whether an operand that is the same at all steps holds a row for each sequence.
  bool by_row(const Node& n, size_t operand, Value outer) const {
    const Shape& s = g_.type(outer).shape;
    if (s.empty() || !(s[0] == s_.rows())) return false;
    if (!n.op->formula.empty() || n.op->name == "where" || n.op->name == "concat")
      return s.size() == n.outputs[0].shape.size();
    if (n.op->name == "matmul") return operand == 0 || s.size() > 2;
    const Signature signature = n.op->signature(n.attributes);
    const auto letter = [](const Slot& slot) {
      return slot.text.empty() ? std::string() : slot.text[0];
    };
    return !signature.outputs.empty() && operand < signature.inputs.size() &&
           letter(signature.inputs[operand]) == letter(signature.outputs[0]);
  }

  // What comes of the rows must have them as its first axis, and nowhere else.
  static void check_rows(const Graph& body, const Node& n, const Node& user,
                         const std::string& symbol) {
    const auto rows_at = [&](const Shape& s, size_t axis) {
      const std::vector<std::string> names = s[axis].symbols();
      return std::find(names.begin(), names.end(), symbol) != names.end();
    };
    const auto lead = [&](const ValueType& t) {
      for (size_t a = 1; a < t.shape.size(); ++a) {
        if (rows_at(t.shape, a)) return false;
      }
      return !t.shape.empty() && t.shape[0] == Dim::symbol(symbol);
    };
    bool has_rows = false;
    for (const Value v : n.inputs) {
      if (v) has_rows = has_rows || lead(body.type(v));
    }
    bool ok = (!n.check_at_bind || user.check_at_bind) && !mixes_rows(body, n, symbol);
    for (const ValueType& t : n.outputs) ok = ok && (!has_rows || !t.present || lead(t));
    if (!ok) fail(Fault::kUnsupported, "roll.rows", user.op->name, " mixes the rows");
  }

  void emit(Rebuilder& r) {
    // The state that was made last in a step comes first: h before c.
    std::vector<size_t> order(s_.states().size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = k;
    const auto made = [&](size_t k) { return s_.states()[k].next[0]; };
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return made(a).node != made(b).node ? made(a).node > made(b).node
                                          : made(a).slot < made(b).slot;
    });
    std::vector<size_t> place(order.size());
    for (size_t k = 0; k < order.size(); ++k) place[order[k]] = k;

    RecurrenceInputs in{.reverse = s_.reverse()};
    for (const size_t k : order) in.states.push_back(r[s_.states()[k].first]);
    for (const Sequence& q : s_.sequences()) in.xs.push_back(sequence(r, q));
    if (in.xs.empty()) in.steps = static_cast<int64_t>(s_.steps());

    // Results that only the end needs are final states; all others are outputs of each step. The
    // states are outputs whether they are needed or not: so the loop of a gradient and that of the
    // values are one, whatever each uses, and what neither does is pruned.
    std::vector<std::pair<size_t, int32_t>> ys;
    for (const size_t k : order) {
      const Inner& i = s_.states()[k].next_inner;
      if (i.kind == Kind::kNode) ys.emplace_back(i.index, i.slot);
    }
    for (const auto& [result, at] : used_) {
      if (std::find(ys.begin(), ys.end(), result) == ys.end()) ys.push_back(result);
    }
    const auto last_only = [](const std::vector<bool>& at) {
      return std::find(at.begin(), at.end(), true) == at.end() - 1;
    };
    const Node& last = g_.node(s_.chain().back().node);
    const SiteScope site(last.site);
    const RecurrenceResult result =
        recurrence(in, [&](const Vars& states, const Vars& xs, const Vars&) -> RecurrenceStep {
          Graph body = states[0].graph();
          const std::string symbol = open_body()->symbol;
          std::map<size_t, Vars> done;  // by StepNode
          const auto value = [&](const Inner& i, const Node* user, size_t operand) -> Var {
            if (i.kind == Kind::kState) return states[place[i.index]];
            if (i.kind == Kind::kSequence) return xs[i.index];
            if (i.kind == Kind::kNode) return done.at(i.index)[static_cast<size_t>(i.slot)];
            if (!i.outer) return {};
            const Node& outer = g_.node(i.outer.node);  // a number stands in the body, as in layers
            if (outer.op == &constant_op() && outer.outputs[0].shape.empty())
              return body.constant(outer.attributes.tensor("value"), outer.site);
            const bool rows = user != nullptr && by_row(*user, operand, i.outer);
            return rows ? per_row(r[i.outer]) : r[i.outer];
          };
          // In the order in which the user made them: so the body is the one of a layer that was
          // written in the same words.
          for (const auto& [id, index] : in_order_) {
            at_ = index;
            const Node& n = g_.node(id);
            const std::vector<Inner>& of = s_.nodes()[index].operands;
            Vars operands;
            for (size_t k = 0; k < of.size(); ++k) operands.push_back(value(of[k], &n, k));
            done[index] = body.call(*n.op, operands, inside(n, symbol), {.site = n.site});
            check_rows(body, body.node(body.size() - 1), n, symbol);
          }
          RecurrenceStep next;
          for (const size_t k : order)
            next.states.push_back(value(s_.states()[k].next_inner, nullptr, 0));
          for (const auto& [node, slot] : ys)
            next.ys.push_back(value({Kind::kNode, node, slot, {}}, nullptr, 0));
          return next;
        });

    const auto steps = static_cast<int64_t>(s_.steps());
    std::map<int32_t, Vars> results;
    for (const auto& [of, at] : used_) {
      const auto& [node, slot] = of;
      const auto y = std::find(ys.begin(), ys.end(), of);
      for (size_t k = 0; k < at.size(); ++k) {
        if (!at[k]) continue;
        const int32_t id = s_.nodes()[node].ids[k];
        const auto time =
            s_.reverse() ? steps - 1 - static_cast<int64_t>(k) : static_cast<int64_t>(k);
        Vars& all = results[id];
        all.resize(g_.node(id).outputs.size());
        all[static_cast<size_t>(slot)] =
            last_only(at) && state_of(node, slot) != static_cast<size_t>(-1)
                ? result.finals[place[state_of(node, slot)]]
                : squeeze(slice(result.ys[static_cast<size_t>(y - ys.begin())], 0, time, time + 1),
                          0);
      }
    }
    for (const auto& [id, values] : results) r.set(r.node(id), values);
  }

  const LiveGraph& g_;
  const Slices& s_;
  std::vector<Role> role_;               // by node
  std::map<int32_t, size_t> of_step_;    // which StepNode a node is
  size_t at_ = static_cast<size_t>(-1);  // the StepNode that is being made
  int32_t culprit_ = -1;
  std::set<std::pair<int32_t, size_t>>
      in_order_;  // the StepNodes behind their nodes in the first step, which two may share
  std::map<std::pair<size_t, int32_t>, std::vector<bool>>
      used_;  // by StepNode and slot: at which steps
};

// Elementwise work again and again on one value is no loop over time: as it stands it is fused.
bool is_worth_it(const LiveGraph& g, const Slices& s) {
  return !s.sequences().empty() ||
         std::any_of(s.nodes().begin(), s.nodes().end(), [&](const StepNode& n) {
           const OpDef& op = *g.node(n.ids[0]).op;
           return op.lower || op.name == "matmul";
         });
}

// The longest end of a chain whose steps are alike: two loops one after the other, the second from
// where the first stopped, are one chain. Empty when its last few steps differ too.
Tuple end_that_fits(const LiveGraph& g, const Tuple& chain) {
  const auto from = [&](size_t first) {
    return Tuple(chain.begin() + static_cast<std::ptrdiff_t>(first), chain.end());
  };
  size_t differ = 0, alike = chain.size() - 1 - kFewestRolledSteps;
  if (alike == 0 || !Slices(g, from(alike)).match()) return {};
  while (alike - differ > 1) {
    const size_t middle = differ + (alike - differ) / 2;
    (Slices(g, from(middle)).match() ? alike : differ) = middle;
  }
  return from(alike);
}

std::string name_of(const LiveGraph& g, const Slices& s) {
  return cat(s.steps(), " steps of ", g.node(s.chain().back().node).op->name,
             where(g.node(s.chain()[1].node).site));
}

// The steps of a chain, or of its end, laid upon each other; none, and `why`. A step may make
// several values of the chain's kind.
std::optional<Slices> steps_of(const LiveGraph& g, const Tuple& chain, std::string* why) {
  constexpr size_t kMostAStep = 4;
  for (size_t each = 1; each <= kMostAStep; ++each) {
    Tuple steps;
    for (size_t k = (chain.size() - 1) % each; k < chain.size(); k += each)
      steps.push_back(chain[k]);
    if (steps.size() <= kFewestRolledSteps) break;
    std::optional<Slices> s(std::in_place, g, steps);
    if (s->match()) return s;
    if (why->empty()) *why = cat(name_of(g, *s), ": ", s->why());
    if (const Tuple end = end_that_fits(g, steps); !end.empty()) {
      s.emplace(g, end);
      if (s->match()) return s;
    }
  }
  return std::nullopt;
}

// One loop, the longest that can be rolled; none when there is none.
std::optional<Subgraph> roll_one(const Subgraph& s, RollLog* log, size_t whole) {
  const LiveGraph g(s, whole);
  const std::vector<Tuple> chains = chains_of(g);
  std::optional<Subgraph> best;
  size_t best_steps = 0, best_states = 0;
  std::string done, left;
  std::vector<std::string> beside;
  for (const Tuple& chain : chains) {
    if (best && chain.size() - 1 < best_steps) break;
    std::string why;
    const std::optional<Slices> slices = steps_of(g, chain, &why);
    std::optional<Subgraph> made;
    if (slices) {
      const size_t steps = slices->steps(), states = slices->states().size();
      if (best && (steps < best_steps || (steps == best_steps && states >= best_states))) continue;
      std::vector<std::string> stays;
      Refused refused;
      bool is_worth = false;
      for (bool again = true; again;) {
        stays.clear();
        Slices grown = *slices;
        grown.grow(chains, refused, &stays);
        is_worth = is_worth_it(g, grown);
        if (!is_worth) break;
        Roller roller(g, grown);
        made = roller.run(&why);
        again = !made && roller.culprit() >= 0 && refused.emplace(roller.culprit(), why).second;
      }
      if (!is_worth) continue;
      if (!made && is_worth_it(g, *slices)) made = Roller(g, *slices).run(&why);
      if (made) {
        best_steps = steps;
        best_states = states;
        done = cat(name_of(g, *slices), " -> recurrence of ", states,
                   states == 1 ? " state" : " states", slices->reverse() ? ", in reverse" : "");
        beside = std::move(stays);
      } else {
        why = cat(name_of(g, *slices), ": ", why);
      }
    }
    if (made) {
      best = std::move(made);
    } else if (left.empty()) {
      left = why;
    }
  }
  if (log != nullptr && best) log->rolled.push_back(done);
  if (log != nullptr && best) log->left.insert(log->left.end(), beside.begin(), beside.end());
  if (log != nullptr && !best && !left.empty()) log->left.push_back(left);
  return best;
}

}  // namespace

std::optional<Subgraph> roll(const Subgraph& s, RollLog* log, size_t whole) {
  std::optional<Subgraph> now;
  for (;;) {
    auto next = roll_one(now ? *now : s, log, whole);
    if (!next) return now;
    now = std::move(next);
  }
}

}  // namespace rondo
