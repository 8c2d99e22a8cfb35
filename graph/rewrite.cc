#include <rondo/graph/rewrite.h>

#include <algorithm>
#include <cstring>

namespace rondo {
namespace {

// The one number that all elements hold, as a scalar of the value's dtype; an empty Tensor for any
// other value.
Tensor uniform(const Var& v) {
  if (!v) return {};
  const Node& n = v.node();
  if (n.op == &constant_op()) {
    const Tensor& t = n.attributes.tensor("value");
    const size_t one = size_of(t.dtype());
    // All are equal when each is its neighbour.
    if (t.size() == 0 || std::memcmp(t.raw(), t.raw() + one, t.bytes() - one) != 0) return {};
    return Tensor::view(t.dtype(), {}, t.raw(), std::make_shared<Tensor>(t));
  }
  if (n.op->name == "fill") return Tensor::scalar(v.dtype(), n.attributes.number("value"));
  return {};
}

bool is_literal(const Var& v, double value) {
  const Tensor t = uniform(v);
  if (!t) return false;
  const Tensor want = Tensor::scalar(t.dtype(), value);
  return t.same_bits(want) && (is_float(t.dtype()) || want.item() == value);
}

template <class List>
auto* lookup(List& list, std::string_view name) {
  const auto it =
      std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.first == name; });
  return it == list.end() ? nullptr : &it->second;
}

}  // namespace

std::optional<double> literal_value(const Var& v) {
  const Tensor t = uniform(v);
  return t ? std::optional<double>(t.item()) : std::nullopt;
}

const Var& Match::operator[](std::string_view capture) const {
  const auto* v = lookup(values_, capture);
  if (v == nullptr)
    fail_internal("a rule asks for '", capture, "', which its pattern does not capture");
  return *v;
}

double Match::number(std::string_view capture) const {
  const std::optional<double> n = literal_value((*this)[capture]);
  if (!n) fail_internal("a rule asks for the number '", capture, "', which is none");
  return *n;
}

const Vars& Match::rest(std::string_view capture) const {
  const auto* v = lookup(rests_, capture);
  if (v == nullptr)
    fail_internal("a rule asks for the rest '", capture, "', which its pattern does not capture");
  return *v;
}

const Call& Match::node(std::string_view name) const {
  const auto* c = lookup(nodes_, name);
  if (c == nullptr)
    fail_internal("a rule asks for node '", name, "', which its pattern does not name");
  return *c;
}

// Finds a pattern below one node of the new graph. The root need not be in the graph yet.
class Matcher {
 public:
  /// `uses` counts, for each node of the graph, by how many operands it is named (never too few).
  Matcher(const Graph& g, const std::vector<int>& uses) : g_(g), uses_(uses) {}

  /// The match, or nothing.
  std::optional<Match> match(const Pattern& p, const Call& root, std::span<const ValueType> types) {
    constexpr int kMost = 10;  // commuting ops in one pattern
    int reached = 0;
    // Bit i of `order_` swaps the operands of the i-th commuting op that the match comes to.
    for (order_ = 0; order_ < (1U << std::min(reached, kMost)); ++order_) {
      m_.emplace();
      m_->graph_ = g_;
      m_->root_ = &root;
      m_->types_ = types;
      commuting_ = 0;
      if (match_call(p, root)) return std::move(m_);
      reached = std::max(reached, commuting_);
    }
    return std::nullopt;
  }

 private:
  bool match_call(const Pattern& p, const Call& c) {
    const Vars& in = c.inputs();
    const bool open = !p.operands.empty() && p.operands.back().kind == Pattern::Kind::kRest;
    const size_t fixed = p.operands.size() - (open ? 1 : 0);
    if (open ? in.size() < fixed : in.size() != fixed) return false;
    for (const auto& guard : p.guards) {
      if (!guard(c)) return false;
    }
    const bool swapped = p.commutes && (order_ >> commuting_++ & 1) != 0;
    for (size_t i = 0; i < fixed; ++i) {
      if (!match_value(p.operands[i], in[swapped ? fixed - 1 - i : i])) return false;
    }
    if (open)
      m_->rests_.emplace_back(p.operands.back().capture,
                              Vars(in.begin() + static_cast<long>(fixed), in.end()));
    if (!p.capture.empty()) m_->nodes_.emplace_back(p.capture, c);
    return true;
  }

