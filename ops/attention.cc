#include <rondo/ops/attention.h>

#include <cmath>
#include <limits>
#include <string>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

// What no score is below: beside a true score its e^x is 0.
double lowest(DType t) {
  constexpr double kF16 = -65504, kBF16 = -0x1.FEp127;
  return t == f16    ? kF16
         : t == bf16 ? kBF16
         : t == f32  ? static_cast<double>(std::numeric_limits<float>::lowest())
                     : std::numeric_limits<double>::lowest();
}

// Which positions a row has [B,S], and whether it has any [B,1]; empty: all.
struct Mask {
  Var positions, rows;
};
Mask mask_of(const Call& c) {
  if (!c.has("lengths")) return {};
  const Dim& positions = c["keys"].dim(1);
  const Var lengths =
      expand_dims(nn::check_range(c["lengths"], 0, positions, "attention.lengths"), 1);
  return {iota(c.graph(), lengths.dtype(), {1, positions}, 1) < lengths, lengths > 0};
}

// x where the mask holds, else 0.
Var kept(const Var& mask, const Var& x) {
  if (!mask) return x;
  return where(mask.rank() == x.rank() ? mask : expand_dims(mask, 2), x, 0);
}

Var scaled(const Var& query) {
  const Dim& width = query.dim(1);
  if (width.is_constant())
    return query * (1 / std::sqrt(std::max(1.0, static_cast<double>(width.constant()))));
  const Var size = cast(nn::dimensions(query.graph(), {width}), query.dtype());
  return query * rsqrt(size);
}

// [B,S]
Var scores_of(const Call& c, const Var& query, const Var& keys) {
  const std::string& score = c.text("score");
  const Var s = score == "additive"
                    ? matmul(tanh(keys + expand_dims(query, 1)), expand_dims(c["score_weights"], 1))
                    : matmul(keys, expand_dims(score == "scaled_dot" ? scaled(query) : query, 2));
  return squeeze(s, 2);
}

Vars lower_attention(const Call& c) {
  const Mask mask = mask_of(c);
  // Operands are masked, not only scores: 0 times NaN would reach a gradient.
  const Var query = kept(mask.rows, c["query"]);
  const Var keys = kept(mask.positions, c["keys"]), values = kept(mask.positions, c["values"]);
  Var scores = scores_of(c, query, keys);
  if (mask.positions) scores = where(mask.positions, scores, lowest(scores.dtype()));
  // In a row without positions all scores are equal, and so no number overflows.
  const Var weights = kept(mask.positions, nn::softmax(scores));
  return {squeeze(matmul(expand_dims(weights, 1), values), 1), weights};
}

void check_attention(const InferContext& c) {
  const bool additive = c.attributes().text("score") == "additive";
  const bool given = c.has(static_cast<size_t>(c.signature().input("score_weights")));
  if (additive && !given)
    c.refuse("score_weights", "missing",
             "score is additive, v . tanh(query + keys_s), but score_weights, its v, was not "
             "given");
  if (!additive && given)
    c.refuse("score_weights", "score", "score_weights was given, but score is ",
             c.attributes().text("score"), ", which has none; only additive does");
}

std::vector<Sample> samples() {
  const Sample::Input query{{3, 2}}, keys{{3, 4, 2}}, values{{3, 4, 5}}, weights{{2}};
  const Sample::Input lengths{{3}, 0, 0, i32, {4, 0, 2}};
  return {{{query, keys, values, absent(), absent()}, {}, "scaled"},
          {{query, keys, values, lengths, absent()}, {{"score", "dot"}}, "dot, lengths"},
          {{query, keys, values, lengths, weights}, {{"score", "additive"}}, "additive, lengths"},
          {{query, keys, values, absent(), weights}, {{"score", "additive"}}, "additive"},
          {{{{2, 2}, 30, 40}, {{2, 3, 2}, 30, 40}, {{2, 3, 1}}, absent(), absent()},
           {{"score", "dot"}},
           "large"}};
}

}  // namespace

