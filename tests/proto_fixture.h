// What the tests of files share: a few small ops, graphs that use everything a file knows, and a
// comparison of graphs that misses nothing.
#pragma once

#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include <rondo/graph/graph.h>
#include <rondo/graph/op.h>
#include <rondo/proto/bundle.h>

namespace rondo::proto_test {

// The op `settings` has one attribute of each type.
inline const OpRegistry& registry() {
  static const OpRegistry r = [] {
    OpRegistry r;
    r.add({.name = "add", .sig = "x[...], y[...] -> z[...]", .doc = "Sum."});
    r.add({.name = "split", .sig = "x[B,I] -> a[B,I], b[B,I]", .doc = "Two results."});
    r.add({.name = "maybe", .sig = "x[B,I], bias[I]?, y[B,I]? -> z[B,I]", .doc = "Optional."});
    r.add({.name = "settings",
           .sig = "x[...] -> y[...]",
           .doc = "An attribute of each type.",
           .attributes = {{"flag", false, "bool"},
                          {"count", 0, "int"},
                          {"rate", 0.5, "float"},
                          {"mode", "plain", "string"},
                          {"type", f32, "dtype"},
                          {"axes", std::vector<int64_t>{}, "ints"},
                          {"labels", std::vector<std::string>{}, "strings"},
                          {"shape", Shape{}, "shape"},
                          {"table", Tensor(), "tensor"}}});
    r.add({.name = "loop",
           .sig = "xs[...]:any* -> ys[...]:any*",
           .doc = "Its body, once.",
           .infer = [](const InferContext& c) {
             std::vector<ValueType> types;
             if (c.body() == nullptr) c.refuse("body", "missing", "needs a body");
             for (const Value v : c.body()->outputs) {
               types.push_back(v ? c.body()->graph.type(v) : ValueType{f32, {}, false});
             }
             return types;
           }});
    return r;
  }();
  return r;
}

inline Var apply(std::string_view op, const Vars& in, Attributes a = {}, std::string name = {}) {
  return in[0].graph().call(registry().at(op), in, std::move(a), {.name = std::move(name)})[0];
}

// A loop around a body that is itself a loop, `depth` times; the innermost adds its input to
// itself.
inline Var nested(const Var& x, int depth, std::string name = {}) {
  auto body = std::make_shared<Subgraph>();
  const Var in = body->graph.placeholder("in", x.dtype(), x.shape());
  const Var out = depth == 1 ? apply("add", {in, in}, {}, "sum") : nested(in, depth - 1);
  body->inputs = {in.value()};
  body->outputs = {out.value(), Value{}};
  return x.graph().call(registry().at("loop"), {x}, {}, {.name = std::move(name), .body = body})[0];
}

inline Tensor ramp(DType t, Dims dims) {
  Tensor r(f64, std::move(dims));
  for (int64_t i = 0; i < r.size(); ++i) r.mutable_data<double>()[i] = static_cast<double>(i) - 1;
  return r.to(t);
}

// Every kind of attribute, name, leaf, body and dtype.
inline Bundle everything() {
  Graph g;
  const Var x = g.placeholder("x", f32, {"T", "4*H+1", 3});
  const Var w = g.variable("layer/w", ramp(f32, {2, 3}));
  const Var frozen = g.variable("frozen", ramp(f32, {2, 3}), false);
  const Vars halves = g.call(registry().at("split"), {w}, {}, {.name = "halves"});
  const Var picked = apply("maybe", {halves[1], Var(), frozen});
  picked.named("picked").named("grün");
  halves[1].named("second half");
  apply("add", {picked, g.constant(ramp(f32, {2, 3}))}, {}, "sum");
  apply("settings", {x},
        {{"flag", true},
         {"count", std::numeric_limits<int64_t>::min()},
         {"rate", -0.0},
         {"mode", "naïve \"quoted\"\n"},
         {"type", bf16},
         {"axes", std::vector<int64_t>{-1, 0, std::numeric_limits<int64_t>::max()}},
         {"labels", std::vector<std::string>{"", "a", "b"}},
         {"shape", Shape{"T", "2*T*B-1", -1}},
         {"table", ramp(i64, {0, 4})}},
        "all settings");
  apply("settings", {x}, {});
  nested(x, 3, "outer");
  g.next_stream();
  g.next_stream();
  g.set_seed(0xfedcba9876543210);

  Bundle b;
  b.graphs.emplace("train", g);
  b.graphs.emplace("empty", Graph());
  for (const DType t : {f32, f64, bf16, f16, i32, i64, boolean}) {
    b.tensors.emplace("of " + std::string(name_of(t)), ramp(t, {3, 5}));
  }
  b.tensors.emplace("scalar", Tensor::scalar(f64, 0.1));
  b.tensors.emplace("none of them", Tensor(f32, {7, 0}));
  b.tensors.emplace("layer/w", ramp(f32, {2, 3}));
  b.attributes = {{"step", 12}, {"rate", 1e-3}, {"seed table", ramp(i32, {3})}};
  return b;
}

inline void check_same(const Graph& a, const Graph& b) {
  REQUIRE(a.size() == b.size());
  CHECK(a.names() == b.names());
  CHECK(a.streams() == b.streams());
  CHECK(a.seed() == b.seed());
  for (int32_t i = 0; i < a.size(); ++i) {
    INFO("node " << i);
    const Node &m = a.node(i), &n = b.node(i);
    CHECK(m.op == n.op);
    CHECK(m.name == n.name);
    CHECK(m.attributes == n.attributes);
    CHECK(m.inputs == n.inputs);
    CHECK(m.outputs == n.outputs);
    CHECK(m.check_at_bind == n.check_at_bind);
    REQUIRE((m.body == nullptr) == (n.body == nullptr));
    if (m.body == nullptr) continue;
    CHECK(m.body->inputs == n.body->inputs);
    CHECK(m.body->outputs == n.body->outputs);
    check_same(m.body->graph, n.body->graph);
  }
}

inline std::string bytes_of(const Bundle& b, FileFormat f, const Limits& limits = {}) {
  MemorySink sink("memory");
  write_bundle(b, f, sink, limits);
  return sink.bytes();
}

inline Bundle bundle_of(const std::string& bytes, FileFormat f, const Limits& limits = {}) {
  MemorySource source("memory", bytes);
  return read_bundle(source, f, registry(), limits);
}

// The code of the Error that `f` throws; "none" when it throws nothing.
template <class F>
std::string code_of(F f, std::string* text = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (text != nullptr) *text = e.what();
    return e.code();
  }
  return "none";
}

// A folder that goes away with its files.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "rondo-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::vector<std::string> names() const {
    std::vector<std::string> r;
    for (const auto& e : std::filesystem::directory_iterator(path_)) {
      r.push_back(e.path().filename().string());
    }
    std::sort(r.begin(), r.end());
    return r;
  }

 private:
  std::string path_;
};

// Protobuf's wire format by hand, to write what no writer would.
inline std::string wire_varint(uint64_t v) {
  std::string s;
  for (; v >= 0x80; v >>= 7) s += static_cast<char>(v | 0x80);
  return s + static_cast<char>(v);
}
inline std::string wire_number(int field, uint64_t v) {
  return wire_varint(static_cast<uint64_t>(field) << 3) + wire_varint(v);
}
inline std::string wire_part(int field, std::string_view bytes) {
  return wire_varint(static_cast<uint64_t>(field) << 3 | 2) + wire_varint(bytes.size()) +
         std::string(bytes);
}

}  // namespace rondo::proto_test
