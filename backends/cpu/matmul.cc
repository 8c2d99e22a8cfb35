#include <rondo/backends/cpu/matmul.h>

#include <algorithm>
#include <string>
#include <utility>

namespace rondo::cpu {
namespace {

constexpr int64_t kWidestTile = 512, kNarrowestTile = 128;  // columns
constexpr int64_t kSharingRows = 128;                       // with so many, reading b costs little
constexpr int64_t kEnoughTiles = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Length of each of the equal parts of `length`, none much longer than `want`.
int64_t part_of(int64_t length, int64_t want, int64_t grain) {
  const int64_t parts = std::max<int64_t>(1, ceil_div(length, want));
  return std::min(length, ceil_div(ceil_div(length, parts), grain) * grain);
}

}  // namespace

MatmulShape::MatmulShape(const KernelCall& call)
    : transpose_a(call.attributes.flag("transpose_a")),
      transpose_b(call.attributes.flag("transpose_b")) {
  const Dims &a = call.in[0].dims, &b = call.in[1].dims, &y = call.out[0].dims;
  const size_t rank = a.size();
  m = y[rank - 2];
  n = y[rank - 1];
  k = a[transpose_a ? rank - 2 : rank - 1];
  for (size_t i = 0; i + 2 < rank; ++i) batches *= a[i];
  if (b.size() == 2 && !transpose_a) {
    m *= batches;
    batches = 1;
  }
  a_step = m * k;
  b_step = b.size() == 2 ? 0 : k * n;
  y_step = m * n;
}

MatmulTiles::MatmulTiles(const MatmulShape& s, int64_t work, int64_t grain) {
  if (s.batches * s.m * s.n == 0) return;
  // A tile reads all of b's columns once: the longer they are, the more rows must share them.
  const int64_t least_rows = std::clamp(s.k / 4, grain, kSharingRows);
  columns = part_of(s.n, kWidestTile, grain);
  const int64_t row_work = columns * std::max<int64_t>(1, s.k);
  rows = part_of(s.m, std::max(least_rows, ceil_div(work, row_work)), grain);
  const auto tiles = [&] { return s.batches * ceil_div(s.m, rows) * ceil_div(s.n, columns); };
  if (const int64_t tile = rows * row_work; tile > 2 * work && tiles() < kEnoughTiles) {
    columns = part_of(s.n, std::max(kNarrowestTile, columns * work / tile), grain);
  }
  down = ceil_div(s.m, rows);
  across = ceil_div(s.n, columns);
  count = tiles();
}

MatmulTiles::Tile MatmulTiles::at(const MatmulShape& s, int64_t piece) const {
  Tile t{piece / (down * across), piece / across % down * rows, piece % across * columns, 0, 0};
  t.rows = std::min(rows, s.m - t.row);
  t.columns = std::min(columns, s.n - t.column);
  return t;
}

bool multiplies(const KernelCall& call, std::initializer_list<DType> types) {
  const DType t = call.in[0].dtype;
  return call.in[1].dtype == t && std::find(types.begin(), types.end(), t) != types.end();
}

void add_products(std::vector<Kernel>& rows, Kernel k) {
  constexpr std::string_view kAlone = "cpu.matmul.", kFollowed = "cpu.fused_matmul.";
  Kernel followed = k;
  followed.name = std::string(kFollowed) + k.name.substr(kAlone.size());
  followed.op = "fused_matmul";
  followed.supports = [product = k.supports](const KernelCall& call) {
    return product(call) && Epilogue::supports(call);
  };
  rows.push_back(std::move(k));
  rows.push_back(std::move(followed));
}

}  // namespace rondo::cpu
