// `segments`: a graph of some steps of time, run for one such segment after the other. The pass
// `recompute` makes of a loop and of its gradient two such nodes: the first keeps the states at the
// beginning of each segment, the second runs the loop again from there, a segment at a time, so
// that what a gradient needs of its loop is only there for one segment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include <rondo/graph/graph.h>

namespace rondo {

/// How the operands and results of a `segments` node are laid out: states, xs, per_segment, shared,
/// begin, end; and ys, finals, sums, befores. The body takes the operands in the same order,
/// without absent ends of windows, and gives the next states, the ys and terms of the sums.
struct SegmentsLayout {
  size_t states, xs, per_segment, shared, ys, sums;
  explicit SegmentsLayout(const Attributes& attributes);
  explicit SegmentsLayout(const Node& n) : SegmentsLayout(n.attributes) {}

  size_t first_x() const { return states; }
  size_t first_per_segment() const { return states + xs; }
  size_t first_shared() const { return states + xs + per_segment; }
  size_t begin() const { return states + xs + per_segment + shared; }
  size_t end() const { return begin() + 1; }
  size_t operands() const { return begin() + 2; }
  size_t final_of(size_t s) const { return ys + s; }
  size_t sum_of(size_t s) const { return ys + states + s; }
  size_t before_of(size_t s) const { return ys + states + sums + s; }
};

/// The body's symbol for the steps of a segment.
inline constexpr const char* kSegmentSteps = "$steps";

/// Rows of steps in a segment at least: gradients of matrices are added up once a segment.
inline constexpr int64_t kFewestRowSteps = 128;

/// Steps of each segment but the last, where there are at most `count`.
inline int64_t segment_steps(int64_t steps, int64_t rows, int64_t count) {
  const int64_t fewest = (kFewestRowSteps - 1) / std::max<int64_t>(1, rows) + 1;
  return std::max((std::max<int64_t>(1, steps) - 1) / count + 1,
                  std::min(fewest, std::max<int64_t>(1, steps)));
}

/// A node from its operands by role and a body in that order.
struct SegmentsParts {
  Vars states = {}, xs = {}, per_segment = {}, shared = {};
  Var begin = {}, end = {};
  size_t ys = 0, sums = 0;
  int64_t count = 1;  ///< of segments, at most
  bool reverse = false;
  Dim steps = 0, rows = 0;

  Vars make(Graph g, std::shared_ptr<const Subgraph> body, Site site) const;
};

}  // namespace rondo
