// Gradients made shorter before an updater takes them.
#pragma once

#include <rondo/graph/graph.h>

namespace rondo {

/// Each element in [-limit, limit]. Error: a limit that is not positive.
Vars clip_by_value(const Vars& gradients, double limit);

/// Each gradient for itself, scaled by min(1, norm / ||g||_2).
Vars clip_by_norm(const Vars& gradients, double norm);

/// All gradients scaled by min(1, norm / ||all||_2).  Source: Pascanu et al. (2013).
Vars clip_by_global_norm(const Vars& gradients, double norm);

}  // namespace rondo
