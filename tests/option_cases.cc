#include <algorithm>
#include <cmath>

#include "option_cases.h"
#include "registry_samples.h"

#include <rondo/ops/rnn.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::test {
namespace {

constexpr int64_t kI = 3, kH = 2, kP = 1;

template <size_t N>
std::string name_at(const std::array<std::string_view, N>& names, size_t i) {
  return std::string(names.at(i));
}

int64_t steps_of(const Picked& v) { return v("steps") == 0 ? 3 : 1; }
int64_t batch_of(const Picked& v) { return v("batch") == 0 ? 3 : 1; }

// Axes of x in a layout.
Dims sequence(std::string_view format, int64_t t, int64_t b, int64_t n) {
  if (format == "NTS") return {b, t, n};
  if (format == "NST") return {b, n, t};
  return {t, b, n};
}

// Lengths of the rows: none given, all steps, fewer in no order, the same as i64, and a row with no
// step.
enum Lengths : size_t { kNoLengths, kFull, kUnordered, kUnordered64, kWithEmpty };

Tensor lengths_of(size_t level, int64_t steps, int64_t batch) {
  if (level == kNoLengths) return {};
  std::vector<int64_t> n = level == kFull        ? std::vector<int64_t>{3, 3, 3}
                           : level == kWithEmpty ? std::vector<int64_t>{0, 2, 3}
                                                 : std::vector<int64_t>{2, 1, 3};
  n.resize(static_cast<size_t>(batch));
  for (int64_t& v : n) v = std::min(v, steps);
  const Tensor t = Tensor::of<int64_t>({batch}, n);
  return level == kUnordered64 ? t : t.to(i32);
}

// Fewer than all steps there are only where there are several.
bool lengths_fit(const Picked& v) {
  const bool fewer = v("lengths") == kUnordered || v("lengths") == kUnordered64;
  return !(fewer && v("steps") == 1);
}

// ---- gru ----

void fill_gru(OptionCase& c, const Picked& v) {
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{b, kI}, {b, kH}, {kI + kH, 2 * kH}, {kI + kH, kH}}) c.give(dims);
  c.give({2 * kH}, v("ru_bias") != 0);
  c.give({kH}, v("c_bias") != 0);
}

void fill_gru_layer(OptionCase& c, const Picked& v) {
  c.set("linear_before_reset", v("reset_after") != 0);
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{steps_of(v), b, kI}, {b, kH}, {kI, 3 * kH}, {kH, 3 * kH}})
    c.give(dims);
  c.give({3 * kH}, v("biases") != 0);
}

// ---- lstm_cell, lstm_block ----

// Peepholes: off, on, or given while off.
const std::vector<Factor> kBlockFactors{
    {"batch", 2}, {"peepholes", 3}, {"clip", 3}, {"forget_bias", 2}, {"bias", 2}};

void give_block_weights(OptionCase& c, const Picked& v) {
  c.set("peep_hole", v("peepholes") == 1);
  c.set("clipping_cell_value", v("clip") == 0 ? 0.0 : v("clip") == 1 ? 0.4 : -1.0);
  c.set("forget_bias", v("forget_bias") != 0 ? 0.7 : 0.0);
  c.give({kI + kH, 4 * kH});
  for (int k = 0; k < 3; ++k) c.give({kH}, v("peepholes") != 0);
  c.give({4 * kH}, v("bias") != 0);
}

void fill_lstm_cell(OptionCase& c, const Picked& v) {
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{b, kI}, {b, kH}, {b, kH}}) c.give(dims);
  give_block_weights(c, v);
}

// One length for all rows: none, 0, fewer than all steps, all, all as i64.
void fill_lstm_block(OptionCase& c, const Picked& v) {
  const int64_t t = v("steps") == 0 ? 4 : 1, b = batch_of(v);
  const std::string format = name_at(kRnnDataFormatNames, v("format"));
  c.set("data_format", format);
  c.give(sequence(format, t, b, kI));
  c.give({b, kH}, v("c_last") != 0);
  c.give({b, kH}, v("y_last") != 0);
  give_block_weights(c, v);
  const int64_t lengths[] = {0, 0, 2, t, t};
  const Tensor length = Tensor::of<int64_t>({}, {lengths[v("length")]});
  c.give_value(v("length") == 0 ? Tensor() : v("length") == 4 ? length : length.to(i32));
}

