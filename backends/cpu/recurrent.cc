// The recurrent engine: one driver for every cell whose body is products, elementwise work and
// reductions of a row. Rows are independent, so each piece of rows runs through all of time on one
// thread, without a barrier; a row costs only the steps of its own window. Where rows are fewer
// than threads, these share the columns and meet twice a step.
#include <algorithm>
#include <cstring>
#include <functional>
#include <span>

#include <rondo/backends/cpu/cell_program.h>
#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/spread.h>
#include <rondo/graph/op.h>
#include <rondo/ops/recurrence.h>

namespace rondo::cpu {
namespace {

using Home = Place::Home;

// Rows that one thread takes through time together, so that they share the reading of weights;
// fewer where there are threads to spare. No row's bits depend on its neighbours.
constexpr int64_t kMostRows = 32, kFewestRows = 4;
// Rows of products that need not be done step by step: so many share the reading of their matrix.
constexpr int64_t kRowsAhead = 64;
// Where there are fewer pieces than threads, the threads share the columns instead and meet twice a
// step: for matrices whose reading takes longer than that.
constexpr int64_t kMostMembers = 8;
constexpr size_t kBytesToShare = size_t{256} << 10;

// Gradients by way of weights in 8 bits would be those of another function; and sums of very many
// of their products would not fit 32 bits.
const RowGemm& gemm_for(const KernelCall& call, const CellProgram& program) {
  constexpr int64_t kLongestInt8 = 1 << 16;
  int64_t longest = 0;
  for (const CellProgram::Stage& s : program.stages) {
    for (const auto& m : s.moves) {
      if (const auto* p = std::get_if<CellProgram::Product>(&m)) longest = std::max(longest, p->k);
    }
  }
  const bool gradient = call.attributes.text("origin").find(".gradient") != std::string::npos;
  const bool full = call.precision == Precision::full || program.dtype != f32 ||
                    (call.precision == Precision::int8 && (gradient || longest > kLongestInt8));
  return full ? row_gemm(program.dtype) : row_gemm_low(call.precision);
}

class Recurrent final : public PreparedKernel {
 public:
  Recurrent(const KernelCall& call, CellProgram program)
      : program_(std::move(program)),
        layout_(call.node),
        gemm_(gemm_for(call, program_)),
        element_(size_of(program_.dtype)),
        reverse_(call.attributes.flag("reverse")),
        title_(title_of(call.node)) {
    const Dims extent = call.dims("extent");
    steps_ = extent[0];
    rows_ = extent[1];
    for (const CellProgram::Stage& s : program_.stages) {
      for (const auto& m : s.moves) {
        const auto* p = std::get_if<CellProgram::Product>(&m);
        if (p == nullptr) continue;
        products_.push_back(p);
        packings_.push_back({layout_.first_shared() + p->shared, gemm_.packed_bytes(p->k, p->n),
                             cat("rows.", name_of(gemm_.precision), gemm_.block, ".", p->k, "x",
                                 p->n, p->transposed ? "t" : "")});
        gemm_scratch_ =
            std::max(gemm_scratch_, align_up(gemm_.scratch_bytes(kRowsAhead + kMostRows, p->k)));
      }
      for (const auto& g : s.groups)
        scratch_ =
            std::max(scratch_, g.program->scratch_bytes() + spread_bytes(g) * g.inputs.size());
    }
    for (const int64_t w : program_.state_widths)
      states_.push_back(take(static_cast<size_t>(rows_ * w) * element_));
    const int64_t ahead = kRowsAhead / std::clamp<int64_t>(rows_, 1, kMostRows);
    ahead_ = std::clamp<int64_t>(ahead, 1, std::max<int64_t>(1, steps_));
    for (size_t i = 0; i < program_.buffers.size(); ++i) {
      const int64_t steps = program_.ahead[i] ? ahead_ : 1;
      buffers_.push_back(take(static_cast<size_t>(steps * rows_ * program_.buffers[i]) * element_));
    }
    program_.for_each_place([&](Place& p) { locate(call, p); });
    scratch_ = std::max(align_up(scratch_), gemm_scratch_);  // of products and programs in turn
    for (const CellProgram::Product* p : products_) {
      if (p->when == CellProgram::Product::When::kInStep)
        step_bytes_ += gemm_.packed_bytes(p->k, p->n);
    }
    const int64_t pieces = parts_of(rows_, kFewestRows);
    const bool shared = step_bytes_ >= kBytesToShare && pieces < kMostMembers;
    scratch_at_ = take(scratch_ * static_cast<size_t>(shared ? kMostMembers : pieces));
    ends_are_own_ = find_own_ends();
    step_xs_.assign(layout_.xs, false);
    step_ys_.assign(layout_.ys, false);
    for (const CellProgram::Stage& s : program_.stages) {
      for (const CellProgram::Group& g : s.groups) {
        for (const Place& p : g.inputs) {
          if (p.home == Home::kX) step_xs_[p.index] = true;
        }
        for (const Place& p : g.outputs) {
          if (p.home == Home::kY) step_ys_[p.index] = true;
        }
      }
    }
  }

