#include <rondo/ops/einsum.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/linear.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/register.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// Axes by what the equation calls them: letters, and numbers from kDots on for those of "...",
// counted from their end.
using Labels = std::vector<int>;
constexpr int kDots = 256;

bool holds(const Labels& list, int label) {
  return std::find(list.begin(), list.end(), label) != list.end();
}

// How an equation is refused: by a rule, in words. Does not come back.
using Refuse = std::function<void(std::string_view rule, const std::string& why)>;

// One side of a comma: letters, and where "..." stands among them.
struct Term {
  Labels letters;
  std::optional<size_t> dots;

  // The names of `rank` axes.
  Labels labels(size_t rank) const {
    Labels r = letters;
    for (size_t i = 0; dots && i + letters.size() < rank; ++i)
      r.insert(r.begin() + static_cast<std::ptrdiff_t>(*dots), kDots + static_cast<int>(i));
    return r;
  }
};

struct Equation {
  std::vector<Term> in;
  Term out;
};

Term parse_term(std::string_view text, const Refuse& refuse) {
  Term t;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "..." && !t.dots) {
      t.dots = t.letters.size();
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
      t.letters.push_back(text[i]);
    } else {
      refuse("syntax", cat("\"", text, "\" may hold letters and one ..., got '", text[i], "'"));
    }
  }
  return t;
}

// What the output is where the equation does not say: axes of "...", and letters that stand once.
Term implied_output(const std::vector<Term>& in) {
  std::map<int, int> count;
  Term out;
  for (const Term& t : in) {
    for (const int letter : t.letters) ++count[letter];
    if (t.dots) out.dots = 0;
  }
  for (const auto& [letter, times] : count) {
    if (times == 1) out.letters.push_back(letter);
  }
  return out;
}

Equation parse_equation(std::string text, const Refuse& refuse) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const size_t arrow = text.find("->");
  const std::string_view left = std::string_view(text).substr(0, arrow);
  Equation e;
  for (size_t from = 0; from <= left.size();) {
    const size_t to = std::min(left.find(',', from), left.size());
    e.in.push_back(parse_term(left.substr(from, to - from), refuse));
    from = to + 1;
  }
  e.out = arrow == std::string::npos ? implied_output(e.in)
                                     : parse_term(std::string_view(text).substr(arrow + 2), refuse);
  const Labels& out = e.out.letters;
  for (const int letter : out) {
    const auto has = [&](const Term& t) { return holds(t.letters, letter); };
    if (std::count(out.begin(), out.end(), letter) > 1)
      refuse("output", cat("the output names ", static_cast<char>(letter), " twice"));
    if (std::none_of(e.in.begin(), e.in.end(), has))
      refuse("output", cat("no operand has the output's ", static_cast<char>(letter)));
  }
  const auto dotted = [](const Term& t) { return t.dots.has_value(); };
  if (e.out.dots.has_value() != std::any_of(e.in.begin(), e.in.end(), dotted))
    refuse("output", e.out.dots ? "no operand has the output's ..."
                                : "the operands' ... must stand in the output too");
  return e;
}

// An equation with the shapes that it is given.
struct Product {
  std::vector<Labels> in;
  Labels out;
  std::map<int, Dim> sizes;
};

// `equal` compares dimensions, and remembers what cannot be decided yet.
Product product_of(const Equation& e, const std::vector<Shape>& shapes,
                   const std::function<bool(const Dim&, const Dim&)>& equal, const Refuse& refuse) {
  Product p;
  size_t dots = 0;
  for (size_t k = 0; k < shapes.size(); ++k) {
    const Term& t = e.in[k];
    const Shape& s = shapes[k];
    if (t.dots ? s.size() < t.letters.size() : s.size() != t.letters.size())
      refuse("rank", cat("operand ", k, " has shape ", to_string(s), ", but the equation names ",
                         t.letters.size(), " axes of it"));
    p.in.push_back(t.labels(s.size()));
    if (t.dots) dots = std::max(dots, s.size() - t.letters.size());
    std::map<int, Dim> own;  // a letter twice in one operand is never broadcast
    for (size_t a = 0; a < s.size(); ++a) {
      const int label = p.in[k][a];
      const auto [mine, first_here] = own.emplace(label, s[a]);
      const auto [known, first] = p.sizes.emplace(label, s[a]);
      const bool fits =
          (first_here || equal(mine->second, s[a])) &&
          (first || s[a] == Dim(1) || known->second == Dim(1) || equal(known->second, s[a]));
      if (!fits)
        refuse("dim", cat("operand ", k, " has shape ", to_string(s), ", but axis ", a, " must be ",
                          known->second, ", as ",
                          label < kDots ? cat("another ", static_cast<char>(label)) : "another ...",
                          " is"));
      if (known->second == Dim(1)) known->second = s[a];
    }
  }
  p.out = e.out.labels(e.out.letters.size() + dots);
  return p;
}

