#include <rondo/ops/formula.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include <rondo/graph/op.h>
#include <rondo/ops/register.h>

namespace rondo {
namespace {

constexpr std::array kFunctions{
    FnInfo{Fn::kInput, "", 0, false},          FnInfo{Fn::kConstant, "", 0, false},
    FnInfo{Fn::kAdd, "add", 2, false},         FnInfo{Fn::kSub, "sub", 2, false},
    FnInfo{Fn::kMul, "mul", 2, false},         FnInfo{Fn::kDiv, "div", 2, false},
    FnInfo{Fn::kPow, "pow", 2, false},         FnInfo{Fn::kMin, "minimum", 2, false},
    FnInfo{Fn::kMax, "maximum", 2, false},     FnInfo{Fn::kAtan2, "atan2", 2, false},
    FnInfo{Fn::kMod, "mod", 2, false},         FnInfo{Fn::kFloorDiv, "floor_div", 2, false},
    FnInfo{Fn::kNeg, "neg", 1, false},         FnInfo{Fn::kAbs, "abs", 1, false},
    FnInfo{Fn::kSign, "sign", 1, false},       FnInfo{Fn::kFloor, "floor", 1, false},
    FnInfo{Fn::kCeil, "ceil", 1, false},       FnInfo{Fn::kRound, "round", 1, false},
    FnInfo{Fn::kExp, "exp", 1, false},         FnInfo{Fn::kExpm1, "expm1", 1, false},
    FnInfo{Fn::kLog, "log", 1, false},         FnInfo{Fn::kLog1p, "log1p", 1, false},
    FnInfo{Fn::kLog2, "log2", 1, false},       FnInfo{Fn::kSqrt, "sqrt", 1, false},
    FnInfo{Fn::kCbrt, "cbrt", 1, false},       FnInfo{Fn::kTanh, "tanh", 1, false},
    FnInfo{Fn::kSigmoid, "sigmoid", 1, false}, FnInfo{Fn::kErf, "erf", 1, false},
    FnInfo{Fn::kSin, "sin", 1, false},         FnInfo{Fn::kCos, "cos", 1, false},
    FnInfo{Fn::kLess, "less", 2, true},        FnInfo{Fn::kLessEqual, "less_equal", 2, true},
    FnInfo{Fn::kGreater, "greater", 2, true},  FnInfo{Fn::kGreaterEqual, "greater_equal", 2, true},
    FnInfo{Fn::kEqual, "equal", 2, true},      FnInfo{Fn::kNotEqual, "not_equal", 2, true},
    FnInfo{Fn::kAnd, "logical_and", 2, true},  FnInfo{Fn::kOr, "logical_or", 2, true},
    FnInfo{Fn::kNot, "logical_not", 1, true},  FnInfo{Fn::kSelect, "where", 3, false},
};

// comparison := sum (('<'|'<='|'>'|'>='|'==') sum)?; sum := product (('+'|'-') product)*; product
// := unary (('*'|'/') unary)*
class Parser {
 public:
  Parser(std::string_view text, std::span<const std::string> inputs,
         const std::map<std::string, double, std::less<>>& numbers)
      : text_(text), inputs_(inputs), numbers_(numbers) {
    program_.inputs = static_cast<int32_t>(inputs.size());
  }

  Program parse() {
    const int32_t r = comparison();
    skip();
    if (at_ != text_.size()) bad("unexpected text");
    // The result must stand last, also when it was shared.
    if (r != last()) emit_always(program_.code[static_cast<size_t>(r)]);
    return std::move(program_);
  }

