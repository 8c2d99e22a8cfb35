#include <rondo/backends/cpu/recurrent_piece.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include <rondo/backends/cpu/spread.h>

namespace rondo::cpu {
namespace {

using Home = Place::Home;

constexpr int64_t kGrain = 16;  // columns: what a line of cache holds

size_t row_bytes(const TensorType& t, size_t axes_before) {
  size_t n = size_of(t.dtype);
  for (size_t a = axes_before; a < t.dims.size(); ++a) n *= static_cast<size_t>(t.dims[a]);
  return n;
}

}  // namespace

// A row of a place at this step.
inline std::byte* RecurrentPiece::at(const Place& p, int64_t row) const {
  if (p.home == Home::kState || p.home == Home::kNext) {
    const int64_t after = p.home == Home::kNext ? 1 : 0;
    if (plan_.windows || p.index >= kStatesAtHand)
      return state(p.index, row, s_ + after, done(row) + after) + p.offset;
    return (after != 0 ? next_ : now_)[p.index] + static_cast<size_t>(row) * p.row + p.offset;
  }
  return plan_.at(args_, p, t_, row);
}

RecurrentPiece::Share::Columns RecurrentPiece::Share::part_of(int64_t width, int64_t grain) const {
  const auto at = [&](int m) {
    return std::min(width, (width * m / members + grain - 1) / grain * grain);
  };
  return {at(member), member + 1 == members ? width : at(member + 1)};
}

RecurrentPiece::RecurrentPiece(const RecurrentPlan& plan, const KernelArgs& args, int64_t scratch,
                               int64_t first, int64_t count, const Share& share)
    : plan_(plan),
      args_(args),
      share_(share),
      scratch_(args.workspace + plan.scratch_at + plan.scratch * static_cast<size_t>(scratch)),
      first_(first),
      count_(count) {}

void RecurrentPiece::run(Steps steps) {
  read_windows();
  if (steps.from == 0) begin_states();
  // Who follows, or is followed, goes half as far at once: the others wait for that.
  const bool waited_for = args_.leader != nullptr || args_.progress != nullptr;
  const int64_t at_once = waited_for ? (plan_.ahead + 1) / 2 : plan_.ahead;
  for (int64_t s = steps.from; s < steps.end; s += at_once) {
    const int64_t end = std::min(steps.end, s + at_once);
    if (args_.leader != nullptr) args_.leader->await(end);
    multiply_together(When::kBefore, s, end);
    share_.meet();
    for (int64_t i = s; i < end; ++i) {
      begin_step(i);
      if (active_count_ < count_ && share_.member == 0) clear_idle_rows();
      if (active_count_ > 0) step();
    }
    multiply_together(When::kAfter, s, end);
    if (args_.progress != nullptr) args_.progress->reach(end);
  }
  if (steps.end == plan_.steps) end_states();
}

void RecurrentPiece::read_windows() {
  for (int64_t r = 0; r < count_; ++r) {
    std::tie(begin_[r], end_[r]) = plan_.window(args_, first_ + r);
    if (begin_[r] < 0 || end_[r] > plan_.steps || begin_[r] > end_[r]) {
      fail(Fault::kArgument, "recurrence.window.range", "[", plan_.title, "] row ", first_ + r,
           " runs steps [", begin_[r], ", ", end_[r], "), which do not lie in [0, ", plan_.steps,
           "]");
    }
  }
}

// Results of rows that do not run at this step are 0.
void RecurrentPiece::clear_idle_rows() {
  for (int64_t r = 0; r < count_; ++r) {
    if (t_ >= begin_[r] && t_ < end_[r]) continue;
    const auto clear = [&](const View& v) {
      if (!v) return;
      const size_t row = row_bytes(*v.type, 2);
      std::memset(v.data + static_cast<size_t>(t_ * plan_.rows + first_ + r) * row, 0, row);
    };
    for (size_t i = 0; i < plan_.layout.ys; ++i) clear(args_.out[i]);
    for (size_t i = 0; i < plan_.layout.states; ++i)
      clear(args_.out[plan_.layout.trajectory_of(i)]);
  }
}

std::byte* RecurrentPiece::state(size_t i, int64_t row, int64_t loop_steps,
                                 int64_t row_steps) const {
  const RecurrentPlan::State& s = plan_.states[i];
  const auto skip = static_cast<size_t>(row) * s.bytes;
  if (!s.in_trajectory) return args_.workspace + s.at[row_steps & 1] + skip;
  if (loop_steps == plan_.steps) return args_.workspace + s.at[0] + skip;
  const auto before = static_cast<size_t>(plan_.time_of(loop_steps) * plan_.rows) * s.bytes;
  return args_.out[plan_.layout.trajectory_of(i)].data + before + skip;
}

void RecurrentPiece::begin_states() {
  if (share_.member == 0) {
    for (size_t i = 0; i < plan_.layout.states; ++i) {
      const size_t row = plan_.states[i].bytes;
      for (int64_t r = first_; r < first_ + count_; ++r)
        std::memcpy(state(i, r, 0, 0), args_.in[i].data + static_cast<size_t>(r) * row, row);
    }
  }
  share_.meet();
}

void RecurrentPiece::end_states() {
  if (share_.member != 0) return;
  for (size_t i = 0; i < plan_.layout.states; ++i) {
    const View& last = args_.out[plan_.layout.final_of(i)];
    const size_t row = plan_.states[i].bytes;
    for (int64_t r = 0; last && r < count_; ++r)
      std::memcpy(last.data + static_cast<size_t>(first_ + r) * row,
                  state(i, first_ + r, plan_.steps, end_[r] - begin_[r]), row);
  }
}

// The time of the step, and the rows that run at it.
void RecurrentPiece::begin_step(int64_t s) {
  s_ = s;
  t_ = plan_.time_of(s);
  active_count_ = 0;
  for (int64_t r = 0; r < count_; ++r) {
    if (t_ >= begin_[r] && t_ < end_[r]) active_[active_count_++] = first_ + r;
  }
}

void RecurrentPiece::step() {
  if (!plan_.windows) {
    for (size_t i = 0; i < std::min(plan_.layout.states, kStatesAtHand); ++i) {
      now_[i] = state(i, 0, s_, s_);
      next_[i] = state(i, 0, s_ + 1, s_ + 1);
    }
  }
  if (share_.members == 1) fetch_ahead();
  keep_trajectories();
  for (const CellProgram::Stage& s : plan_.program.stages) {
    for (const auto& m : s.moves) move(m);
    for (const CellProgram::Group& g : s.groups) evaluate(g);
    if (!s.groups.empty() && (&s != &plan_.program.stages.back() || !plan_.ends_are_own))
      share_.meet();
  }
  for (const CellProgram::Copy& c : plan_.program.ends) copy(c.from, c.to);
  for (size_t i = 0; i < plan_.layout.states; ++i) {
    const Place& from = plan_.program.next[i];
    if (!plan_.program.is_in_place(i)) copy(from, plan_.next_state(i));
  }
  share_.meet();
}

// A member's columns.
void RecurrentPiece::copy(const Place& from, const Place& to) const {
  const auto c = share_.of(to.width, kGrain);
  const size_t skip = static_cast<size_t>(c.begin) * plan_.size(to);
  for (int64_t i = 0; i < active_count_; ++i)
    std::memcpy(at(to, active_[i]) + skip, at(from, active_[i]) + skip,
                static_cast<size_t>(c.count()) * plan_.size(to));
}

// Of states that do not lie there already.
void RecurrentPiece::keep_trajectories() const {
  for (size_t s = 0; s < plan_.layout.states; ++s) {
    const View& v = args_.out[plan_.layout.trajectory_of(s)];
    if (!v || plan_.states[s].in_trajectory) continue;
    const size_t row = plan_.states[s].bytes;
    const auto c = share_.of(plan_.program.state_widths[s], kGrain);
    const size_t skip = static_cast<size_t>(c.begin) * plan_.element;
    for (int64_t i = 0; i < active_count_; ++i) {
      std::memcpy(v.data + static_cast<size_t>(t_ * plan_.rows + active_[i]) * row + skip,
                  state(s, active_[i], s_, done(active_[i])) + skip,
                  static_cast<size_t>(c.count()) * plan_.element);
    }
  }
}

// What the groups of this step write and the next step reads arrives while products run.
void RecurrentPiece::fetch_ahead() const {
  const auto rows = [&](const View& v, int64_t t, auto touch) {
    if (!v || t < 0 || t >= plan_.steps) return;
    constexpr size_t kLine = 64;
    const size_t row = row_bytes(*v.type, 2);
    const std::byte* const from = v.data + static_cast<size_t>(t * plan_.rows + first_) * row;
    for (size_t at = 0; at < row * static_cast<size_t>(count_); at += kLine) touch(from + at);
  };
  const RecurrenceLayout& l = plan_.layout;
  const int64_t next = plan_.reverse ? t_ - 1 : t_ + 1;
  for (size_t i = 0; i < l.xs; ++i) {
    if (plan_.step_xs[i])
      rows(args_.in[l.first_x() + i], next, [](const void* p) { __builtin_prefetch(p, 0, 2); });
  }
  for (size_t i = 0; i < l.ys; ++i) {
    if (plan_.step_ys[i])
      rows(args_.out[i], t_, [](const void* p) { __builtin_prefetch(p, 1, 2); });
  }
}

struct RecurrentPiece::Rows {
  static constexpr int64_t kMost = kMostRowsAhead;
  const void *a[kMost], *c[kMost], *begins[kMost];
  void* y[kMost];
  int64_t count = 0;

