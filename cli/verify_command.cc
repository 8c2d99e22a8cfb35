// `rondo verify`: what the engine in verify.h finds, for people and as JSON.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <unistd.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "verify_kernels.h"

#include <rondo/graph/callbacks.h>
#include <rondo/runtime/backend.h>

namespace rondo::tool {
namespace {

using Json = nlohmann::json;
using Outcome = CaseResult::Outcome;

struct Arguments {
  std::vector<std::string> paths, only;
  std::string backend = "cpu", kernel, dtype, form = "graph", json;
  bool no_optimize = false, no_gradients = false;
};

// A line that counts, on a terminal and when it takes longer than a second.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), terminal_(isatty(fileno(stderr)) != 0) {}
  ~Progress() { clear(); }
  void done(size_t n) {
    if (!terminal_ || std::chrono::steady_clock::now() - start_ < std::chrono::seconds(1)) return;
    fmt::print(stderr, "\r{} of {} ", n, total_);
    shown_ = true;
  }
  // Room for a line of results.
  void clear() {
    if (shown_) fmt::print(stderr, "\r\033[K");
    shown_ = false;
  }

 private:
  size_t total_;
  bool terminal_, shown_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

constexpr std::string_view kAll = "all";

void check_kernel(const Arguments& a) {
  if (a.kernel.empty() || a.kernel == kAll) return;
  std::vector<std::string> names;
  std::string known;
  for (const KernelName& k : kernels_of_plans(a.backend)) {
    if (k.name == a.kernel) return;
    names.push_back(k.name);
    known += " " + k.name;
  }
  throw UsageError(fmt::format("backend {} has no kernel '{}'{}; there are:{}", a.backend, a.kernel,
                               closest_parts(a.kernel, names), known));
}

// In which dtypes cases run, the next where none runs in the one before: f64, and for a kernel that
// has no f64 then f32.
std::vector<DType> dtypes_of(const Arguments& a) {
  if (!a.dtype.empty()) return {dtype_from_name(a.dtype)};
  return a.kernel.empty() ? std::vector<DType>{f64} : std::vector<DType>{f64, f32};
}

std::string_view word(Outcome o) {
  return o == Outcome::kPassed ? "passed" : o == Outcome::kFailed ? "failed" : "left out";
}

Json json_of(const CaseResult& r) {
  Json tensors = Json::array();
  for (const Comparison& c : r.comparisons) {
    Json t{{"form", c.form}, {"tensor", c.tensor}, {"passed", c.problem.empty()}};
    // JSON has no infinity.
    t["error"] = std::isfinite(c.error) ? Json(c.error) : Json("inf");
    tensors.push_back(std::move(t));
  }
  return {{"path", r.path},
          {"op", r.op},
          {"outcome", word(r.outcome)},
          {"problems", r.problems},
          {"tensors", tensors}};
}

void write(const std::string& path, const Json& all) {
  std::ofstream file(path);
  // An op may echo bytes of the file that are no UTF-8.
  file << all.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) throw std::runtime_error(fmt::format("cannot write {}", path));
}

Json json_of(const Arguments& a) {
  return {
      {"backend", a.backend}, {"form", a.form}, {"kernel", a.kernel}, {"optimize", !a.no_optimize}};
}

std::vector<std::string> files_of(const Arguments& a) {
  std::vector<std::string> files;
  for (const std::string& path : a.paths) {
    try {
      const auto found = vector_files(path);
      files.insert(files.end(), found.begin(), found.end());
    } catch (const Error& e) {
      throw UsageError(e.what());
    }
  }
  return files;
}

VerifyOptions options_of(const Arguments& a, DType dtype) {
  VerifyOptions options;
  options.compile = {.backend = a.backend, .optimize = !a.no_optimize};
  if (a.kernel != kAll) options.compile.kernel = a.kernel;
  options.dtype = dtype;
  options.graph = a.form != "eager";
  options.eager = a.form != "graph";
  options.gradients = !a.no_gradients;
  options.team = std::make_shared<ThreadTeam>();
  return options;
}

// The last line, and the exit status.
int verdict(size_t passed, size_t failed, bool enough) {
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed == 0 && passed != 0 && enough ? 0 : 1;
}

int verify_cases(const Arguments& a, const std::vector<std::string>& files, DType dtype,
                 bool try_next) {
  const VerifyOptions options = options_of(a, dtype);
  std::vector<CaseResult> results;
  size_t counts[3] = {};
  Progress progress(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    progress.done(i);
    auto r = verify_file(files[i], options, a.only);
    if (!r) continue;
    ++counts[static_cast<size_t>(r->outcome)];
    const bool tells = r->outcome == Outcome::kFailed || !try_next;
    if (r->outcome != Outcome::kPassed && tells) {
      progress.clear();
      for (const std::string& p : r->problems)
        fmt::print("{}: {}: {}\n", r->path, word(r->outcome), p);
    }
    results.push_back(std::move(*r));
  }
  progress.clear();
  const auto [passed, failed, left_out] = counts;
  if (try_next && passed + failed == 0 && left_out != 0) return -1;
  if (!a.json.empty()) {
    Json all = json_of(a), cases = Json::array();
    for (const CaseResult& r : results) cases.push_back(json_of(r));
    all.update({{"dtype", std::string(name_of(dtype))},
                {"passed", passed},
                {"failed", failed},
                {"left_out", left_out},
                {"cases", cases}});
    write(a.json, all);
  }
  if (left_out != 0) fmt::print("{} left out\n", left_out);
  return verdict(passed, failed, true);
}

// A table of what has run, then by name what no case holds.
int verify_each_kernel(const Arguments& a, const std::vector<std::string>& files) {
  KernelOptions options{.verify = options_of(a, f64), .dtypes = dtypes_of(a)};
  const size_t kernels = kernels_of_plans(a.backend).size();
  Progress progress(kernels);
  size_t begun = 0;
  options.on_kernel = [&](const std::string&) { progress.done(begun++); };
  const std::vector<KernelResult> results = verify_kernels(files, options, a.only);
  progress.clear();

  constexpr auto kRow = "{:<26} {:<14} {:>5} {:>7} {:>7} {:>9}\n";
  fmt::print(kRow, "kernel", "op", "dtype", "passed", "failed", "left out");
  size_t passed = 0, failed = 0;
  bool enough = true;
  std::string absent, unproven;
  Json rows = Json::array();
  for (const KernelResult& r : results) {
    for (const std::string& p : r.problems) fmt::print("{}: failed: {}\n", r.kernel, p);
    const std::string op = r.op.empty() ? "elementwise" : r.op, dtype(name_of(r.dtype));
    if (r.occurs || r.failed != 0) {
      fmt::print(kRow, r.kernel, op, dtype, r.passed, r.failed, r.left_out);
    } else {
      absent += " " + r.kernel;
    }
    if (r.occurs && !r.proven()) {
      enough = false;
      if (r.failed == 0) unproven += " " + r.kernel;
    }
    passed += r.passed;
    failed += r.failed;
    rows.push_back({{"kernel", r.kernel},
                    {"op", r.op},
                    {"dtype", dtype},
                    {"occurs", r.occurs},
                    {"passed", r.passed},
                    {"failed", r.failed},
                    {"left_out", r.left_out},
                    {"problems", r.problems}});
  }
  if (!absent.empty()) fmt::print("no case holds the op of:{}\n", absent);
  if (!unproven.empty()) fmt::print("no case could run on:{}\n", unproven);
  if (!a.json.empty()) {
    Json all = json_of(a);
    all.update({{"passed", passed}, {"failed", failed}, {"kernels", rows}});
    write(a.json, all);
  }
  return verdict(passed, failed, enough);
}

int verify(const Arguments& a) {
  check_kernel(a);
  const std::vector<std::string> files = files_of(a);
  if (a.kernel == kAll) return verify_each_kernel(a, files);
  const std::vector<DType> dtypes = dtypes_of(a);
  for (size_t i = 0;; ++i) {
    const bool last = i + 1 == dtypes.size();
    const int status = verify_cases(a, files, dtypes[i], !last);
    if (status >= 0) return status;
    fmt::print("no case runs on {} in {}; in {}:\n", a.kernel, name_of(dtypes[i]),
               name_of(dtypes[i + 1]));
  }
}

}  // namespace

