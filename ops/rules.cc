#include <rondo/ops/rules.h>

#include <rondo/ops/shape.h>

namespace rondo {

const RuleSet& exact_rules() {
  static const auto* const kRules =
      new RuleSet(RuleSet(rules::exact_math()) + RuleSet(rules::exact_shape()));
  return *kRules;
}

const RuleSet& relaxed_rules() {
  static const auto* const kRules =
      new RuleSet(RuleSet(rules::relaxed_math()) + RuleSet(rules::relaxed_shape()));
  return *kRules;
}

namespace rules {
namespace {

template <class Holds>
Example only(Example e, Holds holds) {
  return [e = std::move(e), holds](const ExampleContext& c) {
    return holds(c.x.dtype()) ? e(c) : Var();
  };
}

}  // namespace

Example for_floats(Example e) { return only(std::move(e), is_float); }
Example for_integers(Example e) { return only(std::move(e), is_integer); }
Example for_numbers(Example e) {
  return only(std::move(e), [](DType t) { return t != boolean; });
}
Example for_bools(Example e) {
  return only(std::move(e), [](DType t) { return t == boolean; });
}

bool spreads(const Shape& from, const Shape& to) {
  if (from.size() > to.size()) return false;
  const size_t extra = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (!(from[i] == Dim(1)) && !(from[i] == to[i + extra])) return false;
  }
  return true;
}

Var in_place(const Match& m, const Var& v) {
  for (const Var& operand : m.root().inputs()) {
    if (operand && !spreads(operand.shape(), m.type().shape)) return {};
  }
  return m.fits(v) ? v : broadcast_to(v, m.type().shape);
}

}  // namespace rules
}  // namespace rondo
