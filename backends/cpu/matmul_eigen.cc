// Products by Eigen: f64, and f32 where a vendor's call would cost more than the product or no
// vendor is there.
#include <algorithm>

#include <Eigen/Core>

#include <rondo/backends/cpu/matmul.h>
#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kTileWork = 1 << 18;  // multiplications; some 10 us
constexpr int64_t kGrain = 16;

template <class T>
class EigenMatmul final : public PreparedKernel {
 public:
  explicit EigenMatmul(const KernelCall& call)
      : shape_(call), tiles_(shape_, kTileWork, kGrain), epilogue_(call) {}

  size_t workspace_bytes() const override { return epilogue_.workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    std::byte* const y = epilogue_.product(args, args.workspace);
    for_pieces(args.context.team, tiles_.count, [&](int64_t piece) {
      const MatmulTiles::Tile t = tiles_.at(shape_, piece);
      run_tile(args, reinterpret_cast<T*>(y), t);
      epilogue_.run(args, y, block_of(shape_, t));
    });
  }

 private:
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  using In = Eigen::Map<const Matrix, Eigen::Unaligned, Stride>;
  using Out = Eigen::Map<Matrix, Eigen::Unaligned, Stride>;

  void run_tile(const KernelArgs& args, T* product, const MatmulTiles::Tile& t) const {
    const MatmulShape& s = shape_;
    const T* const a = args.in[0].as<T>() + s.a_at(t.batch, t.row);
    const T* const b = args.in[1].as<T>() + s.b_at(t.batch, t.column);
    Out y(product + s.y_at(t.batch, t.row, t.column), t.rows, t.columns, Stride(s.ldy()));
    if (s.k == 0) {
      y.setZero();
      return;
    }
    const In ea(a, s.transpose_a ? s.k : t.rows, s.transpose_a ? t.rows : s.k, Stride(s.lda()));
    const In eb(b, s.transpose_b ? t.columns : s.k, s.transpose_b ? s.k : t.columns,
                Stride(s.ldb()));
    if (!s.transpose_a && !s.transpose_b) {
      y.noalias() = ea * eb;
    } else if (!s.transpose_a) {
      y.noalias() = ea * eb.transpose();
    } else if (!s.transpose_b) {
      y.noalias() = ea.transpose() * eb;
    } else {
      y.noalias() = ea.transpose() * eb.transpose();
    }
  }

  MatmulShape shape_;
  MatmulTiles tiles_;
  Epilogue epilogue_;
};

// A row of the result at a time, as a product of a vector and a matrix, which needs no buffers:
// Eigen's product of large matrices allocates some.
template <class T>
class EigenRows final : public PreparedKernel {
 public:
  explicit EigenRows(const KernelCall& call) : shape_(call), epilogue_(call) {
    // What follows is quicker for some short rows than for each.
    if (epilogue_) together_ = std::max<int64_t>(1, kTogether / std::max<int64_t>(1, shape_.n));
  }

  size_t workspace_bytes() const override { return epilogue_.workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    std::byte* const y = epilogue_.product(args, args.workspace);
    const int64_t rows = shape_.batches * shape_.m;
    for_pieces(args.context.team, (rows + together_ - 1) / together_, [&](int64_t piece) {
      const int64_t from = piece * together_, end = std::min(rows, from + together_);
      for (int64_t row = from; row < end; ++row)
        run_row(args, reinterpret_cast<T*>(y), row / shape_.m, row % shape_.m);
      epilogue_.run(args, y, {from, end - from, 0, shape_.n});
    });
  }

 private:
  using Row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  void run_row(const KernelArgs& args, T* product, int64_t batch, int64_t row) const {
    const MatmulShape& s = shape_;
    Eigen::Map<Row> y(product + s.y_at(batch, row, 0), s.n);
    if (s.k == 0) {
      y.setZero();
      return;
    }
    const Eigen::Map<const Row, 0, Eigen::InnerStride<>> a(
        args.in[0].as<T>() + s.a_at(batch, row), s.k,
        Eigen::InnerStride<>(s.transpose_a ? s.lda() : 1));
    const Eigen::Map<const Matrix> b(args.in[1].as<T>() + s.b_at(batch, 0),
                                     s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n);
    if (s.transpose_b) {
      y.noalias() = a * b.transpose();
    } else {
      y.noalias() = a * b;
    }
  }

  static constexpr int64_t kTogether = 1024;  // elements

  MatmulShape shape_;
  Epilogue epilogue_;
  int64_t together_ = 1;  // rows of a piece
};

// A row with gaps is copied to the stack while it is short.
constexpr int64_t kLongestGappedRow = 8192;

}  // namespace

void add_matmul_eigen(std::vector<Kernel>& rows) {
  add_products(rows,
               {.name = "cpu.matmul.eigen",
                .op = "matmul",
                .note = "Eigen: f64, and f32 products that are too small for oneDNN",
                .supports = [](const KernelCall& call) { return multiplies(call, {f32, f64}); },
                .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
                  if (call.in[0].dtype == f64) return std::make_unique<EigenMatmul<double>>(call);
                  return std::make_unique<EigenMatmul<float>>(call);
                },
                .cost = 2,
                .allocates = true});
  add_products(rows, {.name = "cpu.matmul.rows",
                      .op = "matmul",
                      .note = "Eigen, row by row: allocates nothing, for streams",
                      .supports =
                          [](const KernelCall& call) {
                            const MatmulShape s(call);
                            return multiplies(call, {f32, f64}) &&
                                   (!s.transpose_a || s.k <= kLongestGappedRow);
                          },
                      .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
                        if (call.in[0].dtype == f64)
                          return std::make_unique<EigenRows<double>>(call);
                        return std::make_unique<EigenRows<float>>(call);
                      },
                      .cost = 4});
}

}  // namespace rondo::cpu
