#include <rondo/backends/cpu/outer_products.h>

#include <algorithm>
#include <array>

namespace rondo::cpu {
namespace {

// A block of b, kDepth x kColumns, stays in the second cache, and what a tile reads of it in the
// first.
constexpr int64_t kDepth = 128, kColumns = 1024, kMostRows = 1024;

}  // namespace

size_t OuterProducts::scratch_bytes(DType type, int64_t rows, int64_t columns) {
  return row_gemm(type).packed_bytes(std::min(rows, kDepth), std::min(columns, kColumns));
}

// A column of a is a line of each of its rows: too far apart for the machine to see them coming.
void OuterProducts::fetch(const OuterTerm& t, int64_t row, int64_t depth) const {
  constexpr size_t kLine = 64;
  for (int64_t i = 0; i < depth; ++i) {
    const auto* const from =
        static_cast<const std::byte*>(t.a[row + i]) + static_cast<size_t>(t.first) * size_of(type);
    for (size_t at = 0; at < static_cast<size_t>(t.count) * size_of(type); at += kLine)
      __builtin_prefetch(from + at, 0, 2);
  }
}

void OuterProducts::run(std::span<const OuterTerm> terms, int64_t column, int64_t columns,
                        std::byte* scratch) const {
  const RowGemm& gemm = row_gemm(type);
  const int64_t across = parts_of(columns, kColumns);
  const int64_t blocks = std::max<int64_t>(1, parts_of(rows, kDepth));
  std::array<void*, kMostRows> to;
  for (int64_t part = 0; part < across; ++part) {
    const int64_t begin = column + begin_of(part, across, columns, gemm.block);
    const int64_t width = column + begin_of(part + 1, across, columns, gemm.block) - begin;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t row = begin_of(i, blocks, rows, 1);
      const int64_t depth = begin_of(i + 1, blocks, rows, 1) - row;
      gemm.pack_rows(b + row, begin, depth, width, scratch);
      for (const OuterTerm& t : terms) {
        fetch(t, row, depth);
        for (int64_t done = 0; done < t.count; done += kMostRows) {
          const int64_t count = std::min(kMostRows, t.count - done);
          for (int64_t r = 0; r < count; ++r)
            to[static_cast<size_t>(r)] =
                t.y + static_cast<size_t>((done + r) * n + begin) * size_of(type);
          GemmRows g{nullptr, 0, to.data(), i == 0 && !t.add ? nullptr : to.data(), nullptr, count};
          g.a_of_k = t.a + row;
          g.a_first = t.first + done;
          gemm.run(g, depth, scratch, width);
        }
      }
    }
  }
}

}  // namespace rondo::cpu
