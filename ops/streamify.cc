#include <rondo/ops/streamify.h>

#include <algorithm>
#include <map>
#include <optional>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/recurrence_parts.h>
#include <rondo/ops/shape.h>
#include <rondo/ops/stream_axes.h>

namespace rondo {

using namespace recurrence_internal;

namespace {

bool names(const Dim& d, const std::string& symbol) { return has_symbol({d}, symbol); }

// d / symbol, where that is whole.
std::optional<Dim> divided(const Dim& d, const std::string& symbol) {
  const Dim q = d.bind({{symbol, 1}});
  return q * Dim::symbol(symbol) == d ? std::optional(q) : std::nullopt;
}

Dim product(const Shape& s, size_t from) {
  Dim n(1);
  for (size_t a = from; a < s.size(); ++a) n = n * s[a];
  return n;
}

bool mentions(const Attributes& a, const std::string& symbol) {
  return std::any_of(a.items().begin(), a.items().end(), [&](const auto& item) {
    const auto* s = item.second.template get<Shape>();
    return s != nullptr && has_symbol(*s, symbol);
  });
}

// Whether a symbol stands anywhere in a body, or in one within.
bool mentions(const Subgraph& body, const std::string& symbol) {
  for (const int32_t id : live_nodes(body)) {
    const Node& n = body.graph.node(id);
    if (mentions(n.attributes, symbol) || (n.body && mentions(*n.body, symbol))) return true;
  }
  return false;
}

Attributes bind_shapes(const Attributes& a, const Binding& binding) {
  Attributes r = a;
  for (const auto& [name, value] : a.items()) {
    const auto* shape = value.get<Shape>();
    if (shape == nullptr) continue;
    Shape bound;
    for (const Dim& d : *shape) bound.push_back(d.bind(binding));
    r.set(name, bound);
  }
  return r;
}

Subgraph bind_symbols(const Subgraph& s, const Binding& binding) {
  BodyPass bodies([&](const Subgraph& b) { return bind_symbols(b, binding); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    return Graph(r.graph()).call(*n.op, r.inputs(n), bind_shapes(n.attributes, binding),
                                 {.name = n.name, .body = bodies(n.body), .site = n.site});
  });
}

// The value that a chain of conversions begins with.
Value origin_of(const Graph& g, Value v) {
  static const std::set<std::string_view> kSame{"check_range",  "cast",          "reshape",
                                                "broadcast_to", "stop_gradient", "transpose"};
  while (kSame.count(g.node(v.node).op->name) != 0) v = g.node(v.node).inputs[0];
  return v;
}

// What is known of a value of the unit.
struct Fact {
  enum class Over : uint8_t {
    kFixed,  // the same in all runs of one stream
    kStep,   // a slice for each step
    kSoFar,  // follows from the steps up to now
  };
  Over over = Over::kFixed;
  std::optional<size_t> axis = {};  // where time is,
  Dim inner = 1;                    // and how many elements of that axis one step has behind it
  bool counts = false;              // the number of the step
  bool ends = false;                // lengths
};
using Over = Fact::Over;

class Streamer {
 public:
  Streamer(const Subgraph& unit, const StreamifyOptions& options)
      : unit_(unit),
        time_(options.time.empty() ? time_symbol(unit) : options.time),
        lengths_(options.lengths),
        binding_(options.sizes),
        r_(unit),
        to_(r_.graph()),
        bodies_([this](const Subgraph& b) { return bind_symbols(b, binding_); }) {
    binding_[time_] = 1;
  }

  Streamified run() {
    find_lengths();
    for (const int32_t id : r_.live()) visit(r_.node(id));
    return finish();
  }

 private:
  // ---- what refuses

  [[noreturn]] void refuse(const Node& n, std::string_view rule, const std::string& why) const {
    const std::string name = is_recurrence(n) && n.name.empty() ? owner_of(n) : "";
    fail(Fault::kUnsupported, cat("streamify.", rule), "[stream] ", title_of(n),
         name.empty() ? "" : cat(" \"", name, "\""), " cannot run a step at a time: ", why,
         built_at(n.site));
  }
  [[noreturn]] void refuse_mixed(const Node& n) const {
    refuse(n, "node.steps", cat("it takes steps of ", time_, " together"));
  }
  [[noreturn]] void refuse_future(const Node& n) const {
    refuse(n, "node.future",
           cat("what follows from all steps of ", time_,
               " is used at each of them, where a stream knows only those so far"));
  }

