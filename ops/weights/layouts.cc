#include <rondo/ops/weights/layouts.h>

#include <algorithm>
#include <array>

#include <rondo/graph/checked.h>

namespace rondo::weights_internal {
namespace {

constexpr std::string_view kCudnnGru =
    "its GRU resets after the recurrent product, with a bias inside";
constexpr std::string_view kNd4jGru = "SameDiff's gru resets before the recurrent product";
constexpr std::string_view kNoPlain = "ND4J has no plain recurrent layer";

// Tensors of a primitive of oneDNN; only the weights' tags differ.
std::vector<Slot> onednn(std::string_view layer, std::string_view iter, std::string_view weights,
                         std::string_view projection, std::string_view projected) {
  return {{layer, weights, {{kWx}}, kAll},
          {iter, weights, {{kWh}}, kAll},
          {"l{l}.bias_ldgo", "1,D,g,o", {{kBias}}, kPlain | kLstm | kGruBefore, Need::kOptional},
          {"l{l}.bias_ldgo",
           "1,D,+g,o",
           {{kBias, "zr"}, {kBx, "n"}, {kBh, "n"}},
           kGruAfter,
           Need::kOptional},
          {"l{l}.weights_peephole_ldgo", "1,D,g,o", {{kPeephole}}, kLstm, Need::kPeepholes},
          {projection, projected, {{kWr}}, kLstm, Need::kProjection}};
}

const std::vector<Layout> kLayouts{
    {.format = Format::kNd4j,
     .name = "nd4j",
     .title = "ND4J (lstmLayer, gru)",
     .aliases = {"nd4j_lstmLayer", "nd4j_gru"},
     .lstm = "ifgo",
     .gru = "rzn",
     .peephole = "ifo",
     .slots = {{"l{l}.Wx", "d,i,go", {{kWx}}, kLstm},
               {"l{l}.Wr", "d,i,go", {{kWh}}, kLstm},
               {"l{l}.b", "d,go", {{kBias}}, kLstm, Need::kOptional},
               {"l{l}.Wp", "d,go", {{kPeephole}}, kLstm, Need::kPeepholes},
               {"l{l}.Wx", "i,go", {{kWx}}, kGru},
               {"l{l}.Wh", "i,go", {{kWh}}, kGru},
               {"l{l}.b", "go", {{kBias}}, kGruBefore, Need::kOptional},
               {"l{l}.b", "+go", {{kBias, "rz"}, {kBx, "n"}}, kGruAfter, Need::kOptional}},
     .lacks = {{kPlain, kNoPlain}}},
    {.format = Format::kNd4jCell,
     .name = "nd4j_cell",
     .title = "SameDiff (lstmCell, lstmblock, gru)",
     .aliases = {"nd4j_lstmBlock", "nd4j_lstmBlockCell", "nd4j_gruCell"},
     .lstm = "igfo",
     .gru = "rzn",
     .peephole = "ifo",
     .slots = {{"l{l}.ruWeight", "+i,go", {{kWx}, {kWh}}, kLstm},
               {"l{l}.inputPeepholeWeights", "go", {{kPeephole, "i"}}, kLstm, Need::kPeepholes},
               {"l{l}.forgetPeepholeWeights", "go", {{kPeephole, "f"}}, kLstm, Need::kPeepholes},
               {"l{l}.outputPeepholeWeights", "go", {{kPeephole, "o"}}, kLstm, Need::kPeepholes},
               {"l{l}.bias", "go", {{kBias}}, kLstm, Need::kOptional},
               {"l{l}.ruWeight", "+i,go", {{kWx, "rz"}, {kWh, "rz"}}, kGruBefore},
               {"l{l}.cWeight", "+i,go", {{kWx, "n"}, {kWh, "n"}}, kGruBefore},
               {"l{l}.ruBias", "go", {{kBias, "rz"}}, kGruBefore, Need::kOptional},
               {"l{l}.cBias", "go", {{kBias, "n"}}, kGruBefore, Need::kOptional}},
     .lacks = {{kPlain, kNoPlain}, {kGruAfter, kNd4jGru}}},
    {.format = Format::kNd4jProjected,
     .name = "nd4j_projected",
     .title = "libnd4j (lstmCell, lstm)",
     .aliases = {"nd4j_lstm", "nd4j_lstmCell"},
     .lstm = "ifgo",
     .gru = "",
     .peephole = "ifo",
     .slots = {{"l{l}.Wx", "i,go", {{kWx}}, kLstm},
               {"l{l}.Wh", "i,go", {{kWh}}, kLstm},
               {"l{l}.Wc", "go", {{kPeephole}}, kLstm, Need::kPeepholes},
               {"l{l}.Wp", "i,o", {{kWr}}, kLstm, Need::kProjection},
               {"l{l}.b", "go", {{kBias}}, kLstm, Need::kOptional}},
     .lacks = {{kPlain | kGru, "it is an LSTM only"}}},
    {.format = Format::kPacked,
     .name = "packed",
     .title = "packed (MXNet, cuDNN)",
     .aliases = {"mxnet", "cudnn"},
     .lstm = "ifgo",
     .gru = "rzn",
     .peephole = "",
     .slots = {{"Wx_l{l}{r}", "go,i", {{kWx}}, kAll & ~kGruBefore},
               {"Wh_l{l}{r}", "go,i", {{kWh}}, kAll & ~kGruBefore},
               {"Wr_l{l}{r}", "o,i", {{kWr}}, kLstm, Need::kProjection},
               {"bx_l{l}{r}", "go", {{kBx}}, kAll & ~kGruBefore},
               {"bh_l{l}{r}", "go", {{kBh}}, kAll & ~kGruBefore}},
     .lacks = {{kGruBefore, kCudnnGru}},
     .one_vector = true},
    {.format = Format::kPyTorch,
     .name = "pytorch",
     .title = "PyTorch",
     .aliases = {"torch"},
     .lstm = "ifgo",
     .gru = "rzn",
     .peephole = "",
     .slots = {{"weight_ih_l{l}{r}", "go,i", {{kWx}}, kAll & ~kGruBefore},
               {"weight_hh_l{l}{r}", "go,i", {{kWh}}, kAll & ~kGruBefore},
               {"bias_ih_l{l}{r}", "go", {{kBx}}, kAll & ~kGruBefore, Need::kTogether},
               {"bias_hh_l{l}{r}", "go", {{kBh}}, kAll & ~kGruBefore, Need::kTogether},
               {"weight_hr_l{l}{r}", "o,i", {{kWr}}, kLstm, Need::kProjection}},
     .lacks = {{kGruBefore, kCudnnGru}},
     .narrow_projection = true},
    {.format = Format::kOnnx,
     .name = "onnx",
     .title = "ONNX",
     .aliases = {},
     .lstm = "iofg",
     .gru = "zrn",
     .peephole = "iof",
     .slots = {{"l{l}.W", "D,go,i", {{kWx}}, kAll},
               {"l{l}.R", "D,go,i", {{kWh}}, kAll},
               {"l{l}.B", "D,+go", {{kBx}, {kBh}}, kAll, Need::kOptional},
               {"l{l}.P", "D,go", {{kPeephole}}, kLstm, Need::kPeepholes}},
     .lacks = {}},
    {.format = Format::kKeras,
     .name = "keras",
     .title = "Keras",
     .aliases = {},
     .lstm = "ifgo",
     .gru = "zrn",
     .peephole = "",
     .slots = {{"l{l}.{way}.kernel", "i,go", {{kWx}}, kAll},
               {"l{l}.{way}.recurrent_kernel", "i,go", {{kWh}}, kAll},
               {"l{l}.{way}.bias", "go", {{kBias}}, kAll & ~kGruAfter, Need::kOptional},
               {"l{l}.{way}.bias", "+,go", {{kBx}, {kBh}}, kGruAfter, Need::kOptional}},
     .lacks = {}},
    {.format = Format::kOneDnn,
     .name = "onednn",
     .title = "oneDNN",
     .aliases = {"onednn_ldigo"},
     .lstm = "ifgo",
     .gru = "zrn",
     .peephole = "ifo",
     .slots = onednn("l{l}.weights_layer_ldigo", "l{l}.weights_iter_ldigo", "1,D,i,g,o",
                     "l{l}.weights_projection_ldio", "1,D,i,o"),
     .lacks = {}},
    {.format = Format::kOneDnnLdgoi,
     .name = "onednn_ldgoi",
     .title = "oneDNN (ldgoi)",
     .aliases = {},
     .lstm = "ifgo",
     .gru = "zrn",
     .peephole = "ifo",
     .slots = onednn("l{l}.weights_layer_ldgoi", "l{l}.weights_iter_ldgoi", "1,D,g,o,i",
                     "l{l}.weights_projection_ldoi", "1,D,o,i"),
     .lacks = {}},
};

// An axis as a number, and as it is written.
struct Axis {
  int64_t size = 1;
  std::string text;

