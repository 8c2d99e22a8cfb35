#include <rondo/backends/cpu/isa.h>

#include <cstdint>

#include <rondo/graph/error.h>

// Those of row_gemm_low.cc, which has the most.
#define HWY_WANT_AVX3_DL 1
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/highway.h>

namespace rondo::cpu {
std::vector<std::string> isa_names() {
  std::vector<std::string> r;
  for (const int64_t t : hwy::SupportedAndGeneratedTargets()) r.emplace_back(hwy::TargetName(t));
  return r;
}

std::string isa_name() {
  const std::vector<std::string> all = isa_names();
  return all.empty() ? "scalar" : all.front();
}

void force_isa(const std::string& name) {
  // A file that is not compiled for it takes the next lower one: better ones have lower bits.
  int64_t wanted = 0;
  hwy::SetSupportedTargetsForTest(0);
  for (const int64_t t : hwy::SupportedAndGeneratedTargets()) {
    if (name == hwy::TargetName(t)) wanted = hwy::SupportedTargets() & ~(t - 1);
  }
  if (wanted == 0 && !name.empty())
    fail(Fault::kUnsupported, "cpu.isa.unknown", "this machine and build have no instruction set ",
         name);
  hwy::SetSupportedTargetsForTest(wanted);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace rondo::cpu
