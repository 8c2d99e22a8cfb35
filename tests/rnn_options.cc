// The recurrent ops of ND4J beside lstm_layer, each under all pairs of its options: gradients of
// first and second order against central differences, cpu against reference, eager against graph,
// and the kernel that runs them.
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "op_run.h"
#include "pairwise.h"
#include "registry_samples.h"

#include <rondo/graph/eager.h>

using namespace rondo;
using namespace rondo::test;

namespace {

constexpr int64_t kB = 3, kI = 2, kH = 2, kP = 1;

// One call: an op with values for all of its operands.
struct Case {
  const OpDef* op = nullptr;
  Attributes attributes = {};
  std::vector<Tensor> inputs = {};
  std::string name = {};

  void give(Dims dims, bool present = true) {
    inputs.push_back(present ? draw(dims, f64, -1, 1, inputs.size() + 7) : Tensor());
  }
};

// The options of an op: how many values each has, and what a choice of them means.
struct Family {
  std::string op;
  std::vector<size_t> levels;
  void (*fill)(Case& c, const std::vector<size_t>& choice);
};

int64_t steps_of(size_t level) { return level == 0 ? 3 : 1; }

// What lstm_cell and lstm_block share: off, on, or peepholes that are given while off; clip; forget
// bias; bias.
void give_block_weights(Case& c, size_t peepholes, size_t clip, size_t forget, size_t bias) {
  c.attributes.set("peep_hole", peepholes == 1);
  c.attributes.set("clipping_cell_value", clip != 0 ? 0.4 : -1.0);
  c.attributes.set("forget_bias", forget != 0 ? 0.7 : 0.0);
  c.give({kI + kH, 4 * kH});
  for (int k = 0; k < 3; ++k) c.give({kH}, peepholes != 0);
  c.give({4 * kH}, bias != 0);
}

void fill_lstmp(Case& c, const Dims& x, const std::vector<size_t>& v) {
  const int64_t p = v[1] == 1 ? kP : kH;
  c.attributes = {{"peep_hole", v[0] == 1},
                  {"projection", v[1] == 1},
                  {"clipping_cell_value", v[2] != 0 ? 0.4 : 0.0},
                  {"clipping_proj_value", v[3] != 0 ? 0.2 : 0.0},
                  {"forget_bias", v[4] != 0 ? -0.5 : 0.0}};
  for (const Dims& dims :
       {x, Dims{kB, p}, Dims{kB, kH}, Dims{kI, 4 * kH}, Dims{p, 4 * kH}, Dims{4 * kH}})
    c.give(dims);
  c.give({3 * kH}, v[0] != 0);
  c.give({kH, p}, v[1] != 0);
}

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies{
      {"gru",
       {2, 2},
       [](Case& c, const std::vector<size_t>& v) {
         for (const Dims& dims : {Dims{kB, kI}, {kB, kH}, {kI + kH, 2 * kH}, {kI + kH, kH}})
           c.give(dims);
         c.give({2 * kH}, v[0] != 0);
         c.give({kH}, v[1] != 0);
       }},
      {"gru_layer",
       {2, 2, 2},  // reset after; biases; steps
       [](Case& c, const std::vector<size_t>& v) {
         c.attributes = {{"linear_before_reset", v[0] != 0}};
         for (const Dims& dims :
              {Dims{steps_of(v[2]), kB, kI}, {kB, kH}, {kI, 3 * kH}, {kH, 3 * kH}})
           c.give(dims);
         c.give({3 * kH}, v[1] != 0);
       }},
      {"lstm_cell",
       {3, 2, 2, 2},
       [](Case& c, const std::vector<size_t>& v) {
         for (const Dims& dims : {Dims{kB, kI}, {kB, kH}, {kB, kH}}) c.give(dims);
         give_block_weights(c, v[0], v[1], v[2], v[3]);
       }},
      {"lstm_block",
       {3, 3, 2, 2, 2, 2, 2, 4},  // format; as above; first states; length
       [](Case& c, const std::vector<size_t>& v) {
         constexpr int64_t kT = 4;
         const char* formats[] = {"TNS", "NST", "NTS"};
         const Dims x[] = {{kT, kB, kI}, {kB, kI, kT}, {kB, kT, kI}};
         c.attributes.set("data_format", formats[v[0]]);
         c.give(x[v[0]]);
         c.give({kB, kH}, v[5] != 0);
         c.give({kB, kH}, v[6] != 0);
         give_block_weights(c, v[1], v[2], v[3], v[4]);
         const int32_t lengths[] = {0, 2, kT};
         c.inputs.push_back(v[7] == 0 ? Tensor() : Tensor::of<int32_t>({}, {lengths[v[7] - 1]}));
       }},
      {"lstmp_cell",
       {3, 3, 2, 2, 2},  // peepholes, projection: off, on, given while off; clips; forget bias
       [](Case& c, const std::vector<size_t>& v) { fill_lstmp(c, {kB, kI}, v); }},
      {"lstmp",
       {3, 3, 2, 2, 2, 2},  // the same; steps
       [](Case& c, const std::vector<size_t>& v) { fill_lstmp(c, {steps_of(v[5]), kB, kI}, v); }},
      {"sru",
       {2, 2},  // mask; steps
       [](Case& c, const std::vector<size_t>& v) {
         for (const Dims& dims : {Dims{kB, kH, steps_of(v[1])}, {kB, kH}, {3 * kH, kH}, {2 * kH}})
           c.give(dims);
         c.give({kB, kH}, v[0] != 0);
       }},
      {"sru_cell",
       {1, 1},
       [](Case& c, const std::vector<size_t>&) {
         for (const Dims& dims : {Dims{kB, kH}, {kB, kH}, {kH, 3 * kH}, {2 * kH}}) c.give(dims);
       }},
      {"sru_bi",
       {2, 2},
       [](Case& c, const std::vector<size_t>& v) {
         for (const Dims& dims :
              {Dims{steps_of(v[1]), kB, 2 * kH}, {kB, 2 * kH}, {2 * kH, 6 * kH}, {4 * kH}})
           c.give(dims);
         c.give({kB, 2 * kH}, v[0] != 0);
       }},
  };
  return kFamilies;
}

