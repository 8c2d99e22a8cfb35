#include <rondo/runtime/data.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <rondo/graph/error.h>
#include <rondo/ops/random.h>

namespace rondo {
namespace {

// How many batches a pool has: more pad less, fewer mix lengths better.
constexpr size_t kPool = 4;

// Streams of random numbers, far from those of a graph's ops, which count from 0.
enum class Draw : uint32_t { kSplit = 0xfffffff0, kSequences, kBatches };

// [0, n) in an order drawn by (seed, draw, epoch).
Rows shuffled(size_t n, uint64_t seed, Draw draw, uint64_t epoch) {
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
  std::vector<std::pair<uint64_t, size_t>> keys;
  keys.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    const auto block = philox({low(i), low(epoch), static_cast<uint32_t>(draw), high(epoch)},
                              {low(seed), high(seed)});
    keys.emplace_back(uint64_t{block[0]} << 32 | block[1], i);
  }
  std::sort(keys.begin(), keys.end());
  Rows order;
  order.reserve(n);
  for (const auto& [key, i] : keys) order.push_back(i);
  return order;
}

std::vector<Rows> cut(const Rows& rows, size_t size) {
  std::vector<Rows> r;
  for (size_t at = 0; at < rows.size(); at += size) {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(at);
    r.emplace_back(first, first + static_cast<std::ptrdiff_t>(std::min(size, rows.size() - at)));
  }
  return r;
}

size_t checked_size(int64_t size) {
  if (size < 1) {
    fail(Fault::kArgument, "data.batch_size.range", "[data] batch_size is ", size,
         ", but must be at least 1");
  }
  return static_cast<size_t>(size);
}

Tensor to_f32(const std::vector<double>& values) {
  Tensor t(f32, {static_cast<int64_t>(values.size())});
  std::transform(values.begin(), values.end(), t.mutable_data<float>(),
                 [](double v) { return static_cast<float>(v); });
  return t;
}

// Means over all frames, of f(value, feature).
template <class F>
std::vector<double> frame_means(const SequenceDataset& data, const F& f) {
  const auto features = static_cast<size_t>(data.features());
  std::vector<double> sums(features);
  int64_t frames = 0;
  for (size_t i = 0; i < data.size(); ++i) {
    frames += data.length(i);
    const std::span<const float> values = data[i].values.values<float>();
    for (size_t k = 0; k < values.size(); ++k) {
      sums[k % features] += f(static_cast<double>(values[k]), k % features);
    }
  }
  if (frames == 0) {
    fail(Fault::kArgument, "data.frames.missing",
         "[data] the mean over no frames is asked for: the data set has ", data.size(),
         " sequences, all of length 0");
  }
  for (double& s : sums) s /= static_cast<double>(frames);
  return sums;
}

}  // namespace

SequenceDataset::SequenceDataset(std::vector<Sequence> sequences, std::vector<std::string> classes)
    : sequences_(std::move(sequences)), classes_(std::move(classes)) {
  for (size_t i = 0; i < size(); ++i) {
    const Sequence& s = sequences_[i];
    if (!s.values || s.values.rank() != 2 || s.values.dtype() != f32) {
      fail(Fault::kArgument, "data.values.type", "[data] sequence ", i, " must be f32[T,I], got ",
           s.values ? cat(s.values.dtype(), to_string(s.values.dims())) : "no tensor");
    }
    if (i == 0) features_ = s.values.dim(1);
    if (s.values.dim(1) != features_) {
      fail(Fault::kArgument, "data.values.features", "[data] sequence ", i, " has ",
           s.values.dim(1), " features a frame, the first one ", features_);
    }
    if (s.label < 0 || s.label >= static_cast<int64_t>(classes_.size())) {
      fail(Fault::kArgument, "data.label.range", "[data] sequence ", i, " has label ", s.label,
           ", but there are ", classes_.size(), " classes");
    }
  }
}

