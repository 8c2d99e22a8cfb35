#include <algorithm>
#include <limits>

#include "random_cell.h"
#include "random_cell_maker.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

using Form = CellConfig::Form;

CellConfig random_config(Dice& d, DType dtype, bool kinks_allowed) {
  CellConfig c;
  c.dtype = dtype;
  c.form = d.of<Form>(
      {Form::kLayer, Form::kLayer, Form::kRecurrence, Form::kRecurrence, Form::kUnrolled});
  const bool unrolled = c.form == Form::kUnrolled;
  c.steps = unrolled ? d.of<int64_t>({4, 5, 9}) : d.of<int64_t>({1, 2, 5, 5, 9, 9});
  if (!unrolled && d.one_in(20)) c.steps = 0;
  c.rows = d.of<int64_t>({1, 2, 3, 7, 8, 9, 17, 33});
  c.symbols = !unrolled && d.one_in(2);
  c.reductions = d.one_in(4);
  c.kinks = kinks_allowed && d.one_in(4);
  c.layers = d.one_in(4) ? 2 : 1;
  if (c.form == Form::kLayer) {
    c.direction =
        d.of<LSTMDirectionMode>({FWD, FWD, BWD, BIDIR_SUM, BIDIR_CONCAT, BIDIR_EXTRA_DIM});
    if (c.direction != BIDIR_EXTRA_DIM && d.one_in(4))
      c.format = d.of<RnnDataFormat>({RnnDataFormat::NTS, RnnDataFormat::NST});
  } else {
    c.direction = d.of<LSTMDirectionMode>({FWD, BWD});
  }
  c.lengths = !unrolled && d.one_in(2);
  c.begins = c.lengths && c.form == Form::kRecurrence && d.one_in(2);
  c.poison = c.lengths && d.one_in(2);
  return c;
}

// ---- what runs it -------------------------------------------------------------------------------

RecurrenceStep apply(const RandomCell& c, const Vars& states, const Vars& xs) {
  Vars v = states;
  v.insert(v.end(), xs.begin(), xs.end());
  for (const CellLine& m : c.lines) v.push_back(m.formula(v));
  RecurrenceStep r;
  for (const size_t k : c.next) r.states.push_back(v[k]);
  for (const size_t k : c.ys) r.ys.push_back(v[k]);
  for (size_t k = 0; k < c.sums.size(); ++k)
    r.sums.push_back(k == 0 ? sum(v[c.sums[k]], {.axes = {0}})
                            : matmul(v[c.sums[0]], v[c.sums[k]], {.transpose_a = true}));
  return r;
}

struct Window {
  Var begin, end;
  Tensor first, last;  // their values
};

// Some rows never run, some all the time.
Window random_window(CellWorld& w) {
  const CellConfig& c = w.p.config;
  Window r;
  if (!c.lengths) return r;
  std::vector<int64_t> first, last;
  const auto up_to = [&](int64_t n) {
    return static_cast<int64_t>(w.d.below(static_cast<size_t>(n) + 1));
  };
  for (int64_t b = 0; b < c.rows; ++b) {
    const size_t way = w.d.below(5);
    last.push_back(way == 0 ? 0 : way == 1 ? c.steps : up_to(c.steps));
    first.push_back(up_to(last.back()));
  }
  const DType t = w.d.one_in(3) ? i64 : i32;
  const auto feed = [&](const char* name, const std::vector<int64_t>& values, Tensor& tensor) {
    tensor = Tensor::of<int64_t>({c.rows}, values).to(t);
    const Var v = w.p.g.placeholder(name, t, {w.rows});
    w.p.feeds.emplace_back(v, tensor);
    return v;
  };
  r.end = feed("end", last, r.last);
  if (c.begins) r.begin = feed("begin", first, r.first);
  return r;
}

struct Ran {
  Vars ys;    // [T,B,width]
  Vars rest;  // finals, trajectories
  Vars sums = {};
};

Ran run_unrolled(CellWorld& w, const RandomCell& c, const Vars& first, const Vars& xs) {
  const int64_t steps = w.p.config.steps;
  const bool backwards = w.p.config.direction == BWD;
  Vars states = first;
  std::vector<Vars> parts(c.ys.size(), Vars(static_cast<size_t>(steps)));
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = backwards ? steps - 1 - s : s;
    Vars now;
    for (const Var& x : xs) now.push_back(squeeze(slice(x, 0, t, t + 1), 0));
    const RecurrenceStep r = apply(c, states, now);
    states = r.states;
    for (size_t k = 0; k < c.ys.size(); ++k)
      parts[k][static_cast<size_t>(t)] = expand_dims(r.ys[k], 0);
    w.p.inner.insert(w.p.inner.end(), states.begin(), states.end());
  }
  Ran r;
  for (const Vars& p : parts) r.ys.push_back(concat(p, 0));
  r.rest = states;
  return r;
}

