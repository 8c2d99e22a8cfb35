// What kernels share that move elements as bytes: how a tensor is cut at an axis, how much work a
// piece is, and indices that are checked before they are used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/error.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {

inline constexpr int64_t kPieceBytes = 1 << 18;

/// How a tensor is cut at an axis: rows before it, and the bytes of one step along it.
struct Cut {
  int64_t rows = 1;
  size_t step = 1;
  int64_t length = 0;
};
inline Cut cut_at(const TensorType& t, int64_t attribute) {
  const size_t axis = axis_index(attribute, t.dims.size());
  Cut c{1, size_of(t.dtype), t.dims[axis]};
  for (size_t i = 0; i < axis; ++i) c.rows *= t.dims[i];
  for (size_t i = axis + 1; i < t.dims.size(); ++i) c.step *= static_cast<size_t>(t.dims[i]);
  return c;
}

/// f(first, end) for pieces of `count` things of `bytes` bytes each.
template <class F>
void for_stretches(ThreadTeam& team, int64_t count, size_t bytes, F&& f) {
  // A thing costs something, however small it is.
  constexpr int64_t kLeast = 8;
  const int64_t at_once =
      std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(kLeast, static_cast<int64_t>(bytes)));
  for_pieces(team, (count + at_once - 1) / at_once,
             [&](int64_t piece) { f(piece * at_once, std::min(count, (piece + 1) * at_once)); });
}

/// y = x, the same bytes.
inline void copy_all(ThreadTeam& team, const View& x, const View& y) {
  const auto bytes = static_cast<int64_t>(x.type->bytes());
  for_pieces(team, (bytes + kPieceBytes - 1) / kPieceBytes, [&](int64_t piece) {
    const int64_t at = piece * kPieceBytes;
    std::memcpy(y.data + at, x.data + at, static_cast<size_t>(std::min(kPieceBytes, bytes - at)));
  });
}

/// One element, of 1, 2, 4 or 8 bytes.
inline void copy_element(std::byte* to, const std::byte* from, size_t bytes) {
  switch (bytes) {
    case 8:
      std::memcpy(to, from, 8);
      return;
    case 4:
      std::memcpy(to, from, 4);
      return;
    default:
      std::memcpy(to, from, bytes);
  }
}

inline int64_t index_at(const View& v, int64_t i) {
  return v.type->dtype == i64 ? v.as<int64_t>()[i] : v.as<int32_t>()[i];
}

/// Element i of the operand `what` ("gather.indices"), which must be in [0, high]: else an Error
/// `what`.range.
inline int64_t checked_index(std::string_view what, const View& v, int64_t i, int64_t high) {
  const int64_t k = index_at(v, i);
  if (k < 0 || k > high)
    fail(Fault::kArgument, cat(what, ".range"), "[", what, "] element ", i, " is ", k,
         ", but must be in [0, ", high, "]");
  return k;
}

}  // namespace rondo::cpu
