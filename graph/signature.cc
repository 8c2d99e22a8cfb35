#include <rondo/graph/signature.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include <rondo/graph/op.h>

namespace rondo {
namespace {

// Letters of a signature must not be mistaken for symbols of the user's graph.
std::string letter(const std::string& name) { return "$" + name; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Signature parse() {
    Signature s;
    s.text = std::string(text_);
    std::vector<Slot>* side = &s.inputs;
    for (skip(); at_ < text_.size(); skip()) {
      if (text_.substr(at_, 2) == "->") {
        if (side == &s.outputs) bad("a second '->'");
        side = &s.outputs;
        at_ += 2;
        continue;
      }
      side->push_back(slot());
    }
    if (side != &s.outputs) bad("no '->'");
    for (const auto* slots : {&s.inputs, &s.outputs}) check_names(*slots);
    return s;
  }

 private:
  [[noreturn]] void bad(std::string_view why) const {
    throw DefinitionError("syntax", cat('"', text_, "\", position ", at_, ": ", why));
  }
  void check_names(const std::vector<Slot>& slots) const {
    for (size_t i = 0; i < slots.size(); ++i) {
      const auto same = [&](const Slot& s) { return s.name == slots[i].name; };
      const auto next = slots.begin() + static_cast<std::ptrdiff_t>(i) + 1;
      if (std::any_of(next, slots.end(), same))
        throw DefinitionError("twice",
                              cat('"', text_, "\" calls two things '", slots[i].name, "'"));
      if (slots[i].variadic && next != slots.end())
        throw DefinitionError("last", cat('"', text_, "\" has something behind '", slots[i].name,
                                          "', but what there is any number of stands last"));
    }
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == ',' || text_[at_] == '\n'))
      ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string word() {
    const size_t b = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    if (at_ == b) bad("a name is missing");
    return std::string(text_.substr(b, at_ - b));
  }
  Dim dimension(const std::string& text) const {
    try {
      return Dim(text);
    } catch (const Error& e) {
      bad(e.what());
    }
  }
  Slot slot() {
    Slot s;
    s.name = word();
    if (!take('[')) bad("'[' is missing");
    const size_t end = text_.find_first_of("[]>", at_);
    if (end == std::string_view::npos || text_[end] != ']') bad("']' is missing");
    const std::string_view axes = text_.substr(at_, end - at_);
    at_ = end + 1;
    if (axes == "...") {
      s.any_shape = true;
    } else if (!axes.empty()) {
      for (size_t b = 0; b <= axes.size();) {
        const size_t e = std::min(axes.find(',', b), axes.size());
        s.text.emplace_back(axes.substr(b, e - b));
        b = e + 1;
      }
    }
    for (const std::string& t : s.text) {
      const Dim plain = dimension(t);
      std::map<std::string, Dim, std::less<>> rename;
      for (const std::string& n : plain.symbols()) rename.emplace(n, Dim::symbol(letter(n)));
      s.axes.push_back(plain.substitute(rename));
    }
    if (take(':')) {
      static const std::map<std::string, SlotType> kTypes{
          {"int", SlotType::kInt}, {"i64", SlotType::kI64},   {"bool", SlotType::kBool},
          {"any", SlotType::kAny}, {"same", SlotType::kSame}, {"number", SlotType::kNumber}};
      const std::string type = word();
      const auto it = kTypes.find(type);
      if (it == kTypes.end())
        bad(cat("unknown type '", type,
                "'; there are int, i64, bool, any, same, number, none for floats"));
      s.type = it->second;
    }
    for (;;) {
      if (take('?')) {
        s.optional = true;
      } else if (take('!')) {
        s.differentiable = false;
      } else if (take('*')) {
        s.variadic = true;
      } else {
        break;
      }
    }
    if (s.type == SlotType::kInt || s.type == SlotType::kBool || s.type == SlotType::kI64)
      s.differentiable = false;
    return s;
  }

