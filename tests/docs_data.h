// Numbers for the programs that the documents show.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <rondo/graph/tensor.h>

namespace rondo::test {

inline Tensor ramp(const Dims& dims, DType dtype = f32) {
  Tensor t(f64, dims);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_data<double>()[i] = std::sin(0.7 * static_cast<double>(i));
  return t.to(dtype);
}

// [T,B,I], NaN past the end of each row.
inline Tensor padded(const Dims& dims, const std::vector<int32_t>& lengths) {
  Tensor t = ramp(dims);
  for (size_t b = 0; b < lengths.size(); ++b) {
    for (int64_t s = lengths[b]; s < dims[0]; ++s) {
      const int64_t row = s * dims[1] + static_cast<int64_t>(b);
      for (int64_t i = 0; i < dims[2]; ++i)
        t.mutable_data<float>()[row * dims[2] + i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  return t;
}

}  // namespace rondo::test
