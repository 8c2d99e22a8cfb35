#include <rondo/ops/random_ops.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <rondo/graph/eager.h>
#include <rondo/ops/operand.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>

namespace rondo {
namespace {

const AttributeDef kShape{"shape", Shape{}, "the shape", {}, {}, {}, true};
const AttributeDef kStream{"stream", 0, "which random numbers are drawn", {}, 0, kLastStream};
const AttributeDef kMean{"mean", 0.0, "in the middle"};
const AttributeDef kDeviation{"standard_deviation", 1.0, "of the numbers that are not cut", {}, 0};

AttributeDef element_type(DType t) { return {"dtype", t, "element type"}; }

const Difference kKey{"anywhere else",
                      "a number is a function of seed, stream, step and element: the same for any "
                      "number of threads and in every dtype (rounded); a run of the same seed and "
                      "step draws the same again. It draws in every run, not only in training"};

void check_sizes(const InferContext& c, std::string_view name) {
  const Shape& s = c.attributes().shape(name);
  for (const Dim& d : s) {
    if (d.is_constant() && d.constant() < 0)
      c.refuse(name, "negative", name, " ", to_string(s), " has a negative dimension");
  }
}

std::vector<ValueType> infer_draw(const InferContext& c) {
  check_sizes(c, "shape");
  return {{c.attributes().dtype("dtype"), c.attributes().shape("shape"), true}};
}

std::vector<ValueType> infer_floats(const InferContext& c) {
  const DType t = c.attributes().dtype("dtype");
  if (!is_float(t))
    c.refuse("dtype", "float", "dtype is ", t, ", but must be a float (f32, f64, bf16 or f16)");
  return infer_draw(c);
}

void check_bounds(const InferContext& c) {
  const double low = c.attributes().number("low"), high = c.attributes().number("high");
  if (!(low < high) || !std::isfinite(high - low))
    c.refuse("high", "order", "low is ", low, " and high ", high,
             ", but must be finite, and high above low");
}

std::vector<ValueType> infer_permutation(const InferContext& c) {
  const Shape& n = c.attributes().shape("n");
  const DType t = c.attributes().dtype("dtype");
  if (n.size() != 1) c.refuse("n", "count", "n must be [n], got ", to_string(n));
  check_sizes(c, "n");
  if (!is_integer(t)) c.refuse("dtype", "int", "dtype is ", t, ", but must be i32 or i64");
  const bool known = n[0].is_constant();
  if (!known) c.equal(n[0], Dim(0));  // checked again once it is known
  if (known && t == i32 && n[0].constant() - 1 > std::numeric_limits<int32_t>::max())
    c.refuse("n", "i32", "n is ", n[0], ", whose indices i32 cannot hold; ask for i64");
  return {{t, n, true}};
}

RefusedCall refused(std::string rule, Attributes attributes, std::string means) {
  return {std::move(rule), {{}, std::move(attributes)}, std::move(means)};
}
RefusedCall negative(std::string_view name) {
  return refused(cat(name, ".negative"), {{name == "n" ? "n" : "shape", Shape{-1}}},
                 "a dimension is negative");
}
RefusedCall whole_dtype() {
  return refused("dtype.float", {{"shape", Shape{2}}, {"dtype", i32}}, "dtype is no float");
}

// Sizes of nothing, one, odd ones, and more than a kernel takes at a time.
std::vector<Sample> samples_with(const Attributes& own) {
  std::vector<Sample> r;
  for (const Shape& s : {Shape{2, 3}, Shape{}, Shape{0, 3}, Shape{17}, Shape{5, 7001}}) {
    r.push_back({{}, own});
    r.back().attributes.set("shape", s);
    r.back().attributes.set("stream", static_cast<int64_t>(r.size()) - 1);
  }
  return r;
}

}  // namespace

void register_random(OpRegistry& r) {
  r.add(
      {.name = "uniform",
       .sig = "-> y[...]:any",
       .doc = "y even in [low, high): low + (high - low) u, u one of the 2^24 multiples of 2^-24 "
              "in [0, 1).",
       .source = "Salmon, Moraes, Dror and Shaw (2011), for all random numbers here",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var noisy = x + random::uniform(g, x.shape(), -0.1, 0.1);  // noisy: [T,B,3]
Rng rng(7);
Tensor now = random::uniform(rng, {2, 3});  // now: [2,3]
Tensor other = random::uniform(rng, {2, 3});  // other: [2,3])",
       .differs = {kKey, {"TensorFlow, SameDiff", "floats only; whole numbers are floor of them"}},
       .attributes = {kShape,
                      {"low", 0.0, "the least"},
                      {"high", 1.0, "above all"},
                      element_type(f32),
                      kStream},
       .aliases = {{"SameDiff", "random.uniform", ""},
                   {"libnd4j", "randomuniform", ""},
                   {"ONNX", "RandomUniform", ""},
                   {"PyTorch", "rand", ""}},
       .infer = infer_floats,
       .check = check_bounds,
       .no_gradient = true,
       .opaque = true,
       .samples = samples_with({{"low", -1.5}, {"high", 2.0}}),
       .refuses = {negative("shape"), whole_dtype(),
                   refused("high.order", {{"shape", Shape{2}}, {"low", 1.0}, {"high", 1.0}},
                           "high is not above low, or one of them is infinite")}});
  r.add({.name = "normal",
         .sig = "-> y[...]:any",
         .doc = "y = mean + standard_deviation z, z normal of mean 0 and variance 1.",
         .source = "Box and Muller (1958)",
         .example = R"(Graph g;
Var mean = g.placeholder("mean", f32, {"B", 3});
Var sample = mean + 0.1 * random::normal(g, mean.shape());  // sample: [B,3]
Rng rng(7);
Tensor now = random::normal(rng, {2, 3});  // now: [2,3])",
         .differs = {kKey},
         .attributes = {kShape, kMean, kDeviation, element_type(f32), kStream},
         .aliases = {{"SameDiff", "random.normal", ""},
                     {"libnd4j", "random_normal", ""},
                     {"ONNX", "RandomNormal", ""},
                     {"PyTorch", "randn", ""}},
         .infer = infer_floats,
         .no_gradient = true,
         .opaque = true,
         .samples = samples_with({{"mean", 0.5}, {"standard_deviation", 2.0}}),
         .refuses = {negative("shape"), whole_dtype()}});
  r.add({.name = "truncated_normal",
         .sig = "-> y[...]:any",
         .doc = "As normal; what is further than two standard deviations from the mean is drawn "
                "anew.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
Var noisy = x + random::truncated_normal(g, x.shape(), 0, 0.1);  // noisy: [B,3]
Rng rng(7);
Tensor now = random::truncated_normal(rng, {2, 3});  // now: [2,3])",
         .differs = {kKey,
                     {"PyTorch trunc_normal_",
                      "its bounds are given, +-2 there, whatever the deviation; here, as in "
                      "TensorFlow, they are two standard deviations"}},
         .attributes = {kShape, kMean, kDeviation, element_type(f32), kStream},
         .aliases = {{"SameDiff", "random.normalTruncated", ""}, {"Keras", "TruncatedNormal", ""}},
         .infer = infer_floats,
         .no_gradient = true,
         .opaque = true,
         .samples = samples_with({{"mean", -0.5}, {"standard_deviation", 0.5}}),
         .refuses = {negative("shape"), whole_dtype()}});
  r.add({.name = "bernoulli",
         .sig = "-> y[...]:any",
         .doc = "y = 1 with the given probability, else 0; as bool true and false.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
Var y = where(random::bernoulli(g, x.shape(), 0.9), x, 0);  // y: [B,3]
Rng rng(7);
Tensor now = random::bernoulli(rng, {3}, 1);  // now: {1, 1, 1})",
         .differs = {kKey,
                     {"PyTorch bernoulli",
                      "one probability for all; for others: "
                      "random::uniform(g, p.shape()) < p"}},
         .attributes =
             {kShape, {"probability", 0.5, "of a 1", {}, 0, 1}, element_type(boolean), kStream},
         .aliases = {{"SameDiff", "random.bernoulli", ""},
                     {"libnd4j", "random_bernoulli", ""},
                     {"ONNX", "Bernoulli", ""}},
         .infer = infer_draw,
         .no_gradient = true,
         .opaque = true,
         .samples =
             [] {
               std::vector<Sample> s = samples_with({{"probability", 0.3}});
               s.push_back({{}, {{"shape", Shape{9}}, {"dtype", f64}}});
               s.push_back({{}, {{"shape", Shape{9}}, {"dtype", f32}, {"probability", 1.0}}});
               s.push_back({{}, {{"shape", Shape{9}}, {"dtype", i32}, {"probability", 0.0}}});
               return s;
             }(),
         .refuses = {negative("shape")}});
  r.add({.name = "gumbel",
         .sig = "-> y[...]:any",
         .doc = "y = -log(-log(u)), u even in (0, 1). The largest of logits + y stands at v with "
                "the probability softmax(logits)[v].",
         .source = "Gumbel (1935)",
         .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"B", 9});
Var drawn = argmax(logits + random::gumbel(g, logits.shape()));  // drawn: [B]
Rng rng(7);
Tensor now = random::gumbel(rng, {2, 3});  // now: [2,3])",
         .differs = {kKey},
         .attributes = {kShape, element_type(f32), kStream},
         .infer = infer_floats,
         .no_gradient = true,
         .opaque = true,
         .samples = samples_with({}),
         .refuses = {negative("shape"), whole_dtype()}});
  r.add({.name = "permutation",
         .sig = "-> y[N]:any",
         .doc = "y[n]: the numbers 0 to n - 1, in an order that is drawn evenly from all of them.",
         .source = "Fisher and Yates (1938)",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
Var mixed = gather(x, random::permutation(g, x.dim(0)));  // mixed: [B,3]
Rng rng(7);
Tensor now = random::permutation(rng, 5);  // now: [5])",
         .differs = {kKey, {"PyTorch randperm", "n may be a symbol"}},
         .attributes = {{"n", Shape{}, "[n]", {}, {}, {}, true}, element_type(i64), kStream},
         .aliases = {{"PyTorch", "randperm", ""}},
         .infer = infer_permutation,
         .no_gradient = true,
         .opaque = true,
         .samples = {{{}, {{"n", Shape{7}}}},
                     {{}, {{"n", Shape{0}}, {"dtype", i32}}},
                     {{}, {{"n", Shape{1}}}},
                     {{}, {{"n", Shape{1000}}, {"dtype", i32}, {"stream", 3}}}},
         .refuses = {
             negative("n"), refused("n.count", {{"n", Shape{2, 3}}}, "n is not one dimension"),
             refused("n.i32", {{"n", Shape{int64_t{1} << 40}}, {"dtype", i32}},
                     "i32 cannot hold the indices"),
             refused("dtype.int", {{"n", Shape{2}}, {"dtype", f32}}, "dtype is no integer")}});
}

