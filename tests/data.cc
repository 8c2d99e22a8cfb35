// Data sets of sequences, their batches, and the `.ts` reader.
#include <rondo/runtime/data.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "error_code.h"

#include <rondo/runtime/ts_format.h>

namespace rondo {
namespace {

using test::error_of;

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;

// Sequence i has a length in [1, 30], two features, label i % 3, and values that name it.
SequenceDataset numbered(size_t n) {
  std::vector<Sequence> s;
  for (size_t i = 0; i < n; ++i) {
    const auto length = static_cast<int64_t>(1 + i * 7 % 30);
    Tensor values(f32, {length, 2});
    for (int64_t k = 0; k < values.size(); ++k) {
      values.mutable_data<float>()[k] = static_cast<float>(i) + static_cast<float>(k) / 64;
    }
    s.push_back({values, static_cast<int64_t>(i % 3)});
  }
  return {std::move(s), {"a", "b", "c"}};
}

std::vector<size_t> flat(const std::vector<Rows>& batches) {
  std::vector<size_t> r;
  for (const Rows& b : batches) r.insert(r.end(), b.begin(), b.end());
  return r;
}

// Share of the frames of all batches that are padding.
double padding(const SequenceDataset& data, const std::vector<Rows>& batches) {
  int64_t frames = 0;
  int64_t used = 0;
  for (const Rows& b : batches) {
    int64_t longest = 0;
    for (const size_t i : b) {
      longest = std::max(longest, data.length(i));
      used += data.length(i);
    }
    frames += longest * static_cast<int64_t>(b.size());
  }
  return 1 - static_cast<double>(used) / static_cast<double>(frames);
}

constexpr std::string_view kGood =
    "# a comment\n@problemName x\n@timeStamps false\n@dimensions 2\n@classLabel true up down\n"
    "@data\n1,2,3.5:-1,0,1e-2:down\r\n\n 4 , 5 : 6,7 : up \n";

}  // namespace

TEST_CASE("batches hold each sequence exactly once", "[data]") {
  const SequenceDataset data = numbered(101);
  const int64_t size = GENERATE(1, 7, 16, 101, 1000);
  for (const auto& batches : {data.batches(size), data.batches(size, 5, 3)}) {
    std::vector<size_t> rows = flat(batches);
    std::sort(rows.begin(), rows.end());
    std::vector<size_t> all(101);
    std::iota(all.begin(), all.end(), size_t{0});
    CHECK(rows == all);
    size_t smaller = 0;
    for (const Rows& b : batches) {
      CHECK(b.size() <= static_cast<size_t>(size));
      smaller += b.size() < static_cast<size_t>(size) ? 1 : 0;
    }
    CHECK(smaller <= 1);
  }
}

TEST_CASE("an epoch's order repeats by seed and differs by epoch and seed", "[data]") {
  const SequenceDataset data = numbered(64);
  CHECK(data.batches(8, 1, 2) == data.batches(8, 1, 2));
  CHECK(flat(data.batches(8, 1, 2)) != flat(data.batches(8, 1, 3)));
  CHECK(flat(data.batches(8, 1, 2)) != flat(data.batches(8, 2, 2)));
}

TEST_CASE("rows of similar length share a batch", "[data]") {
  const SequenceDataset data = numbered(256);
  std::vector<Rows> in_order;
  for (size_t i = 0; i < 256; i += 16) {
    in_order.emplace_back(16);
    std::iota(in_order.back().begin(), in_order.back().end(), i);
  }
  const double plain = padding(data, in_order);
  const double pooled = padding(data, data.batches(16, 1, 0));
  const double sorted = padding(data, data.batches(16));
  INFO("padding: " << plain << " in order, " << pooled << " in pools, " << sorted << " sorted");
  CHECK(plain > 0.4);
  CHECK(pooled < 0.25);
  CHECK(sorted < 0.1);
}

TEST_CASE("a batch is time-major, padded with zeros to its longest row", "[data]") {
  const SequenceDataset data = numbered(8);  // lengths 1, 8, 15, ...
  const SequenceBatch b = data.batch({1, 0});
  CHECK(b.values.dims() == Dims{8, 2, 2});
  CHECK(b.lengths == Tensor::of<int32_t>({2}, {8, 1}));
  CHECK(b.labels == Tensor::of<int32_t>({2}, {1, 0}));
  for (int64_t t = 0; t < 8; ++t) {
    for (int64_t k = 0; k < 2; ++k) {
      CHECK(b.values.at((t * 2 + 0) * 2 + k) == data[1].values.at(t * 2 + k));
      CHECK(b.values.at((t * 2 + 1) * 2 + k) == (t == 0 ? data[0].values.at(k) : 0));
    }
  }
  CHECK(data.batch({}).values.dims() == Dims{0, 0, 2});
  CHECK(error_of([&] { data.batch({8}); }).code() == "data.rows.range");
  CHECK(error_of([&] { data.batches(0); }).code() == "data.batch_size.range");
}

TEST_CASE("a split takes its share of every class and loses nothing", "[data]") {
  const SequenceDataset data = numbered(60);
  const auto [rest, part] = data.split(0.15, 9);
  CHECK(rest.size() == 51);
  CHECK(part.size() == 9);
  std::array<int, 3> count{};
  std::set<double> seen;
  for (size_t i = 0; i < part.size(); ++i) ++count[static_cast<size_t>(part[i].label)];
  CHECK(count == std::array{3, 3, 3});
  for (const SequenceDataset* d : {&rest, &part}) {
    for (size_t i = 0; i < d->size(); ++i) seen.insert((*d)[i].values.at(0));
  }
  CHECK(seen.size() == 60);
  CHECK(data.split(0.15, 9).second[0].values.same_bits(part[0].values));
  CHECK(data.split(0, 9).second.size() == 0);
  CHECK(data.split(1, 9).first.size() == 0);
  CHECK(error_of([&] { data.split(std::nan(""), 1); }).code() == "data.fraction.range");
}

TEST_CASE("mean and deviation are those of all frames", "[data]") {
  const SequenceDataset data(
      {{Tensor::of<float>({1, 2}, {1, 5}), 0}, {Tensor::of<float>({3, 2}, {2, 5, 3, 5, 6, 5}), 0}},
      {"a"});
  CHECK(data.mean() == Tensor::of<float>({2}, {3, 5}));
  CHECK_THAT(data.deviation().at(0), WithinRel(std::sqrt(3.5), 1e-6));
  CHECK(data.deviation().at(1) == 1);  // never changes: can be divided by
  const SequenceDataset nothing({}, {"a"});
  CHECK(error_of([&] { nothing.mean(); }).code() == "data.frames.missing");
}

TEST_CASE("a data set refuses what does not belong together", "[data]") {
  const Tensor two(f32, {4, 2});
  const auto make = [&](const Tensor& t, int64_t label) {
    return error_of([&] { SequenceDataset({{two, 0}, {t, label}}, {"a", "b"}); }).code();
  };
  CHECK(make(Tensor(f32, {4, 3}), 0) == "data.values.features");
  CHECK(make(Tensor(f64, {4, 2}), 0) == "data.values.type");
  CHECK(make(Tensor(f32, {4}), 0) == "data.values.type");
  CHECK(make(Tensor(), 0) == "data.values.type");
  CHECK(make(two, 2) == "data.label.range");
  CHECK(make(two, -1) == "data.label.range");
}

TEST_CASE("a .ts file becomes sequences of frames", "[data]") {
  const SequenceDataset data = parse_ts(kGood, "good.ts");
  REQUIRE(data.size() == 2);
  CHECK(data.classes() == std::vector<std::string>{"up", "down"});
  CHECK(data[0].label == 1);
  CHECK(data[0].values == Tensor::of<float>({3, 2}, {1, -1, 2, 0, 3.5, 0.01F}));
  CHECK(data[1].label == 0);
  CHECK(data[1].values == Tensor::of<float>({2, 2}, {4, 6, 5, 7}));
}

TEST_CASE("a .ts error names file, line and rule", "[data]") {
  const auto [from, to, code, where] =
      GENERATE(table<std::string, std::string, std::string, std::string>({
          {"3.5", "?", "ts.value.missing", "bad.ts:7: channel 1, value 3"},
          {"3.5", "NaN", "ts.value.range", "bad.ts:7: channel 1, value 3"},
          {"3.5", "inf", "ts.value.range", "bad.ts:7:"},
          {"3.5", "1e39", "ts.value.range", "bad.ts:7:"},
          {"3.5", "1e999", "ts.value.range", "bad.ts:7:"},
          {"3.5", "3.5x", "ts.value.number", "got '3.5x'"},
          {"3.5", "", "ts.value.number", "bad.ts:7: channel 1, value 3"},
          {":down", ":left", "ts.case.label", "bad.ts:7: class 'left'"},
          {",1e-2:", ":", "ts.case.length", "bad.ts:7: channel 2 has 2 values"},
          {" : up", ":1,2: up", "ts.case.channels", "bad.ts:9: the case has 3"},
          {"6,7 : up", "", "ts.case.channels", "bad.ts:9: the case has 1"},
          {"@dimensions 2", "@dimensions 3", "ts.case.channels", "bad.ts:7:"},
          {"@dimensions 2", "@dimensions two", "ts.header.dimensions", "bad.ts:4:"},
          {"@timeStamps false", "@timeStamps true", "ts.header.timestamps", "bad.ts:3:"},
          {"@classLabel true up down", "@classLabel false", "ts.header.classes", "bad.ts:5:"},
          {"@classLabel true up down", "@classLabel true up up", "ts.header.classes", "bad.ts:5:"},
          {"@classLabel true up down\n", "", "ts.header.classes", "bad.ts:5:"},
          {"@data", "", "ts.header.data", "bad.ts:7:"},
      }));
  std::string text(kGood);
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  text.replace(at, from.size(), to);
  const Error e = error_of([&] { parse_ts(text, "bad.ts"); });
  CHECK(e.code() == code);
  CHECK(e.fault() == Fault::kArgument);
  CHECK_THAT(e.what(), ContainsSubstring(where));
}

TEST_CASE("a .ts file that is cut short anywhere is read or refused, never worse", "[data]") {
  for (size_t n = 0; n <= kGood.size(); ++n) {
    try {
      const SequenceDataset data = parse_ts(kGood.substr(0, n), "cut.ts");
      CHECK(data.size() <= 2);
    } catch (const Error& e) {
      CHECK_THAT(e.what(), ContainsSubstring("cut.ts:"));
    }
  }
}

TEST_CASE("the spoken vowels are all there", "[data]") {
  const std::string folder = RONDO_SOURCE_DIR "/examples/data/japanese_vowels/JapaneseVowels_";
  const SequenceDataset train = read_ts(folder + "TRAIN.ts");
  const SequenceDataset test = read_ts(folder + "TEST.ts");
  CHECK(train.size() == 270);
  CHECK(test.size() == 370);
  CHECK(train.features() == 12);
  CHECK(test.classes().size() == 9);
  CHECK(train[0].values.dims() == Dims{20, 12});
  CHECK(train[0].values.at(0) == static_cast<double>(1.860936F));
  CHECK_THAT(error_of([] { read_ts("no/such.ts"); }).what(), ContainsSubstring("no/such.ts"));
}

}  // namespace rondo
