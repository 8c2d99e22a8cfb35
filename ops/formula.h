// Formulas: what an elementwise op computes, as text that is parsed once into a small program.
//
// "max(x,0) + log1p(exp(-abs(x)))" serves the reference backend, the SIMD tiles, the fuser and the
// docs; the derivative beside it is a formula too, and becomes graph nodes, so that derivatives of
// any order exist.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>

namespace rondo {

/// The functions that a formula may use. Each has an op of the same name.
enum class Fn : uint8_t {
  kInput,
  kConstant,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMin,
  kMax,
  kAtan2,
  kMod,
  kFloorDiv,
  kNeg,
  kAbs,
  kSign,
  kFloor,
  kCeil,
  kRound,
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kLog2,
  kSqrt,
  kCbrt,
  kTanh,
  kSigmoid,
  kErf,
  kSin,
  kCos,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kEqual,
  kNotEqual,
  kAnd,
  kOr,
  kNot,
  kSelect,
};

/// One row of the table of functions.
struct FnInfo {
  Fn fn;
  std::string_view name;  ///< in formulas, and of the op
  int arity;
  bool truth;  ///< gives true or false
};
std::span<const FnInfo> formula_functions();
const FnInfo& info_of(Fn fn);

/// One step; `a`, `b`, `c` are indices of earlier steps.
struct Instruction {
  Fn fn = Fn::kConstant;
  int32_t a = -1, b = -1, c = -1;
  int32_t input = -1;   ///< kInput: which operand
  double constant = 0;  ///< kConstant
  bool operator==(const Instruction&) const = default;
};

/// A straight-line program; the last step is the result.
struct Program {
  std::vector<Instruction> code;
  int32_t inputs = 0;
  bool operator==(const Program&) const = default;
};

/// Parses `text` over operands named `inputs`; names in `numbers` stand for constants. Equal steps
/// are made once.
Program parse_formula(std::string_view text, std::span<const std::string> inputs,
                      const std::map<std::string, double, std::less<>>& numbers);

/// The program of an elementwise node's op under its attributes (numbers by attribute name).
Program program_of(const OpDef& op, const Attributes& attributes);

/// Adds `more` to `p`, its inputs being these steps of `p`. -> the step that is its result.
int32_t append(Program& p, const Program& more, std::span<const int32_t> inputs);

/// One function on numbers, in T's own precision: the meaning that every backend is tested against.
double evaluate(Fn fn, double a, double b, double c);
float evaluate(Fn fn, float a, float b, float c);
int64_t evaluate(Fn fn, int64_t a, int64_t b, int64_t c);
int32_t evaluate(Fn fn, int32_t a, int32_t b, int32_t c);

/// The program as graph nodes on `operands`.
Var build_formula(const Program& program, const Vars& operands);

}  // namespace rondo
