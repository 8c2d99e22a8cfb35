#include <rondo/ops/patches.h>

#include <rondo/backends/reference/common.h>

namespace rondo::reference {
namespace {

// Calls f(offset in the patches, offset in the image, or -1 where padding stands) for each element
// of the patches, in their order.
template <class F>
void for_each_element(const Dims& patches, const Dims& image, const PatchOptions& o, F&& f) {
  const int64_t channels = image[3];
  const Dims strides = strides_of(image);
  int64_t i = 0;
  for_each_position({patches[0], patches[1], patches[2], o.size[0], o.size[1], channels},
                    [&](const Dims& at) {
                      const int64_t h = at[1] * o.strides[0] + at[3] * o.dilations[0] - o.before[0];
                      const int64_t w = at[2] * o.strides[1] + at[4] * o.dilations[1] - o.before[1];
                      const bool inside = 0 <= h && h < image[1] && 0 <= w && w < image[2];
                      f(i++, inside ? offset({at[0], h, w, at[5]}, strides) : -1);
                    });
}

void patches(const KernelArgs& a) {
  const PatchOptions o = patch_options(a.call.attributes);
  const double padding = a.call.attributes.number("padding");
  for_float(a.in[0].type->dtype, [&]<class T>() {
    for_each_element(a.out[0].dims(), a.in[0].dims(), o, [&](int64_t to, int64_t from) {
      a.out[0].as<T>()[to] = from < 0 ? static_cast<T>(padding) : a.in[0].as<T>()[from];
    });
  });
}

void sum_patches(const KernelArgs& a) {
  const PatchOptions o = patch_options(a.call.attributes);
  std::vector<double> sums(static_cast<size_t>(a.out[0].size()), 0);
  for_float(a.in[0].type->dtype, [&]<class T>() {
    for_each_element(a.in[0].dims(), a.out[0].dims(), o, [&](int64_t from, int64_t to) {
      if (to >= 0) sums[static_cast<size_t>(to)] += double{a.in[0].as<T>()[from]};
    });
    for (size_t i = 0; i < sums.size(); ++i) a.out[0].as<T>()[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace

std::vector<Kernel> patches_kernels() {
  return {row("patches", no_halves, patches), row("sum_patches", no_halves, sum_patches)};
}

}  // namespace rondo::reference
