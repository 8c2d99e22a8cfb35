#include <rondo/ops/rnn_common.h>

#include <algorithm>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/initializers.h>
#include <rondo/ops/shape.h>

namespace rondo::rnn_internal {
namespace {

// Axes of x in the order time, batch, features; and back. None: it is time-major already.
struct Format {
  std::string_view name, axes;  // axes: '*' stands for the features
  std::vector<int64_t> to_time_major, from_time_major;
};
const Format& format_of(std::string_view name) {
  static const Format kFormats[] = {{"TNS", "[T,B,*]", {}, {}},
                                    {"T2NS", "[T,B,*]", {}, {}},
                                    {"NTS", "[B,T,*]", {1, 0, 2}, {1, 0, 2}},
                                    {"NST", "[B,*,T]", {2, 0, 1}, {1, 2, 0}}};
  return *std::find_if(std::begin(kFormats), std::end(kFormats),
                       [&](const Format& f) { return f.name == name; });
}

Tensor gates_of(int64_t gates, const std::function<Tensor()>& draw) {
  std::vector<Tensor> parts;
  for (int64_t k = 0; k < gates; ++k) parts.push_back(draw());
  return join_columns(parts);
}

}  // namespace

std::string sequence_axes(std::string_view format, std::string_view features) {
  std::string s(format_of(format).axes);
  return s.replace(s.find('*'), 1, features);
}

Var to_time_major(const Var& x, std::string_view format) {
  const auto& permutation = format_of(format).to_time_major;
  return permutation.empty() ? x : transpose(x, permutation);
}

Var from_time_major(const Var& y, std::string_view format) {
  const auto& permutation = format_of(format).from_time_major;
  return permutation.empty() ? y : transpose(y, permutation);
}

bool bidirectional(const Attributes& a) { return a.text("direction_mode").rfind("BIDIR", 0) == 0; }

Var direction_of(const Var& v, int64_t d) { return v ? squeeze(slice(v, 0, d, d + 1), 0) : v; }

Tensor each_direction(LSTMDirectionMode mode, const std::function<Tensor()>& draw) {
  if (!is_bidirectional(mode)) return draw();
  const Tensor forward = draw(), backward = draw();
  Dims both = forward.dims();
  both.insert(both.begin(), 2);
  const Dims flat{1, forward.size()};
  return join_rows({forward.reshaped(flat), backward.reshaped(flat)}).reshaped(both);
}

Var with_peephole(const Var& gate, const Var& c, const Var& w) { return w ? gate + c * w : gate; }

Var clipped(const Var& x, double bound) { return bound > 0 ? clip(x, -bound, bound) : x; }

Var shifted(const Var& x, double amount) { return amount == 0 ? x : x + amount; }

Var state_or_zeros(const Var& state, const Var& x, const Dim& rows, const Dim& width) {
  return state ? state : fill(x.graph(), x.dtype(), {rows, width}, 0);
}

void need_with(const InferContext& c, std::string_view flag, std::string_view operand) {
  const int at = c.signature().input(operand);
  if (!c.attributes().flag(flag) || c.has(static_cast<size_t>(at))) return;
  c.refuse(operand, "missing", flag, " is set, but ", operand, " was not given");
}

void check_batch(const InferContext& c, std::string_view format,
                 std::initializer_list<std::string_view> states, size_t axis) {
  if (!c.has(0) || c[0].shape.size() != 3) return;
  const std::string_view axes = format_of(format).axes;
  const Dim& rows = c[0].shape[axes.substr(0, axes.find('B')).find(',') == axes.npos ? 0 : 1];
  for (const std::string_view state : states) {
    const auto at = static_cast<size_t>(c.signature().input(state));
    if (!c.has(at) || c[at].shape.size() != axis + 2 || c.equal(c[at].shape[axis], rows)) continue;
    c.refuse(state, "dim", state, " has shape ", to_string(c[at].shape), ", but x has shape ",
             to_string(c[0].shape), ", which with data_format ", format, " is a batch of ", rows);
  }
}

Sample::Input absent() { return {{}, 0, 0, f64, {}, true}; }

std::string_view name_of(std::span<const std::string_view> names, int value, std::string_view op) {
  if (value < 0 || static_cast<size_t>(value) >= names.size())
    fail(Fault::kArgument, cat(op, ".config.enum"), "[", op, "] a configuration holds ", value,
         ", which is no name of its enumeration");
  return names[static_cast<size_t>(value)];
}

Tensor join_rows(const std::vector<Tensor>& parts) {
  int64_t rows = 0;
  for (const Tensor& p : parts) rows += p.dims()[0];
  Tensor r(parts[0].dtype(), {rows, parts[0].dims()[1]});
  dispatch(r.dtype(), [&]<class T>() {
    T* to = r.mutable_data<T>();
    for (const Tensor& p : parts) to = std::copy_n(p.data<T>(), p.size(), to);
  });
  return r;
}

Tensor join_columns(const std::vector<Tensor>& parts) {
  const int64_t rows = parts[0].dims()[0];
  int64_t cols = 0;
  for (const Tensor& p : parts) cols += p.dims()[1];
  Tensor r(parts[0].dtype(), {rows, cols});
  dispatch(r.dtype(), [&]<class T>() {
    T* to = r.mutable_data<T>();
    for (int64_t i = 0; i < rows; ++i) {
      for (const Tensor& p : parts) {
        const int64_t n = p.dims()[1];
        to = std::copy_n(p.data<T>() + i * n, n, to);
      }
    }
  });
  return r;
}

void check_layer_sizes(const Graph& g, int64_t inputs, int64_t units) {
  const std::string layer = g.scope_name();
  const auto need = [&](const char* what, int64_t n) {
    if (n < 1)
      fail(Fault::kArgument, "layer_weights.size.range", "[weights",
           layer.empty() ? "" : cat(" \"", layer, "\""), "] ", what, " is ", n,
           ", but must be at least 1");
  };
  need("the number of inputs", inputs);
  need("the number of hidden units", units);
}

Tensor glorot_gates(Graph g, int64_t rows, int64_t cols, int64_t gates, DType dtype) {
  check_layer_sizes(g, rows, cols);  // every layer has such weights
  return gates_of(gates, [&] { return init::glorot_uniform(g, {rows, cols}, rows, cols, dtype); });
}

Tensor orthogonal_gates(Graph g, int64_t rows, int64_t cols, int64_t gates, DType dtype) {
  return gates_of(gates, [&] { return init::orthogonal(g, rows, cols, dtype); });
}

Tensor gate_biases(int64_t size, int64_t gates, int64_t one, DType dtype) {
  std::vector<Tensor> parts;
  for (int64_t k = 0; k < gates; ++k)
    parts.push_back(Tensor::full(dtype, {1, size}, k == one ? 1 : 0));
  return join_columns(parts).reshaped({gates * size});
}

}  // namespace rondo::rnn_internal
