// The pass `recompute`: what a gradient needs of its loop is not kept for all steps. The loop keeps
// its states at the beginning of each of a few segments, and the gradient runs it again from there,
// one segment after the other from the last to the first.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/segments.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

// Where nothing fixes the number of steps.
constexpr int64_t kSegments = 16;

// A loop, and the one that reads what it keeps, the other way round.
struct Pair {
  int32_t loop, gradient;
  std::set<Value> kept;  // results of the loop that only the gradient reads
  int64_t count = kSegments;
};

bool over_time(const RecurrenceLayout& l, Value v) {
  const auto slot = static_cast<size_t>(v.slot);
  return slot < l.ys || slot >= l.trajectory_of(0);
}

class Finder {
 public:
  explicit Finder(const Subgraph& s) : s_(s) {
    for (const int32_t id : live_nodes(s)) {
      for (const Value v : s.graph.node(id).inputs) {
        if (v) users_[v].insert(id);
      }
    }
    for (const Value v : s.outputs) users_[v].insert(-1);
  }

  std::optional<Pair> find(const Node& gradient) const {
    if (!fits(gradient)) return std::nullopt;
    const RecurrenceLayout l(gradient);
    for (size_t i = l.first_x(); i < l.first_per_row(); ++i) {
      const Node& loop = s_.graph.node(gradient.inputs[i].node);
      if (!is_recurrence(loop) || !fits(loop) || !turned(loop, gradient)) continue;
      Pair p{loop.id, gradient.id, kept_for(loop, gradient)};
      if (p.kept.empty()) continue;
      p.count = segments(loop, p.kept);
      if (p.count > 1) return p;
    }
    return std::nullopt;
  }

 private:
  // Loops over rows, in floats that sums of segments do not round.
  static bool fits(const Node& n) {
    if (!is_recurrence(n) || is_branch(n) || !is_program(*n.body)) return false;
    const RecurrenceLayout l(n);
    const Dim rows = Dim::symbol(n.attributes.text("row_symbol"));
    const auto of_rows = [&](Value v) {
      const ValueType& t = n.body->graph.type(v);
      return (t.dtype == f32 || t.dtype == f64) && !t.shape.empty() && t.shape[0] == rows;
    };
    const auto& in = n.body->inputs;
    return l.states != 0 &&
           std::all_of(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(l.first_per_row()),
                       of_rows);
  }
  // Whether the second is the gradient of the first, which runs the other way round.
  static bool turned(const Node& a, const Node& b) {
    const RecurrenceLayout l(a), m(b);
    return b.attributes.text("origin") == a.attributes.text("origin") + ".gradient" &&
           a.attributes.flag("reverse") != b.attributes.flag("reverse") &&
           a.attributes.shape("extent") == b.attributes.shape("extent") &&
           a.inputs[l.begin()] == b.inputs[m.begin()] && a.inputs[l.end()] == b.inputs[m.end()];
  }

  std::set<Value> kept_for(const Node& loop, const Node& gradient) const {
    const RecurrenceLayout l(loop), m(gradient);
    std::set<Value> kept;
    for (size_t i = 0; i < gradient.inputs.size(); ++i) {
      const Value v = gradient.inputs[i];
      if (!v || v.node != loop.id) continue;
      // The first states of the gradient, or what else is not read by step.
      if (i < m.first_x() || i >= m.first_per_row()) continue;
      if (over_time(l, v) && users_.at(v).size() == 1) kept.insert(v);
    }
    return kept;
  }

  // As many as make what is kept of segments as large as what is there for one of them.
  int64_t segments(const Node& loop, const std::set<Value>& kept) const {
    const Shape& extent = loop.attributes.shape("extent");
    if (!extent[0].is_constant()) return kSegments;
    const RecurrenceLayout l(loop);
    bool known = true;
    const auto width = [&](Value v, size_t from) {
      double n = 1;
      const Shape& s = s_.graph.type(v).shape;
      for (size_t a = from; a < s.size(); ++a) {
        known = known && s[a].is_constant();
        n *= known ? static_cast<double>(s[a].constant()) : 1;
      }
      return n;
    };
    double of_step = 0, of_segment = 0;
    for (const Value v : kept) of_step += width(v, 2);
    for (size_t i = 0; i < l.states; ++i) of_segment += width(loop.inputs[i], 1);
    if (!known || of_segment <= 0) return kSegments;
    const int64_t steps = extent[0].constant();
    auto best = static_cast<int64_t>(std::sqrt(static_cast<double>(steps) * of_step / of_segment));
    if (extent[1].is_constant())
      best = std::min(best, steps * extent[1].constant() / kFewestRowSteps);
    return std::clamp<int64_t>(best, 1, std::max<int64_t>(1, steps));
  }

