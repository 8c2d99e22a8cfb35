#include <rondo/proto/wire_scan.h>

#include <algorithm>
#include <array>
#include <string_view>

#include <rondo/proto/container.h>
#include <rondo/proto/utf8.h>

namespace rondo {
namespace {

enum Message : uint8_t {
  kModel,
  kGraph,
  kNode,
  kName,
  kSubgraph,
  kAttribute,
  kInts,
  kStrings,
  kShape,
  kTensor,
  kMessages
};

enum class Kind : uint8_t {
  kUnknown,
  kVarint,
  kFixed32,
  kFixed64,
  kText,
  kBytes,
  kMessage,
  kPacked
};

constexpr uint32_t kVarintWire = 0, kFixed64Wire = 1, kLengthWire = 2, kFixed32Wire = 5;
constexpr std::array<uint32_t, 8> kWireOf{~0U,         kVarintWire, kFixed32Wire, kFixed64Wire,
                                          kLengthWire, kLengthWire, kLengthWire,  kLengthWire};

using Limit = uint64_t Limits::*;
using Total = uint64_t ModelCounts::*;

// One field of a message. `limit` bounds the bytes of a text, the elements of anything else.
struct Field {
  Kind kind = Kind::kUnknown;
  uint8_t once = 0;  // fields with the same number exclude each other and themselves; 0: repeated
  Limit limit = nullptr;
  std::string_view rule = {};  // of the limit
  Message to = kMessages;
};

constexpr size_t kFields = 16;

// What each element adds to: its total, that total's limit, and the fewest bytes of an honest one.
struct MessageRow {
  std::string_view name;
  std::array<Field, kFields> fields = {};
  Total total = nullptr;
  Limit limit = nullptr;
  uint64_t fewest_bytes = 0;
};

constexpr Field varint(uint8_t once) { return {Kind::kVarint, once}; }
constexpr Field name_text(uint8_t once) {
  return {Kind::kText, once, &Limits::name_bytes, "name_length"};
}
constexpr Field list(Message to, Limit limit = nullptr, std::string_view rule = {}) {
  return {Kind::kMessage, 0, limit, rule, to};
}
constexpr Field one(Message to, uint8_t once) { return {Kind::kMessage, once, nullptr, {}, to}; }
constexpr Field packed(Limit limit = nullptr, std::string_view rule = {}) {
  return {Kind::kPacked, 0, limit, rule};
}
constexpr Field kNone{};

// rondo.proto as a table: fields by number, from 0.
constexpr std::array<MessageRow, kMessages> kSchema{{
    {"model",
     {kNone, varint(1), varint(2), name_text(3), list(kGraph, &Limits::graphs, "graphs"),
      list(kTensor), list(kAttribute, &Limits::model_attributes, "attributes")}},
    {"graph",
     {kNone, name_text(1), list(kNode), list(kName), varint(4), Field{Kind::kFixed64, 5}},
     &ModelCounts::graphs},
    {"node",
     {kNone, name_text(1), varint(2), name_text(3), packed(&Limits::inputs, "inputs"),
      packed(&Limits::inputs, "inputs"), list(kAttribute, &Limits::attributes, "attributes"),
      one(kSubgraph, 7)},
     &ModelCounts::nodes,
     &Limits::nodes,
     8},
    {"name", {kNone, name_text(1), varint(2), varint(3)}, &ModelCounts::names, &Limits::nodes, 5},
    {"body",
     {kNone, one(kGraph, 1), packed(&Limits::inputs, "inputs"), packed(&Limits::inputs, "inputs"),
      packed(&Limits::inputs, "inputs")}},
    {"attribute",
     {kNone, name_text(1), varint(2), varint(2), Field{Kind::kFixed64, 2},
      Field{Kind::kText, 2, &Limits::text_bytes, "text_length"}, name_text(2), one(kInts, 2),
      one(kStrings, 2), one(kShape, 2), name_text(2)},
     &ModelCounts::attributes,
     nullptr,
     6},
    {"ints", {kNone, packed()}},
    {"strings", {kNone, Field{Kind::kText, 0, &Limits::text_bytes, "text_length"}}},
    {"shape", {kNone, Field{Kind::kText, 0, &Limits::name_bytes, "dim_length"}}},
    {"tensor",
     {kNone, name_text(1), name_text(2), packed(&Limits::rank, "rank"), varint(4), varint(5),
      Field{Kind::kFixed32, 6}, Field{Kind::kBytes, 7}},
     &ModelCounts::tensors,
     &Limits::tensors,
     8},
}};

constexpr uint64_t kDeepest = 32;
constexpr size_t kFrames = 3 * kDeepest + 8;
// The frame of a `.rondo` file is no part of the model, but as honest as the rest.
constexpr uint64_t kSlack = kHeaderBytes + kFooterBytes;

struct Frame {
  Message message = kModel;
  uint16_t seen = 0;
  std::array<uint32_t, kFields> count = {};
  size_t end = 0;
};

class Scanner {
 public:
  Scanner(std::span<const std::byte> bytes, const std::string& path, const Limits& limits)
      : bytes_(bytes), path_(path), limits_(limits) {}

