// The recurrent engine: one driver for every cell whose body is products and elementwise work.
// Weights are packed once a run; rows are independent, so each piece of rows runs through all of
// time on one thread, without a barrier; a row costs only the steps of its own window.
#include <algorithm>
#include <cstring>
#include <span>

#include <rondo/backends/cpu/cell_program.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/op.h>
#include <rondo/ops/recurrence.h>

namespace rondo::cpu {
namespace {

using Home = Place::Home;

// Rows that one thread takes through time: by shape alone, so that bits do not depend on the team.
constexpr int64_t kPieceRows = 8;

class Recurrent final : public PreparedKernel {
 public:
  Recurrent(const KernelCall& call, CellProgram program)
      : program_(std::move(program)),
        layout_(call.node),
        gemm_(row_gemm(program_.dtype)),
        element_(size_of(program_.dtype)),
        reverse_(call.attributes.flag("reverse")),
        title_(title_of(call.node)) {
    const Dims extent = call.dims("extent");
    steps_ = extent[0];
    rows_ = extent[1];
    pieces_ = (rows_ + kPieceRows - 1) / kPieceRows;
    for (const CellProgram::Stage& s : program_.stages) {
      for (const auto& m : s.moves) {
        const auto* p = std::get_if<CellProgram::Product>(&m);
        if (p == nullptr) continue;
        products_.push_back(p);
        offsets_.push_back(take(gemm_.packed_bytes(p->k, p->n, program_.dtype)));
      }
      for (const auto& g : s.groups) scratch_ = std::max(scratch_, g.program->scratch_bytes());
    }
    for (const int64_t w : program_.state_widths)
      states_.push_back(take(static_cast<size_t>(rows_ * w) * element_));
    // Each piece's own memory follows.
    local_at_ = bytes_;
    size_t local = 0;
    for (const int64_t w : program_.buffers) {
      buffers_.push_back(local);
      local += align_up(static_cast<size_t>(kPieceRows * w) * element_);
    }
    scratch_at_ = local;
    local_ = local + align_up(scratch_);
    bytes_ += local_ * static_cast<size_t>(pieces_);
  }

  size_t workspace_bytes() const override { return bytes_; }

  void run(const KernelArgs& args) const override {
    for (size_t i = 0; i < products_.size(); ++i) {
      const CellProgram::Product& p = *products_[i];
      gemm_.pack(args.in[layout_.first_shared() + p.shared].data, p.k, p.n, p.transposed,
                 args.workspace + offsets_[i]);
    }
    for (size_t i = 0; i < states_.size(); ++i)
      std::memcpy(args.workspace + states_[i], args.in[i].data, args.call.in[i].bytes());
    for_pieces(args.context.team, pieces_, [&](int64_t piece) { Piece(*this, args, piece).run(); });
    for (size_t i = 0; i < layout_.states; ++i) {
      const View& f = args.out[layout_.final_of(i)];
      if (f) std::memcpy(f.data, args.workspace + states_[i], args.call.in[i].bytes());
    }
  }

 private:
  size_t take(size_t n) {
    const size_t at = bytes_;
    bytes_ += align_up(n);
    return at;
  }

  // Some rows, through all of time.
  class Piece {
   public:
    Piece(const Recurrent& k, const KernelArgs& args, int64_t piece)
        : k_(k),
          args_(args),
          local_(args.workspace + k.local_at_ + k.local_ * static_cast<size_t>(piece)),
          first_(piece * kPieceRows),
          count_(std::min(kPieceRows, k.rows_ - first_)) {}

    void run() {
      read_windows();
      for (int64_t s = 0; s < k_.steps_; ++s) {
        t_ = k_.reverse_ ? k_.steps_ - 1 - s : s;
        active_count_ = 0;
        for (int64_t r = 0; r < count_; ++r) {
          if (t_ >= begin_[r] && t_ < end_[r]) active_[active_count_++] = first_ + r;
        }
        if (active_count_ < count_) clear_idle_rows();
        if (active_count_ > 0) step();
      }
    }

   private:
    static int64_t number_at(const View& v, int64_t i) {
      return v.type->dtype == i32 ? v.as<int32_t>()[i] : v.as<int64_t>()[i];
    }

    void read_windows() {
      const View &b = args_.in[k_.layout_.begin()], &e = args_.in[k_.layout_.end()];
      for (int64_t r = 0; r < count_; ++r) {
        begin_[r] = b ? number_at(b, first_ + r) : 0;
        end_[r] = e ? number_at(e, first_ + r) : k_.steps_;
        if (begin_[r] < 0 || end_[r] > k_.steps_ || begin_[r] > end_[r]) {
          fail(Fault::kArgument, "recurrence.window.range", "[", k_.title_, "] row ", first_ + r,
               " runs steps [", begin_[r], ", ", end_[r], "), which do not lie in [0, ", k_.steps_,
               "]");
        }
      }
    }

    // Results of rows that do not run at this step are 0.
    void clear_idle_rows() {
      for (int64_t r = 0; r < count_; ++r) {
        if (t_ >= begin_[r] && t_ < end_[r]) continue;
        const auto clear = [&](const View& v) {
          if (!v) return;
          const size_t row = row_bytes(*v.type, 2);
          std::memset(v.data + static_cast<size_t>(t_ * k_.rows_ + first_ + r) * row, 0, row);
        };
        for (size_t i = 0; i < k_.layout_.ys; ++i) clear(args_.out[i]);
        for (size_t i = 0; i < k_.layout_.states; ++i)
          clear(args_.out[k_.layout_.trajectory_of(i)]);
      }
    }

