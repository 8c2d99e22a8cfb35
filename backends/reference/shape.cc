#include <rondo/ops/shape.h>

#include <cstring>
#include <numeric>

#include <rondo/backends/reference/common.h>

namespace rondo::reference {
namespace {

// y[at] = x[offset of at under `strides`].
void copy_strided(const View& y, const View& x, const Dims& strides) {
  const int64_t bytes = element_bytes(x);
  std::byte* to = y.data;
  for_each_position(y.dims(), [&](const Dims& at) {
    copy_bytes(to, x.data + offset(at, strides) * bytes, bytes);
    to += bytes;
  });
}

// Copies `count` indices of an axis, from `from_first` on in x, to `to_first` on in y.
void copy_along(size_t axis, const View& y, int64_t to_first, const View& x, int64_t from_first,
                int64_t count) {
  const auto at = static_cast<std::ptrdiff_t>(axis);
  const int64_t outer = element_count(Dims(x.dims().begin(), x.dims().begin() + at));
  const int64_t inner =
      element_count(Dims(x.dims().begin() + at + 1, x.dims().end())) * element_bytes(x);
  for (int64_t o = 0; o < outer; ++o) {
    copy_bytes(y.data + (o * y.dims()[axis] + to_first) * inner,
               x.data + (o * x.dims()[axis] + from_first) * inner, count * inner);
  }
}

size_t axis_of(const KernelArgs& a) {
  return axis_index(a.call.attributes.integer("axis"), a.in[0].dims().size());
}

void reshape(const KernelArgs& a) {
  copy_bytes(a.out[0].data, a.in[0].data, a.in[0].size() * element_bytes(a.in[0]));
}

void transpose(const KernelArgs& a) {
  const Dims strides = strides_of(a.in[0].dims());
  Dims moved(strides.rbegin(), strides.rend());
  const std::vector<int64_t>& permutation = a.call.attributes.integers("permutation");
  for (size_t i = 0; i < permutation.size(); ++i) {
    moved[i] = strides[axis_index(permutation[i], strides.size())];
  }
  copy_strided(a.out[0], a.in[0], moved);
}

void broadcast_to(const KernelArgs& a) {
  copy_strided(a.out[0], a.in[0], broadcast_strides(a.in[0].dims(), a.out[0].dims()));
}

void concat(const KernelArgs& a) {
  const size_t axis = axis_of(a);
  int64_t first = 0;
  for (const View& x : a.in) {
    copy_along(axis, a.out[0], first, x, 0, x.dims()[axis]);
    first += x.dims()[axis];
  }
}

void split(const KernelArgs& a) {
  const size_t axis = axis_of(a);
  const int64_t piece = a.in[0].dims()[axis] / static_cast<int64_t>(a.out.size());
  for (size_t i = 0; i < a.out.size(); ++i) {
    if (a.out[i]) copy_along(axis, a.out[i], 0, a.in[0], static_cast<int64_t>(i) * piece, piece);
  }
}

void slice(const KernelArgs& a) {
  const Dims bounds = a.call.dims("bounds");
  copy_along(axis_of(a), a.out[0], 0, a.in[0], bounds[0], bounds[1] - bounds[0]);
}

void pad(const KernelArgs& a) {
  const size_t axis = axis_of(a);
  std::memset(a.out[0].data, 0, a.out[0].type->bytes());
  copy_along(axis, a.out[0], a.call.dims("amounts")[0], a.in[0], 0, a.in[0].dims()[axis]);
}

void gather(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1];
  const int64_t rows = x.dims()[0];
  const int64_t row_bytes =
      element_count(Dims(x.dims().begin() + 1, x.dims().end())) * element_bytes(x);
  for (int64_t i = 0; i < indices.size(); ++i) {
    const int64_t from = integer_in_range("gather.indices", indices, i, 0, rows - 1);
    copy_bytes(a.out[0].data + i * row_bytes, x.data + from * row_bytes, row_bytes);
  }
}

void scatter_add(const KernelArgs& a) {
  const View &indices = a.in[0], &updates = a.in[1], &y = a.out[0];
  const int64_t row_size = element_count(Dims(y.dims().begin() + 1, y.dims().end()));
  for_number(y.type->dtype, [&]<class T>() {
    std::vector<Sum<T>> total(static_cast<size_t>(y.size()));
    for (int64_t i = 0; i < indices.size(); ++i) {
      const int64_t to = integer_in_range("scatter_add.indices", indices, i, 0, y.dims()[0] - 1);
      for (int64_t j = 0; j < row_size; ++j) {
        total[static_cast<size_t>(to * row_size + j)] +=
            static_cast<Sum<T>>(updates.as<T>()[i * row_size + j]);
      }
    }
    for (size_t i = 0; i < total.size(); ++i) y.as<T>()[i] = static_cast<T>(total[i]);
  });
}

void fill(const KernelArgs& a) {
  const View& y = a.out[0];
  const Tensor t = Tensor::full(y.type->dtype, y.dims(), a.call.attributes.number("value"));
  std::memcpy(y.data, t.raw(), t.bytes());
}

void iota(const KernelArgs& a) {
  const View& y = a.out[0];
  const size_t axis = axis_index(a.call.attributes.integer("axis"), y.dims().size());
  for_number(y.type->dtype, [&]<class T>() {
    T* to = y.as<T>();
    for_each_position(y.dims(), [&](const Dims& at) { *to++ = static_cast<T>(at[axis]); });
  });
}

}  // namespace

std::vector<Kernel> shape_kernels() {
  return {row("reshape", nullptr, reshape),
          row("transpose", nullptr, transpose),
          row("broadcast_to", nullptr, broadcast_to),
          row("concat", nullptr, concat),
          row("split", nullptr, split),
          row("slice", nullptr, slice),
          row("pad", nullptr, pad),
          row("gather", nullptr, gather),
          row("scatter_add", numbers, scatter_add),
          row("fill", nullptr, fill),
          row("iota", numbers, iota)};
}

}  // namespace rondo::reference
