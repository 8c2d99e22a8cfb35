#include <rondo/ops/stacked.h>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/rnn_common.h>
#include <rondo/ops/shape.h>

namespace rondo::rnn {
namespace {

using namespace rnn_internal;

std::string label(const StackedOptions& o) {
  return o.name.empty() ? "[stacked] " : cat("[stacked \"", o.name, "\"] ");
}

void check(const Var& x, const std::vector<LayerFunction>& layers, const StackedOptions& o) {
  if (!x) fail(Fault::kArgument, "stacked.x.missing", label(o), "x is an empty Var");
  if (layers.empty())
    fail(Fault::kArgument, "stacked.layers.missing", label(o), "there are no layers");
  for (size_t k = 0; k < layers.size(); ++k) {
    if (!layers[k])
      fail(Fault::kArgument, "stacked.layers.missing", label(o), "layer ", k,
           " is an empty function");
  }
  if (o.residual_from && *o.residual_from >= layers.size())
    fail(Fault::kArgument, "stacked.residual_from.range", label(o), "residual_from is ",
         *o.residual_from, ", but must be below ", layers.size(), ", the number of layers");
  if (!(o.dropout >= 0 && o.dropout < 1))
    fail(Fault::kArgument, "stacked.dropout.range", label(o), "dropout is ", o.dropout,
         ", but must be in [0, 1)");
}

Var dropped(const Var& h, const StackedOptions& o, Site at) {
  if (o.dropout == 0) return h;
  if (!o.variational) return nn::dropout(h, o.dropout, at);
  const std::string_view format =
      name_of(kRnnDataFormatNames, static_cast<int>(o.data_format), "stacked");
  if (o.data_format != RnnDataFormat::TNS && h.rank() != 3)
    fail(Fault::kArgument, "stacked.x.rank", label(o), "variational dropout has an input of shape ",
         to_string(h.shape()), ", but it must be ", sequence_axes(format, "I"), " in data_format ",
         format);
  const Var time_major = to_time_major(h, format);
  return from_time_major(nn::variational_dropout(time_major, o.dropout, at), format);
}

Var call(const LayerFunction& f, size_t k, const Var& h, const StackedOptions& o) {
  Graph g = h.graph();
  while (g.has_parent()) g = g.parent();  // where variables belong
  if (o.name.empty()) return f(h);
  const Graph::Scope stack = g.scope(o.name), layer = g.scope(std::to_string(k));
  return f(h);
}

}  // namespace

Var stacked(const Var& x, const std::vector<LayerFunction>& layers, const StackedOptions& o,
            Site at) {
  check(x, layers, o);
  Var h = x;
  for (size_t k = 0; k < layers.size(); ++k) {
    const Var y = call(layers[k], k, k == 0 ? h : dropped(h, o, at), o);
    if (!y)
      fail(Fault::kArgument, "stacked.layer.output", label(o), "layer ", k,
           " gives an empty Var; did it ask its layer for all steps?");
    const bool residual = o.residual_from && k >= *o.residual_from;
    if (residual && y.shape() != h.shape())
      fail(Fault::kArgument, "stacked.residual.shape", label(o), "layer ", k, " gives ",
           to_string(y.shape()), ", but its input, which residual_from = ", *o.residual_from,
           " adds to it, has shape ", to_string(h.shape()));
    h = residual ? add(y, h, at) : y;
  }
  return h;
}

Var time_distributed(const Var& x, const LayerFunction& f, const Var& given, Site at) {
  if (!x || x.rank() < 2)
    fail(Fault::kArgument, "time_distributed.x.rank", "[time_distributed] x ",
         x ? cat("has shape ", to_string(x.shape())) : "is an empty Var",
         ", but must be [T,B,...]");
  if (!f) fail(Fault::kArgument, "time_distributed.f.missing", "[time_distributed] f is empty");
  const Dim &steps = x.dim(0), &batch = x.dim(1);
  Var inside;  // [T,B], which steps a row has
  if (given) {
    if (given.rank() != 1 || given.shape() != Shape{batch})
      fail(Fault::kArgument, "time_distributed.lengths.dim",
           "[time_distributed] lengths has shape ", to_string(given.shape()), ", but must be ",
           to_string(Shape{batch}), ", B of x");
    const Var lengths = nn::check_range(given, 0, steps, "time_distributed.lengths", "T of x", at);
    inside = less(iota(x.graph(), lengths.dtype(), {steps, 1}, 0, at), lengths, at);
  }
  const auto kept = [&](const Var& v) {
    if (!inside) return v;
    Shape s{steps, batch};
    s.resize(v.rank(), 1);
    return where(reshape(inside, s, at), v, 0, at);
  };
  const auto rows_of = [&](const Var& v, size_t from, Shape leading) {
    leading.insert(leading.end(), v.shape().begin() + static_cast<std::ptrdiff_t>(from),
                   v.shape().end());
    return reshape(v, leading, at);
  };
  const Var y = f(rows_of(kept(x), 2, {steps * batch}));
  if (!y || y.rank() < 1 || y.dim(0) != steps * batch)
    fail(Fault::kArgument, "time_distributed.f.rows", "[time_distributed] f gives ",
         y ? to_string(y.shape()) : "an empty Var",
         ", but its first axis must be that of what it got, ", (steps * batch).str(), " rows");
  return kept(rows_of(y, 1, {steps, batch}));
}

}  // namespace rondo::rnn
