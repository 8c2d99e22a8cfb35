#include <rondo/ops/random.h>

#include <algorithm>
#include <cmath>

#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kPieceElements = 1 << 12;  // a normal number costs tens of nanoseconds
constexpr int64_t kTile = 512;

using Fill = void (*)(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                      std::span<double> out);

// y = f(draw), a tile at a time: an element's number does not depend on the tile it is in.
template <class T, class Number, class Filling, class F>
void draw(const KernelArgs& args, Filling fill, F&& f) {
  const auto stream = static_cast<uint64_t>(args.call.attributes.integer("stream"));
  const auto step = static_cast<uint64_t>(args.context.step);
  T* const y = args.out[0].as<T>();
  const int64_t size = args.out[0].size();
  for_pieces(args.context.team, (size + kPieceElements - 1) / kPieceElements, [&](int64_t piece) {
    Number tile[kTile];
    const int64_t end = std::min(size, (piece + 1) * kPieceElements);
    for (int64_t at = piece * kPieceElements; at < end; at += kTile) {
      const int64_t n = std::min(kTile, end - at);
      fill(args.context.seed, stream, step, static_cast<uint64_t>(at),
           std::span<Number>(tile, static_cast<size_t>(n)));
      for (int64_t i = 0; i < n; ++i) y[at + i] = f(tile[i]);
    }
  });
}

template <class T>
void uniform(const KernelArgs& args) {
  const double low = args.call.attributes.number("low"), high = args.call.attributes.number("high");
  const T below = std::nextafter(static_cast<T>(high), static_cast<T>(low));
  draw<T, float>(args, uniform_fill, [=](float u) {
    return std::min(static_cast<T>(low + (high - low) * double{u}), below);
  });
}

template <class T>
void scaled(const KernelArgs& args, Fill fill) {
  const Attributes& a = args.call.attributes;
  const double mean = a.has("mean") ? a.number("mean") : 0;
  const double deviation = a.has("mean") ? a.number("standard_deviation") : 1;
  draw<T, double>(args, fill, [=](double z) { return static_cast<T>(mean + deviation * z); });
}

template <class T>
void bernoulli(const KernelArgs& args) {
  const double p = args.call.attributes.number("probability");
  draw<T, float>(args, uniform_fill, [=](float u) { return static_cast<T>(double{u} < p); });
}

Kernel row(std::string op, std::initializer_list<DType> types,
           std::function<void(const KernelArgs&)> run) {
  return simple_kernel(
      "cpu." + op, op,
      [types = std::vector<DType>(types)](const KernelCall& call) {
        return std::find(types.begin(), types.end(), call.out[0].dtype) != types.end();
      },
      std::move(run), 1, "random numbers a tile at a time");
}

Kernel scaled_row(const std::string& op, Fill fill) {
  return row(op, {f32, f64}, [fill](const KernelArgs& a) {
    a.out[0].type->dtype == f64 ? scaled<double>(a, fill) : scaled<float>(a, fill);
  });
}

}  // namespace

void add_random(std::vector<Kernel>& rows) {
  rows.push_back(row("uniform", {f32, f64}, [](const KernelArgs& a) {
    a.out[0].type->dtype == f64 ? uniform<double>(a) : uniform<float>(a);
  }));
  rows.push_back(scaled_row("normal", normal_fill));
  rows.push_back(scaled_row("truncated_normal", truncated_normal_fill));
  rows.push_back(scaled_row("gumbel", gumbel_fill));
  rows.push_back(row("bernoulli", {boolean, f32, f64}, [](const KernelArgs& a) {
    const DType t = a.out[0].type->dtype;
    if (t == boolean) return bernoulli<bool>(a);
    t == f64 ? bernoulli<double>(a) : bernoulli<float>(a);
  }));
}

}  // namespace rondo::cpu
