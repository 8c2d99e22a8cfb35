// `rondo inspect`: what a saved model is, as text, as a drawing, or as the plan that would run it.
#include <memory>

#include <fmt/core.h>

#include "commands.h"
#include "inspect.h"

#include <rondo/graph/print.h>
#include <rondo/ops/register.h>
#include <rondo/proto/bundle.h>
#include <rondo/runtime/backend.h>

namespace rondo::tool {
namespace {

struct Arguments {
  std::string file, graph, backend = "cpu";
  std::vector<std::string> outputs, bind;
  bool dot = false, plan = false, explain = false, no_optimize = false;
};

int inspect(const Arguments& a) {
  if (!a.plan && !a.explain && (!a.outputs.empty() || !a.bind.empty() || a.no_optimize))
    throw UsageError("--output, --bind and --no-optimize go with --plan or --explain");
  const Bundle bundle = load_bundle(a.file, registry());
  bool any = false;
  for (const auto& [name, g] : bundle.graphs) {
    if (!a.graph.empty() && name != a.graph) continue;
    any = true;
    if (a.dot) {
      fmt::print("{}", to_dot(g));
    } else if (a.plan || a.explain) {
      try {
        fmt::print("{}", describe_plan(name, g,
                                       {a.backend, !a.no_optimize, a.outputs, a.bind, a.explain}));
      } catch (const Error& e) {
        // What was asked on the command line, not what is in the file.
        if (e.code().rfind("inspect.", 0) == 0) throw UsageError(e.what());
        throw;
      }
    } else {
      fmt::print("graph {}\n{}", rondo::quoted(name), to_text(g));
    }
  }
  if (!any && !a.graph.empty()) {
    std::string known;
    for (const auto& [name, g] : bundle.graphs) known += " " + rondo::quoted(name);
    throw UsageError(fmt::format("{} has no graph '{}'; there are:{}", a.file, a.graph, known));
  }
  if (!any) fmt::print("{} holds no graph, {} tensors\n", a.file, bundle.tensors.size());
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Run& run) {
  auto a = std::make_shared<Arguments>();
  CLI::App* c =
      app.add_subcommand("inspect", "Show the graphs of a saved model, and how they would run");
  std::vector<std::string> backends;
  for (const Backend* b : linked_backends()) backends.emplace_back(b->name());
  c->add_option("file", a->file, "A model, .rondo or .pb")->required();
  c->add_option("--graph", a->graph, "Only this graph")->type_name("NAME");
  CLI::Option* dot = c->add_flag(
      "--dot", a->dot, "As a drawing for Graphviz: rondo inspect M.rondo --dot | dot -Tsvg");
  CLI::Option* plan =
      c->add_flag("--plan", a->plan, "The steps with their kernels, bytes, and the peak memory");
  CLI::Option* why = c->add_flag("--explain", a->explain,
                                 "What was rolled, lowered and chosen for the plan, and why");
  plan->excludes(dot);
  why->excludes(dot)->excludes(plan);
  c->add_option("--output", a->outputs, "Plan only these values; else all that have a name")
      ->delimiter(',')
      ->type_name("NAME,...")
      ->excludes(dot);
  c->add_option("--bind", a->bind,
                fmt::format("Sizes of symbolic dimensions, T=29,B=16; {} for one that is not named",
                            kDefaultDim))
      ->delimiter(',')
      ->type_name("SYMBOL=N,...")
      ->excludes(dot);
  c->add_option("--backend", a->backend, "Where the plan would run")
      ->check(CLI::IsMember(backends))
      ->capture_default_str()
      ->excludes(dot);
  c->add_flag("--no-optimize", a->no_optimize, "Plan the graph as it was built")->excludes(dot);
  c->callback([a, &run] { run = [a] { return inspect(*a); }; });
}

}  // namespace rondo::tool