std::vector<ValueType> infer_einsum(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  const std::string& text = c.attributes().text("equation");
  const Equation e = parse_equation(text, [&](std::string_view rule, const std::string& why) {
    c.refuse("equation", rule, "equation is \"", text, "\": ", why);
  });
  if (e.in.size() != c.count())
    c.refuse("equation", "operands", "equation is \"", text, "\", of ", e.in.size(),
             " operands, but got ", c.count());
  std::vector<Shape> shapes;
  for (size_t i = 0; i < c.count(); ++i) shapes.push_back(c[i].shape);
  const Product p = product_of(
      e, shapes, [&](const Dim& a, const Dim& b) { return c.equal(a, b); },
      [&](std::string_view rule, const std::string& why) {
        c.refuse("xs", rule, "equation is \"", text, "\": ", why);
      });
  for (const int label : p.out) r[0].shape.push_back(p.sizes.at(label));
  return r;
}

// A value whose axes have names.
struct Named {
  Var x;
  Labels labels;
};

size_t axis_of(const Labels& labels, int label) {
  return static_cast<size_t>(std::find(labels.begin(), labels.end(), label) - labels.begin());
}

// The axes in another order.
Var arranged(const Named& n, const Labels& order) {
  std::vector<int64_t> p;
  for (const int label : order) p.push_back(static_cast<int64_t>(axis_of(n.labels, label)));
  return std::is_sorted(p.begin(), p.end()) ? n.x : transpose(n.x, p);
}

// Without the axes that `keep` lacks: they are summed.
Named summed(Named n, const std::function<bool(int)>& keep) {
  std::vector<int64_t> axes;
  Labels left;
  for (size_t a = 0; a < n.labels.size(); ++a) {
    if (keep(n.labels[a])) {
      left.push_back(n.labels[a]);
    } else {
      axes.push_back(static_cast<int64_t>(a));
    }
  }
  return axes.empty() ? n : Named{sum(n.x, {.axes = axes}), left};
}

// Each label once: of two axes with one name only the diagonal is left.
Named diagonal(Named n) {
  for (size_t b = 1; b < n.labels.size();) {
    const size_t a = axis_of(n.labels, n.labels[b]);
    if (a == b) {
      ++b;
      continue;
    }
    const auto index = [&](size_t axis) {
      Shape s(n.labels.size(), 1);
      s[axis] = n.x.shape()[axis];
      return iota(n.x.graph(), i64, s, static_cast<int64_t>(axis));
    };
    // Selected, not multiplied: what stands beside the diagonal may be NaN.
    n.x = sum(where(equal(index(a), index(b)), n.x, 0), {.axes = {static_cast<int64_t>(b)}});
    n.labels.erase(n.labels.begin() + static_cast<std::ptrdiff_t>(b));
  }
  return n;
}

// Without the axes of a literal 1 that another operand has more of.
Named without_ones(Named n, const std::map<int, Dim>& sizes) {
  Shape s;
  Labels left;
  for (size_t a = 0; a < n.labels.size(); ++a) {
    const Dim& d = n.x.shape()[a];
    if (d == Dim(1) && !(sizes.at(n.labels[a]) == Dim(1))) continue;
    s.push_back(d);
    left.push_back(n.labels[a]);
  }
  return left.size() == n.labels.size() ? n : Named{reshape(n.x, s), left};
}

