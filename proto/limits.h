// What a file may ask for. A loader refuses more before it allocates, so that a small file cannot
// cost much memory or time; a writer refuses more too, so that whatever was saved can be loaded.
#pragma once

#include <cstdint>

namespace rondo {

/// The most of each thing that a file may hold; a caller may set others.
struct Limits {
  uint64_t nodes = 1'000'000;  ///< of all graphs and bodies together
  uint64_t graphs = 4096;
  uint64_t tensors = 1'000'000;
  uint64_t strings = 1'000'000;  ///< elements of all lists of text and of shapes
  uint64_t rank = 8;
  uint64_t dim = 2147483647;
  uint64_t dim_operators = 32;  ///< of a symbolic dimension
  uint64_t name_bytes = 512;
  uint64_t text_bytes = 16 << 20;  ///< one attribute's text
  uint64_t inputs = 4096;          ///< of a node; inputs and outputs of a body
  uint64_t attributes = 64;        ///< of a node
  uint64_t model_attributes = 65536;
  uint64_t depth = 16;  ///< bodies inside bodies; at most 32
};

}  // namespace rondo
