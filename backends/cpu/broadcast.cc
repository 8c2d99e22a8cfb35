#include <rondo/backends/cpu/broadcast.h>

#include <algorithm>

namespace rondo::cpu {

std::optional<BroadcastPlan> plan_broadcast(const Dims& result,
                                            std::span<const BroadcastOperand> operands) {
  // Innermost first; each axis' strides, one an operand, follow those of the axis before.
  const size_t count = operands.size();
  std::vector<int64_t> lengths, strides, step(count, 1);
  strides.reserve(std::max<size_t>(1, result.size()) * count);
  for (size_t from_end = 0; from_end < result.size(); ++from_end) {
    const int64_t along = result[result.size() - 1 - from_end];
    for (size_t k = 0; k < count; ++k) {
      const Dims& d = operands[k].dims;
      const int64_t length = from_end < d.size() ? d[d.size() - 1 - from_end] : 1;
      strides.push_back(length == 1 ? 0 : step[k]);
      step[k] *= from_end == 0 && operands[k].pitch != 0 ? operands[k].pitch : length;
    }
    bool merges = !lengths.empty();
    for (size_t k = 0; merges && k < count; ++k) {
      const int64_t* const inner = &strides[strides.size() - 2 * count];
      merges = inner[count + k] == inner[k] * lengths.back();
    }
    if (along != 1 && !merges) {
      lengths.push_back(along);
      continue;
    }
    if (along != 1) lengths.back() *= along;
    strides.resize(strides.size() - count);
  }
  if (lengths.empty()) {
    lengths.push_back(1);
    strides.assign(count, 1);
  }
  if (lengths.size() > kMaxAxes) return std::nullopt;

  BroadcastPlan p;
  p.axes = lengths.size();
  p.operands.resize(count);
  p.row = lengths.front();
  p.count = 1;
  for (size_t a = 0; a < p.axes; ++a) {
    const size_t from_end = p.axes - 1 - a;
    p.lengths[a] = lengths[from_end];
    if (a + 1 < p.axes) p.count *= p.lengths[a];
    for (size_t k = 0; k < count; ++k) p.operands[k].strides[a] = strides[from_end * count + k];
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