std::vector<Case> cases() {
  std::vector<Case> r;
  for (const Family& f : families()) {
    for (const std::vector<size_t>& choice : pairwise(f.levels)) {
      Case c{.op = &registry().at(f.op), .name = f.op};
      f.fill(c, choice);
      for (const size_t v : choice) c.name += cat("-", v);
      r.push_back(std::move(c));
    }
  }
  return r;
}

}  // namespace

TEST_CASE("recurrent ops: gradients agree with central differences under all pairs of options",
          "[rnn][gradient]") {
  GradientReport all;
  std::map<std::string, size_t> rows;
  for (const Case& c : cases()) {
    INFO(c.name);
    const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
    const GradientReport r =
        check_gradients(g.graph, g.outputs, g.feeds, {.fixed = float_operands(*c.op, g).without});
    CAPTURE(r.problems);
    CHECK(r.problems.empty());
    CHECK(r.first > 0);
    all += r;
    ++rows[c.op->name];
  }
  for (const auto& [op, n] : rows) WARN(op << ": " << n << " rows");
  WARN(all.first << " elements of first and " << all.second << " of second order, " << all.shorter
                 << " near a kink");
  CHECK(rows.size() == families().size());
}

TEST_CASE("recurrent ops: cpu agrees with the reference under all pairs of options",
          "[rnn][kernel]") {
  size_t tensors = 0;
  for (const Case& c : cases()) {
    for (const auto& [dtype, bound] : {std::pair{f64, 1e-11}, {f32, 2e-4}}) {
      const std::vector<Tensor> inputs = in_dtype(c.inputs, dtype);
      const auto run = [&](CompileOptions o) {
        return results_and_gradients(*c.op, c.attributes, inputs, o);
      };
      const std::vector<Tensor> want = run({.backend = "reference", .optimize = false});
      for (const bool optimize : {false, true}) {
        INFO(c.name << " in " << dtype << (optimize ? "" : ", not optimized"));
        const std::vector<Tensor> got = run({.backend = "cpu", .optimize = optimize});
        REQUIRE(got.size() == want.size());
        for (size_t i = 0; i < got.size(); ++i) {
          CAPTURE(i);
          CHECK(distance(got[i], want[i]) <= bound);
          ++tensors;
        }
      }
    }
  }
  WARN(tensors << " results and gradients compared");
}

