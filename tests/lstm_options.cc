// lstm_layer under all pairs of its options. A generated covering array; for each of its rows:
// gradients of first and second order against central differences, cpu against reference, eager
// against graph, and padding that holds NaN.
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include <catch2/catch_test_macros.hpp>

#include "check_gradient.h"
#include "op_run.h"
#include "pairwise.h"
#include "registry_samples.h"

#include <rondo/graph/eager.h>
#include <rondo/ops/rnn_config.h>

using namespace rondo;
using namespace rondo::test;

namespace {

constexpr int64_t kT = 3, kB = 3, kI = 2, kH = 2;

// The options, one factor each. Format and direction are one factor, because T2NS and
// BIDIR_EXTRA_DIM go together: so every pair with either is covered too.
enum Factor {
  kLayout,
  kGate,
  kCell,
  kOut,
  kLengths,
  kPeephole,
  kBiases,
  kYLast,
  kCLast,
  kClip,
  kReturn,
  kFactors
};

struct Layout {
  std::string format, direction;
};
std::vector<Layout> layouts() {
  std::vector<Layout> r{{"T2NS", "BIDIR_EXTRA_DIM"}};
  for (const char* format : {"TNS", "NTS", "NST"}) {
    for (const char* direction : {"FWD", "BWD", "BIDIR_SUM", "BIDIR_CONCAT"})
      r.push_back({format, direction});
  }
  return r;
}

// Steps of each row: all, fewer, and a row with none.
const std::array<std::vector<int32_t>, 4> kLengthsOf{{{}, {3, 3, 3}, {3, 1, 2}, {2, 0, 3}}};
// Which of y, last_h, last_c are asked for; at least one.
constexpr size_t kReturns = 7;

std::vector<size_t> levels() {
  std::vector<size_t> r(kFactors, 2);
  r[kLayout] = layouts().size();
  r[kGate] = r[kCell] = r[kOut] = kActivationNames.size();
  r[kLengths] = kLengthsOf.size();
  r[kReturn] = kReturns;
  return r;
}

// One row of the array as a call.
struct Layer {
  Layout layout;
  Attributes attributes;
  std::vector<int32_t> lengths;
  std::vector<Tensor> inputs;  // in the order of the signature, f64
  std::string name;

