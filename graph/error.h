// The one error type of the library, and the place in a user's program that it points at.
//
// Every refusal carries a stable rule code (`op.argument.rule`, e.g. `matmul.b.dim`), says who is
// at fault and what to do next. The library never aborts and never validates with assert.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace rondo {

/// Who can mend it: the caller (argument), the environment or a missing kernel (unsupported), or we
/// (internal).
enum class Fault { kArgument, kUnsupported, kInternal };

/// A line of the user's program. Taken by a default argument, so that errors can say where a node
/// was built.
struct Site {
  const char* file = nullptr;
  int line = 0;

  /// The line that calls the function of which this is a default argument.
  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// What every function of the library throws. `what()` is complete: op, argument, got, wanted, and
/// where it was built.
class [[gnu::visibility("default")]] Error : public std::runtime_error {
 public:
  Error(Fault fault, std::string code, const std::string& message)
      : std::runtime_error(message), fault_(fault), code_(std::move(code)) {}

  Fault fault() const { return fault_; }
  /// The stable rule code, `op.argument.rule`.
  const std::string& code() const { return code_; }

 private:
  Fault fault_;
  std::string code_;
};

/// A function of an op's definition asks for what the op has not, or its signature cannot be read.
/// Who calls such functions says of which op (graph/op.h); where none did, we are at fault.
class [[gnu::visibility("default")]] DefinitionError : public Error {
 public:
  /// `text` goes on after the function's name; `name` is what was asked for, if it has one.
  DefinitionError(std::string rule, const std::string& text, std::string name = {})
      : Error(Fault::kInternal, "rondo.internal", "internal error (please report it): " + text),
        rule_(std::move(rule)),
        text_(text),
        name_(std::move(name)) {}

  const std::string& rule() const { return rule_; }
  const std::string& text() const { return text_; }
  const std::string& name() const { return name_; }

 private:
  std::string rule_, text_, name_;
};

/// Joins values into a string through operator<<.
template <class... A>
std::string cat(const A&... a) {
  std::ostringstream s;
  (s << ... << a);
  return std::move(s).str();
}

/// Throws an Error; the message is the arguments, joined.
template <class... A>
[[noreturn]] void fail(Fault fault, std::string code, const A&... message) {
  throw Error(fault, std::move(code), cat(message...));
}

/// "\n  built at FILE:LINE", how a message ends; nothing where the place is not known.
inline std::string built_at(Site at) {
  return at.file == nullptr ? "" : cat("\n  built at ", at.file, ":", at.line);
}

/// A broken promise of our own: says so, and names the place.
template <class... A>
[[noreturn]] void fail_internal(const A&... message) {
  throw Error(Fault::kInternal, "rondo.internal",
              cat("internal error (please report it): ", message...));
}

}  // namespace rondo
