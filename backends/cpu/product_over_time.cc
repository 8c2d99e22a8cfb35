// The gradient of a loop's matrix where the loop itself does not sum it: one product over all steps
// that rows run. Rows are gathered where they lie, so that ragged batches cost what they contain,
// and padding is never read.
#include <algorithm>

#include <rondo/backends/cpu/outer_products.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/scratchpads.h>

namespace rondo::cpu {
namespace {

// Rows of y that one piece of work takes.
constexpr int64_t kMostRows = 1024;

class ProductOverTime final : public PreparedKernel {
 public:
  explicit ProductOverTime(const KernelCall& call)
      : type_(call.in[0].dtype),
        grain_(OuterProducts::grain(type_)),
        steps_(call.in[0].dims[0]),
        rows_(call.in[0].dims[1]),
        m_(call.in[0].dims[2]),
        n_(call.in[1].dims[2]),
        down_(parts_of(m_, kMostRows)),
        list_bytes_(align_up(static_cast<size_t>(steps_ * rows_) * sizeof(void*))),
        pads_(down_ * parts_of(n_, grain_),
              OuterProducts::scratch_bytes(type_, steps_ * rows_, n_)) {}

  size_t workspace_bytes() const override { return 2 * list_bytes_ + pads_.workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    auto** const a = reinterpret_cast<const void**>(args.workspace);
    auto** const b = reinterpret_cast<const void**>(args.workspace + list_bytes_);
    std::byte* const pads = args.workspace + 2 * list_bytes_;
    const int64_t count = list_rows(args, a, b);
    const OuterProducts product{type_, b, n_, count};
    // As wide as threads allow, so that a is read by few.
    const int64_t across = std::clamp<int64_t>(args.context.team.members(), 1,
                                               std::max<int64_t>(1, parts_of(n_, grain_)));
    pads_.prepare(pads);
    for_pieces(args.context.team, down_ * across, [&](int64_t piece) {
      const Scratchpads::Use scratch(pads_, pads);
      const int64_t row = begin_of(piece / across, down_, m_, 1);
      const int64_t rows = begin_of(piece / across + 1, down_, m_, 1) - row;
      const int64_t column = begin_of(piece % across, across, n_, grain_);
      const int64_t columns = begin_of(piece % across + 1, across, n_, grain_) - column;
      const OuterTerm term{
          a, row, rows, args.out[0].data + static_cast<size_t>(row * n_) * size_of(type_), false};
      product.run({&term, 1}, column, columns, scratch.data());
    });
  }

 private:
  // The rows of a and b that are multiplied, in order.
  int64_t list_rows(const KernelArgs& args, const void** a, const void** b) const {
    const auto bound = [&](const View& v, int64_t row, int64_t absent) {
      if (!v) return absent;
      return v.type->dtype == i32 ? int64_t{v.as<int32_t>()[row]} : v.as<int64_t>()[row];
    };
    int64_t count = 0;
    for (int64_t t = 0; t < steps_; ++t) {
      for (int64_t i = 0; i < rows_; ++i) {
        if (t < bound(args.in[2], i, 0) || t >= bound(args.in[3], i, steps_)) continue;
        const int64_t row = t * rows_ + i;
        a[count] = args.in[0].data + static_cast<size_t>(row * m_) * size_of(type_);
        b[count++] = args.in[1].data + static_cast<size_t>(row * n_) * size_of(type_);
      }
    }
    return count;
  }

  DType type_;
  int64_t grain_;  // columns of y that one piece takes are multiples of it
  int64_t steps_, rows_, m_, n_;
  int64_t down_;  // pieces of m
  size_t list_bytes_;
  Scratchpads pads_;
};

}  // namespace

void add_product_over_time(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.product_over_time",
       .op = "product_over_time",
       .note = "the recurrent engine's products, over the steps that rows run",
       .supports = [](const KernelCall& call) { return !is_half(call.in[0].dtype); },
       .prepare = [](const KernelCall& call) { return std::make_unique<ProductOverTime>(call); }});
}

}  // namespace rondo::cpu
