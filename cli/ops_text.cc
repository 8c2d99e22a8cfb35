#include <algorithm>
#include <vector>

#include "ops_text.h"

#include <rondo/graph/describe.h>

namespace rondo::tool {
namespace {

std::string first_sentence(const std::string& text) {
  const std::string line = text.substr(0, text.find('\n'));
  return line.substr(0, line.find(". "));
}

std::vector<const OpDef*> ops_of(const OpRegistry& registry, const std::string& family) {
  std::vector<const OpDef*> r = registry.all();
  r.erase(std::remove_if(r.begin(), r.end(), [&](const OpDef* op) { return op->family != family; }),
          r.end());
  return r;
}

}  // namespace

std::string list_ops(const OpRegistry& registry) {
  size_t width = 0;
  for (const OpDef* op : registry.all()) width = std::max(width, op->name.size());
  std::string s;
  for (const std::string& family : registry.families()) {
    s += cat(s.empty() ? "" : "\n", family, "\n");
    for (const OpDef* op : ops_of(registry, family))
      s += "  " + op->name + std::string(width + 2 - op->name.size(), ' ') +
           first_sentence(op->doc) + "\n";
  }
  return s;
}

std::string ops_markdown(const OpRegistry& registry) {
  std::string s =
      "# Operations\n\n"
      "Made by `rondo ops --markdown` from the definitions in `ops/`; do not edit. `rondo ops "
      "NAME` "
      "says the same on a\n"
      "terminal.\n\n"
      "In a signature `[...]` is any shape, a letter binds a dimension, `?` marks an optional "
      "operand "
      "and `!` one that gets no\n"
      "gradient; `:int` is i32 or i64, `:any` any type, `:same` any type, the same for all that "
      "say "
      "so, `:number` the same but no bool; no type is a float (f64, f32, bf16,\n"
      "f16), one for the whole call. Letters: T time, B batch, I input, H hidden, P projected.\n\n"
      "Examples stand after `#include <rondo/rondo.h>` and `using namespace rondo;`. The suite "
      "compiles and runs them; a comment\n"
      "`// y: [T,B,4]` or `// y: {1, 2}` states a shape or values, which it checks.\n"
      "Attributes are shown as they stand in graphs and files. In C++ they are fields of the "
      "configuration structs (`ops/*.h`), in the\n"
      "struct's own order, as C++ demands of designated initialisers; a spelling is a value of an "
      "enumeration: `gate_act` \"RELU\" is\n"
      "`LSTMActivations::RELU`, `data_format` \"NTS\" is `NTS` for `lstm_layer` and "
      "`RnnDataFormat::NTS` elsewhere.\n"
      "What every op refuses is in [errors.md](errors.md), what one refuses by rules of its own is "
      "below. Coming from another\nlibrary: [migrating.md](migrating.md).\n\n"
      "| family | |\n|---|---|\n";
  for (const std::string& family : registry.families()) {
    s += cat("| ", family, " |");
    for (const OpDef* op : ops_of(registry, family)) s += cat(" [", op->name, "](#", op->name, ")");
    s += " |\n";
  }
  for (const std::string& family : registry.families()) {
    s += cat("\n## ", family, "\n");
    for (const OpDef* op : ops_of(registry, family)) s += "\n" + op_markdown(*op);
  }
  return s;
}

}  // namespace rondo::tool
