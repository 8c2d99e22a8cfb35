#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include <google/protobuf/io/coded_stream.h>

#include "rondo.pb.h"

#include <rondo/proto/bundle.h>
#include <rondo/proto/container.h>
#include <rondo/proto/crc32c.h>
#include <rondo/proto/wire_scan.h>

namespace rondo {
namespace {

constexpr uint32_t kOpVersion = 1;
constexpr int64_t kMostStreams = int64_t{1} << 62;

// Where in a file something is wrong, from the inside out.
struct Place {
  const Place* outer = nullptr;
  const std::string* graph = nullptr;  // a graph of the bundle
  int node = -1;                       // else a node, and what is known of it
  const proto::NodeProto* proto = nullptr;

  std::string str() const {
    const std::string before = outer == nullptr ? "" : outer->str() + ", ";
    if (graph != nullptr) return cat(before, "graph \"", *graph, "\"");
    return cat(before, "node ", node, proto->name().empty() ? "" : cat(" \"", proto->name(), "\""),
               " (", proto->op(), ")");
  }
};

class Tensors {
 public:
  Tensors(const std::string& path, const Limits& limits) : path_(path), limits_(limits) {}

  // Dtype, shape and length of an entry, checked against each other; nothing is allocated.
  void check(const proto::TensorProto& p) {
    if (p.name().empty()) refuse(p, "name", "has no name");
    Entry e;
    try {
      e.dtype = dtype_from_name(p.dtype());
    } catch (const Error& error) {
      refuse(p, "dtype", error.what());
    }
    auto bytes = static_cast<uint64_t>(size_of(e.dtype));
    bool fits = true;
    for (const int64_t d : p.dims()) {
      if (d < 0 || static_cast<uint64_t>(d) > limits_.dim) {
        refuse(p, "dim", "has a dimension ", d, ", but it must be in [0, ", limits_.dim, "]");
      }
      fits = fits && !__builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes);
    }
    e.dims.assign(p.dims().begin(), p.dims().end());
    if (!fits) refuse(p, "size", "of shape ", to_string(e.dims), " does not fit 64 bits");
    if (bytes != p.length()) {
      refuse(p, "length", "of ", e.dtype, to_string(e.dims), " has ", bytes,
             " bytes, but the file says ", p.length());
    }
    if (!index_.emplace(p.name(), entries_.size()).second) {
      refuse(p, "duplicate", "stands twice in the table");
    }
    entries_.push_back(std::move(e));
  }

  // The memory of entry `i`, to be filled.
  Tensor& allocate(size_t i, const proto::TensorProto& p) {
    Entry& e = entries_[i];
    try {
      e.tensor = Tensor(e.dtype, std::move(e.dims));
    } catch (const Error&) {
      refuse_file(Fault::kUnsupported, path_, "tensor", "memory", "tensor \"", p.name(),
                  "\": no memory for ", p.length(), " bytes");
    }
    return e.tensor;
  }

  void check_content(const Tensor& t, const proto::TensorProto& p) const {
    if (crc32c(t.raw(), t.bytes()) != p.crc32c()) {
      refuse(p, "checksum", "is damaged (CRC32C differs)");
    }
    if (t.dtype() != boolean) return;
    const std::byte* b = t.raw();
    if (std::any_of(b, b + t.bytes(), [](std::byte v) { return v > std::byte{1}; })) {
      refuse(p, "bool", "of bool holds a byte that is neither 0 nor 1");
    }
  }

  const Tensor* find(const std::string& name) const {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &entries_[it->second].tensor;
  }

  std::map<std::string, Tensor> named() const {
    std::map<std::string, Tensor> r;
    for (const auto& [name, i] : index_) {
      if (name[0] != '%') r.emplace(name, entries_[i].tensor);
    }
    return r;
  }

  template <class... A>
  [[noreturn]] void refuse(const proto::TensorProto& p, std::string_view rule,
                           const A&... text) const {
    refuse_file(Fault::kArgument, path_, "tensor", rule, "tensor \"", p.name(), "\" ", text...);
  }

 private:
  struct Entry {
    DType dtype = f32;
    Dims dims;
    Tensor tensor;
  };

  const std::string& path_;
  const Limits& limits_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

class Reader {
 public:
  Reader(const std::string& path, const OpRegistry& registry, const Tensors& tensors)
      : path_(path), registry_(registry), tensors_(tensors) {}

