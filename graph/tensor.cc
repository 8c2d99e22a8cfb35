#include <rondo/graph/tensor.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <sstream>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <rondo/graph/checked.h>

namespace rondo {
namespace {

constexpr size_t kAlignment = 64, kLargePage = size_t{2} << 20;

// The f32 from which rounding to a half gives what rounding `v` itself would: an inexact result is
// made odd, so that it is never mistaken for a tie.
float round_to_odd(double v) {
  const auto f = static_cast<float>(v);
  const auto bits = std::bit_cast<uint32_t>(f);
  const auto back = static_cast<double>(f);
  if (std::isnan(v) || std::isinf(f) || back == v || (bits & 1) != 0) return f;
  return std::bit_cast<float>(std::abs(back) < std::abs(v) ? bits + 1 : bits - 1);
}

template <class To, class From>
To convert(From v) {
  constexpr bool kToHalf = std::is_same_v<To, BFloat16> || std::is_same_v<To, Float16>;
  if constexpr (kToHalf && std::is_arithmetic_v<From> && !std::is_same_v<From, float>) {
    return To(round_to_odd(static_cast<double>(v)));
  } else if constexpr (kToHalf) {
    return To(static_cast<float>(v));
  } else if constexpr (std::is_same_v<From, BFloat16> || std::is_same_v<From, Float16>) {
    return convert<To>(static_cast<float>(v));
  } else if constexpr (std::is_integral_v<To> && !std::is_same_v<To, bool> &&
                       std::is_floating_point_v<From>) {
    // Saturates; NaN becomes 0 (a plain cast would be undefined).
    const auto d = static_cast<double>(v);
    if (!(d == d)) return To{0};
    if (d >= static_cast<double>(std::numeric_limits<To>::max()))
      return std::numeric_limits<To>::max();
    if (d <= static_cast<double>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

int64_t checked_count(const Dims& dims) {
  for (const int64_t d : dims) {
    if (d < 0)
      fail(Fault::kArgument, "tensor.dims.negative", "a tensor cannot have shape ",
           to_string(dims));
  }
  return element_count(dims);
}

}  // namespace

std::shared_ptr<std::byte> allocate_aligned(size_t bytes) {
  // Matrices are read across many pages: large ones are few.
  const bool large = bytes >= 2 * kLargePage;
  const auto alignment = std::align_val_t{large ? kLargePage : kAlignment};
  std::byte* p = nullptr;
  try {
    p = static_cast<std::byte*>(::operator new(std::max<size_t>(bytes, 1), alignment));
  } catch (const std::bad_alloc&) {
    fail(Fault::kUnsupported, "tensor.memory.exhausted", "there is no memory for ", bytes,
         " bytes");
  }
#ifdef __linux__
  if (large) madvise(p, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // only a wish
#endif
  return {p, [alignment](std::byte* q) { ::operator delete(q, alignment); }};
}

Tensor Tensor::unset(DType dtype, Dims dims) { return unset(dtype, std::move(dims), nullptr); }

Tensor Tensor::unset(DType dtype, Dims dims, std::shared_ptr<std::byte> memory) {
  Tensor t;
  t.dtype_ = dtype;
  t.dims_ = std::move(dims);
  t.writable_ = true;
  t.count_ = checked_count(t.dims_);
  const auto n = static_cast<size_t>(checked_mul(t.count_, static_cast<int64_t>(size_of(dtype))));
  if (memory == nullptr) memory = allocate_aligned(n);
#ifndef NDEBUG
  std::memset(memory.get(), 0xff,
              n);  // NaN, so that a kernel that leaves something unwritten shows
#endif
  t.data_ = memory.get();
  t.owner_ = std::move(memory);
  return t;
}

Tensor::Tensor(DType dtype, Dims dims) : Tensor(unset(dtype, std::move(dims))) {
  std::memset(raw_mutable(), 0, bytes());
}

Tensor Tensor::scalar(DType dtype, double value) { return full(dtype, {}, value); }

Tensor Tensor::full(DType dtype, Dims dims, double value) {
  Tensor t(dtype, std::move(dims));
  dispatch(dtype,
           [&]<class T>() { std::fill_n(t.mutable_data<T>(), t.size(), convert<T>(value)); });
  return t;
}

Tensor Tensor::view(DType dtype, Dims dims, const void* data, std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.dims_ = std::move(dims);
  t.count_ = checked_count(t.dims_);
  checked_mul(t.count_, static_cast<int64_t>(size_of(dtype)));
  t.owner_ = std::move(owner);
  t.data_ = static_cast<const std::byte*>(data);
  static constexpr std::byte kNothing{};
  if (t.data_ == nullptr && t.count_ == 0)
    t.data_ = &kNothing;  // an empty std::vector has no address
  if (t.data_ == nullptr)
    fail(Fault::kArgument, "tensor.data.null", "a view needs memory, got a null pointer");
  return t;
}

std::byte* Tensor::raw_mutable() {
  if (!writable_ || owner_.use_count() > 1) {
    auto p = allocate_aligned(bytes());
    if (bytes() != 0) std::memcpy(p.get(), data_, bytes());
    data_ = p.get();
    owner_ = std::move(p);
    writable_ = true;
  }
  return const_cast<std::byte*>(data_);
}

int64_t Tensor::dim(int64_t axis) const {
  const auto r = static_cast<int64_t>(rank());
  if (axis < -r || axis >= r)
    fail(Fault::kArgument, "tensor.dim.range", "axis ", axis, " of a tensor of shape ",
         to_string(dims_), ", which has ", r, r == 1 ? " axis" : " axes");
  return dims_[static_cast<size_t>(axis < 0 ? axis + r : axis)];
}

double Tensor::at(int64_t i) const {
  if (i < 0 || i >= count_)
    fail(Fault::kArgument, "tensor.index.range", "index ", i, " is outside a tensor of ", count_,
         " elements");
  return dispatch(dtype_,
                  [&]<class T>() { return convert<double>(reinterpret_cast<const T*>(data_)[i]); });
}

double Tensor::item() const {
  if (count_ != 1)
    fail(Fault::kArgument, "tensor.item.size", "item() needs one element, the tensor has shape ",
         to_string(dims_));
  return at(0);
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_ || data_ == nullptr) return *this;
  Tensor r(dtype, dims_);
  convert_elements(dtype_, data_, dtype, r.raw_mutable(), count_);
  return r;
}

void convert_elements(DType from, const void* x, DType to, void* y, int64_t n) {
  dispatch(from, [&]<class From>() {
    dispatch(to, [&]<class To>() {
      const From* s = static_cast<const From*>(x);
      To* d = static_cast<To*>(y);
      for (int64_t i = 0; i < n; ++i) d[i] = convert<To>(s[i]);
    });
  });
}

Tensor Tensor::reshaped(Dims dims) const {
  if (const int64_t n = checked_count(dims); n != count_) {
    fail(Fault::kArgument, "tensor.reshape.size", "cannot view ", to_string(dims_), " as ",
         to_string(dims), ": ", count_, " elements against ", n);
  }
  Tensor t = *this;
  t.dims_ = std::move(dims);
  return t;
}

bool Tensor::same_bits(const Tensor& o) const {
  if (!*this || !o) return !*this && !o;
  return dtype_ == o.dtype_ && dims_ == o.dims_ &&
         (bytes() == 0 || std::memcmp(data_, o.data_, bytes()) == 0);
}

void Tensor::check_type(DType wanted) const {
  if (dtype_ != wanted)
    fail(Fault::kArgument, "tensor.data.dtype", "the tensor is ", dtype_, ", asked for as ", wanted,
         "; convert with .to(", wanted, ")");
}

void Tensor::check_count(int64_t got) const {
  if (got != count_)
    fail(Fault::kArgument, "tensor.values.count", "shape ", to_string(dims_), " holds ", count_,
         " elements, got ", got, " values");
}

std::string to_string(const Tensor& t) {
  if (!t) return "no tensor";
  constexpr int64_t kShown = 24;
  std::ostringstream s;
  s << name_of(t.dtype()) << to_string(t.dims()) << " {";
  for (int64_t i = 0; i < std::min(t.size(), kShown); ++i) s << (i == 0 ? "" : ", ") << t.at(i);
  s << (t.size() > kShown ? ", ...}" : "}");
  return s.str();
}

std::ostream& operator<<(std::ostream& s, const Tensor& t) { return s << to_string(t); }

}  // namespace rondo
