#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "onednn_network.h"

namespace onednn_peer {

using dnnl::memory;
using Dims = memory::dims;
using Tag = memory::format_tag;
using Type = memory::data_type;

int64_t Task::length(int64_t b) const {
  if (!ragged) return time;
  const double share = 0.25 + 0.75 * static_cast<double>(b + 1) / static_cast<double>(batch);
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::nearbyint(static_cast<double>(time) * share)));
}

namespace {

// ---- calls --------------------------------------------------------------------------------------

void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) throw dnnl::error(status, what);
}

// A primitive with its arguments, in the form in which calling it costs least.
class Call {
 public:
  Call() = default;
  explicit Call(const_dnnl_primitive_desc_t of) : primitive_(of) {}
  void set(int argument, const memory& m) {
    kept_.push_back(m);
    arguments_.push_back({argument, m.get()});
  }
  void operator()(const dnnl::stream& s) const {
    check(dnnl_primitive_execute(primitive_.get(), s.get(), static_cast<int>(arguments_.size()),
                                 arguments_.data()),
          "oneDNN cannot run its primitive");
  }

 private:
  dnnl::primitive primitive_;
  std::vector<memory> kept_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

Call reordering(const memory& from, const memory& to) {
  const dnnl::reorder::primitive_desc d(from, to);
  Call c(d.get());
  c.set(DNNL_ARG_FROM, from);
  c.set(DNNL_ARG_TO, to);
  return c;
}

// Every tensor that a recurrent primitive may take; an empty one is not given.
struct Tensors {
  memory::desc src, src_h, src_c, wx, wh, peephole, bias, dst, dst_h, dst_c;
};

struct Description : dnnl::primitive_desc_base {
  explicit Description(dnnl_primitive_desc_t d) : dnnl::primitive_desc_base(d) {}
  memory::desc of(int argument) const { return query_md(dnnl::query::exec_arg_md, argument); }
};

Description forward_of(const dnnl::engine& engine, const Task& t, dnnl_prop_kind_t kind,
                       const Tensors& d) {
  const auto get = [](const memory::desc& m) { return m.get(true); };
  auto* const e = engine.get();
  constexpr auto kFlags = dnnl_rnn_flags_undef;
  dnnl_primitive_desc_t r = nullptr;
  dnnl_status_t s = dnnl_unimplemented;
  switch (t.cell.family) {
    case Family::lstm:
      s = dnnl_lstm_forward_primitive_desc_create(&r, e, kind, t.way(), get(d.src), get(d.src_h),
                                                  get(d.src_c), get(d.wx), get(d.wh),
                                                  get(d.peephole), nullptr, get(d.bias), get(d.dst),
                                                  get(d.dst_h), get(d.dst_c), kFlags, nullptr);
      break;
    case Family::gru:
    case Family::lbr_gru:
      s = (t.cell.family == Family::gru ? dnnl_gru_forward_primitive_desc_create
                                        : dnnl_lbr_gru_forward_primitive_desc_create)(
          &r, e, kind, t.way(), get(d.src), get(d.src_h), get(d.wx), get(d.wh), get(d.bias),
          get(d.dst), get(d.dst_h), kFlags, nullptr);
      break;
    case Family::vanilla:
      s = dnnl_vanilla_rnn_forward_primitive_desc_create(
          &r, e, kind, t.cell.activation, t.way(), get(d.src), get(d.src_h), get(d.wx), get(d.wh),
          get(d.bias), get(d.dst), get(d.dst_h), kFlags, 0, 0, nullptr);
      break;
  }
  check(s, "oneDNN offers no such forward pass");
  return Description(r);
}

// No gradient of a first state is asked for, nor given for a last one.
Description backward_of(const dnnl::engine& engine, const Task& t, const Tensors& d,
                        const Tensors& g, const Description& forward) {
  const auto get = [](const memory::desc& m) { return m.get(true); };
  auto* const e = engine.get();
  constexpr auto kKind = dnnl_backward;
  constexpr auto kFlags = dnnl_rnn_flags_undef;
  dnnl_primitive_desc_t r = nullptr;
  dnnl_status_t s = dnnl_unimplemented;
  switch (t.cell.family) {
    case Family::lstm:
      s = dnnl_lstm_backward_primitive_desc_create(
          &r, e, kKind, t.way(), get(d.src), nullptr, nullptr, get(d.wx), get(d.wh),
          get(d.peephole), nullptr, get(d.bias), get(d.dst), nullptr, nullptr, get(g.src), nullptr,
          nullptr, get(g.wx), get(g.wh), get(g.peephole), nullptr, get(g.bias), get(g.dst), nullptr,
          nullptr, kFlags, forward.get(), nullptr);
      break;
    case Family::gru:
    case Family::lbr_gru:
      s = (t.cell.family == Family::gru ? dnnl_gru_backward_primitive_desc_create
                                        : dnnl_lbr_gru_backward_primitive_desc_create)(
          &r, e, kKind, t.way(), get(d.src), nullptr, get(d.wx), get(d.wh), get(d.bias), get(d.dst),
          nullptr, get(g.src), nullptr, get(g.wx), get(g.wh), get(g.bias), get(g.dst), nullptr,
          kFlags, forward.get(), nullptr);
      break;
    case Family::vanilla:
      s = dnnl_vanilla_rnn_backward_primitive_desc_create(
          &r, e, kKind, t.cell.activation, t.way(), get(d.src), nullptr, get(d.wx), get(d.wh),
          get(d.bias), get(d.dst), nullptr, get(g.src), nullptr, get(g.wx), get(g.wh), get(g.bias),
          get(g.dst), nullptr, kFlags, 0, 0, forward.get(), nullptr);
      break;
  }
  check(s, "oneDNN offers no such backward pass");
  return Description(r);
}

float* floats(const memory& m) { return static_cast<float*>(m.get_data_handle()); }
void wipe(const memory& m) { std::memset(m.get_data_handle(), 0, m.get_desc().get_size()); }

// Numbers in [-scale, scale), the same in every process.
memory noise(Machine& on, const Dims& dims, Tag tag, Type type, float scale) {
  memory wide({dims, Type::f32, tag}, on.engine);
  uint32_t state = 12345;
  const size_t n = wide.get_desc().get_size() / sizeof(float);
  for (size_t i = 0; i < n; ++i) {
    state = state * 1664525U + 1013904223U;
    floats(wide)[i] = scale * (static_cast<float>(state >> 8) / 8388608.0F - 1);
  }
  if (type == Type::f32) return wide;
  memory narrow({dims, type, tag}, on.engine);
  reordering(wide, narrow)(on.stream);
  on.stream.wait();
  return narrow;
}

}  // namespace

