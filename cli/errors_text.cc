#include <algorithm>
#include <cctype>
#include <vector>

#include "error_codes.h"
#include "errors_text.h"

#include <rondo/graph/describe.h>
#include <rondo/graph/markdown.h>

namespace rondo::tool {
namespace {

std::vector<std::string_view> segments_of(std::string_view code) {
  std::vector<std::string_view> r;
  for (;;) {
    const size_t dot = code.find('.');
    r.push_back(code.substr(0, dot));
    if (dot == std::string_view::npos) return r;
    code.remove_prefix(dot + 1);
  }
}

bool stands_for_any(std::string_view segment) {
  return !segment.empty() && std::isupper(static_cast<unsigned char>(segment[0])) != 0;
}

// How many segments of the row are the code's own; -1 = it does not fit. The names of placeholders
// may hold dots: their segment takes what is left over.
int fit(std::string_view row, std::string_view code) {
  const std::vector<std::string_view> want = segments_of(row), got = segments_of(code);
  if (got.size() < want.size()) return -1;
  const size_t more = got.size() - want.size();
  int same = 0;
  size_t at = 0;
  for (const std::string_view w : want) {
    const bool any = stands_for_any(w);
    if (!any && w != got[at]) return -1;
    same += any ? 0 : 1;
    at += 1 + (w == "NAME" ? more : 0);
  }
  return at == got.size() ? same : -1;
}

struct Section {
  std::string_view title;
  std::vector<std::string_view> areas;  // first segments of its codes
};

const std::vector<Section>& sections() {
  static const std::vector<Section> kSections{
      {"Any op", {"OP"}},
      {"Tensors, shapes and values",
       {"tensor", "dtype", "shape", "list", "var", "operand", "constant", "variable",
        "placeholder"}},
      {"Graphs", {"graph", "registry", "rondo"}},
      {"Recurrences",
       {"recurrence", "FUNCTION", "per_step", "fused", "fused_matmul", "segments", "cond",
        "while_loop", "scan"}},
      {"Layers",
       {"layer", "zero_state", "zoneout", "join_directions", "stacked", "time_distributed",
        "variational_dropout", "dense", "embedding", "multi_head_attention", "expand_dims",
        "squeeze", "slice", "gather", "rnn"}},
      {"Random numbers and first values of weights",
       {"permutation", "layer_weights", "INITIALIZER"}},
      {"Gradients and updates",
       {"gradients", "vjp", "jvp", "hvp", "jacobian", "value_and_gradients", "UPDATER", "updater",
        "schedule", "regularization", "settings"}},
      {"Running", {"backend", "plan", "thread_team", "onednn", "cpu", "session", "variables"}},
      {"Streams", {"streamify", "stream"}},
      {"Training and data", {"trainer", "model", "confusion", "data", "ts"}},
      {"Weights of other systems", {"weights"}},
      {"Files", {"file"}},
      {"The tool", {"verify", "inspect", "bench"}}};
  return kSections;
}

std::string line(std::string_view code, std::string_view fault, std::string_view means,
                 std::string_view remedy) {
  return cat(code, " (", fault, "): ", means, remedy.empty() ? "" : "; ", remedy, "\n");
}

}  // namespace

std::string list_errors(const OpRegistry& registry) {
  std::string s;
  for (const ErrorCode& e : error_codes()) s += line(e.code, e.fault, e.means, e.remedy);
  for (const OpDef* op : registry.all()) {
    for (const auto& [code, means] : rules_of(*op)) s += line(code, "argument", means, "");
  }
  return s;
}

std::vector<std::string> codes_of_errors(const OpRegistry& registry) {
  std::vector<std::string> r;
  for (const ErrorCode& e : error_codes()) r.emplace_back(e.code);
  for (const OpDef* op : registry.all()) {
    for (const auto& [code, means] : rules_of(*op)) r.push_back(code);
  }
  return r;
}

namespace {

// Whether a row for any op is about this one's operand, or attribute, of the code's second segment.
bool is_of_op(const OpRegistry& registry, std::string_view row, std::string_view code) {
  const std::vector<std::string_view> want = segments_of(row), got = segments_of(code);
  if (want[0] != "OP" || got.size() < 2) return !stands_for_any(want[0]);
  const OpDef* const op = registry.find(got[0]);
  if (op == nullptr) return false;
  const bool attribute = std::any_of(op->attributes.begin(), op->attributes.end(),
                                     [&](const AttributeDef& a) { return a.name == got[1]; });
  return attribute ? want[1] != "OPERAND" : want[1] != "ATTRIBUTE";
}

// The row that says most of the code: of those that are about its op, if any is.
const ErrorCode* row_of(const OpRegistry& registry, std::string_view code) {
  const ErrorCode* best = nullptr;
  int most = -1;
  for (const ErrorCode& e : error_codes()) {
    const int same = fit(e.code, code);
    if (same < 0) continue;
    const int points = 2 * same + (is_of_op(registry, e.code, code) ? 1 : 0);
    if (points > most) {
      most = points;
      best = &e;
    }
  }
  return best;
}

}  // namespace

std::string explain_error(const OpRegistry& registry, std::string_view code) {
  const ErrorCode* const row = row_of(registry, code);
  for (const OpDef* op : registry.all()) {
    for (const auto& [rule, means] : rules_of(*op)) {
      if (rule != code) continue;
      // Of the rows for any op those for who calls it; the others are for who defines one.
      const bool also = row != nullptr && segments_of(row->code)[1] != "CALLBACK";
      return line(code, "argument", also ? cat(means, "; or ", row->means) : means,
                  also ? row->remedy : "");
    }
  }
  return row == nullptr ? "" : line(code, row->fault, row->means, row->remedy);
}

std::string errors_markdown(const OpRegistry& registry) {
  std::string s =
      "# Errors\n\n"
      "Made by `rondo errors --markdown` from `cli/error_codes.cc` and the definitions in `ops/`; "
      "do not edit. `rondo errors CODE`\nsays the same of one code on a terminal.\n\n"
      "What the library throws is a `rondo::Error`: `what()` is whole (op, argument, got, wanted, "
      "where it was built), `code()` never\nchanges its meaning, and `fault()` tells who can mend "
      "it: the caller (argument), the environment or a missing kernel\n(unsupported), or we "
      "(internal). A word in capitals stands for whatever is there: `OP.OPERAND.dim` is "
      "`matmul.b.dim` too.\n";
  for (const Section& section : sections()) {
    std::vector<std::vector<std::string>> rows;
    for (const ErrorCode& e : error_codes()) {
      const std::string_view area = segments_of(e.code)[0];
      if (std::find(section.areas.begin(), section.areas.end(), area) == section.areas.end())
        continue;
      rows.push_back({markdown::code(e.code), std::string(e.fault), markdown::cell(e.means),
                      markdown::cell(e.remedy)});
    }
    s += cat("\n## ", section.title, "\n",
             markdown::table({"code", "fault", "when", "what to do"}, rows));
  }
  std::vector<std::vector<std::string>> rows;
  for (const OpDef* op : registry.all()) {
    for (const auto& [code, means] : rules_of(*op))
      rows.push_back({markdown::code(code), markdown::cell(means)});
  }
  return s + "\n## Single ops\n\nRules beside those of any op; the fault is the caller's.\n" +
         markdown::table({"code", "when"}, rows);
}

}  // namespace rondo::tool
