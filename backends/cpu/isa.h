// Which instruction set our SIMD code runs on: chosen by Highway when a kernel is prepared, lowered
// by tests.
#pragma once

#include <string>
#include <vector>

namespace rondo::cpu {

/// The best that this machine and this build have: "AVX3".
std::string isa_name();
/// All that they have, best first. Names are Highway's.
std::vector<std::string> isa_names();
/// Kernels of plans that are compiled from now on use this one (a plan keeps what it prepared);
/// empty = the best again. For tests: not while others prepare kernels.
void force_isa(const std::string& name);

}  // namespace rondo::cpu