  size_t workspace_bytes() const override { return bytes_; }
  std::string note() const override {
    return gemm_.precision == Precision::full ? "" : cat("weights in ", name_of(gemm_.precision));
  }
  std::span<const Packing> packings() const override { return packings_; }
  void pack(size_t i, const View& from, std::byte* to) const override {
    const CellProgram::Product& p = *products_[i];
    gemm_.pack(from.data, p.transposed ? p.k : p.n, p.k, p.n, p.transposed, to);
  }

  void run(const KernelArgs& args) const override {
    for (size_t i = 0; i < states_.size(); ++i)
      std::memcpy(args.workspace + states_[i], args.in[i].data, args.call.in[i].bytes());
    for (const CellProgram::Sum& sum : program_.sums)
      std::memset(args.workspace + sum.row.offset, 0, static_cast<size_t>(rows_) * sum.row.row);
    run_rows(args);
    for (const CellProgram::Sum& sum : program_.sums) {
      std::byte* const to = args.out[layout_.sum_of(sum.index)].data;
      const std::byte* const from = args.workspace + sum.row.offset;
      program_.dtype == f64 ? add_rows<double>(sum, from, to) : add_rows<float>(sum, from, to);
    }
    for (size_t i = 0; i < layout_.states; ++i) {
      const View& f = args.out[layout_.final_of(i)];
      if (f) std::memcpy(f.data, args.workspace + states_[i], args.call.in[i].bytes());
    }
  }

 private:
  // The rows' own sums, in the order of rows.
  template <class T>
  void add_rows(const CellProgram::Sum& sum, const std::byte* from, std::byte* to) const {
    row_ops<T>().sum.columns(reinterpret_cast<const T*>(from), rows_, sum.row.width, sum.row.width,
                             reinterpret_cast<T*>(to));
  }

  void run_rows(const KernelArgs& args) const {
    ThreadTeam& team = args.context.team;
    const auto members = static_cast<int>(std::min<int64_t>(team.members(), kMostMembers));
    if (step_bytes_ >= kBytesToShare && parts_of(rows_, kFewestRows) < members) {
      Barrier barrier(members);
      const auto work = [&](int m) {
        Piece(*this, args, m, 0, rows_, {m, members, &barrier}).run();
      };
      return team.together(members, std::ref(work));  // not copied: a stream allocates nothing
    }
    const int64_t each = std::clamp(parts_of(rows_, team.size()), kFewestRows, kMostRows);
    const int64_t pieces = parts_of(rows_, each);
    for_pieces(team, pieces, [&](int64_t piece) {
      const int64_t first = rows_ * piece / pieces;
      Piece(*this, args, piece, first, rows_ * (piece + 1) / pieces - first, {}).run();
    });
  }

  // Whether each member that shares columns has itself computed what its part of the next states
  // and of the results comes from, and nobody else reads it in the last groups.
  bool find_own_ends() const {
    if (program_.stages.empty()) return false;
    const auto& groups = program_.stages.back().groups;
    const auto same = [](const Place& a, const Place& b) {
      return a.home == b.home && a.index == b.index && a.column == b.column && a.width == b.width;
    };
    for (const CellProgram::Group& g : groups) {
      for (const Place& p : g.inputs) {
        if (p.home == Home::kState &&
            (p.column != 0 || is_number(g, p) || p.width != program_.state_widths[p.index]))
          return false;
      }
    }
    const auto own = [&](const Place& p) {
      if (p.home == Home::kConstant) return true;
      return std::any_of(groups.begin(), groups.end(), [&](const CellProgram::Group& g) {
        return g.width == p.width && std::any_of(g.outputs.begin(), g.outputs.end(),
                                                 [&](const Place& o) { return same(o, p); });
      });
    };
    return std::all_of(program_.next.begin(), program_.next.end(), own) &&
           std::all_of(program_.ends.begin(), program_.ends.end(),
                       [&](const CellProgram::Copy& c) { return own(c.from); });
  }

