#include <rondo/backends/reference/common.h>
#include <rondo/ops/shape.h>

namespace rondo::reference {
namespace {

// y's element k along the axis is x's element from(k); the other dimensions are equal.
template <class From>
void move_along(const KernelArgs& a, From&& from) {
  const View &x = a.in[0], &y = a.out[0];
  const size_t axis = axis_index(a.call.attributes.integer("axis"), x.dims().size());
  const Lines to(y.dims(), axis), of_x(x.dims(), axis);
  to.for_each([&](int64_t first, int64_t o, int64_t i) {
    const int64_t first_of_x = o * of_x.length * of_x.stride + i;
    for (int64_t k = 0; k < to.length; ++k)
      copy_element(y, first + k * to.stride, x, first_of_x + from(k) * of_x.stride);
  });
}

void strided_slice(const KernelArgs& a) {
  const int64_t begin = a.call.dims("begin_count")[0], step = a.call.attributes.integer("step");
  move_along(a, [&](int64_t k) { return begin + k * step; });
}

void roll(const KernelArgs& a) {
  const Dims& dims = a.in[0].dims();
  const int64_t n = dims[axis_index(a.call.attributes.integer("axis"), dims.size())];
  const int64_t shift = a.call.attributes.integer("shift");
  move_along(a, [&](int64_t k) { return ((k - shift % n) % n + n) % n; });
}

void reverse_sequence(const KernelArgs& a) {
  const View &x = a.in[0], &lengths = a.in[1];
  const Dims strides = strides_of(x.dims());
  const size_t time = axis_index(a.call.attributes.integer("time_axis"), strides.size()),
               batch = axis_index(a.call.attributes.integer("batch_axis"), strides.size());
  for (int64_t b = 0; b < lengths.size(); ++b)
    integer_in_range("reverse_sequence.lengths", lengths, b, 0, x.dims()[time], "T of x");
  for_each_position(x.dims(), [&](const Dims& at) {
    const int64_t length = integer_at(lengths, at[batch]), to = offset(at, strides);
    const int64_t from = at[time] < length ? length - 1 - at[time] : at[time];
    copy_element(a.out[0], to, x, to + (from - at[time]) * strides[time]);
  });
}

}  // namespace

std::vector<Kernel> arrange_kernels() {
  return {row("strided_slice", nullptr, strided_slice), row("roll", nullptr, roll),
          row("reverse_sequence", nullptr, reverse_sequence)};
}

}  // namespace rondo::reference
