#include <algorithm>

#include <rondo/backends/cpu/reduce_ops.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/ops/random.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kPieceElements = 1 << 14;

template <class T>
class Softmax final : public PreparedKernel {
 public:
  Softmax(const KernelCall& call, bool logarithm)
      : n_(call.in[0].dims.back()),
        rows_(n_ == 0 ? 0 : call.in[0].size() / n_),
        logarithm_(logarithm),
        softmax_(row_ops<T>().softmax) {}

  void run(const KernelArgs& args) const override {
    const int64_t at_once = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, n_));
    for_pieces(args.context.team, (rows_ + at_once - 1) / at_once, [&](int64_t piece) {
      for (int64_t r = piece * at_once; r < std::min(rows_, (piece + 1) * at_once); ++r) {
        softmax_(args.in[0].as<T>() + r * n_, args.out[0].as<T>() + r * n_, n_, logarithm_);
      }
    });
  }

 private:
  int64_t n_, rows_;
  bool logarithm_;
  void (*softmax_)(const T* x, T* y, int64_t n, bool logarithm);
};

Kernel softmax_row(const std::string& op) {
  return {.name = "cpu." + op,
          .op = op,
          .note = "fused, along the last axis",
          .supports =
              [](const KernelCall& call) {
                const size_t rank = call.in[0].dims.size();
                return all_of_type(call, {f32, f64}) &&
                       axis_index(call.attributes.integer("axis"), rank) + 1 == rank;
              },
          .prepare = [logarithm = op == "log_softmax"](
                         const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
            if (call.in[0].dtype == f64) return std::make_unique<Softmax<double>>(call, logarithm);
            return std::make_unique<Softmax<float>>(call, logarithm);
          }};
}

template <class T>
void drop(const KernelArgs& args, double rate, uint64_t stream) {
  constexpr int64_t kTile = 1024;
  const T* const x = args.in[0].as<T>();
  T* const y = args.out[0].as<T>();
  const int64_t size = args.in[0].size();
  const auto scale = static_cast<T>(1 / (1 - rate));
  for_pieces(args.context.team, (size + kPieceElements - 1) / kPieceElements, [&](int64_t piece) {
    float u[kTile];
    const int64_t end = std::min(size, (piece + 1) * kPieceElements);
    for (int64_t at = piece * kPieceElements; at < end; at += kTile) {
      const int64_t n = std::min(kTile, end - at);
      uniform_fill(args.context.seed, stream, static_cast<uint64_t>(args.context.step),
                   static_cast<uint64_t>(at), {u, static_cast<size_t>(n)});
      for (int64_t i = 0; i < n; ++i) y[at + i] = double{u[i]} >= rate ? x[at + i] * scale : T{0};
    }
  });
}

void dropout(const KernelArgs& args) {
  if (!args.context.training) {
    std::copy_n(args.in[0].data, args.in[0].type->bytes(), args.out[0].data);
    return;
  }
  const double rate = args.call.attributes.number("rate");
  const auto stream = static_cast<uint64_t>(args.call.attributes.integer("stream"));
  args.in[0].type->dtype == f64 ? drop<double>(args, rate, stream)
                                : drop<float>(args, rate, stream);
}

}  // namespace

void add_nn(std::vector<Kernel>& rows) {
  rows.push_back(softmax_row("softmax"));
  rows.push_back(softmax_row("log_softmax"));
  rows.push_back(simple_kernel(
      "cpu.dropout", "dropout",
      [](const KernelCall& call) { return all_of_type(call, {f32, f64}); }, dropout, 1,
      "random numbers a tile at a time"));
}

}  // namespace rondo::cpu
