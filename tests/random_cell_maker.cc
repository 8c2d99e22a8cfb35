#include <algorithm>

#include "random_cell_maker.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

double after_product(const CellMaker& m, size_t a) {
  return m.bound(a) * std::sqrt(static_cast<double>(m.width(a)));
}

// ---- what a line may be -------------------------------------------------------------------------

struct Kind {
  const char* name;
  size_t often;
  bool reduces, kinks;
  std::optional<CellLine> (*make)(CellMaker& m);
};

using Unary = Var (*)(const Var&);
struct Smooth {
  Unary f;
  double largest_in, largest_out;  // 0: what came in
};
const std::vector<Smooth>& smooth() {
  static const std::vector<Smooth> kAll{
      {[](const Var& v) { return tanh(v); }, kLargestValue, 1},
      {[](const Var& v) { return tanh(v); }, kLargestValue, 1},
      {[](const Var& v) { return sigmoid(v); }, kLargestValue, 1},
      {[](const Var& v) { return sigmoid(v); }, kLargestValue, 1},
      {[](const Var& v) { return softplus(v); }, 10, 11},
      {[](const Var& v) { return exp(v); }, 2, 8},
      {[](const Var& v) { return exp(-square(v)); }, kLargestValue, 1},
      {[](const Var& v) { return sin(v); }, 5, 1},
      {[](const Var& v) { return erf(v); }, kLargestValue, 1},
      {[](const Var& v) { return softsign(v); }, kLargestValue, 1},
      {[](const Var& v) { return gelu(v); }, kLargestValue, 0},
      {[](const Var& v) { return silu(v); }, kLargestValue, 0},
      {[](const Var& v) { return log1p(square(v)); }, kLargestValue, 7},
      {[](const Var& v) { return sqrt(square(v) + 1.0); }, 10, 11},
      {[](const Var& v) { return scaled_tanh(v, 0.8, 0.6); }, kLargestValue, 1},
      {[](const Var& v) { return expm1(v * 0.1); }, 5, 1},
      {[](const Var& v) { return reciprocal(square(v) + 1.0); }, kLargestValue, 1},
      {[](const Var& v) { return rsqrt(v * v + 1.0); }, kLargestValue, 1},
      {[](const Var& v) { return pow(v, 2.0) * 0.3; }, 4, 5},
      {[](const Var& v) { return 1.0 / (exp(-v) + 1.0); }, 10, 1},
      {[](const Var& v) { return 2.0 * sigmoid(v * 2.0) - 1.0; }, kLargestValue, 1},
      {[](const Var& v) { return neg(v); }, kLargestValue, 0},
      {[](const Var& v) { return v / 4.0; }, kLargestValue, 0},
      {[](const Var& v) { return v / 3.0; }, kLargestValue, 0},
      {[](const Var& v) { return stop_gradient(v) * 0.5 + v; }, kLargestValue / 2, kLargestValue},
      {[](const Var& v) { return v * 1.0 + 0.0; }, kLargestValue, 0},
  };
  return kAll;
}

std::optional<CellLine> make_smooth(CellMaker& m) {
  const Smooth& s = m.d.of(smooth());
  const size_t a = m.any();
  if (m.bound(a) > s.largest_in) return std::nullopt;
  return CellLine{m.width(a), s.largest_out == 0 ? m.bound(a) : s.largest_out,
                  [a, f = s.f](const Vars& v) { return f(v[a]); }};
}

// a W + b, the matrix in one of several ways.
std::optional<CellLine> make_product(CellMaker& m) {
  const size_t a = m.any(5), way = m.d.below(8);
  const int64_t k = m.width(a), n = m.some_width();
  const bool turned = way == 1 || way == 2;
  const Var w = turned ? m.w.matrix(n, k) : m.w.matrix(k, n), u = m.w.matrix(k, n);
  const Var b = m.d.one_in(2) ? m.w.vector(n) : Var();
  const Var outside = way == 5 ? tanh(w) : Var();
  return CellLine{
      n, 2 * after_product(m, a) * std::sqrt(static_cast<double>(k) / (turned ? n : k)) + 1,
      [=](const Vars& v) {
        const Var y = way == 1   ? matmul(v[a], w, {.transpose_b = true})
                      : way == 2 ? matmul(v[a], transpose(w))
                      : way == 3 ? matmul(v[a], w * 0.5)
                      : way == 4 ? matmul(v[a], w - u)
                      : way == 5 ? matmul(v[a], outside)
                                 : matmul(v[a], w);
        return b ? y + b : y;
      }};
}