// The product of two operands; of the labels that both have, those that nothing needs any more are
// summed.
Named product(Named a, Named b, const std::map<int, Dim>& sizes,
              const std::function<bool(int)>& needed) {
  a = summed(std::move(a), [&](int l) { return needed(l) || holds(b.labels, l); });
  b = summed(std::move(b), [&](int l) { return needed(l) || holds(a.labels, l); });
  Labels batch, inner, left, right;
  for (const int l : a.labels)
    (!holds(b.labels, l) ? left : needed(l) ? batch : inner).push_back(l);
  for (const int l : b.labels) {
    if (!holds(a.labels, l)) right.push_back(l);
  }
  const auto join = [](Labels x, const Labels& y) {
    x.insert(x.end(), y.begin(), y.end());
    return x;
  };
  const auto dims = [&](const Labels& labels) {
    Shape s;
    for (const int l : labels) s.push_back(sizes.at(l));
    return s;
  };
  const auto size = [&](const Labels& labels) {
    const Shape s = dims(labels);
    return std::accumulate(s.begin(), s.end(), Dim(1),
                           [](const Dim& x, const Dim& y) { return x * y; });
  };
  const Labels all = join(join(batch, left), right);
  if (inner.empty()) {
    Shape s = dims(join(batch, left));
    s.insert(s.end(), right.size(), 1);
    Shape t = dims(batch);
    t.insert(t.end(), left.size(), 1);
    for (const Dim& d : dims(right)) t.push_back(d);
    return {
        reshape(arranged(a, join(batch, left)), s) * reshape(arranged(b, join(batch, right)), t),
        all};
  }
  Shape s = dims(batch), t = dims(batch);
  s.insert(s.end(), {size(left), size(inner)});
  t.insert(t.end(), {size(inner), size(right)});
  const Var y = matmul(reshape(arranged(a, join(join(batch, left), inner)), s),
                       reshape(arranged(b, join(join(batch, inner), right)), t));
  return {reshape(y, dims(all)), all};
}

Vars lower_einsum(const Call& c) {
  const Refuse never = [](std::string_view, const std::string& why) { fail_internal(why); };
  std::vector<Shape> shapes;
  for (const Var& x : c.inputs()) shapes.push_back(x.shape());
  const Product p = product_of(
      parse_equation(c.text("equation"), never), shapes,
      [](const Dim&, const Dim&) { return true; }, never);
  std::vector<Named> operands;
  for (size_t i = 0; i < shapes.size(); ++i)
    operands.push_back(without_ones(diagonal({c.in(i), p.in[i]}), p.sizes));
  Named y = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    y = product(y, operands[i], p.sizes, [&](int l) {
      return holds(p.out, l) ||
             std::any_of(operands.begin() + static_cast<std::ptrdiff_t>(i) + 1, operands.end(),
                         [&](const Named& n) { return holds(n.labels, l); });
    });
  }
  y = summed(std::move(y), [&](int l) { return holds(p.out, l); });
  return {arranged(y, p.out)};
}

std::vector<ValueType> infer_bilinear(const InferContext& c) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  const Shape &x1 = c[0].shape, &x2 = c[1].shape, &w = c[2].shape;
  const auto is = [&](size_t operand, std::string_view name, size_t axis, const Dim& want,
                      std::string_view by) {
    if (!c.equal(c[operand].shape[axis], want))
      c.refuse(name, "dim", name, " has shape ", to_string(c[operand].shape), ", but axis ", axis,
               " must be ", want, ", fixed by ", by);
  };
  if (x1.empty()) c.refuse("x1", "rank", "x1 is a scalar, but must be [...,I]");
  if (x2.size() != x1.size())
    c.refuse("x2", "rank", "x2 has shape ", to_string(x2), ", but must have the rank of x1",
             to_string(x1));
  if (w.size() != 3)
    c.refuse("weights", "rank", "weights have shape ", to_string(w), ", but must be [O,I,J]");
  for (size_t i = 0; i + 1 < x1.size(); ++i) is(1, "x2", i, x1[i], cat("x1", to_string(x1)));
  is(2, "weights", 1, x1.back(), cat("x1", to_string(x1)));
  is(2, "weights", 2, x2.back(), cat("x2", to_string(x2)));
  if (c.has(3)) {
    if (c[3].shape.size() != 1)
      c.refuse("biases", "rank", "biases have shape ", to_string(c[3].shape), ", but must be [O]");
    is(3, "biases", 0, w[0], cat("weights", to_string(w)));
  }
  r[0].shape.assign(x1.begin(), x1.end() - 1);
  r[0].shape.push_back(w[0]);
  return r;
}

