// Poolings: the largest or the mean value under a window, for sequences [B,T,C] and images
// [B,H,W,C]. Over a whole axis they are reduce_max and mean.
#pragma once

#include <array>
#include <vector>

#include <rondo/ops/convolution.h>
#include <rondo/ops/operand.h>

namespace rondo::nn {

struct Pool1dOptions {
  int64_t stride = 0;  ///< 0 = the window's size
  Padding padding = Padding::valid;
  std::vector<int64_t> amounts = {};  ///< {before, after}, with Padding::amounts
};
struct Pool2dOptions {
  std::vector<int64_t> strides = {};  ///< {down, across}; none = the window's size
  Padding padding = Padding::valid;
  std::vector<int64_t> amounts = {};  ///< {above, below, left, right}, with Padding::amounts
};

/// y[b,p,c] = largest x[b, p*stride + k - before, c] with k < size. NaN passes through; the first
/// of ties takes the gradient. Padding is never the largest. x[B,T,C] -> y[B,P,C]; symbols as in
/// conv_1d. Errors: max_pool_1d.x.rank, .short, .steps, max_pool_1d.size.range, .amounts.window and
/// those of the options. The others alike.
template <Operable V>
V max_pool_1d(V x, int64_t size, const Pool1dOptions& options = {}, Site at = Site::here());
/// x[B,H,W,C] -> y[B,P,Q,C].
template <Operable V>
V max_pool_2d(V x, std::array<int64_t, 2> size, const Pool2dOptions& options = {},
              Site at = Site::here());
/// The mean of what the window holds; padding does not count.
template <Operable V>
V avg_pool_1d(V x, int64_t size, const Pool1dOptions& options = {}, Site at = Site::here());
template <Operable V>
V avg_pool_2d(V x, std::array<int64_t, 2> size, const Pool2dOptions& options = {},
              Site at = Site::here());

}  // namespace rondo::nn
