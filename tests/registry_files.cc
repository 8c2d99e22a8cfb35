// Every op in the registry, on its samples, saved and loaded: the same text, the same bits.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "file_copy.h"
#include "registry_samples.h"

#include <rondo/graph/print.h>

using namespace rondo;
using namespace rondo::test;

TEST_CASE("every op is saved and loaded: the same text, the same bits", "[registry][file]") {
  size_t calls = 0;
  for (const NamedSample& s : all_samples()) {
    INFO(s.name);
    OpGraph g = graph_of(*s.op, s.sample.attributes, draw(s.sample, f32));
    Vars results = g.present();
    for (size_t i = 0; i < results.size(); ++i) results[i] = results[i].named(cat("result", i));
    for (const FileFormat format : {FileFormat::kRondo, FileFormat::kProtobuf}) {
      const Graph loaded = file_copy(g.graph, format);
      CHECK(to_text(loaded) == to_text(g.graph));
      std::vector<Feed> feeds;
      for (const auto& [v, t] : g.feeds) feeds.emplace_back(loaded.find(v.name()), t);
      Vars fetches;
      for (size_t i = 0; i < results.size(); ++i) fetches.push_back(loaded.find(cat("result", i)));
      const RunOptions run{.training = s.op->opaque, .seed = 3, .step = 1};
      const std::vector<Tensor> want =
          Session(g.graph, {}, one_thread()).run(results, g.feeds, run);
      const std::vector<Tensor> got = Session(loaded, {}, one_thread()).run(fetches, feeds, run);
      for (size_t i = 0; i < want.size(); ++i) CHECK(got[i].same_bits(want[i]));
    }
    ++calls;
  }
  WARN(registry().all().size() << " ops, " << calls << " calls, each in both formats");
  CHECK(calls > 300);
}
