#include <rondo/ops/nn.h>

#include <utility>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/random.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

const AttributeDef kAxis{"axis", -1, "the axis along which the values compete"};

ReduceOptions along_axis(const Call& c) { return {.axes = {c.integer("axis")}, .keep_dims = true}; }

std::vector<ValueType> infer_softmax(const InferContext& c) {
  c.axis(c.attributes().integer("axis"), c[0].shape.size());
  return {c[0]};
}

// x moved so that its largest value along the axis is 0: the same softmax, and e^x cannot overflow.
Var below_largest(const Call& c) {
  return c.in(0) - stop_gradient(reduce_max(c.in(0), along_axis(c)));
}

std::vector<Sample> softmax_samples() {
  return {{{{{2, 3}, -3, 3}}},
          {{{{2, 3, 4}, -3, 3}}, {{"axis", 1}}},
          {{{{4}, -3, 3}}, {{"axis", 0}}},
          {{{{0, 3}}}},
          {{{{2, 3}, 700, 800}}, {}, "large"}};
}

std::vector<ValueType> infer_pick(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &indices = c[1].shape;
  const auto refuse = [&](std::string_view rule) {
    c.refuse("indices", rule, "indices have shape ", to_string(indices),
             ", but must have that of x", to_string(x), " without its last axis");
  };
  if (x.empty()) c.refuse("x", "rank", "x is a scalar, but must have a last axis to pick from");
  if (indices.size() + 1 != x.size()) refuse("rank");
  for (size_t i = 0; i < indices.size(); ++i) {
    if (!c.equal(indices[i], x[i])) refuse("dim");
  }
  r[0].shape = indices;
  return r;
}

Vars vjp_pick(const Call& c, const Vars& g, GradContext&) {
  const Var &x = c.in(0), &indices = c.in(1);
  const auto last = static_cast<int64_t>(x.rank()) - 1;
  const Var chosen =
      equal(iota(c.graph(), indices.dtype(), x.shape(), last), expand_dims(indices, -1));
  return {where(chosen, expand_dims(g[0], -1), 0), {}};
}

void check_bounds(const InferContext& c) {
  const Shape& b = c.attributes().shape("bounds");
  if (b.size() != 2) c.refuse("bounds", "count", "bounds must be [low, high], got ", to_string(b));
}

std::vector<ValueType> infer_dimensions(const InferContext& c) {
  const auto rank = static_cast<int64_t>(c.attributes().shape("shape").size());
  return {{i64, {rank}, true}};
}

void check_rate(const InferContext& c) {
  if (c.attributes().number("rate") >= 1) {
    c.refuse("rate", "range", "rate is 1, but must be below it: nothing would be kept");
  }
}

}  // namespace

