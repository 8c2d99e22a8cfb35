// Graphs, tensors and attributes in one file: what `save` and `load`, checkpoints and converters
// are made of. The bundle is neutral: what a tensor or an attribute means is its owner's business.
//
// `.rondo` keeps tensors raw behind the graphs (proto/container.h), `.pb` keeps everything in one
// protobuf message (proto/rondo.proto). Equal bundles give equal bytes. A file is data, never code:
// a loader checks all of it and rebuilds every graph through Graph::call, so that a graph that was
// loaded obeys every rule that a graph that was built obeys.
#pragma once

#include <map>
#include <string>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>
#include <rondo/graph/tensor.h>
#include <rondo/proto/file.h>
#include <rondo/proto/limits.h>

namespace rondo {

/// What one file holds.
struct Bundle {
  std::map<std::string, Graph> graphs = {};
  /// Values of variables, and whatever else is kept by name. A name must not begin with '%'.
  std::map<std::string, Tensor> tensors = {};
  Attributes attributes = {};
};

/// The two forms of a file: with a header and aligned tensors, or one protobuf message.
enum class FileFormat { kRondo, kProtobuf };

/// By the ending, `.rondo` or `.pb`; an Error otherwise.
FileFormat format_of(const std::string& path);

/// Replaces the file whole or not at all (AtomicFile). Errors: what the limits forbid, text that is
/// not UTF-8, more than 2 GB in a `.pb`, and what the disk refuses.
void save_bundle(const Bundle& bundle, const std::string& path, const Limits& limits = {},
                 FileSystem& files = system_files());
/// The same bytes, anywhere.
void write_bundle(const Bundle& bundle, FileFormat format, Sink& sink, const Limits& limits = {});

/// Reads and checks a file. Ops are looked up in `registry`; the leaves are known. Bodies come back
/// as graphs of their own, without a parent. Errors have codes `file.<section>.<rule>` and name
/// path, graph and node.
Bundle load_bundle(const std::string& path, const OpRegistry& registry, const Limits& limits = {},
                   FileSystem& files = system_files());
/// The same, from anywhere.
Bundle read_bundle(Source& source, FileFormat format, const OpRegistry& registry,
                   const Limits& limits = {});

}  // namespace rondo
