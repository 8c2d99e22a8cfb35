// What layers remember from one step of training to the next (batch_norm's running values) beside
// what is learnt by gradients: their ops say which results are the next values of which operands.
#pragma once

#include <rondo/autodiff/updaters.h>

namespace rondo {

/// An update for each variable that an op on the way to `values` keeps state in (OpDef::states), to
/// its value after a step of training. A Trainer makes them by itself; a loop over
/// Session::run_and_update adds them to the updater's.
Updates state_updates(const Vars& values);

}  // namespace rondo
