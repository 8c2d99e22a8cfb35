#include <algorithm>

#include "cpu_check.h"

namespace rondo::test {
namespace {

const DType kAllTypes[] = {f32, f64, bf16, f16, i32, i64, boolean};

TEST_CASE("cpu_transpose_all_permutations") {
  const std::vector<Dims> shapes{{},        {5},          {0, 3},      {3, 0, 2}, {1, 7},
                                 {17, 33},  {64, 256},    {464, 65},   {2, 3, 4}, {29, 16, 8},
                                 {5, 1, 6}, {2, 3, 4, 5}, {1, 1, 3, 1}};
  for (const Dims& d : shapes) {
    std::vector<int64_t> p(d.size());
    for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<int64_t>(i);
    do {
      agrees("transpose", {drawn(f32, d, 1)}, {{"permutation", p}}, {"cpu.transpose"});
    } while (std::next_permutation(p.begin(), p.end()));
    for (const DType t : kAllTypes) agrees("transpose", {drawn(t, d, 1)}, {}, {"cpu.transpose"});
  }
  agrees("transpose", {drawn(f32, {700, 900}, 1)}, {}, {"cpu.transpose"});
  agrees("transpose", {drawn(f32, {2, 3, 4}, 1)}, {{"permutation", std::vector<int64_t>{0, -1, 1}}},
         {"cpu.transpose"});
}

TEST_CASE("cpu_concat_and_split") {
  for (const DType t : kAllTypes) {
    for (const int64_t axis : {0, 1, 2, -1}) {
      const auto at = static_cast<size_t>(axis < 0 ? axis + 3 : axis);
      std::vector<Tensor> in;
      for (const int64_t n : {2, 0, 5, 1}) {
        Dims d{3, 4, 6};
        d[at] = n;
        in.push_back(drawn(t, d, static_cast<uint64_t>(n)));
      }
      agrees("concat", in, {{"axis", axis}}, {"cpu.concat"});
      Dims d{3, 4, 6};
      d[at] = 8;
      agrees("split", {drawn(t, d, 1)}, {{"axis", axis}, {"parts", 4}}, {"cpu.split"});
      agrees("split", {drawn(t, d, 1)}, {{"axis", axis}, {"parts", 4}},
             {.kernel = "cpu.split", .wanted = {true, false, true, false}});
    }
  }
  agrees("concat", {drawn(f32, {400, 300}, 1), drawn(f32, {400, 500}, 2)}, {{"axis", 1}},
         {"cpu.concat"});
}

TEST_CASE("cpu_slice_and_pad") {
  for (const DType t : kAllTypes) {
    for (const int64_t axis : {0, 1, -1}) {
      for (const auto& [begin, end] : {std::pair{0, 4}, {1, 3}, {2, 2}, {3, 4}}) {
        agrees("slice", {drawn(t, {4, 4, 4}, 1)}, {{"axis", axis}, {"bounds", Shape{begin, end}}},
               {"cpu.slice"});
        agrees("pad", {drawn(t, {4, 4, 4}, 1)}, {{"axis", axis}, {"amounts", Shape{begin, end}}},
               {"cpu.pad"});
      }
    }
  }
  agrees("pad", {drawn(f32, {0, 4}, 1)}, {{"axis", 0}, {"amounts", Shape{2, 1}}}, {"cpu.pad"});
  agrees("pad", {drawn(f32, {600, 400}, 1)}, {{"axis", 1}, {"amounts", Shape{2, 1}}}, {"cpu.pad"});
}

TEST_CASE("cpu_reshape_and_fill") {
  for (const DType t : kAllTypes) {
    agrees("reshape", {drawn(t, {4, 6}, 1)}, {{"shape", Shape{3, 8}}}, {"cpu.reshape"});
    for (const double v : {0.0, 1.0, -3.0, 2.5})
      agrees("fill", {}, {{"dtype", t}, {"shape", Shape{7, 3}}, {"value", v}}, {"cpu.fill"});
  }
  agrees("reshape", {drawn(f32, {0, 6}, 1)}, {{"shape", Shape{0}}}, {"cpu.reshape"});
  agrees("reshape", {drawn(f32, {300, 1001}, 1)}, {{"shape", Shape{1001, 300}}}, {"cpu.reshape"});
}

TEST_CASE("cpu_gather_and_scatter_add") {
  for (const DType index : {i32, i64}) {
    for (const DType t : {f32, f64}) {
      const Tensor x = drawn(t, {10, 3}, 1);
      for (const Dims& d : {Dims{0}, Dims{4}, Dims{2, 3}, Dims{}}) {
        const Tensor at = drawn(index, d, 2, 0, 10);
        agrees("gather", {x, at}, {}, {"cpu.gather"});
        Dims u = d;
        u.push_back(3);
        agrees("scatter_add", {at, drawn(t, u, 3)}, {{"rows", Shape{10}}},
               {"cpu.scatter_add", 1e-6});
      }
      for (const double bad : {-1.0, 10.0}) {
        const std::vector<Tensor> in{x, Tensor::full(index, {2}, bad)};
        const std::vector<Tensor> updates{in[1], drawn(t, {2, 3}, 1)};
        for (const Backend* b : {&cpu_backend(), &reference_backend()}) {
          CHECK(refusal_of([&] { run_kernel(*b, "gather", in); }).code == "gather.indices.range");
          CHECK(refusal_of([&] {
                  run_kernel(*b, "scatter_add", updates, {{"rows", Shape{10}}});
                }).code == "scatter_add.indices.range");
        }
      }
    }
  }
  agrees("gather", {drawn(f32, {50, 400}, 1), drawn(i32, {700}, 2, 0, 50)}, {}, {"cpu.gather"});
}

}  // namespace
}  // namespace rondo::test
