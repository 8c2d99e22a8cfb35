// What is done with a product's elements before they leave the cache: a fused region as a tile
// program over each block of rows and columns that a product kernel has finished. Kernels of
// products differ in how they cut y into blocks; what follows a block is the same for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <rondo/backends/cpu/broadcast.h>
#include <rondo/backends/cpu/fused_region.h>
#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

/// Some rows and columns of y, all batches' rows one below the other.
struct ProductBlock {
  int64_t row, rows, column, columns;
};

class Epilogue {
 public:
  /// Whether the call's body can follow its product: for calls of `fused_matmul`.
  static bool supports(const KernelCall& call);

  /// For a call of `fused_matmul` that is supported; of `matmul`, nothing follows.
  explicit Epilogue(const KernelCall& call);

  explicit operator bool() const { return region_ != nullptr; }
  /// Where nothing of the region may lie where the product lies, that takes memory of its own.
  size_t workspace_bytes() const { return in_place_ ? 0 : product_bytes_; }
  /// Where the product is to be made. `own`: workspace_bytes() of the run.
  std::byte* product(const KernelArgs& args, std::byte* own) const {
    return in_place_ ? args.out[product_in_].data : own;
  }
  /// Makes the results' block from that of the product, on the calling thread.
  void run(const KernelArgs& args, const std::byte* product, const ProductBlock& b) const;

 private:
  struct Input {
    FusedView view;
    size_t element;      // bytes
    int64_t pitch;       // elements from a row of the operand to the next
    bool one = false;    // the same number in all columns of a row
    size_t fill_at = 0;  // where it is spread out, in each tile's memory for that
  };
  class Tiles;

  std::shared_ptr<const FusedRegion> region_;
  bool in_place_ = true;
  size_t product_in_ = 0, product_bytes_ = 0;
  int64_t columns_ = 0;
  BroadcastPlan rows_;  // of the axes before the last: which row each input reads
  std::vector<Input> inputs_;
  int64_t tile_ = 0;  // elements
};

}  // namespace rondo::cpu
