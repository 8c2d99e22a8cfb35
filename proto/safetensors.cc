#include <rondo/proto/safetensors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <rondo/proto/utf8.h>

namespace rondo {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;
constexpr uint64_t kHeaderAlignment = 8;
constexpr std::string_view kMetadata = "__metadata__";

constexpr std::array<std::pair<std::string_view, DType>, 7> kTypes{{{"F64", f64},
                                                                    {"F32", f32},
                                                                    {"BF16", bf16},
                                                                    {"F16", f16},
                                                                    {"I64", i64},
                                                                    {"I32", i32},
                                                                    {"BOOL", boolean}}};

template <class... A>
[[noreturn]] void refuse(const std::string& path, std::string_view rule, const A&... text) {
  refuse_file(Fault::kArgument, path, "safetensors", rule, text...);
}

// One tensor as the header describes it.
struct Entry {
  std::string name;
  std::string dtype;
  Dims dims;
  std::vector<int64_t> offsets;
  bool has_dtype = false, has_dims = false, has_offsets = false;
};

// Takes the header event by event: nothing is kept that is not wanted, and keys are seen twice
// where a tree would hide it. A false return ends the parse; `rule` and `why` then say why.
class Header {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  explicit Header(const Limits& limits) : limits_(limits) {}

  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
  bool has_metadata = false;
  std::string rule, why;

  bool start_object(size_t) {
    if (state_ == State::kBegin) return go(State::kTop);
    if (state_ == State::kTopValue) return go(in_metadata_ ? State::kMetadata : State::kEntry);
    return wrong("an object");
  }
  bool end_object() {
    if (state_ == State::kTop) return true;
    if (state_ == State::kMetadata) return go(State::kTop);
    if (!entry_->has_dtype || !entry_->has_dims || !entry_->has_offsets) {
      return bad("entry", "needs dtype, shape and data_offsets");
    }
    return go(State::kTop);
  }
  bool start_array(size_t) {
    if (state_ == State::kEntryValue && key_ != "dtype") return go(State::kList);
    return wrong("an array");
  }
  bool end_array() { return go(State::kEntry); }

  bool key(string_t& k) {
    key_ = k;
    if (state_ == State::kMetadata) {
      if (metadata.count(k) != 0) return bad("duplicate", "the key \"" + k + "\" stands twice");
      return go(State::kMetadataValue);
    }
    if (state_ == State::kEntry) return entry_key();
    in_metadata_ = k == kMetadata;
    tensor_ = k;
    if (in_metadata_) {
      if (std::exchange(has_metadata, true)) return bad("duplicate", "stands twice");
      return go(State::kTopValue);
    }
    if (k.empty() || k.size() > limits_.name_bytes) {
      tensor_.resize(std::min<size_t>(k.size(), 32));
      return bad("name_length", "a name has " + std::to_string(k.size()) + " bytes");
    }
    const auto [at, added] = entries.try_emplace(k);
    if (!added) return bad("duplicate", "stands twice");
    if (entries.size() > limits_.tensors) return bad("tensors", "more tensors than allowed");
    entry_ = &at->second;
    entry_->name = k;
    return go(State::kTopValue);
  }

  bool string(string_t& s) {
    if (state_ == State::kMetadataValue) {
      metadata.emplace(key_, s);
      return go(State::kMetadata);
    }
    if (state_ != State::kEntryValue || key_ != "dtype") return wrong("text");
    entry_->dtype = s;
    return go(State::kEntry);
  }
  bool number_unsigned(number_unsigned_t v) {
    if (state_ != State::kList) return wrong("a number");
    if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return wrong("a huge number");
    std::vector<int64_t>& list = key_ == "shape" ? entry_->dims : entry_->offsets;
    if (list.size() == (key_ == "shape" ? limits_.rank : 2)) {
      return bad(key_ == "shape" ? "rank" : "offsets", key_ + " has too many numbers");
    }
    list.push_back(static_cast<int64_t>(v));
    return true;
  }
  bool number_integer(number_integer_t) { return wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) { return wrong("a number with a fraction"); }
  bool boolean(bool) { return wrong("true or false"); }
  bool null() { return wrong("null"); }
  bool binary(binary_t&) { return wrong("binary data"); }
  bool parse_error(size_t at, const std::string& /*token*/, const nlohmann::detail::exception&) {
    tensor_.clear();
    return bad("json", "the header is no JSON (byte " + std::to_string(at) + ")");
  }

