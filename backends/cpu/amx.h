// The tile unit of x86-64 processors that have AMX. Chosen in isa.cc.
#pragma once

#include <rondo/backends/cpu/tiles.h>

namespace rondo::cpu {

/// Whether this machine has AMX with bf16 and int8 and the kernel lets this process use it, for
/// which the first call asks.
bool has_amx();
/// Its code, whether or not the machine can run it; null where the build has none.
const TileUnit* amx_code();

}  // namespace rondo::cpu
