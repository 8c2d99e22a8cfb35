// The definition of an op: everything that is true about it, in one block, and the registry that
// holds them all.
//
// An op is defined once, in ops/<family>.cc (or in a user's program, registered the same way).
// Builders, shape checks, error texts, gradients, tests, documentation and files all come from
// here.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/attribute.h>
#include <rondo/graph/graph.h>
#include <rondo/graph/signature.h>

namespace rondo {

/// A node seen by its op's own functions: operands, results and attributes by the names of the
/// signature.
class Call {
 public:
  Call(const OpDef& op, const Signature& signature, const Attributes& attributes, Vars inputs,
       Vars outputs, std::shared_ptr<const Subgraph> body)
      : op_(op),
        signature_(signature),
        attributes_(attributes),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        body_(std::move(body)) {}

  const OpDef& op() const { return op_; }
  const Attributes& attributes() const { return attributes_; }
  const Vars& inputs() const { return inputs_; }
  const Vars& outputs() const { return outputs_; }
  const std::shared_ptr<const Subgraph>& body() const { return body_; }
  const Signature& signature() const { return signature_; }

  /// The operand called `name`; null when it is optional and absent.
  const Var& operator[](std::string_view name) const;
  bool has(std::string_view name) const { return static_cast<bool>((*this)[name]); }
  const Var& in(size_t i) const { return at(inputs_, i, "operand"); }
  const Var& out(size_t i) const { return at(outputs_, i, "result"); }
  Graph graph() const { return graph_of(inputs_, "call"); }

  bool flag(std::string_view name) const { return attributes_.flag(name); }
  int64_t integer(std::string_view name) const { return attributes_.integer(name); }
  double number(std::string_view name) const { return attributes_.number(name); }
  const std::string& text(std::string_view name) const { return attributes_.text(name); }

 private:
  static const Var& at(const Vars& list, size_t i, std::string_view what);

  const OpDef& op_;
  const Signature& signature_;
  const Attributes& attributes_;
  Vars inputs_, outputs_;
  std::shared_ptr<const Subgraph> body_;
};

/// How an op with a body differentiates it, and asks which gradients are wanted; implemented by
/// `autodiff`.
class GradContext {
 public:
  virtual ~GradContext() = default;
  /// The gradient of a subgraph as a subgraph: inputs are those of `s`, then a cotangent for each
  /// output `o` with `with_cotangent[o]`; outputs are the gradients of `s.inputs[wrt[k]]`, null
  /// where there is none.
  virtual Subgraph vjp_of(const Subgraph& s, const std::vector<bool>& with_cotangent,
                          const std::vector<int>& wrt) = 0;
  /// Whether the gradient of operand `i` of the present call is used.
  virtual bool wants(size_t i) const = 0;
};

/// A way in which generated tests call the op.
struct Sample {
  /// One operand of the call.
  struct Input {
    Dims dims;
    double low = -1, high = 1;        ///< values are drawn evenly from here
    DType dtype = DType::f64;         ///< floats follow the dtype under test
    std::vector<double> values = {};  ///< given, instead of drawn
    bool absent = false;
  };
  std::vector<Input> inputs;
  Attributes attributes = {};
  std::string label = {};
};

/// A call that the op refuses: operands and attributes as in a sample, and the rule that they
/// break.
struct RefusedCall {
  std::string rule;  ///< "axes.twice": the Error's code after "op."
  Sample call;       ///< values are given where the rule is about them: then it may refuse at run
  std::string means = {};  ///< when it is refused, in words, for docs/errors.md
};

/// The name of an op, or of one of its operands or attributes, in another system.
struct Alias {
  std::string system;  ///< "SameDiff", "libnd4j", "MXNet", "ONNX", "PyTorch", "Keras"
  std::string name;    ///< there
  std::string of;      ///< here: empty for the op itself, else an operand, result or attribute
};

/// How an op differs from what goes by the same or a similar name in another system.
struct Difference {
  std::string elsewhere;  ///< the system and its name there: "PyTorch GRU"
  std::string how;
};

/// What an op remembers from one step of training to the next: an operand that may be a variable,
/// and the result that is its next value then.
struct KeptState {
  std::string operand, next;
};

/// A result that a call has only where a flag of it asks for it.
struct AskedResult {
  std::string result, flag;
};

/// The types of the outputs; refuses operands by the context.
using InferFn = std::function<std::vector<ValueType>(const InferContext&)>;
/// One gradient per operand, null = none flows there. `g`: one cotangent per output, null = zero.
using VjpFn = std::function<Vars(const Call& c, const Vars& g, GradContext& context)>;
/// The op's meaning in other ops, one Var per output (null for outputs that were not asked for).
using LowerFn = std::function<Vars(const Call& c)>;

/// All that is true about an op.
struct OpDef {
  std::string name = {};
  std::string sig = {};
  /// Meaning and formulas; indented lines are formulas.
  std::string doc = {};
  /// Where formulas and conventions come from.
  std::string source = {};
  /// The heading under which the reference shows the op; see OpRegistry::add_family.
  std::string family = {};
  /// How a program calls it: C++ after <rondo/rondo.h> and `using namespace rondo`, which the suite
  /// compiles and runs. A comment `// y: [T,B,4]` or `// y: {1, 2}` states a shape or values, and
  /// is checked.
  std::string example = {};
  std::vector<Difference> differs = {};
  std::vector<AttributeDef> attributes = {};
  std::vector<Alias> aliases = {};
  /// Results that a flag asks for: who uses one that is not there is told which to set.
  std::vector<AskedResult> asked = {};
  /// Signature that depends on a configuration; overrides `sig`, which then is the general form for
  /// the docs.
  std::function<std::string(const Attributes&)> sig_of = {};
  /// Letters of the signature that attributes fix.
  std::function<std::vector<FixedLetter>(const Attributes&)> letters = {};
  /// Shapes that no signature can say; dtypes and presence are still checked by the signature.
  InferFn infer = {};
  /// Rules on attributes together; throws by InferContext::refuse.
  std::function<void(const InferContext&)> check = {};
  VjpFn vjp = {};
  LowerFn lower = {};
  /// Elementwise: y as a formula of the inputs (ops/formula.h); serves every backend.
  std::string formula = {};
  /// Gradients are zero almost everywhere, or the op takes no float: no vjp is needed.
  bool no_gradient = false;
  /// Must be kept apart by common subexpressions and never folded (reads state, draws random
  /// numbers).
  bool opaque = false;
  std::vector<Sample> samples = {};
  /// A call for each rule beside those that signature and attributes state by themselves (arity,
  /// presence, dtype, rank, dimension; type, range, spelling): generated tests make it.
  std::vector<RefusedCall> refuses = {};
  /// State that a trainer keeps when it is a variable (autodiff/state_updates.h).
  std::vector<KeptState> states = {};
  Signature parsed = {};  ///< of `sig`, filled by the registry
  bool built_in = false;  ///< the library's own, set by the registry: mistakes in it are internal