  bool time_major() const { return layout.format == "TNS" || layout.format == "T2NS"; }
  bool both() const { return layout.direction.rfind("BIDIR", 0) == 0; }
  // Whether the array has a step that this row does not run. BWD alone has its padding at the
  // front.
  bool padded(int64_t t, int64_t b) const {
    if (lengths.empty()) return false;
    const int64_t n = lengths[static_cast<size_t>(b)];
    return layout.direction == "BWD" ? t < kT - n : t >= n;
  }
};

Layer layer_of(const std::vector<size_t>& row, uint64_t seed) {
  Layer l;
  l.layout = layouts()[row[kLayout]];
  l.lengths = kLengthsOf[row[kLengths]];
  const size_t returns = row[kReturn] + 1;
  const auto act = [&](Factor f) { return kActivationNames[row[f]]; };
  // Numbers as large as they may be without the state growing out of hand.
  l.attributes = {{"data_format", l.layout.format},
                  {"direction_mode", l.layout.direction},
                  {"gate_act", act(kGate)},
                  {"cell_act", act(kCell)},
                  {"out_act", act(kOut)},
                  {"cell_clip", row[kClip] != 0 ? 0.5 : 0.0},
                  {"ret_full_sequence", (returns & 1) != 0},
                  {"ret_last_h", (returns & 2) != 0},
                  {"ret_last_c", (returns & 4) != 0},
                  {"gate_alpha", 0.35},
                  {"gate_beta", 0.6},
                  {"cell_alpha", 0.8},
                  {"cell_beta", 1.3},
                  {"out_alpha", 0.45},
                  {"out_beta", 0.7}};
  // An activation that is 0 below alpha would leave little to see.
  for (const auto& [factor, name] :
       {std::pair{kGate, "gate_alpha"}, {kCell, "cell_alpha"}, {kOut, "out_alpha"}}) {
    if (act(factor) == "THRESHHOLD_RELU") l.attributes.set(name, 0.05);
  }
  const auto input = [&](bool present, Dims dims) {
    if (l.both()) dims.insert(dims.begin(), 2);
    l.inputs.push_back(present ? draw(dims, f64, -1, 1, seed * 100 + l.inputs.size()) : Tensor());
  };
  const Dims x = l.time_major()             ? Dims{kT, kB, kI}
                 : l.layout.format == "NTS" ? Dims{kB, kT, kI}
                                            : Dims{kB, kI, kT};
  l.inputs.push_back(draw(x, f64, -1, 1, seed * 100 + 99));
  input(true, {kI, 4 * kH});
  input(true, {kH, 4 * kH});
  input(row[kBiases] != 0, {4 * kH});
  l.inputs.push_back(l.lengths.empty() ? Tensor() : Tensor::of<int32_t>({kB}, l.lengths));
  input(row[kYLast] != 0, {kB, kH});
  input(row[kCLast] != 0, {kB, kH});
  input(row[kPeephole] != 0, {3 * kH});
  for (size_t f = 0; f < row.size(); ++f) l.name += cat(f == 0 ? "" : "-", row[f]);
  l.name += cat(" ", l.layout.format, " ", l.layout.direction, " ", act(kGate), " ", act(kCell),
                " ", act(kOut));
  return l;
}

const OpDef& op() { return registry().at("lstm_layer"); }

std::vector<Layer> layers() {
  std::vector<Layer> r;
  for (const auto& row : pairwise(levels())) r.push_back(layer_of(row, r.size() + 1));
  return r;
}

std::vector<Tensor> run(const Layer& l, const std::vector<Tensor>& inputs,
                        const CompileOptions& options,
                        const std::vector<Tensor>* cotangents = nullptr) {
  return results_and_gradients(op(), l.attributes, inputs, options, cotangents);
}

// Calls f(t, b, offset) for each element of a tensor whose axes are those of x or y: time, batch
// and features in the order of the format (a direction axis may stand between).
template <class F>
void for_each_step(const Layer& l, const Dims& dims, F&& f) {
  const bool nst = l.layout.format == "NST", ntsx = l.layout.format == "NTS";
  int64_t flat = 0;
  const int64_t last = dims.back(),
                count = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
  for (; flat < count; ++flat) {
    const int64_t outer = flat / (count / dims[0]);
    if (nst) {
      f(flat % last, outer, flat);  // [B,S,T]
    } else if (ntsx) {
      f(flat / last % dims[1], outer, flat);  // [B,T,S]
    } else {
      f(outer, flat / last % dims[dims.size() - 2], flat);  // [T,B,S], [T,2,B,S]
    }
  }
}

}  // namespace

TEST_CASE("a covering array holds every pair", "[pairwise]") {
  for (const std::vector<size_t>& counts :
       {levels(), {2, 2}, {3, 1, 4, 2}, {5, 5, 5, 5, 5, 5}, {7}}) {
    const auto rows = pairwise(counts);
    std::set<std::array<size_t, 4>> seen;
    size_t pairs = 0, largest = 0;
    for (size_t f = 0; f < counts.size(); ++f) {
      for (size_t g = f + 1; g < counts.size(); ++g) {
        pairs += counts[f] * counts[g];
        largest = std::max(largest, counts[f] * counts[g]);
        for (const auto& row : rows) {
          REQUIRE(row.size() == counts.size());
          REQUIRE((row[f] < counts[f] && row[g] < counts[g]));
          seen.insert({f, row[f], g, row[g]});
        }
      }
    }
    CHECK(seen.size() == pairs);
    CHECK(rows.size() <= largest * 2);  // not all combinations
    CHECK(pairwise(counts) == rows);
  }
}