  ModelCounts run() {
    // The version decides what an unknown field means, so it is read before all others.
    stack_[0].end = bytes_.size();
    read_versions();
    check_version(path_, counts_.format_version, counts_.min_reader_version);
    at_ = 0;
    for (;;) {
      while (at_ == stack_[top_].end && top_ > 0) {
        if (stack_[top_].message == kSubgraph) --bodies_;
        --top_;
      }
      if (at_ == stack_[top_].end) break;
      field();
    }
    check_density();
    return counts_;
  }

 private:
  const MessageRow& row() const { return kSchema[stack_[top_].message]; }

  template <class... A>
  [[noreturn]] void refuse(std::string_view rule, const A&... text) const {
    refuse_file(Fault::kArgument, path_, row().name, rule, text..., " (byte ", at_,
                " of the model, node ", counts_.nodes, " in the order of the file)");
  }

  uint64_t take_varint() {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == stack_[top_].end) refuse("truncated", "a number is cut off");
      const auto b = static_cast<uint64_t>(bytes_[at_++]);
      if (shift == 63 && b > 1) break;
      v |= (b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    refuse("wire", "a number is longer than 64 bits");
  }

  size_t take_length() {
    const uint64_t n = take_varint();
    if (n > stack_[top_].end - at_) refuse("truncated", "a part of ", n, " bytes reaches too far");
    return static_cast<size_t>(n);
  }

  void skip(size_t n) {
    if (n > stack_[top_].end - at_) refuse("truncated", "a value is cut off");
    at_ += n;
  }

  void skip_value(uint32_t wire) {
    if (wire == kVarintWire) {
      take_varint();
    } else if (wire == kLengthWire) {
      skip(take_length());
    } else if (wire == kFixed32Wire || wire == kFixed64Wire) {
      skip(wire == kFixed32Wire ? 4 : 8);
    } else {
      refuse("wire", "unknown wire type ", wire);
    }
  }

  uint64_t take_tag() {
    const uint64_t tag = take_varint();
    if (tag >> 3 == 0 || tag >> 32 != 0) refuse("wire", "field number ", tag >> 3);
    return tag;
  }

  void read_versions() {
    while (at_ != stack_[0].end) {
      const uint64_t tag = take_tag();
      if (tag == (1 << 3) || tag == (2 << 3)) {
        const auto v = static_cast<uint32_t>(take_varint());
        (tag == (1 << 3) ? counts_.format_version : counts_.min_reader_version) = v;
      } else {
        skip_value(tag & 7);
      }
    }
  }

  void field() {
    const uint64_t tag = take_tag();
    const uint64_t number = tag >> 3;
    const auto wire = static_cast<uint32_t>(tag & 7);
    Frame& frame = stack_[top_];
    static constexpr Field kUnknownField;
    const Field& f = number < kFields ? row().fields[number] : kUnknownField;
    if (f.kind == Kind::kUnknown) {
      if (counts_.format_version <= kFormatVersion) {
        refuse("unknown_field", "has a field ", number, " that version ", counts_.format_version,
               " of the format does not know");
      }
      return skip_value(wire);
    }
    const bool unpacked = f.kind == Kind::kPacked && wire == kVarintWire;
    if (wire != kWireOf[static_cast<size_t>(f.kind)] && !unpacked) {
      refuse("wire", "field ", number, " has wire type ", wire);
    }
    if (f.once != 0) {
      const auto bit = static_cast<uint16_t>(1U << f.once);
      if ((frame.seen & bit) != 0) refuse("repeated", "field ", number, " may be given once");
      frame.seen |= bit;
    }
    switch (f.kind) {
      case Kind::kText:
        return text(f, take_length());
      case Kind::kMessage:
        return enter(f, number, take_length());
      case Kind::kPacked:
        return unpacked ? (take_varint(), count(f, number, 1)) : numbers(f, number, take_length());
      default:
        return skip_value(wire);
    }
  }