  // What a tile of an input that is one number a row takes.
  size_t spread_bytes(const CellProgram::Group& g) const {
    return align_up(static_cast<size_t>(g.program->tile()) * element_);
  }
  static bool is_number(const CellProgram::Group& g, const Place& p) {
    return p.width == 1 && g.width != 1;
  }
  size_t size(const Place& p) const { return p.flags ? sizeof(bool) : element_; }
  size_t operand_of(const Place& p) const {
    return p.index + (p.home == Home::kX        ? layout_.first_x()
                      : p.home == Home::kPerRow ? layout_.first_per_row()
                                                : layout_.first_shared());
  }
  // Where a place lies from step to step and from row to row.
  void locate(const KernelCall& call, Place& p) const {
    const auto rows_of = [&](const TensorType& t) {
      return static_cast<size_t>(t.dims.back()) * size(p);
    };
    p.offset = static_cast<size_t>(p.column) * size(p);
    switch (p.home) {
      case Home::kX:
        p.row = rows_of(call.in[operand_of(p)]);
        break;
      case Home::kY:
        p.row = rows_of(call.out[p.index]);
        break;
      case Home::kPerRow:
        p.row = rows_of(call.in[operand_of(p)]);
        return;
      case Home::kState:
        p.row = static_cast<size_t>(program_.state_widths[p.index]) * size(p);
        p.offset += states_[p.index];
        return;
      case Home::kBuffer:
        p.row = static_cast<size_t>(program_.buffers[p.index]) * element_;
        p.offset += buffers_[p.index];
        if (!program_.ahead[p.index]) return;
        break;
      default:
        return;
    }
    p.step = p.row * static_cast<size_t>(rows_);
  }
  static int64_t parts_of(int64_t length, int64_t most) { return (length + most - 1) / most; }
  size_t take(size_t n) {
    const size_t at = bytes_;
    bytes_ += align_up(n);
    return at;
  }

  // Who works on the columns of a piece, and where they wait for each other.
  struct Share {
    int member = 0, members = 1;
    Barrier* barrier = nullptr;

    struct Columns {
      int64_t begin, end;
      int64_t count() const { return end - begin; }
    };
    Columns of(int64_t width, int64_t grain) const {
      const auto at = [&](int m) {
        return std::min(width, (width * m / members + grain - 1) / grain * grain);
      };
      return {at(member), member + 1 == members ? width : at(member + 1)};
    }
    void meet() const {
      if (barrier != nullptr) barrier->wait();
    }
  };
  static constexpr int64_t kGrain = 16;  // columns: what a line of cache holds

  // Some rows, through all of time.
  class Piece {
   public:
    Piece(const Recurrent& k, const KernelArgs& args, int64_t piece, int64_t first, int64_t count,
          const Share& share)
        : k_(k),
          share_(share),
          args_(args),
          scratch_(args.workspace + k.scratch_at_ + k.scratch_ * static_cast<size_t>(piece)),
          first_(first),
          count_(count) {}

    void run() {
      read_windows();
      for (int64_t s = 0; s < k_.steps_; s += k_.ahead_) {
        const int64_t end = std::min(k_.steps_, s + k_.ahead_);
        multiply_together(When::kBefore, s, end);
        share_.meet();
        for (int64_t i = s; i < end; ++i) {
          begin_step(i);
          if (active_count_ < count_ && share_.member == 0) clear_idle_rows();
          if (active_count_ > 0) step();
        }
        multiply_together(When::kAfter, s, end);
      }
    }

   private:
    using When = CellProgram::Product::When;

    // The time of the step, and the rows that run at it.
    void begin_step(int64_t s) {
      t_ = k_.reverse_ ? k_.steps_ - 1 - s : s;
      active_count_ = 0;
      for (int64_t r = 0; r < count_; ++r) {
        if (t_ >= begin_[r] && t_ < end_[r]) active_[active_count_++] = first_ + r;
      }
    }

    // The products that are done for many steps at once, for the steps [from, end).
    void multiply_together(When when, int64_t from, int64_t end) {
      for (const CellProgram::Product* p : k_.products_) {
        if (p->when != when) continue;
        Rows rows;
        for (int64_t s = from; s < end; ++s) {
          begin_step(s);
          add_rows(*p, rows);
        }
        multiply(*p, rows);
      }
    }

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

    // A row of a place at this step.
    std::byte* at(const Place& p, int64_t row) const {
      std::byte* const base = p.home == Home::kConstant ? const_cast<std::byte*>(p.constant)
                              : p.home == Home::kY      ? args_.out[p.index].data
                              : p.home == Home::kState || p.home == Home::kBuffer
                                  ? args_.workspace
                                  : args_.in[k_.operand_of(p)].data;
      const int64_t time = p.home == Home::kBuffer ? t_ % k_.ahead_ : t_;
      return base + p.offset + static_cast<size_t>(time) * p.step +
             static_cast<size_t>(row) * p.row;
    }
    std::byte* state(size_t i, int64_t row) const {
      return args_.workspace + k_.states_[i] +
             static_cast<size_t>(row * k_.program_.state_widths[i]) * k_.element_;
    }

