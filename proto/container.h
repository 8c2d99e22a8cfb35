// The frame of a `.rondo` file around its ModelProto and its raw tensors.
//
//   header (64 bytes) | ModelProto | zeros to a multiple of 64 | tensors | footer (32 bytes)
//
// Each tensor begins at a multiple of 64 and is followed by zeros up to the next, so that a file
// can be mapped and used in place. Every byte is under a checksum or must be zero. Little-endian.
//
//   header: magic[8] version:u32 min_reader:u32 model_offset:u64 model_size:u64 data_offset:u64
//           data_size:u64 file_size:u64 zero:u32 crc32c(header before this):u32
//   footer: crc32c(model):u32 crc32c(data):u32 file_size:u64 crc32c(header):u32
//           crc32c(footer before this):u32 magic[8]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <rondo/proto/file.h>

namespace rondo {

/// Version of the format that this library writes, and the oldest reader that can read it.
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint32_t kMinReaderVersion = 1;

inline constexpr uint64_t kAlignment = 64;
inline constexpr uint64_t kHeaderBytes = 64;
inline constexpr uint64_t kFooterBytes = 32;

/// The next multiple of 64; `n` must be far from the end of 64 bits.
inline constexpr uint64_t aligned(uint64_t n) {
  return (n + kAlignment - 1) / kAlignment * kAlignment;
}

/// Where the parts of a file are.
struct Container {
  uint32_t version = kFormatVersion;
  uint32_t min_reader = kMinReaderVersion;
  uint64_t model_size = 0;
  uint64_t data_size = 0;  ///< a multiple of 64
  uint32_t model_crc = 0;
  uint32_t data_crc = 0;

  uint64_t model_offset() const { return kHeaderBytes; }
  uint64_t data_offset() const { return aligned(kHeaderBytes + model_size); }
  uint64_t footer_offset() const { return data_offset() + data_size; }
  uint64_t file_size() const { return footer_offset() + kFooterBytes; }
};

/// The first and last bytes of the file.
std::array<std::byte, kHeaderBytes> encode_header(const Container& c);
std::array<std::byte, kFooterBytes> encode_footer(const Container& c);

/// Reads header and footer and checks them against each other and the file's real size: magic,
/// version, sizes, checksums, zeros. Codes `file.header.*`, `file.footer.*`.
Container read_container(Source& source);

/// An Error when a reader of `min_reader` or newer is needed, and this is an older one.
void check_version(const std::string& path, uint32_t version, uint32_t min_reader);

}  // namespace rondo