TEST_CASE("lstm_layer: gradients agree with central differences under all pairs of options",
          "[lstm][gradient]") {
  GradientReport all;
  size_t rows = 0;
  for (const Layer& l : layers()) {
    INFO(l.name);
    const OpGraph g = graph_of(op(), l.attributes, l.inputs);
    GradientReport r = check_gradients(g.graph, g.outputs, g.feeds);
    CAPTURE(r.problems);
    CHECK(r.problems.empty());
    CHECK(r.first > 0);
    all += r;
    ++rows;
  }
  WARN(rows << " rows, " << all.first << " elements of first and " << all.second
            << " of second order, " << all.shorter << " near a kink");
  CHECK(rows > 140);
}

TEST_CASE("lstm_layer: cpu agrees with the reference under all pairs of options",
          "[lstm][kernel]") {
  size_t tensors = 0;
  for (const Layer& l : layers()) {
    for (const auto& [dtype, bound] : {std::pair{f64, 1e-11}, {f32, 2e-4}}) {
      const std::vector<Tensor> inputs = in_dtype(l.inputs, dtype);
      const std::vector<Tensor> want = run(l, inputs, {.backend = "reference", .optimize = false});
      for (const bool optimize : {false, true}) {
        INFO(l.name << " in " << dtype << (optimize ? "" : ", not optimized"));
        const std::vector<Tensor> got = run(l, inputs, {.backend = "cpu", .optimize = optimize});
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

TEST_CASE("lstm_layer: eager gives the bits of a graph under all pairs of options",
          "[lstm][eager]") {
  for (const char* backend : {"reference", "cpu"}) {
    const CompileOptions options{.backend = backend};
    const EagerScope scope(options, one_thread());
    for (const Layer& l : layers()) {
      INFO(l.name << " on " << backend);
      const OpGraph g = graph_of(op(), l.attributes, l.inputs);
      const std::vector<Tensor> in_graph =
          Session(g.graph, options, one_thread()).run(g.present(), g.feeds);
      std::vector<Tensor> now = eager_call(op(), l.inputs, l.attributes, {});
      now.erase(std::remove_if(now.begin(), now.end(), [](const Tensor& t) { return !t; }),
                now.end());
      REQUIRE(now.size() == in_graph.size());
      for (size_t i = 0; i < now.size(); ++i) CHECK(now[i].same_bits(in_graph[i]));
    }
  }
}

TEST_CASE("lstm_layer: padding that holds NaN reaches no result and no gradient",
          "[lstm][padding]") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  size_t poisoned = 0;
  for (const Layer& l : layers()) {
    if (l.lengths.empty()) continue;
    for (const char* backend : {"reference", "cpu"}) {
      INFO(l.name << " on " << backend);
      const OpGraph g = graph_of(op(), l.attributes, l.inputs);
      std::vector<Tensor> cotangents;
      for (const Var& y : g.present())
        cotangents.push_back(draw(bind(y.shape(), {}), f64, -1, 1, 60 + cotangents.size()));
      std::vector<Tensor> inputs = l.inputs;
      const std::vector<Tensor> clean = run(l, inputs, {.backend = backend}, &cotangents);

      const auto poison = [&](Tensor& t) {
        for_each_step(l, t.dims(), [&](int64_t step, int64_t row, int64_t at) {
          if (!l.padded(step, row)) return;
          t.mutable_data<double>()[at] = kNaN;
          ++poisoned;
        });
      };
      poison(inputs[0]);
      const bool sequence = l.attributes.flag("ret_full_sequence");
      if (sequence) poison(cotangents[0]);
      const std::vector<Tensor> got = run(l, inputs, {.backend = backend}, &cotangents);
      REQUIRE(got.size() == clean.size());
      for (size_t i = 0; i < got.size(); ++i) {
        CAPTURE(i);
        CHECK(got[i].same_bits(clean[i]));
      }
      const auto is_zero_in_padding = [&](const Tensor& t) {
        for_each_step(l, t.dims(), [&](int64_t step, int64_t row, int64_t at) {
          if (l.padded(step, row)) CHECK(t.at(at) == 0);
        });
      };
      if (sequence) is_zero_in_padding(got[0]);
      is_zero_in_padding(got[cotangents.size()]);  // the gradient by x
    }
  }
  WARN(poisoned << " elements of padding held NaN");
  CHECK(poisoned > 1000);
}
