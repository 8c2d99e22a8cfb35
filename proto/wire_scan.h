// A look at a ModelProto's bytes before protobuf sees them: counts, depth, lengths, text.
//
// Parsing costs up to 70 times a file's size in memory (two bytes make an empty node), so what is
// too much must be refused before. The scan allocates nothing, keeps its own bounded stack, and
// holds the schema as one table; the writer runs it too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <rondo/proto/limits.h>

namespace rondo {

/// What a ModelProto holds.
struct ModelCounts {
  uint64_t graphs = 0;  ///< bodies are graphs too
  uint64_t nodes = 0;
  uint64_t names = 0;
  uint64_t attributes = 0;
  uint64_t tensors = 0;
  uint64_t strings = 0;
  uint64_t depth = 0;  ///< of bodies inside bodies
  uint32_t format_version = 0, min_reader_version = 0;
};

/// Checks the encoding against schema and limits. Codes `file.<message>.<rule>` with the rules
/// truncated, wire, unknown_field, repeated, utf8, density, version, and one for each limit.
/// `path` is for the errors. Unknown fields pass only in files of a newer version than ours.
ModelCounts scan_model(std::span<const std::byte> bytes, const std::string& path,
                       const Limits& limits);

/// How deep protobuf's parser must be able to go for a model of such depth.
inline constexpr int parse_depth(uint64_t bodies) { return static_cast<int>(3 * bodies + 10); }

}  // namespace rondo
