#include <algorithm>
#include <cstring>

#include <rondo/backends/cpu/broadcast.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/spread.h>
#include <rondo/backends/cpu/tile_program.h>
#include <rondo/graph/op.h>
#include <rondo/ops/formula.h>

namespace rondo::cpu {
namespace {

constexpr size_t kMaxOperands = 16;
// Copies of broadcast operands, beside the program's own scratch, on the stack of whoever runs a
// piece.
constexpr size_t kFillBytes = 32 << 10;

// One op with a formula. Tiles of whole rows when rows are short, parts of a row when they are
// long; operands that are not laid out as the result are copied into tiles of their own first.
class Elementwise final : public PreparedKernel {
 public:
  Elementwise(TileProgram program, BroadcastPlan plan)
      : program_(std::move(program)), plan_(std::move(plan)) {
    int64_t tile = program_.tile();
    size_t bytes = 0;
    for (size_t i = 0; i < plan_.operands.size(); ++i) {
      if (!plan_.operands[i].direct) bytes += size_of(program_.input_type(i));
    }
    while (bytes * static_cast<size_t>(tile) > kFillBytes) tile /= 2;
    long_rows_ = plan_.row > tile;
    rows_per_tile_ = long_rows_ ? 1 : std::max<int64_t>(1, tile / std::max<int64_t>(1, plan_.row));
    tile_ = long_rows_ ? tile : rows_per_tile_ * plan_.row;
    tiles_per_row_ = long_rows_ ? (plan_.row + tile - 1) / tile : 1;
    tiles_ = long_rows_ ? plan_.count * tiles_per_row_
                        : (plan_.count + rows_per_tile_ - 1) / rows_per_tile_;
    if (plan_.row == 0) tiles_ = 0;
    tiles_per_piece_ =
        std::max<int64_t>(1, kPieceCost / std::max<int64_t>(1, program_.cost() * tile_));
    size_t at = 0;
    for (size_t i = 0; i < plan_.operands.size(); ++i) {
      fill_at_[i] = at;
      if (!plan_.operands[i].direct)
        at += align_up(size_of(program_.input_type(i)) * static_cast<size_t>(tile_));
    }
  }

  void run(const KernelArgs& args) const override {
    const int64_t pieces = (tiles_ + tiles_per_piece_ - 1) / tiles_per_piece_;
    for_pieces(args.context.team, pieces, [&](int64_t piece) { run_piece(args, piece); });
  }

 private:
  void run_piece(const KernelArgs& args, int64_t piece) const {
    alignas(64) std::byte scratch[TileProgram::kScratchBytes];
    alignas(64) std::byte fills[kFillBytes + 64 * kMaxOperands];
    TileProgram::Frame frame(program_, scratch);
    const size_t count = plan_.operands.size();
    for (size_t i = 0; i < count; ++i) {  // what is the same in all tiles
      const BroadcastPlan::Operand& o = plan_.operands[i];
      const size_t element = size_of(program_.input_type(i));
      std::byte* const fill = fills + fill_at_[i];
      if (o.scalar) {
        spread(fill, args.in[i].data, static_cast<size_t>(tile_), element);
      } else if (o.rows && !long_rows_) {
        const size_t bytes = static_cast<size_t>(plan_.row) * element;
        const int64_t rows = std::min(rows_per_tile_, plan_.count);
        for (int64_t r = 0; r < rows; ++r)
          std::memcpy(fill + static_cast<size_t>(r) * bytes, args.in[i].data, bytes);
      }
      frame.input(i, fill);
    }
    const size_t out_element = size_of(args.out[0].type->dtype);
    const int64_t end = std::min(tiles_, (piece + 1) * tiles_per_piece_);
    for (int64_t t = piece * tiles_per_piece_; t < end; ++t) {
      const int64_t first_row = long_rows_ ? t / tiles_per_row_ : t * rows_per_tile_;
      const int64_t column = long_rows_ ? t % tiles_per_row_ * tile_ : 0;
      const int64_t rows = long_rows_ ? 1 : std::min(rows_per_tile_, plan_.count - first_row);
      const int64_t n = long_rows_ ? std::min(tile_, plan_.row - column) : rows * plan_.row;
      for (size_t i = 0; i < count; ++i) {
        const BroadcastPlan::Operand& o = plan_.operands[i];
        const size_t element = size_of(program_.input_type(i));
        if (o.direct) {
          frame.input(
              i, args.in[i].data + static_cast<size_t>(first_row * plan_.row + column) * element);
        } else if (!o.scalar && (long_rows_ || !o.rows)) {
          frame.input(i, gather(o, args.in[i].data, element, fills + fill_at_[i], first_row, rows,
                                column, n));
        }
      }
      frame.output(
          0, args.out[0].data + static_cast<size_t>(first_row * plan_.row + column) * out_element);
      program_.run(frame, n);
    }
  }

