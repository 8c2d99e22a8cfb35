// Covering arrays: few rows that hold every pair of values of every two factors. Most faults of
// options need no more than two of them together, and all combinations would be millions.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace rondo::test {

/// `levels[f]` values of factor f, numbered from 0. Greedy, one row after the other, each value the
/// one that covers most pairs not covered yet; deterministic. Source: Cohen et al., The AETG System
/// (1997).
inline std::vector<std::vector<size_t>> pairwise(const std::vector<size_t>& levels) {
  const size_t factors = levels.size();
  std::vector<size_t> first(factors + 1, 0);  // the number of a factor's value 0 among all values
  for (size_t f = 0; f < factors; ++f) first[f + 1] = first[f] + levels[f];
  const size_t values = first[factors];
  std::vector<bool> covered(values * values, false);
  const auto pair = [&](size_t f, size_t v, size_t g, size_t w) {
    return (first[f] + v) * values + first[g] + w;
  };

  std::vector<std::vector<size_t>> rows;
  constexpr size_t kOpen = static_cast<size_t>(-1);
  for (size_t f = 0; f < factors; ++f) {
    for (size_t v = 0; v < levels[f]; ++v) {
      for (size_t g = f + 1; g < factors; ++g) {
        for (size_t w = 0; w < levels[g]; ++w) {
          if (covered[pair(f, v, g, w)]) continue;
          std::vector<size_t> row(factors, kOpen);
          row[f] = v;
          row[g] = w;
          for (size_t h = 0; h < factors; ++h) {
            if (row[h] != kOpen) continue;
            size_t best = 0, most = 0;
            for (size_t k = 0; k < levels[h]; ++k) {
              const size_t x =
                  (k + rows.size()) % levels[h];  // where nothing is new, values take turns
              size_t gain = 1;
              for (size_t o = 0; o < factors; ++o) {
                if (row[o] != kOpen) gain += covered[pair(h, x, o, row[o])] ? 0 : 1;
              }
              if (gain > most) {
                most = gain;
                best = x;
              }
            }
            row[h] = best;
          }
          for (size_t a = 0; a < factors; ++a) {
            for (size_t b = 0; b < factors; ++b) covered[pair(a, row[a], b, row[b])] = true;
          }
          rows.push_back(std::move(row));
        }
      }
    }
  }
  return rows;
}

}  // namespace rondo::test
