#include <rondo/runtime/compile.h>

#include <algorithm>
#include <functional>
#include <set>

#include <rondo/graph/op.h>
#include <rondo/graph/passes.h>
#include <rondo/graph/verify.h>
#include <rondo/ops/fuse.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/roll.h>
#include <rondo/ops/rules.h>
#include <rondo/ops/streamify.h>
#include <rondo/runtime/backend.h>
#include <rondo/runtime/choose.h>

namespace rondo {
namespace {

bool serves(const Backend& b, std::string_view op) {
  const auto runs = [&](const Kernel& k) { return k.op == op; };
  return std::any_of(b.kernels().begin(), b.kernels().end(), runs);
}

// A composite op stays whole where a kernel runs it whatever its shapes; else its lowering takes
// its place.
bool has_kernel(const OpDef& op, std::string_view backend_name) {
  return serves(backend("reference"), op.name) &&
         (backend_name == "reference" || serves(backend(backend_name), op.name));
}

Subgraph lower_once(const Subgraph& s, const CompileOptions& options, RewriteLog* log) {
  BodyPass bodies([&](const Subgraph& b) { return lower_once(b, options, log); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.op->lower && !has_kernel(*n.op, options.backend)) {
      log->note(n.name.empty() ? n.op->name : cat(n.op->name, " \"", n.name, "\""));
      const SiteScope site(n.site);
      return lower_call(n, r.call(n));
    }
    if (n.body != nullptr) return r.copy(n, r.inputs(n), bodies(n.body));
    return {};
  });
}

// A lowering may use ops that are lowered in turn; a chain that does not end is a mistake in
// definitions.
Subgraph lower(Subgraph s, const CompileOptions& options, RewriteLog* log) {
  constexpr int kDeepest = 32;
  for (int i = 0; i < kDeepest; ++i) {
    const int before = log->total();
    s = lower_once(s, options, log);
    if (log->total() == before) return s;
  }
  fail_internal("lowering does not end after ", kDeepest, " rounds");
}

// A loop that could not be rolled is told of too: it is slow, and the user can do something about
// it.
Subgraph roll_loops(const Subgraph& s, RewriteLog* log) {
  RollLog rolls;
  const auto rolled = roll(s, &rolls);
  for (const std::string& what : rolls.rolled) log->note(what);
  for (const std::string& what : rolls.left) log->note("not rolled: " + what);
  return rolled ? *rolled : s;
}

// Whether the backend has a kernel for one of these ops. One that is asked for by name may be for
// ops that a region would hide.
bool makes_regions(const CompileOptions& o, std::initializer_list<std::string_view> ops) {
  const auto runs = [&](const Kernel& k) {
    return std::find(ops.begin(), ops.end(), k.op) != ops.end() &&
           (o.kernel.empty() || o.kernel == k.name);
  };
  const auto kernels = backend(o.backend).kernels();
  return o.optimize && std::any_of(kernels.begin(), kernels.end(), runs);
}

struct Pass {
  std::string name;
  std::string meaning;  // of what its log names, for explain()
  std::function<Subgraph(const Subgraph&, RewriteLog*)> run;
  bool always = false;     // also with optimize = false
  bool over_time = false;  // about work for many steps
};

std::vector<Pass> passes(const CompileOptions& o) {
  const RuleSet rules = o.relaxed ? exact_rules() + relaxed_rules() : exact_rules();
  const Pass simplify{"simplify", "rules that fired", [rules](const Subgraph& s, RewriteLog* log) {
                        return rewrite(s, rules, log);
                      }};
  const Pass merge{"common_subexpressions", "",
                   [](const Subgraph& s, RewriteLog*) { return common_subexpressions(s); }};
  const Pass prune{"prune_recurrences", "",
                   [](const Subgraph& s, RewriteLog*) { return prune_recurrences(s); }};
  std::vector<Pass> r{
      {"roll", "loops over time", roll_loops, false, true},
      {"lower", "no kernel runs these whole",
       [&o](const Subgraph& s, RewriteLog* log) { return lower(s, o, log); }, true},
      merge,
      {"unite", "loops that carry the same on are one", unite, false, true},
      prune,
      simplify,
      {"sink", "now once after the loop", sink, false, true},
      prune,
      {"hoist", "now once before the loop",
       [](const Subgraph& s, RewriteLog* log) { return hoist(s, log); }, false, true},
      prune,
      simplify,
      merge,
      {"pair", "results of their loop now", pair_loops, false, true},
      {"absorb", "in the steps of the loop that reads them", absorb},
      {"fuse_elementwise", "in fewer passes over memory",
       [&o](const Subgraph& s, RewriteLog* log) { return fuse(s, o, log); }},
      {"fuse_epilogue", "while their product is in the cache",
       [&o](const Subgraph& s, RewriteLog* log) { return follow_products(s, o, log); }},
      {"dead_code", "", [](const Subgraph& s, RewriteLog*) { return dead_code(s); }, true},
  };
  if (o.recompute) {
    const auto fuse = std::find_if(r.begin(), r.end(),
                                   [](const Pass& p) { return p.name == "fuse_elementwise"; });
    r.insert(fuse, {"recompute", "run again by their gradients, in segments of time", recompute,
                    false, true});
  }
  return r;
}

}  // namespace

