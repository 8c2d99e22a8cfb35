#include <rondo/runtime/compile.h>

#include <functional>

#include <rondo/graph/op.h>
#include <rondo/graph/passes.h>
#include <rondo/graph/verify.h>
#include <rondo/ops/recurrence_passes.h>
#include <rondo/ops/rules.h>
#include <rondo/runtime/backend.h>

namespace rondo {
namespace {

// A composite op stays whole where a kernel runs it whatever its shapes; else its lowering takes
// its place.
bool has_kernel(const OpDef& op, std::string_view backend_name) {
  const auto serves = [&](const Backend& b) {
    for (const Kernel& k : b.kernels()) {
      if (k.op == op.name) return true;
    }
    return false;
  };
  return serves(backend("reference")) &&
         (backend_name == "reference" || serves(backend(backend_name)));
}

Subgraph lower_once(const Subgraph& s, const CompileOptions& options, bool* changed) {
  BodyPass bodies([&](const Subgraph& b) { return lower_once(b, options, changed); });
  return rebuild(s, [&](Rebuilder& r, const Node& n) -> Vars {
    if (n.op->lower && !has_kernel(*n.op, options.backend)) {
      *changed = true;
      const SiteScope site(n.site);
      return n.op->lower(r.call(n));
    }
    if (n.body != nullptr) return r.copy(n, r.inputs(n), bodies(n.body));
    return {};
  });
}

// A lowering may use ops that are lowered in turn; a chain that does not end is a mistake in
// definitions.
Subgraph lower(Subgraph s, const CompileOptions& options) {
  constexpr int kDeepest = 32;
  for (int i = 0; i < kDeepest; ++i) {
    bool changed = false;
    s = lower_once(s, options, &changed);
    if (!changed) return s;
  }
  fail_internal("lowering does not end after ", kDeepest, " rounds");
}

struct Pass {
  std::string name;
  std::function<Subgraph(const Subgraph&, RewriteLog*)> run;
  bool always = false;  // also with optimize = false
};

std::vector<Pass> passes(const CompileOptions& o) {
  const RuleSet rules = o.relaxed ? exact_rules() + relaxed_rules() : exact_rules();
  const Pass simplify{
      "simplify", [rules](const Subgraph& s, RewriteLog* log) { return rewrite(s, rules, log); }};
  const Pass merge{"common_subexpressions",
                   [](const Subgraph& s, RewriteLog*) { return common_subexpressions(s); }};
  const Pass prune{"prune_recurrences",
                   [](const Subgraph& s, RewriteLog*) { return prune_recurrences(s); }};
  return {
      {"lower", [&o](const Subgraph& s, RewriteLog*) { return lower(s, o); }, true},
      merge,
      prune,
      simplify,
      {"sink", [](const Subgraph& s, RewriteLog*) { return sink(s); }},
      prune,
      {"hoist", [](const Subgraph& s, RewriteLog*) { return hoist(s); }},
      prune,
      simplify,
      merge,
      {"dead_code", [](const Subgraph& s, RewriteLog*) { return dead_code(s); }, true},
  };
}

}  // namespace

Subgraph optimize(const Subgraph& unit, const CompileOptions& options,
                  std::vector<PassReport>* report) {
  Subgraph s = unit;
#ifndef NDEBUG
  verify(s);
#endif
  for (const Pass& p : passes(options)) {
    if (!options.optimize && !p.always) continue;
    RewriteLog log;
    const int before = s.graph.size();
    s = p.run(s, &log);
#ifndef NDEBUG
    verify(s);
#endif
    if (report != nullptr)
      report->push_back({p.name, before, s.graph.size(), log.total() != 0 ? log.str() : ""});
  }
  return s;
}

}  // namespace rondo
