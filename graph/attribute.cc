#include <rondo/graph/attribute.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace rondo {
namespace {

constexpr std::array<std::string_view, 9> kTypeNames{"bool", "int",     "float", "string", "dtype",
                                                     "ints", "strings", "shape", "tensor"};
constexpr int64_t kTensorElementsPrinted = 8;

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

// The shortest of two spellings that reads back as the same bits.
std::string number_str(double v) {
  std::string brief = cat(v);
  if (!std::isfinite(v) || std::strtod(brief.c_str(), nullptr) == v) return brief;
  std::ostringstream s;
  s.precision(std::numeric_limits<double>::max_digits10);
  s << v;
  return s.str();
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string s = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      s += {'\\', c};
    } else if (c == '\n') {
      s += "\\n";
    } else if (u < 0x20 || u == 0x7f) {
      s += {'\\', 'x', kHex[u >> 4], kHex[u & 15]};
    } else {
      s += c;
    }
  }
  return s + '"';
}

std::string_view AttributeValue::type_name() const { return kTypeNames[v_.index()]; }

std::string AttributeValue::str() const {
  const auto list = [](const auto& values, const auto& one) {
    std::string s = "[";
    for (size_t i = 0; i < values.size(); ++i) s += (i != 0 ? "," : "") + one(values[i]);
    return s + "]";
  };
  return std::visit(
      Overload{[](bool v) { return std::string(v ? "true" : "false"); },
               [](int64_t v) { return std::to_string(v); }, [](double v) { return number_str(v); },
               [](const std::string& v) { return quoted(v); },
               [](DType v) { return std::string(name_of(v)); },
               [&](const std::vector<int64_t>& v) {
                 return list(v, [](int64_t i) { return std::to_string(i); });
               },
               [&](const std::vector<std::string>& v) {
                 return list(v, [](const std::string& t) { return quoted(t); });
               },
               [](const Shape& v) { return to_string(v); },
               [](const Tensor& v) {
                 if (!v) return std::string("none");
                 std::string s = cat(v.dtype(), to_string(v.dims()));
                 if (v.size() > kTensorElementsPrinted) return s;
                 s += "{";
                 for (int64_t i = 0; i < v.size(); ++i)
                   s += (i != 0 ? "," : "") + number_str(v.at(i));
                 return s + "}";
               }},
      v_);
}

bool AttributeValue::operator==(const AttributeValue& o) const {
  if (v_.index() != o.v_.index()) return false;
  if (const auto* d = get<double>())
    return std::bit_cast<uint64_t>(*d) == std::bit_cast<uint64_t>(*o.get<double>());
  return v_ == o.v_;
}

void Attributes::set(std::string_view name, AttributeValue value) {
  const auto at = std::lower_bound(items_.begin(), items_.end(), name,
                                   [](const Item& i, std::string_view n) { return i.first < n; });
  if (at != items_.end() && at->first == name) {
    at->second = std::move(value);
  } else {
    items_.insert(at, Item(std::string(name), std::move(value)));
  }
}

const AttributeValue* Attributes::find(std::string_view name) const {
  const auto at = std::lower_bound(items_.begin(), items_.end(), name,
                                   [](const Item& i, std::string_view n) { return i.first < n; });
  return at != items_.end() && at->first == name ? &at->second : nullptr;
}

void Attributes::missing(std::string_view name, const AttributeValue::Variant& wanted) const {
  const AttributeValue* v = find(name);
  const std::string what = cat("asks for the attribute '", name, "'");
  if (v == nullptr) throw DefinitionError("name", what + ", which is not there", std::string(name));
  throw DefinitionError("type", cat(what, " as ", kTypeNames[wanted.index()],
                                    ", but it is of type ", v->type_name()));
}

}  // namespace rondo
