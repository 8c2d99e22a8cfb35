// Values that users index: a std::vector whose [] refuses what it has not, with the line that
// asked.
//
// How many states a cell has, or results an op, is decided elsewhere in a program, often lines
// away; an index that is wrong by one would read memory that is nobody's.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rondo/graph/error.h>

namespace rondo {

/// An index, and the line where it stands.
struct ListIndex {
  int64_t value;
  Site at;
  ListIndex(std::integral auto i, Site where = Site::here())
      : value(static_cast<int64_t>(i)), at(where) {}  // NOLINT: implicit, v[1]
};

/// Throws list.index.range. `what` the list holds and who fixed how many; null: values.
[[noreturn]] void refuse_index(const char* what, size_t size, ListIndex i);

/// A std::vector whose index is checked. Error: list.index.range.
template <class T>
class List : public std::vector<T> {
 public:
  using std::vector<T>::vector;
  using std::vector<T>::operator=;
  List() = default;
  List(std::vector<T> v) : std::vector<T>(std::move(v)) {}  // NOLINT: they are the same
  /// Its elements as `what`, a literal, tells in errors: "states; first states fixed how many".
  List described(const char* what) const {
    List r = *this;
    r.what_ = what;
    return r;
  }

  /// The element at `i`; refused where there is none, with what the list holds.
  T& operator[](ListIndex i) {
    check(i);
    return this->data()[i.value];
  }
  /// As above, to read.
  const T& operator[](ListIndex i) const {
    check(i);
    return this->data()[i.value];
  }
  /// The same as `[i]`.
  T& at(ListIndex i) { return (*this)[i]; }
  /// As above, to read.
  const T& at(ListIndex i) const { return (*this)[i]; }

 private:
  void check(ListIndex i) const {
    // A negative one is a large one here.
    if (static_cast<uint64_t>(i.value) >= this->size()) refuse_index(what_, this->size(), i);
  }

  const char* what_ = nullptr;
};

}  // namespace rondo
