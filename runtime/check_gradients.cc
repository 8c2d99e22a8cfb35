#include <rondo/runtime/check_gradients.h>

#include <algorithm>
#include <array>
#include <cmath>

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/random.h>
#include <rondo/ops/reduce.h>
#include <rondo/runtime/check_op.h>

namespace rondo {

using check::draw;

Var weighted_sum(const Vars& values, uint64_t seed) {
  Var total;
  for (const Var& v : values) {
    if (!v || !is_float(v.dtype())) continue;
    const Tensor weights = draw(bind(v.shape(), {}), v.dtype(), -1, 1, ++seed);
    const Var part = sum(v * v.graph().constant(weights));
    total = total ? total + part : part;
  }
  return total;
}

namespace {

// A direction of one operand: elements, and how far each goes.
using Move = std::vector<std::pair<int64_t, double>>;

// Each element for itself, or `elements` that are drawn and then all together, by +-1/sqrt(n).
std::vector<Move> moves_of(int64_t size, size_t elements, uint64_t seed) {
  std::vector<Move> r;
  if (elements == 0 || size <= static_cast<int64_t>(elements)) {
    for (int64_t e = 0; e < size; ++e) r.push_back({{e, 1.0}});
    return r;
  }
  for (size_t k = 0; k < elements; ++k)
    r.push_back(
        {{static_cast<int64_t>(uniform_at(seed, 1, 0, k) * static_cast<double>(size)), 1.0}});
  Move together;
  for (int64_t e = 0; e < size; ++e) {
    const bool up = uniform_at(seed, 2, 0, static_cast<uint64_t>(e)) < 0.5;
    together.emplace_back(e, (up ? 1 : -1) / std::sqrt(static_cast<double>(size)));
  }
  r.push_back(std::move(together));
  return r;
}

std::string place_of(const Move& move) {
  return move.size() == 1 ? cat("[", move[0].first, "]") : std::string(", all of it");
}

}  // namespace

GradientReport check_gradients(Graph g, const Vars& outputs, const std::vector<Feed>& feeds,
                               const GradientOptions& o) {
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
  const bool twice = o.orders > 1;
  const Var along = twice ? weighted_sum(first, 8000) : loss;
  const Vars second = twice ? gradients(along, by) : Vars{};

  Session session(g, o.compile, std::make_shared<ThreadTeam>(1));
  Vars all = first;
  all.insert(all.end(), second.begin(), second.end());
  const std::vector<Tensor> claimed = session.run(all, feeds, o.run);

  for (size_t i = 0; i < by.size(); ++i) {
    const Tensor& x = feeds[feed_of[i]].second;
    // (loss, loss of the second order) at x + h * move.
    const auto at = [&](const Move& move, double h) {
      std::vector<Feed> moved = feeds;
      double* const to = moved[feed_of[i]].second.mutable_data<double>();
      for (const auto& [element, by_much] : move) to[element] += h * by_much;
      const std::vector<Tensor> r = session.run(Vars{loss, along}, moved, o.run);
      return std::array{r[0].item(), r[1].item()};
    };
    const auto difference = [&](const Move& move, double h) {
      const auto above = at(move, h), below = at(move, -h);
      return std::array{(above[0] - below[0]) / (2 * h), (above[1] - below[1]) / (2 * h)};
    };
    for (const Move& move : moves_of(x.size(), o.elements, 6000 + i)) {
      std::array<double, 2> got{};
      for (size_t order = 0; order < o.orders; ++order) {
        for (const auto& [element, by_much] : move)
          got[order] += claimed[order * by.size() + i].at(element) * by_much;
      }
      const auto agree = [&](size_t order, double a, double b) {
        return std::abs(a - b) <=
               (order == 0 ? o.first : o.second) * std::max(std::abs(a), o.floor);
      };
      std::array<std::string, 2> problem;
      for (size_t s = 0; s < (o.off_kinks ? 1 : o.steps.size()); ++s) {
        const auto want = difference(move, o.steps[s]);
        for (size_t order = 0; order < o.orders; ++order) {
          if (s > 0 && problem[order].empty()) continue;
          problem[order].clear();
          if (agree(order, got[order], want[order])) continue;
          problem[order] =
              cat(order == 0 ? "first" : "second", " order by ", by[i].name(), place_of(move), ": ",
                  got[order], ", central difference ", want[order]);
        }
        if (problem[0].empty() && problem[1].empty()) {
          report.shorter += s > 0 ? 1 : 0;
          break;
        }
        if (!o.off_kinks) continue;
        const auto shorter = difference(move, o.steps[s] / 4);
        for (size_t order = 0; order < o.orders; ++order) {
          if (agree(order, want[order], shorter[order])) continue;
          report.near_kink = true;
          return report;
        }
      }
      for (const std::string& p : problem) {
        if (!p.empty()) report.problems.push_back(p);
      }
      ++report.first;
      report.second += twice ? 1 : 0;
    }
  }
  return report;
}

}  // namespace rondo
