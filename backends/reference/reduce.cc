#include <algorithm>
#include <cmath>

#include <rondo/backends/reference/common.h>
#include <rondo/ops/formula.h>
#include <rondo/ops/shape.h>

namespace rondo::reference {
namespace {

// A shape's axes in two: those that a reduction keeps, and those that it walks for each element of
// its result.
struct Axes {
  Dims kept, kept_strides, reduced, reduced_strides;

  Axes(const Dims& x, const std::vector<int64_t>& reduced_axes) {
    const Dims strides = strides_of(x);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto is_i = [&](int64_t axis) { return axis_index(axis, x.size()) == i; };
      const bool gone =
          reduced_axes.empty() || std::any_of(reduced_axes.begin(), reduced_axes.end(), is_i);
      (gone ? reduced : kept).push_back(x[i]);
      (gone ? reduced_strides : kept_strides).push_back(strides[i]);
    }
  }

  /// Calls f(offset of the first element) for each element of the result, in order.
  template <class F>
  void for_each_kept(F&& f) const {
    for_each_position(kept, [&](const Dims& at) { f(offset(at, kept_strides)); });
  }
  /// Calls f(offset) for each element that goes into that one, in flat order.
  template <class F>
  void for_each_reduced(int64_t first, F&& f) const {
    for_each_position(reduced, [&](const Dims& at) { f(first + offset(at, reduced_strides)); });
  }
};

Axes axes_of(const KernelArgs& a) { return {a.in[0].dims(), a.call.attributes.integers("axes")}; }

void sum(const KernelArgs& a) {
  const Axes axes = axes_of(a);
  for_number(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    T* y = a.out[0].as<T>();
    axes.for_each_kept([&](int64_t first) {
      Sum<T> total{0};
      axes.for_each_reduced(first, [&](int64_t i) { total += static_cast<Sum<T>>(x[i]); });
      *y++ = static_cast<T>(total);
    });
  });
}

void prod(const KernelArgs& a) {
  const Axes axes = axes_of(a);
  for_number(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    T* y = a.out[0].as<T>();
    axes.for_each_kept([&](int64_t first) {
      Sum<T> total{1};
      axes.for_each_reduced(first, [&](int64_t i) { total *= static_cast<Sum<T>>(x[i]); });
      *y++ = static_cast<T>(total);
    });
  });
}

void extreme(const KernelArgs& a, Fn fn, double over_nothing) {
  const Axes axes = axes_of(a);
  for_float(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    T* y = a.out[0].as<T>();
    axes.for_each_kept([&](int64_t first) {
      T best = static_cast<T>(over_nothing);
      axes.for_each_reduced(first, [&](int64_t i) { best = evaluate(fn, best, x[i], T{0}); });
      *y++ = best;
    });
  });
}
void reduce_max(const KernelArgs& a) { extreme(a, Fn::kMax, -HUGE_VAL); }
void reduce_min(const KernelArgs& a) { extreme(a, Fn::kMin, HUGE_VAL); }

void first_true(const KernelArgs& a) {
  const Axes axes = axes_of(a);
  const bool* x = a.in[0].as<bool>();
  bool* y = a.out[0].as<bool>();
  axes.for_each_kept([&](int64_t first) {
    bool found = false;
    axes.for_each_reduced(first, [&](int64_t i) {
      y[i] = x[i] && !found;
      found = found || x[i];
    });
  });
}

void argmax(const KernelArgs& a) {
  const Axes axes(a.in[0].dims(), {a.call.attributes.integer("axis")});
  if (axes.reduced[0] == 0 && element_count(axes.kept) != 0) {
    fail(Fault::kArgument, "argmax.x.empty",
         "[argmax] cannot search an axis of length 0; x has shape ", to_string(a.in[0].dims()));
  }
  for_float(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    int64_t* y = a.out[0].as<int64_t>();
    axes.for_each_kept([&](int64_t first) {
      int64_t n = 0, best = 0;
      T largest = x[first];
      axes.for_each_reduced(first, [&](int64_t i) {
        if (x[i] > largest || (std::isnan(x[i]) && !std::isnan(largest))) {
          largest = x[i];
          best = n;
        }
        ++n;
      });
      *y++ = best;
    });
  });
}

// Both softmaxes, on x moved so that the largest value is 0.
void softmax(const KernelArgs& a, bool logarithm) {
  const Axes axes(a.in[0].dims(), {a.call.attributes.integer("axis")});
  for_float(a.in[0].type->dtype, [&]<class T>() {
    const T* x = a.in[0].as<T>();
    T* y = a.out[0].as<T>();
    axes.for_each_kept([&](int64_t first) {
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      axes.for_each_reduced(
          first, [&](int64_t i) { largest = evaluate(Fn::kMax, largest, double{x[i]}, 0.0); });
      axes.for_each_reduced(first, [&](int64_t i) { total += std::exp(x[i] - largest); });
      axes.for_each_reduced(first, [&](int64_t i) {
        const double d = x[i] - largest;
        y[i] = static_cast<T>(logarithm ? d - std::log(total) : std::exp(d) / total);
      });
    });
  });
}

}  // namespace

std::vector<Kernel> reduce_kernels() {
  return {row("sum", numbers, sum),
          row("prod", numbers, prod),
          row("reduce_max", no_halves, reduce_max),
          row("reduce_min", no_halves, reduce_min),
          row("first_true", nullptr, first_true),
          row("argmax", no_halves, argmax),
          row("softmax", no_halves, [](const KernelArgs& a) { softmax(a, false); }),
          row("log_softmax", no_halves, [](const KernelArgs& a) { softmax(a, true); })};
}

}  // namespace rondo::reference