  void count(const Field& f, uint64_t number, uint64_t n) {
    uint32_t& c = stack_[top_].count[number];
    if (f.limit != nullptr && n > limits_.*f.limit - std::min<uint64_t>(c, limits_.*f.limit)) {
      refuse(f.rule, "more than ", limits_.*f.limit, " ", f.rule);
    }
    c += static_cast<uint32_t>(n);
  }

  void text(const Field& f, size_t n) {
    if (n > limits_.*f.limit) refuse(f.rule, n, " bytes, at most ", limits_.*f.limit, " may be");
    const char* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    if (!is_utf8({begin, n})) refuse("utf8", "text is not UTF-8");
    at_ += n;
    if (f.once != 0) return;
    if (++counts_.strings > limits_.strings) {
      refuse("strings", "more than ", limits_.strings, " texts in lists");
    }
    if (stack_[top_].message == kShape) dimension({begin, n});
  }

  // Expanding a polynomial costs the square of its terms, and brackets make that a power.
  void dimension(std::string_view text) {
    if (++stack_[top_].count[1] > limits_.rank) {
      refuse("rank", "more than ", limits_.rank, " dimensions");
    }
    const auto is_operator = [](char c) { return c == '+' || c == '-' || c == '*'; };
    const auto operators = std::count_if(text.begin(), text.end(), is_operator);
    if (static_cast<uint64_t>(operators) > limits_.dim_operators ||
        text.find('(') != std::string_view::npos) {
      refuse("dim", "dimension '", text, "' has brackets or more than ", limits_.dim_operators,
             " operators");
    }
  }

  void numbers(const Field& f, uint64_t number, size_t n) {
    const auto* p = bytes_.data() + at_;
    count(f, number, static_cast<uint64_t>(std::count_if(p, p + n, [](std::byte b) {
            return static_cast<uint8_t>(b) < 0x80;
          })));
    // Each number is read once as such, bounded by this field instead of by the message.
    const size_t outer = stack_[top_].end;
    stack_[top_].end = at_ + n;
    while (at_ != stack_[top_].end) take_varint();
    stack_[top_].end = outer;
  }

  void enter(const Field& f, uint64_t number, size_t n) {
    count(f, number, 1);
    const MessageRow& r = kSchema[f.to];
    if (r.total != nullptr &&
        ++(counts_.*r.total) > (r.limit == nullptr ? ~0ULL : limits_.*r.limit)) {
      refuse(cat(r.name, "s"), "more than ", limits_.*r.limit, " ", r.name, "s");
    }
    if (f.to == kSubgraph) {
      counts_.depth = std::max(counts_.depth, ++bodies_);
      if (bodies_ > std::min(limits_.depth, kDeepest)) {
        refuse("depth", "bodies inside bodies, more than ", limits_.depth, " deep");
      }
    }
    stack_[++top_] = {.message = f.to, .end = at_ + n};
  }

  void check_density() const {
    uint64_t fewest = 0;
    for (const MessageRow& r : kSchema) {
      if (r.total != nullptr) fewest += counts_.*r.total * r.fewest_bytes;
    }
    if (fewest > bytes_.size() + kSlack) {
      refuse("density", "holds ", counts_.nodes, " nodes, ", counts_.attributes, " attributes and ",
             counts_.tensors, " tensors in only ", bytes_.size(), " bytes");
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  const Limits& limits_;
  size_t at_ = 0;
  size_t top_ = 0;
  uint64_t bodies_ = 0;
  std::array<Frame, kFrames> stack_ = {};
  ModelCounts counts_;
};

}  // namespace

ModelCounts scan_model(std::span<const std::byte> bytes, const std::string& path,
                       const Limits& limits) {
  return Scanner(bytes, path, limits).run();
}

}  // namespace rondo
