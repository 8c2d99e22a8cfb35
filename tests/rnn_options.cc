// Every recurrent op under all pairs of its options (option_cases.cc): gradients of first and
// second order against central differences, cpu against reference, eager against graph, and the
// kernel that runs them; and that the tables hold every option there is.
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "../cli/verify.h"
#include "check_gradient.h"
#include "op_run.h"
#include "option_cases.h"
#include "registry_samples.h"

#include <rondo/graph/eager.h>

using namespace rondo;
using namespace rondo::test;

namespace {

// Elements of each operand that are moved alone; the others move together.
constexpr size_t kElements = 64;
constexpr uint64_t kAttempts = 20;

// At the first point that no kink is near to.
GradientReport smooth_gradients(const Family& f, const Choice& choice) {
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    const OptionCase c = case_of(f, choice, attempt);
    const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
    GradientReport r = check_gradients(g.graph, g.outputs, g.feeds,
                                       {.run = c.run,
                                        .fixed = float_operands(*c.op, g).without,
                                        .off_kinks = true,
                                        .elements = kElements});
    r.shorter = attempt;  // points that were passed over
    if (!r.near_kink) return r;
  }
  GradientReport r;
  r.problems.emplace_back("every point is near a kink");
  return r;
}

// The size of an operand's axis that a letter of the signature names; none when it has none.
std::optional<int64_t> size_of_letter(const OptionCase& c, const std::string& letter) {
  const Signature s =
      c.op->signature(attributes_of(*c.op, {.inputs = {}, .attributes = c.attributes}));
  const std::vector<Dim> axes = s.inputs[0].axes;
  const auto at = std::find(axes.begin(), axes.end(), Dim::symbol("$" + letter));
  if (at == axes.end() || axes.size() != c.inputs[0].dims().size()) return std::nullopt;
  return c.inputs[0].dims()[static_cast<size_t>(at - axes.begin())];
}

}  // namespace

TEST_CASE("recurrent ops: rows of options hold every pair that the rules allow",
          "[rnn][pairwise]") {
  for (const Family& f : families()) {
    INFO(f.op);
    const auto levels = f.levels();
    const auto rows = pairwise(levels, f.rule());
    for (const Choice& row : rows) CHECK((!f.rule() || f.rule()(row)));
    for (const Pair& p : uncovered(levels, rows)) {
      INFO(f.factors[p.factor].name << "=" << p.value << " with " << f.factors[p.other_factor].name
                                    << "=" << p.other_value);
      REQUIRE(f.rule());
      CHECK(!f.rule()(row_of(p, levels.size())));
    }
  }
}

TEST_CASE("recurrent ops: the tables hold every op and every option of it", "[rnn][pairwise]") {
  std::set<std::string> have, need;
  for (const char* folder : {"nd4j", "mxnet"}) {
    for (const std::string& path :
         tool::vector_files(cat(RONDO_SOURCE_DIR "/tests/vectors/", folder))) {
      const SafeTensors file = load_safetensors(path);
      if (file.metadata.at("op") != "convert") need.insert(tool::op_of(file).name);
    }
  }
  for (const OpDef* op : registry().all()) {
    if (op->family == "Layers beside the contract") need.insert(op->name);
  }
  for (const Family& f : families()) {
    INFO(f.op);
    have.insert(f.op);
    const OpDef& op = registry().at(f.op);
    const std::vector<OptionCase> cases = option_cases(f.op);
    REQUIRE(!cases.empty());
    for (const AttributeDef& d : op.attributes) {
      INFO(d.name);
      std::set<std::string> values;
      for (const OptionCase& c : cases) {
        const AttributeValue* v = c.attributes.find(d.name);
        const std::string none = d.required || d.optional ? "none" : d.default_value.str();
        values.insert(v == nullptr ? none : v->str());
      }
      CHECK(values.size() >= std::max<size_t>(2, d.one_of.size()));
    }
    for (size_t i = 0; i < op.parsed.inputs.size(); ++i) {
      const Slot& slot = op.parsed.inputs[i];
      INFO(slot.name);
      std::set<std::string> seen;
      for (const OptionCase& c : cases)
        seen.insert(c.inputs[i] ? std::string(name_of(c.inputs[i].dtype())) : "none");
      CHECK(seen.count("none") == (slot.optional ? 1 : 0));
      CHECK(seen.size() == (slot.optional ? 1U : 0U) + (slot.type == SlotType::kInt ? 2U : 1U));
    }
    for (const std::string letter : {"T", "B"}) {
      INFO(letter);
      std::set<int64_t> sizes;
      for (const OptionCase& c : cases) {
        if (const auto n = size_of_letter(c, letter)) sizes.insert(*n);
      }
      if (sizes.empty()) {
        CHECK(op.sig.find("[T,") == std::string::npos);  // a cell
      } else {
        CHECK(sizes.count(1) == 1);
        CHECK(sizes.size() > 1);
      }
    }
  }
  CHECK(have == need);
}

TEST_CASE("recurrent ops: gradients agree with central differences under all pairs of options",
          "[rnn][gradient]") {
  GradientReport all;
  for (const Family& f : families()) {
    GradientReport of_op;
    const auto rows = pairwise(f.levels(), f.rule());
    for (const Choice& choice : rows) {
      INFO(case_of(f, choice).name);
      const GradientReport r = smooth_gradients(f, choice);
      CAPTURE(r.problems);
      CHECK(r.problems.empty());
      CHECK(r.first > 0);
      of_op += r;
    }
    WARN(f.op << ": " << rows.size() << " rows, " << of_op.first << " derivatives of each order, "
              << of_op.shorter << " points passed over");
    all += of_op;
  }
  CHECK(all.first > 20000);
}

TEST_CASE("recurrent ops: cpu agrees with the reference under all pairs of options",
          "[rnn][kernel]") {
  size_t tensors = 0;
  for (const OptionCase& c : option_cases()) {
    for (const auto& [dtype, bound] : {std::pair{f64, 1e-11}, {f32, 2e-4}}) {
      const std::vector<Tensor> inputs = in_dtype(c.inputs, dtype);
      const auto run = [&](CompileOptions o) {
        return results_and_gradients(*c.op, c.attributes, inputs, o, nullptr, c.run);
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
  for (const OptionCase& c : option_cases()) {
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
    for (const OptionCase& c : option_cases()) {
      INFO(c.name << " on " << backend);
      const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
      const std::vector<Tensor> in_graph =
          Session(g.graph, options, one_thread()).run(g.present(), g.feeds);
      std::vector<Tensor> now = eager_call(*c.op, c.inputs, c.attributes, {});
      std::erase_if(now, [](const Tensor& t) { return !t; });
      REQUIRE(now.size() == in_graph.size());
      for (size_t i = 0; i < now.size(); ++i) CHECK(now[i].same_bits(in_graph[i]));
    }
  }
}
