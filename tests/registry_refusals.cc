// Every op refuses operands that break its signature, each rule broken once: an Error whose code
// begins with the op's name, names the operand, and leaves the graph as it was.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/graph/eager.h>
#include <rondo/runtime/session.h>

using namespace rondo;
using namespace rondo::test;

namespace {

struct Refusal {
  std::string code, text;
};

// What it says to tensors of these types.
std::string code_on_tensors(const OpDef& op, const Attributes& attributes,
                            const std::vector<ValueType>& types) {
  std::vector<Tensor> in;
  for (const ValueType& t : types)
    in.push_back(t.present ? Tensor(t.dtype, bind(t.shape, {})) : Tensor());
  try {
    eager_call(op, in, attributes, {});
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

// What the op says to these types, in a graph and on tensors alike; nothing when it accepts them.
std::optional<Refusal> ask(const OpDef& op, const Attributes& attributes,
                           const std::vector<ValueType>& types) {
  Graph g;
  Vars in;
  for (const ValueType& t : types)
    in.push_back(t.present ? g.placeholder(cat("in", in.size()), t.dtype, t.shape) : Var());
  const int32_t size = g.size();
  try {
    g.call(op, in, attributes);
  } catch (const Error& e) {
    CHECK(g.size() == size);
    CHECK(e.fault() == Fault::kArgument);
    CHECK(e.code().rfind(op.name + ".", 0) == 0);
    CHECK(std::string(e.what()).rfind("[" + op.name + "]", 0) == 0);
    CHECK(code_on_tensors(op, attributes, types) == e.code());
    return Refusal{e.code(), e.what()};
  }
  return std::nullopt;
}

std::vector<ValueType> types_of(const Sample& s) {
  std::vector<ValueType> r;
  for (const Sample::Input& in : s.inputs) r.push_back({in.dtype, to_shape(in.dims), !in.absent});
  return r;
}

// How often a letter stands in the operands that are there.
size_t uses(const Signature& signature, const std::vector<ValueType>& types,
            const std::string& letter) {
  size_t n = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    if (!types[i].present) continue;
    for (const Dim& d : signature.slot_of(i).axes) {
      const auto symbols = d.symbols();
      n += static_cast<size_t>(std::count(symbols.begin(), symbols.end(), letter));
    }
  }
  return n;
}

// Whether any number may stand on this axis: a letter that no other axis speaks of.
bool is_free(const Signature& signature, const std::vector<ValueType>& types, const Dim& axis) {
  const auto symbols = axis.symbols();
  return symbols.size() == 1 && axis == Dim::symbol(symbols[0]) &&
         uses(signature, types, symbols[0]) == 1;
}

}  // namespace

TEST_CASE("every op refuses a broken rank, dimension, dtype and arity by name",
          "[registry][refusal]") {
  size_t ranks = 0, dims = 0, dtypes = 0, arities = 0, missing = 0;
  for (const NamedSample& s : all_samples()) {
    INFO(s.name);
    const std::vector<ValueType> good = types_of(s.sample);
    const Attributes attributes = attributes_of(*s.op, s.sample);
    const Signature signature = s.op->signature(attributes);
    REQUIRE_FALSE(ask(*s.op, attributes, good));
    // A cell may take a vector in the place of a batch; then its rules are not those of the
    // signature's letters.
    bool as_written = true;
    for (size_t i = 0; i < good.size(); ++i) {
      const Slot& slot = signature.slot_of(i);
      as_written = as_written &&
                   (!good[i].present || slot.any_shape || slot.axes.size() == good[i].shape.size());
    }
    for (size_t i = 0; i < good.size(); ++i) {
      if (!good[i].present) continue;
      const Slot& slot = signature.slot_of(i);
      CAPTURE(i, slot.name);
      std::vector<ValueType> bad = good;
      bad[i].shape.emplace_back(2);
      if (const auto r = ask(*s.op, attributes, bad); !slot.any_shape) {
        REQUIRE(r);
        ++ranks;
      }
      for (size_t a = 0; a < good[i].shape.size(); ++a) {
        CAPTURE(a);
        bad = good;
        bad[i].shape[a] = bad[i].shape[a] + Dim(1);
        const auto r = ask(*s.op, attributes, bad);
        if (slot.any_shape || !as_written) {
          dims += r ? 1 : 0;
          continue;
        }
        CHECK(static_cast<bool>(r) == !is_free(signature, good, slot.axes[a]));
        if (r) CHECK(r->text.find("signature: ") != std::string::npos);
        dims += r ? 1 : 0;
      }
      if (slot.type == SlotType::kFloat || slot.type == SlotType::kInt ||
          slot.type == SlotType::kI64 || slot.type == SlotType::kNumber) {
        bad = good;
        bad[i].dtype = boolean;
        const auto r = ask(*s.op, attributes, bad);
        REQUIRE(r);
        CHECK(r->code == cat(s.op->name, ".", slot.name, ".dtype"));
        ++dtypes;
      }
      if (!slot.optional && !slot.variadic) {
        bad = good;
        bad[i].present = false;
        bool any = false;
        for (const ValueType& t : bad) any = any || t.present;
        if (!any) continue;
        const auto r = ask(*s.op, attributes, bad);
        REQUIRE(r);
        CHECK(r->code == cat(s.op->name, ".", slot.name, ".missing"));
        ++missing;
      }
    }
    if (signature.inputs.empty() || !signature.inputs.back().variadic) {
      std::vector<ValueType> bad = good;
      bad.push_back({f64, {}, true});
      const auto r = ask(*s.op, attributes, bad);
      REQUIRE(r);
      CHECK(r->code == s.op->name + ".inputs.arity");
      ++arities;
    }
  }
  WARN("refused: " << ranks << " ranks, " << dims << " dimensions, " << dtypes << " dtypes, "
                   << missing << " missing operands, " << arities << " arities");
  for (const size_t n : {ranks, dims, dtypes, missing, arities}) CHECK(n > 20);
}

TEST_CASE("what symbols hide is refused by the same rule once values are bound",
          "[registry][refusal]") {
  size_t refused = 0, calls = 0, needs_numbers = 0;
  for (const NamedSample& s : all_samples()) {
    INFO(s.name);
    const std::vector<ValueType> good = types_of(s.sample);
    const Attributes attributes = attributes_of(*s.op, s.sample);
    Graph g;
    Vars in;
    const Signature signature = s.op->signature(attributes);
    for (size_t i = 0; i < good.size(); ++i) {
      const ValueType& t = good[i];
      const Slot& slot = signature.slot_of(i);
      // A symbol of its own for each axis, but for 1 (symbols never broadcast) and for 4*H (no
      // symbol is four others).
      Shape open = t.shape;
      for (size_t a = 0; a < open.size(); ++a) {
        const bool whole = slot.any_shape ||
                           (slot.axes.size() == open.size() && slot.axes[a].symbols().size() == 1 &&
                            slot.axes[a] == Dim::symbol(slot.axes[a].symbols()[0]));
        if (whole && !(open[a] == Dim(1))) open[a] = Dim::symbol(cat("S", i, "_", a));
      }
      in.push_back(t.present ? g.placeholder(cat("in", i), t.dtype, open) : Var());
    }
    Vars fetches;
    try {
      for (const Var& v : g.call(*s.op, in, attributes)) {
        if (v) fetches.push_back(v);
      }
    } catch (const Error&) {
      ++needs_numbers;  // a quotient, say
      continue;
    }
    Session session(g, {.backend = "reference"}, one_thread());
    const auto run = [&](const std::vector<ValueType>& types) -> std::string {
      std::vector<Feed> feeds;
      for (size_t i = 0; i < types.size(); ++i) {
        if (!types[i].present) continue;
        // Zeros fit everything but numbers that a sample had to choose, such as lengths.
        const double value = s.sample.inputs[i].values.empty() ? 0 : 1;
        feeds.emplace_back(in[i], Tensor::full(types[i].dtype, bind(types[i].shape, {}), value));
      }
      try {
        session.run(fetches, feeds);
      } catch (const Error& e) {
        return e.code();
      }
      return "";
    };
    CHECK(run(good) == "");
    ++calls;
    for (size_t i = 0; i < good.size(); ++i) {
      for (size_t a = 0; a < good[i].shape.size() && good[i].present; ++a) {
        std::vector<ValueType> bad = good;
        if (in[i].shape()[a].is_constant()) continue;
        bad[i].shape[a] = bad[i].shape[a] + Dim(1);
        const auto wanted = ask(*s.op, attributes, bad);
        if (!wanted) continue;
        CAPTURE(i, a);
        CHECK(run(bad) == wanted->code);
        ++refused;
      }
    }
  }
  WARN(calls << " calls, " << refused << " refused when bound; " << needs_numbers
             << " cannot be built without numbers");
  CHECK(refused > 100);
}

TEST_CASE("every op refuses attributes that are unknown, of another type, out of range or required",
          "[registry][refusal]") {
  size_t unknown = 0, types = 0, ranges = 0, spellings = 0, required = 0, not_a_number = 0;
  for (const OpDef* op : registry().all()) {
    if (op->samples.empty()) continue;
    INFO(op->name);
    const Sample& s = op->samples[0];
    const std::vector<ValueType> good = types_of(s);
    const auto refuses = [&](std::string_view name, AttributeValue v, std::string_view rule,
                             size_t& count) {
      Attributes a = s.attributes;
      a.set(name, std::move(v));
      const auto r = ask(*op, a, good);
      CAPTURE(std::string(name));
      REQUIRE(r);
      CHECK(r->code == cat(op->name, ".", name, ".", rule));
      ++count;
    };
    refuses("no_such_attribute", 1, "unknown", unknown);
    for (const AttributeDef& d : op->attributes) {
      const bool is_flag = d.default_value.get<bool>() != nullptr;
      refuses(d.name, is_flag ? AttributeValue("text") : AttributeValue(true), "type", types);
      if (!d.one_of.empty()) refuses(d.name, "NO_SUCH_NAME", "value", spellings);
      if (d.default_value.get<double>() != nullptr)
        refuses(d.name, std::nan(""), "nan", not_a_number);
      const bool whole = d.default_value.get<int64_t>() != nullptr;
      const auto number = [&](double v) {
        return whole ? AttributeValue(static_cast<int64_t>(v)) : AttributeValue(v);
      };
      if (d.min) refuses(d.name, number(*d.min - 1), "range", ranges);
      if (d.max) refuses(d.name, number(*d.max + 1), "range", ranges);
      if (d.required) {
        Attributes a;
        for (const auto& [name, value] : s.attributes.items()) {
          if (name != d.name) a.set(name, value);
        }
        const auto r = ask(*op, a, good);
        REQUIRE(r);
        CHECK(r->code == cat(op->name, ".", d.name, ".missing"));
        ++required;
      }
    }
  }
  WARN("refused: " << unknown << " unknown, " << types << " types, " << ranges << " ranges, "
                   << spellings << " spellings, " << not_a_number << " NaN, " << required
                   << " required");
  for (const size_t n : {unknown, types, ranges, spellings, not_a_number, required}) CHECK(n > 0);
}

namespace {

// The code with which the call is refused: when it is built, or when it runs; empty = accepted.
std::string refused_in_a_graph(const OpDef& op, const Sample& call,
                               const std::vector<Tensor>& values) {
  try {
    const OpGraph g = graph_of(op, call.attributes, values);
    Session session(g.graph, {.backend = "reference"}, one_thread());
    session.run(g.present(), {g.feeds.begin(), g.feeds.end()});
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

std::string refused_eagerly(const OpDef& op, const Sample& call,
                            const std::vector<Tensor>& values) {
  try {
    apply(op.name, values, call.attributes);
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

}  // namespace

TEST_CASE("every op refuses what its definition says, in a graph and eagerly, by that rule",
          "[registry][refusal]") {
  size_t rules = 0;
  for (const OpDef* op : registry().all()) {
    for (const RefusedCall& r : op->refuses) {
      const std::vector<Tensor> values = draw(r.call, f64);
      CAPTURE(op->name, r.rule, r.call.label);
      CHECK(refused_in_a_graph(*op, r.call, values) == cat(op->name, ".", r.rule));
      if (!values.empty())
        CHECK(refused_eagerly(*op, r.call, values) == cat(op->name, ".", r.rule));
      CHECK_FALSE(r.means.empty());
      ++rules;
    }
  }
  WARN(rules << " rules of definitions, each broken in both forms");
  CHECK(rules > 0);
}
