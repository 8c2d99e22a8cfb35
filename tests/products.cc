// Products of any axes against plain loops: what matmul() broadcasts, einsum, the bilinear form.
#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "error_code.h"

#include <rondo/ops/einsum.h>
#include <rondo/ops/linear.h>

namespace rondo::test {
namespace {

double distance(const Tensor& got, const Tensor& want) {
  REQUIRE(got.dims() == want.dims());
  double worst = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(got.at(i) - want.at(i));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

Tensor swapped(const Tensor& t, bool turn) {
  std::vector<int64_t> p(t.rank());
  for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<int64_t>(i);
  if (turn) std::swap(p[p.size() - 1], p[p.size() - 2]);
  return turn ? transpose(t, p) : t;
}

}  // namespace

TEST_CASE("matmul broadcasts leading axes, either side transposed", "[products]") {
  struct Case {
    Dims a, b, leading;
  };
  const Case cases[] = {{{2, 3}, {3, 4}, {}},
                        {{2, 3}, {5, 3, 4}, {5}},
                        {{5, 2, 3}, {3, 4}, {5}},
                        {{1, 2, 3}, {5, 3, 4}, {5}},
                        {{5, 2, 3}, {1, 3, 4}, {5}},
                        {{6, 1, 2, 3}, {5, 3, 4}, {6, 5}},
                        {{6, 5, 2, 3}, {5, 3, 4}, {6, 5}},
                        {{2, 3}, {1, 1, 3, 4}, {1, 1}},
                        {{0, 2, 3}, {1, 3, 4}, {0}}};
  size_t calls = 0;
  for (const Case& c : cases) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        CAPTURE(c.a, c.b, ta, tb);
        const Tensor a = draw(c.a, f64, -1, 1, 1), b = draw(c.b, f64, -1, 1, 2);
        // y = sum over k of the two, both repeated by hand.
        Dims full_a = c.leading, full_b = c.leading, out = c.leading;
        full_a.insert(full_a.end(), {2, 3, 1});
        full_b.insert(full_b.end(), {1, 3, 4});
        Dims a1 = c.a, b1 = c.b;
        a1.push_back(1);
        b1.insert(b1.end() - 2, 1);
        const Tensor want = sum(broadcast_to(a.reshaped(a1), to_shape(full_a)) *
                                    broadcast_to(b.reshaped(b1), to_shape(full_b)),
                                {.axes = {-2}});
        const Tensor turned_a = swapped(a, ta), turned_b = swapped(b, tb);
        const MatmulOptions o{.transpose_a = ta, .transpose_b = tb};
        CHECK(distance(matmul(turned_a, turned_b, o), want) < 1e-14);
        Graph g;
        const Var x = g.placeholder("x", f64, to_shape(turned_a.dims())),
                  y = g.placeholder("y", f64, to_shape(turned_b.dims()));
        const GradientReport r =
            check_gradients(g, {matmul(x, y, o)}, {{x, turned_a}, {y, turned_b}});
        CAPTURE(r.problems);
        CHECK(r.problems.empty());
        ++calls;
      }
    }
  }
  CHECK(calls == 36);
  CHECK(code_of([] { matmul(Tensor(f32, {2, 2, 3}), Tensor(f32, {4, 3, 2})); }) == "matmul.b.dim");
  CHECK(code_of([] { matmul(Tensor(f32, {3}), Tensor(f32, {4, 3, 2})); }) == "matmul.a.rank");
  // What needs no repeating stays one node.
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "B", 3});
  const int32_t before = g.size();
  matmul(x, x, {.transpose_b = true});
  const Var one = g.placeholder("one", f32, {1, 2, 3});
  matmul(one, one, {.transpose_b = true});
  CHECK(g.size() == before + 3);
}

TEST_CASE("einsum sums what the output lacks: against plain loops, with symbols too",
          "[products]") {
  const std::map<char, int64_t> sizes{{'a', 2}, {'b', 3}, {'c', 4}, {'d', 2}, {'e', 1}};
  const char* const equations[] = {"ab,bc->ac",   "ab,bc->ca",    "abc,acd->abd", "ab,ab->",
                                   "ab,c->cab",   "ab,bc,cd->da", "abc->cb",      "abc->",
                                   "ab,cb,ab->a", "a,b,c->abc",   "ae,eb->eab",   "abc,bd,cda->bd"};
  for (const std::string equation : equations) {
    CAPTURE(equation);
    const size_t arrow = equation.find("->");
    std::vector<std::string> terms(1);
    for (const char ch : equation.substr(0, arrow)) {
      if (ch == ',') {
        terms.emplace_back();
      } else {
        terms.back() += ch;
      }
    }
    const std::string out = equation.substr(arrow + 2);
    Graph g;
    Vars vars;
    std::vector<Tensor> xs;
    std::vector<Feed> feeds;
    for (const std::string& t : terms) {
      Dims d;
      Shape s;
      for (const char ch : t) {
        d.push_back(sizes.at(ch));
        s.push_back(d.back() == 1 ? Dim(1) : Dim::symbol(std::string(1, ch)));
      }
      xs.push_back(draw(d, f64, -1, 1, xs.size() + 1));
      vars.push_back(g.placeholder(cat("x", xs.size()), f64, s));
      feeds.emplace_back(vars.back(), xs.back());
    }
    // All letters' values in turn.
    std::string letters;
    for (const auto& [letter, size] : sizes) {
      if (equation.find(letter) != std::string::npos) letters += letter;
    }
    Dims whole, result;
    for (const char ch : letters) whole.push_back(sizes.at(ch));
    for (const char ch : out) result.push_back(sizes.at(ch));
    Tensor want(f64, result);
    const auto place = [&](const std::string& term, int64_t flat) {
      std::map<char, int64_t> at;
      for (size_t i = letters.size(); i > 0; --i) {
        at[letters[i - 1]] = flat % whole[i - 1];
        flat /= whole[i - 1];
      }
      int64_t p = 0;
      for (const char ch : term) p = p * sizes.at(ch) + at.at(ch);
      return p;
    };
    for (int64_t i = 0; i < element_count(whole); ++i) {
      double v = 1;
      for (size_t k = 0; k < xs.size(); ++k) v *= xs[k].at(place(terms[k], i));
      want.mutable_data<double>()[place(out, i)] += v;
    }
    CHECK(distance(einsum<Tensor>(equation, xs), want) < 1e-14);
    Session session(g, {}, one_thread());
    CHECK(distance(session.run(einsum<Var>(equation, vars), feeds), want) < 1e-14);
  }
}

