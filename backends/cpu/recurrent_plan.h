// What the recurrent engine knows of a call before it runs: its program, and where everything lies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rondo/backends/cpu/cell_program.h>
#include <rondo/backends/cpu/row_gemm.h>

namespace rondo::cpu {

/// Rows that one thread takes through time together, so that they share the reading of weights;
/// fewer where there are threads to spare. No row's bits depend on its neighbours.
inline constexpr int64_t kMostRows = 32, kFewestRows = 4;
/// Rows of products that need not be done step by step: so many share the reading of their matrix.
inline constexpr int64_t kRowsAhead = 64;
/// Threads that share the columns where there are fewer pieces than threads.
inline constexpr int kMostMembers = 8;

struct RecurrentPlan {
  RecurrentPlan(const KernelCall& call, CellProgram cell);

  CellProgram program;
  RecurrenceLayout layout;
  const RowGemm& gemm;
  size_t element;
  bool reverse;
  std::string title;  ///< for errors
  int64_t steps = 0, rows = 0;
  int64_t ahead = 1;                   ///< steps whose products are done together
  size_t step_bytes = 0;               ///< of the matrices that each step reads
  bool ends_are_own = false;           ///< see find_own_ends
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

  /// Where a state lies after the step.
  Place next_state(size_t i) const {
    return {.home = Place::Home::kNext,
            .index = i,
            .width = program.state_widths[i],
            .row = states[i].bytes};
  }
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
  void place_states(const KernelCall& call);
  void locate(const KernelCall& call, const std::vector<size_t>& buffers, Place& p) const;
  bool find_own_ends() const;
  size_t take(size_t bytes);
};

}  // namespace rondo::cpu
