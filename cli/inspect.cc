#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <stdexcept>

#include <fmt/core.h>

#include "inspect.h"

#include <rondo/runtime/explain.h>
#include <rondo/runtime/session.h>

namespace rondo::tool {
namespace {

Binding parse_binding(const std::vector<std::string>& list) {
  Binding b;
  for (const std::string& item : list) {
    const size_t equals = item.find('=');
    int64_t value = -1;
    size_t end = 0;
    try {
      if (equals != std::string::npos) value = std::stoll(item.substr(equals + 1), &end);
    } catch (const std::exception&) {
      value = -1;
    }
    if (equals == 0 || value < 0 || equals + 1 + end != item.size())
      fail(Fault::kArgument, "inspect.bind.syntax",
           "--bind wants SYMBOL=NUMBER, a whole number from 0 on, got '", item, "'");
    b[item.substr(0, equals)] = value;
  }
  return b;
}

std::string str(const Binding& b) {
  std::string s;
  for (const auto& [symbol, value] : b)
    s += fmt::format("{}{}={}", s.empty() ? "" : ",", symbol, value);
  return s.empty() ? "nothing" : s;
}

std::string listed(const std::set<std::string>& names) {
  std::string s;
  for (const std::string& n : names) s += " " + n;
  return s;
}

// All symbols of the placeholders: those given, and the default.
Binding complete(const Graph& g, Binding given) {
  std::set<std::string> symbols;
  for (const Var& p : g.placeholders()) {
    for (const Dim& d : p.shape()) {
      for (const std::string& s : d.symbols()) symbols.insert(s);
    }
  }
  for (const auto& [symbol, value] : given) {
    if (symbols.count(symbol) == 0)
      fail(Fault::kArgument, "inspect.bind.symbol", "no placeholder has a dimension '", symbol,
           "'; there are", symbols.empty() ? " none" : listed(symbols));
  }
  for (const std::string& s : symbols) given.emplace(s, kDefaultDim);
  return given;
}

// What the plan is to compute: values asked for by name, else all that have one, else those that
// nothing uses.
Vars outputs_of(const Graph& g, const std::vector<std::string>& asked) {
  Vars r;
  const auto take = [&](const Var& v) {
    const bool known = std::any_of(r.begin(), r.end(), [&](const Var& o) { return o.same(v); });
    if (v && !known && !v.node().inputs.empty()) r.push_back(v);
  };
  const auto take_named = [&](Value v) {
    if (g.type(v).present) return take(g.var(v));
    for (const Var& o : g.vars_of(v.node)) take(o);
  };
  for (const std::string& name : asked) take_named(g.find(name).value());
  if (!asked.empty()) return r;
  for (const auto& [name, v] : g.names()) take_named(v);
  if (!r.empty()) return r;
  std::vector<bool> used(static_cast<size_t>(g.size()));
  for (int32_t i = 0; i < g.size(); ++i) {
    for (const Value v : g.node(i).inputs) {
      if (v) used[static_cast<size_t>(v.node)] = true;
    }
  }
  for (int32_t i = 0; i < g.size(); ++i) {
    if (used[static_cast<size_t>(i)]) continue;
    for (const Var& o : g.vars_of(i)) take(o);
  }
  return r;
}

std::string bytes(size_t n) {
  if (n < 10 * 1024) return fmt::format("{} B", n);
  if (n < 10 * 1024 * 1024) return fmt::format("{:.1f} KiB", static_cast<double>(n) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(n) / (1024 * 1024));
}

std::string results(const std::vector<TensorType>& types) {
  std::string s;
  for (const TensorType& t : types) {
    s += s.empty() ? "" : ", ";
    s += t.present ? std::string(name_of(t.dtype)) + to_string(t.dims) : "none";
  }
  return s;
}

size_t total(std::span<const TensorType> types) {
  size_t n = 0;
  for (const TensorType& t : types) n += t.present ? t.bytes() : 0;
  return n;
}

using Row = std::array<std::string, 5>;

// One row a step; the steps of a body that is run step by step stand indented below it.
void add_rows(const BoundPlan& plan, const std::string& indent, std::vector<Row>& rows) {
  const std::vector<StepInfo> steps = plan.steps();
  for (size_t i = 0; i < steps.size(); ++i) {
    const StepInfo& s = steps[i];
    rows.push_back(
        {indent + s.op, s.kernel, results(s.out), bytes(s.output_bytes), bytes(s.workspace_bytes)});
    if (const auto body = plan.body_of(i)) add_rows(*body, indent + "  ", rows);
  }
}

}  // namespace

std::string describe_plan(const std::string& name, const Graph& g, const PlanOptions& options) {
  const Vars outputs = outputs_of(g, options.outputs);
  if (outputs.empty()) return fmt::format("graph {} computes nothing\n", rondo::quoted(name));
  const Binding binding = complete(g, parse_binding(options.bind));
  Session session(g, {.backend = options.backend, .optimize = options.optimize});
  const std::shared_ptr<const BoundPlan> plan = session.plan(outputs)->bind(binding);

  std::string names;
  for (const Var& v : outputs) names += (names.empty() ? "" : ", ") + v.name();
  std::string s = fmt::format("plan of graph {} on backend {} for {}\n", rondo::quoted(name),
                              options.backend, names);
  s +=
      fmt::format("bound at {}{}\n", str(binding),
                  options.bind.empty() && !binding.empty() ? " (default; choose with --bind)" : "");
  if (options.explain) return s + explain(*plan);
  std::vector<Row> rows{{"op", "kernel", "results", "bytes", "workspace"}};
  add_rows(*plan, "", rows);
  std::array<size_t, 5> width{};
  for (const Row& r : rows) {
    for (size_t i = 0; i < r.size(); ++i) width[i] = std::max(width[i], r[i].size());
  }
  for (const Row& r : rows) {
    s += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}}  {:>{}}\n", r[0], width[0], r[1], width[1],
                     r[2], width[2], r[3], width[3], r[4], width[4]);
  }
  s += fmt::format("{} steps; inputs {}, outputs {}\n", plan->steps().size(),
                   bytes(total(plan->input_types())), bytes(total(plan->output_types())));
  s += fmt::format("peak memory: {} ({} bytes) beside inputs, outputs and constants\n",
                   bytes(plan->arena_bytes()), plan->arena_bytes());
  return s;
}

}  // namespace rondo::tool
