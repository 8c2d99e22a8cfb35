// The samples of every op in the registry: as tensors, as a graph, and stretched to other sizes.
// What is generated from them needs no hand-written test when an op is added.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/ops/random.h>
#include <rondo/ops/register.h>
#include <rondo/runtime/check_op.h>

namespace rondo::test {

using check::draw;
using check::graph_of;
using check::OpGraph;

/// Ops that a sample cannot describe: they have a body.
inline bool needs_body(const OpDef& op) {
  return op.name == "recurrence" || op.name == "fused" || op.name == "fused_matmul" ||
         op.name == "segments";
}

struct NamedSample {
  const OpDef* op;
  Sample sample;
  std::string name;  ///< "matmul #3", "lstm_layer #0 peephole, lengths"
};

inline std::vector<NamedSample> samples_of(const OpDef& op) {
  std::vector<NamedSample> r;
  for (const Sample& s : op.samples) {
    r.push_back({&op, s, cat(op.name, " #", r.size(), s.label.empty() ? "" : " ", s.label)});
  }
  return r;
}

inline std::vector<NamedSample> all_samples() {
  std::vector<NamedSample> r;
  for (const OpDef* op : registry().all()) {
    for (NamedSample& s : samples_of(*op)) r.push_back(std::move(s));
  }
  return r;
}

/// The float operands of an op's graph, split by whether the op gives them a gradient.
struct FloatOperands {
  Vars with_gradient, without;
};
inline FloatOperands float_operands(const OpDef& op, const OpGraph& g) {
  FloatOperands r;
  for (size_t i = 0; i < g.inputs.size(); ++i) {
    if (!g.inputs[i] || !is_float(g.inputs[i].dtype())) continue;
    (op.parsed.slot_of(i).differentiable ? r.with_gradient : r.without).push_back(g.inputs[i]);
  }
  return r;
}

/// The attributes of a sample with all defaults.
inline Attributes attributes_of(const OpDef& op, const Sample& s) {
  return complete_attributes(InferContext(op, op.parsed, s.attributes, {}, "", {}), s.attributes);
}

namespace detail {

/// The sizes that the letters of the signature have in a sample; none when it does not fit, or has
/// no letters.
inline std::optional<Binding> letters_of(const Signature& signature, const Sample& s) {
  Binding b;
  for (const FixedLetter& f : signature.fixed) b["$" + f.letter] = f.value.constant();
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    const Slot& slot = signature.slot_of(i);
    if (s.inputs[i].absent || slot.any_shape) continue;
    if (slot.axes.size() != s.inputs[i].dims.size()) return std::nullopt;
    for (size_t a = 0; a < slot.axes.size(); ++a) {
      const auto symbols = slot.axes[a].symbols();
      if (symbols.size() == 1 && slot.axes[a] == Dim::symbol(symbols[0]))
        b[symbols[0]] = s.inputs[i].dims[a];
    }
  }
  if (b.empty()) return std::nullopt;
  return b;
}

inline std::optional<Sample> with_letters(const Signature& signature, Sample s,
                                          const Binding& letters) {
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    const Slot& slot = signature.slot_of(i);
    if (s.inputs[i].absent || slot.any_shape) continue;
    for (size_t a = 0; a < slot.axes.size(); ++a) {
      const Dim d = slot.axes[a].bind(letters);
      if (!d.is_constant()) return std::nullopt;
      s.inputs[i].dims[a] = d.constant();
    }
  }
  return s;
}

/// Every dimension of this size gets another, in operands and in attributes that are shapes.
inline Sample with_size(Sample s, int64_t from, int64_t to, bool in_attributes) {
  for (Sample::Input& in : s.inputs) std::replace(in.dims.begin(), in.dims.end(), from, to);
  Attributes a = s.attributes;
  for (const auto& [name, value] : s.attributes.items()) {
    const auto* shape = value.get<Shape>();
    if (shape == nullptr || !in_attributes) continue;
    Shape changed = *shape;
    std::replace(changed.begin(), changed.end(), Dim(from), Dim(to));
    a.set(name, changed);
  }
  s.attributes = a;
  return s;
}

inline bool accepted(const OpDef& op, const Sample& s) {
  try {
    graph_of(op, s.attributes, draw(s, f64));
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace detail

/// The sample with each of its sizes in turn changed to each of `sizes`, as far as the op accepts
/// that: letters of the signature where it has some, else equal dimensions together.
inline std::vector<NamedSample> stretched(const NamedSample& s, const std::vector<int64_t>& sizes) {
  std::vector<NamedSample> r;
  const auto take = [&](Sample changed, const std::string& what) {
    if (detail::accepted(*s.op, changed)) {
      r.push_back({s.op, std::move(changed), s.name + " " + what});
      return true;
    }
    return false;
  };
  const Signature signature = s.op->signature(attributes_of(*s.op, s.sample));
  if (const auto letters = detail::letters_of(signature, s.sample)) {
    for (const auto& [letter, old] : *letters) {
      const auto is = [&name = letter](const FixedLetter& f) { return "$" + f.letter == name; };
      if (std::any_of(signature.fixed.begin(), signature.fixed.end(), is)) continue;
      for (const int64_t size : sizes) {
        Binding b = *letters;
        b[letter] = size;
        const auto changed = detail::with_letters(signature, s.sample, b);
        if (changed && size != old) take(*changed, cat(letter, "=", size));
      }
    }
    return r;
  }
  std::set<int64_t> seen;
  for (const Sample::Input& in : s.sample.inputs) seen.insert(in.dims.begin(), in.dims.end());
  for (const int64_t old : seen) {
    for (const int64_t size : sizes) {
      if (size == old) continue;
      const std::string what = cat(old, "->", size);
      if (!take(detail::with_size(s.sample, old, size, true), what))
        take(detail::with_size(s.sample, old, size, false), what);
    }
  }
  return r;
}

/// The sample with every size but 0 and 1 `factor` times as large, for kernels that want large
/// operands; nothing where the op does not accept that.
inline std::vector<NamedSample> enlarged(const NamedSample& s, int64_t factor) {
  NamedSample r = s;
  r.name += cat(" times ", factor);
  for (Sample::Input& in : r.sample.inputs) {
    for (int64_t& d : in.dims) d = d > 1 ? d * factor : d;
    if (s.op->lower && in.dims.size() == 2 && is_float(in.dtype)) {
      in.low /= std::sqrt(static_cast<double>(factor));
      in.high /= std::sqrt(static_cast<double>(factor));
    }
  }
  return detail::accepted(*s.op, r.sample) ? std::vector<NamedSample>{r}
                                           : std::vector<NamedSample>{};
}

/// The sample with all whole numbers 0: what indices and lengths may be whatever the sizes.
inline Sample with_zero_integers(Sample s) {
  for (Sample::Input& in : s.inputs) {
    if (is_integer(in.dtype)) in.values = {0};
  }
  return s;
}

}  // namespace rondo::test