    static size_t row_bytes(const TensorType& t, size_t axes_before) {
      size_t n = size_of(t.dtype);
      for (size_t a = axes_before; a < t.dims.size(); ++a) n *= static_cast<size_t>(t.dims[a]);
      return n;
    }

    size_t size(const Place& p) const { return p.flags ? sizeof(bool) : k_.element_; }

    // Row `i` of the active ones in a place.
    std::byte* at(const Place& p, int64_t i) const {
      const int64_t row = active_[i];
      const size_t column = static_cast<size_t>(p.column) * size(p);
      const auto slice = [&](const View& v) {
        return v.data + static_cast<size_t>(t_ * k_.rows_ + row) * row_bytes(*v.type, 2) + column;
      };
      const RecurrenceLayout& l = k_.layout_;
      switch (p.home) {
        case Home::kX:
          return slice(args_.in[l.first_x() + p.index]);
        case Home::kY:
          return slice(args_.out[p.index]);
        case Home::kState:
          return state(p.index, row) + column;
        case Home::kPerRow:
          return args_.in[l.first_per_row() + p.index].data +
                 static_cast<size_t>(row) *
                     row_bytes(args_.call.in[l.first_per_row() + p.index], 1) +
                 column;
        case Home::kShared:
          return args_.in[l.first_shared() + p.index].data + column;
        case Home::kConstant:
          return const_cast<std::byte*>(p.constant) + column;
        default:
          return local_ + k_.buffers_[p.index] +
                 static_cast<size_t>(i * k_.program_.buffers[p.index]) * k_.element_ + column;
      }
    }
    std::byte* state(size_t i, int64_t row) const {
      return args_.workspace + k_.states_[i] +
             static_cast<size_t>(row * k_.program_.state_widths[i]) * k_.element_;
    }

    void copy(const Place& from, const Place& to) const {
      for (int64_t i = 0; i < active_count_; ++i)
        std::memcpy(at(to, i), at(from, i), static_cast<size_t>(to.width) * size(to));
    }

    void step() {
      for (size_t s = 0; s < k_.layout_.states; ++s) {
        const View& v = args_.out[k_.layout_.trajectory_of(s)];
        const auto row = static_cast<size_t>(k_.program_.state_widths[s]) * k_.element_;
        for (int64_t i = 0; v && i < active_count_; ++i) {
          std::memcpy(v.data + static_cast<size_t>(t_ * k_.rows_ + active_[i]) * row,
                      state(s, active_[i]), row);
        }
      }
      size_t product = 0;
      for (const CellProgram::Stage& s : k_.program_.stages) {
        for (const auto& m : s.moves) {
          if (const auto* c = std::get_if<CellProgram::Copy>(&m)) {
            copy(c->from, c->to);
          } else {
            multiply(std::get<CellProgram::Product>(m), k_.offsets_[product++]);
          }
        }
        for (const CellProgram::Group& g : s.groups) evaluate(g);
      }
      for (const CellProgram::Copy& c : k_.program_.ends) copy(c.from, c.to);
      for (size_t s = 0; s < k_.layout_.states; ++s) {
        const Place& p = k_.program_.next[s];
        if (p.home != Home::kState) copy(p, Place{Home::kState, s, 0, p.width, nullptr});
      }
    }

    void multiply(const CellProgram::Product& p, size_t packed) const {
      const void* a[kPieceRows];
      void* y[kPieceRows];
      for (int64_t i = 0; i < active_count_; ++i) {
        a[i] = at(p.a, i);
        y[i] = at(p.y, i);
      }
      k_.gemm_.run(a, active_count_, p.k, args_.workspace + packed, p.n, y);
    }

    void evaluate(const CellProgram::Group& g) const {
      TileProgram::Frame frame(*g.program, local_ + k_.scratch_at_);
      const int64_t tile = g.program->tile();
      for (int64_t i = 0; i < active_count_; ++i) {
        for (int64_t c = 0; c < g.width; c += tile) {
          const auto from = [&](const Place& p) {
            return at(p, i) + static_cast<size_t>(c) * size(p);
          };
          for (size_t k = 0; k < g.inputs.size(); ++k) frame.input(k, from(g.inputs[k]));
          for (size_t k = 0; k < g.outputs.size(); ++k) frame.output(k, from(g.outputs[k]));
          g.program->run(frame, std::min(tile, g.width - c));
        }
      }
    }

    const Recurrent& k_;
    const KernelArgs& args_;
    std::byte* local_;
    int64_t first_, count_;
    int64_t t_ = 0;
    int64_t begin_[kPieceRows] = {}, end_[kPieceRows] = {};
    int64_t active_[kPieceRows] = {};
    int64_t active_count_ = 0;
  };

  CellProgram program_;
  RecurrenceLayout layout_;
  const RowGemm& gemm_;
  size_t element_;
  bool reverse_;
  std::string title_;  // for errors
  int64_t steps_ = 0, rows_ = 0, pieces_ = 0;
  size_t bytes_ = 0, local_at_ = 0, local_ = 0, scratch_ = 0, scratch_at_ = 0;
  std::vector<const CellProgram::Product*> products_;
  std::vector<size_t> offsets_, states_, buffers_;
};

}  // namespace

void add_recurrent(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.recurrence.engine",
       .op = "recurrence",
       .note =
           "products with packed weights and fused elementwise programs, rows split over threads",
       .supports = [](const KernelCall& call) { return CellProgram::compile(call).has_value(); },
       .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
         return std::make_unique<Recurrent>(call, *CellProgram::compile(call));
       },
       .cost = 1,
       .why_not =
           [](const KernelCall& call) {
             std::string why;
             CellProgram::compile(call, &why);
             return why;
           },
       .packs = true});
}

}  // namespace rondo::cpu
