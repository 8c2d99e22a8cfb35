// n copies of one element, by the C library's vector copies: plain loops are not vectorised in a portable build.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace rondo::cpu {

/// Writes `n` elements of `bytes` (1, 2, 4 or 8) bytes each. `to` and `from` must not overlap.
inline void spread(std::byte* to, const std::byte* from, size_t n, size_t bytes) {
  constexpr size_t kBlock = 4096;  // copied again and again while it stays in cache
  const size_t all = n * bytes;
  if (all == 0) return;
  size_t done = bytes;
  for (std::memcpy(to, from, bytes); done < all && done < 8; done += bytes) std::memcpy(to + done, from, bytes);
  while (done < all) {
    const size_t now = std::min({done, kBlock, all - done});
    std::memcpy(to + done, to, now);
    done += now;
  }
}

}  // namespace rondo::cpu