Ran run_recurrence(CellWorld& w, const RandomCell& c, const Vars& first, const Vars& xs,
                   const Window& window) {
  const RecurrenceResult r =
      recurrence({.states = first,
                  .xs = xs,
                  .begin = window.begin,
                  .end = window.end,
                  .reverse = w.p.config.direction == BWD,
                  .origin = "cell"},
                 [&](const Vars& s, const Vars& x, const Vars&) { return apply(c, s, x); });
  Ran ran{r.ys, r.finals, r.sums};
  if (w.d.one_in(4)) ran.rest.push_back(r.trajectories[0]);
  return ran;
}

// One output: all that the cell gives, side by side.
Ran run_layer(CellWorld& w, const RandomCell& c, const RandomCell& back, const Vars& first,
              const Vars& xs, const Var& lengths) {
  const CellConfig& o = w.p.config;
  const auto as_cell = [&xs](const RandomCell& cell) -> rnn::Cell {
    return [&cell, &xs](const Var& x, const Vars& states) -> rnn::Step {
      Vars now{x};
      for (size_t k = 1; k < xs.size(); ++k) now.push_back(per_step(xs[k]));
      const RecurrenceStep r = apply(cell, states, now);
      return {r.ys.size() == 1 ? r.ys[0] : concat(r.ys, -1), r.states};
    };
  };
  Var x = xs[0];
  if (o.format != RnnDataFormat::TNS)
    x = transpose(x, o.format == RnnDataFormat::NTS ? std::vector<int64_t>{1, 0, 2}
                                                    : std::vector<int64_t>{1, 2, 0});
  const rnn::LayerResult r = rnn::layer(x, first, as_cell(c),
                                        {.lengths = lengths,
                                         .data_format = o.format,
                                         .direction_mode = o.direction,
                                         .backward = as_cell(back)});
  Var y = r.y;
  if (o.format != RnnDataFormat::TNS)
    y = transpose(y, o.format == RnnDataFormat::NTS ? std::vector<int64_t>{1, 0, 2}
                                                    : std::vector<int64_t>{2, 0, 1});
  if (o.direction == BIDIR_EXTRA_DIM) y = sum(y * 0.7, {.axes = {1}});
  return {{y}, r.last};
}

Vars first_states(CellWorld& w, const std::vector<int64_t>& widths, const Vars& before) {
  Vars r;
  for (const int64_t n : widths) {
    const size_t way = w.d.below(6);
    const auto fits = [n](const Var& v) { return v.rank() == 2 && v.dim(1) == Dim(n); };
    const auto old = std::find_if(before.begin(), before.end(), fits);
    const auto same = std::find_if(r.begin(), r.end(), fits);
    if (way == 0) {
      r.push_back(fill(w.p.g, w.dtype(), {w.rows, n}, 0));
    } else if (way == 1 && old != before.end() && !is_bidirectional(w.p.config.direction)) {
      r.push_back(tanh(*old));
    } else if (way == 2 && same != r.end()) {
      r.push_back(*same);
    } else if (way == 3) {
      const Var h = w.rowwise("h", {w.rows, 3});
      r.push_back(tanh(matmul(h, w.matrix(3, n))));
    } else {
      r.push_back(w.rowwise("h", {w.rows, n}));
    }
  }
  return r;
}

// NaN where no row runs.
void poison(const Window& window, Tensor& x) {
  const int64_t steps = x.dim(0), rows = x.dim(1), width = x.dim(2);
  Tensor r = x.to(f64);
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t b = 0; b < rows; ++b) {
      if (t < window.last.at(b) && (!window.first || t >= window.first.at(b))) continue;
      std::fill_n(r.mutable_data<double>() + (t * rows + b) * width, width,
                  std::numeric_limits<double>::quiet_NaN());
    }
  }
  x = r.to(x.dtype());
}

// What the cell reads over time: `x`, or a placeholder, and perhaps another beside it.
Vars random_inputs(CellWorld& w, const Window& window, Var x) {
  const auto sequence = [&] {
    const auto n = static_cast<int64_t>(1 + w.d.below(w.d.one_in(4) ? kWidest : 12));
    const Var v = w.rowwise("x", {w.steps, w.rows, n});
    if (w.p.config.poison) poison(window, w.p.feeds.back().second);
    return v;
  };
  Vars xs{x ? x : sequence()};
  if (w.d.one_in(3)) xs.push_back(sequence());
  return xs;
}

}  // namespace