std::vector<Factor> block_factors() {
  std::vector<Factor> r{{"format", 3}, {"steps", 2}, {"length", 5}, {"c_last", 2}, {"y_last", 2}};
  r.insert(r.end(), kBlockFactors.begin(), kBlockFactors.end());
  return r;
}

// ---- lstmp, lstmp_cell ----

// Projection: off, narrower than the state, as wide, or given while off.
const std::vector<Factor> kProjectedFactors{{"batch", 2},     {"peepholes", 3}, {"projection", 4},
                                            {"cell_clip", 3}, {"proj_clip", 3}, {"forget_bias", 2}};

void fill_projected(OptionCase& c, const Picked& v, const Dims& x) {
  const int64_t b = batch_of(v), p = v("projection") == 1 ? kP : kH;
  const double clips[] = {0, 0.4, -1}, proj_clips[] = {0, 0.2, -1};
  c.set("peep_hole", v("peepholes") == 1);
  c.set("projection", v("projection") == 1 || v("projection") == 2);
  c.set("clipping_cell_value", clips[v("cell_clip")]);
  c.set("clipping_proj_value", proj_clips[v("proj_clip")]);
  c.set("forget_bias", v("forget_bias") != 0 ? -0.5 : 0.0);
  for (const Dims& dims : {x, {b, p}, {b, kH}, {kI, 4 * kH}, {p, 4 * kH}, {4 * kH}}) c.give(dims);
  c.give({3 * kH}, v("peepholes") != 0);
  c.give({kH, p}, v("projection") != 0);
}

std::vector<Factor> with_steps(std::vector<Factor> r) {
  r.push_back({"steps", 2});
  return r;
}

// ---- lstm_layer, lstm_layer_cell ----

const std::vector<Factor> kLayerFactors{
    {"gate", kActivationNames.size()},
    {"cell", kActivationNames.size()},
    {"out", kActivationNames.size()},
    {"numbers", 3},
    {"clip", 2},
    {"biases", 2},
    {"y_last", 2},
    {"c_last", 2},
    {"peephole", 2},
};

// Numbers of the activations: the defaults, and two other sets.
void set_activations(OptionCase& c, const Picked& v) {
  constexpr double kNumbers[2][6] = {{0.35, 0.6, 0.8, 1.3, 0.45, 0.7},
                                     {0.15, -0.3, 1.1, 0.4, 0.9, -0.5}};
  // An activation that is 0 below alpha would leave little to see.
  constexpr double kThreshold[2] = {0.05, -0.1};
  size_t k = 0;
  for (const std::string position : {"gate", "cell", "out"}) {
    const std::string name = name_at(kActivationNames, v(position));
    c.set(position + "_act", name);
    if (v("numbers") == 0) continue;
    const size_t set = v("numbers") - 1;
    c.set(position + "_alpha", name == "THRESHHOLD_RELU" ? kThreshold[set] : kNumbers[set][k]);
    c.set(position + "_beta", kNumbers[set][k + 1]);
    k += 2;
  }
  if (v("clip") != 0) c.set("cell_clip", 0.5);
}

void fill_lstm_layer(OptionCase& c, const Picked& v) {
  const int64_t t = steps_of(v), b = batch_of(v);
  const std::string format = name_at(kDataFormatNames, v("format"));
  const std::string direction = name_at(kDirectionNames, v("direction"));
  c.set("data_format", format);
  c.set("direction_mode", direction);
  set_activations(c, v);
  const size_t returns = v("return") + 1;  // y, last_h, last_c; at least one
  c.set("ret_full_sequence", (returns & 1) != 0);
  c.set("ret_last_h", (returns & 2) != 0);
  c.set("ret_last_c", (returns & 4) != 0);
  const auto give = [&](Dims dims, bool present = true) {
    if (direction.rfind("BIDIR", 0) == 0) dims.insert(dims.begin(), 2);
    c.give(dims, present);
  };
  c.give(sequence(format, t, b, kI));
  give({kI, 4 * kH});
  give({kH, 4 * kH});
  give({4 * kH}, v("biases") != 0);
  c.give_value(lengths_of(v("lengths"), t, b));
  give({b, kH}, v("y_last") != 0);
  give({b, kH}, v("c_last") != 0);
  give({3 * kH}, v("peephole") != 0);
}

