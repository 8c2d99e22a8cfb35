// bf16 and f16 compute in f32: where a backend has no kernel of its own for a half type, its f32
// kernel runs between conversions, rounded to nearest even.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <rondo/runtime/kernel.h>

namespace rondo {

/// A kernel for f32, prepared for a call with half operands.
struct HalfKernel {
  std::string_view kernel;
  std::unique_ptr<PreparedKernel> prepared;
};

/// The call in f32, if it has a half operand or result and `choose` finds a kernel for it then.
std::optional<HalfKernel> prepare_in_f32(
    const KernelCall& call, const std::function<const Kernel*(const KernelCall&)>& choose);

}  // namespace rondo
