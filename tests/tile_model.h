// AMX in plain C++, after Intel's pseudocode: what proves the tiles' algorithm on machines without
// it. A thread has one set of registers, as a thread of a processor has.
#pragma once

#include <cmath>
#include <cstring>
#include <stdexcept>

#include <rondo/backends/cpu/tiles.h>

namespace rondo::test {

class TileRegisters {
 public:
  void configure(const cpu::TileConfig& c) {
    must(c.palette == 1 && c.start_row == 0, "palette");
    for (int t = 0; t < kCount; ++t)
      must(c.rows[t] > 0 && c.rows[t] <= 16 && c.row_bytes[t] > 0 && c.row_bytes[t] <= 64 &&
               c.row_bytes[t] % 4 == 0,
           "shape");
    config_ = c;
    configured_ = true;
    std::memset(bytes_, 0, sizeof bytes_);
  }
  void release() { configured_ = false; }
  bool configured() const { return configured_; }
  void zero(int t) {
    must(configured_, "zero");
    std::memset(bytes_[t], 0, sizeof bytes_[t]);
  }
  void load(int t, const void* from, int64_t stride) {
    zero(t);
    for (int r = 0; r < config_.rows[t]; ++r)
      std::memcpy(bytes_[t][r], static_cast<const char*>(from) + r * stride, config_.row_bytes[t]);
  }
  void store(int t, void* to, int64_t stride) const {
    must(configured_, "store");
    for (int r = 0; r < config_.rows[t]; ++r)
      std::memcpy(static_cast<char*>(to) + r * stride, bytes_[t][r], config_.row_bytes[t]);
  }
  /// tdpbf16ps: the even and the odd of each pair are added up alone, then together.
  void add_bf16(int sum, int a, int w) {
    add<float>(sum, a, w, [](const uint8_t* x, const uint8_t* y, float(&parts)[2]) {
      for (int i = 0; i < 2; ++i)
        parts[i] = flushed(std::fma(from_bf16(x + 2 * i), from_bf16(y + 2 * i), parts[i]));
    });
  }
  /// tdpbusd: a without a sign.
  void add_int8(int sum, int a, int w) {
    add<int32_t>(sum, a, w, [](const uint8_t* x, const uint8_t* y, int32_t(&parts)[2]) {
      for (int i = 0; i < 4; ++i) parts[0] += x[i] * static_cast<int8_t>(y[i]);
    });
  }

 private:
  static constexpr int kCount = 8;

  static void must(bool ok, const char* what) {
    if (!ok) throw std::logic_error(std::string("tiles: ") + what);
  }
  static float flushed(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x;
  }
  static int32_t flushed(int32_t x) { return x; }
  static float from_bf16(const uint8_t* p) {
    const uint32_t bits = static_cast<uint32_t>(p[0] | p[1] << 8) << 16;
    float x = 0;
    std::memcpy(&x, &bits, 4);
    return flushed(x);
  }
  template <class T, class F>
  void add(int sum, int a, int w, F&& dot) {
    must(configured_ && sum != a && sum != w && a != w, "registers");
    const int depth = config_.rows[w], width = config_.row_bytes[w] / 4;
    must(config_.rows[sum] == config_.rows[a] && config_.row_bytes[sum] == 4 * width &&
             config_.row_bytes[a] == 4 * depth,
         "shapes of a product");
    for (int r = 0; r < config_.rows[sum]; ++r) {
      for (int j = 0; j < width; ++j) {
        T parts[2] = {}, y = 0;
        for (int i = 0; i < depth; ++i) dot(bytes_[a][r] + 4 * i, bytes_[w][i] + 4 * j, parts);
        std::memcpy(&y, bytes_[sum][r] + 4 * j, 4);
        y = flushed(flushed(y) + flushed(parts[0] + parts[1]));
        std::memcpy(bytes_[sum][r] + 4 * j, &y, 4);
      }
    }
  }

  cpu::TileConfig config_;
  bool configured_ = false;
  uint8_t bytes_[kCount][16][64] = {};
};

/// The unit of these registers.
struct TileModel {
  static TileRegisters& registers() {
    static thread_local TileRegisters r;
    return r;
  }
  static void configure(const cpu::TileConfig& c) { registers().configure(c); }
  static void release() { registers().release(); }
  static void zero(int t) { registers().zero(t); }
  static void load(int t, const void* from, int64_t stride) { registers().load(t, from, stride); }
  static void store(int t, void* to, int64_t stride) { registers().store(t, to, stride); }
  struct Bf16 {
    static void add(int sum, int a, int w) { registers().add_bf16(sum, a, w); }
  };
  struct Int8 {
    static void add(int sum, int a, int w) { registers().add_int8(sum, a, w); }
  };
};

inline const cpu::TileUnit& tile_model() { return cpu::kTileUnit<TileModel>; }

}  // namespace rondo::test
