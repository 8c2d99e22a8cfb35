// CRC32C (Castagnoli), the checksum of every section and tensor of a file.
//
// Portable: slicing by eight, no intrinsics. It tells damage, not malice: a file that was made by
// an enemy has right checksums, so everything else is checked as if there were none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rondo {

/// CRC32C of `n` bytes, following bytes whose CRC32C is `before`: polynomial 0x1EDC6F41,
/// reflected, initial and final xor 0xFFFFFFFF. Source: RFC 3720, appendix B.4.
uint32_t crc32c(const void* data, size_t n, uint32_t before = 0);

}  // namespace rondo
