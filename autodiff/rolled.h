// Before a gradient is taken, the loops that a user unrolled become recurrences within their graph:
// the gradient of one is one node instead of a loop back.
//
// What was built on the recurrences no longer passes through the values inside of the loops. A
// gradient of a gradient by one of those would be 0 without a word, so it is refused.
#pragma once

#include <rondo/graph/graph.h>

namespace rondo {

/// Replaces `outputs` by the same values with loops between `wrt` and them as recurrences, and
/// `wrt` by what they depend on then. Nodes that stay as they are keep their identity.
void roll_between(Graph g, Vars* wrt, Vars* outputs);

/// Error gradients.wrt.rolled: `outputs` were built on a recurrence that stands for a loop, or what
/// follows it, and a value of `wrt` is of those.
void refuse_rolled(Graph g, const Vars& wrt, const Vars& outputs);

}  // namespace rondo