// tanh or sigmoid of one to three products, the heart of most cells.
std::optional<CellLine> make_affine(CellMaker& m) {
  const int64_t n = m.some_width();
  std::vector<std::pair<size_t, Var>> terms;
  for (size_t i = 0, count = 1 + m.d.below(3); i < count; ++i) {
    const size_t a = m.any();
    terms.emplace_back(a, m.w.matrix(m.width(a), n));
  }
  const Var b = m.w.vector(n);
  const bool gate = m.d.one_in(2);
  return CellLine{n, 1, [=](const Vars& v) {
                    Var y = b;
                    for (const auto& [a, w] : terms) y = matmul(v[a], w) + y;
                    return gate ? sigmoid(y) : tanh(y);
                  }};
}

std::optional<CellLine> make_chain(CellMaker& m) {
  const size_t a = m.any(5);
  const int64_t k = m.some_width(), n = m.some_width();
  const Var w = m.w.matrix(m.width(a), k), u = m.w.matrix(k, n);
  const bool between = m.d.one_in(2);
  return CellLine{n, 1, [=](const Vars& v) {
                    const Var y = matmul(v[a], w);
                    return tanh(matmul(between ? sigmoid(y) * y : y, u));
                  }};
}

// As in a GRU whose reset comes before its product.
std::optional<CellLine> make_reset(CellMaker& m) {
  const size_t a = m.any(), h = m.d.below(2) == 0 ? m.like(a) : m.any(2);
  const int64_t k = m.width(h);
  const Var w = m.w.matrix(m.width(a), k), u = m.w.matrix(k, k), b = m.w.vector(k);
  return CellLine{k, 1, [=](const Vars& v) {
                    const Var r = sigmoid(matmul(v[a], w) + b);
                    return tanh(matmul(v[a], w) + matmul(r * v[h], u));
                  }};
}

// As in an LSTM: one product for all gates.
std::optional<CellLine> make_gates(CellMaker& m) {
  const size_t a = m.any(), b = m.any(), c = m.any(kLargestState);
  const int64_t n = m.width(c);
  const Var w = m.w.matrix(m.width(a) + m.width(b), 3 * n), bias = m.w.vector(3 * n);
  const bool peep = m.d.one_in(3);
  const Var p = peep ? m.w.vector(n) : Var();
  return CellLine{n, m.bound(c), [=](const Vars& v) {
                    const Vars z = split(matmul(concat<Var>({v[a], v[b]}, -1), w) + bias, 3, -1);
                    const Var f = sigmoid(p ? z[0] + v[c] * p : z[0]);
                    return f * v[c] + (1 - f) * (tanh(z[1]) * sigmoid(z[2]));
                  }};
}

std::optional<CellLine> make_mix(CellMaker& m) {
  const size_t g = m.any(), a = m.like(g), b = m.like(g);
  const bool by_lerp = m.d.one_in(4);
  return CellLine{m.width(a), std::max(m.bound(a), m.bound(b)), [=](const Vars& v) {
                    const Var f = sigmoid(v[g]);
                    return by_lerp ? lerp(v[a], v[b], f) : f * v[a] + (1.0 - f) * v[b];
                  }};
}

std::optional<CellLine> make_binary(CellMaker& m) {
  const size_t a = m.any(5), b = m.like(a, 5), way = m.d.below(6);
  const double x = m.bound(a), y = m.bound(b);
  return CellLine{m.width(a), way == 0 ? x * y : x + y, [=](const Vars& v) {
                    return way == 0   ? v[a] * v[b]
                           : way == 1 ? v[a] + v[b]
                           : way == 2 ? v[a] - v[b]
                           : way == 3 ? v[a] / (v[b] * v[b] + 1.0)
                           : way == 4 ? v[a] + -v[b]
                                      : v[a] * sigmoid(v[b]) + tanh(v[b]) * 0.5;
                  }};
}

