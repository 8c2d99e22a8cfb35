#include <rondo/ops/convolution.h>

#include <algorithm>
#include <string>
#include <utility>

#include <rondo/graph/checked.h>
#include <rondo/ops/convolution_parts.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace conv_internal;
using Ints = std::vector<int64_t>;

// x, kernel and y under so many groups: each has the channels, and gives the filters, of its own.
std::string signature_of(Space space, int64_t groups) {
  const std::string part = groups == 1 ? "" : cat(groups, "*");
  const bool line = space == Space::sequence;
  return cat("x[B,", line ? "T" : "H,W", ",", part, "C], kernel[", line ? "K" : "KH,KW", ",C,",
             part, "F], biases[", part, "F]? -> y[B,", line ? "P" : "P,Q", ",", part, "F]");
}

// The kernel's extent along each spatial axis, which must be numbers.
Ints kernel_size(const InferContext& c, Space space) {
  Ints r;
  for (size_t i = 0; i < static_cast<size_t>(space); ++i) {
    const Dim& d = c[1].shape.at(i);
    if (!d.is_constant())
      c.refuse("kernel", "symbol", "kernel has shape ", to_string(c[1].shape), ", but axis ", i,
               " must be a number");
    if (d.constant() < 1)
      c.refuse("kernel", "empty", "kernel has shape ", to_string(c[1].shape),
               ", which holds nothing along axis ", i);
    r.push_back(d.constant());
  }
  return r;
}

std::vector<ValueType> infer_conv(const InferContext& c, Space space) {
  std::vector<ValueType> r = infer_by_signature(c, true);
  const Shape lengths = places_of(c, space, kernel_size(c, space));
  std::copy(lengths.begin(), lengths.end(), r[0].shape.begin() + 1);
  return r;
}

bool takes_each_place(const PatchOptions& o) {
  constexpr std::array<int64_t, 2> kOnes{1, 1}, kZeros{0, 0};
  return o.size == kOnes && o.strides == kOnes && o.before == kZeros && o.after == kZeros;
}

// p[B,P,Q,K*C] as [rows, K, groups, C/groups], times the kernel's part of each group.
Var grouped_product(const Var& p, const Var& kernel, int64_t window, int64_t groups) {
  const Dim &depth = kernel.dim(-2), &filters = kernel.dim(-1);
  const Dim rows = p.dim(0) * p.dim(1) * p.dim(2);
  const Dim each = filters.divided_by(groups).value();  // the signature asked for a multiple
  Shape shape(p.shape().begin(), p.shape().end() - 1);
  shape.push_back(filters);
  if (depth == Dim(1)) {  // depthwise: no product of matrices is left
    const Var x = reshape(p, {rows, window, groups, 1});
    return reshape(sum(x * reshape(kernel, {window, groups, each}), {.axes = {1}}), shape);
  }
  const Var x = reshape(transpose(reshape(p, {rows, window, groups, depth}), {2, 0, 1, 3}),
                        {groups, rows, window * depth});
  const Var k = reshape(transpose(reshape(kernel, {window, depth, groups, each}), {2, 0, 1, 3}),
                        {groups, window * depth, each});
  return reshape(transpose(matmul(x, k), {1, 0, 2}), shape);
}

Vars lower_conv(const Call& c, Space space) {
  const Var &x = c["x"], &kernel = c["kernel"];
  Ints size;
  int64_t window = 1;
  for (size_t i = 0; i < static_cast<size_t>(space); ++i) {
    size.push_back(kernel.shape()[i].constant());
    window = checked_mul(window, size.back());
  }
  const PatchOptions o = window_of(c.attributes(), space, size, x.shape());
  const Var image = image_of(x, space);
  const Var p = takes_each_place(o) ? image : patches(image, o);
  const int64_t groups = c.integer("groups");
  Var y = groups == 1 ? matmul(p, reshape(kernel, {window * kernel.dim(-2), kernel.dim(-1)}))
                      : grouped_product(p, kernel, window, groups);
  y = from_image(y, space);
  return {c.has("biases") ? y + c["biases"] : y};
}

