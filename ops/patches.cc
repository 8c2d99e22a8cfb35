#include <rondo/ops/patches.h>

#include <algorithm>
#include <string>

#include <rondo/graph/checked.h>
#include <rondo/ops/convolution_parts.h>
#include <rondo/ops/register.h>

namespace rondo {
namespace {

using Ints = std::vector<int64_t>;
using Types = std::vector<ValueType>;

const std::vector<AttributeDef> kWindow{
    {"size", Ints{}, "rows and columns of the window", {}, {}, {}, true},
    {"strides", Ints{1, 1}, "from one place of the window to the next"},
    {"dilations", Ints{1, 1}, "from one element of the window to the next"},
    {"amounts", Ints{0, 0, 0, 0}, "padding: above, below, left, right"}};

void check_window(const InferContext& c) {
  conv_internal::check_list(c, "size", 2, 1);
  conv_internal::check_list(c, "strides", 2, 1);
  conv_internal::check_list(c, "dilations", 2, 1);
  conv_internal::check_list(c, "amounts", 4, 0);
}

Types infer_patches(const InferContext& c) {
  Types r = infer_by_signature(c, true);
  const PatchOptions o = patch_options(c.attributes());
  const Shape& x = c[0].shape;
  r[0].shape = {x[0], conv_internal::places_or_refuse(c, o, 0, x[1], 1),
                conv_internal::places_or_refuse(c, o, 1, x[2], 2),
                Dim(checked_mul(o.size[0], o.size[1])) * x[3]};
  return r;
}

Types infer_sum_patches(const InferContext& c) {
  Types r = infer_by_signature(c, false);
  const PatchOptions o = patch_options(c.attributes());
  const Shape &y = c[0].shape, &image = c.attributes().shape("image");
  if (image.size() != 2)
    c.refuse("image", "count", "image must be [height,width], got ", to_string(image));
  if (y.size() != 4) c.refuse("y", "rank", "y has shape ", to_string(y), ", but must be [B,P,Q,K]");
  for (const size_t axis : {size_t{0}, size_t{1}}) {
    const std::optional<Dim> want = places(o, axis, image[axis]);
    if (!want || !c.equal(*want, y[axis + 1]))
      c.refuse("y", "dim", "y has shape ", to_string(y), ", but axis ", axis + 1, " must be ",
               want ? want->str() : "the number of places of the window", ", as an image ",
               to_string(image), " has them");
  }
  const int64_t window = checked_mul(o.size[0], o.size[1]);
  const std::optional<Dim> channels = y[3].divided_by(window);
  if (!channels)
    c.refuse("y", "dim", "y has shape ", to_string(y), ", but axis 3 must be a multiple of the ",
             window, " elements of the window");
  r[0].shape = {y[0], image[0], image[1], *channels};
  return r;
}

// Without what only one of the two ops has.
Attributes window_of(const Call& c) { return attributes_of(patch_options(c.attributes())); }

Attributes window(Ints size, Ints strides, Ints dilations, Ints amounts) {
  return {{"size", std::move(size)},
          {"strides", std::move(strides)},
          {"dilations", std::move(dilations)},
          {"amounts", std::move(amounts)}};
}
Attributes with(Attributes a, std::string_view name, AttributeValue v) {
  a.set(name, std::move(v));
  return a;
}

struct WindowRefusal {
  const char *rule, *attribute;
  Ints value;
  const char* means;
};
const WindowRefusal kWindowRefusals[] = {
    {"size.count", "size", {2}, "size is not two numbers"},
    {"size.range", "size", {0, 1}, "the window is empty"},
    {"strides.count", "strides", {1, 1, 1}, "strides are not two numbers"},
    {"strides.range", "strides", {1, 0}, "the window does not move"},
    {"dilations.count", "dilations", {1}, "dilations are not two numbers"},
    {"dilations.range", "dilations", {-1, 1}, "the window turns back"},
    {"amounts.count", "amounts", {1, 1}, "amounts are not four numbers"},
    {"amounts.range", "amounts", {0, 0, -1, 0}, "padding is negative"}};

std::vector<RefusedCall> refusals(const Sample& good, std::vector<RefusedCall> more) {
  for (const WindowRefusal& w : kWindowRefusals) {
    Sample bad = good;
    bad.attributes.set(w.attribute, w.value);
    more.push_back({w.rule, bad, w.means});
  }
  return more;
}

}  // namespace

Attributes attributes_of(const PatchOptions& o) {
  return window({o.size[0], o.size[1]}, {o.strides[0], o.strides[1]},
                {o.dilations[0], o.dilations[1]},
                {o.before[0], o.after[0], o.before[1], o.after[1]});
}

PatchOptions patch_options(const Attributes& a) {
  const auto pair = [&](std::string_view name) {
    const Ints& v = a.integers(name);
    return std::array{v.at(0), v.at(1)};
  };
  const Ints& amounts = a.integers("amounts");
  return {pair("size"),
          pair("strides"),
          pair("dilations"),
          {amounts.at(0), amounts.at(2)},
          {amounts.at(1), amounts.at(3)}};
}

std::optional<Dim> floor_divided(const Dim& d, int64_t by) {
  Binding zeros;
  for (const std::string& s : d.symbols()) zeros[s] = 0;
  int64_t rest = d.bind(zeros).constant() % by;
  if (rest < 0) rest += by;
  return (d - Dim(rest)).divided_by(by);
}

int64_t reach(const PatchOptions& o, size_t axis) {
  return checked_add(checked_mul(o.size.at(axis) - 1, o.dilations.at(axis)), 1);
}

std::optional<Dim> places(const PatchOptions& o, size_t axis, const Dim& length) {
  const Dim room = length + Dim(o.before.at(axis)) + Dim(o.after.at(axis)) - Dim(reach(o, axis));
  const std::optional<Dim> steps = floor_divided(room, o.strides.at(axis));
  return steps ? std::optional(*steps + Dim(1)) : std::nullopt;
}

void register_patches(OpRegistry& r) {
  std::vector<AttributeDef> attributes = kWindow;
  attributes.push_back({"padding", 0.0, "what stands around x"});
  const Sample good{{{{1, 3, 3, 1}}}, {{"size", Ints{2, 2}}}};
  r.add(
      {.name = "patches",
       .sig = "x[B,H,W,C] -> y[B,P,Q,K]",
       .doc = R"(What lies under a window, at each place that it takes:
    y[b,p,q,(i,j,c)] = x[b, p*strides[0] + i*dilations[0] - above, q*strides[1] + j*dilations[1] - left, c]
and `padding` where that lies outside of x. K = size[0]*size[1]*C. Along an axis of length H, its padding counted, there are
floor((H - (size-1)*dilation - 1) / stride) + 1 places. A convolution is a product with patches, a pooling a reduction of them.)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", "T", 40, 1});
Var y = patches(x, {.size = {3, 3}, .before = {1, 1}, .after = {1, 1}});  // y: [B,T,40,9]
Tensor t = Tensor::of<float>({1, 3, 1, 1}, {1, 2, 3});
Tensor now = patches(t, {.size = {2, 1}});  // now: {1, 2, 2, 3})",
       .differs = {{"PyTorch Unfold",
                    "channels come last here, and stand last within a patch; "
                    "the places keep their two axes"},
                   {"TensorFlow image.extract_patches",
                    "the same order of elements; its rates are dilations"}},
       .attributes = attributes,
       .aliases = {{"libnd4j", "im2col", ""}},
       .infer = infer_patches,
       .check = check_window,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         const Shape& x = c.in(0).shape();
         return {sum_patches(g[0], x[1], x[2], patch_options(c.attributes()))};
       },
       .samples = {{{{{1, 3, 4, 2}}}, {{"size", Ints{2, 2}}}},
                   {{{{2, 5, 4, 1}}}, window({3, 2}, {2, 1}, {1, 2}, {1, 2, 0, 1}), "all options"},
                   {{{{1, 6, 1, 2}}}, window({3, 1}, {1, 1}, {1, 1}, {2, 0, 0, 0}), "a sequence"},
                   {{{{1, 7, 1, 3}}}, window({2, 1}, {2, 1}, {3, 1}, {0, 0, 0, 0}), "far apart"},
                   {{{{1, 2, 3, 1}}},
                    with(window({2, 3}, {1, 1}, {1, 1}, {1, 1, 2, 2}), "padding", -1.5),
                    "padding"},
                   {{{{0, 2, 2, 1}}}, {{"size", Ints{1, 2}}}}},
       .refuses = refusals(
           good, {{"x.short", {{{{1, 1, 3, 1}}}, {{"size", Ints{3, 1}}}}, "no place has room"}})});
  attributes = kWindow;
  attributes.push_back({"image", Shape{}, "[height,width] of x", {}, {}, {}, true});
  const Sample whole{{{{1, 2, 2, 4}}}, {{"size", Ints{2, 2}}, {"image", Shape{3, 3}}}};
  r.add(
      {.name = "sum_patches",
       .sig = "y[...] -> x[...]",
       .doc =
           R"(The adjoint of patches: each element of x[B,height,width,C] is the sum of what patches of an image of that size would have
taken from there. y[B,P,Q,K], K = size[0]*size[1]*C. What stands for padding is left out.)",
       .example = R"(Graph g;
Var y = g.placeholder("y", f32, {"B", "T", 1, 6});
Var x = sum_patches(y, Dim("T") + 1, 1, {.size = {2, 1}});  // x: [B,T+1,1,3]
Tensor t = Tensor::of<float>({1, 2, 1, 2}, {1, 2, 3, 4});
Tensor now = sum_patches(t, 3, 1, {.size = {2, 1}});  // now: {1, 5, 4})",
       .differs = {{"PyTorch Fold", "channels come last here, and stand last within a patch"}},
       .attributes = attributes,
       .aliases = {{"libnd4j", "col2im", ""}},
       .infer = infer_sum_patches,
       .check = check_window,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         return {apply("patches", {g[0]}, window_of(c))[0]};
       },
       .samples = {{{{{1, 2, 3, 8}}}, {{"size", Ints{2, 2}}, {"image", Shape{3, 4}}}},
                   {{{{2, 3, 3, 6}}},
                    with(window({3, 2}, {2, 1}, {1, 2}, {1, 2, 0, 1}), "image", Shape{5, 4}),
                    "all options"},
                   {{{{1, 6, 1, 6}}},
                    with(window({3, 1}, {1, 1}, {1, 1}, {2, 0, 0, 0}), "image", Shape{6, 1}),
                    "a sequence"},
                   {{{{1, 2, 1, 2}}},
                    with(window({1, 1}, {3, 1}, {1, 1}, {0, 0, 0, 0}), "image", Shape{5, 1}),
                    "gaps"}},
       .refuses =
           refusals(whole, {{"y.rank", {{{{1, 2, 2}}}, whole.attributes}, "y has not four axes"},
                            {"y.dim", {{{{1, 3, 2, 4}}}, whole.attributes}, "rows differ"},
                            {"y.dim", {{{{1, 2, 2, 5}}}, whole.attributes}, "no whole patches"},
                            {"image.count",
                             {whole.inputs, {{"size", Ints{2, 2}}, {"image", Shape{3}}}},
                             "image is not two numbers"}})});
}

template <Operable V>
V patches(V x, const PatchOptions& options, double padding, Site at) {
  return apply("patches", {x}, with(attributes_of(options), "padding", padding), {.site = at})[0];
}
template <Operable V>
V sum_patches(V y, Dim height, Dim width, const PatchOptions& options, Site at) {
  const Shape image{std::move(height), std::move(width)};
  return apply("sum_patches", {y}, with(attributes_of(options), "image", image), {.site = at})[0];
}

#define RONDO_INSTANTIATE(V)                                \
  template V patches(V, const PatchOptions&, double, Site); \
  template V sum_patches(V, Dim, Dim, const PatchOptions&, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
