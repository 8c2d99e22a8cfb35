// Functions of a program that are no ops but build some: `rondo ops NAME` says where they are
// declared and explained.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace rondo::tool {

struct Function {
  std::string_view name, builds, header, page, means;
};

/// Those that people look for under an op's name, each with the page that explains it.
std::span<const Function> functions();
/// All about the function called `name`; empty: there is none.
std::string describe_function(std::string_view name);

}  // namespace rondo::tool
