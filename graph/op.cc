#include <rondo/graph/op.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <rondo/graph/callbacks.h>

namespace rondo {
namespace {

AttributeValue checked_value(const InferContext& c, const AttributeDef& def, AttributeValue v) {
  // A whole number may be written where a float is wanted.
  if (const auto* i = v.get<int64_t>(); i != nullptr && def.default_value.get<double>() != nullptr)
    v = static_cast<double>(*i);
  if (v.type_name() != def.default_value.type_name()) {
    c.refuse(def.name, "type", def.name, " must be of type ", def.default_value.type_name(),
             ", got ", v.str(), " of type ", v.type_name());
  }
  if (const auto* s = v.get<std::string>();
      s != nullptr && !def.one_of.empty() &&
      std::find(def.one_of.begin(), def.one_of.end(), *s) == def.one_of.end()) {
    std::string known;
    for (const std::string& o : def.one_of) known += " " + o;
    c.refuse(def.name, "value", def.name, " is \"", *s, "\", but must be one of", known);
  }
  const auto in_range = [&](double x) {
    if (std::isnan(x)) c.refuse(def.name, "nan", def.name, " is NaN, but must be a number");
    const std::string_view or_none = def.optional ? ", or not be given at all" : "";
    if (def.min && x < *def.min)
      c.refuse(def.name, "range", def.name, " is ", v.str(), ", but must be at least ", *def.min,
               or_none);
    if (def.max && x > *def.max)
      c.refuse(def.name, "range", def.name, " is ", v.str(), ", but must be at most ", *def.max,
               or_none);
  };
  if (const auto* d = v.get<double>()) in_range(*d);
  if (const auto* i = v.get<int64_t>()) in_range(static_cast<double>(*i));
  return v;
}

}  // namespace

const OpDef& OpRegistry::add(OpDef def) {
  if (def.name.empty() || def.doc.empty())
    fail(Fault::kArgument, "registry.op.incomplete", "op '", def.name, "' has no ",
         def.name.empty() ? "name" : "doc, a line on what it means");
  if (ops_.count(def.name) != 0)
    fail(Fault::kArgument, "registry.op.taken", "an op called '", def.name,
         "' is registered already");
  check_definition(def);
  if (def.family.empty()) def.family = family_;
  if (std::find(families_.begin(), families_.end(), def.family) == families_.end())
    families_.push_back(def.family);
  auto p = std::make_unique<OpDef>(std::move(def));
  const OpDef& r = *p;
  ops_.emplace(r.name, std::move(p));
  return r;
}

void OpRegistry::add_family(std::string_view title, void (*add)(OpRegistry&)) {
  const std::string outer = std::exchange(family_, std::string(title));
  add(*this);
  family_ = outer;
}

void OpRegistry::mark_built_in() {
  for (auto& [name, def] : ops_) def->built_in = true;
}

const OpDef* OpRegistry::find(std::string_view name) const {
  const auto it = ops_.find(name);
  return it == ops_.end() ? nullptr : it->second.get();
}

const OpDef& OpRegistry::at(std::string_view name) const {
  if (const OpDef* d = find(name)) return *d;
  std::vector<std::string> names;
  for (const auto& [n, d] : ops_) names.push_back(n);
  fail(Fault::kArgument, "registry.op.unknown", "unknown op '", name, "'", closest(name, names));
}

std::vector<const OpDef*> OpRegistry::all() const {
  std::vector<const OpDef*> r;
  for (const auto& [n, d] : ops_) r.push_back(d.get());
  return r;
}

Attributes complete_attributes(const InferContext& c, const Attributes& given) {
  const auto& defs = c.op().attributes;
  Attributes r;
  for (const AttributeDef& d : defs) {
    const AttributeValue* v = given.find(d.name);
    if (v == nullptr && d.required)
      c.refuse(d.name, "missing", "attribute ", d.name, " is required and was not given");
    if (v == nullptr && d.optional) continue;
    r.set(d.name, v == nullptr ? d.default_value : checked_value(c, d, *v));
  }
  for (const auto& [name, value] : given.items()) {
    if (r.has(name)) continue;
    std::vector<std::string> names;
    for (const AttributeDef& d : defs) names.push_back(d.name);
    c.refuse(name, "unknown", "has no attribute '", name, "'", closest(name, names));
  }
  return r;
}

}  // namespace rondo
