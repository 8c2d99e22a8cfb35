// Files that are damaged, or made to harm: each must be refused, by the right rule, cheaply.
#include <cstring>
#include <functional>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "proto_fixture.h"

#include <rondo/proto/container.h>
#include <rondo/proto/crc32c.h>

namespace rondo::proto_test {
namespace {

// A small file in which everything occurs.
Bundle small() {
  Bundle b;
  Graph g;
  const Var x = g.placeholder("x", f32, {"B", 2});
  const Var w = g.variable("w", ramp(f32, {1, 2}));
  g.call(registry().at("split"), {w}, {})[1].named("s");
  apply("settings", {x}, {{"axes", std::vector<int64_t>{1, -2}}});
  nested(x, 1);
  b.graphs.emplace("g", g);
  b.tensors.emplace("t", ramp(boolean, {3}));
  b.attributes = {{"step", 3}};
  return b;
}

std::string model(const std::string& rest) { return wire_number(1, 1) + wire_number(2, 1) + rest; }
std::string graph(const std::string& nodes) {
  return model(wire_part(4, wire_part(1, "g") + nodes));
}
std::string node(std::string_view op, const std::string& rest = "") {
  return wire_part(2, wire_part(1, op) + wire_number(2, 1) + rest);
}
std::string placeholder(const std::string& dims = "") {
  const auto attribute = [](std::string_view name, int field, const std::string& v) {
    return wire_part(6, wire_part(1, name) + wire_part(field, v));
  };
  return node("placeholder", attribute("dtype", 6, "f32") + attribute("shape", 9, dims));
}
// A table entry of bytes that are all there.
std::string tensor(std::string_view name, std::string_view dtype, const std::vector<int64_t>& dims,
                   uint64_t length, const std::string& bytes) {
  std::string d;
  for (const int64_t v : dims) d += wire_varint(static_cast<uint64_t>(v));
  const uint32_t crc = crc32c(bytes.data(), bytes.size());
  std::string fixed = wire_varint(6 << 3 | 5) + std::string(4, '\0');
  std::memcpy(fixed.data() + 1, &crc, 4);
  return wire_part(5, wire_part(1, name) + wire_part(2, dtype) + wire_part(3, d) +
                          wire_number(5, length) + fixed + wire_part(7, bytes));
}
std::string repeat(size_t n, const std::string& s) {
  std::string r;
  for (size_t i = 0; i < n; ++i) r += s;
  return r;
}

std::string load_code(const std::string& bytes, FileFormat f, std::string* text = nullptr) {
  return code_of([&] { bundle_of(bytes, f); }, text);
}

// A .rondo file whose frame is right, whatever is in it.
std::string framed(
    const std::string& model, const std::string& data,
    const std::function<void(Container&)>& change = [](Container&) {}) {
  Container c;
  c.model_size = model.size();
  c.data_size = data.size();
  c.model_crc = crc32c(model.data(), model.size());
  c.data_crc = crc32c(data.data(), data.size());
  change(c);
  const auto text = [](const auto& a) {
    return std::string(reinterpret_cast<const char*>(a.data()), a.size());
  };
  std::string s = text(encode_header(c)) + model;
  s.resize(aligned(s.size()), '\0');
  return s + data + text(encode_footer(c));
}

TEST_CASE("every_bit_of_a_rondo_file_is_guarded", "[proto][hostile]") {
  const std::string good = bytes_of(small(), FileFormat::kRondo);
  REQUIRE(good.size() <= 1536);
  REQUIRE(load_code(good, FileFormat::kRondo) == "none");
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string s = good;
    s[bit / 8] = static_cast<char>(s[bit / 8] ^ (1 << (bit % 8)));
    const std::string code = load_code(s, FileFormat::kRondo);
    if (!code.starts_with("file.")) FAIL("bit " << bit << " gives " << code);
  }
}

TEST_CASE("every_truncation_and_every_extension_of_a_rondo_file_is_refused", "[proto][hostile]") {
  const std::string good = bytes_of(small(), FileFormat::kRondo);
  for (size_t n = 0; n < good.size(); ++n) {
    const std::string code = load_code(good.substr(0, n), FileFormat::kRondo);
    if (!code.starts_with("file.header.")) FAIL(n << " bytes give " << code);
  }
  CHECK(load_code(good + std::string(1, '\0'), FileFormat::kRondo) == "file.header.length");
  CHECK(load_code(good + good, FileFormat::kRondo) == "file.header.length");
}

// There is no checksum over the graphs of a .pb, so a change may give another valid file: then it
// can be saved and loaded again as any other.
TEST_CASE("every_bit_flip_and_truncation_of_a_pb_is_an_error_or_a_sound_bundle",
          "[proto][hostile]") {
  const std::string good = bytes_of(small(), FileFormat::kProtobuf);
  size_t sound = 0;
  const auto check = [&](const std::string& s) {
    std::string code, again;
    code = code_of(
        [&] { again = bytes_of(bundle_of(s, FileFormat::kProtobuf), FileFormat::kProtobuf); });
    if (code == "none") {
      ++sound;
      CHECK(bytes_of(bundle_of(again, FileFormat::kProtobuf), FileFormat::kProtobuf) == again);
    } else if (!code.starts_with("file.")) {
      FAIL(code);
    }
  };
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string s = good;
    s[bit / 8] = static_cast<char>(s[bit / 8] ^ (1 << (bit % 8)));
    check(s);
  }
  CHECK(sound > 0);
  CHECK(sound < 4 * good.size());
  for (size_t n = 0; n < good.size(); ++n) check(good.substr(0, n));
}

