// Random graphs over the whole vocabulary: any op of the registry as its samples call it, on
// results of others. Optimized, as they stand, and on the reference backend they give the same;
// gradients are those of central differences; saved and loaded they are the same text. RONDO_FUZZ=N
// runs N graphs.
#include <cmath>
#include <map>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "dice.h"
#include "file_copy.h"
#include "op_run.h"

#include <rondo/graph/print.h>
#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr int64_t kLargest = 400;  // elements of a value that goes on
constexpr size_t kFewest = 5, kMost = 60;
constexpr uint64_t kParts = 4;  // test cases, so that they run side by side

int64_t size_of_value(const Var& v) { return element_count(bind(v.shape(), {})); }

class Maker {
 public:
  explicit Maker(uint64_t seed) : dice_(seed), target_(kFewest + dice_.below(kMost - kFewest + 1)) {
    static const std::vector<NamedSample> kSamples = all_samples();
    std::map<const OpDef*, std::vector<const NamedSample*>> by_op;
    for (const NamedSample& s : kSamples) by_op[s.op].push_back(&s);
    std::vector<std::vector<const NamedSample*>> ops;
    for (auto& [op, list] : by_op) ops.push_back(std::move(list));
    constexpr size_t kControls = 3;
    call(*dice_.of(ops[seed / kParts % ops.size()]));  // so that each op is met
    for (int tries = 0; tries < 200 && nodes() < kFewest + (target_ - kFewest) / 2; ++tries) {
      const size_t k = dice_.below(ops.size() + kControls);
      if (k < ops.size()) {
        call(*dice_.of(ops[k]));
      } else if (!floats_.empty()) {
        control(k - ops.size());
      }
    }
  }

  size_t nodes() const { return static_cast<size_t>(g_.size()); }

  /// Every result that no other op took.
  Vars leaves() const {
    std::set<Value> read;
    for (int32_t id = 0; id < g_.size(); ++id) {
      for (const Value v : g_.node(id).inputs) read.insert(v);
    }
    Vars r;
    for (const Var& v : results_) {
      if (read.count(v.value()) == 0) r.push_back(v);
    }
    return r;
  }

  Graph g_;
  std::vector<Feed> feeds_;
  Vars fixed_;  // placeholders that stay where they are
  std::set<std::string> used_;

 private:
  // An op as the sample calls it.
  void call(const NamedSample& s) {
    if (nodes() != 0 && s.sample.inputs.size() * 2 + nodes() > target_) return;
    Vars in;
    for (size_t i = 0; i < s.sample.inputs.size(); ++i) {
      // What gives no gradient must not move, nor may what stop_gradient hides.
      const bool moves = s.op->parsed.slot_of(i).differentiable;
      in.push_back(operand(s.sample.inputs[i], moves));
    }
    keep(g_.call(*s.op, in, s.sample.attributes));
    used_.insert(s.op->name);
  }

  void control(size_t which) {
    const Var x = dice_.of(floats_);
    const Tensor flag = Tensor::of<bool>({}, {dice_.one_in(2)});
    if (which == 0) {
      const Var p = fixed("p", flag);
      keep(cond<Var>(
          p, {x}, [](const Vars& v) -> Vars { return {tanh(v[0]) * 0.5}; },
          [](const Vars& v) -> Vars { return {v[0] * sigmoid(v[0])}; }));
      used_.insert("cond");
    } else if (which == 1) {
      const Var start = adapted(x, {2, 2}, 0.2, 0.6);
      keep(while_loop<Var>(
               {start}, [](const Vars& v) { return sum(v[0]) < 5; },
               [](const Vars& v) -> Vars { return {v[0] + sin(v[0])}; }, 4)
               .states);
      used_.insert("while_loop");
    } else if (x.rank() > 0) {
      Shape first(x.shape().begin() + 1, x.shape().end());
      const ScanResult<Var> r = scan<Var>(
          {fill(g_, f64, first, 0.1)}, {x},
          [](const Vars& s, const Vars& xs) -> ScanStep<Var> {
            const Var m = lerp(s[0], xs[0], 0.3);
            return {{m}, {sum(sin(m))}};
          },
          dice_.one_in(2));
      keep(r.ys);
      keep(r.finals);
      used_.insert("scan");
    }
  }

  void keep(const Vars& list) {
    for (const Var& v : list) {
      if (!v) continue;
      results_.push_back(v);
      const int64_t n = size_of_value(v);
      if (n == 0 || n > kLargest) continue;
      if (v.dtype() == f64) floats_.push_back(v);
    }
  }

  Var fixed(const std::string& name, const Tensor& t) {
    const Var v = g_.placeholder(cat(name, feeds_.size()), t.dtype(), to_shape(t.dims()));
    feeds_.emplace_back(v, t);
    fixed_.push_back(v);
    return v;
  }

  Var operand(const Sample::Input& in, bool moves) {
    if (in.absent) return {};
    const int64_t n = element_count(in.dims);
    const bool free = in.values.empty() && n > 0;
    if (free && in.dtype == boolean && !floats_.empty() && dice_.one_in(2))
      return adapted(dice_.of(floats_), in.dims, 0, 1) > 0.5;
    if (free && is_float(in.dtype) && moves && !floats_.empty() && !dice_.one_in(4))
      return adapted(dice_.of(floats_), in.dims, in.low, in.high);
    const Tensor t = draw(Sample{.inputs = {in}}, f64, 100 + dice_.below(1000000))[0];
    if (!is_float(t.dtype()) || !moves) return fixed("c", t);
    const Var v = g_.placeholder(cat("x", feeds_.size()), f64, to_shape(t.dims()));
    feeds_.emplace_back(v, t);
    if (n > 0 && n <= kLargest) floats_.push_back(v);
    return v;
  }

