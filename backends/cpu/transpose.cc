#include <rondo/backends/cpu/transpose.h>

#include <algorithm>
#include <cstring>

#include <rondo/backends/cpu/rows.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kSquare = 16;  // elements a side: a line of cache of f32
constexpr int64_t kPieceElements = 1 << 15;

struct Axis {
  int64_t length, from, to;  // steps in elements along the axis in x and in y
};

// Axes in the order of y, without those of length 1; neighbours that are neighbours in x are one.
std::vector<Axis> merged_axes(const KernelCall& call) {
  const Dims& x = call.in[0].dims;
  if (call.in[0].size() == 0) return {{0, 1, 1}};
  const std::vector<int64_t>& given = call.attributes.integers("permutation");
  Dims strides(x.size());
  int64_t step = 1;
  for (size_t i = x.size(); i-- > 0; step *= x[i]) strides[i] = step;
  std::vector<Axis> axes;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t a = given.empty() ? x.size() - 1 - i : axis_index(given[i], x.size());
    if (x[a] == 1) continue;
    if (!axes.empty() && axes.back().from == strides[a] * x[a]) {
      axes.back().length *= x[a];
      axes.back().from = strides[a];
    } else {
      axes.push_back({x[a], strides[a], 0});
    }
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  step = 1;
  for (size_t i = axes.size(); i-- > 0; step *= axes[i].length) axes[i].to = step;
  return axes;
}

template <class T>
class Transpose final : public PreparedKernel {
 public:
  explicit Transpose(std::vector<Axis> axes) : in_y_(axes.back()) {
    axes.pop_back();
    whole_rows_ = in_y_.from == 1;
    if (!whole_rows_) {  // the axis that is last in x
      const auto last =
          std::find_if(axes.begin(), axes.end(), [](const Axis& a) { return a.from == 1; });
      in_x_ = *last;
      axes.erase(last);
    }
    outer_ = std::move(axes);
    for (const Axis& a : outer_) blocks_ *= a.length;
    bands_ = (in_x_.length + kSquare - 1) / kSquare;
    const int64_t work = std::max<int64_t>(1, in_y_.length * std::min(in_x_.length, kSquare));
    bands_per_piece_ = std::max<int64_t>(1, kPieceElements / work);
  }

  // A piece: some bands of kSquare steps along x's last axis, counted over all blocks.
  void run(const KernelArgs& args) const override {
    if (in_y_.length == 0) return;
    const int64_t bands = blocks_ * bands_;
    for_pieces(args.context.team, (bands + bands_per_piece_ - 1) / bands_per_piece_,
               [&](int64_t piece) {
                 for (int64_t b = piece * bands_per_piece_;
                      b < std::min(bands, (piece + 1) * bands_per_piece_); ++b)
                   run_band(args, b);
               });
  }

 private:
  void run_band(const KernelArgs& args, int64_t band) const {
    const T* x = args.in[0].as<T>();
    T* y = args.out[0].as<T>();
    int64_t block = band / bands_;
    for (size_t i = outer_.size(); i-- > 0; block /= outer_[i].length) {
      x += block % outer_[i].length * outer_[i].from;
      y += block % outer_[i].length * outer_[i].to;
    }
    if (whole_rows_) {
      std::memcpy(y, x, static_cast<size_t>(in_y_.length) * sizeof(T));
      return;
    }
    const int64_t first = band % bands_ * kSquare, end = std::min(in_x_.length, first + kSquare);
    for (int64_t j0 = 0; j0 < in_y_.length; j0 += kSquare) {
      const int64_t j1 = std::min(in_y_.length, j0 + kSquare);
      for (int64_t i = first; i < end; ++i) {
        for (int64_t j = j0; j < j1; ++j) y[i * in_x_.to + j] = x[j * in_y_.from + i];
      }
    }
  }

  Axis in_y_, in_x_{1, 1, 1};
  std::vector<Axis> outer_;
  bool whole_rows_ = true;
  int64_t blocks_ = 1, bands_ = 1, bands_per_piece_ = 1;
};

}  // namespace

std::unique_ptr<PreparedKernel> prepare_transpose(const KernelCall& call) {
  std::vector<Axis> axes = merged_axes(call);
  switch (size_of(call.in[0].dtype)) {
    case 1:
      return std::make_unique<Transpose<uint8_t>>(std::move(axes));
    case 2:
      return std::make_unique<Transpose<uint16_t>>(std::move(axes));
    case 4:
      return std::make_unique<Transpose<uint32_t>>(std::move(axes));
    default:
      return std::make_unique<Transpose<uint64_t>>(std::move(axes));
  }
}

}  // namespace rondo::cpu
