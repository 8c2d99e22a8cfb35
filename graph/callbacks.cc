#include <rondo/graph/callbacks.h>

#include <algorithm>
#include <utility>

namespace rondo {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

std::string joined(const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& n : names) s += (s.empty() ? "" : ", ") + n;
  return s.empty() ? "none" : s;
}

template <class List>
void add_names(std::vector<std::string>& names, const List& list) {
  for (const auto& e : list) names.push_back(e.name);
}

// Refuses what a definition says or gives.
template <class... A>
[[noreturn]] void blame(const OpDef& op, std::string_view function, std::string_view rule,
                        const A&... text) {
  fail(op.built_in ? Fault::kInternal : Fault::kArgument, cat(op.name, ".", function, ".", rule),
       "[", op.name, "] ", function, " ", text...);
}

// What the op has instead of a name that it has not.
std::string instead(const OpDef& op, const std::string& name) {
  if (name.empty()) return "";
  for (const AttributeDef& d : op.attributes) {
    if (d.name == name && d.optional) return ": it is optional and was not given; has() tells";
  }
  std::vector<std::string> values, attributes;
  for (const auto* slots : {&op.parsed.inputs, &op.parsed.outputs}) add_names(values, *slots);
  add_names(attributes, op.attributes);
  std::vector<std::string> all = values;
  all.insert(all.end(), attributes.begin(), attributes.end());
  return cat(", but the op has the operands and results ", joined(values), " and the attributes ",
             joined(attributes), closest(name, all));
}

// A letter of a result that no operand must have, and no attribute fixes, would stay a letter.
void check_letters(const Signature& s) {
  std::vector<std::string> known;
  const auto letters_of = [](const Slot& slot) {
    std::vector<std::string> r;
    for (const std::string& axis : slot.text) {
      for (std::string& n : Dim(axis).symbols()) r.push_back(std::move(n));
    }
    return r;
  };
  for (const Slot& slot : s.inputs) {
    if (slot.optional) continue;
    for (std::string& n : letters_of(slot)) known.push_back(std::move(n));
  }
  for (const FixedLetter& f : s.fixed) known.push_back(f.letter);
  for (const Slot& slot : s.outputs) {
    for (const std::string& n : letters_of(slot)) {
      if (std::find(known.begin(), known.end(), n) == known.end())
        throw DefinitionError("letter",
                              cat('"', s.text, "\": ", slot.name, axes_of(slot), " has '", n,
                                  "', which no required operand fixes, nor an attribute"));
    }
  }
}

// Calls a function of a definition.
template <class F>
auto within(const OpDef& op, std::string_view function, const F& f) {
  try {
    return f();
  } catch (const DefinitionError& e) {
    blame(op, function, e.rule(), e.text(), instead(op, e.name()));
  }
}

// The same for one that builds nodes: what refuses them says where they come from.
template <class F>
Vars building(const OpDef& op, std::string_view function, const F& f) {
  try {
    return within(op, function, f);
  } catch (const Error& e) {
    if (e.code().rfind(cat(op.name, ".", function, "."), 0) == 0) throw;
    throw Error(e.fault(), e.code(), cat(e.what(), "\n  in ", function, " of ", op.name));
  }
}

// `undecided`: the call's own operands are equal only for some values of their symbols; else types
// with symbols must be the same ones.
void check_value(const Call& c, std::string_view function, const std::string& as, const Var& v,
                 const ValueType& want, bool undecided) {
  if (!may_equal(v.type(), want) || (!undecided && v.shape() != want.shape))
    blame(c.op(), function, "result", "gives ", v.type().str(), " as ", as, ", but that is ",
          want.str());
  const Vars& in = c.inputs();
  const auto present = [](const Var& o) { return static_cast<bool>(o); };
  if (std::any_of(in.begin(), in.end(), present) && !(v.graph() == c.graph()))
    blame(c.op(), function, "graph", "gives as ", as, " a value of another graph, ", v.name(),
          "; build it of the operands, or in c.graph()");
}

