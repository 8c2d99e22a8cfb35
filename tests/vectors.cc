// The contract's numbers: test vectors of other systems through the engine of `rondo verify`, in
// every way an op can run. tests/vectors/*/SOURCE.md says where the numbers come from; those of
// all other ops are in vectors_ops.cc, calls that must be refused in refusals.cc.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "verify_all.h"

using namespace rondo;
using namespace rondo::test;
using namespace rondo::tool;

namespace {

// The contract's folders: 145 cases of ND4J; 48 of MXNet and 8 conversions of weights.
Totals verify_contract(const VerifyOptions& options) {
  const Totals nd4j = verify_all(options, kVectors + "/nd4j");
  Totals t = verify_all(options, kVectors + "/mxnet");
  CHECK(nd4j.passed == 145);
  CHECK(t.passed == 56);
  t.left_out += nd4j.left_out;
  t.gradients += nd4j.gradients;
  return t;
}

SafeTensors any_case() {
  return load_safetensors(kVectors + "/nd4j/000_lstmLayer_fmt_TNS_FWD.safetensors");
}

}  // namespace

TEST_CASE("vectors: f64 passes in a graph and eagerly, results and gradients", "[vectors]") {
  const std::string backend = GENERATE("cpu", "reference");
  const bool optimize = GENERATE(true, false);
  CAPTURE(backend, optimize);
  const Totals t = verify_contract(both_forms(f64, {.backend = backend, .optimize = optimize}));
  CHECK(t.left_out == 0);
  CHECK(t.gradients > 800);
}

TEST_CASE("vectors: f32 passes in a graph and eagerly, results and gradients", "[vectors]") {
  const std::string backend = GENERATE("cpu", "reference");
  CAPTURE(backend);
  CHECK(verify_contract(both_forms(f32, {.backend = backend})).left_out == 0);
}

TEST_CASE("vectors: the half formats pass, but for cases that stand too near to a kink",
          "[vectors]") {
  const DType dtype = GENERATE(bf16, f16);
  CAPTURE(dtype);
  // The files of MXNet do not say how near to a kink they stand.
  const Totals t = verify_all(both_forms(dtype, {}), kVectors + "/nd4j");
  CHECK(t.passed + t.left_out == 145);
  CHECK(t.passed > 110);
}

TEST_CASE("verify fails on a wrong result, a wrong gradient, another shape, and names the place",
          "[vectors]") {
  const VerifyOptions options = both_forms(f64, {});
  CHECK(verify_case(any_case(), options).outcome == CaseResult::Outcome::kPassed);
  for (const char* name : {"out.h", "out.cL", "grad.x", "grad.peepholeWeights"}) {
    SafeTensors f = any_case();
    f.tensors.at(name).mutable_data<double>()[7] += 1e-3;
    const CaseResult r = verify_case(f, options);
    CAPTURE(name, r.problems);
    CHECK(r.outcome == CaseResult::Outcome::kFailed);
    CHECK(r.problems.size() ==
          2 + (std::string(name).rfind("out.", 0) == 0 ? 1 : 0));  // graph, with gradients, eager
    CHECK(r.problems[0].find(cat(name, " 1 of ")) != std::string::npos);
    CHECK(r.problems[0].find("most at [") != std::string::npos);
  }
  SafeTensors f = any_case();
  f.tensors["out.hL"] = f.tensors["out.hL"].reshaped({6, 3});
  CHECK(verify_case(f, options).problems[0] ==
        "graph: out.hL has shape [3,6], the file says [6,3]");
  f = any_case();
  f.tensors["out.hL"] = Tensor::full(f64, {3, 6}, std::nan(""));
  CHECK(verify_case(f, options).outcome == CaseResult::Outcome::kFailed);
}

TEST_CASE("verify counts what this build does not know as failed", "[vectors]") {
  const VerifyOptions options = both_forms(f64, {});
  const auto problem = [&](const std::function<void(SafeTensors&)>& change) {
    SafeTensors f = any_case();
    change(f);
    const CaseResult r = verify_case(f, options);
    CHECK(r.outcome == CaseResult::Outcome::kFailed);
    REQUIRE(!r.problems.empty());
    return r.problems[0];
  };
  CHECK(problem([](SafeTensors& f) { f.metadata["op"] = "convolution"; }) ==
        "this build has no op for 'convolution'");
  CHECK(problem([](SafeTensors& f) { f.metadata["config"] = R"({"colour": 3})"; }) ==
        "[lstm_layer] has no attribute for config 'colour'");
  CHECK(problem([](SafeTensors& f) { f.tensors["in.mask"] = Tensor(f64, {3}); }) ==
        "[lstm_layer] has nothing for the file's tensor 'in.mask'");
  CHECK(problem([](SafeTensors& f) { f.metadata["config"] = "{"; }) ==
        "the file's config is not JSON: {");
  CHECK(problem([](SafeTensors& f) { f.metadata.erase("op"); }) ==
        "the file's metadata has no 'op'");
  CHECK(problem([](SafeTensors& f) {
          f.metadata["config"] = R"({"retFullSequence": false, "retLastH": true})";
        }) ==
        "the file has cotangent.cL, but the op gives no such result under this configuration");
  CHECK(problem([](SafeTensors& f) {
          for (auto it = f.tensors.begin(); it != f.tensors.end();)
            it = it->first.rfind("in.", 0) == 0 ? std::next(it) : f.tensors.erase(it);
        }) == "the file states nothing to compare with");
}