  bool match_value(const Pattern& p, const Var& v) {
    switch (p.kind) {
      case Pattern::Kind::kNone:
        return !v;
      case Pattern::Kind::kLiteral:
        return is_literal(v, p.literal);
      case Pattern::Kind::kNumber:
        return literal_value(v) && capture(p.capture, v);
      case Pattern::Kind::kOp:
        return v && match_op(p, v);
      default:
        return v && capture(p.capture, v);
    }
  }

  bool match_op(const Pattern& p, const Var& v) {
    const Node& n = v.node();
    if (n.op->name != p.op || v.value().slot != p.slot) return false;
    if (p.once && uses_.at(static_cast<size_t>(n.id)) > 1) return false;
    return match_call(p, call_of(g_, n)) && capture(p.capture, v);
  }

  bool capture(const std::string& name, const Var& v) {
    if (name.empty()) return true;
    if (const Var* before = lookup(m_->values_, name)) return before->same(v);
    m_->values_.emplace_back(name, v);
    return true;
  }

  const Graph& g_;
  const std::vector<int>& uses_;
  std::optional<Match> m_;
  uint32_t order_ = 0;
  int commuting_ = 0;
};

struct RuleSet::Data {
  std::vector<Rule> rules;
  std::map<std::string, std::vector<const Rule*>, std::less<>> by_root;
};

RuleSet::RuleSet(std::vector<Rule> rules) {
  auto data = std::make_shared<Data>();
  data->rules = std::move(rules);
  std::vector<std::string_view> names;
  for (const Rule& r : data->rules) {
    if (std::find(names.begin(), names.end(), r.name) != names.end())
      fail_internal("two rules are called ", r.name);
    if (r.pattern.kind != Pattern::Kind::kOp || !r.build)
      fail_internal("rule ", r.name, " needs an op and a builder");
    names.push_back(r.name);
    data->by_root[r.pattern.op].push_back(&r);
  }
  data_ = std::move(data);
}

const std::vector<Rule>& RuleSet::rules() const {
  static const std::vector<Rule> kNone;
  return data_ == nullptr ? kNone : data_->rules;
}

std::span<const Rule* const> RuleSet::rooted_at(std::string_view op) const {
  if (data_ == nullptr) return {};
  const auto it = data_->by_root.find(op);
  return it == data_->by_root.end() ? std::span<const Rule* const>{} : it->second;
}

RuleSet operator+(const RuleSet& a, const RuleSet& b) {
  std::vector<Rule> all = a.rules();
  all.insert(all.end(), b.rules().begin(), b.rules().end());
  return RuleSet(std::move(all));
}

void RewriteLog::note(std::string_view rule, int times) {
  if (auto* n = lookup(fired, rule)) {
    *n += times;
  } else {
    fired.emplace_back(rule, times);
  }
}

int RewriteLog::count(std::string_view rule) const {
  const auto* n = lookup(fired, rule);
  return n == nullptr ? 0 : *n;
}

int RewriteLog::total() const {
  int n = 0;
  for (const auto& [rule, times] : fired) n += times;
  return n;
}

std::string RewriteLog::str() const {
  std::string s;
  for (const auto& [rule, times] : fired)
    s += cat(s.empty() ? "" : ", ", rule, times == 1 ? "" : cat(" x", times));
  return s.empty() ? "nothing" : s;
}

namespace {

class Engine {
 public:
  Engine(const RuleSet& rules, RewriteLog* log, int64_t max_firings, int depth)
      : rules_(rules),
        log_(log),
        max_firings_(max_firings),
        depth_(depth),
        bodies_([this](const Subgraph& body) {
          return Engine(rules_, log_, max_firings_, depth_ + 1).run(body);
        }) {
    check_body_depth(depth);
  }

  Subgraph run(Subgraph s) {
    constexpr int64_t kLeast = 1000, kPerNode = 64;
    bound_ = max_firings_ > 0 ? max_firings_ : kLeast + kPerNode * s.graph.size();
    for (;;) {
      const int64_t before = fired_;
      s = sweep(s);
      if (fired_ == before) break;
    }
    // Guards may have left nodes that nothing uses.
    return live_nodes(s).size() == static_cast<size_t>(s.graph.size())
               ? s
               : rebuild(s, [](Rebuilder&, const Node&) { return Vars{}; });
  }

 private:
  Subgraph sweep(const Subgraph& s) {
    Rebuilder r(s);
    uses_.clear();
    for (const int32_t id : r.live()) {
      const Node& n = r.node(id);
      const Vars results = fire(r, n);
      if (results.empty()) {
        used(r, n, r.copy(n, r.inputs(n), bodies_(n.body)));
      } else {
        r.set(n, results);
        used(r, n, results);
      }
    }
    return r.finish();
  }

