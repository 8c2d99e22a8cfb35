#include <rondo/runtime/segments.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include <rondo/graph/op.h>
#include <rondo/ops/segments.h>
#include <rondo/runtime/recurrence_steps.h>

namespace rondo {
namespace {

size_t slice_bytes(const TensorType& t) {
  return t.dims[0] == 0 ? 0 : t.bytes() / static_cast<size_t>(t.dims[0]);
}

// The ends of the rows' windows as steps of a segment that begins at t0.
template <class T>
void cut(const View& whole, int64_t t0, int64_t steps, std::byte* to) {
  T* const y = reinterpret_cast<T*>(to);
  for (int64_t i = 0; i < whole.size(); ++i)
    y[i] =
        static_cast<T>(std::clamp<int64_t>(static_cast<int64_t>(whole.as<T>()[i]) - t0, 0, steps));
}

class Segments final : public PreparedKernel {
 public:
  Segments(const KernelCall& call, const Plan& body, const Binding& binding)
      : call_(call),
        layout_(call.attributes),
        steps_(call.dim("extent", 0)),
        each_(binding_of_segment(call, {}).at(kSegmentSteps)),
        reverse_(call.attributes.flag("reverse")) {
    Binding b = binding_of_segment(call, binding);
    whole_ = body.bind(b);
    b[kSegmentSteps] = steps_ % each_;
    last_ = steps_ % each_ == 0 ? whole_ : body.bind(b);
    hold_results(*whole_, each_);
    hold_results(*last_, steps_ % each_ == 0 ? each_ : steps_ % each_);
    for (size_t i = 0, k = 0; i < layout_.operands(); ++i) {
      const bool is_window = i >= layout_.begin();
      input_of_.push_back(is_window && !call.in[i].present ? kNone : k++);
      if (input_of_[i] == kNone) continue;
      operand_of_.push_back(i);
      hold(i);
      windows_.push_back(is_window ? take(call.in[i].bytes()) : 0);
    }
    arena_ = take(std::max(whole_->arena_bytes(), last_->arena_bytes()));
    for (size_t i = 0; i < layout_.states; ++i) {
      const size_t bytes = call.out[layout_.final_of(i)].bytes();
      places_.push_back(
          {call.out[layout_.final_of(i)].present ? kNone : take(bytes), take(bytes), bytes});
    }
    // Where nobody wants a result, or where it waits to be added to one.
    for (size_t i = 0; i < layout_.ys + layout_.sums; ++i) {
      const bool in_place = i < layout_.ys && call.out[i].present;
      spare_.push_back(in_place ? 0 : take(whole_->output_types()[layout_.states + i].bytes()));
    }
    list_packings(*whole_);
    list_packings(*last_);
  }

  size_t workspace_bytes() const override { return bytes_; }
  std::string note() const override {
    return cat(segments(), " segments of ", each_, each_ == 1 ? " step" : " steps");
  }
  std::span<const Packing> packings() const override { return packings_; }
  void pack(size_t i, const View& from, std::byte* to) const override {
    packers_[i].plan->pack(*packers_[i].packing, from.data, to);
  }

  void run(const KernelArgs& args) const override {
    if (rows() != 0)
      read_windows(args.in[layout_.begin()], args.in[layout_.end()], steps_, rows(), call_.node);
    Frame whole(*whole_, args.workspace + arena_);
    std::optional<Frame> last;
    if (last_ != whole_) last.emplace(*last_, args.workspace + arena_);
    prepare(whole, *whole_, args);
    if (last) prepare(*last, *last_, args);
    std::vector<std::byte*> state(layout_.states);
    for (size_t i = 0; i < state.size(); ++i) state[i] = args.in[i].data;
    for (size_t i = 0; i < layout_.sums && segments() == 0; ++i) {
      const View& sum = args.out[layout_.sum_of(i)];
      if (sum) std::memset(sum.data, 0, sum.type->bytes());
    }
    for (size_t i = 0; i < state.size(); ++i) {
      const View& before = args.out[layout_.before_of(i)];
      const auto used = static_cast<size_t>(segments()) * places_[i].bytes;
      if (before) std::memset(before.data + used, 0, before.type->bytes() - used);
    }
    for (int64_t k = 0; k < segments(); ++k) {
      const int64_t j = reverse_ ? segments() - 1 - k : k;
      const bool is_last = last && j == segments() - 1;
      run_segment(args, is_last ? *last : whole, j, k, state);
    }
    for (size_t i = 0; i < state.size(); ++i) {
      const View& f = args.out[layout_.final_of(i)];
      if (f && f.data != state[i]) std::memcpy(f.data, state[i], places_[i].bytes);
    }
  }

