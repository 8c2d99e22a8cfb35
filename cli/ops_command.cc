// `rondo ops`: the vocabulary, from the registry.
#include <memory>

#include <fmt/core.h>

#include "commands.h"
#include "functions.h"
#include "op_examples.h"
#include "ops_text.h"

#include <rondo/graph/callbacks.h>
#include <rondo/graph/describe.h>
#include <rondo/ops/register.h>

namespace rondo::tool {
namespace {

// As a program writes it: rnn::layer is layer.
std::string unqualified(const std::string& name) {
  const size_t end = name.rfind("::");
  return end == std::string::npos ? name : name.substr(end + 2);
}

}  // namespace

void add_ops(CLI::App& app, Run& run) {
  struct Arguments {
    std::string name;
    bool markdown = false, examples = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("ops", "List the ops, or all about one");
  CLI::Option* name = c->add_option(
      "name", a->name, "An op, or a function that builds some; none = a line for each op");
  c->add_flag("--markdown", a->markdown, "The page docs/ops.md")->excludes(name);
  c->add_flag("--examples", a->examples, "The examples, as a program of tests")->excludes(name);
  c->callback([a, &run] {
    run = [a] {
      if (a->markdown) {
        fmt::print("{}", ops_markdown(registry()));
      } else if (a->examples) {
        fmt::print("{}", op_examples(registry()));
      } else if (a->name.empty()) {
        fmt::print("{}", list_ops(registry()));
      } else if (const OpDef* op = registry().find(unqualified(a->name))) {
        fmt::print("{}", describe_op(*op));
      } else if (const std::string function = describe_function(unqualified(a->name));
                 !function.empty()) {
        fmt::print("{}", function);
      } else {
        std::vector<std::string> names;
        for (const OpDef* known : registry().all()) names.push_back(known->name);
        for (const Function& f : functions()) names.emplace_back(f.name);
        throw UsageError(cat("there is no op or function '", a->name, "'",
                             closest_parts(unqualified(a->name), names)));
      }
      return 0;
    };
  });
}

}  // namespace rondo::tool
