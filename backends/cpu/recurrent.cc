// The recurrent engine: one driver for every cell whose body is products, elementwise work and
// reductions of a row. Rows are independent, so each piece of rows runs through all of time on one
// thread, without a barrier; a row costs only the steps of its own window. Where rows are fewer
// than threads, these share the columns and meet at each step.
#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include <rondo/backends/cpu/outer_products.h>
#include <rondo/backends/cpu/recurrent_piece.h>
#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
namespace {

class Recurrent final : public PreparedKernel {
 public:
  Recurrent(const KernelCall& call, CellProgram program) : plan_(call, std::move(program)) {}

  size_t workspace_bytes() const override { return plan_.workspace_bytes; }
  std::string note() const override {
    const Precision p = plan_.gemm.precision;
    return p == Precision::full ? "" : cat("weights in ", name_of(p));
  }
  std::span<const Packing> packings() const override { return plan_.packings; }
  void pack(size_t i, const View& from, std::byte* to) const override {
    const CellProgram::Product& p = *plan_.products[i];
    plan_.gemm.pack(from.data, p.transposed ? p.k : p.n, p.k, p.n, p.transposed, to);
  }

  void run(const KernelArgs& args) const override {
    ThreadTeam& team = args.context.team;
    const int64_t parts = this->parts(team.members());
    const int64_t each = plan_.to_sum == 0 ? std::max<int64_t>(1, plan_.steps) : plan_.to_sum;
    int64_t from = 0;
    do {
      const Steps steps{from, std::min(plan_.steps, from + each)};
      if (parts > 0) {
        for_pieces(team, parts, [&](int64_t part) { run_part(args, part, parts, steps); });
      } else {
        share_columns(args, steps);
      }
      if (plan_.to_sum != 0) {
        const int64_t members = team.members();
        for_pieces(team, members, [&](int64_t part) { sum_part(args, part, members, steps); });
      }
      from = steps.end;
    } while (from < plan_.steps);
    finish(args);
  }

  int64_t parts(int threads) const override {
    if (plan_.worth_sharing() &&
        parts_of(plan_.rows, kFewestRows) < std::min(threads, kMostMembers))
      return 0;
    const int64_t each = std::clamp(parts_of(plan_.rows, threads), kFewestRows, plan_.most_rows);
    const int64_t parts = std::max<int64_t>(1, parts_of(plan_.rows, each));
    if (parts <= threads) return parts;
    // As many for each thread, that none waits for another's last one.
    return std::min(parts_of(parts, threads) * threads, parts_of(plan_.rows, kFewestRows));
  }
  int64_t steps() const override { return plan_.steps; }
  int64_t steps_to_sum() const override { return plan_.to_sum; }

  void run_part(const KernelArgs& args, int64_t part, int64_t parts, Steps steps) const override {
    const int64_t first = plan_.rows * part / parts, end = plan_.rows * (part + 1) / parts;
    if (steps.from == 0) begin(args, first, end);
    RecurrentPiece(plan_, args, part, first, end - first, {}).run(steps);
  }

  // Each part has columns of its own of all that is summed.
  void sum_part(const KernelArgs& args, int64_t part, int64_t parts, Steps steps) const override {
    const DType dtype = plan_.program.dtype;
    const int64_t grain = OuterProducts::grain(dtype);
    for (const CellProgram::OuterSums& s : plan_.program.outer_sums) {
      const int64_t column = begin_of(part, parts, s.b.width, grain);
      const int64_t columns = begin_of(part + 1, parts, s.b.width, grain) - column;
      if (columns == 0) continue;
      const Scratchpads::Use pad(*plan_.sum_pads, args.workspace + plan_.sum_pads_at);
      size_t lists = 0;
      int64_t count = 0;
      const auto list = [&](const Place& p) {
        auto** const rows = reinterpret_cast<const void**>(pad.data() + lists++ * plan_.list_bytes);
        count = list_rows(args, p, steps, rows);
        return rows;
      };
      std::vector<OuterTerm> terms;
      for (const auto& t : s.terms)
        terms.push_back({list(t.a), 0, t.a.width, args.out[plan_.layout.sum_of(t.index)].data,
                         steps.from != 0 || !t.begins});
      const void* const* const b = list(s.b);
      OuterProducts{dtype, b, s.b.width, count}.run(terms, column, columns,
                                                    pad.data() + plan_.packed_at);
    }
  }

  void finish(const KernelArgs& args) const override {
    for (const CellProgram::Sum& sum : plan_.program.sums) {
      std::byte* const to = args.out[plan_.layout.sum_of(sum.index)].data;
      const std::byte* const from = args.workspace + sum.row.offset;
      plan_.program.dtype == f64 ? add_rows<double>(sum, from, to) : add_rows<float>(sum, from, to);
    }
  }

 private:
  void share_columns(const KernelArgs& args, Steps steps) const {
    const int members = std::min(args.context.team.members(), kMostMembers);
    if (steps.from == 0) begin(args, 0, plan_.rows);
    Barrier barrier(members);
    const auto work = [&](int m) {
      RecurrentPiece(plan_, args, m, 0, plan_.rows, {m, members, &barrier}).run(steps);
    };
    args.context.team.together(members, std::ref(work));  // not copied: a stream allocates nothing
  }

  // The rows that run at these steps, where they lie at a place: step by step, so that no bit
  // depends on how many steps are added at a time.
  int64_t list_rows(const KernelArgs& args, const Place& p, Steps steps, const void** rows) const {
    int64_t count = 0;
    for (int64_t s = steps.from; s < steps.end; ++s) {
      const int64_t t = plan_.time_of(s);
      for (int64_t row = 0; row < plan_.rows; ++row) {
        const auto [begin, end] = plan_.window(args, row);
        if (t >= begin && t < end) rows[count++] = plan_.at(args, p, t, row);
      }
    }
    return count;
  }

  void begin(const KernelArgs& args, int64_t first, int64_t end) const {
    if (first == 0 && plan_.sum_pads) plan_.sum_pads->prepare(args.workspace + plan_.sum_pads_at);
    clear_sums(args, first, end);
  }
  // Each row adds up its own.
  void clear_sums(const KernelArgs& args, int64_t first, int64_t end) const {
    for (const CellProgram::Sum& sum : plan_.program.sums)
      std::memset(args.workspace + sum.row.offset + static_cast<size_t>(first) * sum.row.row, 0,
                  static_cast<size_t>(end - first) * sum.row.row);
  }
  // The rows' own sums, in the order of rows.
  template <class T>
  void add_rows(const CellProgram::Sum& sum, const std::byte* from, std::byte* to) const {
    row_ops<T>().sum.columns(reinterpret_cast<const T*>(from), plan_.rows, sum.row.width,
                             sum.row.width, reinterpret_cast<T*>(to));
  }

  RecurrentPlan plan_;
};

// The program of a node's body, or why there is none.
struct CompiledCell {
  std::optional<CellProgram> program;
  std::string why;
};
std::shared_ptr<const CompiledCell> compile(const KernelCall& call) {
  return call.once<CompiledCell>([&] {
    CompiledCell c;
    c.program = CellProgram::compile(call, &c.why);
    return c;
  });
}

}  // namespace

void add_recurrent(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.recurrence.engine",
       .op = "recurrence",
       .note =
           "products with packed weights and fused elementwise programs, rows split over threads",
       .supports = [](const KernelCall& call) { return compile(call)->program.has_value(); },
       .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
         return std::make_unique<Recurrent>(call, *compile(call)->program);
       },
       .cost = 1,
       .why_not = [](const KernelCall& call) { return compile(call)->why; }});
}

}  // namespace rondo::cpu
