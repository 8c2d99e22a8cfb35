#include <rondo/ops/pooling.h>

#include <limits>
#include <string>

#include <rondo/graph/checked.h>
#include <rondo/ops/convolution_parts.h>
#include <rondo/ops/half_math.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace conv_internal;
using Ints = std::vector<int64_t>;

enum class Pool { max, avg };

void check_pool(const InferContext& c, Space space) {
  check_list(c, "size", static_cast<size_t>(space), 1);
  check_places(c, space);
  const Ints &size = c.attributes().integers("size"), &amounts = c.attributes().integers("amounts");
  for (size_t i = 0; i < amounts.size(); ++i) {
    if (amounts[i] >= size[i / 2])
      c.refuse("amounts", "window", "amounts hold ", amounts[i], ", but must be below the size ",
               size[i / 2], " of the window, which would hold padding alone");
  }
}

std::vector<ValueType> infer_pool(const InferContext& c, Space space) {
  std::vector<ValueType> r = infer_by_signature(c, true);
  const Shape lengths = places_of(c, space, c.attributes().integers("size"));
  for (size_t i = 0; i < lengths.size(); ++i) {
    const Dim &length = c[0].shape.at(i + 1), &places = lengths[i];
    if (length == Dim(0) && places.is_constant() && places.constant() > 0)
      c.refuse("x", "empty", "x has shape ", to_string(c[0].shape), ", but axis ", i + 1,
               " must not be empty: each of the ", places,
               " windows over it would hold padding "
               "alone");
  }
  std::copy(lengths.begin(), lengths.end(), r[0].shape.begin() + 1);
  return r;
}

// [B,P,Q,K*C] -> [B,P,Q,K,C].
Var by_channel(const Var& p, const PatchOptions& o, const Dim& channels) {
  return reshape(p, {p.dim(0), p.dim(1), p.dim(2), checked_mul(o.size[0], o.size[1]), channels});
}

Vars lower_pool(const Call& c, Space space, Pool pool) {
  const PatchOptions o =
      window_of(c.attributes(), space, c.attributes().integers("size"), c["x"].shape());
  const Var x = image_of(c["x"], space);
  if (pool == Pool::max) {
    const Var p = patches(x, o, -std::numeric_limits<double>::infinity());
    return {from_image(reduce_max(by_channel(p, o, x.dim(3)), {.axes = {3}}), space)};
  }
  const Var wide = widened(x);
  const Var total = sum(by_channel(patches(wide, o), o, x.dim(3)), {.axes = {3}});
  // How much of each window lies on x.
  const Var ones = fill(x.graph(), wide.dtype(), {1, x.dim(1), x.dim(2), 1}, 1);
  const Var count = sum(patches(ones, o), {.axes = {3}, .keep_dims = true});
  return {from_image(narrowed(total / count, x.dtype()), space)};
}

std::vector<Sample> samples_of(Space space) {
  if (space == Space::sequence)
    return {
        {{{{1, 4, 2}}}, {{"size", Ints{2}}}, "VALID"},
        {{{{2, 5, 1}}}, {{"size", Ints{3}}, {"padding", "SAME"}}, "SAME"},
        {{{{1, 4, 1}}}, {{"size", Ints{3}}, {"strides", Ints{1}}, {"padding", "CAUSAL"}}, "CAUSAL"},
        {{{{1, 3, 1}}},
         {{"size", Ints{2}}, {"strides", Ints{2}}, {"padding", "AMOUNTS"}, {"amounts", Ints{1, 1}}},
         "AMOUNTS"},
        {{{{1, 3, 2}}}, {{"size", Ints{1}}, {"strides", Ints{2}}}, "every other"}};
  return {{{{{1, 4, 2, 2}}}, {{"size", Ints{2, 2}}}, "VALID"},
          {{{{1, 3, 5, 1}}},
           {{"size", Ints{2, 3}}, {"strides", Ints{1, 2}}, {"padding", "SAME"}},
           "SAME"},
          {{{{2, 2, 1, 1}}},
           {{"size", Ints{2, 2}}, {"padding", "AMOUNTS"}, {"amounts", Ints{1, 1, 0, 1}}},
           "AMOUNTS"},
          {{{{1, 3, 1, 2}}}, {{"size", Ints{1, 1}}, {"strides", Ints{2, 1}}}, "every other"}};
}

