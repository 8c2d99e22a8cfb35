// The engine of `rondo verify`: runs a case of test vectors in a graph, eagerly or both, and
// compares all that the file states: results, and gradients for the file's cotangents. The tests
// call it too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vector_case.h"

#include <rondo/runtime/session.h>

namespace rondo::tool {

struct VerifyOptions {
  CompileOptions compile =
      {};  ///< a kernel that is named must run somewhere, or the case is left out
  DType dtype = f64;
  bool graph = true, eager = false;
  bool gradients = true;
  std::shared_ptr<ThreadTeam> team = {};  ///< null = one per core
};

/// What a run gave; null where the file asks for nothing.
struct VectorRun {
  std::vector<Tensor> outputs;    ///< by result of the op
  std::vector<Tensor> gradients;  ///< by operand; null also where nothing flows, which means 0
};

/// The op as a node of a graph, in a session. With gradients the results come from the plan that
/// also computes those.
VectorRun run_graph(const VectorCase& c, const VerifyOptions& options, bool gradients);
/// The op on tensors; gradients through value_and_gradients, as eager code takes them.
VectorRun run_eager(const VectorCase& c, const VerifyOptions& options, bool gradients);

/// One tensor compared.
struct Comparison {
  std::string form;          ///< "graph", "graph with gradients", "eager"
  std::string tensor;        ///< as in the file
  std::string problem = {};  ///< empty = it agrees
  double error = 0;          ///< the largest |got - want|
};

struct CaseResult {
  enum class Outcome { kPassed, kFailed, kLeftOut };
  std::string path, op;
  Outcome outcome = Outcome::kFailed;
  std::vector<std::string> problems = {};  ///< why it failed or was left out
  std::vector<Comparison> comparisons = {};
};

/// Whether the case is a call of one op: a conversion of weights and a training are none.
bool calls_an_op(const SafeTensors& file);

/// Compares with what the file says; `scale` widens the tolerance. Names the largest error and
/// where it is.
Comparison compare(std::string form, const NamedTensor& want, const Tensor& got,
                   Tolerance tolerance, double scale = 1);

/// A case of op `convert`, one network in several layouts: each is converted to each, and run. May
/// throw.
CaseResult verify_convert(const SafeTensors& file, const VerifyOptions& options);

/// A case of op `updater`: weights after each of many updates. May throw.
CaseResult verify_updater(const SafeTensors& file, const VerifyOptions& options);

/// Runs one case. Never throws for what the file or the op says: that is a failed case.
CaseResult verify_case(const SafeTensors& file, const VerifyOptions& options);
/// The same for a file; none when `only` (globs of ops, empty = all) leaves it out. One that cannot
/// be read has failed.
std::optional<CaseResult> verify_file(const std::string& path, const VerifyOptions& options,
                                      const std::vector<std::string>& only = {});

/// Whether `only` (globs of ops, empty = all) names the case in this file; true for one that cannot
/// be read.
bool names_case(const std::string& path, const std::vector<std::string>& only);
/// The ops of all nodes that a case's plans run, forward and with gradients. Errors: as reading and
/// building the case has them.
std::set<std::string> ops_that_run(const SafeTensors& file, const VerifyOptions& options);

/// The cases under a path, sorted: a file, or a folder's *.safetensors and folders of the ONNX
/// backend tests (with a model.onnx). Error `verify.path.missing`.
std::vector<std::string> vector_files(const std::string& path);

}  // namespace rondo::tool
