// Which kernel runs a call, and why that one. Internal to runtime/.
#pragma once

#include <string>

#include <rondo/runtime/compile.h>
#include <rondo/runtime/kernel.h>

namespace rondo {

/// The cheapest row that supports the call, the backend's own first, then the reference's; null
/// when none does.
const Kernel* choose(const KernelCall& call, const CompileOptions& options);

/// Why `chosen` runs the call: what else there was, and what does not support it; empty when there
/// was no choice.
std::string why_chosen(const std::string& chosen, const KernelCall& call,
                       const CompileOptions& options);

/// Why the kernel of this name does not run the call, which is one of its op; empty for a call of
/// another op, or one that it supports.
std::string why_not(std::string_view kernel, const KernelCall& call, const CompileOptions& options);

/// Error plan.kernel.unknown: a name that no backend knows, which would be passed over in silence.
void require_kernel(const std::string& name);

}  // namespace rondo
