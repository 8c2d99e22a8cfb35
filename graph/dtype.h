// Element types, and the conversions between the two half formats and f32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>

namespace rondo {

/// The type of a tensor's elements.
enum class DType : uint8_t { f32, f64, bf16, f16, i32, i64, boolean };

inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;
inline constexpr DType bf16 = DType::bf16;
inline constexpr DType f16 = DType::f16;
inline constexpr DType i32 = DType::i32;
inline constexpr DType i64 = DType::i64;
inline constexpr DType boolean = DType::boolean;

/// Bytes of one element.
size_t size_of(DType t);
/// "f32", "f64", "bf16", "f16", "i32", "i64", "bool".
std::string_view name_of(DType t);
/// The inverse of name_of; an Error names the known ones.
DType dtype_from_name(std::string_view name);

/// Kinds of dtypes; a half is bf16 or f16.
inline bool is_float(DType t) { return t <= DType::f16; }
inline bool is_half(DType t) { return t == DType::bf16 || t == DType::f16; }
inline bool is_integer(DType t) { return t == DType::i32 || t == DType::i64; }

std::ostream& operator<<(std::ostream& s, DType t);

/// A bfloat16 number: the upper half of an f32, rounded to nearest even.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float v);
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

/// An IEEE 754 half, rounded to nearest even.
struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float v);
  explicit operator float() const;
};

/// DType of a C++ element type.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Calls `f.template operator()<T>()` with the C++ type of `t`.
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f64:
      return f.template operator()<double>();
    case DType::bf16:
      return f.template operator()<BFloat16>();
    case DType::f16:
      return f.template operator()<Float16>();
    case DType::i32:
      return f.template operator()<int32_t>();
    case DType::i64:
      return f.template operator()<int64_t>();
    case DType::boolean:
      return f.template operator()<bool>();
    default:
      return f.template operator()<float>();
  }
}

}  // namespace rondo