std::vector<ValueType> infer_own(const OpDef& op, const InferContext& c) {
  if (op.check) within(op, "check", [&] { return op.check(c), 0; });
  const Signature& s = c.signature();
  std::vector<ValueType> out = within(op, "signature", [&] {
    if (!op.infer && (op.sig_of || op.letters)) check_letters(s);
    return infer_by_signature(c, !op.infer);
  });
  if (!op.infer) return out;
  out = within(op, "infer", [&] { return op.infer(c); });
  if (out.size() != s.outputs.size() && (s.outputs.empty() || !s.outputs.back().variadic))
    blame(op, "infer", "count", "gives ", out.size(), " results, but the signature has ",
          s.outputs.size(), ": ", s.text);
  return out;
}

}  // namespace

std::string closest(std::string_view name, const std::vector<std::string>& names) {
  std::string best;
  size_t distance = 4;  // what is further away is no hint, nor is a name of which half differs
  for (const std::string& n : names) {
    const size_t d = edit_distance(name, n);
    if (d < distance && 2 * d < std::max(name.size(), n.size())) {
      distance = d;
      best = n;
    }
  }
  return best.empty() ? "" : "; did you mean '" + best + "'?";
}

std::string closest_parts(std::string_view name, const std::vector<std::string>& names) {
  if (std::string one = closest(name, names); !one.empty()) return one;
  const auto parts_of = [](std::string_view s) {
    std::vector<std::string_view> parts;
    for (size_t end; !s.empty(); s.remove_prefix(std::min(s.size(), end + 1))) {
      end = std::min(s.size(), s.find_first_of(".:_"));
      if (end > 1) parts.push_back(s.substr(0, end));
    }
    return parts;
  };
  const auto has = [&](const std::string& n, std::string_view part) {
    const auto all = parts_of(n);
    return std::any_of(all.begin(), all.end(), [&](std::string_view p) {
      return p == part || (part.size() > 3 && edit_distance(p, part) == 1);
    });
  };
  constexpr size_t kMost = 4;
  std::vector<std::string> rarest;
  for (const std::string_view part : parts_of(name)) {
    std::vector<std::string> with;
    std::copy_if(names.begin(), names.end(), std::back_inserter(with), [&](const std::string& n) {
      return has(n, part) && std::find(with.begin(), with.end(), n) == with.end();
    });
    if (!with.empty() && (rarest.empty() || with.size() < rarest.size())) rarest = with;
  }
  if (rarest.empty()) return "";
  const size_t more = rarest.size() > kMost ? rarest.size() - kMost : 0;
  rarest.resize(rarest.size() - more);
  return cat("; near it are ", joined(rarest), more == 0 ? "" : cat(" and ", more, " more"));
}

void check_definition(OpDef& def) {
  def.parsed = within(def, "signature", [&] {
    Signature s = parse_signature(def.sig);
    if (!def.infer && !def.letters && !def.sig_of) check_letters(s);
    return s;
  });
  const auto check = [&](std::string_view list, const std::string& name,
                         const std::vector<std::string>& names) {
    if (std::find(names.begin(), names.end(), name) == names.end())
      blame(def, list, "name", "name '", name, "', but there are ", joined(names),
            closest(name, names));
  };
  std::vector<std::string> inputs, outputs;
  add_names(inputs, def.parsed.inputs);
  add_names(outputs, def.parsed.outputs);
  for (const KeptState& s : def.states) {
    check("states", s.operand, inputs);
    check("states", s.next, outputs);
  }
  std::vector<std::string> all = inputs;
  all.insert(all.end(), outputs.begin(), outputs.end());
  add_names(all, def.attributes);
  std::vector<std::string> flags;
  add_names(flags, def.attributes);
  for (const AskedResult& a : def.asked) {
    check("asked", a.result, outputs);
    check("asked", a.flag, flags);
  }
  for (const Alias& a : def.aliases) {
    if (!a.of.empty()) check("aliases", a.of, all);
  }
}

const Var& Call::operator[](std::string_view name) const {
  static const Var none;
  const int i = signature_.input(name);
  if (i >= 0)
    return static_cast<size_t>(i) < inputs_.size() ? inputs_[static_cast<size_t>(i)] : none;
  const int o = signature_.output(name);
  if (o < 0)
    throw DefinitionError("name", cat("asks for an operand or result '", name, "'"),
                          std::string(name));
  return static_cast<size_t>(o) < outputs_.size() ? outputs_[static_cast<size_t>(o)] : none;
}

