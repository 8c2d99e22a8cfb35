// The generator of covering arrays itself: every pair that a valid row can hold is held, and only
// valid rows are made.
#include <catch2/catch_test_macros.hpp>

#include "pairwise.h"

using namespace rondo::test;

namespace {

// All rows there are, in the order of numbers.
std::vector<Choice> all_rows(const std::vector<size_t>& levels) {
  std::vector<Choice> r{{}};
  for (const size_t n : levels) {
    std::vector<Choice> longer;
    for (const Choice& row : r) {
      for (size_t v = 0; v < n; ++v) {
        longer.push_back(row);
        longer.back().push_back(v);
      }
    }
    r = std::move(longer);
  }
  return r;
}

}  // namespace

TEST_CASE("a covering array holds every pair", "[pairwise]") {
  for (const std::vector<size_t>& levels : std::vector<std::vector<size_t>>{
           {13, 11, 11, 11, 4, 2, 2, 2, 2, 2, 7}, {2, 2}, {3, 1, 4, 2}, {5, 5, 5, 5, 5, 5}, {7}}) {
    const auto rows = pairwise(levels);
    CHECK(uncovered(levels, rows).empty());
    size_t largest = levels[0];
    for (const Pair& p : all_pairs(levels))
      largest = std::max(largest, levels[p.factor] * levels[p.other_factor]);
    CHECK(rows.size() <= largest * 2);  // not all combinations
    CHECK(pairwise(levels) == rows);
    CHECK(rows.size() >= levels[0]);
  }
}

TEST_CASE("a covering array under a rule holds every pair of the valid rows and no other row",
          "[pairwise]") {
  // Some values exclude each other; one rule takes three factors together, so that rows run into
  // dead ends.
  const std::vector<size_t> levels{3, 4, 2, 3, 2};
  const Rule rule = [](const Choice& c) {
    const auto is = [&](size_t f, size_t v) { return c[f] == v; };
    if (is(0, 0) && is(1, 0)) return false;
    if (is(1, 3) && (is(2, 0) || is(4, 1))) return false;
    const bool known = c[1] != kOpen && c[3] != kOpen && c[4] != kOpen;
    return !known || c[1] + c[3] + c[4] != 3;
  };
  std::vector<Choice> valid = all_rows(levels);
  std::erase_if(valid, [&](const Choice& c) { return !rule(c); });
  const auto rows = pairwise(levels, rule);
  for (const Choice& row : rows) CHECK(std::find(valid.begin(), valid.end(), row) != valid.end());
  CHECK(uncovered(levels, rows) == uncovered(levels, valid));
  CHECK(!uncovered(levels, rows).empty());
  CHECK(rows.size() < valid.size() / 2);
  // Where nothing goes together there is no row.
  CHECK(pairwise({2, 2}, [](const Choice&) { return false; }).empty());
}