  const Subgraph& s_;
  std::map<Value, std::set<int32_t>> users_;
};

// The body of a `segments` node, and its operands by role. What several loops in it read is one
// operand.
class Segment {
 public:
  Segment(const Rebuilder& r, const Node& loop, int64_t count, bool reverse) : r_(r) {
    const RecurrenceLayout l(loop);
    const Shape& extent = loop.attributes.shape("extent");
    parts_.steps = extent[0];
    parts_.rows = extent[1];
    parts_.count = count;
    parts_.reverse = reverse;
    rows_ = extent[1];
    begin_ = window(loop.inputs[l.begin()], parts_.begin);
    end_ = window(loop.inputs[l.end()], parts_.end);
  }

  Var state(const Var& outer, const ValueType& t) {
    parts_.states.push_back(outer);
    return place(states_, t);
  }
  Var per_segment(const Var& outer, const ValueType& t) {
    parts_.per_segment.push_back(outer);
    return place(per_segment_, t);
  }
  Var shared(Value outer) {
    Var& v = known_[{outer, false}];
    if (!v) {
      parts_.shared.push_back(r_[outer]);
      v = place(shared_, r_.from().graph.type(outer));
    }
    return v;
  }
  // `t`: of one step.
  Var x(Value outer, const ValueType& t) {
    Var& v = known_[{outer, true}];
    if (!v) {
      parts_.xs.push_back(r_[outer]);
      ValueType over = t;
      over.shape[0] = rows_;
      over.shape.insert(over.shape.begin(), Dim::symbol(kSegmentSteps));
      v = place(xs_, over);
    }
    return v;
  }

  // The loop for the steps of a segment, on states and inputs over time that may be other ones.
  Vars run(const Node& loop, const Vars& states,
           const std::function<Var(size_t)>& instead = nullptr) {
    const RecurrenceLayout l(loop);
    const Graph& inner = loop.body->graph;
    Vars operands = states;
    for (size_t i = l.first_x(); i < l.first_per_row(); ++i) {
      const Var other = instead ? instead(i) : Var();
      operands.push_back(other ? other : x(loop.inputs[i], inner.type(loop.body->inputs[i])));
    }
    for (size_t i = l.first_per_row(); i < l.body_inputs(); ++i)
      operands.push_back(shared(loop.inputs[i]));
    operands.push_back(begin_);
    operands.push_back(end_);
    Attributes a = loop.attributes;
    a.set("extent", Shape{Dim::symbol(kSegmentSteps), rows_});
    return make_recurrence(body_, operands, loop.body, a, {.name = loop.name, .site = loop.site});
  }

  // The node, where the body gives these next states, results over time, and terms of sums.
  Vars make(const Vars& next, const Vars& ys, const Vars& sums, Site site) {
    Subgraph s{body_, {}, {}};
    for (const auto* list : {&states_, &xs_, &per_segment_, &shared_})
      s.inputs.insert(s.inputs.end(), list->begin(), list->end());
    for (const Var& v : {begin_, end_}) {
      if (v) s.inputs.push_back(v.value());
    }
    for (const Vars* list : {&next, &ys, &sums}) {
      for (const Var& v : *list) s.outputs.push_back(v.value());
    }
    parts_.ys = ys.size();
    parts_.sums = sums.size();
    return parts_.make(r_.graph(), std::make_shared<Subgraph>(prune_recurrences(s)), site);
  }

 private:
  Var placeholder(const ValueType& t) {
    return body_.call(placeholder_op(), {}, {{"dtype", t.dtype}, {"shape", t.shape}})[0];
  }
  Var place(std::vector<Value>& list, const ValueType& t) {
    const Var p = placeholder(t);
    list.push_back(p.value());
    return p;
  }
  Var window(Value outer, Var& operand) {
    if (!outer) return {};
    operand = r_[outer];
    return placeholder(r_.from().graph.type(outer));
  }