namespace random {
namespace {

// In the graph; inside of the body of a recurrence before its loop, for each step and row.
Var draw(std::string_view op, Graph g, Shape shape, Attributes a, Site at) {
  const OpenBody* b = open_body();
  const auto of_body = [&](const Dim& d) {
    const std::vector<std::string> symbols = d.symbols();
    return std::find(symbols.begin(), symbols.end(), b->symbol) != symbols.end();
  };
  const bool inside =
      b != nullptr && (g == b->graph || std::any_of(shape.begin(), shape.end(), of_body));
  if (inside) {
    if (shape.empty() || !(shape[0] == Dim::symbol(b->symbol)) ||
        std::any_of(shape.begin() + 1, shape.end(), of_body))
      fail(Fault::kArgument, cat(op, ".shape.rows"), "[", op,
           "] inside a recurrence the shape must begin with the rows, x.dim(0), and name them only "
           "there, got ",
           to_string(shape), "; for the same numbers at each step draw them before the loop");
    shape[0] = b->rows;
    shape.insert(shape.begin(), b->steps);
    return per_step(draw(op, b->graph.parent(), std::move(shape), std::move(a), at), at);
  }
  if (g.has_parent())
    fail(
        Fault::kUnsupported, cat(op, ".shape.body"), "[", op,
        "] cannot be used in the body of cond, while_loop or scan, nor in a recurrence inside of a "
        "recurrence; draw around them, and give the "
        "numbers to them as xs");
  a.set("shape", std::move(shape));
  a.set("stream", g.next_stream());
  return g.call(registry().at(op), {}, std::move(a), {.site = at})[0];
}

Tensor draw(std::string_view op, Rng& rng, Attributes a, Site at) {
  a.set("stream", rng.stream());
  Tensor t = eager_call(registry().at(op), {}, a, {.site = at},
                        {.seed = rng.seed(), .step = rng.step()})[0];
  rng.advance();
  return t;
}
Tensor draw(std::string_view op, Rng& rng, const Dims& dims, Attributes a, Site at) {
  a.set("shape", to_shape(dims));
  return draw(op, rng, std::move(a), at);
}

Attributes bounds(double low, double high, DType dtype) {
  return {{"low", low}, {"high", high}, {"dtype", dtype}};
}
Attributes moments(double mean, double standard_deviation, DType dtype) {
  return {{"mean", mean}, {"standard_deviation", standard_deviation}, {"dtype", dtype}};
}

}  // namespace

Var uniform(Graph g, Shape shape, double low, double high, DType dtype, Site at) {
  return draw("uniform", std::move(g), std::move(shape), bounds(low, high, dtype), at);
}
Tensor uniform(Rng& rng, const Dims& dims, double low, double high, DType dtype, Site at) {
  return draw("uniform", rng, dims, bounds(low, high, dtype), at);
}
Var normal(Graph g, Shape shape, double mean, double standard_deviation, DType dtype, Site at) {
  return draw("normal", std::move(g), std::move(shape), moments(mean, standard_deviation, dtype),
              at);
}
Tensor normal(Rng& rng, const Dims& dims, double mean, double standard_deviation, DType dtype,
              Site at) {
  return draw("normal", rng, dims, moments(mean, standard_deviation, dtype), at);
}
Var truncated_normal(Graph g, Shape shape, double mean, double standard_deviation, DType dtype,
                     Site at) {
  return draw("truncated_normal", std::move(g), std::move(shape),
              moments(mean, standard_deviation, dtype), at);
}
Tensor truncated_normal(Rng& rng, const Dims& dims, double mean, double standard_deviation,
                        DType dtype, Site at) {
  return draw("truncated_normal", rng, dims, moments(mean, standard_deviation, dtype), at);
}
Var bernoulli(Graph g, Shape shape, double probability, DType dtype, Site at) {
  return draw("bernoulli", std::move(g), std::move(shape),
              {{"probability", probability}, {"dtype", dtype}}, at);
}
Tensor bernoulli(Rng& rng, const Dims& dims, double probability, DType dtype, Site at) {
  return draw("bernoulli", rng, dims, {{"probability", probability}, {"dtype", dtype}}, at);
}
Var gumbel(Graph g, Shape shape, DType dtype, Site at) {
  return draw("gumbel", std::move(g), std::move(shape), {{"dtype", dtype}}, at);
}
Tensor gumbel(Rng& rng, const Dims& dims, DType dtype, Site at) {
  return draw("gumbel", rng, dims, {{"dtype", dtype}}, at);
}

Var permutation(Graph g, Dim n, DType dtype, Site at) {
  if (g.has_parent())
    fail(Fault::kUnsupported, "permutation.n.body",
         "[permutation] cannot be used inside a recurrence, where each row is by itself; draw it "
         "before the loop");
  const Attributes a{{"n", Shape{std::move(n)}}, {"dtype", dtype}, {"stream", g.next_stream()}};
  return g.call(registry().at("permutation"), {}, a, {.site = at})[0];
}
Tensor permutation(Rng& rng, int64_t n, DType dtype, Site at) {
  return draw("permutation", rng, {{"n", Shape{n}}, {"dtype", dtype}}, at);
}

}  // namespace random
}  // namespace rondo
