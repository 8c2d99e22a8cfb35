#include <rondo/ops/elementwise.h>

#include <rondo/ops/formula.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

constexpr std::string_view kNoGradient = "0";
constexpr std::string_view kSource = ". Source: ";  // in a row's documentation

struct Kind {
  std::string_view name, operand, result;  // type suffixes in the signature
  DType sample;
  std::string_view family;  // empty: that of the file
};
constexpr Kind kKinds[] = {{"float", "", "", f64, ""},
                           {"activation", "", "", f64, "Activations"},
                           {"number", ":same", ":same", f64, ""},
                           {"compare", ":same!", ":bool", f64, "Comparisons and logic"},
                           {"test", "!", ":bool", f64, "Comparisons and logic"},
                           {"logic", ":bool", ":bool", boolean, "Comparisons and logic"}};

// Formulas that are C++ too, through the operators of elementwise.h.
constexpr std::string_view kOperators[] = {"-x",    "a + b",  "a - b", "a * b", "a / b",
                                           "a < b", "a <= b", "a > b", "a >= b"};

const Kind& kind_of(std::string_view name) {
  for (const Kind& k : kKinds) {
    if (k.name == name) return k;
  }
  fail_internal("elementwise.def: unknown kind ", name);
}

struct Row {
  std::string name, kind, formula;
  std::vector<std::string> operands;
  std::vector<std::string> derivatives;
  std::vector<std::pair<std::string, double>> numbers;
  double low, high;
  std::string doc;
};

// Numbers for which a formula with alpha, beta (or bounds) is no constant in the tests.
constexpr double kSampleNumbers[] = {0.7, 1.3};

std::vector<ValueType> infer_broadcast(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  for (size_t i = 0; i < c.count(); ++i)
    r[0].shape = i == 0 ? c[i].shape : broadcast_shapes(c, r[0].shape, c[i].shape);
  return r;
}

Vars vjp_of_row(const Row& row, const Call& c, const Vars& g) {
  std::vector<std::string> names = row.operands;
  names.emplace_back("y");
  names.emplace_back("g");
  std::map<std::string, double, std::less<>> numbers;
  for (const auto& [n, v] : row.numbers) numbers[n] = c.number(n);
  Vars values = c.inputs();
  values.push_back(c.out(0));
  values.push_back(g[0]);
  Vars r;
  for (size_t i = 0; i < row.operands.size(); ++i) {
    // y is only reached for when the formula names it, so that it need not be kept otherwise.
    r.push_back(unbroadcast(
        build_formula(parse_formula(row.derivatives[i], names, numbers), values), c.in(i).shape()));
  }
  return r;
}

std::string example_of(const Row& row, const Kind& kind) {
  const std::string_view dtype = kind.sample == boolean ? "boolean" : "f32";
  const auto placeholder = [&](std::string_view name, std::string_view shape) {
    return cat("Var ", name, " = g.placeholder(\"", name, "\", ", dtype, ", ", shape, ");\n");
  };
  std::string numbers;
  for (size_t i = 0; i < row.numbers.size(); ++i) numbers += cat(", ", kSampleNumbers[i]);
  const auto call = [&](std::string_view operands) {
    return cat(row.name, '(', operands, numbers, ");");
  };
  const bool unary = row.operands.size() == 1;
  const auto* const spelling = std::find(std::begin(kOperators), std::end(kOperators), row.formula);

  std::string s = "Graph g;\n";
  s += placeholder(unary ? "x" : "a", R"({"B", 3})");
  if (!unary) s += placeholder("b", "{3}");
  s += cat("Var y = ", call(unary ? "x" : "a, b"), "  // y: [B,3]\n");
  if (spelling != std::end(kOperators)) s += cat("Var same = ", *spelling, ";  // same: [B,3]\n");
  if (!unary && kind.sample != boolean)
    s += cat("Var beside_number = ", call("a, 0.5"), "  // beside_number: [B,3]\n");
  s += cat("Tensor t = Tensor::full(", dtype, ", {2, 3}, 1);\n");
  s += cat("Tensor now = ", call(unary ? "t" : "t, t"), "  // now: [2,3]");
  return s;
}

