#include <algorithm>
#include <cmath>
#include <numeric>

#include <rondo/backends/reference/common.h>
#include <rondo/ops/shape.h>

namespace rondo::reference {
namespace {

Lines lines_of(const KernelArgs& a) {
  const Dims& dims = a.in[0].dims();
  return {dims, axis_index(a.call.attributes.integer("axis"), dims.size())};
}

// total = next(total, i) over the elements i of each line, in the order that `reverse` says.
template <class T, class Next>
void cumulate(const KernelArgs& a, double start, Next&& next) {
  const Lines lines = lines_of(a);
  const Attributes& attributes = a.call.attributes;
  const bool exclusive = attributes.has("exclusive") && attributes.flag("exclusive");
  T* y = a.out[0].as<T>();
  lines.for_each([&](int64_t first, int64_t, int64_t) {
    auto total = static_cast<Sum<T>>(start);
    for (int64_t k = 0; k < lines.length; ++k) {
      const int64_t at = attributes.flag("reverse") ? lines.length - 1 - k : k;
      const int64_t i = first + at * lines.stride;
      if (exclusive) y[i] = static_cast<T>(total);
      total = next(total, i);
      if (!exclusive) y[i] = static_cast<T>(total);
    }
  });
}

void cumsum(const KernelArgs& a) {
  for_number(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    cumulate<T>(a, 0, [x](Sum<T> total, int64_t i) { return total + static_cast<Sum<T>>(x[i]); });
  });
}

void cumprod(const KernelArgs& a) {
  for_number(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    cumulate<T>(a, 1, [x](Sum<T> total, int64_t i) { return total * static_cast<Sum<T>>(x[i]); });
  });
}

void linear_scan(const KernelArgs& a) {
  for_float(a.in[0].type->dtype, [&]<class T>() {
    const T *factor = a.in[0].as<T>(), *term = a.in[1].as<T>();
    cumulate<T>(a, 0, [=](double total, int64_t i) {
      return static_cast<double>(factor[i]) * total + static_cast<double>(term[i]);
    });
  });
}

// The places 0, 1, ... of a line of x, put in order: NaN is larger than all, ties stay as they are.
template <class T>
std::vector<int64_t> sorted_places(const T* x, int64_t length, int64_t stride, bool descending) {
  std::vector<int64_t> places(static_cast<size_t>(length));
  std::iota(places.begin(), places.end(), 0);
  const auto less = [](T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    }
    return a < b;
  };
  std::stable_sort(places.begin(), places.end(), [&](int64_t i, int64_t j) {
    const T a = x[i * stride], b = x[j * stride];
    return descending ? less(b, a) : less(a, b);
  });
  return places;
}

template <class F>
void for_ordered(DType t, F&& f) {
  if (t == boolean) return f.template operator()<bool>();
  for_number(t, f);
}

void argsort(const KernelArgs& a) {
  const Lines lines = lines_of(a);
  for_ordered(a.in[0].type->dtype, [&]<class T>() {
    lines.for_each([&](int64_t first, int64_t, int64_t) {
      const std::vector<int64_t> places =
          sorted_places(a.in[0].as<T>() + first, lines.length, lines.stride,
                        a.call.attributes.flag("descending"));
      for (int64_t k = 0; k < lines.length; ++k)
        a.out[0].as<int64_t>()[first + k * lines.stride] = places[static_cast<size_t>(k)];
    });
  });
}

void top_k(const KernelArgs& a) {
  const Lines lines(a.in[0].dims(), a.in[0].dims().size() - 1);
  const int64_t k = a.call.attributes.integer("k");
  for_ordered(a.in[0].type->dtype, [&]<class T>() {
    lines.for_each([&](int64_t first, int64_t row, int64_t) {
      const T* x = a.in[0].as<T>() + first;
      const std::vector<int64_t> places = sorted_places(x, lines.length, 1, true);
      for (int64_t i = 0; i < k; ++i) {
        const int64_t place = places[static_cast<size_t>(i)];
        if (a.out[0]) a.out[0].as<T>()[row * k + i] = x[place];
        if (a.out[1]) a.out[1].as<int64_t>()[row * k + i] = place;
      }
    });
  });
}

}  // namespace

std::vector<Kernel> order_kernels() {
  return {row("cumsum", numbers, cumsum), row("cumprod", numbers, cumprod),
          row("linear_scan", no_halves, linear_scan), row("argsort", no_halves, argsort),
          row("top_k", no_halves, top_k)};
}

}  // namespace rondo::reference
