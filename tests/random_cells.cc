// Random recurrent cells (random_cell.h): optimized, as they stand, and on the reference backend
// they give the same values and gradients; exact rules keep every bit, and so does the number of
// threads. RONDO_FUZZ=N runs N cells.
#include <cstring>
#include <map>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "cpu_check.h"
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
  size_t cells = 0, f32s = 0, values = 0, by_hand = 0, unrolled = 0, rolled = 0;
  Loops forward, backward;
  double far64 = 0, far32 = 0;  // the largest distances
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

// Of everything by which two runs are compared, in this order: what has rows, then what sums over
// them.
struct Fetches {
  Vars all;
  std::vector<std::string> names;
  size_t outputs = 0, by_row = 0;

  // `as_it_stands`: loops that are written out stay so.
  Fetches(const CellProgram& p, bool as_it_stands) {
    Vars by = p.leaves;
    by.insert(by.end(), p.weights.begin(), p.weights.end());
    // Gradients by values inside of a loop keep it as it is.
    if (as_it_stands) by.insert(by.end(), p.inner.begin(), p.inner.end());
    const Vars d = gradients(p.loss, by);
    const auto add = [&](const Var& v, const std::string& name) {
      all.push_back(v);
      names.push_back(cat(name, " ", v.type().str()));
    };
    const auto add_gradients = [&](const Vars& list, size_t first) {
      for (size_t k = 0; k < list.size(); ++k)
        add(d[first + k], cat("gradient by ", list[k].name()));
    };
    for (size_t k = 0; p.values && k < p.outputs.size(); ++k) add(p.outputs[k], cat("output ", k));
    outputs = all.size();
    add_gradients(p.leaves, 0);
    by_row = all.size();
    for (size_t k = 0; p.values && k < p.sums.size(); ++k) add(p.sums[k], cat("sum ", k));
    add_gradients(p.weights, p.leaves.size());
  }
};

using Results = std::vector<Tensor>;

// How far a result may be from the truth, relative to the largest value of its tensor (or to 1). Of
// 4,000 cells none is farther than 2e-14 in f64. An f32 result rounds as often as the reference
// backend's own f32 does, in other places: it may be some times as far from the one in f64.
constexpr double kF64 = 1e-12, kF32 = 3e-6, kTimes = 8;

class Checker {
 public:
  Checker(uint64_t seed, Counts& counts)
      : seed_(seed),
        dtype_(dtype_of_cell(seed)),
        program_(random_cell_program(seed, dtype_)),
        fetches_(program_, false),
        asked_(program_, fetches_.all),
        counts_(counts) {}

  void run() {
    // The best instruction set mostly, but each has its turn.
    const IsaGuard guard;
    const std::vector<std::string> isas = cpu::isa_names();
    const uint64_t turn = seed_ / kParts;
    const std::string& isa = isas[turn % 5 == 0 ? turn / 5 % isas.size() : 0];
    cpu::force_isa(isa);
    find_truth();
    close("cpu as it stands", results(asked_, {.optimize = false}));
    close("cpu, exact passes", results(asked_, {.relaxed = false}));
    check_bits();
    check_session();
    ++counts_.cells;
    counts_.f32s += dtype_ == f32 ? 1 : 0;
    if (problems_.empty() && std::getenv("RONDO_FUZZ_SHOW") == nullptr) return;
    std::string text =
        cat("seed ", seed_, ": ", program_.config.str(), " on ", isa, "\n", problems_,
            to_text(dead_code({program_.g, asked_.unit.inputs, {program_.loss.value()}})));
    if (problems_.empty()) {
      WARN(text);
    } else {
      FAIL_CHECK(text);
    }
  }

 private:
  static constexpr const char* kReference = "reference";

  Results results(const Asked& a, const CompileOptions& o) const {
    return rondo::test::run(*Plan::compile(a.unit, o)->bind(program_.sizes), a.inputs,
                            *one_thread());
  }

  void close(const std::string& what, const Results& got) { close(what, got, allowed_); }
  void close(const std::string& what, const Results& got, const std::vector<double>& allowed) {
    for (size_t i = 0; i < got.size(); ++i) {
      const double d = distance(got[i], want_[i]);
      double& most = dtype_ == f32 ? counts_.far32 : counts_.far64;
      most = std::max(most, d);
      if (!(d <= allowed[i]))
        problems_ += cat(what, ": ", fetches_.names[i], " differs by ", d, " from ", truth_,
                         ", allowed are ", allowed[i], "\n");
      ++counts_.values;
    }
  }
  void same_bits(const std::string& what, const Results& got, const std::string& other,
                 const Results& base, size_t upto) {
    for (size_t i = 0; i < upto; ++i) {
      if (!got[i].same_bits(base[i]))
        problems_ += cat(what, ": ", fetches_.names[i], " has other bits than ", other,
                         ", distance ", distance(got[i], base[i]), "\n");
      ++counts_.values;
    }
  }

