// Facts about ops as rewrite rules: rows of pattern and replacement, each with an example of its
// own that the suite fuzzes (tests/rewrite_rules.cc): it fires, keeps the value, keeps the type.
//
// Exact rules keep every bit (a NaN stays a NaN; which one is not promised). Relaxed ones keep
// values within rounding and do not tell 0 from -0. A rule never lets shapes pass that must be
// equal and can only be compared once symbols are bound; work that vanishes takes its checks with
// it.
#pragma once

#include <vector>

#include <rondo/graph/rewrite.h>

namespace rondo {

/// Rules after which the same bits come out.
const RuleSet& exact_rules();
/// Rules after which values differ by rounding at most.
const RuleSet& relaxed_rules();

namespace rules {

/// The rows by family: rules_math.cc, rules_shape.cc.
std::vector<Rule> exact_math();
std::vector<Rule> relaxed_math();
std::vector<Rule> exact_shape();
std::vector<Rule> relaxed_shape();

using Example = std::function<Var(const ExampleContext&)>;
/// Examples for some dtypes only; null for the others.
Example for_floats(Example e);
Example for_numbers(Example e);  ///< floats and integers
Example for_integers(Example e);
Example for_bools(Example e);

/// Whether a value of shape `from` can be broadcast to `to` whatever values the symbols get.
bool spreads(const Shape& from, const Shape& to);
/// `v` in the place of the match's elementwise root: as it is, or broadcast to the root's shape.
/// Null when some operand's shape is still to be checked against the result's.
Var in_place(const Match& m, const Var& v);

}  // namespace rules
}  // namespace rondo
