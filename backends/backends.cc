#include <rondo/backends/cpu/cpu.h>
#include <rondo/backends/reference/reference.h>
#include <rondo/runtime/backend.h>

namespace rondo {

std::span<const Backend* const> linked_backends() {
  static const Backend* const kBackends[] = {&cpu_backend(), &reference_backend()};
  return kBackends;
}

}  // namespace rondo