  // ---- where time is

  // The axis of time; none when there is no time in the shape.
  std::optional<size_t> axis_in(const Shape& s, const Node& n) const {
    std::optional<size_t> axis;
    for (size_t a = 0; a < s.size(); ++a) {
      if (!names(s[a], time_)) continue;
      if (axis || !divided(s[a], time_)) refuse_mixed(n);
      axis = a;
    }
    return axis;
  }

  const Shape& shape(Value v) const { return unit_.graph.type(v).shape; }
  const Fact& fact(Value v) const { return facts_.at(v); }
  bool uses(const Node& n, size_t slot) const {
    return r_.uses({n.id, static_cast<int32_t>(slot)}) != 0;
  }
  void note(const Node& n, size_t slot, Fact f) {
    facts_[{n.id, static_cast<int32_t>(slot)}] = std::move(f);
  }

  // Lengths that are not named: what the windows of loops over time read.
  void find_lengths() {
    for (const int32_t id : r_.live()) {
      const Node& n = r_.node(id);
      if (!is_recurrence(n) || !(n.attributes.shape("extent")[0] == Dim::symbol(time_))) continue;
      const Value end = n.inputs[RecurrenceLayout(n).end()];
      if (!end) continue;
      const Value from = origin_of(unit_.graph, end);
      if (unit_.graph.node(from.node).op == &placeholder_op()) lengths_.insert(from);
    }
  }

  // ---- nodes

  Vars copy(const Node& n, const Vars& inputs) {
    const Vars made = to_.call(*n.op, inputs, bind_shapes(n.attributes, binding_),
                               {.name = n.name, .body = bodies_(n.body), .site = n.site});
    return made;
  }

  void visit(const Node& n) {
    if (n.op == &placeholder_op()) {
      visit_placeholder(n);
    } else if (is_recurrence(n)) {
      visit_recurrence(n);
    } else {
      visit_node(n);
    }
  }

  void visit_placeholder(const Node& n) {
    const Value v{n.id, 0};
    if (lengths_.count(v) != 0) {
      const Var now = cast(counter() + 1, n.outputs[0].dtype);
      Shape s;
      for (const Dim& d : n.outputs[0].shape) s.push_back(d.bind(binding_));
      r_.set(n, {broadcast_to(now, s)});
      note(n, 0, {.over = Over::kSoFar, .ends = true});
      return;
    }
    const std::optional<size_t> axis = axis_in(shape(v), n);
    if (axis && !(shape(v)[*axis] == Dim::symbol(time_))) refuse_mixed(n);
    r_.set(n, copy(n, {}));
    note(n, 0, {.over = axis ? Over::kStep : Over::kFixed, .axis = axis});
  }

  // How many steps were before this one.
  Var counter() {
    if (!counter_)
      counter_ = to_.call(placeholder_op(), {}, {{"dtype", i64}, {"shape", Shape{}}})[0];
    return counter_;
  }

