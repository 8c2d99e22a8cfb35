// n copies of one element, a line of cache at a time: plain loops are not vectorised in a portable
// build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rondo::cpu {

/// Writes `n` elements of `bytes` (1, 2, 4 or 8) bytes each.
inline void spread(std::byte* to, const std::byte* from, size_t n, size_t bytes) {
  constexpr size_t kLine = 64;
  uint64_t pattern = 0;
  for (size_t i = 0; i < sizeof(pattern); i += bytes)
    std::memcpy(reinterpret_cast<std::byte*>(&pattern) + i, from, bytes);
  std::byte line[kLine];
  for (size_t i = 0; i < kLine; i += sizeof(pattern))
    std::memcpy(line + i, &pattern, sizeof(pattern));
  const size_t all = n * bytes;
  size_t done = 0;
  for (; done + kLine <= all; done += kLine) std::memcpy(to + done, line, kLine);
  for (; done + sizeof(pattern) <= all; done += sizeof(pattern))
    std::memcpy(to + done, &pattern, sizeof(pattern));
  if (done < all) std::memcpy(to + done, &pattern, all - done);
}

}  // namespace rondo::cpu
