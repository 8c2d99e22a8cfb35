// The CPU backend: SIMD chosen at run time by Highway, large products by oneDNN, f64 and odd
// products by Eigen.
//
// It has rows for what is hot; a plan takes all else from the reference backend.
#pragma once

#include <rondo/runtime/backend.h>

namespace rondo {

const Backend& cpu_backend();

}  // namespace rondo
