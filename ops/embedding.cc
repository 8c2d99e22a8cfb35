#include <rondo/ops/embedding.h>

#include <rondo/ops/initializers.h>
#include <rondo/ops/shape.h>

namespace rondo::nn {

Var embedding(Var ids, int64_t vocabulary, int64_t units, std::string_view name, DType dtype,
              Site at) {
  const auto require = [&](std::string_view argument, int64_t value) {
    if (value < 1)
      fail(Fault::kArgument, cat("embedding.", argument, ".range"), "[embedding \"", name, "\"] ",
           argument, " is ", value, ", but must be at least 1");
  };
  require("vocabulary", vocabulary);
  require("units", units);
  Graph g = outermost(ids.graph());
  const Graph::Scope scope = g.scope(name);
  constexpr double kSpread = 0.05;
  const Var table = g.variable(
      "table", init::uniform(g, {vocabulary, units}, -kSpread, kSpread, dtype), true, at);
  return gather(table, ids, at);
}

}  // namespace rondo::nn
