#include <rondo/ops/attention.h>

#include <algorithm>
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

// What may be seen, [B,1,S,T] with dimensions of 1 where they do not matter; none: all.
Var visible_of(const Call& c) {
  const Dim &steps = c["queries"].dim(1), &positions = c["keys"].dim(1);
  Var r;
  const auto take = [&](const Var& mask) { r = r ? logical_and(r, mask) : mask; };
  if (c.has("key_mask")) take(expand_dims(expand_dims(c["key_mask"], 1), 1));
  if (c.has("mask")) take(expand_dims(c["mask"], 1));
  if (c.flag("causal"))
    take(iota(c.graph(), i64, {1, 1, 1, positions}, 3) <=
         iota(c.graph(), i64, {1, 1, steps, 1}, 2));
  return r;
}

// Where anything is visible along an axis.
Var any_along(const Var& visible, int64_t axis) {
  return sum(cast(visible, f32), {.axes = {axis}, .keep_dims = true}) > 0;
}

Vars lower_dot_product(const Call& c) {
  const int64_t heads = c.integer("heads");
  // [B,N,D] -> [B,heads,N,D/heads]; the signature asked for a multiple of the one that fixes it.
  const auto parts = [&](const Var& x, const Var& fixes) {
    const Dim each = fixes.dim(2).divided_by(heads).value();
    return transpose(reshape(x, {x.dim(0), x.dim(1), heads, each}), {0, 2, 1, 3});
  };
  Var queries = parts(c["queries"], c["queries"]), keys = parts(c["keys"], c["queries"]),
      values = parts(c["values"], c["values"]);
  const Var visible = visible_of(c);
  if (visible) {
    // Operands are masked, not only scores: 0 times NaN would reach results and gradients.
    const Var seen = swap_last(any_along(visible, 2));
    queries = kept(any_along(visible, 3), queries);
    keys = kept(seen, keys);
    values = kept(seen, values);
  }
  const double width = static_cast<double>(
      keys.dim(3).is_constant() ? std::max<int64_t>(1, keys.dim(3).constant()) : 0);
  if (const AttributeValue* scale = c.attributes().find("scale")) {
    queries = queries * *scale->get<double>();
  } else if (width > 0) {
    queries = queries * (1 / std::sqrt(width));
  } else {
    queries = queries * rsqrt(cast(nn::dimensions(c.graph(), {keys.dim(3)}), queries.dtype()));
  }
  Var scores = matmul(queries, keys, {.transpose_b = true});
  if (visible) scores = where(visible, scores, lowest(scores.dtype()));
  const Var weights = kept(visible, nn::softmax(scores));
  const Var y = transpose(matmul(weights, values), {0, 2, 1, 3});
  return {reshape(y, {y.dim(0), y.dim(1), c["values"].dim(2)})};
}

std::string dot_product_signature(const Attributes& a) {
  const int64_t heads = a.integer("heads");
  const std::string part = heads == 1 ? "" : cat(heads, "*");
  return cat("queries[B,S,", part, "D], keys[B,T,", part, "D], values[B,T,", part,
             "E], key_mask[B,T]:bool?, mask[B,S,T]:bool? -> y[B,S,", part, "E]");
}

