// Draws one random cell: its states and inputs are given, its formulas are drawn from a table
// (random_cell_maker.cc), each on values that are there. How large a value can get is known, so
// that neither states nor gradients run away.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "check_gradient.h"
#include "random_cell.h"

namespace rondo::test {

inline constexpr int64_t kWidest = 40;
inline constexpr double kLargestState = 1.5;  // no state is larger
inline constexpr double kLargestValue = 30;   // nor any value that goes on

// The graph around the cells, and what it is fed.
struct CellWorld {
  CellProgram& p;
  Dice& d;
  Dim steps, rows;
  std::vector<std::pair<Var, std::pair<int64_t, int64_t>>> matrices = {};
  std::vector<std::pair<Var, Vars>> apart = {};  // sequences of which each step is a placeholder

  DType dtype() const { return p.config.dtype; }

  Var feed(const char* name, const Shape& shape, DType t, double low, double high) {
    const Var v = p.g.placeholder(cat(name, p.feeds.size()), t, shape);
    const Dims dims = rondo::bind(shape, p.sizes);
    const uint64_t seed = d.below(1000000);
    p.feeds.emplace_back(
        v, is_float(t) ? draw(dims, f32, low, high, seed).to(t) : draw(dims, t, low, high, seed));
    return v;
  }
  Var rowwise(const char* name, const Shape& shape) {
    const Var v = feed(name, shape, dtype(), -1, 1);
    p.leaves.push_back(v);
    return v;
  }
  Var weight(const Shape& shape, double size) {
    const Var v = feed("w", shape, dtype(), -size, size);
    p.weights.push_back(v);
    return v;
  }
  // k rows and n columns, or one that is there already.
  Var matrix(int64_t k, int64_t n) {
    Vars fit;
    for (const auto& [w, size] : matrices) {
      if (size == std::pair(k, n)) fit.push_back(w);
    }
    if (!fit.empty() && d.one_in(3)) return d.of(fit);
    matrices.emplace_back(weight({k, n}, 1 / std::sqrt(static_cast<double>(k))), std::pair(k, n));
    return matrices.back().first;
  }
  Var vector(int64_t n) { return weight({n}, 0.5); }
};

// One value of a step: how wide, how large at most, and the formula that gives it.
struct CellLine {
  int64_t width;
  double bound;
  std::function<Var(const Vars& before)> formula;
};

// Values are called by their place: states, inputs, lines.
struct RandomCell {
  std::vector<int64_t> states;
  std::vector<CellLine> lines;
  std::vector<size_t> next, ys, sums;
  std::vector<double> bounds;
};

// What a step computes of a value, and what the graph around computes of it over time: the same, so
// that it can be had from the loop, or nearly the same, so that it cannot.
struct Echo {
  Var (*inside)(const Var& v);
  Var (*outside)(const Var& v);
};

class CellMaker {
 public:
  CellMaker(CellWorld& w, Dice& d, std::vector<int64_t> states, const std::vector<int64_t>& xs,
            const std::vector<bool>& flags, double bound_of_x)
      : w(w), d(d), cell_{std::move(states), {}, {}, {}, {}, {}} {
    for (const int64_t n : cell_.states) known_.push_back({n, kLargestState, false});
    for (size_t i = 0; i < xs.size(); ++i)
      known_.push_back({xs[i], i == 0 ? bound_of_x : 1, flags[i]});
  }

  // `echo`: where there is one, the last y is what it is of.
  RandomCell run(size_t lines, size_t ys, size_t sums, const Echo* echo);

  // For the rows of the table.
  CellWorld& w;
  Dice& d;
  int64_t width(size_t i) const { return known_[i].width; }
  double bound(size_t i) const { return known_[i].bound; }
  size_t any(double bound = kLargestValue) const {
    for (;;) {
      // Late ones twice as often.
      const size_t i = d.one_in(2)
                           ? d.below(known_.size())
                           : known_.size() - 1 - d.below(std::min<size_t>(known_.size(), 4));
      if (!known_[i].flags && known_[i].bound <= bound) return i;
    }
  }
  size_t like(size_t i, double bound = kLargestValue) const {
    std::vector<size_t> fit;
    for (size_t k = 0; k < known_.size(); ++k) {
      if (known_[k].width == known_[i].width && !known_[k].flags && known_[k].bound <= bound)
        fit.push_back(k);
    }
    return fit.empty() ? i : d.of(fit);
  }
  // Booleans of a width, where an input holds some.
  std::optional<size_t> flags() const {
    for (size_t k = 0; k < known_.size(); ++k) {
      if (known_[k].flags) return k;
    }
    return std::nullopt;
  }
  // That of a state mostly, so that values meet.
  int64_t some_width() const {
    return d.one_in(4) ? 1 + static_cast<int64_t>(d.below(kWidest)) : d.of(cell_.states);
  }
  double number() const { return (static_cast<double>(d.below(2000)) - 1000) / 1024 + 0.0001; }

  size_t add(CellLine m) {
    known_.push_back({m.width, m.bound, false});
    cell_.lines.push_back(std::move(m));
    return known_.size() - 1;
  }

 private:
  struct Known {
    int64_t width;
    double bound;
    bool flags;
  };
  std::vector<Known> known_;
  RandomCell cell_;
};

}  // namespace rondo::test