  void times(int64_t n, std::string_view name) {
    size = checked_mul(size, n);
    if (n == 1 && name.empty()) return;
    text += cat(text.empty() ? "" : "*", name.empty() ? std::to_string(n) : name);
  }
};

Axis axis_of(std::string_view letters, const Layout& layout, const Piece& piece, Kind kind,
             const Network& network, int64_t layer) {
  Axis a;
  const PartSize size = size_of(piece.part, network, layer);
  for (const char c : letters) {
    if (c == 'g') a.times(static_cast<int64_t>(gates_of(layout, piece, kind).size()), "");
    if (c == 'o') a.times(size.rows, size.row_name);
    if (c == 'i') a.times(size.cols, size.col_name);
    if (c == 'D' || c == 'd') a.times(network.bidirectional ? 2 : 1, "D");
  }
  if (a.text.empty()) a.text = "1";
  return a;
}

void set_shape(Place& p, const Layout& layout, Kind kind, const Network& network) {
  for_each_axis(p.slot->axes, [&](std::string_view letters) {
    if (letters == "d" && !network.bidirectional) return;
    const std::vector<Piece>& pieces = p.slot->pieces;
    Axis a = axis_of(letters, layout, pieces[0], kind, network, p.layer);
    if (letters[0] == '+') {
      for (size_t k = 1; k < pieces.size(); ++k) {
        const Axis more = axis_of(letters, layout, pieces[k], kind, network, p.layer);
        a = {checked_add(a.size, more.size), a.text + "+" + more.text};
      }
    }
    p.dims.push_back(a.size);
    p.axes += cat(p.axes.empty() ? "[" : ",", a.text);
  });
  p.axes += "]";
}

}  // namespace

std::span<const Layout> layouts() { return kLayouts; }

const Layout& layout_of(Format format) {
  const auto it = std::find_if(kLayouts.begin(), kLayouts.end(),
                               [&](const Layout& l) { return l.format == format; });
  if (it == kLayouts.end()) {
    fail(Fault::kArgument, "weights.format.enum", "[weights] a format is ",
         static_cast<int64_t>(format), ", which is no name of Format");
  }
  return *it;
}

Kind kind_of(const Network& network) {
  switch (network.mode) {
    case rnn::RnnMode::lstm:
      return kLstm;
    case rnn::RnnMode::gru:
      return network.reset_after ? kGruAfter : kGruBefore;
    default:
      return kPlain;
  }
}

std::string_view gates_of(Part part, Kind kind) {
  if (part == kWr || kind == kPlain) return "x";
  if (part == kPeephole) return "ifo";
  return kind == kLstm ? "ifgo" : "rzn";
}

std::string_view gates_of(const Layout& layout, const Piece& piece, Kind kind) {
  if (!piece.gates.empty()) return piece.gates;
  if (piece.part == kWr || kind == kPlain) return "x";
  if (piece.part == kPeephole) return layout.peephole;
  return kind == kLstm ? layout.lstm : layout.gru;
}

PartSize size_of(Part part, const Network& n, int64_t layer) {
  const bool projected = n.projection_size != 0;
  const int64_t recurrent = projected ? n.projection_size : n.hidden_size;
  const std::string_view recurrent_name = projected ? "P" : "H";
  switch (part) {
    case kWx:
      if (layer == 0) return {n.hidden_size, n.input_size, "H", "I"};
      if (!n.bidirectional) return {n.hidden_size, recurrent, "H", recurrent_name};
      return {n.hidden_size, checked_mul(2, recurrent), "H", projected ? "2*P" : "2*H"};
    case kWh:
      return {n.hidden_size, recurrent, "H", recurrent_name};
    case kWr:
      return {n.projection_size, n.hidden_size, "P", "H"};
    default:
      return {n.hidden_size, 1, "H", ""};
  }
}

std::string expand(std::string_view name, int64_t layer, int64_t direction) {
  std::string r(name);
  const std::array<std::pair<std::string_view, std::string>, 3> words{
      {{"{l}", std::to_string(layer)},
       {"{r}", direction == 0 ? "" : "_reverse"},
       {"{way}", direction == 0 ? "forward" : "backward"}}};
  for (const auto& [mark, text] : words) {
    if (const size_t at = r.find(mark); at != r.npos) r.replace(at, mark.size(), text);
  }
  return r;
}

std::vector<Place> places(const Layout& layout, const Network& network) {
  const Kind kind = kind_of(network);
  std::vector<Place> r;
  for (int64_t l = 0; l < network.layers; ++l) {
    for (int64_t d = 0; d < (network.bidirectional ? 2 : 1); ++d) {
      for (const Slot& s : layout.slots) {
        if ((s.kinds & kind) == 0 || (d > 0 && !s.each_direction())) continue;
        if (s.need == Need::kProjection && network.projection_size == 0) continue;
        if (s.need == Need::kPeepholes && !network.peepholes) continue;
        r.push_back({&s, l, d, expand(s.name, l, d), {}, {}});
        set_shape(r.back(), layout, kind, network);
      }
    }
  }
  return r;
}

}  // namespace rondo::weights_internal
