// Loops over time by oneDNN's recurrent primitives: inference of the cells that it has, recognized
// by their formula (plain_cell.h). Rows are cut into parts that shape alone decides, and one thread
// takes a part through all of time, so every team size gives the same bits. oneDNN wants memory for
// every step of a call, so a part goes through time a few steps a call.
#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/error.h>

#if RONDO_ONEDNN

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include <rondo/backends/cpu/onednn.h>
#include <rondo/backends/cpu/plain_cell.h>
#include <rondo/backends/cpu/row_gemm.h>
#include <rondo/backends/cpu/scratchpads.h>
#include <rondo/ops/recurrence.h>

namespace rondo::cpu {
namespace {

using dnnl::memory;
using Kind = PlainCell::Kind;

constexpr int64_t kMostRows = 32;     // of a part: past it reading weights costs little more a row
constexpr int64_t kRowsOfCall = 256;  // of all steps of a call: enough to share the reading of Wx
// From so many columns of a state on, one product of all rows of a call with Wx as it lies beats
// the blocks that oneDNN chooses. Rows of weights a power of two apart would share the sets of a
// cache.
constexpr int64_t kWide = 768, kPadding = 16;
// Nowhere quicker than the engine by more than noise, and it allocates: docs/performance.md.
constexpr double kCost = 2;

constexpr auto kF32 = memory::data_type::f32;

// How the primitives of a call differ.
struct LoopShape {
  Kind kind;
  bool reverse;
  int64_t steps, rows, input, hidden;
  int64_t x_rows, y_rows;  // from one step to the next
  int64_t gates() const { return kind == Kind::kLstm ? 4 : kind == Kind::kTanh ? 1 : 3; }
  int64_t biases() const { return gates() + (kind == Kind::kLbrGru ? 1 : 0); }
};

// What a primitive is given, in this order.
enum Argument : size_t {
  kX,
  kFirstH,
  kFirstC,
  kWx,
  kWr,
  kBias,
  kY,
  kLastH,
  kLastC,
  kScratch,
  kArguments
};
constexpr int kNames[] = {DNNL_ARG_SRC_LAYER,     DNNL_ARG_SRC_ITER,     DNNL_ARG_SRC_ITER_C,
                          DNNL_ARG_WEIGHTS_LAYER, DNNL_ARG_WEIGHTS_ITER, DNNL_ARG_BIAS,
                          DNNL_ARG_DST_LAYER,     DNNL_ARG_DST_ITER,     DNNL_ARG_DST_ITER_C,
                          DNNL_ARG_SCRATCHPAD};

struct Loop {
  onednn::Primitive primitive;
  std::vector<size_t> given;  // its arguments
  int64_t rows = 0, steps = 0;
  memory::desc wx, wr;  // its layouts
  size_t scratch_bytes = 0;
  std::string implementation;
};

template <class Desc>
Desc described(const LoopShape& s, const memory::desc& wx, const memory::desc& wr) {
  using Dims = memory::dims;
  using Tag = memory::format_tag;
  const auto way = s.reverse ? dnnl::rnn_direction::unidirectional_right2left
                             : dnnl::rnn_direction::unidirectional_left2right;
  const auto over_time = [&](int64_t width, int64_t rows) {
    return memory::desc({s.steps, s.rows, width}, kF32, Dims{rows * width, width, 1});
  };
  const memory::desc x = over_time(s.input, s.x_rows), y = over_time(s.hidden, s.y_rows);
  const memory::desc state({1, 1, s.rows, s.hidden}, kF32, Tag::ldnc);
  const memory::desc bias({1, 1, s.biases(), s.hidden}, kF32, Tag::ldgo);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  constexpr auto kInference = dnnl::prop_kind::forward_inference;
  if constexpr (std::is_same_v<Desc, dnnl::lstm_forward::primitive_desc>) {
    return Desc(onednn::engine(), kInference, way, x, state, state, wx, wr, bias, y, state, state,
                attributes);
  } else if constexpr (std::is_same_v<Desc, dnnl::vanilla_rnn_forward::primitive_desc>) {
    return Desc(onednn::engine(), kInference, dnnl::algorithm::eltwise_tanh, way, x, state, wx, wr,
                bias, y, state, attributes);
  } else {
    return Desc(onednn::engine(), kInference, way, x, state, wx, wr, bias, y, state, attributes);
  }
}

template <class Forward>
std::shared_ptr<const Loop> loop_as(const LoopShape& s, const memory::desc& wx,
                                    const memory::desc& wr) {
  const auto desc = described<typename Forward::primitive_desc>(s, wx, wr);
  auto l = std::make_shared<Loop>();
  l->rows = s.rows;
  l->steps = s.steps;
  l->primitive.run = Forward(desc);
  for (size_t i = 0; i < kArguments; ++i) {
    const memory::desc d = desc.query_md(dnnl::query::exec_arg_md, kNames[i]);
    if (d.get_size() == 0) continue;
    l->primitive.arguments.emplace_back(kNames[i], d);
    l->given.push_back(i);
  }
  l->wx = desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_WEIGHTS_LAYER);
  l->wr = desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_WEIGHTS_ITER);
  l->scratch_bytes = desc.scratchpad_desc().get_size();
  l->implementation = desc.impl_info_str();
  return l;
}

