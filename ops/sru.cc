#include <rondo/ops/sru.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using namespace rnn_internal;

constexpr std::string_view kFormat = "NST";  // of sru's x

struct Step {
  Var h, c;
};

// The equations of one step: `zfr` is what x gives, `bias` b_f and b_r, `highway` the x that passes
// by, `mask` what acts on the output (null = nothing).
Step step(const Var& zfr, const Vars& bias, const Var& highway, const Var& last, const Var& mask) {
  const Vars gates = split(zfr, 3, -1);
  const Var f = sigmoid(gates[1] + bias[0]);
  const Var r = sigmoid(gates[2] + bias[1]);
  const Var c = f * last + (1 - f) * gates[0];
  const Var out = tanh(c);
  return {r * (mask ? out * mask : out) + (1 - r) * highway, c};
}

Var masked(const Var& x, const Var& mask) { return mask ? x * mask : x; }

Vars lower_cell(const Call& c) {
  const Var& x = c["x"];
  const Step s = step(matmul(x, c["weights"]), split(c["bias"], 2, -1), x, c["c_last"], {});
  return {s.h, s.c};
}

Vars lower_layer(const Call& c) {
  const Var x = masked(to_time_major(c["x"], kFormat), c["mask"]);
  const Vars bias = split(c["bias"], 2, -1);
  const RecurrenceResult r =
      recurrence({.states = {c["initial_c"]}, .xs = {x}, .origin = "sru"},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var zfr = matmul(xs[0], c["weights"], {.transpose_b = true});
                   const Step n = step(zfr, bias, xs[0], s[0], {});
                   return {.states = {n.c}, .ys = {n.h, n.c}};
                 });
  return {from_time_major(r.ys[0], kFormat), from_time_major(r.ys[1], kFormat)};
}

Vars lower_both(const Call& c) {
  const Var& mask = c["mask"];
  const Var x = masked(c["x"], mask);
  const Var& w = c["weights"];
  const Dim& inputs = w.dim(0);
  // Columns by unit, then gate: a half of the units for each direction.
  const Vars halves = split(reshape(w, {inputs, inputs, 3}), 2, 1);
  const Vars bias = split(c["bias"], 4, -1);
  const Vars highway = split(x, 2, -1), first = split(c["initial_c"], 2, -1);
  const Vars masks = mask ? split(mask, 2, -1) : Vars(2);
  Vars h, state;
  for (const size_t d : {0, 1}) {
    const Dim half = halves[d].dim(1);
    const Var own = reshape(transpose(halves[d], {0, 2, 1}), {inputs, 3 * half});
    RecurrenceInputs in{
        .states = {first[d]}, .xs = {x, highway[d]}, .reverse = d == 1, .origin = "sru_bi"};
    if (mask) in.per_row = {masks[d]};
    const RecurrenceResult r =
        recurrence(in, [&](const Vars& s, const Vars& xs, const Vars& per_row) -> RecurrenceStep {
          const Step n = step(matmul(xs[0], own), {bias[d], bias[2 + d]}, xs[1], s[0],
                              mask ? per_row[0] : Var());
          return {.states = {n.c}, .ys = {n.h, n.c}};
        });
    h.push_back(r.ys[0]);
    state.push_back(r.ys[1]);
  }
  return {concat(h, -1), concat(state, -1)};
}

std::vector<Alias> aliases(std::vector<Alias> r) {
  r.push_back({"SameDiff", "initialC", "initial_c"});
  return r;
}

}  // namespace