OpDef conv_def(Space space) {
  const bool line = space == Space::sequence;
  OpDef d;
  d.name = line ? "conv_1d" : "conv_2d";
  d.sig = line ? "x[B,T,C], kernel[K,D,F], biases[F]? -> y[B,P,F]"
               : "x[B,H,W,C], kernel[KH,KW,D,F], biases[F]? -> y[B,P,Q,F]";
  d.sig_of = [space](const Attributes& a) { return signature_of(space, a.integer("groups")); };
  d.attributes = place_attributes(space, Ints(static_cast<size_t>(space), 1));
  d.attributes.push_back({"dilations", Ints(static_cast<size_t>(space), 1),
                          "from one element of the kernel to the next"});
  d.attributes.push_back(
      {"groups", 1, "parts of the channels and of the filters, each by itself", {}, 1});
  d.check = [space](const InferContext& c) { check_places(c, space); };
  d.infer = [space](const InferContext& c) { return infer_conv(c, space); };
  d.lower = [space](const Call& c) { return lower_conv(c, space); };
  return d;
}

std::vector<RefusedCall> conv_refusals(const Sample& good, Space space, const Dims& small,
                                       const Dims& empty) {
  std::vector<RefusedCall> r = place_refusals(good, space);
  Sample bad = good;
  bad.attributes.set("dilations", Ints(3, 1));
  r.push_back({"dilations.count", bad, "not a dilation for each spatial axis"});
  bad.attributes.set("dilations", Ints(static_cast<size_t>(space), 0));
  r.push_back({"dilations.range", bad, "a dilation is below 1"});
  bad = good;
  bad.inputs[0].dims = small;
  r.push_back({"x.short", bad, "the kernel has no place on x"});
  bad = good;
  bad.inputs[1].dims = empty;
  r.push_back({"kernel.empty", bad, "the kernel has an axis of length 0"});
  return r;
}

OpDef conv_1d_def() {
  OpDef d = conv_def(Space::sequence);
  d.doc =
      R"(Convolution of a sequence with F filters of K steps:
    y[b,t,f] = biases[f] + sum over k, c of x[b, t*stride + k*dilation - before, c] kernel[k,c,f]
x[B,T,C], kernel[K,C/groups,F], biases[F] (absent = 0) -> y[B,P,F] with P = floor((T + before + after - (K-1)*dilation - 1) / stride) + 1.
padding VALID adds nothing; SAME so much that P = ceil(T / stride), one more at the end where it is odd; CAUSAL (K-1)*dilation in front, so
that y's step t sees no later one; AMOUNTS what `amounts` says. Padding is 0. With groups the filters f in [g F/groups, (g+1) F/groups) see
the g-th part of the channels; groups = C is a depthwise convolution. T may be a symbol; at a stride s it must be one times s ("2*N").)";
  d.source = "Waibel et al. (1989): time-delay networks";
  d.example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "2*T", 40});  // frames of 40 numbers
Var k = g.variable("k", init::glorot_uniform(g, {3, 40, 8}, 120, 24));
Var y = nn::conv_1d(x, k, {}, {.padding = nn::Padding::same});  // y: [B,2*T,8]
Var half = nn::conv_1d(x, 16, 5, "front", {.stride = 2, .padding = nn::Padding::same});
// half: [B,T,16]
Tensor t = Tensor::of<float>({1, 4, 1}, {1, 2, 3, 4});
Tensor now = nn::conv_1d(t, Tensor::full(f32, {2, 1, 1}, 1), {});  // now: {3, 5, 7})";
  d.differs = {{"PyTorch Conv1d",
                "x is [B,C,T] and weight [F,C/groups,K] there: transpose x by {0,2,1} and weight "
                "by {2,1,0}"},
               {"Keras Conv1D", "the same layouts, kernel and biases as they are"},
               {"ONNX Conv, MXNet Convolution",
                "X is [B,C,T] and W [F,C/groups,K]; pads are `amounts`, SAME_UPPER is SAME"},
               {"libnd4j conv1d",
                "weights [K,C,F] are the kernel as it is (weightFormat 0), x is [B,T,C] with NWC"}};
  d.aliases = {{"PyTorch", "Conv1d", ""},     {"Keras", "Conv1D", ""},
               {"libnd4j", "conv1d", ""},     {"PyTorch", "weight", "kernel"},
               {"PyTorch", "bias", "biases"}, {"Keras", "bias", "biases"}};
  const Sample::Input none = rnn_internal::absent();
  const Sample good{{{{1, 4, 2}}, {{2, 2, 1}}, none}};
  d.samples = {{{{{1, 5, 2}}, {{2, 2, 2}}, {{2}}}, {}, "VALID"},
               {{{{2, 4, 1}}, {{3, 1, 2}}, none}, {{"padding", "SAME"}}, "SAME, no biases"},
               {{{{1, 5, 1}}, {{2, 1, 1}}, {{1}}},
                {{"padding", "SAME"}, {"strides", Ints{2}}},
                "SAME, stride 2"},
               {{{{1, 4, 2}}, {{2, 2, 1}}, {{1}}},
                {{"padding", "CAUSAL"}, {"dilations", Ints{2}}},
                "CAUSAL, dilation 2"},
               {{{{1, 3, 1}}, {{3, 1, 1}}, none},
                {{"padding", "AMOUNTS"}, {"amounts", Ints{2, 1}}, {"strides", Ints{2}}},
                "AMOUNTS"},
               {{{{1, 3, 4}}, {{2, 2, 2}}, {{2}}}, {{"groups", 2}}, "groups"},
               {{{{1, 3, 2}}, {{2, 1, 4}}, {{4}}}, {{"groups", 2}}, "depthwise"},
               {{{{1, 3, 2}}, {{1, 2, 2}}, none}, {}, "of each step"}};
  d.refuses = conv_refusals(good, Space::sequence, {1, 0, 2}, {0, 2, 1});
  return d;
}

