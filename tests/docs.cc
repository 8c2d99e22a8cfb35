// The generated pages are those of this build.
#include <fstream>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "../cli/ops_text.h"

#include <rondo/ops/register.h>

using namespace rondo;

TEST_CASE("docs/ops.md is what `rondo ops --markdown` prints", "[docs]") {
  std::ifstream file(RONDO_SOURCE_DIR "/docs/ops.md");
  std::stringstream text;
  text << file.rdbuf();
  INFO("refresh it: build/rondo ops --markdown > docs/ops.md");
  CHECK((text.str() == tool::ops_markdown(registry())));
}

TEST_CASE("every op, operand and attribute is described, and every alias is of something",
          "[docs]") {
  for (const OpDef* op : registry().all()) {
    INFO(op->name);
    CHECK(op->doc.size() >= 5);  // "a < b"
    for (const AttributeDef& d : op->attributes) {
      CAPTURE(d.name);
      CHECK(!d.doc.empty());
    }
    for (const Alias& a : op->aliases) {
      CAPTURE(a.name, a.of);
      const auto is = [&](const auto& list) {
        return std::any_of(list.begin(), list.end(), [&](const auto& e) { return e.name == a.of; });
      };
      CHECK(
          (a.of.empty() || is(op->parsed.inputs) || is(op->parsed.outputs) || is(op->attributes)));
    }
    const std::string text = tool::describe_op(*op);
    CHECK(text.find(op->sig) != std::string::npos);
  }
}
