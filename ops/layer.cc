#include <rondo/ops/layer.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/layer_op.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo::rnn {
namespace {

using namespace rnn_internal;

std::string label(const LayerOptions& o) {
  return o.name.empty() ? "[layer] " : cat("[layer \"", o.name, "\"] ");
}

std::string format_of(const LayerOptions& o) {
  return std::string(name_of(kRnnDataFormatNames, static_cast<int>(o.data_format), "layer"));
}

Var time_major(const Var& x, const LayerOptions& o, Site at) {
  const std::string format = format_of(o);
  if (!x) fail(Fault::kArgument, "layer.x.missing", label(o), "x is an empty Var", built_at(at));
  const size_t least = format == "TNS" ? 2 : 3;
  if (x.rank() < least || (least == 3 && x.rank() != 3)) {
    fail(Fault::kArgument, "layer.x.rank", label(o), "x has shape ", to_string(x.shape()),
         ", but must be ", least == 2 ? "[T,B,...]" : sequence_axes(format, "I"),
         " in data_format ", format, built_at(at));
  }
  return to_time_major(x, format);
}

// Equal, or to be compared once symbols are bound.
bool may_be(const ValueType& t, const ValueType& want) {
  bool ok = t.dtype == want.dtype && t.shape.size() == want.shape.size();
  for (size_t a = 0; ok && a < t.shape.size(); ++a) {
    const Dim difference = t.shape[a] - want.shape[a];
    ok = !difference.is_constant() || difference.constant() == 0;
  }
  return ok;
}

struct Direction {
  Var y;
  Vars last;
};
Direction run(const Var& x, const Vars& init, const Cell& cell, const LayerOptions& o,
              const Var& lengths, bool reverse, const std::string& name, Site at) {
  bool output = false;
  const RecurrenceResult r = recurrence(
      {.states = init,
       .xs = {x},
       .end = lengths,
       .reverse = reverse,
       .origin = "layer",
       .name = name},
      [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
        Step next = cell(xs[0], s);
        if (next.state.size() != s.size())
          fail(Fault::kArgument, "layer.cell.state", label(o), "the cell gives ", next.state.size(),
               " states, but init has ", s.size(), built_at(at));
        for (size_t k = 0; k < s.size(); ++k) {
          if (!next.state[k] || !may_be(next.state[k].type(), s[k].type()))
            fail(Fault::kArgument, "layer.cell.state", label(o), "the cell's state ", k, " is ",
                 next.state[k] ? next.state[k].type().str() : "empty", ", but init fixed it as ",
                 s[k].type().str(),
                 next.state[k] && next.state[k].rank() > s[k].rank()
                     ? "; a sequence [T,B,...] of the graph around the cell comes in by per_step(v)"
                     : "",
                 built_at(at));
        }
        output = static_cast<bool>(next.output);
        if (output && (next.output.rank() == 0 || !(next.output.dim(0) == xs[0].dim(0))))
          fail(Fault::kArgument, "layer.cell.output", label(o), "the cell's output is ",
               next.output.type().str(),
               ", but its first axis must be the rows of x; per_row(v) gives the rows of a Var "
               "around the cell",
               built_at(at));
        const bool flat = o.data_format != RnnDataFormat::TNS;
        if (output && (flat ? next.output.rank() != 2
                            : o.direction_mode == BIDIR_CONCAT && next.output.rank() < 2))
          fail(Fault::kArgument, "layer.cell.output", label(o), "the cell's output is ",
               next.output.type().str(), ", but must be [B,",
               flat ? "I] in data_format " : "...,I] in ",
               flat ? format_of(o) : "BIDIR_CONCAT, which joins its last axis", built_at(at));
        return {.states = std::move(next.state), .ys = output ? Vars{next.output} : Vars{}};
      },
      at);
  return {output ? r.ys[0] : Var(), r.finals};
}

void check_init(const Vars& init, const Var& x, const LayerOptions& o, Site at) {
  for (size_t k = 0; k < init.size(); ++k) {
    if (!init[k])
      fail(Fault::kArgument, "layer.init.missing", label(o), "init ", k,
           " is an empty Var; zero_state gives zeros", built_at(at));
    const Dim difference = init[k].rank() == 0 ? Dim(-1) : init[k].dim(0) - x.dim(1);
    // Two symbols may be one number; but of x in NTS those of time come of a forgotten format.
    const bool swapped = o.data_format == RnnDataFormat::NTS && init[k].rank() > 0 &&
                         init[k].dim(0) == x.dim(0) && x.dim(0) != x.dim(1);
    if (swapped || (difference.is_constant() && difference.constant() != 0)) {
      fail(Fault::kArgument, "layer.init.dim", label(o), "init ", k, " has shape ",
           to_string(init[k].shape()), ", but axis 0 must be B = ", x.dim(1).str(),
           ", which x fixed", swapped ? "; of x in NTS it is zero_state(x, width, NTS)" : "",
           built_at(at));
    }
  }
}

}  // namespace

LayerResult layer(const Var& x, const Vars& init, const Cell& cell, const LayerOptions& options,
                  Site at) {
  return rnn_internal::run_layer("layer", x, init, cell, options, at);
}

}  // namespace rondo::rnn

