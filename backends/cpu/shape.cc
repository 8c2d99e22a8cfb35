#include <rondo/ops/shape.h>

#include <algorithm>
#include <cstring>

#include <rondo/backends/cpu/moves.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/spread.h>
#include <rondo/backends/cpu/transpose.h>

namespace rondo::cpu {
namespace {

/// Stretches of `bytes` bytes, `rows` of them, each at its own pitch in source and target.
struct Stretches {
  int64_t rows = 0;
  size_t bytes = 0, from_pitch = 0, to_pitch = 0;

  void copy(const std::byte* from, std::byte* to, int64_t first, int64_t end) const {
    for (int64_t r = first; r < end; ++r)
      std::memcpy(to + static_cast<size_t>(r) * to_pitch,
                  from + static_cast<size_t>(r) * from_pitch, bytes);
  }
  void zero(std::byte* to) const {
    for (int64_t r = 0; r < rows; ++r)
      std::memset(to + static_cast<size_t>(r) * to_pitch, 0, bytes);
  }
};

void copy(ThreadTeam& team, const Stretches& s, const std::byte* from, std::byte* to) {
  if (s.rows == 0 || s.bytes == 0) return;
  const int64_t at_once = std::max<int64_t>(1, kPieceBytes / static_cast<int64_t>(s.bytes));
  for_pieces(team, (s.rows + at_once - 1) / at_once, [&](int64_t piece) {
    s.copy(from, to, piece * at_once, std::min(s.rows, (piece + 1) * at_once));
  });
}

void same_bytes(const KernelArgs& a) { copy_all(a.context.team, a.in[0], a.out[0]); }

// Pieces of x along an axis, to or from whole tensors.
class Pieces final : public PreparedKernel {
 public:
  /// `whole` is cut; `parts` are its pieces in order.
  Pieces(const TensorType& whole, std::span<const TensorType> parts, int64_t axis, bool join)
      : join_(join) {
    const Cut c = cut_at(whole, axis);
    size_t at = 0;
    for (const TensorType& p : parts) {
      const size_t bytes = static_cast<size_t>(p.dims[axis_index(axis, p.dims.size())]) * c.step;
      const size_t pitch = static_cast<size_t>(c.length) * c.step;
      parts_.push_back({{c.rows, bytes, join ? bytes : pitch, join ? pitch : bytes}, at});
      at += bytes;
    }
  }
  void run(const KernelArgs& a) const override {
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (join_) {
        copy(a.context.team, parts_[i].stretches, a.in[i].data, a.out[0].data + parts_[i].at);
      } else if (a.out[i]) {
        copy(a.context.team, parts_[i].stretches, a.in[0].data + parts_[i].at, a.out[i].data);
      }
    }
  }

 private:
  struct Part {
    Stretches stretches;
    size_t at;  // bytes from the start of a row of the whole
  };
  bool join_;
  std::vector<Part> parts_;
};

std::unique_ptr<PreparedKernel> prepare_concat(const KernelCall& c) {
  return std::make_unique<Pieces>(c.out[0], c.in, c.attributes.integer("axis"), true);
}
std::unique_ptr<PreparedKernel> prepare_split(const KernelCall& c) {
  return std::make_unique<Pieces>(c.in[0], c.out, c.attributes.integer("axis"), false);
}

void slice(const KernelArgs& a) {
  const Cut c = cut_at(*a.in[0].type, a.call.attributes.integer("axis"));
  const int64_t begin = a.call.dim("bounds", 0), end = a.call.dim("bounds", 1);
  const size_t bytes = static_cast<size_t>(end - begin) * c.step;
  copy(a.context.team, {c.rows, bytes, static_cast<size_t>(c.length) * c.step, bytes},
       a.in[0].data + static_cast<size_t>(begin) * c.step, a.out[0].data);
}

void pad(const KernelArgs& a) {
  const Cut c = cut_at(*a.in[0].type, a.call.attributes.integer("axis"));
  const size_t before = static_cast<size_t>(a.call.dim("amounts", 0)) * c.step,
               after = static_cast<size_t>(a.call.dim("amounts", 1)) * c.step;
  const size_t bytes = static_cast<size_t>(c.length) * c.step, pitch = before + bytes + after;
  if (pitch == 0) return;
  if (before != 0) Stretches{c.rows, before, 0, pitch}.zero(a.out[0].data);
  if (after != 0) Stretches{c.rows, after, 0, pitch}.zero(a.out[0].data + before + bytes);
  copy(a.context.team, {c.rows, bytes, bytes, pitch}, a.in[0].data, a.out[0].data + before);
}

void gather(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1];
  const int64_t rows = x.dims()[0], count = indices.size();
  const size_t bytes = rows == 0 ? 0 : x.type->bytes() / static_cast<size_t>(rows);
  for_stretches(a.context.team, count, bytes, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) {
      const auto row = static_cast<size_t>(checked_index("gather.indices", indices, i, rows - 1));
      if (bytes != 0)
        std::memcpy(a.out[0].data + static_cast<size_t>(i) * bytes, x.data + row * bytes, bytes);
    }
  });
}

