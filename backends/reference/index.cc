#include <rondo/backends/reference/common.h>
#include <rondo/ops/shape.h>

namespace rondo::reference {
namespace {

size_t axis_of(const KernelArgs& a) {
  return axis_index(a.call.attributes.integer("axis"), a.in[0].dims().size());
}

void take_along(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1];
  const Lines from(x.dims(), axis_of(a)), to(indices.dims(), axis_of(a));
  to.for_each([&](int64_t first, int64_t o, int64_t i) {
    for (int64_t k = 0; k < to.length; ++k) {
      const int64_t at = first + k * to.stride;
      const int64_t n = integer_in_range("take_along.indices", indices, at, 0, from.length - 1);
      copy_element(a.out[0], at, x, (o * from.length + n) * from.stride + i);
    }
  });
}

void add_along(const KernelArgs& a) {
  const View &indices = a.in[0], &updates = a.in[1], &y = a.out[0];
  const Lines from(indices.dims(), axis_of(a)), to(y.dims(), axis_of(a));
  for_number(y.type->dtype, [&]<class T>() {
    std::vector<Sum<T>> total(static_cast<size_t>(y.size()));
    from.for_each([&](int64_t first, int64_t o, int64_t i) {
      for (int64_t k = 0; k < from.length; ++k) {
        const int64_t at = first + k * from.stride;
        const int64_t n = integer_in_range("add_along.indices", indices, at, 0, to.length - 1);
        total[static_cast<size_t>((o * to.length + n) * to.stride + i)] +=
            static_cast<Sum<T>>(updates.as<T>()[at]);
      }
    });
    for (size_t i = 0; i < total.size(); ++i) y.as<T>()[i] = static_cast<T>(total[i]);
  });
}

void flat_index(const KernelArgs& a) {
  const Dims shape = a.call.dims("shape");
  element_count(shape);  // an Error where a flat index would overflow
  const Dims strides = strides_of(shape);
  const auto k = static_cast<int64_t>(shape.size());
  for (int64_t i = 0; i < a.out[0].size(); ++i) {
    Dims at;
    for (const int64_t n : shape) {
      at.push_back(integer_in_range(a.call.attributes.text("what"), a.in[0],
                                    i * k + static_cast<int64_t>(at.size()), 0, n - 1));
    }
    a.out[0].as<int64_t>()[i] = offset(at, strides);
  }
}

void scatter_update(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1], &updates = a.in[2], &y = a.out[0];
  copy_bytes(y.data, x.data, x.size() * element_bytes(x));
  const int64_t row_bytes =
      element_count(Dims(x.dims().begin() + 1, x.dims().end())) * element_bytes(x);
  for (int64_t i = 0; i < indices.size(); ++i) {
    const int64_t to = integer_in_range("scatter_update.indices", indices, i, 0, x.dims()[0] - 1);
    copy_bytes(y.data + to * row_bytes, updates.data + i * row_bytes, row_bytes);
  }
}

void one_hot(const KernelArgs& a) {
  const View &indices = a.in[0], &y = a.out[0];
  const Attributes& attributes = a.call.attributes;
  const int64_t depth = y.dims().back(), bytes = element_bytes(y);
  const Tensor on = Tensor::scalar(y.type->dtype, attributes.number("on")),
               off = Tensor::scalar(y.type->dtype, attributes.number("off"));
  for (int64_t i = 0; i < y.size(); ++i)
    copy_bytes(y.data + i * bytes, (integer_at(indices, i / depth) == i % depth ? on : off).raw(),
               bytes);
}

void sequence_mask(const KernelArgs& a) {
  const bool batch_major = a.call.attributes.flag("batch_major");
  bool* y = a.out[0].as<bool>();
  for_each_position(a.out[0].dims(), [&](const Dims& at) {
    *y++ = at[batch_major ? 1 : 0] < integer_at(a.in[0], at[batch_major ? 0 : 1]);
  });
}

// Each number as a double, rounded once.
template <class F>
void write_numbers(const View& y, F&& f) {
  Tensor t(f64, y.dims());
  for (int64_t i = 0; i < y.size(); ++i) t.mutable_data<double>()[i] = f(i);
  const Tensor rounded = t.to(y.type->dtype);
  copy_bytes(y.data, rounded.raw(), y.size() * element_bytes(y));
}

void range(const KernelArgs& a) {
  const double begin = a.call.attributes.number("begin"), step = a.call.attributes.number("step");
  write_numbers(a.out[0], [&](int64_t i) { return begin + static_cast<double>(i) * step; });
}

void linspace(const KernelArgs& a) {
  const double begin = a.call.attributes.number("begin"), end = a.call.attributes.number("end");
  const int64_t last = a.out[0].size() - 1;
  const double step = (end - begin) / static_cast<double>(last);
  write_numbers(a.out[0], [&](int64_t i) {
    if (i == 0) return begin;
    return i == last ? end : begin + static_cast<double>(i) * step;
  });
}

}  // namespace

std::vector<Kernel> index_kernels() {
  return {row("take_along", nullptr, take_along), row("add_along", numbers, add_along),
          row("flat_index", nullptr, flat_index), row("scatter_update", nullptr, scatter_update),
          row("one_hot", nullptr, one_hot),       row("sequence_mask", nullptr, sequence_mask),
          row("range", nullptr, range),           row("linspace", nullptr, linspace)};
}

}  // namespace rondo::reference
