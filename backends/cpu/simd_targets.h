// Included before Highway: the instruction sets that our SIMD code is compiled for. Those left out
// differ from their neighbours in nothing that f32 and f64 loops use.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_AVX3_SPR)
