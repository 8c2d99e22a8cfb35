#include <rondo/backends/cpu/recurrent_plan.h>

#include <algorithm>

#include <rondo/backends/cpu/outer_products.h>
#include <rondo/graph/op.h>

namespace rondo::cpu {
namespace {

using Home = Place::Home;
using Kept = CellProgram::Kept;

// Threads share columns for matrices whose reading takes longer than meeting.
constexpr size_t kBytesToShare = size_t{256} << 10;

// A product of so few numbers for each sum takes longer to bring its sums back and forth than to
// make them: it is not done ahead, but goes before the one that it is added to.
constexpr int64_t kShortProduct = 32;

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

}  // namespace

RecurrentPlan::RecurrentPlan(const KernelCall& call, CellProgram cell)
    : program(std::move(cell)),
      layout(call.node),
      gemm(gemm_for(call, program)),
      element(size_of(program.dtype)),
      reverse(call.attributes.flag("reverse")),
      title(title_of(call.node)) {
  const Dims extent = call.dims("extent");
  steps = extent[0];
  rows = extent[1];
  windows = call.in[layout.begin()].present || call.in[layout.end()].present;
  join_products();
  size_t gemm_scratch = 0, largest = 0;
  step_xs.assign(layout.xs, false);
  step_ys.assign(layout.ys, false);
  for (const CellProgram::Stage& s : program.stages) {
    for (const auto& m : s.moves) {
      const auto* p = std::get_if<CellProgram::Product>(&m);
      if (p == nullptr) continue;
      products.push_back(p);
      const size_t bytes = gemm.packed_bytes(p->k, p->n);
      packings.push_back({layout.first_shared() + p->shared, bytes,
                          cat("rows.", name_of(gemm.precision), gemm.block, ".", p->k, "x", p->n,
                              p->transposed ? "t" : "")});
      using When = CellProgram::Product::When;
      const bool in_step = p->when == When::kInStep || p->when == When::kJoined;
      in_step ? void(step_bytes += bytes) : void(largest = std::max(largest, bytes));
    }
    for (const CellProgram::Group& g : s.groups) {
      scratch = std::max(scratch, g.program->scratch_bytes() + spread_bytes(g) * g.inputs.size());
      for (const Place& p : g.inputs) {
        if (p.home == Home::kX) step_xs[p.index] = true;
      }
      for (const Place& p : g.outputs) {
        if (p.home == Home::kY) step_ys[p.index] = true;
      }
    }
  }
  const bool from_memory = largest >= kBytesFromMemory;
  if (step_bytes > kBytesBeyondCore) most_rows = kMostRows;
  const int64_t piece = std::clamp<int64_t>(rows, 1, most_rows);
  int64_t most = (from_memory ? kMostRowsAhead : kRowsAhead) / piece;
  // What waits for its sums waits for whole such parts: many rows do not take longer ones for that.
  if (!from_memory && !program.outer_sums.empty())
    most =
        std::max(kRowsAhead / 2 / piece, std::min(most, kRowsToSum / std::max<int64_t>(1, rows)));
  ahead = std::clamp<int64_t>(most, 1, std::max<int64_t>(1, steps));
  for (const CellProgram::Product* p : products)
    gemm_scratch = std::max(gemm_scratch, gemm.scratch_bytes(ahead * piece, p->k));
  scratch = std::max(align_up(scratch), align_up(gemm_scratch));
  place_states(call);
  if (!program.outer_sums.empty()) {
    to_sum = ahead * std::max<int64_t>(1, parts_of(kRowsToSum, ahead * std::max<int64_t>(1, rows)));
    to_sum = std::min(to_sum, std::max(ahead, steps));
  }
  std::vector<size_t> buffers;
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const int64_t kept = steps_kept(program.kept[i]);
    buffers.push_back(take(static_cast<size_t>(kept * rows * program.buffers[i]) * element));
  }
  program.for_each_place([&](Place& p) { locate(call, buffers, p); });
  const int64_t pieces = parts_of(rows, kFewestRows);
  scratch_at = take(scratch * static_cast<size_t>(worth_sharing() ? kMostMembers : pieces));
  place_sums();
  ends_are_own = find_own_ends();
  units.assign(program.products, 0);
  for (const CellProgram::Stage& s : program.stages) {
    for (size_t i = 0; i < s.moves.size(); ++i) {
      const auto* p = std::get_if<CellProgram::Product>(&s.moves[i]);
      if (p != nullptr && p->when == CellProgram::Product::When::kInStep)
        units[p->index] = unit_of(s, i);
    }
  }
}

