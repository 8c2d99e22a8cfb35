#include <limits>
#include <random>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/dim.h>

using namespace rondo;
using test::code_of;

namespace {
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// A random polynomial of small degree.
Dim any_dim(std::mt19937& random) {
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Dim d(pick(7) - 3);
  for (int t = pick(4); t > 0; --t) {
    Dim term(pick(9) - 4);
    for (int k = pick(3); k > 0; --k)
      term = term * Dim::symbol(std::string(1, static_cast<char>('A' + pick(3))));
    d = d + term;
  }
  return d;
}
}  // namespace

TEST_CASE("dimensions are one polynomial however they are written", "[graph][dim]") {
  CHECK(Dim("T+1") == Dim(1) + Dim("T"));
  CHECK(Dim("2*(I+H)") == Dim("2*H + 2*I"));
  CHECK(Dim("B*T") == Dim("T*B"));
  CHECK(Dim("T-T") == Dim(0));
  CHECK(Dim("(T+1)*(T-1)") == Dim("T*T-1"));
  CHECK(Dim("4*H").str() == "4*H");
  CHECK(Dim("1+T").str() == "T+1");
  CHECK(Dim("-T").str() == "-T");
  CHECK(Dim("3-2*T").str() == "-2*T+3");
  CHECK(Dim("0*T").str() == "0");
  CHECK_FALSE(Dim("T") == Dim("B"));
  CHECK_FALSE(Dim("T") == Dim("T+1"));
}

TEST_CASE("dimensions form a ring and survive printing", "[graph][dim]") {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const Dim a = any_dim(random), b = any_dim(random), c = any_dim(random);
    REQUIRE(a + b == b + a);
    REQUIRE(a * b == b * a);
    REQUIRE((a + b) + c == a + (b + c));
    REQUIRE((a * b) * c == a * (b * c));
    REQUIRE(a * (b + c) == a * b + a * c);
    REQUIRE(a - a == Dim(0));
    REQUIRE(a * Dim(1) == a);
    REQUIRE(Dim(a.str()) == a);
    const Binding at{{"A", 2}, {"B", -3}, {"C", 5}};
    REQUIRE((a * b - c).bind(at).constant() ==
            a.bind(at).constant() * b.bind(at).constant() - c.bind(at).constant());
  }
}

TEST_CASE("binding a part leaves a polynomial of the rest", "[graph][dim]") {
  CHECK(Dim("T*B+T").bind({{"T", 3}}) == Dim("3*B+3"));
  CHECK(Dim("T*B").bind({{"T", 0}}) == Dim(0));
  CHECK(Dim("T*B+4*T").substitute({{"T", Dim("T+1")}}) == Dim("T*B+B+4*T+4"));
  CHECK(Dim("B*T+A").symbols() == std::vector<std::string>{"A", "B", "T"});
  CHECK(bind(Shape{"T", "B", 12}, {{"T", 29}, {"B", 16}}) == Dims{29, 16, 12});
  CHECK(code_of([] { bind(Shape{"T", 12}, {{"B", 1}}); }) == "shape.symbol.unbound");
  CHECK(code_of([] { bind(Shape{"T-5"}, {{"T", 4}}); }) == "shape.dim.negative");
  CHECK(constant_dims(Shape{2, 3}) == Dims{2, 3});
  CHECK_FALSE(constant_dims(Shape{2, "T"}).has_value());
}

TEST_CASE("dimensions divide only where every coefficient does", "[graph][dim]") {
  CHECK(Dim("4*H+8").divided_by(4) == Dim("H+2"));
  CHECK_FALSE(Dim("4*H+2").divided_by(4).has_value());
  CHECK_FALSE(Dim("3*H").divided_by(2).has_value());
  CHECK_FALSE(Dim("H").divided_by(0).has_value());
  CHECK(Dim("H-3").divided_by(-1) == Dim("3-H"));
  CHECK(code_of([] { (void)Dim(std::numeric_limits<int64_t>::min()).divided_by(-1); }) ==
        "shape.size.overflow");
}

TEST_CASE("text that is no dimension is refused where it goes wrong", "[graph][dim]") {
  for (const char* bad : {"", "T+", "*T", "4H", "T B", "(T", "T)", "T//2", "T+-1", "T,B"}) {
    INFO(bad);
    CHECK(code_of([&] { (void)Dim(bad); }) == "shape.dim.syntax");
  }
  CHECK(test::text_of([] { (void)Dim("4H"); }) ==
        "'4H' is no dimension: unexpected text at position 1; write a number, a name, or a sum of "
        "products such as 4*H or T+1");
  std::string deep(100, '(');
  deep.append("T").append(100, ')');
  CHECK(code_of([&] { (void)Dim(deep); }) == "shape.dim.syntax");
}

TEST_CASE("sizes that overflow are an error and never wrap", "[graph][dim]") {
  CHECK(code_of([] { (void)Dim("9223372036854775808"); }) == "shape.size.overflow");
  CHECK(code_of([] { (void)(Dim(kMax) + Dim(1)); }) == "shape.size.overflow");
  CHECK(code_of([] { (void)(Dim(kMax) * Dim(2)); }) == "shape.size.overflow");
  CHECK(code_of([] { (void)(Dim("9223372036854775807*T") + Dim("T")); }) == "shape.size.overflow");
  CHECK(code_of([] { (void)Dim("T*T").bind({{"T", int64_t{1} << 32}}); }) == "shape.size.overflow");
  CHECK(code_of([] { element_count({int64_t{1} << 32, int64_t{1} << 31}); }) ==
        "shape.size.overflow");
  CHECK(element_count({}) == 1);
  CHECK(element_count({3, 0, 5}) == 0);
}

TEST_CASE("products of many sums are refused before they fill the memory", "[graph][dim]") {
  std::string s = "(a0+b0)";
  for (int i = 1; i < 40; ++i) s += "*(a" + std::to_string(i) + "+b" + std::to_string(i) + ")";
  CHECK(code_of([&] { (void)Dim(s); }) == "shape.dim.terms");
}