  // To other columns of what is written, and of what that begins with.
  void move(int64_t bytes, bool begins_with_rows) {
    for (int64_t i = 0; i < count && bytes != 0; ++i) {
      y[i] = static_cast<std::byte*>(y[i]) + bytes;
      if (begins_with_rows) c[i] = static_cast<const std::byte*>(c[i]) + bytes;
    }
  }
};

// The products that are done for many steps at once, for the steps [from, end).
void RecurrentPiece::multiply_together(When when, int64_t from, int64_t end) {
  for (const CellProgram::Product* p : plan_.products) {
    if (p->when != when) continue;
    Rows rows;
    for (int64_t s = from; s < end; ++s) {
      begin_step(s);
      add_rows(*p, rows);
    }
    multiply(*p, rows);
  }
}

// Later ones may read what it gives.
void RecurrentPiece::move(
    const std::variant<CellProgram::Copy, CellProgram::Product, CellProgram::Reduction>& m) const {
  if (const auto* p = std::get_if<CellProgram::Product>(&m)) {
    if (p->when != When::kInStep) return;
    Rows rows;
    add_rows(*p, rows);
    multiply(*p, rows);
    if (own_unit(*p) != 0) return;
  } else if (const auto* c = std::get_if<CellProgram::Copy>(&m)) {
    copy(c->from, c->to);
  } else if (share_.member == 0) {
    const auto& r = std::get<CellProgram::Reduction>(m);
    for (int64_t i = 0; i < active_count_; ++i)
      r.run(at(r.from, active_[i]), r.from.width, at(r.y, active_[i]));
  }
  share_.meet();
}

void RecurrentPiece::add_rows(const CellProgram::Product& p, Rows& rows) const {
  for (int64_t i = 0; i < active_count_; ++i, ++rows.count) {
    rows.a[rows.count] = at(p.a, active_[i]);
    rows.y[rows.count] = at(p.y, active_[i]);
    if (p.c) rows.c[rows.count] = at(*p.c, active_[i]);
    if (p.begins != nullptr) rows.begins[rows.count] = at(p.begins->a, active_[i]);
  }
}

// The width of the gates of which each member multiplies, and then reads, columns of its own; 0
// where members read each other's. Products and groups must cut a gate at the same columns, and few
// rows want pairs of blocks. In fewer bits a gate alone is not worth narrowing the rows again.
int64_t RecurrentPiece::own_unit(const CellProgram::Product& p) const {
  if (share_.members == 1 || plan_.gemm.precision != Precision::full) return 0;
  const int64_t unit = plan_.units[p.index];
  return unit % (std::max(2 * plan_.gemm.block, kGrain) * share_.members) == 0 ? unit : 0;
}

// The columns that are this member's, of each gate or of all.
void RecurrentPiece::multiply(const CellProgram::Product& p, Rows& rows) const {
  const int64_t own = own_unit(p), unit = own != 0 ? own : p.n;
  const auto columns = share_.of(unit, plan_.gemm.block);
  if (rows.count == 0 || columns.count() == 0) return;
  // Few rows wait for the matrix: of what the step before read last some is in the cache.
  constexpr int64_t kFewRows = 8;
  const bool back = rows.count <= kFewRows && t_ % 2 != 0;
  GemmRows g{rows.a, 1, rows.y, p.c ? rows.c : nullptr, nullptr, rows.count, scratch_, back};
  if (p.begins != nullptr) {
    g.first = rows.begins;
    g.first_k = p.begins->k;
  }
  const int64_t gates = p.n / unit;
  int64_t at_column = 0;  // that the rows point at
  for (int64_t i = 0; i < gates; ++i) {
    const int64_t column = (back ? gates - 1 - i : i) * unit + columns.begin;
    const auto packed = [&](const CellProgram::Product& of) {
      return args_.packed[of.index] + plan_.gemm.packed_bytes(of.k, plan_.gemm.block) *
                                          static_cast<size_t>(column / plan_.gemm.block);
    };
    rows.move((column - at_column) * static_cast<int64_t>(plan_.element), p.c.has_value());
    at_column = column;
    if (p.bias) g.bias = at(*p.bias, 0) + static_cast<size_t>(column) * plan_.element;
    if (p.begins != nullptr) g.first_packed = packed(*p.begins);
    plan_.gemm.run(g, p.k, packed(p), columns.count());
  }
}

// Rows that follow each other go through the program together, as many as fit a tile.
void RecurrentPiece::evaluate(const CellProgram::Group& g) const {
  TileProgram::Frame frame(*g.program, scratch_);
  const auto columns = share_.of(g.width, kGrain);
  if (columns.count() == 0) return;
  const int64_t tile = g.program->tile(), width = std::min(tile, columns.count());
  for (int64_t i = 0; i < active_count_;) {
    int64_t rows = 1;
    while (i + rows < active_count_ && follows(active_[i], active_[i + rows], rows) &&
           (rows + 1) * columns.count() <= tile)
      ++rows;
    for (size_t k = 0; k < g.inputs.size(); ++k) {
      if (RecurrentPlan::is_number(g, g.inputs[k]))
        spread_number(g, k, frame, active_[i], rows, width);
    }
    for (int64_t c = columns.begin; c < columns.end; c += width) {
      const auto from = [&](const Place& p) {
        return at(p, active_[i]) + static_cast<size_t>(c) * plan_.size(p);
      };
      for (size_t k = 0; k < g.inputs.size(); ++k) {
        const Place& p = g.inputs[k];
        if (!RecurrentPlan::is_number(g, p)) frame.input(k, from(p), p.row);
      }
      for (size_t k = 0; k < g.outputs.size(); ++k)
        frame.output(k, from(g.outputs[k]), g.outputs[k].row);
      g.program->run(frame, std::min(width, columns.end - c), rows);
    }
    i += rows;
  }
}

// One number of each row, as wide as the group's columns.
void RecurrentPiece::spread_number(const CellProgram::Group& g, size_t k, TileProgram::Frame& frame,
                                   int64_t first, int64_t rows, int64_t width) const {
  const Place& p = g.inputs[k];
  std::byte* const to = scratch_ + g.program->scratch_bytes() + k * plan_.spread_bytes(g);
  const size_t row = static_cast<size_t>(width) * plan_.size(p);
  for (int64_t r = 0; r < rows; ++r)
    spread(to + static_cast<size_t>(r) * row, at(p, first + r), static_cast<size_t>(width),
           plan_.size(p));
  frame.input(k, to, row);
}

}  // namespace rondo::cpu
