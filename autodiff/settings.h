// A struct of settings as a table of its fields: what checks it, saves it and restores it. An
// updater or a schedule is so said once: its struct for the user, a row for everything else.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include <rondo/autodiff/schedules.h>
#include <rondo/graph/attribute.h>
#include <rondo/graph/error.h>

namespace rondo {

/// Which numbers a setting may be; never NaN or infinite.
struct Range {
  std::string_view text;
  double low = 0, high = std::numeric_limits<double>::infinity();
  bool above_low = false, below_high = false;  ///< the bound itself is outside

  bool holds(double v) const {
    return std::isfinite(v) && (above_low ? v > low : v >= low) &&
           (below_high ? v < high : v <= high);
  }
};
inline constexpr Range kNotNegative{"finite and not negative"};
inline constexpr Range kPositive{.text = "finite and positive", .above_low = true};
inline constexpr Range kShare{.text = "in [0, 1]", .high = 1};
inline constexpr Range kBelowOne{.text = "in [0, 1)", .high = 1, .below_high = true};
inline constexpr Range kFactor{.text = "in (0, 1]", .high = 1, .above_low = true};
inline constexpr Range kCount{.text = "at least 1", .low = 1};

/// A number of the settings S: the name under which a file keeps it, where it stands, its range.
template <class S>
struct Field {
  std::string_view name;
  std::variant<double S::*, int64_t S::*, bool S::*, Schedule S::*> at;
  Range range = kNotNegative;
};

/// Error `OF.range`, where a rate that stays is none of `range`, or of what the schedule is made
/// of.
void check_schedule(const Schedule& schedule, const std::string& of, const Range& range);
void write_schedule(const Schedule& schedule, const std::string& key, Attributes* to);
Schedule read_schedule(const Attributes& from, const std::string& key);

/// Error `OF.range`: "[adam] beta1 is 2, but must be in [0, 1)".
void check_range(double value, const Range& range, std::string_view of);

/// The attribute `key`; Error `settings.attribute.missing` when there is none of that type.
template <class T>
const T& setting(const Attributes& from, const std::string& key) {
  const AttributeValue* v = from.find(key);
  if (v == nullptr)
    fail(Fault::kArgument, "settings.attribute.missing", "there is no attribute \"", key, "\"");
  const T* p = v->get<T>();
  if (p == nullptr) {
    fail(Fault::kArgument, "settings.attribute.missing", "attribute \"", key, "\" is of type ",
         v->type_name());
  }
  return *p;
}

/// Error `OF.FIELD.range`.
template <class S>
void check_settings(const std::string& of, const std::vector<Field<S>>& fields, const S& s) {
  for (const Field<S>& f : fields) {
    const std::string name = cat(of, ".", f.name);
    std::visit(
        [&](auto at) {
          using T = std::decay_t<decltype(s.*at)>;
          if constexpr (std::is_same_v<T, Schedule>) {
            check_schedule(s.*at, name, f.range);
          } else if constexpr (!std::is_same_v<T, bool>) {
            check_range(static_cast<double>(s.*at), f.range, name);
          }
        },
        f.at);
  }
}

/// Every field of s as the attribute PREFIX + its name.
template <class S>
void write_settings(const std::vector<Field<S>>& fields, const S& s, const std::string& prefix,
                    Attributes* to) {
  for (const Field<S>& f : fields) {
    std::visit(
        [&](auto at) {
          if constexpr (std::is_same_v<std::decay_t<decltype(s.*at)>, Schedule>) {
            write_schedule(s.*at, cat(prefix, f.name), to);
          } else {
            to->set(cat(prefix, f.name), s.*at);
          }
        },
        f.at);
  }
}

/// The settings that write_settings wrote. Error `settings.attribute.missing`: not all are there.
template <class S>
S read_settings(const std::vector<Field<S>>& fields, const Attributes& from,
                const std::string& prefix) {
  S s;
  for (const Field<S>& f : fields) {
    std::visit(
        [&](auto at) {
          using T = std::decay_t<decltype(s.*at)>;
          if constexpr (std::is_same_v<T, Schedule>) {
            s.*at = read_schedule(from, cat(prefix, f.name));
          } else {
            s.*at = setting<T>(from, cat(prefix, f.name));
          }
        },
        f.at);
  }
  return s;
}

/// The row called `name` of a table, a tuple of rows, as f(row); false: there is none.
template <class... R, class F>
bool with_row(const std::tuple<R...>& table, std::string_view name, F&& f) {
  return (false || ... ||
          (std::get<R>(table).name == name ? (f(std::get<R>(table)), true) : false));
}

/// "adam, sgd".
template <class... R>
std::string names_of(const std::tuple<R...>& table) {
  std::string names;
  ((names += cat(names.empty() ? "" : ", ", std::get<R>(table).name)), ...);
  return names;
}

}  // namespace rondo
