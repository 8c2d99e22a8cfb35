#include <rondo/backends/cpu/broadcast.h>

#include <algorithm>

namespace rondo::cpu {

std::optional<BroadcastPlan> plan_broadcast(const Dims& result,
                                            std::span<const BroadcastOperand> operands) {
  struct Axis {
    int64_t length;
    std::vector<int64_t> strides;
  };
  std::vector<Axis> axes;  // innermost first
  std::vector<int64_t> step(operands.size(), 1);
  for (size_t from_end = 0; from_end < result.size(); ++from_end) {
    Axis axis{result[result.size() - 1 - from_end], {}};
    for (size_t k = 0; k < operands.size(); ++k) {
      const Dims& d = operands[k].dims;
      const int64_t length = from_end < d.size() ? d[d.size() - 1 - from_end] : 1;
      axis.strides.push_back(length == 1 ? 0 : step[k]);
      step[k] *= from_end == 0 && operands[k].pitch != 0 ? operands[k].pitch : length;
    }
    if (axis.length == 1) continue;
    bool merges = !axes.empty();
    for (size_t k = 0; merges && k < operands.size(); ++k)
      merges = axis.strides[k] == axes.back().strides[k] * axes.back().length;
    if (merges) {
      axes.back().length *= axis.length;
    } else {
      axes.push_back(std::move(axis));
    }
  }
  if (axes.empty()) axes.push_back({1, std::vector<int64_t>(operands.size(), 1)});
  if (axes.size() > kMaxAxes) return std::nullopt;
  std::reverse(axes.begin(), axes.end());

  BroadcastPlan p;
  p.axes = axes.size();
  p.operands.resize(operands.size());
  p.row = axes.back().length;
  p.count = 1;
  for (size_t a = 0; a < p.axes; ++a) {
    p.lengths[a] = axes[a].length;
    if (a + 1 < p.axes) p.count *= axes[a].length;
    for (size_t k = 0; k < operands.size(); ++k) p.operands[k].strides[a] = axes[a].strides[k];
  }
  for (BroadcastPlan::Operand& o : p.operands) {
    bool outer_zero = true;
    o.direct = true;
    int64_t dense = 1;
    for (size_t a = p.axes; a-- > 0;) {
      o.direct = o.direct && o.strides[a] == dense;
      dense *= p.lengths[a];
      if (a + 1 < p.axes) outer_zero = outer_zero && o.strides[a] == 0;
    }
    o.scalar = outer_zero && o.strides[p.axes - 1] == 0;
    o.rows = outer_zero && o.strides[p.axes - 1] == 1;
  }
  return p;
}

RowCursor::RowCursor(const BroadcastPlan& plan, int64_t row) : plan_(plan) {
  for (size_t a = plan.axes - 1; a-- > 0;) {
    at_[a] = row % plan.lengths[a];
    row /= plan.lengths[a];
  }
}

void RowCursor::next() {
  for (size_t a = plan_.axes - 1; a-- > 0;) {
    if (++at_[a] < plan_.lengths[a]) return;
    at_[a] = 0;
  }
}

int64_t RowCursor::offset(const BroadcastPlan::Operand& o) const {
  int64_t r = 0;
  for (size_t a = 0; a + 1 < plan_.axes; ++a) r += at_[a] * o.strides[a];
  return r;
}

}  // namespace rondo::cpu
