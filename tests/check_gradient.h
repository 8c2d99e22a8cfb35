// What tests of gradients share: the library's own check, and samples to run it on.
#pragma once

#include "registry_samples.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/check_gradients.h>
#include <rondo/runtime/session.h>

namespace rondo::test {

inline std::shared_ptr<ThreadTeam> one_thread() {
  static const auto team = std::make_shared<ThreadTeam>(1);
  return team;
}

}  // namespace rondo::test
