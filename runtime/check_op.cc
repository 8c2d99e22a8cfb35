#include <rondo/runtime/check_op.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include <rondo/graph/eager.h>
#include <rondo/graph/print.h>
#include <rondo/ops/random.h>
#include <rondo/proto/bundle.h>
#include <rondo/runtime/backend.h>
#include <rondo/runtime/session.h>

namespace rondo {

namespace check {

Tensor draw(const Dims& dims, DType dtype, double low, double high, uint64_t seed) {
  Tensor t(f64, dims);
  for (int64_t i = 0; i < t.size(); ++i) {
    const double u = uniform_at(seed, 0, 0, static_cast<uint64_t>(i));
    t.mutable_data<double>()[i] =
        is_float(dtype) ? low + (high - low) * u : std::floor(low + (high - low + 1) * u);
  }
  return t.to(dtype);
}

std::vector<Tensor> draw(const Sample& s, DType float_type, uint64_t seed) {
  std::vector<Tensor> r;
  for (const Sample::Input& in : s.inputs) {
    const DType t = is_float(in.dtype) ? float_type : in.dtype;
    if (in.absent) {
      r.emplace_back();
    } else if (in.values.empty()) {
      r.push_back(draw(in.dims, t, in.low, in.high, seed * 1000 + r.size()));
    } else {
      Tensor v(f64, in.dims);
      for (int64_t i = 0; i < v.size(); ++i)
        v.mutable_data<double>()[i] = in.values[static_cast<size_t>(i) % in.values.size()];
      r.push_back(v.to(t));
    }
  }
  return r;
}

OpGraph graph_of(const OpDef& op, const Attributes& attributes, const std::vector<Tensor>& values) {
  OpGraph r;
  for (const Tensor& t : values) {
    const size_t i = r.inputs.size(), fixed = op.parsed.inputs.size();
    const std::string name = i < fixed ? op.parsed.inputs[i].name
                             : fixed == 0
                                 ? cat("operand[", i, "]")
                                 : cat(op.parsed.inputs.back().name, "[", i + 1 - fixed, "]");
    r.inputs.push_back(t ? r.graph.placeholder(name, t.dtype(), to_shape(t.dims())) : Var());
    if (t) r.feeds.emplace_back(r.inputs.back(), t);
  }
  r.outputs = r.graph.call(op, r.inputs, attributes);
  return r;
}

}  // namespace check

namespace {

using check::OpGraph;

// How far a result may be from the reference's, relative to its largest value.
constexpr double kAgreeF64 = 1e-10, kAgreeF32 = 2e-4;

bool any_float(const std::vector<Tensor>& list) {
  return std::any_of(list.begin(), list.end(),
                     [](const Tensor& t) { return t && is_float(t.dtype()); });
}
bool any_float(const Vars& list) {
  return std::any_of(list.begin(), list.end(),
                     [](const Var& v) { return v && is_float(v.dtype()); });
}

double distance(const Tensor& a, const Tensor& b) {
  double most = 0, largest = 1;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    most = std::max(most, std::isnan(x - y) ? HUGE_VAL : std::abs(x - y));
    if (std::isfinite(y)) largest = std::max(largest, std::abs(y));
  }
  return most / largest;
}

class Checker {
 public:
  explicit Checker(const OpDef& op) : op_(op) {
    report_.op = op.name;
    known_.add(op);
  }

  OpReport run() {
    if (op_.samples.empty())
      report_.problems.emplace_back("it has no sample, so nothing is checked");
    for (const Sample& s : op_.samples) {
      sample_ = cat("sample ", report_.samples++, s.label.empty() ? "" : cat(" (", s.label, ")"));
      try {
        gradients(s);
        for (const DType t : {f64, f32}) forms(s, t);
        file(s);
      } catch (const std::exception& e) {
        problem(e.what());
      }
    }
    if (!op_.samples.empty() && (report_.gradients.first == 0) != op_.no_gradient) {
      report_.problems.emplace_back(op_.no_gradient ? "it has no_gradient, but gives one"
                                                    : "no sample shows a gradient");
    }
    for (const RefusedCall& r : op_.refuses) refusal(r);
    return std::move(report_);
  }

 private:
  void problem(const std::string& text) { report_.problems.push_back(cat(sample_, ": ", text)); }

  // Random ops draw the same numbers at each run of a step, so that they have a gradient too.
  RunOptions run_options() const { return {.training = op_.opaque, .seed = 3, .step = 1}; }

  void gradients(const Sample& s) {
    const std::vector<Tensor> inputs = check::draw(s, f64);
    const OpGraph g = check::graph_of(op_, s.attributes, inputs);
    if (op_.no_gradient || !any_float(inputs) || !any_float(g.outputs)) return;
    GradientOptions o;
    o.run = run_options();
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      if (g.inputs[i] && !op_.parsed.slot_of(i).differentiable) o.fixed.push_back(g.inputs[i]);
    }
    const GradientReport r = check_gradients(g.graph, g.outputs, g.feeds, o);
    for (const std::string& p : r.problems) problem(p);
    report_.gradients += r;
  }

