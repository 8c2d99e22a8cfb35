#include <rondo/backends/cpu/moves.h>
#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
namespace {

// y's step k along the axis is x's step from(k), in all rows.
template <class From>
void move_steps(const KernelArgs& a, From&& from) {
  const int64_t axis = a.call.attributes.integer("axis");
  const Cut x = cut_at(*a.in[0].type, axis), y = cut_at(*a.out[0].type, axis);
  if (x.step == 0) return;
  const size_t element = size_of(a.in[0].type->dtype);
  for_stretches(a.context.team, y.rows * y.length, x.step, [&](int64_t first, int64_t end) {
    int64_t row = first / y.length, k = first % y.length;
    for (int64_t i = first; i < end; ++i) {
      std::byte* const to = a.out[0].data + static_cast<size_t>(i) * x.step;
      const std::byte* const of_x =
          a.in[0].data + static_cast<size_t>(row * x.length + from(k)) * x.step;
      if (x.step == element) {
        copy_element(to, of_x, element);
      } else {
        std::memcpy(to, of_x, x.step);
      }
      if (++k == y.length) {
        k = 0;
        ++row;
      }
    }
  });
}

void strided_slice(const KernelArgs& a) {
  const int64_t begin = a.call.dim("begin_count", 0), step = a.call.attributes.integer("step");
  move_steps(a, [=](int64_t k) { return begin + k * step; });
}

// Two stretches of each row change places.
void roll(const KernelArgs& a) {
  const Cut c = cut_at(*a.in[0].type, a.call.attributes.integer("axis"));
  if (c.rows == 0 || c.length == 0 || c.step == 0) return;
  const int64_t shift = a.call.attributes.integer("shift") % c.length;
  const auto moved = static_cast<size_t>(shift < 0 ? shift + c.length : shift) * c.step;
  const size_t row = static_cast<size_t>(c.length) * c.step;
  for_stretches(a.context.team, c.rows, row, [&](int64_t first, int64_t end) {
    for (int64_t r = first; r < end; ++r) {
      const std::byte* const x = a.in[0].data + static_cast<size_t>(r) * row;
      std::byte* const y = a.out[0].data + static_cast<size_t>(r) * row;
      std::memcpy(y + moved, x, row - moved);
      std::memcpy(y, x + (row - moved), moved);
    }
  });
}

// x as [outer,lower,between,upper,inner]: lower and upper are time and batch, in either order.
void reverse_sequence(const KernelArgs& a) {
  const View &x = a.in[0], &lengths = a.in[1];
  const Dims& dims = x.dims();
  const size_t time = axis_index(a.call.attributes.integer("time_axis"), dims.size()),
               batch = axis_index(a.call.attributes.integer("batch_axis"), dims.size());
  for (int64_t b = 0; b < lengths.size(); ++b)
    checked_index("reverse_sequence.lengths", lengths, b, dims[time]);
  if (x.size() == 0) return;
  // How many parts one step of an axis holds; parts are what stands behind both axes.
  const auto parts_behind = [&](size_t axis) {
    int64_t n = 1;
    for (size_t i = axis + 1; i <= std::max(time, batch); ++i) n *= dims[i];
    return n;
  };
  const int64_t in_time = parts_behind(time), in_batch = parts_behind(batch);
  size_t bytes = size_of(x.type->dtype);
  for (size_t i = std::max(time, batch) + 1; i < dims.size(); ++i)
    bytes *= static_cast<size_t>(dims[i]);
  const int64_t parts = static_cast<int64_t>(x.type->bytes() / bytes);
  for_stretches(a.context.team, parts, bytes, [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const int64_t t = p / in_time % dims[time];
      const int64_t length = index_at(lengths, p / in_batch % dims[batch]);
      const int64_t from = t < length ? p + (length - 1 - 2 * t) * in_time : p;
      std::memcpy(a.out[0].data + static_cast<size_t>(p) * bytes,
                  x.data + static_cast<size_t>(from) * bytes, bytes);
    }
  });
}

}  // namespace

void add_arrange(std::vector<Kernel>& rows) {
  rows.push_back(simple_kernel("cpu.strided_slice", "strided_slice", nullptr, strided_slice, 1,
                               "step by step"));
  rows.push_back(simple_kernel("cpu.roll", "roll", nullptr, roll, 1, "stretches of bytes"));
  rows.push_back(simple_kernel("cpu.reverse_sequence", "reverse_sequence", nullptr,
                               reverse_sequence, 1, "stretches of bytes"));
}

}  // namespace rondo::cpu
