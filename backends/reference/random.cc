#include <rondo/ops/random.h>

#include <algorithm>
#include <cmath>

#include <rondo/backends/reference/common.h>

namespace rondo::reference {
namespace {

using Draw = double (*)(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

struct Key {
  uint64_t seed, stream, step;
};
Key key_of(const KernelArgs& a) {
  return {a.context.seed, static_cast<uint64_t>(a.call.attributes.integer("stream")),
          static_cast<uint64_t>(a.context.step)};
}

// y[i] = f(what is drawn for element i), in f64, then rounded.
template <class T, class F>
void each_draw(const KernelArgs& a, Draw draw, F&& f) {
  const Key k = key_of(a);
  for (int64_t i = 0; i < a.out[0].size(); ++i)
    a.out[0].as<T>()[i] =
        static_cast<T>(f(draw(k.seed, k.stream, k.step, static_cast<uint64_t>(i))));
}

void uniform(const KernelArgs& a) {
  const double low = a.call.attributes.number("low"), high = a.call.attributes.number("high");
  for_float(a.out[0].type->dtype, [&]<class T>() {
    each_draw<T>(a, uniform_at, [=](double u) { return low + (high - low) * u; });
    // Where rounding reached high.
    const T below = std::nextafter(static_cast<T>(high), static_cast<T>(low));
    for (int64_t i = 0; i < a.out[0].size(); ++i)
      a.out[0].as<T>()[i] = std::min(a.out[0].as<T>()[i], below);
  });
}

void scaled(const KernelArgs& a, Draw draw) {
  const double mean = a.call.attributes.number("mean"),
               deviation = a.call.attributes.number("standard_deviation");
  for_float(a.out[0].type->dtype, [&]<class T>() {
    each_draw<T>(a, draw, [=](double z) { return mean + deviation * z; });
  });
}

void gumbel(const KernelArgs& a) {
  for_float(a.out[0].type->dtype,
            [&]<class T>() { each_draw<T>(a, gumbel_at, [](double v) { return v; }); });
}

void bernoulli(const KernelArgs& a) {
  const double p = a.call.attributes.number("probability");
  const auto one = [p](double u) { return u < p; };
  if (a.out[0].type->dtype == boolean) return each_draw<bool>(a, uniform_at, one);
  for_number(a.out[0].type->dtype, [&]<class T>() { each_draw<T>(a, uniform_at, one); });
}

void permutation(const KernelArgs& a) {
  const Key k = key_of(a);
  const std::vector<int64_t> p = permutation_of(k.seed, k.stream, k.step, a.out[0].size());
  for_number(a.out[0].type->dtype, [&]<class T>() {
    std::transform(p.begin(), p.end(), a.out[0].as<T>(),
                   [](int64_t v) { return static_cast<T>(v); });
  });
}

}  // namespace

std::vector<Kernel> random_kernels() {
  const auto normals = [](Draw draw) { return [draw](const KernelArgs& a) { scaled(a, draw); }; };
  return {row("uniform", numbers, uniform),
          row("normal", numbers, normals(normal_at)),
          row("truncated_normal", numbers, normals(truncated_normal_at)),
          row("bernoulli", no_halves, bernoulli),
          row("gumbel", numbers, gumbel),
          row("permutation", numbers, permutation)};
}

}  // namespace rondo::reference