std::pair<SequenceDataset, SequenceDataset> SequenceDataset::split(double fraction,
                                                                   uint64_t seed) const {
  if (!(fraction >= 0 && fraction <= 1)) {
    fail(Fault::kArgument, "data.fraction.range", "[data] fraction is ", fraction,
         ", but must be in [0, 1]");
  }
  std::vector<int64_t> wanted(classes_.size());
  for (const Sequence& s : sequences_) ++wanted[static_cast<size_t>(s.label)];
  for (int64_t& n : wanted) n = std::llround(fraction * static_cast<double>(n));
  std::vector<bool> taken(size());
  for (const size_t i : shuffled(size(), seed, Draw::kSplit, 0)) {
    taken[i] = wanted[static_cast<size_t>(sequences_[i].label)]-- > 0;
  }
  std::array<std::vector<Sequence>, 2> parts;
  for (size_t i = 0; i < size(); ++i) parts[taken[i] ? 1 : 0].push_back(sequences_[i]);
  return {SequenceDataset(std::move(parts[0]), classes_),
          SequenceDataset(std::move(parts[1]), classes_)};
}

Tensor SequenceDataset::mean() const {
  return to_f32(frame_means(*this, [](double v, size_t) { return v; }));
}

Tensor SequenceDataset::deviation() const {
  const std::vector<double> mean = frame_means(*this, [](double v, size_t) { return v; });
  std::vector<double> r = frame_means(
      *this, [&](double v, size_t feature) { return (v - mean[feature]) * (v - mean[feature]); });
  for (double& v : r) v = v > 0 ? std::sqrt(v) : 1;
  return to_f32(r);
}

std::vector<Rows> SequenceDataset::batches(int64_t size) const {
  Rows rows(this->size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  std::stable_sort(rows.begin(), rows.end(),
                   [&](size_t a, size_t b) { return length(a) < length(b); });
  return cut(rows, checked_size(size));
}

std::vector<Rows> SequenceDataset::batches(int64_t size, uint64_t seed, int64_t epoch) const {
  const size_t n = checked_size(size);
  const auto e = static_cast<uint64_t>(epoch);
  std::vector<Rows> made;
  for (Rows& pool : cut(shuffled(this->size(), seed, Draw::kSequences, e), n * kPool)) {
    std::stable_sort(pool.begin(), pool.end(),
                     [&](size_t a, size_t b) { return length(a) < length(b); });
    for (Rows& batch : cut(pool, n)) made.push_back(std::move(batch));
  }
  std::vector<Rows> r;
  for (const size_t i : shuffled(made.size(), seed, Draw::kBatches, e)) r.push_back(made[i]);
  return r;
}

SequenceBatch SequenceDataset::batch(const Rows& rows) const {
  const auto count = static_cast<int64_t>(rows.size());
  int64_t longest = 0;
  for (const size_t row : rows) {
    if (row >= size()) {
      fail(Fault::kArgument, "data.rows.range", "[data] row ", row, " of a data set of ", size());
    }
    longest = std::max(longest, length(row));
  }
  SequenceBatch b{rows, Tensor(f32, {longest, count, features_}), Tensor(i32, {count}),
                  Tensor(i32, {count})};
  auto* values = b.values.mutable_data<float>();
  auto* lengths = b.lengths.mutable_data<int32_t>();
  auto* labels = b.labels.mutable_data<int32_t>();
  for (int64_t k = 0; k < count; ++k) {
    const Sequence& s = sequences_[rows[static_cast<size_t>(k)]];
    const auto* from = s.values.data<float>();
    for (int64_t t = 0; t < s.values.dim(0); ++t) {
      std::copy_n(from + t * features_, features_, values + (t * count + k) * features_);
    }
    lengths[k] = static_cast<int32_t>(s.values.dim(0));
    labels[k] = static_cast<int32_t>(s.label);
  }
  return b;
}

}  // namespace rondo
