#include <algorithm>
#include <cstring>

#include <rondo/backends/reference/common.h>
#include <rondo/ops/random.h>

namespace rondo::reference {
namespace {

void pick(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1];
  const int64_t width = x.dims().back();
  for_float(x.type->dtype, [&]<class T>() {
    for (int64_t i = 0; i < indices.size(); ++i) {
      const int64_t at = integer_in_range("pick.indices", indices, i, 0, width - 1);
      a.out[0].as<T>()[i] = x.as<T>()[i * width + at];
    }
  });
}

void check_range(const KernelArgs& a) {
  const View& x = a.in[0];
  const Dims bounds = a.call.dims("bounds");
  const std::string &what = a.call.attributes.text("what"),
                    &high_is = a.call.attributes.text("high_is");
  for (int64_t i = 0; i < x.size(); ++i)
    integer_in_range(what, x, i, bounds[0], bounds[1], high_is);
  std::memcpy(a.out[0].data, x.data, x.type->bytes());
}

void dimensions(const KernelArgs& a) {
  const Dims d = a.call.dims("shape");
  std::copy(d.begin(), d.end(), a.out[0].as<int64_t>());
}

void training(const KernelArgs& a) { *a.out[0].as<bool>() = a.context.training; }

void dropout(const KernelArgs& a) {
  const double rate = a.context.training ? a.call.attributes.number("rate") : 0;
  const auto stream = static_cast<uint64_t>(a.call.attributes.integer("stream"));
  const auto step = static_cast<uint64_t>(a.context.step);
  for_float(a.in[0].type->dtype, [&]<class T>() {
    const auto scale = static_cast<T>(1 / (1 - rate));
    for (int64_t i = 0; i < a.in[0].size(); ++i) {
      const bool keep = uniform_at(a.context.seed, stream, step, static_cast<uint64_t>(i)) >= rate;
      a.out[0].as<T>()[i] = keep ? a.in[0].as<T>()[i] * scale : T{0};
    }
  });
}

}  // namespace

std::vector<Kernel> nn_kernels() {
  return {row("pick", no_halves, pick), row("check_range", nullptr, check_range),
          row("dimensions", nullptr, dimensions), row("training", nullptr, training),
          row("dropout", no_halves, dropout)};
}

}  // namespace rondo::reference
