// Learning rates that change while a training runs, as data: a schedule becomes nodes that read the
// step counter, a variable. So nothing is compiled anew when the rate changes, and a training that
// was saved goes on at the rate at which it stopped.
//
// t counts the updates that were made before: 0 at the first one. A schedule in epochs is one in
// steps of `epochs * ceil(sequences / batch_size)` updates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>

namespace rondo {

namespace schedule {
struct Any;
struct Step;
struct Exponential;
struct Inverse;
struct Polynomial;
struct Cosine;
struct Cyclic;
struct WarmUp;
struct Plateau;
}  // namespace schedule

/// A learning rate: a number, which stays, or one of the schedules below.
class Schedule {
 public:
  // Implicit on purpose: {.learning_rate = 3e-3} and {.learning_rate = schedule::Step{...}}.
  Schedule(double rate);              // NOLINT
  Schedule(schedule::Step s);         // NOLINT
  Schedule(schedule::Exponential s);  // NOLINT
  Schedule(schedule::Inverse s);      // NOLINT
  Schedule(schedule::Polynomial s);   // NOLINT
  Schedule(schedule::Cosine s);       // NOLINT
  Schedule(schedule::Cyclic s);       // NOLINT
  Schedule(schedule::WarmUp s);       // NOLINT
  Schedule(schedule::Plateau s);      // NOLINT
  const schedule::Any& any() const { return *any_; }

 private:
  std::shared_ptr<const schedule::Any> any_;
};

namespace schedule {

/// from * factor^floor(t / every).
struct Step {
  double from = 0;
  double factor = 0.1;
  int64_t every = 0;
};

/// from * factor^(t / every).
struct Exponential {
  double from = 0;
  double factor = 0.99;
  int64_t every = 1;
};

/// from / (1 + gamma * t)^power.
struct Inverse {
  double from = 0;
  double gamma = 0;
  double power = 1;
};

/// to + (from - to) * (1 - t / steps)^power; after `steps`: to. Power 1 is a straight line.
struct Polynomial {
  double from = 0, to = 0;
  int64_t steps = 0;
  double power = 1;
};

/// to + (from - to) * (1 + cos(pi t / steps)) / 2; after `steps`: to. With restarts t begins again
/// at 0 after `steps`, and each period is `growth` times as long as the one before.
/// Source: Loshchilov and Hutter, SGDR (2017).
struct Cosine {
  double from = 0, to = 0;
  int64_t steps = 0;
  bool restarts = false;
  int64_t growth = 1;
};

/// Up from `low` to `high` in `up` steps, back in `down` (0: as many), again and again; each
/// triangle is `shrink` times as high as the one before. Source: Smith (2017).
struct Cyclic {
  double low = 0, high = 0;
  int64_t up = 0, down = 0;
  double shrink = 1;
};

/// `then` as it begins, times share + (1 - share) * t / steps, for `steps` steps; after them `then`
/// from its own t = 0. `then` must be given: to a rate that stays, {.steps = 100, .then = 3e-3}.
/// Source: Goyal et al. (2017).
struct WarmUp {
  int64_t steps = 0;
  double share = 0;
  Schedule then = 0;
};

/// From `from` times `factor`, never below `least`, whenever the mean loss of `every` updates (an
/// epoch, say) has not been under best - threshold |best| for more than `patience` such
/// means; the `cooldown` means after a change do not count. It sees the losses of the updates
/// themselves; wrapped by a WarmUp it sees those of the warm-up too.
struct Plateau {
  double from = 0;
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
  int64_t every = 1;
  int64_t cooldown = 0;
  double least = 0;
};

}  // namespace schedule

/// The rate after `steps` updates, at each of them: steps[...] of any float dtype, the result is
/// f64. Errors: a number that is out of range (`schedule.NAME.FIELD.range`); a Plateau, which
/// depends on losses (`schedule.plateau.losses`).
Var rate_at(const Schedule& schedule, const Var& steps);

}  // namespace rondo