std::string CellConfig::str() const {
  const char* const kForms[] = {"layer", "recurrence", "unrolled"};
  std::string s = cat(kForms[static_cast<size_t>(form)], " ", dtype, " T=", steps, " B=", rows, " ",
                      kDirectionNames[static_cast<size_t>(direction)], " ",
                      kRnnDataFormatNames[static_cast<size_t>(format)], " layers=", layers);
  for (const auto& [on, what] : {std::pair{symbols, "symbols"},
                                 {reductions, "reductions"},
                                 {kinks, "kinks"},
                                 {lengths, "lengths"},
                                 {begins, "begins"},
                                 {poison, "poison"}}) {
    if (on) s += cat(" ", what);
  }
  return s;
}

DType dtype_of_cell(uint64_t seed) { return seed / 4 % 4 == 3 ? f32 : f64; }

CellProgram random_cell_program(uint64_t seed, DType dtype) {
  Dice d(seed);
  CellProgram p;
  p.config = random_config(d, dtype, dtype_of_cell(seed) == f64);
  const CellConfig& c = p.config;
  if (c.symbols) p.sizes = {{"T", c.steps}, {"B", c.rows}};
  CellWorld w{p, d, c.symbols ? Dim("T") : Dim(c.steps), c.symbols ? Dim("B") : Dim(c.rows)};
  const Window window = random_window(w);

  Ran before;
  double bound = 1;
  for (size_t layer = 0; layer < c.layers; ++layer) {
    Var x;
    if (layer != 0) {
      x = before.ys[0];
      if (bound > 2 || d.one_in(3)) x = tanh(x);
      bound = std::min(bound, 2.0);
      if (d.one_in(3)) {
        const int64_t n = x.dim(2).constant(), k = 1 + static_cast<int64_t>(d.below(kWidest));
        x = tanh(matmul(x, w.matrix(n, k)) + w.vector(k));
        bound = 1;
      }
    }
    Vars xs = random_inputs(w, window, x);
    std::vector<int64_t> states, widths;
    for (size_t k = 0, n = 1 + d.below(3); k < n; ++k)
      states.push_back(k != 0 && d.one_in(2) ? states[0]
                                             : 1 + static_cast<int64_t>(d.below(kWidest)));
    if (d.one_in(3)) xs.push_back(w.feed("f", {w.steps, w.rows, d.of(states)}, boolean, 0, 1));
    for (const Var& v : xs) widths.push_back(v.dim(2).constant());
    const bool is_layer = c.form == Form::kLayer;
    const size_t lines = 1 + d.below(d.one_in(4) ? 8 : 3), ys = 1 + d.below(3),
                 sums = c.form == Form::kRecurrence && d.one_in(4) ? 1 + d.below(2) : 0;
    // The same cell with other weights, or with the same ones, for the way back.
    const uint64_t own = d.below(1000000);
    const auto make = [&] {
      Dice dice(own);
      std::vector<bool> flags;
      for (const Var& v : xs) flags.push_back(v.dtype() == boolean);
      return CellMaker(w, dice, states, widths, flags, bound).run(lines, ys, sums);
    };
    const RandomCell cell = make();
    const Vars first = first_states(w, states, before.rest);
    Ran ran;
    if (is_layer) {
      ran = run_layer(w, cell, is_bidirectional(c.direction) && d.one_in(2) ? make() : cell, first,
                      xs, window.end);
    } else if (c.form == Form::kRecurrence) {
      ran = run_recurrence(w, cell, first, xs, window);
    } else {
      ran = run_unrolled(w, cell, first, xs);
    }
    bound = 0;
    for (const size_t k : cell.ys) bound = std::max(bound, cell.bounds[k] * 2);
    // What is asked for of it.
    const bool last = layer + 1 == c.layers;
    for (const Var& y : ran.ys) {
      if (last ? !d.one_in(4) : d.one_in(4)) p.outputs.push_back(y);
    }
    for (const Var& v : ran.rest) {
      if (d.one_in(2)) p.outputs.push_back(v);
    }
    for (const Var& v : ran.sums) {
      if (!d.one_in(4)) p.sums.push_back(v);
    }
    if (last && p.outputs.empty()) p.outputs.push_back(d.one_in(2) ? ran.rest[0] : ran.ys[0]);
    before = std::move(ran);
  }
  for (const Vars* list : {&p.outputs, &p.sums}) {
    for (const Var& y : *list) {
      const Var part = sum(y * w.feed("g", y.shape(), dtype, -1, 1));
      p.loss = p.loss ? p.loss + part : part;
    }
  }
  // Not always by all of them.
  if (d.one_in(4)) {
    for (Vars* list : {&p.leaves, &p.weights}) {
      while (list->size() > 1 && d.one_in(2)) list->erase(list->begin());
    }
  }
  return p;
}

}  // namespace rondo::test
