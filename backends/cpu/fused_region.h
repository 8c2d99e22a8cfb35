// A fused region's body as one tile program: what whole tensors are run through (fused.cc) and what
// follows a product while it is in the cache (epilogue.h).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <rondo/backends/cpu/tile_program.h>
#include <rondo/ops/fuse.h>
#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

/// A body made ready whatever the sizes; no program when it holds what a tile program has not.
struct FusedRegion {
  std::shared_ptr<const TileProgram> program;
  std::vector<FusedView> views;  ///< what each input of the program reads
  std::vector<size_t> results;   ///< those that are wanted, an output of the program each
  /// The output that the program's last step makes: it may lie where an operand of its dtype does.
  /// None where that would still be read.
  std::optional<size_t> last = {};
};

/// That of the call's body, made once a plan.
std::shared_ptr<const FusedRegion> fused_region(const KernelCall& call);

}  // namespace rondo::cpu