std::shared_ptr<const Loop> make_loop(const LoopShape& s, const memory::desc& wx,
                                      const memory::desc& wr) {
  const onednn::OneThread one;  // oneDNN plans for the threads it sees
  return onednn::checked("make a loop over time", [&] {
    switch (s.kind) {
      case Kind::kLstm:
        return loop_as<dnnl::lstm_forward>(s, wx, wr);
      case Kind::kGru:
        return loop_as<dnnl::gru_forward>(s, wx, wr);
      case Kind::kLbrGru:
        return loop_as<dnnl::lbr_gru_forward>(s, wx, wr);
      default:
        return loop_as<dnnl::vanilla_rnn_forward>(s, wx, wr);
    }
  });
}

// A number for a layout, the same for equal ones and never another's. One that has not been asked
// for while many others were is forgotten: weights are packed once more then.
uint64_t number_of(const memory::desc& layout) {
  constexpr size_t kMostLayouts = 512;
  struct Known {
    std::mutex mutex;
    std::vector<std::pair<memory::desc, uint64_t>> layouts;  // most recent last
    uint64_t next = 0;
  };
  static auto* const known = new Known;  // outlives all plans
  const std::lock_guard lock(known->mutex);
  auto& all = known->layouts;
  const auto at =
      std::find_if(all.begin(), all.end(), [&](const auto& l) { return l.first == layout; });
  if (at != all.end()) {
    std::rotate(at, at + 1, all.end());
  } else {
    if (all.size() == kMostLayouts) all.erase(all.begin());
    all.emplace_back(layout, known->next++);
  }
  return all.back().second;
}

// How far apart the rows of a matrix lie that is [rows, gates, columns of a gate] in memory; none:
// it is laid out otherwise.
std::optional<int64_t> row_stride(const memory::desc& d) {
  const memory::dims dims = d.get_dims(), strides = d.get_strides();
  if (d.get_inner_nblks() != 0 || strides[4] != 1 || strides[3] != dims[4]) return std::nullopt;
  return strides[2];
}

// The weights of x or of h, brought into oneDNN's layout.
class Matrix {
 public:
  Matrix(const KernelCall& call, int64_t rows, int64_t hidden,
         std::vector<PlainCell::Columns> gates, const memory::desc& layout)
      : rows_(rows),
        hidden_(hidden),
        gates_(std::move(gates)),
        plain_({1, 1, rows, static_cast<int64_t>(gates_.size()), hidden}, kF32,
               memory::format_tag::ldigo),
        layout_(layout),
        row_stride_(row_stride(layout)) {
    name_ = cat("onednn", number_of(layout));
    for (const PlainCell::Columns& g : gates_) {
      across_.push_back(call.in[g.operand].dims[1]);
      name_ += cat(".", g.first, g.transposed ? "t" : "", "/", across_.back());
    }
    if (row_stride_) return;
    reorder_.arguments = {{DNNL_ARG_FROM, plain_}, {DNNL_ARG_TO, layout_}};
    onednn::checked("make a layout", [&] {
      const onednn::OneThread one;
      reorder_.run = dnnl::reorder(
          dnnl::reorder::primitive_desc(onednn::engine(), plain_, onednn::engine(), layout_));
    });
  }