  std::string_view text_;
  size_t at_ = 0;
};

int index_of(const std::vector<Slot>& slots, std::string_view name) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

struct Bound {
  Dim value;
  std::string by;  // "y_last[32,64]", or what an attribute says
};
using Letters = std::map<std::string, Bound, std::less<>>;  // keyed by letter()

// Solves pattern(letter) = got for the one letter that is not bound yet: pattern = c * letter + k.
std::optional<Dim> solve(const Dim& pattern, const std::string& unknown, const Dim& got) {
  const Dim k = pattern.substitute({{unknown, Dim(0)}});
  const Dim c = pattern.substitute({{unknown, Dim(1)}}) - k;
  if (!c.is_constant() || c.constant() == 0) return std::nullopt;
  return (got - k).divided_by(c.constant());
}

// An operand for people: "x", or "xs[1]" where any number is taken.
std::string name_of(const Signature& s, size_t operand) {
  const Slot& slot = s.slot_of(operand);
  return slot.variadic ? cat(slot.name, "[", operand + 1 - s.inputs.size(), "]") : slot.name;
}

void check_types(const InferContext& c) {
  const ValueType* first_float = nullptr;
  const ValueType* first_same = nullptr;
  std::string float_by, same_by;
  for (size_t i = 0; i < c.count(); ++i) {
    if (!c.has(i)) continue;
    const Slot& s = c.signature().slot_of(i);
    const std::string name = name_of(c.signature(), i);
    const DType t = c[i].dtype;
    const auto agree = [&](const ValueType*& first, std::string& by) {
      if (first == nullptr) {
        first = &c[i];
        by = name;
      } else if (first->dtype != t) {
        c.refuse(s.name, "dtype", name, " is ", t, ", but ", by, " is ", first->dtype,
                 "; convert one of them with cast(", name, ", ", first->dtype, ")");
      }
    };
    const auto want = [&](bool ok, std::string_view what) {
      if (!ok) c.refuse(s.name, "dtype", name, " must be ", what, ", got ", t);
    };
    switch (s.type) {
      case SlotType::kFloat:
        want(is_float(t), "a float (f32, f64, bf16 or f16)");
        agree(first_float, float_by);
        break;
      case SlotType::kInt:
        want(is_integer(t), "an integer (i32 or i64)");
        break;
      case SlotType::kI64:
        want(t == i64, "i64");
        break;
      case SlotType::kBool:
        want(t == boolean, "bool");
        break;
      case SlotType::kNumber:
        if (t == boolean)
          c.refuse(s.name, "dtype", name, " must be of numbers, got bool; cast(", name,
                   ", i32) makes them 0 and 1");
        [[fallthrough]];
      case SlotType::kSame:
        agree(first_same, same_by);
        break;
      case SlotType::kAny:
        break;
    }
  }
}

DType output_dtype(const InferContext& c, const Slot& s) {
  const auto first = [&](SlotType type, DType fallback) {
    for (size_t i = 0; i < c.count(); ++i) {
      if (c.has(i) && c.signature().slot_of(i).type == type) return c[i].dtype;
    }
    return fallback;
  };
  switch (s.type) {
    case SlotType::kBool:
      return boolean;
    case SlotType::kI64:
      return i64;
    case SlotType::kInt:
      return first(SlotType::kInt, i64);
    case SlotType::kSame:
    case SlotType::kNumber:
      return first(s.type, f32);
    default:
      return first(SlotType::kFloat, f32);
  }
}

void check_arity(const InferContext& c) {
  const Signature& s = c.signature();
  const bool open = !s.inputs.empty() && s.inputs.back().variadic;
  if (open ? c.count() + 1 < s.inputs.size() : c.count() != s.inputs.size()) {
    c.refuse("inputs", "arity", "takes ", open ? "at least " : "",
             open ? s.inputs.size() - 1 : s.inputs.size(), " operands, got ", c.count());
  }
  for (size_t i = 0; i < c.count(); ++i) {
    const Slot& slot = s.slot_of(i);
    if (!c.has(i) && !slot.optional)
      c.refuse(slot.name, "missing", name_of(s, i), slot.any_shape ? "" : axes_of(slot),
               " is required and was not given");
  }
}

void match_axes(const InferContext& c, const Slot& s, const ValueType& in, Letters& letters) {
  if (in.shape.size() != s.axes.size()) {
    c.refuse(s.name, "rank", s.name, " has shape ", to_string(in.shape), ", but must have rank ",
             s.axes.size(), ": ", s.name, axes_of(s));
  }
  for (size_t a = 0; a < s.axes.size(); ++a) {
    const Dim& got = in.shape[a];
    std::map<std::string, Dim, std::less<>> known;
    std::vector<std::string> open;
    for (const std::string& n : s.axes[a].symbols()) {
      const auto it = letters.find(n);
      if (it == letters.end()) {
        open.push_back(n);
      } else {
        known.emplace(n, it->second.value);
      }
    }
    const Dim pattern = s.axes[a].substitute(known);
    if (open.size() > 1)
      throw DefinitionError("letter", cat('"', c.signature().text, "\": ", s.text[a],
                                          " has two letters that nothing before it fixes"));
    if (open.size() == 1) {
      const std::optional<Dim> v = solve(pattern, open[0], got);
      if (!v || (v->is_constant() && v->constant() < 0)) {
        c.refuse(s.name, "dim", s.name, " has shape ", to_string(in.shape), ", but axis ", a,
                 " must be ", s.text[a], " for a whole ", open[0].substr(1));
      }
      letters.emplace(open[0], Bound{*v, s.name + to_string(in.shape)});
    } else if (!c.equal(pattern, got)) {
      std::string why;
      for (const auto& [n, v] : known) {
        const Bound& b = letters.at(n);
        why += cat("\n  ", n.substr(1), " = ", b.value, " was fixed by ", b.by);
      }
      const bool shows_value = known.size() == 1 && pattern.str() == s.text[a];
      c.refuse(s.name, "dim", s.name, " has shape ", to_string(in.shape), ", but axis ", a,
               " must be ",
               known.empty() || shows_value ? pattern.str() : cat(s.text[a], " = ", pattern), why);
    }
  }
}

}  // namespace

