// Examples of the op definitions: how what they state is checked, and that none is missing.
#include <cmath>
#include <set>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "../cli/op_examples.h"
#include "op_example.h"

#include <rondo/ops/random.h>
#include <rondo/ops/register.h>
#include <rondo/runtime/session.h>

namespace rondo::test {
namespace {

std::vector<double> numbers_in(std::string_view claim) {
  std::istringstream in{std::string(claim.substr(1, claim.size() - 2))};
  std::vector<double> r;
  for (std::string one; std::getline(in, one, ',');) r.push_back(std::stod(one));
  return r;
}

bool states_values(std::string_view claim) { return claim.starts_with('{'); }

// Floats between 0 and 1, and ones: a length, a label and an index that every example can take.
Tensor fed(const ValueType& type, const Binding& sizes, uint64_t seed) {
  Tensor t(f64, bind(type.shape, sizes));
  for (int64_t i = 0; i < t.size(); ++i) {
    t.mutable_data<double>()[i] =
        is_float(type.dtype) ? 0.1 + 0.8 * uniform_at(seed, 0, 0, static_cast<uint64_t>(i)) : 1;
  }
  return t.to(type.dtype);
}

}  // namespace

void check_example(const Tensor& t, std::string_view claim) {
  CAPTURE(claim);
  if (!states_values(claim)) {
    CHECK(to_string(t.dims()) == claim);
    return;
  }
  const std::vector<double> want = numbers_in(claim);
  REQUIRE(t.size() == static_cast<int64_t>(want.size()));
  for (int64_t i = 0; i < t.size(); ++i) CHECK(t.at(i) == want[static_cast<size_t>(i)]);
}

void check_example(const Var& v, std::string_view claim) {
  const Binding sizes{{"T", 4}, {"B", 3}};
  std::vector<Feed> feeds;
  for (const Var& p : v.graph().placeholders())
    feeds.emplace_back(p, fed(p.type(), sizes, feeds.size()));
  const Tensor t = Session(v.graph()).run(v, feeds);
  if (states_values(claim)) return check_example(t, claim);
  CHECK(to_string(v.shape()) == claim);
  CHECK(t.dims() == bind(v.shape(), sizes));
  bool finite = true;
  for (int64_t i = 0; i < t.size(); ++i) finite = finite && std::isfinite(t.at(i));
  CHECK(finite);
}

}  // namespace rondo::test

using namespace rondo;

TEST_CASE("every op has an example that calls it and states a result", "[docs]") {
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    std::istringstream lines(op->example);
    size_t stated = 0;
    for (std::string line; std::getline(lines, line);) {
      CAPTURE(line);
      CHECK(line.size() <= 100);
      stated += tool::statements_of(line).size();
    }
    CHECK(stated > 0);
    CHECK(op->example.find(op->name) != std::string::npos);
  }
}

TEST_CASE("every recurrent op has a source, and says how it differs from its namesakes", "[docs]") {
  const std::set<std::string> kRecurrent{"LSTM", "GRU", "SRU", "Stacked layers with packed weights",
                                         "A body over time"};
  size_t count = 0;
  for (const OpDef* op : registry().all()) {
    if (!kRecurrent.contains(op->family)) continue;
    ++count;
    INFO(op->name);
    CHECK(!op->source.empty());
    CHECK(!op->differs.empty());
  }
  CHECK(count >= 13);  // the families are still called so
}

TEST_CASE("a comment of an example is a statement only as a whole", "[docs]") {
  const auto count = [](std::string_view line) { return tool::statements_of(line).size(); };
  CHECK(count("Var y = f(x);  // y: [T,B,4]") == 1);
  CHECK(count("// r.h: [2,3]; r.c: {0.5, 1}") == 2);
  CHECK(count("// A note: it is no statement.") == 0);
  CHECK(count("// y: [2,3]; and more") == 0);
  CHECK(count("Var y = f(x);") == 0);
}
