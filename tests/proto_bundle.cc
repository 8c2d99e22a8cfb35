#include <fstream>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "proto_fixture.h"

#include <rondo/proto/container.h>
#include <rondo/proto/crc32c.h>
#include <rondo/proto/utf8.h>

namespace rondo::proto_test {
namespace {

const auto kFormats = {FileFormat::kRondo, FileFormat::kProtobuf};

TEST_CASE("crc32c_gives_the_values_of_rfc_3720", "[proto]") {
  const std::string zeros(32, '\0'), ones(32, '\xff');
  CHECK(crc32c(zeros.data(), 32) == 0x8A9136AA);
  CHECK(crc32c(ones.data(), 32) == 0x62A8AB43);
  CHECK(crc32c("123456789", 9) == 0xE3069283);
  CHECK(crc32c(nullptr, 0) == 0);
  const std::string text = "any split of the bytes gives the same sum";
  for (size_t i = 0; i <= text.size(); ++i) {
    const uint32_t first = crc32c(text.data(), i);
    CHECK(crc32c(text.data() + i, text.size() - i, first) == crc32c(text.data(), text.size()));
  }
}

TEST_CASE("utf8_refuses_overlong_surrogate_and_cut_off_text", "[proto]") {
  for (const char* good :
       {"", "plain", "grün", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF"}) {
    CHECK(is_utf8(good));
  }
  for (const char* bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "\xE2\x82", "\xE2\x28\xA1", "a\xFF"}) {
    CHECK_FALSE(is_utf8(bad));
  }
}

TEST_CASE("everything_a_bundle_holds_survives_both_formats", "[proto]") {
  const Bundle b = everything();
  for (const FileFormat f : kFormats) {
    const Bundle r = bundle_of(bytes_of(b, f), f);
    REQUIRE(r.graphs.size() == 2);
    for (const auto& [name, g] : b.graphs) check_same(g, r.graphs.at(name));
    CHECK(r.tensors == b.tensors);
    CHECK(r.attributes == b.attributes);
    CHECK(r.graphs.at("train").find("grün").value() == b.graphs.at("train").find("picked").value());
    CHECK(r.graphs.at("train").variables().size() == 2);
    CHECK(r.graphs.at("train").trainable().size() == 1);
  }
}

TEST_CASE("a_graph_that_was_loaded_can_be_built_on", "[proto]") {
  Bundle r = bundle_of(bytes_of(everything(), FileFormat::kRondo), FileFormat::kRondo);
  Graph g = r.graphs.at("train");
  CHECK(g.next_stream() == 2);
  const Var w = g.find("layer/w");
  CHECK(apply("add", {w, w}, {}, "new").shape() == Shape{2, 3});
  CHECK(code_of([&] { g.placeholder("sum", f32, {}); }) == "graph.name.taken");
}

TEST_CASE("equal_bundles_give_equal_bytes_and_a_loaded_one_the_same", "[proto]") {
  for (const FileFormat f : kFormats) {
    const std::string first = bytes_of(everything(), f);
    CHECK(first == bytes_of(everything(), f));
    CHECK(first == bytes_of(bundle_of(first, f), f));
  }
  const Bundle through =
      bundle_of(bytes_of(everything(), FileFormat::kProtobuf), FileFormat::kProtobuf);
  CHECK(bytes_of(through, FileFormat::kRondo) == bytes_of(everything(), FileFormat::kRondo));
}

TEST_CASE("equal_constants_and_first_values_are_stored_once", "[proto]") {
  const auto size = [](int copies, double step) {
    Bundle b;
    Graph g;
    for (int i = 0; i < copies; ++i) g.constant(Tensor::full(f64, {1000}, i * step));
    b.graphs.emplace("g", g);
    return bytes_of(b, FileFormat::kRondo).size();
  };
  CHECK(size(5, 0) < size(1, 0) + 1000);
  CHECK(size(5, 1) > size(1, 0) + 4 * 8000);
  // The same numbers under another shape are another tensor.
  Bundle b;
  Graph g;
  const Var row = g.constant(ramp(f32, {1, 4})), column = g.constant(ramp(f32, {4, 1}));
  b.graphs.emplace("g", g);
  const Graph r = bundle_of(bytes_of(b, FileFormat::kRondo), FileFormat::kRondo).graphs.at("g");
  CHECK(r.var(row.value()).shape() == Shape{1, 4});
  CHECK(r.var(column.value()).shape() == Shape{4, 1});
}

TEST_CASE("tensors_of_a_rondo_file_begin_at_multiples_of_64", "[proto]") {
  Bundle b;
  b.tensors.emplace("a", Tensor::full(f32, {3}, 1));
  b.tensors.emplace("b", Tensor::full(boolean, {65}, 1));
  b.tensors.emplace("c", Tensor::full(i32, {1}, 0x7a7a7a7a));
  const std::string s = bytes_of(b, FileFormat::kRondo);
  CHECK(s.find("zzzz") % 64 == 0);
  CHECK(s.find(std::string(65, '\1')) % 64 == 0);
  CHECK((s.size() - kFooterBytes) % 64 == 0);
}

TEST_CASE("floats_keep_their_bits_also_nan_and_minus_zero", "[proto]") {
  Bundle b;
  const Tensor odd = Tensor::of<double>({3}, {-0.0, std::numeric_limits<double>::quiet_NaN(),
                                              std::numeric_limits<double>::denorm_min()});
  b.tensors.emplace("odd", odd);
  b.attributes = {{"nan", -std::numeric_limits<double>::quiet_NaN()}};
  for (const FileFormat f : kFormats) {
    const Bundle r = bundle_of(bytes_of(b, f), f);
    CHECK(r.tensors.at("odd").same_bits(odd));
    CHECK(r.attributes == b.attributes);
  }
}

TEST_CASE("a_pb_file_can_be_decoded_by_protoc", "[proto]") {
  const Folder folder;
  save_bundle(everything(), folder / "m.pb");
  const std::string command = std::string("cd '") + RONDO_SOURCE_DIR +
                              "' && protoc --decode rondo.proto.ModelProto proto/rondo.proto < '" +
                              (folder / "m.pb") + "' > '" + (folder / "text") + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream in(folder / "text");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  for (const char* part : {"op: \"settings\"", "dims: \"2*B*T-1\"", "dtype: \"bf16\"", "streams: 2",
                           "name: \"second half\"", "tensor: \"layer/w\""}) {
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("the_ending_decides_the_format_and_others_are_refused", "[proto]") {
  CHECK(format_of("a.pb") == FileFormat::kProtobuf);
  CHECK(format_of("x.pb/a.rondo") == FileFormat::kRondo);
  CHECK(code_of([] { save_bundle({}, "/tmp/a.onnx"); }) == "file.name.ending");
  CHECK(code_of([] { load_bundle("rondo", registry()); }) == "file.name.ending");
}

TEST_CASE("bodies_may_nest_16_deep_and_no_deeper", "[proto]") {
  const auto bundle = [](int depth) {
    Bundle b;
    Graph g;
    nested(g.placeholder("x", f32, {2}), depth);
    b.graphs.emplace("g", g);
    return b;
  };
  for (const FileFormat f : kFormats) {
    const Bundle b = bundle(16);
    check_same(b.graphs.at("g"), bundle_of(bytes_of(b, f), f).graphs.at("g"));
    CHECK(code_of([&] { bytes_of(bundle(17), f); }) == "file.node.depth");
    Limits deep;
    deep.depth = 17;
    const std::string s = bytes_of(bundle(17), f, deep);
    CHECK(code_of([&] { bundle_of(s, f); }) == "file.node.depth");
    CHECK(bundle_of(s, f, deep).graphs.size() == 1);
  }
}

TEST_CASE("what_could_not_be_loaded_is_not_saved", "[proto]") {
  const auto refused = [](const Bundle& b) {
    return code_of([&] { bytes_of(b, FileFormat::kRondo); });
  };
  const auto with_tensor = [&](std::string name, Tensor t) {
    Bundle b;
    b.tensors.emplace(std::move(name), std::move(t));
    return refused(b);
  };
  CHECK(with_tensor("", Tensor(f32, {1})) == "file.tensor.name_length");
  CHECK(with_tensor(std::string(513, 'n'), Tensor(f32, {1})) == "file.tensor.name_length");
  CHECK(with_tensor(std::string(512, 'n'), Tensor(f32, {1})) == "none");
  CHECK(with_tensor("%0", Tensor(f32, {1})) == "file.tensor.reserved");
  CHECK(with_tensor("\xff", Tensor(f32, {1})) == "file.tensor.utf8");
  CHECK(with_tensor("t", Tensor()) == "file.tensor.missing");
  CHECK(with_tensor("t", Tensor(f32, {1, 1, 1, 1, 1, 1, 1, 1, 1})) == "file.tensor.rank");
  CHECK(with_tensor("t", Tensor(f32, {int64_t{1} << 31, 0})) == "file.tensor.dim");
  const auto with_attribute = [&](AttributeValue v) {
    Bundle b;
    b.attributes.set("a", std::move(v));
    return refused(b);
  };
  CHECK(with_attribute("\xC0\x80") == "file.attribute.utf8");
  CHECK(with_attribute(std::vector<std::string>{"ok", "\xff"}) == "file.attribute.utf8");
  CHECK(with_attribute(Shape{Dim::symbol("no name")}) == "file.shape.dim");
  CHECK(with_attribute(Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}) == "file.shape.rank");
}

TEST_CASE("a_long_chain_is_saved_and_loaded_without_recursion", "[proto]") {
  constexpr int kNodes = 100'000;
  Bundle b;
  Graph g;
  Var x = g.placeholder("x", f32, {"B"});
  for (int i = 1; i < kNodes; ++i) x = apply("add", {x, x});
  b.graphs.emplace("g", g);
  const Bundle r = bundle_of(bytes_of(b, FileFormat::kRondo), FileFormat::kRondo);
  CHECK(r.graphs.at("g").size() == kNodes);
  CHECK(r.graphs.at("g").node(kNodes - 1).inputs[1] == Value{kNodes - 2, 0});
  Limits few;
  few.nodes = kNodes - 1;
  CHECK(code_of([&] { bytes_of(b, FileFormat::kRondo, few); }) == "file.graph.nodes");
}

}  // namespace
}  // namespace rondo::proto_test
