#include <rondo/backends/cpu/epilogue.h>

#include <algorithm>
#include <cstring>

#include <rondo/backends/cpu/elementwise.h>
#include <rondo/backends/cpu/spread.h>

namespace rondo::cpu {
namespace {

// Copies of what is broadcast, beside the program's own scratch, on the stack of whoever runs a
// block.
constexpr size_t kFillBytes = 32 << 10;
// Shorter rows go through together: a vector is then repeated for each.
constexpr int64_t kShortRow = 128;

Dims leading(Dims d) {
  if (!d.empty()) d.pop_back();
  return d;
}

std::optional<BroadcastPlan> plan_rows(const FusedRegion& region, const KernelCall& call) {
  std::vector<BroadcastOperand> operands;
  for (const FusedView& v : region.views)
    operands.push_back({leading(v.operand == 0 ? call.out[0].dims : call.in[v.operand + 1].dims)});
  return plan_broadcast(leading(call.out[0].dims), operands);
}

}  // namespace

bool Epilogue::supports(const KernelCall& call) {
  const auto region = fused_region(call);
  // Blocks of the product are no columns of it.
  const bool whole =
      std::none_of(region->views.begin(), region->views.end(),
                   [](const FusedView& v) { return v.operand == 0 && v.width != 0; });
  return region->program != nullptr && whole && call.out[0].dims.size() >= 2 &&
         std::all_of(call.out.begin(), call.out.end(),
                     [&](const TensorType& t) { return t.dims == call.out[0].dims; }) &&
         (call.out[0].dims.size() <= kMaxAxes || plan_rows(*region, call));
}

Epilogue::Epilogue(const KernelCall& call) {
  if (call.node.body == nullptr) return;
  region_ = fused_region(call);
  rows_ = *plan_rows(*region_, call);
  const TileProgram& program = *region_->program;
  const Dims& y = call.out[0].dims;
  columns_ = y.back();
  const DType type = call.in[0].dtype;
  product_bytes_ = static_cast<size_t>(element_count(y)) * size_of(type);
  in_place_ = region_->last && call.out[region_->results[*region_->last]].dtype == type;
  if (in_place_) product_in_ = region_->results[*region_->last];
  size_t bytes = 0;  // an element of a tile, of all that may have to be spread out
  for (size_t i = 0; i < region_->views.size(); ++i) {
    const FusedView& v = region_->views[i];
    const Dims& d = v.operand == 0 ? y : call.in[v.operand + 1].dims;
    const int64_t width = d.empty() ? 1 : d.back();
    Input& in = inputs_.emplace_back(Input{v, size_of(program.input_type(i)), width});
    in.one = columns_ != 1 && (v.width != 0 ? v.width : width) == 1;
    if (v.operand != 0) bytes += in.element;
  }
  tile_ = program.tile();
  while (bytes * static_cast<size_t>(tile_) > kFillBytes) tile_ /= 2;
  size_t at = 0;
  for (Input& in : inputs_) {
    in.fill_at = at;
    if (in.view.operand != 0) at += align_up(in.element * static_cast<size_t>(tile_));
  }
}

// The tiles of rows in which each input's rows lie equally far apart.
class Epilogue::Tiles {
 public:
  Tiles(const Epilogue& e, const KernelArgs& args, const std::byte* product, std::byte* scratch,
        std::byte* fills)
      : e_(e),
        args_(args),
        product_(product),
        fills_(fills),
        frame_(*e.region_->program, scratch) {}

  void run(const ProductBlock& b) {
    const int64_t together = std::max<int64_t>(1, e_.rows_.row);
    for (int64_t row = b.row; row < b.row + b.rows;) {
      const int64_t end = std::min(b.row + b.rows, (row / together + 1) * together);
      const RowCursor cursor(e_.rows_, row / together);
      for (size_t i = 0; i < e_.inputs_.size(); ++i) {
        const BroadcastPlan::Operand& o = e_.rows_.operands[i];
        const int64_t step = o.strides[e_.rows_.axes - 1];
        begin(i, cursor.offset(o) + row % together * step, step);
      }
      const int64_t width = std::min(b.columns, e_.tile_);
      for (int64_t c = b.column; c < b.column + b.columns; c += width)
        run_columns(row, end - row, c, std::min(width, b.column + b.columns - c));
      row = end;
    }
  }

