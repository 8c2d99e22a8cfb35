// The gradient of a loop's matrix: one product over all steps that rows run, on the recurrent
// engine's own code (row_gemm.h). Rows are gathered where they lie, so that ragged batches cost
// what they contain, and padding is never read.
//
// Each element is one chain of fused multiply-adds in the order of steps and rows.
#include <algorithm>
#include <array>

#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/scratchpads.h>

namespace rondo::cpu {
namespace {

// A piece's block of b, kDepth x kColumns, stays in the second cache, and what a tile reads of it
// in the first.
constexpr int64_t kDepth = 128, kColumns = 1024, kMostRows = 1024;

class ProductOverTime final : public PreparedKernel {
 public:
  explicit ProductOverTime(const KernelCall& call)
      : type_(call.in[0].dtype),
        gemm_(row_gemm(type_)),
        steps_(call.in[0].dims[0]),
        rows_(call.in[0].dims[1]),
        m_(call.in[0].dims[2]),
        n_(call.in[1].dims[2]),
        down_(parts_of(m_, kMostRows)),
        list_bytes_(align_up(static_cast<size_t>(steps_ * rows_) * sizeof(void*))),
        blocks_(down_ * parts_of(n_, gemm_.block),
                gemm_.packed_bytes(std::min(steps_ * rows_, kDepth), std::min(n_, kColumns))) {}

  size_t workspace_bytes() const override { return 2 * list_bytes_ + blocks_.workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    auto** const a = reinterpret_cast<const void**>(args.workspace);
    auto** const b = reinterpret_cast<const void**>(args.workspace + list_bytes_);
    std::byte* const pads = args.workspace + 2 * list_bytes_;
    const int64_t count = list_rows(args, a, b);
    // As wide as threads allow, so that a is read by few.
    const int64_t members = std::max(1, args.context.team.members());
    const int64_t across = std::clamp(parts_of(parts_of(n_, kColumns), members) * members,
                                      int64_t{1}, std::max<int64_t>(1, parts_of(n_, gemm_.block)));
    blocks_.prepare(pads);
    for_pieces(args.context.team, down_ * across, [&](int64_t piece) {
      const Scratchpads::Use block(blocks_, pads);
      run_piece({a, b, count}, args.out[0].data, piece / across, piece % across, across,
                block.data());
    });
  }

 private:
  // The rows of a and b that are multiplied, in order.
  struct List {
    const void *const *a, *const *b;
    int64_t count;
  };

  int64_t list_rows(const KernelArgs& args, const void** a, const void** b) const {
    const auto bound = [&](const View& v, int64_t row, int64_t absent) {
      if (!v) return absent;
      return v.type->dtype == i32 ? int64_t{v.as<int32_t>()[row]} : v.as<int64_t>()[row];
    };
    int64_t count = 0;
    for (int64_t t = 0; t < steps_; ++t) {
      for (int64_t i = 0; i < rows_; ++i) {
        if (t < bound(args.in[2], i, 0) || t >= bound(args.in[3], i, steps_)) continue;
        const int64_t row = t * rows_ + i;
        a[count] = args.in[0].data + static_cast<size_t>(row * m_) * size_of(type_);
        b[count++] = args.in[1].data + static_cast<size_t>(row * n_) * size_of(type_);
      }
    }
    return count;
  }

  // A column of a is a line of each of its rows: too far apart for the machine to see them coming.
  void fetch(const void* const* a, int64_t first, int64_t depth, int64_t rows) const {
    constexpr size_t kLine = 64;
    for (int64_t i = 0; i < depth; ++i) {
      const auto* const from =
          static_cast<const std::byte*>(a[i]) + static_cast<size_t>(first) * size_of(type_);
      for (size_t at = 0; at < static_cast<size_t>(rows) * size_of(type_); at += kLine)
        __builtin_prefetch(from + at, 0, 2);
    }
  }

  void run_piece(const List& list, std::byte* y, int64_t down, int64_t part, int64_t across,
                 std::byte* block) const {
    const int64_t row = begin_of(down, down_, m_, 1);
    const int64_t rows = begin_of(down + 1, down_, m_, 1) - row;
    const int64_t column = begin_of(part, across, n_, gemm_.block);
    const int64_t columns = begin_of(part + 1, across, n_, gemm_.block) - column;
    if (rows == 0 || columns == 0) return;
    std::array<void*, kMostRows> to;
    for (int64_t r = 0; r < rows; ++r)
      to[static_cast<size_t>(r)] =
          y + static_cast<size_t>((row + r) * n_ + column) * size_of(type_);
    const int64_t blocks = std::max<int64_t>(1, parts_of(list.count, kDepth));
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t k = begin_of(i, blocks, list.count, 1);
      const int64_t depth = begin_of(i + 1, blocks, list.count, 1) - k;
      fetch(list.a + k, row, depth, rows);
      gemm_.pack_rows(list.b + k, column, depth, columns, block);
      GemmRows g{nullptr, 0, to.data(), i == 0 ? nullptr : to.data(), nullptr, rows};
      g.a_of_k = list.a + k;
      g.a_first = row;
      gemm_.run(g, depth, block, columns);
    }
  }

  DType type_;
  const RowGemm& gemm_;
  int64_t steps_, rows_, m_, n_;
  int64_t down_;  // pieces of m
  size_t list_bytes_;
  Scratchpads blocks_;  // of b
};

}  // namespace

void add_product_over_time(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.product_over_time",
       .op = "product_over_time",
       .note = "the recurrent engine's products, over the steps that rows run",
       .supports = [](const KernelCall& call) { return !is_half(call.in[0].dtype); },
       .prepare = [](const KernelCall& call) { return std::make_unique<ProductOverTime>(call); }});
}

}  // namespace rondo::cpu
