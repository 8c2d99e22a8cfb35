// A graph as a file holds it: written to memory and read again.
#pragma once

#include <rondo/ops/register.h>
#include <rondo/proto/bundle.h>

namespace rondo::test {

inline Graph file_copy(const Graph& g, FileFormat format = FileFormat::kRondo) {
  Bundle b;
  b.graphs.emplace("g", g);
  MemorySink sink("memory");
  write_bundle(b, format, sink);
  MemorySource source("memory", sink.bytes());
  return read_bundle(source, format, registry()).graphs.at("g");
}

}  // namespace rondo::test
