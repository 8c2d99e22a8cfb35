#include <cmath>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/rules.h>

namespace rondo::rules {
namespace {

using namespace pattern;  // NOLINT(google-build-using-namespace): rows read as sentences

using Build = std::function<Var(Match&)>;

// The operand called x, in the place of the root.
Var take_x(Match& m) { return in_place(m, m["x"]); }

bool is_float_call(const Call& c) { return is_float(c.in(0).dtype()); }
bool is_integer_call(const Call& c) { return is_integer(c.in(0).dtype()); }

// Powers of two in here, and their reciprocals, are normal numbers of the dtype.
double widest_exponent(DType t) { return is_half(t) ? 14 : 100; }

// x / c for a scalar c of moderate size as x * (1/c).
Var times_reciprocal(Match& m, bool power_of_two) {
  const Var& c = m["c"];
  const double value = m.number("c");
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  if (!is_float(c.dtype()) || c.rank() != 0 || !(std::abs(exponent) < widest_exponent(c.dtype())) ||
      value == 0)
    return {};
  if (power_of_two != (std::abs(mantissa) == 0.5)) return {};
  return mul(m["x"], m.graph().constant(Tensor::scalar(c.dtype(), 1 / value)));
}

// `outer` after `inner` is the inner result already, or `outer` alone.
Rule absorbed(const std::string& outer, const std::string& inner, bool inner_stays) {
  return rule(
      outer + "_of_" + inner, op(outer, op(inner, any("x"), as("inner"))),
      [outer, inner_stays](Match& m) {
        return inner_stays ? m["inner"] : rondo::apply(outer, {m["x"]})[0];
      },
      for_floats([outer, inner](const ExampleContext& e) {
        return rondo::apply(outer, rondo::apply(inner, {e.x}))[0];
      }));
}

// A literal as the left operand of an op that commutes goes to the right, so that equal products
// look equal.
Rule literal_right(const std::string& name) {
  return rule(
      name + "_literal_right", op(name, number("c"), any("x")),
      [name](Match& m) {
        return literal_value(m["x"]) ? Var() : rondo::apply(name, {m["x"], m["c"]})[0];
      },
      for_numbers(
          [name](const ExampleContext& e) { return rondo::apply(name, {e.constant(3), e.x})[0]; }));
}

// Every number of `from` is one of `to`.
bool holds_all(DType to, DType from) {
  const auto mantissa = [](DType t) { return t == f64 ? 53 : t == f32 ? 24 : t == f16 ? 11 : 8; };
  if (from == to || from == boolean) return true;
  if (from == i32) return to == i64 || to == f64;
  return is_float(from) && is_float(to) && !is_half(to) && mantissa(from) < mantissa(to);
}

DType some_dtype(const ExampleContext& e) {
  constexpr DType kAll[] = {f32, f64, bf16, f16, i32, i64, boolean};
  return kAll[e.pick(7)];
}

// 1 + e^-x, as people write a sigmoid.
Pattern one_plus_exp_neg() {
  return op("add", op("exp", op("neg", any("x"))), literal(1.0), commutes());
}

}  // namespace

std::vector<Rule> exact_math() {
  std::vector<Rule> r{
      // Neutral operands.
      rule("mul_one", op("mul", any("x"), literal(1.0), commutes()), take_x,
           for_numbers([](const ExampleContext& e) { return e.x * 1.0; })),
      rule("div_one", op("div", any("x"), literal(1.0)), take_x,
           for_numbers([](const ExampleContext& e) { return e.x / 1.0; })),
      rule("sub_zero", op("sub", any("x"), literal(0.0)), take_x,
           for_numbers([](const ExampleContext& e) { return e.x - 0.0; })),
      rule("add_minus_zero", op("add", any("x"), literal(-0.0), commutes(), when(is_float_call)),
           take_x, for_floats([](const ExampleContext& e) { return e.x + -0.0; })),
      rule("add_zero_integer", op("add", any("x"), literal(0.0), commutes(), when(is_integer_call)),
           take_x, for_integers([](const ExampleContext& e) { return e.x + 0; })),
      rule("pow_one", op("pow", any("x"), literal(1.0)), take_x,
           for_floats([](const ExampleContext& e) { return pow(e.x, 1.0); })),
      rule("and_true", op("logical_and", any("x"), literal(1.0), commutes()), take_x,
           for_bools([](const ExampleContext& e) { return logical_and(e.x, 1); })),
      rule("or_false", op("logical_or", any("x"), literal(0.0), commutes()), take_x,
           for_bools([](const ExampleContext& e) { return logical_or(e.x, 0); })),

      // Signs.
      rule(
          "neg_neg", op("neg", op("neg", any("x"))), [](Match& m) { return m["x"]; },
          for_numbers([](const ExampleContext& e) { return neg(neg(e.x)); })),
      rule(
          "mul_minus_one", op("mul", any("x"), literal(-1.0), commutes()),
          [](Match& m) {
            const Var x = take_x(m);
            return x ? neg(x) : x;
          },
          for_numbers([](const ExampleContext& e) { return e.x * -1.0; })),
      rule(
          "div_minus_one", op("div", any("x"), literal(-1.0), when(is_float_call)),
          [](Match& m) {
            const Var x = take_x(m);
            return x ? neg(x) : x;
          },
          for_floats([](const ExampleContext& e) { return e.x / -1.0; })),
      rule(
          "add_neg", op("add", any("a"), op("neg", any("b")), commutes()),
          [](Match& m) { return sub(m["a"], m["b"]); }, for_numbers([](const ExampleContext& e) {
            return e.pick(2) == 0 ? e.x + -e.y : -e.x + e.y;
          })),
      rule(
          "sub_neg", op("sub", any("a"), op("neg", any("b"))),
          [](Match& m) { return add(m["a"], m["b"]); },
          for_numbers([](const ExampleContext& e) { return e.x - -e.y; })),
      rule(
          "mul_neg_neg", op("mul", op("neg", any("a")), op("neg", any("b"))),
          [](Match& m) { return mul(m["a"], m["b"]); },
          for_numbers([](const ExampleContext& e) { return -e.x * -e.y; })),
      rule(
          "div_neg_neg", op("div", op("neg", any("a")), op("neg", any("b")), when(is_float_call)),
          [](Match& m) { return div(m["a"], m["b"]); },
          for_floats([](const ExampleContext& e) { return -e.x / -e.y; })),
      rule(
          "div_power_of_two", op("div", any("x"), number("c")),
          [](Match& m) { return times_reciprocal(m, true); },
          for_floats([](const ExampleContext& e) {
            return e.x / std::ldexp(e.pick(2) == 0 ? 1 : -1, static_cast<int>(e.pick(17)) - 8);
          })),

      // The same again.
      rule("maximum_same", op("maximum", any("x"), any("x")), take_x,
           for_numbers([](const ExampleContext& e) { return maximum(e.x, e.x); })),
      rule("minimum_same", op("minimum", any("x"), any("x")), take_x,
           for_numbers([](const ExampleContext& e) { return minimum(e.x, e.x); })),
      rule("and_same", op("logical_and", any("x"), any("x")), take_x,
           for_bools([](const ExampleContext& e) { return logical_and(e.x, e.x); })),
      rule("or_same", op("logical_or", any("x"), any("x")), take_x,
           for_bools([](const ExampleContext& e) { return logical_or(e.x, e.x); })),

      // Conditions.
      rule(
          "not_not", op("logical_not", op("logical_not", any("x"))),
          [](Match& m) { return m["x"]; },
          for_bools([](const ExampleContext& e) { return logical_not(logical_not(e.x)); })),
      rule(
          "not_equal", op("logical_not", op("equal", any("a"), any("b"))),
          [](Match& m) { return not_equal(m["a"], m["b"]); },
          for_numbers([](const ExampleContext& e) { return logical_not(equal(e.x, e.y)); })),
      rule(
          "not_not_equal", op("logical_not", op("not_equal", any("a"), any("b"))),
          [](Match& m) { return equal(m["a"], m["b"]); },
          for_numbers([](const ExampleContext& e) { return logical_not(not_equal(e.x, e.y)); })),
      rule("where_true", op("where", literal(1.0), any("x"), any("other")), take_x,
           [](const ExampleContext& e) { return where(e.constant(1, boolean), e.x, e.y); }),
      rule("where_false", op("where", literal(0.0), any("other"), any("x")), take_x,
           [](const ExampleContext& e) { return where(e.constant(0, boolean), e.x, e.y); }),
      rule("where_same", op("where", any("condition"), any("x"), any("x")), take_x,
           for_numbers([](const ExampleContext& e) { return where(e.x < e.y, e.x, e.x); })),
      rule(
          "where_not", op("where", op("logical_not", any("c")), any("a"), any("b")),
          [](Match& m) { return where(m["c"], m["b"], m["a"]); },
          for_numbers(
              [](const ExampleContext& e) { return where(logical_not(e.x < e.y), e.x, e.y); })),

      // What changes nothing.
      rule(
          "cast_same", op("cast", any("x")),
          [](Match& m) { return m.fits(m["x"]) ? m["x"] : Var(); },
          [](const ExampleContext& e) { return cast(e.x, e.x.dtype()); }),
      rule(
          "cast_twice", op("cast", op("cast", any("x"), as("inner"))),
          [](Match& m) {
            return holds_all(m["inner"].dtype(), m["x"].dtype()) ? cast(m["x"], m.type().dtype)
                                                                 : Var();
          },
          [](const ExampleContext& e) {
            const DType middle = some_dtype(e), last = some_dtype(e);
            return holds_all(middle, e.x.dtype()) ? cast(cast(e.x, middle), last) : Var();
          }),
      rule(
          "stop_gradient", op("stop_gradient", any("x")), [](Match& m) { return m["x"]; },
          [](const ExampleContext& e) { return stop_gradient(e.x); }),
  };
  for (const char* name : {"abs", "relu", "sign", "floor", "ceil"})
    r.push_back(absorbed(name, name, true));
  for (const auto& [outer, inner] : {std::pair{"floor", "ceil"}, {"ceil", "floor"}})
    r.push_back(absorbed(outer, inner, true));
  for (const char* name : {"abs", "square"}) r.push_back(absorbed(name, "neg", false));
  for (const char* name : {"add", "mul"}) r.push_back(literal_right(name));
  return r;
}

std::vector<Rule> relaxed_math() {
  return {
      rule("add_zero", op("add", any("x"), literal(0.0), commutes(), when(is_float_call)), take_x,
           for_floats([](const ExampleContext& e) { return e.x + 0.0; })),
      rule(
          "zero_minus", op("sub", literal(0.0), any("x")),
          [](Match& m) {
            const Var x = take_x(m);
            return x ? neg(x) : x;
          },
          for_numbers([](const ExampleContext& e) { return e.constant(0) - e.x; })),
      rule(
          "neg_sub", op("neg", op("sub", any("a"), any("b"), once())),
          [](Match& m) { return sub(m["b"], m["a"]); },
          for_numbers([](const ExampleContext& e) { return -(e.x - e.y); })),
      rule(
          "div_literal", op("div", any("x"), number("c")),
          [](Match& m) { return times_reciprocal(m, false); },
          for_floats([](const ExampleContext& e) {
            return e.x / (static_cast<double>(e.pick(1000)) + 0.3);
          })),
      rule(
          "pow_two", op("pow", any("x"), literal(2.0)),
          [](Match& m) { return m.fits(m["x"]) ? square(m["x"]) : Var(); },
          for_floats([](const ExampleContext& e) { return pow(e.x, 2.0); })),
      rule(
          "pow_minus_one", op("pow", any("x"), literal(-1.0)),
          [](Match& m) { return m.fits(m["x"]) ? reciprocal(m["x"]) : Var(); },
          for_floats([](const ExampleContext& e) { return pow(e.x, -1.0); })),
      rule(
          "reciprocal_sqrt", op("reciprocal", op("sqrt", any("x"))),
          [](Match& m) { return rsqrt(m["x"]); },
          for_floats([](const ExampleContext& e) { return reciprocal(sqrt(e.x)); })),
      rule(
          "sigmoid_from_exp", op("div", literal(1.0), one_plus_exp_neg()),
          [](Match& m) { return m.type() == m["x"].type() ? sigmoid(m["x"]) : Var(); },
          for_floats([](const ExampleContext& e) {
            const Var d = e.pick(2) == 0 ? exp(-e.x) + 1.0 : 1.0 + exp(-e.x);
            return e.constant(1) / d;
          })),
      rule(
          "sigmoid_from_reciprocal", op("reciprocal", one_plus_exp_neg()),
          [](Match& m) { return m.fits(m["x"]) ? sigmoid(m["x"]) : Var(); },
          for_floats([](const ExampleContext& e) { return reciprocal(exp(-e.x) + 1.0); })),
      rule(
          "tanh_from_sigmoid",
          op("sub",
             op("mul", op("sigmoid", op("mul", any("x"), literal(2.0), commutes())), literal(2.0),
                commutes()),
             literal(1.0)),
          [](Match& m) { return m.fits(m["x"]) ? tanh(m["x"]) : Var(); },
          for_floats([](const ExampleContext& e) { return 2.0 * sigmoid(e.x * 2.0) - 1.0; })),
  };
}

}  // namespace rondo::rules
