// What the kernels that call oneDNN share: one thread for each call, its errors as ours, its
// engine, and the memory objects of a thread. Only included where RONDO_ONEDNN is set.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

namespace rondo::cpu::onednn {

/// While it lives, oneDNN uses the calling thread alone; the caller's own OpenMP setting comes
/// back.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

/// Errors: onednn.memory.exhausted; else internal, with what it would not do.
void check(dnnl_status_t status, std::string_view what);

/// f(), its errors as those of `check`.
template <class F>
auto checked(std::string_view what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    check(e.status, what);
    throw;
  }
}

const dnnl::engine& engine();

/// A primitive ready to run, and what it is given, in this order.
struct Primitive {
  dnnl::primitive run;
  std::vector<std::pair<int, dnnl::memory::desc>> arguments;
  uint64_t id = next_id();  ///< unlike all others'

 private:
  static uint64_t next_id();
};

/// Runs it on this thread; an address for each argument. Memory objects, whose making allocates,
/// are kept for the primitives that the thread used last.
void execute(const Primitive& p, const void* const* data, std::string_view what);

}  // namespace rondo::cpu::onednn
