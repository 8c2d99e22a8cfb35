// Every op against values and gradients of PyTorch, NumPy and SciPy (tests/vectors/ops, made by
// tests/vectors/make_ops.py), in every way an op can run.
#include <functional>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "verify_all.h"

#include <rondo/ops/register.h>

using namespace rondo;
using namespace rondo::test;
using namespace rondo::tool;

namespace {

const std::string kOps = kVectors + "/ops";

// Ops of which no file can hold a call, and why.
const std::map<std::string, std::string> kNoFile{
    {"recurrence", "has a body, which no file can say; every recurrent op's case is lowered to it"},
    {"fused", "has a body, which no file can say; plans are made of it"},
    {"fused_matmul", "has a body, which no file can say; plans are made of it"},
    {"segments", "has a body, which no file can say; plans are made of it"}};

constexpr size_t kLeast = 3;

SafeTensors case_of(const std::string& name) {
  return load_safetensors(kOps + "/" + name + ".safetensors");
}

// The first problem of the case after a change.
std::string problem(const std::string& name, const std::function<void(SafeTensors&)>& change,
                    DType dtype = f64) {
  SafeTensors f = case_of(name);
  CHECK(verify_case(f, both_forms(dtype, {})).outcome == CaseResult::Outcome::kPassed);
  change(f);
  const CaseResult r = verify_case(f, both_forms(dtype, {}));
  CHECK(r.outcome == CaseResult::Outcome::kFailed);
  return r.problems.empty() ? "" : r.problems[0];
}

}  // namespace

TEST_CASE("vectors: every op gives the numbers and gradients of other systems", "[vectors][ops]") {
  const std::string backend = GENERATE("cpu", "reference");
  const bool optimize = GENERATE(true, false);
  const DType dtype = GENERATE(f64, f32);
  CAPTURE(backend, optimize, dtype);
  const Totals t = verify_all(both_forms(dtype, {.backend = backend, .optimize = optimize}), kOps);
  // Denormals and numbers near the largest are another file's in each dtype.
  CHECK(t.left_out < t.passed / 5);
  CHECK(t.passed > 500);
  CHECK(t.gradients > 500);
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    const auto it = t.passed_of.find(op->name);
    const size_t passed = it == t.passed_of.end() ? 0 : it->second;
    const std::set<std::string> kContract{"LSTM",
                                          "GRU",
                                          "SRU",
                                          "Stacked layers with packed weights",
                                          "A body over time",
                                          "Made by the optimizer"};
    CHECK((passed != 0 || kContract.count(op->family) == 1));
  }
  if (backend == "cpu" && optimize)
    WARN(t.passed << " cases of " << t.passed_of.size() << " ops in " << dtype << ", "
                  << t.gradients << " gradients, " << t.left_out << " left out");
}

TEST_CASE("vectors: every op in the half formats, where the numbers are no kinks",
          "[vectors][ops]") {
  const DType dtype = GENERATE(bf16, f16);
  const std::string backend = GENERATE("cpu", "reference");
  CAPTURE(dtype, backend);
  const Totals t = verify_all(both_forms(dtype, {.backend = backend}), kOps);
  CHECK(t.passed > 450);
  CHECK(t.left_out < t.passed / 3);
}

TEST_CASE("vectors: every op has three cases from other systems", "[vectors][ops]") {
  std::map<std::string, size_t> count;
  std::set<std::string> lowered_to;
  for (const std::string& path : vector_files(kVectors)) {
    const SafeTensors file = load_safetensors(path);
    if (!calls_an_op(file)) continue;
    const OpDef& op = op_of(file);
    ++count[op.name];
    // One of each op is enough to know what its plans hold.
    if (count[op.name] == 1) lowered_to.merge(ops_that_run(file, both_forms(f64, {})));
  }
  size_t files = 0, least = count.begin()->second;
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    if (const auto why = kNoFile.find(op->name); why != kNoFile.end()) {
      WARN("no case of " << op->name << ": it " << why->second);
      CHECK(count.count(op->name) == 0);
      // Only where memory is short.
      CHECK(lowered_to.count(op->name) == (op->name == "segments" ? 0 : 1));
      continue;
    }
    CHECK(count[op->name] >= kLeast);
    files += count[op->name];
    least = std::min(least, count[op->name]);
  }
  WARN(files << " cases of other systems for " << count.size() << " ops, at least " << least
             << " each");
  CHECK(count.size() + kNoFile.size() == registry().all().size());
}