void register_nn(OpRegistry& r) {
  r.add({.name = "softmax",
         .sig = "x[...] -> y[...]",
         .doc = "y = e^x / sum of e^x along the axis; computed on x - max(x), so that it cannot "
                "overflow.",
         .source = "Bridle (1990)",
         .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"T", "B", 9});
Var p = nn::softmax(logits);  // p: [T,B,9]
Tensor now = nn::softmax(Tensor::of<float>({2}, {0, 0}));  // now: {0.5, 0.5})",
         .attributes = {kAxis},
         .infer = infer_softmax,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           const Var& y = c.out(0);
           return {y * (g[0] - sum(g[0] * y, along_axis(c)))};
         },
         .lower = [](const Call& c) -> Vars {
           const Var e = exp(below_largest(c));
           return {e / sum(e, along_axis(c))};
         },
         .samples = softmax_samples(),
         .refuses = {{"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"}}});
  r.add({.name = "log_softmax",
         .sig = "x[...] -> y[...]",
         .doc = "y = x - log(sum of e^x along the axis); computed on x - max(x), so that it cannot "
                "overflow, and accurate where softmax is 0.",
         .source = "Bridle (1990)",
         .example = R"(Graph g;
Var logits = g.placeholder("logits", f32, {"T", "B", 9});
Var p = nn::log_softmax(logits);  // p: [T,B,9]
Tensor now = nn::log_softmax(Tensor::full(f32, {2, 3}, 1));  // now: [2,3])",
         .attributes = {kAxis},
         .infer = infer_softmax,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {g[0] - exp(c.out(0)) * sum(g[0], along_axis(c))};
         },
         .lower = [](const Call& c) -> Vars {
           const Var d = below_largest(c);
           return {d - log(sum(exp(d), along_axis(c)))};
         },
         .samples = softmax_samples(),
         .refuses = {{"axis.range", {{{{2, 3}}}, {{"axis", 2}}}, "x has no such axis"}}});
  r.add({.name = "pick",
         .sig = "x[...], indices[...]:int -> y[...]",
         .doc =
             "y[i...] = x[i..., indices[i...]]: one element of each last axis, by index. "
             "x[...,V], indices[...] -> y[...]. An index outside [0, V) is an Error when it runs.",
         .example = R"(Graph g;
Var p = g.placeholder("p", f32, {"T", "B", 9});
Var label = g.placeholder("label", i32, {"T", "B"});
Var of_label = nn::pick(nn::log_softmax(p), label);  // of_label: [T,B]
Tensor t = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
Tensor now = nn::pick(t, Tensor::of<int32_t>({2}, {1, 0}));  // now: {2, 3})",
         .differs = {{"MXNet pick",
                      "always along the last axis; an index that is out of range is an Error, not "
                      "clipped or wrapped"}},
         .infer = infer_pick,
         .vjp = vjp_pick,
         .samples = {{{{{3, 4}}, {{3}, 0, 3, i32}}},
                     {{{{2, 3, 4}}, {{2, 3}, 0, 3, i64}}},
                     {{{{4}}, {{}, 0, 3, i32}}},
                     {{{{0, 4}}, {{0}, 0, 3, i32}}}},
         .refuses = {{"x.rank", {{{{}}, {{}, 0, 0, i32}}}, "x is a scalar: it has no last axis"},
                     {"indices.rank",
                      {{{{3, 4}}, {{3, 1}, 0, 3, i32}}},
                      "the rank of indices is not one less than that of x"},
                     {"indices.dim",
                      {{{{3, 4}}, {{2}, 0, 3, i32}}},
                      "indices have not the shape of x without its last axis"},
                     {"indices.range",
                      {{{{3, 4}}, {{3}, 0, 0, i32, {0, 4, 1}}}},
                      "an index is negative, or not below the length of the last axis"}}});
  r.add(
      {.name = "check_range",
       .sig = "x[...]:int -> y[...]:int",
       .doc =
           "y = x; a value outside [low, high] is an Error when it runs, with the code what.range.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var lengths = g.placeholder("lengths", i32, {"B"});
Var checked = nn::check_range(lengths, 0, "T", "my_layer.lengths");  // checked: [B]
Tensor t = Tensor::of<int32_t>({2}, {0, 5});
Tensor now = nn::check_range(t, 0, 5, "my_layer.lengths");  // now: {0, 5})",
       .attributes =
           {{"bounds", Shape{}, "[low, high], both allowed; may hold symbols", {}, {}, {}, true},
            {"what", "check_range.x", "op.argument that is checked, for the error"},
            {"high_is", "", "what the upper bound is, for the error"}},
       .check = check_bounds,
       .no_gradient = true,
       .samples = {{{{{3}, 0, 4, i32}}, {{"bounds", Shape{0, 4}}}},
                   {{{{2, 2}, -2, 2, i64}}, {{"bounds", Shape{-2, 2}}, {"what", "op.lengths"}}}},
       .refuses = {{"bounds.count",
                    {{{{3}, 0, 4, i32}}, {{"bounds", Shape{4}}}},
                    "bounds are not two numbers"},
                   {"x.range",
                    {{{{3}, 0, 0, i32, {0, 5, 1}}}, {{"bounds", Shape{0, 4}}}},
                    "a value is outside of the bounds; the code begins with what `what` says"}}});
  r.add({.name = "dimensions",
         .sig = "-> y[...]:i64",
         .doc = "y[n]: the dimensions of a shape as numbers, known once it is bound.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var size = nn::dimensions(g, x.shape());  // size: [3]
Var six = nn::dimensions(g, {2, 3});  // six: {2, 3}
Var steps = cast(nn::dimensions(g, {"T"}), f32);
Var per_step = sum(x, {.axes = {0}}) / reshape(steps, {});  // per_step: [B,3])",
         .attributes = {{"shape", Shape{}, "the shape", {}, {}, {}, true}},
         .infer = infer_dimensions,
         .no_gradient = true,
         .samples = {{{}, {{"shape", Shape{2, 3}}}}, {{}, {{"shape", Shape{}}}}}});
  r.add(
      {.name = "training",
       .sig = "-> y[]:bool",
       .doc = "y: whether this run is one of training: what a layer is to do differently then "
              "depends on it by where.",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var noise = g.placeholder("noise", f32, {"T", "B", 3});
Var y = where(nn::training(g), x + noise, x);  // y: [T,B,3]
Var not_now = nn::training(g);  // not_now: {0})",
       .differs = {{"PyTorch module.training, Keras training=",
                    "a property of the run (RunOptions::training; a Trainer sets it), not a state "
                    "of the layer nor an argument of the call"}},
       .no_gradient = true,
       .samples = {Sample{}}});
  r.add(
      {.name = "dropout",
       .sig = "x[...] -> y[...]",
       .doc = "In training y_i = x_i * (1 / (1 - rate)) where u_i >= rate, else 0; u_i even in [0, "
              "1), a function of (seed, stream, step of training, i). Not in training y = x.",
       .source = "Srivastava et al. (2014)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var y = nn::dropout(x, 0.3);  // y: [T,B,3]
Tensor fed = Tensor::full(f32, {5, 2, 3}, 1);
Session session(g);
Tensor as_it_is = session.run(y, {{x, fed}});  // as_it_is: [5,2,3]
Tensor dropped = session.run(y, {{x, fed}}, {.training = true, .seed = 7});  // dropped: [5,2,3])",
       .differs = {{"PyTorch, Keras, MXNet",
                    "the same scaling by 1 / (1 - rate), in training. Training is a property of "
                    "the run (RunOptions::training; a Trainer sets it), not a state of the layer"},
                   {"anywhere else",
                    "the mask is a function of seed, stream, step and element: the same for any "
                    "number of threads, and again in the gradient"}},
       .attributes = {{"rate", 0.5, "how probably an element is dropped; below 1", {}, 0, 1},
                      {"stream", 0, "which random numbers are drawn", {}, 0, kLastStream}},
       .check = check_rate,
       .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
         return {apply("dropout", {g[0]}, c.attributes())[0]};
       },
       .opaque = true,
       .samples = {{{{{4, 5}}}, {{"rate", 0.25}, {"stream", 3}}}, {{{{2, 3}}}, {{"rate", 0.0}}}},
       .refuses = {
           {"rate.range", {{{{2, 3}}}, {{"rate", 1.0}}}, "a rate of 1 would keep nothing"}}});
}

