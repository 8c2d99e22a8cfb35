// What ops/weights/weights.h refuses: networks that are none, networks that a layout cannot hold,
// and tensors that are not those of the network.
#include <algorithm>
#include <set>

#include <rondo/ops/weights/layouts.h>

namespace rondo::weights_internal {
namespace {

constexpr size_t kMostNames = 12;  // that an error lists

struct Refusal {
  std::string_view rule;
  std::string why;
};

Refusal refusal_of(const Layout& layout, const Network& n) {
  const Kind kind = kind_of(n);
  for (const auto& [kinds, why] : layout.lacks) {
    if ((kinds & kind) != 0) {
      // The GRU is there, only with its reset gate in another place.
      const bool other_gru = (kind & kGru) != 0 && (kinds & kGru) != kGru;
      return {other_gru ? "reset" : "cell", std::string(why)};
    }
  }
  const auto has = [&](auto&& is) {
    return std::any_of(layout.slots.begin(), layout.slots.end(),
                       [&](const Slot& s) { return (s.kinds & kind) != 0 && is(s); });
  };
  if (n.bidirectional &&
      !has([](const Slot& s) { return s.each_direction() || s.stacks_directions(); }))
    return {"direction", "its op runs in one direction; convert each direction by itself"};
  if (n.projection_size != 0 && !has([](const Slot& s) { return s.need == Need::kProjection; }))
    return {"projection", "it has no projection of the output"};
  if (layout.narrow_projection && n.projection_size == n.hidden_size)
    return {"projection", cat("its projection must be narrower than hidden_size = ", n.hidden_size,
                              ", projection_size is ", n.projection_size)};
  if (n.peepholes && !has([](const Slot& s) { return s.need == Need::kPeepholes; }))
    return {"peepholes", "it has no peephole weights"};
  return {};
}

void check_range(std::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  fail(Fault::kArgument, cat("weights.", field, ".range"), "[weights] ", field,
       " of the network is ", value, ", but must be ",
       high == INT64_MAX ? cat("at least ", low) : cat("in [", low, ", ", high, "]"));
}

void need_lstm(std::string_view field, const Network& n) {
  if (n.mode == rnn::RnnMode::lstm) return;
  fail(Fault::kArgument, cat("weights.", field, ".mode"), "[weights] ", field,
       " of the network is set, but only mode lstm has it");
}

std::string names_of(const Tensors& tensors) {
  if (tensors.empty()) return "there are no tensors";
  std::string r = "there are ";
  size_t n = 0;
  for (const auto& [name, tensor] : tensors) {
    if (n == kMostNames) return r + cat(" and ", tensors.size() - n, " more");
    r += (n++ == 0 ? "" : ", ") + name;
  }
  return r;
}

}  // namespace

void fail_missing(const Layout& layout, std::string_view wanted, std::string_view why,
                  const Tensors& tensors) {
  std::string hint = names_of(tensors);
  for (const auto& [name, tensor] : tensors) {
    if (name.size() > wanted.size() && name.ends_with(wanted)) {
      hint = cat("there is '", name, "': weights::under(tensors, \"",
                 name.substr(0, name.size() - wanted.size()), "\") takes off what stands before");
      break;
    }
  }
  fail(Fault::kArgument, "weights.tensors.missing", "[weights] ", layout.title, " needs a tensor '",
       wanted, "' ", why, "; ", hint);
}

void check_network(const Network& n) {
  check_range("mode", static_cast<int64_t>(n.mode), 0, static_cast<int64_t>(rnn::RnnMode::gru));
  check_range("input_size", n.input_size, 1, INT64_MAX);
  check_range("hidden_size", n.hidden_size, 1, INT64_MAX);
  check_range("layers", n.layers, 1, kMostLayers);
  check_range("projection_size", n.projection_size, 0, n.hidden_size);
  if (n.projection_size != 0) need_lstm("projection_size", n);
  if (n.peepholes) need_lstm("peepholes", n);
}

void check_holds(const Layout& layout, const Network& n) {
  const Refusal r = refusal_of(layout, n);
  if (r.why.empty()) return;
  fail(Fault::kArgument, cat("weights.format.", r.rule), "[weights] ", layout.title,
       " cannot hold this network: ", r.why);
}

DType check_tensors(const Layout& layout, const Network& network, const Tensors& tensors) {
  std::vector<Place> wanted;
  if (layout.one_vector) {
    const int64_t n = rnn::rnn_parameter_count(weights::rnn_config(network), network.input_size);
    wanted.push_back({&layout.slots[0], 0, 0, "parameters", {n}, "[N]"});
  } else {
    wanted = places(layout, network);
  }
  const auto given = [&](const Place& p) {
    const auto it = tensors.find(p.name);
    return it == tensors.end() || !it->second ? nullptr : &it->second;
  };
  const bool together = std::any_of(wanted.begin(), wanted.end(), [&](const Place& p) {
    return p.slot->need == Need::kTogether && given(p) != nullptr;
  });
  const std::pair<const std::string, Tensor>* first = nullptr;
  std::set<std::string_view> known;
  for (const Place& p : wanted) {
    known.insert(p.name);
    const Tensor* t = given(p);
    if (t == nullptr) {
      if (p.slot->need == Need::kOptional || (p.slot->need == Need::kTogether && !together))
        continue;
      fail_missing(layout, p.name, cat(to_string(p.dims), " = ", p.axes), tensors);
    }
    if (t->dims() != p.dims) {
      fail(Fault::kArgument, "weights.tensors.shape", "[weights] ", layout.title, ": '", p.name,
           "' has shape ", to_string(t->dims()), ", but must be ", to_string(p.dims), " = ", p.axes,
           " for input_size ", network.input_size, ", hidden_size ", network.hidden_size,
           network.projection_size == 0 ? "" : cat(", projection_size ", network.projection_size));
    }
    if (!is_float(t->dtype())) {
      fail(Fault::kArgument, "weights.tensors.dtype", "[weights] ", layout.title, ": '", p.name,
           "' is ", t->dtype(), ", but must be f32, f64, bf16 or f16");
    }
    if (first == nullptr) first = &*tensors.find(p.name);
    if (t->dtype() != first->second.dtype()) {
      fail(Fault::kArgument, "weights.tensors.dtype", "[weights] ", layout.title, ": '", p.name,
           "' is ", t->dtype(), ", but must be ", first->second.dtype(), " as '", first->first,
           "' is");
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (known.count(name) != 0) continue;
    fail(Fault::kArgument, "weights.tensors.unknown", "[weights] ", layout.title,
         " has no tensor '", name, "' for this network");
  }
  return first->second.dtype();
}

}  // namespace rondo::weights_internal

namespace rondo::weights {

std::string refusal(Format format, const Network& network) {
  weights_internal::check_network(network);
  return weights_internal::refusal_of(weights_internal::layout_of(format), network).why;
}

}  // namespace rondo::weights
