#include <rondo/backends/reference/common.h>

#include <algorithm>

namespace rondo::reference {

Kernel row(std::string op, std::function<bool(const KernelCall&)> supports,
           std::function<void(const KernelArgs&)> run) {
  return simple_kernel("reference." + op, op, std::move(supports), std::move(run), kCost,
                       std::string(kNote));
}

bool no_halves(const KernelCall& call) {
  const auto half = [](const TensorType& t) { return t.present && is_half(t.dtype); };
  return std::none_of(call.in.begin(), call.in.end(), half) &&
         std::none_of(call.out.begin(), call.out.end(), half);
}

bool numbers(const KernelCall& call) { return no_halves(call) && call.out[0].dtype != boolean; }

Dims strides_of(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i > 1; --i) strides[i - 2] = strides[i - 1] * dims[i - 1];
  return strides;
}

Dims broadcast_strides(const Dims& operand, const Dims& result) {
  Dims strides = strides_of(operand);
  for (size_t i = 0; i < operand.size(); ++i) {
    if (operand[i] == 1) strides[i] = 0;
  }
  strides.insert(strides.begin(), result.size() - operand.size(), 0);
  return strides;
}

int64_t integer_at(const View& v, int64_t i) {
  return v.type->dtype == i32 ? v.as<int32_t>()[i] : v.as<int64_t>()[i];
}

int64_t integer_in_range(std::string_view what, const View& v, int64_t i, int64_t low, int64_t high,
                         std::string_view high_is) {
  const int64_t value = integer_at(v, i);
  if (low <= value && value <= high) return value;
  Dims position;
  for (const int64_t s : strides_of(v.dims())) {
    position.push_back(i / s);
    i %= s;
  }
  const size_t dot = what.rfind('.');
  fail(Fault::kArgument, cat(what, ".range"), "[", what.substr(0, dot), "] ", what.substr(dot + 1),
       position.empty() ? "" : to_string(position), " is ", value, ", but must be in [", low, ", ",
       high, "]", high_is.empty() ? "" : cat("; ", high, " is ", high_is));
}

}  // namespace rondo::reference
