// How a saved graph would run, for people: `rondo inspect --plan`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rondo/graph/graph.h>

namespace rondo::tool {

/// What a symbol is bound to when nobody says.
inline constexpr int64_t kDefaultDim = 16;

struct PlanOptions {
  std::string backend = "cpu";
  bool optimize = true;
  std::vector<std::string> outputs =
      {};  ///< names; none = all values that have one, else all that nothing uses
  std::vector<std::string> bind = {};  ///< "T=29", "B=16"
  bool explain = false;                ///< what was rolled, lowered and chosen, and why
};

/// A line for each step with op, kernel, results, bytes and workspace, the steps of a body indented
/// below their node; then the peak memory. Errors `inspect.bind.*`, an unknown name, and those of
/// the plan.
std::string describe_plan(const std::string& name, const Graph& g, const PlanOptions& options);

}  // namespace rondo::tool