  Bundle bundle(const proto::ModelProto& m) {
    Bundle b;
    for (const proto::GraphProto& p : m.graphs()) {
      const Place place{.graph = &p.name()};
      if (p.name().empty()) refuse(&place, "graph", "name", "has no name");
      Graph g;
      fill(g, p, place);
      if (!b.graphs.emplace(p.name(), std::move(g)).second) {
        refuse(&place, "graph", "duplicate", "stands twice in the file");
      }
    }
    b.attributes = attributes(m.attributes(), nullptr);
    b.tensors = tensors_.named();
    return b;
  }

 private:
  template <class... A>
  [[noreturn]] void refuse(const Place* place, std::string_view section, std::string_view rule,
                           const A&... text) const {
    refuse_file(Fault::kArgument, path_, section, rule, place == nullptr ? "" : place->str() + ": ",
                text...);
  }

  // Runs what may refuse for reasons of the graph's own, and adds path and place.
  template <class F>
  auto at(const Place* place, std::string_view section, std::string_view rule, F f) const {
    try {
      return f();
    } catch (const Error& e) {
      refuse_file(e.fault(), path_, section, rule, place == nullptr ? "" : place->str() + ": ",
                  e.what(), " (", e.code(), ")");
    } catch (const std::logic_error& e) {
      refuse_file(Fault::kInternal, path_, section, rule,
                  place == nullptr ? "" : place->str() + ": ", e.what());
    }
  }

  // The scan has bounded the depth of bodies, so recursion is bounded too.
  void fill(Graph& g, const proto::GraphProto& p, const Place& place) {
    for (const proto::NodeProto& n : p.nodes()) {
      const Place here{.outer = &place, .node = g.size(), .proto = &n};
      node(g, n, here);
    }
    for (const proto::NameProto& n : p.names()) {
      const Value v = value(g, n.node(), n.slot(), place, "name");
      at(&place, "name", "refused", [&] { return g.var(v).named(n.name()); });
    }
    if (p.streams() < 0 || p.streams() > kMostStreams) {
      refuse(&place, "graph", "streams", "has a stream counter of ", p.streams());
    }
    g.reserve_streams(p.streams());
    g.set_seed(p.seed());
  }

  void node(Graph& g, const proto::NodeProto& p, const Place& place) {
    const OpDef& op = definition(p, place);
    Vars inputs;
    for (const Value v : values(g, p.inputs(), p.slots(), place))
      inputs.push_back(v ? g.var(v) : Var());
    CallOptions options{.name = p.name()};
    if (p.has_body()) options.body = body(p, place);
    Attributes given = attributes(p.attributes(), &place);
    at(&place, "node", "refused",
       [&] { return g.call(op, inputs, std::move(given), std::move(options)); });
  }

  const OpDef& definition(const proto::NodeProto& p, const Place& place) const {
    const std::array<const OpDef*, 3> leaves{&placeholder_op(), &constant_op(), &variable_op()};
    const auto leaf = std::find_if(leaves.begin(), leaves.end(),
                                   [&](const OpDef* op) { return op->name == p.op(); });
    const OpDef* op = leaf != leaves.end() ? *leaf : registry_.find(p.op());
    if (op == nullptr) {
      at(&place, "node", "op", [&] { return &registry_.at(p.op()); });
    }
    if (p.op_version() == 0 || p.op_version() > kOpVersion) {
      refuse_file(Fault::kUnsupported, path_, "node", "op_version", place.str(), ": is version ",
                  p.op_version(), " of the op; this library knows up to ", kOpVersion);
    }
    if (leaf != leaves.end() && p.has_body()) refuse(&place, "node", "body", "has a body");
    return *op;
  }

  Value value(const Graph& g, int64_t node, uint32_t slot, const Place& place,
              std::string_view section) const {
    if (node < 0 || node >= g.size()) {
      refuse(&place, section, "reference", "refers to node ", node, ", but only ", g.size(),
             " nodes stand before");
    }
    const auto& outputs = g.node(static_cast<int32_t>(node)).outputs;
    if (slot >= outputs.size() || !outputs[slot].present) {
      refuse(&place, section, "slot", "refers to output ", slot, " of node ", node,
             ", which has none");
    }
    return {static_cast<int32_t>(node), static_cast<int32_t>(slot)};
  }