const Var& Call::at(const Vars& list, size_t i, std::string_view what) {
  if (i < list.size()) return list[i];
  throw DefinitionError("name", cat("asks for ", what, " ", i, ", but there are ", list.size()));
}

Signature OpDef::signature(const Attributes& a) const {
  Signature s =
      sig_of ? within(*this, "sig_of", [&] { return parse_signature(sig_of(a)); }) : parsed;
  if (letters) s.fixed = within(*this, "letters", [&] { return letters(a); });
  return s;
}

std::string title_of(std::string_view op, std::string_view origin, std::string_view name) {
  constexpr std::string_view kGradient = ".gradient";
  std::string s;
  for (; origin.ends_with(kGradient); origin.remove_suffix(kGradient.size())) s += "gradient of ";
  s += origin.empty() ? op : origin;
  return name.empty() ? s : cat(s, " \"", name, "\"");
}

std::string title_of(std::string_view op, const Attributes& attributes, std::string_view name) {
  const AttributeValue* v = op == "recurrence" ? attributes.find("origin") : nullptr;
  const auto* origin = v == nullptr ? nullptr : v->get<std::string>();
  return title_of(op, origin == nullptr ? std::string_view() : *origin, name);
}

std::string title_of(const Node& n) { return title_of(n.op->name, n.attributes, n.name); }

Call call_of(const Graph& g, const Node& n) {
  Vars in;
  in.reserve(n.inputs.size());
  for (const Value v : n.inputs) in.push_back(v ? g.var(v) : Var());
  // Ops whose signature depends on attributes keep the operands' names in the general form too.
  return {*n.op, n.op->parsed, n.attributes, std::move(in), g.vars_of(n.id), n.body};
}

std::vector<ValueType> infer_call(const OpDef& op, const Attributes& attributes,
                                  std::span<const ValueType> inputs, std::string_view node_name,
                                  Site site, const Subgraph* body, bool* undecided) {
  const bool varies = op.sig_of || op.letters;
  const Signature own = varies ? op.signature(attributes) : Signature{};
  const InferContext c(op, varies ? own : op.parsed, attributes, inputs, node_name, site, body);
  std::vector<ValueType> out = infer_own(op, c);
  if (undecided != nullptr) *undecided = c.undecided();
  return out;
}

Vars lower_call(const Node& n, const Call& c) {
  const Vars& in = c.inputs();
  const bool built = std::any_of(in.begin(), in.end(), [](const Var& v) { return bool{v}; });
  const int32_t before = built ? c.graph().size() : 0;
  const Vars r = building(*n.op, "lower", [&] { return n.op->lower(c); });
  if (r.size() != n.outputs.size())
    blame(*n.op, "lower", "count", "gives ", r.size(), " results, but the call has ",
          n.outputs.size(), ": ", n.op->sig);
  for (size_t i = 0; i < r.size(); ++i) {
    const std::vector<Slot>& slots = n.op->parsed.outputs;
    const std::string& name = slots[std::min(i, slots.size() - 1)].name;
    const ValueType& want = n.outputs[i];
    if (!r[i] && !want.present) continue;
    if (!r[i] || !want.present)
      blame(*n.op, "lower", "result", "gives ", r[i] ? r[i].type().str() : "nothing", " as ", name,
            want.present ? cat(", but that is ", want.str()) : ", which was not asked for");
    check_value(c, "lower", name, r[i], want, n.check_at_bind);
  }
  for (int32_t id = before; built && id < c.graph().size(); ++id) {
    if (c.graph().node(id).op == n.op)
      blame(*n.op, "lower", "itself", "calls ", n.op->name, " itself, and would never end");
  }
  return r;
}

Vars vjp_call(const Node& n, const Call& c, const Vars& g, GradContext& context) {
  const Vars r = building(*n.op, "vjp", [&] { return n.op->vjp(c, g, context); });
  if (r.size() != n.inputs.size())
    blame(*n.op, "vjp", "count", "gives ", r.size(), " gradients, but the call has ",
          n.inputs.size(), " operands: ", n.op->sig);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r[i] && c.in(i))
      check_value(c, "vjp", "the gradient of " + n.op->parsed.slot_of(i).name, r[i], c.in(i).type(),
                  n.check_at_bind);
  }
  return r;
}

}  // namespace rondo
