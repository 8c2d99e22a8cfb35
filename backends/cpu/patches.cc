// Patches of images and their sums, a stretch of channels at a time: the innermost loops copy or
// add what is contiguous on both sides. Pieces are rows of the result, which no two share.
#include <rondo/ops/patches.h>

#include <algorithm>

#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kPieceElements = 1 << 14;

int64_t rows_at_once(int64_t row) {
  return std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, row));
}

// Sizes of the image and of its patches, and the window.
struct Geometry {
  PatchOptions o;
  int64_t images, height, width, channels, down, across;

  Geometry(const PatchOptions& options, const Dims& image, const Dims& patches)
      : o(options),
        images(image[0]),
        height(image[1]),
        width(image[2]),
        channels(image[3]),
        down(patches[1]),
        across(patches[2]) {}

  int64_t window_row() const { return o.size[1] * channels; }
  int64_t patch() const { return o.size[0] * window_row(); }
  // Where the window's row i of the p-th place lies, and its column j of the q-th.
  int64_t h(int64_t p, int64_t i) const {
    return p * o.strides[0] + i * o.dilations[0] - o.before[0];
  }
  int64_t w(int64_t q, int64_t j) const {
    return q * o.strides[1] + j * o.dilations[1] - o.before[1];
  }

  // f(j, w, n): the columns [j, j+n) of the window's row at the q-th place lie on the image, at w
  // and side by side.
  template <class F>
  void for_stretches(int64_t q, F&& f) const {
    const int64_t first = w(q, 0);
    if (o.dilations[1] == 1) {
      const int64_t begin = std::clamp<int64_t>(-first, 0, o.size[1]);
      const int64_t end = std::clamp<int64_t>(width - first, begin, o.size[1]);
      if (begin < end) f(begin, first + begin, end - begin);
      return;
    }
    for (int64_t j = 0; j < o.size[1]; ++j) {
      const int64_t at = w(q, j);
      if (0 <= at && at < width) f(j, at, int64_t{1});
    }
  }
};

// An image of width 1 under a window of width 1 is a row: steps are side by side then.
Geometry laid_down(Geometry g) {
  if (g.width != 1 || g.o.size[1] != 1 || g.o.before[1] != 0 || g.across != 1) return g;
  std::swap(g.height, g.width);
  std::swap(g.down, g.across);
  for (auto* const pair : {&g.o.size, &g.o.strides, &g.o.dilations, &g.o.before, &g.o.after})
    std::swap((*pair)[0], (*pair)[1]);
  return g;
}

template <class T>
void patches(const KernelArgs& args) {
  const Geometry g =
      laid_down({patch_options(args.call.attributes), args.in[0].dims(), args.out[0].dims()});
  const auto padding = static_cast<T>(args.call.attributes.number("padding"));
  const T* const x = args.in[0].as<T>();
  T* const y = args.out[0].as<T>();
  const int64_t rows = g.images * g.down * g.across, at_once = rows_at_once(g.patch());
  for_pieces(args.context.team, (rows + at_once - 1) / at_once, [&](int64_t piece) {
    for (int64_t r = piece * at_once; r < std::min(rows, (piece + 1) * at_once); ++r) {
      const int64_t q = r % g.across, p = r / g.across % g.down, b = r / g.across / g.down;
      for (int64_t i = 0; i < g.o.size[0]; ++i) {
        T* const to = y + r * g.patch() + i * g.window_row();
        const int64_t h = g.h(p, i);
        int64_t done = 0;
        if (0 <= h && h < g.height) {
          const T* const line = x + (b * g.height + h) * g.width * g.channels;
          g.for_stretches(q, [&](int64_t j, int64_t w, int64_t n) {
            std::fill(to + done, to + j * g.channels, padding);
            std::copy_n(line + w * g.channels, n * g.channels, to + j * g.channels);
            done = (j + n) * g.channels;
          });
        }
        std::fill(to + done, to + g.window_row(), padding);
      }
    }
  });
}

template <class T>
void sum_patches(const KernelArgs& args) {
  const Geometry g{patch_options(args.call.attributes), args.out[0].dims(), args.in[0].dims()};
  const T* const y = args.in[0].as<T>();
  T* const x = args.out[0].as<T>();
  const int64_t line = g.width * g.channels;
  const int64_t rows = g.images * g.height, at_once = rows_at_once(line * g.o.size[0]);
  for_pieces(args.context.team, (rows + at_once - 1) / at_once, [&](int64_t piece) {
    for (int64_t r = piece * at_once; r < std::min(rows, (piece + 1) * at_once); ++r) {
      const int64_t h = r % g.height, b = r / g.height;
      T* const to = x + r * line;
      std::fill_n(to, line, T{0});
      for (int64_t i = 0; i < g.o.size[0]; ++i) {
        const int64_t from_top = h - g.h(0, i);
        if (from_top < 0 || from_top % g.o.strides[0] != 0) continue;
        const int64_t p = from_top / g.o.strides[0];
        if (p >= g.down) continue;
        for (int64_t q = 0; q < g.across; ++q) {
          const T* const from =
              y + ((b * g.down + p) * g.across + q) * g.patch() + i * g.window_row();
          g.for_stretches(q, [&](int64_t j, int64_t w, int64_t n) {
            const T* const a = from + j * g.channels;
            T* const sums = to + w * g.channels;
            for (int64_t k = 0; k < n * g.channels; ++k) sums[k] += a[k];
          });
        }
      }
    }
  });
}

Kernel patches_row(const std::string& op, void (*f32_run)(const KernelArgs&),
                   void (*f64_run)(const KernelArgs&)) {
  return simple_kernel(
      "cpu." + op, op, [](const KernelCall& call) { return all_of_type(call, {f32, f64}); },
      [f32_run, f64_run](const KernelArgs& a) {
        (a.in[0].type->dtype == f64 ? f64_run : f32_run)(a);
      },
      1, "stretches of channels");
}

}  // namespace

void add_patches(std::vector<Kernel>& rows) {
  rows.push_back(patches_row("patches", patches<float>, patches<double>));
  rows.push_back(patches_row("sum_patches", sum_patches<float>, sum_patches<double>));
}

}  // namespace rondo::cpu
