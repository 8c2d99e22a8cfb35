// What the recurrent engine knows of a call before it runs: its program, and where everything lies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rondo/backends/cpu/cell_program.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/scratchpads.h>
#include <rondo/runtime/thread_team.h>

namespace rondo::cpu {

/// Rows that one thread takes through time together, so that they share the reading of weights:
/// kManyRows, kMostRows where a step's weights are more than a core's own cache holds, and fewer
/// where there are threads to spare. No row's bits depend on its neighbours.
inline constexpr int64_t kMostRows = 64, kManyRows = 32, kFewestRows = 4;
inline constexpr size_t kBytesBeyondCore = size_t{2} << 20;
/// Rows of products that need not be done step by step: so many share the reading of their matrix,
/// and more that of one that comes from memory each time.
inline constexpr int64_t kRowsAhead = 128, kMostRowsAhead = 256;
inline constexpr size_t kBytesFromMemory = size_t{8} << 20;
/// Steps of at least so many rows are added to the gradients of matrices at a time, while what they
/// gave is still in the cache.
inline constexpr int64_t kRowsToSum = 128;
/// Threads that share the columns where there are fewer pieces than threads.
inline constexpr int kMostMembers = Barrier::kMost;

struct RecurrentPlan {
  RecurrentPlan(const KernelCall& call, CellProgram cell);

  CellProgram program;
  RecurrenceLayout layout;
  const RowGemm& gemm;
  size_t element;
  bool reverse;
  std::string title;  ///< for errors
  int64_t steps = 0, rows = 0;
  int64_t most_rows = kManyRows;       ///< of a piece
  int64_t ahead = 1;                   ///< steps whose products are done together
  int64_t to_sum = 0;                  ///< steps that are added up together; 0: nothing is
  size_t step_bytes = 0;               ///< of the matrices that each step reads
  bool ends_are_own = false;           ///< see find_own_ends
  std::vector<int64_t> units;          ///< of each product, see unit_of
  std::vector<bool> step_xs, step_ys;  ///< what the groups of a step read and write
  std::vector<const CellProgram::Product*> products;
  std::vector<Packing> packings;  ///< of their matrices

  /// A state before and after the step lie apart, so that nothing is copied to make room: in its
  /// trajectory, where that is wanted and all rows run all steps, else in two places in turn.
  struct State {
    size_t bytes = 0;   ///< of a row
    size_t at[2] = {};  ///< in the workspace
    bool in_trajectory = false;
  };
  std::vector<State> states;
  bool windows = false;  ///< rows have steps of their own

  size_t workspace_bytes = 0;
  size_t scratch = 0, scratch_at = 0;  ///< of each piece: products and programs in turn
  /// What adds up rows: a list of them for each place they lie at, and a part of the second factor.
  std::optional<Scratchpads> sum_pads;
  size_t sum_pads_at = 0, list_bytes = 0, packed_at = 0;

  /// Where a state lies after the step.
  Place next_state(size_t i) const {
    return {.home = Place::Home::kNext,
            .index = i,
            .width = program.state_widths[i],
            .row = states[i].bytes};
  }
  /// A row of a place that is no state's at the time t.
  std::byte* at(const KernelArgs& args, const Place& p, int64_t t, int64_t row) const {
    std::byte* const base = p.home == Place::Home::kConstant ? const_cast<std::byte*>(p.constant)
                            : p.home == Place::Home::kY      ? args.out[p.index].data
                            : p.home == Place::Home::kBuffer ? args.workspace
                                                             : args.in[operand_of(p)].data;
    const int64_t time = p.home != Place::Home::kBuffer ? t : p.period > 1 ? t % p.period : 0;
    return base + p.offset + static_cast<size_t>(time) * p.step + static_cast<size_t>(row) * p.row;
  }
  /// The first step of a row, and the one behind its last.
  std::pair<int64_t, int64_t> window(const KernelArgs& args, int64_t row) const {
    const View &begin = args.in[layout.begin()], &end = args.in[layout.end()];
    const auto number = [&](const View& v) {
      return v.type->dtype == i32 ? int64_t{v.as<int32_t>()[row]} : v.as<int64_t>()[row];
    };
    return {begin ? number(begin) : 0, end ? number(end) : steps};
  }
  int64_t time_of(int64_t step) const { return reverse ? steps - 1 - step : step; }
  /// Which operand a place of a recurrence's input is.
  size_t operand_of(const Place& p) const;
  size_t size(const Place& p) const { return p.flags ? sizeof(bool) : element; }
  /// Whether an input of a group is one number a row, to be spread over its columns.
  static bool is_number(const CellProgram::Group& g, const Place& p) {
    return p.width == 1 && g.width != 1;
  }
  /// What a tile of such an input takes.
  size_t spread_bytes(const CellProgram::Group& g) const {
    return align_up(static_cast<size_t>(g.program->tile()) * element);
  }
  /// Whether threads that share columns can gain more than they lose by meeting.
  bool worth_sharing() const;

 private:
  void join_products();
  void place_states(const KernelCall& call);
  void place_sums();
  int64_t steps_kept(CellProgram::Kept k) const;
  void locate(const KernelCall& call, const std::vector<size_t>& buffers, Place& p) const;
  bool find_own_ends() const;
  int64_t unit_of(const CellProgram::Stage& stage, size_t move) const;
  size_t take(size_t bytes);
};

}  // namespace rondo::cpu