 private:
  static constexpr size_t kNone = ~size_t{0};

  int64_t segments() const { return (steps_ + each_ - 1) / each_; }
  int64_t rows() const {
    for (const size_t i : {layout_.begin(), layout_.end()}) {
      if (call_.in[i].present) return call_.in[i].dims[0];
    }
    return 0;
  }
  size_t take(size_t n) {
    const size_t at = bytes_;
    bytes_ += align_up(n);
    return at;
  }

  // What is given must be what the body takes under this binding.
  void hold(size_t operand) const {
    TensorType want = whole_->input_types()[input_of_[operand]];
    if (operand >= layout_.first_x() && operand < layout_.first_per_segment())
      want.dims[0] = steps_;
    if (operand >= layout_.first_per_segment() && operand < layout_.first_shared())
      want.dims.insert(want.dims.begin(), call_.attributes.integer("count"));
    if (operand >= layout_.begin()) want.dims = {call_.dim("extent", 1)};
    if (want.dims != call_.in[operand].dims)
      fail(Fault::kArgument, "segments.operands.type", "[", title_of(call_.node), "] operand ",
           operand, " has shape ", to_string(call_.in[operand].dims), ", but must have ",
           to_string(want.dims), built_at(call_.node.site));
  }

  // And what the body gives, what there is room for.
  void hold_results(const BoundPlan& plan, int64_t steps) const {
    for (size_t i = 0; i < plan.output_types().size(); ++i) {
      const bool is_y = i >= layout_.states && i < layout_.states + layout_.ys;
      const size_t result = i < layout_.states ? layout_.final_of(i)
                            : is_y             ? i - layout_.states
                                               : layout_.sum_of(i - layout_.states - layout_.ys);
      Dims want = call_.out[result].dims;
      if (is_y) want[0] = steps;
      if (plan.output_types()[i].dims != want)
        fail(Fault::kArgument, "segments.operands.type", "[", title_of(call_.node), "] result ", i,
             " of a segment has shape ", to_string(plan.output_types()[i].dims), ", but must have ",
             to_string(want), built_at(call_.node.site));
    }
  }

  void list_packings(const BoundPlan& plan) {
    for (const InputPacking& p : plan.packings()) {
      if (p.input < layout_.first_shared() || packing_of(p) != kNone) continue;
      packings_.push_back({operand_of_[p.input], p.bytes, p.layout});
      packers_.push_back({&plan, &p});
    }
  }
  size_t packing_of(const InputPacking& p) const {
    for (size_t i = 0; i < packings_.size(); ++i) {
      if (packings_[i].operand == operand_of_[p.input] && packings_[i].layout == p.layout &&
          packings_[i].bytes == p.bytes)
        return i;
    }
    return kNone;
  }

  // What is the same for all segments.
  void prepare(Frame& f, const BoundPlan& plan, const KernelArgs& args) const {
    for (size_t i = layout_.first_shared(); i < layout_.begin(); ++i)
      f.set_input(input_of_[i], args.in[i].data);
    for (const InputPacking& p : plan.packings()) {
      if (p.input >= layout_.first_shared()) f.set_packed(p, args.packed[packing_of(p)]);
    }
    for (size_t i = 0; i < layout_.ys; ++i) {
      if (!args.out[i]) f.set_output(layout_.states + i, args.workspace + spare_[i]);
    }
  }