void register_attention(OpRegistry& r) {
  r.add(
      {.name = "attention",
       .sig = "query[B,A], keys[B,S,A], values[B,S,C], lengths[B]:int?!, score_weights[A]? -> "
              "context[B,C], weights[B,S]",
       .doc =
           R"(A query of each row looks at the positions s of that row, and takes a mean of their values:
    weights = softmax over s < lengths of score_s
    context = sum over s of weights_s values_s
    score_s = query . keys_s                             with score dot
    score_s = query . keys_s / sqrt(A)                   with score scaled_dot
    score_s = score_weights . tanh(query + keys_s)       with score additive
lengths is S for all rows where absent. From a row's length on weights are 0; what keys and values hold there, NaN included, reaches no
result and no gradient. A row of length 0 has weights 0 and context 0, and gives no gradient. A length outside [0, S] is an Error when it
runs. In the body of a recurrence give keys, values and lengths by per_row; products that all steps share, such as keys = states Wk,
belong in front of it.)",
       .source = "dot: Luong, Pham, Manning (2015); scaled_dot: Vaswani et al. (2017); additive: "
                 "Bahdanau, Cho, Bengio (2015)",
       .example = R"(Graph g;
Var states = g.placeholder("states", f32, {"T", "B", 16});  // what an encoder gave
Var lengths = g.placeholder("lengths", i32, {"B"});
Var query = g.placeholder("query", f32, {"B", 16});
Var keys = transpose(states, {1, 0, 2});  // keys: [B,T,16]
auto seen = nn::attention(query, {.keys = keys, .values = keys, .lengths = lengths});
// seen.context: [B,16]; seen.weights: [B,T]

// At once, on tensors: equal scores give the mean of what the row has.
auto now = nn::attention(Tensor(f32, {1, 2}), {.keys = Tensor(f32, {1, 3, 2}),
                                               .values = Tensor::of<float>({1, 3, 1}, {1, 2, 9}),
                                               .lengths = Tensor::of<int32_t>({1}, {2})});
// now.context: {1.5}; now.weights: {0.5, 0.5, 0})",
       .differs =
           {{"PyTorch scaled_dot_product_attention",
             "takes many queries, heads and any mask; here is one query a row and a length, as a "
             "decoder's step has them"},
            {"PyTorch MultiheadAttention",
             "projects query, keys and values itself and has heads; here nn::dense or matmul "
             "projects, in front of the loop where nothing changes in it"},
            {"Keras Attention",
             "its score_mode dot is dot, its concat is additive with one learnt number in the "
             "place "
             "of score_weights, and both may have a learnt scale. A mask there subtracts a large "
             "number from the score, here what is masked is left out"},
            {"Keras AdditiveAttention",
             "additive, score_weights being its scale; ones where use_scale is false"},
            {"TensorFlow Addons LuongAttention, BahdanauAttention",
             "hold the projections of memory and query; here they are the caller's. Luong's "
             "general "
             "score q' W k is dot with query = q W"},
            {"libnd4j dot_product_attention",
             "has features before time, [B,A,S], several queries, and a mask of numbers; scaled is "
             "scaled_dot"}},
       .attributes = {{"score",
                       "scaled_dot",
                       "how well a query fits a key",
                       {nn::kAttentionScoreNames.begin(), nn::kAttentionScoreNames.end()}}},
       .check = check_attention,
       .lower = lower_attention,
       .samples = samples()});
}

namespace nn {

template <Operable V>
AttentionResult<V> attention(V query, std::type_identity_t<AttentionInputs<V>> in,
                             AttentionConfig config, std::string_view name, Site at) {
  auto r =
      apply("attention", std::vector<V>{query, in.keys, in.values, in.lengths, in.score_weights},
            {{"score", name_of(kAttentionScoreNames, static_cast<int>(config.score), "attention")}},
            {.name = std::string(name), .site = at});
  return {r[0], r[1]};
}

#define RONDO_INSTANTIATE(V)                                                                      \
  template AttentionResult<V> attention(V, AttentionInputs<V>, AttentionConfig, std::string_view, \
                                        Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace nn
}  // namespace rondo
