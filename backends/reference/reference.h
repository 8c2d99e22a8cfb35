// The reference backend: one plain-loop kernel for each op that is not defined by others, f64 and
// f32.
//
// It is the oracle for all other backends, and what runs where none of them has a kernel.
#pragma once

#include <rondo/runtime/backend.h>

namespace rondo {

const Backend& reference_backend();

}  // namespace rondo
