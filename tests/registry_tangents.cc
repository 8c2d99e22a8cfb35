// Forward derivatives and products with second derivatives of every op in the registry, on its
// samples: jvp agrees with vjp and with central differences, hvp with differences of gradients.
#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "registry_samples.h"

#include <rondo/autodiff/derivatives.h>

using namespace rondo;
using namespace rondo::test;

namespace {

double dot(const Tensor& a, const Tensor& b) {
  double r = 0;
  for (int64_t i = 0; i < a.size(); ++i) r += a.at(i) * b.at(i);
  return r;
}

struct TangentReport {
  size_t elements = 0, second = 0, transposed = 0;
  std::vector<std::string> problems = {};
};

// Along one random direction of all operands at once. `wrong` changes a tangent that was computed,
// for the test of this test.
TangentReport check_tangents(const OpDef& op, const OpGraph& g, const RunOptions& run,
                             double wrong = 1) {
  TangentReport report;
  const Vars by = float_operands(op, g).with_gradient;
  Vars outputs;
  for (const Var& v : g.present()) {
    if (is_float(v.dtype())) outputs.push_back(v);
  }
  if (by.empty() || outputs.empty()) return report;
  Vars tangents, cotangents;
  std::vector<Tensor> along, back;
  const auto random = [](const Vars& like, uint64_t seed, Vars* vars, std::vector<Tensor>* values) {
    for (const Var& v : like) {
      values->push_back(draw(bind(v.shape(), {}), v.dtype(), -1, 1, ++seed));
      vars->push_back(v.graph().constant(values->back()));
    }
  };
  random(by, 300, &tangents, &along);
  random(outputs, 400, &cotangents, &back);
  const Var loss = weighted_sum(outputs, 500);
  const auto filled = [](Vars list, const Vars& like) {
    for (size_t i = 0; i < list.size(); ++i) list[i] = list[i] ? list[i] : fill_like(like[i], 0);
    return list;
  };
  const Vars sets[] = {filled(jvp(outputs, by, tangents), outputs),
                       filled(vjp(outputs, cotangents, by), by), hvp(loss, by, tangents), outputs,
                       gradients(loss, by)};
  Vars fetches;
  for (const Vars& s : sets) fetches.insert(fetches.end(), s.begin(), s.end());
  Session session(g.graph, {.backend = "reference"}, one_thread());
  std::vector<Tensor> all = session.run(fetches, g.feeds, run);
  if (all[0].size() > 0) all[0].mutable_data<double>()[0] *= wrong;

  const size_t n = outputs.size(), m = by.size();
  double forward = 0, backward = 0, size = 1e-2;
  for (size_t k = 0; k < n; ++k) forward += dot(all[k], back[k]);
  for (size_t i = 0; i < m; ++i) {
    backward += dot(all[n + i], along[i]);
    for (int64_t e = 0; e < along[i].size(); ++e)
      size += std::abs(all[n + i].at(e) * along[i].at(e));
  }
  ++report.transposed;
  if (!(std::abs(forward - backward) <= 1e-12 * size))
    report.problems.push_back(cat("jvp(v) . u = ", forward, ", v . vjp(u) = ", backward));

  // Values and gradients at x + h v.
  const Vars values(fetches.end() - static_cast<std::ptrdiff_t>(n + m), fetches.end());
  const auto at = [&](double h) {
    std::vector<Feed> moved = g.feeds;
    for (size_t i = 0; i < m; ++i) {
      for (Feed& f : moved) {
        if (!f.first.same(by[i])) continue;
        for (int64_t e = 0; e < along[i].size(); ++e)
          f.second.mutable_data<double>()[e] += h * along[i].at(e);
      }
    }
    return session.run(values, moved, run);
  };
  std::vector<std::string> problems;
  for (const double h :
       {1e-5, 1e-6, 1e-7}) {  // a wrong one is wrong at each, a kink is stepped back from
    const auto above = at(h), below = at(-h);
    problems.clear();
    report.elements = report.second = 0;
    for (size_t k = 0; k < n + m; ++k) {
      const bool first = k < n;
      const Tensor& got = all[first ? k : n + m + (k - n)];
      for (int64_t e = 0; e < got.size(); ++e) {
        const double want = (above[k].at(e) - below[k].at(e)) / (2 * h);
        const double error = std::abs(got.at(e) - want);
        ++(first ? report.elements : report.second);
        if (!(error <= (first ? 1e-6 : 1e-5) * std::max(std::abs(got.at(e)), 1e-2)))
          problems.push_back(cat(first ? "jvp of result " : "hvp by operand ", first ? k : k - n,
                                 "[", e, "]: ", got.at(e), ", central difference ", want));
      }
    }
    if (problems.empty()) break;
  }
  report.problems.insert(report.problems.end(), problems.begin(), problems.end());
  return report;
}

}  // namespace

TEST_CASE("jvp and hvp of every op agree with vjp and with central differences",
          "[registry][tangent]") {
  TangentReport all;
  size_t ops = 0;
  for (const OpDef* op : registry().all()) {
    if (needs_body(*op) || op->no_gradient) continue;
    size_t checked = 0;
    for (const NamedSample& s : samples_of(*op)) {
      INFO(s.name);
      const OpGraph g = graph_of(*op, s.sample.attributes, draw(s.sample, f64));
      const TangentReport r =
          check_tangents(*op, g, {.training = op->opaque, .seed = 3, .step = 1});
      CAPTURE(r.problems);
      CHECK(r.problems.empty());
      all.elements += r.elements;
      all.second += r.second;
      checked += r.transposed;
    }
    ops += checked > 0 ? 1 : 0;
  }
  WARN(ops << " ops: " << all.elements << " elements of jvp, " << all.second << " of hvp");
  CHECK(ops > 80);
  CHECK(all.elements > 1000);
  CHECK(all.second > 1000);
}

TEST_CASE("the check of tangents sees a wrong one", "[registry][tangent]") {
  const OpDef& op = registry().at("sin");
  const OpGraph g = graph_of(op, {}, {Tensor::of<double>({2}, {0.3, 1})});
  CHECK(check_tangents(op, g, {}).problems.empty());
  const std::vector<std::string> problems = check_tangents(op, g, {}, 1.0001).problems;
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].rfind("jvp(v) . u = ", 0) == 0);
  CHECK(problems[1].rfind("jvp of result 0[0]: ", 0) == 0);
}

TEST_CASE("jvp refuses by name what vjp refuses", "[registry][tangent]") {
  size_t refused = 0;
  for (const NamedSample& s : all_samples()) {
    if (s.op->no_gradient) continue;
    INFO(s.name);
    const OpGraph g = graph_of(*s.op, s.sample.attributes, draw(s.sample, f64));
    const Signature signature = s.op->signature(attributes_of(*s.op, s.sample));
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      const Slot& slot = signature.slot_of(i);
      const Var& x = g.inputs[i];
      if (!x || !is_float(x.dtype()) || slot.differentiable || !weighted_sum(g.outputs, 1))
        continue;
      std::string code;
      try {
        jvp(g.present(), {x}, {fill_like(x, 1)});
      } catch (const Error& e) {
        code = e.code();
      }
      CHECK(code == cat(s.op->name, ".", slot.name, ".gradient"));
      ++refused;
    }
  }
  CHECK(refused > 0);
}