// ---- a network ----------------------------------------------------------------------------------

// One primitive: all layers, or one of them.
class Part {
 public:
  Part(Machine& on, const Task& t, int64_t layers, int64_t input, dnnl_prop_kind_t kind,
       const memory& src)
      : on_(on), task_(t), src_(src) {
    const int64_t d = t.directions, h = t.hidden, n = t.cell.gates;
    const Dims wide{layers, d, input, n, h}, square{layers, d, h, n, h};
    const Dims bias{layers, d, t.cell.biases, h}, peephole{layers, d, 3, h};
    const Dims state{layers, d, t.batch, h}, y{t.time, t.batch, d * h};
    const Type type = t.type();
    wx_ = noise(on, wide, Tag::ldigo, type, 0.1F);
    wh_ = noise(on, square, Tag::ldigo, type, 0.1F);
    b_ = noise(on, bias, Tag::ldgo, Type::f32, 0.1F);
    if (t.cell.peephole) p_ = noise(on, peephole, Tag::ldgo, Type::f32, 0.1F);
    dst_ = memory({y, type, Tag::tnc}, on.engine);

    given_ = {.src = src.get_desc(),
              .src_h = {},
              .src_c = {},
              .wx = {wide, type, Tag::any},
              .wh = {square, type, Tag::any},
              .peephole = t.cell.peephole ? p_.get_desc() : memory::desc(),
              .bias = b_.get_desc(),
              .dst = dst_.get_desc(),
              .dst_h = {},
              .dst_c = {}};
    if (t.stream()) {
      given_.src_h = given_.dst_h = {state, type, Tag::ldnc};
      if (t.cell.family == Family::lstm)
        given_.src_c = given_.dst_c = {state, Type::f32, Tag::ldnc};
    }
    description_ = std::make_unique<Description>(forward_of(on.engine, t, kind, given_));
    if (!description_->workspace_desc().is_zero())
      workspace_ = memory(description_->workspace_desc(), on.engine);
    forward_ = call(*description_, before_forward_);
    again_ = forward_;
    if (given_.src_h) carry(given_.src_h, DNNL_ARG_SRC_ITER, DNNL_ARG_DST_ITER);
    if (given_.src_c) carry(given_.src_c, DNNL_ARG_SRC_ITER_C, DNNL_ARG_DST_ITER_C);
    if (t.train()) return;
    for (const Call& c : before_forward_) c(on.stream);  // weights stay as they are
    on.stream.wait();
    before_forward_.clear();
  }

