// Calls of other systems that must be refused (tests/vectors/*/bad_inputs.json), each by the rule
// and with the words that fit its reason: refusals.txt beside the cases says which. In a graph,
// eagerly, and from a file that holds the call.
#include <cmath>
#include <fstream>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <nlohmann/json.hpp>

#include "../cli/verify.h"
#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/proto/bundle.h>

using namespace rondo;
using namespace rondo::test;
using namespace rondo::tool;
using Json = nlohmann::json;

namespace {

const std::string kFolder = RONDO_SOURCE_DIR "/tests/vectors/";

// One line of refusals.txt.
struct Refusal {
  std::string reason, code;
  std::vector<std::string> words;  // that the text holds, in this order
};

std::vector<std::string> parts_of(const std::string& text, const std::string& separator) {
  std::vector<std::string> r;
  for (size_t from = 0;;) {
    const size_t to = text.find(separator, from);
    r.push_back(text.substr(from, to - from));
    if (to == std::string::npos) return r;
    from = to + separator.size();
  }
}

std::vector<Refusal> refusals(const std::string& folder) {
  std::ifstream file(kFolder + folder + "/refusals.txt");
  std::vector<Refusal> r;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> parts = parts_of(line, " | ");
    REQUIRE(parts.size() == 3);
    r.push_back({parts[0], parts[1], parts_of(parts[2], " ... ")});
  }
  return r;
}

std::vector<Json> bad_inputs(const std::string& folder) {
  std::ifstream file(kFolder + folder + "/bad_inputs.json");
  return Json::parse(file).get<std::vector<Json>>();
}

// A refused call as a file of vectors.
SafeTensors as_file(const Json& bad) {
  SafeTensors f;
  f.metadata = {{"op", bad.value("op", "RNN")}, {"config", bad.at("config").dump()}};
  for (const auto& [name, shape] : bad.at("shapes").items())
    f.tensors["in." + name] = draw(shape.get<Dims>(), f64, -1, 1, f.tensors.size());
  const Json values = bad.value("values", Json::object());
  for (const auto& [name, value] : values.items()) {
    const bool one = value.is_number();
    const auto list =
        one ? std::vector<double>{value.get<double>()} : value.get<std::vector<double>>();
    f.tensors["in." + name] =
        Tensor::of<double>(one ? Dims{} : Dims{static_cast<int64_t>(list.size())}, list);
  }
  // Whatever is not named is valid: lengths that are only given by their shape are whole.
  for (const std::string name : {"maxTSLength", "sequence_length"}) {
    const auto length = f.tensors.find("in." + name);
    if (length != f.tensors.end() && !values.contains(name))
      length->second = Tensor::full(f64, length->second.dims(), 2);
  }
  return f;
}

// Reading makes all floats one dtype; where the case names others, operands get those.
VectorCase call_of(const Json& bad) {
  VectorCase c = read_vector_case(as_file(bad), f64);
  const Json dtypes = bad.value("dtypes", Json::object());
  for (const auto& [name, dtype] : dtypes.items()) {
    const int at = c.op->parsed.input(name);
    REQUIRE(at >= 0);
    Tensor& t = c.inputs[static_cast<size_t>(at)];
    t = t.to(dtype == "int32" ? i32 : dtype == "float32" ? f32 : f64);
  }
  return c;
}

// An op of the same name that takes any call, so that a graph can hold one that ours refuses.
const OpDef& lax_twin(const OpDef& op) {
  static OpRegistry twins;
  if (const OpDef* known = twins.find(op.name)) return *known;
  OpDef twin{.name = op.name, .sig = "operands[...]:any?* -> y[]", .doc = "Takes any call."};
  for (const AttributeDef& d : op.attributes)
    twin.attributes.push_back({d.name, d.default_value, d.doc, {}, {}, {}, false, true});
  twin.infer = [](const InferContext&) -> std::vector<ValueType> { return {{f64, {}, true}}; };
  return twins.add(std::move(twin));
}