namespace rondo::rnn_internal {

using namespace rnn;

LayerResult run_layer(std::string_view op, const Var& given, const Vars& init, const Cell& cell,
                      const LayerOptions& o, Site at) {
  const Var x = time_major(given, o, at);
  check_init(init, x, o, at);
  const bool both = is_bidirectional(o.direction_mode);
  const bool extra = o.direction_mode == BIDIR_EXTRA_DIM;
  if (!cell || (both && !o.backward))
    fail(Fault::kArgument, both ? "layer.backward.missing" : "layer.cell.missing", label(o),
         both ? "direction_mode is bidirectional: give .backward, the cell of the other direction"
              : "the cell is empty",
         built_at(at));
  if (extra && o.data_format != RnnDataFormat::TNS)
    fail(Fault::kArgument, "layer.data_format.direction", label(o),
         "BIDIR_EXTRA_DIM gives [T,2,B,...]"
         " and needs data_format TNS, got ",
         format_of(o), built_at(at));
  Var lengths = o.lengths;
  if (lengths) {
    const Dim difference = lengths.rank() == 1 ? lengths.dim(0) - x.dim(1) : Dim(-1);
    if (!is_integer(lengths.dtype()) || (difference.is_constant() && difference.constant() != 0))
      fail(Fault::kArgument, "layer.lengths.type", label(o), "lengths is ", lengths.type().str(),
           ", but must be i32 or i64 [B] with B = ", x.dim(1).str(), ", which x fixed",
           built_at(at));
  }
  if (lengths) lengths = nn::check_range(lengths, 0, x.dim(0), cat(op, ".lengths"), "T of x", at);

  if (!both) {
    Direction d = run(x, init, cell, o, lengths, o.direction_mode == BWD, o.name, at);
    return {d.y ? from_time_major(d.y, format_of(o)) : Var(), std::move(d.last)};
  }
  const Vars& back_init = o.backward_init.empty() ? init : o.backward_init;
  check_init(back_init, x, o, at);
  const auto part = [&](const char* half) { return o.name.empty() ? "" : cat(o.name, "/", half); };
  const Direction f = run(x, init, cell, o, lengths, false, part("forward"), at);
  const Direction b = run(x, back_init, o.backward, o, lengths, true, part("backward"), at);
  if (f.last.size() != b.last.size() || !f.y != !b.y)
    fail(Fault::kArgument, "layer.backward.state", label(o),
         "the two cells differ in their number of states, or in having an output", built_at(at));
  const auto alike = [&](const ValueType& a, ValueType b, bool joined) {
    if (joined && !b.shape.empty() && a.shape.size() == b.shape.size())
      b.shape.back() = a.shape.back();
    return may_be(a, b);
  };
  bool fit = !f.y || alike(f.y.type(), b.y.type(), o.direction_mode == BIDIR_CONCAT);
  for (size_t k = 0; fit && k < f.last.size(); ++k)
    fit = alike(f.last[k].type(), b.last[k].type(), false);
  if (!fit)
    fail(Fault::kArgument, "layer.backward.state", label(o),
         "the two cells differ in the shape of a state or of the output",
         f.y ? cat(": y is ", f.y.type().str(), " and ", b.y.type().str()) : "", built_at(at));
  const auto pair = [&](const Var& v, const Var& w, int64_t axis) {
    return concat<Var>({expand_dims(v, axis, at), expand_dims(w, axis, at)}, axis, at);
  };
  LayerResult r;
  r.last = Vars().described("last states, as many as first ones were given");
  for (size_t k = 0; k < f.last.size(); ++k) r.last.push_back(pair(f.last[k], b.last[k], 0));
  if (!f.y) return r;
  r.y = extra                              ? pair(f.y, b.y, 1)
        : o.direction_mode == BIDIR_CONCAT ? concat<Var>({f.y, b.y}, -1, at)
                                           : f.y + b.y;
  r.y = from_time_major(r.y, format_of(o));
  return r;
}

}  // namespace rondo::rnn_internal

namespace rondo::rnn {

Var zoneout(const Var& next, const Var& last, double rate, Site at) {
  if (!(rate >= 0 && rate < 1))
    fail(Fault::kArgument, "zoneout.rate.range", "[zoneout] rate is ", rate,
         ", but must be in [0, 1)", built_at(at));
  // Dropout of ones gives 0 or 1 / (1 - rate) in training, and 1 otherwise.
  const Var m = nn::dropout(fill_like(next, 1, at), rate, at) * (1 - rate);
  return m * next + (1 - m) * last;
}

Var zero_state(const Var& x, Dim width, RnnDataFormat format, Site at) {
  if (width.is_constant() && width.constant() < 1)
    fail(Fault::kArgument, "zero_state.width.range", "[zero_state] width is ", width,
         ", but must be at least 1: it is the number of units of the state", built_at(at));
  const LayerOptions o{.data_format = format};
  const Var t = time_major(x, o, at);
  return fill(t.graph(), x.dtype(), {t.dim(1), std::move(width)}, 0, at);
}

}  // namespace rondo::rnn
