#include <rondo/backends/cpu/tile_program.h>

#include <algorithm>
#include <optional>

#include <rondo/backends/cpu/tile_ops.h>
#include <rondo/graph/error.h>
#include <rondo/graph/tensor.h>

namespace rondo::cpu {
namespace {

// Picoseconds an element, f32 with AVX-512; only the order of magnitude counts.
constexpr int64_t kScalarCost = 5000, kFunctionCost = 200, kSimpleCost = 50;
constexpr Fn kFunctions[] = {Fn::kExp, Fn::kExpm1, Fn::kLog, Fn::kLog1p, Fn::kTanh, Fn::kSigmoid};

// The scalar meaning, element by element: integers, booleans, and functions that have no vector
// code.
template <class T, class Wide = T>
void scalar(Fn fn, const TileRows& t) {
  const int arity = info_of(fn).arity;
  for_rows<T, T>(t, arity, [&](T* y, const T* a, const T* b, const T* c, size_t n) {
    if (arity < 2) b = a;
    if (arity < 3) c = a;
    for (size_t i = 0; i < n; ++i)
      y[i] = static_cast<T>(
          evaluate(fn, static_cast<Wide>(a[i]), static_cast<Wide>(b[i]), static_cast<Wide>(c[i])));
  });
}

template <class To, class From>
void convert(Fn, const TileRows& t) {
  for_rows<To, From>(t, 1, [](To* y, const From* a, const From*, const From*, size_t n) {
    for (size_t i = 0; i < n; ++i) y[i] = static_cast<To>(a[i]);
  });
}

template <class T>
void fill(void* y, double v, size_t n) {
  std::fill_n(static_cast<T*>(y), n, static_cast<T>(v));
}

// All that depends on the dtype in which a program computes.
struct Compute {
  DType dtype;
  TileFn scalar;
  void (*fill)(void* y, double v, size_t n);
  double (*evaluate)(Fn fn, double a, double b,
                     double c);  // of constants, rounded as the steps would
};
const Compute kComputes[] = {
    {f32, scalar<float>, fill<float>,
     [](Fn f, double a, double b, double c) {
       return double{
           evaluate(f, static_cast<float>(a), static_cast<float>(b), static_cast<float>(c))};
     }},
    {f64, scalar<double>, fill<double>,
     [](Fn f, double a, double b, double c) { return evaluate(f, a, b, c); }},
    {i32, scalar<int32_t>, fill<int32_t>, nullptr},
    {i64, scalar<int64_t>, fill<int64_t>, nullptr},
    {boolean, scalar<bool, int32_t>, fill<bool>, nullptr},
};

// Conversions between storage and computation; those of vector code come from the table.
struct Conversion {
  DType to, from;
  TileFn run;
  TileFn TileOps::* vector = nullptr;
};
const Conversion kConversions[] = {
    {f32, boolean, nullptr, &TileOps::bool_to_f32},
    {f64, boolean, nullptr, &TileOps::bool_to_f64},
    {boolean, f32, nullptr, &TileOps::f32_to_bool},
    {boolean, f64, nullptr, &TileOps::f64_to_bool},
    {i32, boolean, convert<int32_t, bool>},
    {i64, boolean, convert<int64_t, bool>},
    {boolean, i32, convert<bool, int32_t>},
    {boolean, i64, convert<bool, int64_t>},
    {f32, bf16, convert<float, BFloat16>},
    {bf16, f32, convert<BFloat16, float>},
    {f32, f16, convert<float, Float16>},
    {f16, f32, convert<Float16, float>},
    {f64, f32, convert<double, float>},
    {f32, f64, convert<float, double>},
};

// What the operands and results are computed in.
DType compute_type(std::span<const DType> inputs, std::span<const DType> outputs) {
  for (const auto types : {inputs, outputs}) {
    for (const DType t : types) {
      if (t != boolean) return is_half(t) ? f32 : t;
    }
  }
  return boolean;
}

// What a step reads, and as what it runs: itself, or together with a step that only it reads.
struct Reads {
  TileFn pair = nullptr;
  int32_t a = -1, b = -1, c = -1;
};

static_assert(static_cast<int>(Inner::kMul) == static_cast<int>(Outer::kMul));

std::optional<Inner> as_inner(Fn fn) {
  if (fn == Fn::kAdd) return Inner::kAdd;
  if (fn == Fn::kSub) return Inner::kSub;
  if (fn == Fn::kMul) return Inner::kMul;
  return std::nullopt;
}

// Which simple steps take in another: what makes a number that is no result and is read once. Sums
// and products are the same whichever operand comes first.
std::vector<Reads> pair_up(const Program& program, const std::vector<bool>& live,
                           const std::vector<bool>& folds, const PairTable& pairs,
                           std::vector<bool>& taken_in) {
  const size_t count = program.code.size();
  std::vector<int> uses(count, 0);
  std::vector<Reads> reads(count);
  for (size_t i = 0; i < count; ++i) {
    const Instruction& in = program.code[i];
    reads[i] = {nullptr, in.a, in.b, in.c};
    for (const int32_t k : {in.a, in.b, in.c}) {
      if (live[i] && k >= 0) ++uses[static_cast<size_t>(k)];
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const Instruction& in = program.code[i];
    const auto outer = as_inner(in.fn);
    if (!live[i] || !outer) continue;
    for (const bool left : {true, false}) {
      const int32_t k = left ? in.a : in.b;
      const auto s = static_cast<size_t>(k);
      const auto inner = as_inner(program.code[s].fn);
      if (!inner || !folds[s] || uses[s] != 1 || reads[s].pair != nullptr) continue;
      const Outer o = *outer == Inner::kSub && !left ? Outer::kFrom : static_cast<Outer>(*outer);
      reads[i] = {pairs[static_cast<size_t>(*inner)][static_cast<size_t>(o)], program.code[s].a,
                  program.code[s].b, left ? in.b : in.a};
      taken_in[s] = true;
      break;
    }
  }
  return reads;
}

}  // namespace

TileProgram::TileProgram(const Program& program, std::span<const int32_t> results,
                         std::span<const DType> inputs, std::span<const DType> outputs) {
  build(program, results, inputs, outputs);
}

TileProgram::TileProgram(const Program& program, std::span<const DType> inputs, DType output) {
  const auto last = static_cast<int32_t>(program.code.size()) - 1;
  build(program, {&last, 1}, inputs, {&output, 1});
}

// Places in a frame: operands, results, constants, then slots for what lives between the steps.
void TileProgram::build(const Program& program, std::span<const int32_t> results,
                        std::span<const DType> inputs, std::span<const DType> outputs) {
  const DType type = compute_type(inputs, outputs);
  const Compute& compute = *std::find_if(std::begin(kComputes), std::end(kComputes),
                                         [&](const Compute& c) { return c.dtype == type; });
  const TileOps& ops = tile_ops();
  const auto conversion = [&](DType to, DType from) -> TileFn {
    for (const Conversion& c : kConversions) {
      if (c.to == to && c.from == from) return c.vector != nullptr ? ops.*c.vector : c.run;
    }
    return nullptr;
  };
  const auto function = [&](Fn fn) -> TileFn {
    const TileFn vector = type == f32   ? ops.f32[static_cast<size_t>(fn)]
                          : type == f64 ? ops.f64[static_cast<size_t>(fn)]
                                        : nullptr;
    return vector != nullptr ? vector : compute.scalar;
  };
  inputs_ = inputs.size();
  outputs_ = outputs.size();
  input_types_.assign(inputs.begin(), inputs.end());
  const size_t count = program.code.size();

  // What is constant, how often each step is used, and for the last time where.
  std::vector<std::optional<double>> constant(count);
  std::vector<size_t> last_use(count, 0);
  std::vector<bool> live(count, false);
  for (const int32_t r : results) live[static_cast<size_t>(r)] = true;
  for (size_t i = count; i-- > 0;) {
    const Instruction& in = program.code[i];
    if (!live[i]) continue;
    for (const int32_t k : {in.a, in.b, in.c}) {
      if (k >= 0) live[static_cast<size_t>(k)] = true;
    }
  }
  std::vector<bool> is_result(count, false), folds(count, false), taken_in(count, false);
  for (const int32_t r : results) is_result[static_cast<size_t>(r)] = true;
  for (size_t i = 0; i < count; ++i) {
    const Instruction& in = program.code[i];
    const auto value = [&](int32_t k) {
      return k < 0 ? std::optional<double>(0) : constant[static_cast<size_t>(k)];
    };
    if (in.fn == Fn::kConstant) {
      constant[i] = in.constant;
    } else if (in.fn != Fn::kInput && compute.evaluate != nullptr && value(in.a) && value(in.b) &&
               value(in.c)) {
      constant[i] = compute.evaluate(in.fn, *value(in.a), *value(in.b), *value(in.c));
    }
    folds[i] = live[i] && !constant[i] && !is_result[i];
  }
  const PairTable no_pairs{};
  const PairTable& pairs = type == f32 ? ops.f32_pairs : type == f64 ? ops.f64_pairs : no_pairs;
  std::vector<bool> paired = live;
  for (size_t i = 0; i < count; ++i) {
    if (constant[i] || pairs[0][0] == nullptr) paired[i] = false;
  }
  const std::vector<Reads> reads = pair_up(program, paired, folds, pairs, taken_in);
  for (size_t i = 0; i < count; ++i) {
    if (constant[i] || taken_in[i]) continue;
    for (const int32_t k : {reads[i].a, reads[i].b, reads[i].c}) {
      if (k >= 0) last_use[static_cast<size_t>(k)] = i;
    }
  }

  std::vector<std::pair<size_t, double>> constants;  // step, value
  constexpr size_t kNowhere = ~size_t{0};
  std::vector<size_t> place(count, kNowhere);
  for (size_t i = 0; i < count; ++i) {
    if (!live[i] || !constant[i] || (last_use[i] == 0 && !is_result[i])) continue;
    place[i] = inputs_ + outputs_ + constants.size();
    constants.emplace_back(i, *constant[i]);
  }
  constant_count_ = constants.size();
  const size_t first_slot = inputs_ + outputs_ + constant_count_;
  std::vector<bool> taken;
  const auto take_slot = [&] {
    const auto at =
        static_cast<size_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
    if (at == taken.size()) taken.push_back(false);
    taken[at] = true;
    return first_slot + at;
  };
  const auto emit = [&](TileFn run, Fn fn, size_t y, size_t a, size_t b, size_t c) {
    if (run == nullptr || std::max({y, a, b, c}) >= kMaxPlaces) {
      fits_ = false;
      return;
    }
    steps_.push_back({run, fn, static_cast<uint8_t>(y), static_cast<uint8_t>(a),
                      static_cast<uint8_t>(b), static_cast<uint8_t>(c)});
    const bool function_call =
        std::find(std::begin(kFunctions), std::end(kFunctions), fn) != std::end(kFunctions);
    cost_ += run == compute.scalar ? kScalarCost : function_call ? kFunctionCost : kSimpleCost;
  };
  // A result whose storage is what the program computes in is computed in place.
  const auto result_place = [&](size_t i) {
    for (size_t r = 0; r < results.size(); ++r) {
      if (results[r] == static_cast<int32_t>(i) && outputs[r] == type) return inputs_ + r;
    }
    return kNowhere;
  };
  for (size_t i = 0; i < count; ++i) {
    const Instruction& in = program.code[i];
    if (!live[i] || constant[i] || taken_in[i]) continue;
    if (in.fn == Fn::kInput) {
      const auto k = static_cast<size_t>(in.input);
      if (inputs[k] == type) {
        place[i] = k;
      } else {
        place[i] = take_slot();
        emit(conversion(type, inputs[k]), Fn::kInput, place[i], k, k, k);
      }
    } else {
      const Reads& from = reads[i];
      const auto of = [&](int32_t k) { return place[static_cast<size_t>(k < 0 ? from.a : k)]; };
      const size_t a = of(from.a), b = of(from.b), c = of(from.c);
      // An operand that is used for the last time gives up its slot to the result: equal places are
      // read first.
      for (const int32_t k : {from.a, from.b, from.c}) {
        if (k < 0) continue;
        const auto s = static_cast<size_t>(k);
        if (last_use[s] == i && place[s] >= first_slot && !is_result[s])
          taken[place[s] - first_slot] = false;
      }
      place[i] = result_place(i);
      if (place[i] == kNowhere) place[i] = take_slot();
      emit(from.pair != nullptr ? from.pair : function(in.fn), in.fn, place[i], a, b, c);
    }
  }
  for (size_t r = 0; r < results.size(); ++r) {
    const size_t from = place[static_cast<size_t>(results[r])];
    if (from == inputs_ + r) continue;
    emit(outputs[r] == type ? function(Fn::kInput) : conversion(outputs[r], type), Fn::kInput,
         inputs_ + r, from, from, from);
  }
  slots_ = taken.size();
  if (first_slot + slots_ > kMaxPlaces) fits_ = false;
  element_ = size_of(type);
  while (tile_ > kShortestTile && slots_ * element_ * static_cast<size_t>(tile_) > kScratchBytes)
    tile_ /= 2;
  slot_bytes_ = element_ * static_cast<size_t>(tile_);
  if (slots_ * slot_bytes_ > kScratchBytes) fits_ = false;
  if (!fits_ || constants.empty()) return;
  constants_ = allocate_aligned(constants.size() * slot_bytes_);
  for (size_t i = 0; i < constants.size(); ++i)
    compute.fill(constants_.get() + i * slot_bytes_, constants[i].second,
                 static_cast<size_t>(tile_));
}

TileProgram::Frame::Frame(const TileProgram& p, std::byte* scratch) : outputs_at_(p.inputs_) {
  TileRows::Side* at = at_.data() + p.inputs_ + p.outputs_;
  for (size_t i = 0; i < p.constant_count_; ++i)
    *at++ = {p.constants_.get() + i * p.slot_bytes_, 0};
  for (size_t i = 0; i < p.slots_; ++i) *at++ = {scratch + i * p.slot_bytes_, 0};
}

void TileProgram::run(Frame& frame, int64_t n, int64_t rows) const {
  const auto width = static_cast<size_t>(n);
  // Constants are the same everywhere, so that their rows may follow each other as those of slots.
  for (size_t i = inputs_ + outputs_; i < inputs_ + outputs_ + constant_count_ + slots_; ++i)
    frame.at_[i].step = width * element_;
  for (const Step& s : steps_)
    s.run(s.fn, {frame.at_[s.y], frame.at_[s.a], frame.at_[s.b], frame.at_[s.c], width,
                 static_cast<size_t>(rows)});
}

}  // namespace rondo::cpu