void register_sru(OpRegistry& r) {
  r.add(
      {.name = "sru",
       .sig = "x[B,K,T], initial_c[B,K], weights[3*K,K], bias[2*K], mask[B,K]?! -> h[B,K,T], "
              "c[B,K,T]",
       .doc =
           R"(A simple recurrent unit over time; features stand before time. Row blocks of the weights z, f, r; of the bias f, r. Each step:
    x'_t = x_t mask
    z, f, r = x'_t weights^T;  f = sigmoid(f + b_f);  r = sigmoid(r + b_r)
    c' = f c + (1 - f) z
    h = r tanh(c') + (1 - r) x'_t
f = 1 keeps the state; the state is as wide as x. The mask is the same at every step (a dropout over time); absent = 1. The weights are
those of sru_cell transposed. There are no options.)",
       .source = "Lei, Zhang, Wang, Dai and Artzi (2018); conventions: libnd4j sru",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12, "T"});  // features stand before time
Var c0 = g.placeholder("c0", f32, {"B", 12});
auto sru = rnn::sru(x, c0, rnn::sru_weights(g, "sru", 12));
// sru.h: [B,12,T]; sru.c: [B,12,T]

// At once, on tensors; with weights of 0 the gates are one half:
auto now = rnn::sru(Tensor(f32, {1, 1, 2}), Tensor::full(f32, {1, 1}, 1),
                    {.weights = Tensor(f32, {3, 1}), .bias = Tensor(f32, {2})});
// now.c: {0.5, 0.25}; now.h: [1,1,2])",
       .differs = {{"SameDiff sru",
                    "its page says a single step of x [batch, inSize]: it is the sequence op, "
                    "x[B,K,T]. Its wrapper gives h alone, here c too"},
                   {"SameDiff sruCell", "wants the same weights transposed: sru_cell"},
                   {"libnd4j sru_bp",
                    "takes the cotangent of the last cell state alone, gives the weights' gradient "
                    "apart for each row, and overwrites x; here the gradient is that of the "
                    "equations, and operands are never written"},
                   {"Lei et al. (2018) and its authors' package",
                    "there the gates see the cell state too (v_f c, v_r c); this is the form of "
                    "the first version of the paper (2017), without them"},
                   {"anywhere else", "neither lengths nor directions (sru_bi runs both)"}},
       .aliases = aliases({{"SameDiff", "sru", ""}, {"libnd4j", "sru", ""}}),
       .lower = lower_layer,
       .samples = {{{{{3, 2, 4}}, {{3, 2}}, {{6, 2}}, {{4}}, {{3, 2}, 0.5, 1.5}}, {}, "mask"},
                   {{{{2, 3, 3}}, {{2, 3}}, {{9, 3}}, {{6}}, absent()}}}});
  r.add(
      {.name = "sru_cell",
       .sig = "x[B,K], c_last[B,K], weights[K,3*K], bias[2*K] -> h[B,K], c[B,K]",
       .doc =
           R"(One step of a simple recurrent unit. Column blocks of the weights z, f, r; of the bias f, r:
    z, f, r = x weights;  f = sigmoid(f + b_f);  r = sigmoid(r + b_r)
    c = f c_last + (1 - f) z
    h = r tanh(c) + (1 - r) x
f = 1 keeps the state; the state is as wide as x. The weights are those of sru transposed. There are no options.)",
       .source = "Lei, Zhang, Wang, Dai and Artzi (2018); conventions: libnd4j sruCell",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 12});
Var c = g.placeholder("c", f32, {"B", 12});
auto step = rnn::sru_cell(x, c, rnn::sru_cell_weights(g, "sru", 12));
// step.h: [B,12]; step.c: [B,12]

// At once, on tensors; with weights of 0 the gates are one half:
auto now = rnn::sru_cell(Tensor(f32, {1, 2}), Tensor::full(f32, {1, 2}, 1),
                         {.weights = Tensor(f32, {2, 6}), .bias = Tensor(f32, {4})});
// now.c: {0.5, 0.5}; now.h: [1,2])",
       .differs = {{"SameDiff sru", "wants the same weights transposed, [3*K,K]: sru"},
                   {"libnd4j sruCell", "has no gradient; here all operands have one"},
                   {"Lei et al. (2018) and its authors' package",
                    "there the gates see the cell state too (v_f c, v_r c); this is the form of "
                    "the first version of the paper (2017), without them"}},
       .aliases = {{"SameDiff", "sruCell", ""},
                   {"libnd4j", "sruCell", ""},
                   {"SameDiff", "cLast", "c_last"}},
       .lower = lower_cell,
       .samples = {{{{{3, 2}}, {{3, 2}}, {{2, 6}}, {{4}}}}}});
  r.add(
      {.name = "sru_bi",
       .sig = "x[T,B,2*K], initial_c[B,2*K], weights[2*K,6*K], bias[4*K], mask[B,2*K]?! -> "
              "h[T,B,2*K], c[T,B,2*K]",
       .doc =
           R"(Simple recurrent units in both directions of time: units 0 to K-1 run forward, K to 2 K-1 backward. Every feature of x feeds every
unit. Column 3 j + g of the weights is gate g of (z, f, r) of unit j; bias j is its f, bias 2 K + j its r. Each step:
    x'_t = x_t mask
    z, f, r = x'_t weights;  f = sigmoid(f + b_f);  r = sigmoid(r + b_r)
    c' = f c + (1 - f) z
    h = r tanh(c') mask + (1 - r) x'_t
f = 1 keeps the state. Results stand at the time of their x. The mask is the same at every step and acts twice, on x and on tanh(c);
absent = 1. There are no options.)",
       .source = "Lei, Zhang, Wang, Dai and Artzi (2018); conventions: libnd4j sru_bi",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 12});  // twice the size of a direction