TEST_CASE("recurrent ops: the recurrent engine runs every sequence, forward and backward",
          "[rnn][kernel]") {
  size_t forward = 0, backward = 0;
  for (const Case& c : cases()) {
    for (const DType dtype : {f64, f32}) {
      INFO(c.name << " in " << dtype);
      const OpGraph g = graph_of(*c.op, c.attributes, in_dtype(c.inputs, dtype));
      Vars fetches = g.present();
      const auto recurrences = [&] {
        Session session(g.graph, {.backend = "cpu"}, one_thread());
        size_t n = 0;
        for (const StepInfo& s : session.plan(fetches)->bind({})->steps()) {
          if (s.op != "recurrence") continue;
          CHECK(s.kernel == "cpu.recurrence.engine");
          ++n;
        }
        return n;
      };
      const size_t before = recurrences();
      for (const Var& d :
           gradients(weighted_sum(fetches, 3), float_operands(*c.op, g).with_gradient))
        if (d) fetches.push_back(d);
      forward += before;
      backward += recurrences() - before;
    }
  }
  WARN(forward << " recurrences forward and " << backward << " backward");
  CHECK(forward > 50);
  CHECK(backward >= forward);
}

TEST_CASE("recurrent ops: eager gives the bits of a graph under all pairs of options",
          "[rnn][eager]") {
  for (const char* backend : {"reference", "cpu"}) {
    const CompileOptions options{.backend = backend};
    const EagerScope scope(options, one_thread());
    for (const Case& c : cases()) {
      INFO(c.name << " on " << backend);
      const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
      const std::vector<Tensor> in_graph =
          Session(g.graph, options, one_thread()).run(g.present(), g.feeds);
      const std::vector<Tensor> now = eager_call(*c.op, c.inputs, c.attributes, {});
      REQUIRE(now.size() == in_graph.size());
      for (size_t i = 0; i < now.size(); ++i) CHECK(now[i].same_bits(in_graph[i]));
    }
  }
}

TEST_CASE("lstm_block: what lies past max_ts_length reaches no result and no gradient",
          "[rnn][padding]") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  size_t poisoned = 0;
  for (const Case& c : cases()) {
    if (c.op->name != "lstm_block" || !c.inputs.back()) continue;
    const std::string& format = c.attributes.text("data_format");
    const auto length = static_cast<int64_t>(c.inputs.back().at(0));
    // Calls f(element) for each element past the length.
    const auto past = [&](const Dims& dims, const auto& f) {
      const size_t time = format == "TNS" ? 0 : format == "NTS" ? 1 : 2;
      int64_t inner = 1, size = 1;
      for (size_t a = 0; a < dims.size(); ++a) {
        size *= dims[a];
        if (a > time) inner *= dims[a];
      }
      for (int64_t e = 0; e < size; ++e) {
        if (e / inner % dims[time] >= length) f(e);
      }
    };
    for (const char* backend : {"reference", "cpu"}) {
      INFO(c.name << " on " << backend);
      const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
      std::vector<Tensor> inputs = c.inputs, cotangents;
      for (const Var& y : g.present())
        cotangents.push_back(draw(bind(y.shape(), {}), f64, -1, 1, 60 + cotangents.size()));
      const auto run = [&] {
        return results_and_gradients(*c.op, c.attributes, inputs, {.backend = backend},
                                     &cotangents);
      };
      const std::vector<Tensor> clean = run();
      const auto poison = [&](Tensor& t) {
        past(t.dims(), [&](int64_t e) {
          t.mutable_data<double>()[e] = kNaN;
          ++poisoned;
        });
      };
      poison(inputs[0]);
      for (Tensor& t : cotangents) poison(t);
      const std::vector<Tensor> got = run();
      REQUIRE(got.size() == clean.size());
      for (size_t i = 0; i < got.size(); ++i) {
        CAPTURE(i);
        CHECK(got[i].same_bits(clean[i]));
        // The seven results, and the gradient by x.
        if (i <= cotangents.size())
          past(got[i].dims(), [&](int64_t e) { CHECK(got[i].at(e) == 0); });
      }
    }
  }
  CHECK(poisoned > 1000);
}
