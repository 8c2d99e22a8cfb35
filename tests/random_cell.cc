#include <algorithm>
#include <functional>
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

using Choose = std::function<Var(const Var&)>;

// `summed`: what of a value takes part in sums.
RecurrenceStep apply(
    const RandomCell& c, const Vars& states, const Vars& xs,
    const Choose& summed = [](const Var& v) { return v; }) {
  Vars v = states;
  v.insert(v.end(), xs.begin(), xs.end());
  for (const CellLine& m : c.lines) v.push_back(m.formula(v));
  RecurrenceStep r;
  for (const size_t k : c.next) r.states.push_back(v[k]);
  for (const size_t k : c.ys) r.ys.push_back(v[k]);
  for (size_t k = 0; k < c.sums.size(); ++k)
    r.sums.push_back(k == 0 ? sum(summed(v[c.sums[k]]), {.axes = {0}})
                            : matmul(summed(v[c.sums[0]]), v[c.sums[k]], {.transpose_a = true}));
  return r;
}

struct Window {
  Var begin, end;
  Tensor first, last;  // their values
  bool holds(int64_t t, int64_t row) const {
    return !last || (t < last.at(row) && (!first || t >= first.at(row)));
  }
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
  Vars rest;  // the last states
  Vars sums = {};
  Vars before = {};  // state 0 at the begin of each step; one value when it is joined already
};

// Step by step, in the graph itself. Where there are windows, each step is taken by all rows and
// selected away for those that do not run.
Ran run_by_hand(CellWorld& w, const RandomCell& c, const Vars& first, const Vars& xs,
                const Window& window, bool backwards) {
  const int64_t steps = w.p.config.steps, rows = w.p.config.rows;
  Vars states = first;
  Ran r;
  r.before.resize(static_cast<size_t>(steps));
  std::vector<Vars> parts(c.ys.size(), Vars(static_cast<size_t>(steps)));
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = backwards ? steps - 1 - s : s;
    const auto at = static_cast<size_t>(t);
    Vars now;
    for (const Var& x : xs) {
      const auto apart = std::find_if(w.apart.begin(), w.apart.end(),
                                      [&](const auto& a) { return a.first.same(x); });
      now.push_back(apart != w.apart.end() ? apart->second[at] : squeeze(slice(x, 0, t, t + 1), 0));
    }
    Var runs;
    if (window.end) {
      std::vector<double> mask;
      for (int64_t b = 0; b < rows; ++b) mask.push_back(window.holds(t, b) ? 1 : 0);
      runs = w.p.g.constant(Tensor::of<double>({rows, 1}, mask).to(boolean));
    }
    const auto if_it_runs = [&](const Var& v, const Var& otherwise) {
      return runs ? where(runs, v, otherwise ? otherwise : fill_like(v, 0)) : v;
    };
    r.before[at] = if_it_runs(states[0], Var());
    const RecurrenceStep next =
        apply(c, states, now, [&](const Var& v) { return if_it_runs(v, Var()); });
    for (size_t k = 0; k < states.size(); ++k) states[k] = if_it_runs(next.states[k], states[k]);
    for (size_t k = 0; k < c.ys.size(); ++k)
      parts[k][at] = expand_dims(if_it_runs(next.ys[k], Var()), 0);
    for (size_t k = 0; k < next.sums.size(); ++k) {
      if (s == 0)
        r.sums.push_back(next.sums[k]);
      else
        r.sums[k] = r.sums[k] + next.sums[k];
    }
    w.p.inner.insert(w.p.inner.end(), states.begin(), states.end());
  }
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
  return {r.ys, r.finals, r.sums, {r.trajectories[0]}};
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

// What a layer means.
Ran run_layer_by_hand(CellWorld& w, const RandomCell& c, const RandomCell& back, const Vars& first,
                      const Vars& xs, const Window& window) {
  const LSTMDirectionMode mode = w.p.config.direction;
  const Ran f = run_by_hand(w, c, first, xs, window, mode == BWD);
  const Var y = concat(f.ys, -1);
  if (!is_bidirectional(mode)) return {{y}, f.rest};
  const Ran b = run_by_hand(w, back, first, xs, window, true);
  const Var z = concat(b.ys, -1);
  Ran r{{mode == BIDIR_CONCAT      ? concat<Var>({y, z}, -1)
         : mode == BIDIR_EXTRA_DIM ? (y + z) * 0.7
                                   : y + z},
        {}};
  for (size_t k = 0; k < f.rest.size(); ++k)
    r.rest.push_back(concat<Var>({expand_dims(f.rest[k], 0), expand_dims(b.rest[k], 0)}, 0));
  return r;
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

Var sum_of_halves(const Var& v) {
  const Vars halves = split(v, 2, -1);
  return halves[0] + halves[1];
}

const std::vector<Echo>& echoes() {
  static const std::vector<Echo> kAll{
      {[](const Var& v) { return sigmoid(v); }, [](const Var& v) { return sigmoid(v); }},
      {[](const Var& v) { return exp(tanh(v)) * 0.3; },
       [](const Var& v) { return exp(tanh(v)) * 0.3; }},
      {[](const Var& v) { return tanh(v * 0.25); }, [](const Var& v) { return tanh(v * 0.75); }},
      {[](const Var& v) { return 1.0 - v; }, [](const Var& v) { return v - 1.0; }},
      {[](const Var& v) { return v - sin(v); }, [](const Var& v) { return sin(v) - v; }},
      {[](const Var& v) { return scaled_tanh(v, 0.8, 0.6); },
       [](const Var& v) { return scaled_tanh(v, 0.5, 0.9); }},
      {[](const Var& v) { return sum_of_halves(concat<Var>({v, sigmoid(v)}, -1)); },
       [](const Var& v) { return concat<Var>({v, sigmoid(v)}, 1); }},  // there along the rows
  };
  return kAll;
}

// NaN where no row runs.
void poison(const Window& window, Tensor& x) {
  const int64_t steps = x.dim(0), rows = x.dim(1), width = x.dim(2);
  Tensor r = x.to(f64);
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t b = 0; b < rows; ++b) {
      if (window.holds(t, b)) continue;
      std::fill_n(r.mutable_data<double>() + (t * rows + b) * width, width,
                  std::numeric_limits<double>::quiet_NaN());
    }
  }
  x = r.to(x.dtype());
}

