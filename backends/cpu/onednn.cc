#if RONDO_ONEDNN

#include <rondo/backends/cpu/onednn.h>

#include <atomic>

#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/error.h>

// oneDNN's build for GNU OpenMP has no call of its own for this. Weak: another build of oneDNN may
// bring no OpenMP.
extern "C" void omp_set_num_threads(int) __attribute__((weak));
extern "C" int omp_get_max_threads() __attribute__((weak));

namespace rondo::cpu {
namespace onednn {
namespace {

constexpr size_t kMostMemories = 64;

struct Memories {
  uint64_t id = 0;
  std::vector<dnnl::memory> memories;
  std::vector<dnnl_exec_arg_t> arguments;
};

}  // namespace

OneThread::OneThread() : before_(omp_get_max_threads != nullptr ? omp_get_max_threads() : 1) {
  if (before_ != 1 && omp_set_num_threads != nullptr) omp_set_num_threads(1);
}
OneThread::~OneThread() {
  if (before_ != 1 && omp_set_num_threads != nullptr) omp_set_num_threads(before_);
}

void check(dnnl_status_t status, std::string_view what) {
  if (status == dnnl_success) return;
  const bool memory = status == dnnl_out_of_memory;
  fail(memory ? Fault::kUnsupported : Fault::kInternal,
       memory ? "onednn.memory.exhausted" : "rondo.internal", "oneDNN refuses to ", what,
       " (status ", static_cast<int>(status), ")");
}

const dnnl::engine& engine() {
  static const auto* const e = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // outlives all plans
  return *e;
}

uint64_t Primitive::next_id() {
  static std::atomic<uint64_t> ids{1};
  return ids++;
}

void execute(const Primitive& p, const void* const* data, std::string_view what) {
  thread_local dnnl::stream stream(engine());
  thread_local std::array<Memories, kMostMemories> kept;
  Memories& m = kept[p.id % kMostMemories];
  if (m.id != p.id) {
    m = checked("describe memory", [&] {
      Memories made{p.id, {}, {}};
      for (const auto& [argument, desc] : p.arguments) {
        made.memories.emplace_back(desc, engine(), nullptr);
        made.arguments.push_back({argument, made.memories.back().get()});
      }
      return made;
    });
  }
  for (size_t i = 0; i < m.memories.size(); ++i)
    check(dnnl_memory_set_data_handle(m.memories[i].get(), const_cast<void*>(data[i])),  // NOLINT
          "set an address");
  const OneThread one;
  check(dnnl_primitive_execute(p.run.get(), stream.get(), static_cast<int>(m.arguments.size()),
                               m.arguments.data()),
        what);
}

}  // namespace onednn

std::string onednn_description() {
  const dnnl_version_t& v = *dnnl_version();
  return cat("oneDNN ", v.major, ".", v.minor, ".", v.patch);
}

}  // namespace rondo::cpu

#else

#include <rondo/backends/cpu/rows.h>

namespace rondo::cpu {
std::string onednn_description() { return "no oneDNN"; }
}  // namespace rondo::cpu

#endif