  // Whether one operand holds all of it, so that it can be kept from run to run.
  bool is_of_one() const {
    return std::all_of(gates_.begin(), gates_.end(),
                       [&](const PlainCell::Columns& g) { return g.operand == gates_[0].operand; });
  }
  Packing packing() const { return {gates_[0].operand, bytes(), name_}; }
  size_t bytes() const { return layout_.get_size(); }
  size_t plain_bytes() const { return row_stride_ ? 0 : plain_.get_size(); }

  // `operand(i)`: where operand i lies. `plain`: room for plain_bytes().
  template <class F>
  void pack(const F& operand, std::byte* plain, std::byte* to) const {
    const auto gates = static_cast<int64_t>(gates_.size());
    auto* const y = reinterpret_cast<float*>(row_stride_ ? to : plain);
    const int64_t stride = row_stride_.value_or(gates * hidden_);
    for (int64_t g = 0; g < gates; ++g) {
      const PlainCell::Columns& from = gates_[static_cast<size_t>(g)];
      const float* const x = operand(from.operand);
      const int64_t across = across_[static_cast<size_t>(g)];
      for (int64_t k = 0; k < rows_; ++k) {
        float* const row = y + k * stride + g * hidden_;
        if (from.transposed) {
          for (int64_t j = 0; j < hidden_; ++j) row[j] = x[(from.first + j) * across + k];
        } else {
          std::copy_n(x + k * across + from.first, hidden_, row);
        }
      }
    }
    if (row_stride_) return;
    const void* const data[] = {plain, to};
    onednn::execute(reorder_, data, "bring weights into its layout");
  }

 private:
  int64_t rows_, hidden_;
  std::vector<PlainCell::Columns> gates_;
  std::vector<int64_t> across_;  // numbers in a row of each gate's operand
  memory::desc plain_, layout_;
  std::optional<int64_t> row_stride_;
  onednn::Primitive reorder_;
  std::string name_;
};

class OneDnnRecurrent final : public PreparedKernel {
 public:
  OneDnnRecurrent(const KernelCall& call, PlainCell cell)
      : cell_(std::move(cell)),
        layout_(call.node),
        reverse_(call.attributes.flag("reverse")),
        steps_(call.dims("extent")[0]),
        rows_(call.dims("extent")[1]),
        parts_(parts_of(rows_, kMostRows)),
        steps_of_call_(std::clamp<int64_t>(kRowsOfCall / most_rows(), 1, steps_)) {
    for (size_t i = 0; i < layout_.ys; ++i) {
      if (call.out[i].present) y_ = i;
    }
    // Only rows that follow each other over steps make one product.
    copies_x_ = cell_.hidden >= kWide && parts_ > 1;
    if (cell_.hidden >= kWide || !make_loops(0)) make_loops(kPadding);
    make_matrices(call);
    place();
  }

  size_t workspace_bytes() const override { return workspace_bytes_; }
  std::string note() const override {
    return cat(name_of(cell_.kind), ", ", loops_[0]->implementation);
  }
  std::span<const Packing> packings() const override { return packings_; }
  void pack(size_t i, const View& from, std::byte* to) const override {
    const Matrix& m = *packed_[i];
    const std::shared_ptr<std::byte> plain = allocate_aligned(std::max<size_t>(1, m.plain_bytes()));
    m.pack([&](size_t) { return from.as<float>(); }, plain.get(), to);
  }

