// Products on the recurrent engine's own code (row_gemm.h): a piece of y packs the columns of b
// that it needs, a cacheful of k at a time. For products of many rows, which share the packing.
//
// Each element is one chain of fused multiply-adds in the order of k, the same as in the engine.
#include <algorithm>
#include <array>

#include <rondo/backends/cpu/matmul.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/scratchpads.h>

namespace rondo::cpu {
namespace {

// A piece's block of b, kDepth x kColumns, stays in the second cache.
constexpr int64_t kDepth = 256, kColumns = 256, kMostRows = 1024;
// What follows the product looks at so much of y at once: fewer rows and rows of a would come from
// memory in too short runs, more and they would leave the second cache.
constexpr int64_t kBytesAtOnce = 128 << 10, kRowsOfTile = 6;
// Fewer rows than this do not pay for the packing, nor smaller products for the pieces.
constexpr int64_t kLeastRows = 40, kLeastColumns = 32, kLeastWork = 1 << 15;
constexpr double kCost = 0.5, kCostOfFewRows = 5;

class PackedMatmul final : public PreparedKernel {
 public:
  explicit PackedMatmul(const KernelCall& call)
      : shape_(call),
        type_(call.in[0].dtype),
        epilogue_(call),
        blocks_at_(align_up(epilogue_.workspace_bytes())),
        gemm_(row_gemm(type_)),
        down_(parts_of(shape_.m, kMostRows)),
        across_(parts_of(shape_.n, kColumns)),
        blocks_(shape_.batches * down_ * across_,
                gemm_.packed_bytes(std::min(shape_.k, kDepth), std::min(shape_.n, kColumns))) {}

  size_t workspace_bytes() const override { return blocks_at_ + blocks_.workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    std::byte* const memory = args.workspace + blocks_at_;
    std::byte* const y = epilogue_.product(args, args.workspace);
    blocks_.prepare(memory);
    for_pieces(args.context.team, shape_.batches * down_ * across_, [&](int64_t piece) {
      const Scratchpads::Use block(blocks_, memory);
      run_piece(args, y, piece / across_ / down_, piece / across_ % down_, piece % across_,
                block.data());
    });
  }

 private:
  void run_piece(const KernelArgs& args, std::byte* product, int64_t batch, int64_t down,
                 int64_t across, std::byte* block) const {
    const MatmulShape& s = shape_;
    const size_t element = size_of(type_);
    const int64_t row = begin_of(down, down_, s.m, 1);
    const int64_t rows = begin_of(down + 1, down_, s.m, 1) - row;
    const int64_t column = begin_of(across, across_, s.n, gemm_.block);
    const int64_t columns = begin_of(across + 1, across_, s.n, gemm_.block) - column;
    if (rows == 0 || columns == 0) return;
    const std::byte* const a = args.in[0].data + static_cast<size_t>(s.a_at(batch, row)) * element;
    const std::byte* const b =
        args.in[1].data + static_cast<size_t>(s.b_at(batch, column)) * element;
    std::byte* const y = product + static_cast<size_t>(s.y_at(batch, row, column)) * element;
    std::array<const void*, kMostRows> from;
    std::array<void*, kMostRows> to;
    for (int64_t r = 0; r < rows; ++r)
      to[static_cast<size_t>(r)] = y + static_cast<size_t>(r * s.ldy()) * element;
    const int64_t a_row = s.transpose_a ? 1 : s.lda(), a_step = s.transpose_a ? s.lda() : 1;
    const int64_t b_row = s.transpose_b ? 1 : s.ldb();
    const int64_t blocks = std::max<int64_t>(1, parts_of(s.k, kDepth));
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t k = begin_of(i, blocks, s.k, 1);
      const int64_t depth = begin_of(i + 1, blocks, s.k, 1) - k;
      for (int64_t r = 0; r < rows; ++r)
        from[static_cast<size_t>(r)] = a + static_cast<size_t>(r * a_row + k * a_step) * element;
      gemm_.pack(b + static_cast<size_t>(k * b_row) * element, s.ldb(), depth, columns,
                 s.transpose_b, block);
      const bool follows = epilogue_ && i + 1 == blocks;
      const int64_t some = follows ? rows_at_once(columns) : rows;
      for (int64_t r = 0; r < rows; r += some) {
        const int64_t now = std::min(some, rows - r);
        void* const* const sums = to.data() + r;
        gemm_.run({from.data() + r, a_step, sums, i == 0 ? nullptr : sums, nullptr, now}, depth,
                  block, columns);
        if (follows) epilogue_.run(args, product, {batch * s.m + row + r, now, column, columns});
      }
    }
  }

  int64_t rows_at_once(int64_t columns) const {
    const int64_t fit = kBytesAtOnce / (columns * static_cast<int64_t>(size_of(type_)));
    return std::max<int64_t>(1, fit / kRowsOfTile) * kRowsOfTile;
  }

  MatmulShape shape_;
  DType type_;
  Epilogue epilogue_;
  size_t blocks_at_;
  const RowGemm& gemm_;
  int64_t down_, across_;  // pieces of one batch
  Scratchpads blocks_;     // of b
};

}  // namespace

void add_matmul_packed(std::vector<Kernel>& rows) {
  add_products(
      rows, {.name = "cpu.matmul.packed",
             .op = "matmul",
             .note = cat("the recurrent engine's products; worth the packing from ", kLeastRows,
                         " rows on"),
             .supports = [](const KernelCall& call) { return multiplies(call, {f32, f64}); },
             .prepare = [](const KernelCall& call) { return std::make_unique<PackedMatmul>(call); },
             .cost_of =
                 [](const KernelCall& call) {
                   const MatmulShape s(call);
                   const bool pays =
                       s.m >= kLeastRows && s.n >= kLeastColumns && s.work() >= kLeastWork;
                   return pays ? kCost : kCostOfFewRows;
                 }});
}

}  // namespace rondo::cpu
