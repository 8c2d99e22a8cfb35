// What every stable code of an Error means and what to do about it, but for the rules that an op
// states by itself: those stand in its definition (OpDef::refuses).
//
// tests/check_errors.py holds the table and the sources against each other.
#pragma once

#include <span>
#include <string_view>

namespace rondo::tool {

/// One row. A segment in capitals stands for whatever is there: OP.OPERAND.dim is matmul.b.dim too.
struct ErrorCode {
  std::string_view code;
  std::string_view fault;   ///< "argument", "unsupported", "internal"
  std::string_view means;   ///< when it is thrown
  std::string_view remedy;  ///< what to do
};

/// All rows, in the order of the page.
std::span<const ErrorCode> error_codes();

}  // namespace rondo::tool