// Numbers and vectors of several kinds.
std::optional<CellLine> make_literal(CellMaker& m) {
  const size_t a = m.any(20), way = m.d.below(8);
  const double c = m.number();
  const int64_t n = m.width(a);
  const Var vector = m.w.p.g.constant(draw({n}, f32, -1, 1, m.d.below(1000)).to(m.w.dtype()));
  const Var weights = way == 5 ? m.w.vector(n) : Var();
  const Var scalar = way == 6 ? m.w.weight({}, 1) : Var();
  const auto outside = [&](double number) {
    return m.w.p.g.constant(Tensor::scalar(m.w.dtype(), number));
  };
  const Var one = outside(c), other = outside(c * 0.7 - 0.2);
  return CellLine{n, m.bound(a) + 1, [=](const Vars& v) {
                    return way == 0   ? v[a] * c
                           : way == 1 ? c - v[a]
                           : way == 2 ? v[a] + c
                           : way == 3 ? v[a] * vector
                           : way == 4 ? fill_like(v[a], c) * v[a]
                           : way == 5 ? v[a] * weights + weights
                           : way == 6 ? v[a] * scalar
                                      : v[a] * one + other;
                  }};
}

std::optional<CellLine> make_slice(CellMaker& m) {
  const size_t a = m.any();
  const int64_t n = m.width(a);
  const auto from = static_cast<int64_t>(m.d.below(static_cast<size_t>(n)));
  const auto to = from + 1 + static_cast<int64_t>(m.d.below(static_cast<size_t>(n - from)));
  const int64_t axis = m.d.one_in(2) ? 1 : -1;
  return CellLine{to - from, m.bound(a),
                  [=](const Vars& v) { return slice(v[a], axis, from, to); }};
}

// Parts in another order, or one of them.
std::optional<CellLine> make_split(CellMaker& m) {
  const size_t a = m.any();
  const auto parts = static_cast<int64_t>(2 + m.d.below(2));
  if (m.width(a) % parts != 0) return std::nullopt;
  const int64_t axis = m.d.one_in(2) ? 1 : -1;
  const size_t one = m.d.below(3);
  const int64_t n = m.width(a) / parts;
  return CellLine{one == 0 ? n : m.width(a), m.bound(a), [=](const Vars& v) {
                    Vars all = split(v[a], parts, axis);
                    if (one == 0) return tanh(all[1]) * sigmoid(all[0]);
                    std::reverse(all.begin(), all.end());
                    if (one == 1) all[0] = tanh(all[0]);
                    return concat(all, axis);
                  }};
}

// A part of a part, or of values side by side: what lies somewhere within another value.
std::optional<CellLine> make_view(CellMaker& m) {
  const size_t a = m.any(), b = m.any(), way = m.d.below(4), part = m.d.below(2);
  const int64_t n = m.width(a), all = way < 2 ? n : n + m.width(b);
  if (way == 1 && n % 2 != 0) return std::nullopt;
  const int64_t whole = way == 1 ? n / 2 : all;  // of which it is a slice, an even one where split
  const auto from = static_cast<int64_t>(m.d.below(static_cast<size_t>(whole)));
  const auto room = static_cast<size_t>(whole - from);
  int64_t to = from + 1 + static_cast<int64_t>(m.d.below(room));
  if (way == 0 || way == 3) to -= (to - from) % 2;
  if (to == from || all > 2 * kWidest) return std::nullopt;
  const int64_t width = way == 0 || way == 3 ? (to - from) / 2 : to - from;
  return CellLine{width, std::max({m.bound(a), m.bound(b), 1.0}), [=](const Vars& v) {
                    const auto half = [&](const Var& x) { return split(x, 2, -1)[part]; };
                    const auto cut = [&](const Var& x) { return slice(x, 1, from, to); };
                    if (way == 0) return half(cut(v[a]));
                    if (way == 1) return cut(half(v[a]));
                    const Var both = concat<Var>({tanh(v[a]), v[b]}, 1);
                    return way == 2 ? cut(both) : half(cut(both));
                  }};
}