// The call in a file that nothing checked when it was written, loaded and run.
void run_from_file(const VectorCase& c) {
  Graph g;
  Vars inputs;
  std::vector<Tensor> values;
  for (const Tensor& t : c.inputs) {
    inputs.push_back(t ? g.placeholder(cat("in", values.size()), t.dtype(), to_shape(t.dims()))
                       : Var());
    if (t) values.push_back(t);
  }
  // No call can hold NaN, but a file can: a number that stands for it is overwritten.
  constexpr double kStandIn = 0x1.23456789abcdep+99;
  Attributes attributes = c.attributes;
  for (const auto& [name, value] : c.attributes.items()) {
    if (const auto* v = value.get<double>(); v != nullptr && std::isnan(*v))
      attributes.set(name, kStandIn);
  }
  g.call(lax_twin(*c.op), inputs, attributes, {.name = "call"});
  Bundle b;
  b.graphs.emplace("g", g);
  MemorySink sink("memory");
  write_bundle(b, FileFormat::kProtobuf, sink);
  std::string bytes = sink.bytes();
  const auto raw = [](double v) {
    return std::string(reinterpret_cast<const char*>(&v), sizeof v);
  };
  if (const size_t at = bytes.find(raw(kStandIn)); at != std::string::npos)
    bytes.replace(at, sizeof(double), raw(std::nan("")));

  MemorySource source("memory", bytes);
  const Graph loaded = read_bundle(source, FileFormat::kProtobuf, registry()).graphs.at("g");
  std::vector<Feed> feeds;
  for (const Tensor& t : values) feeds.emplace_back(loaded.find(cat("in", feeds.size())), t);
  (void)Session(loaded, {}, one_thread()).run(Vars{loaded.find("call")}, feeds);
}

enum class Form { kGraph, kEager, kFile };

void refused(const Json& bad, const Refusal& want, Form form) {
  const VerifyOptions options{.graph = true, .eager = true, .team = one_thread()};
  INFO(want.reason << (form == Form::kGraph   ? ", in a graph"
                       : form == Form::kEager ? ", eagerly"
                                              : ", from a file"));
  try {
    const VectorCase c = call_of(bad);
    if (form == Form::kFile) {
      run_from_file(c);
    } else {
      (void)(form == Form::kEager ? run_eager(c, options, false) : run_graph(c, options, false));
    }
    FAIL_CHECK("it was accepted");
  } catch (const Error& e) {
    // What the op says, without what every error says of it.
    const std::string whole = e.what();
    std::string text = whole.substr(0, whole.find("\n  signature:"));
    INFO(e.code() << ": " << text);
    CHECK(e.fault() == Fault::kArgument);
    if (e.code() == "file.node.refused") {
      CHECK(form == Form::kFile);
      CHECK(whole.find(want.code) != std::string::npos);
      text = text.substr(std::min(text.find('['), text.size()));
    } else {
      CHECK(e.code() == want.code);
    }
    const std::string op = want.code.substr(0, want.code.find('.'));
    CHECK((text.rfind("[" + op + "]", 0) == 0 || text.rfind("[" + op + " \"call\"]", 0) == 0));
    size_t at = 0;
    for (const std::string& words : want.words) {
      INFO("it must say: " << words);
      at = text.find(words, at);
      REQUIRE(at != std::string::npos);
      at += words.size();
    }
  }
}

}  // namespace

TEST_CASE("refusals: every call that must be refused is, by its rule and in its words",
          "[vectors][refusal]") {
  const auto& [folder, count] =
      GENERATE(std::pair("nd4j", size_t{78}), std::pair("mxnet", size_t{39}));
  const std::vector<Json> cases = bad_inputs(folder);
  const std::vector<Refusal> wanted = refusals(folder);
  REQUIRE(cases.size() == count);
  REQUIRE(wanted.size() == count);
  for (size_t i = 0; i < count; ++i) {
    REQUIRE(wanted[i].reason == cases[i].at("reason").get<std::string>());
    for (const Form form : {Form::kGraph, Form::kEager, Form::kFile})
      refused(cases[i], wanted[i], form);
  }
}
