#include <rondo/graph/list.h>

namespace rondo {

void refuse_index(const char* what, size_t size, ListIndex i) {
  fail(Fault::kArgument, "list.index.range", "[list] index is ", i.value, ", but ",
       size == 0   ? "there is nothing to take"
       : size == 1 ? "0 is the only one there is"
                   : cat("must be in [0, ", size - 1, "]"),
       what == nullptr ? "" : cat("; the list holds the ", what), built_at(i.at));
}

}  // namespace rondo
