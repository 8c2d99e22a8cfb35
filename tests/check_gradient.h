// Gradients against central differences, in f64: of first order, and of second order as the
// gradient of the gradient's product with a random direction.
//
// A value may stand so near to a kink that a step of the difference crosses it. Then the difference
// is wrong, not the gradient: where they disagree, shorter steps are tried. A wrong gradient
// disagrees at every step.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "registry_samples.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

namespace rondo::test {

struct GradientOptions {
  std::vector<double> steps{1e-5, 1e-6, 1e-7};
  double first = 1e-6, second = 1e-5;  ///< |gradient - difference| <= this * max(|gradient|, floor)
  double floor = 1e-2;
  CompileOptions compile = {.backend = "reference"};
  RunOptions run = {};
  Vars fixed = {};  ///< placeholders that take no gradient
};

struct GradientReport {
  size_t first = 0, second = 0;  ///< elements compared
  size_t shorter = 0;            ///< of these, at a shorter step than the first
  std::vector<std::string> problems = {};

  GradientReport& operator+=(const GradientReport& o) {
    first += o.first;
    second += o.second;
    shorter += o.shorter;
    problems.insert(problems.end(), o.problems.begin(), o.problems.end());
    return *this;
  }
};

inline std::shared_ptr<ThreadTeam> one_thread() {
  static const auto team = std::make_shared<ThreadTeam>(1);
  return team;
}

/// sum over all of sum(v * random), the same numbers for the same seed.
inline Var weighted_sum(const Vars& values, uint64_t seed) {
  Var total;
  for (const Var& v : values) {
    if (!v || !is_float(v.dtype())) continue;
    const Tensor weights = draw(bind(v.shape(), {}), v.dtype(), -1, 1, ++seed);
    const Var part = sum(v * v.graph().constant(weights));
    total = total ? total + part : part;
  }
  return total;
}

/// The gradients of `outputs` by every float placeholder that is fed. No float output: nothing is
/// compared.
inline GradientReport check_gradients(Graph g, const Vars& outputs, const std::vector<Feed>& feeds,
                                      const GradientOptions& o = {}) {
  GradientReport report;
  const Var loss = weighted_sum(outputs, 7000);
  if (!loss) return report;
  Vars by;
  std::vector<size_t> feed_of;
  for (size_t i = 0; i < feeds.size(); ++i) {
    const auto is = [&](const Var& v) { return v.same(feeds[i].first); };
    if (!is_float(feeds[i].second.dtype()) || std::any_of(o.fixed.begin(), o.fixed.end(), is))
      continue;
    by.push_back(feeds[i].first);
    feed_of.push_back(i);
  }
  if (by.empty()) return report;
  const Vars first = gradients(loss, by);
  const Var along = weighted_sum(first, 8000);
  const Vars second = gradients(along, by);

  Session session(g, o.compile, one_thread());
  Vars all = first;
  all.insert(all.end(), second.begin(), second.end());
  const std::vector<Tensor> claimed = session.run(all, feeds, o.run);
  const auto at = [&](size_t input, int64_t element, double value) {
    std::vector<Feed> moved = feeds;
    moved[feed_of[input]].second.mutable_data<double>()[element] = value;
    const std::vector<Tensor> r = session.run(Vars{loss, along}, moved, o.run);
    return std::array{r[0].item(), r[1].item()};
  };

  const std::array<double, 2> bounds{o.first, o.second};
  for (size_t i = 0; i < by.size(); ++i) {
    const Tensor& x = feeds[feed_of[i]].second;
    for (int64_t e = 0; e < x.size(); ++e) {
      std::array<std::string, 2> problem;
      for (size_t s = 0; s < o.steps.size(); ++s) {
        const double h = o.steps[s];
        const auto above = at(i, e, x.at(e) + h), below = at(i, e, x.at(e) - h);
        for (size_t order = 0; order < 2; ++order) {
          if (s > 0 && problem[order].empty()) continue;
          const double want = (above[order] - below[order]) / (2 * h);
          const double got = claimed[order * by.size() + i].at(e);
          problem[order].clear();
          if (std::abs(got - want) <= bounds[order] * std::max(std::abs(got), o.floor)) continue;
          problem[order] = cat(order == 0 ? "first" : "second", " order by ", by[i].name(), "[", e,
                               "]: ", got, ", central difference ", want);
        }
        if (problem[0].empty() && problem[1].empty()) {
          report.shorter += s > 0 ? 1 : 0;
          break;
        }
      }
      for (const std::string& p : problem) {
        if (!p.empty()) report.problems.push_back(p);
      }
      ++report.first;
      ++report.second;
    }
  }
  return report;
}

}  // namespace rondo::test
