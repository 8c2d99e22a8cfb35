// rnn::layer: cells of a user's own have what built-in layers have. And the layers beside the
// contract, against their equations in plain loops.
#include <rondo/ops/layer.h>

#include <cmath>
#include <limits>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "check_gradient.h"
#include "error_code.h"
#include "op_run.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kT = 5, kB = 3, kI = 2, kH = 4;
const std::vector<int32_t> kLengths{5, 0, 3};

// h' = tanh(x w + h u), its output the state squared.
struct Net {
  Graph g;
  Var x, h0, w, u, w2, u2, lengths;
  std::vector<Feed> feeds;
  rnn::LayerResult r;

  rnn::Cell cell(const Var& wx, const Var& wh) const {
    return [wx, wh](Var xt, Vars s) -> rnn::Step {
      const Var h = tanh(matmul(xt, wx) + matmul(s[0], wh));
      return {.output = h * h, .state = {h}};
    };
  }
};

// The same in plain loops, one row at a time: y [T,B,H] and the last state [B,H].
struct Plain {
  std::vector<double> y, last;
};
Plain plain(const Tensor& x, const Tensor& h0, const Tensor& w, const Tensor& u, bool backward) {
  Plain r{std::vector<double>(static_cast<size_t>(kT * kB * kH)),
          std::vector<double>(static_cast<size_t>(kB * kH))};
  for (int64_t b = 0; b < kB; ++b) {
    std::vector<double> h;
    for (int64_t j = 0; j < kH; ++j) h.push_back(h0.at(b * kH + j));
    const int64_t n = kLengths[static_cast<size_t>(b)];
    for (int64_t k = 0; k < n; ++k) {
      const int64_t t = backward ? n - 1 - k : k;
      std::vector<double> next(static_cast<size_t>(kH));
      for (int64_t j = 0; j < kH; ++j) {
        double z = 0;
        for (int64_t i = 0; i < kI; ++i) z += x.at((t * kB + b) * kI + i) * w.at(i * kH + j);
        for (int64_t i = 0; i < kH; ++i) z += h[static_cast<size_t>(i)] * u.at(i * kH + j);
        next[static_cast<size_t>(j)] = std::tanh(z);
        r.y[static_cast<size_t>((t * kB + b) * kH + j)] = std::tanh(z) * std::tanh(z);
      }
      h = next;
    }
    for (int64_t j = 0; j < kH; ++j)
      r.last[static_cast<size_t>(b * kH + j)] = h[static_cast<size_t>(j)];
  }
  return r;
}

Tensor nan_past(const Tensor& x) {
  Tensor r = x;
  auto* p = r.mutable_data<double>();
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t b = 0; b < kB; ++b) {
      for (int64_t i = 0; i < kI && t >= kLengths[static_cast<size_t>(b)]; ++i)
        p[(t * kB + b) * kI + i] = kNan;
    }
  }
  return r;
}

Net make(LSTMDirectionMode mode, RnnDataFormat format, bool symbols = true) {
  Net n;
  const Dim steps = symbols ? Dim("T") : Dim(kT), rows = symbols ? Dim("B") : Dim(kB);
  const std::map<RnnDataFormat, Shape> shapes{{RnnDataFormat::TNS, {steps, rows, kI}},
                                              {RnnDataFormat::NTS, {rows, steps, kI}},
                                              {RnnDataFormat::NST, {rows, kI, steps}}};
  const std::map<RnnDataFormat, std::vector<int64_t>> from_tns{{RnnDataFormat::TNS, {0, 1, 2}},
                                                               {RnnDataFormat::NTS, {1, 0, 2}},
                                                               {RnnDataFormat::NST, {1, 2, 0}}};
  n.x = n.g.placeholder("x", f64, shapes.at(format));
  n.h0 = n.g.placeholder("h0", f64, {rows, kH});
  n.w = n.g.placeholder("w", f64, {kI, kH});
  n.u = n.g.placeholder("u", f64, {kH, kH});
  n.w2 = n.g.placeholder("w2", f64, {kI, kH});
  n.u2 = n.g.placeholder("u2", f64, {kH, kH});
  n.lengths = n.g.placeholder("lengths", i32, {rows});
  const Tensor x = nan_past(draw({kT, kB, kI}, f64, -1, 1, 1));
  n.feeds = {{n.x, transpose(x, from_tns.at(format))},
             {n.h0, draw({kB, kH}, f64, -1, 1, 2)},
             {n.w, draw({kI, kH}, f64, -1, 1, 3)},
             {n.u, draw({kH, kH}, f64, -1, 1, 4)},
             {n.w2, draw({kI, kH}, f64, -1, 1, 5)},
             {n.u2, draw({kH, kH}, f64, -1, 1, 6)},
             {n.lengths, Tensor::of<int32_t>({kB}, kLengths)}};
  n.r = rnn::layer(n.x, {n.h0}, n.cell(n.w, n.u),
                   {.lengths = n.lengths,
                    .data_format = format,
                    .direction_mode = mode,
                    .backward = n.cell(n.w2, n.u2),
                    .name = "net"});
  return n;
}

