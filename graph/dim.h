// A dimension: an integer, a symbol, or a polynomial of symbols (`T+1`, `4*H`, `T*B`) with integer
// coefficients.
//
// Two dimensions are equal when their canonical polynomials are; what cannot be decided that way (T
// against 5) is left for the moment when values are bound. Symbols are plain names, global to a
// graph.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/list.h>

namespace rondo {

/// Values of symbols, fixed by the tensors that are fed.
using Binding = std::map<std::string, int64_t, std::less<>>;

/// A dimension: a polynomial of symbols with integer coefficients.
class Dim {
 public:
  Dim() = default;
  Dim(std::integral auto value)
      : constant_(static_cast<int64_t>(value)) {}  // NOLINT: implicit, {"T", "B", 12} is a shape
  /// Parses sums, differences and products: "T", "4*H", "T+1", "2*(I+H)".
  Dim(std::string_view expression);                                          // NOLINT
  Dim(const char* expression) : Dim(std::string_view(expression)) {}         // NOLINT
  Dim(const std::string& expression) : Dim(std::string_view(expression)) {}  // NOLINT

  /// A single symbol; the name is taken as it is.
  static Dim symbol(std::string name);

  bool is_constant() const { return terms_.empty(); }
  /// The number; an internal Error when symbols are left.
  int64_t constant() const;
  bool operator==(const Dim&) const = default;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  /// The exact quotient by a number, none when a coefficient is no multiple.
  std::optional<Dim> divided_by(int64_t d) const;
  /// Replaces the symbols that `binding` knows; all arithmetic is checked.
  Dim bind(const Binding& binding) const;
  /// Replaces symbols by dimensions.
  Dim substitute(const std::map<std::string, Dim, std::less<>>& values) const;
  /// Names of all symbols, sorted, each once.
  std::vector<std::string> symbols() const;
  std::string str() const;

 private:
  struct Term {
    std::vector<std::string> symbols;  // sorted, never empty
    int64_t coefficient = 0;           // never 0
    bool operator==(const Term&) const = default;
  };
  void add_term(const Term& t);

  int64_t constant_ = 0;
  std::vector<Term> terms_;  // sorted by symbols
};

std::ostream& operator<<(std::ostream& s, const Dim& d);

/// A shape whose dimensions may be symbolic.
using Shape = List<Dim>;
/// A shape of numbers.
using Dims = std::vector<int64_t>;

std::string to_string(const Shape& shape);  ///< "[T,B,12]"
std::ostream& operator<<(std::ostream& s, const Shape& shape);
std::string to_string(const Dims& dims);  ///< "[29,16,12]"
/// Number of elements; overflow is an Error.
int64_t element_count(const Dims& dims);
/// All dimensions as numbers, or none.
std::optional<Dims> constant_dims(const Shape& shape);
/// The same, as a shape.
Shape to_shape(const Dims& dims);
/// The shape under a binding; an Error names a symbol without a value or a negative dimension.
Dims bind(const Shape& shape, const Binding& binding);

}  // namespace rondo