OpDef conv_2d_def() {
  OpDef d = conv_def(Space::image);
  d.doc =
      R"(Convolution of an image, or a spectrogram [B,T,bands,C], with F filters of KH by KW:
    y[b,p,q,f] = biases[f] + sum over i, j, c of x[b, p*strides[0] + i*dilations[0] - above, q*strides[1] + j*dilations[1] - left, c] kernel[i,j,c,f]
x[B,H,W,C], kernel[KH,KW,C/groups,F], biases[F] (absent = 0) -> y[B,P,Q,F]. Padding, groups and symbols as in conv_1d; an axis at stride s
that is a symbol must be one times s.)";
  d.source = "LeCun et al. (1989)";
  d.example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "4*T", 40, 1});  // a spectrogram of 40 bands
Var y = nn::conv_2d(x, 8, {3, 3}, "first", {.strides = {2, 2}, .padding = nn::Padding::same});
// y: [B,2*T,20,8]
Var steps = reshape(y, {"B", "2*T", 160});  // steps: [B,2*T,160]
Tensor t = Tensor::of<float>({1, 2, 2, 1}, {1, 2, 3, 4});
Tensor now = nn::conv_2d(t, Tensor::full(f32, {2, 2, 1, 1}, 1), {});  // now: {10})";
  d.differs = {
      {"PyTorch Conv2d, ONNX Conv, MXNet Convolution",
       "x is [B,C,H,W] and weight [F,C/groups,KH,KW] there: transpose x by {0,2,3,1} and weight by "
       "{2,3,1,0}"},
      {"Keras Conv2D, TensorFlow conv2d (NHWC)", "the same layouts, kernel and biases as they are"},
      {"Keras DepthwiseConv2D",
       "its kernel [KH,KW,C,M] is ours reshaped to [KH,KW,1,C*M], with groups = C"},
      {"libnd4j conv2d", "weights [KH,KW,C,F] are the kernel as it is (weightFormat 0)"}};
  d.aliases = {{"PyTorch", "Conv2d", ""},       {"Keras", "Conv2D", ""},
               {"libnd4j", "conv2d", ""},       {"ONNX", "Conv", ""},
               {"ONNX", "W", "kernel"},         {"ONNX", "B", "biases"},
               {"PyTorch", "weight", "kernel"}, {"PyTorch", "bias", "biases"},
               {"Keras", "bias", "biases"}};
  const Sample::Input none = rnn_internal::absent();
  const Sample good{{{{1, 2, 2, 1}}, {{2, 2, 1, 1}}, none}};
  d.samples = {{{{{1, 3, 3, 1}}, {{2, 2, 1, 1}}, {{1}}}, {}, "VALID"},
               {{{{1, 3, 1, 2}}, {{1, 3, 2, 1}}, none}, {{"padding", "SAME"}}, "SAME, no biases"},
               {{{{1, 5, 4, 1}}, {{3, 2, 1, 1}}, {{1}}},
                {{"padding", "SAME"}, {"strides", Ints{2, 3}}},
                "SAME, strides"},
               {{{{1, 4, 1, 1}}, {{2, 2, 1, 1}}, none},
                {{"padding", "AMOUNTS"}, {"amounts", Ints{1, 0, 1, 2}}, {"dilations", Ints{2, 1}}},
                "AMOUNTS, dilations"},
               {{{{1, 2, 1, 4}}, {{2, 1, 2, 2}}, {{2}}}, {{"groups", 2}}, "groups"},
               {{{{1, 2, 2, 2}}, {{1, 2, 1, 2}}, none}, {{"groups", 2}}, "depthwise"}};
  d.refuses = conv_refusals(good, Space::image, {1, 2, 0, 1}, {2, 0, 1, 1});
  return d;
}

}  // namespace

