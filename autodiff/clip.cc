#include <rondo/autodiff/clip.h>

#include <rondo/autodiff/settings.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>

namespace rondo {

Vars clip_by_value(const Vars& gradients, double limit) {
  check_range(limit, kPositive, "clip_by_value.limit");
  Vars r;
  for (const Var& g : gradients) r.push_back(clip(g, -limit, limit));
  return r;
}

Vars clip_by_norm(const Vars& gradients, double norm) {
  check_range(norm, kPositive, "clip_by_norm.norm");
  Vars r;
  for (const Var& g : gradients) r.push_back(clip_by_global_norm({g}, norm)[0]);
  return r;
}

Vars clip_by_global_norm(const Vars& gradients, double norm) {
  check_range(norm, kPositive, "clip_by_global_norm.norm");
  Var total;
  for (const Var& g : gradients) {
    const Var s = sum(square(cast(g, f64)));
    total = total ? total + s : s;
  }
  Vars r;
  if (!total) return r;
  const Var length = sqrt(total);
  const Var scale = where(length > norm, norm / length, 1);
  for (const Var& g : gradients) r.push_back(g * cast(scale, g.dtype()));
  return r;
}

}  // namespace rondo