  // v under other dimensions, in [low, high], no two elements equal: repeated or cut, and squashed.
  Var adapted(Var v, const Dims& dims, double low, double high) {
    const int64_t n = element_count(dims), have = size_of_value(v);
    if (bind(v.shape(), {}) != dims) {
      v = reshape(v, {have});
      if (have < n) v = concat(Vars(static_cast<size_t>((n + have - 1) / have), v), 0);
      if (const int64_t all = v.dim(0).constant(); all > n) {
        const auto from = static_cast<int64_t>(dice_.below(static_cast<size_t>(all - n + 1)));
        v = slice(v, 0, from, from + n);
      }
      v = reshape(v, to_shape(dims));
    }
    const Var a = g_.constant(draw(dims, f64, 0.3, 0.9, dice_.below(1000000))),
              b = g_.constant(draw(dims, f64, -0.8, 0.8, dice_.below(1000000)));
    return low + (high - low) * sigmoid(v * a + b);
  }

  Dice dice_;
  size_t target_;
  Vars floats_, results_;
};

struct Counts {
  size_t graphs = 0, nodes = 0, values = 0, derivatives = 0, shorter = 0;
  std::map<std::string, size_t> ops;
};

// Outputs that are compared, and the loss: every leaf, brought near 1 so that rounding stays small.
Vars outputs_of(const Vars& leaves) {
  Vars r;
  for (const Var& v : leaves) {
    if (v.dtype() == f64 && size_of_value(v) > 0) r.push_back(tanh(v * 0.1));
  }
  return r;
}

void check(uint64_t seed, Counts& counts) {
  Maker m(seed);
  const size_t nodes = m.nodes();
  const Vars leaves = m.leaves(), outputs = outputs_of(leaves);
  Vars fetches = leaves, by;
  for (const Feed& f : m.feeds_) {
    const auto is = [&](const Var& v) { return v.same(f.first); };
    if (std::none_of(m.fixed_.begin(), m.fixed_.end(), is)) by.push_back(f.first);
  }
  const Var loss = weighted_sum(outputs, 40);
  const std::string text = to_text(m.g_);
  if (loss && !by.empty()) {
    const Vars d = gradients(loss, by);
    fetches.insert(fetches.end(), d.begin(), d.end());
  }
  const RunOptions run{.training = true, .seed = 5, .step = 2};
  const auto results = [&](const CompileOptions& o) {
    return Session(m.g_, o, one_thread()).run(fetches, m.feeds_, run);
  };
  const std::vector<Tensor> want = results({.backend = "reference", .optimize = false});
  for (const CompileOptions& o :
       {CompileOptions{.backend = "cpu"}, CompileOptions{.backend = "cpu", .optimize = false},
        CompileOptions{.backend = "reference"}}) {
    const std::vector<Tensor> got = results(o);
    for (size_t i = 0; i < want.size(); ++i) {
      CAPTURE(o.backend, o.optimize, i, fetches[i].type().str());
      CHECK((got[i].same_bits(want[i]) || distance(got[i], want[i]) < 1e-9));
      ++counts.values;
    }
  }
  if (loss && !by.empty()) {
    GradientOptions o;
    o.run = run;
    o.fixed = m.fixed_;
    o.compile.backend = "cpu";
    o.elements = 2;
    o.orders = seed % 8 == 0 ? 2 : 1;
    const GradientReport r = check_gradients(m.g_, outputs, m.feeds_, o);
    CAPTURE(r.problems);
    CHECK(r.problems.empty());
    counts.derivatives += r.first + r.second;
    counts.shorter += r.shorter;
  }
  const Graph loaded = file_copy(m.g_);
  CHECK(to_text(loaded) == to_text(m.g_));
  if (std::getenv("RONDO_FUZZ_SHOW") != nullptr) WARN(text);
  ++counts.graphs;
  counts.nodes += nodes;
  for (const std::string& op : m.used_) ++counts.ops[op];
}

// Every kParts-th seed, and every op at least once.
void check_part(uint64_t part) {
  const uint64_t first = fuzz_seed(part), count = fuzz_count(1000) / kParts;
  Counts counts;
  for (uint64_t k = 0; k < count; ++k) {
    const uint64_t seed = first + k * kParts;
    CAPTURE(seed);
    try {
      check(seed, counts);
    } catch (const std::exception& e) {
      FAIL_CHECK("an error: " << e.what());
    }
  }
  std::string never;
  for (const OpDef* op : registry().all()) {
    if (!needs_body(*op) && counts.ops.count(op->name) == 0) never += cat(" ", op->name);
  }
  WARN(counts.graphs << " graphs of "
                     << static_cast<double>(counts.nodes) / static_cast<double>(counts.graphs)
                     << " nodes on average, " << counts.ops.size() << " ops, " << counts.values
                     << " values and " << counts.derivatives << " derivatives compared, "
                     << counts.shorter << " near a kink");
  CAPTURE(never);
  CHECK((never.empty() || count < 250));
  CHECK(counts.graphs == count);
  CHECK(counts.derivatives > count);
}

TEST_CASE("random graphs keep their values and gradients: part 1 of 4", "[fuzz]") { check_part(0); }
TEST_CASE("random graphs keep their values and gradients: part 2 of 4", "[fuzz]") { check_part(1); }
TEST_CASE("random graphs keep their values and gradients: part 3 of 4", "[fuzz]") { check_part(2); }
TEST_CASE("random graphs keep their values and gradients: part 4 of 4", "[fuzz]") { check_part(3); }

}  // namespace
}  // namespace rondo::test
