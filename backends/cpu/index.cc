#include <vector>

#include <rondo/backends/cpu/moves.h>
#include <rondo/backends/cpu/rows.h>
#include <rondo/backends/cpu/spread.h>

namespace rondo::cpu {
namespace {

// An operand with indices, and the tensor that they point into, along an axis.
struct Along {
  int64_t rows, count, length, inner;  // indices[rows,count,inner] into [rows,length,inner]
};
Along along_of(const KernelArgs& a, const View& indices, const View& whole) {
  const int64_t axis = a.call.attributes.integer("axis");
  const Cut i = cut_at(*indices.type, axis), w = cut_at(*whole.type, axis);
  return {i.rows, i.length, w.length, static_cast<int64_t>(i.step / size_of(indices.type->dtype))};
}

void take_along(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1];
  const Along s = along_of(a, indices, x);
  const size_t element = size_of(x.type->dtype);
  const size_t bytes = static_cast<size_t>(s.inner) * element;
  for_stretches(a.context.team, s.rows * s.count, bytes, [&](int64_t first, int64_t end) {
    for (int64_t j = first; j < end; ++j) {
      const int64_t begin = j / s.count * s.length * s.inner;
      for (int64_t c = 0; c < s.inner; ++c) {
        const int64_t at = j * s.inner + c;
        const int64_t k = checked_index("take_along.indices", indices, at, s.length - 1);
        copy_element(a.out[0].data + static_cast<size_t>(at) * element,
                     x.data + static_cast<size_t>(begin + k * s.inner + c) * element, element);
      }
    }
  });
}

// Rows before the axis are apart, so threads may share them out.
template <class T>
void add_rows(const KernelArgs& a) {
  const View &indices = a.in[0], &y = a.out[0];
  const Along s = along_of(a, indices, y);
  const int64_t row = s.length * s.inner, updates = s.count * s.inner;
  const size_t bytes = static_cast<size_t>(row + updates) * sizeof(T);
  for_stretches(a.context.team, s.rows, bytes, [&](int64_t first, int64_t end) {
    std::fill(y.as<T>() + first * row, y.as<T>() + end * row, T{0});
    for (int64_t r = first; r < end; ++r) {
      for (int64_t i = 0; i < updates; ++i) {
        const int64_t k =
            checked_index("add_along.indices", indices, r * updates + i, s.length - 1);
        y.as<T>()[r * row + k * s.inner + i % s.inner] += a.in[1].as<T>()[r * updates + i];
      }
    }
  });
}
void add_along(const KernelArgs& a) {
  a.out[0].type->dtype == f64 ? add_rows<double>(a) : add_rows<float>(a);
}

void flat_index(const KernelArgs& a) {
  const Dims shape = a.call.dims("shape");
  element_count(shape);  // an Error where a flat index would overflow
  const std::string& what = a.call.attributes.text("what");
  const auto k = static_cast<int64_t>(shape.size());
  int64_t* const y = a.out[0].as<int64_t>();
  for_stretches(a.context.team, a.out[0].size(), shape.size() * sizeof(int64_t),
                [&](int64_t first, int64_t end) {
                  for (int64_t i = first; i < end; ++i) {
                    int64_t flat = 0;
                    for (int64_t d = 0; d < k; ++d) {
                      const int64_t n = shape[static_cast<size_t>(d)];
                      flat = flat * n + checked_index(what, a.in[0], i * k + d, n - 1);
                    }
                    y[i] = flat;
                  }
                });
}

void scatter_update(const KernelArgs& a) {
  const View &x = a.in[0], &indices = a.in[1], &y = a.out[0];
  copy_all(a.context.team, x, y);
  const int64_t rows = x.dims()[0];
  const size_t bytes = rows == 0 ? 0 : x.type->bytes() / static_cast<size_t>(rows);
  for (int64_t i = 0; i < indices.size(); ++i) {
    const auto to =
        static_cast<size_t>(checked_index("scatter_update.indices", indices, i, rows - 1));
    if (bytes != 0)
      std::memcpy(y.data + to * bytes, a.in[2].data + static_cast<size_t>(i) * bytes, bytes);
  }
}

void one_hot(const KernelArgs& a) {
  const View &indices = a.in[0], &y = a.out[0];
  const DType t = y.type->dtype;
  alignas(8) std::byte on[8], off[8];
  for (const auto& [name, to] : {std::pair{"on", on}, std::pair{"off", off}}) {
    const double v = a.call.attributes.number(name);
    convert_elements(f64, &v, t, to, 1);
  }
  const int64_t depth = y.dims().back();
  const size_t element = size_of(t), bytes = static_cast<size_t>(depth) * element;
  for_stretches(a.context.team, indices.size(), bytes, [&](int64_t first, int64_t end) {
    std::byte* const rows = y.data + static_cast<size_t>(first) * bytes;
    spread(rows, off, static_cast<size_t>((end - first) * depth), element);
    for (int64_t i = first; i < end; ++i) {
      const int64_t k = index_at(indices, i);
      if (k >= 0 && k < depth)
        copy_element(y.data + static_cast<size_t>(i * depth + k) * element, on, element);
    }
  });
}

void sequence_mask(const KernelArgs& a) {
  const bool batch_major = a.call.attributes.flag("batch_major");
  const View &lengths = a.in[0], &y = a.out[0];
  const int64_t rows = lengths.size(), steps = y.dims()[batch_major ? 1 : 0];
  bool* const to = y.as<bool>();
  for_stretches(a.context.team, batch_major ? rows : steps,
                static_cast<size_t>(batch_major ? steps : rows), [&](int64_t first, int64_t end) {
                  for (int64_t i = first; i < end; ++i) {
                    if (batch_major) {
                      const int64_t n = std::clamp<int64_t>(index_at(lengths, i), 0, steps);
                      std::fill_n(to + i * steps, n, true);
                      std::fill_n(to + i * steps + n, steps - n, false);
                      continue;
                    }
                    for (int64_t b = 0; b < rows; ++b) to[i * rows + b] = i < index_at(lengths, b);
                  }
                });
}

bool floats(const KernelCall& c) { return c.out[0].dtype == f32 || c.out[0].dtype == f64; }

}  // namespace

void add_index(std::vector<Kernel>& rows) {
  const auto add = [&](const std::string& op, void (*run)(const KernelArgs&), std::string note,
                       bool (*supports)(const KernelCall&) = nullptr) {
    rows.push_back(simple_kernel("cpu." + op, op, supports, run, 1, std::move(note)));
  };
  add("take_along", take_along, "element by element");
  add("add_along", add_along, "element by element, in their order", floats);
  add("flat_index", flat_index, "index by index");
  rows.back().allocates = true;
  add("scatter_update", scatter_update, "whole rows, in their order");
  add("one_hot", one_hot, "one number spread, then the ones");
  add("sequence_mask", sequence_mask, "row by row");
}

}  // namespace rondo::cpu