TEST_CASE("rnn::layer: lengths, directions and formats against plain loops", "[layer]") {
  const auto mode = GENERATE(FWD, BWD, BIDIR_SUM, BIDIR_CONCAT, BIDIR_EXTRA_DIM);
  const auto format = GENERATE(RnnDataFormat::TNS, RnnDataFormat::NTS, RnnDataFormat::NST);
  if (mode == BIDIR_EXTRA_DIM && format != RnnDataFormat::TNS) return;
  CAPTURE(static_cast<int>(mode), static_cast<int>(format));
  const Net n = make(mode, format);
  const std::vector<Tensor> got = Session(n.g, {}, one_thread()).run({n.r.y, n.r.last[0]}, n.feeds);
  const std::vector<std::vector<int64_t>> to_tns{{0, 1, 2}, {2, 0, 1}, {1, 0, 2}};  // as the enum
  const Tensor y =
      mode == BIDIR_EXTRA_DIM ? got[0] : transpose(got[0], to_tns.at(static_cast<size_t>(format)));
  const Tensor x = nan_past(draw({kT, kB, kI}, f64, -1, 1, 1));
  const auto value = [&](size_t feed) { return n.feeds[feed].second; };
  const Plain forward = plain(x, value(1), value(2), value(3), mode == BWD);
  const Plain backward = plain(x, value(1), value(4), value(5), true);
  const bool both = is_bidirectional(mode);
  CHECK(got[1].dims() == (both ? Dims{2, kB, kH} : Dims{kB, kH}));
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t b = 0; b < kB; ++b) {
      for (int64_t j = 0; j < kH; ++j) {
        const int64_t row = t * kB + b, at = row * kH + j;
        const double f = forward.y[static_cast<size_t>(at)],
                     k = backward.y[static_cast<size_t>(at)];
        if (mode == BIDIR_CONCAT) {
          CHECK(std::abs(y.at(row * 2 * kH + j) - f) < 1e-13);
          CHECK(std::abs(y.at(row * 2 * kH + kH + j) - k) < 1e-13);
        } else if (mode == BIDIR_EXTRA_DIM) {
          CHECK(std::abs(y.at(((t * 2) * kB + b) * kH + j) - f) < 1e-13);
          CHECK(std::abs(y.at(((t * 2 + 1) * kB + b) * kH + j) - k) < 1e-13);
        } else {
          CHECK(std::abs(y.at(at) - (both ? f + k : f)) < 1e-13);
        }
      }
    }
  }
  for (int64_t i = 0; i < kB * kH; ++i) {
    CHECK(std::abs(got[1].at(i) - forward.last[static_cast<size_t>(i)]) < 1e-13);
    if (both)
      CHECK(std::abs(got[1].at(kB * kH + i) - backward.last[static_cast<size_t>(i)]) < 1e-13);
  }
}

TEST_CASE("rnn::layer: gradients of first and second order, padding is NaN", "[layer]") {
  const auto mode = GENERATE(FWD, BWD, BIDIR_CONCAT);
  const auto format = GENERATE(RnnDataFormat::TNS, RnnDataFormat::NST);
  Net n = make(mode, format, false);
  // By what holds no NaN; x itself below.
  std::vector<Feed> feeds = n.feeds;
  const GradientReport r = check_gradients(n.g, {n.r.y, n.r.last[0]}, feeds, {.fixed = {n.x}});
  CHECK(r.first > 20);
  CHECK(r.second > 20);
  const Var dx = gradients(sum(n.r.y), {n.x})[0];
  const Tensor d = Session(n.g, {}, one_thread()).run(dx, n.feeds);
  const Tensor& x = n.feeds[0].second;
  for (int64_t i = 0; i < x.size(); ++i)
    CHECK((std::isnan(x.at(i)) ? d.at(i) == 0 : std::isfinite(d.at(i))));
}