int Signature::input(std::string_view name) const { return index_of(inputs, name); }
int Signature::output(std::string_view name) const { return index_of(outputs, name); }

std::string axes_of(const Slot& slot) {
  std::string s;
  for (const std::string& a : slot.text) s += (s.empty() ? "" : ",") + a;
  return "[" + s + "]";
}

Signature parse_signature(std::string_view text) { return Parser(text).parse(); }

bool InferContext::equal(const Dim& a, const Dim& b) const {
  if (a == b) return true;
  const Dim d = a - b;
  if (d.is_constant()) return false;  // T+1 against T
  undecided_ = true;
  return true;
}

int64_t InferContext::axis(int64_t axis, size_t rank, std::string_view name) const {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r)
    refuse(name, "range", name, " is ", axis, ", but must be in [", -r, ", ", r - 1,
           "] for an operand of rank ", r);
  return axis < 0 ? axis + r : axis;
}

std::vector<ValueType> InferContext::infer_as(const Signature& signature) const {
  const InferContext c(op_, signature, attributes_, inputs_, node_name_, site_, body_);
  std::vector<ValueType> r = infer_by_signature(c, true);
  undecided_ = undecided_ || c.undecided_;
  return r;
}

void InferContext::no_operand(size_t i) const {
  throw DefinitionError("name", cat("asks for operand ", i, ", but there are ", inputs_.size()));
}

void InferContext::refuse_text(std::string_view argument, std::string_view rule,
                               const std::string& message) const {
  std::string s = cat("[", title_of(op_.name, attributes_, node_name_), "] ", message);
  if (!signature_.text.empty()) s += "\n  signature: " + signature_.text;
  s += built_at(site_);
  throw Error(Fault::kArgument, cat(op_.name, ".", argument, ".", rule), s);
}

std::vector<ValueType> infer_by_signature(const InferContext& c, bool shapes) {
  check_arity(c);
  check_types(c);
  Letters letters;
  for (const FixedLetter& f : c.signature().fixed)
    letters.emplace(letter(f.letter), Bound{f.value, f.by});
  const ValueType* any = nullptr;
  for (size_t i = 0; shapes && i < c.count(); ++i) {
    if (!c.has(i)) continue;
    const Slot& s = c.signature().slot_of(i);
    if (!s.any_shape) {
      match_axes(c, s, c[i], letters);
    } else if (any == nullptr) {
      any = &c[i];
    }
  }
  std::map<std::string, Dim, std::less<>> values;
  for (const auto& [n, b] : letters) values.emplace(n, b.value);
  std::vector<ValueType> out;
  for (const Slot& s : c.signature().outputs) {
    ValueType t{output_dtype(c, s), {}, true};
    if (shapes && s.any_shape && any != nullptr) t.shape = any->shape;
    for (const Dim& d : s.axes) t.shape.push_back(d.substitute(values));
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace rondo
