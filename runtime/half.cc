#include <rondo/runtime/half.h>

#include <algorithm>
#include <memory>
#include <span>

namespace rondo {
namespace {

template <class From, class To>
void convert(const std::byte* from, std::byte* to, int64_t n) {
  const From* f = reinterpret_cast<const From*>(from);
  To* t = reinterpret_cast<To*>(to);
  for (int64_t i = 0; i < n; ++i) t[i] = To(static_cast<float>(f[i]));
}

void widen(DType half, const std::byte* from, std::byte* to, int64_t n) {
  half == bf16 ? convert<BFloat16, float>(from, to, n) : convert<Float16, float>(from, to, n);
}
void narrow(DType half, const std::byte* from, std::byte* to, int64_t n) {
  half == bf16 ? convert<float, BFloat16>(from, to, n) : convert<float, Float16>(from, to, n);
}

class InF32 final : public PreparedKernel {
 public:
  explicit InF32(const KernelCall& call)
      : attributes_(call.attributes), wide_{call.node, attributes_, call.in, call.out} {
    if (const auto* d = attributes_.find("dtype");
        d != nullptr && d->get<DType>() != nullptr && is_half(*d->get<DType>()))
      attributes_.set("dtype", f32);
    for (auto* list : {&wide_.in, &wide_.out}) {
      bytes_ += align_up(list->size() * sizeof(View));
      for (TensorType& t : *list) {
        if (!t.present || !is_half(t.dtype)) continue;
        t.dtype = f32;
        bytes_ += align_up(t.bytes());
      }
    }
  }

  const KernelCall& wide() const { return wide_; }
  void set(std::unique_ptr<PreparedKernel> k) { kernel_ = std::move(k); }
  size_t workspace_bytes() const override { return bytes_ + kernel_->workspace_bytes(); }
  std::span<const Packing> packings() const override {
    // What they pack would have to be widened first; the only such kernel has another way for
    // halves.
    if (!kernel_->packings().empty()) fail_internal("a kernel that packs runs no halves");
    return {};
  }

  void run(const KernelArgs& a) const override {
    std::byte* at = a.workspace;
    const auto copied = [&at](std::span<const View> views) {
      auto* const to = reinterpret_cast<View*>(at);
      std::uninitialized_copy(views.begin(), views.end(), to);
      at += align_up(views.size_bytes());
      return std::span<View>(to, views.size());
    };
    const std::span<View> in = copied(a.in), out = copied(a.out);
    const auto place = [&](View& v, const TensorType& wide) {
      v.type = &wide;
      v.data = at;
      at += align_up(wide.bytes());
    };
    for (size_t i = 0; i < in.size(); ++i) {
      if (!in[i] || !is_half(a.call.in[i].dtype)) continue;
      const std::byte* half = in[i].data;
      place(in[i], wide_.in[i]);
      widen(a.call.in[i].dtype, half, in[i].data, in[i].size());
    }
    for (size_t i = 0; i < out.size(); ++i) {
      if (out[i] && is_half(a.call.out[i].dtype)) place(out[i], wide_.out[i]);
    }
    kernel_->run({wide_, in, out, at, a.context, a.packed});
    for (size_t i = 0; i < out.size(); ++i) {
      if (out[i] && is_half(a.call.out[i].dtype))
        narrow(a.call.out[i].dtype, out[i].data, a.out[i].data, out[i].size());
    }
  }

 private:
  Attributes attributes_;
  KernelCall wide_;
  size_t bytes_ = 0;
  std::unique_ptr<PreparedKernel> kernel_;
};

}  // namespace

std::optional<HalfKernel> prepare_in_f32(
    const KernelCall& call, const std::function<const Kernel*(const KernelCall&)>& choose) {
  const auto half = [](const TensorType& t) { return t.present && is_half(t.dtype); };
  if (std::none_of(call.in.begin(), call.in.end(), half) &&
      std::none_of(call.out.begin(), call.out.end(), half))
    return std::nullopt;
  auto k = std::make_unique<InF32>(call);
  const Kernel* wide = choose(k->wide());
  if (wide == nullptr) return std::nullopt;
  k->set(wide->prepare(k->wide()));
  return HalfKernel{wide->name, std::move(k)};
}

}  // namespace rondo
