// Every recurrent op under all pairs of its options: a table of options for each op, and the calls
// that a covering array over them gives. What the tests of options run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pairwise.h"

#include <rondo/graph/op.h>
#include <rondo/runtime/session.h>

namespace rondo::test {

/// One option: a name, and how many values it has.
struct Factor {
  std::string name;
  size_t levels;
};

struct OptionCase;
struct Picked;

/// The options of an op, what a choice of them means, and which exclude each other.
struct Family {
  std::string op;
  std::vector<Factor> factors;
  void (*fill)(OptionCase& c, const Picked& level);
  bool (*allows)(const Picked& level) = nullptr;

  std::vector<size_t> levels() const;
  Rule rule() const;
};

/// A choice by the names of the factors.
struct Picked {
  const Family& family;
  const Choice& choice;

  size_t operator()(std::string_view factor) const;
  /// Whether the factor has this value, or is open.
  bool may_be(std::string_view factor, size_t level) const;
};

/// One call: an op with values for all of its operands.
struct OptionCase {
  const OpDef* op = nullptr;
  uint64_t seed = 0;
  Attributes attributes = {};
  std::vector<Tensor> inputs = {};  ///< in the order of the signature, f64; null = absent
  RunOptions run = {};
  std::string name = {};

  void give(const Dims& dims, bool present = true);
  void give_value(Tensor value) { inputs.push_back(std::move(value)); }
  void set(std::string_view attribute, AttributeValue v) {
    attributes.set(attribute, std::move(v));
  }
};

/// A table for each recurrent op.
const std::vector<Family>& families();
/// A choice as a call; another `attempt` draws other numbers.
OptionCase case_of(const Family& family, const Choice& choice, uint64_t attempt = 0);
/// All rows of all tables, or of one op's.
std::vector<OptionCase> option_cases(std::string_view op = {});

}  // namespace rondo::test
