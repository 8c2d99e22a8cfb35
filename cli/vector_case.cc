#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>

#include <nlohmann/json.hpp>

#include "vector_case.h"

#include <rondo/ops/register.h>

namespace rondo::tool {
namespace {

using Json = nlohmann::json;

// In which order systems are asked: a name may mean one op in one and another op in another. The
// vectors use libnd4j's.
constexpr std::array<std::string_view, 6> kSystems{"libnd4j", "MXNet",   "SameDiff",
                                                   "ONNX",    "PyTorch", "Keras"};

// Configuration that is no attribute: which tensors are there, and how the values were made.
constexpr std::array<std::string_view, 6> kPresence{"hasBiases", "hasSeqLen", "hasInitH",
                                                    "hasInitC",  "hasPH",     "training"};

struct DTypeNumbers {
  DType dtype;
  std::string_view name;  // in `tolerance`
  Tolerance tolerance;
};
constexpr DTypeNumbers kNumbers[] = {{f64, "float64", {1e-10, 1e-9}},
                                     {f32, "float32", {2e-5, 2e-4}},
                                     {bf16, "bfloat16", {3e-2, 3e-2}},
                                     {f16, "float16", {4e-3, 4e-3}}};

const DTypeNumbers& numbers_of(DType dtype) {
  for (const DTypeNumbers& n : kNumbers) {
    if (n.dtype == dtype) return n;
  }
  fail(Fault::kArgument, "verify.dtype.value", "vectors run in f64, f32, bf16 or f16, not in ",
       dtype);
}

Json parse(const std::string& text, std::string_view what) {
  Json j = Json::parse(text, nullptr, false);
  if (j.is_discarded())
    fail(Fault::kArgument, "verify.file.json", "the file's ", what, " is not JSON: ", text);
  return j;
}

Tolerance tolerance_of(const SafeTensors& file, DType dtype) {
  const DTypeNumbers& numbers = numbers_of(dtype);
  const auto it = file.metadata.find("tolerance");
  if (it == file.metadata.end()) return numbers.tolerance;
  const Json j = parse(it->second, "tolerance");
  if (j.is_number()) {
    // How exact the file is. A coarser dtype adds its own rounding.
    if (dtype == f64) return {j.get<double>(), 0};
    return {j.get<double>() + numbers.tolerance.absolute, numbers.tolerance.relative};
  }
  const auto own = j.find(std::string(numbers.name));
  if (own == j.end()) return numbers.tolerance;
  return {own->value("atol", 0.0), own->value("rtol", 0.0)};
}

// Our name for `theirs`, one of those that `known` accepts; empty when there is none.
template <class Known>
std::string own_name(const OpDef& op, std::string_view theirs, const Known& known) {
  for (const std::string_view system : kSystems) {
    for (const Alias& a : op.aliases) {
      if (a.system == system && a.name == theirs && !a.of.empty() && known(a.of)) return a.of;
    }
  }
  return known(theirs) ? std::string(theirs) : "";
}

AttributeValue value_of(const OpDef& op, const std::string& key, const Json& j,
                        const AttributeValue& like) {
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_number()) {
    const auto v = j.get<double>();
    if (like.get<int64_t>() != nullptr && v == std::floor(v)) return static_cast<int64_t>(v);
    return v;
  }
  if (j.is_string()) {
    const auto s = j.get<std::string>();
    static const std::map<std::string, double, std::less<>> kNoJson{
        {"NaN", std::nan("")}, {"Infinity", HUGE_VAL}, {"-Infinity", -HUGE_VAL},
        {"nan", std::nan("")}, {"inf", HUGE_VAL},      {"-inf", -HUGE_VAL}};
    const auto it = kNoJson.find(s);
    if (like.get<double>() != nullptr && it != kNoJson.end()) return it->second;
    return s;
  }
  const auto all = [&](auto is) { return j.is_array() && std::all_of(j.begin(), j.end(), is); };
  if (all([](const Json& e) { return e.is_number_integer(); }))
    return j.get<std::vector<int64_t>>();
  if (all([](const Json& e) { return e.is_string(); })) return j.get<std::vector<std::string>>();
  fail(Fault::kUnsupported, "verify.config.type", "[", op.name, "] config '", key, "' is ",
       j.dump(), ", which no attribute can be");
}

Attributes attributes_of(const OpDef& op, const Json& config) {
  if (!config.is_object())
    fail(Fault::kArgument, "verify.file.json", "the file's config is no JSON object");
  Attributes r;
  for (const auto& [key, value] : config.items()) {
    if (value.is_null()) continue;
    const AttributeDef* def = nullptr;
    const auto find = [&](std::string_view name) {
      const auto it = std::find_if(op.attributes.begin(), op.attributes.end(),
                                   [&](const AttributeDef& d) { return d.name == name; });
      def = it == op.attributes.end() ? nullptr : &*it;
      return def != nullptr;
    };
    const std::string name = own_name(op, key, find);
    if (!name.empty()) {
      r.set(name, value_of(op, key, value, def->default_value));
    } else if (std::find(kPresence.begin(), kPresence.end(), key) == kPresence.end()) {
      fail(Fault::kUnsupported, "verify.config.unknown", "[", op.name,
           "] has no attribute for config '", key, "'");
    }
  }
  return r;
}

// An integer operand that is stored as floats.
Tensor whole(const OpDef& op, const Slot& slot, const Tensor& t) {
  for (int64_t i = 0; i < t.size(); ++i) {
    const double v = t.at(i);
    if (v == std::floor(v) && std::abs(v) <= std::numeric_limits<int32_t>::max()) continue;
    fail(Fault::kArgument, cat(op.name, ".", slot.name, ".whole"), "[", op.name, "] ", slot.name,
         "[", i, "] is ", v, ", but must be a whole number of 32 bits");
  }
  return t.to(slot.type == SlotType::kI64 ? i64 : i32);
}

Tensor operand_of(const OpDef& op, const Slot& slot, Tensor t, DType dtype) {
  switch (slot.type) {
    case SlotType::kFloat:
      return t.to(dtype);
    case SlotType::kInt:
    case SlotType::kI64:
      if (is_float(t.dtype())) t = whole(op, slot, t);
      // One number for all rows may be stored as [1].
      return !slot.any_shape && slot.axes.empty() && t.dims() == Dims{1} ? t.reshaped({}) : t;
    case SlotType::kBool:
      return t.to(boolean);
    default:
      return is_float(t.dtype()) ? t.to(dtype) : t;
  }
}

// "grad.yLast" is {"grad.", slots of operands}.
struct Kind {
  std::string_view prefix;
  const std::vector<Slot>& slots;
  std::vector<NamedTensor>* list;
};

}  // namespace

