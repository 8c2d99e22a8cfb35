#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <rondo/backends/cpu/rows.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

constexpr int64_t kPieceElements = 1 << 14;
constexpr int64_t kColumns = 256;  // running values that one piece keeps on its stack

// x[outer,length,inner], along the axis in the middle.
struct Lines {
  int64_t outer = 1, length = 0, inner = 1;
};
Lines lines_of(const TensorType& t, int64_t attribute) {
  const size_t axis = axis_index(attribute, t.dims.size());
  Lines s;
  for (size_t i = 0; i < t.dims.size(); ++i) {
    if (i != axis) (i < axis ? s.outer : s.inner) *= t.dims[i];
  }
  s.length = t.dims[axis];
  return s;
}

// In what running values are kept: as the reference does.
template <class T>
using Running = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

struct Direction {
  bool exclusive, reverse;
};

// total = next(total, i) over the elements i of each line. Columns that lie side by side go
// together, some at a time; short lines that lie one behind the other are a piece together.
template <class T, class Next>
void cumulate(ThreadTeam& team, const Lines& s, Direction d, Running<T> start, T* y, Next&& next) {
  if (s.outer * s.length * s.inner == 0) return;
  const int64_t width = std::min(s.inner, kColumns);
  const int64_t stretches = (s.inner + width - 1) / width;
  const int64_t at_once = std::max<int64_t>(1, kPieceElements / (s.length * width));
  const int64_t blocks = s.outer * stretches;
  for_pieces(team, (blocks + at_once - 1) / at_once, [&](int64_t piece) {
    Running<T> total[kColumns];
    for (int64_t b = piece * at_once; b < std::min(blocks, (piece + 1) * at_once); ++b) {
      const int64_t column = b % stretches * width, n = std::min(width, s.inner - column);
      const int64_t first = b / stretches * s.length * s.inner + column;
      std::fill_n(total, n, start);
      for (int64_t k = 0; k < s.length; ++k) {
        const int64_t row = first + (d.reverse ? s.length - 1 - k : k) * s.inner;
        for (int64_t c = 0; c < n; ++c) {
          const Running<T> later = next(total[c], row + c);
          y[row + c] = static_cast<T>(d.exclusive ? total[c] : later);
          total[c] = later;
        }
      }
    }
  });
}

// Calls f with the element type: f32, f64, i32 or i64.
template <class F>
void for_number(DType t, F&& f) {
  if (t == i32) return f.template operator()<int32_t>();
  if (t == i64) return f.template operator()<int64_t>();
  t == f64 ? f.template operator()<double>() : f.template operator()<float>();
}

template <bool kProduct>
void cumulative(const KernelArgs& a) {
  const Attributes& attributes = a.call.attributes;
  const Lines s = lines_of(*a.in[0].type, attributes.integer("axis"));
  const Direction d{attributes.flag("exclusive"), attributes.flag("reverse")};
  for_number(a.in[0].type->dtype, [&]<class T>() {
    const T* const x = a.in[0].as<T>();
    cumulate<T>(a.context.team, s, d, kProduct ? 1 : 0, a.out[0].as<T>(),
                [x](Running<T> total, int64_t i) {
                  const auto v = static_cast<Running<T>>(x[i]);
                  return kProduct ? total * v : total + v;
                });
  });
}

void linear_scan(const KernelArgs& a) {
  const Attributes& attributes = a.call.attributes;
  const Lines s = lines_of(*a.in[0].type, attributes.integer("axis"));
  const auto run = [&]<class T>() {
    const T *const factor = a.in[0].as<T>(), *const term = a.in[1].as<T>();
    cumulate<T>(a.context.team, s, {false, attributes.flag("reverse")}, 0, a.out[0].as<T>(),
                [=](double total, int64_t i) {
                  return static_cast<double>(factor[i]) * total + static_cast<double>(term[i]);
                });
  };
  a.out[0].type->dtype == f64 ? run.operator()<double>() : run.operator()<float>();
}

// A number whose order is that of the elements: NaN above all, both zeros alike.
template <class T>
uint64_t key_of(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    constexpr Bits kSign = Bits{1} << (8 * sizeof(T) - 1);
    if (std::isnan(x)) return std::numeric_limits<uint64_t>::max();
    const auto bits = std::bit_cast<Bits>(x + T{0});  // -0 + 0 is 0
    return (bits & kSign) != 0 ? static_cast<Bits>(~bits) : bits | kSign;
  } else {
    return static_cast<uint64_t>(static_cast<int64_t>(x)) ^ (uint64_t{1} << 63);
  }
}

struct Entry {
  uint64_t key;
  int64_t place;
  bool operator<(const Entry& o) const { return key != o.key ? key < o.key : place < o.place; }
};

