#include <array>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "rondo.pb.h"

#include <rondo/proto/bundle.h>
#include <rondo/proto/container.h>
#include <rondo/proto/crc32c.h>
#include <rondo/proto/utf8.h>
#include <rondo/proto/wire_scan.h>

namespace rondo {
namespace {

constexpr uint32_t kOpVersion = 1;
constexpr std::string_view kProducer = "rondo";
constexpr uint64_t kLargestProtobuf = std::numeric_limits<int32_t>::max();

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

// The tensor table: the bundle's tensors, then those of nodes and attributes, equal ones once.
class TensorTable {
 public:
  struct Entry {
    std::string name;
    Tensor tensor;
    uint32_t crc;
  };

  void add(std::string name, const Tensor& t) {
    const uint32_t crc = crc32c(t.raw(), t.bytes());
    by_content_.emplace(std::pair(crc, t.bytes()), entries_.size());
    entries_.push_back({std::move(name), t, crc});
  }

  // The name of an entry with that content.
  std::string name_of(const Tensor& t) {
    if (!t) return {};
    const auto key = std::pair(crc32c(t.raw(), t.bytes()), t.bytes());
    const auto [begin, end] = by_content_.equal_range(key);
    for (auto it = begin; it != end; ++it) {
      if (entries_[it->second].tensor.same_bits(t)) return entries_[it->second].name;
    }
    add("%" + std::to_string(unnamed_++), t);
    return entries_.back().name;
  }

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::multimap<std::pair<uint32_t, size_t>, size_t> by_content_;
  size_t unnamed_ = 0;
};

class Writer {
 public:
  Writer(const std::string& path, const Limits& limits) : path_(path), limits_(limits) {}

  proto::ModelProto model(const Bundle& b) {
    proto::ModelProto m;
    m.set_format_version(kFormatVersion);
    m.set_min_reader_version(kMinReaderVersion);
    m.set_producer(std::string(kProducer));
    for (const auto& [name, t] : b.tensors) {
      if (!t) refuse("tensor", "missing", "tensor \"", name, "\" is empty");
      check_name("tensor", name);
      if (name[0] == '%') {
        refuse("tensor", "reserved", "tensor \"", name, "\": names with '%' are the file's own");
      }
      table_.add(name, t);
    }
    for (const auto& [name, g] : b.graphs) {
      check_name("graph", name);
      where_ = "graph \"" + name + "\"";
      proto::GraphProto* p = m.add_graphs();
      p->set_name(name);
      graph(g, 0, p);
    }
    where_ = "the bundle";
    for (const auto& [name, v] : b.attributes.items()) attribute(name, v, m.add_attributes());
    for (const TensorTable::Entry& e : table_.entries()) {
      for (const int64_t d : e.tensor.dims()) {
        if (static_cast<uint64_t>(d) <= limits_.dim) continue;
        refuse("tensor", "dim", "tensor \"", e.name, "\" has shape ", to_string(e.tensor.dims()),
               ", but a dimension may be at most ", limits_.dim);
      }
    }
    return m;
  }

  const TensorTable& table() const { return table_; }

 private:
  template <class... A>
  [[noreturn]] void refuse(std::string_view section, std::string_view rule, const A&... text) {
    refuse_file(Fault::kArgument, path_, section, rule, "cannot be saved: ", text...);
  }

  // Protobuf would only complain on stderr.
  void check_utf8(std::string_view section, const std::string& text) {
    if (!is_utf8(text)) refuse(section, "utf8", where_, ": a text is not UTF-8");
  }
  void check_name(std::string_view section, const std::string& name) {
    if (name.empty() || name.size() > limits_.name_bytes) {
      refuse(section, "name_length", "the name of a ", section, " has ", name.size(),
             " bytes, but must have 1 to ", limits_.name_bytes);
    }
    check_utf8(section, name);
  }

  // Depth is bounded before descending, so recursion is too.
  void graph(const Graph& g, uint64_t depth, proto::GraphProto* p) {
    if (depth > limits_.depth) {
      refuse("node", "depth", where_, ": bodies inside bodies, more than ", limits_.depth, " deep");
    }
    for (int32_t i = 0; i < g.size(); ++i) {
      if (++nodes_ > limits_.nodes) refuse("graph", "nodes", "more than ", limits_.nodes, " nodes");
      node(g.node(i), depth, p->add_nodes());
    }
    for (const auto& [name, v] : g.names()) {
      if (v.slot == 0 && g.node(v.node).name == name) continue;
      proto::NameProto* n = p->add_names();
      check_utf8("name", name);
      n->set_name(name);
      n->set_node(v.node);
      n->set_slot(static_cast<uint32_t>(v.slot));
    }
    p->set_streams(g.streams());
    p->set_seed(g.seed());
  }

  void node(const Node& n, uint64_t depth, proto::NodeProto* p) {
    p->set_op(n.op->name);
    p->set_op_version(kOpVersion);
    check_utf8("node", n.name);
    p->set_name(n.name);
    references(n.inputs, p->mutable_inputs(), p->mutable_slots());
    for (const auto& [name, v] : n.attributes.items()) attribute(name, v, p->add_attributes());
    if (n.body == nullptr) return;
    proto::SubgraphProto* body = p->mutable_body();
    graph(n.body->graph, depth + 1, body->mutable_graph());
    for (const Value v : n.body->inputs) body->add_inputs(v.node);
    references(n.body->outputs, body->mutable_outputs(), body->mutable_slots());
  }

  template <class Nodes, class Slots>
  static void references(const std::vector<Value>& values, Nodes* nodes, Slots* slots) {
    bool slotted = false;
    for (const Value v : values) {
      nodes->Add(v ? v.node : -1);
      slotted = slotted || (v && v.slot != 0);
    }
    if (!slotted) return;
    for (const Value v : values) slots->Add(v ? static_cast<uint32_t>(v.slot) : 0);
  }