    // A member's columns.
    void copy(const Place& from, const Place& to) const {
      const auto c = share_.of(to.width, kGrain);
      const size_t skip = static_cast<size_t>(c.begin) * k_.size(to);
      for (int64_t i = 0; i < active_count_; ++i)
        std::memcpy(at(to, active_[i]) + skip, at(from, active_[i]) + skip,
                    static_cast<size_t>(c.count()) * k_.size(to));
    }

    // What the groups of this step write and the next step reads arrives while products run.
    void fetch_ahead() const {
      const auto rows = [&](const View& v, int64_t t, auto touch) {
        if (!v || t < 0 || t >= k_.steps_) return;
        constexpr size_t kLine = 64;
        const size_t row = row_bytes(*v.type, 2);
        const std::byte* const from = v.data + static_cast<size_t>(t * k_.rows_ + first_) * row;
        for (size_t at = 0; at < row * static_cast<size_t>(count_); at += kLine) touch(from + at);
      };
      const RecurrenceLayout& l = k_.layout_;
      const int64_t next = k_.reverse_ ? t_ - 1 : t_ + 1;
      for (size_t i = 0; i < l.xs; ++i) {
        if (k_.step_xs_[i])
          rows(args_.in[l.first_x() + i], next, [](const void* p) { __builtin_prefetch(p, 0, 2); });
      }
      for (size_t i = 0; i < l.ys; ++i) {
        if (k_.step_ys_[i])
          rows(args_.out[i], t_, [](const void* p) { __builtin_prefetch(p, 1, 2); });
      }
    }

    void step() {
      if (share_.members == 1) fetch_ahead();
      for (size_t s = 0; s < k_.layout_.states; ++s) {
        const View& v = args_.out[k_.layout_.trajectory_of(s)];
        const auto row = static_cast<size_t>(k_.program_.state_widths[s]) * k_.element_;
        const auto c = share_.of(k_.program_.state_widths[s], kGrain);
        const size_t skip = static_cast<size_t>(c.begin) * k_.element_;
        for (int64_t i = 0; v && i < active_count_; ++i) {
          std::memcpy(v.data + static_cast<size_t>(t_ * k_.rows_ + active_[i]) * row + skip,
                      state(s, active_[i]) + skip, static_cast<size_t>(c.count()) * k_.element_);
        }
      }
      for (const CellProgram::Stage& s : k_.program_.stages) {
        for (const auto& m : s.moves) move(m);
        for (const CellProgram::Group& g : s.groups) evaluate(g);
        if (!s.groups.empty() && (&s != &k_.program_.stages.back() || !k_.ends_are_own_))
          share_.meet();
      }
      for (const CellProgram::Copy& c : k_.program_.ends) copy(c.from, c.to);
      if (!k_.ends_are_own_) share_.meet();  // a result may show a state that is overwritten now
      for (size_t s = 0; s < k_.layout_.states; ++s) {
        const Place& p = k_.program_.next[s];
        if (p.home == Home::kState) continue;
        const auto c = share_.of(p.width, kGrain);
        const size_t skip = static_cast<size_t>(c.begin) * k_.element_;
        for (int64_t i = 0; i < active_count_; ++i)
          std::memcpy(state(s, active_[i]) + skip, at(p, active_[i]) + skip,
                      static_cast<size_t>(c.count()) * k_.element_);
      }
      share_.meet();
    }

    // Later ones may read what it gives.
    void move(const std::variant<CellProgram::Copy, CellProgram::Product, CellProgram::Reduction>&
                  m) const {
      if (const auto* p = std::get_if<CellProgram::Product>(&m)) {
        if (p->when != When::kInStep) return;
        Rows rows;
        add_rows(*p, rows);
        multiply(*p, rows);
      } else if (const auto* c = std::get_if<CellProgram::Copy>(&m)) {
        copy(c->from, c->to);
      } else if (share_.member == 0) {
        const auto& r = std::get<CellProgram::Reduction>(m);
        for (int64_t i = 0; i < active_count_; ++i)
          r.run(at(r.from, active_[i]), r.from.width, at(r.y, active_[i]));
      }
      share_.meet();
    }