template <class T>
void scatter_rows(const KernelArgs& a) {
  const View &indices = a.in[0], &y = a.out[0];
  const int64_t rows = y.dims()[0], count = indices.size();
  const int64_t width = count == 0 ? 0 : a.in[1].size() / count;
  std::fill_n(y.as<T>(), y.size(), T{0});
  for (int64_t i = 0; i < count; ++i) {
    const T* const from = a.in[1].as<T>() + i * width;
    T* const to = y.as<T>() + checked_index("scatter_add.indices", indices, i, rows - 1) * width;
    for (int64_t c = 0; c < width; ++c) to[c] += from[c];
  }
}
void scatter_add(const KernelArgs& a) {
  a.out[0].type->dtype == f64 ? scatter_rows<double>(a) : scatter_rows<float>(a);
}

void fill(const KernelArgs& a) {
  const double v = a.call.attributes.number("value");
  const DType t = a.out[0].type->dtype;
  alignas(8) std::byte element[8];
  convert_elements(f64, &v, t, element, 1);
  spread(a.out[0].data, element, static_cast<size_t>(a.out[0].size()), size_of(t));
}

bool finite_fill(const KernelCall& c) {
  return is_float(c.out[0].dtype) || std::abs(c.attributes.number("value")) < 1e9;
}
bool floats(const KernelCall& c) { return c.out[0].dtype == f32 || c.out[0].dtype == f64; }

}  // namespace

void add_shape(std::vector<Kernel>& rows) {
  rows.push_back(
      simple_kernel("cpu.reshape", "reshape", nullptr, same_bytes, 1, "a copy of the bytes"));
  rows.push_back({.name = "cpu.transpose",
                  .op = "transpose",
                  .note = "in blocks that stay in cache",
                  .supports = nullptr,
                  .prepare = prepare_transpose});
  rows.push_back({.name = "cpu.concat",
                  .op = "concat",
                  .note = "stretches of bytes",
                  .supports = nullptr,
                  .prepare = prepare_concat});
  rows.push_back({.name = "cpu.split",
                  .op = "split",
                  .note = "stretches of bytes",
                  .supports = nullptr,
                  .prepare = prepare_split});
  rows.push_back(simple_kernel("cpu.slice", "slice", nullptr, slice, 1, "stretches of bytes"));
  rows.push_back(simple_kernel("cpu.pad", "pad", nullptr, pad, 1, "stretches of bytes"));
  rows.push_back(simple_kernel("cpu.gather", "gather", nullptr, gather, 1, "whole rows"));
  rows.push_back(simple_kernel("cpu.scatter_add", "scatter_add", floats, scatter_add, 1,
                               "whole rows, in their order"));
  rows.push_back(simple_kernel("cpu.fill", "fill", finite_fill, fill, 1, "one number"));
}

}  // namespace rondo::cpu