  // A state has two places in turn; the last segment writes the result.
  std::byte* place(const KernelArgs& args, size_t i, int64_t segment) const {
    const StatePlace& p = places_[i];
    if ((segments() - segment) % 2 == 0) return args.workspace + p.other;
    return p.own == kNone ? args.out[layout_.final_of(i)].data : args.workspace + p.own;
  }

  void run_segment(const KernelArgs& args, Frame& f, int64_t j, int64_t k,
                   std::vector<std::byte*>& state) const {
    const int64_t t0 = j * each_, steps = std::min(each_, steps_ - t0);
    const auto at = [](const View& v, int64_t slice) {
      return v.data + static_cast<size_t>(slice) * slice_bytes(*v.type);
    };
    for (size_t i = 0; i < layout_.states; ++i) {
      const View& before = args.out[layout_.before_of(i)];
      if (before) std::memcpy(at(before, j), state[i], places_[i].bytes);
      f.set_input(i, state[i]);
    }
    for (size_t i = layout_.first_x(); i < layout_.first_per_segment(); ++i)
      f.set_input(i, at(args.in[i], t0));
    for (size_t i = layout_.first_per_segment(); i < layout_.first_shared(); ++i)
      f.set_input(i, at(args.in[i], j));
    for (const size_t i : {layout_.begin(), layout_.end()}) {
      if (input_of_[i] == kNone) continue;
      std::byte* const to = args.workspace + windows_[input_of_[i]];
      args.in[i].type->dtype == i32 ? cut<int32_t>(args.in[i], t0, steps, to)
                                    : cut<int64_t>(args.in[i], t0, steps, to);
      f.set_input(input_of_[i], to);
    }
    for (size_t i = 0; i < layout_.states; ++i) {
      state[i] = place(args, i, k);
      f.set_output(i, state[i]);
    }
    for (size_t i = 0; i < layout_.ys; ++i) {
      if (args.out[i]) f.set_output(layout_.states + i, at(args.out[i], t0));
    }
    for (size_t i = 0; i < layout_.sums; ++i) {
      const View& sum = args.out[layout_.sum_of(i)];
      f.set_output(layout_.states + layout_.ys + i,
                   sum && k == 0 ? sum.data : args.workspace + spare_[layout_.ys + i]);
    }
    f.run(args.context);
    for (size_t i = 0; i < layout_.sums && k != 0; ++i) {
      const View& sum = args.out[layout_.sum_of(i)];
      if (sum) add_to(sum, args.workspace + spare_[layout_.ys + i]);
    }
  }

  struct StatePlace {
    size_t own, other, bytes;
  };
  struct Packer {
    const BoundPlan* plan;
    const InputPacking* packing;
  };

  const KernelCall& call_;
  SegmentsLayout layout_;
  int64_t steps_, each_;
  bool reverse_;
  std::shared_ptr<const BoundPlan> whole_, last_;
  std::vector<size_t> input_of_, operand_of_;  // which of the body's inputs an operand is
  size_t bytes_ = 0, arena_ = 0;
  std::vector<size_t> windows_, spare_;
  std::vector<StatePlace> places_;
  std::vector<Packing> packings_;
  std::vector<Packer> packers_;
};

}  // namespace

Binding binding_of_segment(const KernelCall& call, Binding binding) {
  const int64_t steps = call.dim("extent", 0);
  if (steps < 0 || call.dim("extent", 1) < 0)
    fail(Fault::kArgument, "segments.extent.count", "[", title_of(call.node), "] extent is [",
         steps, ",", call.dim("extent", 1), "], but no size is below 0");
  binding[kSegmentSteps] =
      segment_steps(steps, call.dim("extent", 1), call.attributes.integer("count"));
  return binding;
}

std::unique_ptr<PreparedKernel> make_segments(const KernelCall& call, const Plan& body,
                                              const Binding& binding) {
  return std::make_unique<Segments>(call, body, binding);
}

}  // namespace rondo