    struct Rows {
      static constexpr int64_t kMost = kRowsAhead + kMostRows;
      const void *a[kMost], *c[kMost];
      void* y[kMost];
      int64_t count = 0;
    };
    // With the columns that are this member's.
    void add_rows(const CellProgram::Product& p, Rows& rows) const {
      const size_t skip = static_cast<size_t>(share_.of(p.n, k_.gemm_.block).begin) * k_.element_;
      for (int64_t i = 0; i < active_count_; ++i, ++rows.count) {
        rows.a[rows.count] = at(p.a, active_[i]);
        rows.y[rows.count] = at(p.y, active_[i]) + skip;
        if (p.c) rows.c[rows.count] = at(*p.c, active_[i]) + skip;
      }
    }
    void multiply(const CellProgram::Product& p, const Rows& rows) const {
      const auto c = share_.of(p.n, k_.gemm_.block);
      if (rows.count == 0 || c.count() == 0) return;
      const size_t skip = static_cast<size_t>(c.begin) * k_.element_;
      const std::byte* const packed =
          args_.packed[p.index] + k_.gemm_.packed_bytes(p.k, k_.gemm_.block) *
                                      static_cast<size_t>(c.begin / k_.gemm_.block);
      k_.gemm_.run({rows.a, 1, rows.y, p.c ? rows.c : nullptr,
                    p.bias ? at(*p.bias, 0) + skip : nullptr, rows.count, scratch_, t_ % 2 != 0},
                   p.k, packed, c.count());
    }

    // Rows that follow each other go through the program together, as many as fit a tile.
    void evaluate(const CellProgram::Group& g) const {
      TileProgram::Frame frame(*g.program, scratch_);
      const auto columns = share_.of(g.width, kGrain);
      if (columns.count() == 0) return;
      const int64_t tile = g.program->tile(), width = std::min(tile, columns.count());
      for (int64_t i = 0; i < active_count_;) {
        int64_t rows = 1;
        while (i + rows < active_count_ && active_[i + rows] == active_[i] + rows &&
               (rows + 1) * columns.count() <= tile)
          ++rows;
        for (size_t k = 0; k < g.inputs.size(); ++k) {
          if (k_.is_number(g, g.inputs[k])) spread_number(g, k, frame, active_[i], rows, width);
        }
        for (int64_t c = columns.begin; c < columns.end; c += width) {
          const auto from = [&](const Place& p) {
            return at(p, active_[i]) + static_cast<size_t>(c) * k_.size(p);
          };
          for (size_t k = 0; k < g.inputs.size(); ++k) {
            const Place& p = g.inputs[k];
            if (!k_.is_number(g, p)) frame.input(k, from(p), p.row);
          }
          for (size_t k = 0; k < g.outputs.size(); ++k)
            frame.output(k, from(g.outputs[k]), g.outputs[k].row);
          g.program->run(frame, std::min(width, columns.end - c), rows);
        }
        i += rows;
      }
    }

    // One number of each row, as wide as the group's columns.
    void spread_number(const CellProgram::Group& g, size_t k, TileProgram::Frame& frame,
                       int64_t first, int64_t rows, int64_t width) const {
      const Place& p = g.inputs[k];
      std::byte* const to = scratch_ + g.program->scratch_bytes() + k * k_.spread_bytes(g);
      const size_t row = static_cast<size_t>(width) * k_.size(p);
      for (int64_t r = 0; r < rows; ++r)
        spread(to + static_cast<size_t>(r) * row, at(p, first + r), static_cast<size_t>(width),
               k_.size(p));
      frame.input(k, to, row);
    }

    const Recurrent& k_;
    Share share_;
    const KernelArgs& args_;
    std::byte* scratch_;
    int64_t first_, count_;
    int64_t t_ = 0;
    int64_t begin_[kMostRows] = {}, end_[kMostRows] = {};
    int64_t active_[kMostRows] = {};
    int64_t active_count_ = 0;
  };

  CellProgram program_;
  RecurrenceLayout layout_;
  const RowGemm& gemm_;
  size_t element_;
  bool reverse_;
  std::string title_;  // for errors
  int64_t steps_ = 0, rows_ = 0;
  int64_t ahead_ = 1;      // steps whose products are done together
  size_t step_bytes_ = 0;  // of the matrices that each step reads
  bool ends_are_own_ = false;
  std::vector<bool> step_xs_, step_ys_;  // what the groups of a step read and write
  size_t bytes_ = 0, scratch_ = 0, gemm_scratch_ = 0, scratch_at_ = 0;
  std::vector<const CellProgram::Product*> products_;
  std::vector<Packing> packings_;  // of their matrices
  std::vector<size_t> states_, buffers_;
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
           }});
}

}  // namespace rondo::cpu
