#include <algorithm>
#include <array>
#include <optional>

#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

// Elements that one piece reads at most; longer reductions are cut into chunks of it, whose results
// are joined in order.
constexpr int64_t kChunk = 1 << 16;
constexpr int64_t kPieceElements = 1 << 16;

// Any reduction whose merged axes are at most kept, reduced, kept, reduced, as y[k0,k1] = join over
// r0, r1 of x[k0,r0,k1,r1].
struct ReduceShape {
  int64_t k0 = 1, r0 = 1, k1 = 1, r1 = 1;
};

std::optional<ReduceShape> reduce_shape(const KernelCall& call) {
  const Dims& x = call.in[0].dims;
  const auto& axes = call.attributes.integers("axes");
  std::vector<bool> reduced(x.size(), axes.empty());
  for (const int64_t a : axes) reduced[axis_index(a, x.size())] = true;
  std::array<int64_t, 4> part{1, 1, 1, 1};
  size_t at = 0;  // even: kept, odd: reduced
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == 1) continue;
    if ((at % 2 == 1) != reduced[i]) ++at;
    if (at == part.size()) return std::nullopt;
    part[at] *= x[i];
  }
  // The columns of one block of rows stand first: [k, r] is rows of r, [k0, r0, k1] is columns.
  if (part[2] == 1 && part[3] == 1) return ReduceShape{1, 1, part[0], part[1]};
  return ReduceShape{part[0], part[1], part[2], part[3]};
}

template <class T>
class Reduce final : public PreparedKernel {
 public:
  Reduce(const ReduceShape& shape, const ReduceOps<T>& ops) : s_(shape), ops_(ops) {
    if (s_.r1 == 1) {
      rows_at_once_ = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, s_.k1));
    } else {
      rows_at_once_ = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, s_.r1));
    }
    chunks_ = std::max<int64_t>(1, (s_.r0 + rows_at_once_ - 1) / rows_at_once_);
    cuts_ = s_.r0 == 1 && s_.r1 > kChunk ? (s_.r1 + kChunk - 1) / kChunk : 1;
  }

  size_t workspace_bytes() const override {
    const int64_t partial = cuts_ > 1 ? cuts_ : chunks_ > 1 ? chunks_ : 0;
    return static_cast<size_t>(partial * s_.k0 * s_.k1) * sizeof(T);
  }

  void run(const KernelArgs& args) const override {
    const T* const x = args.in[0].as<T>();
    T* const y = args.out[0].as<T>();
    if (s_.k0 * s_.k1 == 0) return;
    if (s_.r0 * s_.r1 == 0) {
      std::fill_n(y, s_.k0 * s_.k1, ops_.identity);
      return;
    }
    T* const partial = reinterpret_cast<T*>(args.workspace);
    s_.r1 == 1 ? run_columns(args, x, y, partial) : run_rows(args, x, y, partial);
  }

 private:
  // y[k0,k1] from x[k0,r0,k1]: each piece some rows of one k0; their results in
  // `partial`[k0,chunk,k1] when there are several.
  void run_columns(const KernelArgs& args, const T* x, T* y, T* partial) const {
    T* const to = chunks_ > 1 ? partial : y;
    for_pieces(args.context.team, s_.k0 * chunks_, [&](int64_t piece) {
      const int64_t k = piece / chunks_, first = piece % chunks_ * rows_at_once_;
      ops_.columns(x + (k * s_.r0 + first) * s_.k1, std::min(rows_at_once_, s_.r0 - first), s_.k1,
                   s_.k1, to + piece * s_.k1);
    });
    if (chunks_ == 1) return;
    for (int64_t k = 0; k < s_.k0; ++k)
      ops_.columns(partial + k * chunks_ * s_.k1, chunks_, s_.k1, s_.k1, y + k * s_.k1);
  }

  // y[k0,k1] from x[k0,r0,k1,r1]: rows of r1 numbers, and for each result r0 of them.
  void run_rows(const KernelArgs& args, const T* x, T* y, T* partial) const {
    if (cuts_ > 1) {
      for_pieces(args.context.team, s_.k0 * s_.k1 * cuts_, [&](int64_t piece) {
        const int64_t k = piece / cuts_, first = piece % cuts_ * kChunk;
        partial[piece] = reduce_row(ops_, x + k * s_.r1 + first, std::min(kChunk, s_.r1 - first));
      });
      for (int64_t k = 0; k < s_.k0 * s_.k1; ++k) y[k] = ops_.row(partial + k * cuts_, cuts_);
      return;
    }
    const int64_t results = s_.k0 * s_.k1, each = s_.r0 * s_.r1;
    const int64_t at_once = std::max<int64_t>(1, kPieceElements / each);
    for_pieces(args.context.team, (results + at_once - 1) / at_once, [&](int64_t piece) {
      for (int64_t i = piece * at_once; i < std::min(results, (piece + 1) * at_once); ++i) {
        const T* const at = x + (i / s_.k1 * s_.r0 * s_.k1 + i % s_.k1) * s_.r1;
        T total = reduce_row(ops_, at, s_.r1);
        for (int64_t r = 1; r < s_.r0; ++r)
          total = ops_.join(total, reduce_row(ops_, at + r * s_.k1 * s_.r1, s_.r1));
        y[i] = total;
      }
    });
  }

  ReduceShape s_;
  ReduceOps<T> ops_;
  int64_t rows_at_once_, chunks_, cuts_;
};

Kernel row_of(const std::string& op, ReduceOps<float> RowOps<float>::* of_f32,
              ReduceOps<double> RowOps<double>::* of_f64) {
  return {.name = "cpu." + op,
          .op = op,
          .note = "SIMD rows and columns",
          .supports =
              [](const KernelCall& call) {
                return all_of_type(call, {f32, f64}) && reduce_shape(call);
              },
          .prepare = [=](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
            const ReduceShape s = *reduce_shape(call);
            if (call.in[0].dtype == f64)
              return std::make_unique<Reduce<double>>(s, row_ops<double>().*of_f64);
            return std::make_unique<Reduce<float>>(s, row_ops<float>().*of_f32);
          }};
}

}  // namespace

void add_reduce(std::vector<Kernel>& rows) {
  rows.push_back(row_of("sum", &RowOps<float>::sum, &RowOps<double>::sum));
  rows.push_back(row_of("prod", &RowOps<float>::prod, &RowOps<double>::prod));
  rows.push_back(row_of("reduce_max", &RowOps<float>::max, &RowOps<double>::max));
  rows.push_back(row_of("reduce_min", &RowOps<float>::min, &RowOps<double>::min));
}

}  // namespace rondo::cpu
