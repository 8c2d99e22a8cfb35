#include <rondo/ops/segments.h>

#include <algorithm>

#include <rondo/ops/register.h>

namespace rondo {
namespace {

bool names_steps(const Dim& d) {
  const auto names = d.symbols();
  return std::find(names.begin(), names.end(), kSegmentSteps) != names.end();
}

std::vector<ValueType> infer_segments(const InferContext& c) {
  if (c.body() == nullptr) c.refuse("body", "missing", "needs a body");
  const Subgraph& body = *c.body();
  const Shape& extent = c.attributes().shape("extent");
  if (extent.size() != 2 || std::any_of(extent.begin(), extent.end(), [](const Dim& d) {
        return d.is_constant() && d.constant() < 0;
      }))
    c.refuse("extent", "count", "extent must be [T,B], got ", to_string(extent));
  // Sums of these wrap around where they are larger than anything that could be counted.
  for (const char* list : {"states", "xs", "per_segment", "shared", "ys", "sums"}) {
    const auto most = static_cast<int64_t>(c.count() + body.outputs.size());
    if (const int64_t n = c.attributes().integer(list); n > most)
      c.refuse("operands", "arity", list, " is ", n, ", but there are ", c.count(),
               " operands and the body has ", body.outputs.size(), " outputs");
  }
  const SegmentsLayout l(c.attributes());
  if (c.count() != l.operands())
    c.refuse("operands", "arity", "takes ", l.operands(), " operands, got ", c.count());
  const size_t inputs = l.begin() + (c.has(l.begin()) ? 1 : 0) + (c.has(l.end()) ? 1 : 0);
  if (body.inputs.size() != inputs)
    c.refuse("body", "inputs", "the body has ", body.inputs.size(), " inputs, but must have ",
             inputs);
  if (body.outputs.size() != l.states + l.ys + l.sums ||
      std::any_of(body.outputs.begin(), body.outputs.end(), [](Value v) { return !v; }))
    c.refuse("body", "outputs", "the body has ", body.outputs.size(), " outputs, but must have ",
             l.states + l.ys + l.sums, ", all of them there");

  // A type of the body as one of the outer graph; `over_time`: its first axis is that of steps.
  const auto outer = [&](Value v, bool over_time) {
    ValueType t = body.graph.type(v);
    if (over_time && (t.shape.empty() || !(t.shape[0] == Dim::symbol(kSegmentSteps))))
      c.refuse("body", "steps", "a value over time has shape ", to_string(t.shape),
               " in the body, but its first axis must be the steps of a segment");
    if (over_time) t.shape[0] = extent[0];
    if (std::any_of(t.shape.begin(), t.shape.end(), names_steps))
      c.refuse("body", "steps", "a value has shape ", to_string(body.graph.type(v).shape),
               " in the body, but the steps may only be the first axis of xs and ys");
    return t;
  };
  const auto hold = [&](size_t operand, const ValueType& got, const ValueType& want) {
    bool same = got.dtype == want.dtype && got.shape.size() == want.shape.size();
    for (size_t a = 0; same && a < got.shape.size(); ++a)
      same = c.equal(got.shape[a], want.shape[a]);
    if (!same)
      c.refuse("operands", "type", "operand ", operand, " is ", got.str(), ", but must be ",
               want.str());
  };
  for (size_t i = 0, k = 0; i < l.operands(); ++i) {
    if (!c.has(i)) {
      if (i < l.begin())
        c.refuse("operands", "missing", "operand ", i, " is required and was not given");
      continue;
    }
    ValueType want = outer(body.inputs[k++], i >= l.first_x() && i < l.first_per_segment());
    if (i >= l.first_per_segment() && i < l.first_shared())
      want.shape.insert(want.shape.begin(), Dim(c.attributes().integer("count")));
    if (i >= l.begin() && (!is_integer(want.dtype) || want.shape.size() != 1))
      c.refuse("window", "dtype", "begin and end must be integers, one for each row, got ",
               c[i].str());
    hold(i, c[i], want);
    if (i >= l.begin()) hold(i, c[i], {c[i].dtype, {extent[1]}, true});
  }
  std::vector<ValueType> out;
  for (size_t i = 0; i < l.ys; ++i) out.push_back(outer(body.outputs[l.states + i], true));
  for (size_t i = 0; i < l.states; ++i) {
    out.push_back(outer(body.inputs[i], false));
    hold(i, outer(body.outputs[i], false), out.back());
  }
  for (size_t i = 0; i < l.sums; ++i)
    out.push_back(outer(body.outputs[l.states + l.ys + i], false));
  for (size_t i = 0; i < l.states; ++i) {
    out.push_back(out[l.ys + i]);
    out.back().shape.insert(out.back().shape.begin(), Dim(c.attributes().integer("count")));
  }
  return out;
}

}  // namespace

SegmentsLayout::SegmentsLayout(const Attributes& a)
    : states(static_cast<size_t>(a.integer("states"))),
      xs(static_cast<size_t>(a.integer("xs"))),
      per_segment(static_cast<size_t>(a.integer("per_segment"))),
      shared(static_cast<size_t>(a.integer("shared"))),
      ys(static_cast<size_t>(a.integer("ys"))),
      sums(static_cast<size_t>(a.integer("sums"))) {}

Vars SegmentsParts::make(Graph g, std::shared_ptr<const Subgraph> body, Site site) const {
  Vars operands = states;
  for (const Vars* v : {&xs, &per_segment, &shared})
    operands.insert(operands.end(), v->begin(), v->end());
  operands.push_back(begin);
  operands.push_back(end);
  return g.call(registry().at("segments"), operands,
                {{"states", states.size()},
                 {"xs", xs.size()},
                 {"per_segment", per_segment.size()},
                 {"shared", shared.size()},
                 {"ys", ys},
                 {"sums", sums},
                 {"count", count},
                 {"reverse", reverse},
                 {"extent", Shape{steps, rows}}},
                {.body = std::move(body), .site = site});
}

void register_segments(OpRegistry& r) {
  r.add(
      {.name = "segments",
       .sig = "operands[...]:any?* -> results[...]:any*",
       .doc =
           R"(A body of some steps of time, run for one segment of the T steps after the other, or from the last with reverse:
    states, y[t0..t1), sums_j = body(states, x[t0..t1), per_segment[j], shared, begin, end),   t0 = j K,   t1 = min(T, t0 + K),   K = max(ceil(T / count), min(T, ceil(128 / B)))
begin and end reach the body as steps of the segment, cut to [0, t1 - t0]. What the body gives as sums_j is added up over the segments.
Plans are made of such nodes (the pass recompute: a gradient runs its loop again, segment by segment); a program has no need to write one.

Operands in order: states, xs [T,...], per_segment [count,...], shared, begin and end [B]:int. Results: ys [T,...], the final states, the sums,
and the states before each segment [count,...], 0 for those that there are not.)",
       .source = "states kept at the ends of segments: Griewank (1992); Chen et al. (2016), "
                 "arXiv:1604.06174",
       .example = R"(Graph g;
Var x = g.placeholder("x", f32, {"T", "B", 6});
auto w = rnn::lstm_layer_weights(g, "lstm", 6, 8);
Var dx = gradients(sum(square(rnn::lstm_layer(x, {}, w).y)), {x})[0];  // dx: [T,B,6]
Session small(g, {.recompute = true});
std::string how = small.explain({dx}, {{"T", 90}, {"B", 4}});  // two nodes segments)",
       .attributes = {{"states", 0, "carried values", {}, 0},
                      {"xs", 0, "operands with a time axis", {}, 0},
                      {"per_segment", 0, "operands with an axis of segments", {}, 0},
                      {"shared", 0, "other operands", {}, 0},
                      {"ys", 0, "outputs with a time axis", {}, 0},
                      {"sums", 0, "results that are added up over the segments", {}, 0},
                      {"count", 1, "segments at most", {}, 1},
                      {"reverse", false, "from the last segment to the first"},
                      {"extent", Shape{}, "[T,B]"}},
       .infer = infer_segments});
}

}  // namespace rondo