 private:
  enum class State {
    kBegin,
    kTop,
    kTopValue,
    kMetadata,
    kMetadataValue,
    kEntry,
    kEntryValue,
    kList
  };

  bool go(State s) {
    state_ = s;
    return true;
  }
  bool bad(std::string_view code, const std::string& text) {
    rule = code;
    why = tensor_.empty() ? text : "\"" + tensor_ + "\" " + text;
    return false;
  }
  bool wrong(std::string_view what) {
    return bad("entry",
               cat(what, " stands where it must not", key_.empty() ? "" : ", at key ", key_));
  }
  bool entry_key() {
    const std::array<std::pair<std::string_view, bool*>, 3> known{
        {{"dtype", &entry_->has_dtype},
         {"shape", &entry_->has_dims},
         {"data_offsets", &entry_->has_offsets}}};
    for (const auto& [name, seen] : known) {
      if (name != key_) continue;
      if (std::exchange(*seen, true)) return bad("duplicate", "has the key \"" + key_ + "\" twice");
      return go(State::kEntryValue);
    }
    return bad("key", "has the unknown key \"" + key_ + "\"");
  }

  const Limits& limits_;
  State state_ = State::kBegin;
  bool in_metadata_ = false;
  Entry* entry_ = nullptr;
  std::string tensor_, key_;
};

// Begin and end of a checked entry, and its dtype.
struct Range {
  const Entry* entry;
  DType dtype;
  uint64_t begin, end;
};

Range check(const Entry& e, const std::string& path, const Limits& limits) {
  const auto type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.first == e.dtype; });
  if (type == kTypes.end()) {
    refuse_file(Fault::kUnsupported, path, "safetensors", "dtype", "tensor \"", e.name,
                "\" has dtype ", e.dtype, "; known are F64 F32 BF16 F16 I64 I32 BOOL");
  }
  auto bytes = static_cast<uint64_t>(size_of(type->second));
  for (const int64_t d : e.dims) {
    if (static_cast<uint64_t>(d) > limits.dim ||
        __builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes)) {
      refuse(path, "size", "tensor \"", e.name, "\" of shape ", to_string(e.dims), " is too large");
    }
  }
  if (e.offsets.size() != 2 || e.offsets[0] > e.offsets[1]) {
    refuse(path, "offsets", "tensor \"", e.name, "\" has no range of bytes");
  }
  const auto begin = static_cast<uint64_t>(e.offsets[0]);
  const auto end = static_cast<uint64_t>(e.offsets[1]);
  if (end - begin != bytes) {
    refuse(path, "length", "tensor \"", e.name, "\" of ", e.dtype, to_string(e.dims), " needs ",
           bytes, " bytes, but has ", end - begin);
  }
  return {&e, type->second, begin, end};
}

Tensor read_tensor(Source& source, uint64_t data, const Range& r) {
  Tensor t;
  try {
    t = Tensor(r.dtype, r.entry->dims);
  } catch (const Error&) {
    refuse_file(Fault::kUnsupported, source.name(), "safetensors", "memory", "tensor \"",
                r.entry->name, "\": no memory for ", r.end - r.begin, " bytes");
  }
  std::byte* to = t.raw_mutable();
  source.read(data + r.begin, to, t.bytes());
  if (r.dtype == boolean &&
      std::any_of(to, to + t.bytes(), [](std::byte b) { return b > std::byte{1}; })) {
    refuse(source.name(), "bool", "tensor \"", r.entry->name,
           "\" holds a byte that is neither 0 nor 1");
  }
  return t;
}

// JSON's own spelling of a text.
std::string quoted(const std::string& path, const std::string& text) {
  if (!is_utf8(text)) refuse(path, "utf8", "cannot be saved: a name or text is not UTF-8");
  return nlohmann::json(text).dump();
}

}  // namespace

