#include <rondo/backends/cpu/isa.h>

#include <cstdint>

#include <rondo/backends/cpu/amx.h>
#include <rondo/graph/error.h>

// Those of row_gemm_low.cc, which has the most.
#define HWY_WANT_AVX3_DL 1
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/highway.h>

namespace rondo::cpu {
namespace {

constexpr char kAmx[] = "AMX";

// A plan that was prepared with tiles outlives their choice, so that the unit stays.
struct Tiles {
  const TileUnit* unit = amx_code();
  bool chosen = has_amx();
};
Tiles& tiles() {
  static Tiles t;
  return t;
}

}  // namespace

std::vector<std::string> isa_names() {
  std::vector<std::string> r;
  if (has_amx() && tiles_chosen()) r.emplace_back(kAmx);
  for (const int64_t t : hwy::SupportedAndGeneratedTargets()) r.emplace_back(hwy::TargetName(t));
  return r;
}

std::string isa_name() {
  const std::vector<std::string> all = isa_names();
  return all.empty() ? "scalar" : all.front();
}

void force_isa(const std::string& name) {
  const bool best = name.empty() || (name == kAmx && has_amx());
  // A file that is not compiled for it takes the next lower one: better ones have lower bits.
  int64_t wanted = 0;
  hwy::SetSupportedTargetsForTest(0);
  for (const int64_t t : hwy::SupportedAndGeneratedTargets()) {
    if (name == hwy::TargetName(t)) wanted = hwy::SupportedTargets() & ~(t - 1);
  }
  if (wanted == 0 && !best)
    fail(Fault::kUnsupported, "cpu.isa.unknown", "this machine and build have no instruction set ",
         name);
  hwy::SetSupportedTargetsForTest(wanted);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  if (has_amx()) tiles() = {amx_code(), best};
  tiles().chosen &= has_amx();
}

bool tiles_chosen() { return tiles().chosen; }
const TileUnit& tile_unit() { return *tiles().unit; }
void force_tiles(const TileUnit& unit) { tiles() = {&unit, true}; }

}  // namespace rondo::cpu
