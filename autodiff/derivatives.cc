#include <rondo/autodiff/derivatives.h>

#include <set>

#include <rondo/autodiff/gradients.h>
#include <rondo/graph/checked.h>
#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// Both lists name as many values, each with a direction of its type or none.
void check_directions(std::string_view function, std::string_view what, const Vars& wrt,
                      const Vars& directions, Site at) {
  if (wrt.size() != directions.size()) {
    fail(Fault::kArgument, cat(function, ".", what, "s.count"), "[", function, "] got ", wrt.size(),
         " values to differentiate by and ", directions.size(), " ", what, "s", built_at(at));
  }
  for (size_t i = 0; i < wrt.size(); ++i) {
    if (!wrt[i]) {
      fail(Fault::kArgument, cat(function, ".values.empty"), "[", function,
           "] a value to differentiate by is an empty Var", built_at(at));
    }
    if (directions[i] && directions[i].type() != wrt[i].type()) {
      fail(Fault::kArgument, cat(function, ".", what, "s.type"), "[", function, "] ", what, " ", i,
           " is ", directions[i].type().str(), ", its value ", wrt[i].type().str(), built_at(at));
    }
  }
}

// The part of a graph between `from` and `to`, which can be copied with something else in the place
// of `from`; what does not depend on that is shared by all copies.
class Between {
 public:
  Between(const Var& from, const Vars& to) : graph_(from.graph()), part_{graph_, {}, {}} {
    for (const Var& v : to) part_.outputs.push_back(v ? v.value() : Value{});
    const std::vector<int32_t> live = live_nodes(part_);
    std::vector<bool> depends(static_cast<size_t>(graph_.size()));
    depends[static_cast<size_t>(from.value().node)] = true;
    std::set<int32_t> around;
    for (const int32_t id : live) {
      const auto is_dependent = [&](Value v) { return v && depends[static_cast<size_t>(v.node)]; };
      const std::vector<Value>& in = graph_.node(id).inputs;
      if (std::none_of(in.begin(), in.end(), is_dependent)) continue;
      depends[static_cast<size_t>(id)] = true;
      for (const Value v : in) {
        if (v && !is_dependent(v)) around.insert(v.node);
      }
    }
    for (const Value v : part_.outputs) {
      if (v && !depends[static_cast<size_t>(v.node)]) around.insert(v.node);
    }
    part_.inputs.push_back(from.value());
    shared_.emplace_back();
    for (const int32_t id : around) {
      const Vars all = graph_.vars_of(id);
      for (size_t k = 0; k < all.size(); ++k) {
        part_.inputs.push_back({id, static_cast<int32_t>(k)});
        shared_.push_back(all[k]);
      }
    }
  }

  Vars copy(const Var& in_place_of_from) {
    shared_[0] = in_place_of_from;
    return inline_subgraph(part_, graph_, shared_);
  }

 private:
  Graph graph_;
  Subgraph part_;
  Vars shared_;
};

int64_t elements(const Var& y, Site at) {
  const auto dims = constant_dims(y.shape());
  if (!dims) {
    fail(Fault::kArgument, "jacobian.y.symbolic", "[jacobian] y is ", y.type().str(),
         ", but its dimensions must be numbers: there is a backward pass for each element",
         built_at(at));
  }
  const int64_t n = element_count(*dims);
  if (n > kLargestJacobian) {
    fail(Fault::kArgument, "jacobian.y.size", "[jacobian] y has ", n, " elements, at most ",
         kLargestJacobian, " are taken; jvp and vjp give products with a Jacobian of any size",
         built_at(at));
  }
  return n;
}

}  // namespace

Vars jvp(const Vars& outputs, const Vars& wrt, const Vars& tangents, Site at) {
  check_directions("jvp", "tangent", wrt, tangents, at);
  // What the cotangents are does not matter: the gradient is linear in them.
  Vars cotangents;
  for (const Var& v : outputs)
    cotangents.push_back(v && is_float(v.dtype()) ? fill_like(v, 0) : Var());
  const Vars d = vjp(outputs, cotangents, wrt, at);
  Vars through, along, by;
  for (size_t i = 0; i < d.size(); ++i) {
    if (!d[i] || !tangents[i]) continue;
    through.push_back(d[i]);
    along.push_back(tangents[i]);
  }
  for (const Var& u : cotangents) {
    if (u) by.push_back(u);
  }
  const Vars found = through.empty() ? Vars(by.size()) : vjp(through, along, by, at);
  Vars r;
  size_t k = 0;
  for (const Var& u : cotangents) r.push_back(u ? found[k++] : Var());
  return r;
}

Vars hvp(const Var& loss, const Vars& wrt, const Vars& directions, Site at) {
  check_directions("hvp", "direction", wrt, directions, at);
  Vars r = vjp(gradients(loss, wrt, at), directions, wrt, at);
  for (size_t i = 0; i < r.size(); ++i) {
    if (!r[i]) r[i] = fill_like(wrt[i], 0);
  }
  return r;
}

Vars jacobian(const Var& y, const Vars& wrt, Site at) {
  if (!y) fail(Fault::kArgument, "jacobian.y.empty", "[jacobian] y is an empty Var", built_at(at));
  if (!is_float(y.dtype())) {
    fail(Fault::kArgument, "jacobian.y.dtype", "[jacobian] y must be a float, got ", y.type().str(),
         "; convert it with cast", built_at(at));
  }
  const int64_t n = elements(y, at);
  const Var u = fill_like(y, 0);
  const Vars d = vjp({y}, {u}, wrt, at);
  Between backward(u, d);
  std::vector<Vars> rows(wrt.size());
  for (int64_t k = 0; k < n; ++k) {
    const Var one = pad(fill(y.graph(), y.dtype(), {1}, 1), 0, k, n - 1 - k);
    const Vars row = backward.copy(reshape(one, y.shape()));
    for (size_t i = 0; i < wrt.size(); ++i) {
      if (row[i]) rows[i].push_back(expand_dims(row[i], 0));
    }
  }
  Vars r;
  for (size_t i = 0; i < wrt.size(); ++i) {
    Shape shape = y.shape();
    shape.insert(shape.end(), wrt[i].shape().begin(), wrt[i].shape().end());
    r.push_back(rows[i].empty() ? fill(y.graph(), wrt[i].dtype(), shape, 0)
                                : reshape(concat(rows[i], 0), shape));
  }
  return r;
}

}  // namespace rondo
