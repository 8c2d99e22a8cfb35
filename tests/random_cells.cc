// Random recurrent cells (random_cell.h): optimized, as they stand, and on the reference backend
// they give the same values and gradients; exact rules keep every bit, and so does the number of
// threads. RONDO_FUZZ=N runs N cells.
#include <cstring>
#include <map>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "op_run.h"
#include "random_cell.h"

#include <rondo/graph/passes.h>
#include <rondo/graph/print.h>
#include <rondo/graph/rewrite.h>
#include <rondo/ops/rules.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr uint64_t kParts = 4;  // test cases, so that they run side by side

// What is fetched, and the placeholders that it needs in the order in which a plan takes them.
struct Asked {
  Subgraph unit;
  std::vector<Tensor> inputs;
  std::vector<std::string> names;  // of the fetches

  Asked(const CellProgram& p, const Vars& fetches) : unit{p.g, {}, {}} {
    for (const Var& f : fetches) unit.outputs.push_back(f.value());
    for (const int32_t id : live_nodes(unit)) {
      const auto fed = std::find_if(p.feeds.begin(), p.feeds.end(), [id](const Feed& f) {
        return f.first.value() == Value{id, 0};
      });
      if (fed == p.feeds.end()) continue;
      unit.inputs.push_back({id, 0});
      inputs.push_back(fed->second);
    }
  }
};

// A run whose memory begins as NaN, so that what nobody wrote is seen.
std::vector<Tensor> run(const BoundPlan& plan, const std::vector<Tensor>& inputs,
                        ThreadTeam& team) {
  const auto filled = [](std::byte* at, size_t bytes) {
    if (bytes != 0) std::memset(at, 0xff, bytes);
  };
  const auto arena = allocate_aligned(plan.arena_bytes());
  filled(arena.get(), plan.arena_bytes());
  Frame frame(plan, arena.get());
  for (size_t i = 0; i < inputs.size(); ++i) frame.set_input(i, inputs[i].raw());
  std::vector<Tensor> outputs;
  for (const TensorType& t : plan.output_types()) {
    outputs.emplace_back(t.dtype, t.dims);
    filled(outputs.back().raw_mutable(), outputs.back().bytes());
  }
  for (size_t i = 0; i < outputs.size(); ++i) frame.set_output(i, outputs[i].raw_mutable());
  RunContext context{team};
  frame.run(context);
  return outputs;
}

// Loops of the plans, by the kernel that runs them.
struct Loops {
  size_t engine = 0, steps = 0;
  std::string str() const { return cat(engine, " on the engine, ", steps, " step by step"); }
};

struct Counts {
  size_t cells = 0, f32s = 0, values = 0, unrolled = 0, rolled = 0;
  Loops forward, backward;
};

void count_loops(const BoundPlan& plan, const CellConfig& config, Counts& counts) {
  constexpr std::string_view kBack = ".gradient";  // ends the origin of a gradient's loop
  bool any = false;
  for (const StepInfo& s : plan.steps()) {
    if (s.op != "recurrence") continue;
    any = true;
    const Node& n = plan.plan().unit().graph.node(s.node);
    const std::string& origin = n.attributes.text("origin");
    const bool back = origin.size() >= kBack.size() &&
                      origin.compare(origin.size() - kBack.size(), kBack.size(), kBack) == 0;
    Loops& loops = back ? counts.backward : counts.forward;
    ++(s.kernel == "cpu.recurrence.engine" ? loops.engine : loops.steps);
  }
  if (config.form != CellConfig::Form::kUnrolled) return;
  ++counts.unrolled;
  counts.rolled += any ? 1 : 0;
}