  void run(const KernelArgs& args) const override {
    pads_->prepare(args.workspace + pads_at_);
    add_biases(args);
    const std::array<const std::byte*, 2> weights = bring_weights(args);
    for_pieces(args.context.team, parts_, [&](int64_t part) {
      const Scratchpads::Use pad(*pads_, args.workspace + pads_at_);
      run_rows(args, part, weights, pad.data());
    });
  }

 private:
  static constexpr size_t kFloat = sizeof(float);

  int64_t first_of(int64_t part) const { return rows_ * part / parts_; }
  int64_t rows_of(int64_t part) const { return first_of(part + 1) - first_of(part); }
  int64_t most_rows() const { return parts_of(rows_, parts_); }
  const Loop& loop_of(int64_t rows, int64_t steps) const {
    return **std::find_if(loops_.begin(), loops_.end(),
                          [&](const auto& l) { return l->rows == rows && l->steps == steps; });
  }

  // Weights lie in rows that are `padding` further apart than they must be or, 0, as oneDNN likes
  // it: whether one layout serves all parts then.
  bool make_loops(int64_t padding) {
    loops_.clear();
    std::vector<int64_t> lengths{steps_of_call_};
    if (steps_ % steps_of_call_ != 0) lengths.push_back(steps_ % steps_of_call_);
    std::vector<int64_t> heights{most_rows()};
    if (rows_ % parts_ != 0) heights.push_back(most_rows() - 1);
    for (const int64_t rows : heights) {
      for (const int64_t steps : lengths) {
        const LoopShape s{.kind = cell_.kind,
                          .reverse = reverse_,
                          .steps = steps,
                          .rows = rows,
                          .input = cell_.input,
                          .hidden = cell_.hidden,
                          .x_rows = copies_x_ ? rows : rows_,
                          .y_rows = y_ ? rows_ : rows};
        const auto weights = [&](int64_t k) {
          const memory::dims dims{1, 1, k, s.gates(), s.hidden};
          const int64_t row = s.gates() * s.hidden + padding;
          return padding == 0 ? memory::desc(dims, kF32, memory::format_tag::any)
                              : memory::desc(dims, kF32, {k * row, k * row, row, s.hidden, 1});
        };
        loops_.push_back(make_loop(s, weights(s.input), weights(s.hidden)));
      }
    }
    const auto is_described = [](const memory::desc& d) {
      return d.get_format_kind() == memory::format_kind::blocked;
    };
    return std::all_of(loops_.begin(), loops_.end(), [&](const auto& l) {
      return is_described(l->wx) && is_described(l->wr) && l->wx == loops_[0]->wx &&
             l->wr == loops_[0]->wr;
    });
  }

  void make_matrices(const KernelCall& call) {
    std::vector<PlainCell::Columns> of_x, of_h;
    for (const PlainCell::Gate& g : cell_.gates) {
      of_x.push_back(g.x);
      of_h.push_back(g.h);
    }
    matrices_.reserve(2);  // pointed at
    matrices_.emplace_back(call, cell_.input, cell_.hidden, of_x, loops_[0]->wx);
    matrices_.emplace_back(call, cell_.hidden, cell_.hidden, of_h, loops_[0]->wr);
    for (const Matrix& m : matrices_) {
      if (!m.is_of_one()) continue;
      packed_.push_back(&m);
      packings_.push_back(m.packing());
    }
  }

