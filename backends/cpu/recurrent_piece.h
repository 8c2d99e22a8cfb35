// Some rows of a recurrence, through all of time, on one thread or on several that share the
// columns.
#pragma once

#include <cstdint>

#include <rondo/backends/cpu/recurrent_plan.h>
#include <rondo/runtime/thread_team.h>

namespace rondo::cpu {

class RecurrentPiece {
 public:
  /// Who works on the columns of a piece, and where they wait for each other.
  struct Share {
    int member = 0, members = 1;
    Barrier* barrier = nullptr;

    struct Columns {
      int64_t begin, end;
      int64_t count() const { return end - begin; }
    };
    /// The member's part of so many columns, in multiples of `grain`.
    Columns of(int64_t width, int64_t grain) const {
      return members == 1 ? Columns{0, width} : part_of(width, grain);
    }
    Columns part_of(int64_t width, int64_t grain) const;
    void meet() const {
      if (barrier != nullptr) barrier->wait(member);
    }
  };

  /// The rows [first, first + count), at most kMostRows where they are not all; `scratch`: which of
  /// the workspace's.
  RecurrentPiece(const RecurrentPlan& plan, const KernelArgs& args, int64_t scratch, int64_t first,
                 int64_t count, const Share& share);
  void run(Steps steps);

 private:
  using When = CellProgram::Product::When;
  struct Rows;

  void read_windows();
  void begin_states();
  void end_states();
  void begin_step(int64_t s);
  void step();
  void clear_idle_rows();
  void keep_trajectories() const;
  void fetch_ahead() const;
  void copy(const Place& from, const Place& to) const;
  void move(
      const std::variant<CellProgram::Copy, CellProgram::Product, CellProgram::Reduction>& m) const;
  void multiply_together(When when, int64_t from, int64_t end);
  void add_rows(const CellProgram::Product& p, Rows& rows) const;
  void multiply(const CellProgram::Product& p, Rows& rows) const;
  int64_t own_unit(const CellProgram::Product& p) const;
  void evaluate(const CellProgram::Group& g) const;
  void spread_number(const CellProgram::Group& g, size_t k, TileProgram::Frame& frame,
                     int64_t first, int64_t rows, int64_t width) const;

  [[gnu::always_inline]] std::byte* at(const Place& p, int64_t row) const;
  // A row of a state after so many steps of the loop (where it lies in its trajectory) and of the
  // row itself (where not).
  std::byte* state(size_t i, int64_t row, int64_t loop_steps, int64_t row_steps) const;
  // Steps that a row has done before the present one.
  int64_t done(int64_t row) const {
    if (!plan_.windows) return s_;
    const int64_t r = row - first_;
    return plan_.reverse ? end_[r] - 1 - t_ : t_ - begin_[r];
  }
  // Whether a row's places all lie as many rows after another's.
  bool follows(int64_t row, int64_t other, int64_t rows) const {
    return other == row + rows && (!plan_.windows || (done(other) - done(row)) % 2 == 0);
  }

  const RecurrentPlan& plan_;
  const KernelArgs& args_;
  Share share_;
  std::byte* scratch_;
  int64_t first_, count_;
  int64_t s_ = 0, t_ = 0;  // the step, and its time
  // Where row 0 of the first states lies before and after it, where that is the same for all rows.
  static constexpr size_t kStatesAtHand = 4;
  std::byte *now_[kStatesAtHand], *next_[kStatesAtHand];
  int64_t begin_[kMostRows], end_[kMostRows];  // of each row
  int64_t active_[kMostRows];                  // the rows that run at the step
  int64_t active_count_ = 0;
};

}  // namespace rondo::cpu