  // Applies rules to the node until none matches; empty when none did.
  Vars fire(Rebuilder& r, const Node& n) {
    if (rules_.rooted_at(n.op->name).empty()) return {};
    Vars results = once(r, r.call(n), n.outputs);
    while (results.size() == 1) {
      const Node& made = results[0].node();
      if (made.id < first_made_ || made.outputs.size() != 1) break;
      Vars more = once(r, call_of(r.graph(), made), n.outputs);
      if (more.empty()) break;
      results = std::move(more);
    }
    return results;
  }

  // The first rule that matches and whose guard agrees.
  Vars once(const Rebuilder& r, const Call& root, std::span<const ValueType> types) {
    uses_.resize(static_cast<size_t>(r.graph().size()));
    Matcher matcher(r.graph(), uses_);
    for (const Rule* rule : rules_.rooted_at(root.op().name)) {
      std::optional<Match> m = matcher.match(rule->pattern, root, types);
      if (!m) continue;
      const int32_t before = r.graph().size();
      Vars results = build(*rule, *m);
      count_new(r.graph(), before);
      if (results.empty() || says_other_symbol(results, types)) continue;
      check(*rule, r.graph(), types, results);
      first_made_ = before;
      if (log_ != nullptr) log_->note(rule->name);
      if (++fired_ > bound_) {
        fail(Fault::kInternal, "graph.rewrite.bound", "internal error (please report it): rule ",
             rule->name, " fired after ", bound_, " other firings: rules undo each other");
      }
      return results;
    }
    return {};
  }

  // [B,4] against [5,4]: of two sizes that must be equal once they are known, the graph had named
  // the other. The values would be right, but the types of those who read them would not.
  static bool says_other_symbol(const Vars& results, std::span<const ValueType> types) {
    bool differs = false;
    for (size_t i = 0; i < results.size() && i < types.size(); ++i) {
      if (!results[i] || results[i].rank() != types[i].shape.size()) continue;
      for (size_t a = 0; a < types[i].shape.size(); ++a) {
        const Dim difference = results[i].shape()[a] - types[i].shape[a];
        differs = differs || !difference.is_constant();
      }
    }
    return differs;
  }

  static Vars build(const Rule& rule, Match& m) {
    try {
      return rule.build(m);
    } catch (const Error& e) {
      fail(Fault::kInternal, "graph.rewrite.build", "internal error (please report it): rule ",
           rule.name, " builds what is refused: ", e.what());
    }
  }

  static void check(const Rule& rule, const Graph& g, std::span<const ValueType> types,
                    const Vars& results) {
    const auto refuse = [&](const auto&... message) {
      fail(Fault::kInternal, "graph.rewrite.type", "internal error (please report it): rule ",
           rule.name, ": ", message...);
    };
    if (results.size() != types.size())
      refuse("the root has ", types.size(), " results, the builder gives ", results.size());
    for (size_t i = 0; i < types.size(); ++i) {
      if (!results[i]) {
        if (types[i].present) refuse("result ", i, " is missing");
        continue;
      }
      if (!(results[i].graph() == g)) refuse("result ", i, " belongs to another graph");
      if (!(results[i].type() == types[i]))
        refuse("result ", i, " was ", types[i].str(), " and becomes ", results[i].type().str());
    }
  }

  void count_new(const Graph& g, int32_t from) {
    uses_.resize(static_cast<size_t>(g.size()));
    for (int32_t i = from; i < g.size(); ++i) {
      for (const Value v : g.node(i).inputs) {
        if (v) ++uses_[static_cast<size_t>(v.node)];
      }
    }
  }

  // The new values take over the uses of the old ones. What a replaced node used stays counted: too
  // many, never too few.
  void used(const Rebuilder& r, const Node& n, const Vars& results) {
    uses_.resize(static_cast<size_t>(r.graph().size()));
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i])
        uses_[static_cast<size_t>(results[i].value().node)] +=
            r.uses({n.id, static_cast<int32_t>(i)});
    }
  }

  const RuleSet& rules_;
  RewriteLog* log_;
  int64_t max_firings_;
  int depth_;
  BodyPass bodies_;
  std::vector<int> uses_;  // of each node of the new graph
  int64_t fired_ = 0, bound_ = 0;
  int32_t first_made_ = 0;  // nodes from here on were made by the last builder
};

}  // namespace

Subgraph rewrite(const Subgraph& s, const RuleSet& rules, RewriteLog* log, int64_t max_firings) {
  return Engine(rules, log, max_firings, 0).run(s);
}

}  // namespace rondo