void add_verify(CLI::App& app, Run& run) {
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("verify", "Check this build against test vectors");
  std::vector<std::string> backends;
  for (const Backend* b : linked_backends()) backends.emplace_back(b->name());
  c->add_option("path", a->paths, "Files, or folders that are searched for *.safetensors")
      ->required();
  c->add_option("--only", a->only,
                "Only these ops as the files name them; globs that match whole names")
      ->delimiter(',')
      ->type_name("GLOB,...");
  c->add_option("--backend", a->backend, "Where it runs")
      ->check(CLI::IsMember(backends))
      ->capture_default_str();
  c->add_option("--kernel", a->kernel,
                "Force this kernel; cases that it does not support are left out and counted.\n"
                "'all': each in turn, and a table")
      ->type_name("NAME|all");
  c->add_option("--dtype", a->dtype,
                "Type of all floats; inputs are rounded first [f64; for a kernel that runs no case "
                "in f64, f32]")
      ->check(CLI::IsMember({"f64", "f32", "bf16", "f16"}));
  c->add_option("--form", a->form, "As a node of a graph, on tensors, or both (a case counts once)")
      ->check(CLI::IsMember({"eager", "graph", "both"}))
      ->capture_default_str();
  c->add_flag("--no-optimize", a->no_optimize, "Run the graph as it was built");
  c->add_flag("--no-grad", a->no_gradients, "Compare results only");
  c->add_option("--json", a->json, "Write all comparisons to a file")->type_name("FILE");
  c->footer(
      "Gradients: in a graph, vjp with the file's cotangents; eagerly, value_and_gradients of\n"
      "sum(result * cotangent). Tolerances are the file's, else f64 1e-9 relative + 1e-10,\n"
      "f32 2e-4 + 2e-5, bf16 3e-2 + 3e-2, f16 4e-3 + 4e-3 (bf16 and f16: gradients four times\n"
      "that; cases nearer to a kink than ten times that are left out and counted).\n"
      "The exit status is 0 when something passed and nothing failed; with --kernel all, when "
      "also\n"
      "every kernel whose op occurs in a case ran one.");
  c->callback([a, &run] { run = [a] { return verify(*a); }; });
}

}  // namespace rondo::tool