// y = c + a W and then y + h Wr in one pass over the columns, with the same bits.
void RecurrentPlan::join_products() {
  using Product = CellProgram::Product;
  if (gemm.precision != Precision::full) return;
  std::vector<Product*> all;
  for (CellProgram::Stage& s : program.stages) {
    for (auto& m : s.moves) {
      if (auto* p = std::get_if<Product>(&m)) all.push_back(p);
    }
  }
  const auto uses = [&](size_t buffer) {
    int n = 0;
    program.for_each_place(
        [&](const Place& p) { n += p.home == Home::kBuffer && p.index == buffer ? 1 : 0; });
    return n;
  };
  for (Product* const first : all) {
    if (first->when != Product::When::kBefore || first->k > kShortProduct ||
        first->y.home != Home::kBuffer || uses(first->y.index) != 2)
      continue;
    for (Product* const p : all) {
      if (p->when != Product::When::kInStep || p->n != first->n || !p->c || p->bias ||
          p->begins != nullptr || p->c->home != Home::kBuffer || p->c->index != first->y.index)
        continue;
      p->begins = first;
      p->c = first->c;
      p->bias = first->bias;
      first->when = Product::When::kJoined;
      program.buffers[first->y.index] = 0;
    }
  }
}

int64_t RecurrentPlan::steps_kept(Kept k) const {
  return k == Kept::kUntilSummed ? to_sum : k == Kept::kAhead ? ahead : 1;
}

bool RecurrentPlan::worth_sharing() const {
  return step_bytes >= kBytesToShare && parts_of(rows, kFewestRows) < kMostMembers;
}

size_t RecurrentPlan::take(size_t bytes) {
  const size_t at = workspace_bytes;
  workspace_bytes += align_up(bytes);
  return at;
}

void RecurrentPlan::place_states(const KernelCall& call) {
  for (size_t i = 0; i < layout.states; ++i) {
    State s;
    s.bytes = static_cast<size_t>(program.state_widths[i]) * element;
    s.in_trajectory = !windows && call.out[layout.trajectory_of(i)].present;
    s.at[0] = take(s.bytes * static_cast<size_t>(rows));
    if (!s.in_trajectory) s.at[1] = take(s.bytes * static_cast<size_t>(rows));
    states.push_back(s);
  }
}

void RecurrentPlan::place_sums() {
  if (program.outer_sums.empty()) return;
  int64_t widest = 0;
  size_t lists = 0;
  for (const CellProgram::OuterSums& s : program.outer_sums) {
    widest = std::max(widest, s.b.width);
    lists = std::max(lists, 1 + s.terms.size());
  }
  list_bytes = align_up(static_cast<size_t>(to_sum * rows) * sizeof(void*));
  packed_at = lists * list_bytes;
  sum_pads.emplace(parts_of(widest, OuterProducts::grain(program.dtype)),
                   packed_at + OuterProducts::scratch_bytes(program.dtype, to_sum * rows, widest));
  sum_pads_at = take(sum_pads->workspace_bytes());
}

size_t RecurrentPlan::operand_of(const Place& p) const {
  return p.index + (p.home == Home::kX        ? layout.first_x()
                    : p.home == Home::kPerRow ? layout.first_per_row()
                                              : layout.first_shared());
}

