#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "graph_ops.h"

#include <rondo/graph/attribute.h>

using namespace rondo;
using test::code_of;
using test::text_of;

TEST_CASE("attribute values know their type and print as data", "[graph][attributes]") {
  const std::vector<std::tuple<AttributeValue, std::string, std::string>> rows{
      {true, "bool", "true"},
      {-3, "int", "-3"},
      {0.1, "float", "0.1"},
      {1.0 / 3, "float", "0.33333333333333331"},
      {-0.0, "float", "-0"},
      {"a\"b\\c\n\x01", "string", R"("a\"b\\c\n\x01")"},
      {bf16, "dtype", "bf16"},
      {std::vector<int64_t>{1, -2}, "ints", "[1,-2]"},
      {std::vector<std::string>{"x", "y z"}, "strings", R"(["x","y z"])"},
      {Shape{"T+1", 4}, "shape", "[T+1,4]"},
      {Tensor::of<float>({2}, {1, 2.5}), "tensor", "f32[2]{1,2.5}"},
      {Tensor(f32, {9}), "tensor", "f32[9]"},
      {Tensor(), "tensor", "none"}};
  for (const auto& [value, type, text] : rows) {
    CHECK(value.type_name() == type);
    CHECK(value.str() == text);
    CHECK(value == value);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t k = 0; k < i; ++k) CHECK_FALSE(std::get<0>(rows[i]) == std::get<0>(rows[k]));
  }
}

TEST_CASE("attribute values are equal by bits", "[graph][attributes]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(AttributeValue(nan) == AttributeValue(nan));
  CHECK_FALSE(AttributeValue(0.0) == AttributeValue(-0.0));
  CHECK_FALSE(AttributeValue(1) == AttributeValue(1.0));
  CHECK_FALSE(AttributeValue(Tensor::scalar(f32, 1)) == AttributeValue(Tensor::scalar(f32, 2)));
}

TEST_CASE("attributes are sorted, replaced by name, and typed", "[graph][attributes]") {
  Attributes a{{"b", 1}, {"a", "x"}, {"c", 2.5}};
  a.set("b", 4);
  CHECK(a.items().size() == 3);
  CHECK(a.items()[0].first == "a");
  CHECK(a.integer("b") == 4);
  CHECK(a.text("a") == "x");
  CHECK(a.find("d") == nullptr);
  CHECK(a == Attributes{{"c", 2.5}, {"a", "x"}, {"b", 4}});
  CHECK(code_of([&] { (void)a.number("b"); }) == "rondo.internal");
  CHECK(code_of([&] { (void)a.flag("d"); }) == "rondo.internal");
}

TEST_CASE("an op's attributes are completed, converted and checked", "[graph][attributes]") {
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 2}), w = g.placeholder("w", f32, {2, 3});
  const auto linear = [&](Attributes a) { return test::make("linear", {x, w, {}}, std::move(a)); };
  const Attributes& defaults = linear({}).node().attributes;
  CHECK(defaults == Attributes{{"scale", 1.0}, {"mode", "fast"}, {"steps", 3}});
  CHECK(linear({{"scale", 2}}).node().attributes.number("scale") ==
        2.0);  // a whole number for a float
  CHECK(code_of([&] { linear({{"scale", "2"}}); }) == "linear.scale.type");
  CHECK(code_of([&] { linear({{"steps", 2.0}}); }) == "linear.steps.type");
  CHECK(code_of([&] { linear({{"scale", 11}}); }) == "linear.scale.range");
  CHECK(code_of([&] { linear({{"scale", -0.5}}); }) == "linear.scale.range");
  CHECK(code_of([&] { linear({{"scale", std::numeric_limits<double>::quiet_NaN()}}); }) ==
        "linear.scale.nan");
  CHECK(code_of([&] { linear({{"mode", "slow"}}); }) == "linear.mode.value");
  CHECK(text_of([&] {
          linear({{"mode", "slow"}});
        }).find("mode is \"slow\", but must be one of fast exact") != std::string::npos);
  CHECK(code_of([&] { linear({{"scales", 2}}); }) == "linear.scales.unknown");
  CHECK(text_of([&] { linear({{"scales", 2}}); }).find("did you mean 'scale'?") !=
        std::string::npos);
}