bool layer_allows(const Picked& v) {
  constexpr size_t kT2NS = 3, kExtraDim = 4;
  const size_t format = v("format"), direction = v("direction");
  const bool both = format != kOpen && direction != kOpen;
  return lengths_fit(v) && (!both || (format == kT2NS) == (direction == kExtraDim));
}

std::vector<Factor> layer_factors() {
  std::vector<Factor> r{{"format", kDataFormatNames.size()},
                        {"direction", kDirectionNames.size()},
                        {"lengths", 5},
                        {"steps", 2},
                        {"batch", 2},
                        {"return", 7}};
  r.insert(r.end(), kLayerFactors.begin(), kLayerFactors.end());
  return r;
}

// Rows: several, one, or a vector.
void fill_lstm_layer_cell(OptionCase& c, const Picked& v) {
  set_activations(c, v);
  const auto rows = [&](int64_t n, bool present = true) {
    c.give(v("rows") == 2 ? Dims{n} : Dims{v("rows") == 0 ? 3 : 1, n}, present);
  };
  rows(kI);
  c.give({kI, 4 * kH});
  c.give({kH, 4 * kH});
  c.give({4 * kH}, v("biases") != 0);
  rows(kH, v("y_last") != 0);
  rows(kH, v("c_last") != 0);
  c.give({3 * kH}, v("peephole") != 0);
}

std::vector<Factor> layer_cell_factors() {
  std::vector<Factor> r{{"rows", 3}};
  r.insert(r.end(), kLayerFactors.begin(), kLayerFactors.end());
  return r;
}

// ---- sru ----

void fill_sru(OptionCase& c, const Picked& v) {
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{b, kH, steps_of(v)}, {b, kH}, {3 * kH, kH}, {2 * kH}}) c.give(dims);
  c.give({b, kH}, v("mask") != 0);
}

void fill_sru_cell(OptionCase& c, const Picked& v) {
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{b, kH}, {b, kH}, {kH, 3 * kH}, {2 * kH}}) c.give(dims);
}

void fill_sru_bi(OptionCase& c, const Picked& v) {
  const int64_t b = batch_of(v);
  for (const Dims& dims : {Dims{steps_of(v), b, 2 * kH}, {b, 2 * kH}, {2 * kH, 6 * kH}, {4 * kH}})
    c.give(dims);
  c.give({b, 2 * kH}, v("mask") != 0);
}

// ---- rnn ----

constexpr size_t kLstm = 2;  // in RnnMode and its names

// Between layers: nothing, dropout that does not act, that draws, that is given its mask, and a
// mask alone.
enum Dropout : size_t { kNone, kAsleep, kDrawn, kMasked, kMaskAlone };

Tensor mask_of(const Dims& dims, double p, uint64_t seed) {
  Tensor m = draw(dims, f64, 0, 1, seed);
  for (int64_t i = 0; i < m.size(); ++i)
    m.mutable_data<double>()[i] = m.at(i) < p ? 0 : 1 / (1 - p);
  return m;
}

void fill_rnn(OptionCase& c, const Picked& v) {
  constexpr std::string_view kModes[] = {"rnn_relu", "rnn_tanh", "lstm", "gru"};
  constexpr double kP = 0.4;
  const int64_t t = steps_of(v), b = batch_of(v), h = v("units") == 0 ? 2 : 3;
  rnn::RnnConfig config{.state_size = h,
                        .num_layers = static_cast<int64_t>(v("layers")) + 1,
                        .mode = static_cast<rnn::RnnMode>(v("mode")),
                        .bidirectional = v("bidirectional") != 0};
  c.set("state_size", h);
  c.set("num_layers", config.num_layers);
  c.set("mode", kModes[v("mode")]);
  c.set("bidirectional", config.bidirectional);
  c.set("state_outputs", v("state_outputs") != 0);
  c.set("lstm_state_clip_nan", v("clip_nan") != 0);
  if (v("projection") != 0) {
    config.projection_size = v("projection") == 1 ? 1 : h;
    c.set("projection_size", config.projection_size);
  }
  // None, even, uneven, and one point.
  constexpr double kClips[][2] = {{0, 0}, {-0.3, 0.3}, {-0.15, 0.4}, {0.1, 0.1}};
  if (v("clip") != 0) {
    c.set("lstm_state_clip_min", kClips[v("clip")][0]);
    c.set("lstm_state_clip_max", kClips[v("clip")][1]);
  }
  const size_t dropout = v("dropout");
  if (dropout != kNone && dropout != kMaskAlone) c.set("p", kP);
  if (dropout == kDrawn) c.set("stream", 5);
  c.run = {.training = dropout == kDrawn || dropout == kMasked, .seed = 11};

  const int64_t directions = config.bidirectional ? 2 : 1;
  const int64_t r = v("projection") == 0 ? h : config.projection_size,
                states = config.num_layers * directions;
  c.give({t, b, kI});
  c.give({rnn::rnn_parameter_count(config, kI)});
  c.give({states, b, r});
  c.give({states, b, h}, v("mode") == kLstm);
  c.set("use_sequence_length", v("lengths") != kNoLengths);
  c.give_value(lengths_of(v("lengths"), t, b));
  c.give_value(dropout == kMasked || dropout == kMaskAlone
                   ? mask_of({config.num_layers - 1, t, b, directions * r}, kP, c.seed)
                   : Tensor());
}