Vars lower_bilinear(const Call& c) {
  const Var& x1 = c["x1"];
  const Dim &o = c["weights"].dim(0), &j = c["weights"].dim(2);
  // All that x1 gives at once, then a product with x2 in each row.
  const Var w = reshape(transpose(c["weights"], {1, 0, 2}), {x1.dim(-1), o * j});
  Shape s(x1.shape().begin(), x1.shape().end() - 1);
  s.insert(s.end(), {o, j});
  const Var x = x1.rank() == 1 ? expand_dims(x1, 0) : x1;
  Var y = matmul(reshape(matmul(x, w), s), expand_dims(c["x2"], -1));
  y = squeeze(y, -1);
  return {c.has("biases") ? y + c["biases"] : y};
}

Sample einsum_sample(const char* equation, std::vector<Dims> shapes) {
  Sample s{{}, {{"equation", equation}}, equation};
  for (Dims& d : shapes) s.inputs.push_back({std::move(d)});
  return s;
}
RefusedCall einsum_refusal(const char* rule, const char* equation, std::vector<Dims> shapes,
                           const char* means) {
  return {rule, einsum_sample(equation, std::move(shapes)), means};
}

}  // namespace

void register_einsum(OpRegistry& r) {
  r.add(
      {.name = "einsum",
       .sig = "xs[...]* -> y[...]",
       .doc =
           R"(Products of the operands, summed over what the output does not name. The equation names each axis by a letter:
    "tbi,io->tbo"    y[t,b,o] = sum over i of x[t,b,i] w[i,o]
Without "->" the output has the letters that stand once, in the order of the alphabet, capitals first. "..." stands for any axes that are not
named, aligned at their end; the output has them too. A letter twice in one operand takes its diagonal. An axis of a literal 1 is repeated
where another operand has more. Operands are joined from the left, two at a time, each by one product of matrices.)",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 3});
Var w = g.variable("w", init::glorot_uniform(g, {3, 4}, 3, 4));
Var y = einsum<Var>("tbi,io->tbo", {x, w});  // y: [T,B,4]
Var scores = einsum<Var>("tbi,sbi->bts", {x, x});  // scores: [B,T,T]
Var same = einsum<Var>("...i,io->...o", {x, w});  // same: [T,B,4]
Tensor m = Tensor::of<float>({2, 2}, {1, 2, 3, 4});
Tensor trace = einsum<Tensor>("ii->", {m});  // trace: {5}
Tensor product = einsum<Tensor>("ij,jk", {m, m});  // product: {7, 10, 15, 22})",
       .differs = {{"NumPy, PyTorch, TensorFlow einsum",
                    "no order of products is searched for: operands are joined from the left. The "
                    "output must have the operands' ...; PyTorch sums what it lacks. Floats only"}},
       .attributes = {{"equation", "", "the letters of each operand, and of y", {}, {}, {}, true}},
       .aliases = {{"ONNX", "Einsum", ""}, {"PyTorch", "einsum", ""}},
       .infer = infer_einsum,
       .lower = lower_einsum,
       .samples = {einsum_sample("ij,jk->ik", {{2, 3}, {3, 4}}),
                   einsum_sample("tbi,io->tbo", {{2, 1, 3}, {3, 2}}),
                   einsum_sample("bqd,bkd->bqk", {{2, 3, 2}, {2, 1, 2}}),
                   einsum_sample("ij,ij->j", {{3, 2}, {3, 2}}),
                   einsum_sample("ik,kj,jl->li", {{2, 3}, {3, 2}, {2, 2}}),
                   einsum_sample("i,j", {{2}, {3}}), einsum_sample("ii->i", {{3, 3}}),
                   einsum_sample("iji,j->", {{2, 3, 2}, {3}}),
                   einsum_sample("...i,...ij->...j", {{3, 2}, {2, 3, 2, 1}}),
                   einsum_sample("ab,ab->ab", {{2, 1}, {2, 3}}),
                   einsum_sample("ab,b->a", {{0, 3}, {3}})},
       .refuses = {
           einsum_refusal("equation.syntax", "i1->i", {{2}}, "a character stands for no axis"),
           einsum_refusal("equation.operands", "i,j->ij", {{2}},
                          "another number of operands than the equation has"),
           einsum_refusal("equation.output", "i->ii", {{2}}, "the output names a letter twice"),
           einsum_refusal("equation.output", "i->j", {{2}}, "the output names what no operand has"),
           einsum_refusal("equation.output", "...i->i", {{2, 3}}, "... is lost"),
           einsum_refusal("equation.output", "i->...i", {{3}}, "no operand has ..."),
           einsum_refusal("xs.rank", "ij->i", {{2}}, "an operand has not as many axes as letters"),
           einsum_refusal("xs.dim", "ij,jk->ik", {{2, 3}, {4, 2}}, "a letter has two sizes"),
           einsum_refusal("xs.dim", "ii->i", {{1, 3}}, "what has a diagonal is square")}});
  const Sample::Input x1{{2, 3}}, x2{{2, 2}}, weights{{4, 3, 2}};
  r.add({.name = "bilinear",
         .sig = "x1[...], x2[...], weights[...], biases[...]? -> y[...]",
         .doc = R"(A product of two inputs for each output:
    y[...,o] = sum over i, j of x1[...,i] weights[o,i,j] x2[...,j] + biases[o]
x1[...,I], x2[...,J], weights[O,I,J], biases[O] -> y[...,O]; absent biases are 0.)",
         .example = R"(Graph g;
Var a = g.placeholder("a", f32, {"T", "B", 3});
Var b = g.placeholder("b", f32, {"T", "B", 2});
Var w = g.variable("w", init::glorot_uniform(g, {4, 3, 2}, 6, 4));
Var y = nn::bilinear(a, b, w, {});  // y: [T,B,4]
Tensor t = Tensor::of<float>({1, 2}, {1, 2});
Tensor now = nn::bilinear(t, t, Tensor::full(f32, {1, 2, 2}, 1), {});  // now: {9})",
         .aliases = {{"PyTorch", "Bilinear", ""},
                     {"PyTorch", "weight", "weights"},
                     {"PyTorch", "bias", "biases"}},
         .infer = infer_bilinear,
         .lower = lower_bilinear,
         .samples = {{{x1, x2, weights, {{4}}}},
                     {{x1, x2, weights, rnn_internal::absent()}, {}, "no biases"},
                     {{{{3}}, {{2}}, {{1, 3, 2}}, {{1}}}, {}, "vectors"},
                     {{{{1, 2, 3}}, {{1, 2, 1}}, {{2, 3, 1}}, {{2}}}, {}, "a sequence"},
                     {{{{0, 3}}, {{0, 2}}, weights, {{4}}}}},
         .refuses = {{"x1.rank", {{{{}}, x2, weights, {{4}}}}, "x1 is a scalar"},
                     {"x2.rank", {{x1, {{2}}, weights, {{4}}}}, "x2 has another rank than x1"},
                     {"x2.dim", {{x1, {{3, 2}}, weights, {{4}}}}, "x2 has other rows than x1"},
                     {"weights.rank", {{x1, x2, {{3, 2}}, {{4}}}}, "weights are not [O,I,J]"},
                     {"weights.dim", {{x1, x2, {{4, 2, 2}}, {{4}}}}, "I is not that of x1"},
                     {"weights.dim", {{x1, x2, {{4, 3, 3}}, {{4}}}}, "J is not that of x2"},
                     {"biases.rank", {{x1, x2, weights, {{4, 1}}}}, "biases are no vector"},
                     {"biases.dim", {{x1, x2, weights, {{3}}}}, "biases are not [O]"}}});
}

template <Operable V>
V einsum(std::string_view equation, std::vector<V> xs, Site at) {
  return apply("einsum", xs, {{"equation", equation}}, {.site = at})[0];
}
template Var einsum(std::string_view, std::vector<Var>, Site);
template Tensor einsum(std::string_view, std::vector<Tensor>, Site);

namespace nn {

template <Operable V>
V bilinear(V x1, std::type_identity_t<V> x2, std::type_identity_t<V> weights,
           std::type_identity_t<V> biases, Site at) {
  return apply("bilinear", std::vector<V>{x1, x2, weights, biases}, {}, {.site = at})[0];
}
template Var bilinear(Var, Var, Var, Var, Site);
template Tensor bilinear(Tensor, Tensor, Tensor, Tensor, Site);

}  // namespace nn
}  // namespace rondo