namespace nn {

template <Operable V>
V softmax(V x, int64_t axis, Site at) {
  return apply("softmax", {x}, {{"axis", axis}}, {.site = at})[0];
}
template <Operable V>
V log_softmax(V x, int64_t axis, Site at) {
  return apply("log_softmax", {x}, {{"axis", axis}}, {.site = at})[0];
}
template <Operable V>
V pick(V x, std::type_identity_t<V> indices, Site at) {
  return apply("pick", {x, indices}, {}, {.site = at})[0];
}

template <Operable V>
V check_range(V x, Dim low, Dim high, std::string_view what, std::string_view high_is, Site at) {
  const Attributes a{
      {"bounds", Shape{std::move(low), std::move(high)}}, {"what", what}, {"high_is", high_is}};
  return apply("check_range", {x}, a, {.site = at})[0];
}

Var dimensions(Graph g, Shape shape, Site at) {
  const Attributes a{{"shape", std::move(shape)}};
  return g.call(registry().at("dimensions"), {}, a, {.site = at})[0];
}

Var training(Graph g, Site at) {
  return g.call(registry().at("training"), {}, {}, {.site = at})[0];
}

namespace {

// The open body when x stands in it; an Error when x stands in a body around that.
OpenBody* body_of(const Var& x, std::string_view op, Site at) {
  OpenBody* b = open_body();
  if (b == nullptr || !(x.graph() == b->graph)) {
    if (x.graph().has_parent())
      fail(Fault::kUnsupported, cat(op, ".x.body"), "[", op,
           "] cannot be used in the body of cond, while_loop or scan, nor in a recurrence inside "
           "of a "
           "recurrence; apply it to what goes in or comes out",
           built_at(at));
    return nullptr;
  }
  if (x.rank() == 0 || !(x.dim(0) == Dim::symbol(b->symbol)))
    fail(Fault::kArgument, cat(op, ".x.rows"), "[", op,
         "] inside a recurrence x must have the rows as its first axis, got ", to_string(x.shape()),
         built_at(at));
  return b;
}

// A mask of dropout around the body, for x of the body: [B,...], with a time axis in front or not.
Var mask_around(const OpenBody& b, const Var& x, bool each_step, double rate, Site at) {
  Shape shape = x.shape();
  shape[0] = b.rows;
  if (each_step) shape.insert(shape.begin(), b.steps);
  return dropout(fill(b.graph.parent(), x.dtype(), shape, 1, at), rate, at);
}

}  // namespace

Var dropout(Var x, double rate, Site at) {
  // Drawn before the loop, so that each step and row has its own numbers.
  if (const OpenBody* b = body_of(x, "dropout", at))
    return x * per_step(mask_around(*b, x, true, rate, at), at);
  const int64_t stream = x.graph().next_stream();
  return apply("dropout", {x}, {{"rate", rate}, {"stream", stream}}, {.site = at})[0];
}

Var variational_dropout(Var x, double rate, Site at) {
  if (const OpenBody* b = body_of(x, "variational_dropout", at))
    return x * per_row(mask_around(*b, x, false, rate, at), at);
  if (x.rank() < 2)
    fail(Fault::kArgument, "variational_dropout.x.rank",
         "[variational_dropout] x must be a sequence [T,B,...], got ", to_string(x.shape()),
         built_at(at));
  const Shape rows(x.shape().begin() + 1, x.shape().end());
  return x * dropout(fill(x.graph(), x.dtype(), rows, 1, at), rate, at);
}

template <Operable V>
V dense(V x, std::type_identity_t<V> weights, std::type_identity_t<V> biases, Site at) {
  return add(matmul(x, weights, {}, at), biases, at);
}

Var dense(Var x, int64_t units, std::string_view name, Site at) {
  if (x.rank() < 2 || !x.dim(-1).is_constant()) {
    fail(Fault::kArgument, "dense.x.dim", "[dense \"", name, "\"] x has shape ",
         to_string(x.shape()), ", but must be [...,I] with a number I", built_at(at));
  }
  if (units < 1) {
    fail(Fault::kArgument, "dense.units.range", "[dense \"", name, "\"] units is ", units,
         ", but must be at least 1", built_at(at));
  }
  Graph g = outermost(x.graph());
  const int64_t inputs = x.dim(-1).constant();
  const Graph::Scope scope = g.scope(name);
  const Var weights = g.variable(
      "weights", init::glorot_uniform(g, {inputs, units}, inputs, units, x.dtype()), true, at);
  const Var biases = g.variable("biases", init::zeros({units}, x.dtype()), true, at);
  return dense(x, weights, biases, at);
}

}  // namespace nn

#define RONDO_INSTANTIATE(V)                                                         \
  template V nn::softmax(V, int64_t, Site);                                          \
  template V nn::log_softmax(V, int64_t, Site);                                      \
  template V nn::pick(V, V, Site);                                                   \
  template V nn::check_range(V, Dim, Dim, std::string_view, std::string_view, Site); \
  template V nn::dense(V, V, V, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rondo