std::vector<Sample> dot_product_samples() {
  const Sample::Input queries{{2, 2, 2}}, keys{{2, 3, 2}}, values{{2, 3, 1}};
  const Sample::Input key_mask{{2, 3}, 0, 1, boolean, {1, 0, 1, 0, 0, 0}};
  const Sample::Input mask{{2, 2, 3}, 0, 1, boolean, {1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}};
  return {{{queries, keys, values, absent(), absent()}, {}, "everything"},
          {{queries, keys, values, key_mask, absent()}, {{"scale", 0.7}}, "key_mask, scale"},
          {{queries, keys, values, absent(), mask}, {}, "mask"},
          {{{{1, 3, 4}}, {{1, 3, 4}}, {{1, 3, 2}}, absent(), absent()},
           {{"heads", 2}, {"causal", true}},
           "heads, causal"},
          {{queries, keys, values, key_mask, mask}, {{"causal", true}}, "all masks"}};
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

std::vector<RefusedCall> refusals() {
  std::vector<Sample> s = samples();
  s[3].inputs[4] = absent();
  s[1].inputs[4] = {{2}};
  s[2].inputs[3].values = {5, 0, 2};
  return {{"score_weights.missing", s[3], "score is additive, and its weights are not given"},
          {"score_weights.score", s[1], "weights are given to a score that has none"},
          {"lengths.range", s[2], "a length is negative, or more than there are positions"}};
}

void register_dot_product(OpRegistry& r) {
  r.add(
      {.name = "dot_product_attention",
       .sig = "queries[B,S,D], keys[B,T,D], values[B,T,E], key_mask[B,T]:bool?, mask[B,S,T]:bool? "
              "-> y[B,S,E]",
       .doc =
           R"(Each step of one sequence looks at all steps of another, and takes a mean of their values:
    weights[b,s,:] = softmax over the visible t of scale * queries[b,s] . keys[b,t]
    y[b,s] = sum over t of weights[b,s,t] values[b,t]
Position t is visible to query s where key_mask[b,t] and mask[b,s,t] hold, as far as they are given, and with causal where t <= s. What is not
visible has weight 0 exactly. What a position holds that no query sees, NaN included, reaches no result and no gradient; a query that sees
nothing gives 0 and no gradient. No scale is 1 / sqrt(D / heads). With heads queries, keys and values are cut into so many parts along their
last axis, each of which has weights of its own. The builder's mask is key_mask where it has rank 2.)",
       .source = "Vaswani et al. (2017)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "T", 16});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var there = iota(g, i32, {1, "T"}, 1) < expand_dims(lengths, 1);  // there: [B,T]
Var y = nn::dot_product_attention(x, x, x, there, {.heads = 4});  // y: [B,T,16]
Var layer = nn::multi_head_attention(x, x, {.heads = 4, .causal = true}, "self");
// layer: [B,T,16]

// At once, on tensors: equal scores give the mean of what is visible.
Tensor zero(f32, {1, 1, 2}), keys(f32, {1, 3, 2});
Tensor now = nn::dot_product_attention(zero, keys, Tensor::of<float>({1, 3, 1}, {1, 2, 6}));
// now: {3})",
       .differs =
           {{"PyTorch scaled_dot_product_attention",
             "[B,S,D] with heads as an option, where it has a leading axis for heads; its bool "
             "mask "
             "means the same, a mask of numbers is not taken; a query that sees nothing gives NaN "
             "there, 0 here. Dropout of the weights is left to the caller"},
            {"PyTorch MultiheadAttention",
             "is multi_head_attention with batch_first; its masks are true where nothing is seen: "
             "give logical_not of them"},
            {"Keras MultiHeadAttention",
             "the same with attention_mask = mask; key_dim there is units / heads"},
            {"ONNX Attention", "the 3-d form; is_causal is causal, attn_mask must be bool"}},
       .attributes = {{"scale", 1.0, "of the scores", {}, {}, {}, false, true},
                      {"heads", 1, "parts with weights of their own", {}, 1},
                      {"causal", false, "a query sees no position behind its own"}},
       .aliases = {{"PyTorch", "scaled_dot_product_attention", ""},
                   {"PyTorch", "is_causal", "causal"},
                   {"libnd4j", "multi_head_dot_product_attention", ""}},
       .sig_of = dot_product_signature,
       .lower = lower_dot_product,
       .samples = dot_product_samples()});
}

}  // namespace

void register_attention(OpRegistry& r) {
  register_dot_product(r);
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
       .samples = samples(),
       .refuses = refusals()});
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

template <Operable V>
V dot_product_attention(V queries, std::type_identity_t<V> keys, std::type_identity_t<V> values,
                        std::type_identity_t<V> mask, DotProductOptions o, Site at) {
  Attributes a{{"heads", o.heads}, {"causal", o.causal}};
  if (o.scale) a.set("scale", *o.scale);
  const bool of_keys = mask && known_shape(mask).size() == 2;
  return apply("dot_product_attention",
               std::vector<V>{queries, keys, values, of_keys ? mask : V(), of_keys ? V() : mask}, a,
               {.site = at})[0];
}

Var multi_head_attention(Var queries, Var memory, MultiHeadOptions o, std::string_view name,
                         Var mask, Site at) {
  const bool own = o.units == 0 && queries.rank() > 0 && queries.dim(-1).is_constant();
  const int64_t units = own ? queries.dim(-1).constant() : o.units;
  if (o.heads < 1 || units % o.heads != 0)
    fail(Fault::kArgument, "multi_head_attention.units.heads", "[multi_head_attention \"", name,
         "\"] heads is ", o.heads, ", but must be 1 or more and divide the units, ", units,
         built_at(at));
  Graph g = outermost(queries.graph());
  const Graph::Scope scope = g.scope(name);
  const Var q = dense(queries, units, "query", at), k = dense(memory, units, "key", at),
            v = dense(memory, units, "value", at);
  return dense(dot_product_attention(q, k, v, mask, {.heads = o.heads, .causal = o.causal}, at),
               units, "output", at);
}

#define RONDO_INSTANTIATE(V)                                                                      \
  template AttentionResult<V> attention(V, AttentionInputs<V>, AttentionConfig, std::string_view, \
                                        Site);                                                    \
  template V dot_product_attention(V, V, V, V, DotProductOptions, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace nn
}  // namespace rondo