  // Workspace: the pads, of which each part that runs has one; biases; weights that are not packed.
  void place() {
    size_t pad = 0;
    const auto take = [](size_t& all, size_t bytes) {
      const size_t at = all;
      all += align_up(bytes);
      return at;
    };
    const auto rows = static_cast<size_t>(most_rows()),
               call_rows = rows * static_cast<size_t>(steps_of_call_);
    const size_t state = rows * static_cast<size_t>(cell_.hidden) * kFloat;
    for (const auto& l : loops_) pad = std::max(pad, align_up(l->scratch_bytes));
    for (auto& turn : states_at_) turn = {take(pad, state), take(pad, state)};
    if (!y_) y_at_ = take(pad, state * static_cast<size_t>(steps_of_call_));
    if (copies_x_) x_at_ = take(pad, call_rows * static_cast<size_t>(cell_.input) * kFloat);
    pads_.emplace(parts_, pad);
    pads_at_ = take(workspace_bytes_, pads_->workspace_bytes());
    bias_at_ = take(workspace_bytes_,
                    (cell_.gates.size() + 1) * static_cast<size_t>(cell_.hidden) * kFloat);
    for (size_t i = 0; i < 2; ++i) {
      if (matrices_[i].is_of_one()) continue;
      matrix_at_[i] = take(workspace_bytes_, matrices_[i].bytes());
      plain_at_[i] = take(workspace_bytes_, matrices_[i].plain_bytes());
    }
  }

  void add_biases(const KernelArgs& args) const {
    auto* const bias = reinterpret_cast<float*>(args.workspace + bias_at_);
    const auto add = [&](size_t gate, const std::vector<PlainCell::Columns>& vectors) {
      float* const y = bias + static_cast<int64_t>(gate) * cell_.hidden;
      std::fill_n(y, cell_.hidden, 0.0F);
      for (const PlainCell::Columns& v : vectors) {
        const float* const x = args.in[v.operand].as<float>() + v.first;
        for (int64_t j = 0; j < cell_.hidden; ++j) y[j] += x[j];
      }
    };
    for (size_t g = 0; g < cell_.gates.size(); ++g) add(g, cell_.gates[g].bias);
    add(cell_.gates.size(), cell_.inner_bias);
  }

  // Where the two matrices lie in oneDNN's layouts.
  std::array<const std::byte*, 2> bring_weights(const KernelArgs& args) const {
    std::array<const std::byte*, 2> at{};
    size_t packing = 0;
    for (size_t i = 0; i < 2; ++i) {
      if (matrices_[i].is_of_one()) {
        at[i] = args.packed[packing++];
        continue;
      }
      std::byte* const to = args.workspace + matrix_at_[i];
      matrices_[i].pack([&](size_t operand) { return args.in[operand].as<float>(); },
                        args.workspace + plain_at_[i], to);
      at[i] = to;
    }
    return at;
  }

  void run_rows(const KernelArgs& args, int64_t part,
                const std::array<const std::byte*, 2>& weights, std::byte* pad) const {
    const int64_t first = first_of(part), rows = rows_of(part);
    const int64_t calls = parts_of(steps_, steps_of_call_);
    const auto row_of = [&](const View& v, int64_t step, int64_t width) {
      return v.data + static_cast<size_t>((step * rows_ + first) * width) * kFloat;
    };
    std::array<const void*, kArguments> data{};
    data[kWx] = weights[0];
    data[kWr] = weights[1];
    data[kBias] = args.workspace + bias_at_;
    data[kScratch] = pad;
    data[kY] = pad + y_at_;
    for (int64_t call = 0; call < calls; ++call) {
      const int64_t step = (reverse_ ? calls - 1 - call : call) * steps_of_call_;
      const int64_t steps = std::min(steps_of_call_, steps_ - step);
      data[kX] = copies_x_ ? copied_x(args, step, steps, first, rows, pad)
                           : row_of(args.in[layout_.first_x()], step, cell_.input);
      if (y_) data[kY] = row_of(args.out[*y_], step, cell_.hidden);
      for (size_t i = 0; i < layout_.states; ++i) {
        const size_t state = i == 0 ? cell_.h : cell_.c;
        const View& last = args.out[layout_.final_of(state)];
        const auto& turns = states_at_[i];
        data[kFirstH + i] = call == 0 ? row_of(args.in[state], 0, cell_.hidden)
                                      : pad + turns[static_cast<size_t>(call - 1) % 2];
        data[kLastH + i] = call == calls - 1 && last ? row_of(last, 0, cell_.hidden)
                                                     : pad + turns[static_cast<size_t>(call) % 2];
      }
      const Loop& loop = loop_of(rows, steps);
      std::array<const void*, kArguments> given{};
      for (size_t i = 0; i < loop.given.size(); ++i) given[i] = data[loop.given[i]];
      onednn::execute(loop.primitive, given.data(), "run a loop over time");
    }
  }

