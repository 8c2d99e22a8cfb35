// A tensor: dtype, shape and a shared immutable buffer, contiguous and row-major. Writing copies a
// shared buffer first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rondo/graph/dim.h>
#include <rondo/graph/dtype.h>
#include <rondo/graph/error.h>

namespace rondo {

/// A dense array of numbers; copies share the buffer.
class Tensor {
 public:
  /// No tensor: an optional operand that is absent.
  Tensor() = default;
  /// All zero. Errors: a negative dimension, a size that overflows.
  Tensor(DType dtype, Dims dims);
  /// Its elements are whatever lies in memory until they are written. Errors as above.
  static Tensor unset(DType dtype, Dims dims);
  /// The same in memory that was got elsewhere: as many bytes as that takes, aligned as by
  /// allocate_aligned(). Errors as above.
  static Tensor unset(DType dtype, Dims dims, std::shared_ptr<std::byte> memory);
  /// A scalar of f32; literals beside other dtypes are converted by the operators.
  explicit Tensor(float value) : Tensor(scalar(f32, value)) {}

  /// Copies `values`, which must be as many as `dims` says.
  template <class T>
  static Tensor of(Dims dims, std::span<const T> values) {
    Tensor t(dtype_of<T>, std::move(dims));
    t.check_count(static_cast<int64_t>(values.size()));
    std::copy(values.begin(), values.end(), t.mutable_data<T>());
    return t;
  }
  /// The same, of a vector.
  template <class T>
  static Tensor of(Dims dims, const std::vector<T>& values) {
    return of<T>(std::move(dims), std::span<const T>(values));
  }
  /// The same, of a list.
  template <class T>
  static Tensor of(Dims dims, std::initializer_list<T> values) {
    return of<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  /// One number, of shape [].
  static Tensor scalar(DType dtype, double value);
  /// The same number everywhere.
  static Tensor full(DType dtype, Dims dims, double value);
  /// Looks at the caller's memory, which `owner` keeps alive (or the caller, when null). Never
  /// written through.
  static Tensor view(DType dtype, Dims dims, const void* data,
                     std::shared_ptr<const void> owner = nullptr);

  explicit operator bool() const { return data_ != nullptr; }
  /// Whether its elements stay as they are while it lives: not those of a caller's memory, which
  /// may change under a view.
  bool is_owned() const { return owner_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  /// Dimension of an axis; a negative one counts from the end.
  int64_t dim(int64_t axis) const;
  size_t rank() const { return dims_.size(); }
  int64_t size() const { return count_; }
  size_t bytes() const { return static_cast<size_t>(count_) * size_of(dtype_); }

  /// The elements; T must be the tensor's own type.
  template <class T>
  const T* data() const {
    check_type(dtype_of<T>);
    return reinterpret_cast<const T*>(data_);
  }
  template <class T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<size_t>(count_)};
  }
  /// For writing: a buffer that others share is copied first.
  template <class T>
  T* mutable_data() {
    check_type(dtype_of<T>);
    return reinterpret_cast<T*>(raw_mutable());
  }
  const std::byte* raw() const { return data_; }
  /// The buffer for writing; one that others share is copied first.
  std::byte* raw_mutable();

  /// Element `i` of the flat order, as a double, whatever the dtype.
  double at(int64_t i) const;
  /// The only element of a tensor of size 1.
  double item() const;
  /// The same numbers in another dtype (rounded to nearest even; floats to integers towards zero).
  Tensor to(DType dtype) const;
  /// The same buffer under another shape of the same size.
  Tensor reshaped(Dims dims) const;
  /// Same dtype, shape and bits.
  bool same_bits(const Tensor& other) const;
  bool operator==(const Tensor& other) const { return same_bits(other); }

 private:
  void check_type(DType wanted) const;
  void check_count(int64_t got) const;

  DType dtype_ = DType::f32;
  Dims dims_;
  int64_t count_ = 0;
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  bool writable_ = false;  // the buffer is ours
};

/// Writes `n` numbers of one dtype as another, as Tensor::to does.
void convert_elements(DType from, const void* x, DType to, void* y, int64_t n);

/// For people: "f32[2,3] {1, 2, 3, 4, 5, 6}"; of more than 24 elements the first ones and "...".
std::string to_string(const Tensor& t);
std::ostream& operator<<(std::ostream& s, const Tensor& t);

/// 64-byte aligned memory, shared.
std::shared_ptr<std::byte> allocate_aligned(size_t bytes);

}  // namespace rondo