void register_convolution(OpRegistry& r) {
  r.add(conv_1d_def());
  r.add(conv_2d_def());
}

namespace nn {
namespace {

std::string_view name_of(Padding p) {
  return rnn_internal::name_of(kPaddingNames, static_cast<int>(p), "conv");
}

Attributes attributes_of(const Conv1dOptions& o) {
  return {{"strides", Ints{o.stride}},
          {"dilations", Ints{o.dilation}},
          {"groups", o.groups},
          {"padding", name_of(o.padding)},
          {"amounts", o.amounts}};
}
Attributes attributes_of(const Conv2dOptions& o) {
  return {{"strides", Ints(o.strides.begin(), o.strides.end())},
          {"dilations", Ints(o.dilations.begin(), o.dilations.end())},
          {"groups", o.groups},
          {"padding", name_of(o.padding)},
          {"amounts", o.amounts}};
}

// A kernel [size...,C/groups,filters] and biases of a convolution's own.
std::pair<Var, Var> conv_variables(const Var& x, std::string_view op, int64_t filters,
                                   const Ints& size, int64_t groups, std::string_view name,
                                   Site at) {
  const auto refuse = [&](std::string_view rule, const std::string& why) {
    fail(Fault::kArgument, cat(op, ".", rule), "[", op, " \"", name, "\"] ", why, built_at(at));
  };
  if (x.rank() != size.size() + 2 || !x.dim(-1).is_constant())
    refuse("x.dim", cat("x has shape ", to_string(x.shape()), ", but must be [B,",
                        size.size() == 1 ? "T" : "H,W", ",C] with a number C"));
  const int64_t channels = x.dim(-1).constant();
  if (groups < 1 || channels % groups != 0 || filters % groups != 0)
    refuse("groups.dim", cat("groups is ", groups, ", but must divide the ", channels,
                             " channels of x and the ", filters, " filters"));
  if (filters < 1) refuse("filters.range", cat("filters is ", filters, ", but must be 1 or more"));
  int64_t window = 1;
  for (const int64_t n : size) {
    if (n < 1) refuse("size.range", cat("size holds ", n, ", but must be at least 1"));
    window = checked_mul(window, n);
  }
  Graph g = outermost(x.graph());
  const Graph::Scope scope = g.scope(name);
  Dims dims = size;
  dims.insert(dims.end(), {channels / groups, filters});
  const Tensor first = init::glorot_uniform(g, dims, checked_mul(window, channels / groups),
                                            checked_mul(window, filters / groups), x.dtype());
  return {g.variable("kernel", first, true, at),
          g.variable("biases", init::zeros({filters}, x.dtype()), true, at)};
}

}  // namespace

template <Operable V>
V conv_1d(V x, std::type_identity_t<V> kernel, std::type_identity_t<V> biases,
          const Conv1dOptions& o, Site at) {
  return apply("conv_1d", std::vector<V>{x, kernel, biases}, attributes_of(o), {.site = at})[0];
}
template <Operable V>
V conv_2d(V x, std::type_identity_t<V> kernel, std::type_identity_t<V> biases,
          const Conv2dOptions& o, Site at) {
  return apply("conv_2d", std::vector<V>{x, kernel, biases}, attributes_of(o), {.site = at})[0];
}

Var conv_1d(Var x, int64_t filters, int64_t size, std::string_view name, const Conv1dOptions& o,
            Site at) {
  const auto [kernel, biases] = conv_variables(x, "conv_1d", filters, {size}, o.groups, name, at);
  return conv_1d(x, kernel, biases, o, at);
}
Var conv_2d(Var x, int64_t filters, std::array<int64_t, 2> size, std::string_view name,
            const Conv2dOptions& o, Site at) {
  const auto [kernel, biases] =
      conv_variables(x, "conv_2d", filters, {size[0], size[1]}, o.groups, name, at);
  return conv_2d(x, kernel, biases, o, at);
}

#define RONDO_INSTANTIATE(V)                               \
  template V conv_1d(V, V, V, const Conv1dOptions&, Site); \
  template V conv_2d(V, V, V, const Conv2dOptions&, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace nn
}  // namespace rondo