  template <class Nodes, class Slots>
  std::vector<Value> values(const Graph& g, const Nodes& nodes, const Slots& slots,
                            const Place& place) const {
    if (slots.size() != 0 && slots.size() != nodes.size()) {
      refuse(&place, "node", "slots", "has ", nodes.size(), " operands or outputs, but ",
             slots.size(), " slots");
    }
    std::vector<Value> r;
    r.reserve(static_cast<size_t>(nodes.size()));
    for (int i = 0; i < nodes.size(); ++i) {
      const uint32_t slot = slots.size() == 0 ? 0 : slots.Get(i);
      const bool absent = nodes.Get(i) == -1 && slot == 0;
      r.push_back(absent ? Value{} : value(g, nodes.Get(i), slot, place, "node"));
    }
    return r;
  }

  std::shared_ptr<const Subgraph> body(const proto::NodeProto& n, const Place& place) {
    const proto::SubgraphProto& p = n.body();
    auto s = std::make_shared<Subgraph>();
    fill(s->graph, p.graph(), place);
    std::vector<bool> given(static_cast<size_t>(s->graph.size()));
    for (const int32_t i : p.inputs()) {
      const Value v = value(s->graph, i, 0, place, "body");
      const auto at = static_cast<size_t>(i);
      if (s->graph.node(i).op != &placeholder_op() || given[at]) {
        refuse(&place, "body", "input", "input ", i,
               " of its body is no placeholder, or given twice");
      }
      given[at] = true;
      s->inputs.push_back(v);
    }
    s->outputs = values(s->graph, p.outputs(), p.slots(), place);
    check_closed(*s, given, place);
    return s;
  }

  // Every placeholder that an output needs must be an input.
  void check_closed(const Subgraph& s, const std::vector<bool>& given, const Place& place) const {
    std::vector<bool> needed(given.size());
    for (const Value v : s.outputs) {
      if (v) needed[static_cast<size_t>(v.node)] = true;
    }
    for (int32_t i = s.graph.size() - 1; i >= 0; --i) {
      const auto at = static_cast<size_t>(i);
      if (!needed[at]) continue;
      const Node& n = s.graph.node(i);
      if (n.op == &placeholder_op() && !given[at]) {
        refuse(&place, "body", "open", "node ", i, " of its body is needed, but is no input");
      }
      for (const Value v : n.inputs) {
        if (v) needed[static_cast<size_t>(v.node)] = true;
      }
    }
  }

  template <class List>
  Attributes attributes(const List& list, const Place* place) const {
    Attributes r;
    for (const proto::AttributeProto& p : list) {
      if (r.has(p.name()))
        refuse(place, "attribute", "duplicate", "attribute \"", p.name(), "\" stands twice");
      r.set(p.name(), attribute(p, place));
    }
    return r;
  }

  AttributeValue attribute(const proto::AttributeProto& p, const Place* place) const {
    using Case = proto::AttributeProto::ValueCase;
    const auto name = [&] { return "attribute \"" + p.name() + "\" "; };
    switch (p.value_case()) {
      case Case::kFlag:
        return p.flag();
      case Case::kInteger:
        return p.integer();
      case Case::kNumber:
        return p.number();
      case Case::kText:
        return p.text();
      case Case::kDtype:
        return at(place, "attribute", "dtype", [&] { return dtype_from_name(p.dtype()); });
      case Case::kInts:
        return std::vector<int64_t>(p.ints().values().begin(), p.ints().values().end());
      case Case::kStrings:
        return std::vector<std::string>(p.strings().values().begin(), p.strings().values().end());
      case Case::kShape: {
        Shape shape;
        for (const std::string& d : p.shape().dims()) {
          shape.push_back(at(place, "shape", "dim", [&] { return Dim(d); }));
        }
        return shape;
      }
      case Case::kTensor: {
        if (p.tensor().empty()) return Tensor();
        const Tensor* t = tensors_.find(p.tensor());
        if (t == nullptr) {
          refuse(place, "attribute", "tensor", name(), "refers to tensor \"", p.tensor(),
                 "\", which the file does not have");
        }
        return *t;
      }
      default:
        refuse(place, "attribute", "value", name(), "has no value of a known type");
    }
  }