const OpDef* op_called(std::string_view name) {
  for (const std::string_view system : kSystems) {
    for (const OpDef* d : registry().all()) {
      for (const Alias& a : d->aliases) {
        if (a.of.empty() && a.system == system && a.name == name) return d;
      }
    }
  }
  return registry().find(name);
}

const std::string& metadata(const SafeTensors& file, const std::string& key) {
  const auto it = file.metadata.find(key);
  if (it == file.metadata.end())
    fail(Fault::kArgument, "verify.file.metadata", "the file's metadata has no '", key, "'");
  return it->second;
}

VectorCase read_vector_case(const SafeTensors& file, DType dtype) {
  VectorCase c;
  const std::string& name = metadata(file, "op");
  c.op = op_called(name);
  if (c.op == nullptr)
    fail(Fault::kUnsupported, "verify.op.unknown", "this build has no op for '", name, "'");
  c.tolerance = tolerance_of(file, dtype);
  if (const auto it = file.metadata.find("kink_margin"); it != file.metadata.end()) {
    c.kink_margin = parse(it->second, "kink_margin").get<double>();
  }
  c.attributes = attributes_of(*c.op, parse(metadata(file, "config"), "config"));

  const Signature& s = c.op->parsed;
  std::vector<NamedTensor> given;
  const Kind kinds[] = {{"in.", s.inputs, &given},
                        {"out.", s.outputs, &c.outputs},
                        {"cotangent.", s.outputs, &c.cotangents},
                        {"grad.", s.inputs, &c.gradients}};
  for (const auto& [key, tensor] : file.tensors) {
    const auto kind = std::find_if(std::begin(kinds), std::end(kinds), [&key = key](const Kind& k) {
      return key.rfind(k.prefix, 0) == 0;
    });
    if (kind == std::end(kinds))
      fail(Fault::kUnsupported, "verify.tensor.kind", "[", c.op->name, "] the file's tensor '", key,
           "' is of no known kind");
    const std::string theirs = key.substr(kind->prefix.size());
    size_t at = 0;
    const auto find = [&](std::string_view n) {
      for (at = 0; at < kind->slots.size(); ++at) {
        if (kind->slots[at].name == n) return true;
      }
      return false;
    };
    if (own_name(*c.op, theirs, find).empty())
      fail(Fault::kUnsupported, "verify.tensor.unknown", "[", c.op->name,
           "] has nothing for the file's tensor '", key, "'");
    kind->list->push_back({key, at, tensor});
  }
  c.inputs.resize(s.inputs.size());
  for (const NamedTensor& t : given)
    c.inputs[t.at] = operand_of(*c.op, s.inputs[t.at], t.value, dtype);
  return c;
}

}  // namespace rondo::tool
