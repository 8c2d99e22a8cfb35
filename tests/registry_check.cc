// Every op in the registry is proven as `check_op` proves an op, on its samples: gradients of first
// and second order, tensors against graph, backends against the reference, files, refusals.
#include <catch2/catch_test_macros.hpp>

#include "registry_samples.h"

#include <rondo/ops/elementwise.h>

using namespace rondo;
using namespace rondo::test;

namespace {

// Every `parts`-th op, so that cases run side by side.
void check_ops(size_t part, size_t parts) {
  OpReport all;
  size_t ops = 0, with_gradient = 0;
  const std::vector<const OpDef*> list = registry().all();
  for (size_t i = part; i < list.size(); i += parts) {
    if (needs_body(*list[i])) continue;
    const OpReport r = check_op(*list[i]);
    INFO(r.str());
    CHECK(r.problems.empty());
    // None of the counts may be zero for any op.
    CHECK((r.samples > 0 && r.eager > 0 && r.kernels > 0 && r.files > 0));
    CHECK((r.gradients.first > 0) == !list[i]->no_gradient);
    CHECK(r.gradients.second == r.gradients.first);
    ++ops;
    with_gradient += r.gradients.first > 0 ? 1 : 0;
    all.samples += r.samples;
    all.gradients += r.gradients;
    all.eager += r.eager;
    all.kernels += r.kernels;
    all.files += r.files;
    all.refusals += r.refusals;
  }
  all.op = cat(ops, " ops, ", with_gradient, " with a gradient");
  WARN(all.str());
  CHECK(ops > 20);
  CHECK(with_gradient > 15);
}

}  // namespace

TEST_CASE("every op is right in every way that its samples show: part 1 of 4", "[registry]") {
  check_ops(0, 4);
}
TEST_CASE("every op is right in every way that its samples show: part 2 of 4", "[registry]") {
  check_ops(1, 4);
}
TEST_CASE("every op is right in every way that its samples show: part 3 of 4", "[registry]") {
  check_ops(2, 4);
}
TEST_CASE("every op is right in every way that its samples show: part 4 of 4", "[registry]") {
  check_ops(3, 4);
}

TEST_CASE("an op that is wrong in one way is said to be", "[registry]") {
  OpDef right{.name = "squared",
              .sig = "x[...] -> y[...]",
              .doc = "y = x x",
              .infer =
                  [](const InferContext& c) {
                    if (c[0].shape.size() == 3) c.refuse("x", "rank", "x has too many axes");
                    return std::vector<ValueType>{c[0]};
                  },
              .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
                return {g[0] * 2 * c.in(0)};
              },
              .formula = "x * x",
              .samples = {{{{{2}, 0.5, 1}}}},
              .refuses = {{"x.rank", {{{{1, 1, 1}}}}, "x has three axes"}}};
  right.parsed = parse_signature(right.sig);
  const OpReport r = check_op(right);
  INFO(r.str());
  CHECK(r.problems.empty());
  CHECK(
      (r.gradients.first == 2 && r.eager > 0 && r.kernels > 0 && r.files == 1 && r.refusals == 1));

  const auto wrong = [&](const auto& change, std::string_view words) {
    OpDef d = right;
    change(d);
    const OpReport of_wrong = check_op(d);
    INFO(of_wrong.str());
    CHECK_FALSE(of_wrong.problems.empty());
    CHECK(of_wrong.str().find(words) != std::string::npos);
  };
  wrong([](OpDef& d) { d.samples.clear(); }, "no sample");
  wrong([](OpDef& d) { d.no_gradient = true, d.samples.clear(); }, "no sample");
  wrong([](OpDef& d) { d.formula = "x * x * 1.001"; }, "first order by x");
  wrong(
      [](OpDef& d) {
        d.vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
          return {g[0] * 2 * stop_gradient(c.in(0))};
        };
      },
      "second order by x");
  wrong([](OpDef& d) { d.refuses[0].rule = "x.dim"; },
        "refusal squared.x.dim in a graph: squared.x.rank");
  wrong([](OpDef& d) { d.refuses[0].call.inputs[0].dims = {2}; }, "on tensors: no refusal");
  wrong([](OpDef& d) { d.refuses[0].means.clear(); }, "says no meaning");
}