 private:
  struct Side {
    const std::byte* data;
    size_t step;  // bytes from row to row; 0: the same row
  };

  void begin(size_t i, int64_t row, int64_t step) {
    const Input& in = e_.inputs_[i];
    const std::byte* const data =
        in.view.operand == 0 ? product_ : args_.in[in.view.operand + 1].data;
    sides_[i] = {data + static_cast<size_t>(row * in.pitch + in.view.offset) * in.element,
                 static_cast<size_t>(step * in.pitch) * in.element};
  }

  // What does not change from tile to tile is spread out once.
  bool stays(size_t i, int64_t n) const {
    return sides_[i].step == 0 && (e_.inputs_[i].one || n <= kShortRow);
  }

  void run_columns(int64_t row, int64_t rows, int64_t column, int64_t n) {
    const int64_t most = std::max<int64_t>(1, e_.tile_ / n);
    for (size_t i = 0; i < e_.inputs_.size(); ++i) {
      if (stays(i, n)) spread_rows(i, 0, std::min(rows, most), column, n);
    }
    for (int64_t r = 0; r < rows; r += most) {
      const int64_t now = std::min(most, rows - r);
      for (size_t i = 0; i < e_.inputs_.size(); ++i) {
        if (stays(i, n)) continue;
        const Side& s = sides_[i];
        const Input& in = e_.inputs_[i];
        if (in.one) {
          spread_rows(i, r, now, column, n);
        } else {
          frame_.input(
              i,
              s.data + static_cast<size_t>(r) * s.step + static_cast<size_t>(column) * in.element,
              s.step);
        }
      }
      for (size_t k = 0; k < e_.region_->results.size(); ++k) {
        const View& y = args_.out[e_.region_->results[k]];
        const size_t element = size_of(y.type->dtype);
        frame_.output(k, y.data + static_cast<size_t>((row + r) * e_.columns_ + column) * element,
                      static_cast<size_t>(e_.columns_) * element);
      }
      e_.region_->program->run(frame_, n, now);
    }
  }

  // Whole rows one behind the other, as the program would make them.
  void spread_rows(size_t i, int64_t row, int64_t rows, int64_t column, int64_t n) {
    const Input& in = e_.inputs_[i];
    const Side& s = sides_[i];
    const size_t bytes = static_cast<size_t>(n) * in.element;
    std::byte* const to = fills_ + in.fill_at;
    for (int64_t r = 0; r < rows; ++r) {
      const std::byte* const from = s.data + static_cast<size_t>(row + r) * s.step;
      std::byte* const at = to + static_cast<size_t>(r) * bytes;
      if (in.one) {
        spread(at, from, static_cast<size_t>(n), in.element);
      } else {
        std::memcpy(at, from + static_cast<size_t>(column) * in.element, bytes);
      }
    }
    frame_.input(i, to, bytes);
  }

  const Epilogue& e_;
  const KernelArgs& args_;
  const std::byte* product_;
  std::byte* fills_;
  TileProgram::Frame frame_;
  std::array<Side, Elementwise::kMaxInputs> sides_;
};

void Epilogue::run(const KernelArgs& args, const std::byte* product, const ProductBlock& b) const {
  if (region_ == nullptr || b.rows == 0 || b.columns == 0) return;
  alignas(64) std::byte scratch[TileProgram::kScratchBytes];
  alignas(64) std::byte fills[kFillBytes + 64 * Elementwise::kMaxInputs];
  Tiles(*this, args, product, scratch, fills).run(b);
}

}  // namespace rondo::cpu