std::optional<CellLine> make_concat(CellMaker& m) {
  const size_t a = m.any(), b = m.any(), c = m.any();
  const double number = m.number();
  const bool literal = m.d.one_in(4), three = m.d.one_in(3);
  const int64_t n = m.width(a) + m.width(b) + (three ? m.width(c) : 0) + (literal ? 2 : 0);
  if (n > 2 * kWidest) return std::nullopt;
  return CellLine{n, std::max({m.bound(a), m.bound(b), m.bound(c)}), [=](const Vars& v) {
                    Vars all{v[a], v[b]};
                    if (three) all.push_back(v[c]);
                    if (literal)
                      all.push_back(fill(v[a].graph(), v[a].dtype(), {v[a].dim(0), 2}, number));
                    return concat(all, -1);
                  }};
}

// Values that the graph around holds for each row.
std::optional<CellLine> make_per_row(CellMaker& m) {
  const size_t a = m.any();
  const int64_t n = m.width(a);
  if (m.d.one_in(2)) {
    const Var mask = m.w.feed("m", {m.w.rows, n}, boolean, 0, 1);
    const size_t b = m.like(a);
    return CellLine{n, std::max(m.bound(a), m.bound(b)),
                    [=](const Vars& v) { return where(per_row(mask), v[a], v[b]); }};
  }
  const Var row = m.w.rowwise("r", {m.w.rows, n});
  const bool added = m.d.one_in(2);
  return CellLine{n, m.bound(a) + 1, [=](const Vars& v) {
                    return added ? v[a] + tanh(per_row(row)) : v[a] * per_row(row);
                  }};
}

// Booleans that rounding does not decide.
std::optional<CellLine> make_select(CellMaker& m) {
  const size_t way = m.d.below(3);
  if (const auto x = m.flags(); way == 0 && x) {
    const size_t a = m.like(*x), b = m.like(*x);
    if (a == *x) return std::nullopt;
    return CellLine{m.width(a), std::max(m.bound(a), m.bound(b)),
                    [=, x = *x](const Vars& v) { return where(v[x], v[a], v[b]); }};
  }
  const size_t a = m.any(), b = m.like(a);
  const double beyond = m.bound(a) + 1;
  if (way == 1)
    return CellLine{m.width(a), m.bound(a),
                    [=](const Vars& v) { return clip(v[a], -beyond, beyond); }};
  return CellLine{m.width(a), std::max(m.bound(a), m.bound(b)), [=](const Vars& v) {
                    return where(logical_or(v[a] > beyond, logical_not(v[a] < beyond)), v[b], v[a]);
                  }};
}

std::optional<CellLine> make_kink(CellMaker& m) {
  const size_t a = m.any(20), b = m.like(a, 20), way = m.d.below(5);
  const double c = m.number();
  return CellLine{m.width(a), std::max(m.bound(a), m.bound(b)) + 1, [=](const Vars& v) {
                    return way == 0   ? where(v[a] > v[b] + c, v[a], v[b])
                           : way == 1 ? clip(v[a], c - 0.7, c + 0.3)
                           : way == 2 ? relu(v[a] + c)
                           : way == 3 ? maximum(v[a], v[b] * 0.7 + c)
                                      : abs(v[a] - c) * 0.5;
                  }};
}