void check(uint64_t seed, Counts& counts) {
  const DType dtype = dtype_of_cell(seed);
  const CellProgram p = random_cell_program(seed, dtype);
  const auto fetches_of = [](const CellProgram& q, bool as_it_stands) {
    Vars by = q.leaves;
    by.insert(by.end(), q.weights.begin(), q.weights.end());
    const auto asked = static_cast<std::ptrdiff_t>(by.size());
    // Gradients by values inside of a loop keep it as it is.
    if (as_it_stands) by.insert(by.end(), q.inner.begin(), q.inner.end());
    const Vars d = gradients(q.loss, by);
    const auto weights = d.begin() + static_cast<std::ptrdiff_t>(q.leaves.size());
    Vars r = q.outputs;  // then what else has rows, then what sums over them
    r.insert(r.end(), d.begin(), weights);
    r.insert(r.end(), q.sums.begin(), q.sums.end());
    r.insert(r.end(), weights, d.begin() + asked);
    return r;
  };
  const Vars fetches = fetches_of(p, false);
  const Asked asked(p, fetches), plain(p, fetches_of(p, true));
  const size_t by_row = p.outputs.size() + p.leaves.size();
  const auto one = one_thread();

  const CompileOptions reference{.backend = "reference", .optimize = false};
  const auto results = [&](const Asked& a, const CompileOptions& o) {
    return run(*Plan::compile(a.unit, o)->bind(p.sizes), a.inputs, *one);
  };
  std::vector<std::string> problems;
  const auto name_of = [&](size_t i) -> std::string {
    for (const auto& [list, what] : {std::pair{&p.outputs, "output "},
                                     {&p.leaves, "gradient by "},
                                     {&p.sums, "sum "},
                                     {&p.weights, "gradient by "}}) {
      if (i < list->size())
        return cat(what, *what == 'g' ? (*list)[i].name() : cat(i), " ", (*list)[i].type().str());
      i -= list->size();
    }
    return "";
  };
  const auto problem = [&](const std::string& what, size_t i, const std::string& how) {
    problems.push_back(cat(what, ": ", name_of(i), ": ", how));
  };

  const std::vector<Tensor> stands = results(plain, reference);
  std::vector<Tensor> want = stands;
  std::vector<double> allowed(want.size(), 1e-9);
  if (dtype == f32) {
    const CellProgram oracle = random_cell_program(seed, f64);
    want = results(Asked(oracle, fetches_of(oracle, true)), reference);
    for (size_t i = 0; i < want.size(); ++i) allowed[i] = 1e-5 + 8 * distance(stands[i], want[i]);
  }
  const auto close = [&](const std::string& what, const std::vector<Tensor>& got) {
    for (size_t i = 0; i < want.size(); ++i) {
      const double d = distance(got[i], want[i]);
      if (!(d <= allowed[i])) problem(what, i, cat("differs by ", d, ", allowed ", allowed[i]));
      ++counts.values;
    }
  };
  const auto equal = [&](const std::string& what, const std::vector<Tensor>& got,
                         const std::vector<Tensor>& base, size_t upto) {
    for (size_t i = 0; i < upto; ++i) {
      if (!got[i].same_bits(base[i]))
        problem(what, i, cat("differs by ", distance(got[i], base[i])));
      ++counts.values;
    }
  };

  close("cpu as it stands", results(asked, {.backend = "cpu", .optimize = false}));
  close("cpu, exact rules", results(asked, {.backend = "cpu", .relaxed = false}));

  // Exact rules keep every bit. So do the passes that only move work, as long as it is done row by
  // row: the reference computes a row alike wherever it stands. What sums over rows and steps is
  // summed in another order once it has left the loop. On the CPU they choose between kernels, each
  // of which rounds in its own way.
  Asked ruled = asked;
  ruled.unit = rewrite(asked.unit, exact_rules());
  const std::vector<Tensor> base = p.inner.empty() ? stands : results(asked, reference);
  equal("reference, exact rules alone, bits", results(ruled, reference), base, fetches.size());
  const std::vector<Tensor> passes = results(asked, {.backend = "reference", .relaxed = false});
  close("reference, exact passes", passes);
  equal("reference, exact passes, bits", passes, base, by_row);

  Session session(p.g, {.backend = "cpu"}, one);
  const auto plan = session.plan(fetches)->bind(p.sizes);
  const std::vector<Tensor> best = session.run(fetches, p.feeds);
  close("cpu, optimized", best);
  static std::vector<std::unique_ptr<ThreadTeam>> teams = [] {
    std::vector<std::unique_ptr<ThreadTeam>> r;
    for (const int n : {1, 2, 3, 4, 8}) r.push_back(std::make_unique<ThreadTeam>(n));
    return r;
  }();
  for (const auto& team : teams)
    equal(cat("cpu, on ", team->size(), " threads"), run(*plan, asked.inputs, *team), best,
          fetches.size());
  count_loops(*plan, p.config, counts);
  ++counts.cells;
  counts.f32s += dtype == f32 ? 1 : 0;

  if (problems.empty() && std::getenv("RONDO_FUZZ_SHOW") == nullptr) return;
  const Subgraph forward = {p.g, asked.unit.inputs, {p.loss.value()}};
  std::string text = cat("seed ", seed, ": ", p.config.str(), "\n");
  for (const std::string& s : problems) text += s + "\n";
  text += to_text(dead_code(forward));
  if (problems.empty()) {
    WARN(text);
  } else {
    FAIL_CHECK(text);
  }
}

// Every kParts-th seed.
void check_part(uint64_t part) {
  const uint64_t first = fuzz_seed(part), count = fuzz_count(1000) / kParts;
  Counts counts;
  for (uint64_t k = 0; k < count; ++k) {
    const uint64_t seed = first + k * kParts;
    try {
      check(seed, counts);
    } catch (const std::exception& e) {
      CAPTURE(seed);
      FAIL_CHECK("an error: " << e.what());
    }
  }
  WARN(counts.cells << " cells, " << counts.f32s << " in f32, " << counts.values
                    << " values compared; " << counts.rolled << " of " << counts.unrolled
                    << " rolled; loops forward " << counts.forward.str() << ", backward "
                    << counts.backward.str());
  CHECK(counts.cells == count);
  // A generator that no longer reaches the engine, or nothing else, tests little.
  const auto both = [](const Loops& l, size_t least) {
    const size_t all = l.engine + l.steps;
    return l.engine * 100 >= all * least && l.steps * 100 >= all * 4;
  };
  CHECK((count < 100 || both(counts.forward, 80)));
  CHECK((count < 100 || both(counts.backward, 55)));
  CHECK((count < 100 || counts.rolled * 100 >= counts.unrolled * 60));
}

TEST_CASE("random cells keep their values and gradients: part 1 of 4", "[fuzz]") { check_part(0); }
TEST_CASE("random cells keep their values and gradients: part 2 of 4", "[fuzz]") { check_part(1); }
TEST_CASE("random cells keep their values and gradients: part 3 of 4", "[fuzz]") { check_part(2); }
TEST_CASE("random cells keep their values and gradients: part 4 of 4", "[fuzz]") { check_part(3); }

}  // namespace
}  // namespace rondo::test
