#include <rondo/backends/cpu/elementwise.h>

#include <algorithm>
#include <cstring>

#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/spread.h>
#include <rondo/graph/op.h>
#include <rondo/ops/formula.h>

namespace rondo::cpu {
namespace {

// Copies of broadcast operands, beside the program's own scratch, on the stack of whoever runs a
// piece.
constexpr size_t kFillBytes = 32 << 10;
// Rows of parts of an operand are read where they lie from this length on.
constexpr int64_t kLongPart = 128;

}  // namespace

Elementwise::Elementwise(TileProgram program, BroadcastPlan plan,
                         std::vector<ElementwiseInput> inputs, std::vector<size_t> results)
    : program_(std::move(program)),
      plan_(std::move(plan)),
      inputs_(std::move(inputs)),
      results_(std::move(results)) {
  int64_t tile = program_.tile();
  size_t bytes = 0;
  bool parts = false;
  for (size_t i = 0; i < plan_.operands.size(); ++i) {
    const BroadcastPlan::Operand& o = plan_.operands[i];
    if (!o.direct) bytes += size_of(program_.input_type(i));
    parts = parts || (!o.direct && !o.scalar && !o.rows);
  }
  while (bytes * static_cast<size_t>(tile) > kFillBytes) tile /= 2;
  long_rows_ = plan_.row > tile || (parts && plan_.row >= kLongPart);
  if (long_rows_) tile = std::min(tile, plan_.row);
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

void Elementwise::run(const KernelArgs& args) const {
  const int64_t pieces = (tiles_ + tiles_per_piece_ - 1) / tiles_per_piece_;
  for_pieces(args.context.team, pieces, [&](int64_t piece) { run_piece(args, piece); });
}

void Elementwise::run_piece(const KernelArgs& args, int64_t piece) const {
  alignas(64) std::byte scratch[TileProgram::kScratchBytes];
  alignas(64) std::byte fills[kFillBytes + 64 * kMaxInputs];
  TileProgram::Frame frame(program_, scratch);
  const size_t count = plan_.operands.size();
  const auto data = [&](size_t i) {
    return args.in[inputs_[i].operand].data +
           static_cast<size_t>(inputs_[i].offset) * size_of(program_.input_type(i));
  };
  for (size_t i = 0; i < count; ++i) {  // what is the same in all tiles
    const BroadcastPlan::Operand& o = plan_.operands[i];
    const size_t element = size_of(program_.input_type(i));
    std::byte* const fill = fills + fill_at_[i];
    if (o.scalar) {
      spread(fill, data(i), static_cast<size_t>(tile_), element);
    } else if (o.rows && !long_rows_) {
      const size_t bytes = static_cast<size_t>(plan_.row) * element;
      const int64_t rows = std::min(rows_per_tile_, plan_.count);
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(fill + static_cast<size_t>(r) * bytes, data(i), bytes);
    }
    frame.input(i, fill);
  }
  const int64_t end = std::min(tiles_, (piece + 1) * tiles_per_piece_);
  for (int64_t t = piece * tiles_per_piece_; t < end; ++t) {
    const int64_t first_row = long_rows_ ? t / tiles_per_row_ : t * rows_per_tile_;
    const int64_t column = long_rows_ ? t % tiles_per_row_ * tile_ : 0;
    const int64_t rows = long_rows_ ? 1 : std::min(rows_per_tile_, plan_.count - first_row);
    const int64_t n = long_rows_ ? std::min(tile_, plan_.row - column) : rows * plan_.row;
    const auto first = static_cast<size_t>(first_row * plan_.row + column);
    for (size_t i = 0; i < count; ++i) {
      const BroadcastPlan::Operand& o = plan_.operands[i];
      const size_t element = size_of(program_.input_type(i));
      if (o.direct) {
        frame.input(i, data(i) + first * element);
      } else if (!o.scalar && (long_rows_ || !o.rows)) {
        frame.input(i,
                    gather(o, data(i), element, fills + fill_at_[i], first_row, rows, column, n));
      }
    }
    for (size_t k = 0; k < results_.size(); ++k) {
      const View& y = args.out[results_[k]];
      frame.output(k, y.data + first * size_of(y.type->dtype));
    }
    program_.run(frame, n);
  }
}

// An operand's elements for a tile: where they lie, when that is one stretch, else copied to `fill`
// row by row.
const std::byte* Elementwise::gather(const BroadcastPlan::Operand& o, const std::byte* data,
                                     size_t element, std::byte* fill, int64_t first_row,
                                     int64_t rows, int64_t column, int64_t n) const {
  RowCursor cursor(plan_, first_row);
  const int64_t stride = o.strides[plan_.axes - 1];
  const int64_t length = long_rows_ ? n : plan_.row;
  for (int64_t r = 0; r < rows; ++r, cursor.next()) {
    const std::byte* const from =
        data + static_cast<size_t>(cursor.offset(o) + column * stride) * element;
    if (long_rows_ && stride == 1) return from;
    std::byte* const to = fill + static_cast<size_t>(r * length) * element;
    if (stride == 0) {
      spread(to, from, static_cast<size_t>(length), element);
    } else if (stride == 1) {
      std::memcpy(to, from, static_cast<size_t>(length) * element);
    } else {  // one column of each row of an operand
      for (int64_t i = 0; i < length; ++i)
        std::memcpy(to + static_cast<size_t>(i) * element,
                    from + static_cast<size_t>(i * stride) * element, element);
    }
  }
  return fill;
}

namespace {

std::vector<DType> input_types(const KernelCall& call) {
  std::vector<DType> r;
  for (const TensorType& t : call.in) r.push_back(t.dtype);
  return r;
}

std::optional<BroadcastPlan> plan_of(const KernelCall& call) {
  std::vector<BroadcastOperand> operands;
  operands.reserve(call.in.size());
  for (const TensorType& t : call.in) operands.push_back({t.dims});
  return plan_broadcast(call.out[0].dims, operands);
}

// The program of an op that only repeats or converts: y = x.
struct Identity {
  static Program of(const KernelCall&) {
    return {.code = {{.fn = Fn::kInput, .input = 0}}, .inputs = 1};
  }
};
// That of one with a formula.
struct Formula {
  static Program of(const KernelCall& call) { return program_of(*call.node.op, call.attributes); }
};

// Programs do not depend on sizes; numbers among attributes are never bound.
template <class Kind>
struct Tiles {
  TileProgram program;

  static std::shared_ptr<const TileProgram> of(const KernelCall& call) {
    const auto tiles = call.once<Tiles>(
        [&] { return Tiles{TileProgram(Kind::of(call), input_types(call), call.out[0].dtype)}; });
    return {tiles, &tiles->program};
  }
};

template <class Kind>
bool supports(const KernelCall& call) {
  return !call.in.empty() && call.in.size() <= Elementwise::kMaxInputs &&
         (call.out[0].dims.size() <= kMaxAxes || plan_of(call)) && Tiles<Kind>::of(call)->fits();
}

template <class Kind>
std::unique_ptr<PreparedKernel> prepare(const KernelCall& call) {
  std::vector<ElementwiseInput> inputs;
  for (size_t i = 0; i < call.in.size(); ++i) inputs.push_back({i, 0});
  return std::make_unique<Elementwise>(*Tiles<Kind>::of(call), *plan_of(call), std::move(inputs),
                                       std::vector<size_t>{0});
}

Kernel copy_row(std::string op) {
  return {.name = "cpu." + op,
          .op = op,
          .note = "SIMD tiles",
          .supports =
              [](const KernelCall& call) {
                // A program's booleans are 0 or 1 already; numbers are compared with 0 elsewhere.
                const bool truth = call.out[0].dtype == boolean && call.in[0].dtype != boolean;
                return !truth && supports<Identity>(call);
              },
          .prepare = prepare<Identity>};
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
      convert_elements(x.type->dtype, at(x), y.type->dtype, at(y), n);
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
                        return !call.node.op->formula.empty() && supports<Formula>(call);
                      },
                  .prepare = prepare<Formula>});
  rows.push_back(copy_row("broadcast_to"));
  rows.push_back(copy_row("stop_gradient"));
  rows.push_back(cast_row());
}

}  // namespace rondo::cpu
