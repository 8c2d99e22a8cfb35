// `rondo`: checks a build against test vectors, shows what a saved model is, lists the ops, times
// networks.
#include <cstdio>
#include <exception>

#include <fmt/core.h>

#include "commands.h"

#include <rondo/runtime/backend.h>

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

std::string version() {
  std::string s = "rondo " RONDO_VERSION;
  for (const rondo::Backend* b : rondo::linked_backends())
    s += fmt::format("\n  {}: {}", b->name(), b->description());
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Recurrent networks as symbolic graphs.", "rondo");
  app.set_version_flag("--version", version, "Print the version and this build's backends");
  app.require_subcommand(0, 1);  // at least one: asked for below, when all words are known ones
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return fmt::format("rondo: {} (see rondo --help)\n", e.what());
  });
  rondo::tool::Run run;
  rondo::tool::add_verify(app, run);
  rondo::tool::add_inspect(app, run);
  rondo::tool::add_ops(app, run);
  rondo::tool::add_errors(app, run);
  rondo::tool::add_bench(app, run);
  try {
    app.parse(argc, argv);
    if (!run)
      throw rondo::tool::UsageError(
          "a command is needed: verify, inspect, ops, errors or bench (see rondo --help)");
    return run();
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  } catch (const rondo::tool::UsageError& e) {
    fmt::print(stderr, "rondo: {}\n", e.what());
    return kUsage;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return kFailed;
  }
}