  void visit_node(const Node& n) {
    const bool has_ends =
        std::any_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return v && fact(v).ends; });
    if (has_ends && visit_lengths(n)) return;
    Fact result;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const Value v = n.inputs[i];
      if (!v) continue;
      result.over = std::max(result.over, fact(v).over);
      if (fact(v).axis) follow(n, i, result);
    }
    // Time comes first by a shape: fill, iota, broadcast_to, or by a number that asks for it.
    if (!result.axis) {
      for (const ValueType& t : n.outputs) {
        if (t.present && !result.axis) result.axis = axis_in(t.shape, n);
      }
      if (result.axis && result.over == Over::kSoFar) refuse_future(n);
      static const std::set<std::string_view> kRepeat{"fill", "broadcast_to", "iota", "reshape"};
      const bool asks = mentions(n.attributes, time_) || result.axis;
      if (asks && kRepeat.count(n.op->name) == 0)
        refuse(n, "node.count", cat("it asks how many steps there are, ", time_));
      if (n.op->name == "iota" && result.axis) return visit_iota(n, result);
      if (n.op->name == "reshape" && result.axis) refuse_mixed(n);
    } else if (std::any_of(n.inputs.begin(), n.inputs.end(),
                           [&](Value v) { return v && fact(v).over == Over::kSoFar; })) {
      refuse_future(n);
    }
    for (const ValueType& t : n.outputs) {
      if (t.present && axis_in(t.shape, n) != result.axis) refuse_mixed(n);
    }
    static const std::set<std::string_view> kMoves{"cast", "reshape", "broadcast_to", "transpose"};
    result.counts = kMoves.count(n.op->name) != 0 && fact(n.inputs[0]).counts;
    r_.set(n, copy(n, r_.inputs(n)));
    for (size_t k = 0; k < n.outputs.size(); ++k) note(n, k, result);
  }

  // Where operand i's time goes, which must be where the others' goes.
  void follow(const Node& n, size_t i, Fact& result) const {
    const Fact& f = fact(n.inputs[i]);
    Fact to{.axis = {}, .inner = f.inner};
    if (n.op->name == "reshape") {
      to = reshaped(n, f);
    } else {
      to.axis = axis_through(unit_.graph, n, i, *f.axis);
    }
    if (!to.axis || (result.axis && (to.axis != result.axis || !(to.inner == result.inner))))
      refuse_mixed(n);
    result.axis = to.axis;
    result.inner = to.inner;
  }

  // Elements keep their flat order, so as many stand behind each step as before.
  Fact reshaped(const Node& n, const Fact& f) const {
    const Shape &from = shape(n.inputs[0]), &to = n.outputs[0].shape;
    const Dim behind = f.inner * product(from, *f.axis + 1);
    const std::optional<size_t> axis = axis_in(to, n);
    if (!axis) refuse_mixed(n);
    for (const Dim& inner : {Dim(1), *divided(to[*axis], time_)}) {
      if (inner * product(to, *axis + 1) == behind) return {.axis = axis, .inner = inner};
    }
    refuse_mixed(n);
  }

  void visit_iota(const Node& n, Fact f) {
    const size_t along = axis_index(n.attributes.integer("axis"), n.outputs[0].shape.size());
    Var v = copy(n, {})[0];
    if (along == *f.axis) {
      if (!(n.outputs[0].shape[along] == Dim::symbol(time_))) refuse_mixed(n);
      v = v + cast(counter(), v.dtype());
      f.over = Over::kStep;
      f.counts = true;
    }
    r_.set(n, {v});
    note(n, 0, f);
  }

  // Nodes on lengths: no row ends in a stream, which has had as many steps as it has had. Whether
  // it was one of those.
  bool visit_lengths(const Node& n) {
    const std::string& op = n.op->name;
    const auto is = [&](size_t i, bool Fact::* what) {
      return n.inputs[i] && fact(n.inputs[i]).*what;
    };
    const auto below_one = [&](size_t i) {
      const auto number = literal_value(unit_.graph.var(n.inputs[i]));
      return number && *number <= 0;
    };
    if (origin_of(unit_.graph, {n.id, 0}) != Value{n.id, 0}) {
      if (axis_in(n.outputs[0].shape, n)) refuse_future(n);
      r_.set(n, op == "check_range" ? r_.inputs(n) : copy(n, r_.inputs(n)));
      note(n, 0, {.over = Over::kSoFar, .ends = true});
      return true;
    }
    const bool less = op == "less", greater = op == "greater", mask = op == "sequence_mask";
    if (!less && !greater && !mask) return false;
    const size_t low = less ? 0 : 1, high = 1 - low;
    if (!mask && (!is(high, &Fact::ends) || !(is(low, &Fact::counts) || below_one(low))))
      return false;
    Shape s;
    for (const Dim& d : n.outputs[0].shape) s.push_back(d.bind(binding_));
    r_.set(n, {fill(to_, boolean, s, 1)});
    note(n, 0, {.axis = axis_in(n.outputs[0].shape, n)});
    return true;
  }

  // ---- recurrences

  void visit_recurrence(const Node& n) {
    if (mentions(*n.body, time_)) refuse_mixed(n);
    const Shape& extent = n.attributes.shape("extent");
    if (extent[0] == Dim::symbol(time_) && !names(extent[1], time_)) {
      visit_loop(n);
    } else if (names(extent[0], time_)) {
      refuse_mixed(n);
    } else {
      visit_rows(n);
    }
  }

  // A loop over time.
  void visit_loop(const Node& n) {
    if (n.attributes.flag("reverse"))
      refuse(n, "recurrence.reverse",
             cat("it runs backwards along ", time_, ", from steps that are still to come"));
    const RecurrenceLayout l(n);
    for (size_t i = 0; i < l.body_inputs(); ++i) {
      const Fact& f = fact(n.inputs[i]);
      const bool x = i >= l.first_x() && i < l.first_per_row();
      if (f.over == Over::kSoFar) refuse_future(n);
      if (x ? f.axis != 0U || !(f.inner == Dim(1)) : f.axis.has_value()) refuse_mixed(n);
    }
    check_windows(n, l);
    for (size_t i = 0; i < l.sums; ++i) {
      if (uses(n, l.sum_of(i))) refuse_mixed(n);
    }
    Vars in = r_.inputs(n);
    const std::string owner = unique(owner_of(n));
    for (size_t i = 0; i < l.states; ++i) {
      firsts_.push_back(in[i]);
      in[i] =
          to_.call(placeholder_op(), {}, {{"dtype", in[i].dtype()}, {"shape", in[i].shape()}})[0];
      states_.push_back(in[i]);
      names_.push_back(cat(owner, "/state", i));
    }
    in[l.begin()] = in[l.end()] = Var();
    const Vars out = copy(n, in);
    for (size_t i = 0; i < l.states; ++i) nexts_.push_back(out[l.final_of(i)]);
    r_.set(n, out);
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const bool final = k >= l.ys && k < l.ys + l.states;
      note(n, k, final ? Fact{.over = Over::kSoFar} : Fact{.over = Over::kStep, .axis = 0});
    }
  }

  void check_windows(const Node& n, const RecurrenceLayout& l) const {
    const Value begin = n.inputs[l.begin()], end = n.inputs[l.end()];
    if ((begin && literal_value(unit_.graph.var(begin)) != 0.0) || (end && !fact(end).ends))
      refuse(n, "recurrence.window",
             "its rows begin or end at steps that are no lengths of a placeholder");
  }

  // A loop over something else, in which time may be rows.
  void visit_rows(const Node& n) {
    const RecurrenceLayout l(n);
    Fact f;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (!n.inputs[i]) continue;
      const Fact& in = fact(n.inputs[i]);
      f.over = std::max(f.over, in.over);
      if (!in.axis) continue;
      const bool x = i >= l.first_x() && i < l.first_per_row();
      const bool shared = i >= l.first_shared() && i < l.begin();
      if (shared || *in.axis != (x ? 1U : 0U) || (f.axis && !(f.inner == in.inner)))
        refuse_mixed(n);
      f.axis = 0;
      f.inner = in.inner;
    }
    for (size_t i = 0; i < n.inputs.size() && f.axis; ++i) {
      if (n.inputs[i] && fact(n.inputs[i]).over == Over::kSoFar) refuse_future(n);
    }
    r_.set(n, copy(n, r_.inputs(n)));
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const bool sum = k >= l.ys + l.states && k < l.ys + l.states + l.sums;
      if (f.axis && sum && uses(n, k)) refuse_mixed(n);
      Fact out = f;
      if (f.axis) out.axis = k >= l.ys && k < l.ys + l.states ? 0 : 1;
      note(n, k, out);
    }
  }

  // What the user calls a loop: its own name, that of a result, or of the scope of its weights.
  std::string owner_of(const Node& n) const {
    if (!n.name.empty()) return n.name;
    for (const auto& [name, v] : unit_.graph.names()) {
      if (v.node == n.id) return name;
    }
    const RecurrenceLayout l(n);
    for (size_t i = l.first_shared(); i < l.body_inputs(); ++i) {
      Value v = n.inputs[i];
      while (!unit_.graph.node(v.node).inputs.empty() && unit_.graph.node(v.node).inputs[0])
        v = unit_.graph.node(v.node).inputs[0];
      const Node& leaf = unit_.graph.node(v.node);
      const size_t slash = leaf.name.rfind('/');
      if (leaf.op == &variable_op() && slash != std::string::npos)
        return leaf.name.substr(0, slash);
    }
    const std::string& origin = n.attributes.text("origin");
    return origin.empty() ? n.op->name : origin;
  }

  std::string unique(const std::string& owner) {
    const int before = owners_[owner]++;
    return before == 0 ? owner : cat(owner, "#", before + 1);
  }

  // ---- the whole

  Streamified finish() {
    Streamified s{.unit = r_.finish(), .states = names_, .roles = {}, .time = time_};
    Subgraph& u = s.unit;
    std::vector<Value> inputs;
    for (size_t i = 0; i < unit_.inputs.size(); ++i) {
      const Value v = unit_.inputs[i];
      const bool length = lengths_.count(v) != 0;
      s.roles.push_back(length                        ? StreamInput::lengths
                        : fact(v).over == Over::kStep ? StreamInput::step
                                                      : StreamInput::fixed);
      if (!length) inputs.push_back(u.inputs[i]);
    }
    u.inputs = inputs;
    const auto add = [](std::vector<Value>& list, const Vars& more) {
      for (const Var& v : more) list.push_back(v.value());
    };
    add(u.outputs, nexts_);
    if (counter_) {
      const std::vector<int32_t> live = live_nodes({u.graph, {}, u.outputs});
      if (std::binary_search(live.begin(), live.end(), counter_.value().node)) {
        states_.push_back(counter_);
        firsts_.push_back(to_.constant(Tensor::scalar(i64, 0)));
        s.states.emplace_back("steps");
        u.outputs.push_back((counter_ + 1).value());
      }
    }
    add(u.inputs, states_);
    add(u.outputs, firsts_);
    return s;
  }

  const Subgraph& unit_;
  std::string time_;
  std::set<Value> lengths_;
  Binding binding_;
  Rebuilder r_;
  Graph to_;
  BodyPass bodies_;
  std::map<Value, Fact> facts_;
  Var counter_;
  Vars states_, firsts_, nexts_;
  std::vector<std::string> names_;
  std::map<std::string, int> owners_;
};