// Where a place lies from step to step and from row to row.
void RecurrentPlan::locate(const KernelCall& call, const std::vector<size_t>& buffers,
                           Place& p) const {
  const auto row_of = [&](const TensorType& t) {
    return static_cast<size_t>(t.dims.back()) * size(p);
  };
  p.offset = static_cast<size_t>(p.column) * size(p);
  switch (p.home) {
    case Home::kX:
      p.row = row_of(call.in[operand_of(p)]);
      break;
    case Home::kY:
      p.row = row_of(call.out[p.index]);
      break;
    case Home::kPerRow:
      p.row = row_of(call.in[operand_of(p)]);
      return;
    case Home::kState:
    case Home::kNext:
      p.row = states[p.index].bytes;
      return;
    case Home::kBuffer:
      p.row = static_cast<size_t>(program.buffers[p.index]) * element;
      p.offset += buffers[p.index];
      p.period = steps_kept(program.kept[p.index]);
      if (p.period == 1) return;
      break;
    default:
      return;
  }
  p.step = p.row * static_cast<size_t>(rows);
}

// Whether each member that shares columns has itself computed what its part of the next states and
// of the results is copied from.
bool RecurrentPlan::find_own_ends() const {
  if (program.stages.empty()) return false;
  const auto& groups = program.stages.back().groups;
  const auto same = [](const Place& a, const Place& b) {
    return a.home == b.home && a.index == b.index && a.column == b.column && a.width == b.width;
  };
  const auto own = [&](const Place& p) {
    if (p.home == Home::kConstant || p.home == Home::kState) return true;
    return std::any_of(groups.begin(), groups.end(), [&](const CellProgram::Group& g) {
      return g.width == p.width && std::any_of(g.outputs.begin(), g.outputs.end(),
                                               [&](const Place& o) { return same(o, p); });
    });
  };
  for (size_t i = 0; i < program.next.size(); ++i) {
    if (!program.is_in_place(i) && !own(program.next[i])) return false;
  }
  return std::all_of(program.ends.begin(), program.ends.end(),
                     [&](const CellProgram::Copy& c) { return own(c.from); });
}

// Of what width the columns are that members can have for themselves in a product and in the groups
// behind it, so that they need not meet between: that of the groups, which read gates side by side.
// 0 where somebody would read what another writes. (No two values of a step lie in one place.)
int64_t RecurrentPlan::unit_of(const CellProgram::Stage& stage, size_t move) const {
  const auto& product = std::get<CellProgram::Product>(stage.moves[move]);
  const auto read_by = [&](const Place& p) {
    const Place& y = product.y;
    return p.home == y.home && p.index == y.index && p.column < y.column + y.width &&
           y.column < p.column + p.width;
  };
  for (size_t i = move + 1; i < stage.moves.size(); ++i) {
    if (const auto* c = std::get_if<CellProgram::Copy>(&stage.moves[i])) {
      if (read_by(c->from)) return 0;
    } else if (const auto* r = std::get_if<CellProgram::Reduction>(&stage.moves[i])) {
      if (read_by(r->from)) return 0;
    } else {
      const auto& p = std::get<CellProgram::Product>(stage.moves[i]);
      if (read_by(p.a) || (p.c && read_by(*p.c))) return 0;
    }
  }
  int64_t unit = 0;
  for (const CellProgram::Group& g : stage.groups) {
    for (const Place& p : g.inputs) {
      if (!read_by(p)) continue;
      if (unit == 0) unit = g.width;
      const bool own = g.width == unit && p.width == unit && product.n % unit == 0 &&
                       p.column >= product.y.column && (p.column - product.y.column) % unit == 0;
      if (!own) return 0;
    }
  }
  if (&stage != &program.stages.back()) return stage.groups.empty() ? 0 : unit;
  const bool waits_behind = !stage.groups.empty() && !ends_are_own;
  for (size_t i = 0; i < program.next.size() && !waits_behind; ++i) {
    if (!program.is_in_place(i) && read_by(program.next[i])) return 0;
  }
  for (const CellProgram::Copy& c : program.ends) {
    if (!waits_behind && read_by(c.from)) return 0;
  }
  return unit == 0 ? product.n : unit;
}

}  // namespace rondo::cpu