TEST_CASE("verify reads shapes, dtypes, any number of operands and results", "[vectors][ops]") {
  const auto read = [](const std::string& name) { return read_vector_case(case_of(name), f64); };
  CHECK(read("shape/fill_i32").attributes.dtype("dtype") == i32);
  CHECK(read("shape/fill_i32").attributes.shape("shape") == Shape{2, 3});
  CHECK(read("shape/reshape_to_scalar").attributes.shape("shape").empty());
  CHECK(read("shape/concat_rows_f64").inputs.size() == 3);
  const VectorCase split = read("shape/split_columns");
  REQUIRE(split.outputs.size() == 3);
  CHECK(split.outputs[2].at == 2);
  const VectorCase dropout = read("random/dropout_training_large_numbers");
  REQUIRE(dropout.run);
  CHECK(dropout.run->training);
  CHECK(dropout.run->seed == 18446744073709551614U);

  const auto wrong = [](const char* from, const char* to) {
    return [=](SafeTensors& f) {
      const Tensor t = f.tensors.at(from);
      f.tensors.erase(from);
      f.tensors[to] = t;
    };
  };
  CHECK(problem("shape/concat_rows_f64", wrong("in.xs.2", "in.xs.3")).find("concat") !=
        std::string::npos);
  for (const char* name : {"in.xs.-1", "in.xs.", "in.xs.1x", "in.xs.4096", "in.ys.0", "in.2"}) {
    CHECK(problem("shape/concat_rows_f64", wrong("in.xs.2", name)) ==
          cat("[concat] has nothing for the file's tensor '", name, "'"));
  }
  CHECK(problem("shape/split_columns", wrong("out.ys.2", "out.ys.3")).find("does not give it") !=
        std::string::npos);
  CHECK(problem("elementwise/exp_plain", wrong("in.x", "in.x.0")).find("nothing for") !=
        std::string::npos);
  CHECK(problem("shape/fill_i32", [](SafeTensors& f) {
          f.metadata["config"] = R"({"dtype":"i8","shape":[2,3],"value":-3})";
        }).find("i8") != std::string::npos);
  CHECK(problem("elementwise/exp_plain", [](SafeTensors& f) { f.metadata["names"] = "us"; }) ==
        "the file uses the names of 'us'; there are those of rondo, or none named");
  // Another system's name for an op is not ours.
  CHECK(problem("elementwise/exp_plain", [](SafeTensors& f) { f.metadata["op"] = "gruCell"; }) ==
        "this build has no op for 'gruCell'");
}

TEST_CASE("verify tells NaN, infinities, signs of zero and dtypes apart", "[vectors][ops]") {
  const auto set = [](const char* tensor, size_t i, double v) {
    return [=](SafeTensors& f) { f.tensors.at(tensor).mutable_data<double>()[i] = v; };
  };
  // Operands of the special cases begin NaN, 0, -0, infinity.
  const std::string name = "elementwise/neg_special_f64";
  CHECK(problem(name, set("out.y", 0, 1)).find("got nan, want 1") != std::string::npos);
  CHECK(problem(name, set("out.y", 1, std::nan(""))).find("want nan") != std::string::npos);
  CHECK(problem(name, set("out.y", 1, 0)).find("got -0, want 0") != std::string::npos);
  CHECK(problem(name, set("out.y", 3, HUGE_VAL)).find("got -inf, want inf") != std::string::npos);
  CHECK(problem(name, set("out.y", 3, -1e308)).find("got -inf, want -1e+308") != std::string::npos);
  CHECK(problem(name, set("in.x", 3, 1)).find("got -1, want -inf") != std::string::npos);
  SafeTensors f = case_of(name);
  f.metadata.erase("signed_zeros");
  f.tensors.at("out.y").mutable_data<double>()[1] = 0;
  CHECK(verify_case(f, both_forms(f64, {})).outcome == CaseResult::Outcome::kPassed);
  CHECK(verify_case(f, both_forms(f32, {})).outcome == CaseResult::Outcome::kLeftOut);

  const auto cast_result = [](DType to) {
    return [=](SafeTensors& s) { s.tensors.at("out.y") = s.tensors.at("out.y").to(to); };
  };
  CHECK(problem("reduce/argmax_last", cast_result(i32)) ==
        "graph: out.y is i64, the file says i32");
  CHECK(problem("reduce/argmax_last", cast_result(f64)) ==
        "graph: out.y is i64, the file says f64");
  CHECK(problem("shape/iota_f32", cast_result(bf16)) == "graph: out.y is f32, the file says bf16");
  // Whole numbers are exact, whatever the tolerance.
  CHECK(problem("reduce/sum_i64", [](SafeTensors& s) {
          s.metadata["tolerance"] = "5";
          s.tensors.at("out.y").mutable_data<int64_t>()[0] += 1;
        }).find("differ") != std::string::npos);
}

TEST_CASE("verify runs a case of training in a graph only", "[vectors][ops]") {
  const SafeTensors f = case_of("random/dropout_training_quarter");
  VerifyOptions options = both_forms(f64, {});
  const CaseResult r = verify_case(f, options);
  CHECK(r.outcome == CaseResult::Outcome::kPassed);
  for (const Comparison& c : r.comparisons) CHECK(c.form != "eager");
  options.graph = false;
  CHECK(verify_case(f, options).outcome == CaseResult::Outcome::kLeftOut);
  for (const char* run : {R"({"training":true,"seed":8})", R"({"training":false})",
                          R"({"training":true,"seed":7,"step":1})"}) {
    CHECK(problem("random/dropout_training_quarter", [&](SafeTensors& s) {
            s.metadata["run"] = run;
          }).find("differ") != std::string::npos);
  }
}