std::vector<RefusedCall> refusals_of(Space space) {
  const auto axes = static_cast<size_t>(space);
  const Dims dims = space == Space::sequence ? Dims{1, 3, 1} : Dims{1, 3, 3, 1};
  const Sample good{{{dims}}, {{"size", Ints(axes, 2)}}};
  std::vector<RefusedCall> r = place_refusals(good, space);
  const auto with = [&](Dims x, std::vector<Attributes::Item> items) {
    Sample bad = good;
    bad.inputs[0].dims = std::move(x);
    for (auto& [name, value] : items) bad.attributes.set(name, value);
    return bad;
  };
  r.push_back({"size.count", with(dims, {{"size", Ints(3, 2)}}), "not a size for each axis"});
  r.push_back({"size.range", with(dims, {{"size", Ints(axes, 0)}}), "the window is empty"});
  r.push_back({"amounts.window",
               with(dims, {{"padding", "AMOUNTS"}, {"amounts", Ints(2 * axes, 2)}}),
               "a window would hold padding alone"});
  Dims shorter = dims;
  shorter[1] = 0;
  r.push_back({"x.empty", with(shorter, {{"padding", "AMOUNTS"}, {"amounts", Ints(2 * axes, 1)}}),
               "an axis is empty, and a window over it would hold padding alone"});
  r.push_back({"x.short", with(shorter, {{"strides", Ints(axes, 1)}}), "the window has no place"});
  return r;
}

struct PoolText {
  Space space;
  Pool pool;
  const char *name, *sig, *doc, *example;
  std::vector<Difference> differs;
  std::vector<Alias> aliases;
};

std::vector<PoolText> texts() {
  const char* const sequence = "x[B,T,C] -> y[B,P,C]";
  const char* const image = "x[B,H,W,C] -> y[B,P,Q,C]";
  const Difference padding{"PyTorch, whose average counts its padding",
                           "padding never counts here: count_include_pad is False"};
  const Difference layout{"PyTorch, ONNX, MXNet",
                          "channels come last here: transpose x; P is rounded down (no ceil_mode)"};
  const Difference whole{"Keras GlobalMaxPooling, GlobalAveragePooling",
                         "are reduce_max and mean over the spatial axes"};
  return {{Space::sequence,
           Pool::max,
           "max_pool_1d",
           sequence,
           R"(The largest value of each channel under a window that moves over the sequence:
    y[b,p,c] = largest x[b, p*stride + k - before, c] with k < size
P = floor((T + before + after - size) / stride) + 1; no stride = the window's size. NaN passes through; the first of ties takes the gradient.
padding is VALID, SAME (P = ceil(T / stride)), CAUSAL or AMOUNTS; what is added is never the largest. Symbols as in conv_1d.)",
           R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "2*T", 40});
Var y = nn::max_pool_1d(x, 2);  // y: [B,T,40]
Var smooth = nn::max_pool_1d(x, 3, {.stride = 1, .padding = nn::Padding::same});
// smooth: [B,2*T,40]
Tensor t = Tensor::of<float>({1, 4, 1}, {1, 4, 3, 2});
Tensor now = nn::max_pool_1d(t, 2);  // now: {4, 3})",
           {layout, whole},
           {{"PyTorch", "MaxPool1d", ""}, {"Keras", "MaxPooling1D", ""}}},
          {Space::image,
           Pool::max,
           "max_pool_2d",
           image,
           R"(The largest value of each channel under a window that moves over the image:
    y[b,p,q,c] = largest x[b, p*strides[0] + i - above, q*strides[1] + j - left, c] with i < size[0], j < size[1]
Otherwise as max_pool_1d.)",
           R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "2*T", 40, 8});
Var y = nn::max_pool_2d(x, {2, 2});  // y: [B,T,20,8]
Tensor t = Tensor::of<float>({1, 2, 2, 1}, {1, 4, 3, 2});
Tensor now = nn::max_pool_2d(t, {2, 2});  // now: {4})",
           {layout, whole},
           {{"PyTorch", "MaxPool2d", ""},
            {"Keras", "MaxPooling2D", ""},
            {"ONNX", "MaxPool", ""},
            {"libnd4j", "maxpool2d", ""}}},
          {Space::sequence,
           Pool::avg,
           "avg_pool_1d",
           sequence,
           R"(The mean of each channel under a window that moves over the sequence:
    y[b,p,c] = mean of x[b, p*stride + k - before, c] over those k < size where that lies on x
Options as in max_pool_1d. Padding does not count: at the ends the mean is over fewer steps.)",
           R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "2*T", 40});