TEST_CASE("rnn::layer: what holds a row or a slice for each sequence comes into the cell",
          "[layer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), h0 = g.placeholder("h0", f64, {kB, kH}),
            scale = g.placeholder("scale", f64, {kB, kH}),
            extra = g.placeholder("extra", f64, {kT, kB, kH});
  const std::vector<Feed> feeds{{x, draw({kT, kB, kH}, f64, -1, 1, 1)},
                                {h0, draw({kB, kH}, f64, -1, 1, 2)},
                                {scale, draw({kB, kH}, f64, -1, 1, 3)},
                                {extra, draw({kT, kB, kH}, f64, -1, 1, 4)}};
  const auto cell = [&](const Var& xt, const Vars& s) -> rnn::Step {
    const Var h = tanh(xt + s[0] * per_row(scale)) * per_step(extra) + per_row(scale);
    return {.output = h, .state = {h}};
  };
  const auto r = rnn::layer(x, {h0}, cell);
  CHECK(check_gradients(g, {r.y, r.last[0]}, feeds).first == 2 * kT * kB * kH + 2 * kB * kH);
  const std::vector<Tensor> got = Session(g, {}, one_thread()).run({r.y, r.last[0]}, feeds);
  for (int64_t i = 0; i < kB * kH; ++i) {
    double h = feeds[1].second.at(i);
    for (int64_t t = 0; t < kT; ++t) {
      const int64_t at = t * kB * kH + i;
      h = std::tanh(feeds[0].second.at(at) + h * feeds[2].second.at(i)) * feeds[3].second.at(at) +
          feeds[2].second.at(i);
      CHECK(std::abs(got[0].at(at) - h) < 1e-13);
    }
    CHECK(std::abs(got[1].at(i) - h) < 1e-13);
  }
  CHECK(code_of([&] { per_step(extra); }) == "per_step.value.body");
  CHECK(per_row(scale).same(scale));
  const auto wrong = [&](const Var& v, bool step) {
    return code_of([&] {
      rnn::layer(x, {h0}, [&](const Var& xt, const Vars& s) -> rnn::Step {
        const Var h = s[0] + (step ? per_step(v) : per_row(v));
        return {xt + h, {h}};
      });
    });
  };
  CHECK(wrong(x, false) == "per_row.value.dim");
  CHECK(wrong(scale, true) == "per_step.value.dim");
}

TEST_CASE("rnn::layer: sizes that symbols hid are compared once they are bound", "[layer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {"T", "B", "I"}), h0 = g.placeholder("h0", f64, {"B", 1});
  const auto r = rnn::layer(x, {h0}, [](Var xt, Vars) -> rnn::Step { return {xt, {xt}}; });
  const auto run = [&](int64_t inputs) {
    return code_of([&] {
      Session(g).run({r.last[0]}, {{x, Tensor(f64, {3, 2, inputs})}, {h0, Tensor(f64, {2, 1})}});
    });
  };
  CHECK(run(1).empty());
  CHECK(run(4) == "recurrence.body.state");
}

TEST_CASE("rnn::layer: rows cannot be taken together in a cell", "[layer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), h0 = g.placeholder("h0", f64, {kB, kH});
  const Var which = g.placeholder("which", i32, {kB});
  const auto code = [&](const std::function<Var(const Var&)>& f) {
    return code_of([&] {
      rnn::layer(x, {h0}, [&](Var xt, Vars s) -> rnn::Step { return {{}, {f(xt + s[0])}}; });
    });
  };
  CHECK(code([](const Var& h) { return nn::softmax(h, 0); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return nn::softmax(h, -2); }) == "recurrence.body.mixed");
  CHECK(code([&](const Var& h) { return gather(h, per_row(which)); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return reverse(h, {0}); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return reverse(h); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return cumsum(h, {.axis = 0}); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return nn::l2_normalize(h, {0, 1}); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return h - mean(h, {.axes = {0}}); }) == "recurrence.body.mixed");
  CHECK(code([](const Var& h) { return h / norm(h); }) == "recurrence.body.mixed");
  CHECK(code([&](const Var& h) {
          return gather(scatter_update(x, per_row(which), h), per_row(which));
        }) != "");
  CHECK(code([](const Var& h) { return reverse(sort(h), {-1}); }).empty());
  CHECK(code([](const Var& h) { return nn::l2_normalize(h); }).empty());
  CHECK(code([](const Var& h) { return nn::softmax(h, 1); }).empty());
}