  // In a graph and on tensors, on each backend.
  void forms(const Sample& s, DType t) {
    const std::vector<Tensor> inputs = check::draw(s, t);
    const OpGraph g = check::graph_of(op_, s.attributes, inputs);
    const auto in_graph = [&](const CompileOptions& o, const RunOptions& run = {}) {
      return Session(g.graph, o, team_).run(g.present(), g.feeds, run);
    };
    const CompileOptions plain{.backend = "reference", .optimize = false};
    const std::vector<Tensor> want = in_graph(plain);
    const std::vector<Tensor> trained = in_graph(plain, run_options());
    for (const Backend* b : linked_backends()) {
      const CompileOptions options{.backend = std::string(b->name())};
      const std::vector<Tensor> got = in_graph(options),
                                training = in_graph(options, run_options());
      for (size_t i = 0; i < got.size(); ++i) {
        const double d = std::max(distance(got[i], want[i]), distance(training[i], trained[i]));
        if (d > (t == f64 ? kAgreeF64 : kAgreeF32))
          problem(
              cat("result ", i, " in ", t, " on ", b->name(), " is ", d, " from the reference"));
        ++report_.kernels;
      }
      const EagerScope scope(options, team_);
      std::vector<Tensor> now = eager_call(op_, inputs, s.attributes, {});
      now.erase(std::remove_if(now.begin(), now.end(), [](const Tensor& r) { return !r; }),
                now.end());
      for (size_t i = 0; i < got.size(); ++i) {
        if (!now.at(i).same_bits(got[i]))
          problem(cat("result ", i, " in ", t, " on ", b->name(), " differs on tensors"));
        ++report_.eager;
      }
    }
  }

  void file(const Sample& s) {
    const OpGraph g = check::graph_of(op_, s.attributes, check::draw(s, f32));
    Vars results = g.present();
    for (size_t i = 0; i < results.size(); ++i) results[i] = results[i].named(cat("result", i));
    const std::vector<Tensor> want =
        Session(g.graph, {}, team_).run(results, g.feeds, run_options());
    for (const FileFormat format : {FileFormat::kRondo, FileFormat::kProtobuf}) {
      Bundle b;
      b.graphs.emplace("g", g.graph);
      MemorySink sink("memory");
      write_bundle(b, format, sink);
      MemorySource source("memory", sink.bytes());
      const Graph loaded = read_bundle(source, format, known_).graphs.at("g");
      if (to_text(loaded) != to_text(g.graph)) problem("loaded from a file it is another graph");
      std::vector<Feed> feeds;
      for (const auto& [v, t] : g.feeds) feeds.emplace_back(loaded.find(v.name()), t);
      Vars fetches;
      for (size_t i = 0; i < results.size(); ++i) fetches.push_back(loaded.find(cat("result", i)));
      const std::vector<Tensor> got = Session(loaded, {}, team_).run(fetches, feeds, run_options());
      for (size_t i = 0; i < got.size(); ++i) {
        if (!got[i].same_bits(want[i])) problem(cat("loaded from a file, result ", i, " differs"));
      }
    }
    ++report_.files;
  }

  void refusal(const RefusedCall& r) {
    const std::string want = cat(op_.name, ".", r.rule);
    const std::vector<Tensor> values = check::draw(r.call, f64);
    const auto expect = [&](std::string_view form, auto&& call) {
      std::string got = "no refusal";
      try {
        call();
      } catch (const Error& e) {
        got = e.code();
      } catch (const std::exception& e) {
        got = e.what();
      }
      if (got != want) report_.problems.push_back(cat("refusal ", want, " ", form, ": ", got));
    };
    expect("in a graph", [&] {
      const OpGraph g = check::graph_of(op_, r.call.attributes, values);
      Session(g.graph, {.backend = "reference"}, team_).run(g.present(), g.feeds);
    });
    expect("on tensors", [&] { eager_call(op_, values, r.call.attributes, {}); });
    if (r.means.empty()) report_.problems.push_back(cat("refusal ", want, " says no meaning"));
    ++report_.refusals;
  }

  const OpDef& op_;
  OpRegistry known_;  // what a file may hold
  OpReport report_;
  std::string sample_;
  std::shared_ptr<ThreadTeam> team_ = std::make_shared<ThreadTeam>(1);
};

}  // namespace

std::string OpReport::str() const {
  std::string s = cat(op, ": ", samples, " samples; ", gradients.first,
                      " derivatives of first and ", gradients.second, " of second order; ", eager,
                      " results on tensors; ", kernels, " results of kernels; ", files,
                      " through files; ", refusals, " refusals; ", problems.size(), " problems");
  for (const std::string& p : problems) s += cat("\n  ", p);
  return s;
}

OpReport check_op(const OpDef& op) { return Checker(op).run(); }

}  // namespace rondo