  // The backward pass, from the gradient of dst(): in training, once.
  void add_backward(const memory& diff_dst) {
    const Type f = Type::f32;
    diff_src_ = memory({src_.get_desc().get_dims(), f, Tag::tnc}, on_.engine);
    Tensors g{.src = diff_src_.get_desc(),
              .src_h = {},
              .src_c = {},
              .wx = {wx_.get_desc().get_dims(), f, Tag::any},
              .wh = {wh_.get_desc().get_dims(), f, Tag::any},
              .peephole = given_.peephole,
              .bias = given_.bias,
              .dst = diff_dst.get_desc(),
              .dst_h = {},
              .dst_c = {}};
    const Description d = backward_of(on_.engine, task_, given_, g, *description_);
    backward_ = call(d, before_backward_);
    backward_.set(DNNL_ARG_DIFF_SRC_LAYER, diff_src_);
    backward_.set(DNNL_ARG_DIFF_DST_LAYER, diff_dst);
    const auto gradient = [&](int argument, const memory& of, Tag tag) {
      const memory own(d.of(argument), on_.engine);
      sums_.push_back(own);
      backward_.set(argument, own);
      const memory::desc plain(of.get_desc().get_dims(), f, tag);
      if (own.get_desc() == plain) return;
      after_backward_.push_back(reordering(own, memory(plain, on_.engine)));
    };
    gradient(DNNL_ARG_DIFF_WEIGHTS_LAYER, wx_, Tag::ldigo);
    gradient(DNNL_ARG_DIFF_WEIGHTS_ITER, wh_, Tag::ldigo);
    gradient(DNNL_ARG_DIFF_BIAS, b_, Tag::ldgo);
    if (p_) gradient(DNNL_ARG_DIFF_WEIGHTS_PEEPHOLE, p_, Tag::ldgo);
  }

  void forward() const {
    for (const Call& c : before_forward_) c(on_.stream);
    forward_(on_.stream);
  }
  // Of two steps the second: from the state that the first one left, back into where that began.
  void forward_again() const { again_(on_.stream); }
  void backward() const {
    for (const Call& c : before_backward_) c(on_.stream);
    backward_(on_.stream);
    for (const Call& c : after_backward_) c(on_.stream);
  }
  // oneDNN adds gradients of weights to what is there.
  void clear_sums() const {
    for (const memory& m : sums_) wipe(m);
  }

  const memory& dst() const { return dst_; }
  const memory& diff_src() const { return diff_src_; }
  std::string implementation() const { return description_->impl_info_str(); }