// What the cell reads over time: `x`, or a placeholder, and perhaps another beside it.
Vars random_inputs(CellWorld& w, const Window& window, bool by_hand, Var x) {
  const auto sequence = [&] {
    const auto n = static_cast<int64_t>(1 + w.d.below(w.d.one_in(4) ? kWidest : 12));
    if (w.p.config.form == Form::kUnrolled && w.d.one_in(3)) {
      Vars each, parts;
      for (int64_t t = 0; t < w.p.config.steps; ++t) {
        each.push_back(w.rowwise("x", {w.rows, n}));
        parts.push_back(expand_dims(each.back(), 0));
      }
      w.apart.emplace_back(concat(parts, 0), each);
      return w.apart.back().first;
    }
    const Var v = w.rowwise("x", {w.steps, w.rows, n});
    if (w.p.config.poison && !by_hand) poison(window, w.p.feeds.back().second);
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

CellProgram random_cell_program(uint64_t seed, DType dtype, bool by_hand) {
  Dice d(seed);
  CellProgram p;
  p.config = random_config(d, dtype, dtype_of_cell(seed) == f64);
  p.config.symbols = p.config.symbols && !by_hand;
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
    Vars xs = random_inputs(w, window, by_hand, x);
    std::vector<int64_t> states, widths;
    for (size_t k = 0, n = 1 + d.below(3); k < n; ++k)
      states.push_back(k != 0 && d.one_in(2) ? states[0]
                                             : 1 + static_cast<int64_t>(d.below(kWidest)));
    if (d.one_in(3)) xs.push_back(w.feed("f", {w.steps, w.rows, d.of(states)}, boolean, 0, 1));
    for (const Var& v : xs) widths.push_back(v.dim(2).constant());
    const bool is_layer = c.form == Form::kLayer;
    const size_t lines = 1 + d.below(d.one_in(4) ? 8 : 3), ys = 1 + d.below(3),
                 sums = c.form == Form::kRecurrence && d.one_in(4) ? 1 + d.below(2) : 0;
    const Echo* echo = c.form != Form::kLayer && d.one_in(3) ? &d.of(echoes()) : nullptr;
    // The same cell with other weights, or with the same ones, for the way back.
    const uint64_t own = d.below(1000000);
    const auto make = [&] {
      Dice dice(own);
      std::vector<bool> flags;
      for (const Var& v : xs) flags.push_back(v.dtype() == boolean);
      return CellMaker(w, dice, states, widths, flags, bound).run(lines, ys, sums, echo);
    };
    const RandomCell cell = make();
    const Vars first = first_states(w, states, before.rest);
    Ran ran;
    if (is_layer) {
      const RandomCell back = is_bidirectional(c.direction) && d.one_in(2) ? make() : cell;
      ran = by_hand ? run_layer_by_hand(w, cell, back, first, xs, window)
                    : run_layer(w, cell, back, first, xs, window.end);
    } else if (by_hand || c.form == Form::kUnrolled) {
      ran = run_by_hand(w, cell, first, xs, window, c.direction == BWD);
    } else {
      ran = run_recurrence(w, cell, first, xs, window);
    }
    if (c.form == Form::kRecurrence && d.one_in(4)) {
      if (by_hand) {
        for (Var& v : ran.before) v = expand_dims(v, 0);
      }
      ran.rest.push_back(by_hand ? concat(ran.before, 0) : ran.before[0]);
    }
    bound = 0;
    for (const size_t k : cell.ys) bound = std::max(bound, cell.bounds[k] * 2);
    // What is asked for of it.
    const bool last = layer + 1 == c.layers;
    for (const Var& y : ran.ys) {
      if (last ? !d.one_in(4) : d.one_in(4)) p.outputs.push_back(y);
    }
    if (echo != nullptr) p.outputs.push_back(echo->outside(ran.ys.back()));
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
  p.values = !d.one_in(5);
  // Not always by all of them.
  if (d.one_in(4)) {
    for (Vars* list : {&p.leaves, &p.weights}) {
      while (list->size() > 1 && d.one_in(2)) list->erase(list->begin());
    }
  }
  return p;
}

}  // namespace rondo::test
