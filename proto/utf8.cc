#include <rondo/proto/utf8.h>

#include <array>
#include <cstddef>

namespace rondo {
namespace {

// A range of first bytes, the range of the second, and how many follow.
struct Row {
  unsigned char first_low, first_high, second_low, second_high;
  size_t following;
};
constexpr std::array<Row, 8> kRows{{{0xC2, 0xDF, 0x80, 0xBF, 1},
                                    {0xE0, 0xE0, 0xA0, 0xBF, 2},
                                    {0xE1, 0xEC, 0x80, 0xBF, 2},
                                    {0xED, 0xED, 0x80, 0x9F, 2},
                                    {0xEE, 0xEF, 0x80, 0xBF, 2},
                                    {0xF0, 0xF0, 0x90, 0xBF, 3},
                                    {0xF1, 0xF3, 0x80, 0xBF, 3},
                                    {0xF4, 0xF4, 0x80, 0x8F, 3}}};

const Row* row_of(unsigned char c) {
  for (const Row& r : kRows) {
    if (c >= r.first_low && c <= r.first_high) return &r;
  }
  return nullptr;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    if (at(i) < 0x80) {
      ++i;
      continue;
    }
    const Row* r = row_of(at(i));
    if (r == nullptr || text.size() - i <= r->following) return false;
    if (at(i + 1) < r->second_low || at(i + 1) > r->second_high) return false;
    for (size_t k = 2; k <= r->following; ++k) {
      if ((at(i + k) & 0xC0) != 0x80) return false;
    }
    i += 1 + r->following;
  }
  return true;
}

}  // namespace rondo
