// Attention: a query looks at the states of a sequence, and takes a mean of values in which those
// that fit it best weigh most. A decoder does so at each of its steps (attention); between two
// whole sequences each step of one is a query (dot_product_attention, multi_head_attention).
//
// Batch comes first, not time: all operands hold a row for each sequence, so that they go into the
// body of a recurrence by `per_row` (ops/recurrence.h). An encoder's y [T,B,H] becomes keys by
// transpose(y, {1, 0, 2}).
#pragma once

#include <array>
#include <optional>
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

/// What attention looks at.
template <Operable V>
struct AttentionInputs {
  V keys;                ///< [B,S,A]
  V values;              ///< [B,S,C]
  V lengths = {};        ///< [B]:int, how many positions each row has, in [0, S]; absent = S
  V score_weights = {};  ///< [A], v of the additive score; needed there, refused elsewhere
};

/// How attention scores a position.
struct AttentionConfig {
  AttentionScore score = AttentionScore::scaled_dot;
};

/// What attention gives.
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

struct DotProductOptions {
  std::optional<double> scale = {};  ///< of the scores; none = 1 / sqrt(D / heads)
  int64_t heads = 1;    ///< queries, keys and values in so many parts, each with weights of its own
  bool causal = false;  ///< a query sees no position behind its own
};

/// Every query over all positions of its row:
///     weights[b,s,:] = softmax over the visible t of scale * queries[b,s] . keys[b,t]
///     y[b,s] = sum over t of weights[b,s,t] values[b,t]
/// queries[B,S,D], keys[B,T,D], values[B,T,E] -> y[B,S,E]. mask:bool, [B,T] for all queries or
/// [B,S,T], says what is visible; absent = all. What is not visible has weight 0 exactly; where no
/// query sees a position what it holds (NaN included) reaches nothing; a query that sees none gives
/// 0. With heads each part of D/heads and E/heads numbers is by itself. Errors:
/// dot_product_attention.ARGUMENT.rank, .dim, .dtype. Source: Vaswani et al. (2017).
template <Operable V>
V dot_product_attention(V queries, std::type_identity_t<V> keys, std::type_identity_t<V> values,
                        std::type_identity_t<V> mask = {}, DotProductOptions options = {},
                        Site at = Site::here());

struct MultiHeadOptions {
  int64_t heads = 1;
  int64_t units = 0;  ///< of queries, keys and values together, and of y; 0 = the queries' own
  bool causal = false;
};

/// dot_product_attention between projections: y = dense(attention(dense(queries), dense(memory),
/// dense(memory))), on variables of its own, name/query, name/key, name/value and name/output, each
/// weights [inputs,units] and biases [units]. queries[B,S,I], memory[B,T,J] (queries itself: self
/// attention), mask as above -> y[B,S,units]. Errors: multi_head_attention.units.heads, those of
/// dense and of dot_product_attention. Source: Vaswani et al. (2017).
Var multi_head_attention(Var queries, Var memory, MultiHeadOptions options, std::string_view name,
                         Var mask = {}, Site at = Site::here());

}  // namespace rondo::nn
