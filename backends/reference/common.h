// What the plain loops share: a table row, walks over positions, and reading an index of either
// integer dtype.
//
// The reference is the oracle that every other kernel is tested against: it must be obvious at a
// glance, so nothing here is fast. Sums over f32 are kept in f64, always in the order of the
// row-major positions.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rondo/runtime/kernel.h>

namespace rondo::reference {

/// One list of rows a family.
std::vector<Kernel> arrange_kernels();
std::vector<Kernel> elementwise_kernels();
std::vector<Kernel> index_kernels();
std::vector<Kernel> linear_kernels();
std::vector<Kernel> nn_kernels();
std::vector<Kernel> order_kernels();
std::vector<Kernel> patches_kernels();
std::vector<Kernel> random_kernels();
std::vector<Kernel> reduce_kernels();
std::vector<Kernel> shape_kernels();

inline constexpr double kCost = 100;  ///< any other backend's kernel is preferred
inline constexpr std::string_view kNote = "plain loops";

/// Row "reference.OP".
Kernel row(std::string op, std::function<bool(const KernelCall&)> supports,
           std::function<void(const KernelArgs&)> run);

/// No operand or result is bf16 or f16: the runtime computes those in f32.
bool no_halves(const KernelCall& call);
/// The same, and the result is a number, not a bool.
bool numbers(const KernelCall& call);

/// Calls f with the C++ type of `t`, f32 or f64.
template <class F>
void for_float(DType t, F&& f) {
  t == f64 ? f.template operator()<double>() : f.template operator()<float>();
}
/// Calls f with the C++ type of `t`, which is not a half; bool is computed as int32_t.
template <class F>
void for_number(DType t, F&& f) {
  if (t == i64) return f.template operator()<int64_t>();
  if (t == i32 || t == boolean) return f.template operator()<int32_t>();
  for_float(t, f);
}

/// In what a sum of T is kept: f64 for floats; unsigned for integers, which wrap.
template <class T>
using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

/// How far apart neighbours of each axis are in memory.
Dims strides_of(const Dims& dims);
/// Strides of an operand at the positions of a result it is broadcast to: 0 along broadcast axes.
Dims broadcast_strides(const Dims& operand, const Dims& result);

inline int64_t offset(const Dims& at, const Dims& strides) {
  int64_t r = 0;
  for (size_t i = 0; i < at.size(); ++i) r += at[i] * strides[i];
  return r;
}

/// Calls f(at) for each position of a shape, the last axis fastest.
template <class F>
void for_each_position(const Dims& dims, F&& f) {
  if (element_count(dims) == 0) return;
  Dims at(dims.size());
  for (;;) {
    f(std::as_const(at));
    size_t axis = dims.size();
    while (axis > 0 && ++at[axis - 1] == dims[axis - 1]) at[--axis] = 0;
    if (axis == 0) return;
  }
}

/// A shape as lines along one axis: element k of a line is `k * stride` behind its first.
struct Lines {
  int64_t outer = 1, length = 0, stride = 1;

  Lines(const Dims& dims, size_t axis) : length(dims[axis]) {
    for (size_t i = 0; i < dims.size(); ++i) {
      if (i != axis) (i < axis ? outer : stride) *= dims[i];
    }
  }
  /// Calls f(first, o, i) for each line: its first element, and its place in what stands before the
  /// axis and behind it.
  template <class F>
  void for_each(F&& f) const {
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < stride; ++i) f(o * length * stride + i, o, i);
    }
  }
};

/// What moves elements of any dtype moves so many bytes.
inline int64_t element_bytes(const View& v) { return static_cast<int64_t>(size_of(v.type->dtype)); }
inline void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}
/// y[to] = x[from], by flat index.
inline void copy_element(const View& y, int64_t to, const View& x, int64_t from) {
  const int64_t bytes = element_bytes(x);
  copy_bytes(y.data + to * bytes, x.data + from * bytes, bytes);
}

/// Element i of an i32 or i64 operand.
int64_t integer_at(const View& v, int64_t i);

/// Element i of the operand `what` ("gather.indices"), which must be in [low, high]: else an Error
/// `what`.range that names position, value and bounds, and says what `high` is if that is given.
int64_t integer_in_range(std::string_view what, const View& v, int64_t i, int64_t low, int64_t high,
                         std::string_view high_is = {});

}  // namespace rondo::reference
