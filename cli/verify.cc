#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fnmatch.h>

#include "verify.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/graph/eager.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/runtime/eager_gradients.h>

namespace rondo::tool {
namespace {

constexpr std::string_view kModel = "model.onnx";

// Gradients of the half formats add up rounding of several steps; kinks must be further than that
// away.
constexpr double kHalfGradients = 4;
constexpr double kHalfMargin = 10;

// The op on placeholders, as many as there are operands.
struct Recorded {
  Graph graph;
  Vars inputs, outputs;
  std::vector<Feed> feeds;
};

// "x", and "xs.2" where there may be any number.
std::string name_of_operand(const OpDef& op, size_t i) {
  const Signature& s = op.parsed;
  const Slot& slot = s.slot_of(i);
  return slot.variadic ? cat(slot.name, ".", i + 1 - s.inputs.size()) : slot.name;
}

Recorded record(const VectorCase& c) {
  Recorded r;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const Tensor& t = c.inputs[i];
    r.inputs.push_back(
        t ? r.graph.placeholder(name_of_operand(*c.op, i), t.dtype(), to_shape(t.dims())) : Var());
    if (t) r.feeds.emplace_back(r.inputs.back(), t);
  }
  r.outputs = r.graph.call(*c.op, r.inputs, c.attributes);
  return r;
}

// Cotangents in the dtype under test, for results that are there.
template <class F>
void for_each_cotangent(const VectorCase& c, const Vars& outputs, F&& f) {
  for (const NamedTensor& t : c.cotangents) {
    if (!outputs.at(t.at)) {
      fail(Fault::kArgument, "verify.file.cotangent", "the file has ", t.name,
           ", but the op gives no such result under this configuration");
    }
    f(outputs[t.at], t.value.to(outputs[t.at].dtype()));
  }
}

std::string place(int64_t flat, const Dims& dims) {
  Dims at(dims.size());
  for (size_t a = dims.size(); a-- > 0;) {
    at[a] = flat % dims[a];
    flat /= dims[a];
  }
  return to_string(at);
}

std::string number(double v) {
  if (std::isnan(v)) return "nan";  // of either sign
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

struct Judgement {
  double error, allowed;
};

// One number. NaN and infinities are the same or wrong: beside them any tolerance is infinite.
Judgement judge(double got, double want, const Tolerance& t, double scale) {
  const bool same = got == want || (std::isnan(got) && std::isnan(want));
  if (!std::isfinite(want)) return {same ? 0 : HUGE_VAL, 0};
  if (t.signed_zeros && want == 0 && same && std::signbit(got) != std::signbit(want))
    return {HUGE_VAL, 0};
  return {std::abs(got - want), scale * (t.absolute + t.relative * std::abs(want))};
}

void compare_run(const std::string& form, const VectorCase& c, const VectorRun& run, bool gradients,
                 const VerifyOptions& options, CaseResult& result) {
  for (const NamedTensor& t : c.outputs) {
    // The op may give more results than the file has, not less.
    const Tensor got = t.at < run.outputs.size() ? run.outputs[t.at] : Tensor();
    result.comparisons.push_back(compare(form, t, got, c.tolerance));
    // A float is in the dtype under test, or in one that the configuration names.
    Comparison& k = result.comparisons.back();
    const DType want = t.value.dtype();
    if (k.problem.empty() && got.dtype() != want &&
        !(is_float(want) && got.dtype() == options.dtype))
      k.problem = cat("is ", got.dtype(), ", the file says ", want);
  }
  if (!gradients) return;
  for (const NamedTensor& t : c.gradients) {
    const Tensor& got = run.gradients.at(t.at);
    const Tensor& operand = c.inputs.at(t.at);
    if (!operand)
      fail(Fault::kArgument, "verify.file.gradient", "the file has ", t.name,
           ", but no such operand");
    result.comparisons.push_back(compare(form, t,
                                         got ? got : Tensor(operand.dtype(), operand.dims()),
                                         c.tolerance, is_half(options.dtype) ? kHalfGradients : 1));
  }
}

// What is asked of the op's graph, and a session for it.
struct Prepared {
  Recorded recorded;
  Vars fetches;                  // results, then gradients
  std::vector<size_t> outputs;   // which results,
  std::vector<size_t> operands;  // and gradients of which operands
  std::unique_ptr<Session> session;
};

Prepared prepare(const VectorCase& c, const VerifyOptions& options, bool gradients) {
  Prepared p{record(c), {}, {}, {}, {}};
  Graph& g = p.recorded.graph;
  for (size_t i = 0; i < p.recorded.outputs.size(); ++i) {
    if (!p.recorded.outputs[i]) continue;
    p.outputs.push_back(i);
    p.fetches.push_back(p.recorded.outputs[i]);
  }
  if (gradients) {
    Vars from, cotangents, wrt;
    for_each_cotangent(c, p.recorded.outputs, [&](const Var& y, const Tensor& t) {
      from.push_back(y);
      cotangents.push_back(g.constant(t));
    });
    for (const NamedTensor& t : c.gradients) wrt.push_back(p.recorded.inputs.at(t.at));
    const Vars d = vjp(from, cotangents, wrt);
    for (size_t i = 0; i < d.size(); ++i) {
      if (!d[i]) continue;
      p.operands.push_back(c.gradients[i].at);
      p.fetches.push_back(d[i]);
    }
  }
  p.session = std::make_unique<Session>(g, options.compile, options.team);
  return p;
}

std::shared_ptr<const BoundPlan> plan_of(const VectorCase& c, const VerifyOptions& options,
                                         bool gradients) {
  const Prepared p = prepare(c, options, gradients);
  return p.session->plan(p.fetches)->bind({});
}

bool kernel_runs(const VectorCase& c, const VerifyOptions& options, bool gradients) {
  return plan_of(c, options, gradients)->uses_kernel(options.compile.kernel);
}

bool wanted(const std::string& op, const std::vector<std::string>& only) {
  return only.empty() || std::any_of(only.begin(), only.end(), [&](const std::string& glob) {
           return fnmatch(glob.c_str(), op.c_str(), 0) == 0;
         });
}

}  // namespace

VectorRun run_graph(const VectorCase& c, const VerifyOptions& options, bool gradients) {
  const Prepared p = prepare(c, options, gradients);
  const std::vector<Tensor> values =
      p.session->run(p.fetches, p.recorded.feeds, c.run.value_or(RunOptions{}));
  VectorRun run{std::vector<Tensor>(p.recorded.outputs.size()),
                std::vector<Tensor>(c.inputs.size())};
  for (size_t i = 0; i < p.outputs.size(); ++i) run.outputs[p.outputs[i]] = values[i];
  for (size_t i = 0; i < p.operands.size(); ++i)
    run.gradients[p.operands[i]] = values[p.outputs.size() + i];
  return run;
}

VectorRun run_eager(const VectorCase& c, const VerifyOptions& options, bool gradients) {
  const EagerScope scope(options.compile, options.team);
  VectorRun run{eager_call(*c.op, c.inputs, c.attributes, {}),
                std::vector<Tensor>(c.inputs.size())};
  if (!gradients) return run;

  std::vector<Tensor> by;
  for (const NamedTensor& t : c.gradients) by.push_back(c.inputs.at(t.at));
  const auto total = [&](const Vars& vars) {
    Graph g = vars.front().graph();
    Vars inputs;
    for (const Tensor& t : c.inputs) inputs.push_back(t ? g.constant(t) : Var());
    for (size_t i = 0; i < vars.size(); ++i) inputs[c.gradients[i].at] = vars[i];
    const Vars outputs = g.call(*c.op, inputs, c.attributes);
    Var sum_of_all;
    for_each_cotangent(c, outputs, [&](const Var& y, const Tensor& t) {
      const Var part = sum(y * g.constant(t));
      sum_of_all = sum_of_all ? sum_of_all + part : part;
    });
    return sum_of_all;
  };
  const ValueAndGradients r = value_and_gradients(total, by, options.compile);
  for (size_t i = 0; i < by.size(); ++i) run.gradients[c.gradients[i].at] = r.gradients.at(i);
  return run;
}

Comparison compare(std::string form, const NamedTensor& want, const Tensor& got,
                   Tolerance tolerance, double scale) {
  Comparison c{std::move(form), want.name};
  const Tensor& w = want.value;
  if (!got) {
    c.problem = "the op does not give it";
  } else if (got.dims() != w.dims()) {
    c.problem = cat("has shape ", to_string(got.dims()), ", the file says ", to_string(w.dims()));
  }
  if (!c.problem.empty()) return c;
  double worst = 0, most = 0;
  int64_t at = -1, wrong = 0;
  for (int64_t i = 0; i < w.size(); ++i) {
    const double a = got.at(i), b = w.at(i);
    const auto [error, allowed] = judge(a, b, is_float(w.dtype()) ? tolerance : Tolerance{}, scale);
    if (!(error <= allowed)) {
      ++wrong;
      // NaN is worse than any number.
      if (at < 0 || error > worst || (std::isnan(error) && !std::isnan(worst))) {
        worst = error;
        most = allowed;
        at = i;
      }
    }
    c.error = std::max(c.error, std::isnan(error) ? HUGE_VAL : error);
  }
  if (wrong != 0) {
    c.problem = cat(wrong, " of ", w.size(), " differ, most at ", place(at, w.dims()), ": got ",
                    number(got.at(at)), ", want ", number(w.at(at)), ", error ", number(worst),
                    ", allowed ", number(most));
  }
  return c;
}

bool calls_an_op(const SafeTensors& file) {
  const auto op = file.metadata.find("op");
  return op == file.metadata.end() || (op->second != "convert" && op->second != "updater");
}

CaseResult verify_case(const SafeTensors& file, const VerifyOptions& options) {
  CaseResult result;
  if (const auto it = file.metadata.find("op"); it != file.metadata.end()) result.op = it->second;
  try {
    if (result.op == "convert") return verify_convert(file, options);
    if (result.op == "updater") return verify_updater(file, options);
    const VectorCase c = read_vector_case(file, options.dtype);
    const bool gradients = options.gradients && !c.gradients.empty();
    const auto leave_out = [&](std::string why) {
      result.outcome = CaseResult::Outcome::kLeftOut;
      result.problems.push_back(std::move(why));
      return result;
    };
    if (is_half(options.dtype) && c.kink_margin < kHalfMargin * c.tolerance.absolute) {
      return leave_out(
          cat("a value is ", number(c.kink_margin), " from a kink, too near for ", options.dtype));
    }
    if (!c.dtypes.empty() &&
        std::find(c.dtypes.begin(), c.dtypes.end(), options.dtype) == c.dtypes.end())
      return leave_out(cat("its numbers do not hold in ", options.dtype));
    // What runs at once runs with the options of every run.
    const bool eager = options.eager && !c.run;
    if (!eager && !options.graph) return leave_out("it says how a graph runs");
    // A backward kernel runs only where there are gradients.
    if (!options.compile.kernel.empty() && !kernel_runs(c, options, false) &&
        !(gradients && kernel_runs(c, options, true))) {
      return leave_out(cat("kernel ", options.compile.kernel, " does not support it"));
    }
    if (options.graph) {
      // Twice, because a forward pass may run on other kernels when a backward pass follows.
      compare_run("graph", c, run_graph(c, options, false), false, options, result);
      if (gradients)
        compare_run("graph with gradients", c, run_graph(c, options, true), true, options, result);
    }
    if (eager)
      compare_run("eager", c, run_eager(c, options, gradients), gradients, options, result);
    for (const Comparison& k : result.comparisons) {
      if (!k.problem.empty())
        result.problems.push_back(cat(k.form, ": ", k.tensor, " ", k.problem));
    }
    if (result.comparisons.empty())
      result.problems.emplace_back("the file states nothing to compare with");
  } catch (const std::exception& e) {
    result.problems.emplace_back(e.what());
  }
  if (result.problems.empty()) result.outcome = CaseResult::Outcome::kPassed;
  return result;
}

std::optional<CaseResult> verify_file(const std::string& path, const VerifyOptions& options,
                                      const std::vector<std::string>& only) {
  CaseResult result;
  try {
    if (std::filesystem::path(path).filename() == kModel) {
      result.op = "onnx:graph";
      result.problems.emplace_back("this build reads no ONNX");
    } else {
      const SafeTensors file = load_safetensors(path);
      const auto op = file.metadata.find("op");
      if (op != file.metadata.end() && !wanted(op->second, only)) return std::nullopt;
      result = verify_case(file, options);
    }
  } catch (const std::exception& e) {
    result.problems.emplace_back(e.what());
  }
  if (!result.op.empty() && !wanted(result.op, only)) return std::nullopt;
  result.path = path;
  return result;
}

bool names_case(const std::string& path, const std::vector<std::string>& only) {
  if (only.empty()) return true;
  if (std::filesystem::path(path).filename() == kModel) return wanted("onnx:graph", only);
  try {
    const SafeTensors file = load_safetensors(path);
    const auto op = file.metadata.find("op");
    return op == file.metadata.end() || wanted(op->second, only);
  } catch (const std::exception&) {
    return true;
  }
}

std::set<std::string> ops_that_run(const SafeTensors& file, const VerifyOptions& options) {
  const VectorCase c = read_vector_case(file, options.dtype);
  std::set<std::string> ops = plan_of(c, options, false)->ops();
  if (options.gradients && !c.gradients.empty()) ops.merge(plan_of(c, options, true)->ops());
  return ops;
}

std::vector<std::string> vector_files(const std::string& path) {
  namespace fs = std::filesystem;
  if (fs::is_regular_file(path)) return {path};
  if (!fs::is_directory(path))
    fail(Fault::kArgument, "verify.path.missing", "there is no file or folder ", path);
  std::vector<std::string> files;
  for (const fs::directory_entry& e : fs::recursive_directory_iterator(path)) {
    const fs::path& p = e.path();
    // A model without data beside it belongs to a case of a safetensors file.
    const bool onnx =
        p.filename() == kModel && fs::is_directory(p.parent_path() / "test_data_set_0");
    if (e.is_regular_file() && (onnx || p.extension() == ".safetensors"))
      files.push_back(p.string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace rondo::tool
