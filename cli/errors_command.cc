// `rondo errors`: the codes of errors.
#include <memory>

#include <fmt/core.h>

#include "commands.h"
#include "errors_text.h"

#include <rondo/graph/callbacks.h>
#include <rondo/ops/register.h>

namespace rondo::tool {

void add_errors(CLI::App& app, Run& run) {
  struct Arguments {
    std::string code;
    bool markdown = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("errors", "List the codes of errors, or say what one means");
  CLI::Option* code = c->add_option("code", a->code, "A code, as in matmul.b.dim; none = all");
  c->add_flag("--markdown", a->markdown, "The page docs/errors.md")->excludes(code);
  c->callback([a, &run] {
    run = [a] {
      if (a->markdown) {
        fmt::print("{}", errors_markdown(registry()));
      } else if (a->code.empty()) {
        fmt::print("{}", list_errors(registry()));
      } else {
        const std::string text = explain_error(registry(), a->code);
        if (text.empty())
          throw UsageError(cat("no error has the code '", a->code, "'",
                               closest_parts(a->code, codes_of_errors(registry()))));
        fmt::print("{}", text);
      }
      return 0;
    };
  });
}

}  // namespace rondo::tool
