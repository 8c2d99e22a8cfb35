// Typed attributes of a node: what configures an op and is not data. Enumerations are names, never
// numbers.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <rondo/graph/dim.h>
#include <rondo/graph/dtype.h>
#include <rondo/graph/tensor.h>

namespace rondo {

/// One attribute's value. The alternatives are the types that files know.
class AttributeValue {
 public:
  /// Any of the types.
  using Variant = std::variant<bool, int64_t, double, std::string, DType, std::vector<int64_t>,
                               std::vector<std::string>, Shape, Tensor>;

  // Implicit on purpose: {"axis", 1} reads as data.
  AttributeValue(bool v) : v_(v) {}  // NOLINT
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  AttributeValue(I v) : v_(static_cast<int64_t>(v)) {}                        // NOLINT
  AttributeValue(std::floating_point auto v) : v_(static_cast<double>(v)) {}  // NOLINT
  AttributeValue(const char* v) : v_(std::string(v)) {}                       // NOLINT
  AttributeValue(std::string_view v) : v_(std::string(v)) {}                  // NOLINT
  AttributeValue(std::string v) : v_(std::move(v)) {}                         // NOLINT
  AttributeValue(DType v) : v_(v) {}                                          // NOLINT
  AttributeValue(std::vector<int64_t> v) : v_(std::move(v)) {}                // NOLINT
  AttributeValue(std::vector<std::string> v) : v_(std::move(v)) {}            // NOLINT
  AttributeValue(Shape v) : v_(std::move(v)) {}                               // NOLINT
  AttributeValue(Tensor v) : v_(std::move(v)) {}                              // NOLINT

  const Variant& variant() const { return v_; }
  /// The value as T, or null when it has another type.
  template <class T>
  const T* get() const {
    return std::get_if<T>(&v_);
  }
  /// "bool", "int", "float", "string", "dtype", "ints", "strings", "shape", "tensor".
  std::string_view type_name() const;
  /// As it is printed in a graph's text.
  std::string str() const;
  /// Same type and value; floats and tensors by their bits.
  bool operator==(const AttributeValue& o) const;

 private:
  Variant v_;
};

/// Text between quotes, on one line whatever it holds: quotes, backslashes and control bytes are
/// escaped.
std::string quoted(std::string_view text);

/// Attributes by name, sorted.
class Attributes {
 public:
  /// A name and its value.
  using Item = std::pair<std::string, AttributeValue>;

  Attributes() = default;
  Attributes(std::initializer_list<Item> items) {
    for (const Item& i : items) set(i.first, i.second);
  }

  /// Adds an attribute or gives it another value.
  void set(std::string_view name, AttributeValue value);
  const AttributeValue* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  std::span<const Item> items() const { return items_; }
  bool operator==(const Attributes&) const = default;

  // The value, of exactly that type; DefinitionError otherwise (validation has been done when the
  // node was made).
  bool flag(std::string_view name) const { return as<bool>(name); }
  int64_t integer(std::string_view name) const { return as<int64_t>(name); }
  double number(std::string_view name) const { return as<double>(name); }
  const std::string& text(std::string_view name) const { return as<std::string>(name); }
  DType dtype(std::string_view name) const { return as<DType>(name); }
  const std::vector<int64_t>& integers(std::string_view name) const {
    return as<std::vector<int64_t>>(name);
  }
  const std::vector<std::string>& texts(std::string_view name) const {
    return as<std::vector<std::string>>(name);
  }
  const Shape& shape(std::string_view name) const { return as<Shape>(name); }
  const Tensor& tensor(std::string_view name) const { return as<Tensor>(name); }

 private:
  template <class T>
  const T& as(std::string_view name) const {
    const AttributeValue* v = find(name);
    const T* p = v == nullptr ? nullptr : v->get<T>();
    if (p == nullptr) missing(name, AttributeValue::Variant(std::in_place_type<T>));
    return *p;
  }
  [[noreturn]] void missing(std::string_view name, const AttributeValue::Variant& wanted) const;

  std::vector<Item> items_;
};

/// What an op's definition says of one attribute.
struct AttributeDef {
  std::string name;
  /// Fixes the type; the value when it is not given (required and optional ones have none).
  AttributeValue default_value;
  std::string doc;
  /// Text: the spellings that are accepted; empty = any.
  std::vector<std::string> one_of = {};
  /// Numbers: the closed range that is accepted. NaN never is.
  std::optional<double> min = {}, max = {};
  /// Has no default: must be given.
  bool required = false;
  /// Has no default: when it is not given the call does not have it, which no value can say.
  bool optional = false;
};

}  // namespace rondo
