// Convolutions of sequences [B,T,C] and images [B,H,W,C], as speech front ends have them: one
// product of the patches under the kernel with the kernel.
//
// Channels come last, and the kernel is not flipped. T and B may be symbols; at a stride s an axis
// that is one must be a multiple of s and a number ("2*N"), so that the length of y can be said.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include <rondo/ops/operand.h>

namespace rondo::nn {

/// What is added at the ends of an axis; none of it is counted by averages or taken by maxima.
enum class Padding {
  valid,   ///< nothing
  same,    ///< so much that y has ceil(length / stride) places; the odd one at the end
  causal,  ///< all in front, so that no place sees what comes after it; sequences only
  amounts  ///< as `amounts` says
};
inline constexpr std::array<std::string_view, 4> kPaddingNames{"VALID", "SAME", "CAUSAL",
                                                               "AMOUNTS"};

struct Conv1dOptions {
  int64_t stride = 1, dilation = 1;
  int64_t groups = 1;  ///< channels and filters in so many parts, each part by itself
  Padding padding = Padding::valid;
  std::vector<int64_t> amounts = {};  ///< {before, after}, with Padding::amounts
};
struct Conv2dOptions {
  std::array<int64_t, 2> strides = {1, 1}, dilations = {1, 1};
  int64_t groups = 1;
  Padding padding = Padding::valid;
  std::vector<int64_t> amounts = {};  ///< {above, below, left, right}, with Padding::amounts
};

/// y[b,t,f] = biases[f] + sum over k, c of x[b, t*stride + k*dilation - before, c] kernel[k,c,f].
/// x[B,T,C], kernel[K,C/groups,F], biases[F] (absent = 0) -> y[B,P,F], P = floor((T + before +
/// after - (K-1)*dilation - 1) / stride) + 1. Filters f in [g F/groups, (g+1) F/groups) see the
/// channels of part g alone. Errors: conv_1d.ARGUMENT.rank, .dim, .dtype, conv_1d.x.short, .steps,
/// conv_1d.kernel.empty, .symbol, and those of the options. Source: Waibel et al. (1989).
template <Operable V>
V conv_1d(V x, std::type_identity_t<V> kernel, std::type_identity_t<V> biases,
          const Conv1dOptions& options = {}, Site at = Site::here());
/// The same on variables of its own: name/kernel [size,C/groups,filters] (Glorot) and name/biases
/// [filters] (0), of x's dtype, in the outermost graph.
Var conv_1d(Var x, int64_t filters, int64_t size, std::string_view name,
            const Conv1dOptions& options = {}, Site at = Site::here());

/// The same of images: x[B,H,W,C], kernel[KH,KW,C/groups,F], biases[F] -> y[B,P,Q,F]. Source: LeCun
/// et al. (1989).
template <Operable V>
V conv_2d(V x, std::type_identity_t<V> kernel, std::type_identity_t<V> biases,
          const Conv2dOptions& options = {}, Site at = Site::here());
/// On variables name/kernel [size[0],size[1],C/groups,filters] and name/biases [filters].
Var conv_2d(Var x, int64_t filters, std::array<int64_t, 2> size, std::string_view name,
            const Conv2dOptions& options = {}, Site at = Site::here());

}  // namespace rondo::nn