 private:
  [[noreturn]] void bad(std::string_view why) const {
    fail_internal("formula \"", text_, "\", position ", at_, ": ", why);
  }
  int32_t last() const { return static_cast<int32_t>(program_.code.size()) - 1; }
  int32_t emit_always(const Instruction& i) {
    program_.code.push_back(i);
    return last();
  }
  int32_t emit(const Instruction& i) {
    const auto at = std::find(program_.code.begin(), program_.code.end(), i);
    return at == program_.code.end() ? emit_always(i)
                                     : static_cast<int32_t>(at - program_.code.begin());
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(std::string_view s) {
    skip();
    if (text_.substr(at_, s.size()) != s) return false;
    at_ += s.size();
    return true;
  }
  int32_t binary(Fn fn, int32_t a, int32_t b) { return emit({fn, a, b, -1, -1, 0}); }

  int32_t comparison() {
    const int32_t a = sum();
    if (take("<=")) return binary(Fn::kLessEqual, a, sum());
    if (take(">=")) return binary(Fn::kGreaterEqual, a, sum());
    if (take("==")) return binary(Fn::kEqual, a, sum());
    if (take("<")) return binary(Fn::kLess, a, sum());
    if (take(">")) return binary(Fn::kGreater, a, sum());
    return a;
  }
  int32_t sum() {
    int32_t a = product();
    for (;;) {
      if (take("+")) {
        a = binary(Fn::kAdd, a, product());
      } else if (take("-")) {
        a = binary(Fn::kSub, a, product());
      } else {
        return a;
      }
    }
  }
  int32_t product() {
    int32_t a = unary();
    for (;;) {
      if (take("*")) {
        a = binary(Fn::kMul, a, unary());
      } else if (take("/")) {
        a = binary(Fn::kDiv, a, unary());
      } else {
        return a;
      }
    }
  }
  int32_t unary() {
    if (take("-")) return emit({Fn::kNeg, unary(), -1, -1, -1, 0});
    if (take("(")) {
      const int32_t a = comparison();
      if (!take(")")) bad("')' is missing");
      return a;
    }
    skip();
    const auto digit = [](char c) {
      return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.';
    };
    if (at_ < text_.size() && digit(text_[at_])) {
      const std::string rest(text_.substr(at_));
      char* end = nullptr;
      const double v = std::strtod(rest.c_str(), &end);
      at_ += static_cast<size_t>(end - rest.c_str());
      return emit({Fn::kConstant, -1, -1, -1, -1, v});
    }
    return name();
  }
  int32_t name() {
    const size_t b = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    const std::string_view n = text_.substr(b, at_ - b);
    if (!take("(")) {
      for (size_t i = 0; i < inputs_.size(); ++i) {
        if (inputs_[i] == n) return emit({Fn::kInput, -1, -1, -1, static_cast<int32_t>(i), 0});
      }
      const auto number = numbers_.find(n);
      if (number == numbers_.end()) bad("unknown name");
      return emit({Fn::kConstant, -1, -1, -1, -1, number->second});
    }
    const auto f = std::find_if(kFunctions.begin(), kFunctions.end(),
                                [&](const FnInfo& i) { return !n.empty() && i.name == n; });
    if (f == kFunctions.end()) bad("unknown function");
    std::array<int32_t, 3> args{-1, -1, -1};
    for (int i = 0; i < f->arity; ++i) {
      if (i != 0 && !take(",")) bad("',' is missing");
      args[static_cast<size_t>(i)] = comparison();
    }
    if (!take(")")) bad("')' is missing");
    return emit({f->fn, args[0], args[1], args[2], -1, 0});
  }

  std::string_view text_;
  std::span<const std::string> inputs_;
  const std::map<std::string, double, std::less<>>& numbers_;
  Program program_;
  size_t at_ = 0;
};

template <class T>
T evaluate_float(Fn fn, T a, T b, T c) {
  const auto truth = [](bool v) { return v ? T{1} : T{0}; };
  switch (fn) {
    case Fn::kPow:
      return std::pow(a, b);
    case Fn::kAtan2:
      return std::atan2(a, b);
    case Fn::kMod: {
      const T r = std::fmod(a, b);
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case Fn::kFloorDiv: {
      if (b == 0) return a / b;
      const T r = std::fmod(a, b);
      const T whole = std::nearbyint((a - r) / b);
      return r != 0 && (r < 0) != (b < 0) ? whole - 1 : whole;
    }
    case Fn::kFloor:
      return std::floor(a);
    case Fn::kCeil:
      return std::ceil(a);
    case Fn::kRound:
      return std::nearbyint(a);
    case Fn::kExp:
      return std::exp(a);
    case Fn::kExpm1:
      return std::expm1(a);
    case Fn::kLog:
      return std::log(a);
    case Fn::kLog1p:
      return std::log1p(a);
    case Fn::kLog2:
      return std::log2(a);
    case Fn::kSqrt:
      return std::sqrt(a);
    case Fn::kCbrt:
      return std::cbrt(a);
    case Fn::kTanh:
      return std::tanh(a);
    case Fn::kSigmoid: {
      const T z = std::exp(-std::abs(a));  // of a itself it would overflow
      return (a < T{0} ? z : T{1}) / (T{1} + z);
    }
    case Fn::kErf:
      return std::erf(a);
    case Fn::kSin:
      return std::sin(a);
    case Fn::kCos:
      return std::cos(a);
    case Fn::kAdd:
      return a + b;
    case Fn::kSub:
      return a - b;
    case Fn::kMul:
      return a * b;
    case Fn::kDiv:
      return a / b;
    case Fn::kNeg:
      return -a;
    case Fn::kAbs:
      return std::abs(a);
    case Fn::kSign:
      return std::isnan(a) ? a : T(a > 0) - T(a < 0);
    case Fn::kMin:
      return std::isnan(a) || a <= b ? a : b;
    case Fn::kMax:
      return std::isnan(a) || a >= b ? a : b;
    case Fn::kLess:
      return truth(a < b);
    case Fn::kLessEqual:
      return truth(a <= b);
    case Fn::kGreater:
      return truth(a > b);
    case Fn::kGreaterEqual:
      return truth(a >= b);
    case Fn::kEqual:
      return truth(a == b);
    case Fn::kNotEqual:
      return truth(a != b);
    case Fn::kAnd:
      return truth(a != 0 && b != 0);
    case Fn::kOr:
      return truth(a != 0 || b != 0);
    case Fn::kNot:
      return truth(a == 0);
    case Fn::kSelect:
      return a != 0 ? b : c;
    default:
      return a;
  }
}

// Integers wrap, as in NumPy; division by zero gives 0, so that no input can trap.
template <class T>
T evaluate_integer(Fn fn, T a, T b, T c) {
  using U = std::make_unsigned_t<T>;
  switch (fn) {
    case Fn::kAdd:
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    case Fn::kSub:
      return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
    case Fn::kMul:
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    case Fn::kDiv:
      return b == 0 ? T{0} : b == -1 ? static_cast<T>(U{0} - static_cast<U>(a)) : a / b;
    case Fn::kMod: {
      const T r = b == 0 || b == -1 ? T{0} : static_cast<T>(a % b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
    }
    case Fn::kFloorDiv: {
      if (b == 0) return T{0};
      if (b == -1) return static_cast<T>(U{0} - static_cast<U>(a));
      return a % b != 0 && (a < 0) != (b < 0) ? a / b - 1 : a / b;
    }
    case Fn::kNeg:
      return static_cast<T>(U{0} - static_cast<U>(a));
    case Fn::kAbs:
      return a < 0 ? static_cast<T>(U{0} - static_cast<U>(a)) : a;
    case Fn::kSign:
      return T(a > 0) - T(a < 0);
    case Fn::kMin:
      return std::min(a, b);
    case Fn::kMax:
      return std::max(a, b);
    case Fn::kFloor:
    case Fn::kCeil:
    case Fn::kRound:
      return a;
    case Fn::kLess:
      return a < b;
    case Fn::kLessEqual:
      return a <= b;
    case Fn::kGreater:
      return a > b;
    case Fn::kGreaterEqual:
      return a >= b;
    case Fn::kEqual:
      return a == b;
    case Fn::kNotEqual:
      return a != b;
    case Fn::kAnd:
      return a != 0 && b != 0;
    case Fn::kOr:
      return a != 0 || b != 0;
    case Fn::kNot:
      return a == 0;
    case Fn::kSelect:
      return a != 0 ? b : c;
    default:
      return a;
  }
}

}  // namespace

std::span<const FnInfo> formula_functions() { return kFunctions; }
const FnInfo& info_of(Fn fn) { return kFunctions[static_cast<size_t>(fn)]; }

Program parse_formula(std::string_view text, std::span<const std::string> inputs,
                      const std::map<std::string, double, std::less<>>& numbers) {
  return Parser(text, inputs, numbers).parse();
}

Program program_of(const OpDef& op, const Attributes& attributes) {
  std::vector<std::string> inputs;
  for (const Slot& s : op.parsed.inputs) inputs.push_back(s.name);
  std::map<std::string, double, std::less<>> numbers;
  for (const auto& [name, value] : attributes.items()) {
    if (const auto* d = value.get<double>()) numbers.emplace(name, *d);
  }
  return parse_formula(op.formula, inputs, numbers);
}

double evaluate(Fn fn, double a, double b, double c) { return evaluate_float(fn, a, b, c); }
float evaluate(Fn fn, float a, float b, float c) { return evaluate_float(fn, a, b, c); }
int64_t evaluate(Fn fn, int64_t a, int64_t b, int64_t c) { return evaluate_integer(fn, a, b, c); }
int32_t evaluate(Fn fn, int32_t a, int32_t b, int32_t c) { return evaluate_integer(fn, a, b, c); }

int32_t append(Program& p, const Program& more, std::span<const int32_t> inputs) {
  std::vector<int32_t> at;
  for (const Instruction& i : more.code) {
    if (i.fn == Fn::kInput) {
      at.push_back(inputs[static_cast<size_t>(i.input)]);
      continue;
    }
    Instruction moved = i;
    for (int32_t* k : {&moved.a, &moved.b, &moved.c}) {
      if (*k >= 0) *k = at[static_cast<size_t>(*k)];
    }
    p.code.push_back(moved);
    at.push_back(static_cast<int32_t>(p.code.size()) - 1);
  }
  return at.back();
}

Var build_formula(const Program& program, const Vars& operands) {
  Graph g = graph_of(operands, "formula");
  DType dtype = f32;
  for (const Var& v : operands) {
    if (v && v.dtype() != boolean) dtype = v.dtype();
  }
  Vars at;
  for (const Instruction& i : program.code) {
    if (i.fn == Fn::kInput) {
      at.push_back(g.adopt(operands.at(static_cast<size_t>(i.input)), "formula"));
    } else if (i.fn == Fn::kConstant) {
      at.push_back(g.constant(Tensor::scalar(dtype, i.constant)));
    } else {
      Vars in;
      for (const int32_t k : {i.a, i.b, i.c}) {
        if (k >= 0) in.push_back(at[static_cast<size_t>(k)]);
      }
      at.push_back(g.call(registry().at(info_of(i.fn).name), in, {})[0]);
    }
  }
  return at.back();
}

}  // namespace rondo
