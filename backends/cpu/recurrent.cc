// The recurrent engine: one driver for every cell whose body is products, elementwise work and
// reductions of a row. Rows are independent, so each piece of rows runs through all of time on one
// thread, without a barrier; a row costs only the steps of its own window. Where rows are fewer
// than threads, these share the columns and meet twice a step.
#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

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
    if (const int64_t parts = this->parts(team.members()); parts > 0) {
      for_pieces(team, parts, [&](int64_t part) { run_part(args, part, parts); });
    } else {
      clear_sums(args, 0, plan_.rows);
      const int members = std::min(team.members(), kMostMembers);
      Barrier barrier(members);
      const auto work = [&](int m) {
        RecurrentPiece(plan_, args, m, 0, plan_.rows, {m, members, &barrier}).run();
      };
      team.together(members, std::ref(work));  // not copied: a stream allocates nothing
    }
    finish(args);
  }

  int64_t parts(int threads) const override {
    if (plan_.worth_sharing() &&
        parts_of(plan_.rows, kFewestRows) < std::min(threads, kMostMembers))
      return 0;
    const int64_t each = std::clamp(parts_of(plan_.rows, threads), kFewestRows, kMostRows);
    return std::max<int64_t>(1, parts_of(plan_.rows, each));
  }
  void run_part(const KernelArgs& args, int64_t part, int64_t parts) const override {
    const int64_t first = plan_.rows * part / parts, end = plan_.rows * (part + 1) / parts;
    clear_sums(args, first, end);
    RecurrentPiece(plan_, args, part, first, end - first, {}).run();
  }
  void finish(const KernelArgs& args) const override {
    for (const CellProgram::Sum& sum : plan_.program.sums) {
      std::byte* const to = args.out[plan_.layout.sum_of(sum.index)].data;
      const std::byte* const from = args.workspace + sum.row.offset;
      plan_.program.dtype == f64 ? add_rows<double>(sum, from, to) : add_rows<float>(sum, from, to);
    }
  }

 private:
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
