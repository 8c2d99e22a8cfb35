#include <rondo/runtime/backend.h>

namespace rondo {

const Backend& backend(std::string_view name) {
  std::string known;
  for (const Backend* b : linked_backends()) {
    if (b->name() == name) return *b;
    known += " " + std::string(b->name());
  }
  fail(Fault::kArgument, "backend.name.unknown", "this build has no backend '", name, "'; it has",
       known);
}

}  // namespace rondo
