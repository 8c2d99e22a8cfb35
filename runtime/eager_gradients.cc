#include <rondo/runtime/eager_gradients.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/shape.h>
#include <rondo/runtime/session.h>

namespace rondo {
namespace {

// A function on placeholders like its inputs.
struct Recorded {
  Graph graph;
  Vars inputs, outputs, floats;
  std::vector<Feed> feeds;

  Recorded(const GraphFunction& f, const std::vector<Tensor>& tensors, std::string_view function) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!tensors[i])
        fail(Fault::kArgument, cat(function, ".inputs.empty"), "[", function, "] input ", i,
             " is an empty Tensor");
      inputs.push_back(placeholder("input", i, tensors[i].dtype(), tensors[i].dims()));
      feeds.emplace_back(inputs.back(), tensors[i]);
      if (is_float(tensors[i].dtype())) floats.push_back(inputs.back());
    }
    outputs = f(inputs);
    for (const Var& v : outputs) {
      if (!v)
        fail(Fault::kArgument, cat(function, ".values.empty"), "[", function,
             "] the function gave an empty Var");
    }
  }

  Var placeholder(std::string_view kind, size_t i, DType dtype, const Dims& dims) {
    return graph.placeholder(cat(kind, i), dtype, to_shape(dims));
  }

  const Var& only_output(std::string_view function) const {
    if (outputs.size() != 1) {
      fail(Fault::kArgument, cat(function, ".f.count"), "[", function, "] the function gave ",
           outputs.size(), " values; it must give one");
    }
    return outputs[0];
  }

  // One for each input, from one for each float input.
  std::vector<Tensor> by_input(const std::vector<Tensor>& of_floats) const {
    std::vector<Tensor> r;
    size_t k = 0;
    for (const Var& v : inputs) r.push_back(is_float(v.dtype()) ? of_floats[k++] : Tensor());
    return r;
  }
};

// One tensor, or none, for each of the values, of its type; none for those that are no floats.
void check_given(std::string_view function, std::string_view what, const Vars& types,
                 const std::vector<Tensor>& given) {
  if (given.size() != types.size()) {
    fail(Fault::kArgument, cat(function, ".", what, "s.count"), "[", function, "] got ",
         given.size(), " ", what, "s for ", types.size(), " values");
  }
  for (size_t i = 0; i < given.size(); ++i) {
    const ValueType& t = types[i].type();
    if (!given[i] ||
        (given[i].dtype() == t.dtype && to_shape(given[i].dims()) == t.shape && is_float(t.dtype)))
      continue;
    fail(Fault::kArgument, cat(function, ".", what, "s.type"), "[", function, "] ", what, " ", i,
         " is ", given[i].dtype(), to_string(given[i].dims()), ", its value ", t.str());
  }
}

}  // namespace

ValueAndGradients value_and_gradients(const GraphFunction& f, const std::vector<Tensor>& inputs,
                                      const CompileOptions& options) {
  const Recorded r(f, inputs, "value_and_gradients");
  Vars fetches{r.only_output("value_and_gradients")};
  const Vars d = gradients(fetches[0], r.floats, fetches[0].node().site);
  fetches.insert(fetches.end(), d.begin(), d.end());
  Session session(r.graph, options);
  const std::vector<Tensor> values = session.run(fetches, r.feeds);
  return {values[0], r.by_input({values.begin() + 1, values.end()})};
}

List<Tensor> gradients(const GraphFunction& f, const std::vector<Tensor>& inputs,
                       const CompileOptions& options) {
  return value_and_gradients(f, inputs, options).gradients;
}

Pullback vjp(const GraphFunction& f, const std::vector<Tensor>& inputs,
             const CompileOptions& options) {
  const auto r = std::make_shared<Recorded>(f, inputs, "vjp");
  Vars cotangents;  // null for values that are no floats
  for (size_t k = 0; k < r->outputs.size(); ++k) {
    const Var& y = r->outputs[k];
    cotangents.push_back(is_float(y.dtype())
                             ? r->graph.placeholder(cat("cotangent", k), y.dtype(), y.shape())
                             : Var());
  }
  Vars d = vjp(r->outputs, cotangents, r->floats);
  for (size_t i = 0; i < d.size(); ++i) {
    if (!d[i]) d[i] = fill_like(r->floats[i], 0);
  }
  const auto session = std::make_shared<Session>(r->graph, options);
  return {session->run(r->outputs, r->feeds),
          [r, session, cotangents, d](const std::vector<Tensor>& given) {
            check_given("vjp", "cotangent", r->outputs, given);
            std::vector<Feed> feeds = r->feeds;
            for (size_t k = 0; k < given.size(); ++k) {
              const Var& u = cotangents[k];
              if (u)
                feeds.emplace_back(u, given[k] ? given[k] : Tensor(u.dtype(), bind(u.shape(), {})));
            }
            return r->by_input(session->run(d, feeds));
          }};
}

ValuesAndTangents jvp(const GraphFunction& f, const std::vector<Tensor>& inputs,
                      const std::vector<Tensor>& tangents, const CompileOptions& options) {
  Recorded r(f, inputs, "jvp");
  check_given("jvp", "tangent", r.inputs, tangents);
  Vars wrt, along;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!tangents[i]) continue;
    wrt.push_back(r.inputs[i]);
    along.push_back(r.placeholder("tangent", i, tangents[i].dtype(), tangents[i].dims()));
    r.feeds.emplace_back(along.back(), tangents[i]);
  }
  const Vars t = jvp(r.outputs, wrt, along);
  Vars fetches = r.outputs;
  for (size_t k = 0; k < t.size(); ++k) {
    const Var& y = r.outputs[k];
    if (is_float(y.dtype())) fetches.push_back(t[k] ? t[k] : fill_like(y, 0));
  }
  Session session(r.graph, options);
  const std::vector<Tensor> all = session.run(fetches, r.feeds);
  ValuesAndTangents result;
  size_t next = r.outputs.size();
  for (size_t k = 0; k < r.outputs.size(); ++k) {
    result.values.push_back(all[k]);
    result.tangents.push_back(is_float(r.outputs[k].dtype()) ? all[next++] : Tensor());
  }
  return result;
}

List<Tensor> hvp(const GraphFunction& f, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& directions, const CompileOptions& options) {
  Recorded r(f, inputs, "hvp");
  check_given("hvp", "direction", r.inputs, directions);
  Vars along;  // one for each float input
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_float(inputs[i].dtype())) continue;
    along.emplace_back();
    if (!directions[i]) continue;
    along.back() = r.placeholder("direction", i, directions[i].dtype(), directions[i].dims());
    r.feeds.emplace_back(along.back(), directions[i]);
  }
  const Vars h = hvp(r.only_output("hvp"), r.floats, along);
  return r.by_input(Session(r.graph, options).run(h, r.feeds));
}

List<Tensor> jacobian(const GraphFunction& f, const std::vector<Tensor>& inputs,
                      const CompileOptions& options) {
  const Recorded r(f, inputs, "jacobian");
  const Vars j = jacobian(r.only_output("jacobian"), r.floats);
  return r.by_input(Session(r.graph, options).run(j, r.feeds));
}

}  // namespace rondo