// f(entries of a line in their order, its first element) for each line; only the first `wanted` are
// in order.
template <class T, class F>
void for_sorted(ThreadTeam& team, const Lines& s, const T* x, bool descending, int64_t wanted,
                F&& f) {
  const int64_t lines = s.outer * s.inner;
  const int64_t at_once = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, s.length));
  for_pieces(team, (lines + at_once - 1) / at_once, [&](int64_t piece) {
    std::vector<Entry> entries(static_cast<size_t>(s.length));
    for (int64_t i = piece * at_once; i < std::min(lines, (piece + 1) * at_once); ++i) {
      const int64_t first = i / s.inner * s.length * s.inner + i % s.inner;
      for (int64_t k = 0; k < s.length; ++k) {
        const uint64_t key = key_of(x[first + k * s.inner]);
        entries[static_cast<size_t>(k)] = {descending ? ~key : key, k};
      }
      if (wanted < s.length) {
        std::partial_sort(entries.begin(), entries.begin() + wanted, entries.end());
      } else {
        std::sort(entries.begin(), entries.end());
      }
      f(entries, first);
    }
  });
}

template <class F>
void for_ordered(DType t, F&& f) {
  if (t == boolean) return f.template operator()<bool>();
  for_number(t, f);
}

void argsort(const KernelArgs& a) {
  const Attributes& attributes = a.call.attributes;
  const Lines s = lines_of(*a.in[0].type, attributes.integer("axis"));
  int64_t* const y = a.out[0].as<int64_t>();
  for_ordered(a.in[0].type->dtype, [&]<class T>() {
    for_sorted(a.context.team, s, a.in[0].as<T>(), attributes.flag("descending"), s.length,
               [&](const std::vector<Entry>& entries, int64_t first) {
                 for (size_t k = 0; k < entries.size(); ++k)
                   y[first + static_cast<int64_t>(k) * s.inner] = entries[k].place;
               });
  });
}

void top_k(const KernelArgs& a) {
  const Lines s = lines_of(*a.in[0].type, -1);
  const int64_t k = a.call.attributes.integer("k");
  if (k == 0) return;
  for_ordered(a.in[0].type->dtype, [&]<class T>() {
    const T* const x = a.in[0].as<T>();
    for_sorted(a.context.team, s, x, true, k,
               [&](const std::vector<Entry>& entries, int64_t first) {
                 const int64_t to = first / s.length * k;
                 for (int64_t i = 0; i < k; ++i) {
                   const int64_t place = entries[static_cast<size_t>(i)].place;
                   if (a.out[0]) a.out[0].as<T>()[to + i] = x[first + place];
                   if (a.out[1]) a.out[1].as<int64_t>()[to + i] = place;
                 }
               });
  });
}

template <class T>
void largest_of_lines(const Lines& s, const T* x, int64_t* y) {
  for (int64_t line = 0; line < s.outer * s.inner; ++line) {
    const T* const of = x + line / s.inner * s.length * s.inner + line % s.inner;
    int64_t best = 0;
    for (int64_t k = 1; k < s.length; ++k) {
      const T v = of[k * s.inner], largest = of[best * s.inner];
      if (v > largest || (std::isnan(v) && !std::isnan(largest))) best = k;
    }
    y[line] = best;
  }
}

void argmax(const KernelArgs& a) {
  const Lines s = lines_of(*a.in[0].type, a.call.attributes.integer("axis"));
  const View& x = a.in[0];
  int64_t* const y = a.out[0].as<int64_t>();
  x.type->dtype == f64 ? largest_of_lines(s, x.as<double>(), y)
                       : largest_of_lines(s, x.as<float>(), y);
}

// Over nothing the reference says what is wrong.
bool searchable(const KernelCall& c) {
  return (c.in[0].dtype == f32 || c.in[0].dtype == f64) && c.in[0].size() > 0;
}

bool not_half(const KernelCall& c) { return !is_half(c.in[0].dtype); }

}  // namespace

void add_order(std::vector<Kernel>& rows) {
  const auto numbers = [](const KernelCall& c) { return all_of_type(c, {f32, f64, i32, i64}); };
  const auto floats = [](const KernelCall& c) { return all_of_type(c, {f32, f64}); };
  rows.push_back(
      simple_kernel("cpu.cumsum", "cumsum", numbers, cumulative<false>, 1, "columns side by side"));
  rows.push_back(simple_kernel("cpu.cumprod", "cumprod", numbers, cumulative<true>, 1,
                               "columns side by side"));
  rows.push_back(simple_kernel("cpu.linear_scan", "linear_scan", floats, linear_scan, 1,
                               "columns side by side"));
  rows.push_back(
      simple_kernel("cpu.argsort", "argsort", not_half, argsort, 1, "keys with their places"));
  rows.back().allocates = true;
  rows.push_back(simple_kernel("cpu.top_k", "top_k", not_half, top_k, 1, "a heap of the largest"));
  rows.back().allocates = true;
  rows.push_back(simple_kernel("cpu.argmax", "argmax", searchable, argmax, 1, "line by line"));
}

}  // namespace rondo::cpu