Var c0 = g.placeholder("c0", f32, {"B", 12});
auto sru = rnn::sru_bi(x, c0, rnn::sru_bi_weights(g, "sru", 6));
// sru.h: [T,B,12]; sru.c: [T,B,12]

// At once, on tensors; the second of the two units runs backward:
auto now = rnn::sru_bi(Tensor(f32, {2, 1, 2}), Tensor::full(f32, {1, 2}, 1),
                       {.weights = Tensor(f32, {2, 6}), .bias = Tensor(f32, {4})});
// now.c: {0.5, 0.25, 0.25, 0.5}; now.h: [2,1,2])",
       .differs = {{"sru here",
                    "time-major, weights interleaved by unit, the mask acts on tanh(c) too"},
                   {"libnd4j sru_bi_bp",
                    "gives x the gradient of the highway alone, the weights' for each step apart, "
                    "and a bias's that mixes rows; here the gradient is that of the equations"},
                   {"SameDiff", "has no name for it"},
                   {"Lei et al. (2018) and its authors' package",
                    "there the gates see the cell state too (v_f c, v_r c); this is the form of "
                    "the first version of the paper (2017), without them"}},
       .aliases = aliases({{"libnd4j", "sru_bi", ""}, {"libnd4j", "sruBi", ""}}),
       .lower = lower_both,
       .samples = {{{{{3, 2, 4}}, {{2, 4}}, {{4, 12}}, {{8}}, {{2, 4}, 0.5, 1.5}}, {}, "mask"},
                   {{{{4, 3, 2}}, {{3, 2}}, {{2, 6}}, {{4}}, absent()}}}});
}

namespace rnn {
namespace {

template <Operable V>
SRUResult<V> call(std::string_view op, std::vector<V> operands, std::string_view name, Site at) {
  auto r = apply(op, operands, {}, {.name = std::string(name), .site = at});
  return {r[0], r[1]};
}

}  // namespace

template <Operable V>
SRUResult<V> sru(V x, std::type_identity_t<V> initial_c, std::type_identity_t<SRUWeights<V>> w,
                 std::type_identity_t<V> mask, std::string_view name, Site at) {
  return call<V>("sru", {x, initial_c, w.weights, w.bias, mask}, name, at);
}

template <Operable V>
SRUResult<V> sru_cell(V x, std::type_identity_t<V> c_last, std::type_identity_t<SRUWeights<V>> w,
                      std::string_view name, Site at) {
  return call<V>("sru_cell", {x, c_last, w.weights, w.bias}, name, at);
}

template <Operable V>
SRUResult<V> sru_bi(V x, std::type_identity_t<V> initial_c, std::type_identity_t<SRUBiWeights<V>> w,
                    std::type_identity_t<V> mask, std::string_view name, Site at) {
  return call<V>("sru_bi", {x, initial_c, w.weights, w.bias, mask}, name, at);
}

SRUWeights<Var> sru_weights(Graph g, std::string_view name, int64_t size, DType dtype, Site at) {
  const auto scope = g.scope(name);
  std::vector<Tensor> gates;
  for (int k = 0; k < 3; ++k) gates.push_back(glorot_gates(g, size, size, 1, dtype));
  return {g.variable("weights", join_rows(gates), true, at),
          g.variable("bias", init::zeros({2 * size}, dtype), true, at)};
}

SRUWeights<Var> sru_cell_weights(Graph g, std::string_view name, int64_t size, DType dtype,
                                 Site at) {
  const auto scope = g.scope(name);
  return {g.variable("weights", glorot_gates(g, size, size, 3, dtype), true, at),
          g.variable("bias", init::zeros({2 * size}, dtype), true, at)};
}

SRUBiWeights<Var> sru_bi_weights(Graph g, std::string_view name, int64_t size, DType dtype,
                                 Site at) {
  const auto scope = g.scope(name);
  // Each gate of a direction has 2 K inputs and K units; all columns are drawn alike, so where they
  // stand does not matter.
  return {g.variable("weights", glorot_gates(g, 2 * size, size, 6, dtype), true, at),
          g.variable("bias", init::zeros({4 * size}, dtype), true, at)};
}

#define RONDO_INSTANTIATE(V)                                                   \
  template SRUResult<V> sru(V, V, SRUWeights<V>, V, std::string_view, Site);   \
  template SRUResult<V> sru_cell(V, V, SRUWeights<V>, std::string_view, Site); \
  template SRUResult<V> sru_bi(V, V, SRUBiWeights<V>, V, std::string_view, Site);
RONDO_INSTANTIATE(Var)
RONDO_INSTANTIATE(Tensor)
#undef RONDO_INSTANTIATE

}  // namespace rnn
}  // namespace rondo