  const std::string& path_;
  const OpRegistry& registry_;
  const Tensors& tensors_;
};

std::vector<std::byte> read_part(Source& source, uint64_t offset, uint64_t size) {
  if (size > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    refuse_file(Fault::kArgument, source.name(), "model", "size", size,
                " bytes are more than one protobuf message can hold");
  }
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  source.read(offset, bytes.data(), bytes.size());
  return bytes;
}

proto::ModelProto parse(const std::vector<std::byte>& bytes, const std::string& path,
                        const Limits& limits) {
  const ModelCounts counts = scan_model(bytes, path, limits);
  proto::ModelProto m;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  in.SetRecursionLimit(parse_depth(counts.depth));
  if (!m.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
    refuse_file(Fault::kArgument, path, "model", "parse", "its graphs cannot be parsed");
  }
  return m;
}

Bundle read_protobuf(Source& source, const OpRegistry& registry, const Limits& limits) {
  const std::string& path = source.name();
  const proto::ModelProto m = parse(read_part(source, 0, source.size()), path, limits);
  Tensors tensors(path, limits);
  for (int i = 0; i < m.tensors_size(); ++i) {
    const proto::TensorProto& p = m.tensors(i);
    tensors.check(p);
    if (p.inline_data().size() != p.length() || p.offset() != 0) {
      tensors.refuse(p, "length", "has ", p.inline_data().size(), " bytes at offset ", p.offset(),
                     ", but a .pb must hold all ", p.length(), " of them");
    }
    Tensor& t = tensors.allocate(static_cast<size_t>(i), p);
    std::copy_n(reinterpret_cast<const std::byte*>(p.inline_data().data()), t.bytes(),
                t.raw_mutable());
    tensors.check_content(t, p);
  }
  return Reader(path, registry, tensors).bundle(m);
}

Bundle read_container_file(Source& source, const OpRegistry& registry, const Limits& limits) {
  const std::string& path = source.name();
  const Container c = read_container(source);
  const std::vector<std::byte> bytes = read_part(source, c.model_offset(), c.model_size);
  if (crc32c(bytes.data(), bytes.size()) != c.model_crc) {
    refuse_file(Fault::kArgument, path, "model", "checksum",
                "its graphs are damaged (CRC32C differs)");
  }
  const proto::ModelProto m = parse(bytes, path, limits);

  // The whole table first: only when it fills the section exactly, anything is allocated.
  Tensors tensors(path, limits);
  uint64_t next = 0;
  for (const proto::TensorProto& p : m.tensors()) {
    tensors.check(p);
    if (!p.inline_data().empty()) tensors.refuse(p, "inline", "is inline, in a .rondo file");
    if (p.offset() != next || p.length() > c.data_size - next) {
      tensors.refuse(p, "range", "has bytes ", p.offset(), " + ", p.length(),
                     ", but should begin at ", next, " of ", c.data_size);
    }
    next += aligned(p.length());
    if (next > c.data_size)
      tensors.refuse(p, "range", "ends beyond the ", c.data_size, " bytes of tensors");
  }
  if (next != c.data_size) {
    refuse_file(Fault::kArgument, path, "tensor", "range", "has ", c.data_size,
                " bytes of tensors, but only ", next, " belong to one");
  }

  uint32_t crc = 0;
  for (int i = 0; i < m.tensors_size(); ++i) {
    const proto::TensorProto& p = m.tensors(i);
    Tensor& t = tensors.allocate(static_cast<size_t>(i), p);
    std::byte* to = t.raw_mutable();
    source.read(c.data_offset() + p.offset(), to, t.bytes());
    std::array<std::byte, kAlignment> gap{};
    const size_t zeros = aligned(p.length()) - p.length();
    source.read(c.data_offset() + p.offset() + p.length(), gap.data(), zeros);
    if (std::any_of(gap.begin(), gap.end(), [](std::byte b) { return b != std::byte{0}; })) {
      tensors.refuse(p, "padding", "is followed by bytes that are not zero");
    }
    tensors.check_content(t, p);
    crc = crc32c(gap.data(), zeros, crc32c(to, t.bytes(), crc));
  }
  if (crc != c.data_crc) {
    refuse_file(Fault::kArgument, path, "tensor", "section_checksum",
                "its tensors are damaged (CRC32C differs)");
  }
  return Reader(path, registry, tensors).bundle(m);
}

}  // namespace

Bundle read_bundle(Source& source, FileFormat format, const OpRegistry& registry,
                   const Limits& limits) {
  return (format == FileFormat::kRondo ? read_container_file : read_protobuf)(source, registry,
                                                                              limits);
}

Bundle load_bundle(const std::string& path, const OpRegistry& registry, const Limits& limits,
                   FileSystem& files) {
  const FileFormat format = format_of(path);
  FileSource source(path, files);
  return read_bundle(source, format, registry, limits);
}

}  // namespace rondo
