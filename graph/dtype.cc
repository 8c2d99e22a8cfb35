#include <rondo/graph/dtype.h>

#include <array>
#include <cmath>
#include <utility>

#include <rondo/graph/error.h>

namespace rondo {
namespace {

struct Row {
  DType type;
  size_t size;
  std::string_view name;
};
constexpr std::array<Row, 7> kTypes{{{DType::f32, 4, "f32"},
                                     {DType::f64, 8, "f64"},
                                     {DType::bf16, 2, "bf16"},
                                     {DType::f16, 2, "f16"},
                                     {DType::i32, 4, "i32"},
                                     {DType::i64, 8, "i64"},
                                     {DType::boolean, 1, "bool"}}};

}  // namespace

size_t size_of(DType t) { return kTypes[static_cast<size_t>(t)].size; }
std::string_view name_of(DType t) { return kTypes[static_cast<size_t>(t)].name; }

DType dtype_from_name(std::string_view name) {
  for (const Row& r : kTypes) {
    if (r.name == name) return r.type;
  }
  fail(Fault::kArgument, "dtype.name.unknown", "unknown dtype '", name,
       "'; known: f32 f64 bf16 f16 i32 i64 bool");
}

std::ostream& operator<<(std::ostream& s, DType t) { return s << name_of(t); }

BFloat16::BFloat16(float v) {
  const auto u = std::bit_cast<uint32_t>(v);
  if (std::isnan(v)) {
    bits = static_cast<uint16_t>((u >> 16) | 0x40);  // stays a (quiet) NaN
    return;
  }
  bits = static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

Float16::Float16(float v) {
  const auto u = std::bit_cast<uint32_t>(v);
  const auto sign = static_cast<uint16_t>((u >> 16) & 0x8000);
  const uint32_t magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    bits = sign | 0x7e00;  // NaN
  } else if (magnitude >= 0x477ff000) {
    bits = sign | 0x7c00;  // rounds to infinity
  } else if (magnitude < 0x38800000) {
    // Subnormal: count of 2^-24, rounded to even by the addition of 0.5 in f32 arithmetic.
    const float scaled = std::bit_cast<float>(magnitude) + 0.5F;
    bits = sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(scaled) - 0x3f000000);
  } else {
    const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
    bits = sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
  }
}

Float16::operator float() const {
  const uint32_t sign = uint32_t{bits & 0x8000U} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {
    const float v = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -v : v;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace rondo