  // An operand's elements for a tile: where they lie, when that is one stretch, else copied to
  // `fill` row by row.
  const std::byte* gather(const BroadcastPlan::Operand& o, const std::byte* data, size_t element,
                          std::byte* fill, int64_t first_row, int64_t rows, int64_t column,
                          int64_t n) const {
    RowCursor cursor(plan_, first_row);
    const bool stretch = o.strides[plan_.axes - 1] != 0;
    if (long_rows_) {
      const std::byte* const from =
          data + static_cast<size_t>(cursor.offset(o) + (stretch ? column : 0)) * element;
      if (stretch) return from;
      spread(fill, from, static_cast<size_t>(n), element);
      return fill;
    }
    const size_t bytes = static_cast<size_t>(plan_.row) * element;
    for (int64_t r = 0; r < rows; ++r, cursor.next()) {
      const std::byte* const from = data + static_cast<size_t>(cursor.offset(o)) * element;
      std::byte* const to = fill + static_cast<size_t>(r) * bytes;
      if (stretch) {
        std::memcpy(to, from, bytes);
      } else {
        spread(to, from, static_cast<size_t>(plan_.row), element);
      }
    }
    return fill;
  }

  TileProgram program_;
  BroadcastPlan plan_;
  bool long_rows_;
  int64_t tile_, rows_per_tile_, tiles_per_row_, tiles_, tiles_per_piece_;
  std::array<size_t, kMaxOperands> fill_at_{};
};

std::vector<DType> input_types(const KernelCall& call) {
  std::vector<DType> r;
  for (const TensorType& t : call.in) r.push_back(t.dtype);
  return r;
}

std::optional<BroadcastPlan> plan_of(const KernelCall& call) {
  if (call.in.empty() || call.in.size() > kMaxOperands) return std::nullopt;
  std::vector<Dims> dims;
  for (const TensorType& t : call.in) dims.push_back(t.dims);
  return plan_broadcast(call.out[0].dims, dims);
}

std::unique_ptr<PreparedKernel> prepare(const KernelCall& call, const Program& program) {
  return std::make_unique<Elementwise>(TileProgram(program, input_types(call), call.out[0].dtype),
                                       *plan_of(call));
}

// y = x, for ops that only repeat or convert.
Program identity() {
  Program p;
  p.inputs = 1;
  p.code.push_back({.fn = Fn::kInput, .input = 0});
  return p;
}

bool supports(const KernelCall& call, const Program& program) {
  return plan_of(call) && TileProgram(program, input_types(call), call.out[0].dtype).fits();
}

Kernel copy_row(std::string op) {
  return {.name = "cpu." + op,
          .op = op,
          .note = "SIMD tiles",
          .supports =
              [](const KernelCall& call) {
                // A program's booleans are 0 or 1 already; numbers are compared with 0 elsewhere.
                const bool truth = call.out[0].dtype == boolean && call.in[0].dtype != boolean;
                return !truth && supports(call, identity());
              },
          .prepare = [](const KernelCall& call) { return prepare(call, identity()); }};
}

// What tile programs have no numbers for: whole numbers, and truth of numbers. Tensor's own
// conversion, a piece at a time.
class Convert final : public PreparedKernel {
 public:
  void run(const KernelArgs& args) const override {
    constexpr int64_t kPiece = 1 << 13;
    const View &x = args.in[0], &y = args.out[0];
    for_pieces(args.context.team, (x.size() + kPiece - 1) / kPiece, [&](int64_t piece) {
      const int64_t from = piece * kPiece, n = std::min(kPiece, x.size() - from);
      const auto at = [from](const View& v) {
        return v.data + static_cast<size_t>(from) * size_of(v.type->dtype);
      };
      const Tensor t = Tensor::view(x.type->dtype, {n}, at(x)).to(y.type->dtype);
      std::memcpy(at(y), t.raw(), t.bytes());
    });
  }
};

Kernel cast_row() {
  const Kernel tiles = copy_row("cast");
  Kernel k = tiles;
  k.note = "SIMD tiles; whole numbers one by one";
  k.supports = nullptr;
  k.prepare = [tiles](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
    if (tiles.supports(call)) return tiles.prepare(call);
    return std::make_unique<Convert>();
  };
  return k;
}

}  // namespace

void add_elementwise(std::vector<Kernel>& rows) {
  rows.push_back({.name = "cpu.elementwise",
                  .op = "",
                  .note = "the formula over SIMD tiles that stay in L1",
                  .supports =
                      [](const KernelCall& call) {
                        return !call.node.op->formula.empty() &&
                               supports(call, program_of(*call.node.op, call.attributes));
                      },
                  .prepare =
                      [](const KernelCall& call) {
                        return prepare(call, program_of(*call.node.op, call.attributes));
                      }});
  rows.push_back(copy_row("broadcast_to"));
  rows.push_back(copy_row("stop_gradient"));
  rows.push_back(cast_row());
}

}  // namespace rondo::cpu