  void attribute(const std::string& name, const AttributeValue& value, proto::AttributeProto* p) {
    check_utf8("attribute", name);
    p->set_name(name);
    std::visit(Overload{[&](bool v) { p->set_flag(v); }, [&](int64_t v) { p->set_integer(v); },
                        [&](double v) { p->set_number(v); },
                        [&](const std::string& v) {
                          check_utf8("attribute", v);
                          p->set_text(v);
                        },
                        [&](DType v) { p->set_dtype(std::string(name_of(v))); },
                        [&](const std::vector<int64_t>& v) {
                          p->mutable_ints()->mutable_values()->Add(v.begin(), v.end());
                        },
                        [&](const std::vector<std::string>& v) {
                          proto::StringsProto* s = p->mutable_strings();
                          for (const std::string& text : v) {
                            check_utf8("attribute", text);
                            s->add_values(text);
                          }
                        },
                        [&](const Shape& v) {
                          proto::ShapeProto* s = p->mutable_shape();
                          for (const Dim& d : v) s->add_dims(dim(name, d));
                        },
                        [&](const Tensor& v) { p->set_tensor(table_.name_of(v)); }},
               value.variant());
  }

  // A symbol that was made under a strange name would not be read back as itself.
  std::string dim(const std::string& attribute, const Dim& d) {
    const std::string text = d.str();
    bool reads_back = false;
    try {
      reads_back = is_utf8(text) && Dim(text) == d;
    } catch (const Error&) {
      reads_back = false;
    }
    if (!reads_back) {
      refuse("shape", "dim", where_, ", attribute \"", attribute, "\": dimension '", text,
             "' cannot be written as text");
    }
    return text;
  }

  const std::string& path_;
  const Limits& limits_;
  TensorTable table_;
  std::string where_ = "the bundle";
  uint64_t nodes_ = 0;
};

proto::TensorProto* describe(const TensorTable::Entry& e, proto::ModelProto* m) {
  proto::TensorProto* p = m->add_tensors();
  p->set_name(e.name);
  p->set_dtype(std::string(name_of(e.tensor.dtype())));
  p->mutable_dims()->Add(e.tensor.dims().begin(), e.tensor.dims().end());
  p->set_length(e.tensor.bytes());
  p->set_crc32c(e.crc);
  return p;
}

std::string serialized(const proto::ModelProto& m, const std::string& path, const Limits& limits) {
  const uint64_t size = m.ByteSizeLong();
  if (size > kLargestProtobuf) {
    refuse_file(Fault::kArgument, path, "model", "size", "cannot be saved: ", size,
                " bytes are more than one protobuf message can hold");
  }
  std::string bytes;
  m.SerializeToString(&bytes);
  // What the limits forbid must not be saved: it could not be loaded.
  scan_model(std::as_bytes(std::span(bytes)), path, limits);
  return bytes;
}

void write_protobuf(const Bundle& b, Sink& sink, const Limits& limits) {
  Writer w(sink.name(), limits);
  proto::ModelProto m = w.model(b);
  uint64_t bytes = 0;
  for (const auto& e : w.table().entries()) bytes += e.tensor.bytes();
  if (bytes > kLargestProtobuf) {
    refuse_file(Fault::kArgument, sink.name(), "model", "size", "cannot be saved: ", bytes,
                " bytes of tensors are more than a .pb can hold; save it as .rondo");
  }
  for (const auto& e : w.table().entries()) {
    describe(e, &m)->set_inline_data(e.tensor.raw(), e.tensor.bytes());
  }
  sink.write(serialized(m, sink.name(), limits));
}

void write_container(const Bundle& b, Sink& sink, const Limits& limits) {
  Writer w(sink.name(), limits);
  proto::ModelProto m = w.model(b);
  Container c;
  for (const auto& e : w.table().entries()) {
    describe(e, &m)->set_offset(c.data_size);
    c.data_size += aligned(e.tensor.bytes());
  }
  const std::string model = serialized(m, sink.name(), limits);
  c.model_size = model.size();
  c.model_crc = crc32c(model.data(), model.size());

  static constexpr std::array<std::byte, kAlignment> kZeros{};
  const auto header = encode_header(c);
  sink.write(header.data(), header.size());
  sink.write(model);
  sink.write(kZeros.data(), c.data_offset() - c.model_offset() - c.model_size);
  for (const auto& e : w.table().entries()) {
    const size_t n = e.tensor.bytes();
    const size_t gap = aligned(n) - n;
    c.data_crc = crc32c(kZeros.data(), gap, crc32c(e.tensor.raw(), n, c.data_crc));
    sink.write(e.tensor.raw(), n);
    sink.write(kZeros.data(), gap);
  }
  const auto footer = encode_footer(c);
  sink.write(footer.data(), footer.size());
}

}  // namespace

FileFormat format_of(const std::string& path) {
  if (path.ends_with(".rondo")) return FileFormat::kRondo;
  if (path.ends_with(".pb")) return FileFormat::kProtobuf;
  refuse_file(Fault::kArgument, path, "name", "ending", "must end in .rondo or .pb");
}

void write_bundle(const Bundle& bundle, FileFormat format, Sink& sink, const Limits& limits) {
  (format == FileFormat::kRondo ? write_container : write_protobuf)(bundle, sink, limits);
}

void save_bundle(const Bundle& bundle, const std::string& path, const Limits& limits,
                 FileSystem& files) {
  const FileFormat format = format_of(path);
  AtomicFile file(path, files);
  write_bundle(bundle, format, file, limits);
  file.commit();
}

}  // namespace rondo