TEST_CASE("a_newer_file_says_which_reader_it_needs", "[proto][hostile]") {
  const std::string newer = wire_number(1, 7) + wire_number(2, 7);
  std::string text;
  CHECK(load_code(newer, FileFormat::kProtobuf, &text) == "file.header.version");
  CHECK(text.find("memory: needs a reader of version >= 7") == 0);
  const std::string frame =
      framed(model(""), "", [](Container& c) { c.version = c.min_reader = 9; });
  CHECK(load_code(frame, FileFormat::kRondo, &text) == "file.header.version");
  CHECK(text.find("needs a reader of version >= 9") != std::string::npos);
}

TEST_CASE("fields_of_a_newer_writer_are_skipped_when_it_says_so", "[proto][hostile]") {
  const std::string extra = wire_part(15, "new") + wire_number(100, 5);
  CHECK(load_code(model(extra), FileFormat::kProtobuf) == "file.model.unknown_field");
  const std::string said = wire_number(1, 2) + wire_number(2, 1) + extra;
  CHECK(load_code(said, FileFormat::kProtobuf) == "none");
}

TEST_CASE("errors_name_path_graph_node_and_the_rule_that_the_graph_broke", "[proto][hostile]") {
  std::string text;
  const std::string s = graph(
      placeholder() + node("split", wire_part(3, "halves") + wire_part(4, std::string(1, '\0'))));
  CHECK(load_code(s, FileFormat::kProtobuf, &text) == "file.node.refused");
  for (const char* part :
       {"memory: ", "graph \"g\"", "node 1 \"halves\" (split)", "split.x.rank"}) {
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(load_code(graph(node("ad")), FileFormat::kProtobuf, &text) == "file.node.op");
  CHECK(text.find("node 0 (ad)") != std::string::npos);
  CHECK(text.find("did you mean 'add'?") != std::string::npos);
}

struct Case {
  const char* what;
  std::string bytes;
  const char* code;
};

TEST_CASE("malformed_pb_files_are_refused_by_the_right_rule", "[proto][hostile]") {
  constexpr auto kHuge = std::numeric_limits<int64_t>::max();
  const std::string x = placeholder();
  const auto attribute = [](const std::string& rest) { return model(wire_part(6, rest)); };
  const auto settings = [&](const std::string& attributes) {
    return graph(x + node("settings", wire_part(4, std::string(1, '\0')) + attributes));
  };
  std::string bodies = "";
  for (int i = 0; i < 40; ++i) bodies = wire_part(7, wire_part(1, wire_part(2, bodies)));
  const std::vector<Case> cases{
      {"nothing", "", "file.header.version"},
      {"a cut-off number", model("\x20\xff"), "file.model.truncated"},
      {"a number of 11 bytes", model("\x08" + std::string(10, '\xff') + "\x01"), "file.model.wire"},
      {"a number of 70 bits", model("\x20" + std::string(9, '\xff') + "\x7f"), "file.model.wire"},
      {"field number 0", model(std::string(2, '\0')), "file.model.wire"},
      {"a group", model("\x23"), "file.model.wire"},
      {"a wrong wire type", model(wire_number(4, 1)), "file.model.wire"},
      {"a part of 2^63 bytes", model("\x22" + wire_varint(1ULL << 63)), "file.model.truncated"},
      {"two versions", model(wire_number(1, 1)), "file.model.repeated"},
      {"two values of an attribute",
       attribute(wire_part(1, "a") + wire_number(2, 1) + wire_number(3, 1)),
       "file.attribute.repeated"},
      {"no value", attribute(wire_part(1, "a")), "file.attribute.value"},
      {"an attribute twice", model(repeat(2, wire_part(6, wire_part(1, "a") + wire_number(2, 1)))),
       "file.attribute.duplicate"},
      {"a name that is no UTF-8", attribute(wire_part(1, "\xC0\x80")), "file.attribute.utf8"},
      {"a name of 513 bytes", attribute(wire_part(1, std::string(513, 'n'))),
       "file.attribute.name_length"},
      {"an unknown dtype", attribute(wire_part(1, "a") + wire_part(6, "f128")),
       "file.attribute.dtype"},
      {"a tensor that is not there", attribute(wire_part(1, "a") + wire_part(10, "t")),
       "file.attribute.tensor"},
      {"a bad dimension", attribute(wire_part(1, "a") + wire_part(9, wire_part(1, "3+"))),
       "file.shape.dim"},
      {"a dimension with 2^85 terms",
       attribute(wire_part(1, "a") + wire_part(9, wire_part(1, "1" + repeat(85, "*(a+b)")))),
       "file.shape.dim"},
      {"a dimension with brackets",
       attribute(wire_part(1, "a") + wire_part(9, wire_part(1, "(a+b)*c"))), "file.shape.dim"},
      {"a dimension of 34 terms",
       attribute(wire_part(1, "a") + wire_part(9, wire_part(1, "1" + repeat(33, "+a")))),
       "file.shape.dim"},
      {"a dimension beyond 64 bits",
       attribute(wire_part(1, "a") + wire_part(9, wire_part(1, "9223372036854775808"))),
       "file.shape.dim"},
      {"rank 9", attribute(wire_part(1, "a") + wire_part(9, repeat(9, wire_part(1, "1")))),
       "file.shape.rank"},
      {"a graph without a name", model(wire_part(4, wire_number(4, 1))), "file.graph.name"},
      {"a graph twice", model(repeat(2, wire_part(4, wire_part(1, "g")))), "file.graph.duplicate"},
      {"a negative stream", graph(wire_number(4, static_cast<uint64_t>(-1))), "file.graph.streams"},
      {"a huge stream", graph(wire_number(4, kHuge)), "file.graph.streams"},
      {"no op", graph(node("")), "file.node.op"},
      {"a newer op", graph(wire_part(2, wire_part(1, "add") + wire_number(2, 2))),
       "file.node.op_version"},
      {"an op without version", graph(wire_part(2, wire_part(1, "placeholder"))),
       "file.node.op_version"},
      {"itself as operand", graph(x + node("settings", wire_part(4, "\x02"))),
       "file.node.reference"},
      {"operand -2", graph(x + node("settings", wire_part(4, "\x03"))), "file.node.reference"},
      {"operand 2^31-1", graph(x + node("settings", wire_part(4, "\xfe\xff\xff\xff\x0f"))),
       "file.node.reference"},
      {"an output that is not there",
       graph(x + node("settings", wire_part(4, std::string(1, '\0')) + wire_part(5, "\x01"))),
       "file.node.slot"},
      {"too many slots",
       graph(x + node("settings",
                      wire_part(4, std::string(1, '\0')) + wire_part(5, std::string(2, '\0')))),
       "file.node.slots"},
      {"4097 operands", graph(x + node("loop", wire_part(4, std::string(4097, '\0')))),
       "file.node.inputs"},
      {"65 attributes",
       graph(node("add", repeat(65, wire_part(6, wire_part(1, "a") + wire_number(2, 1))))),
       "file.node.attributes"},
      {"too few operands", graph(x + node("add", wire_part(4, std::string(1, '\0')))),
       "file.node.refused"},
      {"a missing operand", graph(x + node("settings", wire_part(4, "\x01"))), "file.node.refused"},
      {"an attribute of another type",
       settings(wire_part(6, wire_part(1, "flag") + wire_number(3, 2))), "file.node.refused"},
      {"an attribute that the op has not",
       settings(wire_part(6, wire_part(1, "fla") + wire_number(2, 1))), "file.node.refused"},
      {"a constant without a value", graph(node("constant")), "file.node.refused"},
      {"a leaf with a body", graph(node("placeholder", wire_part(7, ""))), "file.node.body"},
      {"two nodes of one name", graph(repeat(2, node("placeholder", wire_part(3, "x")))),
       "file.node.refused"},
      {"a reserved name", graph(node("placeholder", wire_part(3, "%1"))), "file.node.refused"},
      {"a name for nothing", graph(wire_part(3, wire_part(1, "n"))), "file.name.reference"},
      {"a name for node -1", graph(x + wire_part(3, wire_part(1, "n") + wire_number(2, ~0ULL))),
       "file.name.reference"},
      {"a name for slot 1", graph(x + wire_part(3, wire_part(1, "n") + wire_number(3, 1))),
       "file.name.slot"},
      {"a name twice", graph(x + repeat(2, wire_part(3, wire_part(1, "n")))), "file.name.refused"},
      {"a body whose input is no placeholder",
       graph(node("loop", wire_part(7, wire_part(1, x + node("settings",
                                                             wire_part(4, std::string(1, '\0')))) +
                                           wire_part(2, "\x02")))),
       "file.body.input"},
      {"an input of a body twice",
       graph(node("loop", wire_part(7, wire_part(1, x) + wire_part(2, std::string(2, '\0'))))),
       "file.body.input"},
      {"a body that needs what it is not given",
       graph(node("loop", wire_part(7, wire_part(1, x + node("settings",
                                                             wire_part(4, std::string(1, '\0')))) +
                                           wire_part(3, "\x02")))),
       "file.body.open"},
      {"40 bodies in each other", graph(node("loop", bodies)), "file.node.depth"},
      {"a tensor without a name", model(tensor("", "f32", {1}, 4, "1234")), "file.tensor.name"},
      {"a tensor twice", model(repeat(2, tensor("t", "f32", {1}, 4, "1234"))),
       "file.tensor.duplicate"},
      {"an unknown dtype of a tensor", model(tensor("t", "f8", {1}, 1, "1")), "file.tensor.dtype"},
      {"a negative dimension", model(tensor("t", "f32", {-1}, 4, "1234")), "file.tensor.dim"},
      {"dimension 2^63-1", model(tensor("t", "f32", {kHuge}, 4, "1234")), "file.tensor.dim"},
      {"dimension 2^31", model(tensor("t", "bool", {int64_t{1} << 31}, 1ULL << 31, "1")),
       "file.tensor.dim"},
      {"a size that wraps to 4",
       model(tensor("t", "f32", {1 << 30, 1 << 30, 1 << 30, 16}, 4, "1234")), "file.tensor.size"},
      {"exabytes that are not there",
       model(tensor("t", "f32", {1 << 30, 1 << 28}, 1ULL << 60, "1234")), "file.tensor.length"},
      {"another length than the shape's", model(tensor("t", "f32", {2}, 4, "1234")),
       "file.tensor.length"},
      {"more bytes than the length", model(tensor("t", "f32", {1}, 4, "12345")),
       "file.tensor.length"},
      {"a bool that is 2", model(tensor("t", "bool", {1}, 1, "\x02")), "file.tensor.bool"},
      {"rank 9 of a tensor", model(tensor("t", "f32", {1, 1, 1, 1, 1, 1, 1, 1, 1}, 4, "1234")),
       "file.tensor.rank"},
      {"5 M empty nodes", model(wire_part(4, repeat(5'000'000, wire_part(2, "")))),
       "file.graph.nodes"},
      {"500 000 empty nodes", model(wire_part(4, repeat(500'000, wire_part(2, "")))),
       "file.model.density"},
      {"2 M empty texts",
       attribute(wire_part(1, "a") + wire_part(8, repeat(2'000'000, wire_part(1, "")))),
       "file.strings.strings"},
      {"900 000 empty tensors", model(repeat(900'000, wire_part(5, ""))), "file.model.density"},
      {"5000 graphs", model(repeat(5000, wire_part(4, ""))), "file.model.graphs"},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    std::string text;
    CHECK(load_code(c.bytes, FileFormat::kProtobuf, &text) == c.code);
    CHECK(text.find("memory: ") == 0);
  }
}

TEST_CASE("a_frame_with_right_checksums_and_wrong_sizes_is_refused", "[proto][hostile]") {
  const std::string four("1234" + std::string(60, '\0'));
  std::string entry =
      wire_part(1, "t") + wire_part(2, "f32") + wire_part(3, "\x01") + wire_number(5, 4);
  const uint32_t crc = crc32c("1234", 4);
  entry += wire_varint(6 << 3 | 5) + std::string(reinterpret_cast<const char*>(&crc), 4);
  const auto table = [](const std::string& e) { return model(wire_part(5, e)); };
  REQUIRE(load_code(framed(table(entry), four), FileFormat::kRondo) == "none");
  const auto changed = [&](auto change) { return framed(table(entry), four, change); };
  std::string dirty = four;
  dirty[63] = 1;
  const std::vector<Case> cases{
      {"model of 2^64-1 bytes", changed([](Container& c) { c.model_size = ~0ULL; }),
       "file.header.sizes"},
      {"data of 2^62 + 64 bytes", changed([](Container& c) { c.data_size = (1ULL << 62) + 64; }),
       "file.header.sizes"},
      {"data that is no multiple of 64", changed([](Container& c) { c.data_size = 63; }),
       "file.header.sizes"},
      {"more data than there is", changed([](Container& c) { c.data_size += 64; }),
       "file.header.length"},
      {"another model checksum", changed([](Container& c) { c.model_crc ^= 1; }),
       "file.model.checksum"},
      {"another data checksum", changed([](Container& c) { c.data_crc ^= 1; }),
       "file.tensor.section_checksum"},
      {"another tensor checksum", framed(table(entry), "4321" + four.substr(4)),
       "file.tensor.checksum"},
      {"something between tensors", framed(table(entry), dirty), "file.tensor.padding"},
      {"a tensor that begins later", framed(table(entry + wire_number(4, 64)), four + four),
       "file.tensor.range"},
      {"an offset of 2^64-64", framed(table(entry + wire_number(4, ~63ULL)), four),
       "file.tensor.range"},
      {"bytes that belong to nothing", framed(table(entry), four + four), "file.tensor.range"},
      {"a tensor that is not there", framed(table(entry), ""), "file.tensor.range"},
      {"two tensors in one place",
       framed(table(entry) + wire_part(5, entry.substr(0, 2) + "u" + entry.substr(3)), four + four),
       "file.tensor.range"},
      {"an inline tensor", framed(table(entry + wire_part(7, "1234")), four), "file.tensor.inline"},
      {"no .rondo file", "#!/bin/sh\n", "file.header.magic"},
      {"a .pb under another name", bytes_of(small(), FileFormat::kProtobuf), "file.header.magic"},
      {"an empty file", "", "file.header.magic"},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    CHECK(load_code(c.bytes, FileFormat::kRondo) == c.code);
  }
}

}  // namespace
}  // namespace rondo::proto_test