std::optional<std::string> plain_symbol(const Dim& d) {
  const std::vector<std::string> names = d.symbols();
  return names.size() == 1 && d == Dim::symbol(names[0]) ? std::optional(names[0]) : std::nullopt;
}

}  // namespace

std::string time_symbol(const Subgraph& unit) {
  std::set<std::string> loops, firsts;
  for (const int32_t id : live_nodes(unit)) {
    const Node& n = unit.graph.node(id);
    const auto note = [](std::set<std::string>& to, const Dim& d) {
      if (const auto symbol = plain_symbol(d)) to.insert(*symbol);
    };
    if (is_recurrence(n)) note(loops, n.attributes.shape("extent")[0]);
    if (n.op == &placeholder_op() && n.outputs[0].shape.size() > 1)
      note(firsts, n.outputs[0].shape[0]);
  }
  const std::set<std::string>& found = loops.empty() ? firsts : loops;
  if (found.size() == 1) return *found.begin();
  std::string all;
  for (const std::string& s : found) all += (all.empty() ? "" : ", ") + s;
  fail(Fault::kArgument, "streamify.time.missing", "[stream] which axis is time? ",
       found.empty()
           ? "No loop and no placeholder's first axis has a symbol for its length: write \"T\" "
             "where the number of steps stands"
           : cat("There are ", all, ": name one by .time"));
}

Streamified streamify(const Subgraph& unit, const StreamifyOptions& options) {
  return Streamer(unit, options).run();
}

}  // namespace rondo
