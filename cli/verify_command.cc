// `rondo verify`: what the engine in verify.h finds, for people and as JSON.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <unistd.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "verify.h"

#include <rondo/runtime/backend.h>

namespace rondo::tool {
namespace {

using Json = nlohmann::json;
using Outcome = CaseResult::Outcome;

struct Arguments {
  std::vector<std::string> paths, only;
  std::string backend = "cpu", kernel, dtype = "f64", form = "graph", json;
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

void check_kernel(const Arguments& a) {
  if (a.kernel.empty()) return;
  std::string known;
  for (const std::string_view name : {std::string_view(a.backend), std::string_view("reference")}) {
    for (const Kernel& k : backend(name).kernels()) {
      if (k.name == a.kernel) return;
      known += " " + k.name;
    }
  }
  throw UsageError(
      fmt::format("backend {} has no kernel '{}'; there are:{}", a.backend, a.kernel, known));
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

void write_json(const std::string& path, const Arguments& a, const std::vector<CaseResult>& results,
                size_t passed, size_t failed, size_t left_out) {
  Json cases = Json::array();
  for (const CaseResult& r : results) cases.push_back(json_of(r));
  const Json all{{"backend", a.backend}, {"dtype", a.dtype},           {"form", a.form},
                 {"kernel", a.kernel},   {"optimize", !a.no_optimize}, {"passed", passed},
                 {"failed", failed},     {"left_out", left_out},       {"cases", cases}};
  std::ofstream file(path);
  // An op may echo bytes of the file that are no UTF-8.
  file << all.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) throw std::runtime_error(fmt::format("cannot write {}", path));
}

int verify(const Arguments& a) {
  check_kernel(a);
  std::vector<std::string> files;
  for (const std::string& path : a.paths) {
    try {
      const auto found = vector_files(path);
      files.insert(files.end(), found.begin(), found.end());
    } catch (const Error& e) {
      throw UsageError(e.what());
    }
  }
  VerifyOptions options;
  options.compile = {.backend = a.backend, .optimize = !a.no_optimize, .kernel = a.kernel};
  options.dtype = dtype_from_name(a.dtype);
  options.graph = a.form != "eager";
  options.eager = a.form != "graph";
  options.gradients = !a.no_gradients;
  options.team = std::make_shared<ThreadTeam>();

  std::vector<CaseResult> results;
  size_t counts[3] = {};
  Progress progress(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    progress.done(i);
    auto r = verify_file(files[i], options, a.only);
    if (!r) continue;
    ++counts[static_cast<size_t>(r->outcome)];
    if (r->outcome != Outcome::kPassed) {
      progress.clear();
      for (const std::string& p : r->problems)
        fmt::print("{}: {}: {}\n", r->path, word(r->outcome), p);
    }
    results.push_back(std::move(*r));
  }
  progress.clear();
  const auto [passed, failed, left_out] = counts;
  if (!a.json.empty()) write_json(a.json, a, results, passed, failed, left_out);
  if (left_out != 0) fmt::print("{} left out\n", left_out);
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed == 0 && passed != 0 ? 0 : 1;
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
                "Force this kernel; cases that it does not support are left out and counted")
      ->type_name("NAME");
  c->add_option("--dtype", a->dtype, "Type of all floats; inputs are rounded first")
      ->check(CLI::IsMember({"f64", "f32", "bf16", "f16"}))
      ->capture_default_str();
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
      "The exit status is 0 when something passed and nothing failed.");
  c->callback([a, &run] { run = [a] { return verify(*a); }; });
}

}  // namespace rondo::tool
