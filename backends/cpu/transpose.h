// Transposes of any rank: axes that stay together are merged, then rows are copied whole or squares
// turned in cache.
#pragma once

#include <memory>

#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

std::unique_ptr<PreparedKernel> prepare_transpose(const KernelCall& call);

}  // namespace rondo::cpu
