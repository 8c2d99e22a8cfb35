#include <rondo/ops/loss_common.h>

#include <utility>

#include <rondo/ops/elementwise.h>
#include <rondo/ops/loss.h>
#include <rondo/ops/nn.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo {
namespace {

// Stands where something is left out: every loss, and its slope, is finite there.
constexpr double kHarmless = 0.5;

// The axis of the predictions along which a row lies.
size_t row_axis(LossOver over, const Attributes& a, size_t rank) {
  return over == LossOver::kLastAxis ? rank - 1 : axis_index(a.integer("axis"), rank);
}

Shape loss_shape(LossOver over, const Attributes& a, Shape predictions) {
  if (over != LossOver::kElement)
    predictions.erase(predictions.begin() +
                      static_cast<std::ptrdiff_t>(row_axis(over, a, predictions.size())));
  return predictions;
}

bool fits(const InferContext& c, const Shape& weights, const Shape& losses) {
  const size_t extra = losses.size() - weights.size();
  bool ok = weights.size() <= losses.size();
  for (size_t a = 0; ok && a < weights.size(); ++a)
    ok = weights[a] == Dim(1) || c.equal(weights[a], losses[extra + a]);
  return ok;
}

std::vector<ValueType> infer_loss(const InferContext& c, LossOver over) {
  std::vector<ValueType> r = infer_by_signature(c, false);
  const Shape &x = c[0].shape, &labels = c[1].shape;
  const std::string& name = c.signature().inputs[0].name;
  if (over == LossOver::kLastAxis && x.empty())
    c.refuse(name, "rank", name, " is a scalar, but must have a last axis, that of the classes");
  if (over == LossOver::kAxis) c.axis(c.attributes().integer("axis"), x.size());
  const Shape losses = loss_shape(over, c.attributes(), x);
  const bool indices = is_integer(c[1].dtype);
  const Shape& wanted = indices ? losses : x;
  const auto refuse_labels = [&](std::string_view rule) {
    c.refuse("labels", rule, "labels have shape ", to_string(labels), ", but must have ",
             to_string(wanted), ", that of ", name, indices ? " without its last axis" : "");
  };
  if (labels.size() != wanted.size()) refuse_labels("rank");
  for (size_t a = 0; a < labels.size(); ++a) {
    if (!c.equal(labels[a], wanted[a])) refuse_labels("dim");
  }
  if (c.has(2)) {
    const ValueType& w = c[2];
    if (w.dtype != boolean && w.dtype != c[0].dtype)
      c.refuse("weights", "dtype", "weights are ", w.dtype, ", but must be bool, or ", c[0].dtype,
               " as ", name, "; write cast(weights, ", c[0].dtype, ")");
    if (!fits(c, w.shape, losses))
      c.refuse("weights", "broadcast", "weights have shape ", to_string(w.shape),
               ", which cannot be broadcast to that of the losses, ", to_string(losses),
               "; expand_dims(weights, -1) adds a last axis of length 1");
  }
  r[0].shape = c.attributes().text("reduction") == "NONE" ? losses : Shape{};
  return r;
}

Var ratio(const Var& a, const Var& b) {
  const Var none = equal(b, 0);
  return where(none, 0, a / where(none, 1, b));
}

// How many elements a shape has, as a number of `like`'s dtype.
Var count_of(const Shape& s, const Var& like) {
  Dim n(1);
  for (const Dim& d : s) n = n * d;
  return reshape(cast(nn::dimensions(like.graph(), {n}), like.dtype()), {});
}

Var sum_over(const Var& v, const Shape& s) { return sum(v.shape() == s ? v : broadcast_to(v, s)); }

Var reduced(const std::string& reduction, const Var& losses, const Var& weights, const Var& kept) {
  if (reduction == "NONE") return losses;
  Var total = sum(losses);
  if (reduction == "SUM") return total;
  if (!weights || reduction == "MEAN") return total / maximum(count_of(losses.shape(), losses), 1);
  if (reduction == "MEAN_BY_WEIGHT" && weights.dtype() != boolean)
    return ratio(total, sum_over(weights, losses.shape()));
  return total / maximum(sum_over(cast(kept, losses.dtype()), losses.shape()), 1);
}

Vars lower_loss(const Call& c, const LossRow& row) {
  const DType t = c.in(0).dtype();
  // Halves can neither count far nor add up much.
  const auto wide = [](const Var& v) { return v && is_half(v.dtype()) ? cast(v, f32) : v; };
  Var x = wide(c.in(0)), labels = wide(c.in(1));
  const Var weights = wide(c["weights"]);
  Var losses, kept;
  if (!weights) {
    losses = row.formula(c, x, labels);
  } else {
    kept = weights.dtype() == boolean ? weights : not_equal(weights, 0);
    Var of_row = kept;
    if (row.over != LossOver::kElement) {
      Shape s(x.rank() - 1 - kept.rank(), Dim(1));
      s.insert(s.end(), kept.shape().begin(), kept.shape().end());
      s.insert(
          s.begin() + static_cast<std::ptrdiff_t>(row_axis(row.over, c.attributes(), x.rank())),
          Dim(1));
      of_row = reshape(kept, s);
    }
    x = where(of_row, x, kHarmless);
    labels = is_integer(labels.dtype()) ? where(kept, labels, 0) : where(of_row, labels, kHarmless);
    losses = where(kept, row.formula(c, x, labels), 0);
    if (weights.dtype() != boolean) losses = losses * weights;
  }
  const Var y = reduced(c.text("reduction"), losses, weights, kept);
  return {is_half(t) ? cast(y, t) : y};
}

// ---- samples and refusals ---------------------------------------------------------------------

Sample sample_of(const LossRow& row, Dims dims, Sample::Input weights, Attributes attributes,
                 std::string label = {}) {
  Sample s{
      {row.predictions, row.labels, std::move(weights)}, std::move(attributes), std::move(label)};
  s.inputs[0].dims = dims;
  if (is_integer(row.labels.dtype)) dims.pop_back();
  s.inputs[1].dims = std::move(dims);
  return s;
}

const Sample::Input kNoWeights{{}, 0, 0, f64, {}, true};

Sample::Input mask(Dims dims) { return {std::move(dims), 0, 1, boolean, {1, 0, 1, 1, 0, 1}}; }
Sample::Input weights(Dims dims) { return {std::move(dims), 0.5, 1.5}; }

std::vector<Sample> samples_of(const LossRow& row) {
  const bool rows = row.over != LossOver::kElement;
  const auto by = [](std::string_view reduction) { return Attributes{{"reduction", reduction}}; };
  // Those of the losses of predictions [2,3] and [2,3,4].
  const Dims two = rows ? Dims{2} : Dims{2, 3}, three = rows ? Dims{2, 3} : Dims{2, 3, 4};
  std::vector<Sample> r{
      sample_of(row, {2, 3}, kNoWeights, {}),
      sample_of(row, {2, 3, 4}, mask(three), {}, "mask"),
      sample_of(row, {2, 3}, mask({}), by("MEAN_BY_WEIGHT"), "a mask of all or nothing"),
      sample_of(row, {2, 3}, weights(two), by("NONE"), "weights"),
      sample_of(row, {2, 3, 4}, weights({three.back()}), by("MEAN_BY_WEIGHT"), "weights broadcast"),
      sample_of(row, {2, 3}, weights({}), by("SUM"), "one weight"),
      sample_of(row, {2, 3}, mask(rows ? Dims{2} : Dims{2, 1}), by("MEAN"), "mask, mean over all"),
      sample_of(row, {0, 3}, kNoWeights, {}, "over nothing")};
  for (const Attributes& a : row.variants)
    r.push_back(sample_of(row, {3, 2}, kNoWeights, a, "variant"));
  return r;
}

std::vector<RefusedCall> refusals_of(const LossRow& row) {
  const std::string name = parse_signature(row.def.sig).inputs[0].name;
  const Sample good = sample_of(row, {2, 3}, kNoWeights, {});
  const auto with = [&](size_t i, Sample::Input in) {
    Sample s = good;
    s.inputs[i] = std::move(in);
    return s;
  };
  Sample::Input longer = good.inputs[1], deeper = longer;
  ++longer.dims[0];
  deeper.dims.push_back(1);
  std::vector<RefusedCall> r{
      {"labels.rank", with(1, deeper), "labels have other axes than the op asks for"},
      {"labels.dim", with(1, longer), "an axis of labels is not as long as that of " + name},
      {"weights.dtype", with(2, {{}, 0, 1, i32}),
       "weights are neither bool nor of the dtype of " + name},
      {"weights.broadcast", with(2, weights({5})), "weights cannot be broadcast to the losses"}};
  if (row.over == LossOver::kLastAxis)
    r.push_back({name + ".rank", with(0, {{}}), name + " has no last axis"});
  if (row.over == LossOver::kAxis) {
    Sample s = good;
    s.attributes = {{"axis", 2}};
    r.push_back({"axis.range", s, name + " has no such axis"});
  }
  return r;
}

}  // namespace

OpDef loss_op(const LossRow& row) {
  OpDef def = row.def;
  def.attributes.push_back(
      {"reduction",
       "MEAN_BY_NONZERO_WEIGHT_COUNT",
       "what becomes of all w l: they stay apart, or their sum, as it is or divided by how many "
       "there are, by the sum of the weights or by how many weights are not 0; over nothing: 0",
       {kLossReduceNames.begin(), kLossReduceNames.end()}});
  def.doc += cat(
      "\nweights (1 where absent; a mask, or floats) are broadcast to the losses. What has weight "
      "0 is selected away: it may hold NaN",
      is_integer(row.labels.dtype) ? " or a label out of range" : "",
      ", and gives no gradient, to its weight neither.");
  def.infer = [over = row.over](const InferContext& c) { return infer_loss(c, over); };
  def.lower = [row](const Call& c) { return lower_loss(c, row); };
  def.samples = samples_of(row);
  for (RefusedCall& call : refusals_of(row)) def.refuses.push_back(std::move(call));
  return def;
}

}  // namespace rondo
