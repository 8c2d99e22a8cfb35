#include <rondo/graph/dim.h>

#include <algorithm>
#include <cctype>

#include <rondo/graph/checked.h>

namespace rondo {
namespace {

constexpr size_t kMostTerms = 256;

// expression := product (('+'|'-') product)*; product := factor ('*' factor)*; factor := number |
// name | '(' expression ')'
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Dim parse() {
    const Dim d = expression();
    skip();
    if (at_ != text_.size()) bad("unexpected text");
    return d;
  }

 private:
  [[noreturn]] void bad(std::string_view why) const {
    fail(Fault::kArgument, "shape.dim.syntax", "'", text_, "' is no dimension: ", why,
         " at position ", at_, "; write a number, a name, or a sum of products such as 4*H or T+1");
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Dim expression() {
    if (++depth_ > 32) bad("nested too deeply");
    Dim d = take('-') ? Dim(0) - product() : product();
    for (;;) {
      if (take('+')) {
        d = d + product();
      } else if (take('-')) {
        d = d - product();
      } else {
        --depth_;
        return d;
      }
    }
  }
  Dim product() {
    Dim d = factor();
    while (take('*')) d = d * factor();
    return d;
  }
  Dim factor() {
    if (take('(')) {
      Dim d = expression();
      if (!take(')')) bad("missing ')'");
      return d;
    }
    skip();
    const size_t begin = at_;
    if (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0) {
      int64_t v = 0;
      while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0) {
        v = checked_add(checked_mul(v, 10), text_[at_++] - '0');
      }
      return v;
    }
    const auto is_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '$';
    };
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (at_ == begin) bad("a number or a name is missing");
    return Dim::symbol(std::string(text_.substr(begin, at_ - begin)));
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Dim::Dim(std::string_view expression) { *this = Parser(expression).parse(); }

Dim Dim::symbol(std::string name) {
  Dim d;
  d.terms_.push_back({{std::move(name)}, 1});
  return d;
}

int64_t Dim::constant() const {
  if (!is_constant()) fail_internal("dimension ", str(), " is not a number yet");
  return constant_;
}

void Dim::add_term(const Term& t) {
  if (t.symbols.empty()) {
    constant_ = checked_add(constant_, t.coefficient);
    return;
  }
  const auto at =
      std::lower_bound(terms_.begin(), terms_.end(), t,
                       [](const Term& a, const Term& b) { return a.symbols < b.symbols; });
  if (at == terms_.end() || at->symbols != t.symbols) {
    if (t.coefficient == 0) return;
    // (a+b)*(c+d)*... doubles with each factor; a file must not be able to ask for that.
    if (terms_.size() == kMostTerms)
      fail(Fault::kArgument, "shape.dim.terms", "a dimension has at most ", kMostTerms, " terms");
    terms_.insert(at, t);
    return;
  }
  at->coefficient = checked_add(at->coefficient, t.coefficient);
  if (at->coefficient == 0) terms_.erase(at);
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim r = a;
  r.constant_ = checked_add(r.constant_, b.constant_);
  for (const auto& t : b.terms_) r.add_term(t);
  return r;
}

Dim operator-(const Dim& a, const Dim& b) { return a + Dim(-1) * b; }

Dim operator*(const Dim& a, const Dim& b) {
  Dim r;
  r.constant_ = checked_mul(a.constant_, b.constant_);
  for (const auto& t : a.terms_) r.add_term({t.symbols, checked_mul(t.coefficient, b.constant_)});
  for (const auto& t : b.terms_) r.add_term({t.symbols, checked_mul(t.coefficient, a.constant_)});
  for (const auto& s : a.terms_) {
    for (const auto& t : b.terms_) {
      Dim::Term p{s.symbols, checked_mul(s.coefficient, t.coefficient)};
      p.symbols.insert(p.symbols.end(), t.symbols.begin(), t.symbols.end());
      std::sort(p.symbols.begin(), p.symbols.end());
      r.add_term(p);
    }
  }
  return r;
}

std::optional<Dim> Dim::divided_by(int64_t d) const {
  if (d == -1) return Dim(-1) * *this;  // the smallest integer has no remainder by -1
  if (d == 0 || constant_ % d != 0) return std::nullopt;
  Dim r = *this;
  r.constant_ /= d;
  for (auto& t : r.terms_) {
    if (t.coefficient % d != 0) return std::nullopt;
    t.coefficient /= d;
  }
  return r;
}

Dim Dim::bind(const Binding& binding) const {
  if (is_constant()) return *this;
  Dim r(constant_);
  for (const auto& t : terms_) {
    Term left{{}, t.coefficient};
    for (const auto& s : t.symbols) {
      const auto it = binding.find(s);
      if (it == binding.end()) {
        left.symbols.push_back(s);
      } else {
        left.coefficient = checked_mul(left.coefficient, it->second);
      }
    }
    r.add_term(left);
  }
  return r;
}

Dim Dim::substitute(const std::map<std::string, Dim, std::less<>>& values) const {
  Dim r(constant_);
  for (const auto& t : terms_) {
    Dim p(t.coefficient);
    for (const auto& s : t.symbols) {
      const auto it = values.find(s);
      p = p * (it == values.end() ? Dim::symbol(s) : it->second);
    }
    r = r + p;
  }
  return r;
}

std::vector<std::string> Dim::symbols() const {
  std::vector<std::string> r;
  for (const auto& t : terms_) r.insert(r.end(), t.symbols.begin(), t.symbols.end());
  std::sort(r.begin(), r.end());
  r.erase(std::unique(r.begin(), r.end()), r.end());
  return r;
}

std::string Dim::str() const {
  std::string s;
  const auto sign = [&](int64_t c) {
    if (c < 0) {
      s += '-';
    } else if (!s.empty()) {
      s += '+';
    }
    return c < 0 ? 0 - static_cast<uint64_t>(c) : static_cast<uint64_t>(c);
  };
  for (const auto& t : terms_) {
    const uint64_t c = sign(t.coefficient);
    if (c != 1) s += std::to_string(c) + "*";
    for (size_t i = 0; i < t.symbols.size(); ++i) s += (i != 0 ? "*" : "") + t.symbols[i];
  }
  if (constant_ != 0 || s.empty()) {
    const uint64_t c = sign(constant_);
    s += std::to_string(c);
  }
  return s;
}

std::ostream& operator<<(std::ostream& s, const Dim& d) { return s << d.str(); }

std::string to_string(const Shape& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i != 0 ? "," : "") + shape[i].str();
  return s + "]";
}

std::ostream& operator<<(std::ostream& s, const Shape& shape) { return s << to_string(shape); }

std::string to_string(const Dims& dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i != 0 ? "," : "") + std::to_string(dims[i]);
  return s + "]";
}

int64_t element_count(const Dims& dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n = checked_mul(n, d);
  return n;
}

std::optional<Dims> constant_dims(const Shape& shape) {
  Dims r;
  for (const Dim& d : shape) {
    if (!d.is_constant()) return std::nullopt;
    r.push_back(d.constant());
  }
  return r;
}

Shape to_shape(const Dims& dims) { return {dims.begin(), dims.end()}; }

Dims bind(const Shape& shape, const Binding& binding) {
  Dims r;
  r.reserve(shape.size());
  for (const Dim& d : shape) {
    const Dim b = d.bind(binding);
    if (!b.is_constant()) {
      fail(Fault::kArgument, "shape.symbol.unbound", "dimension ", d, " of ", to_string(shape),
           " has no value: nothing that was fed fixes ", b.symbols().front());
    }
    if (b.constant() < 0)
      fail(Fault::kArgument, "shape.dim.negative", "dimension ", d, " of ", to_string(shape),
           " is ", b.constant());
    r.push_back(b.constant());
  }
  return r;
}

}  // namespace rondo