TEST_CASE("layer_norm of half floats does not overflow in its squares", "[layer]") {
  const Tensor x = Tensor::of<double>({4}, {300, -300, 299, -299});
  for (const DType t : {f16, bf16}) {
    const Tensor y = nn::layer_norm(x.to(t), {}, {});
    for (int64_t i = 0; i < 4; ++i) CHECK(std::abs(std::abs(y.at(i)) - 1) < 0.01);
  }
}

TEST_CASE("rnn::layer: a forgotten per_row or per_step is refused when the cell is written",
          "[layer]") {
  const bool symbols = GENERATE(true, false);
  const Dim steps = symbols ? Dim("T") : Dim(kT), rows = symbols ? Dim("B") : Dim(kB);
  Graph g;
  const Var x = g.placeholder("x", f64, {steps, rows, kH}),
            h0 = g.placeholder("h0", f64, {rows, kH}), row = g.placeholder("row", f64, {rows, kH}),
            slice = g.placeholder("slice", f64, {steps, rows, kH});
  const auto message = [&](const Var& used) -> std::string {
    try {
      rnn::layer(x, {h0}, [&](Var xt, Vars s) -> rnn::Step {
        const Var h = tanh(xt + s[0]) + used;
        return {h, {h}};
      });
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message(row).find("uses row f64[") != std::string::npos);
  CHECK(message(row).find("write per_row(v) there\n  built at tests/layer.cc:") !=
        std::string::npos);
  CHECK(message(slice).find("per_step(v)") != std::string::npos);
  // A weight whose size is the number of rows by chance is a weight.
  const Var w = g.placeholder("w", f64, {kB, kH});
  const Var narrow = g.placeholder("narrow", f64, {steps, rows, kB});
  CHECK_NOTHROW(rnn::layer(
      narrow, {h0}, [&](Var xt, Vars s) -> rnn::Step { return {{}, {s[0] + matmul(xt, w)}}; }));
}

TEST_CASE("rnn::layer refuses what does not fit, and says what", "[layer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH}), h0 = g.placeholder("h0", f64, {kB, kH});
  const rnn::Cell cell = [](Var xt, Vars s) -> rnn::Step { return {xt, {xt + s[0]}}; };
  const auto code = [&](const Var& in, const Vars& init, const rnn::Cell& c, rnn::LayerOptions o) {
    return code_of([&] { rnn::layer(in, init, c, o); });
  };
  CHECK(code({}, {h0}, cell, {}) == "layer.x.missing");
  CHECK(code(g.placeholder("v", f64, {kT}), {h0}, cell, {}) == "layer.x.rank");
  CHECK(code(h0, {h0}, cell, {.data_format = RnnDataFormat::NST}) == "layer.x.rank");
  CHECK(code(x, {Var()}, cell, {}) == "layer.init.missing");
  CHECK(code(x, {g.placeholder("h1", f64, {kB + 1, kH})}, cell, {}) == "layer.init.dim");
  const Var rows_first = g.placeholder("rows first", f64, {"B", "T", kI});
  const Error swapped = error_of([&] {
    rnn::layer(rows_first, {rnn::zero_state(rows_first, kH)}, cell,
               {.data_format = RnnDataFormat::NTS});
  });
  CHECK(swapped.code() == "layer.init.dim");
  CHECK(std::string(swapped.what()).find("zero_state(x, width, NTS)") != std::string::npos);
  CHECK(code(x, {h0}, {}, {}) == "layer.cell.missing");
  CHECK(code(x, {h0}, cell, {.direction_mode = BIDIR_SUM}) == "layer.backward.missing");
  CHECK(code(x, {h0, h0}, cell, {}) == "layer.cell.state");
  CHECK(code(x, {g.placeholder("h2", f64, {kB, kH + 1})},
             [](Var xt, Vars) -> rnn::Step { return {{}, {xt}}; }, {}) == "layer.cell.state");
  const Var wide = g.placeholder("wide", f64, {kB, 2 * kH});
  const rnn::Cell wider = [](Var xt, Vars s) -> rnn::Step {
    return {concat<Var>({xt, xt}, -1), {s[0] * 0.5}};
  };
  for (const auto mode : {BIDIR_SUM, BIDIR_EXTRA_DIM, BIDIR_CONCAT}) {
    CHECK(
        code(x, {h0}, cell, {.direction_mode = mode, .backward = wider, .backward_init = {wide}}) ==
        "layer.backward.state");
    if (mode != BIDIR_CONCAT)
      CHECK(code(x, {h0}, cell, {.direction_mode = mode, .backward = wider}) ==
            "layer.backward.state");
  }
  CHECK(code_of([&] { rnn::zoneout(h0, h0, 1); }) == "zoneout.rate.range");
  CHECK(code(x, {h0}, cell, {.lengths = g.placeholder("l1", i32, {kB + 1})}) ==
        "layer.lengths.type");
  CHECK(code(x, {h0}, cell, {.lengths = g.placeholder("l2", f64, {kB})}) == "layer.lengths.type");
  CHECK(code(transpose(x, {1, 0, 2}), {h0}, cell,
             {.data_format = RnnDataFormat::NTS,
              .direction_mode = BIDIR_EXTRA_DIM,
              .backward = cell}) == "layer.data_format.direction");
  const Var lengths = g.placeholder("lengths", i32, {kB});
  const auto r = rnn::layer(x, {h0}, cell, {.lengths = lengths});
  CHECK(code_of([&] {
          Session(g).run(r.y, {{x, Tensor(f64, {kT, kB, kH})},
                               {h0, Tensor(f64, {kB, kH})},
                               {lengths, Tensor::of<int32_t>({kB}, {1, 2, kT + 1})}});
        }) == "layer.lengths.range");
}

// ---- noise inside of cells ----------------------------------------------------------------------

struct Noisy {
  Tensor training, inference, again, next_step;
};
Noisy noisy(const std::function<Var(const Var& x, const Var& h)>& state) {
  constexpr int64_t kSteps = 40, kRows = 5, kWidth = 50;
  Graph g;
  const Var x = g.placeholder("x", f64, {kSteps, kRows, kWidth});
  const auto r = rnn::layer(x, {rnn::zero_state(x, kWidth)}, [&](Var xt, Vars s) -> rnn::Step {
    const Var h = state(xt, s[0]);
    return {.output = h, .state = {h}};
  });
  Session s(g, {}, one_thread());
  const std::vector<Feed> feeds{{x, Tensor::full(f64, {kSteps, kRows, kWidth}, 1)}};
  const auto run = [&](bool training, int64_t step) {
    return s.run(r.y, feeds, {.training = training, .seed = 7, .step = step});
  };
  return {run(true, 0), run(false, 0), run(true, 0), run(true, 1)};
}

double fraction(const Tensor& t, const std::function<bool(double)>& f) {
  int64_t n = 0;
  for (int64_t i = 0; i < t.size(); ++i) n += f(t.at(i)) ? 1 : 0;
  return static_cast<double>(n) / static_cast<double>(t.size());
}

TEST_CASE("dropout in a cell: a mask of its own for each step and row", "[layer]") {
  const Noisy n = noisy([](const Var& x, const Var&) { return nn::dropout(x, 0.25); });
  CHECK(fraction(n.inference, [](double v) { return v == 1; }) == 1);
  CHECK(fraction(n.training, [](double v) { return v == 0 || std::abs(v - 1 / 0.75) < 1e-15; }) ==
        1);
  CHECK(std::abs(fraction(n.training, [](double v) { return v == 0; }) - 0.25) < 0.02);
  CHECK(n.training.same_bits(n.again));
  CHECK(!n.training.same_bits(n.next_step));
  const int64_t step = 5 * 50;
  bool differs = false;
  for (int64_t i = 0; i < step; ++i)
    differs = differs || n.training.at(i) != n.training.at(step + i);
  CHECK(differs);
}

TEST_CASE("variational dropout in a cell: each row keeps its mask", "[layer]") {
  const Noisy n = noisy([](const Var& x, const Var&) { return nn::variational_dropout(x, 0.25); });
  CHECK(fraction(n.inference, [](double v) { return v == 1; }) == 1);
  const int64_t step = 5 * 50;
  for (int64_t i = 0; i < n.training.size(); ++i)
    CHECK(n.training.at(i) == n.training.at(i % step));
  CHECK(std::abs(fraction(n.training, [](double v) { return v == 0; }) - 0.25) < 0.1);
  CHECK(!n.training.same_bits(n.next_step));
}

TEST_CASE("zoneout keeps elements of the last state, or their mean", "[layer]") {
  // The state counts the steps at which it was not kept.
  const Noisy n = noisy([](const Var& x, const Var& h) { return rnn::zoneout(h + x, h, 0.25); });
  const int64_t last = 39 * 5 * 50;
  double mean = 0;
  for (int64_t i = last; i < n.training.size(); ++i) {
    mean += n.training.at(i) / 250;
    CHECK(std::abs(n.inference.at(i) - 40 * 0.75) < 1e-12);
    const double count = n.training.at(i), before = n.training.at(i - 250);
    CHECK((std::abs(count - before) < 1e-12 || std::abs(count - before - 1) < 1e-12));
  }
  CHECK(std::abs(mean - 30) < 0.5);
}

TEST_CASE("dropout outside of loops keeps its stream when a cell has one too", "[layer]") {
  Graph g;
  const Var x = g.placeholder("x", f64, {kT, kB, kH});
  const Var before = nn::variational_dropout(x, 0.5);
  const Tensor y = Session(g, {}, one_thread())
                       .run(before, {{x, Tensor::full(f64, {kT, kB, kH}, 1)}}, {.training = true});
  for (int64_t i = 0; i < y.size(); ++i) CHECK(y.at(i) == y.at(i % (kB * kH)));
}

// ---- the layers beside the contract, against their equations
// -------------------------------------

double sigma(double v) { return 1 / (1 + std::exp(-v)); }
std::vector<double> normalised(const std::vector<double>& z, double epsilon) {
  double m = 0, v = 0;
  for (const double a : z) m += a / static_cast<double>(z.size());
  for (const double a : z) v += (a - m) * (a - m) / static_cast<double>(z.size());
  std::vector<double> r;
  for (const double a : z) r.push_back((a - m) / std::sqrt(v + epsilon));
  return r;
}
std::vector<double> times(const std::vector<double>& x, const Tensor& w) {
  std::vector<double> r(static_cast<size_t>(w.dims()[1]));
  for (size_t j = 0; j < r.size(); ++j) {
    for (size_t i = 0; i < x.size(); ++i)
      r[j] += x[i] * w.at(static_cast<int64_t>(i * r.size() + j));
  }
  return r;
}

TEST_CASE("layer-normalised, minimal and independent layers follow their equations", "[layer]") {
  const int which = GENERATE(Catch::Generators::range(0, 5));
  const std::string names[] = {"lstm_layer_norm", "gru_layer_norm", "min_gru", "min_lstm",
                               "ind_rnn"};
  CAPTURE(names[which]);
  constexpr double kEpsilon = 0.01;
  const Tensor x = draw({kT, kB, kI}, f64, -1, 1, 1), h0 = draw({kB, kH}, f64, -1, 1, 2),
               c0 = draw({kB, kH}, f64, -1, 1, 3);
  const Tensor lengths = Tensor::of<int32_t>({kB}, kLengths);
  const int64_t gates[] = {4, 3, 2, 3, 1};
  const int64_t wide = gates[which] * kH;
  const Tensor wx = draw({kI, wide}, f64, -1, 1, 4), wh = draw({kH, wide}, f64, -1, 1, 5),
               g1 = draw({wide}, f64, 0.5, 2, 6), g2 = draw({wide}, f64, 0.5, 2, 7),
               b1 = draw({wide}, f64, -1, 1, 8), b2 = draw({wide}, f64, -1, 1, 9),
               u = draw({kH}, f64, -1, 1, 10);
  rnn::CellLayerOutputs<Tensor> got;
  const rnn::CellLayerInputs<Tensor> in{.lengths = lengths, .h_last = h0};
  if (which == 0)
    got = rnn::lstm_layer_norm(x, {.lengths = lengths, .h_last = h0, .c_last = c0},
                               {wx, wh, g1, b1}, {.epsilon = kEpsilon});
  if (which == 1) got = rnn::gru_layer_norm(x, in, {wx, wh, g1, g2, b1, b2}, {.epsilon = kEpsilon});
  if (which == 2) got = rnn::min_gru(x, in, {wx, b1});
  if (which == 3) got = rnn::min_lstm(x, in, {wx, b1});
  if (which == 4)
    got = rnn::ind_rnn(x, in, {wx, u, b1}, {.activation = rnn::IndRNNActivation::TANH});
  for (int64_t b = 0; b < kB; ++b) {
    std::vector<double> h, c;
    for (int64_t j = 0; j < kH; ++j) {
      h.push_back(h0.at(b * kH + j));
      c.push_back(c0.at(b * kH + j));
    }
    for (int64_t t = 0; t < kT; ++t) {
      if (t < kLengths[static_cast<size_t>(b)]) {
        const std::vector<double> xt{x.at((t * kB + b) * kI), x.at((t * kB + b) * kI + 1)};
        std::vector<double> zx = times(xt, wx),
                            zh = which < 2 ? times(h, wh) : std::vector<double>();
        const auto at = [](const std::vector<double>& z, int64_t gate, int64_t j) {
          return z[static_cast<size_t>(gate * kH + j)];
        };
        if (which == 0) {
          for (size_t k = 0; k < zx.size(); ++k) zx[k] += zh[k];
          zx = normalised(zx, kEpsilon);
          for (size_t k = 0; k < zx.size(); ++k)
            zx[k] = zx[k] * g1.at(static_cast<int64_t>(k)) + b1.at(static_cast<int64_t>(k));
        } else if (which == 1) {
          zx = normalised(zx, kEpsilon);
          zh = normalised(zh, kEpsilon);
          for (size_t k = 0; k < zx.size(); ++k) {
            const auto i = static_cast<int64_t>(k);
            zx[k] = zx[k] * g1.at(i) + b1.at(i);
            zh[k] = zh[k] * g2.at(i) + b2.at(i);
          }
        } else {
          for (size_t k = 0; k < zx.size(); ++k) zx[k] += b1.at(static_cast<int64_t>(k));
        }
        for (int64_t j = 0; j < kH; ++j) {
          double& hj = h[static_cast<size_t>(j)];
          double& cj = c[static_cast<size_t>(j)];
          if (which == 0) {
            cj = sigma(at(zx, 1, j)) * cj + sigma(at(zx, 0, j)) * std::tanh(at(zx, 2, j));
            hj = sigma(at(zx, 3, j)) * std::tanh(cj);
          } else if (which == 1) {
            const double r = sigma(at(zx, 0, j) + at(zh, 0, j)),
                         keep = sigma(at(zx, 1, j) + at(zh, 1, j));
            hj = keep * hj + (1 - keep) * std::tanh(at(zx, 2, j) + r * at(zh, 2, j));
          } else if (which == 2) {
            const double z = sigma(at(zx, 0, j));
            hj = (1 - z) * hj + z * at(zx, 1, j);
          } else if (which == 3) {
            const double f = sigma(at(zx, 0, j)), i = sigma(at(zx, 1, j));
            hj = (f * hj + i * at(zx, 2, j)) / (f + i);
          } else {
            hj = std::tanh(at(zx, 0, j) + u.at(j) * hj);
          }
        }
      }
      for (int64_t j = 0; j < kH; ++j) {
        const double want = t < kLengths[static_cast<size_t>(b)] ? h[static_cast<size_t>(j)] : 0;
        CHECK(std::abs(got.y.at((t * kB + b) * kH + j) - want) < 1e-12);
      }
    }
    for (int64_t j = 0; j < kH; ++j) {
      CHECK(std::abs(got.last_h.at(b * kH + j) - h[static_cast<size_t>(j)]) < 1e-12);
      if (which == 0)
        CHECK(std::abs(got.last_c.at(b * kH + j) - c[static_cast<size_t>(j)]) < 1e-12);
    }
  }
  CHECK(code_of([&] { rnn::min_gru(x, {.c_last = c0}, {wx, b1}); }) == "min_gru.c_last.unused");
}

}  // namespace
}  // namespace rondo::test
