// Cases of op `convert`: one network in the layouts of several systems.
//
// Each layout is converted to each other and compared number by number. The network then runs: its
// packed vector, made from each layout in turn, by `rnn`, and where ND4J has such a layer by that.
// A run is a case of its own, so that forms, backends, kernels and dtypes mean what they mean
// there.
#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "verify.h"

#include <rondo/graph/eager.h>
#include <rondo/ops/gru.h>
#include <rondo/ops/lstm.h>
#include <rondo/ops/weights/weights.h>

namespace rondo::tool {
namespace {

using Json = nlohmann::json;
using weights::Biases;
using weights::Format;
using weights::Network;
using weights::Tensors;

// One layout of the file.
struct Form {
  std::string name;  // as in the file
  Format format;
  Tensors tensors;
  std::vector<weights::TensorLayout> layout;
  bool summed = false;  // some biases are sums
};

const std::map<std::string, rnn::RnnMode, std::less<>> kModes{{"rnn_relu", rnn::RnnMode::rnn_relu},
                                                              {"rnn_tanh", rnn::RnnMode::rnn_tanh},
                                                              {"lstm", rnn::RnnMode::lstm},
                                                              {"gru", rnn::RnnMode::gru}};

rnn::RnnMode mode_called(const std::string& name) {
  if (const auto it = kModes.find(name); it != kModes.end()) return it->second;
  fail(Fault::kUnsupported, "verify.config.mode", "[convert] there is no mode '", name, "'");
}

Json parse(const SafeTensors& file, const std::string& key) {
  Json j = Json::parse(metadata(file, key), nullptr, false);
  if (!j.is_object())
    fail(Fault::kArgument, "verify.file.json", "the file's ", key, " is no JSON object");
  return j;
}

// How near weights must be; sums of biases may be off by an ulp beyond that.
Tolerance tolerance_of_weights(const SafeTensors& file) {
  if (file.metadata.count("tolerance") == 0) return {};
  const Json weights = parse(file, "tolerance").value("weights", Json::object());
  return {weights.value("atol", 0.0), weights.value("rtol", 0.0)};
}

// What the file says of the network. null = not set.
Network network_of(const Json& config) {
  Network n;
  const auto number = [](int64_t* to) { return [to](const Json& v) { *to = v.get<int64_t>(); }; };
  const auto flag = [](bool* to) { return [to](const Json& v) { *to = v.get<bool>(); }; };
  const std::map<std::string, std::function<void(const Json&)>, std::less<>> keys{
      {"mode", [&](const Json& v) { n.mode = mode_called(v.get<std::string>()); }},
      {"state_size", number(&n.hidden_size)},
      {"num_layers", number(&n.layers)},
      {"input_size", number(&n.input_size)},
      {"projection_size", number(&n.projection_size)},
      {"bidirectional", flag(&n.bidirectional)},
      {"peepholes", flag(&n.peepholes)},
      {"keras", [&](const Json& v) { n.reset_after = v.value("reset_after", n.reset_after); }},
      {"onnx_attributes",
       [&](const Json& v) {
         n.reset_after = v.value("linear_before_reset", n.reset_after ? 1 : 0) != 0;
       }},
      {"state_outputs", [](const Json&) {}},
      {"note", [](const Json&) {}}};
  for (const auto& [key, value] : config.items()) {
    const auto it = keys.find(key);
    if (it == keys.end()) {
      fail(Fault::kUnsupported, "verify.config.unknown",
           "[convert] there is no meaning for config '", key, "'");
    }
    if (!value.is_null()) it->second(value);
  }
  return n;
}

std::vector<Form> forms_of(const SafeTensors& file, const Network& network) {
  constexpr std::string_view kPrefix = "layout.";
  std::map<std::string, Tensors> by_name;
  for (const auto& [key, tensor] : file.tensors) {
    if (!key.starts_with(kPrefix)) continue;
    const size_t dot = key.find('.', kPrefix.size());
    by_name[key.substr(kPrefix.size(), dot - kPrefix.size())][key.substr(dot + 1)] = tensor;
  }
  std::vector<Form> r;
  for (auto& [name, tensors] : by_name) {
    Form f{name, weights::format_from_name(name), tensors, {}};
    const auto is_ldgoi = [](const auto& t) { return t.first.ends_with("ldgoi"); };
    if (f.format == Format::kOneDnn && std::any_of(tensors.begin(), tensors.end(), is_ldgoi))
      f.format = Format::kOneDnnLdgoi;
    f.layout = weights::layout(f.format, network);
    for (const auto& t : f.layout) f.summed = f.summed || t.biases == Biases::kSummed;
    r.push_back(std::move(f));
  }
  return r;
}

bool within_an_ulp(const Tensor& got, const Tensor& want) {
  if (got.dims() != want.dims() || got.dtype() != want.dtype()) return false;
  for (int64_t i = 0; i < want.size(); ++i) {
    const double a = got.at(i), b = want.at(i);
    const bool near = want.dtype() == f64
                          ? std::nextafter(b, a) == a
                          : std::nextafter(static_cast<float>(b), static_cast<float>(a)) == a;
    if (!near) return false;
  }
  return true;
}

void compare_tensor(const std::string& label, const Form& to, const std::string& name,
                    const Tensor& got, bool sum, Tolerance tolerance, CaseResult& result) {
  const auto it = to.tensors.find(name);
  // A bias that the file leaves out is 0.
  const Tensor want = it == to.tensors.end() ? Tensor(got.dtype(), got.dims()) : it->second;
  Comparison c = compare(label, {cat("layout.", to.name, ".", name), 0, want}, got, tolerance);
  if (sum && within_an_ulp(got, want)) c.problem.clear();
  result.comparisons.push_back(std::move(c));
}

void compare_pair(const Form& from, const Form& to, const Network& network, Tolerance tolerance,
                  CaseResult& result) {
  const std::string label = cat("from ", from.name);
  const Tensors got = weights::convert(from.format, to.format, network, from.tensors);
  bool taken_apart = false;
  for (const weights::TensorLayout& t : to.layout) {
    const bool apart = from.summed && t.biases == Biases::kApart;
    taken_apart = taken_apart || apart;
    if (apart) continue;
    compare_tensor(label, to, t.name, got.at(t.name), t.biases == Biases::kSummed, tolerance,
                   result);
  }
  if (!taken_apart) return;
  // A sum does not say what it was made of, so what it became must add up to it again.
  const Tensors back = weights::convert(to.format, from.format, network, got);
  for (const weights::TensorLayout& t : from.layout)
    compare_tensor(cat(label, " to ", to.name, " and back"), from, t.name, back.at(t.name), false,
                   tolerance, result);
}

// A call of an op as a file of its own.
struct Run {
  std::string label;
  SafeTensors file;
};

Run run_of(const SafeTensors& file, std::string label, std::string_view op, const Json& config) {
  Run r{std::move(label), {}};
  r.file.metadata = {{"op", std::string(op)}, {"config", config.dump()}};
  for (const char* key : {"tolerance", "kink_margin"}) {
    if (const auto it = file.metadata.find(key); it != file.metadata.end())
      r.file.metadata.insert(*it);
  }
  return r;
}

// All layers by `rnn`, from zero states.
Run run_packed(const SafeTensors& file, std::string_view mode, const Network& n, const Form& from) {
  Run r = run_of(file, cat("rnn with the weights of ", from.name), "RNN",
                 {{"state_size", n.hidden_size},
                  {"num_layers", n.layers},
                  {"mode", mode},
                  {"bidirectional", n.bidirectional},
                  {"projection_size", n.projection_size != 0 ? Json(n.projection_size) : Json()},
                  {"state_outputs", true}});
  const Tensor& x = file.tensors.at("in.data");
  const int64_t states = n.layers * (n.bidirectional ? 2 : 1);
  const int64_t width = n.projection_size != 0 ? n.projection_size : n.hidden_size;
  const Tensors packed = weights::convert(from.format, Format::kPacked, n, from.tensors);
  r.file.tensors = {{"in.data", x},
                    {"in.parameters", packed.at("parameters")},
                    {"in.state", Tensor(x.dtype(), {states, x.dim(1), width})}};
  if (n.mode == rnn::RnnMode::lstm)
    r.file.tensors["in.state_cell"] = Tensor(x.dtype(), {states, x.dim(1), n.hidden_size});
  for (const auto& [key, tensor] : file.tensors) {
    if (key.starts_with("out.")) r.file.tensors[key] = tensor;
  }
  return r;
}

// The last layer by ND4J's op for it; its input comes from the layers below.
Run run_nd4j(const SafeTensors& file, const Network& n, const Form& from,
             const VerifyOptions& options) {
  const EagerScope scope({.backend = options.compile.backend, .optimize = options.compile.optimize},
                         options.team);
  const Tensors all = weights::convert(from.format, Format::kNd4j, n, from.tensors);
  const bool lstm = n.mode == rnn::RnnMode::lstm;
  const LSTMDirectionMode direction = n.bidirectional ? BIDIR_CONCAT : FWD;
  const auto zeros = [&](const Tensor& x) { return Tensor(x.dtype(), {x.dim(1), n.hidden_size}); };
  Tensor x = file.tensors.at("in.data");
  for (int64_t l = 0; l + 1 < n.layers; ++l) {
    using Lstm = rnn::LSTMLayerWeights<Tensor>;
    using Gru = rnn::GRULayerWeights<Tensor>;
    x = lstm
            ? rnn::lstm_layer(x, {}, weights::layer_of<Lstm>(all, l), {.direction_mode = direction})
                  .y
            : rnn::gru_layer(x, zeros(x), weights::layer_of<Gru>(all, l),
                             {.linear_before_reset = n.reset_after});
  }
  const std::string op = lstm ? "lstm_layer" : "gru_layer";
  Run r = run_of(file, cat(op, " with the weights of ", from.name), op,
                 lstm ? Json{{"direction_mode", kDirectionNames[direction]}}
                      : Json{{"linear_before_reset", n.reset_after}});
  const std::map<std::string, std::string> operands{{"Wx", "input_weights"},
                                                    {"Wr", "recurrent_weights"},
                                                    {"Wh", "recurrent_weights"},
                                                    {"Wp", "peephole_weights"},
                                                    {"b", "biases"}};
  for (const auto& [name, tensor] : weights::under(all, cat("l", n.layers - 1, ".")))
    r.file.tensors["in." + operands.at(name)] = tensor;
  r.file.tensors["in.x"] = x;
  if (!lstm) r.file.tensors["in.h_last"] = zeros(x);
  r.file.tensors[lstm ? "out.y" : "out.h"] = file.tensors.at("out.output");
  return r;
}

std::vector<Run> runs_of(const SafeTensors& file, std::string_view mode, const Network& n,
                         const std::vector<Form>& forms, const VerifyOptions& options) {
  std::vector<Run> r;
  if (file.tensors.count("in.data") == 0 || file.tensors.count("out.output") == 0) return r;
  for (const Form& f : forms) {
    if (weights::refusal(Format::kPacked, n).empty()) r.push_back(run_packed(file, mode, n, f));
    // A GRU with a bias inside of the reset is none of ND4J's.
    const bool cudnn_gru = n.mode == rnn::RnnMode::gru && n.reset_after;
    if (weights::refusal(Format::kNd4j, n).empty() && !(cudnn_gru && f.format != Format::kNd4j))
      r.push_back(run_nd4j(file, n, f, options));
  }
  return r;
}

}  // namespace

CaseResult verify_convert(const SafeTensors& file, const VerifyOptions& options) {
  CaseResult result{.path = {}, .op = metadata(file, "op")};
  const Json config = parse(file, "config");
  const Network network = network_of(config);
  const std::vector<Form> forms = forms_of(file, network);
  const Tolerance tolerance = tolerance_of_weights(file);
  for (const Form& from : forms) {
    for (const Form& to : forms) compare_pair(from, to, network, tolerance, result);
  }
  for (const Comparison& c : result.comparisons) {
    if (!c.problem.empty()) result.problems.push_back(cat(c.form, ": ", c.tensor, " ", c.problem));
  }
  if (result.comparisons.empty())
    result.problems.emplace_back("the file states nothing to compare with");

  const std::string mode = config.value("mode", "lstm");
  bool ran = false;
  for (const Run& run : runs_of(file, mode, network, forms, options)) {
    CaseResult r = verify_case(run.file, options);
    ran = ran || r.outcome != CaseResult::Outcome::kLeftOut;
    if (r.outcome == CaseResult::Outcome::kLeftOut) continue;
    for (Comparison& c : r.comparisons) {
      c.form = cat(run.label, ", ", c.form);
      result.comparisons.push_back(std::move(c));
    }
    for (const std::string& p : r.problems) result.problems.push_back(cat(run.label, ": ", p));
  }
  if (!result.problems.empty()) return result;
  result.outcome = CaseResult::Outcome::kPassed;
  if (!options.compile.kernel.empty() && !ran) {
    result.outcome = CaseResult::Outcome::kLeftOut;
    result.problems.push_back(cat("kernel ", options.compile.kernel, " does not run it"));
  }
  return result;
}

}  // namespace rondo::tool
