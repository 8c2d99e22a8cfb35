#include <rondo/proto/crc32c.h>

#include <array>
#include <bit>
#include <cstring>

namespace rondo {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian, as read");

constexpr uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41, reflected

// kTables[k][b]: what byte b contributes when k zero bytes follow it.
using Tables = std::array<std::array<uint32_t, 256>, 8>;
constexpr Tables make_tables() {
  Tables t{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t c = b;
    for (int i = 0; i < 8; ++i) c = (c >> 1) ^ ((c & 1) != 0 ? kPolynomial : 0);
    t[0][b] = c;
  }
  for (size_t k = 1; k < t.size(); ++k) {
    for (size_t b = 0; b < 256; ++b) t[k][b] = (t[k - 1][b] >> 8) ^ t[0][t[k - 1][b] & 0xff];
  }
  return t;
}
constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32c(const void* data, size_t n, uint32_t before) {
  const auto* p = static_cast<const unsigned char*>(data);
  uint32_t c = ~before;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t w;
    std::memcpy(&w, p, 8);
    w ^= c;
    c = 0;
    for (size_t i = 0; i < 8; ++i) c ^= kTables[7 - i][(w >> (8 * i)) & 0xff];
  }
  for (; n != 0; --n, ++p) c = (c >> 8) ^ kTables[0][(c ^ *p) & 0xff];
  return ~c;
}

}  // namespace rondo