  // The reference backend, nothing optimized, in f64; and the same written by hand.
  void find_truth() {
    const CompileOptions plain{.backend = kReference, .optimize = false};
    stands_ = results(Asked(program_, Fetches(program_, true).all), plain);
    want_ = stands_;
    allowed_.assign(want_.size(), kF64);
    if (dtype_ == f32) {
      const CellProgram truth = random_cell_program(seed_, f64);
      want_ = results(Asked(truth, Fetches(truth, true).all), plain);
      for (size_t i = 0; i < want_.size(); ++i)
        allowed_[i] = kF32 + kTimes * distance(stands_[i], want_[i]);
    }
    if (program_.config.steps == 0 || seed_ / kParts % 3 != 0) return;
    const CellProgram hand = random_cell_program(seed_, f64, true);
    close("written by hand", results(Asked(hand, Fetches(hand, true).all), plain),
          std::vector<double>(want_.size(), kF64));
    ++counts_.by_hand;
  }

  // Exact rules keep every bit where the same kernels run; on the CPU that means step by step,
  // because a rule may be what lets the engine take a loop, and it rounds in its own way. The
  // passes that only move work keep bits too where it is done row by row: the reference backend
  // computes a row alike wherever it stands. What sums over rows and steps is summed in another
  // order once it has left the loop.
  void check_bits() {
    Asked ruled = asked_;
    ruled.unit = rewrite(asked_.unit, exact_rules());
    const CompileOptions reference{.backend = kReference, .optimize = false};
    const CompileOptions cpu{.optimize = false, .kernel = "runtime.recurrence.steps"};
    const Results base = program_.inner.empty() ? stands_ : results(asked_, reference);
    same_bits("reference, exact rules alone", results(ruled, reference), "as it stands", base,
              base.size());
    same_bits("cpu, exact rules alone", results(ruled, cpu), "as it stands", results(asked_, cpu),
              base.size());
    const Results passes = results(asked_, {.backend = kReference, .relaxed = false});
    close("reference, exact passes", passes);
    same_bits("reference, exact passes", passes, "as it stands", base, fetches_.by_row);
  }

  void check_session() {
    Session session(program_.g, {}, one_thread());
    const Results best = session.run(fetches_.all, program_.feeds);
    close("cpu, optimized", best);
    if (fetches_.outputs != 0) {
      const Vars forward(fetches_.all.begin(),
                         fetches_.all.begin() + static_cast<std::ptrdiff_t>(fetches_.outputs));
      close("cpu, optimized, values alone", session.run(forward, program_.feeds));
    }
    same_bits("cpu, optimized, once more", session.run(fetches_.all, program_.feeds), "before",
              best, best.size());
    const auto plan = session.plan(fetches_.all)->bind(program_.sizes);
    count_loops(*plan, program_.config, counts_);
    static std::vector<std::unique_ptr<ThreadTeam>> teams = [] {
      std::vector<std::unique_ptr<ThreadTeam>> r;
      for (const int n : {1, 2, 3, 4, 8}) r.push_back(std::make_unique<ThreadTeam>(n));
      return r;
    }();
    for (const auto& team : teams)
      same_bits(cat("cpu, optimized, on ", team->size(), " threads"),
                rondo::test::run(*plan, asked_.inputs, *team), "in the session", best, best.size());
  }

  uint64_t seed_;
  DType dtype_;
  CellProgram program_;
  Fetches fetches_;
  Asked asked_;
  Results stands_, want_;
  std::vector<double> allowed_;
  std::string truth_ = "the reference backend, as it stands", problems_;
  Counts& counts_;
};

// Every kParts-th seed.
void check_part(uint64_t part) {
  const uint64_t first = fuzz_seed(part), count = fuzz_count(1000) / kParts;
  Counts counts;
  for (uint64_t k = 0; k < count; ++k) {
    const uint64_t seed = first + k * kParts;
    try {
      Checker(seed, counts).run();
    } catch (const std::exception& e) {
      CAPTURE(seed);
      FAIL_CHECK("an error: " << e.what());
    }
  }
  WARN(counts.cells << " cells, " << counts.f32s << " in f32, " << counts.values
                    << " values compared, " << counts.by_hand << " with loops written by hand; "
                    << counts.rolled << " of " << counts.unrolled << " rolled; loops forward "
                    << counts.forward.str() << ", backward " << counts.backward.str()
                    << "; largest distance " << counts.far64 << " in f64, " << counts.far32
                    << " in f32");
  CHECK(counts.cells == count);
  // A generator that no longer reaches the engine, or nothing else, tests little.
  const auto both = [](const Loops& l, size_t least) {
    const size_t all = l.engine + l.steps;
    return l.engine * 100 >= all * least && l.steps * 100 >= all * 2;
  };
  CHECK((count < 100 || both(counts.forward, 80)));
  CHECK((count < 100 || both(counts.backward, 50)));
  CHECK((count < 100 || counts.rolled * 100 >= counts.unrolled * 50));
}

TEST_CASE("random cells keep their values and gradients: part 1 of 4", "[fuzz]") { check_part(0); }
TEST_CASE("random cells keep their values and gradients: part 2 of 4", "[fuzz]") { check_part(1); }
TEST_CASE("random cells keep their values and gradients: part 3 of 4", "[fuzz]") { check_part(2); }
TEST_CASE("random cells keep their values and gradients: part 4 of 4", "[fuzz]") { check_part(3); }

}  // namespace
}  // namespace rondo::test