  const Rebuilder& r_;
  Graph body_;
  SegmentsParts parts_;
  Dim rows_ = 0;
  Var begin_, end_;
  std::vector<Value> states_, xs_, per_segment_, shared_;
  std::map<std::pair<Value, bool>, Var> known_;
};

// What of a loop's results the segments give, and where.
class Results {
 public:
  Results(Rebuilder& r, const Node& n, Segment& segment, const Vars& inner)
      : r_(r), n_(n), segment_(segment), inner_(inner), l_(n) {}

  Vars make(const std::set<Value>& but) {
    std::vector<size_t> ys_of, others_of;  // which of the loop's results they are
    Vars next, ys, sums;
    for (size_t k = 0; k < n_.outputs.size(); ++k) {
      const Value v{n_.id, static_cast<int32_t>(k)};
      const bool is_state = k >= l_.final_of(0) && k < l_.sum_of(0);
      if (!is_state && (r_.uses(v) == 0 || but.count(v) != 0)) continue;
      (is_state ? next : over_time(l_, v) ? ys : sums).push_back(inner_[k]);
      (over_time(l_, v) ? ys_of : others_of).push_back(k);
    }
    const Vars made = segment_.make(next, ys, sums, n_.site);
    Vars results(n_.outputs.size());
    std::vector<size_t> from = ys_of;
    from.insert(from.end(), others_of.begin(), others_of.end());
    for (size_t i = 0; i < from.size(); ++i) results[from[i]] = made[i];
    befores.assign(made.begin() + static_cast<std::ptrdiff_t>(from.size()), made.end());
    return results;
  }
  Vars befores;

 private:
  Rebuilder& r_;
  const Node& n_;
  Segment& segment_;
  const Vars& inner_;
  RecurrenceLayout l_;
};

Vars first_states(Segment& segment, const Rebuilder& r, const Node& n) {
  Vars states;
  for (size_t i = 0; i < RecurrenceLayout(n).states; ++i)
    states.push_back(segment.state(r[n.inputs[i]], r.from().graph.type(n.inputs[i])));
  return states;
}

}  // namespace

Subgraph recompute(const Subgraph& s, RewriteLog* log) {
  const Finder finder(s);
  std::map<int32_t, Pair> by_loop, by_gradient;
  for (const int32_t id : live_nodes(s)) {
    const Node& n = s.graph.node(id);
    if (by_loop.count(id) != 0) continue;
    const auto found = finder.find(n);
    if (!found || by_loop.count(found->loop) != 0 || by_gradient.count(found->loop) != 0) continue;
    by_loop[found->loop] = by_gradient[id] = *found;
    const std::string& origin = s.graph.node(found->loop).attributes.text("origin");
    if (log != nullptr) log->note(origin.empty() ? "recurrence" : origin);
  }
  if (by_loop.empty()) return s;

  std::map<int32_t, Vars> befores;  // of each loop, its states
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (const auto it = by_loop.find(n.id); it != by_loop.end()) {
      Segment segment(r, n, it->second.count, n.attributes.flag("reverse"));
      const Vars inner = segment.run(n, first_states(segment, r, n));
      Results results(r, n, segment, inner);
      Vars now = results.make(it->second.kept);
      befores[n.id] = results.befores;
      return now;
    }
    const auto it = by_gradient.find(n.id);
    if (it == by_gradient.end()) return {};
    const Pair& p = it->second;
    const Node& loop = r.node(p.loop);
    Segment segment(r, n, p.count, n.attributes.flag("reverse"));
    const Vars states = first_states(segment, r, n);
    Vars before;
    for (size_t i = 0; i < RecurrenceLayout(loop).states; ++i)
      before.push_back(segment.per_segment(befores.at(loop.id)[i], s.graph.type(loop.inputs[i])));
    const Vars again = segment.run(loop, before);
    const Vars inner = segment.run(n, states, [&](size_t i) {
      return p.kept.count(n.inputs[i]) != 0 ? again[static_cast<size_t>(n.inputs[i].slot)] : Var();
    });
    return Results(r, n, segment, inner).make({});
  });
}

}  // namespace rondo