  /// The signature under these attributes.
  Signature signature(const Attributes& attributes) const;
};

/// All ops by name. Registration is explicit: see ops/register.h.
class OpRegistry {
 public:
  /// Adds a definition; an Error when the name is taken, the definition is not whole, or it names
  /// what it has not.
  const OpDef& add(OpDef def);
  const OpDef& at(std::string_view name) const;  ///< an Error names the closest spelling
  const OpDef* find(std::string_view name) const;
  std::vector<const OpDef*> all() const;  ///< sorted by name

  /// Runs `add`; what it adds belongs to the family `title`, unless it names one itself.
  void add_family(std::string_view title, void (*add)(OpRegistry&));
  /// From now on all that was added is the library's own.
  void mark_built_in();
  /// Titles of families, in the order of their first op.
  const std::vector<std::string>& families() const { return families_; }

 private:
  std::map<std::string, std::unique_ptr<OpDef>, std::less<>> ops_;
  std::vector<std::string> families_;
  std::string family_ = "Other";
};

/// Fills in defaults and checks names, types, ranges and spellings.
Attributes complete_attributes(const InferContext& c, const Attributes& given);

/// What the user wrote, for errors: `matmul`, `matmul "name"`; for a node that means another op (an
/// attribute `origin`) that one: `scan`, `gradient of scan`.
std::string title_of(std::string_view op, std::string_view origin, std::string_view name);
std::string title_of(std::string_view op, const Attributes& attributes, std::string_view name);
std::string title_of(const Node& n);

/// The call that a node is, its operands and results as Vars of `g`.
Call call_of(const Graph& g, const Node& n);

/// The op's lowering of a node, held to the node's results. Errors: `OP.lower.*`.
Vars lower_call(const Node& n, const Call& c);
/// The op's gradients at a node, held to its operands. Errors: `OP.vjp.*`.
Vars vjp_call(const Node& n, const Call& c, const Vars& g, GradContext& context);

/// Infers the outputs of a call; sets `undecided` when some equality must be checked again once
/// symbols are bound.
std::vector<ValueType> infer_call(const OpDef& op, const Attributes& attributes,
                                  std::span<const ValueType> inputs, std::string_view node_name,
                                  Site site, const Subgraph* body, bool* undecided);

}  // namespace rondo
