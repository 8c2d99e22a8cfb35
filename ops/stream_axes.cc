#include <rondo/ops/stream_axes.h>

#include <algorithm>
#include <map>
#include <string_view>

#include <rondo/graph/op.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

using Axis = std::optional<size_t>;

// A node and the operand whose axis is followed.
struct Place {
  const Graph& graph;
  const Node& node;
  size_t operand, axis;

  size_t rank_of(size_t i) const { return graph.type(node.inputs[i]).shape.size(); }
  size_t rank() const { return rank_of(operand); }
  size_t result_rank() const {
    for (const ValueType& t : node.outputs) {
      if (t.present) return t.shape.size();
    }
    return 0;
  }
};

// Aligned at the last axis, as operands are broadcast.
Axis aligned(const Place& p) { return p.axis + p.result_rank() - p.rank(); }

// Along the axis that an attribute names; the result may lack it.
Axis beside_axis(const Place& p) {
  const size_t along = axis_index(p.node.attributes.integer("axis"), p.rank());
  if (along == p.axis) return {};
  return p.result_rank() == p.rank() || p.axis < along ? p.axis : p.axis - 1;
}

Axis beside_new_axis(const Place& p) {
  return p.axis + (axis_index(p.node.attributes.integer("axis"), p.result_rank()) <= p.axis);
}

// Over the axes that an attribute names, none meaning all; the result may lack them.
Axis beside_axes(const Place& p) {
  const std::vector<int64_t>& axes = p.node.attributes.integers("axes");
  if (axes.empty()) return {};
  size_t before = 0;
  for (const int64_t a : axes) {
    const size_t along = axis_index(a, p.rank());
    if (along == p.axis) return {};
    before += along < p.axis ? 1 : 0;
  }
  return p.result_rank() == p.rank() ? p.axis : p.axis - before;
}

Axis before_last(const Place& p) {
  return p.operand == 0 && p.axis + 1 < p.rank() ? Axis(p.axis) : Axis();
}

Axis of_pick(const Place& p) {
  return p.operand == 1 || p.axis + 1 < p.rank() ? Axis(p.axis) : Axis();
}

Axis same(const Place& p) { return p.axis; }

Axis permuted(const Place& p) {
  const std::vector<int64_t>& order = p.node.attributes.integers("permutation");
  if (order.empty()) return p.rank() - 1 - p.axis;
  for (size_t i = 0; i < order.size(); ++i) {
    if (axis_index(order[i], p.rank()) == p.axis) return i;
  }
  return {};
}

Axis of_matmul(const Place& p) {
  const size_t rank = p.rank(), result = p.result_rank();
  if (p.axis + 2 < rank) return p.axis;
  const bool last = p.axis + 1 == rank, a = p.operand == 0;
  const bool transposed = p.node.attributes.flag(a ? "transpose_a" : "transpose_b");
  if (a) return last == transposed ? Axis(result - 2) : Axis();
  return last != transposed ? Axis(result - 1) : Axis();
}

Axis of_gather(const Place& p) {
  if (p.operand == 1) return p.axis;
  return p.axis == 0 ? Axis() : Axis(p.rank_of(1) + p.axis - 1);
}

Axis of_tuples(const Place& p) {  // the last axis of the indices holds one tuple
  const bool indices = p.operand + 1 == p.node.inputs.size();
  return indices && p.axis + 1 < p.rank() ? Axis(p.axis) : Axis();
}

Axis of_tile(const Place& p) {
  return p.node.attributes.shape("repeats")[p.axis] == Dim(1) ? Axis(p.axis) : Axis();
}

using Through = Axis (*)(const Place&);

const std::map<std::string_view, Through>& table() {
  static const std::map<std::string_view, Through> rows = [] {
    std::map<std::string_view, Through> r;
    const auto add = [&r](Through f, std::initializer_list<std::string_view> ops) {
      for (const std::string_view op : ops) r[op] = f;
    };
    add(aligned, {"broadcast_to", "cast", "check_range", "dropout", "stop_gradient", "where"});
    add(beside_axis, {"argmax", "argmin", "argsort", "concat", "cumprod", "cumsum", "linear_scan",
                      "log_softmax", "pad", "roll", "slice", "softmax", "sort", "split",
                      "strided_slice", "take_along", "unstack"});
    add(beside_new_axis, {"stack"});
    add(beside_axes, {"first_true", "l2_normalize", "logsumexp", "mean", "norm", "prod",
                      "reduce_all", "reduce_any", "reduce_max", "reduce_min", "reverse",
                      "standard_deviation", "sum", "variance"});
    add(before_last, {"layer_norm", "rms_norm", "top_k"});
    add(of_pick, {"pick"});
    add(same, {"one_hot"});
    add(permuted, {"transpose"});
    add(of_matmul, {"matmul"});
    add(of_gather, {"gather"});
    add(of_tuples, {"flat_index", "gather_nd"});
    add(of_tile, {"tile"});
    return r;
  }();
  return rows;
}

}  // namespace

std::optional<size_t> axis_through(const Graph& g, const Node& n, size_t operand, size_t axis) {
  const Place p{g, n, operand, axis};
  if (!n.op->formula.empty()) return aligned(p);
  const auto row = table().find(n.op->name);
  return row == table().end() ? Axis() : row->second(p);
}

}  // namespace rondo
