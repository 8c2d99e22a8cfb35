// The signature: one string that gives an op's arity check, shape inference, error text and
// documentation at once.
//
//   "x[T,B,I], lengths[B]:int?!, wx[I,4*H] -> y[T,B,H], last[B,H]?"
//
// A bare letter binds a dimension, an expression checks (or binds its one unknown letter). "[...]"
// is any shape. After the shape: ":int" (i32 or i64), ":bool", ":any" (any dtype), ":same" (any,
// but one for all that say so), ":number" (the same, but no bool); nothing = a float dtype, one for
// the whole call. "?" optional, "!" no gradient is given to it.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>

namespace rondo {

struct OpDef;

/// Which dtypes a slot takes.
enum class SlotType { kFloat, kInt, kI64, kBool, kAny, kSame, kNumber };

/// One operand or result of a signature.
struct Slot {
  std::string name;
  std::vector<std::string> text;  ///< the axes as written
  Shape axes;                     ///< the same, letters as symbols
  SlotType type = SlotType::kFloat;
  bool any_shape = false;
  bool optional = false;
  bool differentiable = true;
  bool variadic = false;  ///< "xs[...]*": any number of operands or results, the last slot only
};

/// "[I,4*H]", as the signature writes it.
std::string axes_of(const Slot& slot);

/// A letter that an attribute gives a value, and which: "H", 64, "state_size".
struct FixedLetter {
  std::string letter;
  Dim value;
  std::string by;
};

/// A parsed signature.
struct Signature {
  std::string text;
  std::vector<Slot> inputs, outputs;
  std::vector<FixedLetter> fixed = {};  ///< the other letters are fixed by the operands

  /// Index of an input by name; -1 when there is none.
  int input(std::string_view name) const;
  int output(std::string_view name) const;
  /// The slot of the i-th operand (a variadic slot serves all that follow).
  const Slot& slot_of(size_t operand) const { return inputs[std::min(operand, inputs.size() - 1)]; }
};

/// Parses a signature; a DefinitionError points at the mistake.
Signature parse_signature(std::string_view text);

/// What an op's own inference sees, and how it refuses.
class InferContext {
 public:
  InferContext(const OpDef& op, const Signature& signature, const Attributes& attributes,
               std::span<const ValueType> inputs, std::string_view node_name, Site site,
               const Subgraph* body = nullptr)
      : op_(op),
        signature_(signature),
        attributes_(attributes),
        inputs_(inputs),
        node_name_(node_name),
        site_(site),
        body_(body) {}

  const Attributes& attributes() const { return attributes_; }
  size_t count() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i].present; }
  const ValueType& operator[](size_t i) const {
    if (i >= inputs_.size()) no_operand(i);
    return inputs_[i];
  }
  const Subgraph* body() const { return body_; }

  /// True when equal; when that cannot be decided yet, true too, and the node is checked again once
  /// symbols are bound.
  bool equal(const Dim& a, const Dim& b) const;
  /// A (negative) axis as an index, or an Error on attribute `name`.
  int64_t axis(int64_t axis, size_t rank, std::string_view name = "axis") const;
  /// Refuses: code `op.argument.rule`, text "[op "name"] message", the signature and the build
  /// site.
  template <class... A>
  [[noreturn]] void refuse(std::string_view argument, std::string_view rule,
                           const A&... message) const {
    refuse_text(argument, rule, cat(message...));
  }

  /// The outputs under another signature (one that depends on a rank, say), for an op's own
  /// inference.
  std::vector<ValueType> infer_as(const Signature& signature) const;

  bool undecided() const { return undecided_; }
  const OpDef& op() const { return op_; }
  const Signature& signature() const { return signature_; }

 private:
  [[noreturn]] void no_operand(size_t i) const;
  [[noreturn]] void refuse_text(std::string_view argument, std::string_view rule,
                                const std::string& message) const;

  const OpDef& op_;
  const Signature& signature_;
  const Attributes& attributes_;
  std::span<const ValueType> inputs_;
  std::string_view node_name_;
  Site site_;
  const Subgraph* body_;
  mutable bool undecided_ = false;
};

/// Checks operands against the signature (arity, presence, dtype, rank, dimensions) and gives the
/// outputs' types. With `shapes` false only arity, presence and dtype are checked, and the outputs
/// are the dtypes of the slots.
std::vector<ValueType> infer_by_signature(const InferContext& c, bool shapes);

}  // namespace rondo