void add_row(OpRegistry& r, Row row) {
  const Kind& kind = kind_of(row.kind);
  OpDef d;
  d.name = row.name;
  d.family = kind.family;
  d.example = example_of(row, kind);
  for (const std::string& o : row.operands)
    d.sig += (d.sig.empty() ? "" : ", ") + o + "[...]" + std::string(kind.operand);
  d.sig += " -> y[...]" + std::string(kind.result);
  const size_t source = row.doc.find(kSource);
  d.doc = row.doc.substr(0, source);
  if (source != std::string::npos) d.source = row.doc.substr(source + kSource.size());
  d.formula = row.formula;
  d.infer = infer_broadcast;
  Attributes sample;
  for (const auto& [n, v] : row.numbers) {
    d.attributes.push_back({n, v, "number in the formula"});
    sample.set(n, kSampleNumbers[d.attributes.size() - 1]);
  }
  const auto input = [&](Dims dims) {
    return Sample::Input{std::move(dims), row.low, row.high, kind.sample};
  };
  if (row.operands.size() == 1) {
    d.samples = {{{input({2, 3})}, sample}, {{input({})}, sample}, {{input({0, 2})}, sample}};
  } else {
    d.samples = {{{input({2, 3}), input({2, 3})}},
                 {{input({2, 3}), input({3})}},
                 {{input({2, 1}), input({1, 3})}},
                 {{input({}), input({2})}}};
    d.refuses = {{cat(row.operands.back(), ".broadcast"),
                  {{input({2, 3}), input({4})}},
                  "the shapes cannot be broadcast: each axis, from the last, must be equal or a "
                  "literal 1"}};
  }
  if (row.derivatives[0] == kNoGradient) {
    d.no_gradient = true;
  } else {
    d.vjp = [row](const Call& c, const Vars& g, GradContext&) { return vjp_of_row(row, c, g); };
  }
  r.add(std::move(d));
}

}  // namespace

Shape broadcast_shapes(const InferContext& c, const Shape& a, const Shape& b) {
  Shape r(std::max(a.size(), b.size()));
  for (size_t i = 0; i < r.size(); ++i) {  // from the last axis
    const Dim* x = i < a.size() ? &a[a.size() - 1 - i] : nullptr;
    const Dim* y = i < b.size() ? &b[b.size() - 1 - i] : nullptr;
    Dim& out = r[r.size() - 1 - i];
    if (x == nullptr || (y != nullptr && *x == Dim(1))) {
      out = *y;
    } else if (y == nullptr || *y == Dim(1) || c.equal(*x, *y)) {
      out = *x;
    } else {
      c.refuse(c.signature().inputs.back().name, "broadcast", "shapes ", to_string(a), " and ",
               to_string(b), " cannot be broadcast: axis -", i + 1, " has ", *x, " against ", *y,
               "; they must be equal, or one a literal 1");
    }
  }
  return r;
}

Var unbroadcast(const Var& g, const Shape& target) {
  const Shape& from = g.shape();
  std::vector<int64_t> lead, ones;
  const size_t extra = from.size() - target.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (i < extra) {
      lead.push_back(static_cast<int64_t>(i));
    } else if (target[i - extra] == Dim(1) && !(from[i] == Dim(1))) {
      ones.push_back(static_cast<int64_t>(i - extra));
    }
  }
  Var r = g;
  if (!lead.empty()) r = sum(r, {.axes = lead});
  if (!ones.empty()) r = sum(r, {.axes = ones, .keep_dims = true});
  return r;
}