bool rnn_allows(const Picked& v) {
  const bool of_lstm = !v.may_be("projection", 0) || !v.may_be("clip", 0);
  return lengths_fit(v) && !(of_lstm && !v.may_be("mode", kLstm));
}

}  // namespace

std::vector<size_t> Family::levels() const {
  std::vector<size_t> r;
  for (const Factor& f : factors) r.push_back(f.levels);
  return r;
}

Rule Family::rule() const {
  if (allows == nullptr) return {};
  return [this](const Choice& choice) { return allows({*this, choice}); };
}

size_t Picked::operator()(std::string_view factor) const {
  for (size_t f = 0; f < choice.size(); ++f) {
    if (family.factors[f].name == factor) return choice[f];
  }
  fail_internal(family.op, " has no factor ", factor);
}

bool Picked::may_be(std::string_view factor, size_t level) const {
  const size_t v = (*this)(factor);
  return v == kOpen || v == level;
}

void OptionCase::give(const Dims& dims, bool present) {
  inputs.push_back(present ? draw(dims, f64, -1, 1, seed * 100 + inputs.size()) : Tensor());
}

// ---- the layers beside the contract ----

namespace {

struct LayerWeight {
  Dims dims;  // of one direction
  bool optional = false;
};

// What they share: format, direction, lengths, first states, with or without what is optional.
std::vector<Factor> with_layer_factors(std::vector<Factor> own) {
  const std::vector<Factor> all{{"format", kRnnDataFormatNames.size()},
                                {"direction", kDirectionNames.size()},
                                {"lengths", 5},
                                {"steps", 2},
                                {"batch", 2},
                                {"first", 2},
                                {"optional", 2}};
  own.insert(own.begin(), all.begin(), all.end());
  return own;
}

bool cell_layer_allows(const Picked& v) {
  constexpr size_t kExtraDim = 4;
  const size_t format = v("format");
  return lengths_fit(v) && !(format != kOpen && format != 0 && v("direction") == kExtraDim);
}

// `low`: the numbers of a relu are kept above its kink.
void fill_cell_layer(OptionCase& c, const Picked& v, const std::vector<LayerWeight>& weights,
                     size_t states, double low = -1) {
  const std::string format = name_at(kRnnDataFormatNames, v("format"));
  const std::string direction = name_at(kDirectionNames, v("direction"));
  const bool both = direction.rfind("BIDIR", 0) == 0;
  const int64_t t = steps_of(v), b = batch_of(v);
  c.set("data_format", format);
  c.set("direction_mode", direction);
  const auto give = [&](Dims dims, bool present, bool halves) {
    if (halves && both) dims.insert(dims.begin(), 2);
    c.inputs.push_back(present ? draw(dims, f64, low, 1, c.seed * 100 + c.inputs.size())
                               : Tensor());
  };
  give(sequence(format, t, b, kI), true, false);
  for (const LayerWeight& w : weights) give(w.dims, !w.optional || v("optional") != 0, true);
  c.give_value(lengths_of(v("lengths"), t, b));
  for (size_t k = 0; k < states; ++k) give({b, kH}, v("first") != 0, true);
}

void fill_lstm_layer_norm(OptionCase& c, const Picked& v) {
  c.set("epsilon", v("epsilon") != 0 ? 0.5 : 1e-2);
  fill_cell_layer(c, v, {{{kI, 4 * kH}}, {{kH, 4 * kH}}, {{4 * kH}, true}, {{4 * kH}, true}}, 2);
}

void fill_gru_layer_norm(OptionCase& c, const Picked& v) {
  c.set("epsilon", v("epsilon") != 0 ? 0.5 : 1e-2);
  const LayerWeight vector{{3 * kH}, true};
  fill_cell_layer(c, v, {{{kI, 3 * kH}}, {{kH, 3 * kH}}, vector, vector, vector, vector}, 1);
}

void fill_ind_rnn(OptionCase& c, const Picked& v) {
  const bool relu = v("activation") == 0;
  c.set("activation", relu ? "RELU" : "TANH");
  fill_cell_layer(c, v, {{{kI, kH}}, {{kH}}, {{kH}, true}}, 1, relu ? 0.1 : -1);
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies{
      {"gru", {{"batch", 2}, {"ru_bias", 2}, {"c_bias", 2}}, fill_gru},
      {"gru_layer",
       {{"steps", 2}, {"batch", 2}, {"reset_after", 2}, {"biases", 2}},
       fill_gru_layer},
      {"lstm_cell", kBlockFactors, fill_lstm_cell},
      {"lstm_block", block_factors(), fill_lstm_block,
       [](const Picked& v) { return !(v("length") == 2 && v("steps") == 1); }},
      {"lstmp_cell", kProjectedFactors,
       [](OptionCase& c, const Picked& v) { fill_projected(c, v, {batch_of(v), kI}); }},
      {"lstmp", with_steps(kProjectedFactors),
       [](OptionCase& c, const Picked& v) {
         fill_projected(c, v, {steps_of(v), batch_of(v), kI});
       }},
      {"lstm_layer", layer_factors(), fill_lstm_layer, layer_allows},
      {"lstm_layer_cell", layer_cell_factors(), fill_lstm_layer_cell},
      {"sru", {{"steps", 2}, {"batch", 2}, {"mask", 2}}, fill_sru},
      {"sru_cell", {{"batch", 2}}, fill_sru_cell},
      {"sru_bi", {{"steps", 2}, {"batch", 2}, {"mask", 2}}, fill_sru_bi},
      {"rnn",
       {{"mode", 4},
        {"layers", 3},
        {"units", 2},
        {"bidirectional", 2},
        {"state_outputs", 2},
        {"projection", 3},
        {"lengths", 4},
        {"clip", 4},
        {"clip_nan", 2},
        {"dropout", 5},
        {"steps", 2},
        {"batch", 2}},
       fill_rnn,
       rnn_allows},
      {"lstm_layer_norm", with_layer_factors({{"epsilon", 2}}), fill_lstm_layer_norm,
       cell_layer_allows},
      {"gru_layer_norm", with_layer_factors({{"epsilon", 2}}), fill_gru_layer_norm,
       cell_layer_allows},
      {"min_gru", with_layer_factors({}),
       [](OptionCase& c, const Picked& v) {
         fill_cell_layer(c, v, {{{kI, 2 * kH}}, {{2 * kH}, true}}, 1);
       },
       cell_layer_allows},
      {"min_lstm", with_layer_factors({}),
       [](OptionCase& c, const Picked& v) {
         fill_cell_layer(c, v, {{{kI, 3 * kH}}, {{3 * kH}, true}}, 1);
       },
       cell_layer_allows},
      {"ind_rnn", with_layer_factors({{"activation", 2}}), fill_ind_rnn, cell_layer_allows},
  };
  return kFamilies;
}

OptionCase case_of(const Family& family, const Choice& choice, uint64_t attempt) {
  OptionCase c{.op = &registry().at(family.op), .seed = 1 + 1000 * attempt, .name = family.op};
  for (const size_t v : choice) c.seed = c.seed * 31 + v;
  family.fill(c, {family, choice});
  for (size_t f = 0; f < choice.size(); ++f)
    c.name += cat(" ", family.factors[f].name, "=", choice[f]);
  return c;
}

std::vector<OptionCase> option_cases(std::string_view op) {
  std::vector<OptionCase> r;
  for (const Family& f : families()) {
    if (!op.empty() && f.op != op) continue;
    for (const Choice& choice : pairwise(f.levels(), f.rule())) r.push_back(case_of(f, choice));
  }
  return r;
}

}  // namespace rondo::test
