#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>

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

// A file's number of an operand makes room for all before it.
constexpr size_t kMostOperands = 4096;

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

// An entry of the metadata as JSON, null when there is none.
Json optional_entry(const SafeTensors& file, const char* key) {
  const auto it = file.metadata.find(key);
  return it == file.metadata.end() ? Json() : parse(it->second, key);
}

Tolerance tolerance_of(const SafeTensors& file, DType dtype) {
  const DTypeNumbers& numbers = numbers_of(dtype);
  const Json j = optional_entry(file, "tolerance");
  if (j.is_null()) return numbers.tolerance;
  if (j.is_number()) {
    // How exact the file is. A coarser dtype adds its own rounding.
    if (dtype == f64) return {j.get<double>(), 0};
    return {j.get<double>() + numbers.tolerance.absolute, numbers.tolerance.relative};
  }
  const auto own = j.find(std::string(numbers.name));
  if (own == j.end()) return numbers.tolerance;
  return {own->value("atol", 0.0), own->value("rtol", 0.0)};
}

using Systems = std::span<const std::string_view>;

// Whose names a file uses besides ours.
Systems systems_of(const SafeTensors& file) {
  const auto it = file.metadata.find("names");
  if (it == file.metadata.end()) return kSystems;
  if (it->second != "rondo")
    fail(Fault::kUnsupported, "verify.names.value", "the file uses the names of '", it->second,
         "'; there are those of rondo, or none named");
  return {};
}

// Our name for `theirs`, one of those that `known` accepts; empty when there is none.
template <class Known>
std::string own_name(const OpDef& op, std::string_view theirs, Systems systems,
                     const Known& known) {
  for (const std::string_view system : systems) {
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
    if (like.get<DType>() != nullptr) return dtype_from_name(s);
    return s;
  }
  const auto all = [&](auto is) { return j.is_array() && std::all_of(j.begin(), j.end(), is); };
  const bool of_texts = like.get<std::vector<std::string>>() != nullptr;  // which may be none
  if (all([&](const Json& e) { return e.is_number_integer() && !of_texts; })) {
    const auto numbers = j.get<std::vector<int64_t>>();
    if (like.get<Shape>() != nullptr) return to_shape(numbers);
    return numbers;
  }
  if (all([](const Json& e) { return e.is_string(); })) return j.get<std::vector<std::string>>();
  fail(Fault::kUnsupported, "verify.config.type", "[", op.name, "] config '", key, "' is ",
       j.dump(), ", which no attribute can be");
}

Attributes attributes_of(const OpDef& op, const Json& config, Systems systems) {
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
    const std::string name = own_name(op, key, systems, find);
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

// Where the tensor that the file calls `theirs` stands among `slots`: "xs.2" is the third of any
// number.
std::optional<size_t> slot_at(const OpDef& op, const std::vector<Slot>& slots,
                              const std::string& theirs, Systems systems) {
  size_t at = 0;
  const auto find = [&](std::string_view n) {
    for (at = 0; at < slots.size(); ++at) {
      if (slots[at].name == n) return true;
    }
    return false;
  };
  if (!own_name(op, theirs, systems, find).empty()) return at;
  const size_t dot = theirs.rfind('.');
  if (dot == std::string::npos || slots.empty() || !slots.back().variadic) return {};
  const char* end = theirs.data() + theirs.size();
  size_t k = 0;
  const auto [rest, error] = std::from_chars(theirs.data() + dot + 1, end, k);
  if (error != std::errc() || rest != end || k >= kMostOperands) return {};
  if (own_name(op, theirs.substr(0, dot), systems, find).empty() || !slots[at].variadic) return {};
  return at + k;
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

const OpDef& op_of(const SafeTensors& file) {
  const std::string& name = metadata(file, "op");
  const OpDef* op = systems_of(file).empty() ? registry().find(name) : op_called(name);
  if (op == nullptr)
    fail(Fault::kUnsupported, "verify.op.unknown", "this build has no op for '", name, "'");
  return *op;
}

const std::string& metadata(const SafeTensors& file, const std::string& key) {
  const auto it = file.metadata.find(key);
  if (it == file.metadata.end())
    fail(Fault::kArgument, "verify.file.metadata", "the file's metadata has no '", key, "'");
  return it->second;
}

VectorCase read_vector_case(const SafeTensors& file, DType dtype) {
  VectorCase c;
  const OpDef& op = op_of(file);
  c.op = &op;
  const Systems systems = systems_of(file);
  c.tolerance = tolerance_of(file, dtype);
  c.tolerance.signed_zeros = optional_entry(file, "signed_zeros") == Json(true);
  if (const Json j = optional_entry(file, "kink_margin"); !j.is_null())
    c.kink_margin = j.get<double>();
  if (const Json j = optional_entry(file, "dtypes"); !j.is_null()) {
    for (const Json& name : j) c.dtypes.push_back(dtype_from_name(name.get<std::string>()));
  }
  if (const Json j = optional_entry(file, "run"); !j.is_null())
    c.run = {j.value("training", false), j.value("seed", uint64_t{0}), j.value("step", int64_t{0})};
  c.attributes = attributes_of(op, parse(metadata(file, "config"), "config"), systems);

  const Signature& s = op.parsed;
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
      fail(Fault::kUnsupported, "verify.tensor.kind", "[", op.name, "] the file's tensor '", key,
           "' is of no known kind");
    const auto at = slot_at(op, kind->slots, key.substr(kind->prefix.size()), systems);
    if (!at)
      fail(Fault::kUnsupported, "verify.tensor.unknown", "[", op.name,
           "] has nothing for the file's tensor '", key, "'");
    kind->list->push_back({key, *at, tensor});
  }
  for (const NamedTensor& t : given) {
    if (c.inputs.size() <= t.at) c.inputs.resize(t.at + 1);
    c.inputs[t.at] = operand_of(op, s.slot_of(t.at), t.value, dtype);
  }
  if (s.inputs.empty() || !s.inputs.back().variadic) c.inputs.resize(s.inputs.size());
  return c;
}

}  // namespace rondo::tool