Subgraph lower_for_steps(const Subgraph& unit, const CompileOptions& options) {
  RewriteLog log;
  Subgraph s = lower(unit, options, &log);
  s = rebuild(s, [](Rebuilder& r, const Node& n) -> Vars {
    if (n.op->name == "dropout") return r.inputs(n);
    if (n.op->name != "training") return {};
    return {Graph(r.graph()).constant(Tensor::scalar(boolean, 0))};
  });
  return prune_recurrences(common_subexpressions(rewrite(s, exact_rules(), &log)));
}

Subgraph inline_loops(const Subgraph& unit, const CompileOptions& options) {
  const RuleSet rules = options.relaxed ? exact_rules() + relaxed_rules() : exact_rules();
  Subgraph s = unit;
  for (std::set<int32_t> nodes{-1}; !nodes.empty();) {
    s = prune_recurrences(rewrite(s, rules));
    nodes.clear();
    for (const int32_t id : live_nodes(s)) {
      const Node& n = s.graph.node(id);
      if (n.op->name != "recurrence" || !(n.attributes.shape("extent")[0] == Dim(1))) continue;
      const auto type = [&](const ValueType& t) {
        return TensorType{t.dtype, t.present ? bind(t.shape, {}) : Dims{}, t.present};
      };
      KernelCall call{n, n.attributes, {}, {}};
      for (const Value v : n.inputs)
        call.in.push_back(v ? type(s.graph.type(v)) : TensorType{f32, {}, false});
      for (const ValueType& t : n.outputs) call.out.push_back(type(t));
      if (choose(call, options) == nullptr) nodes.insert(id);
    }
    if (!nodes.empty()) s = inline_steps(s, nodes);
  }
  return s;
}

Subgraph fuse(const Subgraph& s, const CompileOptions& o, RewriteLog* log) {
  if (!makes_regions(o, {"fused", "fused_matmul"})) return s;
  return dead_code(fuse_elementwise(s, o.relaxed, log));
}

Subgraph follow_products(const Subgraph& s, const CompileOptions& o, RewriteLog* log) {
  return makes_regions(o, {"fused_matmul"}) ? fuse_epilogue(s, log) : s;
}

Subgraph optimize(const Subgraph& unit, const CompileOptions& options,
                  std::vector<PassReport>* report) {
  Subgraph s = unit;
#ifndef NDEBUG
  verify(s);
#endif
  for (const Pass& p : passes(options)) {
    if ((!options.optimize && !p.always) || (options.one_step && p.over_time)) continue;
    RewriteLog log;
    const auto before = static_cast<int>(live_nodes(s).size());
    s = p.run(s, &log);
#ifndef NDEBUG
    verify(s);
#endif
    if (report != nullptr)
      report->push_back({p.name, before, static_cast<int>(live_nodes(s).size()),
                         log.total() != 0 ? log.str() : "", p.meaning});
  }
  return s;
}

}  // namespace rondo