Var y = nn::avg_pool_1d(x, 2);  // y: [B,T,40]
Tensor t = Tensor::of<float>({1, 3, 1}, {1, 2, 4});
Tensor now = nn::avg_pool_1d(t, 2, {.padding = nn::Padding::same});  // now: {1.5, 4})",
           {padding, layout, whole},
           {{"PyTorch", "AvgPool1d", ""}, {"Keras", "AveragePooling1D", ""}}},
          {Space::image,
           Pool::avg,
           "avg_pool_2d",
           image,
           R"(The mean of each channel under a window that moves over the image:
    y[b,p,q,c] = mean of x[b, p*strides[0] + i - above, q*strides[1] + j - left, c] over those i < size[0], j < size[1] that lie on x
Otherwise as avg_pool_1d.)",
           R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "2*T", 40, 8});
Var y = nn::avg_pool_2d(x, {2, 2});  // y: [B,T,20,8]
Tensor t = Tensor::of<float>({1, 2, 2, 1}, {1, 4, 3, 2});
Tensor now = nn::avg_pool_2d(t, {2, 2});  // now: {2.5})",
           {padding, layout, whole},
           {{"PyTorch", "AvgPool2d", ""},
            {"Keras", "AveragePooling2D", ""},
            {"ONNX", "AveragePool", ""},
            {"libnd4j", "avgpool2d", ""}}}};
}

}  // namespace

void register_pooling(OpRegistry& r) {
  for (PoolText& t : texts()) {
    std::vector<AttributeDef> attributes = place_attributes(t.space, {});
    attributes.insert(
        attributes.begin(),
        {"size", Ints{}, "the window, a number for each spatial axis", {}, {}, {}, true});
    r.add({.name = t.name,
           .sig = t.sig,
           .doc = t.doc,
           .example = t.example,
           .differs = std::move(t.differs),
           .attributes = std::move(attributes),
           .aliases = std::move(t.aliases),
           .infer = [s = t.space](const InferContext& c) { return infer_pool(c, s); },
           .check = [s = t.space](const InferContext& c) { check_pool(c, s); },
           .lower = [s = t.space, p = t.pool](const Call& c) { return lower_pool(c, s, p); },
           .samples = samples_of(t.space),
           .refuses = refusals_of(t.space)});
  }
}

namespace nn {
namespace {

Attributes attributes_of(const Ints& size, const Ints& strides, Padding padding,
                         const Ints& amounts) {
  return {{"size", size},
          {"strides", strides},
          {"padding", rnn_internal::name_of(kPaddingNames, static_cast<int>(padding), "pool")},
          {"amounts", amounts}};
}
Attributes attributes_of(int64_t size, const Pool1dOptions& o) {
  return attributes_of(Ints{size}, o.stride == 0 ? Ints{} : Ints{o.stride}, o.padding, o.amounts);
}
Attributes attributes_of(std::array<int64_t, 2> size, const Pool2dOptions& o) {
  return attributes_of(Ints{size[0], size[1]}, o.strides, o.padding, o.amounts);
}

}  // namespace

#define RONDO_POOL(name, Size, Options)                                              \
  template <Operable V>                                                              \
  V name(V x, Size size, const Options& o, Site at) {                                \
    return apply(#name, std::vector<V>{x}, attributes_of(size, o), {.site = at})[0]; \
  }                                                                                  \
  template Var name(Var, Size, const Options&, Site);                                \
  template Tensor name(Tensor, Size, const Options&, Site);
using Two = std::array<int64_t, 2>;
RONDO_POOL(max_pool_1d, int64_t, Pool1dOptions)
RONDO_POOL(avg_pool_1d, int64_t, Pool1dOptions)
RONDO_POOL(max_pool_2d, Two, Pool2dOptions)
RONDO_POOL(avg_pool_2d, Two, Pool2dOptions)
#undef RONDO_POOL

}  // namespace nn
}  // namespace rondo