TEST_CASE(
    "verify leaves out what a kernel does not support, and what stands near a kink in a half "
    "format",
    "[vectors]") {
  VerifyOptions options = both_forms(f64, {.kernel = "cpu.recurrence.engine"});
  CHECK(verify_case(any_case(), options).outcome == CaseResult::Outcome::kPassed);
  options.compile.kernel = "reference.argmax";
  CHECK(verify_case(any_case(), options).outcome == CaseResult::Outcome::kLeftOut);
  options = both_forms(f16, {});
  SafeTensors f = any_case();
  f.metadata["kink_margin"] = "3.9e-02";
  CHECK(verify_case(f, options).outcome == CaseResult::Outcome::kLeftOut);
  f.metadata["kink_margin"] = "4.1e-02";
  CHECK(verify_case(f, options).outcome == CaseResult::Outcome::kPassed);
}

TEST_CASE("verify of converted weights fails on a wrong number in any layout or result",
          "[vectors]") {
  const std::string path = kVectors + "/mxnet/conv_04_lstm_L2_uni.safetensors";
  const SafeTensors whole = load_safetensors(path);
  VerifyOptions options = both_forms(f64, {});
  CHECK(verify_case(whole, options).outcome == CaseResult::Outcome::kPassed);
  const auto problems = [&](const std::function<void(SafeTensors&)>& change) {
    SafeTensors f = whole;
    change(f);
    const CaseResult r = verify_case(f, options);
    CHECK(r.op == "convert");
    CHECK(r.outcome == CaseResult::Outcome::kFailed);
    std::string all;
    for (const std::string& p : r.problems) all += p + '\n';
    return all;
  };
  const auto has = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  for (const auto& [name, tensor] : whole.tensors) {
    if (name.rfind("layout.", 0) != 0) continue;
    CAPTURE(name);
    // Two ulps: nothing that a run would see.
    const std::string wrong = problems([&name = name](SafeTensors& f) {
      double& v = f.tensors.at(name).mutable_data<double>()[3];
      v = std::nextafter(std::nextafter(v, HUGE_VAL), HUGE_VAL);
    });
    has(wrong, " 1 of ");
  }
  has(problems(
          [](SafeTensors& f) { f.tensors.at("out.output").mutable_data<double>()[3] += 1e-3; }),
      "lstm_layer with the weights of keras: eager: out.y 1 of ");
  has(problems([](SafeTensors& f) {
        f.tensors.at("out.state_output").mutable_data<double>()[3] += 1e-3;
      }),
      "rnn with the weights of torch: graph: out.state_output 1 of ");
  has(problems([](SafeTensors& f) { f.tensors.erase("layout.onnx.l1.R"); }),
      "ONNX needs a tensor 'l1.R'");
  has(problems([](SafeTensors& f) { f.tensors["layout.caffe.w"] = Tensor(f64, {1}); }),
      "there is no layout 'caffe'");
  has(problems([](SafeTensors& f) { f.metadata["config"] = R"({"mode": "transformer"})"; }),
      "no mode 'transformer'");
  has(problems([](SafeTensors& f) { f.metadata["config"] = R"({"colour": 3})"; }), "'colour'");
  has(problems([](SafeTensors& f) {
        for (auto it = f.tensors.begin(); it != f.tensors.end();)
          it = it->first.rfind("layout.", 0) == 0 ? f.tensors.erase(it) : std::next(it);
      }),
      "states nothing to compare with");

  options.compile.kernel = "cpu.recurrence.engine";
  CHECK(verify_case(whole, options).outcome == CaseResult::Outcome::kPassed);
  options.compile.kernel = "reference.argmax";
  CHECK(verify_case(whole, options).outcome == CaseResult::Outcome::kLeftOut);
}

TEST_CASE("a tolerance is the file's, a bare number is absolute, and coarser dtypes add their own",
          "[vectors]") {
  SafeTensors f = any_case();
  const auto tolerance = [&](DType t) { return read_vector_case(f, t).tolerance; };
  CHECK(tolerance(f64).relative == 1e-9);
  CHECK(tolerance(f16).absolute == 4e-3);
  f.metadata["tolerance"] = "1.5e-5";
  CHECK(tolerance(f64).absolute == 1.5e-5);
  CHECK(tolerance(f64).relative == 0);
  CHECK(tolerance(f32).absolute == 1.5e-5 + 2e-5);
  f.metadata["tolerance"] = R"({"float32": {"rtol": 0.5, "atol": 0.25}})";
  CHECK(tolerance(f32).relative == 0.5);
  CHECK(tolerance(f32).absolute == 0.25);
  CHECK(tolerance(f64).relative == 1e-9);
}
