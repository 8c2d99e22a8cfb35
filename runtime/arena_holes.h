// Places in an arena that is planned before it exists: a freed block is used again, the smallest
// that fits first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <rondo/graph/checked.h>
#include <rondo/runtime/kernel.h>

namespace rondo {

/// Free parts of an arena that grows where none of them fits; the smallest that fits is taken.
class ArenaHoles {
 public:
  /// Where so many bytes lie until they are given back; 64-byte aligned. Error: overflow.
  size_t take(size_t bytes) {
    bytes = rounded(bytes);
    auto best = holes_.end();
    for (auto h = holes_.begin(); h != holes_.end(); ++h) {
      if (h->size >= bytes && (best == holes_.end() || h->size < best->size)) best = h;
    }
    if (best == holes_.end()) {
      const size_t at = top_;
      top_ =
          static_cast<size_t>(checked_add(static_cast<int64_t>(top_), static_cast<int64_t>(bytes)));
      return at;
    }
    const size_t at = best->at;
    best->at += bytes;
    best->size -= bytes;
    if (best->size == 0) holes_.erase(best);
    return at;
  }

  /// What take(bytes) gave.
  void give_back(size_t at, size_t bytes) {
    bytes = rounded(bytes);
    auto after = std::lower_bound(holes_.begin(), holes_.end(), at,
                                  [](const Hole& h, size_t offset) { return h.at < offset; });
    if (after != holes_.begin() && (after - 1)->at + (after - 1)->size == at) {
      --after;
      after->size += bytes;
    } else {
      after = holes_.insert(after, {at, bytes});
    }
    const auto next = after + 1;
    if (next != holes_.end() && after->at + after->size == next->at) {
      after->size += next->size;
      holes_.erase(next);
    }
  }

  /// The bytes of the arena.
  size_t top() const { return top_; }

 private:
  struct Hole {
    size_t at, size;
  };
  static size_t rounded(size_t bytes) { return align_up(std::max<size_t>(bytes, 1)); }

  std::vector<Hole> holes_;  // by offset; no two meet
  size_t top_ = 0;
};

}  // namespace rondo
