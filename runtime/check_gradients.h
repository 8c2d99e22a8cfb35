// Gradients against central differences, in f64: of first order, and of second order as the
// gradient of the gradient's product with a random direction.
//
// A value may stand so near to a kink that a step of the difference crosses it. Then the difference
// is wrong, not the gradient, and differences of two steps disagree with each other. Either shorter
// steps are tried, at each of which a wrong gradient disagrees; or the point is reported as bad,
// and the caller takes another one.
#pragma once

#include <string>
#include <vector>

#include <rondo/graph/graph.h>
#include <rondo/runtime/session.h>

namespace rondo {

/// How gradients are compared: defaults are those of the library's own tests.
struct GradientOptions {
  std::vector<double> steps{1e-5, 1e-6, 1e-7};
  double first = 1e-6, second = 1e-5;  ///< |gradient - difference| <= this * max(|gradient|, floor)
  double floor = 1e-2;
  CompileOptions compile = {.backend = "reference"};
  RunOptions run = {};
  Vars fixed = {};         ///< placeholders that take no gradient
  bool off_kinks = false;  ///< the first step alone; a point that is near a kink is reported
  size_t orders = 2;       ///< 1: the gradient alone
  size_t elements = 0;  ///< of each operand, drawn; the rest moves together, all at a time; 0 = all
};

/// What was compared, and what differed.
struct GradientReport {
  size_t first = 0, second = 0;  ///< elements compared
  size_t shorter = 0;            ///< of these, at a shorter step than the first
  bool near_kink = false;        ///< asked for by off_kinks: nothing else is said then
  std::vector<std::string> problems = {};

  GradientReport& operator+=(const GradientReport& o) {
    first += o.first;
    second += o.second;
    shorter += o.shorter;
    problems.insert(problems.end(), o.problems.begin(), o.problems.end());
    return *this;
  }
};

/// The gradients of the float ones of `outputs`, each element weighted at random, by every float
/// placeholder that is fed, against central differences in f64. No float output: nothing is
/// compared.
GradientReport check_gradients(Graph g, const Vars& outputs, const std::vector<Feed>& feeds,
                               const GradientOptions& options = {});

/// sum over all float values of sum(v * random), the same numbers for the same seed; null when
/// there is none. Shapes must be numbers.
Var weighted_sum(const Vars& values, uint64_t seed);

}  // namespace rondo