std::optional<CellLine> make_reduction(CellMaker& m) {
  const size_t a = m.any(5), b = m.like(a, 5), way = m.d.below(9);
  const int64_t n = m.width(a);
  if (way >= 7 && n % 2 != 0) return std::nullopt;
  const Var gain = m.w.vector(n), bias = m.w.vector(n),
            row = way == 6 ? m.w.weight({1, n}, 1) : Var();
  const double wide = std::sqrt(static_cast<double>(n));
  const ReduceOptions along{.axes = {-1}, .keep_dims = true};
  return CellLine{
      n,
      way == 5               ? m.bound(a) + m.bound(b)
      : way == 1 || way == 2 ? wide + 1
                             : m.bound(a) + 1,
      [=](const Vars& v) {
        const Var &x = v[a], &y = v[b];
        const auto halves = [&](const Var& z) { return reshape(z, {z.dim(0), n / 2, 2}); };
        return way == 0   ? nn::softmax(x, -1)
               : way == 1 ? nn::layer_norm(x, gain, bias, 0.1)
               : way == 2 ? nn::rms_norm(x, gain, 0.1)
               : way == 3 ? x * sigmoid(sum(y, along))
               : way == 4 ? x / (sum(exp(tanh(y)), along) + 1.0)
               : way == 5 ? x - mean(y, along)
               : way == 6 ? x * row
               : way == 7 ? reshape(halves(x) * sigmoid(sum(halves(y), along)), x.shape())
                          : slice(pad(x, 1, 1, 2), 1, 2, n + 2);
      }};
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kKinds{
      {"smooth", 6, false, false, make_smooth},
      {"product", 4, false, false, make_product},
      {"affine", 6, false, false, make_affine},
      {"chain", 2, false, false, make_chain},
      {"reset", 2, false, false, make_reset},
      {"gates", 3, false, false, make_gates},
      {"mix", 4, false, false, make_mix},
      {"binary", 6, false, false, make_binary},
      {"literal", 3, false, false, make_literal},
      {"slice", 2, false, false, make_slice},
      {"split", 2, false, false, make_split},
      {"concat", 2, false, false, make_concat},
      {"view", 3, false, false, make_view},
      {"per_row", 2, false, false, make_per_row},
      {"select", 2, false, false, make_select},
      {"kink", 6, false, true, make_kink},
      {"reduction", 6, true, false, make_reduction},
  };
  return kKinds;
}

}  // namespace

RandomCell CellMaker::run(size_t lines, size_t ys, size_t sums, const Echo* echo) {
  std::vector<const Kind*> drawn;
  for (const Kind& k : kinds()) {
    if ((!k.reduces || w.p.config.reductions) && (!k.kinks || w.p.config.kinks))
      drawn.insert(drawn.end(), k.often, &k);
  }
  while (cell_.lines.size() < lines) {
    std::optional<CellLine> made = d.of(drawn)->make(*this);
    if (made && made->bound <= kLargestValue) add(std::move(*made));
  }
  // The next state: the last value of its width that came of something, else one that is made.
  for (size_t s = 0; s < cell_.states.size(); ++s) {
    std::vector<size_t> fit;
    for (size_t k = 0; k < known_.size(); ++k) {
      const bool own_state = k < cell_.states.size();
      if (known_[k].width == cell_.states[s] && !known_[k].flags && (!own_state || d.one_in(6)))
        fit.push_back(k);
    }
    size_t v = fit.empty() ? any() : d.one_in(3) ? d.of(fit) : fit.back();
    if (known_[v].width != cell_.states[s]) {
      const Var m = w.matrix(known_[v].width, cell_.states[s]);
      v = add({cell_.states[s], 1, [=](const Vars& before) { return tanh(matmul(before[v], m)); }});
    } else if (known_[v].bound > kLargestState) {
      v = add({cell_.states[s], 1, [=](const Vars& before) { return tanh(before[v]); }});
    }
    // Mostly the old one has a say.
    if (const size_t way = d.below(5); way < 2) {
      v = add({cell_.states[s], kLargestState, [=](const Vars& before) {
                 const Var f = sigmoid(before[v]);
                 return f * before[s] + (1 - f) * before[v];
               }});
    } else if (way < 4) {
      const Var u = w.matrix(cell_.states[s], cell_.states[s]);
      v = add({cell_.states[s], 1,
               [=](const Vars& before) { return tanh(before[v] + matmul(before[s], u)); }});
    }
    cell_.next.push_back(v);
  }
  const size_t heard = cell_.next[0];
  if (echo != nullptr) {
    cell_.next[0] = add({cell_.states[0], 1, [heard, f = echo->inside](const Vars& before) {
                           return tanh(before[heard] * 0.5 + f(before[heard]));
                         }});
  }
  for (size_t k = 0; k < ys; ++k) cell_.ys.push_back(d.one_in(2) ? d.of(cell_.next) : any());
  for (size_t k = 0; k < sums; ++k) cell_.sums.push_back(any(5));
  if (echo != nullptr) cell_.ys.push_back(heard);
  for (const Known& k : known_) cell_.bounds.push_back(k.bound);
  return std::move(cell_);
}

}  // namespace rondo::test
