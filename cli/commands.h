// The commands of `rondo`, one file each. A command adds itself to the parser and runs from its
// callback.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

namespace rondo::tool {

/// Something the caller asked for that is not there: one line, exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Adds the command; `run` is to be set to what gives the exit status.
using Run = std::function<int()>;
void add_verify(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_ops(CLI::App& app, Run& run);
void add_errors(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);

}  // namespace rondo::tool
