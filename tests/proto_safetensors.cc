#include <cstring>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "proto_fixture.h"

#include <rondo/proto/safetensors.h>

namespace rondo::proto_test {
namespace {

std::string written(const SafeTensors& s) {
  MemorySink sink("memory");
  write_safetensors(s, sink);
  return sink.bytes();
}
SafeTensors parsed(const std::string& bytes) {
  MemorySource source("memory", bytes);
  return read_safetensors(source);
}
std::string file(const std::string& header, const std::string& data = "") {
  const uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + data;
}
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

SafeTensors all_types() {
  SafeTensors s;
  for (const DType t : {f64, f32, bf16, f16, i64, i32, boolean}) {
    s.tensors.emplace("of \"" + std::string(name_of(t)) + "\"", ramp(t, {3, 1}));
  }
  s.tensors.emplace("grün", Tensor::scalar(f32, 2));
  s.tensors.emplace("nothing", Tensor(f64, {2, 0}));
  s.metadata = {{"op", "lstm"}, {"config", "{\"a\": [1, 2]}\n"}};
  return s;
}

TEST_CASE("safetensors_keeps_every_dtype_and_the_metadata", "[proto][safetensors]") {
  const SafeTensors s = all_types();
  const SafeTensors r = parsed(written(s));
  CHECK(r.tensors == s.tensors);
  CHECK(r.metadata == s.metadata);
  CHECK(written(r) == written(s));
  CHECK(parsed(written({})).tensors.empty());
}

TEST_CASE("safetensors_are_written_with_every_tensor_aligned_to_its_type", "[proto][safetensors]") {
  SafeTensors s;
  s.tensors.emplace("a", Tensor::full(boolean, {3}, 1));
  s.tensors.emplace("b", Tensor::full(f64, {1}, 1));
  const std::string bytes = written(s);
  uint64_t header;
  std::memcpy(&header, bytes.data(), 8);
  CHECK(header % 8 == 0);
  CHECK(bytes.size() == 8 + header + 11);
  CHECK(bytes.substr(8 + header + 8) == "\1\1\1");
}

TEST_CASE("safetensors_of_other_writers_are_read", "[proto][safetensors]") {
  const std::string header = "{ \"b\" : " + entry("I32", "[]", "[0,4]") +
                             ",\n\"a\":" + R"({"shape":[2],"data_offsets":[4,6],"dtype":"BOOL"}})" +
                             "   ";
  const SafeTensors r = parsed(file(header, std::string("\x07\0\0\0\1\0", 6)));
  CHECK(r.tensors.at("b").item() == 7);
  CHECK(r.tensors.at("a").at(0) == 1);
  CHECK(r.tensors.at("a").at(1) == 0);
}

TEST_CASE("malformed_safetensors_are_refused_by_the_right_rule", "[proto][safetensors]") {
  struct Case {
    const char* what;
    std::string bytes;
    const char* rule;
  };
  const std::string good = entry("F32", "[1]", "[0,4]");
  const auto one = [](const std::string& e, const std::string& data = "1234") {
    return file("{\"a\":" + e + "}", data);
  };
  const std::string open(100'000, '[');
  std::string huge = file("{}");
  huge[7] = '\x7f';
  std::string long_header = file("{}");
  const uint64_t too_long = 100'000'001;
  std::memcpy(long_header.data(), &too_long, 8);
  const std::vector<Case> cases{
      {"nothing", "", "truncated"},
      {"half a length", "\x02", "truncated"},
      {"a header that is cut off", file("{}").substr(0, 9), "truncated"},
      {"a header of 2^63 bytes", huge, "header_length"},
      {"a header of 100 000 001 bytes", long_header, "header_length"},
      {"no header", file(""), "json"},
      {"a space first", file(" {}"), "json"},
      {"a list", file("[]"), "json"},
      {"half an object", file("{\"a\":"), "json"},
      {"two objects", file("{}{}"), "json"},
      {"text that is no UTF-8", file("{\"\xC0\x80\":1}"), "json"},
      {"a deep nest", file("{\"a\":" + open), "entry"},
      {"a deep nest as a shape", file("{\"a\":{\"shape\":" + open), "entry"},
      {"a number for a tensor", file("{\"a\":1}"), "entry"},
      {"null for a tensor", file("{\"a\":null}"), "entry"},
      {"metadata that is no text", file("{\"__metadata__\":{\"a\":1}}"), "entry"},
      {"metadata that is a list", file("{\"__metadata__\":[]}"), "entry"},
      {"a key twice in metadata", file(R"({"__metadata__":{"a":"1","a":"2"}})"), "duplicate"},
      {"metadata twice", file(R"({"__metadata__":{},"__metadata__":{}})"), "duplicate"},
      {"a tensor twice", file("{\"a\":" + good + ",\"a\":" + good + "}", "1234"), "duplicate"},
      {"a tensor twice, once empty", file("{\"a\":" + good + ",\"a\":{}}", "1234"), "duplicate"},
      {"a dtype twice", one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
       "duplicate"},
      {"an unknown key", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})"), "key"},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,4]})"), "entry"},
      {"no offsets", one(R"({"dtype":"F32","shape":[1]})"), "entry"},
      {"a negative dimension", one(entry("F32", "[-1]", "[0,4]")), "entry"},
      {"a fraction", one(entry("F32", "[1.0]", "[0,4]")), "entry"},
      {"text for a shape", one(entry("F32", "\"1\"", "[0,4]")), "entry"},
      {"2^64 as a dimension", one(entry("F32", "[18446744073709551616]", "[0,4]")), "entry"},
      {"2^63 as a dimension", one(entry("F32", "[9223372036854775808]", "[0,4]")), "entry"},
      {"2^63-1 as a dimension", one(entry("F32", "[9223372036854775807]", "[0,4]")), "size"},
      {"a size that wraps", one(entry("F32", "[1073741824,1073741824,1073741824,16]", "[0,4]")),
       "size"},
      {"rank 9", one(entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]")), "rank"},
      {"an unknown dtype", one(entry("F8_E4M3", "[4]", "[0,4]")), "dtype"},
      {"one offset", one(entry("F32", "[1]", "[4]")), "offsets"},
      {"three offsets", one(entry("F32", "[1]", "[0,4,8]")), "offsets"},
      {"an end before the begin", one(entry("F32", "[1]", "[4,0]")), "offsets"},
      {"fewer bytes than the shape", one(entry("F32", "[2]", "[0,4]")), "length"},
      {"more bytes than the shape", one(entry("F16", "[1]", "[0,4]")), "length"},
      {"a range beyond the data", one(good, "123"), "coverage"},
      {"bytes after the last", one(good, "12345"), "coverage"},
      {"a gap at the front", one(entry("F32", "[1]", "[4,8]"), "12341234"), "coverage"},
      {"an overlap", file("{\"a\":" + good + ",\"b\":" + good + "}", "12341234"), "coverage"},
      {"a bool that is 2", one(entry("BOOL", "[1]", "[0,1]"), "\x02"), "bool"},
      {"a name of 513 bytes", file("{\"" + std::string(513, 'n') + "\":" + good + "}", "1234"),
       "name_length"},
      {"an empty name", file("{\"\":" + good + "}", "1234"), "name_length"},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    std::string text;
    CHECK(code_of([&] { parsed(c.bytes); }, &text) == cat("file.safetensors.", c.rule));
    CHECK(text.find("memory: ") == 0);
  }
  std::string text;
  code_of([&] { parsed(one(entry("F8_E4M3", "[4]", "[0,4]"))); }, &text);
  CHECK(text.find("\"a\" has dtype F8_E4M3") != std::string::npos);
  REQUIRE(code_of([&] { parsed(one(good)); }) == "none");
}

TEST_CASE("every_bit_flip_and_truncation_of_safetensors_is_an_error_or_loads",
          "[proto][safetensors]") {
  const std::string good = written(all_types());
  for (size_t n = 0; n < good.size(); ++n) {
    if (code_of([&] { parsed(good.substr(0, n)); }) == "none") FAIL(n << " bytes load");
  }
  size_t errors = 0;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string s = good;
    s[bit / 8] = static_cast<char>(s[bit / 8] ^ (1 << (bit % 8)));
    const std::string code = code_of([&] { written(parsed(s)); });
    if (code != "none" && !code.starts_with("file.safetensors."))
      FAIL("bit " << bit << ": " << code);
    errors += code != "none" ? 1 : 0;
  }
  CHECK(errors > good.size());
}

TEST_CASE("safetensors_that_no_reader_would_take_are_not_written", "[proto][safetensors]") {
  const auto with_name = [](std::string name) {
    SafeTensors s;
    s.tensors.emplace(std::move(name), Tensor(f32, {1}));
    return code_of([&] { written(s); });
  };
  CHECK(with_name("") == "file.safetensors.tensor");
  CHECK(with_name("__metadata__") == "file.safetensors.tensor");
  CHECK(with_name("\xff") == "file.safetensors.utf8");
  const Folder folder;
  save_safetensors(all_types(), folder / "w.safetensors");
  CHECK(load_safetensors(folder / "w.safetensors").tensors == all_types().tensors);
}

}  // namespace
}  // namespace rondo::proto_test
