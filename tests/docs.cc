// The generated pages are those of this build.
#include <fstream>
#include <regex>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "../cli/error_codes.h"
#include "../cli/errors_text.h"
#include "../cli/functions.h"
#include "../cli/ops_text.h"

#include <rondo/graph/describe.h>
#include <rondo/ops/register.h>
#include <rondo/runtime/check_op.h>

using namespace rondo;

namespace {

std::string page(const std::string& name) {
  std::ifstream file(RONDO_SOURCE_DIR "/docs/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("docs/ops.md is what `rondo ops --markdown` prints", "[docs]") {
  INFO("refresh it: build/rondo ops --markdown > docs/ops.md");
  CHECK((page("ops.md") == tool::ops_markdown(registry())));
}

TEST_CASE("docs/errors.md is what `rondo errors --markdown` prints, with every code once",
          "[docs]") {
  INFO("refresh it: build/rondo errors --markdown > docs/errors.md");
  const std::string text = tool::errors_markdown(registry());
  CHECK((page("errors.md") == text));
  for (const tool::ErrorCode& e : tool::error_codes()) {
    CAPTURE(std::string(e.code));
    const std::string row = "\n| `" + std::string(e.code) + "` |";
    const size_t at = text.find(row);
    REQUIRE(at != std::string::npos);
    CHECK(text.find(row, at + 1) == std::string::npos);
    CHECK((e.fault == "argument" || e.fault == "unsupported" || e.fault == "internal"));
    CHECK(!e.means.empty());
    CHECK(!e.remedy.empty());
  }
}

TEST_CASE("a code is explained by the row that says most of it", "[docs]") {
  const auto says = [](std::string_view code, std::string_view words) {
    const std::string text = tool::explain_error(registry(), code);
    CAPTURE(std::string(code), text);
    CHECK(text.find(words) != std::string::npos);
  };
  says("matmul.b.dim", "a's K is not b's");
  says("lstm_layer.x.rank", "another rank than the signature has");
  says("placeholder.a.b.dim", "what is fed");
  says("file.node.truncated", "cut off");
  says("file.header.truncated", "header and footer");
  says("my_op.lengths.range", "more than T");
  says("matmul.b.dim", "the text says which one fixed it");
  says("dropout.rate.range", "would keep nothing");
  says("dropout.rate.range", "out of the attribute's range");
  says("adam.learning_rate.range", "learning rate");
  says("slice.bounds.range", "the text gives the range");
  CHECK(tool::explain_error(registry(), "sum.axes.twice").find("signature") == std::string::npos);
  CHECK(tool::explain_error(registry(), "no such code").empty());
}

TEST_CASE("a function that is no op is described where an op would be", "[docs]") {
  for (const tool::Function& f : tool::functions()) {
    CAPTURE(std::string(f.name));
    CHECK(registry().find(f.name) == nullptr);
    CHECK((f.builds.empty() || registry().find(f.builds) != nullptr));
    for (const std::string_view path : {f.header, f.page}) {
      std::ifstream file(cat(RONDO_SOURCE_DIR "/", path));
      std::stringstream text;
      text << file.rdbuf();
      const std::regex word(cat("\\b", f.name, path == f.header ? "\\(" : "\\b"));
      CHECK(std::regex_search(text.str(), word));
    }
    CHECK(tool::describe_function(f.name).find(f.page) != std::string::npos);
  }
  CHECK(tool::describe_function("no such function").empty());
}

TEST_CASE("an op's page shows the ranks that its results have", "[docs]") {
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    for (const Sample& s : op->samples) {
      const check::OpGraph g = check::graph_of(*op, s.attributes, check::draw(s, f32));
      const auto is_other_form = [&](size_t i) {  // a vector where the signature has rows
        const Slot& slot = op->parsed.slot_of(i);
        return g.inputs[i] && !slot.any_shape && g.inputs[i].rank() != slot.axes.size();
      };
      if (!g.inputs.empty() && is_other_form(0)) continue;
      for (size_t i = 0; i < g.outputs.size(); ++i) {
        if (!g.outputs[i]) continue;
        const std::vector<Slot> slots = op->signature(g.outputs[i].node().attributes).outputs;
        if (i < slots.size() && !slots[i].any_shape)
          CHECK(g.outputs[i].rank() == slots[i].axes.size());
      }
    }
  }
}

TEST_CASE("every op, operand and attribute is described", "[docs]") {
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    CHECK(op->doc.size() >= 5);  // "a < b"
    for (const AttributeDef& d : op->attributes) {
      CAPTURE(d.name);
      CHECK(!d.doc.empty());
    }
    const std::string text = describe_op(*op);
    CHECK(text.find(op->sig) != std::string::npos);
    for (const RefusedCall& r : op->refuses) CHECK(text.find(r.means) != std::string::npos);
  }
}