TEST_CASE("einsum: diagonals select, ones are repeated, dots align at their end", "[products]") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const Tensor square = Tensor::of<double>({2, 2}, {1, kNan, kNan, 4});
  CHECK(einsum<Tensor>("ii->i", {square}) == Tensor::of<double>({2}, {1, 4}));
  CHECK(einsum<Tensor>("ii", {square}).item() == 5);
  const Tensor cube = draw({2, 3, 2}, f64, -1, 1, 3);
  const Tensor middle = einsum<Tensor>("iji->j", {cube});
  for (int64_t j = 0; j < 3; ++j)
    CHECK(std::abs(middle.at(j) - (cube.at(j * 2) + cube.at(6 + j * 2 + 1))) < 1e-15);

  const Tensor row = draw({1, 3}, f64, -1, 1, 4), matrix = draw({2, 3}, f64, -1, 1, 5);
  CHECK(distance(einsum<Tensor>("ij,ij->ij", {row, matrix}), row * matrix) == 0);
  CHECK(distance(einsum<Tensor>("ij,ij->j", {row, matrix}), sum(row * matrix, {.axes = {0}})) <
        1e-15);
  const Tensor many = draw({4, 2, 3}, f64, -1, 1, 6);
  CHECK(distance(einsum<Tensor>("...ij,...ij->...ij", {many, matrix}), many * matrix) == 0);
  CHECK(distance(einsum<Tensor>("...j,j", {many, row.reshaped({3})}),
                 sum(many * row, {.axes = {-1}})) < 1e-15);
  // Without an arrow: letters that stand once, sorted.
  CHECK(distance(einsum<Tensor>("ba", {matrix}), transpose(matrix)) == 0);
  CHECK(einsum<Tensor>(" i j , j k ", {matrix, draw({3, 5}, f64, 0, 1, 1)}).dims() == Dims{2, 5});

  // A size that only binding tells is held to the same rule.
  Graph g;
  const Var a = g.placeholder("a", f64, {2, "N"}), b = g.placeholder("b", f64, {"M", 2});
  const Var y = einsum<Var>("ij,jk->ik", {a, b});
  Session session(g, {}, one_thread());
  CHECK(code_of([&] { session.run(y, {{a, Tensor(f64, {2, 3})}, {b, Tensor(f64, {4, 2})}}); }) ==
        "einsum.xs.dim");
}

TEST_CASE("an operand of another dtype is named by its place", "[products]") {
  const Tensor a(f32, {2, 3}), b(f64, {3, 2}), c(i32, {2, 2});
  const auto text = [](const std::vector<Tensor>& xs) {
    return text_of([&] { einsum<Tensor>("ij,jk->ik", xs); });
  };
  CHECK(text({a, b}).find("xs[1] is f64, but xs[0] is f32; convert one of them with cast(xs[1], "
                          "f32)") != std::string::npos);
  CHECK(text({a, c}).find("xs[1] must be a float") != std::string::npos);
  CHECK(text({a, Tensor()}).find("xs[1] is required") != std::string::npos);
}

TEST_CASE("bilinear is a product of two inputs for each output", "[products]") {
  const Tensor x1 = draw({2, 5, 3}, f64, -1, 1, 1), x2 = draw({2, 5, 4}, f64, -1, 1, 2),
               w = draw({6, 3, 4}, f64, -1, 1, 3), b = draw({6}, f64, -1, 1, 4);
  CHECK(distance(nn::bilinear(x1, x2, w, b), einsum<Tensor>("tbi,oij,tbj->tbo", {x1, w, x2}) + b) <
        1e-14);
  Graph g;
  const Var v1 = g.placeholder("x1", f64, {"T", "B", "I"}),
            v2 = g.placeholder("x2", f64, {"T", "B", "J"}),
            vw = g.placeholder("w", f64, {"O", "I", "J"}), vb = g.placeholder("b", f64, {"O"});
  Session session(g, {}, one_thread());
  CHECK(distance(session.run(nn::bilinear(v1, v2, vw, vb), {{v1, x1}, {v2, x2}, {vw, w}, {vb, b}}),
                 nn::bilinear(x1, x2, w, b)) < 1e-14);
}

}  // namespace rondo::test
