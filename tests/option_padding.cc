// Steps that a row does not run, under all pairs of options: their inputs and cotangents hold NaN,
// and neither a result nor a gradient may change by a bit.
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "op_run.h"
#include "option_cases.h"
#include "registry_samples.h"

using namespace rondo;
using namespace rondo::test;

namespace {

// The padding of one call. BWD alone has it at the front.
struct Padding {
  Tensor lengths;
  int64_t steps;
  bool front;

  bool at(int64_t t, int64_t b) const {
    const auto n = static_cast<int64_t>(lengths.at(lengths.dims().empty() ? 0 : b));
    return front ? t < steps - n : t >= n;
  }
};

std::optional<size_t> axis_of(const Slot& slot, const std::string& letter) {
  const auto at = std::find(slot.axes.begin(), slot.axes.end(), Dim::symbol("$" + letter));
  if (at == slot.axes.end()) return std::nullopt;
  return static_cast<size_t>(at - slot.axes.begin());
}

// Calls f(element) for each element of padding; none where a tensor has no time.
template <class F>
void for_padding(const Padding& p, const Slot& slot, const Dims& dims, F&& f) {
  const auto time = axis_of(slot, "T"), batch = axis_of(slot, "B");
  if (!time || !batch) return;
  const auto index = [&](int64_t element, size_t axis) {
    for (size_t a = dims.size(); a-- > axis + 1;) element /= dims[a];
    return element % dims[axis];
  };
  const int64_t size = element_count(dims);
  for (int64_t e = 0; e < size; ++e) {
    if (p.at(index(e, *time), index(e, *batch))) f(e);
  }
}

size_t poison(const Padding& p, const Slot& slot, Tensor& t) {
  size_t n = 0;
  for_padding(p, slot, t.dims(), [&](int64_t e) {
    t.mutable_data<double>()[e] = std::numeric_limits<double>::quiet_NaN();
    ++n;
  });
  return n;
}

// The elements of padding that a call has; all that is checked for it.
size_t check_padding(const OptionCase& c, const Padding& p, const Signature& s,
                     const std::string& backend) {
  const OpGraph g = graph_of(*c.op, c.attributes, c.inputs);
  std::vector<Tensor> inputs = c.inputs, cotangents;
  std::vector<size_t> results;
  for (size_t o = 0; o < g.outputs.size(); ++o) {
    if (!g.outputs[o]) continue;
    results.push_back(o);
    cotangents.push_back(draw(bind(g.outputs[o].shape(), {}), f64, -1, 1, 60 + o));
  }
  const auto run = [&] {
    return results_and_gradients(*c.op, c.attributes, inputs, {.backend = backend}, &cotangents,
                                 c.run);
  };
  const std::vector<Tensor> clean = run();
  size_t poisoned = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] && is_float(inputs[i].dtype())) poisoned += poison(p, s.inputs[i], inputs[i]);
  }
  for (size_t k = 0; k < results.size(); ++k)
    poisoned += poison(p, s.outputs[results[k]], cotangents[k]);
  const std::vector<Tensor> got = run();
  REQUIRE(got.size() == clean.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].same_bits(clean[i]));
    // Results, and the gradient by the first operand, the sequence.
    if (i > results.size()) continue;
    const Slot& slot = i < results.size() ? s.outputs[results[i]] : s.inputs[0];
    for_padding(p, slot, got[i].dims(), [&](int64_t e) { CHECK(got[i].at(e) == 0); });
  }
  return poisoned;
}

}  // namespace

TEST_CASE("recurrent ops: padding that holds NaN reaches no result and no gradient",
          "[rnn][padding]") {
  std::map<std::string, size_t> poisoned;
  for (const OptionCase& c : option_cases()) {
    Tensor lengths;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      if (c.op->parsed.inputs[i].type == SlotType::kInt) lengths = c.inputs[i];
    }
    if (!lengths) continue;
    const Signature s =
        c.op->signature(attributes_of(*c.op, {.inputs = {}, .attributes = c.attributes}));
    const AttributeValue* direction = c.attributes.find("direction_mode");
    const Padding p{lengths, c.inputs[0].dims()[axis_of(s.inputs[0], "T").value()],
                    c.op->name == "lstm_layer" && direction != nullptr &&
                        *direction->get<std::string>() == "BWD"};
    for (const char* backend : {"reference", "cpu"}) {
      INFO(c.name << " on " << backend);
      poisoned[c.op->name] += check_padding(c, p, s, backend);
    }
  }
  for (const auto& [op, n] : poisoned) WARN(op << ": " << n << " elements of padding held NaN");
  for (const char* op : {"lstm_layer", "lstm_block", "rnn", "lstm_layer_norm", "min_gru"})
    CHECK(poisoned[op] > 200);
}
