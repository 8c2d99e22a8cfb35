#include <rondo/runtime/recurrence_steps.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/recurrence.h>

namespace rondo {
namespace {

template <class T>
void add_to(std::byte* sum, const std::byte* term, int64_t n) {
  T* s = reinterpret_cast<T*>(sum);
  const T* t = reinterpret_cast<const T*>(term);
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
      s[i] = T(static_cast<float>(s[i]) + static_cast<float>(t[i]));
    } else {
      s[i] = static_cast<T>(s[i] + t[i]);
    }
  }
}

int64_t integer_at(const View& v, int64_t i) {
  return v.type->dtype == i32 ? v.as<int32_t>()[i] : v.as<int64_t>()[i];
}

// What fails in a body says whose body it is.
template <class F>
auto in_body_of(const Node& n, const F& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw Error(
        e.fault(), e.code(),
        cat(e.what(), "\n  in the body of ", title_of(n),
            n.site.file == nullptr ? "" : cat(", built at ", n.site.file, ":", n.site.line)));
  }
}

class RecurrenceSteps final : public PreparedKernel {
 public:
  RecurrenceSteps(const KernelCall& call, const Plan& body, Binding binding)
      : node_(call.node),
        layout_(call.node),
        body_(body),
        binding_(std::move(binding)),
        symbol_(call.attributes.text("row_symbol")),
        reverse_(call.attributes.flag("reverse")) {
    const Dims extent = call.dims("extent");
    steps_ = extent[0];
    rows_ = extent[1];
    whole_ = bind_rows(rows_);
    // The workspace: the body's arena, two copies of each state, and one slice of each operand and
    // result of a step.
    arena_ = take(whole_->arena_bytes());
    for (size_t i = 0; i < layout_.body_inputs(); ++i)
      inputs_.push_back(take(is_shared(i) ? 0 : whole_->input_types()[i].bytes()));
    for (size_t i = 0; i < whole_->output_types().size(); ++i)
      outputs_.push_back(take(whole_->output_types()[i].bytes()));
    for (size_t i = 0; i < layout_.states; ++i) states_.push_back(take(call.in[i].bytes()));
  }

  size_t workspace_bytes() const override { return bytes_; }

  void run(const KernelArgs& args) const override { Run(*this, args).run(); }

 private:
  size_t take(size_t n) {
    const size_t at = bytes_;
    bytes_ += align_up(n);
    return at;
  }
  bool is_shared(size_t i) const { return i >= layout_.first_shared(); }
  bool is_x(size_t i) const { return i >= layout_.first_x() && i < layout_.first_per_row(); }
  std::shared_ptr<const BoundPlan> bind_rows(int64_t rows) const {
    Binding b = binding_;
    b[symbol_] = rows;
    return in_body_of(node_, [&] { return body_.bind(b); });
  }

  // The body under a number of rows, ready to run.
  struct Body {
    std::shared_ptr<const BoundPlan> plan;
    std::vector<std::byte> own_arena;  // only if fewer rows should ever want more memory
    std::optional<Frame> frame;
  };

  class Run {
   public:
    Run(const RecurrenceSteps& k, const KernelArgs& args) : k_(k), l_(k.layout_), args_(args) {}

    void run() {
      const Windows w = read_windows(args_.in[l_.begin()], args_.in[l_.end()], k_.steps_, k_.rows_,
                                     args_.call.node);
      for (size_t i = 0; i < l_.states; ++i)
        std::memcpy(state(i), args_.in[i].data, args_.call.in[i].bytes());
      for (size_t i = 0; i < l_.sums; ++i) clear(args_.out[l_.sum_of(i)]);
      if (!w.full) {  // nothing is written where a row does not run
        for (size_t i = 0; i < l_.ys; ++i) clear(args_.out[i]);
        for (size_t i = 0; i < l_.states; ++i) clear(args_.out[l_.trajectory_of(i)]);
      }
      std::vector<int64_t> active;
      for (int64_t s = 0; s < k_.steps_ && k_.rows_ > 0; ++s) {
        const int64_t t = k_.reverse_ ? k_.steps_ - 1 - s : s;
        if (w.full) {
          step_all(t);
          if (!stands_still_) continue;
          stay_from(s + 1);
          break;
        }
        active.clear();
        for (int64_t b = 0; b < k_.rows_; ++b) {
          if (t >= w.begin[static_cast<size_t>(b)] && t < w.end[static_cast<size_t>(b)])
            active.push_back(b);
        }
        if (static_cast<int64_t>(active.size()) == k_.rows_) {
          step_all(t);
        } else if (!active.empty()) {
          step_some(t, active);
        }
      }
      for (size_t i = 0; i < l_.states; ++i) {
        const View& f = args_.out[l_.final_of(i)];
        if (f) std::memcpy(f.data, state(i), args_.call.in[i].bytes());
      }
    }