SafeTensors read_safetensors(Source& source, const Limits& limits) {
  const std::string& path = source.name();
  if (source.size() < kLengthBytes)
    refuse(path, "truncated", "is shorter than the length of a header");
  uint64_t length;
  source.read(0, &length, kLengthBytes);
  if (length > kLongestHeader) {
    refuse(path, "header_length", "has a header of ", length, " bytes; at most ", kLongestHeader,
           " may be");
  }
  if (length > source.size() - kLengthBytes) {
    refuse(path, "truncated", "has a header of ", length, " bytes, but only ",
           source.size() - kLengthBytes, " follow");
  }
  Header header(limits);
  {
    std::string text(static_cast<size_t>(length), '\0');
    source.read(kLengthBytes, text.data(), text.size());
    if (!text.starts_with('{')) refuse(path, "json", "its header does not begin with '{'");
    if (!nlohmann::json::sax_parse(text, &header)) refuse(path, header.rule, header.why);
  }

  const uint64_t data = kLengthBytes + length;
  const uint64_t data_size = source.size() - data;
  std::vector<Range> ranges;
  for (const auto& [name, e] : header.entries) ranges.push_back(check(e, path, limits));
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t next = 0;
  for (const Range& r : ranges) {
    if (r.begin != next) {
      refuse(path, "coverage", "tensor \"", r.entry->name, "\" begins at byte ", r.begin,
             ", but should at ", next, ": ranges must follow each other without gap or overlap");
    }
    next = r.end;
  }
  if (next != data_size) {
    refuse(path, "coverage", "has ", data_size, " bytes of tensors, but the header describes ",
           next);
  }

  SafeTensors r;
  for (const Range& range : ranges)
    r.tensors.emplace(range.entry->name, read_tensor(source, data, range));
  r.metadata = std::move(header.metadata);
  return r;
}

SafeTensors load_safetensors(const std::string& path, const Limits& limits, FileSystem& files) {
  FileSource source(path, files);
  return read_safetensors(source, limits);
}

void write_safetensors(const SafeTensors& content, Sink& sink) {
  const std::string& path = sink.name();
  using Item = std::pair<const std::string, Tensor>;
  std::vector<const Item*> order;
  for (const Item& i : content.tensors) {
    if (!i.second || i.first.empty() || i.first == kMetadata) {
      refuse(path, "tensor", "cannot be saved: tensor \"", i.first,
             "\" is empty or has a reserved name");
    }
    order.push_back(&i);
  }
  std::stable_sort(order.begin(), order.end(), [](const Item* a, const Item* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });

  std::string header = "{";
  const auto begin_member = [&](const std::string& name) {
    header += (header.size() > 1 ? "," : "") + quoted(path, name) + ":";
  };
  if (!content.metadata.empty()) {
    begin_member(std::string(kMetadata));
    std::string members;
    for (const auto& [k, v] : content.metadata) {
      members += (members.empty() ? "" : ",") + quoted(path, k) + ":" + quoted(path, v);
    }
    header += "{" + members + "}";
  }
  uint64_t at = 0;
  for (const Item* i : order) {
    const auto type = std::find_if(kTypes.begin(), kTypes.end(),
                                   [&](const auto& t) { return t.second == i->second.dtype(); });
    begin_member(i->first);
    header += cat("{\"dtype\":\"", type->first, "\",\"shape\":", to_string(i->second.dims()),
                  ",\"data_offsets\":[", at, ",", at + i->second.bytes(), "]}");
    at += i->second.bytes();
  }
  header += "}";
  header.resize((header.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  const uint64_t length = header.size();
  if (length > kLongestHeader)
    refuse(path, "header_length", "cannot be saved: its header would be too long");
  sink.write(&length, kLengthBytes);
  sink.write(header);
  for (const Item* i : order) sink.write(i->second.raw(), i->second.bytes());
}

void save_safetensors(const SafeTensors& content, const std::string& path, FileSystem& files) {
  AtomicFile file(path, files);
  write_safetensors(content, file);
  file.commit();
}

}  // namespace rondo