 private:
  // What both passes take; `first` brings the weights into the layouts of this one.
  Call call(const Description& d, std::vector<Call>& first) const {
    Call c(d.get());
    const auto weights = [&](int argument, const memory& user) {
      memory own = user;
      if (user.get_desc() != d.of(argument)) {
        own = memory(d.of(argument), on_.engine);
        first.push_back(reordering(user, own));
      }
      c.set(argument, own);
    };
    weights(DNNL_ARG_WEIGHTS_LAYER, wx_);
    weights(DNNL_ARG_WEIGHTS_ITER, wh_);
    c.set(DNNL_ARG_SRC_LAYER, src_);
    c.set(DNNL_ARG_DST_LAYER, dst_);
    c.set(DNNL_ARG_BIAS, b_);
    if (p_) c.set(DNNL_ARG_WEIGHTS_PEEPHOLE, p_);
    if (workspace_) c.set(DNNL_ARG_WORKSPACE, workspace_);
    return c;
  }
  // A state goes to and fro between two buffers.
  void carry(const memory::desc& of, int from, int to) {
    const memory a(of, on_.engine), z(of, on_.engine);
    wipe(a);
    wipe(z);
    forward_.set(from, a);
    forward_.set(to, z);
    again_.set(from, z);
    again_.set(to, a);
  }

  Machine& on_;
  Task task_;
  memory src_, dst_, diff_src_, wx_, wh_, b_, p_, workspace_;
  Tensors given_;
  std::unique_ptr<Description> description_;
  Call forward_, again_, backward_;
  std::vector<Call> before_forward_, before_backward_, after_backward_;
  std::vector<memory> sums_;
};

Network::Network(Machine& on, const Task& t, dnnl_prop_kind_t kind, bool one_primitive)
    : on_(on), task_(t) {
  memory x = noise(on, {t.time, t.batch, t.input}, Tag::tnc, t.type(), 0.5F);
  if (t.ragged) clear_padding(x);
  int64_t width = t.input;
  for (int64_t l = 0; l < t.layers; l += one_primitive ? t.layers : 1) {
    parts_.push_back(std::make_unique<Part>(on, t, one_primitive ? t.layers : 1, width, kind, x));
    x = parts_.back()->dst();
    width = t.directions * t.hidden;
  }
  if (!t.train()) return;
  diff_ = noise(on, {t.time, t.batch, width}, Tag::tnc, Type::f32, 0.5F);
  memory diff = diff_;
  for (auto p = parts_.rbegin(); p != parts_.rend(); ++p) {
    (*p)->add_backward(diff);
    diff = (*p)->diff_src();
  }
}

Network::~Network() = default;

void Network::run() {
  if (task_.train()) {
    for (const auto& p : parts_) p->clear_sums();
  }
  for (const auto& p : parts_) p->forward();
  mask(parts_.back()->dst());
  if (task_.train()) {
    mask(diff_);
    for (auto p = parts_.rbegin(); p != parts_.rend(); ++p) (*p)->backward();
  }
  on_.stream.wait();
}

void Network::two_steps() {
  parts_[0]->forward();
  on_.stream.wait();
  parts_[0]->forward_again();
  on_.stream.wait();
}

std::string Network::implementation() const {
  const std::string each = parts_.size() > 1 ? ", one primitive a layer" : "";
  return parts_[0]->implementation() + each;
}

void Network::mask(const memory& m) {
  if (!task_.ragged) return;
  on_.stream.wait();
  clear_padding(m);
}

void Network::clear_padding(const memory& m) const {
  const auto rows = static_cast<size_t>(task_.time * task_.batch);
  const size_t row = m.get_desc().get_size() / rows;
  auto* data = static_cast<char*>(m.get_data_handle());
  for (int64_t b = 0; b < task_.batch; ++b) {
    for (int64_t t = task_.length(b); t < task_.time; ++t)
      std::memset(data + static_cast<size_t>(t * task_.batch + b) * row, 0, row);
  }
}

}  // namespace onednn_peer