  std::byte* copied_x(const KernelArgs& args, int64_t step, int64_t steps, int64_t first,
                      int64_t rows, std::byte* pad) const {
    const float* const x = args.in[layout_.first_x()].as<float>();
    auto* const to = reinterpret_cast<float*>(pad + x_at_);
    for (int64_t t = 0; t < steps; ++t)
      std::copy_n(x + ((step + t) * rows_ + first) * cell_.input, rows * cell_.input,
                  to + t * rows * cell_.input);
    return pad + x_at_;
  }

  PlainCell cell_;
  RecurrenceLayout layout_;
  bool reverse_;
  int64_t steps_, rows_, parts_;
  int64_t steps_of_call_;
  std::optional<size_t> y_;  // which result over time is asked for
  bool copies_x_ = false;
  std::vector<std::shared_ptr<const Loop>> loops_;  // for parts and calls of each length
  std::vector<Matrix> matrices_;                    // Wx, Wr
  std::vector<const Matrix*> packed_;
  std::vector<Packing> packings_;
  std::optional<Scratchpads> pads_;
  std::array<std::array<size_t, 2>, 2> states_at_ =
      {};  // h and c between calls, in turns; in a pad
  size_t x_at_ = 0, y_at_ = 0;
  size_t workspace_bytes_ = 0, pads_at_ = 0, bias_at_ = 0;  // in the workspace
  std::array<size_t, 2> matrix_at_ = {}, plain_at_ = {};
};

struct Matched {
  std::optional<PlainCell> cell;
  std::string why;
};
std::shared_ptr<const Matched> matched(const KernelCall& call) {
  return call.once<Matched>([&] {
    Matched m;
    m.cell = PlainCell::match(call.node, &m.why);
    return m;
  });
}

// What stands against a call; empty: nothing.
std::string why_not(const KernelCall& call) {
  const std::shared_ptr<const Matched> m = matched(call);
  if (!m->cell) return m->why;
  const RecurrenceLayout l(call.node);
  const auto present = [&](size_t first, size_t n) {
    return std::count_if(call.out.begin() + static_cast<std::ptrdiff_t>(first),
                         call.out.begin() + static_cast<std::ptrdiff_t>(first + n),
                         [](const TensorType& t) { return t.present; });
  };
  const Dims extent = call.dims("extent");
  if (call.precision != Precision::full) return "weights in fewer bits are not its own";
  if (call.in[l.begin()].present || call.in[l.end()].present) return "rows have steps of their own";
  if (present(l.trajectory_of(0), l.states) != 0) return "the states before each step are wanted";
  if (present(0, l.ys) > 1) return "y is wanted twice";
  if (extent[0] * extent[1] * m->cell->input * m->cell->hidden == 0)
    return "there is nothing to do";
  return "";
}

}  // namespace

void add_recurrent_onednn(std::vector<Kernel>& rows) {
  rows.push_back({.name = "cpu.recurrence.onednn",
                  .op = "recurrence",
                  .note = "oneDNN's LSTM, GRU and tanh RNN: f32, inference, all rows of all steps",
                  .supports = [](const KernelCall& call) { return why_not(call).empty(); },
                  .prepare = [](const KernelCall& call) -> std::unique_ptr<PreparedKernel> {
                    return std::make_unique<OneDnnRecurrent>(call, *matched(call)->cell);
                  },
                  .cost = kCost,
                  .why_not = why_not,
                  .allocates = true});
}

}  // namespace rondo::cpu

#else

namespace rondo::cpu {
void add_recurrent_onednn(std::vector<Kernel>&) {}
}  // namespace rondo::cpu

#endif