void register_elementwise(OpRegistry& r) {
#define RONDO_UNARY(name, kind, formula, derivative, low, high, doc) \
  add_row(r, {#name, #kind, formula, {"x"}, {derivative}, {}, low, high, doc});
#define RONDO_UNARY1(name, p, p0, formula, derivative, low, high, doc) \
  add_row(r, {#name, "activation", formula, {"x"}, {derivative}, {{#p, p0}}, low, high, doc});
#define RONDO_UNARY2(name, p, p0, q, q0, formula, derivative, low, high, doc) \
  add_row(                                                                    \
      r,                                                                      \
      {#name, "activation", formula, {"x"}, {derivative}, {{#p, p0}, {#q, q0}}, low, high, doc});
#define RONDO_BINARY(name, kind, formula, da, db, low, high, doc) \
  add_row(r, {#name, #kind, formula, {"a", "b"}, {da, db}, {}, low, high, doc});
#include <rondo/ops/elementwise.def>
#undef RONDO_UNARY
#undef RONDO_UNARY1
#undef RONDO_UNARY2
#undef RONDO_BINARY

  r.add({.name = "where",
         .sig = "condition[...]:bool, a[...]:same, b[...]:same -> y[...]:same",
         .doc = "y = a where condition holds, else b; broadcast. What is not selected reaches "
                "no value, and its gradient is 0. A slope that is infinite there makes NaN of that "
                "0, as elsewhere: guard the operand, as the example does.",
         .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"B", 3});
Var y = where(x > 0, log(where(x > 0, x, 1)), 0);  // y: [B,3]
// On tensors:
Tensor t = Tensor::of<float>({2}, {0, 1});
Tensor now = where(t > 0, log(t), -1);  // now: {-1, 0})",
         .infer = infer_broadcast,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           return {{},
                   unbroadcast(where(c.in(0), g[0], 0), c.in(1).shape()),
                   unbroadcast(where(c.in(0), 0, g[0]), c.in(2).shape())};
         },
         .formula = "where(condition, a, b)",
         .samples = {{{{{2, 3}, 0, 1, boolean}, {{2, 3}}, {{2, 3}}}},
                     {{{{2, 1}, 0, 1, boolean}, {{3}}, {{}}}}},
         .refuses = {{"b.broadcast",
                      {{{{2, 3}, 0, 1, boolean}, {{2, 3}}, {{4}}}},
                      "the shapes cannot be broadcast: each axis, from the last, must be equal or "
                      "a literal 1"}}});

  r.add({.name = "lerp",
         .sig = "a[...], b[...], t[...] -> y[...]",
         .doc = "y = (1 - t) a + t b: a where t is 0, b where it is 1; broadcast.",
         .example = R"(Graph g;
Var old_value = g.placeholder("old_value", f32, {"B", 3});
Var new_value = g.placeholder("new_value", f32, {"B", 3});
Var y = lerp(old_value, new_value, 0.1);  // y: [B,3]
Tensor t = Tensor::of<float>({2}, {1, 2});
Tensor now = lerp(t, t * 3, 0.5);  // now: {2, 4})",
         .infer = infer_broadcast,
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           const Var &a = c.in(0), &b = c.in(1), &t = c.in(2);
           return {unbroadcast(g[0] * (1 - t), a.shape()), unbroadcast(g[0] * t, b.shape()),
                   unbroadcast(g[0] * (b - a), t.shape())};
         },
         .formula = "(1 - t) * a + t * b",
         .samples = {{{{{2, 3}}, {{2, 3}}, {{2, 3}}}},
                     {{{{2, 1}}, {{3}}, {{}}}},
                     {{{{0, 2}}, {{0, 2}}, {{2}}}}}});

  r.add({.name = "cast",
         .sig = "x[...]:any -> y[...]:any",
         .doc = "The same numbers in another dtype: to nearest even; floats to integers towards "
                "zero, NaN to 0.",
         .example = R"(Graph g;
Var lengths = g.placeholder("lengths", i32, {"B"});
Var y = cast(lengths, f32) / 2;  // y: [B]
Tensor now = cast(Tensor::of<float>({3}, {-1.5, 0.5, 2}), i32);  // now: {-1, 0, 2})",
         .attributes = {{"dtype", f32, "dtype of the result"}},
         .infer =
             [](const InferContext& c) {
               return std::vector<ValueType>{{c.attributes().dtype("dtype"), c[0].shape, true}};
             },
         .vjp = [](const Call& c, const Vars& g, GradContext&) -> Vars {
           const bool flows = is_float(c.in(0).dtype()) && is_float(c.out(0).dtype());
           return {flows ? cast(g[0], c.in(0).dtype()) : Var()};
         },
         .samples = {{{{{2, 3}}}, {{"dtype", f64}}}, {{{{4}, -3, 3}}, {{"dtype", i32}}}}});

  r.add({.name = "stop_gradient",
         .sig = "x[...]:same! -> y[...]:same",
         .doc = "y = x, and no gradient flows back.",
         .example = R"(Graph g;
Var w = g.variable("w", Tensor::full(f32, {2}, 3));
Var loss = sum(w * stop_gradient(w));
Var d = gradients(loss, {w})[0];  // d: {3, 3}
Tensor now = stop_gradient(Tensor::full(f32, {2, 3}, 1));  // now: [2,3])",
         .no_gradient = true,
         .samples = {{{{{2, 3}}}}}});
}

#define RONDO_UNARY(name, kind, formula, derivative, low, high, doc) \
  template <Operable V>                                              \
  V name(V x, Site at) {                                             \
    return apply(#name, {x}, {}, {.site = at})[0];                   \
  }                                                                  \
  template Var name(Var, Site);                                      \
  template Tensor name(Tensor, Site);
#define RONDO_UNARY1(name, p, p0, formula, derivative, low, high, doc) \
  template <Operable V>                                                \
  V name(V x, double p, Site at) {                                     \
    return apply(#name, {x}, {{#p, p}}, {.site = at})[0];              \
  }                                                                    \
  template Var name(Var, double, Site);                                \
  template Tensor name(Tensor, double, Site);
#define RONDO_UNARY2(name, p, p0, q, q0, formula, derivative, low, high, doc) \
  template <Operable V>                                                       \
  V name(V x, double p, double q, Site at) {                                  \
    return apply(#name, {x}, {{#p, p}, {#q, q}}, {.site = at})[0];            \
  }                                                                           \
  template Var name(Var, double, double, Site);                               \
  template Tensor name(Tensor, double, double, Site);
#define RONDO_BINARY(name, kind, formula, da, db, low, high, doc)           \
  template <Operable V>                                                     \
  V name(V a, std::type_identity_t<Operand<V>> b, Site at) {                \
    return apply(#name, {a, b.beside(Operand<V>(a))}, {}, {.site = at})[0]; \
  }                                                                         \
  template Var name(Var, Operand<Var>, Site);                               \
  template Tensor name(Tensor, Operand<Tensor>, Site);
#include <rondo/ops/elementwise.def>
#undef RONDO_UNARY
#undef RONDO_UNARY1
#undef RONDO_UNARY2
#undef RONDO_BINARY

template <Operable V>
V where(V condition, std::type_identity_t<Operand<V>> a, std::type_identity_t<Operand<V>> b,
        Site at) {
  return apply("where", {condition, a.beside(b), b.beside(a)}, {}, {.site = at})[0];
}
template Var where(Var, Operand<Var>, Operand<Var>, Site);
template Tensor where(Tensor, Operand<Tensor>, Operand<Tensor>, Site);

template <Operable V>
V lerp(V a, std::type_identity_t<Operand<V>> b, std::type_identity_t<Operand<V>> t, Site at) {
  const Operand<V> like(a);
  return apply("lerp", {a, b.beside(like), t.beside(like)}, {}, {.site = at})[0];
}
template Var lerp(Var, Operand<Var>, Operand<Var>, Site);
template Tensor lerp(Tensor, Operand<Tensor>, Operand<Tensor>, Site);

template <Operable V>
V cast(V x, DType dtype, Site at) {
  return apply("cast", {x}, {{"dtype", dtype}}, {.site = at})[0];
}
template Var cast(Var, DType, Site);
template Tensor cast(Tensor, DType, Site);

template <Operable V>
V stop_gradient(V x, Site at) {
  return apply("stop_gradient", {x}, {}, {.site = at})[0];
}
template Var stop_gradient(Var, Site);
template Tensor stop_gradient(Tensor, Site);

}  // namespace rondo
