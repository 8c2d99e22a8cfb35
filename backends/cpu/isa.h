// Which instruction set our SIMD code runs on: chosen by Highway when a kernel is prepared, lowered
// by tests. "AMX" is the best of Highway's with products in fewer bits on tiles.
#pragma once

#include <string>
#include <vector>

namespace rondo::cpu {

struct TileUnit;

/// The best that this machine and this build have: "AVX3".
std::string isa_name();
/// All that they have, best first. Names are Highway's, and "AMX".
std::vector<std::string> isa_names();
/// Kernels of plans that are compiled from now on use this one (a plan keeps what it prepared);
/// empty = the best again. For tests: not while others prepare kernels.
void force_isa(const std::string& name);

/// Whether products in fewer bits of plans that are compiled from now on run on tiles.
bool tiles_chosen();
/// Of which unit: the machine's, or the one that force_tiles gave.
const TileUnit& tile_unit();
/// Chooses tiles, of this unit, until the next force_isa. For tests, which have a model of one.
void force_tiles(const TileUnit& unit);

}  // namespace rondo::cpu
