// Cases of op `updater`: weights after each of many updates on given gradients.
//
// The configuration is what a checkpoint says of an updater (attributes_of), so that reading is
// proven too. `options` holds the numbers of Regularization.
#include <nlohmann/json.hpp>

#include "verify.h"

#include <rondo/autodiff/updaters.h>

namespace rondo::tool {
namespace {

using Json = nlohmann::json;

// |got - want|, in f64, after 60 updates.
constexpr Tolerance kTolerance{1e-14, 1e-12};

Attributes attributes(const SafeTensors& file, const std::string& key) {
  const Json j = Json::parse(metadata(file, key), nullptr, false);
  if (!j.is_object())
    fail(Fault::kArgument, "verify.file.json", "the file's ", key, " is no JSON object");
  Attributes r;
  for (const auto& [name, v] : j.items()) {
    if (v.is_boolean()) {
      r.set(name, v.get<bool>());
    } else if (v.is_number_integer()) {
      r.set(name, v.get<int64_t>());
    } else if (v.is_number()) {
      r.set(name, v.get<double>());
    } else if (v.is_string()) {
      r.set(name, v.get<std::string>());
    } else {
      fail(Fault::kUnsupported, "verify.config.type", "[updater] ", key, " '", name, "' is ",
           v.type_name());
    }
  }
  return r;
}

Regularization regularization(const SafeTensors& file) {
  Regularization r;
  const Attributes options = attributes(file, "options");
  for (const auto& [name, value] : options.items()) {
    double* const number = name == "l1"             ? &r.l1
                           : name == "l2"           ? &r.l2
                           : name == "weight_decay" ? &r.weight_decay
                                                    : nullptr;
    if (number == nullptr)
      fail(Fault::kUnsupported, "verify.config.unknown", "[updater] has no option '", name, "'");
    *number = options.number(name);
  }
  return r;
}

const Tensor& tensor(const SafeTensors& file, const std::string& name) {
  const auto it = file.tensors.find(name);
  if (it == file.tensors.end())
    fail(Fault::kArgument, "verify.file.tensor", "the file has no tensor ", name);
  return it->second;
}

// Row k of x.
Tensor row(const Tensor& x, int64_t k) {
  Tensor r(f64, Dims(x.dims().begin() + 1, x.dims().end()));
  for (int64_t i = 0; i < r.size(); ++i) r.mutable_data<double>()[i] = x.at(k * r.size() + i);
  return r;
}

}  // namespace

CaseResult verify_updater(const SafeTensors& file, const VerifyOptions& options) {
  CaseResult result{.path = {}, .op = metadata(file, "op")};
  if (options.dtype != f64 || !options.compile.kernel.empty()) {
    result.outcome = CaseResult::Outcome::kLeftOut;
    result.problems.emplace_back("updaters are compared in f64, on whatever kernel is chosen");
    return result;
  }
  const Tensor& gradients = tensor(file, "in.gradients");
  const Tensor& want = tensor(file, "out.w");
  const bool has_losses = file.tensors.count("in.losses") != 0;

  Graph g;
  const Var w = g.variable("w", tensor(file, "in.w"));
  const Var gradient = g.placeholder("gradient", f64, w.shape());
  const Var loss = g.placeholder("loss", f64, {});
  const Updates updates = updates_for(updater_from(attributes(file, "config")), {w}, {gradient},
                                      {.loss = loss, .regularization = regularization(file)});
  Session session(g, options.compile, options.team);
  Tensor got(f64, want.dims());
  for (int64_t k = 0; k < gradients.dims().at(0); ++k) {
    const Tensor l = has_losses ? row(tensor(file, "in.losses"), k) : Tensor::scalar(f64, 0);
    session.run_and_update({}, updates, {{gradient, row(gradients, k)}, {loss, l}});
    const Tensor now = session.variables().value("w");
    for (int64_t i = 0; i < now.size(); ++i)
      got.mutable_data<double>()[k * now.size() + i] = now.at(i);
  }
  result.comparisons.push_back(compare("graph", {"out.w", 0, want}, got, kTolerance));
  const std::string& problem = result.comparisons[0].problem;
  if (problem.empty()) {
    result.outcome = CaseResult::Outcome::kPassed;
  } else {
    result.problems.push_back(cat("graph: out.w ", problem));
  }
  return result;
}

}  // namespace rondo::tool
