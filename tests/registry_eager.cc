// An op on tensors is the op in a graph: the same bits, for every op of the registry, on every
// backend.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/graph/eager.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("every op gives the same bits eagerly and in a graph", "[registry][eager]") {
  size_t results = 0;
  std::set<std::string> ops;
  for (const Backend* b : linked_backends()) {
    const CompileOptions options{.backend = std::string(b->name())};
    const EagerScope scope(options, one_thread());
    for (const NamedSample& s : all_samples()) {
      for (const DType t : {f64, f32}) {
        INFO(s.name << " in " << t << " on " << b->name());
        const std::vector<Tensor> inputs = draw(s.sample, t);
        const OpGraph g = graph_of(*s.op, s.sample.attributes, inputs);
        Session session(g.graph, options, one_thread());
        const std::vector<Tensor> in_graph = session.run(g.present(), g.feeds);
        std::vector<Tensor> now = eager_call(*s.op, inputs, s.sample.attributes, {});
        now.erase(std::remove_if(now.begin(), now.end(), [](const Tensor& r) { return !r; }),
                  now.end());
        REQUIRE(now.size() == in_graph.size());
        for (size_t i = 0; i < now.size(); ++i) {
          CAPTURE(i);
          CHECK(now[i].same_bits(in_graph[i]));
          ++results;
        }
        ops.insert(s.op->name);
      }
    }
  }
  WARN(ops.size() << " ops, " << results << " results on " << linked_backends().size()
                  << " backends");
  CHECK(ops.size() + 1 >= registry().all().size());  // all but the recurrence
  CHECK(results > 500);
}