   private:
    static void clear(const View& v) {
      if (v) std::memset(v.data, 0, v.type->bytes());
    }
    std::byte* at(size_t offset) const { return args_.workspace + offset; }
    std::byte* state(size_t i) const { return at(k_.states_[i]); }
    static size_t slice_bytes(const TensorType& t) {
      return t.dims[0] == 0 ? 0 : t.bytes() / static_cast<size_t>(t.dims[0]);
    }

    Frame& frame(int64_t rows) {
      auto& b = bodies_[rows];
      if (!b.frame) {
        b.plan = k_.bind_rows(rows);
        std::byte* arena = at(k_.arena_);
        if (b.plan->arena_bytes() > k_.whole_->arena_bytes()) {
          b.own_arena.resize(b.plan->arena_bytes() + 64);
          arena = b.own_arena.data() + (64 - reinterpret_cast<uintptr_t>(b.own_arena.data()) % 64);
        }
        b.frame.emplace(*b.plan, arena);
        for (size_t i = l_.first_shared(); i < l_.body_inputs(); ++i)
          b.frame->set_input(i, args_.in[i].data);
      }
      return *b.frame;
    }

    static std::byte* slice(const View& v, int64_t t) {
      return v.data + static_cast<size_t>(t) * slice_bytes(*v.type);
    }

    // What the steps from `s` on leave when no state changes any more: their trajectories.
    void stay_from(int64_t s) const {
      for (size_t i = 0; i < l_.states; ++i) {
        const View& v = args_.out[l_.trajectory_of(i)];
        for (int64_t k = s; v && k < k_.steps_; ++k)
          std::memcpy(slice(v, k_.reverse_ ? k_.steps_ - 1 - k : k), state(i),
                      args_.call.in[i].bytes());
      }
    }

    // Every row runs: operands and results are slices of the whole tensors, where they lie.
    void step_all(int64_t t) {
      Frame& f = frame(k_.rows_);
      for (size_t i = 0; i < l_.body_inputs(); ++i) {
        if (i < l_.states) {
          f.set_input(i, state(i));
        } else if (k_.is_x(i)) {
          f.set_input(i, slice(args_.in[i], t));
        } else if (!k_.is_shared(i)) {
          f.set_input(i, args_.in[i].data);
        }
      }
      for (size_t o = 0; o < k_.outputs_.size(); ++o) {
        const bool is_y = o >= l_.states && o < l_.states + l_.ys;
        const bool wanted = is_y && args_.out[o - l_.states];
        f.set_output(o, wanted ? slice(args_.out[o - l_.states], t) : at(k_.outputs_[o]));
      }
      for (size_t i = 0; i < l_.states; ++i) {
        const View& v = args_.out[l_.trajectory_of(i)];
        if (v) std::memcpy(slice(v, t), state(i), args_.call.in[i].bytes());
      }
      in_body_of(k_.node_, [&] { f.run(args_.context); });
      // A step with nothing of its own that leaves all states as they were would do so for ever: a
      // while loop whose condition failed.
      stands_still_ = k_.may_stand_still_;
      for (size_t i = 0; i < l_.states; ++i) {
        const std::byte* next = at(k_.outputs_[i]);
        const size_t bytes = args_.call.in[i].bytes();
        stands_still_ = stands_still_ && std::memcmp(state(i), next, bytes) == 0;
        std::memcpy(state(i), next, bytes);
      }
      add_sums();
    }

    // Some rows run: theirs are gathered, the rest does not exist for the body.
    void step_some(int64_t t, const std::vector<int64_t>& active) {
      const auto n = static_cast<int64_t>(active.size());
      Frame& f = frame(n);
      // Bytes of one row in a tensor whose row axis is `axis`.
      const auto row_bytes = [&](const TensorType& type, size_t axis) {
        size_t b = size_of(type.dtype);
        for (size_t a = axis + 1; a < type.dims.size(); ++a) b *= static_cast<size_t>(type.dims[a]);
        return b;
      };
      const auto each_row = [&](size_t bytes, const auto& copy) {
        for (int64_t k = 0; k < n; ++k)
          copy(static_cast<size_t>(k) * bytes,
               static_cast<size_t>(active[static_cast<size_t>(k)]) * bytes, bytes);
      };
      for (size_t i = 0; i < l_.first_shared(); ++i) {
        const bool x = k_.is_x(i);
        const TensorType& type = args_.call.in[i];
        const std::byte* from =
            i < l_.states ? state(i)
                          : args_.in[i].data + (x ? static_cast<size_t>(t) * slice_bytes(type) : 0);
        std::byte* to = at(k_.inputs_[i]);
        each_row(row_bytes(type, x ? 1 : 0), [&](size_t packed, size_t spread, size_t bytes) {
          std::memcpy(to + packed, from + spread, bytes);
        });
        f.set_input(i, to);
      }
      for (size_t o = 0; o < k_.outputs_.size(); ++o) f.set_output(o, at(k_.outputs_[o]));
      in_body_of(k_.node_, [&] { f.run(args_.context); });
      const auto scatter = [&](std::byte* to, const std::byte* from, size_t row) {
        each_row(row, [&](size_t packed, size_t spread, size_t bytes) {
          std::memcpy(to + spread, from + packed, bytes);
        });
      };
      for (size_t i = 0; i < l_.states; ++i) {
        const View& v = args_.out[l_.trajectory_of(i)];
        const size_t row = row_bytes(args_.call.in[i], 0);
        if (v)
          scatter(v.data + static_cast<size_t>(t) * slice_bytes(*v.type), at(k_.inputs_[i]), row);
        scatter(state(i), at(k_.outputs_[i]), row);
      }
      for (size_t i = 0; i < l_.ys; ++i) {
        const View& v = args_.out[i];
        if (v)
          scatter(v.data + static_cast<size_t>(t) * slice_bytes(*v.type),
                  at(k_.outputs_[l_.states + i]), row_bytes(*v.type, 1));
      }
      add_sums();
    }

