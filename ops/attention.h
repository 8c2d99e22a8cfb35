// Attention: a query looks at the states of a sequence, and takes a mean of values in which those
// that fit it best weigh most. A decoder does so at each of its steps.
//
// Batch comes first, not time: all operands hold a row for each sequence, so that they go into the
// body of a recurrence by `per_row` (ops/recurrence.h). An encoder's y [T,B,H] becomes keys by
// transpose(y, {1, 0, 2}).
#pragma once

#include <array>
#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo::nn {

/// How well a query q fits a key k.
enum class AttentionScore {
  dot,         ///< q . k. Source: Luong, Pham, Manning (2015)
  scaled_dot,  ///< q . k / sqrt(A). Source: Vaswani et al. (2017)
  additive,    ///< v . tanh(q + k). Source: Bahdanau, Cho, Bengio (2015)
};
inline constexpr std::array<std::string_view, 3> kAttentionScoreNames{"dot", "scaled_dot",
                                                                      "additive"};

template <Operable V>
struct AttentionInputs {
  V keys;                ///< [B,S,A]
  V values;              ///< [B,S,C]
  V lengths = {};        ///< [B]:int, how many positions each row has, in [0, S]; absent = S
  V score_weights = {};  ///< [A], v of the additive score; needed there, refused elsewhere
};

struct AttentionConfig {
  AttentionScore score = AttentionScore::scaled_dot;
};

template <Operable V>
struct AttentionResult {
  V context;  ///< [B,C]
  V weights;  ///< [B,S], each row's sum is 1
};

/// One query a row over that row's positions:
///     weights = softmax over s < lengths of score(query, keys_s)
///     context = sum over s of weights_s values_s
/// query [B,A]. Positions from a row's length on have weight 0; what keys and values hold there
/// (NaN included) reaches no result and no gradient. A row of length 0 has weights 0, context 0 and
/// gives no gradient. Errors: attention.ARGUMENT.rank, .dim, .dtype, .missing,
/// attention.score_weights.score, attention.lengths.range (when it runs). Gradients: all operands
/// but lengths.
template <Operable V>
AttentionResult<V> attention(V query, std::type_identity_t<AttentionInputs<V>> inputs,
                             AttentionConfig config = {}, std::string_view name = {},
                             Site at = Site::here());

}  // namespace rondo::nn
