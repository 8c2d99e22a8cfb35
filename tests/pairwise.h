// Covering arrays: few rows that hold every pair of values of every two factors. Most faults of
// options need no more than two of them together, and all combinations would be millions. Values
// that exclude each other are said by a rule, so that no pair is lost in silence.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace rondo::test {

/// A value of each factor, numbered from 0; kOpen where a row is not finished.
using Choice = std::vector<size_t>;
inline constexpr size_t kOpen = static_cast<size_t>(-1);

/// Whether the values that are not open go together. A rule never lets a row get worse by filling
/// in an open value in every way: what it refuses it refuses by values that are there.
using Rule = std::function<bool(const Choice&)>;

struct Pair {
  size_t factor, value, other_factor, other_value;
  bool operator==(const Pair&) const = default;
};

/// Every pair of values of two factors.
inline std::vector<Pair> all_pairs(const std::vector<size_t>& levels) {
  std::vector<Pair> r;
  for (size_t f = 0; f < levels.size(); ++f) {
    for (size_t v = 0; v < levels[f]; ++v) {
      for (size_t g = f + 1; g < levels.size(); ++g) {
        for (size_t w = 0; w < levels[g]; ++w) r.push_back({f, v, g, w});
      }
    }
  }
  return r;
}

/// A row with nothing but this pair.
inline Choice row_of(const Pair& p, size_t factors) {
  Choice row(factors, kOpen);
  row[p.factor] = p.value;
  row[p.other_factor] = p.other_value;
  return row;
}

/// The pairs that no row holds.
inline std::vector<Pair> uncovered(const std::vector<size_t>& levels,
                                   const std::vector<Choice>& rows) {
  std::vector<Pair> r = all_pairs(levels);
  std::erase_if(r, [&](const Pair& p) {
    return std::any_of(rows.begin(), rows.end(), [&](const Choice& row) {
      return row[p.factor] == p.value && row[p.other_factor] == p.other_value;
    });
  });
  return r;
}

/// `levels[f]` values of factor f. Rows that obey the rule and hold every pair that some such row
/// can hold. Greedy, one row after the other, each value the one that covers most pairs not covered
/// yet, going back where the rule leaves none; deterministic. Source: Cohen et al., The AETG System
/// (1997).
inline std::vector<Choice> pairwise(const std::vector<size_t>& levels, const Rule& rule = {}) {
  const size_t factors = levels.size();
  std::vector<size_t> first(factors + 1, 0);  // the number of a factor's value 0 among all values
  for (size_t f = 0; f < factors; ++f) first[f + 1] = first[f] + levels[f];
  const size_t values = first[factors];
  std::vector<bool> covered(values * values, false);
  const auto pair = [&](size_t f, size_t v, size_t g, size_t w) {
    return (first[f] + v) * values + first[g] + w;
  };
  const auto obeys = [&](const Choice& row) { return !rule || rule(row); };

  std::vector<Choice> rows;
  // The values of factor h, those first that cover most together with the row.
  const auto ranked = [&](const Choice& row, size_t h) {
    std::vector<std::pair<size_t, size_t>> r;  // gain, value
    for (size_t k = 0; k < levels[h]; ++k) {
      const size_t x = (k + rows.size()) % levels[h];  // where nothing is new, values take turns
      size_t gain = 0;
      for (size_t o = 0; o < factors; ++o) {
        if (row[o] != kOpen) gain += covered[pair(h, x, o, row[o])] ? 0 : 1;
      }
      r.emplace_back(gain, x);
    }
    std::stable_sort(r.begin(), r.end(), [](auto& a, auto& b) { return a.first > b.first; });
    return r;
  };
  const std::function<bool(Choice&, size_t)> finish = [&](Choice& row, size_t h) {
    while (h < factors && row[h] != kOpen) ++h;
    if (h == factors) return true;
    for (const auto& [gain, x] : ranked(row, h)) {
      row[h] = x;
      if (obeys(row) && finish(row, h + 1)) return true;
      row[h] = kOpen;
    }
    return false;
  };

  const auto add = [&](Choice row) {
    if (!obeys(row) || !finish(row, 0)) return;
    for (size_t a = 0; a < factors; ++a) {
      for (size_t b = 0; b < factors; ++b) covered[pair(a, row[a], b, row[b])] = true;
    }
    rows.push_back(std::move(row));
  };
  for (const Pair& p : all_pairs(levels)) {
    if (!covered[pair(p.factor, p.value, p.other_factor, p.other_value)]) add(row_of(p, factors));
  }
  // A factor that is alone has no pairs.
  for (size_t v = 0; factors == 1 && v < levels[0]; ++v) add({v});
  return rows;
}

}  // namespace rondo::test