    void add_sums() const {
      for (size_t i = 0; i < l_.sums; ++i) {
        const View& s = args_.out[l_.sum_of(i)];
        if (!s) continue;
        const std::byte* term = at(k_.outputs_[l_.states + l_.ys + i]);
        add_to(s, term);
      }
    }

    const RecurrenceSteps& k_;
    const RecurrenceLayout& l_;
    const KernelArgs& args_;
    std::map<int64_t, Body> bodies_;
    bool stands_still_ = false;
  };

  // Whether a step depends on its states alone.
  bool depends_on_states_alone() const {
    if (layout_.xs + layout_.ys + layout_.sums != 0) return false;
    const std::vector<int32_t> ids = live_nodes(body_.unit());
    return std::none_of(ids.begin(), ids.end(), [&](int32_t id) {
      const OpDef* op = body_.unit().graph.node(id).op;
      return op->opaque && op != &placeholder_op();
    });
  }

  const Node& node_;
  RecurrenceLayout layout_;
  const Plan& body_;
  bool may_stand_still_ = depends_on_states_alone();
  Binding binding_;
  std::string symbol_;
  bool reverse_;
  int64_t steps_ = 0, rows_ = 0;
  std::shared_ptr<const BoundPlan> whole_;
  size_t bytes_ = 0, arena_ = 0;
  std::vector<size_t> inputs_, outputs_, states_;
};

}  // namespace

Windows read_windows(const View& begin, const View& end, int64_t steps, int64_t rows,
                     const Node& n) {
  Windows w{std::vector<int64_t>(static_cast<size_t>(rows), 0),
            std::vector<int64_t>(static_cast<size_t>(rows), steps)};
  for (int64_t b = 0; b < rows; ++b) {
    const auto i = static_cast<size_t>(b);
    if (begin) w.begin[i] = integer_at(begin, b);
    if (end) w.end[i] = integer_at(end, b);
    if (w.begin[i] < 0 || w.end[i] > steps || w.begin[i] > w.end[i]) {
      fail(Fault::kArgument, "recurrence.window.range", "[", title_of(n), "] row ", b,
           " runs steps [", w.begin[i], ", ", w.end[i], "), which do not lie in [0, ", steps, "]");
    }
    w.full = w.full && w.begin[i] == 0 && w.end[i] == steps;
  }
  return w;
}

void add_to(const View& sum, const std::byte* term) {
  dispatch(sum.type->dtype, [&]<class T>() { add_to<T>(sum.data, term, sum.size()); });
}

void check_body(const Node& n, const std::vector<ValueType>& in, const Binding& binding) {
  const RecurrenceLayout l(n);
  Binding inside = binding;
  inside[n.attributes.text("row_symbol")] =
      n.attributes.shape("extent")[1].bind(binding).constant();
  const auto bound = [&](Value v) {
    return to_shape(rondo::bind(n.body->graph.type(v).shape, inside));
  };
  const auto refuse = [&](std::string_view rule, const auto&... text) {
    fail(Fault::kArgument, cat("recurrence.", rule), "[", title_of(n), "] ", text...,
         built_at(n.site));
  };
  for (size_t i = 0; i < l.body_inputs(); ++i) {
    Shape got = in[i].shape;
    const bool x = i >= l.first_x() && i < l.first_per_row();
    if (x && !got.empty()) got.erase(got.begin());
    if (got != bound(n.body->inputs[i]))
      refuse("operands.dim", "operand ", i, " has shape ", to_string(in[i].shape),
             ", but a step takes ", to_string(bound(n.body->inputs[i])));
  }
  for (size_t k = 0; k < l.states; ++k) {
    const Value next = n.body->outputs[k];
    if (next && bound(next) != in[k].shape)
      refuse("body.state", "state ", k, " is ", to_string(in[k].shape),
             " at first, but a step gives ", to_string(bound(next)));
  }
}

std::unique_ptr<PreparedKernel> make_recurrence_steps(const KernelCall& call, const Plan& body,
                                                      const Binding& binding) {
  return std::make_unique<RecurrenceSteps>(call, body, binding);
}

}  // namespace rondo
